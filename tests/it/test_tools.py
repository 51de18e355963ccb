"""The checkers and the test runner themselves: each must find what it is there for."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys

import pytest

import harness

TOOLS = harness.ROOT / "tools"


def load(name):
    """A script of tools/ as a module, without leaving a compiled copy beside it."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(TOOLS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def check_layers(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = subprocess.run([sys.executable, TOOLS / "check-layers", root], capture_output=True,
                          text=True, timeout=harness.DEADLINE_S, check=False)
    return done.returncode, done.stdout.splitlines()


GOOD = {
    "src/base/err.h": "",
    "src/ports/log.h": '#include "base/err.h"\n',
    "src/proto/ws.h": '#include "base/err.h"\n',
    "src/core/engine.h": '#include "ports/log.h"\n#include "proto/ws.h"\n',
    "src/adapters/mem/mem.h": '#include "ports/log.h"\n',
    "src/adapters/sqlite/db.c": '#include <sqlite3.h>\nint f(void) { return open("x", 0); }\n',
    "src/gateway/conn.h": '#include "core/engine.h"\n',
    "src/confabd/main.c": '#include "adapters/mem/mem.h"\n#include "gateway/conn.h"\n',
    "include/confab/confab.h": "",
    "src/client/client.c": '#include "proto/ws.h"\n#include <confab/confab.h>\n',
    "src/cli/main.c": '#include <confab/confab.h>\n#include "args.h"\n',
    "src/cli/args.h": "",
}


def test_layers__accepts_what_points_downward(tmp_path):
    assert check_layers(tmp_path, GOOD) == (0, [])


@pytest.mark.parametrize("name, text, says", [
    ("src/base/x.c", '\n#include "ports/log.h"\n', "src/base/x.c:2: base may not include ports"),
    ("src/ports/x.h", '#include "core/engine.h"\n', "ports may not include core"),
    ("src/proto/x.h", '#include "ports/log.h"\n', "proto may not include ports"),
    ("src/core/x.c", '#include "adapters/mem/mem.h"\n', "core may not include adapters/mem"),
    ("src/core/x.c", '#include "gateway/conn.h"\n', "core may not include gateway"),
    ("src/adapters/sqlite/x.c", '#include "../mem/mem.h"\n', "not a file of the project"),
    ("src/adapters/sqlite/x.c", '#include "adapters/mem/mem.h"\n',
     "adapters/sqlite may not include adapters/mem"),
    ("src/gateway/x.c", '#include "adapters/mem/mem.h"\n',
     "gateway may not include adapters/mem"),
    ("src/client/x.c", '#include "core/engine.h"\n', "client may not include core"),
    ("src/cli/x.c", '#include "proto/ws.h"\n', "cli may not include proto"),
    ("include/confab/x.h", '#include "base/err.h"\n', "include/confab may not include base"),
    ("src/core/x.c", "#include <sqlite3.h>\n", "<sqlite3.h> is for src/adapters/sqlite/ only"),
    ("src/new/x.c", "", "belongs to no layer"),
])
def test_layers__finds_an_include(tmp_path, name, text, says):
    code, lines = check_layers(tmp_path, {**GOOD, name: text})
    assert code == 1
    assert len(lines) == 1 and says in lines[0]


def test_layers__keeps_internal_headers_in_their_folder(tmp_path):
    files = {**GOOD, "src/core/state_internal.h": "", "src/core/a.c": '#include "state_internal.h"',
             "src/gateway/b.c": '#include "core/state_internal.h"'}
    code, lines = check_layers(tmp_path, files)
    assert code == 1
    assert len(lines) == 1 and "src/gateway/b.c:1" in lines[0] and "internal" in lines[0]


@pytest.mark.parametrize("statement, says", [
    ("return time(NULL);", "time only in src/base/clock"),
    ("clock_gettime(0, &t);", "time only in"),
    ("return rand();", "randomness only in"),
    ("int s = socket(1, 2, 3);", "sockets only in"),
    ("if (open(path, 0) < 0) {", "files only in"),
    ("abort();", "abort only in src/base/check"),
    ("strcpy(a, b);", "unsafe"),
    ("sprintf (a, b);", "unsafe"),
    ("return atoi(a);", "unsafe"),
])
def test_layers__finds_a_call(tmp_path, statement, says):
    code, lines = check_layers(tmp_path, {**GOOD, "src/core/x.c": f"/* a\n * b */\n{statement}\n"})
    assert code == 1
    assert len(lines) == 1 and lines[0].startswith("src/core/x.c:3: ") and says in lines[0]


@pytest.mark.parametrize("statement", [
    "/* calls time(NULL) and\n * open(path) */",
    "// strcpy(a, b)",
    'puts("open(x)");',
    "disk->ops->open(disk, name);",
    "ops.time(now);",
    "enum confab_err (*open)(struct disk *d);",
    "disk_open(d); reopen(d); vsnprintf(a, b);",
    "static void open(struct writer *w, char c) {\n}\nvoid f(void) {\n    open(w, 'x');\n}",
])
def test_layers__leaves_alone(tmp_path, statement):
    assert check_layers(tmp_path, {**GOOD, "src/core/x.c": statement + "\n"}) == (0, [])


def tap(tmp_path, script, seconds=30):
    """Runs a shell script as if it were a test program; returns what the runner counts."""
    runner = load("run-tests")
    tally = runner.Tally("unit")
    code, output = runner.run_in_terminal(["/bin/sh", "-c", script], dict(os.environ), tmp_path,
                                          seconds)
    runner.count_tap("prog", code, output, tally)
    return tally


@pytest.fixture(autouse=True)
def not_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)


def test_runner__counts_cases(tmp_path):
    tally = tap(tmp_path, "printf '1..2\\nok 1 - a\\nok 2 - b\\n1..1\\nok 1 - c\\n'")
    assert (tally.passed, tally.failed, tally.skipped) == (3, [], [])


def test_runner__counts_a_failed_case(tmp_path):
    tally = tap(tmp_path, "printf '1..2\\nok 1 - a\\nnot ok 2 - b\\n'; exit 1")
    assert (tally.passed, tally.failed) == (1, ["prog: b"])


def test_runner__counts_a_crash_and_keeps_the_cases_before_it(tmp_path):
    tally = tap(tmp_path, "printf '1..3\\nok 1 - a\\n'; kill -ABRT $$")
    assert (tally.passed, tally.failed) == (
        1, ["prog: ended by signal SIGABRT, 2 cases did not run"])


def test_runner__counts_an_exit_code_without_a_failed_case(tmp_path):
    tally = tap(tmp_path, "printf '1..1\\nok 1 - a\\n'; exit 99")
    assert (tally.passed, tally.failed) == (1, ["prog: exit code 99"])


def test_runner__counts_silence(tmp_path):
    assert tap(tmp_path, "true").failed == ["prog: reported no case"]


def test_runner__ends_a_program_that_hangs(tmp_path):
    tally = tap(tmp_path, "echo 'ok 1 - a'; exec tail -f /dev/null", seconds=1)
    assert (tally.passed, tally.failed) == (1, ["prog: took too long and was killed"])


def test_runner__names_a_skipped_case_and_fails_it_in_ci(tmp_path, monkeypatch):
    script = "printf '1..1\\nnot ok 1 # SKIP a\\n'"
    tally = tap(tmp_path, script)
    assert (tally.passed, tally.failed, tally.skipped) == (0, [], ["prog: a"])
    monkeypatch.setenv("CI", "true")
    assert len(tap(tmp_path, script).failed) == 1
