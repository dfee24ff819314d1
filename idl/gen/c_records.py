# SPDX-License-Identifier: LGPL-2.1-or-later
"""lib/gen-records.c: loading, saving and removing the structs that are kept on
disk, and a table of them, through which the layers below the concepts ask all
records what they need not understand."""

from c_types import function
from text import c_header, c_signature

NAMES_PARAMS = ["xlx_ctx *ctx", "const libxl_uuid *uuid",
                "const libxl_device_disk *disks", "int num", "bool *any_r",
                "bool *yes_r"]


def generate(model):
    records = [d for d in model.structs if d.file is not None]
    return {"lib/gen-records.h": header(records),
            "lib/gen-records.c": source(records)}


def kind(d):
    return f"XLX__RECORD_{d.name.upper()}"


def required(d, prefix=""):
    """(member, must it be an absolute path) of all that a record must have;
    one that is kept in another one must have it there."""
    for name in d.required:
        yield prefix + name, False
    for name in d.paths:
        yield prefix + name, True
    for f in d.fields:
        if f.type.kind == "struct":
            yield from required(f.type.decl, f"{prefix}{f.name}.")


def load_params(d):
    return ["xlx_ctx *ctx", "const libxl_uuid *uuid", f"xlx_{d.name} *p",
            "bool *found_r"]


def save_params(d):
    return ["xlx_ctx *ctx", "const xlx_guest *guest", f"const xlx_{d.name} *p"]


def names_params(d):
    return [f"const xlx_{d.name} *p", "const char *path"]


def header(records):
    out = c_header("The records: structs that are kept on disk, a file of each "
                   "kind for each guest.")
    out += ["#ifndef XLX_GEN_RECORDS_H", "#define XLX_GEN_RECORDS_H", "",
            '#include "guest/record.h"', "", "enum {"]
    out += [f"    {kind(d)}," for d in records]
    out += ["    XLX__RECORD_KINDS", "};",
            "extern const struct xlx__record_kind "
            "xlx__record_kinds[XLX__RECORD_KINDS];", "",
            "/* load: p is initialised, and stays so when there is no such "
            "record; found_r", " * may be NULL.  After a failure *p is to be "
            "disposed of all the same. */"]
    for d in records:
        out += c_signature("int", f"xlx__{d.name}_load", load_params(d))
        out += c_signature("int", f"xlx__{d.name}_save", save_params(d))
        out += c_signature("int", f"xlx__{d.name}_remove", save_params(d)[:2])
    out += ["", "/* Written by hand: does the record name that image? */"]
    for d in records:
        if d.names_images:
            out += c_signature("bool", f"xlx__{d.name}_names_image",
                               names_params(d))
    return out + ["", "#endif"]


def source(records):
    out = c_header("Loading and saving records, and the table of their kinds.")
    out += ["#include <string.h>", "", '#include "gen-calls.h"',
            '#include "gen-records.h"']
    for d in records:
        if list(required(d)):
            out += ["", *members(d)]
        if d.names_images:
            out += ["", *names(d)]
    out += ["", "const struct xlx__record_kind "
            "xlx__record_kinds[XLX__RECORD_KINDS] = {"]
    for d in records:
        out += [f"    [{kind(d)}] = {{",
                f'        .file = "{d.file}", .version = {d.version},']
        if list(required(d)):
            out.append(f"        .members = {d.name}_members,")
        if d.names_images:
            out.append(f"        .names_image = {d.name}_name,")
        out.append("    },")
    out.append("};")
    for d in records:
        out += ["", *loader(d), "", *saver(d), "", *remover(d)]
    return out


def members(d):
    out = [f"static const struct xlx__record_member {d.name}_members[] = {{"]
    out += [f'    {{ "{name}", {str(path).lower()} }},'
            for name, path in required(d)]
    return out + ["    { NULL, false },", "};"]


def names(d):
    body = [f"xlx_{d.name} p;", "bool found;", "int i, rc;", "",
            f"xlx_{d.name}_init(&p);",
            f"rc = xlx__{d.name}_load(ctx, uuid, &p, &found);",
            "if (!rc && found)", "    *any_r = true;",
            "for (i = 0; !rc && found && i < num; i++)",
            f"    if (xlx__{d.name}_names_image(&p, disks[i].pdev_path))",
            "        *yes_r = true;",
            f"xlx_{d.name}_dispose(&p);", "return rc;"]
    return function("int", f"{d.name}_name", NAMES_PARAMS, body, static=True)


def loader(d):
    return function("int", f"xlx__{d.name}_load", load_params(d), [
        "struct xlx__json_doc *doc;", "int rc;", "",
        *c_signature("rc =", "xlx__record_read", [
            "ctx", "uuid", f"&xlx__record_kinds[{kind(d)}]", "&doc"],
            width=75),
        "if (rc) return rc;",
        "if (found_r)", "    *found_r = doc != NULL;",
        "if (doc)",
        f"    rc = xlx__{d.name}_parse(xlx__json_root(doc), p);",
        "xlx__json_free(doc);", "return rc;"])


def saver(d):
    return function("int", f"xlx__{d.name}_save", save_params(d), [
        "struct xlx__json_out *out = xlx__json_out_new(true);", "",
        f"xlx__{d.name}_gen(out, p);",
        *c_signature("return", "xlx__record_write", [
            "ctx", "guest", f"&xlx__record_kinds[{kind(d)}]", "out"],
            width=75)])


def remover(d):
    return function("int", f"xlx__{d.name}_remove", save_params(d)[:2],
                    c_signature("return", "xlx__record_remove", [
                        "ctx", "guest", f"&xlx__record_kinds[{kind(d)}]"],
                        width=75))
