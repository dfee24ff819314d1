# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must hold of the messages of a protocol; part of check.py."""

import re

from c_rpc import SCALARS, STRING_MAX

NAME = r"[a-z][a-z0-9_]*"


def check(model, errors):
    known = set(SCALARS) | {"uuid"}
    names, numbers = {}, {}
    for d in model.rpc:
        named(d, names, errors)
        if hasattr(d, "number"):
            first = numbers.setdefault(d.number, d)
            if first is not d:
                errors.add(d.pos, f"{label(d)}: has the number of "
                           f"{label(first)}")
        for f in d.children():
            member(f, known, errors)
        unique_members(d, errors)
        if d.keyword == "rpc_call" and d.access not in ("read", "write"):
            errors.add(d.pos, f"{label(d)}: access must be read or write")
        if getattr(d, "answer", False) and not d.api:
            errors.add(d.pos, f"{label(d)}: a call that is answered needs an "
                       "api")
        if d.keyword in ("rpc_struct", "rpc_union"):
            known.add(d.name)


def label(d):
    return f'{d.keyword} "{d.name}"'


def named(d, names, errors):
    if not re.fullmatch(NAME, d.name):
        errors.add(d.pos, f"{label(d)}: the name must match {NAME}")
    first = names.setdefault(d.name, d)
    if first is not d:
        errors.add(d.pos, f"{label(d)}: is {label(first)} of line "
                   f"{first.pos[1]}")


def unique_members(d, errors):
    for group in ("fields", "arms", "args", "ret"):
        seen = set()
        for f in getattr(d, group, []):
            if f.name in seen:
                errors.add(f.pos, f"{label(f)}: is there twice")
            seen.add(f.name)


def member(f, known, errors):
    if not re.fullmatch(NAME, f.name):
        errors.add(f.pos, f"{label(f)}: the name must match {NAME}")
    if f.type not in known:
        errors.add(f.pos, f'{label(f)}: no type "{f.type}" above it')
    if f.max is not None and f.type != "string":
        errors.add(f.pos, f"{label(f)}: max is for strings")
    if f.max is not None and not 0 < f.max <= STRING_MAX:
        errors.add(f.pos, f"{label(f)}: max must be from 1 to {STRING_MAX}")
    many = getattr(f, "many", None)
    if many is not None and many < 1:
        errors.add(f.pos, f"{label(f)}: many must be at least 1")
    if many is not None and f.type == "uuid":
        errors.add(f.pos, f"{label(f)}: no list of uuid")
    if getattr(f, "optional", False) and (f.type != "string" or many):
        errors.add(f.pos, f"{label(f)}: only a string can be optional; "
                   "otherwise use many=1")
