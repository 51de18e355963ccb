"""Messages that are not marked as first attempts, as plain clients send them: each is stored once, however
often it is sent and whatever happened to the server in between, and new ones cost no reads."""

import shutil

KEYS = 600


def send_all(socket, keys, to="bob"):
    """All at once; {key: its acknowledgement}."""
    for key in keys:
        socket.send("send_message", to=to, content=f"text of {key}", client_msg_id=key)
    return {key: socket.expect("ack", client_msg_id=key) for key in keys}


def ids(acks):
    return {key: ack["message_id"] for key, ack in acks.items()}


def test_repeats_after_kills_and_a_restore(server_factory, tmp_path):
    server = server_factory("--flush-after", "100ms")
    server.flags += ["--port", str(server.port)]
    alice = server.register("alice")
    server.register("bob")
    keys = [f"key {n}" for n in range(KEYS)]
    socket = alice.socket()
    first = ids(send_all(socket, keys[:400]))
    server.kill()
    server.start()
    # Out of the store and the log; then new ones among them, which are read for once and no more.
    socket = alice.socket()
    assert ids(send_all(socket, keys[:400])) == first
    probes = server.metric("confab_dedup_probes_total")
    first.update(ids(send_all(socket, keys[400:500])))
    assert server.metric("confab_dedup_loads_total") <= 1
    assert server.metric("confab_dedup_probes_total") - probes < 20
    server.stop()
    shutil.copytree(server.data, tmp_path / "backup")
    server.start()
    socket = alice.socket()
    lost = ids(send_all(socket, keys[500:]))
    assert ids(send_all(socket, keys)) == {**first, **lost}
    server.kill()
    shutil.rmtree(server.data)
    shutil.copytree(tmp_path / "backup", server.data)
    server.start()
    # What the backup has is known, what it has not is new.
    socket = alice.socket()
    again = send_all(socket, keys)
    assert {key: ack["message_id"] for key, ack in again.items() if ack["duplicate"]} == first
    conversation = next(iter(again.values()))["conversation_id"]
    texts = [m["content"] for m in alice.history(conversation)]
    assert sorted(texts) == sorted(f"text of {key}" for key in keys)
