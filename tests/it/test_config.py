"""Options of confabd from flags, environment and file, and what it says about wrong ones."""

import os
import re
import subprocess

import pytest

import harness


def confabd(*arguments, env=None):
    done = subprocess.run([str(harness.BUILD / "confabd"), *map(str, arguments)],
                          capture_output=True, text=True, timeout=harness.DEADLINE_S, check=False,
                          env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr


def checked(tmp_path, *arguments, env=None):
    """What `confabd check` says the options come to."""
    code, out, err = confabd("check", "--data", tmp_path / "data", *arguments, env=env)
    assert code == 0, err
    return dict(line.split(" = ") for line in out.splitlines() if " = " in line)


def refused(tmp_path, *arguments, env=None):
    code, out, err = confabd("check", "--data", tmp_path / "data", *arguments, env=env)
    assert code == 2 and out == ""
    assert err.count("\n") == 1, "one clear line"
    assert not (tmp_path / "data").exists(), "nothing is made before the options are right"
    return err


def test_defaults_are_what_help_says(tmp_path):
    values = checked(tmp_path)
    helped = confabd("--help")[1]
    listed = dict(re.findall(r"^  --([a-z-]+) .*\[(.*)\]$", helped, re.MULTILINE))
    assert listed and set(listed) <= set(values)
    for name, default in listed.items():
        assert values[name] == default, name


@pytest.mark.parametrize("flags, said", [
    (["--trusted-proxies", "10.0.0.1/8"], "trusted-proxies"),
    (["--trusted-proxies", "proxy.example.org"], "trusted-proxies"),
    (["--trusted-proxies", "::1/129"], "trusted-proxies"),
    (["--proxy-header", "x-real-ip"], "proxy-header"),
])
def test_proxies_that_cannot_be(tmp_path, flags, said):
    assert refused(tmp_path, *flags).startswith(f"confabd: {said}")


def test_no_proxy_may_be_trusted(tmp_path):
    assert checked(tmp_path)["trusted-proxies"] == '"127.0.0.0/8, ::1"'
    assert checked(tmp_path, "--trusted-proxies=")["trusted-proxies"] == '""'


def test_page_names_every_option_with_its_default():
    """./test style says whether the page is current; here it is held against the program."""
    page = (harness.ROOT / "docs" / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| (?:`(.*?)`)? \|", page, re.MULTILINE))
    for name, default in re.findall(r"^  --([a-z-]+) .*?(?:\[([^][]*)\])?$", confabd("--help")[1],
                                    re.MULTILINE):
        assert rows[name] == default.strip('"'), name


def test_later_sources_win(tmp_path):
    file = tmp_path / "confab.conf"
    file.write_text('# a comment\n\nshards = 2   # another\ndrain-timeout = 3 s\nlog-level = "warn"\n')
    assert checked(tmp_path, "--config", file)["shards"] == "2"
    assert checked(tmp_path, "--config", file)["drain-timeout"] == "3s"
    assert checked(tmp_path, "--config", file)["log-level"] == '"warn"'
    env = {"CONFAB_SHARDS": "3", "CONFAB_CONFIG": str(file)}
    assert checked(tmp_path, env=env)["shards"] == "3"
    assert checked(tmp_path, env=env)["drain-timeout"] == "3s"
    assert checked(tmp_path, "--shards=4", env=env)["shards"] == "4"


@pytest.mark.parametrize("given, becomes", [
    ("1M", "1M"), ("1048576", "1M"), ("1025k", "1025k"), ("2G", "2G"), ("3 M", "3M"),
])
def test_sizes(tmp_path, given, becomes):
    assert checked(tmp_path, "--cache-bytes", given)["cache-bytes"] == becomes


def test_a_flag_without_value_is_true(tmp_path):
    assert checked(tmp_path, "--metrics-public")["metrics-public"] == "true"
    assert checked(tmp_path, "--metrics-public=no")["metrics-public"] == "false"


@pytest.mark.parametrize("arguments, says", [
    (["--port", "65536"], "from 0 to 65535"),
    (["--port", "80x"], "port"),
    (["--port", "-1"], "port"),
    (["--port"], "needs a value"),
    (["--cache-bytes", "99999999999999999999"], "cache-bytes"),
    (["--cache-bytes", "17179869184G"], "cache-bytes"),
    (["--cache-bytes", "1MB"], "cache-bytes"),
    (["--no-such", "1"], "--no-such"),
    (["extra"], "extra"),
    (["--password-cost", "none"], "password-cost"),
    (["--log-segment-bytes", "16777217"], "multiple of 4k"),
    (["--heartbeat", "90s"], "dead-after"),
    (["--log-level", "loud"], "log-level"),
    (["--metrics-public=perhaps"], "metrics-public"),
    (["--config", "/no/such/file"], "/no/such/file"),
    (["--data", "x" * 4000], "data"),
])
def test_wrong_options_are_told(tmp_path, arguments, says):
    assert says in refused(tmp_path, *arguments)


@pytest.mark.parametrize("text, says", [
    ("shards 2\n", ":1:"),
    ("\nno-such = 2\n", ":2: there is no option no-such"),
    ("shards = many\n", ":1: shards"),
    ('log-level = "warn\n', "quotes"),
    ("log-level = " + "x" * 5000 + "\n", ":1: too long"),
])
def test_wrong_lines_are_told(tmp_path, text, says):
    file = tmp_path / "confab.conf"
    file.write_text(text)
    assert says in refused(tmp_path, "--config", file)


def test_wrong_environment_is_told(tmp_path):
    assert "CONFAB_SHARDS" in refused(tmp_path, env={"CONFAB_SHARDS": "x"})


def test_data_of_a_newer_version_is_refused(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "format").write_text("confab 1\n")
    checked(tmp_path)
    (data / "format").write_text("confab 2\n")
    code, _, err = confabd("check", "--data", data)
    assert code == 1 and "newer" in err
    (data / "format").write_text("something else\n")
    code, _, err = confabd("check", "--data", data)
    assert code == 1 and "format" in err


def test_check_makes_nothing_and_works_beside_a_server(server, tmp_path):
    checked(tmp_path)
    assert not (tmp_path / "data").exists()
    code, out, err = confabd("check", "--data", server.data)
    assert code == 0 and str(server.data) in out, err
    (tmp_path / "file").write_text("")
    code, _, err = confabd("check", "--data", tmp_path / "file")
    assert code == 1 and "not a directory" in err


def test_taken_port_names_who_has_it_and_a_free_one(server, tmp_path):
    code, _, err = confabd("--data", tmp_path / "other", "--port", server.port)
    assert code == 1
    assert f"port {server.port} is taken by confabd (pid {server.pid})" in err
    free = int(re.search(r"add --port (\d+)", err).group(1))
    assert free > server.port


def test_second_server_is_told_where_the_first_serves(server):
    code, _, err = confabd("--data", server.data, "--port", 0)
    assert code == 1
    assert str(server.pid) in err and server.url in err


def test_log_tools_read_what_a_killed_server_left(server):
    code, _, err = confabd("log", "inspect", "--data", server.data)
    assert code == 1 and str(server.pid) in err
    alice = server.register("alice")
    group = alice.http("POST", "/api/v1/groups", {"name": "g", "members": []}).json["group_id"]
    for number in range(20):
        assert alice.send(f"message {number}", group_id=group).status == 201
    server.kill()

    code, out, err = confabd("log", "inspect", "--records", "--data", server.data)
    assert code == 0, err
    assert len(re.findall(r"^record ", out, re.MULTILINE)) >= 21
    first = confabd("log", "replay", "--data", server.data)
    again = confabd("log", "replay", "--data", server.data)
    assert first[0] == 0, first[2]
    assert first == again, "the same log folds to the same state"
    assert int(re.search(r"(\d+) conversations", first[1]).group(1)) >= 1

    # Looking changed nothing.
    server.start()
    assert [m["content"] for m in alice.history(group)] == [f"message {n}" for n in range(20)]


def test_log_tools_find_and_repair_damage(server):
    alice = server.register("alice")
    group = alice.http("POST", "/api/v1/groups", {"name": "g", "members": []}).json["group_id"]
    for number in range(20):
        assert alice.send(f"message {number}", group_id=group).status == 201
    server.kill()
    segment = max((server.data / "log").glob("seg-*.log"))
    places = [int(m) for m in re.findall(
        r"^batch .* byte (\d+)", confabd("log", "inspect", "--data", server.data)[1],
        re.MULTILINE)]
    raw = bytearray(segment.read_bytes())
    raw[places[4] + 60] ^= 0xFF  # later batches say that this one was durable
    segment.write_bytes(raw)

    code, out, _ = confabd("log", "inspect", "--data", server.data)
    assert code == 1 and "damage" in out
    code, _, err = confabd("--data", server.data, "--port", 0)
    assert code == 1 and "log inspect" in err
    code, out, _ = confabd("log", "repair", "--dry-run", "--data", server.data)
    assert code == 0 and "nothing was changed" in out
    assert confabd("log", "inspect", "--data", server.data)[0] == 1
    code, out, _ = confabd("log", "repair", "--data", server.data)
    assert code == 0 and "cut out" in out
    code, out, err = confabd("log", "inspect", "--data", server.data)
    assert code == 0, out + err
