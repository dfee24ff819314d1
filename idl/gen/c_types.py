# SPDX-License-Identifier: LGPL-2.1-or-later
"""lib/gen-types.c: init, dispose and copy of structs, names of enums."""

from c_names import c_type, enum_value, initial
from text import c_header, c_signature

TOP = r"""
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"
#include "gen-calls.h"

struct enum_name {
    int value;
    const char *name;
};

static const char *name_of(const struct enum_name *names, int value)
{
    for (; names->name; names++)
        if (names->value == value)
            return names->name;
    return NULL;
}

/* NULL with a message that lists what is expected */
static const struct enum_name *entry_of(const struct enum_name *names,
                                        const char *s, const char *expected)
{
    xlx__error_clear();
    for (; s && names->name; names++)
        if (!strcmp(s, names->name))
            return names;
    xlx__error(ERROR_INVAL, "\"%s\": must be one of %s", s ? s : "",
               expected);
    return NULL;
}

/* room for one more element */
static void *longer(void *xs, int num, size_t size)
{
    void *more = realloc(xs, ((size_t)num + 1) * size);

    if (!more)
        xlx__nomem();
    return more;
}
"""


def generate(model):
    out = c_header("The functions that each type comes with, but for JSON.")
    out += TOP.rstrip("\n").split("\n")
    for d in model.enums:
        out += ["", *enum(d)]
    helpers = set()
    for d in model.structs:
        for f in d.fields:
            if f.type.kind == "array" and f.type.elem.name not in helpers:
                helpers.add(f.type.elem.name)
                out += ["", *array_helpers(f.type.elem)]
        out += ["", *init(d), "", *dispose(d), "", *copy(d)]
        for f in appendable(d):
            out += ["", *append(d, f)]
    return {"lib/gen-types.c": out}


def appendable(d):
    return [f for f in d.fields
            if f.type.kind == "array" and f.type.elem.kind == "struct"]


def append_signature(d, f, end=";"):
    result = f"xlx_{f.type.elem.name} *"
    call = [f"xlx__{d.name}_{f.name}_append", [f"xlx_{d.name} *p"], end]
    line = c_signature(result, *call)
    return line if len(line[0]) < 80 else [result] + [
        line[0][len(result):]]


def append(d, f):
    xs, num = f"p->{f.name}", f"p->num_{f.name}"
    body = [f"xlx_{f.type.elem.name} *xs;", "",
            f"xs = longer({xs}, {num}, sizeof(*xs));",
            "if (!xs)", "    return NULL;",
            f"{xs} = xs;", f"xs += {num}++;",
            f"xlx_{f.type.elem.name}_init(xs);", "return xs;"]
    return append_signature(d, f, "") + [
        "{"] + [("    " + b).rstrip() for b in body] + ["}"]


def function(result, name, params, body, static=False):
    sig = c_signature(("static " if static else "") + result, name, params, "")
    return sig + ["{"] + [("    " + b).rstrip() for b in body] + ["}"]


def enum(d):
    t = f"xlx_{d.name}"
    out = [f"static const struct enum_name {d.name}_names[] = {{"]
    for v in d.values:
        out.append(f'    {{ {enum_value(d, v.name)}, "{v.name.lower()}" }},')
    out += ["    { 0, NULL }", "};", ""]
    out += function("const char *", f"{t}_to_string", [f"{t} e"],
                    [f"return name_of({d.name}_names, e);"])
    return out + [""] + function(
        "int", f"{t}_from_string", ["const char *s", f"{t} *e_r"], [
            "const struct enum_name *entry;", "",
            f"entry = entry_of({d.name}_names, s,",
            f"                 XLX__{d.name.upper()}_NAMES);",
            "if (!entry)",
            "    return ERROR_INVAL;",
            "*e_r = entry->value;",
            "return 0;"])


def init(d):
    t = f"xlx_{d.name}"
    body = ["memset(p, 0, sizeof(*p));"]
    for f in d.fields:
        if f.type.kind == "struct":
            body.append(f"xlx_{f.type.name}_init(&p->{f.name});")
        elif initial(f) not in (None, "NULL", "0", "false"):
            body.append(f"p->{f.name} = {initial(f)};")
    return function("void", f"{t}_init", [f"{t} *p"], body)


def array_helpers(elem):
    """Release and copy of an array, for all fields of that type."""
    ctype = c_type(elem)
    ptr = ctype + ("" if ctype.endswith("*") else " ")
    release = None
    if elem.owns_memory:
        release = "free(xs[i]);" if elem.kind == "string" else \
            f"xlx_{elem.name}_dispose(&xs[i]);"
    body = ["int i;", "", "for (i = 0; i < num; i++)", f"    {release}",
            "free(xs);"] if release else ["(void)num;", "free(xs);"]
    out = function("void", f"dispose_{elem.name}_array",
                   [f"{ptr}*xs", "int num"], body, static=True)
    return out + [""] + copy_array(elem, ptr)


def copy_array(elem, ptr):
    if not elem.owns_memory:
        loop = ["    xs[i] = from[i];"]
    elif elem.kind == "string":
        loop = ["    rc = xlx__set_string(&xs[i], from[i]);",
                "    if (rc) goto out;"]
    else:
        loop = [f"    xlx_{elem.name}_init(&xs[i]);",
                f"    rc = xlx_{elem.name}_copy(ctx, &xs[i], &from[i]);",
                "    if (rc) goto out;"]
    uses_ctx = elem.owns_memory and elem.kind == "struct"
    body = [f"{ptr}*xs;", "int i, rc;", "",
            *([] if uses_ctx else ["(void)ctx;"]),
            "if (num <= 0)", "    return 0;",
            "xs = calloc(num, sizeof(*xs));",
            "if (!xs)",
            '    return xlx__nomem();',
            "for (i = 0; i < num; i++) {", *loop, "}",
            "*xs_r = xs;", "*num_r = num;", "return 0;"]
    if elem.owns_memory:
        body += ["", "out:", f"dispose_{elem.name}_array(xs, i);",
                 "return rc;"]
    else:
        body[1] = "int i;"
    const = "char *const *" if elem.kind == "string" else f"const {ptr}*"
    sig = c_signature("static int", f"copy_{elem.name}_array",
                      ["xlx_ctx *ctx", f"{ptr}**xs_r", "int *num_r",
                       f"{const}from", "int num"], "")
    return sig + ["{"] + [label(b) for b in body] + ["}"]


def label(line):
    if line == "out:":
        return " out:"
    return ("    " + line).rstrip()


def dispose(d):
    t = f"xlx_{d.name}"
    body = ["if (!p)", "    return;"]
    for f in d.fields:
        if f.type.kind == "string":
            body.append(f"free(p->{f.name});")
        elif f.type.kind == "array":
            body.append(f"dispose_{f.type.elem.name}_array("
                        f"p->{f.name}, p->num_{f.name});")
        elif f.type.kind == "struct" and f.type.owns_memory:
            body.append(f"xlx_{f.type.name}_dispose(&p->{f.name});")
    body.append(f"{t}_init(p);")
    return function("void", f"{t}_dispose", [f"{t} *p"], body)


def copy(d):
    t = f"xlx_{d.name}"
    params = ["xlx_ctx *ctx", f"{t} *dst", f"const {t} *src"]
    owners = [f for f in d.fields if f.type.owns_memory]
    if not owners:
        return function("int", f"{t}_copy", params,
                        ["(void)ctx;", "*dst = *src;", "return 0;"])
    uses_ctx = any(f.type.kind in ("struct", "array") for f in owners)
    body = [f"{t} p;", "int rc;", "",
            *([] if uses_ctx else ["(void)ctx;"]), f"{t}_init(&p);"]
    for f in d.fields:
        body += copy_field(f)
    body += ["", f"{t}_dispose(dst);", "*dst = p;", "return 0;", "",
             "out:", f"{t}_dispose(&p);", "return rc;"]
    sig = c_signature("int", f"{t}_copy", params, "")
    return sig + ["{"] + [label(b) for b in body] + ["}"]


def copy_field(f):
    n = f.name
    if f.type.kind == "string":
        call = [f"rc = xlx__set_string(&p.{n}, src->{n});"]
    elif f.type.kind == "array":
        start = f"rc = copy_{f.type.elem.name}_array("
        call = [f"{start}ctx, &p.{n}, &p.num_{n},",
                " " * len(start) + f"src->{n}, src->num_{n});"]
    elif f.type.kind == "struct" and f.type.owns_memory:
        call = [f"rc = xlx_{f.type.name}_copy(ctx, &p.{n}, &src->{n});"]
    else:
        return [f"p.{n} = src->{n};"]
    return call + ["if (rc) goto out;"]
