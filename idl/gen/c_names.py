# SPDX-License-Identifier: LGPL-2.1-or-later
"""How things of the IDL are called in C; all other c_*.py ask here."""

SCALARS = {
    "bool": "bool", "uint32": "uint32_t", "int64": "int64_t",
    "uint64": "uint64_t", "uuid": "libxl_uuid", "domid": "uint32_t",
}


def c_type(t):
    """The type of a member or variable; of an array, of its elements."""
    if t.kind == "array":
        return c_type(t.elem)
    if t.kind == "string":
        return "char *"
    return SCALARS.get(t.kind) or f"xlx_{t.name}"


def declare(ctype, name):
    """`char *` and x give `char *x`, `bool` and x give `bool x`."""
    return ctype + ("" if ctype.endswith("*") else " ") + name


def enum_value(enum, value_name):
    return f"XLX_{enum.name.upper()}_{value_name}"


def members(field):
    """The C members of a field: one, or two for an array."""
    base = c_type(field.type)
    if field.type.kind == "array":
        star = "*" if base.endswith("*") else " *"
        return [f"{base}{star}{field.name}", f"int num_{field.name}"]
    return [declare(base, field.name)]


def initial(field):
    """The C expression of a field's default; None for struct and uuid."""
    kind, default = field.type.kind, field.default
    if kind == "struct" or kind == "uuid":
        return None
    if kind == "enum":
        values = field.type.decl.values
        return enum_value(field.type.decl, default or values[0].name)
    if kind == "bool":
        return "true" if default else "false"
    if kind == "domid" and default == "NONE":
        return "XLX_DOMID_NONE"
    if kind in ("string", "array"):
        return "NULL"
    return c_integer(default or 0)


def c_integer(n):
    """Without the warnings that the largest and smallest give as they are."""
    if n == -2**63:
        return "INT64_MIN"
    return f"UINT64_C({n})" if n >= 2**63 else str(n)


def inp_param(arg):
    kind = arg.type.kind
    if kind == "string":
        return f"const char *{arg.name}"
    if kind in ("struct", "callback", "uuid"):
        return f"const {c_type(arg.type)} *{arg.name}"
    return declare(c_type(arg.type), arg.name)


def is_pointer(arg):
    return arg.type.kind in ("string", "struct", "callback", "uuid")


def out_param(arg):
    ctype = c_type(arg.type)
    return f"{ctype}{'' if ctype.endswith('*') else ' '}*{arg.name}_r"


def call_params(call):
    return (["xlx_ctx *ctx"] + [inp_param(a) for a in call.args]
            + [out_param(a) for a in call.out])


def type_functions(decl):
    """(result, name, parameters) of the functions that a type comes with."""
    t = f"xlx_{decl.name}"
    if decl.keyword == "enum":
        return [
            ("const char *", f"{t}_to_string", [f"{t} e"]),
            ("int", f"{t}_from_string", ["const char *s", f"{t} *e_r"]),
        ]
    return [
        ("void", f"{t}_init", [f"{t} *p"]),
        ("void", f"{t}_dispose", [f"{t} *p"]),
        ("int", f"{t}_copy", ["xlx_ctx *ctx", f"{t} *dst", f"const {t} *src"]),
        ("char *", f"{t}_to_json", ["xlx_ctx *ctx", f"const {t} *p"]),
        ("int", f"{t}_from_json", ["xlx_ctx *ctx", f"{t} *p",
                                   "const char *json"]),
    ]


def exported(model):
    """(name, since) of every public function."""
    for d in model.of("enum") + model.structs:
        for _, name, _ in type_functions(d):
            yield name, d.since
    for d in model.calls + model.functions:
        yield f"xlx_{d.name}", d.since
