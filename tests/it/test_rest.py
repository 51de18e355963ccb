"""The REST calls of docs/api/rest.md, as one client after another uses them."""

import time
import uuid

import pytest

import harness

NOBODY = "0123456789abcdef0123456789abcdef"
ALIASES = {"message_id": "messageId", "conversation_id": "chatId", "content": "text",
           "type": "message_type", "sent_at": "timestamp"}


@pytest.fixture
def alice(server):
    return server.register("alice")


@pytest.fixture
def bob(server):
    return server.register("bob")


@pytest.fixture
def carol(server):
    return server.register("carol")


def ok(answer, status=200):
    assert answer.status == status, (answer.status, answer.body)
    return answer.json if answer.body else None


def fails(answer, status, code, field=None):
    assert answer.status == status, (answer.status, answer.body)
    assert answer.json["error"]["code"] == code, answer.body
    assert field is None or answer.json["error"].get("field") == field, answer.body


def group(owner, *members, name="a group", **more):
    return ok(owner.http("POST", "/api/v1/groups", {
        "name": name, "member_ids": [m.user_id for m in members]}, **more), 201)["group_id"]


def inbox(who, query=""):
    return ok(who.http("GET", "/api/v1/conversations" + query))


def ids(page):
    return [c["conversation_id"] for c in page["conversations"]]


def joined(who, *conversations):
    """Waits until the list of `who` has them: it learns of a conversation a moment later."""
    harness.wait_until(lambda: set(conversations) <= set(ids(inbox(who, "?limit=200"))),
                       "the conversations are in the list")


def a_moment_later():
    """Returns in another millisecond: what conversations have of one and the same is in any order."""
    before = time.time_ns() // 10**6
    harness.wait_until(lambda: time.time_ns() // 10**6 > before, "time goes on", interval_s=0.001)


# -- the inbox ----------------------------------------------------------------------------------


def test_the_inbox_is_empty_at_first(alice):
    page = inbox(alice)
    assert page == {"conversations": [], "next_cursor": None, "has_more": False,
                    "hasMore": False}


def test_the_inbox_is_ordered_by_activity_and_says_what_is_new(server, alice, bob, carol):
    direct = ok(bob.send("hello alice", to="alice"), 201)
    room = group(carol, alice, name="the room")
    joined(alice, direct["conversation_id"], room)
    a_moment_later()
    last = ok(carol.http("POST", "/api/v1/messages", {
        "conversation_id": room, "content": "look here", "mentions": [alice.user_id]}), 201)
    first, second = inbox(alice)["conversations"]
    assert first["conversation_id"] == first["id"] == first["chatId"] == room
    assert (first["type"], first["name"], first["with"]) == ("group", "the room", None)
    assert (first["role"], first["members"], first["left"]) == ("member", 2, False)
    assert first["last_message_at"] == last["sent_at"]
    assert first["last_message_preview"] == first["preview"]["content"] == "look here"
    assert first["preview"]["message_id"] == last["message_id"]
    assert (first["unread_count"], first["unread"], first["mentions"]) == (1, 1, 1)
    assert first["settings"] == {"history": "all", "send": "members", "invite": "members"}
    assert (second["type"], second["with"], second["name"]) == ("direct", bob.user_id, None)
    assert second["unread_count"] == 1 and second["settings"] is None
    # A new message moves the other one up again.
    a_moment_later()
    ok(bob.send("once more", to="alice"), 201)
    assert ids(inbox(alice)) == [direct["conversation_id"], room]


def test_the_inbox_in_pages_has_each_conversation_once(server_factory):
    server = server_factory("--shards", "3")
    alice = server.register("alice")
    rooms = [group(alice, name=f"room {i}") for i in range(23)]
    joined(alice, *rooms)
    for room in rooms[::2]:
        ok(alice.send("x", conversation_id=room), 201)
    page = inbox(alice, "?limit=200")
    whole = ids(page)
    assert sorted(whole) == sorted(rooms)
    assert sorted(whole[:12]) == sorted(rooms[::2])
    times = [c["last_message_at"] for c in page["conversations"][:12]]
    assert times == sorted(times, reverse=True) and times[0] != times[-1]
    seen, cursor = [], None
    while True:
        page = inbox(alice, "?limit=5" + (f"&cursor={cursor}" if cursor else ""))
        assert page["has_more"] == page["hasMore"] == (page["next_cursor"] is not None)
        assert len(page["conversations"]) == 5 or not page["has_more"]
        seen += ids(page)
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert seen == whole


def test_the_inbox_is_the_same_after_a_restart(server_factory):
    server = server_factory("--flush-after", "10ms")
    alice = server.register("alice")
    rooms = [group(alice, name=f"room {i}") for i in range(5)]
    joined(alice, *rooms)
    for room in (rooms[3], rooms[1], rooms[4]):
        ok(alice.send("x", conversation_id=room), 201)
    before = inbox(alice)
    server.restart()
    assert inbox(alice) == before


@pytest.mark.parametrize("query, field", [
    ("limit=0", "limit"), ("limit=-1", "limit"), ("limit=x", "limit"), ("limit=1&limit=2", "limit"),
    ("cursor=x", "cursor"), ("cursor=1.2", "cursor"), ("cursor=0." + NOBODY, "cursor"),
    ("cursor=1&cursor=2", "cursor")])
def test_a_bad_page_of_the_inbox(alice, query, field):
    fails(alice.http("GET", "/api/v1/conversations?" + query), 400, "invalid", field)


def test_one_conversation(alice, bob, carol):
    room = group(alice, bob)
    mine = ok(alice.http("GET", f"/api/v1/conversations/{room}"))
    assert mine["role"] == "owner" and mine["members"] == 2
    assert mine == ok(alice.http("GET", f"/api/v1/groups/{room}"))
    fails(carol.http("GET", f"/api/v1/conversations/{room}"), 404, "not_found")
    fails(carol.http("GET", f"/api/v1/conversations/{NOBODY}"), 404, "not_found")
    sent = ok(bob.send("hi", to="alice"), 201)
    for name in ("bob", bob.user_id, sent["conversation_id"]):
        assert ok(alice.http("GET", f"/api/v1/conversations/{name}"))["with"] == bob.user_id
    fails(alice.http("GET", "/api/v1/conversations/carol"), 404, "not_found")
    fails(alice.http("GET", "/api/v1/conversations/no-such-person"), 404, "not_found")


def test_a_conversation_that_one_left(alice, bob):
    room = group(alice, bob)
    ok(alice.send("before", conversation_id=room), 201)
    joined(bob, room)
    ok(bob.http("POST", f"/api/v1/groups/{room}/leave"))
    ok(alice.send("after", conversation_id=room), 201)
    left = ok(bob.http("GET", f"/api/v1/conversations/{room}"))
    assert left["left"] is True and left["role"] is None and left["members"] == 0
    assert [m["content"] for m in bob.history(room)] == ["before"]
    harness.wait_until(lambda: room not in ids(inbox(bob)), "it left the list")
    fails(bob.http("POST", f"/api/v1/groups/{room}/leave"), 404, "not_found")


def test_history_tells_what_changed_the_conversation(alice, bob, carol):
    room = group(alice, bob, name="tea")
    ok(alice.send("one", conversation_id=room), 201)
    ok(alice.http("POST", f"/api/v1/groups/{room}/members", {"user_ids": [carol.user_id]}))
    edited = ok(alice.send("two", conversation_id=room), 201)
    ok(alice.http("PATCH", f"/api/v1/messages/{edited['message_id']}", {"content": "2"}))
    ok(alice.http("PATCH", f"/api/v1/groups/{room}", {"name": "coffee"}))
    ok(alice.http("PATCH", f"/api/v1/groups/{room}/members/{bob.user_id}", {"role": "admin"}))
    ok(alice.http("PATCH", f"/api/v1/groups/{room}", {"settings": {
        "history": "all", "send": "admins", "invite": "members"}}))
    ok(alice.http("DELETE", f"/api/v1/groups/{room}/members/{carol.user_id}"))
    ok(bob.http("POST", f"/api/v1/groups/{room}/leave"))
    path = f"/api/v1/conversations/{room}/messages"
    assert "changes" not in ok(alice.http("GET", path))
    assert "changes" not in ok(alice.http("GET", path + "?changes=false"))
    fails(alice.http("GET", path + "?changes=1"), 400, "invalid", "changes")
    page = ok(alice.http("GET", path + "?changes=true"))
    assert [m["content"] for m in page["messages"]] == ["one", "2"]
    told = [(e["event"], e.get("action"), e["seq"]) for e in page["changes"]]
    assert told == [("membership", "create", 1), ("membership", "add", 3),
                    ("conversation", None, 6), ("membership", "role", 7),
                    ("conversation", None, 8), ("membership", "remove", 9),
                    ("membership", "leave", 10)]
    first, added, renamed, role, settings, removed, gone = page["changes"]
    assert first["type"] == "group" and {m["user_id"] for m in first["members"]} == {
        alice.user_id, bob.user_id}
    assert added["members"] == [{"user_id": carol.user_id, "role": "member"}]
    assert renamed["name"] == "coffee" and settings["settings"]["send"] == "admins"
    assert role["members"] == [{"user_id": bob.user_id, "role": "admin"}]
    assert removed["members"][0]["user_id"] == carol.user_id and gone["from"] == bob.user_id
    # Who left sees it up to there; who was removed the same.
    assert ok(carol.http("GET", path + "?changes=true"))["changes"][-1]["seq"] == 9
    # Page by page, in both directions, each once.
    for way, start in (("before", ""), ("after", "&after=0")):
        seen, more = [], start
        for _ in range(20):
            page = ok(alice.http("GET", f"{path}?changes=true&limit=2{more}"))
            got = sorted(e["seq"] for e in page["messages"] + page["changes"])
            assert len(got) <= 2
            seen += got
            if not page["has_more"]:
                break
            more = f"&{way}={page['next_cursor']}"
        assert sorted(seen) == [1, 2, 3, 4, 6, 7, 8, 9, 10] and len(set(seen)) == len(seen)
    around = ok(alice.http("GET", path + "?changes=true&limit=4&around=6"))
    assert [e["seq"] for e in around["changes"]] == [3, 6, 7, 8]


def test_mute_and_pin_are_in_the_conversation(alice, bob):
    room = group(alice, bob)
    joined(bob, room)
    until = "2999-01-02T03:04:05.678Z"
    ok(bob.http("PUT", f"/api/v1/conversations/{room}/mute", {"until": until}))
    ok(bob.http("PUT", f"/api/v1/conversations/{room}/pin", {"pinned": True}))
    one = ok(bob.http("GET", f"/api/v1/conversations/{room}"))
    assert (one["muted"], one["muted_until"], one["pinned"]) == (True, until, True)
    assert inbox(bob)["conversations"] == [one]
    ok(bob.http("PUT", f"/api/v1/conversations/{room}/mute", {"until": None}))
    one = ok(bob.http("GET", f"/api/v1/conversations/{room}"))
    assert (one["muted"], one["muted_until"]) == (False, None)
    assert ok(alice.http("GET", f"/api/v1/conversations/{room}"))["pinned"] is False


# -- messages -----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [
    {"conversation_id": None, "content": "x", "message_type": "text"},
    {"toUserId": "bob", "message": "x", "type": "text", "groupId": None},
    {"to": "bob", "text": "x", "messageType": "text"},
    {"chatId": None, "toUserId": "bob", "content": "x"},
])
def test_every_spelling_of_a_send(alice, bob, body):
    direct = ok(alice.send("first", to="bob"), 201)["conversation_id"]
    if "conversation_id" in body:
        body["conversation_id"] = direct
    sent = ok(alice.http("POST", "/api/v1/messages", body), 201)
    assert sent["message_id"] == sent["messageId"] and sent["status"] == "sent"
    assert sent["timestamp"] == sent["sent_at"] and sent["conversation_id"] == direct
    assert sent["seq"] == ok(alice.http("GET", f"/api/v1/conversations/{direct}"))["head"]


def test_one_message_is_the_same_object_everywhere(alice, bob):
    sent = ok(alice.send("hello", client_msg_id="k1", to="bob"), 201)
    conversation, message = sent["conversation_id"], sent["message_id"]
    of_alice = ok(alice.http("GET", f"/api/v1/messages/{message}"))
    assert of_alice == alice.history(conversation)[0]
    assert of_alice == ok(alice.http("GET",
                                     f"/api/v1/conversations/{conversation}/messages/{message}"))
    assert of_alice == ok(alice.http("GET", "/api/v1/messages/bob"))["messages"][0]
    assert of_alice == ok(alice.http("GET", f"/api/v1/messages/{bob.user_id}"))["messages"][0]
    assert of_alice["client_msg_id"] == "k1" and of_alice["status"] == "sent"
    for name, alias in ALIASES.items():
        assert of_alice[name] == of_alice[alias]
    assert of_alice["message"] == of_alice["content"] and of_alice["from"] == alice.user_id
    assert of_alice["sender_id"] == of_alice["fromUserId"] == alice.user_id
    of_bob = ok(bob.http("GET", f"/api/v1/messages/{message}"))
    assert "client_msg_id" not in of_bob and of_bob["content"] == "hello"


def test_a_message_that_one_may_not_see_does_not_exist(alice, bob, carol):
    sent = ok(alice.send("hello", to="bob"), 201)
    conversation, message = sent["conversation_id"], sent["message_id"]
    other = group(carol)
    for path in (f"/api/v1/messages/{message}", f"/api/v1/messages/{message}/receipts",
                 f"/api/v1/conversations/{conversation}/messages/{message}",
                 f"/api/v1/conversations/{conversation}/messages/{message}/receipts",
                 f"/api/v1/conversations/{other}/messages/{message}"):
        fails(carol.http("GET", path), 404, "not_found")
    room = group(alice)
    fails(alice.http("GET", f"/api/v1/conversations/{room}/messages/{message}"), 404, "not_found")
    fails(alice.http("GET", "/api/v1/messages/7"), 404, "not_found")


def test_edits_and_deletes_show(alice, bob):
    sent = ok(alice.send("a text", to="bob"), 201)
    path = f"/api/v1/messages/{sent['message_id']}"
    fails(bob.http("PATCH", path, {"content": "mine now"}), 403, "forbidden")
    ok(alice.http("PATCH", path, {"content": "the text"}))
    seen = ok(bob.http("GET", path))
    assert seen["content"] == "the text" and seen["edited_at"] >= seen["sent_at"]
    preview = ok(bob.http("GET", f"/api/v1/conversations/{sent['conversation_id']}"))["preview"]
    assert preview["content"] == "the text" and preview["deleted"] is False
    fails(bob.http("DELETE", path), 403, "forbidden")
    ok(alice.http("DELETE", path))
    seen = ok(bob.http("GET", path))
    assert seen["deleted"] is True and seen["content"] == "" and "edited_at" not in seen
    assert seen["deleted_at"] >= seen["sent_at"]
    fails(alice.http("PATCH", path, {"content": "back"}), 404, "not_found")


def test_an_admin_deletes_for_everyone_and_anybody_for_themselves(alice, bob, carol):
    room = group(alice, bob, carol)
    sent = ok(bob.send("rude", conversation_id=room), 201)
    path = f"/api/v1/messages/{sent['message_id']}"
    fails(carol.http("DELETE", path), 403, "forbidden")
    ok(carol.http("DELETE", path + "?for=me"))
    harness.wait_until(lambda: carol.http("GET", path).status == 404, "it is gone for carol")
    assert ok(bob.http("GET", path))["content"] == "rude"
    ok(alice.http("DELETE", path))
    assert ok(bob.http("GET", path))["deleted"] is True


def test_an_edit_comes_too_late(server_factory):
    server = server_factory("--edit-window", "1")
    alice = server.register("alice")
    sent = ok(alice.send("x", to="alice"), 201)
    path = f"/api/v1/messages/{sent['message_id']}"
    harness.wait_until(lambda: alice.http("PATCH", path, {"content": "y"}).status == 403,
                       "the millisecond is over")
    fails(alice.http("PATCH", path, {"content": "y"}), 403, "too_late", "message_id")


def test_the_text_limit_is_an_option(server_factory):
    server = server_factory("--text-bytes", "300")
    alice = server.register("alice")
    ok(alice.send("x" * 300, to="alice"), 201)
    fails(alice.send("x" * 301, to="alice"), 413, "too_large", "content")
    sent = ok(alice.send("x", to="alice"), 201)
    fails(alice.http("PATCH", f"/api/v1/messages/{sent['message_id']}", {"content": "x" * 301}),
          413, "too_large", "content")
    with_socket = alice.socket()
    assert with_socket.hello["limits"]["text_bytes"] == 300
    with_socket.send("send_message", to="alice", content="x" * 301, client_msg_id="a")
    assert with_socket.expect("error")["code"] == "too_large"
    with_socket.send("send_message", to="alice", content="x" * 300, client_msg_id="b")
    with_socket.expect("ack", client_msg_id="b")


# -- receipts -----------------------------------------------------------------------------------


def test_receipts_go_from_sent_to_delivered_to_read(alice, bob, carol):
    room = group(alice, bob, carol)
    sent = ok(alice.send("hello", conversation_id=room), 201)
    path = f"/api/v1/messages/{sent['message_id']}/receipts"
    first = ok(alice.http("GET", path))
    assert (first["recipients"], first["delivered"], first["read"]) == (2, 0, 0)
    assert {r["user_id"] for r in first["receipts"]} == {bob.user_id, carol.user_id}
    assert all(r == {"user_id": r["user_id"], "status": "sent", "delivered_at": None,
                     "read_at": None} for r in first["receipts"])
    a_moment_later()
    with_socket = bob.socket()
    with_socket.send("ack", message_id=sent["message_id"], status="delivered")
    harness.wait_until(lambda: ok(alice.http("GET", path))["delivered"] == 1, "it is delivered")
    ok(carol.http("POST", f"/api/v1/conversations/{room}/read", {"seq": sent["seq"]}))
    harness.wait_until(lambda: ok(alice.http("GET", path))["read"] == 1, "carol has read it")
    now = {r["user_id"]: r for r in ok(bob.http("GET", path))["receipts"]}
    assert now[bob.user_id]["status"] == "delivered" and now[bob.user_id]["read_at"] is None
    assert now[bob.user_id]["delivered_at"] > sent["sent_at"]
    assert now[carol.user_id]["status"] == "read" and now[carol.user_id]["read_at"]
    message = ok(alice.http("GET", f"/api/v1/messages/{sent['message_id']}"))
    assert message["status"] == "delivered" and message["delivered_at"] > sent["sent_at"]
    assert "read_at" not in message
    ok(bob.http("POST", "/api/v1/messages/read", {"message_ids": [sent["message_id"]]}))
    message = harness.wait_until(
        lambda: [m for m in [ok(alice.http("GET", f"/api/v1/messages/{sent['message_id']}"))]
                 if m["status"] == "read"], "all have read it")[0]
    assert message["read_at"] >= message["delivered_at"] > message["sent_at"]
    again = f"/api/v1/conversations/{room}/messages/{sent['message_id']}/receipts"
    assert ok(alice.http("GET", again)) == ok(alice.http("GET", path))


def test_receipts_and_members_in_pages(server):
    alice = server.register("alice")
    people = [server.register(f"p{i}") for i in range(5)]
    room = group(alice, *people)
    sent = ok(alice.send("hello", conversation_id=room), 201)
    for path, key, all_of in (
            (f"/api/v1/messages/{sent['message_id']}/receipts", "receipts", people),
            (f"/api/v1/groups/{room}/members", "members", [alice, *people])):
        seen, cursor = [], None
        while True:
            page = ok(alice.http("GET", path + "?limit=2" +
                                 (f"&cursor={cursor}" if cursor else "")))
            seen += [r["user_id"] for r in page[key]]
            cursor = page["next_cursor"]
            assert page["has_more"] == (cursor is not None)
            if not cursor:
                break
        assert sorted(seen) == sorted(p.user_id for p in all_of) and len(set(seen)) == len(seen)


def test_who_is_blocked_learns_nothing_of_the_other(alice, bob):
    sent = ok(alice.send("hello", to="bob"), 201)
    ok(bob.http("PUT", "/api/v1/blocks/alice"))
    ok(bob.http("POST", "/api/v1/messages/read", {"message_ids": [sent["message_id"]]}))
    one = f"/api/v1/conversations/{sent['conversation_id']}"
    harness.wait_until(lambda: ok(bob.http("GET", one))["cursors"]["read"] == sent["seq"],
                       "the cursor has moved")
    assert ok(alice.http("GET", f"/api/v1/messages/{sent['message_id']}/receipts"))["read"] == 0


# -- read, blocks -------------------------------------------------------------------------------


def test_reading_up_to_a_seq(alice, bob):
    for text in "abc":
        sent = ok(alice.send(text, to="bob"), 201)
    one = f"/api/v1/conversations/{sent['conversation_id']}"
    assert ok(bob.http("GET", one))["unread"] == 3
    assert ok(bob.http("POST", one + "/read", {"seq": sent["seq"] - 1})) == {
        "conversation_id": sent["conversation_id"], "seq": sent["seq"] - 1}
    harness.wait_until(lambda: ok(bob.http("GET", one))["unread"] == 1, "two are read")
    for body in ({}, {"seq": 0}, {"seq": -1}, {"seq": "1"}, {"seq": sent["seq"] + 1}):
        fails(bob.http("POST", one + "/read", body), 400, "invalid",
              "seq" if isinstance(body.get("seq"), int) and body["seq"] > 0 else None)
    fails(bob.http("POST", f"/api/v1/conversations/{NOBODY}/read", {"seq": 1}), 404, "not_found")


def test_the_block_list(server):
    alice = server.register("alice")
    people = [server.register(f"p{i}") for i in range(5)]
    assert ok(alice.http("GET", "/api/v1/blocks"))["blocks"] == []
    for person in people:
        ok(alice.http("PUT", f"/api/v1/blocks/{person.username}"))
    ok(alice.http("DELETE", f"/api/v1/blocks/{people[0].user_id}"))
    seen, cursor = [], None
    while True:
        page = ok(alice.http("GET", "/api/v1/blocks?limit=3" +
                             (f"&cursor={cursor}" if cursor else "")))
        seen += [b["user_id"] for b in page["blocks"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert sorted(seen) == sorted(p.user_id for p in people[1:])
    assert ok(people[1].http("GET", "/api/v1/blocks"))["blocks"] == []


# -- idempotency --------------------------------------------------------------------------------


def test_a_group_is_made_once_for_a_key(server_factory):
    server = server_factory()
    alice, bob = server.register("alice"), server.register("bob")
    body = {"name": "once", "member_ids": ["bob"]}
    headers = {"Idempotency-Key": "the key of a group"}
    first = ok(alice.http("POST", "/api/v1/groups", body, headers=headers), 201)
    assert ok(alice.http("POST", "/api/v1/groups", body, headers=headers), 201) == first
    fails(alice.http("POST", "/api/v1/groups", {**body, "name": "twice"}, headers=headers),
          409, "duplicate_key", "Idempotency-Key")
    # Another's key of the same name is another key.
    other = ok(bob.http("POST", "/api/v1/groups", {"name": "once", "member_ids": ["alice"]},
                        headers=headers), 201)
    assert other["group_id"] != first["group_id"]
    server.kill()
    server.start()
    assert ok(alice.http("POST", "/api/v1/groups", body, headers=headers), 201) == first
    server.restart()
    assert ok(alice.http("POST", "/api/v1/groups", body, headers=headers), 201) == first


def test_members_are_added_once_for_a_key(server_factory):
    server = server_factory("--flush-after", "10ms")
    alice, bob = server.register("alice"), server.register("bob")
    room = group(alice)
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    path = f"/api/v1/groups/{room}/members"
    first = ok(alice.http("POST", path, {"user_id": bob.user_id}, headers=headers))
    ok(alice.http("DELETE", f"{path}/bob"))
    # A late repetition does not bring bob back.
    assert ok(alice.http("POST", path, {"user_id": bob.user_id}, headers=headers)) == first
    fails(alice.http("POST", path, {"user_id": "bob"}, headers=headers), 409, "duplicate_key")
    server.restart()
    assert ok(alice.http("POST", path, {"user_id": bob.user_id}, headers=headers)) == first
    assert len(ok(alice.http("GET", path))["members"]) == 1


def test_a_send_takes_the_key_for_its_own(alice, bob):
    headers = {"Idempotency-Key": "a send"}
    body = {"toUserId": "bob", "content": "once"}
    first = ok(alice.http("POST", "/api/v1/messages", body, headers=headers), 201)
    again = ok(alice.http("POST", "/api/v1/messages", body, headers=headers), 200)
    assert again == {**first, "duplicate": True} and first["client_msg_id"] == "a send"


def test_any_other_post_is_done_once_for_a_key(server_factory):
    server = server_factory()
    alice, bob = server.register("alice"), server.register("bob")
    room = group(alice, bob)
    other = group(alice, bob)
    headers = {"Idempotency-Key": "leaving"}
    leave = f"/api/v1/groups/{room}/leave"
    first = ok(bob.http("POST", leave, headers=headers))
    assert ok(bob.http("POST", leave, headers=headers)) == first
    fails(bob.http("POST", leave), 404, "not_found")
    # Another call, or another body, under the same key; and somebody else's key.
    fails(bob.http("POST", f"/api/v1/groups/{other}/leave", headers=headers), 409,
          "duplicate_key", "Idempotency-Key")
    read = f"/api/v1/conversations/{other}/read"
    reading = {"Idempotency-Key": "reading"}
    first_read = ok(bob.http("POST", read, {"seq": 1}, headers=reading))
    fails(bob.http("POST", read, {"seq": 2}, headers=reading), 409, "duplicate_key")
    assert ok(alice.http("POST", read, {"seq": 1}, headers=reading)) == first_read
    # What failed gives its key back.
    late = {"Idempotency-Key": "late"}
    fails(bob.http("POST", f"/api/v1/groups/{room}/leave", headers=late), 404, "not_found")
    fails(bob.http("POST", read, {"seq": "x"}, headers=late), 400, "invalid", None)
    ok(bob.http("POST", read, {"seq": 1}, headers=late))
    server.kill()
    server.start()
    assert ok(bob.http("POST", leave, headers=headers)) == first


def test_the_answer_that_is_kept_cannot_be_read_from_the_disk(server_factory):
    server = server_factory()
    alice = server.register("alice")
    room = group(alice)
    key = "a key that nobody else has"
    ok(alice.http("POST", f"/api/v1/conversations/{room}/read", {"seq": 1},
                  headers={"Idempotency-Key": key}))
    server.stop()
    stored = b"".join(path.read_bytes() for path in server.data.rglob("directory*")
                      if path.is_file())
    assert b"alice" in stored and key.encode() not in stored
    assert b'{"conversation_id":"' not in stored


@pytest.mark.parametrize("name", ["0123456789abcdef" * 2, "ABCDEF0123456789" * 2])
def test_a_username_is_no_conversation(server, name):
    """GET /messages/{…} takes either: a name that looks like an id could not be used there."""
    account = {"username": name, "password": harness.PASSWORD}
    fails(server.http("POST", "/api/v1/accounts", account), 400, "invalid", "username")
    operator = (server.data / "operator.key").read_text().strip()
    made = ok(server.http("POST", "/api/v1/admin/users", {"users": [account]}, token=operator))
    assert made["results"][0]["error"]["field"] == "username", made
    near, alice = server.register(name[:-1]), server.register("alice")
    sent = ok(alice.send("hello", to=name[:-1]), 201)
    for path in (name[:-1], sent["conversation_id"]):
        messages = ok(near.http("GET", f"/api/v1/messages/{path.lower()}")
                      if path == sent["conversation_id"] else
                      alice.http("GET", f"/api/v1/messages/{path}"))["messages"]
        assert [m["message_id"] for m in messages] == [sent["message_id"]]


@pytest.mark.parametrize("key", ["", "x" * 65, "caf\xe9"])
def test_a_bad_key(alice, key):
    room = group(alice)
    for path, body in (("/api/v1/groups", {"name": "x", "member_ids": []}),
                       (f"/api/v1/groups/{room}/leave", None),
                       ("/api/v1/messages", {"to": "alice", "content": "x"})):
        fails(alice.http("POST", path, body, headers={"Idempotency-Key": key}), 400, "invalid",
              "Idempotency-Key")
