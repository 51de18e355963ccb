#!/usr/bin/python3
"""Runs a server on a lossy file system, lets it die, takes what was not synced, starts it again.

usage: dying_server.py --mount DIR --breaks FILE --how kill|power --port N --seed N --report FILE
                        [--deaths N] -- COMMAND...

As long as FILE is there the server dies: at a moment drawn at random, or at the N-th of some
operation of its own on some of its files, just before it or just after. With `power` each death
takes the unsynced data with it (tests/lab/lossy_fs.c). After N deaths FILE.enough is made, and it is
killed no more. When FILE has gone, the server is left alone
and FILE.calm is made. SIGTERM ends it, and this with its exit code.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

# Where to die: an operation of the file system, part of the path, and how many of them may pass at
# most. What the paths are is in docs/formats; the report counts each place that was hit.
PLACES = [
    ("write", "/log/seg-", 200), ("sync", "/log/seg-", 200), ("resize", "/log/", 3),
    ("create", "/log/", 3), ("rename", "/log/", 3), ("unlink", "/log/", 2), ("syncdir", "/log", 4),
    ("write", "CHECKPOINT", 2), ("sync", "CHECKPOINT", 2), ("rename", "CHECKPOINT", 2),
    ("write", "/store/", 20), ("sync", "/store/", 8), ("create", "/store/", 3),
    ("rename", "/store/", 3), ("unlink", "/store/", 3), ("syncdir", "/store", 4),
    ("write", "directory.db", 10), ("sync", "directory.db", 3), ("any", "/", 400),
]
# Deaths by time, among all, and among these the ones that may come while it starts. The others
# come so long after it was ready, at most.
BY_TIME = 0.3
STARTING = 0.2
LONGEST_S = 0.25
# An operation that does not come within so long after it was ready: then it dies all the same.
PATIENCE_S = 0.3
POLL_S = 0.004


class Lab:
    def __init__(self, options):
        self.mount = options.mount
        self.breaks = Path(options.breaks)
        self.power = options.how == "power"
        self.random = random.Random(options.seed)
        self.command = options.command
        self.port = options.port
        self.most = options.deaths
        self.report = Path(options.report)
        self.deaths = 0
        self.kills = 0  # that the file system had carried out at the last death
        self.places = {}
        self.process = None
        self.ending = False

    def state(self):
        return json.loads(os.getxattr(self.mount, "user.state"))

    def order(self, name, text):
        os.setxattr(self.mount, name, text.encode())

    def start(self):
        self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self.command])

    def on_sigterm(self, *_):
        self.ending = True
        if self.process and self.process.poll() is None:
            self.process.terminate()

    def plan(self):
        """What the next death is: (place or None, seconds to wait, whether from readiness on)."""
        if self.random.random() < BY_TIME:
            return None, self.random.random() * LONGEST_S, self.random.random() > STARTING
        op, part, most = self.random.choice(PLACES)
        nth = 1 + int(self.random.random() ** 2 * most)
        when = self.random.choice(["before", "after"])
        self.order("user.kill", f"{op} {part} {nth} {when}")
        return f"{when} {op} {part}", PATIENCE_S, True

    def is_ready(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return probe.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def died(self, place):
        self.process.wait()
        code = self.process.returncode
        if code != -signal.SIGKILL:
            sys.exit(f"the server ended by itself with {code}")
        self.order("user.kill", "")
        self.kills = self.state()["kills"]
        if self.power:
            self.order("user.lose", str(self.random.getrandbits(63)))
        self.deaths += 1
        self.places[place] = self.places.get(place, 0) + 1
        self.tell()

    def tell(self):
        text = json.dumps({"deaths": self.deaths, "places": self.places, "files": self.state()})
        new = self.report.with_suffix(".new")
        new.write_text(text)
        new.rename(self.report)

    def one_life(self):
        """From a start to a death, or to the end of the breaking."""
        place, seconds, from_ready = self.plan()
        deadline = None if from_ready else time.monotonic() + seconds
        while self.breaks.exists() and not self.ending:
            if self.process.poll() is not None:
                self.died(place or "any time")
                self.start()
                return
            if deadline is None and self.is_ready():
                deadline = time.monotonic() + seconds
            if deadline is not None and time.monotonic() > deadline:
                self.process.kill()
                self.died("any time")
                self.start()
                return
            time.sleep(POLL_S)

    def run(self):
        signal.signal(signal.SIGTERM, self.on_sigterm)
        self.kills = self.state()["kills"]
        self.start()
        while not self.breaks.exists() and not self.ending:
            if self.process.poll() is not None:
                sys.exit(f"the server did not start: {self.process.returncode}")
            time.sleep(POLL_S)
        while self.breaks.exists() and not self.ending and self.deaths < self.most:
            self.one_life()
        if self.deaths >= self.most:
            self.breaks.with_name(self.breaks.name + ".enough").touch()
        while self.breaks.exists() and not self.ending:
            if self.process.poll() is not None:
                sys.exit(f"the server ended by itself with {self.process.returncode}")
            time.sleep(POLL_S)
        self.order("user.kill", "")
        # An order may have been carried out just now: that one is still dying.
        if self.state()["kills"] > self.kills:
            self.process.wait()
        if self.process.poll() is not None and not self.ending:
            self.died("any time")
            self.start()
        self.tell()
        # Whoever is told that it is calm may ask something at once.
        while not self.ending and not self.is_ready():
            if self.process.poll() is not None and not self.ending:
                sys.exit(f"the server ended by itself with {self.process.returncode}")
            time.sleep(POLL_S)
        if not self.ending:
            self.breaks.with_name(self.breaks.name + ".calm").touch()
        sys.exit(self.process.wait())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mount", required=True)
    parser.add_argument("--breaks", required=True)
    parser.add_argument("--how", choices=["kill", "power"], required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--report", required=True)
    parser.add_argument("--deaths", type=int, default=1 << 30)
    parser.add_argument("command", nargs="+")
    Lab(parser.parse_args()).run()


if __name__ == "__main__":
    main()
