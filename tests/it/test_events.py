"""Sessions without a WebSocket, as another client than ours sees them: plain HTTP and no library."""

import http.client
import json
import uuid

import harness

SSE = "text/event-stream"


class Carried:
    """A session over SSE or polls, one request at a time beside the stream."""

    def __init__(self, account, mode):
        self.account = account
        answer = account.http("POST", "/api/v1/events", {"mode": mode})
        assert answer.status == 201, answer.body
        self.hello = answer.json
        self.path = f"/api/v1/events/{self.hello['session_id']}"
        self.last = 0
        self.connection = None

    def post(self, *events):
        return self.account.http("POST", self.path, list(events))

    def poll(self, wait=10):
        answer = self.account.http("GET", f"{self.path}?after={self.last}&wait={wait}")
        assert answer.status == 200, (answer.status, answer.body)
        self.last = answer.json["last"]
        return answer.json["events"]

    def stream(self):
        """Opens it; the answer's head."""
        self.close()
        port = self.account.server.port
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=harness.DEADLINE_S)
        self.connection.request("GET", self.path, headers={
            "Authorization": f"Bearer {self.account.token}", "Accept": SSE,
            "Last-Event-ID": str(self.last)})
        self.answer = self.connection.getresponse()
        return self.answer

    def next(self):
        """The next event of the stream, None for a comment; EOFError at its end."""
        number = None
        while True:
            line = self.answer.readline().decode()
            if not line:
                raise EOFError
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                assert self.answer.readline() == b"\n"
                if number is not None:
                    assert number == self.last + 1
                    self.last = number
                return json.loads(line[6:])
            elif line == ":\n":
                assert self.answer.readline() == b"\n"
                return None

    def until(self, event, **fields):
        while True:
            one = self.next()
            if one and one["event"] == event and all(one.get(k) == v for k, v in fields.items()):
                return one

    def close(self):
        if self.connection:
            self.answer.close()
            self.connection.close()
            self.connection = None


def message(content, to):
    return {"event": "send_message", "to": to, "content": content,
            "client_msg_id": str(uuid.uuid4())}


def test_people_talk_over_a_stream_and_over_polls(server_factory):
    server = server_factory("--shards", "3", "--stream-heartbeat", "300ms")
    alice, bob = server.register("alice"), server.register("bob")
    one, two = Carried(alice, "sse"), Carried(bob, "poll")
    head = one.stream()
    assert head.status == 200 and head.getheader("Content-Type") == SSE
    assert head.getheader("X-Accel-Buffering") == "no"
    assert head.getheader("Cache-Control") == "no-store"
    assert one.next() is None
    assert one.post({"event": "resume"}).status == 202
    one.until("caught_up")
    assert one.next() is None, "a comment while there is nothing"
    assert two.post({"event": "resume"}, message("hello alice", "alice")).status == 202
    assert one.until("new_message")["content"] == "hello alice"
    names = []
    while "ack" not in names:
        names += [e["event"] for e in two.poll()]
    assert one.post(message("hello bob", "bob")).status == 202
    sent = one.until("ack")
    got = []
    while not any(e.get("message_id") == sent["message_id"] for e in got):
        got = two.poll()
    assert server.metric("confab_sessions_by_carrier") == 2

    # The stream breaks; what came meanwhile comes with the next one, and once.
    one.close()
    for i in range(20):
        assert two.post(message(f"meanwhile {i}", "alice")).status == 202
    one.stream()
    for i in range(20):
        assert one.until("new_message")["content"] == f"meanwhile {i}"
    assert alice.http("DELETE", one.path).status == 204
    assert alice.http("DELETE", one.path).status == 404
    while True:
        try:
            one.next()
        except EOFError:
            break
    assert alice.http("POST", one.path, {"event": "heartbeat"}).status == 404


def test_a_session_ends_with_its_device_and_says_so(server):
    alice = server.register("alice")
    streamed, polled = Carried(alice, "sse"), Carried(alice, "poll")
    streamed.stream()
    streamed.next()
    other = server.login("alice")
    for account in (other, server.register("bob")):
        assert account.http("GET", streamed.path + "?wait=0").status == 404
        assert account.http("POST", streamed.path, {"event": "heartbeat"}).status == 404
    assert alice.http("DELETE", "/api/v1/tokens/current").status == 204
    assert streamed.until("closed")["close_code"] == 4401
    assert alice.http("GET", polled.path + "?wait=0").status == 401


def test_a_server_that_goes_away_says_so_and_ends(server):
    alice = server.register("alice")
    one = Carried(alice, "sse")
    one.stream()
    one.next()
    server.process.terminate()
    assert one.until("reconnect")["delay_ms"] >= 0
    assert one.until("closed")["close_code"] == 1001
    server.process.wait(harness.DEADLINE_S)


def test_a_killed_server_ends_the_stream(server):
    alice, bob = server.register("alice"), server.register("bob")
    one = Carried(alice, "sse")
    one.stream()
    one.post({"event": "resume"})
    one.until("caught_up")
    server.kill()
    try:
        while True:
            one.next()
    except (EOFError, http.client.IncompleteRead, OSError):
        pass
    server.start()
    assert alice.http("GET", one.path + "?wait=0").status == 404
    again = Carried(alice, "sse")
    again.stream()
    again.post({"event": "resume"})
    again.until("caught_up")
    assert bob.send("back", to="alice").status == 201
    assert again.until("new_message")["content"] == "back"
