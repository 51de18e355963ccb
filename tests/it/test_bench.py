"""The load tool: each scenario in a short form, with what it checks and reports; never its times."""

import json
import subprocess
import xml.etree.ElementTree as xml

import pytest

import harness

SECONDS = 100
SHORT = ("--rounds", "2", "--seconds", "1", "--warmup", "0")


def run(server, *options, code=0, json_out=True):
    done = subprocess.run(
        [str(harness.BUILD / "confab-bench"), *map(str, options), *(["--json"] if json_out else [])],
        capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}\n{server.log_tail() if server else ''}"
    return done


def bench(server, scenario, *options):
    done = run(server, scenario, "--port", server.port, "--data", server.data, "--pid",
               server.pid, *options)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("tokens", [[], ["--own-tokens"]])
def test_pairs__beside_the_floor(server, tmp_path, tokens):
    picture = tmp_path / "pairs.svg"
    [report] = bench(server, "pairs", *SHORT, "--pairs", 5, "--window", 4, "--floor", "--svg",
                     picture, *tokens)
    assert report["errors"] == 0
    assert report["messages"] > 0
    assert report["messages_per_s"]["min"] <= report["messages_per_s"]["median"]
    assert report["floor"]["messages_per_s"]["median"] > 0
    assert report["share_of_floor"]["messages_per_s"] > 0
    assert server.metric("confab_acks_total") > 0
    assert server.metric("confab_messages_accepted_total") >= report["messages"]
    root = xml.parse(picture).getroot()
    assert root.tag.endswith("svg") and len(root.findall(".//{*}polyline")) == 2


@pytest.mark.parametrize("kind", ["log", "store"])
@pytest.mark.parametrize("scenario", [("pairs", "--pairs", 5), ("group", "--members", 12)])
def test_floor__that_keeps_what_it_passes_on(server, kind, scenario):
    [report] = bench(server, *scenario, *SHORT, "--window", 32, f"--floor={kind}")
    assert report["errors"] == 0
    assert report["floor"]["messages_per_s"]["median"] > 0
    assert report["floor"]["ack_p50_ms"]["median"] > 0
    assert not list(server.data.glob("confab-bench*"))


@pytest.mark.parametrize("options", [("pairs", "--floor=disk"), ("connect", "--floor=log")])
def test_floor__of_a_kind_that_is_not_there(tmp_path, options):
    done = run(None, *options, "--port", 1, "--data", tmp_path, code=2)
    assert "--floor" in done.stderr


def test_pairs__a_tool_that_does_not_sleep(server):
    # With so little to do one that sleeps takes a hundredth of the time.
    load = ["pairs", *SHORT, "--pairs", 2, "--rate", 50, "--window", 8]
    [sleeps] = bench(server, *load)
    [spins] = bench(server, *load, "--spin")
    assert sleeps["errors"] == 0 and spins["errors"] == 0
    assert spins["load_us_per_message"]["median"] > 4 * sleeps["load_us_per_message"]["median"]


def test_pairs__at_a_rate_over_many_conversations(server):
    [report] = bench(server, "pairs", *SHORT, "--pairs", 10, "--spread", 20, "--rate", 200,
                     "--window", 64, "--idlers", 20)
    assert report["errors"] == 0
    assert report["connections"] == 40
    # Two rounds of a second; what is sent when due does not depend on what comes back.
    assert 300 <= report["messages"] <= 500


@pytest.mark.parametrize("options", [[], ["--no-fresh"]])
def test_pairs__with_and_without_the_mark_of_a_first_attempt(server_factory, options):
    # Conversations that leave memory: their keys are read for whoever does not say "fresh".
    server = server_factory("--cache-bytes", "1M", "--flush-after", "100ms", "--shards", "1")
    [report] = bench(server, "pairs", *SHORT, "--seconds", 3, "--pairs", 2, "--spread", 100,
                     "--window", 16, "--size", "2000-2000", *options)
    assert report["errors"] == 0
    loads = server.metric("confab_dedup_loads_total")
    if options:
        assert loads > 0
    else:
        assert loads <= report["refused"]  # those were sent again, without the mark


def test_group__everybody_gets_everything(server):
    [report] = bench(server, "group", *SHORT, "--members", 20, "--senders", 2, "--window", 2)
    assert report["errors"] == 0
    assert report["deliveries_per_s"]["median"] > 10 * report["messages_per_s"]["median"]


def test_mixed(server):
    [report] = bench(server, "mixed", *SHORT, "--users", 100, "--rate", 100, "--window", 16)
    assert report["errors"] == 0
    assert report["messages"] > 0


def test_idle__with_several_processes(server):
    ours, bare = bench(server, "idle", "--users", 200, "--groups", 2, "--seconds", 1, "--workers", 3,
                       "--floor")
    assert ours["connections"] == 200 and ours["errors"] == 0
    assert bare["server"] == "floor" and bare["errors"] == 0
    assert {"user_bytes", "kernel_bytes", "server_us_per_connect"} <= set(ours)


def test_idle__held_until_told_with_accounts_of_an_earlier_run(server, tmp_path):
    """What tools/million does with many of them: accounts are made once, and everybody stays."""
    people = tmp_path / "people"
    options = ("idle", "--users", 30, "--groups", 2, "--seconds", 1, "--own-tokens", "--people", people)
    [made] = bench(server, *options)
    accounts = server.metric("confab_accounts_created_total")
    ids = people.read_text().split()
    assert made["connections"] == len(set(ids)) == 30
    with subprocess.Popen(
            [str(harness.BUILD / "confab-bench"), *map(str, options), "--hold", "--json", "--port",
             str(server.port), "--data", str(server.data), "--pid", str(server.process.pid)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tool:
        assert json.loads(tool.stdout.readline()) == {"ready": 30}
        assert server.metric("confab_sessions_open") == 30
        said, _ = tool.communicate(timeout=SECONDS)
    report = json.loads(said)
    assert tool.returncode == 0 and report["errors"] == 0
    assert report["heartbeats"] == report["answered"]
    assert server.metric("confab_accounts_created_total") == accounts


def test_backlog__all_of_it(server):
    [report] = bench(server, "backlog", "--senders", 5, "--messages", 2000, "--window", 16)
    assert report["messages"] == report["by_resume"] + report["by_history"] == 2000
    assert report["by_history"] > 0


def test_storm__nothing_is_lost(tmp_path):
    port = harness.free_port()
    command = (f"{harness.BUILD}/confabd --data {tmp_path}/data --port {port} --password-cost low "
               "--shards 2")
    done = run(None, "storm", "--port", port, "--data", tmp_path / "data", "--server-cmd", command,
               "--pairs", 10, "--idlers", 50, "--rate", 200, "--window", 32, "--seconds", 1,
               "--warmup", 0)
    report = json.loads(done.stdout)
    assert report["errors"] == 0
    assert report["connections"] == 70
    assert report["before"]["messages"] > 0 and report["after"]["messages"] > 0


def test_stuck__only_those_who_do_not_read(server_factory):
    """What is done to whom, by exact counters: each stuck reader is switched to pull, once in each
    round in which it is stuck, none is closed, and nothing of the others' is dropped."""
    stuck = 40
    server = server_factory("--shards", "2", "--queue-bytes", "128k", "--rate-sends-user", "0",
                            "--rate-sends-device", "0")
    *rounds, report = bench(server, "stuck", "--pairs", 4, "--members", stuck, "--rounds", 2,
                            "--seconds", 1, "--warmup", 0, "--window", 2)
    assert [r["stuck"] for r in rounds] == [False, True, False, True]
    for r in rounds:
        assert r["messages"] > 0
        assert r["pulled"] == (stuck if r["stuck"] else 0)
        assert r["closed"] == 0
        # Frames are dropped for those alone who are told to pull them.
        assert (r["dropped"] >= stuck) if r["stuck"] else r["dropped"] == 0
        # A frame that waits for many is there once a shard: what was written in all, at most.
        assert r["output_mb"] < 1
    assert report["connections"] == 4 * 2 + stuck
    assert report["stuck"] == stuck
    assert report["errors"] == 0
    metrics = server.http("GET", "/metrics").body.decode()
    assert f'\nconfab_bound_hits_total{{bound="output"}} {2 * stuck}\n' in metrics
    assert '\nconfab_bound_hits_total{bound="output_memory"} 0\n' in metrics
    assert server.metric("confab_output_memory_bytes") == 0, "all was taken in the end"


def test_presence__told_to_those_who_may_know_it(server):
    [report] = bench(server, "presence", *SHORT, "--users", 25, "--watchers", 5, "--idlers", 4,
                     "--rate", 20, "--floor")
    assert report["people"] == 24, "blocks of six"
    assert report["strangers"] == 4
    assert report["errors"] == 0
    assert report["changes"] > 0
    assert report["notices_per_s"]["floor"] > 0
    # The server wrote no notice that did not come to somebody who may have it.
    assert report["notices"] == report["notices_written"]
    assert report["notices"] >= report["transitions"] * 5


def test_presence__what_changes_often_is_told_once_a_second(server):
    [report] = bench(server, "presence", *SHORT, "--users", 6, "--watchers", 5, "--rate", 300)
    assert report["errors"] == 0
    # Fifty changes of each in a second, of which one may be told; how long a second takes on a
    # busy machine decides how many of them there are.
    assert report["transitions"] < report["changes"] / 5
    assert report["notices"] == report["notices_written"]


def test_connect__come_back_with_a_token(server):
    [report] = bench(server, "connect", "--rounds", 2, "--users", 40, "--groups", 3, "--floor",
                     "--workers", 2)
    assert report["errors"] == 0
    assert report["connections"] == 40
    assert report["connects_per_s"]["first"] > 0 and report["connects_per_s"]["floor"] > 0
    # The first time without a token, then with one that nothing happened after.
    assert server.metric('confab_resumes_total{outcome="full"}') == 40
    assert server.metric('confab_resumes_total{outcome="caught_up"}') == 2 * 40
    assert server.metric("confab_sessions_open") == 0


def test_channel__only_who_looks_gets_it(server_factory):
    server = server_factory("--large-members", "20")
    [report] = bench(server, "channel", *SHORT, "--members", 60, "--idlers", 40, "--looking", 10,
                     "--pairs", 3, "--rate", 50, "--floor", "--own-tokens")
    assert report["errors"] == 0
    assert (report["members"], report["online"], report["looking"]) == (60, 41, 4)
    assert report["messages"] > 0 and report["events"] > 0
    assert report["deliveries_per_s"]["median"] >= 3.9 * report["messages_per_s"]["median"]
    assert report["floor_deliveries_per_s"]["median"] > 0 and report["share_of_floor"]["median"] > 0
    # Each shard tells the others of one conversation once a second, however much is said.
    assert server.metric("confab_counters_total") >= 36
    assert report["counters"] <= 41 * (server.metric("confab_counter_rounds_total") + 1)


def test_sync(tmp_path):
    done = run(None, "sync", "--data", tmp_path, "--seconds", 1)
    sizes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [s["bytes"] for s in sizes] == [4096, 16384, 65536, 1 << 20]
    assert all(s["syncs_per_s"] > 0 for s in sizes)


def test_report_for_people(server):
    done = run(server, "pairs", "--port", server.port, "--data", server.data, *SHORT,
               "--pairs", 2, json_out=False)
    assert "messages/s" in done.stdout and "0 errors" in done.stdout


def test_says_no_when_the_server_goes(server):
    with subprocess.Popen(
            [str(harness.BUILD / "confab-bench"), "pairs", "--port", str(server.port),
             "--data", str(server.data), "--seconds", "60", "--pairs", "2"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tool:
        harness.wait_until(lambda: server.metric("confab_messages_accepted_total") > 10,
                           "messages to flow")
        server.kill()
        _, said = tool.communicate(timeout=SECONDS)
    assert tool.returncode == 1
    assert "closed by the server" in said or "reset" in said


@pytest.mark.parametrize("options, says", [
    ((), "SCENARIO"),
    (("fly", "--port", "1", "--data", "/tmp"), "no such scenario"),
    (("pairs", "--data", "/tmp"), "--port"),
    (("pairs", "--port", "1"), "--data"),
    (("pairs", "--port", "0", "--data", "/tmp"), "a number from 1 to 65535"),
    (("pairs", "--port", "1", "--data", "/tmp", "--window", "65"), "a number from 1 to 64"),
    (("pairs", "--port", "1", "--data", "/tmp", "--size", "300-100"), "a number from 300"),
    (("group", "--port", "1", "--data", "/tmp", "--members", "2", "--senders", "3"), "--senders"),
    (("storm", "--port", "1", "--data", "/tmp"), "--server-cmd"),
    (("mixed", "--port", "1", "--data", "/tmp", "--users", "150"), "multiple of 100"),
    (("presence", "--port", "1", "--data", "/tmp", "--users", "5", "--watchers", "5"), "--users"),
])
def test_wrong_usage(options, says):
    assert says in run(None, *options, code=2, json_out=False).stderr


def test_no_server(tmp_path):
    (tmp_path / "operator.key").write_text("cfo_x\n")
    said = run(None, "pairs", "--port", harness.free_port(), "--data", tmp_path, code=1).stderr
    assert "no server answers" in said
