"""confab-peers: wrong usage. What it measures needs other servers, see docs/performance-peers.md."""

import subprocess

import pytest

import harness


def peers(*args):
    return subprocess.run([str(harness.BUILD / "confab-peers"), *map(str, args)], capture_output=True,
                          text=True, timeout=60, check=False)


def test_help_names_every_option():
    done = peers("--help")
    assert done.returncode == 0
    for name in ("--protocol", "--port", "--pid", "--pairs", "--window", "--size-min", "--size-max",
                 "--rounds", "--seconds", "--warmup"):
        assert name in done.stdout


@pytest.mark.parametrize("args", [
    [], ["--port", 1], ["--pid", 1], ["--port", 1, "--pid", 1, "--window", 65],
    ["--port", 1, "--pid", 1, "--size-min", 16], ["--port", 1, "--pid", 1, "--pairs", "x"],
    ["--port", 1, "--pid", 1, "--size-min", 200, "--size-max", 100],
    ["--port", 1, "--pid", 1, "--protocol", "smtp"],
    ["--port", 1, "--pid", 1, "--unknown"], ["--port", 1, "--pid", 1, "more"]])
def test_wrong_usage(args):
    done = peers(*args)
    assert done.returncode == 2
    assert "confab-peers: " in done.stderr


def test_nobody_listens():
    port = harness.free_port()
    done = peers("--port", port, "--pid", 1)
    assert done.returncode == 1
    assert f"no connection to 127.0.0.1:{port}" in done.stderr
