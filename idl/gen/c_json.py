# SPDX-License-Identifier: LGPL-2.1-or-later
"""lib/gen-json.c: JSON of each struct, read strictly and written in the order
of the IDL."""

from c_names import c_type
from c_types import function, label
from text import c_header, c_signature

TOP = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"
#include "gen-calls.h"

#include <xen/xen.h>

/* Limits of a text from a caller; lib/core/store.c has its own for records. */
static const struct xlx__json_limits limits = {
    .bytes = 16 << 20,
    .depth = 32,
};

static int parse_text(const char *what, const char *text,
                      struct xlx__json_doc **doc_r)
{
    xlx__error_clear();
    if (!text)
        return xlx__error(ERROR_INVAL, "%s: json must not be NULL", what);
    return xlx__json_parse(what, text, strlen(text), &limits, doc_r);
}

static int parse_string(const struct xlx__json *v, char **s_r)
{
    const char *s;
    int rc;

    rc = xlx__json_string(v, &s);
    if (rc) return rc;
    return xlx__set_string(s_r, *s ? s : NULL);
}

static int parse_uint32(const struct xlx__json *v, uint32_t *u_r)
{
    uint64_t u;
    int rc;

    rc = xlx__json_uint64(v, UINT32_MAX, &u);
    if (rc) return rc;
    *u_r = u;
    return 0;
}

static int parse_domid(const struct xlx__json *v, uint32_t *domid_r)
{
    uint64_t u;
    int rc;

    if (xlx__json_kind(v) == XLX__JSON_NULL) {
        *domid_r = XLX_DOMID_NONE;
        return 0;
    }
    rc = xlx__json_uint64(v, DOMID_FIRST_RESERVED - 1, &u);
    if (rc) return rc;
    *domid_r = u;
    return 0;
}

static void gen_domid(struct xlx__json_out *o, uint32_t domid)
{
    if (domid == XLX_DOMID_NONE)
        xlx__json_out_null(o);
    else
        xlx__json_out_uint64(o, domid);
}

static int parse_uuid(const struct xlx__json *v, libxl_uuid *uuid_r)
{
    const char *s;
    int rc;

    rc = xlx__json_string(v, &s);
    if (rc) return rc;
    if (strlen(s) != LIBXL_UUID_FMTLEN || libxl_uuid_from_string(uuid_r, s))
        return xlx__json_error(v, ERROR_INVAL, "\"%s\": must be a UUID", s);
    return 0;
}

static void gen_uuid(struct xlx__json_out *o, const libxl_uuid *uuid)
{
    char s[LIBXL_UUID_FMTLEN + 1];

    snprintf(s, sizeof(s), LIBXL_UUID_FMT, LIBXL_UUID_BYTES(*uuid));
    xlx__json_out_string(o, s);
}
"""

# kind -> how a value at ADDRESS is read, how the value is written
READERS = {
    "bool": "xlx__json_bool({v}, {a})",
    "uint32": "parse_uint32({v}, {a})",
    "int64": "xlx__json_int64({v}, INT64_MIN, INT64_MAX, {a})",
    "uint64": "xlx__json_uint64({v}, UINT64_MAX, {a})",
    "string": "parse_string({v}, {a})",
    "uuid": "parse_uuid({v}, {a})",
    "domid": "parse_domid({v}, {a})",
    "enum": "parse_{n}({v}, {a})",
    "struct": "xlx__{n}_parse({v}, {a})",
}
WRITERS = {
    "bool": "xlx__json_out_bool(o, {x})",
    "uint32": "xlx__json_out_uint64(o, {x})",
    "int64": "xlx__json_out_int64(o, {x})",
    "uint64": "xlx__json_out_uint64(o, {x})",
    "string": 'xlx__json_out_string(o, {x} ? {x} : "")',
    "uuid": "gen_uuid(o, &{x})",
    "domid": "gen_domid(o, {x})",
    "enum": "gen_{n}(o, {x})",
    "struct": "xlx__{n}_gen(o, &{x})",
}


def generate(model):
    out = c_header("JSON of each type.  A message about what cannot be read "
                   "names the path of the member.")
    out += TOP.rstrip("\n").split("\n")
    done = set()
    for d in model.structs:
        for f in d.fields:
            if f.type.leaf().kind == "enum" and f.type.leaf().name not in done:
                done.add(f.type.leaf().name)
                out += ["", *enum(f.type.leaf().decl)]
            if f.type.kind == "array" and f.type.elem.name + "[]" not in done:
                done.add(f.type.elem.name + "[]")
                out += ["", *array_reader(f.type.elem)]
        out += ["", *reader(d), "", *writer(d), "", *public(d)]
    return {"lib/gen-json.c": out}


def read(t, v, address):
    return READERS[t.kind].format(v=v, a=address, n=t.name)


def write(t, x):
    return WRITERS[t.kind].format(x=x, n=t.name) + ";"


def enum(d):
    t = f"xlx_{d.name}"
    out = function("int", f"parse_{d.name}",
                   ["const struct xlx__json *v", f"{t} *e_r"], [
        "const char *s;", "int rc;", "",
        "rc = xlx__json_string(v, &s);",
        "if (rc) return rc;",
        f"if ({t}_from_string(s, e_r))",
        "    return xlx__json_error(v, ERROR_INVAL, "
        '"\\"%s\\": must be one of "',
        f"                           XLX__{d.name.upper()}_NAMES, s);",
        "return 0;"], static=True)
    return out + [""] + function(
        "void", f"gen_{d.name}", ["struct xlx__json_out *o", f"{t} e"], [
            f"const char *s = {t}_to_string(e);", "",
            "if (s)", "    xlx__json_out_string(o, s);",
            "else", "    xlx__json_out_int64(o, e);    /* will be refused */"],
        static=True)


def array_reader(elem):
    ctype = c_type(elem)
    ptr = ctype + ("" if ctype.endswith("*") else " ")
    start = ([f"    xlx_{elem.name}_init(&xs[*num_r]);", "    (*num_r)++;",
              "    rc = " + read(elem, "m", "&xs[*num_r - 1]") + ";"]
             if elem.kind == "struct" else
             ["    (*num_r)++;",
              "    rc = " + read(elem, "m", "&xs[*num_r - 1]") + ";"])
    body = ["const struct xlx__json *m;", f"{ptr}*xs;", "int rc;", "",
            "rc = xlx__json_expect(v, XLX__JSON_ARRAY);",
            "if (rc) return rc;",
            "if (!xlx__json_count(v))", "    return 0;",
            "*xs_r = xs = calloc(xlx__json_count(v), sizeof(*xs));",
            "if (!xs)",
            '    return xlx__nomem();',
            "for (m = xlx__json_first(v); m; m = xlx__json_next(m)) {",
            *start, "    if (rc) return rc;", "}", "return 0;"]
    return ["/* Members that were read before an error stay, for dispose. */"] + \
        function("int", f"parse_{elem.name}_array",
                 ["const struct xlx__json *v", f"{ptr}**xs_r", "int *num_r"],
                 body, static=True)


def reader(d):
    body = ["const struct xlx__json *m;", "const char *key;", "int rc;", "",
            "rc = xlx__json_expect(v, XLX__JSON_OBJECT);",
            "if (rc) return rc;",
            "for (m = xlx__json_first(v); m; m = xlx__json_next(m)) {",
            "    key = xlx__json_key(m);"]
    word = "if"
    for f in d.fields:
        body += [f'    {word} (!strcmp(key, "{f.name}"))',
                 *read_field(f)]
        word = "else if"
    body += ["    else",
             '        rc = xlx__json_error(m, ERROR_INVAL, "unknown member");',
             "    if (rc) return rc;", "}"]
    if d.version is not None:
        body += [f"if (p->version > {d.version})",
                 "    return xlx__json_error(v, ERROR_VERSION, "
                 '"version %u is newer than"',
                 f'                           " {d.version}, the newest known '
                 'here", p->version);']
    body += ["return 0;"]
    return function("int", f"xlx__{d.name}_parse",
                    ["const struct xlx__json *v", f"xlx_{d.name} *p"], body)


def read_field(f):
    if f.type.kind == "array":
        start = f"parse_{f.type.elem.name}_array("
        return [f"        rc = {start}m, &p->{f.name},",
                " " * (13 + len(start)) + f"&p->num_{f.name});"]
    return [f"        rc = {read(f.type, 'm', f'&p->{f.name}')};"]


def writer(d):
    arrays = any(f.type.kind == "array" for f in d.fields)
    body = (["int i;", ""] if arrays else []) + ["xlx__json_out_object(o);"]
    for f in d.fields:
        body.append(f'xlx__json_out_key(o, "{f.name}");')
        if f.type.kind == "array":
            body += ["xlx__json_out_array(o);",
                     f"for (i = 0; i < p->num_{f.name}; i++)",
                     "    " + write(f.type.elem, f"p->{f.name}[i]"),
                     "xlx__json_out_end(o);"]
        else:
            body.append(write(f.type, f"p->{f.name}"))
    body.append("xlx__json_out_end(o);")
    return function("void", f"xlx__{d.name}_gen",
                    ["struct xlx__json_out *o", f"const xlx_{d.name} *p"],
                    body)


def public(d):
    t = f"xlx_{d.name}"
    out = function("char *", f"{t}_to_json",
                   ["xlx_ctx *ctx", f"const {t} *p"], [
        "struct xlx__json_out *o;", "char *text;", "",
        "(void)ctx;", "xlx__error_clear();",
        "o = xlx__json_out_new(true);",
        f"xlx__{d.name}_gen(o, p);",
        "return xlx__json_out_finish(o, &text, NULL) ? NULL : text;"])
    body = ["struct xlx__json_doc *doc = NULL;", f"{t} read;", "int rc;", "",
            "(void)ctx;", f"{t}_init(&read);",
            f'rc = parse_text("{d.name}", json, &doc);',
            "if (rc) goto out;",
            f"rc = xlx__{d.name}_parse(xlx__json_root(doc), &read);",
            "if (rc) goto out;",
            f"{t}_dispose(p);", "*p = read;", f"{t}_init(&read);", "",
            "out:", f"{t}_dispose(&read);", "xlx__json_free(doc);",
            "return rc;"]
    sig = c_signature("int", f"{t}_from_json",
                      ["xlx_ctx *ctx", f"{t} *p", "const char *json"], "")
    return out + [""] + sig + ["{"] + [label(b) for b in body] + ["}"]
