"""Compression end to end: libconfab and the CLI with --compress, answers in gzip."""

import gzip

import harness

LONG = "blueberry jam on toast. " * 200


def test_cli_compresses_both_ways(server_factory, tmp_path):
    server = server_factory("--websocket-compression")
    confab = harness.Cli(tmp_path / "home", server)
    for name in ("ann", "bob"):
        confab("register", name, "--password-stdin", user=name, stdin=harness.PASSWORD)
    confab("send", "--compress", "bob", LONG, user="ann")
    assert server.metric("confab_ws_inflated_total") >= 1
    assert LONG.strip() in confab("history", "ann", user="bob")
    made = server.metric("confab_ws_deflate_events_total")
    resumes = server.metric("confab_resumes_total")
    with confab.spawn("tail", "--compress", "--count", "1", user="bob") as tail:
        harness.wait_until(lambda: server.metric("confab_resumes_total") > resumes,
                           "the tail is live")
        confab("send", "bob", "again: " + LONG, user="ann")
        assert "again: " + LONG.strip() in tail.communicate(timeout=harness.DEADLINE_S)[0]
    assert server.metric("confab_ws_deflate_events_total") > made


def test_without_the_option_of_the_server_it_goes_on_plain(server, confab):
    for name in ("ann", "bob"):
        confab("register", name, "--password-stdin", user=name, stdin=harness.PASSWORD)
    confab("send", "--compress", "bob", LONG, user="ann")
    assert LONG.strip() in confab("history", "ann", user="bob")
    assert server.metric("confab_ws_deflate_agreed_total") == 0


def test_others_clients_get_what_they_can_read(server_factory):
    """The `websockets` package offers permessage-deflate by itself."""
    server = server_factory("--websocket-compression")
    ann, bob = server.register("ann"), server.register("bob")
    with_it, without = bob.socket(), bob.socket(compression=None)
    for one in (with_it, without):
        one.send("resume")
        one.expect("caught_up")
    assert server.metric("confab_ws_deflate_agreed_total") == 1
    ann.send(LONG, to="bob")
    for one in (with_it, without):
        assert one.expect("new_message")["content"] == LONG
    assert server.metric("confab_ws_deflate_saved_bytes_total") > 4000


def fetch(server, account, path, accept="gzip", method="GET", **kwargs):
    headers = {"Accept-Encoding": accept} if accept else {}
    return server.http(method, path, token=account.token, headers=headers, **kwargs)


def test_answers_in_gzip(server):
    ann, bob = server.register("ann"), server.register("bob")
    sent = ann.send(LONG, to="bob").json
    path = f"/api/v1/conversations/{sent['conversation_id']}/messages"
    plain = fetch(server, bob, path, accept=None)
    assert plain.headers["Content-Encoding"] is None
    assert plain.headers["Vary"] == "Accept-Encoding"
    for accept in ("gzip", "br, gzip;q=0.5", "*", "deflate, GZIP"):
        packed = fetch(server, bob, path, accept=accept)
        assert packed.headers["Content-Encoding"] == "gzip", accept
        assert packed.headers["Vary"] == "Accept-Encoding"
        assert packed.headers["Cache-Control"] == "no-store"
        assert int(packed.headers["Content-Length"]) == len(packed.body) < len(plain.body) / 3
        assert gzip.decompress(packed.body) == plain.body
    for accept in ("identity", "gzip;q=0", "br", "*;q=0", "gzip;q=0.000, *"):
        assert fetch(server, bob, path, accept=accept).body == plain.body, accept
    assert server.metric("confab_http_gzip_total") == 4
    assert server.metric("confab_http_gzip_saved_bytes_total") > 4 * 3000


def test_short_answers_and_those_with_secrets_are_not_compressed(server):
    ann = server.register("ann")
    assert fetch(server, ann, "/api/v1/users/me").headers["Content-Encoding"] is None
    made = fetch(server, ann, "/api/v1/accounts", method="POST",
                 body={"username": "bob", "password": harness.PASSWORD})
    token = fetch(server, ann, "/api/v1/tokens", method="POST",
                  body={"username": "bob", "password": harness.PASSWORD})
    missing = fetch(server, ann, "/api/v1/nothing")
    for answer in (made, token, missing):
        assert answer.headers["Content-Encoding"] is None
        assert answer.headers["Vary"] is None
    assert server.metric("confab_http_gzip_total") == 0


def test_it_can_be_switched_off(server_factory):
    server = server_factory("--http-compression=false")
    ann, bob = server.register("ann"), server.register("bob")
    sent = ann.send(LONG, to="bob").json
    path = f"/api/v1/conversations/{sent['conversation_id']}/messages"
    answer = fetch(server, bob, path)
    assert answer.headers["Content-Encoding"] is None and answer.headers["Vary"] is None
