"""The socket's events, and how they become an AsyncAPI 3.0 document."""

from api.schemas import (COUNT, ID, CONVERSATION_ID, ROLE, SEQ, SETTINGS, TIME, TYPE,
                         array, nullable, obj, ref)

TEXT = {"type": "string", "minLength": 1, "maxLength": 16384, "pattern": "^[^\\u0000]*$"}
KEY = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[ -~]*$"}
PERSON = {"type": "string", "minLength": 1, "maxLength": 200,
          "description": "an id or a username"}
STATUS = {"type": "string", "enum": ["delivered", "read"]}
SEND = {
    "content": TEXT, "type": {**TYPE, "default": "text"}, "client_msg_id": KEY,
    "reply_to": ref("Id"), "mentions": array(ref("Id"), maxItems=100),
    "fresh": {"type": "boolean", "description": "a first attempt"},
}
SEND_OPTIONAL = ("type", "reply_to", "mentions", "fresh")
TARGETS = {"anyOf": [{"required": ["to"]}, {"required": ["conversation_id"]}]}
ACK = {"type": "object", "properties": {
    "message_id": ref("Id"), "conversation_id": ref("ConversationId"),
    "seq": {**SEQ, "minimum": 1}, "status": STATUS}, "required": ["status"],
    "anyOf": [{"required": ["message_id"]}, {"required": ["conversation_id", "seq"]}]}

PRESENCE_STATUS = {"type": "string", "enum": ["online", "away", "offline"]}
TYPING = obj({"to": PERSON, "conversation_id": ref("ConversationId"),
              "active": {"type": "boolean", "default": True}},
             optional=("to", "conversation_id", "active"))

MEMBER = obj({"user_id": ref("Id"), "role": ROLE}, optional=("role",))
AT = {"conversation_id": ref("ConversationId"), "seq": {**SEQ, "minimum": 1},
      "event_id": ref("Id"), "sent_at": ref("Time"),
      "from": {**ref("Id"), "description": "who did it"}}


def at(properties, optional=()):
    """A frame of a conversation's sequence."""
    return obj({**AT, **properties}, optional=optional)


PREVIEW = obj({"message_id": ref("Id"), "from": ref("Id"), "content": {"type": "string"},
               "type": TYPE, "sent_at": ref("Time")})
PAGE_ENTRY = obj({
    "conversation_id": ref("ConversationId"),
    "type": {"type": "string", "enum": ["direct", "group", "self"]},
    "left": {"type": "boolean", "enum": [True]},
    "name": {"type": "string"}, "with": ref("Id"), "role": ROLE, "members": COUNT,
    "head": SEQ, "head_id": ref("Id"), "last_message_at": ref("Time"), "preview": PREVIEW,
    "messages": {**COUNT, "description": "so far; of a large conversation"}, "unread": COUNT, "mentions": COUNT, "muted": {"type": "boolean"},
    "pinned": {"type": "boolean"}, "draft": {"type": "string"}, "cursors": obj({"delivered": SEQ, "read": SEQ}),
    "covered": array(SEQ, minItems=2, maxItems=2,
                     description="the seqs for which `events` is complete"),
    "limited": {"type": "boolean"}, "reset": {"type": "boolean"},
    "events": {"type": "array", "items": {"type": "object"},
               "description": "frames of the sequence, without gaps"},
}, optional=("left", "name", "with", "role", "members", "head", "head_id", "last_message_at",
             "preview", "messages", "unread", "mentions", "muted", "pinned", "draft", "cursors", "covered", "limited",
             "reset", "events"))

# name → (what it is, schema of the frame but for `event`)
CLIENT = {
    "send_message": ("Send to a person or in a conversation", {**obj({
        "to": PERSON, "conversation_id": ref("ConversationId"), **SEND},
        optional=("to", "conversation_id", *SEND_OPTIONAL)), **TARGETS}),
    "send_group_message": ("Send in a group", obj({
        "group_id": ref("ConversationId"), **SEND}, optional=SEND_OPTIONAL)),
    "ack": ("Everything up to here is delivered, or read", ACK),
    "heartbeat": ("I am here", obj({})),
    "resume": ("What did I miss?", obj({
        "since": {"type": "string", "description": "the token of the last `caught_up`"},
        "have": array(obj({"conversation_id": ref("ConversationId"),
                           "seq": {**SEQ, "minimum": 1}, "event_id": ref("Id")})),
        "batch": {"type": "boolean", "description": "frames may be arrays of events"},
    }, optional=("since", "have", "batch"))),
    "view": ("This is on my screen", obj({
        "conversation_ids": array(ref("ConversationId"), maxItems=20)})),
    "typing": ("I am typing, or not any more", {**TYPING, **TARGETS}),
    "presence": ("I am here, or not", obj({"status": PRESENCE_STATUS})),
    "subscribe_presence": ("Tell me how these people are", obj({
        "user_ids": array(ref("Id"), maxItems=200)})),
    "unsubscribe_presence": ("No longer", obj({
        "user_ids": array(ref("Id"), maxItems=200)}, optional=("user_ids",))),
    "auth": ("Sign in", obj({"token": {"type": "string", "minLength": 1, "maxLength": 1024}})),
}
CLIENT_SHORT = {
    "message": ("Send, in the short form", {**obj({
        "to": PERSON, "conversation_id": ref("ConversationId"), "text": TEXT,
        "client_msg_id": KEY}, optional=("to", "conversation_id", "client_msg_id")), **TARGETS}),
    "ack": ("As `ack`", ACK),
    "heartbeat": ("As `heartbeat`", obj({})),
    "typing": ("As `typing`", {**TYPING, **TARGETS}),
    "presence": ("As `presence`", obj({"status": PRESENCE_STATUS})),
}
SERVER = {
    "hello": ("Signed in", obj({
        "protocol": {"type": "integer", "enum": [1]}, "server_time": ref("Time"),
        "session_id": {"type": "string"}, "user_id": ref("Id"), "device_id": ref("Id"),
        "limits": obj({key: {"type": "integer", "minimum": 0} for key in (
            "text_bytes", "frame_bytes", "inflight", "mentions", "edit_window_ms")}),
        "features": array({"type": "string"}),
        "heartbeat_ms": {"type": "integer", "minimum": 1}})),
    "ack": ("The message is stored", obj({
        "client_msg_id": {"type": "string"}, "message_id": ref("Id"),
        "conversation_id": ref("ConversationId"), "seq": {**SEQ, "minimum": 1},
        "sent_at": ref("Time"), "status": {"type": "string", "enum": ["sent"]},
        "duplicate": {"type": "boolean"}})),
    "error": ("What a client's frame came to", obj({
        "code": {"type": "string", "description": "see errors.md"},
        "message": {"type": "string"}, "field": {"type": "string"},
        "ref": {"type": "string", "description": "the client's event"},
        "client_msg_id": {"type": "string"},
        "conversation_id": {**ref("ConversationId"), "description": "of a refused `ack`"},
        "retry_after_ms": {"type": "integer", "minimum": 1},
    }, optional=("field", "ref", "client_msg_id", "conversation_id", "retry_after_ms"))),
    "heartbeat": ("The answer to one", obj({})),
    "new_message": ("A message", at({
        "message_id": ref("Id"), "content": {"type": "string"}, "type": TYPE,
        "client_msg_id": {"type": "string", "description": "of one's own"},
        "reply_to": ref("Id"), "mentions": array(ref("Id"))},
        optional=("client_msg_id", "reply_to", "mentions"))),
    "message_edited": ("A message has another text", at({
        "message_id": ref("Id"), "target_seq": {**SEQ, "minimum": 1},
        "content": {"type": "string"}, "edited_at": ref("Time")})),
    "message_deleted": ("A message was deleted for everyone", at({
        "message_id": ref("Id"), "target_seq": {**SEQ, "minimum": 1}})),
    "membership": ("Somebody came, went, or has another role", at({
        "action": {"type": "string", "enum": ["create", "add", "remove", "leave", "role"]},
        "members": array(MEMBER), "name": {"type": "string"},
        "type": {"type": "string", "enum": ["direct", "group", "self"]}},
        optional=("name", "type"))),
    "conversation": ("Another name, other settings", at({
        "name": {"type": "string"}, "settings": ref("Settings")}, optional=("name", "settings"))),
    "self": ("An entry of one's own log", at({
        "action": {"type": "string",
                   "enum": ["joined", "left", "mute", "pin", "block", "hide", "closed",
                            "draft"]},
        "target": ref("ConversationId"), "until": nullable(ref("Time")),
        "pinned": {"type": "boolean"}, "user_id": ref("Id"), "blocked": {"type": "boolean"},
        "hidden": array(SEQ, minItems=2, maxItems=2),
        "content": {"type": "string", "description": "of a draft; empty: none any more"}},
        optional=("target", "until", "pinned", "user_id", "blocked", "hidden", "content"))),
    "delivery_receipt": ("Somebody has got, or read, messages", obj({
        "conversation_id": ref("ConversationId"), "from_seq": {**SEQ, "minimum": 1},
        "seq": {**SEQ, "minimum": 1}, "message_id": ref("Id"), "user_id": ref("Id"),
        "status": STATUS, "at": ref("Time")}, optional=("message_id",))),
    "typing": ("Somebody types in a conversation that is on the screen", obj({
        "conversation_id": ref("ConversationId"), "user_id": ref("Id"),
        "active": {"type": "boolean"}, "expires_in_ms": {"type": "integer", "minimum": 1}},
        optional=("expires_in_ms",))),
    "presence_update": ("How somebody is", obj({
        "user_id": ref("Id"), "status": PRESENCE_STATUS, "last_seen": nullable(ref("Time"))})),
    "counter": ("A large conversation has moved, told to those who do not look at it", obj({
        "conversation_id": ref("ConversationId"), "seq": SEQ, "event_id": ref("Id"),
        "sent_at": ref("Time"), "messages": COUNT, "members": COUNT, "last_message_id": ref("Id"),
        "preview": PREVIEW}, optional=("last_message_id", "preview"))),
    "conversations": ("A page of the answer to `resume`", obj({
        "conversations": array(PAGE_ENTRY)})),
    "caught_up": ("Everything before this has been sent", obj({
        "since": {"type": "string"}, "server_time": ref("Time"),
        "reset": {"type": "boolean", "const": True,
                  "description": "the token was of a time that a restore has lost: forget what no page "
                                 "had"}},
        optional=("reset",))),
    "resync": ("Frames were dropped: resume", obj({})),
    "reconnect": ("The server is going away: come back after the delay", obj({
        "delay_ms": {"type": "integer", "minimum": 0}})),
    "closed": ("The close frame of sessions without a WebSocket: the session has ended", obj({
        "close_code": {"type": "integer"}, "reason": {"type": "string"}})),
    "token_expiring": ("The token runs out: send `auth` with a new one",
                       obj({"expires_at": ref("Time")})),
    "authenticated": ("The session goes on with the new token", obj({"expires_at": ref("Time")})),
}
SERVER_SHORT = {
    "presence": ("How somebody is, in the short form", obj({
        "userId": ref("Id"), "status": PRESENCE_STATUS})),
    "message": ("A message, in the short form", obj({
        "from": ref("Id"), "text": {"type": "string"}, "timestamp": ref("Time"),
        "message_id": ref("Id"), "conversation_id": ref("ConversationId"),
        "seq": {**SEQ, "minimum": 1}})),
}
SCHEMAS = {"Id": ID, "ConversationId": CONVERSATION_ID, "Time": TIME, "Settings": SETTINGS}

GROUPS = {  # (prefix of the message's key, the member that names it) → events
    "client": ("receive", "event", CLIENT, "What clients send"),
    "client_short": ("receive", "type", CLIENT_SHORT, "What clients send in the short form"),
    "server": ("send", "event", SERVER, "What the server sends"),
    "server_short": ("send", "type", SERVER_SHORT, "What the server sends in the short form"),
}
DESCRIPTION = """Confab's socket: GET /ws, text frames, one JSON object each; after a `resume` \
with `batch` those of the server may also be arrays of such objects. docs/api/socket.md tells \
in which order what happens. Unknown events and fields are ignored by both sides."""


def payload(key, name, schema):
    properties = {key: {"type": "string", "const": name}, **schema["properties"]}
    return {**schema, "properties": properties, "required": [key, *schema.get("required", [])]}


def document(_):
    messages = {}
    operations = {}
    for group, (action, key, events, summary) in GROUPS.items():
        for name, (about, schema) in events.items():
            messages[f"{group}_{name}"] = {"name": name, "title": name, "summary": about,
                                           "contentType": "application/json",
                                           "payload": payload(key, name, schema)}
        operations[group] = {
            "action": action, "channel": {"$ref": "#/channels/socket"}, "summary": summary,
            "messages": [{"$ref": f"#/channels/socket/messages/{group}_{name}"}
                         for name in events]}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Confab socket", "version": "1", "description": DESCRIPTION},
        "defaultContentType": "application/json",
        "channels": {"socket": {
            "address": "/ws",
            "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in messages}}},
        "operations": operations,
        "components": {"messages": messages, "schemas": SCHEMAS},
    }
