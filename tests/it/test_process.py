"""confabd as a process: readiness, the data directory, a second server, signals, a taken port."""

import contextlib
import os
import signal
import stat
import subprocess
import time

import pytest

import harness


def refused_start(server):
    """Starts a server that must refuse; returns its output."""
    process = server.spawn()
    try:
        code = process.wait(harness.DEADLINE_S)
    finally:
        server.kill()
    assert code not in (0, None)
    return server.log_tail()


def test_health_and_readiness(server):
    assert server.http("GET", "/healthz").status == 200
    assert server.http("GET", "/readyz").status == 200


def test_open_files_are_counted(server):
    """Before Linux 6.2 they are read one by one, and that only each half a minute."""
    with contextlib.ExitStack() as many:
        for _ in range(50):
            many.enter_context(server.raw())
        ends = time.monotonic() + 45
        told, there = 0, 50
        # The one that asks is open meanwhile, and in neither figure at the same time.
        while abs(told - there) > 2 or there <= 50:
            assert time.monotonic() < ends, (told, there)
            time.sleep(0.2)
            told = server.metric("confab_process_open_files")
            there = len(os.listdir(f"/proc/{server.process.pid}/fd"))


def test_data_directory_is_private(server):
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGTERM])
def test_ends_cleanly_on(server, with_signal):
    server.stop(with_signal)
    server.start()
    assert server.http("GET", "/readyz").status == 200


def test_second_server_on_the_same_data_is_refused(server, server_factory):
    second = server_factory(data=server.data, start=False)
    said = refused_start(second)
    assert str(server.pid) in said
    assert server.http("GET", "/readyz").status == 200


def where(data):
    return subprocess.run([str(harness.BUILD / "confabd"), "where", "--data", str(data)],
                          capture_output=True, text=True, timeout=harness.DEADLINE_S, check=False)


def test_where_the_data_is_served(server, tmp_path):
    done = where(server.data)
    assert done.returncode == 0
    assert f"serves at {server.url}" in done.stdout
    assert str(server.pid) in done.stdout
    server.kill()
    assert where(server.data).returncode == 1
    assert where(tmp_path / "none").returncode == 1
    assert not (tmp_path / "none").exists()
    server.start()
    assert server.url in where(server.data).stdout


def test_killed_server_leaves_no_lock(server):
    server.kill()
    server.start()
    assert server.http("GET", "/readyz").status == 200


def test_taken_port_is_named(server, server_factory):
    other = server_factory("--port", server.port, start=False)
    assert str(server.port) in refused_start(other)


def test_unknown_flag_is_refused():
    done = subprocess.run([str(harness.BUILD / "confabd"), "--no-such-flag"], capture_output=True,
                          text=True, timeout=harness.DEADLINE_S, check=False)
    assert done.returncode == 2
    assert "--no-such-flag" in done.stderr


def test_help_names_the_flags():
    done = subprocess.run([str(harness.BUILD / "confabd"), "--help"], capture_output=True,
                          text=True, timeout=harness.DEADLINE_S, check=True)
    for flag in ("--data", "--port", "--shards"):
        assert flag in done.stdout
