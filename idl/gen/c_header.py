# SPDX-License-Identifier: LGPL-2.1-or-later
"""include/libxlx.h: the types first, then the calls, concept by concept."""

from c_names import (call_params, declare, enum_value, inp_param, members,
                     type_functions)
from model import stem
from text import (c_comment, c_doc, c_header, c_signature, paragraphs, plain,
                  wrap)

TOP = """
#ifndef LIBXLX_H
#define LIBXLX_H

#include <stdbool.h>
#include <stdint.h>

#include <libxl.h>
#include <libxl_uuid.h>
#include <xentoollog.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/*
 * Rules for all calls
 *
 * Result: 0, or a negative ERROR_* code of libxl; xlx_error_get() then gives
 * one line of text, which is the calling thread's own.
 *
 * Memory: `const` parameters are borrowed for the time of the call.  A result
 * (last parameters, ending in _r) needs no initialisation; it may be disposed
 * of also after a failure, and must be after success.
 *
 * Structs: xlx_X_init() before use, xlx_X_dispose() after; dispose accepts
 * NULL and leaves a struct that can be used again.  xlx_X_copy() and
 * xlx_X_from_json() release what their target held, which must have been
 * initialised, and leave it alone when they fail.  They and xlx_X_to_json()
 * accept a NULL ctx.
 *
 * Strings: UTF-8, allocated with malloc(3).  NULL and "" both mean empty; the
 * library itself stores NULL, and to_json writes "".
 *
 * Arrays: XS is a pointer to num_XS elements, NULL when there are none; all
 * of it is released by the struct's dispose.
 *
 * JSON: members are named as the fields here, enums are lower-case strings,
 * a UUID is a string, XLX_DOMID_NONE is null.  A member that is missing has
 * its default; an unknown one is an error, which tells its path.
 *
 * Threads: a ctx is for one thread at a time.
 */

/* Instead of a domain id: no domain. */
#define XLX_DOMID_NONE (~(uint32_t)0)

typedef struct xlx_ctx xlx_ctx;
"""

BOTTOM = """
#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
"""


def generate(model):
    out = c_header("libxlx: what Xen's toolstack lacks.  The only header to "
                   "include; link with -lxlx.  libxlx-types(3), xlx(7).")
    out += TOP.strip("\n").split("\n")
    for d in model.enums:
        out += ["", *enum(d)]
    for d in model.structs:
        out += ["", *struct(d)]
    for d in model.callbacks:
        out += ["", *callback(d)]
    out += ["", "/* ---- functions of the types; see the rules above ---- */"]
    for d in model.enums:
        out += ["", *c_doc(f"NULL for a number that is not an xlx_{d.name}; "
                           "ERROR_INVAL with a message that lists the names."),
                *prototypes(d)]
    for d in model.structs:
        out += ["", *prototypes(d)]
    for concept in model.stems():
        calls = [c for c in model.functions + model.calls
                 if stem(c) == concept]
        if calls:
            out += ["", f"/* ---- {concept} ---- */"]
        for c in calls:
            out += ["", *call(c)]
    return {"include/libxlx.h": out + BOTTOM.rstrip("\n").split("\n")}


def have(d):
    return f"#define XLX_HAVE_{d.name.upper()} 1    /* since {d.since} */"


def commented(line, doc, indent="    "):
    """A member with its doc: next to it if that fits, else above it."""
    beside = f"{indent}{line}"
    beside += " " * max(1, 36 - len(beside)) + f"/* {plain(doc)} */"
    if len(beside) <= 79:
        return [beside]
    return c_doc(doc, indent) + [indent + line]


def since_note(child, parent):
    """New members of an old type say so."""
    return f" (since {child.since})" if child.since not in (
        None, parent.since) else ""


def enum(d):
    out = c_doc(d.doc) + [f"typedef enum xlx_{d.name} {{"]
    for v in d.values:
        out += commented(f"{enum_value(d, v.name)} = {v.number},",
                         v.doc + since_note(v, d))
    return out + [f"}} xlx_{d.name};", have(d)]


def struct(d):
    out = c_doc(d.doc) + [f"typedef struct xlx_{d.name} {{"]
    for f in d.fields:
        lines = [f"{m};" for m in members(f)]
        out += commented(lines[0], f.doc + since_note(f, d))
        out += [f"    {line}" for line in lines[1:]]
    return out + [f"}} xlx_{d.name};", have(d)]


def callback(d):
    params = ["void *user"] + [inp_param(a) for a in d.args]
    out = c_doc(d.doc) + [f"typedef struct xlx_{d.name} {{"]
    return out + [
        f"    int (*callback)({', '.join(params)});",
        declare("    void *", "user;"),
        f"}} xlx_{d.name};", have(d)]


def prototypes(d):
    return [line for f in type_functions(d) for line in c_signature(*f)]


def call(c):
    """A prototype with all that its man page says, in short."""
    if c.keyword == "function":
        result, params = c.returns, [declare(a.c_type, a.name) for a in c.args]
        names = [(a.name, a.doc) for a in c.args]
    else:
        result, params = "int", call_params(c)
        names = ([(a.name, a.doc) for a in c.args]
                 + [(a.name + "_r", a.doc) for a in c.out])
    lines = wrap(plain(c.shortdoc), 76)
    for p in paragraphs(plain(c.doc)):
        lines += ["", *wrap(p, 76)]
    if c.keyword == "function":
        names.append(("result", c.result))
    lines += ["", *table(names)]
    if c.errors:
        lines += ["", *table([(f"ERROR_{e.name}", e.doc) for e in c.errors])]
    return (c_comment(lines) + c_signature(result, f"xlx_{c.name}", params)
            + [have(c)])


def table(rows):
    """(name, doc) rows, the docs aligned."""
    width = max(len(name) for name, _ in rows) + 2
    return [line for name, doc in rows
            for line in wrap(plain(doc), 76, "  " + name.ljust(width),
                             " " * (width + 2))]
