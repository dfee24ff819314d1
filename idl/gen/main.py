# SPDX-License-Identifier: LGPL-2.1-or-later
"""Turns idl/*.idl into all that comes out of it:

    main.py --root TOP FILE.idl...

Each module below has a generate(model) that returns {path below TOP: lines}.
Wrong declarations are reported as `file:line: what`, all of them, and then
nothing is written.
"""

import argparse
import os
import re
import sys

import c_calls
import c_header
import c_json
import c_types
import commands
import docs
import parse
import schema
import text
from model import Model

GENERATORS = [c_header, c_types, c_json, c_calls, commands, docs, schema]


def package_version(root):
    with open(os.path.join(root, "configure.ac"), encoding="utf-8") as f:
        return re.search(r"AC_INIT\(\[libxlx\], \[([0-9.]+)\]", f.read())[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True, help="top of the tree")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()

    errors = parse.Errors()
    decls = []
    for path in args.files:
        shown = "idl/" + os.path.basename(path)
        decls += parse.parse_file(path, shown, errors)
    if not errors.lines:
        model = Model(decls, args.root, package_version(args.root))
    if errors.lines:
        sys.exit("\n".join(errors.lines))
    for generator in GENERATORS:
        for path, lines in generator.generate(model).items():
            text.write_if_changed(os.path.join(args.root, path), lines)


if __name__ == "__main__":
    main()
