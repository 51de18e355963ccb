"""tools/million with few: what it counts, that it cleans up, and that it says no; never its times."""

import json
import subprocess
import sys

import harness

MILLION = harness.ROOT / "tools" / "million"


def million(folder, *options):
    return subprocess.run(
        [sys.executable, str(MILLION), "--json", "--folder", str(folder), *map(str, options)],
        capture_output=True, text=True, timeout=110, check=False)


def test_everybody_is_there(tmp_path):
    done = million(tmp_path, "--connections", 250, "--per-server", 100, "--groups", 2, "--hold", 2)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["ok"] and report["errors"] == 0
    assert report["servers"] == 3
    assert report["sessions"] == report["connections"] == 250
    # One in 30 s of each, evenly: the first come at once.
    assert report["heartbeats"] == report["answered"] > 0
    assert report["bytes_per_connection"].keys() >= {"servers_pss", "kernel_slab_both_ends",
                                                     "of_available_memory"}
    assert list(tmp_path.iterdir()) == [], "its files are gone"


def test_more_than_the_memory_takes(tmp_path):
    done = million(tmp_path, "--connections", 1_000_000_000)
    assert done.returncode == 2
    assert "have to stay free; available are" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_more_files_than_a_process_may_open(tmp_path):
    done = subprocess.run(
        ["prlimit", "--nofile=1050", sys.executable, str(MILLION), "--connections", "100",
         "--per-server", "100", "--folder", str(tmp_path)],
        capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 2
    assert "a process may open 1050 files: --per-server 50 at most" in done.stderr


def test_wrong_usage(tmp_path):
    assert million(tmp_path, "--connections", 0).returncode == 2
