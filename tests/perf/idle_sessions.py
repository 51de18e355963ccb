#!/usr/bin/env python3
"""User memory of idle authenticated sessions.

Makes N accounts and puts each into 20 groups. Half of them connect first, so that caches, buffers and
the allocator are where they are in a running server; then the other half, and what the resident memory
has grown by is divided by their number. Each connection resumes until caught_up, so that the server
has done what it does for a real client. Kernel memory of the sockets is not in it. Where gdb is installed, the bytes in use on the heap are told as well: unlike
the resident memory they do not depend on what earlier work left behind. Run:
idle_sessions.py [sessions] [--deflate], with CONFAB_BUILD naming the build folder. --deflate: all of them agree
on permessage-deflate, and each has sent a compressed message.
"""

import asyncio
import base64
import http.client
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("CONFAB_BUILD", ROOT / "build" / "release"))
CONVERSATIONS = 20
GROUP = 500
DEFLATE = "--deflate" in sys.argv


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS")


def heap_bytes(port):
    """Bytes in use on the heap: unlike the resident memory, untouched by what was there before."""
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    conn.request("GET", "/metrics")
    for line in conn.getresponse().read().decode().splitlines():
        if line.startswith("confab_process_heap_bytes "):
            return int(line.split()[1])
    raise RuntimeError("no confab_process_heap_bytes")


class Api:
    def __init__(self, port):
        self.conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, method, path, body, token=None):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        while True:
            self.conn.request(method, path, json.dumps(body), headers)
            answer = self.conn.getresponse()
            data = answer.read()
            if answer.status != 503:
                break
            time.sleep(int(answer.getheader("Retry-After") or 1))
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:200]}")
        return json.loads(data)


def sign_up(port, first, last):
    api = Api(port)
    out = []
    for i in range(first, last):
        who = {"username": f"idle{i}", "password": "a long enough password"}
        api.call("POST", "/api/v1/accounts", who)
        t = api.call("POST", "/api/v1/tokens", who)
        out.append((i, t["user_id"], t["token"]))
    return out


def frame(text):
    data = text.encode()
    return bytes([0x81, 0x80 | len(data)]) + b"\0\0\0\0" + data


def deflated(text):
    z = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = (z.compress(text.encode()) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return bytes([0xC1, 0x80 | len(data)]) + b"\0\0\0\0" + data


async def read_frame(reader):
    head = await reader.readexactly(2)
    size = head[1] & 127
    if size == 126:
        size = struct.unpack(">H", await reader.readexactly(2))[0]
    elif size == 127:
        size = struct.unpack(">Q", await reader.readexactly(8))[0]
    return head[0] & 15, await reader.readexactly(size)


async def session(port, token, number, gate):
    async with gate:
        source = (f"127.0.{1 + number // 5000}.1", 0)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=source, limit=1 << 20
        )
        offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n" if DEFLATE else ""
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /ws?token={token} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offer}\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if (b"permessage-deflate" in head) != DEFLATE:
            raise RuntimeError("the server did not agree, or without being asked")
        if DEFLATE:
            writer.write(deflated('{"event":"heartbeat"}' + " " * 1000))
        writer.write(frame('{"event":"resume"}'))
        while True:
            _, data = await read_frame(reader)
            if b'"caught_up"' in data[:40]:
                return reader, writer


async def connect_all(port, tokens, first):
    gate = asyncio.Semaphore(64)
    jobs = (session(port, t, first + i, gate) for i, t in enumerate(tokens))
    return await asyncio.gather(*jobs)


def settle(pid):
    """Waits until the resident memory has not fallen for a while: flushes and evictions are over."""
    best = resident_kib(pid)
    since = time.monotonic()
    while time.monotonic() - since < 8:
        time.sleep(0.5)
        now = resident_kib(pid)
        if now < best - 64:
            best = now
            since = time.monotonic()
    return resident_kib(pid)


def main():
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()]
    count = numbers[0] if numbers else 10000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    data = tempfile.mkdtemp(prefix="confab-idle-")
    args = [
        BUILD / "confabd", "--data", data, "--port", "0", "--password-cost", "low", "--access-token", "24h",
        "--log-level", "warn", "--cache-bytes", "1M", "--store-cache-bytes", "1M", "--flush-after", "1s", "--dead-after", "1h",
    ]  # fmt: skip
    args += ["--registration", "open"] + ["--websocket-compression"] * DEFLATE
    server = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    try:
        info = Path(data, "server.json")
        while not info.exists():
            time.sleep(0.05)
        port = int(json.loads(info.read_text())["url"].rstrip("/").rsplit(":", 1)[1])
        with ThreadPoolExecutor(8) as pool:
            step = -(-count // 8)
            parts = pool.map(
                lambda k: sign_up(port, k * step, min(count, (k + 1) * step)), range(8)
            )
            people = sorted(p for part in parts for p in part)
        api = Api(port)
        groups = 0
        for shift in range(CONVERSATIONS):
            for first in range(0, count, GROUP):
                ids = [people[(first + shift * 7 + k) % count][1] for k in range(min(GROUP, count))]
                api.call("POST", "/api/v1/groups", {"name": f"g{groups}", "members": ids}, people[0][2])
                groups += 1
        return asyncio.run(measure(server.pid, port, [p[2] for p in people], groups))
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(data)


async def measure(pid, port, tokens, groups):
    loop = asyncio.get_running_loop()
    half = len(tokens) // 2
    empty = resident_kib(pid)
    open_ones = await connect_all(port, tokens[:half], 0)
    before = await loop.run_in_executor(None, settle, pid)
    heap_before = heap_bytes(port)
    open_ones += await connect_all(port, tokens[half:], half)
    after = await loop.run_in_executor(None, settle, pid)
    heap_after = heap_bytes(port)
    per = (after - before) * 1024 / (len(tokens) - half)
    print(
        f"{groups} groups, each user in about {CONVERSATIONS}; resident {empty / 1024:.1f} MiB without "
        f"sessions, {before / 1024:.1f} MiB with {half} idle, {after / 1024:.1f} MiB with "
        f"{len(tokens)}: {per:.0f} bytes for each further one"
    )
    heap = (heap_after - heap_before) / (len(tokens) - half)
    print(f"heap in use: {heap_before} bytes, then {heap_after}: {heap:.0f} a session")
    for _, writer in open_ones:
        writer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
