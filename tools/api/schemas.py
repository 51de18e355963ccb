"""The objects that calls and events share, as JSON Schema (2020-12)."""

SEQ_MAX = 2 ** 63 - 1


def ref(name):
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema):
    """The same or null; OpenAPI 3.1 takes a list of types."""
    if "$ref" in schema:
        return {"oneOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def array(items, **more):
    return {"type": "array", "items": items, **more}


def obj(properties, optional=(), **more):
    """An object of which everything is there but what is named optional."""
    required = [key for key in properties if key not in optional]
    schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return {**schema, **more}


def alias(name):
    return f"the same as `{name}`"


ID = {"type": "string", "pattern": "^[1-9][0-9]{0,18}$", "example": "291640239476736001",
      "description": "a number in decimal, from 1 to 2^63 - 1, as a string"}
CONVERSATION_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$",
                   "example": "5e20b16ab24fd0d98f8bd8cc3a62a08d",
                   "description": "32 hex digits in lower case"}
TIME = {"type": "string", "format": "date-time",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$",
        "example": "2025-06-01T12:34:56.789Z", "description": "RFC 3339 in UTC, with milliseconds"}
SEQ = {"type": "integer", "minimum": 0, "example": 7}
COUNT = {"type": "integer", "minimum": 0}
TYPE = {"type": "string", "enum": ["text"]}
TEXT = {"type": "string", "example": "Hello"}
ROLE = {"type": "string", "enum": ["owner", "admin", "moderator", "member", "guest"]}
STATUS = {"type": "string", "enum": ["sent", "delivered", "read"]}

SETTING_VALUES = {"history": ["all", "joined"], "send": ["members", "admins"],
                  "invite": ["members", "admins"]}
SETTINGS = obj({key: {"type": "string", "enum": values}
                for key, values in SETTING_VALUES.items()},
               description="what new members see of the history, who may send, who may add "
                           "members")

MESSAGE = obj({
    "message_id": ref("Id"), "messageId": ref("Id"),
    "conversation_id": ref("ConversationId"), "chatId": ref("ConversationId"),
    "seq": {**SEQ, "minimum": 1, "description": "place in the conversation"},
    "sender_id": ref("Id"), "from": ref("Id"), "fromUserId": ref("Id"),
    "content": {**TEXT, "description": "empty when it was deleted"},
    "message": TEXT, "text": TEXT,
    "type": TYPE, "messageType": TYPE, "message_type": TYPE,
    "sent_at": ref("Time"), "timestamp": ref("Time"),
    "status": {**STATUS, "description": "what all members but the sender have done with it; in "
                                        "conversations of up to 1,000 members, else `sent`"},
    "delivered_at": ref("Time"), "read_at": ref("Time"),
    "client_msg_id": {"type": "string", "description": "of one's own messages"},
    "edited_at": ref("Time"), "deleted_at": ref("Time"), "reply_to": ref("Id"),
    "mentions": array(ref("Id")),
    "deleted": {"type": "boolean"},
}, optional=("delivered_at", "read_at", "client_msg_id", "edited_at", "deleted_at", "reply_to",
             "mentions", "messageId", "chatId", "from", "fromUserId", "message", "text",
             "messageType", "message_type", "timestamp"),
    description="A message. The fields of one line of docs/api/rest.md's table are the same value "
                "under the names that different documents use; the first is ours, and the others "
                "are missing with `aliases=false`. `delivered_at` "
                "and `read_at` are the times of the cursor records that cover the message: it was "
                "delivered, or read, by everyone then at the latest.")

PREVIEW = obj({
    "message_id": ref("Id"), "seq": SEQ, "from": ref("Id"),
    "content": {**TEXT, "description": "the first 120 bytes of the text"},
    "type": TYPE, "sent_at": ref("Time"), "deleted": {"type": "boolean"}})

CONVERSATION = obj({
    "id": ref("ConversationId"), "conversation_id": ref("ConversationId"),
    "chatId": ref("ConversationId"),
    "type": {"type": "string", "enum": ["direct", "group", "self"]},
    "name": nullable({"type": "string", "description": "of a group"}),
    "with": {**nullable(ref("Id")), "description": "direct: the other person"},
    "username": nullable({"type": "string", "description": "direct: theirs"}),
    "display_name": nullable({
        "type": "string", "description": "direct: theirs; `deleted account` when it is gone"}),
    "created_at": ref("Time"),
    "members": {**COUNT, "description": "how many there are"},
    "settings": {**nullable(ref("Settings")), "description": "of a group that one is in"},
    "head": {**SEQ, "description": "seq of the last event"},
    "last_message_at": nullable(ref("Time")),
    "last_message_preview": nullable({"type": "string"}),
    "preview": nullable(ref("Preview")),
    "role": {**nullable(ROLE), "enum": [*ROLE["enum"], None]},
    "left": {"type": "boolean", "description": "one is not a member any more"},
    "unread_count": COUNT, "unread": COUNT,
    "mentions": {**COUNT, "description": "unread messages that mention one"},
    "muted": {"type": "boolean"}, "muted_until": nullable(ref("Time")),
    "pinned": {"type": "boolean"},
    "draft": nullable({"type": "string", "description": "what one has begun to write there"}),
    "cursors": obj({"delivered": SEQ, "read": SEQ}, description="one's own")})

PAGE = {
    "next_cursor": {"type": ["string", "null"],
                    "description": "for `cursor` (of messages: `before` or `after`), null at the "
                                   "end"},
    "has_more": {"type": "boolean"}, "hasMore": {"type": "boolean"}}


def page(key, item, **more):
    return obj({key: array(item), **more, **PAGE})


ERROR = obj({"error": obj({
    "code": {"type": "string", "description": "see docs/api/errors.md"},
    "message": {"type": "string", "description": "for people; may change"},
    "field": {"type": "string", "description": "what is at fault in the request"},
}, optional=("field",))})

PRIVACY = obj({
    "online": {"type": "boolean", "description": "others see whether one is online"},
    "last_seen": {"type": "boolean", "description": "others see when one was last online"},
    "read_receipts": {"type": "boolean", "description": "others see what one has read"}})
USER = obj({
    "user_id": ref("Id"), "username": {"type": "string"}, "display_name": {"type": "string"},
    "deleted": {"type": "boolean", "enum": [True], "description": "the account was deleted"},
    "about": {"type": "string"},
    "profile_picture_url": {"type": "null"},
    "created_at": ref("Time"), "updated_at": ref("Time"),
    "email": {"type": "string", "description": "for oneself and administrators, as the following"},
    "role": {"type": "string", "enum": ["admin", "member"]},
    "status": {"type": "string", "enum": ["active", "suspended", "deleted"]},
    "privacy": {**PRIVACY, "description": "of oneself only"},
}, optional=("deleted", "email", "role", "status", "privacy"))
INVITE = {
    "invite_id": ref("Id"), "administrator": {
        "type": "boolean", "description": "it makes its account an administrator"},
    "state": {"type": "string", "enum": ["valid", "used", "expired", "revoked"]},
    "uses": COUNT, "uses_max": COUNT, "created_at": ref("Time"),
    "created_by": {**nullable(ref("Id")), "description": "null: the operator"},
    "expires_at": nullable(ref("Time")), "note": {"type": "string"}}

SCHEMAS = {
    "Id": ID, "ConversationId": CONVERSATION_ID, "Time": TIME, "Settings": SETTINGS,
    "Message": MESSAGE, "Preview": PREVIEW, "Conversation": CONVERSATION, "Error": ERROR,
    "User": USER,
    "Presence": obj({
        "user_id": ref("Id"), "status": {"type": "string", "enum": ["online", "away", "offline"]},
        "last_seen": {**nullable(ref("Time")), "description": "null while online, or not told"}}),
    "Sent": obj({
        "message_id": ref("Id"), "messageId": ref("Id"),
        "conversation_id": ref("ConversationId"), "seq": {**SEQ, "minimum": 1},
        "timestamp": ref("Time"), "sent_at": ref("Time"),
        "status": {"type": "string", "enum": ["sent"]}, "client_msg_id": {"type": "string"},
        "duplicate": {"type": "boolean",
                      "description": "the answer is that to the first send with this key"}}),
    "Change": obj({"conversation_id": ref("ConversationId"), "seq": SEQ},
                  description="where the change stands in the log of the conversation, or of one's "
                              "own"),
    "Group": obj({"group_id": ref("ConversationId"), "conversation_id": ref("ConversationId"),
                  "created_at": ref("Time")}),
    "MessagePage": page("messages", ref("Message"), covered=array(
        SEQ, minItems=2, maxItems=2,
        description="the seqs for which `messages` is complete: from, to; nothing when from is "
                    "above to")),
    "ConversationPage": page("conversations", ref("Conversation")),
    "MemberPage": page("members", obj({
        "user_id": ref("Id"), "username": nullable({"type": "string"}),
        "display_name": nullable({"type": "string"}), "role": ROLE}), count=COUNT),
    "BlockPage": page("blocks", obj({"user_id": ref("Id")})),
    "ReceiptPage": page("receipts", obj({
        "user_id": ref("Id"), "status": STATUS, "delivered_at": nullable(ref("Time")),
        "read_at": nullable(ref("Time"))}),
        message_id=ref("Id"), conversation_id=ref("ConversationId"), seq={**SEQ, "minimum": 1},
        recipients={**COUNT, "description": "members but the sender who may see it"},
        delivered=COUNT, read=COUNT),
    "Token": obj({
        "access_token": {"type": "string", "description": "for `Authorization: Bearer`"},
        "token": {"type": "string", "description": alias("access_token")},
        "token_type": {"type": "string", "enum": ["Bearer"]},
        "expires_in": {**COUNT, "description": "seconds"}, "expires_at": ref("Time"),
        "refresh_token": {"type": "string", "description": "not with `cookie`"},
        "user_id": ref("Id"), "device_id": ref("Id")}, optional=("refresh_token",)),
    "Device": obj({
        "device_id": ref("Id"), "name": {"type": "string"},
        "current": {"type": "boolean", "description": "the one that asks"},
        "created_at": ref("Time"), "last_used_at": ref("Time"),
        "last_address": {"type": "string"}}),
    "Invite": obj(INVITE),
    "InviteMade": obj({**INVITE, "code": {"type": "string"}, "link": {"type": "string"}}),
    "InvitePage": page("invites", ref("Invite")),
    "UserPage": page("users", ref("User")),
    "AdminUserPage": page("users", obj(
        {**USER["properties"], "devices": COUNT}, optional=("deleted", "privacy"))),
    "ServerSettings": obj({
        "registration": {"type": "string", "enum": ["open", "invite", "closed"]},
        "server_name": {"type": "string"}}),
    "AuditPage": page("records", obj({
        "audit_id": ref("Id"), "at": ref("Time"),
        "actor": {**nullable(ref("Id")), "description": "null: the operator or the server"},
        "action": {"type": "string"}, "target": nullable(ref("Id")),
        "detail": {"type": "string"}, "address": {"type": "string"}})),
    "Server": obj({
        "name": {"type": "string"}, "version": {"type": "string"},
        "registration": {"type": "string", "enum": ["open", "invite", "closed"]},
        "limits": obj({key: COUNT for key in (
            "text_bytes", "frame_bytes", "request_bytes", "inflight", "password_bytes_min",
            "password_bytes_max", "devices", "access_token_seconds")}),
        "features": array({"type": "string"})}),
    "Ready": obj({"status": {"type": "string", "enum": ["ready"]},
                  "notices": array({"type": "string"})}),
}
# Not in every answer, as page() has it.
SCHEMAS["MessagePage"]["properties"]["changes"] = array(
    {"type": "object", "required": ["event", "seq"], "properties": {
        "event": {"type": "string", "enum": ["membership", "conversation"]},
        "seq": {**SEQ, "minimum": 1}}},
    description="only when asked for: events as the socket has them, without the name that a "
                "group has by now")
