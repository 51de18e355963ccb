"""What must not be sent: each gets its documented error, changes nothing and costs only its sender.

Over real sockets. The same cases with timeouts, small queues and full rings are in
tests/unit/gateway, where the clock is simulated.
"""

import json
import os
import random
import socket
import struct

import pytest

import harness

UPGRADE = (b"Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
NOBODY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def alice(server):
    return server.register("alice")


@pytest.fixture
def bob(server):
    return server.register("bob")


def read_all(sock):
    parts = []
    while True:
        try:
            part = sock.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)


def status_of(answer):
    return int(answer.split(b" ", 2)[1])


def assert_serves(server):
    assert server.http("GET", "/healthz").status == 200


# -- HTTP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, request_bytes, status", [
    ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
    ("no version", b"GET /healthz\r\n\r\n", 400),
    ("no host", b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: b\r\n\r\n", 400),
    ("bare line feeds", b"GET /healthz HTTP/1.1\nHost: a\n\n", 400),
    ("folded line", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", 400),
    ("space before colon", b"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("length and chunks", b"POST /api/v1/accounts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("two lengths", b"POST /api/v1/accounts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
                    b"Content-Length: 2\r\n\r\nab", 400),
    ("signed length", b"POST /api/v1/accounts HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na",
     400),
    ("bad chunk", b"POST /api/v1/accounts HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"zz\r\n", 400),
    ("unknown coding", b"POST /api/v1/accounts HTTP/1.1\r\nHost: localhost\r\n"
                       b"Transfer-Encoding: gzip\r\n\r\n", 501),
    ("unknown version", b"GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
    ("long target", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
    ("long head", b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"a" * 17000 + b"\r\n\r\n", 431),
    ("long body", b"POST /api/v1/accounts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n",
     413),
])
def test_a_malformed_request_is_answered_and_closed(server, name, request_bytes, status):
    with server.raw() as sock:
        sock.sendall(request_bytes)
        answer = read_all(sock)
    assert status_of(answer) == status, name
    assert b"Connection: close" in answer
    head, body = answer.split(b"\r\n\r\n", 1)
    assert json.loads(body)["error"]["code"], name
    assert_serves(server)


def test_a_request_smuggled_behind_another_is_not_run(server):
    """A body that ends early for one reader must not become a request for this one."""
    with server.raw() as sock:
        sock.sendall(b"POST /api/v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n"
                     b"Host: localhost\r\n\r\n")
        answer = read_all(sock)
    assert answer.count(b"HTTP/1.1 ") == 1 and status_of(answer) == 400


def test_a_truncated_request_leaves_nothing(server):
    for cut in (b"POST /api/v1/acc", b"POST /api/v1/accounts HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: 100\r\n\r\n{\"username\":\"alice\""):
        with server.raw() as sock:
            sock.sendall(cut)
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b""
    harness.wait_until(lambda: server.metric("confab_connections_open") <= 1, "they are gone")
    assert server.metric("confab_accounts_created_total") == 0


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"\"x\"", b"{\"username\":\"a\",}", b"{\"username\":\"\xff\"}",
    b"{\"username\":\"\\ud800\",\"password\":\"a long enough password\"}",
    b"{\"username\":\"a\",\"username\":\"b\",\"password\":\"a long enough password\"}",
    b"{\"username\":{\"a\":1},\"password\":\"a long enough password\"}",
    b"[" * 100000 + b"]" * 100000,
], ids=lambda body: repr(body[:20]))
def test_a_body_that_is_not_what_it_must_be(server, body):
    answer = server.http("POST", "/api/v1/accounts", body)
    assert answer.status == 400 and answer.error_code == "invalid"
    assert server.metric("confab_accounts_created_total") == 0


def test_without_a_token(server):
    for method, path in (("GET", "/api/v1/users/me"), ("POST", "/api/v1/messages"),
                         ("POST", "/api/v1/groups"), ("GET", f"/api/v1/messages/{NOBODY}"),
                         ("PUT", f"/api/v1/conversations/{NOBODY}/pin"),
                         ("DELETE", "/api/v1/blocks/alice")):
        answer = server.http(method, path)
        assert answer.status == 401 and answer.error_code == "unauthenticated"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["x", "cfb_" + "A" * 43, "cfb_" + "A" * 42 + "!", "a" * 5000])
def test_with_a_wrong_token(server, token):
    answer = server.http("GET", "/api/v1/users/me", token=token)
    assert answer.status == 401 and answer.error_code == "unauthenticated"


def test_forbidden_and_unknown_look_alike(server, alice, bob):
    group = alice.http("POST", "/api/v1/groups", {"name": "hers"}).json["group_id"]
    for conversation in (group, NOBODY):
        for method, path, body in (
                ("GET", f"/api/v1/conversations/{conversation}/messages", None),
                ("GET", f"/api/v1/groups/{conversation}/members", None),
                ("POST", f"/api/v1/groups/{conversation}/members", {"user_id": bob.user_id}),
                ("PATCH", f"/api/v1/groups/{conversation}", {"name": "mine"}),
                ("POST", "/api/v1/messages", {"groupId": conversation, "content": "x"}),
                ("PUT", f"/api/v1/conversations/{conversation}/pin", {"pinned": True})):
            answer = bob.http(method, path, body)
            assert (answer.status, answer.error_code) == (404, "not_found"), path
    assert alice.http("GET", f"/api/v1/groups/{group}/members").json["members"] == [
        {"user_id": alice.user_id, "username": "alice", "display_name": "alice", "role": "owner"}]


def test_a_client_that_never_reads_its_answers(server):
    request_bytes = ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").encode() * 1000
    with server.raw() as sock:
        sock.setblocking(False)
        sent = 0
        try:
            while sent < 20_000_000:
                sent += sock.send(request_bytes)
        except BlockingIOError:
            pass
        assert_serves(server)
        assert server.metric("confab_output_bytes") < 8 << 20


def test_hundreds_that_open_and_say_nothing(server, alice):
    idle = [server.raw() for _ in range(300)]
    try:
        harness.wait_until(lambda: server.metric("confab_connections_open") >= 300, "all are in")
        assert alice.http("GET", "/api/v1/users/me").status == 200
    finally:
        for sock in idle:
            sock.close()
    harness.wait_until(lambda: server.metric("confab_connections_open") <= 1, "they are gone")


# -- WebSocket ----------------------------------------------------------------------------------


def open_socket(server, token):
    sock = server.raw()
    sock.sendall(b"GET /ws?token=" + token.encode() + b" HTTP/1.1\r\n" + UPGRADE + b"\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    assert status_of(head) == 101
    return sock


def frame(first, payload, mask=b"\x01\x02\x03\x04", length=None):
    n = len(payload) if length is None else length
    bit = 0x80 if mask else 0
    if n < 126:
        head = struct.pack(">BB", first, bit | n)
    elif n < 65536:
        head = struct.pack(">BBH", first, bit | 126, n)
    else:
        head = struct.pack(">BBQ", first, bit | 127, n)
    if not mask:
        return head + payload
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def close_code(stream):
    """The code of the close frame in what a server sent."""
    while stream:
        n = stream[1] & 127
        head = 2
        if n == 126:
            n, head = struct.unpack(">H", stream[2:4])[0], 4
        elif n == 127:
            n, head = struct.unpack(">Q", stream[2:10])[0], 10
        if stream[0] & 15 == 8:
            return struct.unpack(">H", stream[head:head + 2])[0]
        stream = stream[head + n:]
    return None


@pytest.mark.parametrize("name, payload, code", [
    ("binary", frame(0x82, b"x"), 1003),
    ("not masked", frame(0x81, b"x", mask=None), 1002),
    ("reserved bit", frame(0xc1, b"x"), 1002),
    ("reserved opcode", frame(0x83, b"x"), 1002),
    ("continues nothing", frame(0x80, b"x"), 1002),
    ("message in a message", frame(0x01, b"x") + frame(0x81, b"y"), 1002),
    ("long ping", frame(0x89, b"x" * 126), 1002),
    ("ping in fragments", frame(0x09, b"x"), 1002),
    ("close of one byte", frame(0x88, b"x"), 1002),
    ("close with a reserved code", frame(0x88, struct.pack(">H", 1005)), 1002),
    ("not UTF-8", frame(0x81, b"\xc3\x28"), 1007),
    ("not UTF-8 over two frames", frame(0x01, b"\xc3") + frame(0x80, b"\x28"), 1007),
    ("too big", frame(0x81, b"", length=1 << 40), 1009),
    ("too big in fragments", frame(0x01, b"a" * 60000) + frame(0x80, b"a" * 60000), 1009),
    ("length that is not the shortest", b"\x81\xfe\x00\x05\x01\x02\x03\x04aaaaa", 1002),
])
def test_a_bad_frame_has_its_close_code(server, alice, name, payload, code):
    with open_socket(server, alice.token) as sock:
        sock.sendall(payload)
        assert close_code(read_all(sock)) == code, name
    harness.wait_until(lambda: server.metric("confab_sessions_open") == 0, "the session is gone")
    assert_serves(server)


@pytest.mark.parametrize("head, status", [
    (UPGRADE.replace(b"13", b"12"), 426),
    (UPGRADE.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400),
    (UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ="), 400),
    (b"Host: localhost\r\n", 426),
])
def test_a_bad_handshake(server, head, status):
    with server.raw() as sock:
        sock.sendall(b"GET /ws HTTP/1.1\r\n" + head + b"Connection: close\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert status_of(read_all(sock)) == status


def test_frames_in_the_wrong_order(server, alice, bob):
    """A send before signing in, and signing in twice."""
    sock = server.socket()
    sock.send("send_message", to="bob", content="x", client_msg_id="1")
    assert sock.expect("error")["code"] == "unauthenticated"
    sock.send("auth", token=alice.token)
    sock.expect("hello")
    sock.send("auth", token=bob.token)
    assert sock.expect("error")["code"] == "conflict"
    sock.send("send_message", to="bob", content="x", client_msg_id="1")
    sock.expect("ack", client_msg_id="1", seq=2)


def test_a_wrong_token_in_the_first_frame(server):
    sock = server.socket()
    sock.send("auth", token="cfb_" + "A" * 43)
    assert sock.wait_closed() == 4401


def test_eight_frames_that_are_not_json(server, alice):
    sock = alice.socket()
    for text in ("", "x", "{}", "[]", "{\"event\":7}", "{\"event\":\"ack\",}", "nul", "{\"a\":"):
        sock.send_text(text)
        assert sock.expect("error")["code"] == "invalid"
    assert sock.wait_closed() == 4400


@pytest.mark.parametrize("fields, code, field", [
    ({"to": "bob", "client_msg_id": "1"}, "invalid", "content"),
    ({"to": "bob", "client_msg_id": "1", "content": ""}, "invalid", "content"),
    ({"to": "bob", "client_msg_id": "1", "content": "a\x00b"}, "invalid", "content"),
    ({"to": "bob", "client_msg_id": "1", "content": 7}, "invalid", "content"),
    ({"to": "bob", "client_msg_id": "1", "content": "x" * 16385}, "too_large", "content"),
    ({"to": "bob", "content": "x"}, "invalid", "client_msg_id"),
    ({"to": "bob", "content": "x", "client_msg_id": "x" * 65}, "invalid", "client_msg_id"),
    ({"to": "bob", "content": "x", "client_msg_id": "1", "type": "video"}, "invalid", "type"),
    ({"to": "nobody", "content": "x", "client_msg_id": "1"}, "not_found", "to"),
    ({"to": "77", "content": "x", "client_msg_id": "1"}, "not_found", "to"),
    ({"conversation_id": NOBODY, "content": "x", "client_msg_id": "1"}, "not_found", None),
    ({"to": "bob", "content": "x", "client_msg_id": "1", "reply_to": "12345678901"}, "not_found",
     "reply_to"),
])
def test_a_send_that_is_refused_changes_nothing(server, alice, bob, fields, code, field):
    sock = alice.socket()
    other = bob.socket()
    other.resume()
    sock.send("send_message", **fields)
    error = sock.expect("error")
    assert (error["code"], error.get("field")) == (code, field)
    assert error["ref"] == "send_message"
    assert server.metric("confab_messages_accepted_total") == 0
    other.send("heartbeat")
    other.expect("heartbeat")
    assert not [f for f in other.seen if f["event"] == "new_message"]


def test_a_replayed_send_has_one_effect(server, alice, bob):
    sock = alice.socket()
    for n in range(3):
        sock.send("send_message", to="bob", content="once", client_msg_id="same")
        ack = sock.expect("ack")
        assert ack["duplicate"] == (n > 0)
    answer = alice.send("once", client_msg_id="same", to=bob.user_id)
    assert answer.status == 200 and answer.json["message_id"] == ack["message_id"]
    sock.send("send_message", to="bob", content="another", client_msg_id="same")
    assert sock.expect("error")["code"] == "duplicate_key"
    assert len(bob.history(ack["conversation_id"])) == 1


def test_a_message_dribbled_byte_by_byte_is_taken(server, alice, bob):
    with open_socket(server, alice.token) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        text = b'{"event":"send_message","to":"bob","content":"slow","client_msg_id":"1"}'
        for byte in frame(0x81, text):
            sock.sendall(bytes([byte]))
        got = b""
        while b'"ack"' not in got:
            got += sock.recv(65536)
    assert [m["content"] for m in bob.history(alice_conversation(got))] == ["slow"]


def alice_conversation(stream):
    return stream.split(b'"conversation_id":"', 1)[1][:32].decode()


def test_random_bytes_cost_only_their_sender(server, alice):
    rng = random.Random(int.from_bytes(os.urandom(4), "big"))
    good = alice.socket()
    for n in range(60):
        with (server.raw() if n % 2 else open_socket(server, alice.token)) as sock:
            try:
                sock.sendall(rng.randbytes(rng.randrange(1, 5000)))
            except (BrokenPipeError, ConnectionResetError):
                pass
        good.send("heartbeat")
        good.expect("heartbeat")
    harness.wait_until(lambda: server.metric("confab_sessions_open") == 1, "only one is left")
