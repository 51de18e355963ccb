"""A real server in which one call after the other fails, and what must hold meanwhile.

confabd-faulty is confabd whose own allocations and system calls can be made to fail
(tests/lab/faulty_calls.c). A Lab runs people against it. `serving` lets one call fail at each place
in turn under a running server; `starting` and `stopping` do it to a start and an end; `invisible`
lets calls be interrupted and cut short all the time. What must hold:

- the process goes on, or ends with 1 and a reason while it starts: never by a signal;
- who asks gets what was asked for, a documented error of the server's (5xx, or limit_reached), or
  loses the connection; nobody waits for ever;
- a session that stays open has each message, or was told to resync;
- after it, the same things work: a repeated send gives what was acknowledged, history has each
  message once. Where the error was the disk's or memory ran out while folding, the server says on
  /readyz that it has failed, and works again after a restart on the same data.

A finding is a line of text; a lab without findings is a pass.
"""

import http.client
import json
import mmap
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness

MEMORY, CALL = 1, 2
ENOENT, EINTR, EIO, EAGAIN, ENOMEM, EMFILE, ENOSPC, ECONNRESET = 2, 4, 5, 11, 12, 24, 28, 104
SHORT = 0
# How each call may fail: what the kernel gives for reasons that are not the program's. Calls that
# are not named here fail with EIO.
DISK = [EIO, ENOSPC]
ERRORS = {
    "open": [EIO, EMFILE, ENOSPC], "openat": [EIO, EMFILE, ENOSPC], "fopen": [EIO, EMFILE],
    "opendir": [EMFILE], "fdopendir": [ENOMEM], "fdopen": [ENOMEM],
    "write": [EIO, ENOSPC, EINTR, SHORT], "pwrite": [EIO, ENOSPC, EINTR, SHORT],
    "read": [EIO, EINTR, SHORT], "pread": [EIO, EINTR, SHORT], "posix_fallocate": [EIO, ENOSPC, EINTR],
    "fdatasync": DISK, "fsync": DISK, "rename": DISK, "renameat": DISK, "mkdir": DISK,
    "ftruncate": [EIO, ENOSPC, EINTR], "fflush": DISK, "flock": [EIO],
    "recv": [ECONNRESET, EAGAIN, EINTR, SHORT], "send": [ECONNRESET, EAGAIN, EINTR, SHORT],
    "sendmsg": [ECONNRESET, EAGAIN, EINTR, SHORT], "accept4": [EMFILE, EAGAIN, EINTR, ENOMEM],
    "epoll_wait": [EINTR], "epoll_ctl": [ENOMEM, ENOSPC], "epoll_create1": [EMFILE],
    "eventfd": [EMFILE], "socket": [EMFILE, ENOMEM], "bind": [EIO], "pthread_create": [EAGAIN],
    "getifaddrs": [ENOMEM], "close": [EIO, EINTR],
}
MEMORY_CALLS = ("malloc", "calloc", "realloc", "aligned_alloc", "strdup")
# Those that nobody may notice, whatever the place.
UNNOTICED = {EINTR, SHORT, EAGAIN}
NAMES = {SHORT: "short", ENOENT: "ENOENT", EINTR: "EINTR", EIO: "EIO", EAGAIN: "EAGAIN",
         ENOMEM: "ENOMEM", EMFILE: "EMFILE", ENOSPC: "ENOSPC", ECONNRESET: "ECONNRESET"}
# A server that does not answer within so long lets somebody wait for ever.
ANSWER_S = 20
FLAGS = ["--shards", "2", "--log-segment-bytes", "16M", "--access-token", "24h", "--dirty-bytes",
         "4M", "--flush-after", "100", "--checkpoint", "200", "--rate-connects-user", "0",
         "--rate-connects-device", "0", "--rate-connects-address", "0", "--devices-max", "10000",
         "--presence-linger", "0", "--drain-spread", "0", "--drain-timeout", "2000",
         "--websocket-compression", "--registrations-per-address", "1000000"]


class Orders:
    """The file that faulty_calls.c maps: struct orders there."""

    HEAD = struct.Struct("<IIQQQQiIQQ64s")
    SITE = struct.Struct("<Q16sQQ")
    SITES = 4096

    def __init__(self, path):
        self.path = path
        size = self.HEAD.size + self.SITES * self.SITE.size
        path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), size)

    def arm(self, classes, site=0, first=1, count=1, every=1, error=EIO, only=""):
        head = (0, classes, site, first, count, every, error, 0, 0, 0, only.encode())
        self.map[:self.HEAD.size] = self.HEAD.pack(*head)
        self.map[:4] = struct.pack("<I", 1)

    def disarm(self):
        """How many calls the orders were about, and how many of them failed."""
        self.map[:4] = bytes(4)
        head = self.HEAD.unpack_from(self.map)
        return head[8], head[9]

    def sites(self):
        """{where: (call, hits)}"""
        found = {}
        for i in range(self.SITES):
            where, call, hits, _ = self.SITE.unpack_from(self.map, self.HEAD.size + i * self.SITE.size)
            if where:
                found[where] = (call.rstrip(b"\0").decode(), hits)
        return found


class FaultyServer(harness.Server):
    def __init__(self, folder, flags=()):
        super().__init__(folder / "data", folder / "confabd.log", [*FLAGS, *flags])
        self.orders = Orders(folder / "orders")
        self.faulty = True

    def command(self):
        plain = super().command()
        plain[0] += "-faulty"
        return ["env", f"CONFAB_FAULTS={self.orders.path}", *plain]

    def spawn(self):
        self.spoken = self.log.stat().st_size if self.log.exists() else 0
        return super().spawn()

    def said(self):
        """What this process has said."""
        return self.log.read_bytes()[self.spoken:].decode("utf-8", "replace")

    def info(self):
        """Without a server.json, which may have failed, its own words tell where it serves."""
        url = re.search(r"serves at (\S+)/ ", self.said())
        return super().info() or (url and {"url": url[1]})


class Finding(Exception):
    """What must hold does not."""


class Refused(Exception):
    """Said in place of what was asked for."""


# Ends of a connection that a failure in the server explains.
LOST = (OSError, http.client.HTTPException, harness.SocketClosed, harness.websockets.InvalidStatusCode,
        harness.websockets.InvalidHandshake)


class People:
    """Two people, what they have sent, and what they were told."""

    def __init__(self, server):
        self.server = server
        self.anna = server.register("anna")
        self.ben = server.register("ben")
        answer = self.anna.http("POST", "/api/v1/groups", {"name": "lab", "members": ["ben"]})
        assert answer.status == 201, answer.body
        self.group = answer.json["conversation_id"]
        self.tried = {}  # client_msg_id: text
        self.acked = {}  # client_msg_id: (seq, message_id)
        self.number = 0

    # Each action gives True when it was done; with `strict` it must be.

    def ask(self, strict, account, method, path, body=None, good=(200, 201, 204), headers=None):
        try:
            answer = self.server.http(method, path, body, token=account.token if account else None,
                                      timeout=ANSWER_S, headers=headers)
        except TimeoutError:
            raise Finding(f"{method} {path}: no answer") from None
        except LOST as reason:
            if strict:
                raise Finding(f"{method} {path}: {reason!r}") from None
            return None
        if answer.status in good:
            return answer
        code = answer.body[:200]
        if not strict and (answer.status >= 500 or answer.status == 429):
            try:
                if answer.error_code:
                    return None
            except (ValueError, KeyError):
                pass
        raise Finding(f"{method} {path}: {answer.status} {code!r}")

    def key(self, text=None):
        self.number += 1
        key = f"k{self.number}"
        self.tried[key] = text or f"message {self.number}"
        return key

    def note(self, key, answer):
        got = (answer["seq"], answer["message_id"])
        if self.acked.setdefault(key, got) != got:
            raise Finding(f"{key} was {self.acked[key]} and is now {got}")

    def post(self, strict, key):
        body = {"groupId": self.group, "content": self.tried[key], "client_msg_id": key}
        answer = self.ask(strict, self.anna, "POST", "/api/v1/messages", body)
        if answer:
            self.note(key, answer.json)
        return answer

    def until(self, one, event, **fields):
        """The frame of that event; Refused when an error, or a resync, comes in its place."""
        while True:
            frame = one.recv(ANSWER_S)
            if frame["event"] == event and all(frame.get(k) == v for k, v in fields.items()):
                return frame
            if frame["event"] in ("error", "resync", "reconnect"):
                raise Refused(frame)

    def live(self, strict):
        """Both on sockets: a message goes through, or one of them knows that it did not."""
        sockets = []
        try:
            for account in (self.anna, self.ben):
                one = account.socket(compression="deflate", hello=False)
                sockets.append(one)
                one.send("resume")
                self.until(one, "caught_up")
            key = self.key()
            sockets[0].send("send_group_message", groupId=self.group, content=self.tried[key],
                            client_msg_id=key)
            self.note(key, self.until(sockets[0], "ack", client_msg_id=key))
            self.until(sockets[1], "new_message", seq=self.acked[key][0])
            sockets[1].send("typing_start", conversation_id=self.group)
            sockets[1].send("ack", conversation_id=self.group, seq=1, status="read")
        except AssertionError as reason:  # harness.Socket's: nothing came
            raise Finding(f"by socket: {reason}") from None
        except Refused as reason:
            if strict:
                raise Finding(f"by socket: {reason}") from None
        except TimeoutError:
            raise Finding("by socket: no answer") from None
        except LOST as reason:
            if strict:
                raise Finding(f"by socket: {reason!r}") from None
        finally:
            for one in sockets:
                try:
                    one.abort()
                except LOST:
                    pass
                if one in self.server.sockets:
                    self.server.sockets.remove(one)

    def carried(self, strict):
        """A session over polls."""
        answer = self.ask(strict, self.ben, "POST", "/api/v1/events", {"mode": "poll"})
        if not answer:
            return
        path = f"/api/v1/events/{answer.json['session_id']}"
        # A session that went away for want of memory is not found later, which is no error of ours.
        good = (200, 201, 202, 204) if strict else (200, 201, 202, 204, 404)
        key = self.key()
        self.ask(strict, self.ben, "POST", path, [
            {"event": "resume"}, {"event": "send_group_message", "groupId": self.group,
                                  "content": self.tried[key], "client_msg_id": key}], good)
        self.ask(strict, self.ben, "GET", f"{path}?after=0&wait=0", good=good)
        self.ask(strict, self.ben, "DELETE", path, good=good)
        # Sent by another person: a later repetition by anna would be another message.
        self.tried.pop(key)

    def streamed(self, strict):
        """A session over a stream: it begins, or says why not."""
        answer = self.ask(strict, self.ben, "POST", "/api/v1/events", {"mode": "sse"})
        if not answer:
            return
        path = f"/api/v1/events/{answer.json['session_id']}"
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=ANSWER_S)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.ben.token}",
                                                     "Accept": "text/event-stream"})
            self.ask(strict, self.ben, "POST", path, [{"event": "resume"}],
                     (200, 201, 202, 204) if strict else (200, 201, 202, 204, 404))
            stream = connection.getresponse()
            if strict and stream.status != 200:
                raise Finding(f"a stream: {stream.status} {stream.read()!r}")
            while stream.status == 200 and (line := stream.readline()):
                if b'"caught_up"' in line or b'"error"' in line:
                    break
            else:
                if strict:
                    raise Finding("a stream ended")
        except TimeoutError:
            raise Finding("a stream: nothing came") from None
        except LOST as reason:
            if strict:
                raise Finding(f"a stream: {reason!r}") from None
        finally:
            connection.close()

    def sign_in(self, strict):
        answer = self.ask(strict, None, "POST", "/api/v1/tokens",
                          {"username": "ben", "password": harness.PASSWORD})
        if answer and "refresh_token" in answer.json:
            new = harness.Account(self.server, "ben", answer.json["user_id"], answer.json["token"])
            self.ask(strict, None, "POST", "/api/v1/tokens/refresh",
                     {"refresh_token": answer.json["refresh_token"]}, good=(200, 201))
            self.ask(strict, new, "GET", "/api/v1/users/me")

    def look(self, strict):
        conv = f"/api/v1/conversations/{self.group}"
        self.ask(strict, self.ben, "GET", f"{conv}/messages?limit=50&changes=true",
                 headers={"Accept-Encoding": "gzip"})
        self.ask(strict, self.ben, "GET", "/api/v1/conversations")
        self.ask(strict, self.ben, "GET", f"/api/v1/groups/{self.group}/members")
        self.ask(strict, self.ben, "GET", "/api/v1/users?query=an")
        self.ask(strict, None, "GET", "/metrics")
        self.ask(strict, None, "GET", "/healthz")

    def change(self, strict):
        key = self.key()
        answer = self.post(strict, key)
        if answer:
            path = f"/api/v1/messages/{answer.json['message_id']}"
            self.ask(strict, self.anna, "PATCH", path, {"content": self.tried[key]})
            self.ask(strict, self.anna, "DELETE", path + "?for=me")
        self.ask(strict, self.anna, "PUT", f"/api/v1/conversations/{self.group}/mute",
                 {"until": "2100-01-01T00:00:00Z"})
        self.ask(strict, self.anna, "POST", "/api/v1/groups",
                 {"name": f"more {self.number}", "members": ["ben"]})

    def everything(self, strict, long_text=False):
        self.live(strict)
        self.post(strict, self.key("a longer text, of many words " * 300 if long_text else None))
        self.change(strict)
        self.look(strict)
        self.carried(strict)
        self.streamed(strict)
        self.sign_in(strict)

    def settle(self):
        """Every send again, until each is acknowledged; then history has each once."""
        for key in [k for k in self.tried if k not in self.acked]:
            self.post(True, key)
        recent = list(self.acked)[-60:]
        answer = self.ask(True, self.ben, "GET",
                          f"/api/v1/conversations/{self.group}/messages?limit=200")
        found = [(m["content"], m["seq"], m["message_id"]) for m in answer.json["messages"]]
        for key in recent:
            want = (self.tried[key], *self.acked[key])
            same = [f for f in found if f[0] == want[0]]
            if len(self.tried[key]) < 100 and same != [want]:
                raise Finding(f"{key} is {want}, and history has {same}")

    def check_all(self):
        history = {(m["seq"], m["message_id"]) for m in self.ben.history(self.group)}
        lost = set(self.acked.values()) - history
        if lost:
            raise Finding(f"acknowledged, and not in history: {sorted(lost)[:5]}")


class Lab:
    def __init__(self, folder, binary=None, say=None):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.server = FaultyServer(self.folder)
        self.binary = binary or harness.BUILD / "confabd-faulty"
        self.say = say or (lambda _: None)
        self.findings = []
        self.tried = 0  # injections that came to be
        self.missed = 0
        self.restarts = 0
        self.ends = 0  # starts that ended with a reason
        self.lines = {}

    def begin(self):
        self.server.start()
        self.people = People(self.server)
        self.people.everything(True)
        self.people.settle()

    def close(self):
        self.server.orders.disarm()
        self.server.close_sockets()
        self.server.kill()
        shutil.rmtree(self.server.data, ignore_errors=True)

    def place(self, where):
        """file:line of a return address, found out once."""
        if where not in self.lines:
            done = subprocess.run(["addr2line", "-e", str(self.binary), hex(where - 1)],
                                  capture_output=True, text=True, check=False)
            line = done.stdout.strip().split(" ")[0]
            self.lines[where] = line.split("/src/")[-1] if line and "?" not in line else hex(where)
        return self.lines[where]

    def count(self, disarmed):
        self.tried += disarmed[1] > 0
        self.missed += disarmed[1] == 0

    def alive(self, what):
        code = self.server.process.poll()
        if code is not None:
            raise Finding(f"{what}: the server ended with {code}\n{self.server.log_tail()[-1500:]}")

    def state(self):
        """What /readyz says when it is final: ready, or failed for good; None before."""
        if not self.server.info():
            return None
        try:
            self.server.is_ready()
            answer = self.server.http("GET", "/readyz", timeout=ANSWER_S)
        except OSError:
            return None
        word = "ready" if answer.status == 200 else answer.json["error"]["message"]
        return word if word in ("ready", "storage failed", "out of memory") else None

    def recover(self):
        """Ready again by itself, or after a restart when it says that it has failed."""
        try:
            state = harness.wait_until(self.state, "/readyz says how it is", ANSWER_S)
        except harness.ServerError as reason:
            raise Finding(str(reason)) from None
        if state != "ready":
            self.restarts += 1
            self.server.close_sockets()
            self.server.kill()
            self.server.start()

    def guard(self, label, run):
        """Runs one injection; a finding is noted, and the lab goes on with a new process."""
        try:
            run()
        except (Finding, harness.ServerError, AssertionError) as reason:
            self.findings.append(f"{label}: {reason}")
            self.say(self.findings[-1])
            self.server.orders.disarm()
            self.server.close_sockets()
            self.server.kill()
            self.server.start()

    # -- under a running server -----------------------------------------------------------------

    def passed(self, run):
        """The sites that are passed meanwhile: [(where, call, hits)]."""
        before = self.server.orders.sites()
        run()
        after = self.server.orders.sites()
        return sorted((where, call, hits - before.get(where, ("", 0))[1])
                      for where, (call, hits) in after.items()
                      if hits > before.get(where, ("", 0))[1])

    def plan(self, sites, classes, depth, ways=9):
        """All (where, call, which of the calls there, error) to be tried: at each place the first
        and others up to `depth`, evenly spread over those that there were, each in `ways` ways."""
        found = []
        for where, call, hits in sites:
            kind = MEMORY if call in MEMORY_CALLS else CALL
            if not kind & classes:
                continue
            nths = sorted({1 + n * hits // min(hits, depth) for n in range(min(hits, depth))})
            errors = [ENOMEM] if kind == MEMORY else ERRORS.get(call, [EIO])
            found += [(where, call, nth, error) for nth in nths for error in errors[:ways]]
        return found

    def serving(self, classes, depth=1):
        """One failure at each place that a running server passes."""
        people = self.people
        sites = self.passed(lambda: people.everything(True, long_text=True))
        for where, call, nth, error in self.plan(sites, classes, depth):
            label = f"serving, {call} at {self.place(where)} fails with {NAMES[error]} ({nth})"

            def run(label=label, where=where, call=call, error=error, nth=nth):
                self.server.orders.arm(MEMORY | CALL, where, first=nth, error=error)
                try:
                    people.everything(call not in MEMORY_CALLS and error in UNNOTICED, True)
                finally:
                    self.count(self.server.orders.disarm())
                self.alive(label)
                self.recover()
                people.everything(True)
                people.settle()

            self.guard(label, run)
        self.guard("serving, at the end", people.check_all)

    # -- a start and an end ---------------------------------------------------------------------

    def start_with_orders(self):
        """Gives False when it ended, with a reason."""
        process = self.server.spawn()

        def came():
            return process.poll() is not None or self.state()

        try:
            harness.wait_until(came, "it is ready or has ended", ANSWER_S)
        except harness.ServerError as reason:
            if process.poll() is None:
                raise Finding(f"neither ready nor ended: {reason}") from None
        if process.poll() is None:
            return True
        said = self.server.said()
        if process.returncode != 1:
            raise Finding(f"ended with {process.returncode}\n{said[-1500:]}")
        if not said.strip():
            raise Finding("ended without a word")
        self.ends += 1
        return False

    def starting(self, classes, depth=1, fresh=False, ways=9):
        """One failure at each place that a start passes: on data that has to be recovered after a
        kill, or (`fresh`) without data."""
        def again():
            self.server.close_sockets()
            self.server.kill()
            if fresh:
                shutil.rmtree(self.server.data)

        def plainly():
            again()
            self.server.start()

        self.people.everything(True)
        sites = self.passed(plainly)
        for where, call, nth, error in self.plan(sites, classes, depth, ways):
            label = f"starting, {call} at {self.place(where)} fails with {NAMES[error]} ({nth})"

            def run(where=where, call=call, nth=nth, error=error):
                again()
                self.server.orders.arm(MEMORY | CALL, where, first=nth, error=error)
                try:
                    up = self.start_with_orders()
                finally:
                    self.count(self.server.orders.disarm())
                if up:
                    self.recover()
                elif call not in MEMORY_CALLS and error in (EINTR, SHORT):
                    raise Finding(f"ended\n{self.server.log_tail()[-1500:]}")
                else:
                    self.server.start()
                if fresh:
                    self.people = People(self.server)
                self.people.live(True)
                self.people.settle()

            self.guard(label, run)
            if fresh:
                self.people = People(self.server) if label in self.findings else self.people
        self.guard("starting, at the end", self.people.check_all)

    def stopping(self, classes, depth=1):
        """One failure at each place that an orderly end passes; nothing may be missing after it."""
        def stop():
            self.people.post(True, self.people.key())
            self.server.close_sockets()
            self.server.stop()

        sites = self.passed(stop)
        self.server.start()
        for where, call, nth, error in self.plan(sites, classes, depth):
            label = f"stopping, {call} at {self.place(where)} fails with {NAMES[error]} ({nth})"

            def run(where=where, nth=nth, error=error):
                self.people.post(True, self.people.key())
                self.server.orders.arm(MEMORY | CALL, where, first=nth, error=error)
                process = self.server.process
                process.terminate()
                try:
                    process.wait(ANSWER_S)
                except subprocess.TimeoutExpired:
                    raise Finding("it does not end") from None
                finally:
                    self.count(self.server.orders.disarm())
                if process.returncode not in (0, 1):
                    raise Finding(
                        f"ended with {process.returncode}\n{self.server.log_tail()[-1500:]}")
                self.server.start()
                self.people.settle()

            self.guard(label, run)
        self.guard("stopping, at the end", self.people.check_all)

    # -- what nobody may notice -----------------------------------------------------------------

    def invisible(self, rounds=3):
        """Interrupted calls, cut transfers and spurious EAGAIN, all the time: all works."""
        kinds = [(EINTR, "read write pread pwrite recv sendmsg send accept4 epoll_wait"),
                 (EINTR, "posix_fallocate ftruncate epoll_wait openat"),
                 (SHORT, "read write pread pwrite"), (SHORT, "recv send sendmsg"),
                 (EAGAIN, "recv send sendmsg accept4")]
        for error, calls in kinds:
            for every in (2, 3):
                label = f"each {every}. of {calls}: {NAMES[error]}"

                def run(error=error, calls=calls, every=every):
                    self.server.orders.arm(CALL, error=error, every=every, count=1 << 40, only=calls)
                    for _ in range(rounds):
                        self.people.everything(True, long_text=True)
                    self.people.settle()
                    if "pread" in calls:  # those of the log come at a start
                        self.server.kill()
                        self.server.start()
                        self.people.everything(True)
                    _, spoiled = self.server.orders.disarm()
                    self.tried += spoiled
                    self.alive("it")
                    self.recover()
                    if spoiled == 0:
                        raise Finding("nothing was spoiled")

                self.guard(label, run)
        self.guard("invisible, at the end", self.people.check_all)
