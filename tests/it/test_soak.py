"""tools/soak in a short form: what it counts exactly, and that it can say no; never its times."""

import json
import subprocess
import sys

import harness

SOAK = harness.ROOT / "tools" / "soak"


def soak(*options):
    done = subprocess.run([sys.executable, str(SOAK), "--json", *map(str, options)],
                          capture_output=True, text=True, timeout=110, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_nothing_stays_open():
    code, report = soak("--minutes", "0.15", "--slice", "5", "--rate", "100", "--churn", "3",
                        "--sign-ins", "10")
    assert report["findings"] == []
    assert code == 0
    assert report["slices"] >= 2
    assert report["messages"] >= 2 * 5 * 100 * 0.9
    assert report["came_and_went"] >= 20
    assert 0 < report["sign_ins"] <= 10  # in all slices together


def test_what_stays_open_is_found():
    """A socket that nobody closes: --leak makes the tool leave one behind in each slice."""
    code, report = soak("--minutes", "0", "--slice", "1", "--rate", "20", "--churn", "1", "--leak")
    assert code == 1
    [finding] = report["findings"]
    assert "still open" in finding and "confab_sessions_open 1.0 and not 0.0" in finding
    assert "socket" in finding
