# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must hold of declarations beyond their grammar.  Each function looks at
one thing in the whole model; tests/idl/bad has a file for every message."""

import keyword
import os
import re

import check_cpu
import check_rpc
import commands
from c_names import enum_value, members, type_functions
from commands import member, target
from model import BASE_TYPES, INTEGERS, LIBXL_ERRORS, stem
from text import paragraphs

SNAKE = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"
KEBAB = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
UPPER = r"[A-Z][A-Z0-9]*([_-][A-Z0-9]+)*"
SHAPES = {
    "enum": SNAKE, "struct": SNAKE, "field": SNAKE, "callback": SNAKE,
    "call": SNAKE, "function": SNAKE, "inp": SNAKE, "out": SNAKE,
    "param": SNAKE, "value": r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*",
    "error": r"[A-Z_]+", "command": KEBAB, "option": KEBAB, "arg": UPPER,
}
# of C, and the names that generated functions use
RESERVED_C = set("""
    auto bool break case char const continue default do double else enum
    extern false float for goto if inline int int64_t long register restrict
    return short signed sizeof static struct switch true typedef uint32_t
    uint64_t union unsigned void volatile while""".split())
# also of the other languages that see public names
RESERVED = RESERVED_C | set("""
    alignas alignof and asm catch class delete explicit export friend mutable
    namespace new not nullptr operator or private protected public
    static_assert template this throw try typeid typename using virtual
    wchar_t xor""".split()) | set(keyword.kwlist)
LOCALS = {"ctx", "rc", "user"}          # of generated wrappers
SHORTDOC_MAX = 70


def check(model, errors):
    filled(model, errors)
    if errors.lines:
        return                  # an option may have no type
    for one in (docs, versions, names, types, defaults, enums, structs,
                records, calls, bound, error_names, command_lines,
                c_identifiers, pages):
        one(model, errors)
    check_cpu.check(model, errors)
    check_rpc.check(model, errors)
    errors.lines.sort(key=lambda line: [
        int(part) if part.isdigit() else part
        for part in line.split(":", 2)])


def label(d):
    return f'{d.keyword} "{d.name}"' if hasattr(d, "name") else d.keyword


def docs(model, errors):
    for d in model.walk():
        for attribute in ("doc", "shortdoc", "result"):
            text = getattr(d, attribute, None)
            if text is None:
                continue
            if not text.strip():
                errors.add(d.pos, f"{label(d)}: {attribute} is empty")
            if "*/" in text:
                errors.add(d.pos, f"{label(d)}: {attribute} would end a C "
                           "comment")
        short = getattr(d, "shortdoc", None)
        if short and (len(short) > SHORTDOC_MAX or short.endswith(".")
                      or "\n" in short):
            errors.add(d.pos, f"{label(d)}: shortdoc must be one line of at "
                       f"most {SHORTDOC_MAX} columns without a full stop")


def release(since):
    return tuple(int(n) for n in since.split("."))


def versions(model, errors):
    """since is a release, not a later one than this, and in a struct or enum
    never earlier than what stands above: fields are only appended."""
    current = release(model.package.version)[:2]
    for d in model.walk():
        since = getattr(d, "since", None)
        if since is None:
            continue
        if not re.fullmatch(r"\d+\.\d+", since):
            errors.add(d.pos, f'{label(d)}: since "{since}" must be '
                       "MAJOR.MINOR")
        elif release(since) > current:
            errors.add(d.pos, f"{label(d)}: since {since} is later than this "
                       f"release, {model.package.version}")
    if errors.lines:
        return
    for d in model.decls:
        last = d.since
        for child in d.children():
            since = child.first_version()
            if release(since) < release(last):
                errors.add(child.pos, f"{label(child)}: since {since} comes "
                           f"after since {last}")
            last = max(since, last, key=release)


def names(model, errors):
    for d in model.walk():
        if not hasattr(d, "name"):
            continue
        if not re.fullmatch(SHAPES[d.keyword], d.name):
            errors.add(d.pos, f"{label(d)}: the name must match "
                       f"{SHAPES[d.keyword]}")
        elif d.keyword in ("option", "arg"):    # seen by C alone
            if member(d.name) in RESERVED_C:
                errors.add(d.pos, f"{label(d)}: the name is a keyword of C")
        elif member(d.name) in RESERVED and d.keyword not in (
                "value", "enum", "struct", "callback", "call", "function"):
            errors.add(d.pos, f"{label(d)}: the name is a keyword of C, C++ "
                       "or Python")
        siblings = {}
        for child in d.children():
            key = child.keyword, getattr(child, "name", child)
            if key in siblings:
                errors.add(child.pos, f"{label(child)}: the name is used in "
                           f"line {siblings[key]}")
            siblings.setdefault(key, child.pos[1])


def types(model, errors):
    allowed = {
        "field": BASE_TYPES + ("enum", "struct", "array"),
        "inp": BASE_TYPES + ("enum", "struct", "callback"),
        "out": ("bool", "uint32", "int64", "uint64", "domid", "struct"),
        "option": ("bool", "string", "uint32", "enum", "array"),
    }
    for d in model.walk():
        if d.keyword not in allowed:
            continue
        t = d.type
        if t.kind == "array" and t.elem.kind == "array":
            errors.add(d.pos, f"{label(d)}: an array of arrays")
        elif t.leaf().kind is None:
            errors.add(d.pos, f'{label(d)}: no type "{t.leaf().name}"')
        elif t.kind not in allowed[d.keyword] or \
                t.leaf().kind not in allowed[d.keyword]:
            errors.add(d.pos, f"{label(d)}: the type of {d.keyword} cannot be "
                       + (f"{t.kind}" if t.kind not in allowed[d.keyword]
                          else f"an array of {t.leaf().kind}"))


def fits(value, t):
    if t.kind == "bool":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if t.kind in INTEGERS:
        low, high = INTEGERS[t.kind]
        return isinstance(value, int) and low <= value <= high
    if t.kind == "domid":
        return value == "NONE" or isinstance(value, int) and value >= 0
    if t.kind == "enum":
        return value in [v.name for v in t.decl.values]
    return False


def defaults(model, errors):
    for d in model.walk():
        value = getattr(d, "default", None)
        if value is None or d.type.kind is None:
            continue
        if d.keyword == "option" and d.type.kind == "string":
            if isinstance(value, str):
                continue
        if not fits(value, d.type):
            errors.add(d.pos, f"{label(d)}: default {value!r} is not a value of "
                       f"{d.type.name}")


def enums(model, errors):
    for d in model.enums:
        seen = {}
        if not d.values:
            errors.add(d.pos, f"{label(d)}: no values")
        for v in d.values:
            if not 0 <= v.number < 2**31:
                errors.add(v.pos, f"{label(v)}: {v.number} is out of range")
            elif v.number in seen:
                errors.add(v.pos, f"{label(v)}: {v.number} is "
                           f"{seen[v.number]}")
            seen.setdefault(v.number, v.name)


def structs(model, errors):
    for d in model.of("struct"):
        if not d.fields:
            errors.add(d.pos, f"{label(d)}: no fields")
        if contains(d, d, set()):
            errors.add(d.pos, f"{label(d)}: contains itself")
        if (d.file is None) != (d.version is None):
            errors.add(d.pos, f"{label(d)}: file and version go together")
        elif d.version is not None:
            kept = [f for f in d.fields if f.name == "version"]
            if not kept or kept[0].type.kind != "uint32" \
                    or kept[0].default != d.version:
                errors.add(d.pos, f"{label(d)}: needs a field version of type "
                           f"uint32 with default {d.version}")


def records(model, errors):
    """What only a record has, and its members that must be there."""
    for d in model.of("struct"):
        wanted = d.required + d.paths
        if d.file is None and (wanted or d.names_images):
            errors.add(d.pos, f"{label(d)}: required, paths and names_images "
                       "are for a record, which has a file")
        for path in wanted:
            if not names_string(d, path):
                errors.add(d.pos, f'{label(d)}: "{path}" is no member that is '
                           "a string")


def names_string(d, path):
    """Whether that member of the struct, "a", "a.b" or "a[].b", is one."""
    name, _, rest = path.partition(".")
    found = [f for f in d.fields if f.name == name.removesuffix("[]")]
    if not found:
        return False
    t = found[0].type
    if (t.kind == "array") != name.endswith("[]"):
        return False
    t = t.leaf()
    if t.kind == "struct" and rest:
        return names_string(t.decl, rest)
    return t.kind == "string" and not rest


def contains(d, wanted, seen):
    for f in d.fields:
        inner = f.type.leaf().decl
        if inner is None or inner.keyword != "struct":
            continue
        if inner is wanted:
            return True
        if inner not in seen:
            seen.add(inner)
            if contains(inner, wanted, seen):
                return True
    return False


def calls(model, errors):
    for d in model.of("call", "callback"):
        params = {}
        for a in list(d.args) + list(getattr(d, "out", [])):
            c = a.name + ("_r" if a.keyword == "out" else "")
            if c in LOCALS or params.get(c, a.keyword) != a.keyword:
                errors.add(a.pos, f'{label(a)}: hides the parameter "{c}"')
            params.setdefault(c, a.keyword)
        for a in d.args:
            kind = a.type.kind
            if d.keyword == "callback" and kind not in ("struct", None):
                errors.add(a.pos, f"{label(a)}: a callback takes structs only")
            if a.optional and kind in ("bool", "enum", "domid", *INTEGERS):
                errors.add(a.pos, f"{label(a)}: only a pointer can be "
                           "optional")


def error_names(model, errors):
    for d in model.calls + model.functions:
        for e in d.errors:
            if e.name not in LIBXL_ERRORS:
                errors.add(e.pos, f"{label(e)}: libxl has no ERROR_{e.name}")


def filled(model, errors):
    """The fields that the options and arguments of a command fill."""
    for c in model.commands:
        for d in c.args + c.options:
            field = model.find_field(d.field) if d.field else None
            if d.field and field is None:
                errors.add(d.pos, f'{label(d)}: there is no field "{d.field}"')
            elif d.keyword == "arg":
                if field and (field.type.kind != "string" or d.variadic):
                    errors.add(d.pos, f"{label(d)}: one argument fills a "
                               "field that is a string")
            elif d.type is None or d.doc is None:
                errors.add(d.pos, f"{label(d)}: needs a type and a doc, or "
                           "a field that has them")
            elif field and (d.type.name, d.type.kind) != (
                    field.type.name, field.type.kind):
                errors.add(d.pos, f"{label(d)}: its type is not that of the "
                           f"field, {field.type.name}")
            elif field and d.default is not None:
                errors.add(d.pos, f"{label(d)}: its default is that of the "
                           "field")


def bound(model, errors):
    """A command that is bound to a call can fill all that the call takes."""
    for c in model.commands:
        call = model.find_call(c.call) if c.call else None
        if c.call and call is None:
            errors.add(c.pos, f'{label(c)}: there is no call "{c.call}"')
        if call is None:
            continue
        for a in call.args:
            if commands.given(c, call, a) is None:
                errors.add(c.pos, f'{label(c)}: nothing fills "{a.name}" of '
                           f"{call.name}")
        if [o for o in call.out if o.type.kind != "struct"] or \
                len(call.out) > 1:
            errors.add(c.pos, f"{label(c)}: {call.name} must have one result "
                       "at most, a struct")
        if not call.out and [o for o in c.options if o.name == "json"]:
            errors.add(c.pos, f"{label(c)}: {call.name} has no result for "
                       "--json")


def command_lines(model, errors):
    for c in model.commands:
        optional = False
        for i, a in enumerate(c.args):
            if a.variadic and i != len(c.args) - 1:
                errors.add(a.pos, f"{label(a)}: only the last can be variadic")
            if optional and not a.optional:
                errors.add(a.pos, f"{label(a)}: follows an optional one")
            optional = a.optional
        letters = {"h": "help", "n": "dry-run", "N": "dry-run"}
        lists = 0
        for o in c.options:
            if o.name in letters.values():
                errors.add(o.pos, f"{label(o)}: every command has it")
            if o.type.kind == "array":
                if o.type.elem.kind != "string" or o.short or lists:
                    errors.add(o.pos, f"{label(o)}: only one option can be a "
                               "list, one of strings and without a letter")
                lists += 1
            if (o.type.kind == "bool") != (o.metavar is None):
                errors.add(o.pos, f"{label(o)}: needs " + (
                    "no metavar" if o.metavar else "a metavar"))
            if o.short is None:
                continue
            if not re.fullmatch("[A-Za-z0-9]", o.short):
                errors.add(o.pos, f"{label(o)}: short must be one letter")
            elif o.short in letters:
                errors.add(o.pos, f"{label(o)}: -{o.short} is "
                           f"--{letters[o.short]}")
            letters.setdefault(o.short, o.name)


def c_identifiers(model, errors):
    """Types, functions and enum values share one name space; so do the members
    of each struct."""
    seen = {"xlx_ctx": ("", 0)}
    for d in model.decls:
        if d.keyword == "command":
            take(seen, [f"xl {d.name}"], d, errors)
            inside = {}
            for part in d.args + d.options:
                take(inside, [target(part)], part, errors)
            continue
        own = [f"xlx_{d.name}"]
        if d.keyword in ("enum", "struct"):
            own += [name for _, name, _ in type_functions(d)]
        take(seen, own, d, errors)
        for v in getattr(d, "values", []):
            take(seen, [enum_value(d, v.name)], v, errors)
        inside = {}
        for f in d.fields if d.keyword == "struct" else []:
            if f.type.leaf().kind:
                take(inside, [re.search(r"\w+$", m)[0] for m in members(f)],
                     f, errors)


def take(seen, identifiers, d, errors):
    """Declares identifiers; the first that exists is enough to report."""
    taken = [i for i in identifiers if i in seen]
    if taken:
        path, line = seen[taken[0]]
        where = f"declared in {os.path.basename(path)}:{line}" if line \
            else "libxlx's own"
        errors.add(d.pos, f"{label(d)}: {taken[0]} is {where}")
    for i in identifiers:
        seen.setdefault(i, d.pos)


def pages(model, errors):
    """Pages and functions of ours that a text names exist."""
    known = {"libxlx-types(3)"}
    functions = {f"xlx_{d.name}" for d in model.calls + model.functions}
    known |= {f"{f}(3)" for f in functions}
    known |= {f"xl-{c.name}(1)" for c in model.commands}
    directory = os.path.join(model.package.root, "docs")
    for name in os.listdir(directory) if os.path.isdir(directory) else []:
        if name.endswith(".pod"):
            known.add(name.removesuffix(".pod") + "(7)")
    known.add("xlx(7)")
    for d in model.of("enum") + model.structs:
        functions |= {name for _, name, _ in type_functions(d)}
    for d in model.walk():
        texts = [getattr(d, a, None) or "" for a in
                 ("doc", "shortdoc", "result")] + (
                     getattr(d, "see_also", None) or [])
        for text in texts:
            for p in paragraphs(text):
                for name in re.findall(r"\b((?:libxlx|xlx|xl-)[\w-]*\(\d\))",
                                       p):
                    if name not in known:
                        errors.add(d.pos, f"{label(d)}: no page {name}")
                for name in re.findall(r"\b(xlx_\w+)\(\)", p):
                    if name not in functions:
                        errors.add(d.pos, f"{label(d)}: no function {name}()")
        example = getattr(d, "example", None)
        if example and not os.path.isfile(os.path.join(
                model.package.root, "examples", example)):
            errors.add(d.pos, f"{label(d)}: no file examples/{example}")
