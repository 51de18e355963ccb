"""A fuzzer of the socket's protocol that keeps state, against a live server.

Several sessions of a few people send what is drawn from one seed: events as the documents have them,
events with members missing, wrong, enormous or twice, texts that are no JSON or no UTF-8, frames in
fragments, with control frames between, cut off, or as no client may send them; and the same over
streams and polls. What must hold:

- each frame of the server is one that asyncapi.json describes, each error a documented one, each
  close code one of those that a client can be to blame for; never 1011;
- a session is closed when, and only when, it broke the protocol or said goodbye; bad events get an
  error and leave it open: it answers the next heartbeat;
- what is acknowledged is in history, once; nothing else is but what was sent;
- at the end nothing is open, the server is ready, and it ends with 0.
"""

import http.client
import json
import random
import re
import select
import socket
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "it"))

import harness
import test_asyncapi
from test_ws_conformance import CONTINUATION, PING, PONG, TEXT, BINARY, CLOSE, frame, parts

CODES = set(re.findall(r"^\| `(\w+)` \|",
                       (harness.ROOT / "docs" / "api" / "errors.md").read_text(), re.M))
# Of a client's own fault, or its own goodbye.
CLOSES = {1000, 1001, 1002, 1003, 1007, 1008, 1009}
FLAGS = ["--shards", "2", "--rate-sends-user", "0", "--rate-sends-device", "0", "--rate-connects-user", "0",
         "--rate-connects-device", "0", "--rate-connects-address", "0", "--presence-linger", "0",
         "--devices-max", "10000", "--access-token", "24h"]
ANSWER_S = 30
NO_EVENTS_MAX = 8
PEOPLE = 4
SESSIONS = 6
STRANGE = [None, True, False, -1, 0, 1 << 31, 1 << 63, 10**40, 1.5, 1e308, "", " ", "0", "x" * 300,
           "x" * 20000, "\0", "\ud83d\ude00" * 50, "\u202e", [], {}, [[]], [{}], {"a": {"b": []}}, "null",
           "2100-01-01T00:00:00Z", "not a time", [1, "2", None]]


class Finding(Exception):
    """What must hold does not."""


class Session:
    """A WebSocket, by hand."""

    def __init__(self, fuzz, who):
        self.fuzz = fuzz
        self.who = who
        self.input = b""
        self.closed = None  # the code, 0: without one
        self.eof = False
        self.broken = False   # the protocol, by us: it has to be closed
        self.dubious = False  # it may be
        self.no_events = 0    # texts that may be none: eight of them, and it is closed with 4400
        self.goodbye = None   # our code, which is given back
        self.beats = 0
        self.socket = fuzz.server.raw()
        self.socket.sendall(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            b"Sec-WebSocket-Protocol: confab.v1, token." + who.token.encode() + b"\r\n\r\n")
        while b"\r\n\r\n" not in self.input:
            self.read(ANSWER_S)
            if self.eof:
                raise Finding(f"no handshake: {self.input[:200]!r}")
        head, self.input = self.input.split(b"\r\n\r\n", 1)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise Finding(f"no handshake: {head[:200]!r}")

    def read(self, seconds):
        if not self.eof and select.select([self.socket], [], [], seconds)[0]:
            try:
                more = self.socket.recv(1 << 16)
            except OSError:
                more = b""
            self.input += more
            self.eof = not more

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.read(0)
            self.eof = True

    def take(self, seconds=0):
        """Everything that has come."""
        self.read(seconds)
        while len(self.input) >= 2 and self.closed is None:
            size, head = self.input[1] & 127, 2
            if self.input[1] & 128 or self.input[0] & 0x70:
                raise Finding(f"a frame with mask or reserved bits: {self.input[:10]!r}")
            if size >= 126:
                head = 4 if size == 126 else 10
                if len(self.input) < head:
                    return
                size = int.from_bytes(self.input[2:head], "big")
            if len(self.input) < head + size:
                return
            opcode, payload = self.input[0] & 15, self.input[head:head + size]
            self.input = self.input[head + size:]
            self.on_frame(opcode, payload)

    def on_frame(self, opcode, payload):
        if opcode == TEXT:
            self.on_event(json.loads(payload.decode("utf-8")))
        elif opcode == PING:
            self.send(frame(PONG, payload))
        elif opcode == CLOSE:
            self.closed = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 0
        elif opcode != PONG:
            raise Finding(f"a frame with opcode {opcode}")

    def on_event(self, event):
        schema = test_asyncapi.SERVER.get(event.get("event"))
        if not schema:
            raise Finding(f"an event that no document has: {event}")
        schema.validate(event)
        self.fuzz.events += 1
        if event["event"] == "error":
            if event["code"] not in CODES:
                raise Finding(f"an error that no document has: {event}")
            self.fuzz.errors[event["code"]] = self.fuzz.errors.get(event["code"], 0) + 1
        elif event["event"] == "heartbeat":
            self.beats += 1
        elif event["event"] == "ack":
            self.fuzz.on_ack(self.who, event)

    def ended(self):
        return self.eof or self.closed is not None

    def check(self):
        """It answers a heartbeat, or it is closed for a reason."""
        if not self.broken and not self.ended():
            self.send(frame(TEXT, b'{"event":"heartbeat"}'))
        want = self.beats + 1
        deadline = time.monotonic() + ANSWER_S
        while not self.eof and (self.broken or self.closed is not None or self.beats < want):
            if self.dubious and self.closed is None and not self.broken:
                self.take(0.05)  # half a frame may be waiting for its other half
                break
            if time.monotonic() > deadline:
                raise Finding(f"silence; broken {self.broken}, closed {self.closed}")
            self.take(0.2)
        if self.closed == 4400 and (self.dubious or self.no_events >= NO_EVENTS_MAX):
            return
        if self.ended() and not self.broken and not self.dubious:
            raise Finding(f"closed with {self.closed}, though nothing was wrong")
        if self.closed is not None and self.closed not in CLOSES and self.closed != self.goodbye:
            raise Finding(f"closed with {self.closed}")

    def drop(self, reset):
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Fuzz:
    def __init__(self, folder, seed, say=None):
        self.server = harness.Server(Path(folder) / "data", Path(folder) / "confabd.log", FLAGS)
        self.rng = random.Random(seed)
        self.say = say or (lambda _: None)
        self.sessions = []
        self.sent = {}   # (user, key): text
        self.acked = {}  # (user, key): (conversation, seq, message_id)
        self.errors = {}
        self.events = 0
        self.steps = 0
        self.number = 0
        self.history = []  # the last steps, to be told with a finding

    def begin(self):
        self.server.start()
        self.people = [self.server.register(f"fuzz{n}") for n in range(PEOPLE)]
        answer = self.people[0].http("POST", "/api/v1/groups", {
            "name": "fuzz", "members": [p.username for p in self.people[1:]]})
        assert answer.status == 201, answer.body
        self.group = answer.json["conversation_id"]
        direct = self.people[0].send("first", to=self.people[1].username)
        self.known = [self.group, direct.json["conversation_id"], direct.json["message_id"],
                      self.people[1].user_id, self.people[2].username]

    def on_ack(self, who, event):
        key = (who.username, event["client_msg_id"])
        got = (event["conversation_id"], event["seq"], event["message_id"])
        if key in self.sent and self.acked.setdefault(key, got) != got:
            raise Finding(f"{key} was {self.acked[key]} and is now {got}")

    # -- what is sent ---------------------------------------------------------------------------

    def value(self):
        return self.rng.choice([self.rng.choice(STRANGE), self.rng.choice(self.known)])

    def good_event(self, who):
        rng = self.rng
        self.number += 1
        n = self.number
        kind = rng.choice(["send_group_message", "send_message", "ack", "resume", "view", "typing",
                           "presence", "subscribe_presence", "unsubscribe_presence", "heartbeat"])
        event = {"event": kind}
        if kind.startswith("send"):
            key, text = f"f{n}", f"text {n} " + "y" * rng.choice([0, 10, 1000])
            self.sent[who.username, key] = text
            event |= {"content": text, "client_msg_id": key}
            event |= {"groupId": self.group} if "group" in kind else {"conversation_id": self.group}
        elif kind == "ack":
            event |= {"conversation_id": self.group, "seq": 1, "status": rng.choice(["read", "delivered"])}
        elif kind in ("view", "typing"):
            event |= {"conversation_id": self.group}
            event |= {"state": rng.choice(["start", "stop"])} if kind == "typing" else {}
        elif kind == "presence":
            event |= {"status": rng.choice(["online", "away"])}
        elif "subscribe" in kind:
            event |= {"users": [rng.choice(self.people).user_id]}
        return event

    def bad_event(self, who):
        """Members missing, changed, added. Never one that a good event could be taken for: a key of
        its own, so that what is sent by it is not counted on."""
        event = self.good_event(who)
        self.sent.pop((who.username, event.get("client_msg_id")), None)
        for _ in range(self.rng.randrange(1, 4)):
            key = self.rng.choice([*event, "x", "conversation_id", "to", "client_msg_id", "conversations"])
            if self.rng.random() < 0.3:
                event.pop(key, None)
            else:
                event[key] = self.value()
        if "client_msg_id" in event and isinstance(event["client_msg_id"], str):
            event["client_msg_id"] = "bad" + event["client_msg_id"][:20]
        return event

    def no_json(self, who):
        data = json.dumps(self.good_event(who)).encode()
        self.sent = {k: text for k, text in self.sent.items() if k[1] != f"f{self.number}"}
        at = self.rng.randrange(len(data))
        return self.rng.choice([
            data[:at], data + data, data[:at] + b'"' + data[at:], b"[" * 500, b'{"event":' * 50, b"", b"{}",
            b"[]", b"null", b'{"event":"heartbeat","event":"resume"}', b'{"event":"\\ud800"}',
            b'{"event":"heartbeat","n":' + b"9" * 1000 + b"}"])

    def fragments(self, data):
        sizes = [self.rng.randrange(0, 10) for _ in range(self.rng.randrange(1, 6))]
        return parts(data, *sizes, between=frame(PING, b"p") if self.rng.random() < 0.5 else b"")

    def violation(self):
        """What no client may send; the rest of the session is an end."""
        return self.rng.choice([
            frame(TEXT, b"x", rsv=self.rng.choice([1, 2, 4])), frame(self.rng.choice([3, 7, 11, 15]), b"x"),
            frame(TEXT, b'{"event":"heartbeat"}', masked=False), frame(PING, b"x" * 126),
            frame(PING, b"x", fin=False), frame(CONTINUATION, b"x"), frame(TEXT, b"\xff\xfe"),
            frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), frame(BINARY, b"x"),
            frame(CLOSE, b"\x03"), frame(CLOSE, struct.pack("!H", 1005)), frame(CLOSE, b"\x03\xe8\xff"),
            frame(TEXT, b"x" * 70000), struct.pack("!BBQ", 0x81, 0xff, 1 << 63) + b"\0\0\0\0"])

    # -- steps ----------------------------------------------------------------------------------

    @staticmethod
    def is_none(event):
        """A text without a name, or with an empty one, is no event."""
        return not isinstance(event.get("event"), str) or not event["event"]

    def send_event(self, one, event):
        one.no_events += self.is_none(event)
        one.send(frame(TEXT, json.dumps(event).encode()))

    def step_good(self, one):
        one.send(frame(TEXT, json.dumps(self.good_event(one.who)).encode()))

    def step_again(self, one):
        mine = [key for key in self.sent if key[0] == one.who.username]
        if mine:
            name, key = self.rng.choice(mine)
            one.send(frame(TEXT, json.dumps({
                "event": "send_group_message", "groupId": self.group, "content": self.sent[name, key],
                "client_msg_id": key}).encode()))

    def step_bad(self, one):
        self.send_event(one, self.bad_event(one.who))

    def step_no_json(self, one):
        one.no_events += 1
        one.send(frame(TEXT, self.no_json(one.who)))

    def step_fragments(self, one):
        one.send(self.fragments(json.dumps(self.good_event(one.who)).encode()))

    def step_many(self, one):
        events = [self.rng.choice([self.good_event, self.bad_event])(one.who)
                  for _ in range(self.rng.randrange(2, 20))]
        one.no_events += sum(self.is_none(event) for event in events)
        one.send(b"".join(frame(TEXT, json.dumps(event).encode()) for event in events))

    def step_violation(self, one):
        one.broken = True
        one.send(self.violation())

    def step_goodbye(self, one):
        one.broken = True
        one.goodbye = self.rng.choice([0, 1000, 4000])
        one.send(frame(CLOSE, struct.pack("!H", one.goodbye) + b"bye" if one.goodbye else b""))

    def step_noise(self, one):
        """A good frame with some bytes changed: anything may come of it."""
        one.dubious = True
        event = self.bad_event(one.who)
        data = bytearray(frame(TEXT, json.dumps(event).encode()))
        for _ in range(self.rng.randrange(1, 4)):
            data[self.rng.randrange(len(data))] = self.rng.randrange(256)
        one.send(bytes(data))

    def step_cut(self, one):
        data = frame(TEXT, json.dumps(self.bad_event(one.who)).encode())
        one.send(data[:self.rng.randrange(1, len(data))])
        self.leave(one, self.rng.random() < 0.5)

    def step_gone(self, one):
        self.leave(one, self.rng.random() < 0.5)

    def step_carried(self, one):
        """A session over polls, used as it may be and as it may not."""
        rng = self.rng
        good = (200, 201, 202, 204, 400, 404, 405, 409, 413, 415, 422)

        def ask(method, path, body=None):
            answer = one.who.http(method, path, body, timeout=ANSWER_S)
            if answer.status not in good or answer.status >= 400 and answer.error_code not in CODES:
                raise Finding(f"{method} {path} {body!r}: {answer.status} {answer.body[:200]!r}")
            return answer

        opened = ask("POST", "/api/v1/events", {"mode": rng.choice(["poll", "poll", "sse", 7, None])})
        sid = opened.json["session_id"] if opened.status == 201 else rng.choice(self.known)
        path = f"/api/v1/events/{sid}"
        for _ in range(rng.randrange(1, 5)):
            events = [rng.choice([self.bad_event(one.who), {"event": "resume"}, self.value()])
                      for _ in range(rng.randrange(0, 4))]
            ask("POST", path, rng.choice([events, json.dumps(events).encode()[:-2], events and events[0]]))
            answer = ask("GET", f"{path}?after={rng.choice([0, 0, 1, 99, 'x', -1])}&wait=0")
            for event in answer.json["events"] if answer.status == 200 else []:
                test_asyncapi.SERVER[event["event"]].validate(event)
                if event["event"] == "error" and event["code"] not in CODES:
                    raise Finding(f"an error that no document has: {event}")
        if rng.random() < 0.8:
            ask("DELETE", path)

    def leave(self, one, reset):
        one.drop(reset)
        self.sessions.remove(one)

    def step(self):
        while len(self.sessions) < SESSIONS:
            self.sessions.append(Session(self, self.rng.choice(self.people)))
        one = self.rng.choice(self.sessions)
        what = self.rng.choices(
            ["good", "again", "bad", "no_json", "fragments", "many", "violation", "goodbye", "noise", "cut",
             "gone", "carried"], [10, 3, 12, 6, 4, 4, 2, 1, 2, 1, 1, 1])[0]
        self.steps += 1
        self.history = [*self.history[-20:], f"{self.steps} {what} {self.sessions.index(one)}"]
        getattr(self, f"step_{what}")(one)
        for other in self.sessions:
            other.take()
        if one in self.sessions and (one.ended() or one.broken or one.dubious or self.steps % 7 == 0):
            one.check()
            if one.ended() or one.dubious:
                self.leave(one, False)

    def run(self, steps):
        """The findings: none, or the first."""
        try:
            for _ in range(steps):
                self.step()
            self.end()
        except (Finding, AssertionError, OSError, http.client.HTTPException, ValueError,
                test_asyncapi.jsonschema.ValidationError, harness.ServerError) as reason:
            code = self.server.process.poll() if self.server.process else None
            return [f"{type(reason).__name__}: {str(reason)[:1500]}\nafter {', '.join(self.history)}"
                    + (f"\nthe server ended with {code}\n{self.server.log_tail()}" if code is not None else "")]
        return []

    def end(self):
        for one in list(self.sessions):
            one.check()
            self.leave(one, False)
        # What was sent without an answer is repeated by its own session's user, and then is there.
        reader = self.people[0]
        found = [(m["content"], m["seq"], m["message_id"]) for m in reader.history(self.group)]
        texts = [text for text, _, _ in found]
        for key, (_, seq, message_id) in self.acked.items():
            if (self.sent[key], seq, message_id) not in found or texts.count(self.sent[key]) != 1:
                raise Finding(f"{key} was acknowledged as {seq}, and history has it "
                              f"{texts.count(self.sent[key])} times")
        if not self.acked:
            raise Finding("nothing was acknowledged")
        harness.wait_until(lambda: self.server.metric("confab_sessions_by_carrier") == self.carried_left(),
                           "no socket is open")
        assert self.server.http("GET", "/readyz").status == 200
        self.server.stop()

    def carried_left(self):
        """Sessions over polls that were not ended, which may stay for a while."""
        body = self.server.http("GET", "/metrics").body.decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in body.splitlines()
                   if line.startswith("confab_sessions_by_carrier") and '"ws"' not in line)

    def close(self):
        for one in self.sessions:
            one.socket.close()
        self.server.kill()
