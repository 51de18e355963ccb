"""The REST calls: one row each, and how a row becomes an operation of OpenAPI 3.1."""

import re

from api import socket as events
from api.schemas import (COUNT, PRIVACY, ROLE, SCHEMAS, SETTING_VALUES, array, nullable, obj, ref)

USERNAME = "^(?![0-9]+$)[A-Za-z0-9_.\\[\\]\\\\^{|}`-]{1,50}$"
# Of a new account: not the id of a conversation either.
NEW_USERNAME = USERNAME.replace("(?![0-9]+$)", "(?![0-9]+$)(?![0-9A-Fa-f]{32}$)")
NO_CONTROLS = "^[^\\u0000-\\u001f\\u007f]*$"
NO_ZERO = "^[^\\u0000]*$"

# In a path {name} or {name:kind}: one path has one name for a place, whatever a call takes there.
PLACE = re.compile(r"{(\w+)(?::(\w+))?}")
# What may be in a path: kind → (schema, description).
PATH = {
    "conversation_id": (ref("ConversationId"), "the conversation"),
    "group_id": (ref("ConversationId"), "the group, which is a conversation"),
    "message_id": (ref("Id"), "the message"),
    "chat": ({"type": "string", "example": "bob"},
             "a conversation's id; or a person's id or username, for the direct conversation with "
             "them"),
    "chat_or_message": ({"type": "string", "example": "bob"},
                        "a message's id, or as for `/conversations/{conversation_id}/messages`"),
    "user": ({"type": "string", "example": "bob"}, "a person's id or username"),
    "member_id": (ref("Id"), "the person's id"),
    "device_id": (ref("Id"), "the device"),
    "invite_id": (ref("Id"), "the invite"),
    "session_id": ({"type": "string", "pattern": "^[0-9a-f]{16}$", "example": "0080000005000001"},
                   "the session, from its `hello`"),
}
NAME = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": NO_CONTROLS,
        "example": "Garden club"}
CONTENT = {"type": "string", "minLength": 1, "maxLength": 16384, "pattern": NO_ZERO,
           "description": "the text, in UTF-8 at most as many bytes as `hello` and `/server` say"}
PERSON = {"type": "string", "example": "bob", "description": "an id or a username"}
NUMBER_OF_PAGE = {"type": "integer", "minimum": 1}
HISTORY_PLACE = {"type": "string", "example": "120",
                 "description": "a seq, a message's id, or an RFC 3339 time"}


def limit(most, default):
    return ("limit", {**NUMBER_OF_PAGE, "default": default},
            f"how many, at most; above {most} it is {most}")


CURSOR = ("cursor", {"type": "string"}, "the `next_cursor` of the page before")
HISTORY_QUERY = [
    ("before", HISTORY_PLACE, "messages before this place, the newest of them"),
    ("after", {**HISTORY_PLACE, "description": "as for before, or 0: from the beginning"},
     "messages after this place, the oldest of them"),
    ("around", HISTORY_PLACE, "half of them up to this place, half after it"),
    limit(1000, 50),
    ("offset", COUNT, "leaves out so many of the newest messages; not with the others"),
    ("changes", {"type": "boolean", "default": False},
     "also what changed the conversation between them, in `changes`; `limit` counts both"),
    ("aliases", {"type": "boolean", "default": True},
     "false: each member of a message under its first name only, which is less than half to send "
     "and to read"),
]

SEND = {
    "type": "object",
    "properties": {
        **{key: nullable({"type": "string", "description": about}) for key, about in (
            ("conversation_id", "where to; or chatId, groupId, group_id"),
            ("chatId", "the same as `conversation_id`"),
            ("groupId", "the same as `conversation_id`"),
            ("group_id", "the same as `conversation_id`"),
            ("toUserId", "to whom: an id or a username; the first message makes the "
                         "conversation"),
            ("to", "the same as `toUserId`"))},
        # Empty is the same as not there.
        "content": nullable({**CONTENT, "minLength": 0}),
        **{key: nullable({**CONTENT, "minLength": 0, "description": "the same as `content`"})
           for key in ("message", "text")},
        **{key: {"type": ["string", "null"], "enum": ["text", None]}
           for key in ("type", "message_type", "messageType")},
        "client_msg_id": {"type": ["string", "null"], "minLength": 1, "maxLength": 64,
                          "pattern": "^[ -~]*$",
                          "description": "one's own key of the message: the same key again "
                                         "answers as the first time, and sends nothing"},
        "reply_to": nullable({**ref("Id"), "description": "the message replied to"}),
        "mentions": {"type": ["array", "null"], "items": ref("Id"), "maxItems": 100},
    },
    "description": "One of the names of the target and one of those of the text have to be there. "
                   "Given under two names, the values have to be the same.",
    "examples": [{"conversation_id": "5e20b16ab24fd0d98f8bd8cc3a62a08d", "content": "Hello",
                  "message_type": "text", "client_msg_id": "5b8c1f0e-1"},
                 {"toUserId": "bob", "message": "Hello", "type": "text", "groupId": None}],
}
SETTINGS_SOME = {"type": "object", "properties": {
    key: {"type": "string", "enum": values} for key, values in SETTING_VALUES.items()}}

PASSWORD = {"type": "string", "minLength": 8, "maxLength": 256, "pattern": NO_ZERO,
            "description": "8 to 256 bytes, and not one that is guessed easily"}
DISPLAY = nullable({"type": "string", "maxLength": 100, "pattern": NO_CONTROLS})
EMAIL = nullable({"type": "string", "maxLength": 254,
                  "pattern": "^$|^[!#-+\\--:=?A-~]+@[!#-+\\--:=?A-~]+$",
                  "example": "bob@example.org"})
TOKEN_TEXT = {"type": "string", "maxLength": 512}
NEW_USER = {
    "username": {"type": "string", "pattern": NEW_USERNAME}, "password": PASSWORD,
    "display_name": DISPLAY, "email": EMAIL}
INVITE = obj({
    "uses_max": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 1},
    "expires_in": nullable({"type": "integer", "minimum": 60, "maximum": 31536000,
                            "default": 604800, "description": "seconds; null: for ever"}),
    "note": nullable({"type": "string", "maxLength": 100, "pattern": NO_CONTROLS}),
}, optional=("uses_max", "expires_in", "note"))
PEOPLE_QUERY = ("query", {"type": "string", "maxLength": 200},
                "words, each the beginning of one of the username or the display name; without "
                "it, all by name")
REGISTRATION = {"type": "string", "enum": ["open", "invite", "closed"]}

EVENT_IN = {"type": "object", "properties": {"event": {"type": "string"}}}

# Errors that any call may answer, by what it does.
ANY = ["invalid", "busy", "closed", "out_of_memory", "storage_failed", "corrupt", "forbidden_host"]
SIGNED_IN = ["unauthenticated"]
WITH_BODY = ["too_large"]
WRITES = ["storage_full", "limit_reached", "again"]


class Call:
    def __init__(self, method, path, name, tag, summary, answer, *, status=200, query=(),
                 body=None, errors=(), open_to_all=False, writes=None, about="",
                 media="application/json", example=None):
        self.method, self.path, self.name, self.tag, self.summary = method, path, name, tag, summary
        self.answer, self.status, self.query, self.body = answer, status, query, body
        self.errors, self.open_to_all, self.about = errors, open_to_all, about
        self.writes = method != "GET" if writes is None else writes
        self.media, self.example = media, example

    def takes_key(self):
        return self.method == "POST" and not self.open_to_all

    def statuses(self):
        """Answers of success: most have one."""
        return self.status if isinstance(self.status, dict) else {self.status: self.answer}

    def error_codes(self):
        codes = [*ANY, *self.errors]
        codes += [] if self.open_to_all else SIGNED_IN
        codes += WITH_BODY if self.body else []
        codes += ["conflict", "duplicate_key"] if self.takes_key() else []
        codes += WRITES if self.writes else []
        return codes


V1 = "/api/v1"
ADMIN = "administration"
CALLS = [
    Call("POST", f"{V1}/accounts", "createAccount", "accounts", "Register", "User", status=201,
         open_to_all=True, errors=["exists", "invite_invalid", "registration_closed",
                                   "too_many_attempts", "weak_password"],
         body=obj({**NEW_USER, "invite": nullable({
             "type": "string", "description": "the code of an invite, needed unless registration "
                                              "is open"})},
                  optional=("display_name", "email", "invite"))),
    Call("POST", f"{V1}/tokens", "createToken", "accounts", "Sign in", "Token", status=201,
         open_to_all=True, errors=["unauthenticated", "forbidden", "forbidden_origin",
                                   "too_many_attempts"],
         about="403 `forbidden`: the account is suspended.",
         body=obj({
             "username": {"type": "string", "pattern": USERNAME}, "password": PASSWORD,
             "device_name": nullable({"type": "string", "maxLength": 50, "pattern": NO_CONTROLS}),
             "cookie": {"type": "boolean",
                        "description": "for pages: the refresh token comes as a cookie; needs the "
                                       "header `X-Confab-Client: web`"},
         }, optional=("device_name", "cookie"))),
    Call("POST", f"{V1}/tokens/refresh", "refreshToken", "accounts",
         "Exchange the refresh token for new tokens", "Token", open_to_all=True,
         errors=["unauthenticated", "forbidden_origin"],
         about="Each refresh token is used once. Sent again within `refresh-grace` (the answer was "
               "lost) it gets the same successor; later, or when it is older, somebody else has "
               "a copy: the device is signed out. A page sends no body: its token is in the "
               "cookie.",
         body=obj({"refresh_token": TOKEN_TEXT})),
    Call("DELETE", f"{V1}/tokens/current", "deleteCurrentToken", "accounts",
         "Sign this device out", None, status=204),
    Call("POST", f"{V1}/tickets", "createTicket", "accounts",
         "A ticket for `/ws?ticket=`, once, within 30 s",
         obj({"ticket": {"type": "string"}, "expires_in": COUNT}), status=201),
    Call("GET", f"{V1}/devices", "listDevices", "accounts", "One's devices",
         obj({"devices": array(ref("Device"))})),
    Call("PATCH", f"{V1}/devices/{{device_id}}", "renameDevice", "accounts", "Name a device",
         "Device", errors=["not_found"],
         body=obj({"name": nullable({"type": "string", "maxLength": 50,
                                     "pattern": NO_CONTROLS})})),
    Call("DELETE", f"{V1}/devices/{{device_id}}", "revokeDevice", "accounts",
         "Sign a device out", None, status=204, errors=["not_found"]),
    Call("GET", f"{V1}/users", "searchUsers", "people", "People by name", "UserPage",
         query=[PEOPLE_QUERY, limit(100, 20), CURSOR], errors=["limit_reached"]),
    Call("GET", f"{V1}/users/me", "getMe", "accounts", "Oneself", "User"),
    Call("PATCH", f"{V1}/users/me", "changeMe", "accounts", "Change one's profile", "User",
         body=obj({"display_name": DISPLAY, "about": nullable({
             "type": "string", "maxLength": 250, "pattern": NO_CONTROLS}), "email": EMAIL,
             "privacy": nullable({**PRIVACY, "required": []})},
             optional=("display_name", "about", "email", "privacy")),
         errors=["conflict", "limit_reached"],
         about="Who hides something does not see it of others. `conflict`: another change of "
               "one's privacy is under way."),
    Call("DELETE", f"{V1}/users/me", "deleteMe", "accounts", "Delete one's account", None,
         status=204, errors=["forbidden", "too_many_attempts", "not_found", "last_admin"],
         about="Signed out everywhere at once; shortly after, one has left all groups and direct "
               "conversations, which the others keep. The name stays taken.",
         body=obj({"password": PASSWORD})),
    Call("PUT", f"{V1}/users/me/password", "changePassword", "accounts",
         "Change one's password", None, status=204,
         errors=["forbidden", "too_many_attempts", "weak_password", "not_found"],
         about="All other devices are signed out.",
         body=obj({"password": PASSWORD, "new_password": PASSWORD})),
    Call("GET", f"{V1}/users/{{user}}", "getUser", "accounts", "A person", "User",
         errors=["not_found"]),
    Call("GET", f"{V1}/users/{{user}}/presence", "getPresence", "people", "How somebody is",
         "Presence", errors=["not_found"],
         about="Of those whom one may not see it says `offline`, as of somebody who does not "
               "exist."),
    Call("POST", f"{V1}/presence", "postPresence", "people", "Say how one is", None, status=204,
         errors=["forbidden"],
         about="For clients without a socket; it counts for 60 s. `device_id` is the token's.",
         body=obj({"status": {"type": "string", "enum": ["online", "away", "offline"]},
                   "device_id": nullable(ref("Id"))}, optional=("device_id",))),
    Call("POST", f"{V1}/invites", "createInvite", "invites", "Invite people", "InviteMade",
         status=201, body=INVITE, errors=["not_found"]),
    Call("GET", f"{V1}/invites", "listInvites", "invites", "One's invites, newest first",
         "InvitePage", query=[limit(100, 50), CURSOR]),
    Call("DELETE", f"{V1}/invites/{{invite_id}}", "revokeInvite", "invites", "End an invite",
         None, status=204, errors=["not_found"]),
    Call("POST", f"{V1}/invites/check", "checkInvite", "invites", "Can this code be used?",
         obj({"valid": {"type": "boolean"}, "administrator": {"type": "boolean"},
              "server_name": {"type": "string"}}), writes=False, open_to_all=True,
         body=obj({"code": {"type": "string"}})),
    Call("GET", f"{V1}/server", "getServer", "operation", "What this server is", "Server",
         open_to_all=True),

    Call("GET", f"{V1}/admin/users", "adminListUsers", ADMIN, "People", "AdminUserPage",
         errors=["forbidden"], query=[PEOPLE_QUERY, (
             "status", {"type": "string", "enum": ["active", "suspended", "deleted"]},
             "only these"), limit(100, 50), CURSOR]),
    Call("POST", f"{V1}/admin/users", "adminCreateUsers", ADMIN, "Make accounts, up to 1,000",
         obj({"results": array(obj({
             "username": {"type": "string"}, "user_id": ref("Id"),
             "error": obj({"code": {"type": "string"}, "message": {"type": "string"},
                           "field": {"type": "string"}}, optional=("field",))},
             optional=("user_id", "error")))}),
         errors=["forbidden"], about="Each has its own result, in the order of the request.",
         body=obj({"users": array({"type": "object", "properties": {
             **NEW_USER, "password_hash": {
                 "type": "string", "maxLength": 127,
                 "description": "instead of a password: argon2id, encoded; up to 256 MiB, "
                                "and memory times passes up to 1 GiB"},
             "role": {"type": "string", "enum": ["admin", "member"]}},
             "required": ["username"]}, minItems=1, maxItems=1000)})),
    Call("PATCH", f"{V1}/admin/users/{{member_id}}", "adminChangeUser", ADMIN,
         "Suspend, let in again, change the role", "User",
         errors=["forbidden", "not_found", "last_admin"],
         body={"type": "object", "anyOf": [{"required": ["status"]}, {"required": ["role"]}],
               "properties": {"status": {"type": "string", "enum": ["active", "suspended"]},
                              "role": {"type": "string", "enum": ["admin", "member"]}}}),
    Call("PUT", f"{V1}/admin/users/{{member_id}}/password", "adminResetPassword", ADMIN,
         "Set a new password", obj({"password": {"type": "string"}}, optional=("password",)),
         errors=["forbidden", "not_found", "weak_password"],
         about="Without one in the body it is made, and in the answer. The person is signed out "
               "everywhere.",
         body=obj({"password": nullable(PASSWORD)}, optional=("password",))),
    Call("DELETE", f"{V1}/admin/users/{{member_id}}", "adminDeleteUser", ADMIN,
         "Delete an account", None, status=204,
         errors=["forbidden", "not_found", "last_admin"],
         about="The name stays taken; credentials and profile go; the person leaves all "
               "conversations shortly after."),
    Call("GET", f"{V1}/admin/settings", "adminGetSettings", ADMIN, "Settings", "ServerSettings",
         errors=["forbidden"]),
    Call("PATCH", f"{V1}/admin/settings", "adminChangeSettings", ADMIN, "Change settings",
         "ServerSettings", errors=["forbidden"],
         body=obj({"registration": REGISTRATION, "server_name": nullable(
             {"type": "string", "maxLength": 50, "pattern": NO_CONTROLS})},
             optional=("registration", "server_name"))),
    Call("POST", f"{V1}/admin/link", "adminCreateLink", ADMIN,
         "A link that makes its account an administrator",
         obj({"link": {"type": "string"}, "code": {"type": "string"}, "expires_at": ref("Time")}),
         status=201, errors=["forbidden"], about="Once, within 24 hours; an earlier one ends."),
    Call("GET", f"{V1}/admin/audit", "adminListAudit", ADMIN, "The audit record, newest first",
         "AuditPage", errors=["forbidden"], query=[limit(200, 50), CURSOR]),
    Call("POST", f"{V1}/admin/invites", "adminCreateInvite", ADMIN, "Invite people",
         "InviteMade", status=201, errors=["forbidden", "not_found"], body=INVITE),
    Call("GET", f"{V1}/admin/invites", "adminListInvites", ADMIN, "Everybody's invites",
         "InvitePage", errors=["forbidden"], query=[limit(100, 50), CURSOR]),
    Call("DELETE", f"{V1}/admin/invites/{{invite_id}}", "adminRevokeInvite", ADMIN,
         "End anybody's invite", None, status=204, errors=["forbidden", "not_found"]),

    Call("GET", f"{V1}/conversations", "listConversations", "conversations",
         "The inbox: one's conversations, the last active first", "ConversationPage",
         query=[limit(200, 50), CURSOR]),
    Call("GET", f"{V1}/conversations/{{conversation_id:chat}}", "getConversation", "conversations",
         "One conversation", "Conversation", errors=["not_found"]),
    Call("GET", f"{V1}/conversations/{{conversation_id:chat}}/messages", "listMessages", "messages",
         "History, oldest first", "MessagePage", query=HISTORY_QUERY, errors=["not_found"],
         about="Without `before`, `after` or `around`: the newest. `next_cursor` is for `before`, "
               "or for `after` when that was given."),
    Call("GET", f"{V1}/conversations/{{conversation_id}}/messages/{{message_id}}",
         "getConversationMessage", "messages", "One message", "Message", errors=["not_found"]),
    Call("GET", f"{V1}/conversations/{{conversation_id}}/messages/{{message_id}}/receipts",
         "listConversationReceipts", "messages", "Who has got and read a message", "ReceiptPage",
         query=[limit(1000, 1000), CURSOR], errors=["not_found"],
         about="In conversations of up to 1,000 members; above only the counts."),
    Call("POST", f"{V1}/conversations/{{conversation_id}}/read", "readConversation",
         "conversations", "Have read up to here", "Change", errors=["not_found"],
         about="Not above the conversation's `head`.",
         body=obj({"seq": {"type": "integer", "minimum": 1, "maximum": 2 ** 63 - 1,
                           "example": 7}})),
    Call("PUT", f"{V1}/conversations/{{conversation_id}}/mute", "muteConversation",
         "conversations", "Mute, or no longer", "Change", errors=["not_found"],
         body=obj({"until": nullable({"type": "string", "format": "date-time",
                                      "example": "2030-01-01T00:00:00Z",
                                      "description": "from 1970 on; null: no longer muted"})})),
    Call("PUT", f"{V1}/conversations/{{conversation_id}}/pin", "pinConversation",
         "conversations", "Pin, or no longer", "Change", errors=["not_found"],
         body=obj({"pinned": {"type": "boolean"}})),

    Call("PATCH", f"{V1}/conversations/{{conversation_id}}", "changeConversation",
         "conversations", "Keep a draft, or none", "Change", errors=["not_found"],
         about="For all of one's devices, until one of them sends in this conversation. Up to 200 "
               "drafts and 128 KiB of them.",
         body=obj({"draft": nullable({"type": "string", "maxLength": 16384, "pattern": NO_ZERO,
                                      "description": "in UTF-8 as long as a message may be; empty "
                                                     "or null: none"})})),

    Call("POST", f"{V1}/messages", "sendMessage", "messages", "Send", "Sent",
         status={201: "Sent", 200: "Sent"}, body=SEND,
         errors=["not_found", "forbidden", "blocked", "duplicate_key", "account_deleted"],
         about="200 when it was a repetition of a `client_msg_id`."),
    Call("POST", f"{V1}/messages/read", "readMessages", "messages",
         "Have read these, and what came before them", obj({}), errors=["not_found"],
         body=obj({"message_ids": array(ref("Id"), maxItems=256)})),
    Call("GET", f"{V1}/messages/{{message_id:chat_or_message}}", "getMessages", "messages",
         "One message, or history", {"oneOf": [ref("Message"), ref("MessagePage")]},
         query=HISTORY_QUERY, errors=["not_found"]),
    Call("PATCH", f"{V1}/messages/{{message_id}}", "editMessage", "messages",
         "Edit one's own message", "Change",
         errors=["not_found", "forbidden", "blocked", "too_late", "account_deleted"],
         about="Within `edit-window` after sending, 24 hours unless set otherwise.",
         body={"type": "object", "properties": {
             "content": CONTENT, "message": CONTENT, "text": CONTENT},
             "anyOf": [{"required": [name]} for name in ("content", "message", "text")],
             "description": "the text under one of its names"}),
    Call("DELETE", f"{V1}/messages/{{message_id}}", "deleteMessage", "messages",
         "Delete for everyone or for oneself", "Change", errors=["not_found", "forbidden"],
         query=[("for", {"type": "string", "enum": ["everyone", "me"], "default": "everyone"},
                 "for everyone: by its author, or in a group from a moderator on")]),
    Call("GET", f"{V1}/messages/{{message_id}}/receipts", "listReceipts", "messages",
         "Who has got and read a message", "ReceiptPage", query=[limit(1000, 1000), CURSOR],
         errors=["not_found"]),

    Call("POST", f"{V1}/groups", "createGroup", "groups", "Create a group", "Group", status=201,
         errors=["not_found", "exists", "account_deleted"], body=obj({
             "name": NAME,
             "member_ids": nullable(array(PERSON, maxItems=999)),
             "members": {**nullable(array(PERSON, maxItems=999)),
                         "description": "the same as `member_ids`"},
             "settings": SETTINGS_SOME,
         }, optional=("member_ids", "members", "settings"))),
    Call("GET", f"{V1}/groups/{{group_id:chat}}", "getGroup", "groups",
         "The same as `/conversations/{conversation_id}`", "Conversation", errors=["not_found"]),
    Call("PATCH", f"{V1}/groups/{{group_id}}", "changeGroup", "groups",
         "Rename, change the settings", "Change",
         errors=["not_found", "forbidden", "conflict"],
         about="By its admins and owners.",
         body={"type": "object", "minProperties": 1, "anyOf": [
             {"required": ["name"]}, {"required": ["settings"]}],
             "properties": {"name": NAME, "settings": ref("Settings")}}),
    Call("POST", f"{V1}/groups/{{group_id}}/leave", "leaveGroup", "groups", "Leave", "Change",
         errors=["not_found", "conflict"]),
    Call("GET", f"{V1}/groups/{{group_id}}/members", "listMembers", "groups", "Members",
         "MemberPage", query=[limit(1000, 1000), CURSOR], errors=["not_found"]),
    Call("POST", f"{V1}/groups/{{group_id}}/members", "addMembers", "groups", "Add members",
         "Change", errors=["not_found", "forbidden", "exists", "conflict", "account_deleted"],
         body={"type": "object", "anyOf": [{"required": ["user_id"]}, {"required": ["user_ids"]}],
               "properties": {"user_id": PERSON,
                              "user_ids": array(PERSON, minItems=1, maxItems=1000)}}),
    Call("PATCH", f"{V1}/groups/{{group_id}}/members/{{user}}", "changeMember", "groups",
         "Give a member another role", "Change",
         errors=["not_found", "forbidden", "exists", "conflict"], about="By owners. The roles, from the most to the least: owner, admin, moderator, member, guest "
               "(docs/users/README.md has what each may).",
         body=obj({"role": ROLE})),
    Call("DELETE", f"{V1}/groups/{{group_id}}/members/{{user}}", "removeMember", "groups",
         "Remove a member, or leave", "Change",
         errors=["not_found", "forbidden", "conflict"]),

    Call("GET", f"{V1}/blocks", "listBlocks", "people", "Whom one blocks", "BlockPage",
         query=[limit(1000, 1000), CURSOR]),
    Call("PUT", f"{V1}/blocks/{{user}}", "block", "people", "Block", "Change",
         errors=["not_found", "exists"],
         about="They cannot send one messages, and learn nothing of what one reads."),
    Call("DELETE", f"{V1}/blocks/{{user}}", "unblock", "people", "Block no longer", "Change",
         errors=["not_found", "exists"]),

    Call("POST", f"{V1}/events", "openEvents", "events", "Open a session without a WebSocket",
         events.payload("event", "hello", events.SERVER["hello"][1]), status=201,
         about="Answers with the session's first event. The session ends when nobody fetches its "
               "events for 60 s; of one device there are at most four for each event loop of the "
               "server, the one that was silent longest makes room. Everything else is as on the "
               "socket.",
         body=obj({"mode": {"type": "string", "enum": ["sse", "poll"],
                            "description": "how its events will be fetched; either way will do"}})),
    Call("GET", f"{V1}/events/{{session_id}}", "fetchEvents", "events",
         "The events of a session, as a stream or by long polling",
         obj({"events": array({"type": "object"}), "last": COUNT}), errors=["not_found"],
         query=[("after", COUNT, "confirms the events up to this number; those behind it come"),
                ("wait", {"type": "integer", "minimum": 0, "default": 25},
                 "seconds to wait for an event, at most 60; not for streams")],
         about="With `Accept: text/event-stream` the answer is a stream of Server-Sent Events, each "
               "with its number in `id` (`Last-Event-ID` is the same as `after`), and a comment "
               "each 15 s (`stream-heartbeat`). Otherwise it is one object: the events behind "
               "`after`, and the number of the last of them. What was not confirmed comes again. "
               "404: there is no such session of this device, or what comes behind `after` is not "
               "kept any more: open another one and `resume`. A later call takes the place of an "
               "earlier one."),
    Call("POST", f"{V1}/events/{{session_id}}", "postEvents", "events",
         "Events of the client, as on the socket", obj({}), status=202,
         errors=["not_found", "busy"],
         about="One event or an array of up to 256; the answers come on the session. One call at a "
               "time: another one meanwhile is `busy`.",
         body={"oneOf": [EVENT_IN, array(EVENT_IN, minItems=1, maxItems=256)]}),
    Call("DELETE", f"{V1}/events/{{session_id}}", "closeEvents", "events", "End a session", None,
         status=204, errors=["not_found"]),

    Call("GET", "/healthz", "health", "operation", "The process runs", {"type": "string"},
         open_to_all=True, media="text/plain; charset=utf-8"),
    Call("GET", "/readyz", "ready", "operation", "The server serves", "Ready", open_to_all=True,
         about="`notices`: what an operator should look at though it serves."),
    Call("GET", "/metrics", "metrics", "operation", "Metrics for Prometheus", {"type": "string"},
         open_to_all=True, errors=["not_found"],
         media="text/plain; version=0.0.4; charset=utf-8",
         about="For clients on this machine, unless `metrics-public` is on."),
]

TAGS = {
    "accounts": "Accounts and signing in", "conversations": "Conversations and the inbox",
    "messages": "Messages and their history", "groups": "Groups and their members",
    "people": "Other people", "invites": "Inviting people",
    "events": "The socket's events for those who cannot have one (docs/api/socket.md)",
    "administration": "For administrators, and on the same machine for who has the operator's key",
    "operation": "For those who run the server",
}
DESCRIPTION = """Confab's REST interface. JSON in and out, UTF-8. Ids are strings, times RFC 3339 \
in UTC. Every error has one shape and a stable code (docs/api/errors.md). What one may not see does \
not exist: unknown and forbidden conversations both answer 404. Unknown fields and query parameters \
are ignored, on both sides (docs/api/compatibility.md). What happens is told live on the socket \
(docs/api/socket.md, asyncapi.json)."""
KEY_HEADER = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "description": "one's own key of this request: the same key with the same body gives the first "
                   "answer again and does nothing; with another body 409 `duplicate_key`"}


def schema_of(answer):
    return ref(answer) if isinstance(answer, str) else answer


def error_responses(call, table):
    by_status = {}
    for code in call.error_codes():
        by_status.setdefault(table[code][0], []).append(code)
    responses = {}
    for status, codes in sorted(by_status.items()):
        codes = sorted(set(codes))
        responses[str(status)] = {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {"application/json": {
                "schema": ref("Error"),
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes}}}}
        if status in (429, 503):
            responses[str(status)]["headers"] = {"Retry-After": {
                "schema": {"type": "integer"}, "description": "seconds"}}
    return responses


def operation(call, table):
    result = {"operationId": call.name, "tags": [call.tag], "summary": call.summary}
    if call.about:
        result["description"] = call.about
    parameters = [{"name": name, "in": "path", "required": True, "schema": PATH[kind or name][0],
                   "description": PATH[kind or name][1], **({"x-kind": kind} if kind else {})}
                  for name, kind in PLACE.findall(call.path)]
    parameters += [{"name": name, "in": "query", "required": False, "schema": schema,
                    "description": about} for name, schema, about in call.query]
    parameters += [KEY_HEADER] if call.takes_key() else []
    if parameters:
        result["parameters"] = parameters
    if call.body:
        result["requestBody"] = {"required": True,
                                 "content": {"application/json": {"schema": call.body}}}
    if call.open_to_all:
        result["security"] = []
    responses = {}
    for status, answer in call.statuses().items():
        responses[str(status)] = {"description": call.summary}
        if answer is not None:
            responses[str(status)]["content"] = {call.media: {"schema": schema_of(answer)}}
    result["responses"] = {**responses, **error_responses(call, table)}
    return result


def document(table):
    paths = {}
    for call in CALLS:
        path = PLACE.sub(r"{\1}", call.path)
        paths.setdefault(path, {})[call.method.lower()] = operation(call, table)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Confab", "version": "1", "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "examples": {code: {"value": {"error": {"code": code, "message": text}}}
                         for code, (_, text) in table.items()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
