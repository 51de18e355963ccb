"""The command line for people and administrators: accounts, devices, invites, confab admin."""

import json
import re

import pytest

import harness


@pytest.fixture
def boss(confab, server):
    """Signed in as the first administrator, who came by the operator's link."""
    link = confab("admin", "link", "--data", server.data).strip()
    sign_up(confab, "boss", "--invite", link)
    return lambda *arguments, **kwargs: confab(*arguments, user="boss", **kwargs)


def sign_up(confab, name, *options, **kwargs):
    return confab("register", name, *options, user=name, stdin=harness.PASSWORD + "\n", **kwargs)


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_operator_link_makes_the_administrator_once(confab, server):
    old = confab("admin", "link", "--data", server.data).strip()
    link = confab("admin", "link", "--data", server.data).strip()
    assert "#setup=" in link and link != old
    sign_up(confab, "early", "--invite", old, code=1)
    sign_up(confab, "boss", "--invite", link)
    sign_up(confab, "second", "--invite", link, code=1)
    assert "administrator" in confab("me", user="boss")
    assert [u["username"] for u in objects(confab("admin", "people", "--json", user="boss"))] \
        == ["boss"]


def test_operator_key_of_another_directory_is_refused(confab, server, tmp_path):
    (tmp_path / "operator.key").write_text("cfo_" + "A" * 43)
    (tmp_path / "server.json").write_text(json.dumps({"url": server.url}).replace(" ", ""))
    confab("admin", "people", "--data", tmp_path, code=1)
    assert "cannot be read" in confab("admin", "people", "--data", tmp_path / "none", code=1)


def test_invites(confab, boss):
    boss("admin", "settings", "registration=invite")
    sign_up(confab, "stranger", code=1)
    link = boss("invite", "create", "--uses", "2", "--for", "7d", "--note", "the team").strip()
    assert re.search(r"#invite=[\w-]{16,}$", link)
    code = link.split("=")[-1]
    sign_up(confab, "alice", "--invite", link)
    sign_up(confab, "bob", "--invite", code)
    sign_up(confab, "carol", "--invite", link, code=1)
    made, = objects(boss("invites", "--json"))
    assert (made["uses"], made["uses_max"], made["note"]) == (2, 2, "the team")
    link = boss("invite", "create").strip()
    newest = max(objects(boss("invites", "--json")), key=lambda v: v["uses"] == 0)
    boss("invite", "remove", newest["invite_id"])
    sign_up(confab, "dora", "--invite", link, code=1)


def test_invites_of_members(confab, server):
    server.flags += ["--invites-max", "1"]
    server.restart()
    for name in ("alice", "bob"):
        sign_up(confab, name)
    confab("invite", "create", user="alice")
    assert "too many" in confab("invite", "create", user="alice", code=1)
    server.flags[-1] = "0"
    server.restart()
    said = confab("invite", "create", "--server", server.url, user="bob", code=1)
    assert "administrators" in said


def test_registration_modes(confab, boss):
    boss("admin", "settings", "registration=open", "name=The Cave")
    assert boss("admin", "settings").splitlines() == ["registration=open", "name=The Cave"]
    sign_up(confab, "alice")
    boss("admin", "settings", "registration=closed")
    sign_up(confab, "bob", code=1)
    boss("admin", "settings", "registration=sometimes", code=1)
    boss("admin", "settings", "colour=red", code=2)
    assert "registration=closed" in boss("admin", "settings")


def test_profile_and_people(confab, boss):
    sign_up(confab, "alice")
    said = confab("me", "--display-name", "Alice Liddell", "--about", "down the hole", "--email",
                  "alice@example.org", "--json", user="alice")
    me, = objects(said)
    assert (me["display_name"], me["about"], me["email"], me["role"]) == (
        "Alice Liddell", "down the hole", "alice@example.org", "member")
    for query in ("ali", "Lidd", "ALICE"):
        found, = objects(boss("people", query, "--json"))
        assert found["username"] == "alice" and "email" not in found
    assert boss("people", "nobody") == ""


def test_devices(confab, boss):
    sign_up(confab, "alice", "--device", "the laptop")
    confab("login", "alice", "--device", "the phone", user="phone", stdin=harness.PASSWORD + "\n")
    here = {d["name"]: d for d in objects(confab("devices", "--json", user="alice"))}
    assert set(here) == {"the laptop", "the phone"}
    assert here["the laptop"]["current"] and not here["the phone"]["current"]
    confab("device", "rename", here["the phone"]["device_id"], "lost phone", user="alice")
    assert "lost phone" in confab("devices", user="alice")
    confab("device", "remove", here["the phone"]["device_id"], user="alice")
    assert "confab login" in confab("whoami", user="phone", code=1)
    assert len(objects(confab("devices", "--json", user="alice"))) == 1
    confab("device", "remove", "someday", user="alice", code=2)
    confab("device", "remove", "12345", user="alice", code=1)


def test_logout_signs_the_device_out(confab, server):
    sign_up(confab, "alice")
    confab("login", "alice", user="other", stdin=harness.PASSWORD + "\n")
    confab("logout", user="alice")
    assert len(objects(confab("devices", "--json", user="other"))) == 1
    confab("whoami", user="alice", code=1)
    server.kill()
    assert "--force" in confab("logout", user="other", code=3)
    confab("logout", "--force", user="other")


def test_password(confab):
    sign_up(confab, "alice")
    confab("login", "alice", user="phone", stdin=harness.PASSWORD + "\n")
    fresh = "another long password"
    confab("password", user="alice", stdin=f"not it at all\n{fresh}\n", code=1)
    confab("password", user="alice", stdin=f"{harness.PASSWORD}\n{fresh}\n")
    confab("whoami", user="alice")
    confab("whoami", user="phone", code=1)
    confab("login", "alice", user="phone", stdin=harness.PASSWORD + "\n", code=1)
    confab("login", "alice", user="phone", stdin=fresh + "\n")


def test_admin_of_people(confab, boss):
    sign_up(confab, "alice")
    boss("admin", "suspend", "alice")
    confab("whoami", user="alice", code=1)
    confab("login", "alice", user="alice", stdin=harness.PASSWORD + "\n", code=1)
    assert [u["username"] for u in objects(boss("admin", "people", "--status", "suspended",
                                                "--json"))] == ["alice"]
    boss("admin", "activate", "alice")
    password = boss("admin", "password", "alice").strip()
    confab("login", "alice", user="alice", stdin=password + "\n")
    boss("admin", "role", "boss", "member", code=1)  # the last one stays
    boss("admin", "role", "alice", "admin")
    confab("admin", "people", user="alice")
    boss("admin", "role", "boss", "member")
    boss("admin", "people", code=1)
    confab("admin", "delete", "boss", user="alice")
    boss("whoami", code=1)
    assert "boss" not in confab("people", "boss", user="alice")
    sign_up(confab, "boss", code=1)  # the name stays taken
    actions = [r["action"] for r in objects(confab("admin", "audit", "--json", user="alice"))]
    assert actions.count("account.change") >= 4
    assert confab("admin", "delete", "nobody", user="alice", code=1)


def test_provision(confab, boss, tmp_path):
    file = tmp_path / "people"
    file.write_text("# name, password, display name, role\n"
                    f"carl\t{harness.PASSWORD}\tCarl Cox\n"
                    "\n"
                    f"dora\t{harness.PASSWORD}\t\tadmin\n")
    made = objects(boss("admin", "provision", file, "--json"))
    assert [u["username"] for u in made] == ["carl", "dora"]
    confab("login", "carl", user="carl", stdin=harness.PASSWORD + "\n")
    assert "Carl Cox" in confab("me", user="carl")
    confab("login", "dora", user="dora", stdin=harness.PASSWORD + "\n")
    assert "administrator" in confab("me", user="dora")
    assert "carl" in boss("admin", "provision", file, code=1)  # both are taken
    many = "".join(f"user{i}\t{harness.PASSWORD}\n" for i in range(7))
    assert len(objects(boss("admin", "provision", "--json", stdin=many))) == 7
    boss("admin", "provision", stdin="no tab in here\n", code=1)


def test_receipts(confab):
    for name in ("alice", "bob"):
        sign_up(confab, name)
    message = confab("send", "bob", "hello", user="alice").strip()
    confab("read", "alice", user="bob")
    def read_at():
        return [r for r in objects(confab("receipts", message, "--json", user="alice"))
                if r["username"] == "bob" and "read_at" in r]
    harness.wait_until(read_at, "the receipt")
    assert "bob" in confab("receipts", message, user="alice")
    confab("receipts", "12345", user="alice", code=1)
    confab("receipts", "first", user="alice", code=2)


def test_group_settings(confab):
    for name in ("alice", "bob"):
        sign_up(confab, name)
    group = confab("group", "create", "News", "bob", user="alice").strip()
    confab("group", "settings", group, "send=admins", user="alice")
    confab("send", group, "may I?", user="bob", code=1)
    confab("group", "settings", group, "history=all", user="alice")
    confab("send", group, "now I may", user="bob")
    confab("group", "settings", group, "send=nobody", user="alice", code=2)


def test_output_into_a_pipe_is_json(confab):
    """What the harness sets for everything else is left out."""
    sign_up(confab, "alice")
    env = confab.environment("alice")
    del env["CONFAB_OUTPUT"]
    assert objects(confab("me", user="alice", env=env))[0]["username"] == "alice"
    assert confab("me", "--text", user="alice", env=env).startswith("alice  ")


def test_signed_in_for_longer_than_a_token(confab, server):
    """Tokens end; the profile's are renewed, also by several processes at once."""
    server.flags += ["--access-token", "6s"]
    server.restart()
    for name in ("alice", "bob"):
        sign_up(confab, name)
    path = confab.home / "alice" / ".config" / "confab" / "default.profile"
    first = path.read_text()
    with confab.spawn("tail", "--json", "--count", "3", user="alice") as tail:
        assert "following" in tail.stdout.readline()
        for i in range(3):
            harness.wait_until(lambda before=path.read_text(): path.read_text() != before,
                               "new tokens")
            confab("whoami", user="alice")
            confab("send", "alice", f"number {i}", user="bob")
        out, _ = tail.communicate(timeout=harness.DEADLINE_S)
    said = [m["content"] for m in objects(out) if m["event"] == "new_message"]
    assert said == [f"number {i}" for i in range(3)]
    assert path.read_text() != first
    assert len(objects(confab("devices", "--json", user="alice"))) == 1
