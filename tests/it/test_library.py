"""libconfab as it is installed: the programs of its page, linked in both ways, and what it exports."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import harness

SYMBOLS = harness.ROOT / "src" / "client" / "libconfab.symbols"


def output(*command, **kwargs):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          timeout=harness.DEADLINE_S * 4, check=False, **kwargs)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def sanitizer_flags():
    cache = (harness.BUILD / "CMakeCache.txt").read_text()
    found = re.search(r"^CONFAB_SANITIZE:STRING=(.+)$", cache, re.M)
    return [f"-fsanitize={found.group(1)}"] if found else []


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("library") / "first"
    output("cmake", "--install", harness.BUILD, "--component", "libconfab", "--prefix", prefix)
    moved = prefix.with_name("moved")
    prefix.rename(moved)  # wherever it is copied to
    return moved


def library_dir(installed):
    return next(installed.rglob("libconfab.a")).parent


def examples():
    """The programs of docs/api/libconfab.md."""
    page = (harness.ROOT / "docs" / "api" / "libconfab.md").read_text()
    found = re.findall(r"^```c\n(.*?)^```$", page, re.M | re.S)
    assert len(found) >= 2
    return found


def build(installed, source, program, *, static=False):
    lib = library_dir(installed)
    env = dict(os.environ, PKG_CONFIG_PATH=str(lib / "pkgconfig"))
    flags = output("pkg-config", "--cflags", "--libs", *(["--static"] if static else []), "confab",
                   env=env).split()
    if static:
        flags = ["-l:libconfab.a" if f == "-lconfab" else f for f in flags]
    path = program.with_suffix(".c")
    path.write_text(source)
    output("cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *sanitizer_flags(), "-o",
           program, path, *flags)
    return dict(os.environ, LD_LIBRARY_PATH=str(lib))


@pytest.mark.parametrize("static", [False, True])
def test_programs_of_the_page(installed, server, tmp_path, static):
    alice = server.register("alice")
    bob = server.register("bob")
    for i, source in enumerate(examples()):
        env = build(installed, source, tmp_path / f"example{i}", static=static)
    # The last one signs in and sends.
    output(tmp_path / f"example{i}", server.url, "alice", harness.PASSWORD, "bob", env=env)
    # The first message of a conversation is acknowledged before the other's list knows of it.
    sent = harness.wait_until(lambda: [text for text in [str(bob.socket().resume())]
                                       if "new_message" in text], "the message")
    assert str(alice.user_id) in sent[0]
    linked = output("ldd", tmp_path / f"example{i}", env=env)
    assert ("libconfab.so.0" in linked) != static


def declared():
    """The functions that the public headers declare."""
    names = set()
    for header in sorted((harness.ROOT / "include" / "confab").glob("*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.S)
        text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
        names.update(re.findall(r"\b(confab_\w+)\s*\((?!\s*\*)[^;{}]*\)\s*;", text))
    return names


def defined(*nm):
    return {line.split()[-1].split("@")[0] for line in output("nm", *nm).splitlines()
            if re.match(r"^\S+ [TDBRW] ", line)}


def test_exports_what_the_headers_declare_and_nothing_else(installed):
    names = set(SYMBOLS.read_text().split())
    assert names == declared()
    lib = library_dir(installed)
    assert defined("-D", "--defined-only", lib / "libconfab.so") - {"LIBCONFAB_0"} == names
    assert defined("--defined-only", "-g", lib / "libconfab.a") == names


def test_headers_are_those_of_the_project(installed):
    there = {p.name: p.read_bytes() for p in (installed / "include" / "confab").iterdir()}
    here = {p.name: p.read_bytes() for p in Path(harness.ROOT / "include" / "confab").glob("*.h")}
    assert there == here
