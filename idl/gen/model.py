# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an IDL file can say.

These classes are the grammar: the declaration `field("name", string, "doc",
since="0.2")` becomes a Field, positional arguments in the order of the
attributes below, the others by keyword.  An attribute without a default must
be given.  parse.py fills the classes in, check.py looks at what they hold, and
every other file of this directory writes one kind of output from a Model.
"""

import re
from dataclasses import dataclass, fields

BASE_TYPES = ("bool", "uint32", "int64", "uint64", "string", "uuid", "domid")
INTEGERS = {                    # smallest and largest value
    "uint32": (0, 2**32 - 1),
    "int64": (-2**63, 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}


# libxl's error codes, which are ours.
LIBXL_ERRORS = {
    "NONSPECIFIC": -1, "VERSION": -2, "FAIL": -3, "NI": -4, "NOMEM": -5,
    "INVAL": -6, "BADFAIL": -7, "GUEST_TIMEDOUT": -8, "TIMEDOUT": -9,
    "NOPARAVIRT": -10, "NOT_READY": -11, "OSEVENT_REG_FAIL": -12,
    "BUFFERFULL": -13, "UNKNOWN_CHILD": -14, "LOCK_FAIL": -15,
    "JSON_CONFIG_EMPTY": -16, "DEVICE_EXISTS": -17,
    "CHECKPOINT_DEVOPS_DOES_NOT_MATCH": -18,
    "CHECKPOINT_DEVICE_NOT_SUPPORTED": -19, "VNUMA_CONFIG_INVALID": -20,
    "DOMAIN_NOTFOUND": -21, "ABORTED": -22, "NOTFOUND": -23,
    "DOMAIN_DESTROYED": -24, "FEATURE_REMOVED": -25,
    "PROTOCOL_ERROR_QMP": -26, "UNKNOWN_QMP_ERROR": -27,
    "QMP_GENERIC_ERROR": -28, "QMP_COMMAND_NOT_FOUND": -29,
    "QMP_DEVICE_NOT_ACTIVE": -30, "QMP_DEVICE_NOT_FOUND": -31,
    "QEMU_API": -32,
}


@dataclass
class Package:
    root: str                   # top of the source tree
    version: str                # 0.1.0
    soname: int                 # the number after libxlx.so


class Type:
    """A base type, an array, or a reference that Model.resolve() looks up."""

    def __init__(self, name, elem=None):
        self.name = name
        self.elem = elem
        self.decl = None

    @property
    def kind(self):
        """bool ... domid, array, struct, enum, callback; None if unknown."""
        if self.elem:
            return "array"
        if self.decl:
            return self.decl.keyword
        return self.name if self.name in BASE_TYPES else None

    @property
    def owns_memory(self):
        """Whether a value of this type has something to free."""
        if self.kind == "struct":
            return any(f.type.owns_memory for f in self.decl.fields)
        return self.kind in ("string", "array")

    def leaf(self):
        return self.elem.leaf() if self.elem else self


class Decl:
    """Anything that is declared.  pos is (file, line)."""
    keyword = ""
    pos = ("", 0)
    parent = None

    def children(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, list):
                yield from (v for v in value if isinstance(v, Decl))

    def first_version(self):
        """Since when: its own, else that of what it stands in."""
        since = getattr(self, "since", None)
        return since or (self.parent.first_version() if self.parent else None)


@dataclass(eq=False)
class Value(Decl):
    name: str
    number: int
    doc: str
    since: str = None


@dataclass(eq=False)
class Enum(Decl):
    name: str
    since: str
    doc: str
    values: list[Value]


@dataclass(eq=False)
class Field(Decl):
    name: str
    type: Type
    doc: str
    default: object = None
    since: str = None


@dataclass(eq=False)
class Struct(Decl):
    name: str
    since: str
    doc: str
    fields: list[Field]
    file: str = None            # the record on disk that holds it
    version: int = None         # of the schema of that record
    required: list[str] = None  # its members "a", "a.b", "a[].b" are not empty
    paths: list[str] = None     # these are absolute paths as well
    names_images: bool = False  # xlx__X_names_image() says which, by hand


@dataclass(eq=False)
class Inp(Decl):
    name: str
    type: Type
    doc: str
    optional: bool = False      # a pointer that may be NULL


@dataclass(eq=False)
class Out(Decl):
    name: str
    type: Type
    doc: str


@dataclass(eq=False)
class Error(Decl):
    name: str
    doc: str


@dataclass(eq=False)
class Callback(Decl):
    name: str
    since: str
    doc: str
    args: list[Inp]


@dataclass(eq=False)
class Example(Decl):
    text: str
    doc: str


@dataclass(eq=False)
class Call(Decl):
    name: str
    since: str
    shortdoc: str
    doc: str
    args: list[Inp]
    out: list[Out]
    errors: list[Error]
    example: str = None         # examples/NAME.c, shown in the man page
    see_also: list[str] = None


@dataclass(eq=False)
class Param(Decl):
    name: str
    c_type: str
    doc: str


@dataclass(eq=False)
class Function(Decl):
    """A call that is written by hand, with types that only C has."""
    name: str
    since: str
    shortdoc: str
    doc: str
    returns: str                # C type
    result: str                 # what is returned
    args: list[Param]
    errors: list[Error] = None
    example: str = None
    see_also: list[str] = None


@dataclass(eq=False)
class Arg(Decl):
    name: str
    doc: str
    optional: bool = False
    variadic: bool = False      # one or more (none or more if optional)
    field: str = None           # "STRUCT.FIELD" that it fills


@dataclass(eq=False)
class Option(Decl):
    name: str
    type: Type = None           # these two as the field has them
    doc: str = None
    metavar: str = None
    short: str = None
    default: object = None
    since: str = None
    field: str = None           # "STRUCT.FIELD" that it fills


@dataclass(eq=False)
class Command(Decl):
    name: str
    since: str
    shortdoc: str
    doc: str
    args: list[Arg]
    options: list[Option]
    changes: bool = False       # changes something, hence has -N
    call: str = None            # its main() is generated: it makes this call
    examples: list[Example] = None
    see_also: list[str] = None


# ---- tables: facts about processors ----------------------------------------

@dataclass(eq=False)
class CpuWord(Decl):
    """32 feature bits that lie together: a register of a CPUID leaf, or half
    of an MSR (eax the low one, edx the high one)."""
    name: str
    register: str
    leaf: int = None
    subleaf: int = None
    msr: int = None
    needs: str = None           # the feature without which it does not exist


@dataclass(eq=False)
class CpuFeature(Decl):
    name: str                   # the canonical one
    word: str
    bit: int
    qemu: list[str] = None      # the names that others give it
    xen: list[str] = None
    libvirt: list[str] = None
    needs: list[str] = None     # it is of no use without these
    accumulate: bool = False    # a pool has it when any of its hosts does
    mitigation: bool = False    # is about a fault of the processor or its cure
    fixed: bool = False         # Xen decides it, never a guest's config
    gives: str = ""             # to which guests: a letter for each release
    collides: str = None        # what else its name means, and to whom


@dataclass(eq=False)
class CpuRelease(Decl):
    """A release of Xen that is known by what it gives guests."""
    name: str


@dataclass(eq=False)
class Silicon(Decl):
    """Processors by family and model number; all models when none is named."""
    family: int
    models: list[int]
    first: int = 0              # stepping
    last: int = 15


@dataclass(eq=False)
class CpuVersion(Decl):
    """What a version changes in the one before."""
    number: int
    alias: str = None
    remove: list[str] = None
    add: list[str] = None
    family: int = None
    model: int = None
    stepping: int = None
    level: int = None
    xlevel: int = None


@dataclass(eq=False)
class CpuModel(Decl):
    name: str
    vendor: str
    family: int
    model: int
    stepping: int
    level: int                  # largest basic leaf
    xlevel: int                 # largest extended leaf
    features: list[str]
    versions: list[CpuVersion]
    silicon: list[Silicon] = None


@dataclass(eq=False)
class CpuLibvirt(Decl):
    """What libvirt means by names that QEMU has for that version, or has no
    model for."""
    names: list[str]
    of: str
    remove: list[str] = None
    add: list[str] = None
    model: int = None
    stepping: int = None


# ---- tables: messages of a protocol of others ------------------------------

@dataclass(eq=False)
class RpcField(Decl):
    """A member of a message, in the order of the wire."""
    name: str
    type: str                   # int, uint, hyper, uhyper, double, string,
                                # uuid, or the name of an rpc_struct/rpc_union
    max: int = None             # most bytes of a string
    many: int = None            # a list, of at most so many
    optional: bool = False      # it may be missing


@dataclass(eq=False)
class RpcArm(Decl):
    """What a union holds when its number is this."""
    number: int
    name: str
    type: str
    max: int = None


@dataclass(eq=False)
class RpcUnion(Decl):
    name: str
    arms: list[RpcArm]


@dataclass(eq=False)
class RpcStruct(Decl):
    name: str
    fields: list[RpcField]


@dataclass(eq=False)
class RpcCall(Decl):
    """A procedure.  access: what its caller must be allowed to do."""
    number: int
    name: str
    args: list[RpcField]
    ret: list[RpcField]
    access: str = "read"        # read: also on the read-only socket; write
    api: str = ""               # the function that clients call
    answer: bool = False        # by lv_answer_NAME(), which is written by hand


@dataclass(eq=False)
class RpcEvent(Decl):
    """A message that the server sends on its own."""
    number: int
    name: str
    args: list[RpcField]


CLASSES = (Value, Enum, Field, Struct, Inp, Out, Error, Callback, Example,
           Call, Param, Function, Arg, Option, Command)
RPC = (RpcUnion, RpcStruct, RpcCall, RpcEvent)
TABLES = (CpuWord, CpuRelease, CpuFeature, CpuModel, CpuLibvirt) + RPC
KEYWORDS = {}
for _class in CLASSES + TABLES + (CpuVersion, Silicon, RpcField,
                                    RpcArm):
    _class.keyword = re.sub(r"\B([A-Z])", r"_\1", _class.__name__).lower()
    KEYWORDS[_class.keyword] = _class
TOP_LEVEL = ("enum", "struct", "callback", "call", "function", "command",
             *(_class.keyword for _class in TABLES))


class Model:
    """All declarations of all files, in order; stems are the files' names.
    decls is the interface; the rows of tables have attributes of their own."""

    def __init__(self, decls, package):
        tables = [t.keyword for t in TABLES]
        self.decls = [d for d in decls if d.keyword not in tables]
        self.cpu_releases = [d for d in decls if isinstance(d, CpuRelease)]
        self.cpu_words = [d for d in decls if isinstance(d, CpuWord)]
        self.cpu_features = [d for d in decls if isinstance(d, CpuFeature)]
        self.cpu_models = [d for d in decls if isinstance(d, CpuModel)]
        self.cpu_libvirt = [d for d in decls if isinstance(d, CpuLibvirt)]
        self.rpc = [d for d in decls if isinstance(d, RPC)]
        self.package = package
        self.types = {}
        for d in self.of("enum", "struct", "callback"):
            self.types.setdefault(d.name, d)
        for d in self.walk():
            if isinstance(getattr(d, "type", None), Type):
                self.resolve(d.type)
        for d in self.walk():
            if getattr(d, "field", None):
                self.take_from_field(d)

    def of(self, *keywords):
        return [d for d in self.decls if d.keyword in keywords]

    enums = property(lambda self: self.of("enum"))
    structs = property(lambda self: self.sorted_structs())
    callbacks = property(lambda self: self.of("callback"))
    calls = property(lambda self: self.of("call"))
    functions = property(lambda self: self.of("function"))
    commands = property(lambda self: self.of("command"))

    def walk(self):
        todo = list(self.decls)
        while todo:
            d = todo.pop(0)
            yield d
            todo[:0] = d.children()

    def resolve(self, t):
        if t.elem:
            self.resolve(t.elem)
        elif t.name not in BASE_TYPES:
            t.decl = self.types.get(t.name)

    def find_field(self, name):
        """The Field that "STRUCT.FIELD" names, or None."""
        struct, _, name = name.partition(".")
        decl = self.types.get(struct)
        found = [f for f in getattr(decl, "fields", []) if f.name == name]
        return found[0] if found else None

    def find_call(self, name):
        found = [c for c in self.calls if c.name == name]
        return found[0] if found else None

    def take_from_field(self, d):
        """What an option does not say itself, the field that it fills says."""
        field = self.find_field(d.field)
        if field and d.keyword == "option":
            d.type = d.type or field.type
            d.doc = d.doc or field.doc

    def stems(self):
        return list(dict.fromkeys(stem(d) for d in self.decls))

    def sorted_structs(self):
        """Each after those that it contains, else in order."""
        done = []

        def visit(s, above):
            if s in done or s in above:
                return
            for f in s.fields:
                if f.type.leaf().kind == "struct":
                    visit(f.type.leaf().decl, above + [s])
            done.append(s)

        for s in self.of("struct"):
            visit(s, [])
        return done


def stem(decl):
    """The concept that a declaration belongs to: its file, without .idl."""
    return decl.pos[0].rsplit("/", 1)[-1].removesuffix(".idl")
