"""Proof: an acknowledged message survives kill -9, once and in its place.

People send to one group over REST, each its own numbered messages, and repeat a send with the same
client_msg_id until it is acknowledged. Meanwhile the server is killed at random moments and
started again. At the end history must hold exactly the messages that were sent: each once, each at
the seq that its acknowledgement named, each sender's in order, and seq dense over the whole range.
"""

import os
import random
import threading

import pytest

import harness

FORM = os.environ.get("CONFAB_PROOF", "normal")
SENDERS = 6
KILLS = {"normal": 10, "long": 100}[FORM]
# Between kills at least that many messages are acknowledged, so that each kill hits live traffic.
ACKED_BETWEEN_KILLS = 100


class Sender:
    """Sends numbered messages one after the other until told to end."""

    def __init__(self, server, name, token, group):
        self.server = server
        self.name = name
        self.token = token
        self.group = group
        self.acked = []  # (seq, message_id, text), in the order of sending
        self.ending = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)

    def run(self):
        try:
            while not self.ending.is_set():
                self.send_one(len(self.acked))
        except Exception as reason:  # shown by the test, which joins this thread
            self.failure = reason

    def send_one(self, number):
        text = f"{self.name} {number}"
        body = {"groupId": self.group, "content": text, "client_msg_id": f"{self.name}-{number}"}

        def acknowledged():
            try:
                answer = self.server.http("POST", "/api/v1/messages", body, token=self.token)
            except (OSError, harness.http.client.HTTPException):
                return None  # killed, or not up again yet: the fate of the send is unknown
            if answer.status in (429, 503):
                return None
            assert answer.status in (200, 201), (answer.status, answer.body)
            return answer.json

        result = harness.wait_until(acknowledged, f"{text} is acknowledged")
        self.acked.append((result["seq"], result["message_id"], text))


def acknowledged(senders):
    for sender in senders:
        assert sender.failure is None, f"{sender.name}: {sender.failure!r}"
    return sum(len(sender.acked) for sender in senders)


@pytest.mark.parametrize("shards", [1, 2])
def test_nothing_acknowledged_is_lost_by_kill(server_factory, shards):
    server = server_factory("--shards", shards)
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed of the moments of the kills: {seed}")
    rng = random.Random(seed)

    people = [server.register(f"sender{i}") for i in range(SENDERS)]
    answer = people[0].http("POST", "/api/v1/groups",
                            {"name": "proof", "members": [p.username for p in people[1:]]})
    assert answer.status == 201, answer.body
    group = answer.json["conversation_id"]
    senders = [Sender(server, p.username, p.token, group) for p in people]
    for sender in senders:
        sender.thread.start()

    goal = 0
    for _ in range(KILLS):
        goal = acknowledged(senders) + rng.randrange(ACKED_BETWEEN_KILLS, 3 * ACKED_BETWEEN_KILLS)
        harness.wait_until(lambda: acknowledged(senders) >= goal, "messages go through", 120)
        server.kill()
        server.start()
    harness.wait_until(lambda: acknowledged(senders) > goal, "messages go through at the end", 120)
    for sender in senders:
        sender.ending.set()
    for sender in senders:
        sender.thread.join(harness.DEADLINE_S)
        assert not sender.thread.is_alive(), f"{sender.name} does not end"
    acknowledged(senders)

    stored = [(m["seq"], m["message_id"], m["content"]) for m in people[0].history(group)]
    sent = sorted(entry for sender in senders for entry in sender.acked)
    assert stored == sent
    first = stored[0][0]
    assert [seq for seq, _, _ in stored] == list(range(first, first + len(stored)))
    for sender in senders:
        own = [seq for seq, _, text in stored if text.startswith(f"{sender.name} ")]
        assert own == [seq for seq, _, _ in sender.acked]
