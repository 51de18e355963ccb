"""confab as people and scripts use it: every command, its output, its exit status."""

import json
import os
import pty
import queue
import re
import select
import signal
import stat
import subprocess
import threading
import time

import pytest

import harness

PROGRAM = str(harness.BUILD / "confab")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def sign_up(confab, *names):
    for name in names:
        confab("register", name, user=name, stdin=harness.PASSWORD + "\n")


def keep_port(server):
    """Restarts come back at the same address, as a real server's do."""
    server.flags += ["--port", str(server.port)]


class Follow:
    """A running `confab tail`; its lines are read as they come."""

    def __init__(self, confab, *arguments, user):
        self.process = subprocess.Popen([PROGRAM, "tail", *arguments],
                                        env=confab.environment(user), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = queue.Queue()
        self.said = queue.Queue()
        for stream, lines in ((self.process.stdout, self.lines), (self.process.stderr, self.said)):
            threading.Thread(target=self.read, args=(stream, lines), daemon=True).start()

    @staticmethod
    def read(stream, lines):
        for line in stream:
            lines.put(line.rstrip("\n"))
        lines.put(None)

    def wait_for(self, text):
        """The next line on standard error with that text."""
        while True:
            line = self.said.get(timeout=harness.DEADLINE_S)
            assert line is not None, f"tail ended before saying {text!r}"
            if text in line:
                return

    def next(self):
        line = self.lines.get(timeout=harness.DEADLINE_S)
        assert line is not None, "tail ended"
        return line

    def stop(self):
        """Ends it as Ctrl-C does; returns the lines not yet taken."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(harness.DEADLINE_S) == 0
        return self.rest()

    def rest(self):
        rest = []
        while True:
            line = self.lines.get(timeout=harness.DEADLINE_S)
            if line is None:
                return rest
            rest.append(line)


@pytest.fixture
def follow(confab):
    running = []

    def start(*arguments, user):
        new = Follow(confab, *arguments, user=user)
        running.append(new)
        new.wait_for("following")
        return new

    yield start
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()


# -- Help and usage -----------------------------------------------------------------------------

def run(*arguments, **kwargs):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True,
                          timeout=harness.DEADLINE_S, check=False, **kwargs)


def commands():
    listed = run("--help").stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    return [re.match(r"  ((?:(?:account|group|device|invite|admin) )?[a-z]+)", line).group(1) for line in listed]


def test_help_lists_the_commands():
    assert {"register", "login", "send", "tail", "history", "group create", "group add",
            "log"} <= set(commands())


def test_every_command_has_help():
    for command in commands():
        done = run(*command.split(), "--help")
        assert done.returncode == 0, command
        assert done.stdout.startswith(f"usage: confab {command}"), command


@pytest.mark.parametrize("arguments", [
    (), ("nonsense",), ("group",), ("group", "nonsense"), ("send",), ("history",),
    ("history", "a", "b"), ("whoami", "--nonsense"), ("whoami", "--limit", "3"),
    ("history", "a", "--limit"), ("history", "a", "--limit", "0"), ("history", "a", "--limit", "x"),
    ("history", "a", "--limit=1", "--limit=2"), ("whoami", "--json=yes"), ("edit", "abc", "text"),
    ("mute", "a", "--for", "soon"), ("whoami", "--profile", "../x"),
    ("group", "role", "g", "u", "king"),
])
def test_wrong_usage_is_2_and_names_itself(arguments, tmp_path):
    done = run(*arguments, env={"HOME": str(tmp_path)})
    assert done.returncode == 2
    assert done.stdout + done.stderr != ""
    assert list(tmp_path.iterdir()) == []


def test_log_hands_over_to_confabd():
    direct = subprocess.run([str(harness.BUILD / "confabd"), "log", "inspect", "--help"],
                            capture_output=True, text=True, timeout=harness.DEADLINE_S, check=False)
    through = run("log", "inspect", "--help")
    assert (through.returncode, through.stdout) == (direct.returncode, direct.stdout)


# -- Accounts and profiles ----------------------------------------------------------------------

def test_profile_is_private_and_holds_no_password(confab):
    sign_up(confab, "alice")
    folder = confab.home / "alice" / ".config" / "confab"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert files
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert harness.PASSWORD not in path.read_text()
    assert confab("whoami", user="alice").startswith("alice, user id ")


def test_profiles_are_apart(confab):
    for name in ("alice", "bob"):
        confab("register", name, "--profile", name, user="shared", stdin=harness.PASSWORD + "\n")
    confab("send", "bob", "from alice", "--profile", "alice", user="shared")
    assert confab("whoami", "--profile", "bob", user="shared").startswith("bob,")
    assert "alice: from alice" in confab("history", "alice", "--profile", "bob", user="shared")
    confab("whoami", user="shared", code=1)


def test_password_from_the_environment(confab):
    env = {**confab.environment("alice"), "CONFAB_PASSWORD": harness.PASSWORD}
    assert run("register", "alice", env=env).returncode == 0
    env["CONFAB_PASSWORD"] = "not the right one"
    assert run("login", "alice", env=env).returncode == 1
    assert run("login", "alice", "--password-stdin", env=env,
               input=harness.PASSWORD + "\n").returncode == 0


def test_password_is_asked_for_without_echo(confab):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(PROGRAM, [PROGRAM, "register", "alice"], confab.environment("alice"))
    shown = b""
    typed = 0
    deadline = time.monotonic() + harness.DEADLINE_S
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            piece = os.read(terminal, 4096)
        except OSError:
            break
        shown += piece
        if shown.count(b": ") > typed and typed < 2:
            os.write(terminal, harness.PASSWORD.encode() + b"\n")
            typed += 1
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    assert typed == 2
    assert harness.PASSWORD.encode() not in shown
    assert confab("whoami", user="alice").startswith("alice,")


def test_logout_forgets(confab):
    sign_up(confab, "alice")
    confab("logout", user="alice")
    assert "not signed in" in confab("whoami", user="alice", code=1)


def test_account_delete(confab, server):
    """Nothing without the password; with it the account and its profile are gone, for good."""
    sign_up(confab, "alice", "bob")
    confab("send", "bob", "hello", user="alice")
    elsewhere = server.login("alice")
    said = confab("account", "delete", "--password-stdin", user="alice",
                  stdin="not the right one\n", code=1)
    assert "password" in said
    assert confab("whoami", user="alice").startswith("alice,")
    assert "deleted" in confab("account", "delete", user="alice", stdin=harness.PASSWORD + "\n")
    assert "not signed in" in confab("whoami", user="alice", code=1)
    assert elsewhere.http("GET", "/api/v1/users/me").status == 401
    confab("login", "alice", user="alice", stdin=harness.PASSWORD + "\n", code=1)
    confab("register", "alice", user="alice", stdin=harness.PASSWORD + "\n", code=1)
    assert "hello" in confab("history", "alice", user="bob")
    assert server.metric("confab_accounts_deleted_total") == 1


def test_the_last_administrator_stays(confab, server):
    link = (server.log.read_text().split("#setup=")[1]).split()[0]
    confab("register", "root", "--invite", link, user="root", stdin=harness.PASSWORD + "\n")
    said = confab("account", "delete", user="root", stdin=harness.PASSWORD + "\n", code=1)
    assert "administrator" in said
    assert confab("whoami", user="root").startswith("root,")


def test_taken_name_is_refused(confab):
    sign_up(confab, "alice")
    said = confab("register", "ALICE", user="other", stdin=harness.PASSWORD + "\n", code=1)
    assert "ALICE" in said and "not signed in" in confab("whoami", user="other", code=1)


def test_revoked_or_foreign_token_says_how_to_go_on(confab):
    sign_up(confab, "alice")
    path = confab.home / "alice" / ".config" / "confab" / "default.profile"
    path.write_text(re.sub(r"token .*", "token nonsense", path.read_text()))
    assert "confab login" in confab("whoami", user="alice", code=1)
    confab("tail", user="alice", code=1)
    confab("send", "alice", "x", user="alice", code=1)


def test_unreachable_server_is_3(confab, server):
    sign_up(confab, "alice")
    server.kill()
    said = confab("history", "alice", user="alice", code=3)
    assert server.url in said


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1", "127.0.0.1:1", "http://", "http://a b",
                                 "http://a:port", "http://a/b c", "http://[::1"])
def test_bad_server_address_is_refused(confab, url):
    sign_up(confab, "alice")
    assert url in confab("whoami", "--server", url, user="alice", code=1)


# -- Messages -----------------------------------------------------------------------------------

def test_send_prints_the_id_that_history_shows(confab):
    sign_up(confab, "alice", "bob")
    message_id = confab("send", "bob", "one", "two", user="alice").strip()
    line = confab("history", "alice", "--ids", user="bob").strip()
    assert f" {message_id} alice: one two" in line


def test_send_reads_standard_input(confab):
    sign_up(confab, "alice", "bob")
    confab("send", "bob", user="alice", stdin="first\nsecond\n")
    confab("send", "bob", "-", user="alice", stdin="third")
    confab("send", "bob", "--", "--help", user="alice")
    lines = confab("history", "alice", "--json", user="bob").splitlines()
    assert [json.loads(line)["content"] for line in lines] == ["first\nsecond", "third", "--help"]


@pytest.mark.parametrize("text", ["", "x" * 16385, "a\0b"], ids=["empty", "long", "zero"])
def test_bad_text_is_refused(confab, text):
    sign_up(confab, "alice", "bob")
    confab("send", "bob", user="alice", stdin=text, code=1)
    assert "not found" in confab("history", "alice", user="bob", code=1)


def test_reply(confab):
    sign_up(confab, "alice", "bob")
    first = confab("send", "bob", "question", user="alice").strip()
    confab("send", "alice", "answer", "--reply-to", first, user="bob")
    answer = json.loads(confab("history", "bob", "--limit", "1", "--json", user="alice"))
    assert answer["reply_to"] == first


def test_unknown_target(confab):
    sign_up(confab, "alice")
    for command in (("send", "nobody", "x"), ("send", "@nobody", "x"), ("send", "#nothing", "x"),
                    ("history", "nobody"), ("history", "0123456789abcdef0123456789abcdef")):
        confab(*command, user="alice", code=1)


def test_text_of_others_cannot_command_the_terminal(confab, server, follow):
    sign_up(confab, "alice", "bob")
    tail = follow(user="bob")
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eabc\u2066\r\nspoofed: line\u200b"
    confab("send", "bob", user="alice", stdin=evil)
    confab("group", "create", "\x1b[31mred", user="alice", code=1)
    group = confab("group", "create", "x\u202ey", "bob", user="alice").strip()
    confab("send", group, "in it", user="alice")
    # The direct message is two lines, then the group's beginning and its message.
    seen = [tail.next() for _ in range(4)]
    for output in ("\n".join(seen), confab("history", "alice", user="bob"),
                   confab("history", "alice", "--json", user="bob"),
                   confab("conversations", user="bob"), confab("conversations", "--json", user="bob")):
        assert CONTROL.search(output) is None, output
    history = confab("history", "alice", user="bob").splitlines()
    assert history[1].startswith("    spoofed: line")


def test_history_pages(confab, server):
    sign_up(confab, "alice", "bob")
    alice = server.login("alice")
    for number in range(230):
        alice.send(f"number {number}", to="bob")
    lines = confab("history", "alice", "--limit", "210", user="bob").splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == [str(n) for n in range(20, 230)]
    last = json.loads(confab("history", "alice", "--limit", "1", "--json", user="bob"))
    before = confab("history", "alice", "--limit", "2", "--before", str(last["seq"]), user="bob")
    assert [line.rsplit(" ", 1)[1] for line in before.splitlines()] == ["227", "228"]
    assert len(confab("history", "alice", user="bob").splitlines()) == 50


def test_edit_and_delete(confab):
    sign_up(confab, "alice", "bob")
    ids = [confab("send", "bob", text, user="alice").strip() for text in ("one", "two", "three")]
    confab("edit", ids[0], "uno", user="alice")
    confab("delete", ids[1], user="alice")
    confab("delete", ids[2], "--for-me", user="bob")
    confab("edit", ids[0], "not mine", user="bob", code=1)
    alice = confab("history", "bob", user="alice").splitlines()
    bob = confab("history", "alice", user="bob")
    assert "alice: uno (edited)" in alice[0]
    assert "two" not in "\n".join(alice)
    assert "three" in alice[-1]
    assert "three" not in bob and "uno" in bob


# -- Groups and settings ------------------------------------------------------------------------

def test_group_life(confab):
    sign_up(confab, "alice", "bob", "carol")
    group = confab("group", "create", "Book club", "bob", user="alice").strip()
    assert re.fullmatch("[0-9a-f]{32}", group)
    confab("group", "add", "Book club", "carol", user="alice")
    confab("send", "#Book club", "welcome", user="alice")
    assert "alice: welcome" in confab("history", "Book club", user="carol")
    assert sorted(confab("members", group, user="bob").split("\n")) == [
        "", "alice  owner", "bob  member", "carol  member"]
    confab("group", "role", group, "bob", "admin", user="alice")
    confab("group", "remove", group, "carol", user="bob")
    confab("send", group, "still there?", user="carol", code=1)
    confab("group", "rename", group, "Reading", user="bob")
    confab("group", "leave", "Reading", user="bob")
    assert confab("members", "Reading", user="alice").strip() == "alice  owner"
    confab("group", "add", group, "nobody", user="alice", code=1)
    assert "Reading" in confab("conversations", user="alice")
    assert "Reading" not in confab("conversations", user="bob")


def test_settings_of_one_s_own(confab):
    sign_up(confab, "alice", "bob")
    confab("send", "bob", "hello", user="alice")
    confab("pin", "alice", user="bob")
    confab("mute", "alice", "--for", "8h", user="bob")

    def shows(*words):
        return lambda: all(w in confab("conversations", user="bob") for w in words)

    harness.wait_until(shows("alice (pinned) (muted)", "1 unread"), "pinned, muted, unread")
    confab("read", "alice", user="bob")
    harness.wait_until(shows("0 unread"), "read")
    confab("unpin", "alice", user="bob")
    confab("unmute", "alice", user="bob")
    harness.wait_until(lambda: "(" not in confab("conversations", user="bob"), "no longer")
    confab("block", "alice", user="bob")
    confab("send", "bob", "psst", user="alice", code=1)
    confab("unblock", "alice", user="bob")
    confab("send", "bob", "sorry", user="alice")


# -- Following ----------------------------------------------------------------------------------

def test_tail_shows_what_comes(confab, follow):
    sign_up(confab, "alice", "bob", "carol")
    confab("send", "bob", "before", user="alice")
    everything = follow(user="bob")
    only_alice = follow("alice", "--json", user="bob")
    confab("send", "bob", "from alice", user="alice")
    confab("send", "bob", "from carol", user="carol")
    confab("send", "alice", "from bob", user="bob")
    lines = [everything.next() for _ in range(3)]
    lines.sort(key=lambda line: line.rsplit(": ", 1)[1])
    assert [line.split(" ", 2)[2] for line in lines] == [
        "[alice] alice: from alice", "[alice] bob: from bob", "[carol] carol: from carol"]
    assert [json.loads(only_alice.next())["content"] for _ in range(2)] == ["from alice", "from bob"]
    assert everything.stop() == []
    assert only_alice.stop() == []


def test_tail_count_ends_it(confab, follow):
    sign_up(confab, "alice", "bob")
    tail = follow("--count", "2", user="bob")
    for text in ("one", "two", "three"):
        confab("send", "bob", text, user="alice")
    assert tail.process.wait(harness.DEADLINE_S) == 0
    assert [line.rsplit(" ", 1)[1] for line in tail.rest()] == ["one", "two"]


def test_tail_shows_other_events(confab, follow):
    sign_up(confab, "alice", "bob")
    tail = follow(user="bob")
    group = confab("group", "create", "Club", "bob", user="alice").strip()
    message_id = confab("send", group, "one", user="alice").strip()
    confab("edit", message_id, "uno", user="alice")
    confab("delete", message_id, user="alice")
    confab("group", "rename", group, "Society", user="alice")
    lines = [tail.next().split(" ", 2)[2] for _ in range(5)]
    assert lines[0].startswith("[Club] * alice began with ")
    assert lines[1] == "[Club] alice: one"
    assert lines[2] == f"[Club] * alice edited message {message_id}: uno"
    assert lines[3] == f"[Club] * alice deleted message {message_id}"
    assert lines[4] == "[Society] * alice named it Society"


def test_tail_over_kills_of_the_server_shows_each_message_once(confab, server, follow):
    keep_port(server)
    sign_up(confab, "alice", "bob")
    tail = follow("--json", user="bob")
    alice = server.login("alice")
    sent = []
    for turn in range(3):
        for number in range(20):
            text = f"{turn}.{number}"
            assert alice.send(text, to="bob").status == 201
            sent.append(text)
        server.kill()
        server.start()
        text = f"{turn} after the kill"
        assert alice.send(text, to="bob").status == 201
        sent.append(text)
    seen = []
    while len(seen) < len(sent):
        event = json.loads(tail.next())
        if event["event"] == "new_message":
            seen.append(event)
    assert [event["content"] for event in seen] == sent
    assert [event["seq"] for event in seen] == list(range(seen[0]["seq"], seen[0]["seq"] + len(sent)))
    assert tail.stop() == []


def test_tail_continue_takes_up_where_it_ended(confab, server, follow):
    sign_up(confab, "alice", "bob")
    alice = server.login("alice")
    tail = follow("--continue", user="bob")
    alice.send("one", to="bob")
    assert tail.next().endswith("alice: one")
    second = run("tail", "--continue", env=confab.environment("bob"))
    assert second.returncode == 1 and "another process" in second.stderr
    assert tail.stop() == []
    for number in range(150):  # more than a resume brings along
        alice.send(f"missed {number}", to="bob")
    alice.send("last", to="bob")
    done = run("tail", "--continue", "--count", "151", env=confab.environment("bob"))
    texts = [line.rsplit(": ", 1)[1] for line in done.stdout.splitlines()]
    assert texts == [f"missed {number}" for number in range(150)] + ["last"]


def test_tail_continue_after_count_leaves_nothing_out(confab, server, follow):
    sign_up(confab, "alice", "bob")
    alice = server.login("alice")
    assert follow("--continue", user="bob").stop() == []
    for number in range(120):
        alice.send(f"{number}", to="bob")
    seen = []
    for count in (1, 7, 2, 60, 50):
        done = run("tail", "--continue", "--count", str(count), env=confab.environment("bob"))
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == count
        seen += [int(line.rsplit(" ", 1)[1]) for line in lines]
    assert seen == list(range(120))


# -- The outbox ---------------------------------------------------------------------------------

def test_outbox_keeps_messages_until_the_server_is_back(confab, server):
    keep_port(server)
    sign_up(confab, "alice", "bob")
    confab("send", "bob", "zero", user="alice")
    server.kill()
    for text in ("one", "two", "three"):
        said = confab("send", "bob", text, "--timeout", "0", user="alice", code=4)
        assert "outbox" in said
    confab("send", "#Some group", "x", "--timeout", "0", user="alice", code=3)
    server.start()
    confab("send", "bob", "four", user="alice")
    confab("flush", user="alice")
    lines = confab("history", "alice", user="bob").splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["zero", "one", "two", "three", "four"]


def test_send_waits_for_a_server_that_restarts(confab, server):
    keep_port(server)
    sign_up(confab, "alice", "bob")
    group = "Some group"
    confab("group", "create", group, "bob", user="alice")
    server.kill()
    sender = subprocess.Popen([PROGRAM, "send", group, "patience"], env=confab.environment("alice"),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    server.start()
    assert sender.communicate(timeout=harness.DEADLINE_S)[0].strip().isdigit()
    assert sender.returncode == 0
    assert "alice: patience" in confab("history", group, user="bob")


def test_refused_message_leaves_the_outbox(confab, server):
    keep_port(server)
    sign_up(confab, "alice", "bob")
    server.kill()
    confab("send", "nobody", "lost", "--timeout", "0", user="alice", code=4)
    server.start()
    assert "not sent" in confab("flush", user="alice", code=1)
    confab("flush", user="alice")


def test_damaged_outbox_is_named_and_kept(confab):
    sign_up(confab, "alice", "bob")
    confab("send", "bob", "one", user="alice")
    path = confab.home / "alice" / ".config" / "confab" / "default.outbox"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert str(path) in confab("send", "bob", "two", user="alice", code=1)
    assert path.read_bytes() == data[:-1]
    path.unlink()
    confab("send", "bob", "two", user="alice")


def test_many_senders_of_one_profile(confab):
    sign_up(confab, "alice", "bob")
    running = [subprocess.Popen([PROGRAM, "send", "bob", f"n{number}"],
                                env=confab.environment("alice"), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, text=True) for number in range(8)]
    ids = {one.communicate(timeout=harness.DEADLINE_S)[0] for one in running}
    assert all(one.returncode == 0 for one in running)
    assert len(ids) == 8
    texts = {line.rsplit(" ", 1)[1] for line in confab("history", "alice", user="bob").splitlines()}
    assert texts == {f"n{number}" for number in range(8)}
