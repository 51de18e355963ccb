"""Guard: the server's own instructions for a message do not creep up.

Times of this machine and that differ by a third; instructions do not differ at all. Counted are a
session's input, the links between shards, the engine and the output queues, for a message from one
person to another and its receipts; not the kernel, the log's thread, and the store's
(docs/performance.md has the whole).
"""

import re
import subprocess

import pytest

import harness

PARTS = ["session_input", "links_receive", "links_receive_own", "engine_poll", "conns_write"]
# Measured, and a tenth on top for other compilers and C libraries. To be lowered with the figure.
LIMIT = 22700


def count(rounds, folder):
    out = folder / f"callgrind.{rounds}"
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--toggle-collect=shard_turn",
         f"--callgrind-out-file={out}", str(harness.BUILD / "message_cost"), str(rounds)],
        capture_output=True, text=True, timeout=300, check=True)
    listing = subprocess.run(
        ["callgrind_annotate", "--inclusive=yes", "--threshold=100", "--tree=none", "--auto=no",
         str(out)], capture_output=True, text=True, timeout=60, check=True).stdout
    parts = {}
    for line in listing.splitlines():
        found = re.match(r" *([\d,]+) \(.*?\) +\S+?:(\w+) \[", line)
        if found and found[2] in PARTS:
            parts[found[2]] = max(parts.get(found[2], 0), int(found[1].replace(",", "")))
    assert sorted(parts) == sorted(PARTS), listing[:3000]
    return int(done.stdout), parts


@pytest.mark.skipif(harness.BUILD.name != "release", reason="counted in the release build")
@pytest.mark.timeout(400)
def test_instructions_a_message(tmp_path):
    few, before = count(10, tmp_path)
    many, after = count(30, tmp_path)
    each = {part: (after[part] - before[part]) / (many - few) for part in PARTS}
    print("instructions a message:", {k: round(v) for k, v in each.items()})
    assert 0 < sum(each.values()) < LIMIT, each
