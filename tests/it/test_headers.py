"""The public headers and the examples of docs/api/libconfab.md, as strangers' compilers see them."""

import re
import shutil
import subprocess

import pytest

import harness

INCLUDE = harness.ROOT / "include"
HEADERS = sorted(path.relative_to(INCLUDE) for path in (INCLUDE / "confab").glob("*.h"))
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
EXAMPLES = re.findall(r"```c\n(.*?)```",
                      (harness.ROOT / "docs" / "api" / "libconfab.md").read_text(), re.DOTALL)


def compile_only(compiler, standard, language, text):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    done = subprocess.run(
        [compiler, "-x", language, f"-std={standard}", "-pedantic-errors", *WARNINGS,
         "-fsyntax-only", f"-I{INCLUDE}", "-"],
        input=text, capture_output=True, text=True, timeout=harness.DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_header_alone_is_c11(header):
    compile_only("gcc", "c11", "c", f"#include <{header}>\n#include <{header}>\n")


@pytest.mark.parametrize("header", HEADERS, ids=str)
def test_header_alone_is_cxx(header):
    compile_only("g++", "c++11", "c++", f"#include <{header}>\nint main() {{ return 0; }}\n")


def test_there_are_examples():
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_compiles(number):
    compile_only("gcc", "c11", "c", EXAMPLES[number])


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_is_cxx_too(number):
    compile_only("g++", "c++11", "c++", EXAMPLES[number])
