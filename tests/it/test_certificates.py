"""The certificate of a server that runs: changed files are noticed, bad ones refused, the end is
announced, and clients that come back are let in by a ticket.
"""

import datetime
import ipaddress
import json
import os
import signal
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import harness


def make_pair(folder, name="localhost", age_days=1, left_days=89):
    """A certificate with its key, each written in one piece as deployment tools do it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    cert = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=age_days))
            .not_valid_after(now + datetime.timedelta(days=left_days))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256()))
    (folder / "key.new").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    (folder / "cert.new").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    os.replace(folder / "key.new", folder / "key.pem")
    os.replace(folder / "cert.new", folder / "cert.pem")
    return cert


def der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


@pytest.fixture
def pair(tmp_path):
    folder = tmp_path / "pair"
    folder.mkdir()
    make_pair(folder)
    return folder


@pytest.fixture
def server(server_factory, pair):
    return server_factory("--tls-cert", pair / "cert.pem", "--tls-key", pair / "key.pem")


def anybody():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def connect(server, context=None, **kwargs):
    return (context or anybody()).wrap_socket(
        socket.create_connection(("127.0.0.1", server.port), harness.DEADLINE_S), **kwargs)


def shown(server):
    with connect(server) as one:
        return one.getpeercert(binary_form=True)


def ask(one):
    one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return one.recv(4096)


def get(server, path):
    """The body, without checking the certificate, which these tests change."""
    with connect(server) as one:
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        text = b""
        while chunk := one.recv(65536):
            text += chunk
    head, body = text.split(b"\r\n\r\n", 1)
    assert b" 200 " in head, text
    return body.decode()


def metric(server, name):
    values = [line.rsplit(" ", 1)[1] for line in get(server, "/metrics").splitlines()
              if line.startswith(name)]
    assert values, f"no {name}"
    return float(values[0])


def notices(server):
    """What /readyz has to say beside that the server is ready."""
    return json.loads(get(server, "/readyz"))["notices"]


RELOADED = 'confab_tls_reloads_total{outcome="ok"}'
REFUSED = 'confab_tls_reloads_total{outcome="refused"}'


def test_changed_files_are_noticed(server, pair):
    with connect(server) as before:
        assert b" 200 " in ask(before)
        fresh = der(make_pair(pair, name="renewed"))
        harness.wait_until(lambda: shown(server) == fresh, "the new certificate is shown")
        assert b" 200 " in ask(before), "who was there before stays"
    harness.wait_until(lambda: metric(server, RELOADED) == 1, "the change is counted")
    text = server.log.read_text()
    assert "certificate read" in text and "fingerprint=" in text
    # Programs on this machine find the new fingerprint.
    info = json.loads((server.data / "server.json").read_text())
    assert info["fingerprint"] in text


def test_a_bad_pair_is_refused_and_the_old_one_stays(server, pair):
    good = shown(server)
    key = (pair / "key.pem").read_bytes()
    (pair / "key.pem").write_bytes(b"no key\n")
    harness.wait_until(lambda: metric(server, REFUSED) == 1, "the refusal is counted")
    assert shown(server) == good
    text = server.log.read_text()
    assert "the new certificate is refused, the old one stays" in text
    assert "there is no private key in PEM form" in text
    assert "refused" in notices(server)[0]
    (pair / "key.pem").write_bytes(key)
    harness.wait_until(lambda: metric(server, RELOADED) == 1, "a good one is taken again")
    harness.wait_until(lambda: notices(server) == [], "nothing to be said any more")


def test_sighup_reads_the_files_again(server):
    server.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: metric(server, RELOADED) == 1, "it is read though nothing changed")
    assert b" 200 " in ask(connect(server))


def test_sighup_without_tls_is_no_end(server_factory):
    plain = server_factory()
    plain.process.send_signal(signal.SIGHUP)
    assert plain.http("GET", "/readyz").json["notices"] == []
    assert plain.is_running()


def test_the_end_is_announced(server, pair):
    assert notices(server) == []
    # 6 of 7 days are left: that is how short it lives, not its end.
    make_pair(pair, age_days=1, left_days=6)
    harness.wait_until(lambda: metric(server, RELOADED) == 1, "the files are read")
    assert notices(server) == []
    cert = make_pair(pair, age_days=80, left_days=10)
    harness.wait_until(lambda: notices(server), "the end is announced")
    assert "expires in 239 hours" in notices(server)[0]
    assert "the certificate expires soon" in server.log.read_text()
    assert metric(server, "confab_tls_certificate_expiry_timestamp_seconds") == int(
        cert.not_valid_after.replace(tzinfo=datetime.timezone.utc).timestamp())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_comes_back_is_let_in_by_a_ticket(server, version):
    context = anybody()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connect(server, context) as first:
        assert b" 200 " in ask(first)  # a ticket of 1.3 comes after the handshake
        assert not first.session_reused and first.selected_alpn_protocol() == "http/1.1"
        ticket = first.session
    with connect(server, context, session=ticket) as second:
        assert b" 200 " in ask(second)
        assert second.session_reused
        assert second.version() == version.name.replace("_", ".")
    harness.wait_until(lambda: metric(server, "confab_tls_resumed_total") == 1, "it is counted")
