"""Proof: an acknowledged message survives kill -9 and power failures, wherever they come.

tools/crash-lab lets a server die under load, at random and at operations of its own on its files, on
a file system that forgets what was not synced, and lets confab-replay judge what clients saw.
"""

import json
import os
import subprocess
import sys

import pytest

import harness

FORM = os.environ.get("CONFAB_PROOF", "normal")
DEATHS = {"normal": 20, "long": 1000}[FORM]
SECONDS = {"normal": 200, "long": 6 * 3600}[FORM]


@pytest.fixture(autouse=True)
def needs_fuse():
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this system has no /dev/fuse")


def lab(*options):
    return subprocess.run(
        [sys.executable, str(harness.ROOT / "tools" / "crash-lab"), "--json", *map(str, options)],
        env={**os.environ, "CONFAB_BUILD": str(harness.BUILD)}, capture_output=True, text=True,
        timeout=SECONDS, check=False)


@pytest.mark.parametrize("how", ["kill", "power"])
@pytest.mark.timeout(SECONDS + 20)
def test_nothing_acknowledged_is_lost(how):
    done = lab("--how", how, "--deaths", DEATHS)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["deaths"] >= DEATHS and report["failed"] == 0
    assert report["acknowledged"] > 0 and report["files"]["sync"] > 0
    assert len(report["places"]) > 3, report["places"]
    lost = report["files"]["pages_old"] + report["files"]["names_lost"]
    assert (lost > 0) == (how == "power")


def test_it_goes_on_from_its_report(tmp_path):
    report = tmp_path / "report.json"
    first = lab("--how", "kill", "--deaths", 2, "--report", report)
    assert first.returncode == 0, first.stderr
    before = json.loads(report.read_text())
    assert before == json.loads(first.stdout) and before["runs"] == 1
    second = lab("--how", "kill", "--deaths", before["deaths"] + 2, "--report", report)
    assert second.returncode == 0, second.stderr
    after = json.loads(report.read_text())
    assert after == json.loads(second.stdout) and after["runs"] == 2
    assert after["next_seed"] == before["next_seed"] + 1
    assert after["deaths"] >= before["deaths"] + 2
    assert after["acknowledged"] > before["acknowledged"] > 0
    other = lab("--how", "power", "--deaths", 9, "--report", report)
    assert other.returncode == 1 and "a report of deaths by kill" in other.stderr


def test_growing_shows_nothing_of_before(tmp_path):
    """Whatever a lost truncation leaves behind the end of a file, it reads as zeros when the file
    grows again. SQLite's shared memory relies on that."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with subprocess.Popen([str(harness.BUILD / "lossy_fs"), str(folder)]) as process:
        try:
            harness.wait_until(lambda: os.path.ismount(folder), "the file system")
            ended_short = 0
            for seed in range(40):
                path = folder / f"file{seed}"
                with open(path, "wb") as file:
                    file.write(b"x" * 9000)
                    file.flush()
                    os.fsync(file.fileno())
                names = os.open(folder, os.O_RDONLY)
                os.fsync(names)
                os.close(names)
                os.truncate(path, 3)
                os.setxattr(folder, "user.lose", str(seed).encode())
                size = path.stat().st_size
                ended_short += size == 3
                os.truncate(path, 9001)
                assert path.read_bytes()[size:] == bytes(9001 - size), seed
            assert ended_short > 0
        finally:
            subprocess.run(["fusermount3", "-u", "-z", str(folder)], check=False)
            process.terminate()


def test_it_can_fail():
    """A log that says durable without a sync: the lab has to find it."""
    done = lab("--how", "power", "--deaths", 60, "--no-sync", "/log/")
    assert done.returncode == 1, done.stdout
    assert json.loads(done.stdout)["failed"] > 0
