"""docs/api/openapi.json against the running server, by generated requests.

For every operation: requests that its schemas allow (from the middle and from the boundaries), and
requests that they do not allow (one thing is made wrong). Every answer must be one that the
document has: its status, its media type, a body valid for its schema with nothing undocumented in
it, an error code that is listed for that status. What is allowed must not be called invalid, what
is not must be refused, and nothing may end in a 5xx.

The requests are the same in each run. CONFAB_OPENAPI_EXAMPLES makes more of them for each
operation, CONFAB_OPENAPI_SEED others.
"""

import copy
import datetime
import http.client
import json
import os
import re
import subprocess
import tempfile
from urllib.parse import quote, urlencode

import hypothesis
import hypothesis.configuration
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import harness

DOCUMENT = json.loads((harness.ROOT / "docs" / "api" / "openapi.json").read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
EXAMPLES = int(os.environ.get("CONFAB_OPENAPI_EXAMPLES", "8"))
SEED = os.environ.get("CONFAB_OPENAPI_SEED")
OPERATIONS = {op["operationId"]: (method.upper(), path, op)
              for path, item in DOCUMENT["paths"].items() for method, op in item.items()}
NOBODY = "0123456789abcdef0123456789abcdef"
NO_ID = "4611686018427387903"
# What it would otherwise keep in a folder of the project.
hypothesis.configuration.set_hypothesis_home_dir(
    os.path.join(tempfile.gettempdir(), f"confab-hypothesis-{os.getuid()}"))
STATS = {"requests": 0, "operations": set(), "statuses": {}}


# -- schemas ------------------------------------------------------------------------------------


def resolve(schema):
    while "$ref" in schema:
        schema = {**SCHEMAS[schema["$ref"].rsplit("/", 1)[1]],
                  **{k: v for k, v in schema.items() if k != "$ref"}}
    return schema


def whole(schema, closed):
    """The schema without references; `closed`: objects have nothing but what they name."""
    schema = resolve(schema)
    result = {}
    for key, value in schema.items():
        if key in ("oneOf", "anyOf"):
            result[key] = [whole(v, closed) for v in value]
        elif key == "properties":
            result[key] = {k: whole(v, closed) for k, v in value.items()}
        elif key == "items":
            result[key] = whole(value, closed)
        else:
            result[key] = copy.deepcopy(value)
    if closed and "properties" in result:
        result["additionalProperties"] = False
    return result


def is_time(text):
    match = re.fullmatch(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(\.\d+)?([Zz]|[+-]\d{2}:\d{2})",
                         text, re.ASCII)
    if not match:
        return False
    try:
        return datetime.datetime.fromisoformat(f"{match[1]} {match[2]}").year >= 1970
    except ValueError:
        return False


FORMATS = jsonschema.FormatChecker(formats=[])
FORMATS.checks("date-time")(lambda v: not isinstance(v, str) or is_time(v))


def validator(schema, closed=False):
    return jsonschema.Draft202012Validator(whole(schema, closed), format_checker=FORMATS)


# -- the world ----------------------------------------------------------------------------------


class World:
    """A server with people, groups and messages, and lists of what there is to name."""

    def __init__(self, server):
        self.server = server
        self.connection = None
        self.events = None
        self.alice, self.bob, self.carol = (server.register(n) for n in ("alice", "bob", "carol"))
        people = [self.alice, self.bob, self.carol]
        self.operator = (server.data / "operator.key").read_text()
        self.victims = [server.register(f"victim{i}").user_id for i in range(8)]
        for _ in range(4):
            server.login("alice")
        self.devices = [d["device_id"] for d in
                        self.alice.http("GET", "/api/v1/devices").json["devices"]
                        if not d["current"]]
        self.people = [p.user_id for p in people] + [p.username for p in people] + ["Bob"]
        self.groups = [self.group(self.alice, self.bob) for _ in range(6)]
        self.groups += [self.group(self.bob, self.alice) for _ in range(3)]
        sent = [self.alice.send("to bob", to="bob"), self.bob.send("to alice", to="alice"),
                self.alice.send("to myself", to="alice")]
        self.conversations = [*self.groups, sent[0].json["conversation_id"],
                              sent[2].json["conversation_id"]]
        self.messages = [s.json["message_id"] for s in sent]
        for i in range(24):
            who = (self.alice, self.bob)[i % 2]
            self.messages.append(who.send(f"message {i}", conversation_id=self.groups[i % 9])
                                 .json["message_id"])
        foreign = self.group(self.carol)
        self.hidden_conversations = [foreign, NOBODY]
        self.hidden_messages = [self.carol.send("x", conversation_id=foreign).json["message_id"],
                                NO_ID, "1"]

    def session(self):
        """One without a WebSocket that is there."""
        if self.events:
            path = f"/api/v1/events/{self.events}"
            if self.alice.http("POST", path, {"event": "heartbeat"}).status == 202:
                return self.events
        answer = self.alice.http("POST", "/api/v1/events", {"mode": "poll"})
        assert answer.status == 201, answer.body
        self.events = answer.json["session_id"]
        return self.events

    @staticmethod
    def group(owner, *members):
        answer = owner.http("POST", "/api/v1/groups", {
            "name": "a group", "member_ids": [m.user_id for m in members]})
        assert answer.status == 201, answer.body
        return answer.json["group_id"]

    def request(self, method, path, headers, body):
        """On one connection as long as that lasts; a body that is not bytes goes as JSON."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port,
                                                             timeout=harness.DEADLINE_S)
            try:
                self.connection.request(method, path, body, headers)
                answer = self.connection.getresponse()
                answer = harness.Response(answer.status, answer.headers, answer.read())
                break
            except (http.client.HTTPException, OSError):
                self.connection.close()
                self.connection = None
                if attempt == 2:
                    raise
        if answer.headers.get("Connection", "").lower() == "close":
            self.connection.close()
            self.connection = None
        return answer


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("openapi")
    server = harness.Server(folder / "data", folder / "confabd.log", ["--shards", "2"])
    try:
        server.start()
        new = World(server)
        yield new
        if new.connection:
            new.connection.close()
        server.stop()
    finally:
        server.kill()
        print(f"openapi: {len(STATS['operations'])} operations, {STATS['requests']} requests, "
              f"by status {dict(sorted(STATS['statuses'].items()))}")


# -- values -------------------------------------------------------------------------------------

IDS_OF_CONVERSATIONS = {"conversation_id", "chatId", "groupId", "group_id"}
PEOPLE = {"user", "user_id", "user_ids", "member_ids", "members", "toUserId", "to", "mentions"}
IDS_OF_PEOPLE = {"mentions"}
MESSAGES = {"message_id", "message_ids", "reply_to"}


def named(world, name, schema):
    """What exists, what does not, and what one may not see, for fields that name something."""
    if name in IDS_OF_CONVERSATIONS:
        return st.sampled_from(world.conversations * 3 + world.hidden_conversations)
    if name == "member_id":
        return st.sampled_from(world.victims + [NO_ID])
    if name == "device_id":
        return st.sampled_from(world.devices + [NO_ID])
    if name in IDS_OF_PEOPLE:
        return st.sampled_from([p for p in world.people if p.isdigit()] + [NO_ID])
    if name in PEOPLE:
        return st.sampled_from(world.people * 3 + ["nobody", NO_ID])
    if name in MESSAGES:
        return st.sampled_from(world.messages * 3 + world.hidden_messages)
    if name == "chat":
        return st.one_of(named(world, "conversation_id", schema), named(world, "user", schema))
    if name == "chat_or_message":
        return st.one_of(named(world, "chat", schema), named(world, "message_id", schema))
    if name == "session_id":
        return st.sampled_from([True, True, False]).map(
            lambda there: world.session() if there else "0" * 16)
    if name == "wait" or (name == "after" and schema["type"] == "integer"):
        return st.just(0)
    if name == "seq":
        return st.sampled_from([1, 2, 3])
    if name in ("before", "after", "around"):
        return st.one_of(st.integers(1, 40).map(str), named(world, "message_id", schema),
                         times(), st.just("9223372036854775807"))
    return None


def times():
    return st.datetimes(min_value=datetime.datetime(1970, 1, 1),
                        max_value=datetime.datetime(9998, 12, 31)).map(
        lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ") if t.year >= 1000
        else f"{t.year:04d}" + t.strftime("-%m-%dT%H:%M:%SZ"))


def texts(schema):
    low, high = schema.get("minLength", 0), schema.get("maxLength", 40)
    if "pattern" in schema:
        plain = st.from_regex(schema["pattern"], fullmatch=True)
    else:
        plain = st.text(max_size=40)
    plain = plain.map(lambda s: s[:high]).filter(
        lambda s: len(s) >= low and not any(0xd800 <= ord(c) <= 0xdfff for c in s))
    edges = [n for n in (low, high) if n <= 16384]
    at_edge = st.sampled_from(edges).map(lambda n: "x" * n)
    if schema.get("pattern"):
        at_edge = at_edge.filter(lambda s: re.search(schema["pattern"], s))
    return st.one_of(plain, at_edge)


def allowed(world, schema, name=None):
    """Values that the schema allows, its boundaries among them."""
    schema = resolve(schema)
    if "oneOf" in schema:
        return st.one_of([allowed(world, s, name) for s in schema["oneOf"]])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "null" in kinds:
        rest = {**schema, "type": [k for k in kinds if k != "null"][0:1] or ["null"]}
        if rest["type"] == ["null"]:
            return st.none()
        if "enum" in rest:
            rest["enum"] = [v for v in rest["enum"] if v is not None]
        return st.one_of(st.none(), allowed(world, rest, name))
    kind = kinds[0]
    if kind == "object":
        return objects(world, schema)
    if kind == "array":
        items = allowed(world, schema["items"], name)
        low, high = schema.get("minItems", 0), schema.get("maxItems", 4)
        return st.one_of(st.lists(items, min_size=low, max_size=min(high, low + 3)),
                         items.map(lambda v: [v] * min(high, 300)))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    known = named(world, name, schema) if name else None
    if known is not None:
        return known
    if kind == "boolean":
        return st.booleans()
    if kind == "integer":
        low, high = schema.get("minimum", -2 ** 63), schema.get("maximum", 2 ** 63 - 1)
        return st.one_of(st.integers(low, min(high, low + 100)), st.sampled_from([low, high]))
    if schema.get("format") == "date-time":
        return times()
    return texts(schema)


def objects(world, schema):
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    choices = [set(c["required"]) for c in schema.get("anyOf", [{"required": []}])]

    @st.composite
    def build(draw):
        must = required | draw(st.sampled_from(choices))
        result = {}
        for key, one in properties.items():
            if key in must or draw(st.booleans()):
                result[key] = draw(allowed(world, one, key))
        if draw(st.booleans()):
            result["x_unknown"] = draw(st.sampled_from([None, 1, "x", [1], {"a": {}}]))
        return result

    return build()


WRONG = [None, True, 0, -1, 1.5, 2 ** 64, "", "x", "\x00", "0", "-1", "00000000000000000000", [],
         [None], [1], {}, {"a": 1}, "x" * 300, "x" * 20000, ["x"] * 300]


def wrong_bodies(world, schema):
    """Bodies with one thing wrong; they may happen to be allowed."""
    def spoil(value):
        keys = list(resolve(schema).get("properties", {}))
        if not keys:
            return st.sampled_from([[], [[]], "x", 1, None])
        return st.one_of(
            st.tuples(st.sampled_from(keys), st.sampled_from(WRONG)).map(
                lambda kv: {**value, kv[0]: kv[1]}),
            st.sampled_from(keys).map(lambda k: {a: b for a, b in value.items() if a != k}),
            st.sampled_from([[], [value], "x", 1, None, {}]))
    return special(world, schema).flatmap(spoil)


def special(world, schema):
    """allowed(), and what a JSON Schema cannot say about sends and edits."""
    if "message_type" in schema.get("properties", {}):
        def one_of_each(body):
            for names in (["conversation_id", "chatId", "groupId", "group_id"],
                          ["toUserId", "to"]):
                values = [body[n] for n in names if body.get(n)]
                for name in names:
                    if body.get(name):
                        body[name] = values[0]
            if any(body.get(n) for n in ("conversation_id", "chatId", "groupId", "group_id")):
                body.pop("toUserId", None)
                body.pop("to", None)
            elif not (body.get("toUserId") or body.get("to")):
                body["toUserId"] = "bob"
            return one_text(body)
        return allowed(world, schema).map(one_of_each)
    if "text" in schema.get("properties", {}):
        return allowed(world, schema).map(one_text)
    return allowed(world, schema)


def one_text(body):
    texts_of = [body[n] for n in ("content", "message", "text") if body.get(n)]
    if not texts_of:
        body["content"] = "hello"
        texts_of = ["hello"]
    for name in ("content", "message", "text"):
        if body.get(name):
            body[name] = texts_of[0]
    return body


def body_schema(op):
    return op["requestBody"]["content"]["application/json"]["schema"] if "requestBody" in op else None


def parameters(world, op, where):
    return {p["name"]: allowed(world, p["schema"], p.get("x-kind", p["name"]))
            for p in op.get("parameters", []) if p["in"] == where}


def some_query(world, op):
    query = parameters(world, op, "query")
    names = list(query)

    @st.composite
    def build(draw):
        # `wait` always: nothing here is waited for.
        chosen = [n for n in names if n == "wait" or (n != "cursor" and draw(st.booleans()))]
        places = [n for n in chosen if n in ("before", "after", "around")]
        if places:
            chosen = [n for n in chosen if n == places[0] or n in ("limit", "for", "wait")]
        return {n: draw(query[n]) for n in chosen}

    return build()


@st.composite
def allowed_requests(draw, world, op):
    schema = body_schema(op)
    path = {n: draw(s) for n, s in parameters(world, op, "path").items()}
    if op["operationId"] in ("block", "unblock") and path["user"] in (
            world.alice.user_id, world.alice.username):
        path["user"] = "bob"  # nobody blocks themselves
    return {
        "path": path,
        "query": draw(some_query(world, op)),
        "headers": {n: draw(s) for n, s in parameters(world, op, "header").items()
                    if draw(st.integers(0, 3)) == 0},
        "body": draw(special(world, schema)) if schema else None,
    }


WRONG_PATHS = ["x" * 60, "%00", "0", "-1", "..", "é", "18446744073709551616", NOBODY.upper(),
               NOBODY + "0", " ", "%FF", "a/b", "a%2Fb"]
WRONG_QUERIES = ["", "x", "-1", "1.5", "18446744073709551616", "\x00", "é", "0"]
RAW_BODIES = [b"", b"{", b"[]", b"null", b"{\"a\":1,}", b"{\"a\":\"\xff\"}", b"{} {}", b"{'a':1}",
              b"\xef\xbb\xbf{}", b"{\"a\":1,\"a\":2}", b"{\"a\":NaN}", b"[" * 40 + b"]" * 40]


# -- sending and checking -----------------------------------------------------------------------


def token_for(world, op):
    if op["tags"] == ["administration"]:
        return world.operator
    if op["operationId"] == "deleteCurrentToken":
        return world.server.login("carol").token
    return world.alice.token


def send(world, method, path, op, request, token=True):
    url = path
    for name, value in request["path"].items():
        url = url.replace("{" + name + "}", value if value in WRONG_PATHS and "%" in value
                          else quote(value, safe=""))
    if request["query"]:
        url += "?" + urlencode({key: str(value).lower() if isinstance(value, bool) else value
                                for key, value in request["query"].items()})
    headers = {k: v for k, v in request["headers"].items()}
    if token and op.get("security") != []:
        headers["Authorization"] = f"Bearer {token_for(world, op)}"
    answer = world.request(method, url, headers, request["body"])
    STATS["requests"] += 1
    STATS["operations"].add(op["operationId"])
    STATS["statuses"][answer.status] = STATS["statuses"].get(answer.status, 0) + 1
    check(op, answer)
    return answer


CLOSED = {}


def check(op, answer):
    """Is this an answer that the document has?"""
    said = f"{op['operationId']} answered {answer.status}: {answer.body[:300]}"
    assert answer.status < 500, said
    documented = op["responses"].get(str(answer.status))
    assert documented, f"not a documented status: {said}"
    if "content" not in documented:
        assert answer.body == b"", said
        return
    (media, content), = documented["content"].items()
    assert answer.headers["Content-Type"] == media, said
    assert int(answer.headers["Content-Length"]) == len(answer.body), said
    if not media.startswith("application/json"):
        return
    key = (op["operationId"], answer.status)
    if key not in CLOSED:
        CLOSED[key] = validator(content["schema"], closed=True)
    CLOSED[key].validate(answer.json)
    if answer.status >= 400:
        assert answer.error_code in content["examples"], f"not a documented code: {said}"
    if answer.status in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0, said


def run(world, name, strategy, each):
    """Runs `each` for values of the strategy; the same ones every time unless told otherwise."""
    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=SEED is None,
              suppress_health_check=list(HealthCheck), print_blob=False)
    @given(strategy)
    def test(value):
        each(value)
    if SEED is not None:
        test = hypothesis.seed(f"{SEED} {name}")(test)
    test()


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_the_document_allows(world, name):
    method, path, op = OPERATIONS[name]
    schema = body_schema(op)
    check_body = validator(schema) if schema else None

    def each(request):
        if check_body:
            check_body.validate(request["body"])  # the generator, not the server
        answer = send(world, method, path, op, request)
        assert answer.status not in (400, 413), f"allowed, but {answer.body} to {request}"

    run(world, name, allowed_requests(world, op), each)


@pytest.mark.parametrize("name", [n for n in OPERATIONS if body_schema(OPERATIONS[n][2])])
def test_bodies_that_it_does_not_allow(world, name):
    method, path, op = OPERATIONS[name]
    schema = body_schema(op)
    check_body = validator(schema)

    def each(drawn):
        request, body = drawn
        hypothesis.assume(not check_body.is_valid(body))
        answer = send(world, method, path, op, {**request, "body": body})
        assert answer.status >= 400, f"taken: {body}"

    run(world, name + " wrong", st.tuples(allowed_requests(world, op), wrong_bodies(world, schema)),
        each)

    def each_raw(drawn):
        request, body = drawn
        answer = send(world, method, path, op, {**request, "headers": {}, "body": body})
        assert answer.status in (400, 413), f"taken: {body}"

    run(world, name + " raw", st.tuples(allowed_requests(world, op), st.sampled_from(RAW_BODIES)),
        each_raw)


@pytest.mark.parametrize("name", [n for n in OPERATIONS if OPERATIONS[n][2].get("parameters")])
def test_parameters_that_it_does_not_allow(world, name):
    method, path, op = OPERATIONS[name]
    names = [p["name"] for p in op["parameters"] if p["in"] == "path"]
    queries = {p["name"]: p for p in op["parameters"] if p["in"] == "query"}

    def each(drawn):
        request, which, value, text = drawn
        if which in names:
            request["path"][which] = value
            if value in ("..", "a/b"):
                return  # another path
            answer = send(world, method, path, op, request)
            assert answer.status >= 400, f"taken: {which}={value!r}"
        elif which in queries:
            request["query"] = {**({"wait": 0} if "wait" in queries else {}), which: text}
            send(world, method, path, op, request)
        else:
            request["query"] = {**request["query"], "x_unknown": text}
            answer = send(world, method, path, op, request)
            assert answer.status not in (400, 413), answer.body

    run(world, name + " parameters", st.tuples(
        allowed_requests(world, op), st.sampled_from([*names, *queries, "other"]),
        st.sampled_from(WRONG_PATHS), st.sampled_from(WRONG_QUERIES)), each)


@pytest.mark.parametrize("name", [n for n in OPERATIONS if OPERATIONS[n][2].get("security") != []])
def test_nobody_without_a_token(world, name):
    method, path, op = OPERATIONS[name]

    def each(drawn):
        request, token = drawn
        if token is not None:
            request["headers"]["Authorization"] = token
        answer = send(world, method, path, op, request, token=False)
        assert answer.status == 401 and answer.error_code == "unauthenticated"

    run(world, name + " token", st.tuples(allowed_requests(world, op), st.sampled_from(
        [None, "", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer " + "A" * 43,
         "Bearer " + "é"])), each)


# -- the document and the tables ----------------------------------------------------------------


@pytest.fixture(scope="module")
def tables():
    done = subprocess.run([harness.BUILD / "api_tables"], capture_output=True, text=True, check=True,
                          timeout=harness.DEADLINE_S)
    return json.loads(done.stdout)


def test_every_route_is_documented_and_every_operation_has_a_route(tables):
    routes = {(r["method"], r["path"]) for r in tables["routes"]}
    documented = {(method, re.sub(r"{\w+}", "{}", path))
                  for method, path, _ in OPERATIONS.values()}
    assert routes - documented == set(), "not documented"
    assert documented - routes == set(), "documented, but not there"


def test_what_needs_a_token_is_documented_so(tables):
    free = {(r["method"], r["path"]) for r in tables["routes"] if r["open"]}
    documented = {(method, re.sub(r"{\w+}", "{}", path))
                  for method, path, op in OPERATIONS.values() if op.get("security") == []}
    assert free == documented


def test_no_two_paths_are_the_same():
    shapes = [re.sub(r"{\w+}", "{}", path) for path in DOCUMENT["paths"]]
    assert len(shapes) == len(set(shapes)), "OpenAPI: they differ in names only"


def test_the_document_is_current_and_whole():
    done = subprocess.run([harness.ROOT / "tools" / "make-openapi", "--check"], text=True,
                          capture_output=True, check=False, timeout=harness.DEADLINE_S)
    assert done.returncode == 0, done.stdout
    assert DOCUMENT["openapi"].startswith("3.1")
    text = json.dumps(DOCUMENT)
    for kind, name in set(re.findall(r'"#/components/(\w+)/(\w+)"', text)):
        assert name in DOCUMENT["components"][kind], name
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(whole(schema, closed=False))
    for name, (_, _, op) in OPERATIONS.items():
        for example in (body_schema(op) or {}).get("examples", []):
            validator(body_schema(op)).validate(example)
        assert op["summary"] and op["tags"], name
