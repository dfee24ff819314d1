#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What HACKING.md asks of the form of C files and can be counted: the licence
line, the comment that opens a file, 79 columns, labels, no tabs, sizes of
functions and files.  Generated files may be as they come."""

import os
import pathlib
import re
import sys

COLUMNS = 79
FUNCTION = 60       # lines from its brace to its brace; most have under 30
FILE = 640          # "about 600"
TOP = pathlib.Path(os.environ["top_srcdir"])
ROOMS = ("lib", "xl-plugins", "libvirt-glue", "examples", "fuzz", "bench",
         "tests/unit", "tests/qemu", "tests/xl")


def sources():
    for room in ROOMS:
        for path in sorted((TOP / room).rglob("*.[ch]")):
            if not path.name.startswith("gen-"):
                yield path


def licence(lines):
    if not re.fullmatch(r"/\* SPDX-License-Identifier: \S+ \*/", lines[0]):
        yield 1, "does not begin with the licence"


def opening(lines):
    if len(lines) < 3 or not lines[1].startswith("/*"):
        yield 2, "has no comment that says what the file is for"


def columns(lines):
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            yield number, f"has {len(line)} columns"


def tabs(lines):
    for number, line in enumerate(lines, 1):
        if "\t" in line or line != line.rstrip():
            yield number, "has a tab, or ends in a space"


def labels(lines):
    for number, line in enumerate(lines, 1):
        if re.fullmatch(r"\s*[a-z_]+:", line) and "default" not in line:
            if not re.match(r" [a-z]", line):
                yield number, "is a label without one space before it"


def functions(lines):
    start = 0
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            if number - start > FUNCTION:
                yield start, f"begins a function of {number - start} lines"
            start = 0


def size(lines):
    if len(lines) > FILE:
        yield FILE, f"is followed by {len(lines) - FILE} more lines"


CHECKS = {
    "the first line is the licence": licence,
    "a comment opens each file": opening,
    f"no line is longer than {COLUMNS} columns": columns,
    "spaces indent, and none ends a line": tabs,
    "labels have one space before them": labels,
    f"no function is longer than {FUNCTION} lines": functions,
    f"no file is longer than {FILE} lines": size,
}


def main():
    files = [(p.relative_to(TOP), p.read_text(encoding="utf-8").splitlines())
             for p in sources()]
    failed = len(files) < 100       # then we look in the wrong place
    print(f"1..{len(CHECKS)}")
    for number, (name, check) in enumerate(CHECKS.items(), 1):
        wrong = [f"{path}:{line} {what}" for path, lines in files
                 for line, what in check(lines)]
        failed |= bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} {number} - {name}")
        for line in wrong:
            print("#", line)
    sys.exit(failed)


if __name__ == "__main__":
    main()
