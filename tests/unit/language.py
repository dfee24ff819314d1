#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The language of HACKING.md, as far as a program can tell: in pages, in the
IDL, and in comments and messages of C files.  Prints TAP."""

import glob
import os
import re
import sys

TOP = os.environ["top_srcdir"]
PATTERNS = (
    ("begins with What, Who or Of",
     r"(?:(?<=[.:;] )|(?<=\A)|(?<=\n\n))(?:What|Who|Whoever|Of)\b(?![^.]*\?)"),
    ('"is no X": write "is not an X" or "there is no X"',
     r"(?<!there )(?<!There )\b(?:is|are|was|were) no "
     r"(?!longer\b|more\b|such\b|fewer\b|other\b)[a-z]"),
    ('"folder": write "directory"', r"\bfolders?\b"),
    ('", too" at the end: write "also"', r", too\b"),
    ('"beside": write "next to"', r"\bbeside\b"),
    ('"anew", "afresh", "meanwhile"', r"\b(?:anew|afresh|meanwhile)\b"),
    ('"foretold": write "predicted"', r"\bforetold\b|\bforetells?\b"),
)


def faults(text):
    """(place, what is wrong) of each fault."""
    for what, pattern in PATTERNS:
        for m in re.finditer(pattern, text):
            yield m.start(), what


def prose_of_markdown(text):
    """Without code: blocks and `words`."""
    text = re.sub(r"^(?:    |\t).*$", "", text, flags=re.M)
    return re.sub(r"`[^`]*`", "`", text)


def pieces(name, text):
    """The parts of a file that people read, each as a text of its own."""
    if name.endswith((".md", ".pod")):
        return re.split(r"\n\s*\n", prose_of_markdown(text))
    if name.endswith(".idl"):
        strings = re.findall(r'"""(.*?)"""|"((?:[^"\\\n]|\\.)*)"', text, re.S)
        return [p for a, b in strings for p in re.split(r"\n\s*\n", a or b)]
    comments = [re.sub(r"\n\s*\* ?", "\n", c)
                for c in re.findall(r"/\*(.*?)\*/", text, re.S)]
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    code = re.sub(r"^\s*#.*$", "", code, flags=re.M)
    messages = re.findall(r'"((?:[^"\\\n]|\\.)*(?:"\s*\n?\s*"'
                          r'(?:[^"\\\n]|\\.)*)*)"', code)
    return [p for c in comments for p in re.split(r"\n\s*\n", c)] + \
        [re.sub(r'"\s*"', "", m) for m in messages if " " in m]


def files():
    names = []
    for where in ("*.md", "docs/*.md", "docs/*.pod", "idl/*.md", "bench/*.md",
                  "idl/*.idl", "lib/*/*.[ch]", "xl-plugins/*.[ch]",
                  "libvirt-glue/*.[ch]"):
        names += glob.glob(os.path.join(TOP, where))
    return sorted(n for n in names
                  if not os.path.basename(n).startswith("gen-")
                  and not re.search(r"idl/cpu-(features|models|libvirt)", n))


def flat(piece):
    return " ".join(piece.split())


def check(name):
    with open(name, encoding="utf-8") as f:
        text = f.read()
    return [f"{os.path.relpath(name, TOP)}: {what}: "
            f"...{flat(p)[max(0, at - 30):at + 40]}..."
            for p in pieces(name, text) for at, what in faults(flat(p))]


def self_test():
    """Each pattern finds its fault, and nothing in good sentences."""
    bad = ("Who writes holds it.", "This is no error.", "a folder here",
           "it goes, too", "a file beside it", "made anew", "as foretold")
    good = ("There is no Xen. It is no longer so, and not an error. "
            "Who writes it? The directory is next to it.",)
    found = [{what for _, what in faults(b)} for b in bad]
    return all(len(f) == 1 for f in found) and \
        len(set().union(*found)) == len(PATTERNS) and \
        not any(list(faults(g)) for g in good)


def main():
    names = files()
    found = [fault for name in names for fault in check(name)]
    for fault in found:
        print("#", fault)
    results = (("the test finds faults", self_test()),
               ("there are files to look at", len(names) > 150),
               ("pages, IDL, comments and messages", not found))
    for i, (what, good) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {i} - {what}")
    print(f"1..{len(results)}")
    return not all(good for _, good in results)


sys.exit(main())
