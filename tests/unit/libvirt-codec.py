#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The codec of libvirt's messages against another one, which is here: every
message of idl/libvirt.idl with random values, whole and damaged, and frames
that a stock virsh and libvirtd have exchanged (libvirt-frames.txt)."""

import os
import pathlib
import random
import struct
import subprocess
import sys

TOP = pathlib.Path(os.environ["top_srcdir"])
sys.path.insert(0, str(TOP / "idl/gen"))
sys.dont_write_bytecode = True
import c_rpc  # noqa: E402
import model as idl  # noqa: E402
import parse  # noqa: E402

PROGRAM = os.path.join(os.environ["top_builddir"], "tests/unit/libvirt-codec")
SEED = int(os.environ.get("XLX_SEED", "22"))
NUMBERS = {"int": ">i", "uint": ">I", "hyper": ">q", "uhyper": ">Q",
           "double": ">d"}


def xdr_string(text):
    data = text.encode()
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


class Values:
    """Random messages, as their bytes."""

    def __init__(self, model, rng):
        self.types = {d.name: d for d in model.rpc}
        self.rng = rng

    def one(self, type_name, optional=False):
        rng = self.rng
        if type_name == "string":
            text = "".join(rng.choice("aé/<> \n0") for _ in
                           range(rng.choice((0, 1, 3, 4, 5, 70))))
            if not optional:
                return xdr_string(text)
            return b"\0\0\0\1" + xdr_string(text) if rng.random() < .5 \
                else bytes(4)
        if type_name == "uuid":
            return rng.randbytes(16)
        if type_name in NUMBERS:
            size = struct.calcsize(NUMBERS[type_name])
            return rng.choice((bytes(size), b"\xff" * size,
                               rng.randbytes(size)))
        declared = self.types[type_name]
        if declared.keyword == "rpc_union":
            arm = rng.choice(declared.arms)
            return struct.pack(">i", arm.number) + self.one(arm.type)
        return self.message(declared.fields)

    def message(self, members):
        out = b""
        for f in members:
            if f.many:
                num = self.rng.randint(0, min(f.many, 6))
                out += struct.pack(">I", num)
                out += b"".join(self.one(f.type) for _ in range(num))
            else:
                out += self.one(f.type, f.optional)
        return out


def ask(cases):
    """The program's answer to each (type, bytes)."""
    lines = "".join(f"{name} {data.hex()}\n" for name, data in cases)
    done = subprocess.run([PROGRAM], input=lines, capture_output=True,
                          text=True, check=False)
    answers = done.stdout.split("\n")[:-1]
    if done.returncode or len(answers) != len(cases):
        print(f"Bail out! {done.returncode}: {done.stderr[-2000:]}")
        sys.exit(1)
    return answers


def damaged(rng, data):
    """Cut off, or with a word that is a length of nonsense."""
    if rng.random() < .5 and data:
        return data[:rng.randrange(len(data))]
    at = rng.randrange(len(data) // 4 + 1) * 4
    word = rng.choice((0x7fffffff, 0xffffffff, 0x80000000, 4194305, 1 << 24))
    return data[:at] + struct.pack(">I", word) + data[at + 4:]


def differences(cases):
    return [f"{name} {data.hex()} came back as {answer}"
            for (name, data), answer in zip(cases, ask(cases))
            if answer != data.hex()]


def bad_answers(cases):
    """A damaged message is refused, or what is written is a beginning of it
    (a number may be any number; bytes at the end are not looked at) but for
    the bytes that fill up strings."""
    wrong, refused = [], 0
    for (name, data), answer in zip(cases, ask(cases)):
        if answer.startswith("error: "):
            refused += 1
        elif "failed" in answer or len(answer) > 2 * len(data):
            wrong.append(f"{name} {data.hex()} came back as {answer}")
    if refused < len(cases) // 4:
        wrong.append(f"only {refused} of {len(cases)} were refused")
    return wrong


def bounds():
    """(what, type, bytes, accepted?) at the edges."""
    domain = xdr_string("g") + bytes(20)
    word = struct.pack
    yield "a string of 4 MiB", "connect_open_args", \
        b"\0\0\0\1" + xdr_string("x" * 4194304) + bytes(4), True
    yield "a longer one", "connect_open_args", \
        b"\0\0\0\1" + xdr_string("x" * 4194305) + bytes(4), False
    yield "20 ways to authenticate", "auth_list_ret", \
        word(">I", 20) + bytes(80), True
    yield "21", "auth_list_ret", word(">I", 21) + bytes(84), False
    yield "2^31 of them", "auth_list_ret", word(">I", 1 << 31), False
    yield "a string with a NUL byte", "snapshot", \
        xdr_string("a\0b") + domain, False
    yield "a truth value of 2", "connect_open_args", \
        word(">I", 2) + xdr_string("x") + bytes(4), False
    yield "a union of no known type", "typed_param", \
        xdr_string("x") + word(">II", 8, 0), False
    yield "nothing", "snapshot", b"", False
    yield "bytes behind it", "auth_list_ret", bytes(4) + b"more", True


def recorded():
    """(name, bytes) of messages that libvirt's own programs have sent."""
    path = TOP / "tests/unit/libvirt-frames.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, data = line.split()
            yield name, bytes.fromhex(data)


def main():
    errors = parse.Errors()
    decls = parse.parse_file(str(TOP / "idl/libvirt.idl"), errors)
    model = idl.Model(decls, None)
    rng = random.Random(SEED)
    values = Values(model, rng)
    whole = [(name, values.message(members)) for _ in range(30)
             for name, members in c_rpc.messages(model) if members]
    edges = list(bounds())
    results = {
        f"random messages come back as they were (seed {SEED})":
            differences(whole),
        "messages of libvirt's programs come back as they were":
            differences(list(recorded())),
        "damaged messages are refused":
            bad_answers([(name, damaged(rng, data)) for name, data in whole]),
        "bounds": [what for (what, _, _, good), answer in zip(
            edges, ask([(t, d) for _, t, d, _ in edges]))
            if answer.startswith("error: ") == good],
    }
    print(f"1..{len(results)}")
    for number, (what, wrong) in enumerate(results.items(), 1):
        print(f"{'not ok' if wrong else 'ok'} {number} - {what}")
        for line in wrong[:5]:
            print("#", line[:500])
    sys.exit(any(results.values()))


if __name__ == "__main__":
    main()
