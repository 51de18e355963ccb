"""Under a service manager: sockets that it keeps, what it is told, its unit files, and restarts that
nobody notices.
"""

import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

import harness
from service_manager import Managed, Notices, listener

UNITS = harness.ROOT / "deploy" / "systemd"


@pytest.fixture
def managed(tmp_path):
    """Makes a server on sockets of ours; all are stopped at the end."""
    made = []

    def make(*flags, sockets=None, **kwargs):
        kept = [listener()] if sockets is None else sockets
        index = len(made)
        made.append(Managed(tmp_path / f"data{index}", tmp_path / f"confabd{index}.log", flags,
                            kept, **kwargs))
        return made[-1]

    yield make
    try:
        for server in made:
            server.close_sockets()
            server.stop()
    finally:
        for server in made:
            server.kill()
            for kept in server.kept:
                kept.close()
            shutil.rmtree(server.data, ignore_errors=True)


# -- Sockets --------------------------------------------------------------------------------------

def test_it_serves_on_the_sockets_that_it_is_given(managed):
    sockets = [listener(), listener()]
    server = managed("--port", "1", sockets=sockets).start()
    ports = [one.getsockname()[1] for one in sockets]
    assert server.port == ports[0], "listen and port are those of the first one"
    for port in ports * 3:
        server.port = port
        assert server.http("GET", "/readyz").status == 200


def test_who_comes_during_a_restart_waits(managed):
    server = managed().start()
    server.stop()
    with server.raw() as early:
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        server.start()
        assert early.recv(4096).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("flags, make, says", [
    ((), lambda: listener("0.0.0.0"), "--plain-http"),
    ((), lambda: socket.socket(), "no listening TCP socket"),
    ((), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "no listening TCP socket"),
])
def test_a_socket_that_cannot_be_served_is_told(managed, flags, make, says):
    server = managed(*flags, sockets=[make()])
    server.spawn()
    assert server.process.wait(harness.DEADLINE_S) == 2
    text = server.log.read_text()
    assert says in text and text.count("\n") == 1, text
    server.kill()


def test_sockets_of_another_process_are_left_alone(managed):
    """LISTEN_PID names the process that the variables are meant for."""
    server = managed(sockets=[], environment={"LISTEN_PID": "1", "LISTEN_FDS": "1"}).start()
    assert server.http("GET", "/readyz").status == 200


def test_systemd_socket_activate(tmp_path):
    """The real thing hands over the first connection's socket."""
    probe = listener()
    port = probe.getsockname()[1]
    probe.close()
    log = (tmp_path / "log").open("wb")
    activator = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "systemd-socket-activate", "-l", f"127.0.0.1:{port}",
         str(harness.BUILD / "confabd"), "--data", str(tmp_path / "data"), "--password-cost",
         "low"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        def answered():
            try:
                with socket.create_connection(("127.0.0.1", port), harness.DEADLINE_S) as one:
                    one.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    return one.recv(100)
            except ConnectionRefusedError:
                return b""

        assert b" 200 " in harness.wait_until(answered, "the activated server answers")
        activator.send_signal(signal.SIGTERM)
        assert activator.wait(harness.DEADLINE_S) == 0
    finally:
        if activator.poll() is None:
            activator.kill()
            activator.wait()
        log.close()
        shutil.rmtree(tmp_path / "data", ignore_errors=True)


# -- Notices --------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["{tmp}/notify", "@confab-test-{pid}"])
def test_the_manager_is_told(managed, tmp_path, name):
    notices = Notices(name.format(tmp=tmp_path, pid=tmp_path.stat().st_ino))
    try:
        server = managed(notices=notices, environment={"WATCHDOG_USEC": "1000000"})
        server.spawn()
        notices.wait("READY=1")
        assert server.is_ready(), "ready means ready"
        assert f"STATUS=serves at {server.url}/" in notices.said[-1].splitlines()
        notices.wait("WATCHDOG=1")
        assert "STOPPING=1" not in "".join(notices.said)
        server.process.send_signal(signal.SIGTERM)
        notices.wait("STOPPING=1")
        assert server.process.wait(harness.DEADLINE_S) == 0
    finally:
        notices.close()


def test_an_unreachable_manager_changes_nothing(managed, tmp_path):
    server = managed(environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")}).start()
    assert server.http("GET", "/readyz").status == 200
    assert "the service manager cannot be reached" in server.log.read_text()


# -- Stopping -------------------------------------------------------------------------------------

def test_a_stop_sends_sessions_away_and_ends(server):
    alice = server.register("alice")
    sessions = [alice.socket() for _ in range(5)]
    server.process.send_signal(signal.SIGTERM)
    delays = [one.expect("reconnect")["delay_ms"] for one in sessions]
    assert sorted(delays)[0] < sorted(delays)[-1] <= 5000
    for one in sessions:
        assert one.wait_closed() == 1001
    assert server.process.wait(harness.DEADLINE_S) == 0



def test_a_second_signal_does_not_wait(server_factory):
    server = server_factory("--drain-timeout", "10min", "--drain-spread", "10min")
    alice = server.register("alice")
    # Half a request: without a second signal it would be waited for.
    with server.raw() as half:
        half.sendall(b"POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        session = alice.socket()
        server.process.send_signal(signal.SIGTERM)
        session.expect("reconnect")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(harness.DEADLINE_S) == 0
    assert "stopping without waiting" in server.log.read_text()


def test_a_request_under_way_is_answered(server):
    with server.raw() as one:
        one.sendall(b"POST /api/v1/tokens HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n")
        alice = server.register("alice").socket()
        server.process.send_signal(signal.SIGTERM)
        alice.expect("reconnect")
        one.sendall(b"{}")
        answer = one.recv(4096)
        assert answer.startswith(b"HTTP/1.1 400 ") and b"Connection: close" in answer
    assert server.process.wait(harness.DEADLINE_S) == 0


# -- Unit files -----------------------------------------------------------------------------------

def test_unit_files_are_right(tmp_path):
    for unit in UNITS.glob("confab.*"):
        text = unit.read_text().replace("/usr/local/bin/confabd", str(harness.BUILD / "confabd"))
        (tmp_path / unit.name).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "confab.service",
                           tmp_path / "confab.socket"], capture_output=True, text=True, check=False,
                          timeout=harness.DEADLINE_S)
    assert done.returncode == 0 and "confab" not in done.stderr, done.stderr


def test_the_service_gives_a_stop_the_time_that_it_takes():
    text = (UNITS / "confab.service").read_text()
    stop_s = int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE).group(1))
    shown = subprocess.run([harness.BUILD / "confabd", "check", "--data", "/nonexistent/confab"],
                           capture_output=True, text=True, check=False).stdout
    drain_s = int(re.search(r"^drain-timeout = (\d+)s$", shown, re.MULTILINE).group(1))
    assert stop_s >= 2 * drain_s
    assert "ExecReload=/bin/kill -HUP $MAINPID" in text and "Type=notify" in text


def test_the_service_starts_with_what_it_sets(managed, tmp_path):
    """The variables of the unit, with folders of ours."""
    text = (UNITS / "confab.service").read_text()
    variables = dict(re.findall(r"^Environment=([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert set(variables) == {"CONFAB_DATA", "CONFAB_CONFIG"}
    (tmp_path / "confab.conf").write_text("server-name = \"Of the unit\"\n")
    server = managed(environment={"CONFAB_CONFIG": str(tmp_path / "confab.conf")}).start()
    assert server.http("GET", "/api/v1/server").json["name"] == "Of the unit"
