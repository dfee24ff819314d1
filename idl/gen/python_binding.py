# SPDX-License-Identifier: LGPL-2.1-or-later
"""python/libxlx.py: a binding that needs nothing but ctypes.  A struct goes in
as JSON, which the library checks and stores in memory of its own, and comes
out as JSON; the ctypes classes only give the size."""

from model import LIBXL_ERRORS
from text import hash_header, paragraphs, plain, wrap

TOP = '''"""Snapshots of guests' disks and more, on Xen: a binding of libxlx.

    import libxlx
    ctx = libxlx.Context()
    guest = ctx.guest_find("web")
    ctx.snapshot_create(guest, libxlx.SnapshotSpec(name="before-upgrade"))

Calls raise XlxError.  A UUID is a string, a domid of None is no domain, an
enum is an enum.Enum whose values are the names that JSON has.
"""

import ctypes
import enum
import json
import uuid
from ctypes import POINTER, byref, c_char_p, c_int, c_void_p
from dataclasses import dataclass, field as _field, fields as _fields

_lib = ctypes.CDLL("libxlx.so.@SONAME@")
_lib.xlx_error_get.restype = c_char_p
_lib.xlx_version.restype = c_char_p
_free = ctypes.CDLL(None).free
_free.argtypes = [c_void_p]


class XlxError(Exception):
    """A call failed: rc is the ERROR_* code, name its name."""

    def __init__(self, rc, message):
        super().__init__(message)
        self.rc = rc
        self.name = ERRORS.get(rc, str(rc))


def _check(rc):
    if rc:
        raise XlxError(rc, _lib.xlx_error_get().decode("utf-8", "replace"))


class _Struct:
    """What the dataclasses below share; _c is the C struct, _name its name."""

    def to_dict(self):
        return {f.name: _plain(getattr(self, f.name)) for f in _fields(self)}

    @classmethod
    def from_dict(cls, d):
        return cls(**{k: cls._types.get(k, lambda v: v)(v)
                      for k, v in d.items()})

    @classmethod
    def _function(cls, verb):
        return getattr(_lib, f"xlx_{cls._name}_{verb}")

    @classmethod
    def _from_c(cls, c):
        to_json = cls._function("to_json")
        to_json.restype = c_void_p
        text = to_json(None, byref(c))
        if not text:
            raise MemoryError
        try:
            return cls.from_dict(json.loads(ctypes.string_at(text)))
        finally:
            _free(text)


def _plain(v):
    if isinstance(v, _Struct):
        return v.to_dict()
    if isinstance(v, list):
        return [_plain(x) for x in v]
    return v.value if isinstance(v, enum.Enum) else v


def _uuid(text):
    return (ctypes.c_ubyte * 16)(*uuid.UUID(text).bytes)


def _domid(domid):
    return ctypes.c_uint32(0xffffffff if domid is None else domid)


def _number(name, value):
    number = c_int()
    convert = getattr(_lib, f"xlx_{name}_from_string")
    _check(convert(value.value.encode(), byref(number)))
    return number


class _Held:
    """A C struct for the time of a call; filled from value if there is one."""

    def __init__(self, cls, value=None):
        self.cls, self.value = cls, value

    def __enter__(self):
        self.c = self.cls._c()
        self.cls._function("init")(byref(self.c))
        if self.value is not None:
            if not isinstance(self.value, self.cls):
                raise TypeError(f"must be a {self.cls.__name__}")
            text = json.dumps(self.value.to_dict()).encode()
            _check(self.cls._function("from_json")(None, byref(self.c), text))
        return self.c

    def __exit__(self, *_):
        self.cls._function("dispose")(byref(self.c))


class _Callback:
    """A Python callable as a C callback; what it raises cancels the call and
    is raised from it."""

    def __init__(self, cls, function):
        self.function, self.raised = function, None
        self.c = cls._c(cls._callback(self.call), None)
        self.types = cls._types

    def call(self, _user, *args):
        try:
            values = [t._from_c(a.contents) for t, a in zip(self.types, args)]
            return 1 if self.function(*values) else 0
        except BaseException as e:
            self.raised = e
            return 1

    def check(self, rc):
        if self.raised:
            raise self.raised
        _check(rc)


def version():
    return _lib.xlx_version().decode()
'''

C_TYPES = {"bool": "ctypes.c_bool", "uint32": "ctypes.c_uint32",
           "int64": "ctypes.c_int64", "uint64": "ctypes.c_uint64",
           "string": "c_char_p", "uuid": "ctypes.c_ubyte * 16",
           "domid": "ctypes.c_uint32", "enum": "c_int"}
PY_TYPES = {"bool": "bool", "uint32": "int", "int64": "int", "uint64": "int",
            "string": "str", "uuid": "str", "domid": "int"}
NIL_UUID = "00000000-0000-0000-0000-000000000000"


def generate(model):
    out = hash_header("Python binding of libxlx, for Python 3.9 and newer.")
    top = TOP.replace("@SONAME@", str(model.package.soname))
    out += top.rstrip("\n").split("\n")
    out += ["", "", "ERRORS = {"]
    out += [f'    {number}: "{name}",'
            for name, number in LIBXL_ERRORS.items()] + ["}"]
    for d in model.enums:
        out += ["", "", *enum(d)]
    for d in model.structs:
        out += ["", "", *struct(d)]
    for d in model.callbacks:
        out += ["", "", *callback(d)]
    out += ["", "", *CONTEXT.strip("\n").split("\n")]
    for c in model.calls:
        out += ["", *call(c)]
    return {"python/libxlx.py": out}


def class_name(name):
    return "".join(part.capitalize() for part in name.split("_"))


def docstring(indent, *docs):
    text = [wrap(p, 78, indent) for doc in docs
            for p in paragraphs(plain(doc).replace("\\", "\\\\"))]
    lines = [line for p in text for line in p + [""]][:-1]
    lines[0] = f'{indent}"""{lines[0].strip()}'
    if len(lines) == 1 and len(lines[0]) < 76:
        return [lines[0] + '"""']
    return lines + [f'{indent}"""']


def enum(d):
    out = [f"class {class_name(d.name)}(enum.Enum):",
           *docstring("    ", d.doc)]
    return out + [f'    {v.name} = "{v.name.lower()}"' for v in d.values]


def struct(d):
    name = class_name(d.name)
    out = [f"class _C{name}(ctypes.Structure):", "    _fields_ = ["]
    for f in d.fields:
        if f.type.kind == "array":
            out += [f'        ("{f.name}", c_void_p),',
                    f'        ("num_{f.name}", c_int),']
        else:
            c = C_TYPES.get(f.type.kind) or f"_C{class_name(f.type.name)}"
            out.append(f'        ("{f.name}", {c}),')
    out += ["    ]", "", "", "@dataclass", f"class {name}(_Struct):",
            *docstring("    ", d.doc)]
    for f in d.fields:
        out += [f"    {f.name}: {py_type(f.type)} = {default(f)}"]
    out += ["", f'    _c = _C{name}', f'    _name = "{d.name}"',
            "    _types = {"]
    for f in d.fields:
        leaf = class_name(f.type.leaf().name)
        if f.type.kind == "struct":
            out.append(f'        "{f.name}": {leaf}.from_dict,')
        elif f.type.kind == "enum":
            out.append(f'        "{f.name}": {leaf},')
        elif f.type.kind == "array" and f.type.elem.kind in ("struct", "enum"):
            make = leaf + (".from_dict" if f.type.elem.kind == "struct"
                           else "")
            out.append(f'        "{f.name}": lambda xs: '
                       f"[{make}(x) for x in xs],")
    return out + ["    }"]


def py_type(t):
    if t.kind == "array":
        return "list"
    return PY_TYPES.get(t.kind) or class_name(t.name)


def default(f):
    kind, value = f.type.kind, f.default
    if kind == "array":
        return "_field(default_factory=list)"
    if kind == "struct":
        return f"_field(default_factory={class_name(f.type.name)})"
    if kind == "enum":
        return f"{class_name(f.type.name)}." + (
            value or f.type.decl.values[0].name)
    if kind == "domid" and value == "NONE":
        return "None"
    if kind == "uuid":
        return f'"{NIL_UUID}"'
    return repr(value if value is not None else
                {"string": "", "bool": False}.get(kind, 0))


def callback(d):
    name = class_name(d.name)
    pointers = "".join(f", POINTER(_C{class_name(a.type.name)})"
                       for a in d.args)
    types = "".join(f"{class_name(a.type.name)}, " for a in d.args)
    return [f"class _{name}:",
            f"    _callback = ctypes.CFUNCTYPE(c_int, c_void_p{pointers})",
            f"    _types = ({types.rstrip()})",
            "",
            "    class _c(ctypes.Structure):",
            "        pass",
            "", "",
            f'_{name}._c._fields_ = [("callback", _{name}._callback), '
            '("user", c_void_p)]']


CONTEXT = '''
class Context:
    """Opens nothing by itself; a call that needs Xen connects to it.  For one
    thread at a time."""

    def __init__(self):
        self._ctx = c_void_p()
        _check(_lib.xlx_ctx_alloc(byref(self._ctx), None, None))

    def close(self):
        _lib.xlx_ctx_free(self._ctx)
        self._ctx = c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_ctx", None):
            self.close()
'''


def call(c):
    """A method: what may be None comes last; several results are a tuple."""
    params = "".join([f", {a.name}" for a in c.args if not a.optional]
                     + [f", {a.name}=None" for a in c.args if a.optional])
    out = [f"    def {c.name}(self{params}):",
           *docstring("        ", c.shortdoc, c.doc)]
    indent, passed, check = "        ", ["self._ctx"], "_check"
    for a in c.args:
        kind, value = a.type.kind, a.name
        if kind == "struct":
            out.append(f"{indent}with _Held({class_name(a.type.name)}, "
                       f"{a.name}) as c_{a.name}:")
            indent += "    "
            value = f"byref(c_{a.name})"
            if a.optional:
                value += f" if {a.name} is not None else None"
        elif kind == "string":
            value = f"None if {a.name} is None else {a.name}.encode()"
        elif kind == "callback":
            out.append(f"{indent}c_{a.name} = {a.name} and _Callback("
                       f"_{class_name(a.type.name)}, {a.name})")
            value = f"c_{a.name} and byref(c_{a.name}.c)"
            out.append(f"{indent}check = c_{a.name}.check if c_{a.name} "
                       "else _check")
            check = "check"
        elif kind == "enum":
            value = f'_number("{a.type.name}", {a.name})'
        elif kind in ("uuid", "domid"):
            value = f"_{kind}({a.name})"
        else:
            value = f"{C_TYPES[kind]}({a.name})"
        passed.append(value)
    results = []
    for a in c.out:
        if a.type.kind == "struct":
            out.append(f"{indent}with _Held({class_name(a.type.name)}) "
                       f"as c_{a.name}:")
            indent += "    "
            results.append(f"{class_name(a.type.name)}._from_c(c_{a.name})")
        else:
            out.append(f"{indent}c_{a.name} = {C_TYPES[a.type.kind]}()")
            results.append(f"c_{a.name}.value")
        passed.append(f"byref(c_{a.name})")
    out += [f"{indent}{check}(_lib.xlx_{c.name}("]
    out += [f"{indent}    {p}," for p in passed[:-1]]
    out += [f"{indent}    {passed[-1]}))"]
    if results:
        out += wrap(", ".join(results), 79, f"{indent}return ",
                    indent + "    ") if len(results) == 1 else (
            [f"{indent}return ("] + [f"{indent}    {r}," for r in results]
            + [f"{indent})"])
    return out
