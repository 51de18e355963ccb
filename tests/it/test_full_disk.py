"""A full disk, for real: the server's data is on a small file system of its own.

The file system is mounted in a mount namespace that only the server and a process that holds it
open are in, so that nothing is left behind however the test ends; from outside it is reached
through /proc.
"""

import json
import os
import subprocess

import harness

SIZE_MIB = 140
MOUNT = f'mount -t tmpfs -o size={SIZE_MIB}m tmpfs "$0" && echo mounted && exec cat'


class SmallDiskServer(harness.Server):
    """confabd on a file system of SIZE_MIB, which outlives it."""

    def __init__(self, data, log, flags=()):
        super().__init__(data, log, flags)
        self.data.parent.mkdir(exist_ok=True)
        apart = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-U", "-r", "-m"]
        self.holder = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *apart, "sh", "-c", MOUNT, str(self.data.parent)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"mounted\n"

    def command(self):
        there = ["nsenter", "-t", str(self.holder.pid), "-m", "-r"]
        if os.geteuid() != 0:
            there += ["-U", "--preserve-credentials"]
        return [*there, *super().command()]

    def inside(self, name):
        """A file beside the data directory, as the server's file system has it."""
        parent = str(self.data.parent).lstrip("/")
        return os.path.join(f"/proc/{self.holder.pid}/root", parent, name)

    def unmount(self):
        self.holder.kill()
        self.holder.communicate()

    def info(self):
        try:
            with open(self.inside("data/server.json"), encoding="utf-8") as file:
                info = json.load(file)
        except (OSError, ValueError):
            return None
        return info if info.get("pid") == self.process.pid else None

    def fill(self):
        with open(self.inside("ballast"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
            except OSError:
                pass  # full, which is what was wanted

    def free(self):
        os.unlink(self.inside("ballast"))


def send_until_refused(sender, text, accepted):
    answer = sender.send(text, client_msg_id=str(len(accepted)), to="ben")
    while answer.status == 201 and len(accepted) < 20000:
        accepted.append(answer.json)
        answer = sender.send(text, client_msg_id=str(len(accepted)), to="ben")
    assert (answer.status, answer.error_code) == (507, "storage_full")


def test_full_disk_refuses_sends_keeps_reading_and_loses_nothing(tmp_path):
    small = SmallDiskServer(tmp_path / "small" / "data", tmp_path / "small.log",
                            ["--log-segment-bytes", "16M"])
    try:
        small.start()
        anna = small.register("anna")
        small.register("ben")
        small.fill()
        accepted = []
        text = "x" * 16000
        send_until_refused(anna, text, accepted)
        assert accepted, "nothing was accepted even before the disk was full"
        conversation = accepted[0]["conversation_id"]
        assert small.http("GET", "/readyz").status == 503
        assert small.http("GET", "/healthz").status == 200
        page = anna.http("GET", f"/api/v1/conversations/{conversation}/messages?limit=5")
        assert page.status == 200
        assert page.json["messages"][-1]["message_id"] == accepted[-1]["message_id"]

        # A restart needs no room either: it recovers, serves, and takes what its log has room for.
        small.kill()
        small.start()
        history = anna.history(conversation)
        assert [m["message_id"] for m in history] == [m["message_id"] for m in accepted]
        send_until_refused(anna, text, accepted)

        small.free()
        refused = str(len(accepted))
        harness.wait_until(
            lambda: anna.send(text, client_msg_id=refused, to="ben").status in (200, 201),
            "sends are accepted again")
        history = anna.history(conversation)
        assert [m["seq"] for m in history] == [m["seq"] for m in accepted] + [history[-1]["seq"]]
        assert history[-1]["seq"] == accepted[-1]["seq"] + 1
    finally:
        small.close_sockets()
        small.kill()
        small.unmount()
