"""Random sequences of good and bad frames on several sessions: tests/lab/protocol_fuzz.py.

The seeds are the same each time; tools/protocol-fuzz runs as many others as one likes.
"""

import os
import sys

import pytest

import harness

sys.path.insert(0, str(harness.ROOT / "tests" / "lab"))

import protocol_fuzz

STEPS = 5000 if os.environ.get("CONFAB_LONG") else 400


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_clients_send(tmp_path, seed):
    fuzz = protocol_fuzz.Fuzz(tmp_path, seed)
    try:
        fuzz.begin()
        assert fuzz.run(STEPS) == []
    finally:
        fuzz.close()
    assert fuzz.steps == STEPS
    assert len(fuzz.acked) >= 20
    assert {"invalid", "unsupported"} <= set(fuzz.errors)
