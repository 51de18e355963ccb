"""What the README promises for the first minute, with the two programs as a person uses them."""

import re

import harness


def sign_up(confab, *names):
    for name in names:
        confab("register", name, user=name, stdin=harness.PASSWORD + "\n")


def test_two_people_exchange_messages(confab):
    sign_up(confab, "alice", "bob")
    confab("send", "bob", "Are you there?", user="alice")
    confab("send", "alice", "I am.", user="bob")
    for user, other in (("alice", "bob"), ("bob", "alice")):
        lines = confab("history", other, user=user).splitlines()
        assert len(lines) == 2
        assert "alice" in lines[0] and "Are you there?" in lines[0]
        assert "bob" in lines[1] and "I am." in lines[1]


def test_login_on_another_device(confab):
    sign_up(confab, "alice", "bob")
    confab("send", "bob", "from the first device", user="alice")
    confab("login", "alice", user="alice-laptop", stdin=harness.PASSWORD + "\n")
    assert "from the first device" in confab("history", "bob", user="alice-laptop")


def test_login_with_a_wrong_password_is_refused(confab):
    sign_up(confab, "alice")
    confab("login", "alice", user="thief", stdin="not the password\n", code=1)
    confab("history", "alice", user="thief", code=1)


def test_group(confab):
    sign_up(confab, "alice", "bob", "carol")
    created = confab("group", "create", "Friends", "bob", user="alice")
    group = re.search(r"\b[0-9a-f]{32}\b", created).group(0)
    confab("group", "add", group, "carol", user="alice")
    confab("send", group, "hello, both", user="alice")
    for name in ("bob", "carol"):
        assert "hello, both" in confab("history", group, user=name)
        assert "hello, both" in confab("history", "Friends", user=name)


def test_two_profiles_on_one_machine(confab):
    """The README's lines: both people in one home."""
    for name in ("alice", "bob"):
        confab("--profile", name, "register", name, stdin=harness.PASSWORD + "\n")
    confab("--profile", "alice", "send", "bob", "Hello")
    assert "Hello" in confab("--profile", "bob", "history", "alice")


def test_tail_prints_what_comes(confab):
    sign_up(confab, "alice", "bob")
    confab("send", "bob", "zero", user="alice")
    with confab.spawn("tail", "alice", "--count", "2", user="bob") as tail:
        assert "following" in tail.stdout.readline()
        confab("send", "bob", "one", user="alice")
        confab("send", "bob", "two", user="alice")
        lines = tail.stdout.read().splitlines()
        assert tail.wait(harness.DEADLINE_S) == 0
    assert len(lines) == 2
    assert lines[0].endswith("alice: one") and lines[1].endswith("alice: two")


def test_messages_survive_a_restart(confab, server):
    sign_up(confab, "alice", "bob")
    confab("send", "bob", "still here?", user="alice")
    server.restart()
    assert "still here?" in confab("history", "alice", user="bob")
