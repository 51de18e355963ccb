"""Starting confabd, talking to it over HTTP and WebSocket, and running the CLI.

Everything here waits for a condition with a deadline; nothing sleeps for a guessed time. The
deadlines are there to end a hanging test, not to measure: they are long.
"""

import asyncio
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import websockets

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("CONFAB_BUILD", ROOT / "build" / "release"))
DEADLINE_S = 60
LOG_TAIL_BYTES = 8000
PASSWORD = "a long enough password"


class ServerError(Exception):
    """The server did not do what a process of ours must do: start, answer, end with 0."""


def wait_until(condition, what, deadline_s=DEADLINE_S, interval_s=0.02):
    """Returns condition()'s first true value; fails with `what` after the deadline."""
    deadline = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise ServerError(f"not within {deadline_s} s: {what}")
        time.sleep(interval_s)


class Response:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error_code(self):
        return self.json["error"]["code"]


class Account:
    """A registered user with a token of one device."""

    def __init__(self, server, username, user_id, token):
        self.server = server
        self.username = username
        self.user_id = user_id
        self.token = token

    def http(self, method, path, body=None, **kwargs):
        return self.server.http(method, path, body, token=self.token, **kwargs)

    def socket(self, **kwargs):
        """A WebSocket that is signed in; `hello` has been received."""
        return self.server.socket(token=self.token, **kwargs)

    def send(self, content, client_msg_id=None, **target):
        """POST /api/v1/messages; target is to, group_id or conversation_id."""
        names = {"to": "toUserId", "group_id": "groupId", "conversation_id": "conversation_id"}
        body = {names[key]: value for key, value in target.items()}
        body.update(content=content, client_msg_id=client_msg_id or str(uuid.uuid4()))
        return self.http("POST", "/api/v1/messages", body)

    def history(self, conversation_id, page=100):
        """All messages of a conversation, oldest first, by following next_cursor."""
        pages = []
        cursor = ""
        while True:
            path = f"/api/v1/conversations/{conversation_id}/messages?limit={page}"
            answer = self.http("GET", path + (f"&before={cursor}" if cursor else ""))
            assert answer.status == 200, (answer.status, answer.body)
            pages.append(answer.json["messages"])
            if not answer.json["has_more"]:
                break
            assert answer.json["next_cursor"] != cursor, "the cursor does not move"
            cursor = answer.json["next_cursor"]
        return [message for messages in reversed(pages) for message in messages]


def free_port():
    """For a program that takes no port 0: nobody has it now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One confabd process on a data directory; it can be stopped or killed, and started again."""

    def __init__(self, data, log, flags=()):
        self.data = Path(data)
        self.log = Path(log)
        self.flags = [str(flag) for flag in flags]
        self.process = None
        self.scheme = "http"
        self.port = None
        self.sockets = []

    # -- the process --------------------------------------------------------------------------

    def command(self):
        command = [str(BUILD / "confabd"), "--data", str(self.data)]
        for flag, value in (("--port", "0"), ("--password-cost", "low"), ("--registration", "open")):
            if flag not in self.flags:
                command += [flag, value]
        return command + self.flags

    def spawn(self):
        """Starts the process and does not wait. It dies with the thread that started it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.command()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        return self.process

    def start(self):
        self.spawn()
        wait_until(self.is_ready, "the server is ready")
        return self

    def info(self):
        """DATA/server.json of this very process, or None: a killed server leaves an old one."""
        try:
            info = json.loads((self.data / "server.json").read_text())
        except (OSError, ValueError):
            return None
        return info if info.get("pid") == self.process.pid else None

    def is_ready(self):
        if self.process.poll() is not None:
            raise ServerError(f"confabd ended with {self.process.returncode}:\n{self.log_tail()}")
        info = self.info()
        if not info:
            return False
        self.scheme, self.port = urlsplit(info["url"]).scheme, urlsplit(info["url"]).port
        try:
            return self.http("GET", "/readyz").status == 200
        except OSError:
            return False

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def tls_context(self):
        """Trusts the certificate that the server was started with, and nothing else."""
        if "--tls-cert" in self.flags:
            cert = self.flags[self.flags.index("--tls-cert") + 1]
        else:
            cert = self.data / "tls" / "cert.pem"
        return ssl.create_default_context(cafile=cert)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, with_signal=signal.SIGINT):
        """Asks the server to end; it must, with exit code 0 and no sanitizer's report."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                raise ServerError(f"confabd did not end:\n{self.log_tail()}") from None
        code, self.process = self.process.returncode, None
        if code != 0:
            raise ServerError(f"confabd ended with {code}:\n{self.log_tail()}")

    def kill(self):
        """kill -9, as a crash; nothing when it does not run."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process = None

    def restart(self):
        self.stop()
        return self.start()

    def log_tail(self):
        try:
            return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
        except OSError:
            return "(no log)"

    # -- HTTP ---------------------------------------------------------------------------------

    def http(self, method, path, body=None, token=None, headers=None, timeout=DEADLINE_S):
        """One request on a connection of its own. A body that is not bytes goes as JSON."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        if self.scheme == "https":
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout,
                                                     context=self.tls_context())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Response(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def raw(self):
        """A plain TCP connection, for bytes that no client would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def register(self, username, password=PASSWORD):
        answer = self.http("POST", "/api/v1/accounts",
                           {"username": username, "password": password})
        assert answer.status == 201, (answer.status, answer.body)
        return self.login(username, password)

    def login(self, username, password=PASSWORD):
        answer = self.http("POST", "/api/v1/tokens", {"username": username, "password": password})
        assert answer.status in (200, 201), (answer.status, answer.body)
        return Account(self, username, answer.json["user_id"], answer.json["token"])

    def metric(self, name):
        """The value of a metric, summed over its labels; 0 when it is not there."""
        total = 0.0
        for line in self.http("GET", "/metrics").body.decode().splitlines():
            if line.startswith(name) and line[len(name):len(name) + 1] in (" ", "{"):
                total += float(line.rsplit(" ", 1)[1])
        return total

    # -- WebSocket ----------------------------------------------------------------------------

    def socket(self, token=None, query="", hello=True, **kwargs):
        """A WebSocket, signed in with the token in a subprotocol when there is one."""
        if token:
            kwargs["subprotocols"] = ["confab.v1", f"token.{token}"]
        if self.scheme == "https":
            kwargs["ssl"] = self.tls_context()
        new = Socket(f"{self.scheme.replace('http', 'ws')}://127.0.0.1:{self.port}/ws{query}",
                     **kwargs)
        self.sockets.append(new)
        if hello and token:
            new.hello = new.expect("hello")
        return new

    def close_sockets(self):
        for one in self.sockets:
            one.close()
        self.sockets.clear()


class _Loop:
    """One event loop in a thread for all sockets of the test process."""

    _lock = threading.Lock()
    _loop = None

    @classmethod
    def run(cls, coroutine, timeout=DEADLINE_S):
        with cls._lock:
            if cls._loop is None:
                cls._loop = asyncio.new_event_loop()
                threading.Thread(target=cls._loop.run_forever, daemon=True).start()
        future = asyncio.run_coroutine_threadsafe(coroutine, cls._loop)
        try:
            return future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise


class SocketClosed(Exception):
    def __init__(self, code, reason):
        super().__init__(f"closed with {code} {reason}")
        self.code = code


class Socket:
    """A blocking face of a `websockets` connection, an implementation that is not ours."""

    def __init__(self, url, **kwargs):
        self.hello = None
        self.seen = []  # frames that expect() passed over
        self._connection = _Loop.run(self._connect(url, kwargs))

    @staticmethod
    async def _connect(url, kwargs):
        return await websockets.connect(url, ping_interval=None, max_size=None, **kwargs)

    @property
    def subprotocol(self):
        return self._connection.subprotocol

    def send(self, event, **fields):
        self.send_text(json.dumps({"event": event, **fields}))

    def send_text(self, text):
        """A text frame as it is; bytes make it a binary frame."""
        try:
            _Loop.run(self._connection.send(text))
        except websockets.ConnectionClosed:
            raise SocketClosed(self._connection.close_code,
                               self._connection.close_reason) from None

    def recv(self, timeout=DEADLINE_S):
        try:
            return json.loads(_Loop.run(self._connection.recv(), timeout))
        except websockets.ConnectionClosed:
            raise SocketClosed(self._connection.close_code,
                               self._connection.close_reason) from None
        except TimeoutError:
            raise AssertionError(f"no frame within {timeout} s") from None

    def expect(self, event, timeout=DEADLINE_S, **fields):
        """The next frame of that event with those fields; others before it land in `seen`."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no {event} {fields}; seen: {self.seen[-5:]}")
            frame = self.recv(left)
            if frame.get("event") == event and all(frame.get(k) == v for k, v in fields.items()):
                return frame
            self.seen.append(frame)

    def resume(self, **fields):
        """Sends resume; returns (conversations of all pages, the caught_up frame)."""
        self.send("resume", **fields)
        caught_up = self.expect("caught_up")
        pages = [f for f in self.seen if f.get("event") == "conversations"]
        self.seen = [f for f in self.seen if f.get("event") != "conversations"]
        return [c for page in pages for c in page["conversations"]], caught_up

    def wait_closed(self, timeout=DEADLINE_S):
        """Reads until the server closes; returns the close code."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.seen.append(self.recv(max(0.0, deadline - time.monotonic())))
            except SocketClosed as closed:
                return closed.code

    def close(self):
        _Loop.run(self._connection.close())

    def abort(self):
        """Drops the TCP connection without a close frame, as a lost network does."""
        _Loop.run(self._abort())

    async def _abort(self):
        self._connection.transport.abort()


class Cli:
    """Runs confab with a home of its own for each user, so that their tokens do not mix."""

    def __init__(self, home, server):
        self.home = Path(home)
        self.server = server

    def environment(self, user):
        home = self.home / user
        home.mkdir(parents=True, exist_ok=True)
        env = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
        env.update(HOME=str(home), CONFAB_SERVER=self.server.url, CONFAB_OUTPUT="text")
        return env

    def spawn(self, *arguments, user="nobody"):
        """Starts it and does not wait: a context manager that kills what is left of it."""
        return _Spawned([str(BUILD / "confab"), *map(str, arguments)], self.environment(user))

    def __call__(self, *arguments, user="nobody", stdin="", code=0, timeout=DEADLINE_S, env=None):
        """Returns its standard output; the exit code must be `code` (None: any)."""
        done = subprocess.run([str(BUILD / "confab"), *map(str, arguments)], input=stdin,
                              env=env or self.environment(user), capture_output=True, text=True,
                              timeout=timeout, check=False)
        assert code is None or done.returncode == code, (
            f"confab {' '.join(map(str, arguments))} ended with {done.returncode}, not {code}\n"
            f"{done.stdout}\n{done.stderr}")
        return done.stdout if code == 0 else done.stdout + done.stderr


class _Spawned(subprocess.Popen):
    def __init__(self, command, env):
        super().__init__(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)

    def __exit__(self, *exception):
        if self.poll() is None:
            self.kill()
        super().__exit__(*exception)
