# SPDX-License-Identifier: LGPL-2.1-or-later
"""lib/gen-calls.c: what every public call does around the function that does
the work; lib/gen-calls.h: that function's prototype, so that a missing one
fails to link and a wrong one to compile; lib/libxlx.map: what is exported."""

from c_names import call_params, enum_value, exported, is_pointer
from c_types import append_signature, appendable, label
from text import c_header, c_signature, hash_header


def generate(model):
    return {
        "lib/gen-calls.h": header(model),
        "lib/gen-calls.c": wrappers(model),
        "lib/libxlx.map": version_map(model),
    }


def header(model):
    out = c_header("What lib/ defines for its public calls, and what the "
                   "types offer inside lib/.")
    out += ["#ifndef XLX_GEN_CALLS_H", "#define XLX_GEN_CALLS_H", "",
            '#include "libxlx.h"', '#include "core/json.h"', ""]
    for d in model.enums:
        names = [v.name.lower() for v in d.values]
        out += [f"#define XLX__{d.name.upper()}_NAMES \\",
                f'    "{", ".join(names)}"']
    out += ["", "/* Written by hand.  Arguments were checked; results are "
            "initialised, and are", " * disposed of by the caller when the "
            "function fails. */"]
    for c in model.calls:
        out += c_signature("int", f"xlx__{c.name}", call_params(c))
    out += ["", "/* parse: *p is initialised; after a failure it holds what "
            "was read so far, and", " * is to be disposed of all the same. */"]
    for d in model.structs:
        out += c_signature("int", f"xlx__{d.name}_parse",
                           ["const struct xlx__json *v", f"xlx_{d.name} *p"])
        out += c_signature("void", f"xlx__{d.name}_gen",
                           ["struct xlx__json_out *o",
                            f"const xlx_{d.name} *p"])
    out += ["", "/* A new element at the end of an array, initialised; NULL, "
            "with the error set, when", " * memory is short. */"]
    for d in model.structs:
        for f in appendable(d):
            out += append_signature(d, f)
    return out + ["", "#endif"]


def wrappers(model):
    out = c_header("The public calls: results initialised, arguments checked, "
                   "then the function in the file of the concept.")
    out += ["#include <string.h>", "", '#include "core/internal.h"',
            '#include "gen-calls.h"']
    for c in model.calls:
        out += ["", *wrapper(c)]
    return out


def checks(call):
    """(condition of a wrong argument, message)"""
    must = "must not be NULL"
    for a in call.args:
        if is_pointer(a) and not a.optional:
            yield f"!{a.name}", f'"{a.name}: {must}"'
        if a.type.kind == "callback":
            yield (f"{a.name} && !{a.name}->callback",
                   f'"{a.name}->callback: {must}"')
        if a.type.kind == "enum":
            yield (f"!xlx_{a.type.name}_to_string({a.name})",
                   f'"{a.name}: %d is not an xlx_{a.type.name}",\n'
                   f'{" " * 24}(int){a.name}')
    for a in call.out:
        yield f"!{a.name}_r", f'"{a.name}_r: {must}"'


def reset(a):
    """Puts a result into the state that needs no release."""
    if a.type.kind == "struct":
        return f"xlx_{a.type.name}_init({a.name}_r);"
    if a.type.kind == "string":
        return f"*{a.name}_r = NULL;"
    if a.type.kind == "enum":
        first = a.type.decl.values[0].name
        return f"*{a.name}_r = {enum_value(a.type.decl, first)};"
    return f"memset({a.name}_r, 0, sizeof(*{a.name}_r));"


def wrapper(c):
    body = ["int rc;", ""]
    for a in c.out:
        body += [f"if ({a.name}_r)", f"    {reset(a)}"]
    body += ["if (!ctx)",
             '    return xlx__error(ERROR_INVAL, "ctx: must not be NULL");',
             f'xlx__call_enter(ctx, "xlx_{c.name}");']
    for condition, message in checks(c):
        body += [f"if ({condition}) {{",
                 f"    rc = xlx__error(ERROR_INVAL, {message});",
                 "    goto out;", "}"]
    names = (["ctx"] + [a.name for a in c.args]
             + [f"{a.name}_r" for a in c.out])
    body += c_signature("rc =", f"xlx__{c.name}", names, width=75)
    disposed = [a for a in c.out if a.type.kind == "struct"]
    if len(disposed) == 1:
        a = disposed[0]
        body += ["if (rc)", f"    xlx_{a.type.name}_dispose({a.name}_r);"]
    elif disposed:
        body += ["if (rc) {"] + [
            f"    xlx_{a.type.name}_dispose({a.name}_r);" for a in disposed
        ] + ["}"]
    body += ["", "out:",
             f'return xlx__call_leave(ctx, "xlx_{c.name}", rc);']
    return (c_signature("int", f"xlx_{c.name}", call_params(c), "")
            + ["{"] + [label(b) for b in body] + ["}"])


def version_map(model):
    """One node a release, each on top of the one before."""
    nodes = {}
    for name, since in exported(model):
        nodes.setdefault(since, []).append(name)
    out = hash_header("The exported symbols, by the release that added them.")
    before = None
    for since in sorted(nodes, key=lambda v: tuple(map(int, v.split(".")))):
        out += ["", f"LIBXLX_{since} {{", "global:"]
        out += [f"    {name};" for name in sorted(nodes[since])]
        if before is None:
            out += ["local:", "    *;"]
        out += ["}" + (f" LIBXLX_{before}" if before else "") + ";"]
        before = since
    return out
