#!/usr/bin/env python3
"""User memory of idle TLS connections.

Starts confabd with a certificate of its own and opens N connections, each of which makes one request
and then says nothing more. The first half is not counted, so that caches, buffers and the allocator
are where they are in a running server; what the resident memory and the heap grow by with the other
half is divided by their number. Plain TCP is measured the same way, so that the difference is TLS.
Connections come one after the other, or many at once, as after a restart: then buffers of handshakes
lie between what stays. Run: idle_tls.py [connections], with CONFAB_BUILD naming the build folder.
"""

import json
import os
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("CONFAB_BUILD", ROOT / "build" / "release"))
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


class Server:
    def __init__(self, tls):
        self.data = tempfile.mkdtemp(prefix="confab-tls-")
        flags = ["--lan", "--listen", "127.0.0.1"] if tls else []
        self.process = subprocess.Popen(
            [BUILD / "confabd", "--data", self.data, "--port", "0", "--shards", "2",
             "--log-level", "warn", *flags], stdout=subprocess.DEVNULL)
        info = Path(self.data, "server.json")
        while not info.exists():
            time.sleep(0.05)
        self.port = urlsplit(json.loads(info.read_text())["url"]).port
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def open(self, number, session=None):
        """A connection that has made a request. Many addresses: ports of one would run out."""
        one = socket.create_connection(("127.0.0.1", self.port), 60,
                                       source_address=(f"127.0.{1 + number // 5000}.1", 0))
        if self.context:
            one = self.context.wrap_socket(one, session=session)
        one.sendall(REQUEST)
        assert b" 200 " in one.recv(4096)
        return one

    def heap(self):
        """Bytes in use as the server tells them once a second: two readings that agree."""
        last = None
        while True:
            with socket.create_connection(("127.0.0.1", self.port)) as plain:
                one = self.context.wrap_socket(plain) if self.context else plain
                one.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                text = b""
                while chunk := one.recv(65536):
                    text += chunk
            now = next(int(line.split()[1]) for line in text.decode().splitlines()
                       if line.startswith("confab_process_heap_bytes "))
            if last is not None and abs(now - last) < 4096:
                return now
            last = now
            time.sleep(1.1)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.data)


def measure(count, at_once, tls, version=None, resumed=False):
    server = Server(tls)
    try:
        session = None
        if version:
            server.context.minimum_version = server.context.maximum_version = version
        if resumed:
            session = server.open(0).session
        kept = []
        with ThreadPoolExecutor(at_once) as pool:
            kept += pool.map(lambda i: server.open(i, session), range(count // 2))
            heap, resident = server.heap(), resident_kib(server.process.pid)
            kept += pool.map(lambda i: server.open(i, session), range(count // 2, count))
            heap, resident = server.heap() - heap, resident_kib(server.process.pid) - resident
        if resumed:
            assert all(one.session_reused for one in kept)
        for one in kept:
            one.sendall(REQUEST)
            assert b" 200 " in one.recv(4096), "the server closed it meanwhile: take fewer"
            one.close()
        half = count - count // 2
        return resident * 1024 / half, heap / half
    finally:
        server.stop()


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    print(f"{count // 2} further connections; bytes for each: resident, heap in use")
    for name, arguments in (
            ("plain", (1, False)), ("TLS 1.3", (1, True, v13)), ("TLS 1.2", (1, True, v12)),
            ("TLS 1.3, 64 at once", (64, True, v13)),
            ("TLS 1.3, by a ticket", (1, True, v13, True))):
        resident, heap = measure(count, *arguments)
        print(f"{name:24}{resident:8.0f}{heap:8.0f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
