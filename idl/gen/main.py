# SPDX-License-Identifier: LGPL-2.1-or-later
"""Turns idl/*.idl into all that comes out of it:

    main.py --root TOP FILE.idl...

Each module in GENERATORS has a generate(model) that returns {path below TOP:
lines}.  Wrong declarations are reported as `file:line: what`, all of them,
and then nothing is written.
"""

import argparse
import os
import pathlib
import re
import sys

import c_calls
import c_cpu
import c_header
import c_json
import c_records
import c_rpc
import c_types
import check
import commands
import docs
import parse
import python_binding
import schema
import tests
import text
from model import Model, Package

GENERATORS = [c_header, c_types, c_json, c_calls, c_records, c_cpu, c_rpc,
              commands, docs, schema, python_binding, tests]


def read_package(root):
    """What configure.ac alone knows."""
    with open(os.path.join(root, "configure.ac"), encoding="utf-8") as f:
        configure = f.read()
    version = re.search(r"AC_INIT\(\[libxlx\], \[([0-9.]+)\]", configure)[1]
    abi = re.search(r"\[ABI_VERSION\], \[(\d+):\d+:(\d+)\]", configure)
    return Package(root, version, int(abi[1]) - int(abi[2]))


def remove_old_pages(root, written):
    """Those of calls and commands that have gone: all pages are installed."""
    root = pathlib.Path(root)
    for page in root.glob("docs/gen/man?/*.pod"):
        if page.relative_to(root).as_posix() not in written:
            page.unlink()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, help="top of the tree")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()

    errors = parse.Errors()
    decls = []
    for path in args.files:
        decls += parse.parse_file(path, errors)
    model = Model(decls, read_package(args.root))
    if not errors.lines:
        check.check(model, errors)
    if errors.lines:
        sys.exit("\n".join(errors.lines))
    written = set()
    for generator in GENERATORS:
        for path, lines in generator.generate(model).items():
            text.write_if_changed(os.path.join(args.root, path), lines)
            written.add(path)
    remove_old_pages(args.root, written)


if __name__ == "__main__":
    main()
