"""What a service manager does for confabd, without one: it keeps the listening sockets, hands them
over at each start, and listens to what the program says of itself.
"""

import os
import select
import socket
import subprocess
import time

import harness

# The variables name the process that they are for, so they are set where its number is known.
LAUNCH = """
import os, sys
count, first = int(sys.argv[1]), 3
kept = [int(fd) for fd in sys.argv[2:2 + count]]
spare = [os.dup2(fd, 100 + i) for i, fd in enumerate(kept)]
for i, fd in enumerate(spare):
    os.dup2(fd, first + i)
for fd in set(kept + spare) - set(range(first, first + count)):
    os.close(fd)
if count:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
os.environ.update(WATCHDOG_PID=str(os.getpid()))
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


def listener(address="127.0.0.1", family=socket.AF_INET):
    made = socket.socket(family, socket.SOCK_STREAM)
    made.bind((address, 0))
    made.listen(128)
    return made


class Notices:
    """NOTIFY_SOCKET: what the program says, in order."""

    def __init__(self, name):
        self.name = str(name)
        self.said = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        address = self.name
        if address.startswith("@"):
            address = "\0" + address[1:]
        self._socket.bind(address)

    def wait(self, line):
        """Until a message has that line; what came before it is in `said`."""
        deadline = time.monotonic() + harness.DEADLINE_S
        while not any(line in message.splitlines() for message in self.said):
            left = deadline - time.monotonic()
            readable, _, _ = select.select([self._socket], [], [], max(0, left))
            assert readable, f"never said {line}: {self.said}"
            self.said.append(self._socket.recv(4096).decode())

    def close(self):
        self._socket.close()


class Managed(harness.Server):
    """A server that gets sockets and is listened to."""

    def __init__(self, data, log, flags=(), sockets=(), notices=None, environment=None):
        super().__init__(data, log, flags)
        self.kept = list(sockets)
        self.notices = notices
        self.environment = dict(environment or {})
        if notices:
            self.environment["NOTIFY_SOCKET"] = notices.name

    def spawn(self):
        fds = [str(one.fileno()) for one in self.kept]
        command = [str(part) for part in self.command()]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "/usr/bin/python3", "-c", LAUNCH,
                 str(len(fds)), *fds, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, pass_fds=[int(fd) for fd in fds],
                env={**os.environ, **self.environment})
        return self.process
