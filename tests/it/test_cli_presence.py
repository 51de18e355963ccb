"""The command line: who is online, saying so, privacy, and who types."""

import json

import harness


def two(confab, server):
    for name in ("alice", "bob"):
        confab("register", name, user=name, stdin=harness.PASSWORD + "\n")
    confab("send", "bob", "hello", user="alice")


def shown(confab, *arguments, user="alice"):
    return [json.loads(line) for line in confab("presence", "--json", *arguments, user=user).splitlines()]


def test_presence_and_status(confab, server):
    two(confab, server)
    found = shown(confab, "bob", "alice")
    assert [(p["event"], p["username"]) for p in found] == [
        ("presence", "bob"), ("presence", "alice")]
    assert found[0]["status"] == "offline"
    assert "last_seen" not in found[0]
    confab("status", "away", user="bob")
    harness.wait_until(lambda: shown(confab, "bob")[0]["status"] == "away", "bob is away")
    confab("status", "online", user="bob")
    harness.wait_until(lambda: shown(confab, "bob")[0]["status"] == "online", "bob is online")
    confab("status", "offline", user="bob")
    harness.wait_until(lambda: "last_seen" in shown(confab, "bob")[0], "bob has been online")
    assert "bob  offline  last online " in confab("presence", "bob", user="alice")
    confab("status", "asleep", user="bob", code=2)
    confab("presence", "nobody", user="alice", code=1)


def test_presence_is_followed(confab, server):
    two(confab, server)
    with confab.spawn("presence", "bob", "--follow", "--json", user="alice") as follow:
        assert json.loads(follow.stdout.readline())["status"] == "offline"
        confab("status", "online", user="bob")
        assert json.loads(follow.stdout.readline())["status"] == "online"
        confab("status", "away", user="bob")
        assert json.loads(follow.stdout.readline())["status"] == "away"


def test_privacy(confab, server):
    two(confab, server)
    assert confab("privacy", user="bob") == \
        "online=yes last-seen=yes read-receipts=yes\n"
    confab("privacy", "online=no", "read-receipts=no", user="bob")
    assert json.loads(confab("privacy", "--json", user="bob")) == {
        "event": "privacy", "online": False, "last_seen": True, "read_receipts": False}
    confab("privacy", "online=yes", user="bob")
    assert "online=yes last-seen=yes read-receipts=no" in confab("privacy", user="bob")
    confab("privacy", "online=perhaps", user="bob", code=2)
    confab("privacy", "age=no", user="bob", code=2)


def test_tail_shows_who_types(confab, server):
    two(confab, server)
    bob = server.login("bob")
    socket = bob.socket()
    socket.resume()
    with confab.spawn("tail", "bob", user="alice") as tail:
        def typed():
            socket.send("typing", to="alice")
            return server.metric("confab_ephemeral_total") >= 1
        harness.wait_until(typed, "alice was told", interval_s=0.5)
        while "bob is typing" not in (line := tail.stdout.readline()):
            assert line
