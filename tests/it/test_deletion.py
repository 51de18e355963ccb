"""A deleted account leaves its groups and direct conversations; roles; names in lists."""

import time

import harness
from test_rest import fails, group, inbox, joined, ok


def members(who, room):
    return ok(who.http("GET", f"/api/v1/groups/{room}/members"))["members"]


def roles(who, room):
    return {m["username"]: m["role"] for m in members(who, room)}


def with_administrator(server, *names):
    """People of whom the first is the administrator."""
    code = harness.wait_until(lambda: setup_code(server), "the setup link is there")
    answer = server.http("POST", "/api/v1/accounts", {
        "username": names[0], "password": harness.PASSWORD, "invite": code})
    ok(answer, 201)
    return [server.login(names[0]), *map(server.register, names[1:])]


def setup_code(server):
    found = [line for line in server.log_tail().splitlines() if "#setup=" in line]
    return found[-1].split("#setup=")[1].split()[0] if found else None


def gone(reader, room, username):
    harness.wait_until(lambda: username not in roles(reader, room), f"{username} has left")


def test_by_oneself(server_factory):
    server = server_factory()
    alice, bob, carol = (server.register(n) for n in ("alice", "bob", "carol"))
    room = group(alice, bob, name="the room")
    made = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= made:
        pass  # who came first, who will be the owner, is told by milliseconds
    ok(alice.http("POST", f"/api/v1/groups/{room}/members", {"user_id": "carol"}))
    own = group(alice, name="hers")
    direct = ok(alice.send("hello", to="bob"), 201)["conversation_id"]
    joined(bob, room, direct)
    live = bob.socket()
    live.resume()
    fails(alice.http("DELETE", "/api/v1/users/me"), 400, "invalid")
    fails(alice.http("DELETE", "/api/v1/users/me", {"password": "not the present one"}), 403,
          "forbidden", "password")
    ok(alice.http("DELETE", "/api/v1/users/me", {"password": harness.PASSWORD}), 204)
    fails(alice.http("GET", "/api/v1/users/me"), 401, "unauthenticated")
    fails(server.http("POST", "/api/v1/tokens",
                      {"username": "alice", "password": harness.PASSWORD}), 401, "unauthenticated")
    # The others are told, in the order of each conversation.
    frames = {}
    while set(frames) != {room, direct}:
        frame = live.expect("membership", action="leave")
        assert frame["from"] == alice.user_id and frame["conversation_id"] != own
        frames[frame["conversation_id"]] = frame
    gone(bob, room, "alice")
    assert roles(bob, room) == {"bob": "owner", "carol": "member"}
    # What was said stays, under a name that says what happened; and nothing more can be sent.
    chat = ok(bob.http("GET", f"/api/v1/conversations/{direct}"))
    assert (chat["with"], chat["display_name"]) == (alice.user_id, "deleted account")
    assert [m["content"] for m in bob.history(direct)] == ["hello"]
    fails(bob.send("anyone?", conversation_id=direct), 410, "account_deleted")
    fails(bob.send("anyone?", to="alice"), 410, "account_deleted")
    fails(carol.send("hello", to=alice.user_id), 410, "account_deleted")
    fails(bob.http("POST", f"/api/v1/groups/{room}/members", {"user_id": "alice"}), 410,
          "account_deleted")
    person = ok(bob.http("GET", "/api/v1/users/alice"))
    assert person["deleted"] and person["display_name"] == "deleted account"
    live.send("send_message", to="alice", content="x", client_msg_id="k", type="text")
    assert live.expect("error")["code"] == "account_deleted"


def test_by_an_administrator(server_factory):
    server = server_factory("--registration", "open")
    root, bob, carol, dave = with_administrator(server, "root", "bob", "carol", "dave")
    room = group(bob, carol, dave)
    ok(bob.http("PATCH", f"/api/v1/groups/{room}/members/dave", {"role": "admin"}))
    ok(root.http("DELETE", f"/api/v1/admin/users/{bob.user_id}"), 204)
    gone(carol, room, "bob")
    assert roles(carol, room) == {"carol": "member", "dave": "owner"}
    # The last administrator stays.
    fails(root.http("DELETE", "/api/v1/users/me", {"password": harness.PASSWORD}), 409,
          "last_admin")
    assert server.metric("confab_accounts_deleted_total") == 1
    harness.wait_until(lambda: server.metric("confab_accounts_left_total") == 1, "all is left")


def test_killed_in_the_middle(server_factory):
    """However far it had come: after the restart the rest follows by itself."""
    server = server_factory()
    bob = server.register("bob")
    for n in range(4):
        alice = server.register(f"alice{n}")
        rooms = [group(alice, bob, name=f"room {n} {i}") for i in range(12)]
        joined(bob, *rooms)
        ok(alice.http("DELETE", "/api/v1/users/me", {"password": harness.PASSWORD}), 204)
        for _ in range(n):  # a little later each time, by answers of the server's
            ok(bob.http("GET", "/api/v1/conversations?limit=200"))
        server.kill()
        server.start()
        bob = server.login("bob")
        for room in rooms:
            gone(bob, room, alice.username)
            assert roles(bob, room) == {"bob": "owner"}


def test_roles(server_factory):
    """docs/users/README.md, Roles: what each may, over REST."""
    server = server_factory()
    owner, mod, guest, member = (server.register(n) for n in ("owner", "mod", "guest", "member"))
    extra = server.register("extra")
    room = group(owner, mod, guest, member)
    path = f"/api/v1/groups/{room}/members"
    for who, role in ((mod, "moderator"), (guest, "guest")):
        ok(owner.http("PATCH", f"{path}/{who.username}", {"role": role}))
    fails(owner.http("PATCH", f"{path}/guest", {"role": "king"}), 400, "invalid", "role")
    assert roles(owner, room) == {"owner": "owner", "mod": "moderator", "guest": "guest",
                                  "member": "member"}
    joined(guest, room)
    assert [c["role"] for c in inbox(guest)["conversations"]] == ["guest"]
    said = ok(guest.send("I may write", conversation_id=room), 201)
    fails(guest.http("POST", path, {"user_id": "extra"}), 403, "forbidden")
    fails(member.http("DELETE", f"/api/v1/messages/{said['message_id']}"), 403, "forbidden")
    ok(mod.http("DELETE", f"/api/v1/messages/{said['message_id']}"))
    fails(mod.http("DELETE", f"{path}/owner"), 403, "forbidden")
    fails(mod.http("PATCH", f"/api/v1/groups/{room}", {"name": "mine"}), 403, "forbidden")
    ok(mod.http("DELETE", f"{path}/member"))
    ok(mod.http("POST", path, {"user_id": extra.user_id}))
    assert roles(owner, room) == {"owner": "owner", "mod": "moderator", "guest": "guest",
                                  "extra": "member"}


def test_names_in_lists(server_factory):
    server = server_factory()
    alice, bob = server.register("alice"), server.register("bob")
    ok(bob.http("PATCH", "/api/v1/users/me", {"display_name": "Bob B."}))
    room = group(alice, bob)
    direct = ok(alice.send("hi", to="bob"), 201)["conversation_id"]
    joined(alice, room, direct)
    assert {(m["username"], m["display_name"]) for m in members(alice, room)} == {
        ("alice", "alice"), ("bob", "Bob B.")}
    rows = {c["conversation_id"]: c for c in inbox(alice)["conversations"]}
    assert (rows[direct]["username"], rows[direct]["display_name"]) == ("bob", "Bob B.")
    assert (rows[room]["username"], rows[room]["display_name"]) == (None, None)
    one = ok(alice.http("GET", f"/api/v1/conversations/{direct}"))
    assert one == rows[direct]
