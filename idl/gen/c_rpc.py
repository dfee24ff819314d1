# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt-glue/gen-libvirt.[ch]: the messages of libvirt's protocol as C
structs, and tables of their members, from which one codec (xdr.c) reads and
writes them all.  Each bound is in the table."""

from text import c_header, c_string

SCALARS = {"int": "int32_t ", "uint": "uint32_t ", "hyper": "int64_t ",
           "uhyper": "uint64_t ", "double": "double ", "string": "char *"}
STRING_MAX = 4194304            # of the protocol


def generate(model):
    if not model.rpc:
        return {}
    return {"libvirt-glue/gen-libvirt.h": header(model),
            "libvirt-glue/gen-libvirt.c": source(model),
            "libvirt-glue/gen-answers.c": answers(model)}


def of(model, keyword):
    return [d for d in model.rpc if d.keyword == keyword]


def messages(model):
    """(name, fields) of all structs, those of procedures included, each after
    those that it contains, which check_rpc.py makes sure of."""
    for d in model.rpc:
        if d.keyword == "rpc_struct":
            yield d.name, d.fields
        elif d.keyword == "rpc_call":
            for suffix in ("args", "ret"):
                if getattr(d, suffix):
                    yield f"{d.name}_{suffix}", getattr(d, suffix)
        elif d.keyword == "rpc_event":
            yield f"{d.name}_msg", d.args


def member(f):
    """The C declarations of a field."""
    if f.type == "uuid":
        return [f"uint8_t {f.name}[16]"]
    base = SCALARS.get(f.type, f"struct lv_{f.type} ")
    if getattr(f, "many", None):
        return [f"{base}*{f.name}", f"uint32_t num_{f.name}"]
    return [base + f.name]


def header(model):
    out = c_header("Messages of libvirt's protocol; xdr.h reads and writes "
                   "them.")
    out += ["#ifndef LV_GEN_LIBVIRT_H", "#define LV_GEN_LIBVIRT_H", "",
            '#include "xdr.h"', ""]
    for d in of(model, "rpc_union"):
        out += [f"struct lv_{d.name} {{", "    int32_t type;", "    union {"]
        out += [f"        {m};" for a in d.arms for m in member(a)]
        out += ["    } u;", "};", ""]
    for name, fields in messages(model):
        out += [f"struct lv_{name} {{"]
        out += [f"    {m};" for f in fields for m in member(f)]
        out += ["};", ""]
    for d in of(model, "rpc_union"):
        out += [f"extern const struct lv_type lv_{d.name}_type;"]
    out += [f"extern const struct lv_type lv_{name}_type;"
            for name, _ in messages(model)]
    types = len(of(model, "rpc_union")) + len(list(messages(model)))
    out += ["", f"#define LV_NUM_TYPES {types}",
            "extern const struct lv_type *const lv_types[LV_NUM_TYPES];",
            "", "enum lv_number {"]
    out += [f"    LV_{d.name.upper()} = {d.number},"
            for d in numbered(model)]
    out += ["};", "", f"#define LV_NUM_CALLS {len(of(model, 'rpc_call'))}",
            "extern const struct lv_call lv_calls[LV_NUM_CALLS];", "",
            "/* Written by hand: 0, or -1 after lv_fail(). */"]
    for d in of(model, "rpc_call"):
        if d.answer:
            out += prototype(d)
    return out + ["", "#endif"]


def numbered(model):
    return sorted(of(model, "rpc_call") + of(model, "rpc_event"),
                  key=lambda d: d.number)


def prototype(d):
    lines = [f"int lv_answer_{d.name}(struct lv_worker *w,"]
    indent = " " * lines[0].index("(") + " "
    if d.args:
        lines += [f"{indent}const struct lv_{d.name}_args *args,"]
    if d.ret:
        lines += [f"{indent}struct lv_{d.name}_ret *ret,"]
    lines[-1] = lines[-1][:-1] + ");"
    return lines


def source(model):
    out = c_header("Tables of libvirt's messages.")
    out += ['#include "gen-libvirt.h"']
    for d in of(model, "rpc_union"):
        out += table(d.name, d.arms, arm_row)
    for name, fields in messages(model):
        out += table(name, fields, field_row)
    names = [d.name for d in of(model, "rpc_union")]
    names += [name for name, _ in messages(model)]
    out += ["", "const struct lv_type *const lv_types[LV_NUM_TYPES] = {",
            *(f"    &lv_{name}_type," for name in names), "};"]
    return out


def answers(model):
    """By itself: the functions that it calls are in the relay only."""
    out = c_header("The procedures of libvirt that the relay knows.")
    out += ['#include "gen-libvirt.h"']
    for d in of(model, "rpc_call"):
        if d.answer:
            out += ["", *wrapper(d)]
    out += ["", "const struct lv_call lv_calls[LV_NUM_CALLS] = {"]
    for d in sorted(of(model, "rpc_call"), key=lambda d: d.number):
        args = f"&lv_{d.name}_args_type" if d.args else "NULL"
        ret = f"&lv_{d.name}_ret_type" if d.ret else "NULL"
        write = str(d.access == "write").lower()
        out += [f"    {{ {d.number}, {c_string(d.name)}, {c_string(d.api)},",
                f"      {write},",
                f"      {args}, {ret},",
                f"      {'answer_' + d.name if d.answer else 'NULL'} }},"]
    return out + ["};"]


def wrapper(d):
    """From the types of the table to those of the function."""
    given = ["w"] + (["args"] if d.args else []) + (["ret"] if d.ret else [])
    unused = [f"    (void){name};" for name in ("args", "ret")
              if name not in given]
    return [f"static int answer_{d.name}(struct lv_worker *w,",
            f"{' ' * (12 + len('answer_' + d.name))}const void *args, "
            "void *ret)", "{", *unused,
            f"    return lv_answer_{d.name}({', '.join(given)});", "}"]


def kind(type_name):
    if type_name in SCALARS or type_name == "uuid":
        return f"LV_{type_name.upper()}", "NULL"
    return "LV_STRUCT", f"&lv_{type_name}_type"


def field_row(name, f):
    lv_kind, sub = kind(f.type)
    most = f.max or (STRING_MAX if f.type == "string" else 0)
    count = f"offsetof(struct lv_{name}, num_{f.name})" if f.many else "0"
    return (c_string(f.name), lv_kind, str(bool(f.optional)).lower(),
            f"offsetof(struct lv_{name}, {f.name})", count, most,
            f.many or 0, 0, sub)


def arm_row(name, a):
    lv_kind, sub = kind(a.type)
    most = a.max or (STRING_MAX if a.type == "string" else 0)
    return (c_string(a.name), lv_kind, "false",
            f"offsetof(struct lv_{name}, u.{a.name})", 0, most, 0, a.number,
            sub)


def table(name, fields, row):
    union = str(row is arm_row).lower()
    out = ["", f"static const struct lv_field {name}_fields[] = {{"]
    for f in fields:
        values = [str(v) for v in row(name, f)]
        out += [f"    {{ {', '.join(values[:3])},",
                f"      {', '.join(values[3:5])},",
                f"      {', '.join(values[5:])} }},"]
    return out + ["};", f"const struct lv_type lv_{name}_type = {{",
                  f"    {c_string(name)}, {union}, sizeof(struct lv_{name}),",
                  f"    {name}_fields, {len(fields)},", "};"]
