"""TLS as users meet it: a home network of two machines, which are network namespaces here, and a
server with files of its own.

The namespaces are named by this process and taken away again; making them needs root.
"""

import json
import os
import re
import socket
import ssl
import subprocess
import sys

import pytest

import harness

PASSWORD = harness.PASSWORD
CLIENT = """
import http.client, json, ssl, sys
host, port, ca = sys.argv[1], int(sys.argv[2]), sys.argv[3]
c = http.client.HTTPSConnection(host, port, context=ssl.create_default_context(cafile=ca))
c.request("GET", "/api/v1/server" if len(sys.argv) > 4 else "/healthz")
print(c.getresponse().status, c.sock.version() if c.sock else "")
"""


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=harness.DEADLINE_S)


class Network:
    """Two namespaces, server and client, with a cable between them."""

    def __init__(self):
        pid = os.getpid()
        self.server, self.client = f"confab-{pid}-a", f"confab-{pid}-b"
        self.subnet = f"10.{pid % 200 + 20}.{pid // 200 % 250}"
        cable = (f"cfa{pid}", f"cfb{pid}")
        for name in (self.server, self.client):
            ip("netns", "add", name)
        ip("link", "add", cable[0], "netns", self.server, "type", "veth", "peer", "name", cable[1],
           "netns", self.client)
        for name, end, host in ((self.server, cable[0], 1), (self.client, cable[1], 2)):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"{self.subnet}.{host}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
        self.cable = cable[0]

    def remove(self):
        for name in (self.server, self.client):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def run(self, *command, **kwargs):
        """As the client's machine; returns (exit code, output)."""
        done = subprocess.run(["ip", "netns", "exec", self.client, *map(str, command)],
                              capture_output=True, text=True, check=False,
                              timeout=harness.DEADLINE_S, **kwargs)
        return done.returncode, done.stdout + done.stderr


class LanServer(harness.Server):
    def __init__(self, network, tmp_path):
        super().__init__(tmp_path / "data", tmp_path / "confabd.log", ["--lan"])
        self.network = network
        self.starts = 0

    def spawn(self):
        self.starts += 1
        return super().spawn()

    def command(self):
        return ["ip", "netns", "exec", self.network.server, *super().command()]

    def is_ready(self):
        if self.process.poll() is not None:
            raise harness.ServerError(f"confabd ended:\n{self.log_tail()}")
        return self.info() and self.log.read_text().count("Ctrl-C") == self.starts


@pytest.fixture
def network():
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    net = Network()
    yield net
    net.remove()


@pytest.fixture
def lan(network, tmp_path):
    server = LanServer(network, tmp_path)
    try:
        yield server.start()
        server.stop()
    finally:
        server.kill()


def printed(server):
    """(url, fingerprint) of the last start."""
    text = server.log.read_text()
    return (re.findall(r"serves at (\S+)", text)[-1],
            re.findall(r"^    ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})$", text, re.MULTILINE)[-1])


def confab(network, tmp_path, *arguments, stdin=""):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir(exist_ok=True)
    return network.run(harness.BUILD / "confab", *arguments, input=stdin, env=environment)


def test_two_machines_in_a_home_network(lan, network, tmp_path):
    url, fingerprint = printed(lan)
    assert url.startswith(f"https://{network.subnet}.1:")
    text = lan.log.read_text()
    assert "\u2588" in text, "there is a QR code for an address that others reach"
    assert str(lan.data / "tls" / "cert.pem") in text
    assert (lan.data / "tls" / "key.pem").stat().st_mode & 0o777 == 0o600

    # By its fingerprint; that is remembered in the profile.
    for name in ("alice", "bob"):
        code, out = confab(network, tmp_path, "register", name, "--profile", name, "--server", url,
                           "--fingerprint", fingerprint, stdin=PASSWORD + "\n")
        assert code == 0, out
    code, out = confab(network, tmp_path, "send", "bob", "over the air", "--profile", "alice")
    assert code == 0, out
    code, out = confab(network, tmp_path, "history", "alice", "--profile", "bob")
    assert code == 0 and "over the air" in out
    code, out = confab(network, tmp_path, "conversations", "--text", "--profile", "bob")
    assert code == 0 and "alice" in out, "the socket works, too"

    # By its file, which names the address.
    port = url.rsplit(":", 1)[1].strip("/")
    code, out = network.run(sys.executable, "-c", CLIENT, f"{network.subnet}.1", port,
                            lan.data / "tls" / "cert.pem")
    assert code == 0 and out.startswith("200 TLSv1.3"), out

    # Not by anything else.
    for wrong in (["--fingerprint", "00:" * 31 + "00"], []):
        code, out = confab(network, tmp_path, "register", "eve", "--server", url, *wrong,
                           stdin=PASSWORD + "\n")
        assert code == 3 and "certificate" in out, out


def test_certificate_stays_until_the_address_changes(lan, network):
    _, first = printed(lan)
    key = (lan.data / "tls" / "key.pem").read_bytes()
    lan.restart()
    assert printed(lan)[1] == first
    lan.stop()
    # What comes and goes by itself: temporary addresses, and those of containers.
    ip("-n", network.server, "addr", "add", "fd00:77::1/64", "dev", network.cable)
    ip("-n", network.server, "link", "add", "docker0", "type", "veth", "peer", "name", "inside")
    ip("-n", network.server, "addr", "add", "172.17.0.1/16", "dev", "docker0")
    ip("-n", network.server, "link", "set", "docker0", "up")
    lan.start()
    assert printed(lan)[1] == first and "172.17.0.1" not in lan.log.read_text()
    lan.stop()
    ip("-n", network.server, "addr", "add", "192.168.77.1/24", "dev", network.cable)
    lan.start()
    assert printed(lan)[1] != first
    assert (lan.data / "tls" / "key.pem").read_bytes() == key
    assert "https://192.168.77.1:" in lan.log.read_text()


# -- without namespaces ---------------------------------------------------------------------------

@pytest.fixture
def tls_server(server_factory):
    return server_factory("--lan", "--listen", "127.0.0.1")


def test_rest_and_socket_over_tls(tls_server):
    alice, bob = tls_server.register("alice"), tls_server.register("bob")
    listening = bob.socket()
    listening.resume()
    sent = alice.send("hello " * 2000, to=bob.user_id)
    assert sent.status == 201
    assert listening.expect("new_message")["content"] == "hello " * 2000
    harness.wait_until(lambda: tls_server.metric("confab_tls_handshakes_total") > 0,
                       "the metrics are sampled")


def test_client_checks_whom_it_talks_to(tls_server, tmp_path):
    confab = harness.Cli(tmp_path / "home", tls_server)
    cert = tls_server.data / "tls" / "cert.pem"
    port = tls_server.port
    pin = json.loads((tls_server.data / "server.json").read_text())["fingerprint"]

    def register(name, url, *trust, code=0):
        return confab("register", name, "--server", url, *trust, user=name,
                      stdin=PASSWORD + "\n", code=code)

    # The file, by address and by name; the fingerprint, however it is written.
    register("ann", f"https://127.0.0.1:{port}", "--ca", cert)
    register("ben", f"https://localhost:{port}/", "--ca", cert)
    register("cid", f"wss://127.0.0.1:{port}", "--fingerprint", pin.replace(":", "").lower())
    # A pinned certificate is good under any name, others only for theirs.
    other_name = f"https://[::ffff:127.0.0.1]:{port}"
    register("dan", other_name, "--fingerprint", pin)
    assert "certificate" in register("eve", other_name, "--ca", cert, code=3)
    said = register("eve", f"https://127.0.0.1:{port}", code=3)
    assert "certificate" in said and "--fingerprint" in said
    said = register("eve", f"https://127.0.0.1:{port}", "--fingerprint", "00" * 32, code=3)
    assert pin in said, "it says which one is there"
    for bad in (["--fingerprint", "00"], ["--ca", "/no/such/file"], ["--ca", tls_server.log]):
        register("eve", f"https://127.0.0.1:{port}", *bad, code=1)
    assert tls_server.login("ann").user_id and tls_server.http(
        "POST", "/api/v1/tokens", {"username": "eve", "password": PASSWORD}).status == 401


def test_plain_http_gets_an_answer_in_plain_text(tls_server):
    with tls_server.raw() as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while chunk := plain.recv(4096):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer


def test_half_a_handshake_is_ended_by_the_deadline(tls_server):
    """The gateway's deadline for a first request is one for the handshake, too."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    with tls_server.raw() as raw:
        raw.sendall(outgoing.read()[:40])
        raw.settimeout(harness.DEADLINE_S)
        try:
            assert raw.recv(1) == b""
        except ConnectionResetError:
            pass


def test_old_versions_are_refused(tls_server):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with tls_server.raw() as raw, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(raw)
    assert tls_server.http("GET", "/healthz").status == 200


def run_confabd(*arguments):
    done = subprocess.run([str(harness.BUILD / "confabd"), *map(str, arguments)],
                          capture_output=True, text=True, timeout=harness.DEADLINE_S, check=False)
    return done.returncode, done.stdout, done.stderr


def test_operators_own_files(tls_server, server_factory, tmp_path):
    made = tls_server.data / "tls"
    other = server_factory("--tls-cert", made / "cert.pem", "--tls-key", made / "key.pem")
    assert other.url.startswith("https://")
    code, out, err = run_confabd("check", "--data", tmp_path / "c", "--tls-cert",
                                 made / "cert.pem", "--tls-key", made / "key.pem")
    assert code == 0, err
    for cert, key, says in (("no-such", "key.pem", "tls-cert: "), ("key.pem", "key.pem", "PEM"),
                            ("cert.pem", "cert.pem", "tls-key: ")):
        for command in (["check"], []):
            code, out, err = run_confabd(*command, "--data", tmp_path / "d", "--port", 0,
                                         "--tls-cert", made / cert, "--tls-key", made / key)
            assert code == 1 and says in err and err.count("\n") == 1, err


@pytest.mark.parametrize("arguments, says", [
    (["--listen", "0.0.0.0"], "--plain-http"),
    (["--listen", "192.0.2.1"], "--plain-http"),
    (["--tls-cert", "x"], "tls-key"),
    (["--tls-key", "x"], "tls-cert"),
    (["--lan", "--plain-http"], "--lan"),
])
def test_what_does_not_go_together_is_told(tmp_path, arguments, says):
    code, _, err = run_confabd("--data", tmp_path / "data", *arguments)
    assert code == 2 and says in err and err.count("\n") == 1, err
    assert not (tmp_path / "data").exists()


def test_plain_http_off_loopback_when_asked_for(server_factory):
    server = server_factory("--listen", "0.0.0.0", "--plain-http")
    assert server.http("GET", "/healthz").status == 200
    info = json.loads((server.data / "server.json").read_text())
    assert info["url"].startswith("http://127.0.0.1:")
    assert socket.create_connection(("127.0.0.1", server.port), 5)
