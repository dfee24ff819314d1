#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes files as "xl save" writes them, from Xen's specifications
(docs/specs/libxl-migration-stream and libxc-migration-stream) and without any
code of the library's.

    saved-make.py KIND FILE [NAME=VALUE]...

KIND is pvh, hvm, pv or live (a PVH guest that ran while it was saved), or a
fault; NAMEs are pages, version, seed and config.  Prints the SHA-256 of the
memory that a restored guest has: of each page, in order, its number and its
data.

    saved-make.py digest FILE       that of a file
    saved-make.py same FILE FILE    memory, types and records
"""
import hashlib
import json
import random
import struct
import sys

PAGE = 4096
NORMAL, L1, L4_PINNED, BROKEN, XALLOC, XTAB = 0, 1, 12, 13, 14, 15


def record(kind, body=b""):
    return struct.pack("<II", kind, len(body)) + body + b"\0" * (-len(body) % 8)


def xl_head(config, flags=3):
    text = config.encode() + b"\0"
    data = struct.pack("<I", len(text)) + text
    return b"Xen saved domain, xl format\n \0 \r" + struct.pack(
        "<IIII", 0x01020304, flags, 0, len(data)) + data


def libxl_head():
    return b"LibxlFmt" + struct.pack(">II", 2, 0)


def libxc_head(kind, version=3, xen=(4, 17)):
    return (b"\xff" * 8 + b"XENF" + struct.pack(">IHHHH", version, 0, 0, 0, 0)
            + struct.pack("<IHHII", kind, 12, 0, *xen))


def page_data(pages):
    """pages: (type, pfn, data or None)"""
    words = b"".join(struct.pack("<Q", kind << 60 | pfn)
                     for kind, pfn, _ in pages)
    data = b"".join(d for _, _, d in pages if d is not None)
    return record(1, struct.pack("<II", len(pages), 0) + words + data)


def policy():
    leaves = [(0, ~0, 13, 0x756E6547, 0x6C65746E, 0x49656E69),
              (1, ~0, 0x000906EA, 0, 0x16FA3203, 0x1FCBFBFF),
              (0x80000000, ~0, 0x80000008, 0, 0, 0)]
    return (record(0x11, b"".join(struct.pack("<6I", *(v & 0xFFFFFFFF for v in
                                                       leaf)) for leaf in leaves))
            + record(0x12, struct.pack("<IIQ", 0xCE, 0, 1 << 31)))


class Guest:
    """What a restored guest has; data of a later record wins."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.memory = {}

    def data(self, zero=False):
        return bytes(PAGE) if zero else self.random.randbytes(64) * 64

    def pages(self, pfns, kind=NORMAL, zero_each=3):
        out = []
        for pfn in pfns:
            data = self.data(zero=kind == NORMAL and pfn % zero_each == 0)
            self.memory[pfn] = data
            out.append((kind, pfn, data))
        return out

    def digest(self):
        h = hashlib.sha256()
        for pfn in sorted(self.memory):
            h.update(struct.pack("<Q", pfn) + self.memory[pfn])
        return h.hexdigest()


def config_of(kind, name):
    return json.dumps({
        "c_info": {"type": kind, "name": name,
                   "uuid": "7c5ac0e4-1f3b-4f0e-9a52-0d6a2f3f9b11"},
        "b_info": {"max_vcpus": 2, "max_memkb": 524288,
                   "target_memkb": 262144},
        "disks": [{"pdev_path": "/nonexistent/a.qcow2", "vdev": "xvda",
                   "format": "qcow2", "backend": "qdisk", "readwrite": 1}],
        "nics": [{"mac": "00:16:3e:01:02:03", "bridge": "nosuchbr0"}],
    })


def batches(pages, size=16):
    return b"".join(page_data(pages[i:i + size])
                    for i in range(0, len(pages), size))


def hvm_tail():
    return (record(8, struct.pack("<IIQII", 0, 2400000, 5, 1, 0))
            + record(9, b"context" * 11)
            + record(10, struct.pack("<IIQQQQ", 2, 0, 1, 0xFEFFF, 2, 5)))


def hvm_body(g, o):
    absent = [(XTAB, o["pages"] + i, None) for i in range(5)]
    special = g.pages(range(0xFEFF8, 0xFF000))
    g.memory[0xF0000] = bytes(PAGE)     # allocated, and Xen's to fill
    del g.memory[0xF0000]
    return (batches(g.pages(range(o["pages"]))) + page_data(absent)
            + page_data([(XALLOC, 0xF0000, None)] + special))


def live_body(g, o):
    """Three passes: all, what was written then, what was written at last."""
    n = o["pages"]
    first = batches(g.pages(range(n)) + g.pages(range(0xFEFF8, 0xFF000)))
    second = batches(g.pages(range(3, n, 5)), 7)
    gone = page_data([(XTAB, 1, None)])     # its data stays, as in libxc
    third = batches(g.pages(range(8, n, 11), zero_each=2), 5)
    return first + second + gone + third


def pv_info():
    return record(2, struct.pack("<BB6x", 8, 4))


def p2m_frames(n):
    frames = (n - 1) // 512 + 1
    return record(3, struct.pack("<II", 0, n - 1)
                  + struct.pack(f"<{frames}Q", *range(frames)))


def pv_tail():
    def vcpu(kind, size):
        return record(kind, struct.pack("<II", 0, 0) + b"v" * size)
    return (record(8, struct.pack("<IIQII", 0, 2400000, 5, 1, 0))
            + record(7, b"s" * PAGE) + vcpu(4, 5168) + vcpu(5, 128)
            + vcpu(6, 832) + vcpu(12, 32))


def pv_body(g, o):
    n = o["pages"]
    return (batches(g.pages(range(n - 8)))
            + page_data(g.pages(range(n - 8, n - 4), kind=L1)
                        + g.pages([n - 4], kind=L4_PINNED)
                        + [(BROKEN, n - 3, None), (XTAB, n - 2, None)])
            + page_data([(XTAB, n - 1, None)]))


def qemu():
    return (record(2, struct.pack("<II", 2, 0) + b"physmap/0\0" + b"1\0")
            + record(3, struct.pack("<II", 2, 0) + b"QEVM" * 99))


def make(kind, o):
    g = Guest(o["seed"])
    pv, version = kind == "pv", o["version"]
    head = xl_head(o["config"] or config_of("pvh" if kind == "live" else kind,
                                            "web"))
    static = pv_info() if pv else b""
    if version == 3:
        static += policy() + record(0x10)
    if pv:
        static += p2m_frames(o["pages"])
    body = {"pv": pv_body, "live": live_body}.get(kind, hvm_body)(g, o)
    tail = pv_tail() if pv else hvm_tail()
    return g, (head + libxl_head() + record(1)
               + libxc_head(1 if pv else 2, version) + static + body + tail
               + record(0) + (qemu() if kind == "hvm" else b"") + record(0))


# ---- faults: what no Xen writes --------------------------------------------

def hvm_with(*records, head=None, libxl=None, after=record(0)):
    return ((head or xl_head(config_of("pvh", "web"))) + (libxl or libxl_head())
            + record(1) + libxc_head(2) + b"".join(records) + record(0) + after)


SDE = record(0x10)
ONE = page_data([(NORMAL, 1, b"x" * PAGE)])
FAULTS = {
    "no-static-end": lambda: hvm_with(ONE, hvm_tail()),
    "two-static-ends": lambda: hvm_with(SDE, SDE, ONE, hvm_tail()),
    "policy-late": lambda: hvm_with(SDE, policy(), ONE, hvm_tail()),
    "no-context": lambda: hvm_with(SDE, ONE),
    "pv-record": lambda: hvm_with(pv_info(), SDE, ONE, hvm_tail()),
    "unknown": lambda: hvm_with(SDE, record(0x13, b"x"), ONE, hvm_tail()),
    "checkpoint": lambda: hvm_with(SDE, ONE, record(14), hvm_tail()),
    "no-pages": lambda: hvm_with(SDE, record(1, bytes(8)), hvm_tail()),
    "short-page": lambda: hvm_with(
        SDE, record(1, struct.pack("<IIQ", 1, 0, 1) + b"x" * 4095), hvm_tail()),
    "bad-type": lambda: hvm_with(SDE, page_data([(5, 1, b"x" * PAGE)]),
                                 hvm_tail()),
    "far-page": lambda: hvm_with(SDE, page_data([(NORMAL, 1 << 41, b"x" * PAGE)]),
                                 hvm_tail()),
    "huge-count": lambda: hvm_with(
        SDE, record(1, struct.pack("<IIQ", 0xFFFFFFFF, 0, 1)), hvm_tail()),
    "huge-record": lambda: hvm_with(SDE, struct.pack("<II", 1, 0xFFFFFFF8)),
    "tsc-short": lambda: hvm_with(SDE, ONE, record(8, bytes(20)), hvm_tail()),
    "params-short": lambda: hvm_with(SDE, ONE, record(
        10, struct.pack("<II", 9, 0)), hvm_tail()),
    "end-with-body": lambda: hvm_with(SDE, ONE, hvm_tail(), record(0, b"x")),
    "libxl-optional": lambda: hvm_with(SDE, ONE, hvm_tail(),
                                       after=record(0x80000001) + record(0)),
    "emulator": lambda: hvm_with(SDE, ONE, hvm_tail(), after=record(
        3, struct.pack("<II", 7, 0)) + record(0)),
    "second-stream": lambda: hvm_with(SDE, ONE, hvm_tail(),
                                      after=record(1) + libxc_head(2)),
    "legacy": lambda: hvm_with(SDE, head=xl_head("x", flags=1)),
    "new-flag": lambda: hvm_with(SDE, head=xl_head("x", flags=7)),
    "libxl-version": lambda: hvm_with(SDE, libxl=b"LibxlFmt" + struct.pack(
        ">II", 3, 0)),
}
# what Xen would take
GOOD = {
    "optional": lambda: hvm_with(SDE, record(0x80000005, b"abc"), ONE,
                                 hvm_tail()),
    "verify": lambda: hvm_with(SDE, ONE, record(13), page_data(
        [(NORMAL, 1, b"y" * PAGE)]), hvm_tail()),
    "text-config": lambda: hvm_with(SDE, ONE, hvm_tail(), head=xl_head(
        'name = "old"\ntype = "pvh"\n', flags=2)),
}


# ---- reading, for what comes out of other forms -----------------------------

def read(path):
    """(memory, types, frame): all records but PAGE_DATA are in the frame."""
    with open(path, "rb") as f:
        data = f.read()
    at = 48 + struct.unpack_from("<I", data, 44)[0] + 16
    frame, memory, types, inside = [data[:at]], {}, {}, False
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        end = at + 8 + (length + 7) // 8 * 8
        if inside and kind == 1:
            count = struct.unpack_from("<I", data, at + 8)[0]
            page = at + 16 + 8 * count
            for (word,) in struct.iter_unpack("<Q", data[at + 16:page]):
                types[word & (1 << 52) - 1] = word >> 60
                if word >> 60 < BROKEN:
                    memory[word & (1 << 52) - 1] = data[page:page + PAGE]
                    page += PAGE
        elif not inside and kind == 1:
            end += 40
            frame.append(data[at:end])
            inside = True
        else:
            frame.append(data[at:end])
            inside = inside and kind != 0
        at = end
    return memory, types, frame


def same(one, two):
    a, b = read(one), read(two)
    for what, x, y in zip(("memory", "types", "records"), a, b):
        if x != y:
            sys.exit(f"{one}, {two}: {what} differ")


def main():
    kind, path = sys.argv[1:3]
    if kind == "same":
        same(path, sys.argv[3])
        return
    if kind == "digest":
        h = hashlib.sha256()
        for pfn, data in sorted(read(path)[0].items()):
            h.update(struct.pack("<Q", pfn) + data)
        print(h.hexdigest())
        return
    if kind == "faults":
        print(" ".join(FAULTS))
        return
    o = {"pages": 64, "version": 3, "seed": 1, "config": None}
    for word in sys.argv[3:]:
        name, value = word.split("=", 1)
        o[name] = value if name == "config" else int(value)
    if kind in FAULTS or kind in GOOD:
        data = (FAULTS.get(kind) or GOOD[kind])()
        digest = ""
    else:
        guest, data = make(kind, o)
        digest = guest.digest()
    with open(path, "wb") as f:
        f.write(data)
    print(digest)


main()
