"""Who comes in, and how: tokens, devices, invites, administration, of a server in its own process.

Times and single rules are tested on a simulated clock in tests/unit/gateway/test_auth.c; here the
program is asked: with two shards, its directory on disk, and its real password hashing.
"""

import concurrent.futures
import re

import pytest

import harness

PASSWORD = harness.PASSWORD


@pytest.fixture
def server(server_factory):
    return server_factory("--shards", "2")


def operator(server, method, path, body=None):
    key = (server.data / "operator.key").read_text()
    return server.http(method, f"/api/v1/admin{path}", body, token=key)


def sign_in(server, username="alice", password=PASSWORD, **more):
    return server.http("POST", "/api/v1/tokens",
                       {"username": username, "password": password, **more})


def refresh(server, token):
    return server.http("POST", "/api/v1/tokens/refresh", {"refresh_token": token})


def handshake(server, path, **headers):
    """The status that a WebSocket handshake gets."""
    lines = {"Host": f"127.0.0.1:{server.port}", "Connection": "Upgrade", "Upgrade": "websocket",
             "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
             **headers}
    text = f"GET {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
    with server.raw() as sock:
        sock.sendall(text.encode() + b"\r\n")
        return int(sock.makefile("rb").readline().split()[1])


def me(server, token):
    """Several times, on connections of their own: they land on both shards."""
    return {server.http("GET", "/api/v1/users/me", token=token).status for _ in range(6)}


def audit(server):
    return [(r["action"], r["target"], r["detail"])
            for r in operator(server, "GET", "/audit").json["records"]]


# -- tokens -------------------------------------------------------------------------------------


def test_refresh_rotation_and_reuse(server):
    alice = server.register("alice")
    first = sign_in(server, device_name="phone").json
    assert first["access_token"] == first["token"] and first["token_type"] == "Bearer"
    assert first["expires_in"] == 900
    live = server.socket(token=first["token"])
    second = refresh(server, first["refresh_token"]).json
    assert second["refresh_token"] != first["refresh_token"]
    # The answer was lost: the same again, not another.
    again = refresh(server, first["refresh_token"]).json
    assert again["refresh_token"] == second["refresh_token"]
    third = refresh(server, second["refresh_token"]).json
    assert me(server, third["token"]) == {200}
    # Older than the predecessor: somebody has a copy.
    answer = refresh(server, first["refresh_token"])
    assert (answer.status, answer.error_code) == (401, "unauthenticated")
    assert live.wait_closed() == 4401
    assert me(server, third["token"]) == {401}
    assert refresh(server, third["refresh_token"]).status == 401
    assert me(server, alice.token) == {200}
    assert ("device.reuse", first["device_id"]) in [a[:2] for a in audit(server)]
    assert server.metric('confab_refreshes_total{outcome="reused"}') == 1


def test_revoked_stays_revoked_after_a_restart(server):
    server.register("alice")
    tokens = sign_in(server).json
    other = sign_in(server).json
    assert server.http("DELETE", "/api/v1/tokens/current", token=tokens["token"]).status == 204
    assert me(server, tokens["token"]) == {401}
    server.restart()
    assert me(server, tokens["token"]) == {401}
    assert me(server, other["token"]) == {200}  # the key is the same
    assert refresh(server, other["refresh_token"]).status == 200


def test_revocation_closes_live_sockets(server):
    alice = server.register("alice")
    phone = sign_in(server, device_name="phone").json
    sockets = [server.socket(token=phone["token"]) for _ in range(6)]
    own = server.socket(token=alice.token)
    devices = alice.http("GET", "/api/v1/devices").json["devices"]
    assert {d["name"]: d["current"] for d in devices} == {"": True, "phone": False}
    path = f"/api/v1/devices/{phone['device_id']}"
    assert alice.http("PATCH", path, {"name": "lost"}).json["name"] == "lost"
    assert alice.http("DELETE", path).status == 204
    assert me(server, phone["token"]) == {401}
    assert {one.wait_closed() for one in sockets} == {4401}
    own.send("heartbeat")
    own.expect("heartbeat")
    assert alice.http("DELETE", path).status == 404


def test_expiring_token_is_renewed_over_the_socket(server_factory):
    server = server_factory("--access-token", "2s")
    server.register("alice")
    tokens = sign_in(server).json
    assert tokens["expires_in"] == 2
    renewed = server.socket(token=tokens["token"])
    left = server.socket(token=tokens["token"])
    for _ in range(3):
        renewed.expect("token_expiring")
        tokens = refresh(server, tokens["refresh_token"]).json
        renewed.send("auth", token=tokens["token"])
        assert renewed.expect("authenticated")["expires_at"] == tokens["expires_at"]
    assert left.wait_closed() == 4401
    renewed.send("heartbeat")
    renewed.expect("heartbeat")


def test_ticket_only_once(server):
    alice = server.register("alice")
    ticket = alice.http("POST", "/api/v1/tickets").json["ticket"]
    one = server.socket(query=f"?ticket={ticket}")
    assert one.expect("hello")["user_id"] == alice.user_id
    assert handshake(server, f"/ws?ticket={ticket}") == 401


def test_tokens_of_others_and_none(server, tmp_path):
    alice = server.register("alice")
    header, claims, mac = alice.token.split(".")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    for token in (f"{none}.{claims}.", f"{none}.{claims}.{mac}", f"{header}.{claims}.", "cfb_x",
                  f"{header}.{claims[:-2]}AA.{mac}", "A" * 2000):
        assert me(server, token) == {401}
    key = server.data / "keys" / "token.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert (server.data / "operator.key").stat().st_mode & 0o777 == 0o600
    server.stop()
    key.rename(key.with_name("token.key.old"))
    server.start()
    assert me(server, alice.token) == {200}  # the old key still verifies
    server.stop()
    key.with_name("token.key.old").unlink()
    server.start()
    assert me(server, alice.token) == {401}


# -- passwords ----------------------------------------------------------------------------------


def test_throttling(server):
    server.register("alice")
    for name in ("alice", "nobody"):
        answers = [sign_in(server, name, "not this one, no") for _ in range(5)]
        assert {a.status for a in answers} == {401}
        answer = sign_in(server, name, PASSWORD)
        assert (answer.status, answer.error_code) == (429, "too_many_attempts")
        assert 1 <= int(answer.headers["Retry-After"]) <= 900
    harness.wait_until(lambda: sign_in(server).status == 201, "the waiting time is over")


def test_guesses_at_once_are_not_all_taken(server):
    server.register("alice")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda i: sign_in(server, "alice", f"no, not this one {i}").status,
                                 range(60)))
    assert set(statuses) <= {401, 429}
    assert statuses.count(401) <= 22


def test_unknown_names_are_answered_alike(server):
    server.register("alice")
    known = sign_in(server, "alice", "not this one, no")
    unknown = sign_in(server, "nobody", "not this one, no")
    assert (known.status, known.body) == (unknown.status, unknown.body)
    assert dict(known.headers) == dict(unknown.headers)


@pytest.mark.parametrize("password", ["password1", "12345678", "qwertyuiop", "alice1234",
                                      "Password123!"])
def test_common_passwords_are_refused(server, password):
    answer = server.http("POST", "/api/v1/accounts", {"username": "alice", "password": password})
    assert (answer.status, answer.error_code) == (422, "weak_password")
    assert answer.json["error"]["field"] == "password"


def test_password_change(server):
    alice = server.register("alice")
    phone = sign_in(server).json
    live = server.socket(token=phone["token"])
    path = "/api/v1/users/me/password"
    new = "another long enough one"
    wrong = alice.http("PUT", path, {"password": "not this one", "new_password": new})
    assert (wrong.status, wrong.json["error"]["field"]) == (403, "password")
    weak = alice.http("PUT", path, {"password": PASSWORD, "new_password": "alice1234"})
    assert (weak.status, weak.json["error"]["field"]) == (422, "new_password")
    assert alice.http("PUT", path, {"password": PASSWORD, "new_password": new}).status == 204
    assert live.wait_closed() == 4401
    assert refresh(server, phone["refresh_token"]).status == 401
    assert me(server, alice.token) == {200}
    assert sign_in(server).status == 401
    assert sign_in(server, password=new).status == 201
    assert ("account.password", alice.user_id, "by oneself") in audit(server)


# -- browsers -----------------------------------------------------------------------------------


def test_foreign_pages_and_names(server_factory):
    server = server_factory("--cors-origins", "https://app.example.org",
                            "--hosts", "chat.example.org")
    alice = server.register("alice")
    here = f"http://127.0.0.1:{server.port}"
    for origin, allowed in ((None, True), (here, True), ("https://app.example.org", True),
                            ("http://evil.example", False), ("null", False),
                            (f"https://127.0.0.1:{server.port}", False)):
        headers = {"Origin": origin} if origin else {}
        status = handshake(server, f"/ws?token={alice.token}", **headers)
        assert status == (101 if allowed else 403), origin
        answer = server.http("GET", "/api/v1/server", headers=headers)
        listed = origin == "https://app.example.org"
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if listed else None)
        assert "Access-Control-Allow-Credentials" not in answer.headers
    for host, status in (("localhost", 200), ("chat.example.org", 200), ("[::1]:80", 200),
                         ("evil.example", 403), ("127.0.0.1.evil.example", 403)):
        answer = server.http("GET", "/api/v1/server", headers={"Host": host})
        assert answer.status == status, host
    assert answer.error_code == "forbidden_host"


def test_cookie_needs_our_page(server):
    server.register("alice")
    web = {"X-Confab-Client": "web", "Origin": f"http://127.0.0.1:{server.port}"}
    body = {"username": "alice", "password": PASSWORD, "cookie": True}
    assert server.http("POST", "/api/v1/tokens", body).error_code == "forbidden_origin"
    answer = server.http("POST", "/api/v1/tokens", body, headers=web)
    assert answer.status == 201 and "refresh_token" not in answer.json
    cookie = answer.headers["Set-Cookie"]
    assert re.fullmatch(r"confab_refresh=cfr_[\w-]{64}; Path=/api/v1/tokens; Max-Age=\d+; "
                        r"HttpOnly; SameSite=Strict", cookie)
    sent = {"Cookie": cookie.split(";")[0]}
    path = "/api/v1/tokens/refresh"
    assert server.http("POST", path, headers=sent).status == 403
    assert server.http("POST", path, headers={
        **sent, **web, "Origin": "http://evil.example"}).status == 403
    answer = server.http("POST", path, headers={**sent, **web})
    assert answer.status == 200 and "refresh_token" not in answer.json
    out = server.http("DELETE", "/api/v1/tokens/current", token=answer.json["token"])
    assert out.status == 204 and "Max-Age=0" in out.headers["Set-Cookie"]


# -- invites and registration -------------------------------------------------------------------


def register(server, username, **more):
    return server.http("POST", "/api/v1/accounts",
                       {"username": username, "password": PASSWORD, **more})


def test_setup_link_makes_the_first_administrator(server_factory):
    server = server_factory("--registration", "invite")
    printed = re.search(r"#setup=([\w-]{32})", server.log.read_text())
    assert printed, server.log_tail()
    answer = register(server, "alice")
    assert (answer.status, answer.error_code) == (403, "invite_invalid")
    code = operator(server, "POST", "/link").json["code"]
    # A new link ends the earlier one.
    assert register(server, "alice", invite=printed.group(1)).error_code == "invite_invalid"
    check = server.http("POST", "/api/v1/invites/check", {"code": code}).json
    assert check == {"valid": True, "administrator": True, "server_name": "Confab"}
    assert register(server, "alice", invite=code).json["role"] == "admin"
    assert register(server, "bob", invite=code).error_code == "invite_invalid"
    alice = server.login("alice")
    assert alice.http("GET", "/api/v1/admin/settings").json["registration"] == "invite"
    last = alice.http("PATCH", f"/api/v1/admin/users/{alice.user_id}", {"role": "member"})
    assert (last.status, last.error_code) == (409, "last_admin")
    server.log.write_text("")
    server.restart()
    assert "#setup=" not in server.log.read_text()


def test_invites_have_limits(server_factory):
    server = server_factory("--registration", "invite", "--invites-max", "3")
    code = operator(server, "POST", "/link").json["code"]
    assert register(server, "alice", invite=code).status == 201
    alice = server.login("alice")
    invite = alice.http("POST", "/api/v1/invites", {"uses_max": 2, "note": "family"}).json
    assert invite["link"].endswith(f"#invite={invite['code']}") and invite["note"] == "family"
    assert register(server, "alice", invite=invite["code"]).error_code == "exists"
    assert [register(server, n, invite=invite["code"]).status for n in ("bob", "carol")] == [201] * 2
    assert register(server, "dan", invite=invite["code"]).error_code == "invite_invalid"
    bob = server.login("bob")
    made = [bob.http("POST", "/api/v1/invites", {}) for _ in range(4)]
    assert [m.status for m in made] == [201, 201, 201, 429]
    listed = bob.http("GET", "/api/v1/invites").json["invites"]
    assert len(listed) == 3 and all("code" not in i for i in listed)
    path = f"/api/v1/invites/{made[0].json['invite_id']}"
    assert alice.http("DELETE", path).status == 404  # bob's
    assert bob.http("DELETE", path).status == 204
    assert register(server, "eve", invite=made[0].json["code"]).error_code == "invite_invalid"
    assert alice.http("DELETE", f"/api/v1/admin/invites/{made[1].json['invite_id']}").status == 204
    assert register(server, "eve", invite=made[1].json["code"]).error_code == "invite_invalid"
    check = server.http("POST", "/api/v1/invites/check", {"code": "x"}).json
    assert check["valid"] is False
    assert bob.http("POST", "/api/v1/invites", {"expires_in": 1}).status == 400


def test_registration_modes(server):
    assert register(server, "alice").status == 201
    invite = server.login("alice").http("POST", "/api/v1/invites", {}).json["code"]
    answer = operator(server, "PATCH", "/settings",
                      {"registration": "invite", "server_name": "Ours"})
    assert answer.json == {"registration": "invite", "server_name": "Ours"}
    assert register(server, "bob").error_code == "invite_invalid"
    assert operator(server, "PATCH", "/settings", {"registration": "closed"}).status == 200
    assert register(server, "bob").error_code == "registration_closed"
    assert register(server, "bob", invite=invite).error_code == "registration_closed"
    server.restart()  # the stored setting wins over --registration open
    assert register(server, "bob").error_code == "registration_closed"
    info = server.http("GET", "/api/v1/server").json
    assert (info["name"], info["registration"]) == ("Ours", "closed")
    assert operator(server, "PATCH", "/settings", {"registration": "x"}).status == 400
    assert ("setting.registration", None, "closed") in audit(server)


# -- administration -----------------------------------------------------------------------------


def test_suspended_is_out_at_once(server):
    alice = server.register("alice")
    live = [server.socket(token=alice.token) for _ in range(4)]
    path = f"/users/{alice.user_id}"
    answer = operator(server, "PATCH", path, {"status": "suspended"})
    assert answer.json["status"] == "suspended"
    assert me(server, alice.token) == {401}
    assert {one.wait_closed() for one in live} == {4401}
    assert sign_in(server).status == 403
    assert sign_in(server, password="not this one, no").status == 401
    assert operator(server, "PATCH", path, {"status": "active"}).status == 200
    assert me(server, alice.token) == {401}
    assert sign_in(server).status == 201
    assert ("account.change", alice.user_id, "status=suspended ") in audit(server)


def test_reset_and_delete(server):
    alice = server.register("alice")
    made = operator(server, "PUT", f"/users/{alice.user_id}/password", {}).json["password"]
    assert me(server, alice.token) == {401}
    assert sign_in(server).status == 401
    assert sign_in(server, password=made).status == 201
    assert operator(server, "DELETE", f"/users/{alice.user_id}").status == 204
    assert sign_in(server, password=made).status == 401
    assert register(server, "Alice").error_code == "exists"
    assert operator(server, "DELETE", f"/users/{alice.user_id}").status == 404
    people = operator(server, "GET", "/users?status=deleted").json["users"]
    assert [p["status"] for p in people] == ["deleted"]
    assert {"account.password", "account.delete"} <= {a[0] for a in audit(server)}


def test_members_are_no_administrators(server):
    alice = server.register("alice")
    bob = server.register("bob")
    for method, path in (("GET", "/users"), ("GET", "/audit"), ("POST", "/link"),
                         ("DELETE", f"/users/{bob.user_id}"), ("GET", "/settings")):
        answer = alice.http(method, f"/api/v1/admin{path}")
        assert (answer.status, answer.error_code) == (403, "forbidden")
    assert operator(server, "PATCH", f"/users/{alice.user_id}", {"role": "admin"}).status == 200
    assert alice.http("GET", "/api/v1/admin/users").status == 200  # with the token she had
    assert operator(server, "PATCH", f"/users/{bob.user_id}", {"role": "admin"}).status == 200
    assert operator(server, "PATCH", f"/users/{alice.user_id}", {"role": "member"}).status == 200
    assert alice.http("GET", "/api/v1/admin/users").status == 403
    key = (server.data / "operator.key").read_text()
    assert server.http("GET", "/api/v1/users/me", token=key).status == 401
    assert server.http("GET", "/api/v1/admin/users", token=key[:-1] + "!").status == 401


def test_many_accounts_at_once(server):
    users = [{"username": f"user{i}", "password_hash": HASH} for i in range(300)]
    users += [{"username": "root", "password": PASSWORD, "role": "admin"},
              {"username": "user7", "password": PASSWORD}, {"username": "12", "password": PASSWORD},
              {"username": "weak", "password": "password1"}, {"username": "both"}]
    results = operator(server, "POST", "/users", {"users": users}).json["results"]
    assert [r["username"] for r in results[:300]] == [u["username"] for u in users[:300]]
    assert all("user_id" in r for r in results[:301])
    assert [r["error"]["code"] for r in results[301:]] == ["exists", "invalid", "weak_password",
                                                           "invalid"]
    assert sign_in(server, "user299", "a password of the load tool").status == 201
    root = server.login("root")
    page = root.http("GET", "/api/v1/admin/users?limit=100").json
    names = [u["username"] for u in page["users"]]
    while page["has_more"]:
        page = root.http("GET", "/api/v1/admin/users?limit=100&cursor=" + page["next_cursor"]).json
        names += [u["username"] for u in page["users"]]
    assert len(names) == len(set(names)) == 301
    assert operator(server, "POST", "/users", {"users": []}).status == 400
    found = root.http("GET", "/api/v1/users?query=user29").json["users"]
    assert {u["username"] for u in found} >= {"user29", "user290", "user299"}
    assert all("email" not in u for u in found)


def test_hashes_that_would_cost_too_much(server):
    """A sign-in pays what the hash says: 64 GiB, or hours, would take the server down."""
    costs = {"m=67108864,t=1": False, "m=4294967295,t=1": False, "m=1024,t=4294967295": False,
             "m=262144,t=5": False, "m=262145,t=1": False, "m=262144,t=4": True,
             "m=65536,t=2": True}
    users = [{"username": f"cost{i}", "password_hash": HASH.replace("m=1024,t=1", cost)}
             for i, cost in enumerate(costs)]
    results = operator(server, "POST", "/users", {"users": users}).json["results"]
    assert ["user_id" in r for r in results] == list(costs.values())
    assert {r["error"]["field"] for r in results if "error" in r} == {"password_hash"}


def test_profile(server):
    alice = server.register("alice")
    bob = server.register("bob")
    change = {"display_name": "Alice L.", "about": "gardens", "email": "alice@example.org"}
    answer = alice.http("PATCH", "/api/v1/users/me", change).json
    assert {k: answer[k] for k in change} == change
    seen = bob.http("GET", "/api/v1/users/alice").json
    assert seen["display_name"] == "Alice L." and seen["about"] == "gardens"
    assert "email" not in seen and "role" not in seen
    assert alice.http("PATCH", "/api/v1/users/me", {"email": "no"}).json["error"]["field"] == "email"


# Of "a password of the load tool", at the lowest cost.
HASH = "$argon2id$v=19$m=1024,t=1,p=1$SQAUlMuhTdN+qVMfk0sblA$hQlQWtF+g/uL+ryjuNY0iXBdlsurUbSpfg/vnsztN8A"
