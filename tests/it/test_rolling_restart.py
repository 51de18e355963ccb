"""A server is restarted several times behind a proxy while people use it, and nobody sees an error.

The proxies have the configurations of deploy/, which repeat no request. The server's socket is kept
by a service manager (service_manager.py), so that connections wait in it while there is no server.
The people: some send over HTTP on connections that they keep, some over a WebSocket that they open
again when they are told to. Checked: no request fails, no session ends without `reconnect`, and
every acknowledged message is in the history once, in one order.
"""

import json
import shutil
import ssl
import threading
import uuid

import pytest

import harness
from service_manager import Managed, listener
from test_proxies import certificate, haproxy, nginx  # noqa: F401  # a fixture, and the proxies

RESTARTS = 4


@pytest.fixture(params=[haproxy, nginx], ids=["haproxy", "nginx"])
def behind(request, tmp_path, certificate):  # noqa: F811  # the fixture
    """(server, proxy)"""
    kept = listener()
    server = Managed(tmp_path / "data", tmp_path / "confabd.log", ["--drain-spread", "1s"], [kept])
    proxy = None
    try:
        server.start()
        proxy = request.param(tmp_path / "proxy", server, certificate)
        yield server, proxy
        server.stop()
    finally:
        server.kill()
        if proxy:
            proxy.stop()
        kept.close()
        shutil.rmtree(server.data, ignore_errors=True)


class Person(threading.Thread):
    """Sends until told to stop; what was acknowledged is in `acked`, in order."""

    def __init__(self, account, peer, proxy):
        super().__init__(daemon=True)
        self.account, self.peer, self.proxy = account, peer, proxy
        self.acked = []
        self.error = None
        self.enough = threading.Event()

    def run(self):
        try:
            self.work()
        except Exception as error:  # noqa: BLE001  # told by the test, whatever it is
            self.error = f"{type(error).__name__}: {error}"

    def finish(self):
        self.enough.set()
        self.join(harness.DEADLINE_S)
        assert not self.is_alive(), "somebody waits for ever"
        assert self.error is None, self.error


class OverHttp(Person):
    def work(self):
        connection = self.proxy.connect()
        while not self.enough.is_set():
            name = str(uuid.uuid4())
            body = {"toUserId": self.peer, "content": name, "client_msg_id": name}
            connection.request("POST", "/api/v1/messages", json.dumps(body),
                               {"Authorization": f"Bearer {self.account.token}",
                                "Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 201, (answer.status, said)
            self.acked.append(name)


class OverSocket(Person):
    """As the protocol says: told to reconnect, it does so, and repeats what had no answer."""

    reconnects = 0

    def send(self, one, name):
        try:
            one.send("send_message", to=self.peer, content=name, client_msg_id=name)
        except harness.SocketClosed:
            pass  # what came before the end is still to be received

    def work(self):
        unanswered = None
        trusted = ssl.create_default_context(cafile=self.proxy.cert)
        while not self.enough.is_set():
            one = harness.Socket(f"wss://localhost:{self.proxy.port}/ws", ssl=trusted,
                                 subprotocols=["confab.v1", f"token.{self.account.token}"])
            one.expect("hello")
            told = False
            try:
                while not (self.enough.is_set() and not unanswered):
                    if not unanswered:
                        unanswered = str(uuid.uuid4())
                    if not told:
                        self.send(one, unanswered)
                    frame = one.recv()
                    while frame["event"] not in ("ack", "reconnect"):
                        assert frame["event"] != "error", frame
                        frame = one.recv()
                    if frame["event"] == "reconnect":
                        told = True
                    elif frame.get("client_msg_id") == unanswered:
                        self.acked.append(unanswered)
                        unanswered = None
            except harness.SocketClosed as closed:
                assert told and closed.code == 1001, f"closed with {closed.code}, told: {told}"
                self.reconnects += 1
            finally:
                one.close()


def test_nobody_sees_an_error(behind):
    server, proxy = behind
    accounts = [server.register(f"person{i}") for i in range(6)]
    people = [kind(account, accounts[(i + 1) % 6].user_id, proxy)
              for i, (kind, account) in enumerate(zip([OverHttp, OverSocket] * 3, accounts))]
    for person in people:
        person.start()
    for _ in range(RESTARTS):
        before = [len(person.acked) for person in people]
        harness.wait_until(lambda: all(person.error or len(person.acked) >= count + 20 for
                                       person, count in zip(people, before)),
                           "everybody sends")
        server.restart()
    for person in people:
        person.finish()

    assert all(person.reconnects == RESTARTS for person in people[1::2])
    for sender in people:
        found = {}
        for row in sender.account.http("GET", "/api/v1/conversations?limit=50").json[
                "conversations"]:
            history = sender.account.history(row["conversation_id"])
            assert [m["seq"] for m in history] == sorted({m["seq"] for m in history})
            for message in history:
                found[message["content"]] = found.get(message["content"], 0) + 1
        assert sender.acked, "there was something to be lost"
        assert [name for name in sender.acked if found.get(name) != 1] == []
