"""A client that was away while much happened: many conversations, or very many messages in one.

CONFAB_ABSENCE=long takes the sizes of the requirement (1,000 conversations, 100,000 messages) and
prints what it cost; otherwise they are smaller and the same is checked.
"""

import json
import os
import time

import harness
from test_rest import group, ok

LONG = os.environ.get("CONFAB_ABSENCE") == "long"
CONVERSATIONS = 1000 if LONG else 120
MESSAGES = 100_000 if LONG else 3000
IN_FLIGHT = 32
UNLIMITED = ("--rate-sends-user", "0", "--rate-sends-device", "0")


def cpu_seconds(server):
    with open(f"/proc/{server.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(server, socket, **resume):
    """Resumes; returns the rows, the token, the bytes of the pages, the server's CPU seconds."""
    before = cpu_seconds(server)
    rows, caught_up = socket.resume(**resume)
    size = sum(len(json.dumps(row, separators=(",", ":"))) for row in rows)
    return ({r["conversation_id"]: r for r in rows}, caught_up["since"], size,
            cpu_seconds(server) - before)


def send_many(account, conversation, count):
    socket = account.socket()
    acked = 0
    for n in range(count):
        socket.send("send_message", conversation_id=conversation, content=f"m{n}", type="text",
                    client_msg_id=f"k{n}", fresh=True)
        if n - acked >= IN_FLIGHT:
            socket.expect("ack", client_msg_id=f"k{acked}")
            acked += 1
    for n in range(acked, count):
        socket.expect("ack", client_msg_id=f"k{n}")
    socket.close()


def test_many_conversations(server_factory):
    server = server_factory("--shards", "2")
    alice, bob = server.register("alice"), server.register("bob")
    rooms = [group(bob, alice, name=f"room {n}") for n in range(CONVERSATIONS)]

    def all_joined():
        answer = alice.socket()
        rows, _ = answer.resume()
        answer.close()
        return set(rooms) <= {r["conversation_id"] for r in rows}

    harness.wait_until(all_joined, "all conversations are in the list")
    socket = alice.socket()
    first, since, size, cpu = measured(server, socket)
    print(f"first: {len(first)} rows, {size} bytes, {cpu:.2f} s CPU")
    quiet, since, size, cpu = measured(server, socket, since=since)
    print(f"nothing missed: {len(quiet)} rows, {size} bytes, {cpu:.2f} s CPU")
    assert not set(quiet) & set(rooms)
    socket.close()
    # One of ten has moved: the answer is about those only.
    moved = rooms[::10]
    for room in moved:
        ok(bob.send("one", conversation_id=room), 201)
    some, since, size, cpu = measured(server, alice.socket(), since=since)
    print(f"{len(moved)} moved: {len(some)} rows, {size} bytes, {cpu:.2f} s CPU")
    assert set(some) & set(rooms) == set(moved)
    for room in rooms:
        ok(bob.send("missed", conversation_id=room), 201)
    away = alice.socket()
    rows, since, size, cpu = measured(server, away, since=since)
    print(f"all moved: {len(rows)} rows, {size} bytes, {cpu:.2f} s CPU")
    assert set(rows) >= set(rooms)
    for room in rooms:
        assert [e["content"] for e in rows[room]["events"]] == ["missed"]
        assert not rows[room]["limited"]
    assert size < 1200 * len(rooms)  # a row and its message


def test_very_many_messages(server_factory):
    server = server_factory(*UNLIMITED)
    alice, bob = server.register("alice"), server.register("bob")
    room = group(bob, alice, name="busy")
    socket = alice.socket()
    rows, since, _, _ = measured(server, socket)
    socket.close()
    begun = time.monotonic()
    send_many(bob, room, MESSAGES)
    print(f"sent {MESSAGES} in {time.monotonic() - begun:.1f} s")

    # The newest come at once, and it is said that there is more.
    rows, since, size, cpu = measured(server, alice.socket(), since=since)
    row = rows[room]
    print(f"resume: {size} bytes, {cpu:.2f} s CPU, {len(row['events'])} events")
    assert row["limited"] and row["unread"] == MESSAGES and size < 100_000
    shown = [e["content"] for e in row["events"]]
    assert shown == [f"m{n}" for n in range(MESSAGES - len(shown), MESSAGES)] and shown
    assert row["covered"] == [row["head"] - len(shown) + 1, row["head"]]

    # The rest while scrolling up, page by page, without a gap.
    begun, cpu = time.monotonic(), cpu_seconds(server)
    before, pages = row["covered"][0], 0
    while len(shown) < MESSAGES:
        page = ok(alice.http("GET", f"/api/v1/conversations/{room}/messages"
                                    f"?before={before}&limit=200"))
        assert page["covered"][1] == before - 1 and page["messages"]
        shown[:0] = [m["content"] for m in page["messages"]]
        before, pages = page["covered"][0], pages + 1
    print(f"scrolled {pages} pages in {time.monotonic() - begun:.1f} s, "
          f"{cpu_seconds(server) - cpu:.2f} s CPU")
    assert shown == [f"m{n}" for n in range(MESSAGES)]


def test_the_library_fills_what_was_missed(server_factory, tmp_path):
    """libconfab hands out everything, in order and once, however much it was."""
    server = server_factory(*UNLIMITED)
    confab = harness.Cli(tmp_path / "home", server)
    for name in ("alice", "bob"):
        confab("register", name, user=name, stdin=harness.PASSWORD + "\n")
    bob, alice = server.login("bob"), server.login("alice")
    room = group(bob, alice, name="busy")
    with confab.spawn("tail", "--continue", "--count", "1", user="alice") as tail:
        for line in tail.stdout:
            if "following" in line:
                break
        ok(bob.send("now", conversation_id=room), 201)
        assert tail.wait(harness.DEADLINE_S) == 0
    send_many(bob, room, MESSAGES)
    begun = time.monotonic()
    lines = confab("tail", "--continue", "--count", str(MESSAGES), "--json", user="alice",
                   timeout=600).splitlines()
    print(f"filled {MESSAGES} in {time.monotonic() - begun:.1f} s")
    contents = [event["content"] for event in map(json.loads, lines) if event.get("content")]
    assert contents == [f"m{n}" for n in range(MESSAGES)]
