"""A server whose data directory was put back to an earlier state: its clients must end up with what
the server has, whatever they had seen in between, and lose nothing of what they still have to send.
"""

import json
import shutil

import harness
from test_cli import Follow
from test_rest import group, joined, ok


class Backup:
    """A copy of the data directory of a server that is stopped."""

    def __init__(self, server, path):
        self.server, self.path = server, path
        server.flags += ["--port", str(server.port)]  # it comes back where it was
        server.stop()
        shutil.copytree(server.data, path)
        server.start()

    def put_back(self):
        self.server.kill()
        shutil.rmtree(self.server.data)
        shutil.copytree(self.path, self.server.data)
        self.server.start()


def live(account, **resume):
    socket = account.socket()
    rows, caught_up = socket.resume(**resume)
    return socket, {r["conversation_id"]: r for r in rows}, caught_up["since"]


def position(rows):
    return [{"conversation_id": key, "seq": row["head"], "event_id": row["head_id"]}
            for key, row in rows.items() if row.get("head_id")]


def test_a_client_that_saw_more(server_factory, tmp_path):
    server = server_factory()
    alice, bob = server.register("alice"), server.register("bob")
    room, quiet = group(bob, alice, name="busy"), group(bob, alice, name="quiet")
    joined(alice, room, quiet)
    for n in range(5):
        ok(bob.send(f"kept {n}", conversation_id=room), 201)
    ok(bob.send("kept here", conversation_id=quiet), 201)
    backup = Backup(server, tmp_path / "backup")
    alice, bob = server.login("alice"), server.login("bob")
    # What the backup does not have: messages, a conversation, a pin, a draft, a name.
    for n in range(3):
        ok(bob.send(f"lost {n}", conversation_id=room, client_msg_id=f"lost-{n}"), 201)
    lost = group(bob, alice, name="lost")
    direct = ok(bob.send("lost, too", to="alice"), 201)["conversation_id"]
    joined(alice, lost, direct)
    ok(alice.http("PUT", f"/api/v1/conversations/{quiet}/pin", {"pinned": True}))
    ok(alice.http("PATCH", f"/api/v1/conversations/{quiet}", {"draft": "lost draft"}))
    ok(bob.http("PATCH", f"/api/v1/groups/{room}", {"name": "lost name"}))
    socket, rows, since = live(alice)
    assert rows[quiet]["pinned"] and rows[quiet]["draft"] == "lost draft"
    assert {room, quiet, lost, direct} < set(rows)
    have = position(rows)
    backup.put_back()

    # Devices that signed in since the backup are unknown, as all that the backup does not have.
    alice, bob = server.login("alice"), server.login("bob")
    ok(bob.send("after", conversation_id=room), 201)
    socket, rows, since = live(alice, since=since, have=have)
    assert rows[room]["reset"] and rows[room]["name"] == "busy"
    assert [e["content"] for e in rows[room]["events"] if e["event"] == "new_message"] == [
        *(f"kept {n}" for n in range(5)), "after"]
    for gone in (lost, direct):
        assert rows[gone] == {"conversation_id": gone, "type": "group", "left": True,
                              "reset": True, "events": []}
    # Nothing happened in it, but what the own log said of it is not so any more.
    assert not rows[quiet]["pinned"] and "draft" not in rows[quiet] and not rows[quiet]["reset"]
    own = [r for r in rows.values() if r["type"] == "self"]
    assert own and own[0]["reset"]
    assert server.metric("confab_resume_gone_total") == 2
    # From here on it is an ordinary client again.
    fresh = live(alice)[1]
    again = live(alice, since=since, have=position(fresh))[1]
    assert not any(r.get("reset") for r in again.values())
    # What the sender sends again, under its key, is new to the server.
    answer = ok(bob.send("lost 0", conversation_id=room, client_msg_id="lost-0"), 201)
    assert answer["duplicate"] is False
    frame = socket.expect("new_message", message_id=answer["message_id"])
    assert frame["content"] == "lost 0"


def seen_and_lost(server_factory, tmp_path, *names):
    """alice's confab has shown "kept", and then "lost", which the backup does not have."""
    server = server_factory()
    confab = harness.Cli(tmp_path / "home", server)
    for name in names:
        confab("register", name, user=name, stdin=harness.PASSWORD + "\n")
    first = Follow(confab, "--continue", "--count", "1", user="alice")
    first.wait_for("following")
    confab("send", "alice", "kept", user="bob")
    assert "kept" in first.next() and first.process.wait(harness.DEADLINE_S) == 0
    backup = Backup(server, tmp_path / "backup")
    confab("send", "alice", "lost", user="bob")
    seen = confab("tail", "--continue", "--count", "1", "--json", user="alice")
    assert [json.loads(line)["content"] for line in seen.splitlines()] == ["lost"]
    return server, confab, backup


def test_the_library_starts_over_and_sends_what_it_holds(server_factory, tmp_path):
    """confab (libconfab) with its position and its outbox kept from before."""
    server, confab, backup = seen_and_lost(server_factory, tmp_path, "alice", "bob")
    # Two that nobody has acknowledged: the server is away.
    server.kill()
    for text in ("waiting 1", "waiting 2"):
        confab("send", "bob", text, "--timeout", "1", user="alice", code=4)
    server.start()
    backup.put_back()
    confab("flush", user="alice")
    bob = server.login("bob")
    chat = ok(bob.http("GET", "/api/v1/conversations/alice"))["conversation_id"]
    assert [m["content"] for m in bob.history(chat)] == ["kept", "waiting 1", "waiting 2"]
    # Told, and then shown as the server has it.
    ok(bob.send("after", conversation_id=chat), 201)
    lines = [json.loads(line) for line in confab(
        "tail", "--continue", "--count", "4", "--json", user="alice").splitlines()]
    resets = [n for n, x in enumerate(lines) if x["event"] == "reset"]
    assert chat in [lines[n]["conversation_id"] for n in resets]
    assert [x["content"] for x in lines if x.get("content")] == [
        "kept", "waiting 1", "waiting 2", "after"]


def test_what_was_lost_is_told_after_others_have_written(server_factory, tmp_path):
    """The log's clock has passed the client's token, and the conversation has not moved since."""
    server, confab, backup = seen_and_lost(server_factory, tmp_path, "alice", "bob", "carol")
    # Once more in step, so that the token covers it and no position is named.
    def resumes():
        return server.metric('confab_resumes_total{outcome="caught_up"}')

    before = resumes()
    idle = Follow(confab, "--continue", user="alice")
    harness.wait_until(lambda: resumes() > before, "in step once more")
    idle.stop()
    backup.put_back()
    carol, bob = server.login("carol"), server.login("bob")
    for n in range(3):
        ok(carol.send(f"on we go {n}", to="bob"), 201)
    chat = ok(bob.http("GET", "/api/v1/conversations/alice"))["conversation_id"]
    lines = [json.loads(line) for line in confab(
        "tail", "--continue", "--count", "1", "--json", user="alice").splitlines()]
    assert ("reset", chat) in [(x["event"], x["conversation_id"]) for x in lines]
    assert [x["content"] for x in lines if x.get("content")] == ["kept"]
    assert server.metric("confab_resume_tokens_unknown_total") == 1
