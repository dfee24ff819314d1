# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must hold of the CPU tables; part of check.py."""

import re

from cpu import (DIALECTS, REGISTERS, dialect_names, fold, full_name,
                 libvirt_names, names, versions)

NAME = r"[a-z0-9][a-z0-9._-]*"
MODEL = r"[A-Za-z0-9][A-Za-z0-9_-]*"
LARGEST = {"family": 255 + 15, "model": 255, "stepping": 15,
           "level": 2**32 - 1, "xlevel": 2**32 - 1}


def check(model, errors):
    words = unique(model.cpu_words, lambda d: d.name, errors)
    features = unique(model.cpu_features, lambda d: d.name, errors)
    for one in model.cpu_words:
        word(one, features, errors)
    unique(model.cpu_words, lambda d: (d.leaf, d.subleaf, d.msr, d.register),
           errors)
    for one in model.cpu_features:
        feature(one, words, features, errors)
    unique(model.cpu_features, lambda d: (d.word, d.bit), errors)
    unique(model.cpu_releases, lambda d: d.name, errors)
    for one in model.cpu_features:
        gives(one, len(model.cpu_releases), errors)
    dialects(model, errors)
    circles(features, errors)
    for one in model.cpu_models:
        cpu_model(one, features, errors)
    libvirt(model, features, errors)
    model_names(model, errors)
    silicon(model, errors)


def label(d):
    return f'{d.keyword} "{d.name}"'


def unique(decls, key, errors):
    """key -> declaration; what comes second is reported."""
    seen = {}
    for d in decls:
        first = seen.setdefault(key(d), d)
        if first is not d:
            errors.add(d.pos, f"{label(d)}: is {label(first)} of line "
                       f"{first.pos[1]}")
    return seen


def word(d, features, errors):
    if (d.leaf is None) == (d.msr is None):
        errors.add(d.pos, f"{label(d)}: needs either leaf or msr")
    allowed = REGISTERS if d.msr is None else ("eax", "edx")
    if d.register not in allowed:
        errors.add(d.pos, f"{label(d)}: register must be one of "
                   + ", ".join(allowed))
    if d.needs and d.needs not in features:
        errors.add(d.pos, f'{label(d)}: no feature "{d.needs}"')


def feature(d, words, features, errors):
    if d.word not in words:
        errors.add(d.pos, f'{label(d)}: no word "{d.word}"')
    if not 0 <= d.bit < 32:
        errors.add(d.pos, f"{label(d)}: no bit {d.bit}")
    for _, name in dialect_names(d):
        if not re.fullmatch(NAME, name):
            errors.add(d.pos, f'{label(d)}: "{name}" must match {NAME}')
    known = [name for _, name in dialect_names(d)]
    if d.name not in known or (d.qemu and d.qemu[0] != d.name):
        errors.add(d.pos, f"{label(d)}: must be the first of qemu, or one of "
                   "the other names where QEMU has none")
    for name in d.needs:
        if name not in features:
            errors.add(d.pos, f'{label(d)}: no feature "{name}"')


def gives(d, releases, errors):
    if not re.fullmatch("[ASHash-]*", d.gives):
        errors.add(d.pos, f"{label(d)}: gives must be made of A, S, H, a, s, "
                   "h and -")
    if len(d.gives) not in (0, 1, releases):
        errors.add(d.pos, f"{label(d)}: gives must be one letter, or one for "
                   f"each of {releases} releases")


def dialects(model, errors):
    """Within a dialect a name means one feature; two dialects may differ."""
    for wanted in DIALECTS:
        seen = {}
        for d in model.cpu_features:
            for name in {fold(n) for who, n in dialect_names(d)
                         if who == wanted}:
                first = seen.setdefault(name, d)
                if first is not d:
                    errors.add(d.pos, f'{label(d)}: {wanted} "{name}" is '
                               f"{label(first)} of line {first.pos[1]}")


def circles(features, errors):
    def visit(name, above):
        if name in above:
            d = features[name]
            errors.add(d.pos, f"{label(d)}: needs itself: "
                       + " ".join(above[above.index(name):] + [name]))
        elif name in features and name not in done:
            for n in features[name].needs:
                visit(n, above + [name])
            done.add(name)

    done = set()
    for name in features:
        visit(name, [])


def cpu_model(d, features, errors):
    if not re.fullmatch(MODEL, d.name):
        errors.add(d.pos, f"{label(d)}: the name must match {MODEL}")
    if len(d.vendor) not in (0, 12):
        errors.add(d.pos, f"{label(d)}: a vendor has 12 characters, or none")
    if not d.versions:
        errors.add(d.pos, f"{label(d)}: no versions")
    has = set()
    change(d, d.features, has, True, features, errors)
    for i, v in enumerate(d.versions):
        v.name = f"{d.name}-v{v.number}"
        if v.number != i + 1:
            errors.add(v.pos, f"{label(d)}: version {v.number} stands where "
                       f"{i + 1} is expected")
        change(v, v.remove, has, False, features, errors)
        change(v, v.add, has, True, features, errors)
    for part in [d] + d.versions:
        for attribute, largest in LARGEST.items():
            n = getattr(part, attribute)
            if n is not None and not 0 <= n <= largest:
                errors.add(part.pos, f"{label(part)}: {attribute} {n} is out "
                           "of range")


def change(d, listed, has, add, features, errors):
    """Adds listed to has or takes it off; it must be sorted and a change."""
    for name in listed:
        if name not in features:
            errors.add(d.pos, f'{label(d)}: no feature "{name}"')
        elif (name in has) == add:
            errors.add(d.pos, f'{label(d)}: "{name}" is '
                       + ("there already" if add else "not there"))
        if add:
            has.add(name)
        else:
            has.discard(name)
    if listed != sorted(listed):
        errors.add(d.pos, f"{label(d)}: features must be in order")


def libvirt(model, features, errors):
    known = {full_name(m, v): f for m in model.cpu_models
             for v, _, f in versions(m)}
    for d in model.cpu_libvirt:
        d.name = ", ".join(d.names)
        if d.of not in known:
            errors.add(d.pos, f'{label(d)}: no model "{d.of}"')
            continue
        has = set(known[d.of])
        change(d, d.remove, has, False, features, errors)
        change(d, d.add, has, True, features, errors)


def model_names(model, errors):
    seen = {}
    for d in model.cpu_libvirt:
        for name in libvirt_names(d):
            if seen.setdefault(name, d) is not d:
                errors.add(d.pos, f"{label(d)}: {name} is declared in "
                           f"line {seen[name].pos[1]}")
    for d in model.cpu_models:
        for v in d.versions:
            for name in names(d, v):
                first = seen.setdefault(name, v)
                if first is not v:
                    errors.add(v.pos, f"{label(d)}: {name} is declared in "
                               f"line {first.pos[1]}")


def silicon(model, errors):
    """A processor is of one generation only."""
    seen = []
    for d in model.cpu_models:
        for s in d.silicon:
            for m in s.models or range(256):
                for vendor, family, number, first, last, other in seen:
                    if (vendor, family, number) == (d.vendor, s.family, m) \
                            and first <= s.last and s.first <= last:
                        errors.add(s.pos, f"{label(d)}: {s.family}/{m} is "
                                   f"{other}")
                seen.append((d.vendor, s.family, m, s.first, s.last, d.name))
