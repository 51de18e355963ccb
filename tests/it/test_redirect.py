"""The plain port beside TLS: it sends everybody on to https, and does nothing else."""

import http.client
import socket

import pytest

import harness
from test_certificates import make_pair
from test_config import checked, refused

NAME = "chat.example.test"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def pair(tmp_path):
    make_pair(tmp_path)
    return ["--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "key.pem"]


def ask(port, method="GET", path="/", host=None, body=None):
    """(status, Location)"""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=harness.DEADLINE_S)
    connection.request(method, path, body, {"Host": host} if host else {})
    answer = connection.getresponse()
    assert answer.read() == b"" and answer.getheader("Connection") == "close"
    connection.close()
    return answer.status, answer.getheader("Location")


def raw(port, data):
    with socket.create_connection(("127.0.0.1", port), harness.DEADLINE_S) as one:
        one.sendall(data)
        got = b""
        while more := one.recv(65536):
            got += more
        return got


def test_everything_goes_to_https(server_factory, pair):
    port = free_port()
    server = server_factory(*pair, "--redirect-port", port, "--hosts", NAME)
    there = f":{server.port}"
    assert ask(port) == (308, f"https://127.0.0.1{there}/")
    assert ask(port, path="/a%20b?c=d&e", host=f"localhost:{port}") == (
        308, f"https://localhost{there}/a%20b?c=d&e")
    assert ask(port, "POST", "/api/v1/tokens", NAME, b'{"username":"a"}') == (
        308, f"https://{NAME}{there}/api/v1/tokens")
    assert ask(port, path="/", host="[::1]:80") == (308, f"https://[::1]{there}/")
    # A path that looks like a host stays a path, and of no name but ours anybody is sent away.
    assert ask(port, path="//evil.example") == (308, f"https://127.0.0.1{there}//evil.example")
    status, location = ask(port, host="evil.example")
    assert status == 308 and "evil" not in location
    assert server.metric("confab_redirects_total") == 6
    # What it sends people to, answers.
    assert server.http("GET", "/readyz").status == 200


def test_what_is_no_request(server_factory, pair):
    port = free_port()
    server = server_factory(*pair, "--redirect-port", port)
    assert raw(port, b"\x16\x03\x01\x02\x00\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert raw(port, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    long = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20000
    assert raw(port, long).startswith(b"HTTP/1.1 431 ")
    assert b"Location" not in raw(port, b"nonsense\r\n\r\n")
    # In pieces, with a body that is not read, and by HTTP/1.0, which has no Host.
    with socket.create_connection(("127.0.0.1", port), harness.DEADLINE_S) as one:
        for part in (b"POST /x HTTP/1.1\r\nHo", b"st: localhost\r\nContent-Length: 9", b"\r\n\r\nab"):
            one.sendall(part)
        assert one.recv(4096).startswith(b"HTTP/1.1 308 ")
    assert b"Location: https://" in raw(port, b"GET /x HTTP/1.0\r\n\r\n")
    refusals = [line for line in server.http("GET", "/metrics").body.decode().splitlines()
                if line.startswith('confab_redirects_total{outcome="refused"}')]
    assert refusals == ['confab_redirects_total{outcome="refused"} 4']


def test_who_says_nothing_makes_room(server_factory, pair):
    port = free_port()
    server = server_factory(*pair, "--redirect-port", port)
    silent = [socket.create_connection(("127.0.0.1", port), harness.DEADLINE_S)
              for _ in range(256)]
    assert ask(port)[0] == 308
    assert server.metric("confab_bound_hits_total") >= 1
    silent[0].settimeout(harness.DEADLINE_S)
    assert silent[0].recv(1) == b""  # the oldest
    for one in silent:
        one.close()


def test_a_domain_is_where_its_name_leads(server_factory):
    """The port that the server has does not matter: the authority comes to 443, and people do."""
    port = free_port()
    server_factory("--domain", f"{NAME}, other.example.test", "--listen", "127.0.0.1",
                   "--acme-directory", "https://localhost:1/dir", "--port", "0", "--redirect-port",
                   port, start=False).spawn()

    def answered():
        try:
            return ask(port, path="/x", host="other.example.test")
        except OSError:
            return None

    there = harness.wait_until(answered, "the port sends people on")
    assert there == (308, "https://other.example.test/x")
    assert ask(port, path="/x", host="evil.example") == (308, f"https://{NAME}/x")


def test_with_a_public_url_that_is_where_people_go(server_factory, pair):
    port = free_port()
    server_factory(*pair, "--redirect-port", port, "--public-url", "https://chat.example.org:8443")
    assert ask(port, path="/x?y", host="localhost") == (308, "https://chat.example.org:8443/x?y")


def test_the_option(tmp_path, server_factory, pair):
    assert checked(tmp_path)["redirect-port"] == "0"
    assert checked(tmp_path, *pair)["redirect-port"] == "0"
    domain = ["--domain", NAME]
    assert checked(tmp_path, *domain)["redirect-port"] == "80"
    assert checked(tmp_path, *domain, "--redirect-port", "0")["redirect-port"] == "0"
    assert checked(tmp_path, *domain, "--redirect-port", "8080")["redirect-port"] == "8080"
    assert "redirect-port" in refused(tmp_path, "--redirect-port", "8080")
    assert "the same" in refused(tmp_path, *pair, "--redirect-port", "8443", "--port", "8443")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = server_factory(*pair, "--redirect-port", port, start=False)
        assert server.spawn().wait(harness.DEADLINE_S) == 1
        assert f"port {port} cannot send people on to https: it is taken" in server.log_tail()
        server.process = None
