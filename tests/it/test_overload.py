"""A server with more to say than its readers take, and with less patience than some ask for. What it did is
told by its counters, exactly; nothing here depends on how long anything takes."""

import base64
import json
import os
import socket

import pytest

import harness

STUCK = 150
TEXT = "x" * 12000


def upgrade(server, token):
    """A WebSocket by hand: one that nobody reads, with a small buffer, so that what is not read waits at the server."""
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    s.connect(("127.0.0.1", server.port))
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall((f"GET /ws?token={token} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
               f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    return s


def say(s, event):
    data = json.dumps(event).encode()
    assert len(data) < 126
    s.sendall(bytes([0x81, 0x80 | len(data)]) + b"\0\0\0\0" + data)


def read_until(s, text):
    got = b""
    part = b""
    while text not in got[-len(part) - len(text):]:
        part = s.recv(65536)
        assert part, got[-200:]
        got += part
    return got


def test_stuck_readers__pull_and_others_do_not_notice(server_factory):
    server = server_factory("--queue-bytes", "128k", "--output-bytes", "8M", "--shards", "2",
                            "--password-cost", "low")
    ann = server.register("ann")
    bob = server.register("bob")
    group = ann.http("POST", "/api/v1/groups", {"name": "all", "members": ["bob"]}).json["group_id"]
    # One account with many devices would do for the sockets; its own limit of devices is not the point here.
    stuck = []
    for _ in range(STUCK):
        s = upgrade(server, bob.token)
        read_until(s, b'"event":"hello"')
        say(s, {"event": "resume"})
        read_until(s, b'"caught_up"')
        stuck.append(s)
    listener = server.socket(token=bob.token)
    listener.send("resume")
    listener.expect("caught_up")
    assert server.metric("confab_sessions_open") == STUCK + 1
    sent = 0
    while server.metric('confab_slow_consumers_total{action="resync"}') < STUCK:
        assert ann.http("POST", "/api/v1/messages",
                        {"groupId": group, "content": f"{sent} {TEXT}"}).status == 201
        message = listener.expect("new_message")
        assert message["content"].startswith(f"{sent} ")  # in order, and at once
        sent += 1
        assert sent < 400
    # Each was switched once, and everything that was for it and not on its way was let go.
    assert server.metric('confab_slow_consumers_total{action="resync"}') == STUCK
    assert server.metric('confab_bound_hits_total{bound="output_memory"}') == 0
    assert server.metric("confab_output_memory_bytes") <= 8 << 20
    dropped = server.metric("confab_deliveries_dropped_total")
    assert dropped >= STUCK
    more = 5
    for _ in range(more):
        ann.http("POST", "/api/v1/messages", {"groupId": group, "content": f"{sent} {TEXT}"})
        assert listener.expect("new_message")["content"].startswith(f"{sent} ")
        sent += 1
    assert server.metric('confab_slow_consumers_total{action="resync"}') == STUCK
    assert dropped <= server.metric("confab_deliveries_dropped_total") <= sent * STUCK
    # One of them reads again: what had been written, in order and whole; then that it has to ask.
    first = stuck.pop()
    got = read_until(first, b'{"event":"resync"}')
    seen = [n for n in range(sent) if f'"content":"{n} x'.encode() in got]
    assert seen == list(range(len(seen))) and len(seen) < sent
    say(first, {"event": "resume"})
    page = read_until(first, b'"caught_up"')
    assert f'"content":"{sent - 1} x'.encode() in page
    first.close()
    for s in stuck:
        s.close()
    listener.close()


@pytest.mark.parametrize("by", ["user", "device"])
def test_rates__are_options(server_factory, by):
    server = server_factory(f"--rate-sends-{by}", "2", f"--rate-searches-{by}", "1", "--shards", "1",
                            "--password-cost", "low")
    ann = server.register("ann")
    server.register("bob")
    bob = server.http("GET", "/api/v1/users/bob", token=ann.token).json["user_id"]
    body = {"toUserId": bob, "content": "hi"}
    assert [ann.http("POST", "/api/v1/messages", body).status for _ in range(3)] == [201, 201, 429]
    refused = ann.http("POST", "/api/v1/messages", body)
    assert refused.error_code == "limit_reached"
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert ann.http("GET", "/api/v1/users?query=bo").status == 200
    assert ann.http("GET", "/api/v1/users?query=bo").status == 429
    assert server.metric('confab_rate_limited_total{what="send"}') == 2
    assert server.metric('confab_rate_limited_total{what="search"}') == 1
