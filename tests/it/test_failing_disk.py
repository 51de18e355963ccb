"""A disk that fails under a running server: tests/it/failing_disk.c, preloaded into confabd.

People send from several threads while writes or syncs of the log, or of the message store, begin to
fail. What must hold then: nothing acknowledged is lost, nothing else was shown to anyone, sends are
refused with a documented error, everything that reads goes on, and /readyz and the metrics say so.
"""

import os
import threading

import pytest

import harness

SENDERS = 4
# Acknowledged before the disk fails.
BEFORE = 200


class FailingDiskServer(harness.Server):
    """confabd with failing_disk.so; `part` names the files whose calls it watches."""

    def __init__(self, tmp_path, part, flags=()):
        super().__init__(tmp_path / "data", tmp_path / "confabd.log", flags)
        self.orders = tmp_path / "orders"
        self.report = tmp_path / "report"
        self.part = part
        self.preload = True

    def command(self):
        if not self.preload:
            return super().command()
        sanitizers = os.environ.get("ASAN_OPTIONS", "")
        return ["env", f"LD_PRELOAD={harness.BUILD / 'failing_disk.so'}",
                f"CONFAB_FAULT_FILES={self.part}", f"CONFAB_FAULT_ORDERS={self.orders}",
                f"CONFAB_FAULT_REPORT={self.report}",
                f"ASAN_OPTIONS={sanitizers}:verify_asan_link_order=0", *super().command()]

    def order(self, words):
        new = self.orders.with_suffix(".new")
        new.write_text(words)
        new.rename(self.orders)

    def calls(self):
        """What was called from the first failure on."""
        return self.report.read_text().splitlines() if self.report.exists() else []

    def start_on_a_good_disk(self):
        self.preload = False
        return self.start()


@pytest.fixture
def failing(tmp_path):
    servers = []

    def make(part, *flags):
        servers.append(FailingDiskServer(tmp_path, part, flags))
        return servers[-1].start()

    yield make
    for server in servers:
        server.close_sockets()
        server.kill()


class Sender:
    """Sends numbered messages to a group until one is refused for another reason than `busy`."""

    def __init__(self, account, group, length):
        self.account = account
        self.group = group
        self.length = length
        self.acked = []  # (seq, message_id, text)
        self.refused = None  # (text, status, code)
        self.failure = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def send(self, text):
        return self.account.send(text, client_msg_id=text.rstrip("."), group_id=self.group)

    def run(self):
        try:
            while not self.refused:
                text = f"{self.account.username}-{len(self.acked)}".ljust(self.length, ".")
                answer = self.send(text)
                if answer.status == 201:
                    self.acked.append((answer.json["seq"], answer.json["message_id"], text))
                elif answer.error_code != "busy":
                    self.refused = (text, answer.status, answer.error_code)
        except Exception as reason:  # shown by the test, which joins this thread
            self.failure = reason


def acknowledged(senders):
    for sender in senders:
        assert sender.failure is None, repr(sender.failure)
        assert not sender.refused, sender.refused
    return sum(len(sender.acked) for sender in senders)


def begin(server, length=0):
    """People, a group, and senders that have sent for a while."""
    people = [server.register(f"sender{i}") for i in range(SENDERS)]
    answer = people[0].http("POST", "/api/v1/groups",
                            {"name": "disk", "members": [p.username for p in people[1:]]})
    assert answer.status == 201, answer.body
    group = answer.json["conversation_id"]
    # It takes what comes as it comes: one that rests for a thousand frames is told to resync.
    watcher = people[0].socket(max_queue=None)
    watcher.resume()
    senders = [Sender(p, group, length) for p in people]
    harness.wait_until(lambda: acknowledged(senders) >= BEFORE, "messages go through")
    return people, group, watcher, senders


def join(senders):
    for sender in senders:
        sender.thread.join(harness.DEADLINE_S)
        assert not sender.thread.is_alive(), "sends are neither refused nor acknowledged"
        assert sender.failure is None, repr(sender.failure)


def stored(account, group):
    return [(m["seq"], m["message_id"], m["content"]) for m in account.history(group)]


def told(watcher, last):
    """What the watcher was sent, up to the message with seq `last`: (seq, message_id, text)."""
    frames = []
    while not frames or frames[-1]["seq"] < last:
        frames.append(watcher.expect("new_message"))
    return [(f["seq"], f["message_id"], f["content"]) for f in frames]


def not_ready(server):
    """The reason that /readyz gives, None when it is ready."""
    answer = server.http("GET", "/readyz")
    return answer.json["error"]["message"] if answer.status == 503 else None


def assert_nothing_lost(server, people, group, senders):
    """After a restart: what was acknowledged is there, and what was refused can be repeated."""
    acked = sorted(entry for sender in senders for entry in sender.acked)
    refused = {sender.refused[0] for sender in senders if sender.refused}
    history = stored(people[0], group)
    assert set(acked) <= set(history)
    assert {text for _, _, text in set(history) - set(acked)} <= refused
    for sender in senders:
        if sender.refused:
            answer = sender.send(sender.refused[0])
            assert answer.status in (200, 201), (answer.status, answer.body)
            sender.acked.append(
                (answer.json["seq"], answer.json["message_id"], sender.refused[0]))
    acked = sorted(entry for sender in senders for entry in sender.acked)
    assert stored(people[0], group) == acked
    first = acked[0][0]
    assert [seq for seq, _, _ in acked] == list(range(first, first + len(acked)))


@pytest.mark.parametrize(("orders", "end", "shards"), [
    ("sync once", "kill", 1), ("sync once", "stop", 2), ("sync once drop", "kill", 2),
    ("sync", "stop", 1), ("write once", "kill", 2)])
def test_failed_log_acknowledges_nothing_more_and_loses_nothing(failing, orders, end, shards):
    server = failing("/data/log/", "--shards", shards)
    people, group, watcher, senders = begin(server)
    server.order(orders)
    join(senders)
    for sender in senders:
        assert sender.refused[1:] == (503, "storage_failed"), sender.refused
    acked = sorted(entry for sender in senders for entry in sender.acked)

    # The one who listened was sent what was acknowledged and nothing else, and nothing is written.
    assert told(watcher, acked[-1][0]) == acked
    for sender in senders:
        answer = sender.send("one-more")
        assert (answer.status, answer.error_code) == (503, "storage_failed")
    watcher.send("send_group_message", groupId=group, content="by socket", client_msg_id="by-socket")
    error = watcher.expect("error", client_msg_id="by-socket")
    assert error["code"] == "storage_failed" and error["ref"] == "send_group_message"
    assert not [f for f in watcher.seen if f["event"] == "new_message"]
    failed = [call for call in server.calls() if call.endswith(" fails")]
    assert server.calls() == failed and len(failed) == 1

    # Reading goes on, and shows what was acknowledged and nothing else.
    assert stored(people[1], group) == acked
    conversations, _ = people[2].socket().resume()
    assert acked[-1][0] in [c["head"] for c in conversations]
    harness.wait_until(lambda: not_ready(server) == "storage failed", "/readyz gives the reason")
    assert server.http("GET", "/healthz").status == 200
    harness.wait_until(lambda: server.metric("confab_log_failed") == 1, "the metric says it")
    assert server.metric('confab_errors_total{group="storage"}') >= SENDERS

    server.close_sockets()
    if end == "stop":
        server.stop()
        assert server.calls() == failed
    server.kill()
    server.start_on_a_good_disk()
    assert not_ready(server) is None
    assert_nothing_lost(server, people, group, senders)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_failed_store_keeps_what_was_acknowledged(failing, end):
    server = failing("/data/store/", "--dirty-bytes", "4M", "--flush-after", "100",
                     "--store-memtable-bytes", "1M", "--checkpoint", "100",
                     # Long messages: the watcher may be behind by some hundred of them.
                     "--queue-bytes", "64M")
    people, group, watcher, senders = begin(server, length=8000)
    server.order("write sync")
    join(senders)
    for sender in senders:
        assert sender.refused[1:] == (503, "storage_failed"), sender.refused
    acked = sorted(entry for sender in senders for entry in sender.acked)
    assert told(watcher, acked[-1][0]) == acked
    assert not_ready(server) == "storage failed"
    assert server.http("GET", "/healthz").status == 200
    assert server.metric("confab_store_errors_total") > 0
    harness.wait_until(lambda: server.metric("confab_checkpoint_failures_total") > 0,
                       "a checkpoint is tried, and counted when it failed")
    assert server.metric("confab_log_failed") == 0
    assert stored(people[1], group) == acked
    conversations, _ = people[2].socket().resume()
    assert acked[-1][0] in [c["head"] for c in conversations]

    server.close_sockets()
    if end == "stop":
        server.stop()
    server.kill()
    server.start_on_a_good_disk()
    assert_nothing_lost(server, people, group, senders)
