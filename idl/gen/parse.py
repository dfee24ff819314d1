# SPDX-License-Identifier: LGPL-2.1-or-later
"""From IDL text to the classes of model.py.

The text is Python only to Python's parser; nothing of it is executed.  What
may occur is: calls of the keywords in model.py, constants, lists, names of
base types, and array(TYPE).
"""

import ast
from dataclasses import MISSING, fields
from typing import get_origin

import model


class Errors:
    """Collects messages, so that one run shows all that is wrong."""

    def __init__(self):
        self.lines = []

    def add(self, pos, text):
        line = f"{pos[0]}:{pos[1]}: {text}"
        if line not in self.lines:
            self.lines.append(line)


class Malformed(Exception):
    """A declaration that cannot be read; the message is in Errors already."""


def parse_file(path, errors):
    """The declarations of a file; what cannot be read goes to errors."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    try:
        tree = ast.parse(text, path)
    except SyntaxError as e:
        errors.add((path, e.lineno), f"not Python syntax: {e.msg}")
        return []
    reader = Reader(path, errors)
    decls = []
    for statement in tree.body:
        try:
            decls.append(reader.top_level(statement))
        except Malformed:
            pass
    return decls


class Reader:
    def __init__(self, path, errors):
        self.path = path
        self.errors = errors

    def fail(self, node, text):
        self.errors.add((self.path, node.lineno), text)
        raise Malformed

    def top_level(self, statement):
        node = getattr(statement, "value", None)
        if not (isinstance(statement, ast.Expr)
                and isinstance(node, ast.Call)):
            self.fail(statement, "only declarations may stand here: "
                      + ", ".join(model.TOP_LEVEL))
        decl = self.call(node)
        if getattr(decl, "keyword", None) not in model.TOP_LEVEL:
            self.fail(node, f"{node.func.id}() may not stand by itself")
        return decl

    def call(self, node):
        """A declaration, or array(TYPE)."""
        keyword = getattr(node.func, "id", None)
        if keyword == "array":
            if len(node.args) != 1 or node.keywords:
                self.fail(node, "array() takes one type")
            return model.Type("array", self.type(node.args[0]))
        if keyword not in model.KEYWORDS:
            self.fail(node, f"unknown declaration {ast.unparse(node.func)}()")
        return self.declaration(node, model.KEYWORDS[keyword])

    def declaration(self, node, cls):
        given = self.arguments(node, cls)
        what = cls.keyword
        if "name" in given and isinstance(given["name"], ast.Constant):
            what = f'{what} "{given["name"].value}"'
        values = {}
        for f in fields(cls):
            if f.name in given:
                values[f.name] = self.attribute(given[f.name], f, what)
            elif f.default is MISSING:
                self.fail(node, f"{what} has no {f.name}")
            elif f.default is None and get_origin(f.type) is list:
                values[f.name] = []
        decl = cls(**values)
        decl.pos = (self.path, node.lineno)
        for child in decl.children():
            child.parent = decl
        return decl

    def arguments(self, node, cls):
        """The attribute's name -> the node that gives it."""
        names = [f.name for f in fields(cls)]
        if len(node.args) > len(names):
            self.fail(node, f"{cls.keyword} has too many arguments")
        given = dict(zip(names, node.args))
        for k in node.keywords:
            if k.arg not in names:
                self.fail(k.value, f"{cls.keyword} has no attribute {k.arg}")
            if k.arg in given:
                self.fail(k.value, f"{cls.keyword}: {k.arg} is given twice")
            given[k.arg] = k.value
        return given

    def attribute(self, node, f, what):
        """The value of an attribute, of the Python type that model.py says."""
        if f.type is model.Type:
            return self.type(node)
        if f.type is object:
            return self.literal(node, f, what, (str, int, bool))
        if f.type in (str, int, bool):
            return self.literal(node, f, what, (f.type,))
        if not isinstance(node, ast.List):
            self.fail(node, f"{what}: {f.name} must be a list")
        items = [self.item(n) for n in node.elts]
        expected = f.type.__args__[0]
        for n, item in zip(node.elts, items):
            if not isinstance(item, expected):
                self.fail(n, f"{what}: {f.name} may only hold "
                          + getattr(expected, "keyword",
                                    "numbers" if expected is int
                                    else "strings"))
        return items

    def item(self, node):
        if isinstance(node, ast.Call):
            return self.call(node)
        return node.value if isinstance(node, ast.Constant) else None

    def literal(self, node, f, what, allowed):
        negative = (isinstance(node, ast.UnaryOp)
                    and isinstance(node.op, ast.USub))
        constant = node.operand if negative else node
        value = constant.value if isinstance(constant, ast.Constant) else None
        if type(value) not in allowed:
            names = " or ".join(t.__name__ for t in allowed)
            self.fail(node, f"{what}: {f.name} must be a literal {names}")
        return -value if negative else value

    def type(self, node):
        if isinstance(node, ast.Name):
            if node.id not in model.BASE_TYPES:
                self.fail(node, f"unknown type {node.id}")
            return model.Type(node.id)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return model.Type(node.value)
        if isinstance(node, ast.Call):
            t = self.call(node)
            if isinstance(t, model.Type):
                return t
        self.fail(node, "a type must be a base type, the name of a type as "
                  "a string, or array() of one")
