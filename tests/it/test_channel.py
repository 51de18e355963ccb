"""Large conversations: who looks gets everything, others are told that there is something."""

import pytest

import harness


def live(account):
    socket = account.socket()
    socket.resume()
    return socket


@pytest.fixture
def crowd(server_factory):
    """Five people in a group for which three are many, over two shards."""
    server = server_factory("--shards", "2", "--large-members", "3")
    people = [server.register(name) for name in ("alice", "bob", "carol", "dave", "erin")]
    answer = people[0].http("POST", "/api/v1/groups",
                            {"name": "g", "member_ids": [p.username for p in people[1:]]})
    assert answer.status == 201, answer.body
    return server, people, answer.json["group_id"]


def say(socket, group, text):
    socket.send("send_message", conversation_id=group, content=text, client_msg_id=text)
    return socket.expect("ack", client_msg_id=text)


def seen_until(socket, event, **fields):
    """All frames of the group up to that one."""
    frames = []
    while True:
        frame = socket.recv()
        frames.append(frame)
        if frame["event"] == event and all(frame.get(k) == v for k, v in fields.items()):
            return frames


def test_one_looks_and_one_does_not(crowd):
    server, (alice, bob, carol, *_), group = crowd
    writer, looks, passes = live(alice), live(bob), live(carol)
    looks.send("view", conversation_ids=[group])
    looks.send("heartbeat")
    looks.expect("heartbeat")
    acks = [say(writer, group, f"number {i}") for i in range(20)]
    frames = seen_until(looks, "new_message", content="number 19")
    assert [f["content"] for f in frames if f["event"] == "new_message"] == [
        f"number {i}" for i in range(20)]
    frames = seen_until(passes, "counter", seq=acks[-1]["seq"])
    assert not [f for f in frames if f["event"] == "new_message"]
    counter = frames[-1]
    assert (counter["conversation_id"], counter["event_id"]) == (group, acks[-1]["message_id"])
    assert (counter["messages"], counter["members"]) == (20, 5)
    assert counter["preview"]["content"] == "number 19"
    assert counter["preview"]["from"] == alice.user_id
    # What the counter names is what history has.
    texts = [m["content"] for m in carol.history(group)]
    assert sorted(texts) == sorted(f"number {i}" for i in range(20))
    # From now on she looks, too, and nothing is missing in between.
    passes.send("view", conversation_ids=[group])
    passes.send("heartbeat")
    seen_until(passes, "heartbeat")
    say(writer, group, "seen by both")
    message = passes.expect("new_message")
    assert (message["content"], message["seq"]) == ("seen by both", acks[-1]["seq"] + 1)
    assert server.metric("confab_large_events_total") > 0
    assert server.metric("confab_counters_total") > 0


def test_who_is_mentioned_gets_it(crowd):
    _, (alice, bob, carol, *_), group = crowd
    writer, mentioned, other = live(alice), live(bob), live(carol)
    writer.send("send_message", conversation_id=group, content="you", client_msg_id="1",
                mentions=[bob.user_id])
    seq = writer.expect("ack")["seq"]
    assert mentioned.expect("new_message")["content"] == "you"
    assert not [f for f in seen_until(other, "counter", seq=seq) if f["event"] == "new_message"]


def test_tail_shows_everything(crowd, tmp_path):
    """The library fetches what it is not sent: each message once, in order, with nobody looking."""
    server, (alice, *_), group = crowd
    confab = harness.Cli(tmp_path / "home", server)
    confab("login", "bob", user="bob", stdin=f"{harness.PASSWORD}\n")
    with confab.spawn("tail", "--count", "30", user="bob") as tail:
        harness.wait_until(lambda: server.metric("confab_resumes_total") > 0, "it follows")
        writer = live(alice)
        for i in range(30):
            say(writer, group, f"number {i}")
        out, _ = tail.communicate(timeout=harness.DEADLINE_S)
    lines = [line for line in out.splitlines() if "number" in line]
    assert [line.rsplit(": ", 1)[1] for line in lines] == [f"number {i}" for i in range(30)]
