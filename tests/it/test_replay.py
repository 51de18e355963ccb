"""The replay of a small channel, with and without kills, and of a small mixed day.

confab-replay is the judge: it ends with 0 only when every session got every message once and in one
order, and history holds the same. That it can say no is tested too.
"""

import asyncio
import json
import re
import subprocess
import threading

import pytest

import harness

SAMPLE = harness.ROOT / "tests" / "data" / "sample.tsv"
MESSAGES = len(SAMPLE.read_text(encoding="utf-8").splitlines())
PEOPLE = len({line.split("\t")[1] for line in SAMPLE.read_text(encoding="utf-8").splitlines()})
SECONDS = 100


def run(tmp_path, *options, source=SAMPLE, flags=""):
    """Runs the tool with a server of its own; returns (exit code, report, what it said)."""
    port = harness.free_port()
    server = (f"{harness.BUILD}/confabd --data {tmp_path}/data --port {port} --password-cost low "
              "--registration open "
              f"{flags} >>{tmp_path}/confabd.log 2>&1")
    done = subprocess.run(
        [str(harness.BUILD / "confab-replay"), "--json", "--port", str(port), "--server-cmd",
         server, *map(str, options), str(source)],
        capture_output=True, text=True, timeout=SECONDS, check=False)
    report = json.loads(done.stdout) if done.stdout else {}
    return done.returncode, report, done.stderr


def replay(tmp_path, *options, **more):
    code, report, said = run(tmp_path, *options, **more)
    log = (tmp_path / "confabd.log").read_text()[-4000:]
    assert code == 0, f"{said}\n{log}"
    assert report["ok"] and report["errors"] == 0
    assert report["acknowledged"] == report["messages"]
    return report


@pytest.mark.parametrize("shards", [1, 3])
def test_channel(tmp_path, shards):
    report = replay(tmp_path, flags=f"--shards {shards}")
    assert report["messages"] == MESSAGES
    assert report["people"] == PEOPLE
    assert report["deliveries"] == MESSAGES * PEOPLE
    assert report["server_rss_kib"] > 0


def test_channel_with_many_under_way(tmp_path):
    report = replay(tmp_path, "--window", 32, "--members", 40)
    assert report["deliveries"] == MESSAGES * 40


@pytest.mark.parametrize("window", [1, 8])
def test_channel_with_kills(tmp_path, window):
    report = replay(tmp_path, "--kill-every", 40, "--window", window)
    assert report["kills"] >= 2
    assert report["deliveries"] == MESSAGES * PEOPLE
    assert report["reconnects"] >= report["kills"]


def test_mixed_day_with_kills(tmp_path):
    report = replay(tmp_path, "--mixed", "--members", 30, "--directs", 60, "--groups", 10,
                    "--churn", 100, "--window", 16, "--kill-every", 80, flags="--shards 2")
    assert report["messages"] == MESSAGES
    assert report["kills"] >= 1 and report["devices_gone"] >= 1


def test_says_no_when_the_server_does_not_come_up(tmp_path):
    code, report, said = run(tmp_path, flags="--no-such-flag")
    assert code == 1
    assert "ended instead of starting" in said


@pytest.mark.parametrize("text", ["no tabs here\n", "1\tnick\t\n", "x\tnick\ttext\n", ""])
def test_refuses_what_is_not_a_channel(tmp_path, text):
    source = tmp_path / "bad.tsv"
    source.write_text(text)
    code, _, said = run(tmp_path, source=source)
    assert code == 1
    assert "line 1" in said or "no messages" in said


class BadProxy:
    """Passes bytes between clients and a server, but for one live message, which it spoils."""

    def __init__(self, port, how):
        self.target = port
        self.how = how
        self.spoiled = False
        self.tasks = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self.serve, "127.0.0.1", 0), self.loop).result()
        self.port = server.sockets[0].getsockname()[1]

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await asyncio.gather(self.copy(reader, back_writer), self.down(back_reader, writer))
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            back_writer.transport.abort()
            self.tasks.discard(asyncio.current_task())

    @staticmethod
    async def copy(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def down(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        if b" 101 " not in head.split(b"\r\n")[0]:
            await self.copy(reader, writer)
            return
        while True:
            frame = await self.frame(reader)
            for one in self.spoil(frame):
                writer.write(one)

    @staticmethod
    async def frame(reader):
        """One frame of a server: not masked."""
        head = await reader.readexactly(2)
        length = head[1]
        if length >= 126:
            more = await reader.readexactly(2 if length == 126 else 8)
            length, head = int.from_bytes(more, "big"), head + more
        return head + await reader.readexactly(length)

    def spoil(self, frame):
        """The 20th message of a conversation, for whoever gets it first."""
        if self.spoiled or b'"event":"new_message"' not in frame or b'"seq":20,' not in frame:
            return [frame]
        self.spoiled = True
        at = frame.index(b'"content":"') + len(b'"content":"')
        return {"drop": [], "repeat": [frame, frame],
                "change": [frame[:at] + b"X" + frame[at + 1:]]}[self.how]

    async def end(self):
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self):
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result(harness.DEADLINE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(harness.DEADLINE_S)


@pytest.mark.parametrize("how, says", [
    ("drop", "is missing"),
    ("repeat", "again"),
    ("change", "other content|never sent"),
])
def test_says_no_to_one_spoiled_copy(server_factory, how, says):
    server = server_factory("--password-cost", "low")
    proxy = BadProxy(server.port, how)
    done = subprocess.run(
        [str(harness.BUILD / "confab-replay"), "--json", "--limit", "60", "--stall-s", "5",
         "--port", str(proxy.port), str(SAMPLE)],
        capture_output=True, text=True, timeout=SECONDS, check=False)
    proxy.close()
    assert proxy.spoiled
    assert done.returncode == 1
    assert not json.loads(done.stdout)["ok"]
    assert re.search(says, done.stderr), done.stderr
