"""Presence, typing and privacy between processes: several shards, restarts, both API spellings."""

import json
import time
from datetime import datetime

import harness


def friends(server):
    """alice and bob share a group, eve is with nobody."""
    alice, bob, eve = (server.register(name) for name in ("alice", "bob", "eve"))
    group = alice.http("POST", "/api/v1/groups", {"name": "g", "member_ids": ["bob"]}).json
    return alice, bob, eve, group["group_id"]


def live(account):
    socket = account.socket()
    socket.resume()
    return socket


def presence(by, whom):
    answer = by.http("GET", f"/api/v1/users/{whom}/presence")
    assert answer.status == 200, answer.body
    return answer.json


def test_presence_over_shards(server_factory):
    server = server_factory("--shards", "3", "--presence-linger", "300ms")
    alice, bob, eve, _ = friends(server)
    watching = [live(alice) for _ in range(6)]  # on whatever shards they come to
    other = live(eve)
    for socket in (*watching, other):
        socket.send("subscribe_presence", user_ids=[bob.user_id])
        first = socket.expect("presence_update", user_id=bob.user_id)
        assert (first["status"], first["last_seen"]) == ("offline", None)
    devices = [bob.socket() for _ in range(4)]
    for socket in watching:
        assert socket.expect("presence_update", status="online")["last_seen"] is None
    for device in devices:
        device.send("presence", status="away")
    for socket in watching:
        assert socket.expect("presence_update", status="away")["last_seen"]
    assert presence(alice, "bob")["status"] == "away"
    assert presence(eve, bob.user_id) == {
        "user_id": bob.user_id, "status": "offline", "last_seen": None}
    for device in devices:
        device.close()
    for socket in watching:
        assert socket.expect("presence_update", status="offline")["last_seen"]
    # Eve was told nothing in between: what comes next is the answer to this.
    other.send("heartbeat")
    while (frame := other.recv())["event"] != "heartbeat":
        assert frame["event"] != "presence_update", frame
    assert server.metric('confab_presence_transitions_total') >= 3


def test_both_spellings_and_the_post(server):
    alice, bob, _, _ = friends(server)
    short = alice.socket(query=f"?userId={alice.user_id}")
    short.resume()
    short.send("subscribe_presence", user_ids=[bob.user_id])
    short.expect("presence_update", status="offline")
    assert bob.http("POST", "/api/v1/presence", {"status": "online"}).status == 204
    short.expect("presence_update", status="online")
    while (frame := short.recv()).get("type") != "presence" or frame["status"] != "online":
        pass
    assert frame["userId"] == bob.user_id
    assert presence(alice, "bob")["status"] == "online"
    socket = bob.socket()
    socket.send_text(json.dumps({"type": "presence", "status": "away"}))
    assert bob.http("POST", "/api/v1/presence", {"status": "offline"}).status == 204
    short.expect("presence_update", status="away")
    assert bob.http("POST", "/api/v1/presence", {"status": "away", "device_id": "5"}).status == 403


def test_last_seen_survives_restarts(server):
    alice, bob, _, _ = friends(server)
    begin = time.time()
    live(bob)
    harness.wait_until(lambda: presence(alice, "bob")["status"] == "online", "bob is online")
    server.restart()
    seen = harness_seen(alice)
    assert begin - 1 <= seen <= time.time()
    live(bob)
    harness.wait_until(lambda: presence(alice, "bob")["status"] == "online", "bob is online")
    # The first write of the run says that he is online, and that the server is alive.
    harness.wait_until(lambda: server.metric("confab_presence_saves_total") >= 1,
                       "last times are stored", deadline_s=30)
    server.kill()
    server.start()
    assert harness_seen(alice) >= seen


def harness_seen(alice):
    found = presence(alice, "bob")
    assert found["status"] == "offline" and found["last_seen"], found
    return datetime.fromisoformat(found["last_seen"].replace("Z", "+00:00")).timestamp()


def test_typing_reaches_who_looks(server_factory):
    server = server_factory("--shards", "2")
    alice, bob, eve, group = friends(server)
    looking, elsewhere, stranger = live(bob), live(bob), live(eve)
    for socket in (looking, stranger):
        socket.send("view", conversation_ids=[group])
    live(alice).send("typing", conversation_id=group)
    assert looking.expect("typing", active=True)["user_id"] == alice.user_id
    for socket in (elsewhere, stranger):
        socket.send("heartbeat")
        while (frame := socket.recv())["event"] != "heartbeat":
            assert frame["event"] != "typing", frame


def test_privacy_survives_a_restart(server):
    alice, bob, _, _ = friends(server)
    assert bob.http("PATCH", "/api/v1/users/me", {"privacy": {"online": False}}).status == 200
    for _ in range(2):
        socket = live(bob)
        assert presence(bob, "me")["status"] == "online"
        assert presence(alice, "bob")["status"] == "offline"
        socket.close()
        server.restart()
        assert bob.http("GET", "/api/v1/users/me").json["privacy"] == {
            "online": False, "last_seen": True, "read_receipts": True}
