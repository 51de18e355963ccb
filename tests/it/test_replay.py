"""The replay of a small channel, with and without kills, and of a small mixed day.

confab-replay is the judge: it ends with 0 only when every session got every message once and in one
order, and history holds the same. That it can say no is tested too.
"""

import json
import socket
import subprocess

import pytest

import harness

SAMPLE = harness.ROOT / "tests" / "data" / "sample.tsv"
MESSAGES = len(SAMPLE.read_text(encoding="utf-8").splitlines())
PEOPLE = len({line.split("\t")[1] for line in SAMPLE.read_text(encoding="utf-8").splitlines()})
SECONDS = 100


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(tmp_path, *options, source=SAMPLE, flags=""):
    """Runs the tool with a server of its own; returns (exit code, report, what it said)."""
    port = free_port()
    server = (f"{harness.BUILD}/confabd --data {tmp_path}/data --port {port} --password-cost low "
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
