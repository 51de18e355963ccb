"""Certificates by ACME, from Pebble: Let's Encrypt's small authority for tests, which misbehaves on
purpose (it refuses good nonces, and takes its time).

Pebble really connects to the port of the server under test and looks for its challenge. Names are
resolved by pebble-challtestsrv, which gives 127.0.0.1 for all of them.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess

import pytest
from cryptography import x509

import harness
from service_manager import Managed, listener
from test_certificates import make_pair, metric, notices

NAME = "chat.example.test"


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Pebble:
    """One authority, for a server at that port."""

    def __init__(self, folder, tls_port, validity_s=7776000, **environment):
        folder.mkdir()
        self.folder, self.port, self.management = folder, free_port(), free_port()
        dns = free_port(socket.SOCK_DGRAM)
        make_pair(folder)  # of its own API; names localhost
        self.ca = folder / "cert.pem"
        (folder / "pebble.json").write_text(json.dumps({"pebble": {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.ca), "privateKey": str(folder / "key.pem"),
            "httpPort": 1, "tlsPort": tls_port, "certificateValidityPeriod": validity_s}}))
        self.log = folder / "pebble.log"
        env = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "25",
               **environment}
        self.processes = [
            self._start(env, "pebble-challtestsrv", "-dns01", f"127.0.0.1:{dns}", "-http01", "",
                        "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "", "-management",
                        f"127.0.0.1:{free_port()}"),
            self._start(env, "pebble", "-config", folder / "pebble.json", "-dnsserver",
                        f"127.0.0.1:{dns}")]
        harness.wait_until(self._listens, "pebble listens")

    def _start(self, env, *command):
        with self.log.open("ab") as log:
            return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], env=env,
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _listens(self):
        assert all(one.poll() is None for one in self.processes), self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def flags(self):
        return ["--domain", NAME, "--redirect-port", "0", "--acme-ca", self.ca,
                "--acme-directory", f"https://localhost:{self.port}/dir"]

    def root(self):
        """The certificate of the authority that it has made for itself."""
        connection = http.client.HTTPSConnection(
            "localhost", self.management, context=ssl.create_default_context(cafile=self.ca))
        connection.request("GET", "/roots/0")
        return connection.getresponse().read().decode()

    def requests(self, path):
        return self.log.read_text().count(f"POST {path} ")

    def stop(self):
        for one in self.processes:
            one.kill()
            one.wait()


@pytest.fixture
def world(tmp_path):
    """world(flags…, pebble=…): an authority and a server that asks it."""
    everything = []

    def make(*flags, validity_s=7776000, reachable=True, environment=None, looks_at=None):
        kept = listener()
        port = looks_at or (kept.getsockname()[1] if reachable else free_port())
        pebble = Pebble(tmp_path / f"pebble{len(everything)}", port, validity_s,
                        **(environment or {}))
        server = Managed(tmp_path / f"data{len(everything)}", tmp_path / "confabd.log",
                         [*pebble.flags(), *flags], [kept])
        server.tls_context = untrusting
        everything.append((pebble, server, kept))
        return pebble, server

    yield make
    try:
        for _, server, _ in everything:
            server.stop()
    finally:
        for pebble, server, kept in everything:
            server.kill()
            pebble.stop()
            kept.close()
            shutil.rmtree(server.data, ignore_errors=True)


def untrusting():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shown(server):
    with untrusting().wrap_socket(socket.create_connection(
            ("127.0.0.1", server.port), harness.DEADLINE_S), server_hostname=NAME) as one:
        return x509.load_der_x509_certificate(one.getpeercert(binary_form=True))


def is_issued(cert):
    return "Pebble" in cert.issuer.rfc4514_string()


def wait_issued(server):
    harness.wait_until(lambda: is_issued(shown(server)), "a certificate is issued and shown")
    return shown(server)


ISSUED = 'confab_acme_tries_total{outcome="issued"}'
FAILED = 'confab_acme_tries_total{outcome="failed"}'


def test_issued_served_and_kept(world):
    pebble, server = world("--domain", f"{NAME}, Second.example.test", "--acme-contact",
                           "admin@example.test")
    server.start()
    cert = wait_issued(server)
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(names.get_values_for_type(x509.DNSName)) == [NAME, "second.example.test"]
    # Whoever trusts the authority needs nothing else: the chain is complete.
    context = ssl.create_default_context(cadata=pebble.root())
    with context.wrap_socket(socket.create_connection(("127.0.0.1", server.port)),
                             server_hostname="second.example.test") as one:
        one.sendall(f"GET /healthz HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        assert b" 200 " in one.recv(4096)
    harness.wait_until(lambda: notices(server) == [], "all is well")
    assert metric(server, ISSUED) == 1 and metric(server, FAILED) == 0
    due = metric(server, "confab_acme_next_try_timestamp_seconds")
    assert 58 * 86400 < due - cert.not_valid_before.timestamp() < 63 * 86400, "two thirds of 90 days"
    folder = server.data / "tls" / "acme"
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert not (folder / "order.json").exists()
    assert f"https://{NAME}/" in server.log.read_text()

    # A restart asks for nothing: it is there, and good.
    server.restart()
    assert shown(server).serial_number == cert.serial_number
    assert metric(server, ISSUED) == 0
    # Another name is another certificate.
    server.stop()
    server.flags += ["--domain", "third.example.test"]
    server.start()
    harness.wait_until(lambda: shown(server).serial_number != cert.serial_number, "for all names")


def test_renewed_while_it_serves(world):
    _, server = world(validity_s=6)
    server.start()
    first = wait_issued(server)
    with untrusting().wrap_socket(socket.create_connection(("127.0.0.1", server.port)),
                                  server_hostname=NAME) as stays:
        harness.wait_until(lambda: shown(server).serial_number != first.serial_number, "renewed")
        harness.wait_until(lambda: metric(server, ISSUED) >= 2, "and counted")
        stays.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in stays.recv(4096)
    assert metric(server, FAILED) == 0


def test_a_refusal_is_told_and_waited_out(world):
    """Nobody answers where the authority looks."""
    pebble, server = world("--acme-retry", "1h", reachable=False)
    server.start()
    harness.wait_until(lambda: metric(server, FAILED) == 1, "the failure is counted")
    text = server.log.read_text()
    assert 'msg="no certificate"' in text and f"{NAME} is not proven" in text
    ready = server.http("GET", "/readyz")
    assert ready.status == 200, "it serves, though with a certificate of its own"
    assert any("no certificate from the authority" in one for one in ready.json["notices"])
    assert not is_issued(shown(server))
    wait = metric(server, "confab_acme_next_try_timestamp_seconds")
    # Neither time nor a restart brings another try; SIGHUP does.
    tries = pebble.requests("/order-plz")
    server.restart()
    assert metric(server, "confab_acme_next_try_timestamp_seconds") == wait
    assert metric(server, FAILED) == 0 and pebble.requests("/order-plz") == tries
    server.process.send_signal(signal.SIGHUP)
    harness.wait_until(lambda: metric(server, FAILED) == 1, "somebody asked for it")
    assert metric(server, "confab_acme_next_try_timestamp_seconds") > wait + 1800, "waits longer"


def test_an_authority_that_is_not_there(world):
    pebble, server = world("--acme-retry", "1s")
    pebble.stop()
    server.start()
    harness.wait_until(lambda: metric(server, FAILED) >= 2, "it tries again by itself")
    assert not is_issued(shown(server))
    server.stop()


def test_an_authority_that_is_not_trusted(world, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    make_pair(other)
    _, server = world("--acme-ca", other / "cert.pem")
    server.start()
    harness.wait_until(lambda: metric(server, FAILED) == 1, "nothing is sent to it")
    assert "certificate" in server.log.read_text().split("no certificate")[1]


def test_killed_in_the_middle(world):
    """An order under way is gone on with: authorities count orders."""
    pebble, server = world(environment={"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "3",
                                        "PEBBLE_WFE_NONCEREJECT": "0"})
    order = server.data / "tls" / "acme" / "order.json"
    server.start()
    harness.wait_until(order.exists, "an order is under way")
    harness.wait_until(lambda: pebble.requests("/order-plz") == 1, "and no other")
    server.kill()
    server.start()
    wait_issued(server)
    # The authority may have looked just while nobody was there: then the order is void, and
    # another one is right. (It may be void and good, when it looked twice.)
    void = pebble.log.read_text().count("set INVALID by completed challenge")
    assert 1 <= pebble.requests("/order-plz") <= 1 + void
    assert not order.exists()


def test_void_because_nobody_was_there(world):
    """That is no failure to be waited out: another order is asked for at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # as long as it is open, it waits there
        pebble, server = world("--acme-retry", "1h", looks_at=silent.getsockname()[1],
                               environment={"PEBBLE_WFE_NONCEREJECT": "0"})
        server.start()
        harness.wait_until(lambda: pebble.requests("/chalZ/"), "it was told to look")
        server.kill()
        assert (pebble.requests("/order-plz"), pebble.requests("/my-order/")) == (1, 0)
        server.start()
        harness.wait_until(lambda: pebble.requests("/my-order/"), "the order is gone on with")
    # The order is another one, and where that one fails it counts.
    harness.wait_until(lambda: metric(server, FAILED) == 1, "the failure is counted")
    assert pebble.requests("/order-plz") == 2


@pytest.mark.parametrize("flags, says", [
    (["--domain", "chat.example.org", "--lan"], "--lan"),
    (["--domain", "chat.example.org", "--plain-http"], "--plain-http"),
    (["--domain", "*.example.org"], "host names"),
    (["--domain", "192.0.2.1"], "host names"),
    (["--domain", "chat.example.org", "--acme-directory", "http://ca.example"], "https://"),
])
def test_what_cannot_be_is_told(tmp_path, flags, says):
    done = subprocess.run([harness.BUILD / "confabd", "check", "--data", tmp_path / "d", *flags],
                          capture_output=True, text=True, check=False, timeout=harness.DEADLINE_S)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


def test_the_port_of_a_domain_is_443(tmp_path):
    def port(*flags):
        shown = subprocess.run([harness.BUILD / "confabd", "check", "--data", tmp_path / "d", *flags],
                               capture_output=True, text=True, check=True,
                               timeout=harness.DEADLINE_S).stdout
        return [line for line in shown.splitlines() if line.startswith("port = ")]

    assert port() == ["port = 8008"]
    assert port("--domain", NAME) == ["port = 443"]
    assert port("--domain", NAME, "--port", "8008") == ["port = 8008"]
