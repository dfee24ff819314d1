# SPDX-License-Identifier: LGPL-2.1-or-later
"""Man pages, as POD: one a call and one for all types in man3, one a command
in man1.  docs/Makefile.am finds them by their directory."""

import os

from c_header import prototypes
from c_names import call_params, declare, enum_value, members
from commands import option_rows, usage
from text import GENERATED, c_signature, paragraphs, plain


def generate(model):
    files = {"docs/gen/man3/libxlx-types.pod": types_page(model)}
    for c in model.calls + model.functions:
        files[f"docs/gen/man3/xlx_{c.name}.pod"] = call_page(model, c)
    for c in model.commands:
        files[f"docs/gen/man1/xl-{c.name}.pod"] = command_page(c)
    return files


def page(name, shortdoc):
    return [f"=for comment {GENERATED}", "", "=encoding utf8", "",
            "=head1 NAME", "", f"{name} - {plain(shortdoc)}"]


def section(title, *blocks):
    """A heading, and paragraphs separated by empty lines."""
    out = ["", f"=head1 {title}"]
    for b in blocks:
        out += ["", b]
    return out


def items(rows, mark="{}"):
    """An indented list; mark formats what is listed."""
    out = ["", "=over 4"]
    for name, doc in rows:
        out += ["", f"=item {mark.format(name)}"]
        for p in paragraphs(doc):
            out += ["", p]
    return out + ["", "=back"]


def verbatim(lines):
    return "\n".join(f"    {line}".rstrip() for line in lines)


def see_also(*names):
    names = dict.fromkeys(names)
    links = [n if n.startswith("L<") else f"L<{n}>" for n in names]
    return section("SEE ALSO", ", ".join(links) + ".")


def call_page(model, c):
    hand = c.keyword == "function"
    if hand:
        result = c.returns
        params = [declare(a.c_type, a.name) for a in c.args]
        rows = [(a.name, a.doc) for a in c.args]
    else:
        result, params = "int", call_params(c)
        rows = ([("ctx", "the context, see L<xlx_ctx_alloc(3)>")]
                + [(a.name, a.doc) for a in c.args]
                + [(a.name + "_r", a.doc) for a in c.out])
    out = page(f"xlx_{c.name}", c.shortdoc)
    out += section("SYNOPSIS", verbatim(
        ["#include <libxlx.h>", ""]
        + c_signature(result, f"xlx_{c.name}", params)))
    out += section("DESCRIPTION", *paragraphs(c.doc))
    if rows:
        out += section("ARGUMENTS") + items(rows, "I<{}>")
    out += section("RETURN VALUE", c.result + "." if hand else
                   "0, or one of these; L<xlx_error_get(3)> then says more. "
                   "After a failure the results are empty.")
    if c.errors:
        out += items([(f"ERROR_{e.name}", e.doc) for e in c.errors], "B<{}>")
        if not hand:
            out += ["", "ERROR_NOMEM, and ERROR_INVAL for an argument that "
                    "is NULL and must not be, can come from every call."]
    out += section("VERSION", f"Since libxlx {c.since}. "
                   f"C<XLX_HAVE_{c.name.upper()}> is defined where it exists.")
    if c.example:
        path = os.path.join(model.package.root, "examples", c.example)
        with open(path, encoding="utf-8") as f:
            code = f.read().rstrip().split("\n")
        out += section("EXAMPLE", f"This is F<examples/{c.example}>.",
                       verbatim(code))
    return out + see_also(*c.see_also, "libxlx-types(3)", "xlx_error_get(3)",
                          "xlx(7)")


def types_page(model):
    out = page("libxlx-types", "the types of libxlx")
    out += section("SYNOPSIS", "    #include <libxlx.h>")
    out += section(
        "DESCRIPTION",
        "A struct is initialised before use with its C<_init> function and "
        "released with C<_dispose>, which accepts NULL and leaves it usable "
        "again. C<_copy> and C<_from_json> replace what their target held, "
        "and leave it alone when they fail. What C<_to_json> returns is the "
        "caller's to free; it is NULL when memory is short.",
        "In a string NULL and the empty string mean the same. An array I<xs> "
        "has I<num_xs> elements and is NULL when there are none. In JSON an "
        "enum is a lower-case string, a UUID is a string, and a I<domid> "
        "that is XLX_DOMID_NONE is null; a missing member has its default, "
        "an unknown one is an error.")
    out += section("ENUMS")
    for d in model.enums:
        out += type_section(d)
        out += items([(f"{enum_value(d, v.name)}, \"{v.name.lower()}\"",
                       v.doc + since(v, d)) for v in d.values])
    out += section("STRUCTS")
    for d in model.structs:
        out += type_section(d)
        out += items([("; ".join(members(f)), f.doc + since(f, d)
                       + default(f)) for f in d.fields])
    out += section("CALLBACKS")
    for d in model.callbacks:
        out += ["", f"=head2 xlx_{d.name}", ""] + [
            line for p in paragraphs(d.doc) for line in (p, "")]
    return out[:-1] + see_also("xlx(7)", "xlx_error_get(3)")


def type_section(d):
    out = ["", f"=head2 xlx_{d.name}"]
    for p in paragraphs(d.doc):
        out += ["", p]
    out += ["", verbatim(prototypes(d)), "", f"Since libxlx {d.since}."]
    if getattr(d, "file", None):
        out += ["", f"Kept as F<{d.file}>, version {d.version} of its schema."]
    return out


def since(child, parent):
    return "" if child.since in (None, parent.since) else \
        f" Since libxlx {child.since}."


def default(f):
    return "" if f.default is None else f" Default: {f.default}."


def command_page(c):
    out = page(f"xl-{c.name}", c.shortdoc)
    out += section("SYNOPSIS", f"B<xl {c.name}>" + plain(
        usage(c).removeprefix(f"xl {c.name}")))
    out += section("DESCRIPTION", *paragraphs(c.doc))
    if c.args:
        out += section("ARGUMENTS") + items(
            [(a.name, a.doc) for a in c.args], "I<{}>")
    out += section("OPTIONS") + items(option_rows(c), "B<{}>")
    if c.examples:
        out += section("EXAMPLES")
        for e in c.examples:
            out += ["", e.doc + ":", "", verbatim(e.text.split("\n"))]
    out += section("EXIT STATUS") + items([
        ("0", "done"),
        ("1", "it failed; one line on stderr says why, and what is left"),
        ("2", "the command line is wrong; nothing was done"),
    ], "B<{}>")
    return out + see_also(*c.see_also, "xl(1)", "xlx(7)")
