"""docs/api/asyncapi.json, errors.md and socket.md against the tables and the frames of a server."""

import json
import re
import subprocess

import jsonschema
import pytest

import harness

API = harness.ROOT / "docs" / "api"
DOCUMENT = json.loads((API / "asyncapi.json").read_text())


def deref(schema):
    if isinstance(schema, list):
        return [deref(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        schema = {**DOCUMENT["components"]["schemas"][name],
                  **{k: v for k, v in schema.items() if k != "$ref"}}
    return {key: deref(value) for key, value in schema.items()}


def closed(schema):
    """The same, but objects have nothing that is not named."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: {k: closed(v) for k, v in value.items()} if key == "properties"
              else closed(value) for key, value in schema.items()}
    if "properties" in result:
        result["additionalProperties"] = False
    return result


def events(group):
    """{name: payload} of one operation, as the document lists them."""
    found = {}
    for reference in DOCUMENT["operations"][group]["messages"]:
        key = reference["$ref"].rsplit("/", 1)[1]
        assert DOCUMENT["channels"]["socket"]["messages"][key]["$ref"].endswith("/" + key)
        message = DOCUMENT["components"]["messages"][key]
        found[message["name"]] = deref(message["payload"])
    return found


SERVER = {name: jsonschema.Draft202012Validator(closed(schema))
          for name, schema in events("server").items()}
SERVER_SHORT = {name: jsonschema.Draft202012Validator(closed(schema))
                for name, schema in events("server_short").items()}


@pytest.fixture(scope="module")
def tables():
    done = subprocess.run([harness.BUILD / "api_tables"], capture_output=True, text=True,
                          check=True, timeout=harness.DEADLINE_S)
    return json.loads(done.stdout)


def test_every_event_is_documented_and_every_documented_one_is_there(tables):
    assert sorted(tables["client_events"]) == sorted(events("client"))
    assert sorted(tables["client_events_short"]) == sorted(events("client_short"))
    assert sorted(tables["server_events"]) == sorted(events("server"))


def test_the_document_is_whole():
    assert DOCUMENT["asyncapi"].startswith("3.")
    for kind, name in set(re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(DOCUMENT))):
        assert name in DOCUMENT["components"][kind], name
    for group in DOCUMENT["operations"]:
        for schema in events(group).values():
            jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("page", ["socket.md"])
def test_the_page_names_every_event(page):
    text = (API / page).read_text()
    for group in ("client", "client_short", "server"):
        for name in events(group):
            assert f"`{name}`" in text or f'"event":"{name}"' in text or \
                f'"type":"{name}"' in text, f"{page} says nothing of {name}"


def test_the_page_of_errors_is_that_of_the_table():
    source = (harness.ROOT / "src" / "base" / "errors.def").read_text()
    rows = dict(re.findall(r'^X\(\w+, -\d+, "(\w+)", (\d+), ".*"\)$', source, re.MULTILINE))
    page = (API / "errors.md").read_text()
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", page, re.MULTILINE))
    assert documented == rows
    of_events = (API / "socket.md").read_text().split("## Errors, by", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"`(\w+)`", of_events))
    assert len(named & set(rows)) > 10
    fields = {"field", "client_msg_id", "conversation_ids", "user_ids", "content", "mentions", "to",
              "reply_to", "retry_after_ms"}
    assert named - set(rows) - fields - set(events("client")) - set(events("client_short")) == set()


def check(frame):
    """Is this a frame that the document has? Frames inside of pages too."""
    if "event" not in frame:
        SERVER_SHORT[frame["type"]].validate(frame)
        return frame["type"]
    SERVER[frame["event"]].validate(
        frame if frame["event"] != "conversations" else
        {**frame, "conversations": [{**c, "events": []} if "events" in c else c
                                    for c in frame["conversations"]]})
    for conversation in frame.get("conversations", []):
        for event in conversation.get("events", []):
            check(event)
    return frame["event"]


class Watched:
    """A socket whose every frame is checked."""

    def __init__(self, socket):
        self.socket = socket
        self.names = set()
        self.last = None

    def until(self, event, **fields):
        while True:
            self.last = self.socket.recv()
            self.names.add(check(self.last))
            if self.last.get("event") == event and \
                    all(self.last.get(k) == v for k, v in fields.items()):
                return self.last

    def short(self):
        while True:
            self.last = self.socket.recv()
            check(self.last)
            if "event" not in self.last:
                return self.last


def test_every_frame_of_a_conversation_is_as_documented(server_factory):
    server = server_factory("--large-members", "2")
    alice, bob = server.register("alice"), server.register("bob")
    old = alice.send("before", to="bob").json
    one = Watched(server.socket(token=alice.token, hello=False))
    two = Watched(server.socket(token=bob.token, hello=False))
    for watched in (one, two):
        hello = watched.until("hello")
        assert hello["limits"]["edit_window_ms"] == 24 * 3600 * 1000
        assert "edits" in hello["features"]
        watched.socket.send("resume")
        watched.until("caught_up")
    one.socket.send("heartbeat")
    one.until("heartbeat")
    one.socket.send("send_message", to="bob", content="hello", client_msg_id="a",
                    mentions=[bob.user_id], reply_to=old["message_id"])
    sent = one.until("ack", client_msg_id="a")
    assert two.until("new_message", message_id=sent["message_id"])["mentions"] == [bob.user_id]
    two.socket.send("ack", conversation_id=sent["conversation_id"], seq=sent["seq"], status="read")
    one.until("delivery_receipt", status="read")
    two.socket.send("view", conversation_ids=[sent["conversation_id"]])
    two.socket.send("heartbeat")
    two.until("heartbeat")
    one.socket.send("typing", to="bob")
    assert two.until("typing", active=True)["user_id"] == alice.user_id
    one.socket.send_text(json.dumps({"type": "typing", "active": False,
                                     "conversation_id": sent["conversation_id"]}))
    two.until("typing", active=False)
    one.socket.send("subscribe_presence", user_ids=[bob.user_id])
    one.until("presence_update", user_id=bob.user_id, status="online", last_seen=None)
    two.socket.send("presence", status="away")
    assert one.until("presence_update", status="away")["last_seen"]
    one.socket.send("unsubscribe_presence")
    message = f"/api/v1/messages/{sent['message_id']}"
    assert alice.http("PATCH", message, {"content": "hello you"}).status == 200
    two.until("message_edited")
    assert alice.http("DELETE", message).status == 200
    two.until("message_deleted")

    group = alice.http("POST", "/api/v1/groups", {"name": "x", "member_ids": ["bob"]}).json
    path = f"/api/v1/groups/{group['group_id']}"
    two.until("membership", action="create")
    two.until("self", action="joined")
    for method, where, body, event, action in (
            ("PATCH", path, {"name": "y", "settings": {"history": "joined", "send": "members",
                                                       "invite": "admins"}},
             "conversation", None),
            ("PATCH", f"{path}/members/bob", {"role": "admin"}, "membership", "role"),
            ("DELETE", f"{path}/members/bob", None, "membership", "remove"),
            ("POST", f"{path}/members", {"user_id": "bob"}, "membership", "add")):
        assert alice.http(method, where, body).status == 200
        two.until(event, **({"action": action} if action else {}))
    for method, where, body, action in (
            ("PUT", f"/api/v1/conversations/{group['group_id']}/mute",
             {"until": "2999-01-01T00:00:00Z"}, "mute"),
            ("PUT", f"/api/v1/conversations/{group['group_id']}/mute", {"until": None}, "mute"),
            ("PUT", f"/api/v1/conversations/{group['group_id']}/pin", {"pinned": True}, "pin"),
            ("PUT", "/api/v1/blocks/alice", None, "block"),
            ("DELETE", "/api/v1/blocks/alice", None, "block"),
            ("DELETE", f"/api/v1/messages/{old['message_id']}?for=me", None, "hide"),
            ("POST", f"{path}/leave", None, "left")):
        def done(method=method, where=where, body=body):
            return bob.http(method, where, body).status == 200
        harness.wait_until(done, f"{method} {where} is taken")
        two.until("self", action=action)
    one.until("membership", action="leave")
    server.register("carol")
    large = alice.http("POST", "/api/v1/groups", {"name": "z", "member_ids": ["bob", "carol"]}).json
    assert alice.send("to many", conversation_id=large["group_id"]).status == 201
    two.until("counter", conversation_id=large["group_id"])

    for text, code in (("[]", "invalid"), ('{"event":"nothing"}', "unsupported"),
                       ('{"event":"send_message","to":"bob","client_msg_id":"b"}', "invalid"),
                       ('{"event":"send_message","to":"nobody","content":"x",'
                        '"client_msg_id":"b"}', "not_found"),
                       ('{"event":"ack","message_id":"7","status":"read"}', "not_found"),
                       ('{"event":"auth","token":"x"}', "unauthenticated")):
        one.socket.send_text(text)
        assert one.until("error")["code"] == code
    again = Watched(server.socket(token=bob.token, hello=False))
    again.socket.send("auth", token=bob.token)
    again.until("authenticated")
    again.socket.send("resume")
    again.until("caught_up")
    server.process.terminate()
    assert one.until("reconnect")["delay_ms"] >= 0
    server.process.wait(harness.DEADLINE_S)
    seen = one.names | two.names | again.names
    # A reader must be very slow for the one, and wait long for the other: see tests/unit/gateway.
    # What has no close frame is tried in test_events.py.
    assert set(SERVER) - seen == {"resync", "token_expiring", "closed"}


def test_the_short_form_both_ways(server):
    alice, bob = server.register("alice"), server.register("bob")
    one = server.socket(token=alice.token, query=f"?userId={alice.user_id}")
    two = server.socket(token=bob.token)
    one.send("resume")
    one.expect("caught_up")
    two.send_text(json.dumps({"type": "message", "to": "alice", "text": "hello"}))
    sent = two.expect("ack")
    short = Watched(one).short()
    assert (short["type"], short["from"], short["text"]) == ("message", bob.user_id, "hello")
    assert short["message_id"] == sent["message_id"] and short["timestamp"] == sent["sent_at"]
    assert (short["conversation_id"], short["seq"]) == (sent["conversation_id"], sent["seq"])
    one.send_text(json.dumps({"type": "ack", "message_id": short["message_id"],
                              "status": "read"}))
    one.send_text('{"type":"heartbeat"}')
    one.expect("heartbeat")
    path = f"/api/v1/messages/{sent['message_id']}"
    harness.wait_until(lambda: bob.http("GET", path).json["status"] == "read", "it is read")
    one.send_text('{"type":"weather","to":"bob"}')
    assert one.expect("error")["code"] == "unsupported"


def test_the_documents_are_served(server):
    for path, media in (("/api/v1/openapi.json", "application/json"),
                        ("/api/v1/asyncapi.json", "application/json"),
                        ("/api/docs", "text/html"), ("/api/docs.js", "text/javascript"),
                        ("/api/docs.css", "text/css")):
        answer = server.http("GET", path)
        assert answer.status == 200, path
        assert answer.headers["Content-Type"].startswith(media), path
        assert "unsafe" not in answer.headers["Content-Security-Policy"], path
    page = server.http("GET", "/api/docs").body.decode()
    # Nothing inline: the policy would not run it.
    assert not re.search(r"<style|<script(?![^>]*src=)|\son\w+=|\sstyle=", page)
    assert server.http("GET", "/api/v1/openapi.json").json["openapi"].startswith("3.1")
