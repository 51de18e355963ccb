"""The configurations of deploy/ in front of a server: chat by every transport, and what breaks there.

They are the shipped files, with other ports and certificate paths; one refuses upgrades besides.
"""

import http.client
import json
import re
import socket
import ssl
import subprocess
import threading

import pytest

import harness

DEPLOY = harness.ROOT / "deploy"
TRANSPORTS = ["ws", "sse", "poll"]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, key, both in one file)"""
    folder = tmp_path_factory.mktemp("certificate")
    cert, key, both = (folder / name for name in ("confab.crt", "confab.key", "confab.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out",
                    cert], check=True, capture_output=True, timeout=harness.DEADLINE_S)
    both.write_text(cert.read_text() + key.read_text())
    return cert, key, both


class Proxy:
    """A proxy's process with one of our configurations."""

    def __init__(self, folder, server, certificate, path=""):
        self.folder, self.server, self.port, self.path = folder, server, free_port(), path
        self.cert = certificate[0]
        self.process = None
        folder.mkdir()

    def replaced(self, name, pairs):
        """The shipped file; each of the pairs has to be there."""
        text = (DEPLOY / name).read_text()
        for old, new in pairs:
            assert old in text, (name, old)
            text = text.replace(old, new)
        return text

    def start(self, *command):
        self.log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        harness.wait_until(self.listens, "the proxy listens, and finds the server")
        return self

    def listens(self):
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            return self.http("GET", "/readyz").status == 200
        except OSError:
            return False

    @property
    def url(self):
        return f"https://localhost:{self.port}{self.path}"

    def connect(self, source=None):
        return http.client.HTTPSConnection(
            "localhost", self.port, timeout=harness.DEADLINE_S,
            source_address=(source, 0) if source else None,
            context=ssl.create_default_context(cafile=self.cert))

    def http(self, method, path, body=None, token=None, headers=None, source=None):
        connection = self.connect(source)
        try:
            connection.request(method, self.path + path, json.dumps(body) if body else None,
                               {**(headers or {}),
                                **({"Authorization": f"Bearer {token}"} if token else {})})
            answer = connection.getresponse()
            return harness.Response(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.log.close()


def haproxy(folder, server, certificate, refuse=False):
    proxy = Proxy(folder, server, certificate)
    no = "    http-request deny deny_status 403 if { req.hdr(upgrade) -m found }\n"
    text = proxy.replaced("haproxy/haproxy.cfg", [
        ("bind :443 ", f"bind 127.0.0.1:{proxy.port} "),
        ("/etc/haproxy/confab.pem", str(certificate[2])),
        ("127.0.0.1:8008", f"127.0.0.1:{server.port}"),
        ("maxconn 100000", "maxconn 1000"),
        ("    default_backend", (no if refuse else "") + "    default_backend")])
    (folder / "haproxy.cfg").write_text(text)
    return proxy.start("haproxy", "-db", "-f", folder / "haproxy.cfg")


def nginx(folder, server, certificate, name="confab.conf", path="", extra=""):
    proxy = Proxy(folder, server, certificate, path)
    text = proxy.replaced(f"nginx/{name}", [
        ("listen 443 ssl", f"listen 127.0.0.1:{proxy.port} ssl"),
        ("/etc/nginx/confab.crt", str(certificate[0])),
        ("/etc/nginx/confab.key", str(certificate[1])),
        ("127.0.0.1:8008", f"127.0.0.1:{server.port}"),
        ("        proxy_http_version 1.1;\n", "        proxy_http_version 1.1;\n" + extra)])
    temporary = "".join(f"    {kind}_temp_path {folder}/{kind};\n" for kind in (
        "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off;\nuser root;\nworker_processes 1;\npid {folder}/pid;\n"
        f"error_log {folder}/error.log;\nevents {{ worker_connections 200; }}\n"
        f"http {{\n    access_log off;\n{temporary}{text}}}\n")
    return proxy.start("nginx", "-p", folder, "-c", folder / "nginx.conf", "-e",
                       folder / "error.log")


def refusing(folder, server, certificate):
    return haproxy(folder, server, certificate, refuse=True)


def subpath(folder, server, certificate):
    return nginx(folder, server, certificate, "confab-subpath.conf", "/chat")


@pytest.fixture
def behind(tmp_path, server_factory, certificate):
    """behind(kind) → (server, proxy, cli)"""
    proxies = []

    def make(kind, *flags):
        server = server_factory("--shards", "2", *flags)
        proxies.append(kind(tmp_path / f"proxy{len(proxies)}", server, certificate))
        cli = harness.Cli(tmp_path / "home", server)
        return server, proxies[-1], Through(cli, proxies[-1])

    yield make
    for proxy in proxies:
        proxy.stop()


class Through:
    """The CLI, by way of the proxy."""

    def __init__(self, cli, proxy):
        self.cli, self.proxy = cli, proxy

    def environment(self, user):
        return {**self.cli.environment(user), "CONFAB_SERVER": self.proxy.url,
                "CONFAB_CA": str(self.proxy.cert)}

    def __call__(self, *arguments, user, **kwargs):
        return self.cli(*arguments, user=user, env=self.environment(user), **kwargs)

    def tail(self, user, *arguments):
        command = [str(harness.BUILD / "confab"), "tail", "--text", *map(str, arguments)]
        return harness._Spawned(command, self.environment(user))

    def sign_up(self, *names):
        for name in names:
            self("register", name, user=name, stdin=harness.PASSWORD + "\n")


def until(process, text):
    """Reads lines until one has the text; all of them."""
    seen = []
    timer = threading.Timer(harness.DEADLINE_S, process.kill)
    timer.start()
    try:
        for line in process.stdout:
            seen.append(line)
            if text in line:
                return seen
    finally:
        timer.cancel()
    raise AssertionError(f"no {text!r} in {seen}")


@pytest.mark.parametrize("kind", [haproxy, nginx, subpath], ids=["haproxy", "nginx", "subpath"])
def test_chat_by_every_transport(behind, kind):
    server, _, confab = behind(kind, "--stream-heartbeat", "500ms")
    confab.sign_up("alice", "bob")
    for way in TRANSPORTS:
        with confab.tail("bob", "--transport", way) as tail:
            lines = until(tail, "following")
            assert way == "ws" or f"over {way}" in lines[-1]
            assert server.metric("confab_sessions_by_carrier") == 1
            for i in range(3):
                confab("send", "bob", f"{way} {i}", "--transport", way, user="alice")
            lines = until(tail, f"{way} 2")
            assert [x for x in lines if "alice: " in x] == [x for x in lines if f"{way} " in x]
            assert len(lines) == 3
            tail.terminate()
            tail.wait(harness.DEADLINE_S)
    # Goodbyes arrive.
    harness.wait_until(lambda: server.metric("confab_sessions_open") == 0, "nobody is left")


def test_where_upgrades_are_refused_the_client_finds_another_way(behind):
    server, _, confab = behind(refusing)
    confab.sign_up("alice", "bob")
    with confab.tail("bob") as tail:
        assert "over sse" in until(tail, "following")[-1]
        confab("send", "bob", "hello", user="alice")
        until(tail, "hello")
        tail.terminate()
        tail.wait(harness.DEADLINE_S)
    assert server.metric("confab_ws_upgrades_total") == 0


def test_where_streams_are_kept_back_it_polls(behind, certificate, tmp_path):
    """A proxy that refuses upgrades and buffers answers whatever they say."""
    def bad(folder, server, certs):
        return nginx(folder, server, certs, extra=(
            "        proxy_ignore_headers X-Accel-Buffering;\n"
            "        if ($http_upgrade) { return 403; }\n"))

    server, _, confab = behind(bad)
    confab.sign_up("alice", "bob")
    with confab.tail("bob") as tail:
        assert "over poll" in until(tail, "following")[-1]
        confab("send", "bob", "hello", user="alice", timeout=harness.DEADLINE_S)
        until(tail, "hello")
        tail.terminate()
        tail.wait(harness.DEADLINE_S)
    assert server.metric("confab_carried_sessions_total") >= 1


@pytest.mark.parametrize("kind", [haproxy, nginx], ids=["haproxy", "nginx"])
def test_a_killed_server_loses_nothing_of_a_stream(behind, kind):
    server, proxy, confab = behind(kind)
    # The proxy knows one port: the next process takes it too.
    server.flags += ["--port", str(server.port)]
    confab.sign_up("alice", "bob")
    with confab.tail("bob", "--transport", "sse") as tail:
        until(tail, "following")
        confab("send", "bob", "before", user="alice")
        until(tail, "before")
        server.kill()
        server.start()
        confab("send", "bob", "after", "--transport", "poll", user="alice")
        lines = until(tail, "after")
        assert sum("alice: before" in x for x in lines) == 0
        assert sum("alice: after" in x for x in lines) == 1
        tail.terminate()
        tail.wait(harness.DEADLINE_S)


@pytest.mark.parametrize("kind", [haproxy, nginx], ids=["haproxy", "nginx"])
def test_a_stream_passes_as_it_comes(behind, kind):
    _, proxy, _ = behind(kind, "--stream-heartbeat", "300ms")
    account = proxy.server.register("alice")
    session = proxy.http("POST", "/api/v1/events", {"mode": "sse"}, account.token)
    assert session.status == 201
    connection = proxy.connect()
    connection.request("GET", f"/api/v1/events/{session.json['session_id']}", headers={
        "Authorization": f"Bearer {account.token}", "Accept": "text/event-stream"})
    answer = connection.getresponse()
    assert answer.getheader("Content-Type") == "text/event-stream"
    for _ in range(4):
        assert answer.readline() == b":\n" and answer.readline() == b"\n"
    connection.close()


def test_the_page_lives_below_a_path(behind):
    _, proxy, _ = behind(subpath)
    assert proxy.http("GET", "/api/v1/server").status == 200
    connection = proxy.connect()
    connection.request("GET", "/chat")
    answer = connection.getresponse()
    assert answer.status == 308 and answer.getheader("Location").endswith("/chat/")
    connection.close()
    signed_in = proxy.http("POST", "/api/v1/accounts",
                           {"username": "carol", "password": harness.PASSWORD})
    assert signed_in.status == 201
    signed_in = proxy.http("POST", "/api/v1/tokens", {
        "username": "carol", "password": harness.PASSWORD, "cookie": True},
        headers={"X-Confab-Client": "web"})
    assert signed_in.status == 201, signed_in.body
    assert "Path=/chat/api/v1/tokens" in signed_in.headers["Set-Cookie"]


def sign_in(ask, **kwargs):
    """Signs Alice in through `ask`; the address that her list of devices then shows."""
    token = ask("POST", "/api/v1/tokens", {"username": "alice", "password": harness.PASSWORD},
                **kwargs).json["token"]
    devices = ask("GET", "/api/v1/devices", token=token).json["devices"]
    return next(x["last_address"] for x in devices if x["current"])


@pytest.mark.parametrize("kind", [haproxy, nginx, subpath], ids=["haproxy", "nginx", "subpath"])
def test_the_server_sees_the_client(behind, kind):
    """The proxy is trusted: the client's address is what it says, not what the client says."""
    server, proxy, _ = behind(kind)
    alice = server.register("alice")
    assert sign_in(proxy.http, source="127.0.0.2") == "127.0.0.2"
    lies = {"X-Forwarded-For": "192.0.2.9", "Forwarded": "for=192.0.2.9", "X-Real-IP": "192.0.2.9"}
    assert sign_in(proxy.http, source="127.0.0.2", headers=lies) == "127.0.0.2"
    operator = (server.data / "operator.key").read_text().strip()
    assert server.http("GET", "/api/v1/admin/settings", token=operator).status == 200
    assert proxy.http("GET", "/api/v1/admin/settings", token=operator).status == 401
    assert proxy.http("GET", "/metrics").status == 404
    invite = proxy.http("POST", "/api/v1/invites", {"uses": 1}, token=alice.token, source="127.0.0.2")
    assert invite.status == 201
    audit = server.http("GET", "/api/v1/admin/audit", token=operator).json["records"]
    assert (audit[0]["action"], audit[0]["address"]) == ("invite.create", "127.0.0.2")
    # The page of the name that was asked for, since the proxy says that it came by https.
    page = f"https://localhost:{proxy.port}"
    cookie = proxy.http("POST", "/api/v1/tokens", {
        "username": "alice", "password": harness.PASSWORD, "cookie": True},
        headers={"X-Confab-Client": "web", "Origin": page})
    assert cookie.status == 201 and "; Secure" in cookie.headers["Set-Cookie"]


def test_a_proxy_that_is_not_trusted_is_the_client(behind):
    server, proxy, _ = behind(haproxy, "--trusted-proxies", "192.0.2.0/24")
    server.register("alice")
    assert sign_in(proxy.http, source="127.0.0.2") == "127.0.0.1"
    assert proxy.http("GET", "/metrics").status == 404


def test_several_hops(server_factory):
    server = server_factory("--trusted-proxies", "127.0.0.1, 10.0.0.0/8", "--shards", "1")
    server.register("alice")

    def through(hops):
        return sign_in(server.http, headers={"X-Forwarded-For": hops})

    assert through("198.51.100.9, 203.0.113.5, 10.0.0.2, 10.0.0.1") == "203.0.113.5"
    assert through("10.0.0.3, 10.0.0.2") == "10.0.0.3"
    assert through("203.0.113.5, unknown, 10.0.0.2") == "10.0.0.2"
    assert server.metric("confab_proxy_headers_odd_total") == 1


def test_forwarded(server_factory):
    server = server_factory("--proxy-header", "forwarded", "--shards", "1")
    server.register("alice")
    said = {"Forwarded": 'for=198.51.100.9, for="[2001:db8::7]:4711";proto=https',
            "X-Forwarded-For": "192.0.2.9"}
    assert sign_in(server.http, headers=said) == "2001:db8::7"


def test_timeouts_are_longer_than_heartbeats():
    beats = {"heartbeat": 30, "stream-heartbeat": 15, "poll": 60}
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    for name in ("client", "server", "tunnel"):
        seconds = int(re.search(rf"timeout {name} (\d+)s", text)[1])
        assert seconds > max(beats.values()), name
    for name in ("confab.conf", "confab-subpath.conf"):
        text = (DEPLOY / "nginx" / name).read_text()
        for option in ("proxy_read_timeout", "proxy_send_timeout"):
            assert int(re.search(rf"{option} (\d+)s", text)[1]) > max(beats.values())
    options = (harness.ROOT / "docs" / "configuration.md").read_text()
    assert f"`--stream-heartbeat` | `{beats['stream-heartbeat'] * 1000}`" in options or \
        f"`--stream-heartbeat` | `{beats['stream-heartbeat']}s`" in options
