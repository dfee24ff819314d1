# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests that follow from the types: JSON round trips of random values, wrong
JSON for every member, the layout of every struct; and a fuzzer."""

import json

from c_names import enum_value
from c_types import function
from text import c_header, c_string

NO_SUCH = "no-such-thing"
# kind -> JSON that a member of that kind must refuse
WRONG = {
    "bool": [1, "true", None],
    "uint32": [-1, 2**32, 1.5, "1", None],
    "int64": [2**63, -2**63 - 1, 1.5, "1", None],
    "uint64": [-1, 2**64, "1", None],
    "string": [1, True, None],
    "uuid": ["", NO_SUCH, "00000000-0000-0000-0000-00000000000",
             "00000000-0000-0000-0000-00000000000g", 1],
    "domid": [-1, 0x7FF0, 2**32 - 1, "0"],
    "enum": ["", NO_SUCH, 0, None],
    "struct": [[], 1, None, {NO_SUCH: 1}],
    "array": [{}, 1, None],
}


def generate(model):
    return {
        "tests/unit/gen-roundtrip.c": roundtrip(model),
        "tests/unit/gen-abi.c": abi(model),
        "fuzz/gen-fuzz-json.c": fuzzer(model),
    }


# ---- round trips -----------------------------------------------------------

def roundtrip(model):
    out = c_header("Each type: random values survive copying and JSON, each "
                   "name of an enum its conversion, and wrong JSON is refused "
                   "with the path of the member.")
    out += ['#include "roundtrip.h"']
    for d in model.enums:
        out += ["", *enum_test(d)]
    for d in model.structs:
        out += ["", *fill(d), "", *struct_test(d), "", *refusal_test(d)]
    tests = [f"enum_{d.name}" for d in model.enums]
    for d in model.structs:
        tests += [f"struct_{d.name}", f"refusals_{d.name}"]
    out += ["", "int main(void)", "{",
            "    static const struct CMUnitTest tests[] = {"]
    out += [f"        cmocka_unit_test({t})," for t in tests]
    return out + ["    };", "", "    seed();",
                  '    return cmocka_run_group_tests_name("gen-roundtrip", '
                  "tests, NULL, NULL);", "}"]


def enum_test(d):
    t = f"xlx_{d.name}"
    body = [f"static const {t} values[] = {{"]
    body += [f"    {enum_value(d, v.name)}," for v in d.values]
    body += ["};", f"{t} e;", "const char *name;", "unsigned int i;",
             "int rc;", "", "(void)state;",
             f"for (i = 0; i < {len(d.values)}; i++) {{",
             f"    name = {t}_to_string(values[i]);",
             "    assert_non_null(name);",
             f"    rc = {t}_from_string(name, &e);",
             "    assert_int_equal(rc, 0);",
             "    assert_int_equal(e, values[i]);", "}",
             f"name = {t}_to_string(({t})0x7fff);",
             "assert_null(name);",
             f'rc = {t}_from_string("{NO_SUCH}", &e);',
             "assert_int_equal(rc, ERROR_INVAL);"]
    body += [f'assert_said("{v.name.lower()}");' for v in d.values]
    body += [f"rc = {t}_from_string(NULL, &e);",
             "assert_int_equal(rc, ERROR_INVAL);"]
    return function("void", f"enum_{d.name}", ["void **state"], body,
                    static=True)


def random_value(t):
    if t.kind == "enum":
        names = t.decl.values
        return "PICK(" + ", ".join(enum_value(t.decl, v.name)
                                   for v in names) + ")"
    return f"random_{t.kind}()"


def fill(d):
    body = ["int i;", ""] if any(
        f.type.kind == "array" for f in d.fields) else []
    for f in d.fields:
        n = f.name
        if f.type.kind == "array":
            body += [f"p->num_{n} = random_count();",
                     f"p->{n} = test_array(p->num_{n}, sizeof(*p->{n}));",
                     f"for (i = 0; i < p->num_{n}; i++)"]
            if f.type.elem.kind == "struct":
                body.append(f"    fill_{f.type.elem.name}(&p->{n}[i]);")
            else:
                body += pick(f"p->{n}[i]", f.type.elem, "    ")
        elif f.type.kind == "struct":
            body.append(f"fill_{f.type.name}(&p->{n});")
        elif n == "version" and d.version is not None:
            body.append(f"p->version = random_below({d.version + 1});")
        else:
            body += pick(f"p->{n}", f.type, "")
    return function("void", f"fill_{d.name}", [f"xlx_{d.name} *p"], body,
                    static=True)


def pick(target, t, indent):
    """An assignment; the values of an enum each on a line."""
    if t.kind != "enum":
        return [f"{indent}{target} = {random_value(t)};"]
    values = [enum_value(t.decl, v.name) for v in t.decl.values]
    head = f"{indent}{target} = PICK("
    return [head] + [f"{indent}    {v}{',' if v != values[-1] else ');'}"
                     for v in values]


def struct_test(d):
    t = f"xlx_{d.name}"
    body = [f"{t} a, b;", "char *text, *again;", "int i, rc;", "",
            "(void)state;",
            "for (i = 0; i < ROUNDS; i++) {",
            f"    {t}_init(&a);", f"    {t}_init(&b);",
            f"    fill_{d.name}(&a);",
            f"    text = {t}_to_json(NULL, &a);",
            "    assert_non_null(text);",
            "    /* the copy stands on its own */",
            f"    assert_int_equal({t}_copy(NULL, &b, &a), 0);",
            f"    {t}_dispose(&a);",
            f"    again = {t}_to_json(NULL, &b);",
            "    assert_same(text, again);",
            "    /* what is read replaces what was there */",
            f"    rc = {t}_from_json(NULL, &b, text);",
            "    assert_int_equal(rc, 0);",
            f"    again = {t}_to_json(NULL, &b);",
            "    assert_same(text, again);",
            "    free(text);", f"    {t}_dispose(&b);",
            f"    {t}_dispose(&b);", "}", f"{t}_dispose(NULL);"]
    return function("void", f"struct_{d.name}", ["void **state"], body,
                    static=True)


def refusal_test(d):
    """Every wrong value of every member: refused, the path in the message,
    and the struct as it was."""
    t = f"xlx_{d.name}"
    rows = [({NO_SUCH: 1}, NO_SUCH)]
    for f in d.fields:
        for wrong in WRONG[f.type.kind]:
            rows.append(({f.name: wrong}, f.name))
        if f.type.kind == "array":
            wrong = WRONG[f.type.elem.kind][0]
            rows.append(({f.name: [wrong]}, f"{f.name}[0]"))
    body = ["static const struct { const char *json, *path; } wrong[] = {"]
    for value, path in rows:
        text = c_string(json.dumps(value))
        body += [f"    {{ {text},", f"      {c_string(path)} }},"]
    body += ["};", f"{t} a;", "char *before, *after;", "unsigned int i;",
             "int rc;", "",
             "(void)state;", f"{t}_init(&a);", f"fill_{d.name}(&a);",
             f"before = {t}_to_json(NULL, &a);",
             "for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {",
             f"    rc = {t}_from_json(NULL, &a, wrong[i].json);",
             "    assert_int_equal(rc, ERROR_INVAL);",
             "    assert_said(wrong[i].path);", "}",
             f"rc = {t}_from_json(NULL, &a, NULL);",
             "assert_int_equal(rc, ERROR_INVAL);"]
    if d.version is not None:
        newer = c_string(json.dumps({"version": d.version + 1}))
        body += [f"rc = {t}_from_json(NULL, &a, {newer});",
                 "assert_int_equal(rc, ERROR_VERSION);"]
    body += [f"after = {t}_to_json(NULL, &a);", "assert_same(before, after);",
             "free(before);", f"{t}_dispose(&a);"]
    return function("void", f"refusals_{d.name}", ["void **state"], body,
                    static=True)


# ---- layout ----------------------------------------------------------------

def abi(model):
    out = c_header("Prints size and members of every struct and the numbers "
                   "of every enum, for abi.sh to compare.")
    out += ["#include <stddef.h>", "#include <stdio.h>", "",
            '#include "libxlx.h"', "",
            "#define VALUE(name) printf(\"%s %d\\n\", #name, name)",
            "#define STRUCT(type) printf(\"%s size %zu\\n\", #type, "
            "sizeof(type))",
            "#define MEMBER(type, member) \\",
            '    printf("%s %s at %zu size %zu\\n", #type, #member, \\',
            "           offsetof(type, member), "
            "sizeof(((type *)NULL)->member))", ""]
    for d in model.structs:
        body = [f"STRUCT(xlx_{d.name});"]
        for f in d.fields:
            body += [f"MEMBER(xlx_{d.name}, {name});" for name in (
                [f.name] + ([f"num_{f.name}"] if f.type.kind == "array"
                            else []))]
        out += function("void", f"layout_{d.name}", [], body, static=True)
        out.append("")
    out += ["int main(void)", "{"]
    out += [f"    VALUE({enum_value(d, v.name)});"
            for d in model.enums for v in d.values]
    out += [f"    layout_{d.name}();" for d in model.structs]
    return out + ["    return 0;", "}"]


# ---- fuzzer ----------------------------------------------------------------

def fuzzer(model):
    out = c_header("For libFuzzer: the first byte selects a type, the rest is "
                   "JSON.  An accepted text must be written as something that "
                   "is accepted, and then not change any more.")
    out += ["#include <stdlib.h>", "#include <string.h>", "",
            '#include "libxlx.h"', "",
            "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);"]
    for d in model.structs:
        t = f"xlx_{d.name}"
        out += ["", *function("void", f"fuzz_{d.name}", ["const char *json"], [
            f"{t} p;", "char *text = NULL, *again = NULL;", "",
            f"{t}_init(&p);",
            f"if (!{t}_from_json(NULL, &p, json)) {{",
            f"    text = {t}_to_json(NULL, &p);",
            f"    if (!text || {t}_from_json(NULL, &p, text))",
            "        abort();",
            f"    again = {t}_to_json(NULL, &p);",
            "    if (!again || strcmp(text, again))",
            "        abort();", "}",
            "free(text);", "free(again);", f"{t}_dispose(&p);"],
            static=True)]
    body = ["char *json;", "", "if (!size)", "    return 0;",
            "/* of just that size, so that reading past the end shows */",
            "json = malloc(size);", "if (!json)", "    abort();",
            "memcpy(json, data + 1, size - 1);", "json[size - 1] = '\\0';",
            f"switch (data[0] % {len(model.structs)}) {{"]
    for i, d in enumerate(model.structs):
        body.append(f"case {i}: fuzz_{d.name}(json); break;")
    body += ["}", "free(json);", "return 0;"]
    return out + [""] + function(
        "int", "LLVMFuzzerTestOneInput",
        ["const uint8_t *data", "size_t size"], body)
