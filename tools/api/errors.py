"""The table of errors, src/base/errors.def, as Python sees it."""

import re

ROW = re.compile(r'^X\((\w+), (-?\d+), "(\w+)", (\d+), "(.*)"\)$')


def read(path):
    """{wire name: (status, text)}, in the table's order."""
    table = {}
    for line in path.read_text().splitlines():
        match = ROW.match(line)
        if match and match.group(3) != "ok":
            table[match.group(3)] = (int(match.group(4)), match.group(5))
    return table
