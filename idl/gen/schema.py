# SPDX-License-Identifier: LGPL-2.1-or-later
"""docs/gen/libxlx.schema.json: JSON schema (draft 2020-12) of every type, as
to_json writes it and from_json and our records read it."""

import json

from model import INTEGERS
from text import paragraphs, plain

UUID = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
DOMID_LAST = 0x7FEF             # below Xen's DOMID_FIRST_RESERVED


def generate(model):
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "libxlx",
        "description": "Types of libxlx as JSON; see libxlx-types(3).",
        "$defs": {d.name: definition(d)
                  for d in model.enums + model.structs},
    }
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    return {"docs/gen/libxlx.schema.json": text.split("\n")}


def describe(decl):
    return " ".join(paragraphs(plain(decl.doc)))


def definition(d):
    if d.keyword == "enum":
        return {"description": describe(d),
                "enum": [v.name.lower() for v in d.values]}
    return {
        "description": describe(d),
        "type": "object",
        "properties": {f.name: {**of_type(f.type), "description": describe(f),
                                **default(f)} for f in d.fields},
        "additionalProperties": False,
    }


def default(f):
    if f.default is None:
        return {}
    if f.type.kind == "domid" and f.default == "NONE":
        return {"default": None}
    if f.type.kind == "enum":
        return {"default": f.default.lower()}
    return {"default": f.default}


def of_type(t):
    kind = t.kind
    if kind == "array":
        return {"type": "array", "items": of_type(t.elem)}
    if kind in ("struct", "enum"):
        return {"$ref": f"#/$defs/{t.name}"}
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        return {"type": "integer", "minimum": low, "maximum": high}
    if kind == "domid":
        return {"type": ["integer", "null"], "minimum": 0,
                "maximum": DOMID_LAST}
    if kind == "uuid":
        return {"type": "string", "pattern": UUID}
    return {"type": {"bool": "boolean", "string": "string"}[kind]}
