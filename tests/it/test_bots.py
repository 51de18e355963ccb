"""The bots of docs/developers/bot.md, run as they stand there."""

import json
import os
import re
import signal
import subprocess

import harness
from test_library import build, installed  # noqa: F401  (a fixture)

DOC = harness.ROOT / "docs" / "developers" / "bot.md"


def block(language):
    return re.search(rf"```{language}\n(.*?)```", DOC.read_text(), re.DOTALL).group(1)


class Bot:
    """Runs a bot, and what it started, for as long as the block lasts."""

    def __init__(self, confab, *command, env=None):
        env = (env or {}) | confab.environment("bot") | {"BOT_PASSWORD": harness.PASSWORD}
        self.process = subprocess.Popen(command, env=env, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def prepare(confab):
    """alice and the bot in a conversation; returns its id."""
    for user in ("alice", "echo"):
        confab("register", user, user=user, stdin=harness.PASSWORD + "\n")
    confab("send", "echo", "before the bot came", user="alice")
    listed = confab("conversations", "--json", user="alice").splitlines()
    return next(c["conversation_id"] for c in map(json.loads, listed) if c["type"] == "direct")


def said_by_the_bot(confab):
    me = json.loads(confab("whoami", "--json", user="alice"))["user_id"]
    lines = confab("history", "echo", "--json", user="alice").splitlines()
    return [m["content"] for m in map(json.loads, lines) if m["from"] != me]


def exchange(confab, bot):
    """Speaks until the bot answers, which is when it has begun; then every message comes back."""
    for attempt in range(harness.DEADLINE_S):
        assert bot.process.poll() is None, "the bot has ended"
        confab("send", "echo", f"are you there? {attempt}", user="alice")
        try:
            harness.wait_until(lambda: said_by_the_bot(confab), "an answer", deadline_s=2)
            break
        except harness.ServerError:
            continue
    texts = ["one", "two\nlines and \"quotes\"", "three"]
    for text in texts:
        confab("send", "echo", text, user="alice")
    harness.wait_until(lambda: "three" in said_by_the_bot(confab), "the last answer")
    assert [text for text in said_by_the_bot(confab) if "?" not in text] == texts


def test_the_bot_with_curl(confab, tmp_path):
    conv = prepare(confab)
    script = tmp_path / "bot.sh"
    script.write_text(block("sh"))
    with Bot(confab, "sh", str(script), conv) as bot:
        exchange(confab, bot)


def test_the_bot_with_libconfab(confab, tmp_path, installed):  # noqa: F811
    prepare(confab)
    program = tmp_path / "bot"
    env = build(installed, block("c"), program)
    with Bot(confab, str(program), env=env) as bot:
        exchange(confab, bot)
