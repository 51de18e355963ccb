"""Several devices of one person: what one does, the others show at once, and after being away."""

import harness
from test_rest import fails, group, inbox, joined, ok


def device(server, name, device_name):
    answer = server.http("POST", "/api/v1/tokens", {
        "username": name, "password": harness.PASSWORD, "device_name": device_name})
    ok(answer, 201)
    account = harness.Account(server, name, answer.json["user_id"], answer.json["token"])
    account.device_id = answer.json["device_id"]
    return account


def live(account, since=None):
    socket = account.socket()
    rows, caught_up = socket.resume(**({"since": since} if since else {}))
    socket.rows = {row["conversation_id"]: row for row in rows}
    socket.since = caught_up["since"]
    return socket


def row(account, conversation):
    return ok(account.http("GET", f"/api/v1/conversations/{conversation}"))


def test_three_devices_show_the_same(server_factory):
    server = server_factory("--shards", "2")
    bob = server.register("bob")
    server.register("alice")
    phone, laptop, tablet = (device(server, "alice", n) for n in ("phone", "laptop", "tablet"))
    room = group(bob, phone, name="the room")
    joined(phone, room)
    a, b, c = live(phone), live(laptop), live(tablet)
    others = (b, c)

    # Sending from one shows on the others at once.
    sent = ok(phone.send("from the phone", conversation_id=room), 201)
    for socket in (a, b, c):  # REST has no session that would get the answer instead
        frame = socket.expect("new_message", message_id=sent["message_id"])
        assert frame["content"] == "from the phone" and frame["from"] == phone.user_id

    # Read here, read there.
    last = ok(bob.send("read this", conversation_id=room), 201)
    a.expect("new_message", message_id=last["message_id"])
    a.send("ack", conversation_id=room, seq=last["seq"], status="read")
    for socket in others:
        receipt = socket.expect("delivery_receipt", user_id=phone.user_id, status="read")
        assert receipt["seq"] == last["seq"]
    harness.wait_until(lambda: row(laptop, room)["unread"] == 0, "read on the laptop")

    # Muted, pinned.
    ok(phone.http("PUT", f"/api/v1/conversations/{room}/mute", {"until": "2100-01-01T00:00:00Z"}))
    ok(laptop.http("PUT", f"/api/v1/conversations/{room}/pin", {"pinned": True}))
    for socket in (a, b, c):
        assert socket.expect("self", action="mute")["target"] == room
        assert socket.expect("self", action="pin")["pinned"] is True

    # A draft goes from device to device, and ends on all when one sends.
    path = f"/api/v1/conversations/{room}"
    ok(phone.http("PATCH", path, {"draft": "Dear"}))
    ok(laptop.http("PATCH", path, {"draft": "Dear all"}))
    for socket in (a, b, c):
        assert socket.expect("self", action="draft")["content"] == "Dear"
        assert socket.expect("self", action="draft")["content"] == "Dear all"
    assert row(tablet, room)["draft"] == "Dear all"
    assert row(bob, room)["draft"] is None
    fresh = live(device(server, "alice", "borrowed"))
    assert fresh.rows[room]["draft"] == "Dear all"
    assert (fresh.rows[room]["muted"], fresh.rows[room]["pinned"]) == (True, True)
    ok(tablet.send("Dear all of you", conversation_id=room), 201)
    for socket in (a, b, c):
        assert socket.expect("self", action="draft")["content"] == ""
    assert row(phone, room)["draft"] is None

    # The list of conversations.
    other = group(bob, phone, name="another room")
    for socket in (a, b, c):
        assert socket.expect("self", action="joined")["target"] == other
    ok(laptop.http("POST", f"/api/v1/groups/{other}/leave"))
    for socket in (a, b, c):
        assert socket.expect("self", action="left")["target"] == other
    assert other not in [r["conversation_id"] for r in inbox(tablet)["conversations"]]

    # What was done while one was away it hears of when it is back.
    since = c.since
    c.close()
    ok(phone.http("PUT", f"/api/v1/conversations/{room}/pin", {"pinned": False}))
    ok(phone.http("PATCH", path, {"draft": "while you slept"}))
    back = live(tablet, since)
    own = [r for r in back.rows.values() if r["type"] == "self"][0]
    assert [e["content"] for e in own["events"] if e["action"] == "draft"][-1] == "while you slept"
    assert [e["pinned"] for e in own["events"] if e["action"] == "pin"][-1] is False

    # A device has a name, a last use and an address; another one signs it out.
    devices = {d["name"]: d for d in ok(phone.http("GET", "/api/v1/devices"))["devices"]}
    assert devices["tablet"]["last_address"] == "127.0.0.1" and devices["tablet"]["last_used_at"]
    assert (devices["phone"]["current"], devices["tablet"]["current"]) == (True, False)
    ok(phone.http("PATCH", f"/api/v1/devices/{tablet.device_id}", {"name": "old tablet"}))
    ok(phone.http("DELETE", f"/api/v1/devices/{tablet.device_id}"), 204)
    assert back.wait_closed() == 4401
    fails(tablet.http("GET", "/api/v1/users/me"), 401, "unauthenticated")
    ok(laptop.http("GET", "/api/v1/users/me"))


def test_more_than_a_resume_tells(server_factory):
    """A hundred things done to conversations that did not move: the rows say how they stand."""
    server = server_factory()
    bob = server.register("bob")
    alice = server.register("alice")
    rooms = [group(bob, alice, name=f"room {n}") for n in range(4)]
    joined(alice, *rooms)
    second = device(server, "alice", "second")
    away = live(second)
    away.close()
    for n in range(120):
        ok(alice.http("PUT", f"/api/v1/conversations/{rooms[n % 2]}/pin", {"pinned": n % 3 == 0}))
    ok(alice.http("PUT", f"/api/v1/conversations/{rooms[2]}/pin", {"pinned": True}))
    ok(alice.http("PATCH", f"/api/v1/conversations/{rooms[3]}", {"draft": "begun"}))
    for n in range(110):  # the latest events of the own log are of one conversation only
        ok(alice.http("PUT", f"/api/v1/conversations/{rooms[0]}/pin", {"pinned": n % 2 == 0}))
    back = live(second, away.since)
    want = {r["conversation_id"]: (r["pinned"], r["draft"])
            for r in inbox(alice)["conversations"] if r["type"] == "group"}
    assert want[rooms[2]] == (True, None) and want[rooms[3]] == (False, "begun")
    got = {k: (r["pinned"], r.get("draft")) for k, r in back.rows.items() if r["type"] == "group"}
    assert got == want
    assert server.metric("confab_resumes_total") == 2


def test_bad_drafts(server_factory):
    server = server_factory()
    alice, bob = server.register("alice"), server.register("bob")
    room = group(bob, alice)
    joined(alice, room)
    path = f"/api/v1/conversations/{room}"
    fails(alice.http("PATCH", path, {}), 400, "invalid", "draft")
    fails(alice.http("PATCH", path, {"draft": 7}), 400, "invalid")
    fails(alice.http("PATCH", path, {"draft": "a\0b"}), 400, "invalid")
    fails(alice.http("PATCH", path, {"draft": "x" * 16385}), 413, "too_large", "draft")
    fails(alice.http("PATCH", "/api/v1/conversations/" + "0" * 31 + "1", {"draft": "x"}), 404,
          "not_found")
    assert row(alice, room)["draft"] is None
    ok(alice.http("PATCH", path, {"draft": "x"}))
    for empty in ("", None, None):  # none any more, however often it is said
        ok(alice.http("PATCH", path, {"draft": empty}))
        assert row(alice, room)["draft"] is None
    rooms = [group(alice, bob) for _ in range(9)]
    joined(alice, *rooms)
    for one in rooms[:8]:
        ok(alice.http("PATCH", f"/api/v1/conversations/{one}", {"draft": "x" * 16384}))
    fails(alice.http("PATCH", f"/api/v1/conversations/{rooms[8]}", {"draft": "x"}), 429,
          "limit_reached", "draft")


def test_drafts_of_the_cli(confab):
    for name in ("alice", "bob"):
        confab("register", name, user=name, stdin=harness.PASSWORD + "\n")
    confab("send", "bob", "hello", user="alice")
    confab("draft", "bob", "to be continued", user="alice")
    assert confab("draft", "bob", user="alice") == "to be continued\n"
    assert confab("draft", "alice", user="bob") == ""
    confab("draft", "bob", "", user="alice")
    assert confab("draft", "bob", user="alice") == ""
    confab("draft", "bob", "again", user="alice")
    confab("send", "bob", "again", user="alice")
    harness.wait_until(lambda: confab("draft", "bob", user="alice") == "", "sending ends it")
