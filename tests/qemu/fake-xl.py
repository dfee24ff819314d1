#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The xl of the other host, for migrate.bats: migrate-receive, vm-list and
destroy.  FAKE_THERE is a directory: the guest there is the files incoming and
runs in it, config is what was sent.  FAKE_FAULT is what goes wrong:

  no-banner wrong-banner late-banner   at the beginning
  cut-config cut-memory cut-end        it ends while it reads
  no-ready wrong-ready                 it has all, and does not say so
  no-start                             it cannot start the guest
  no-start-no-return                   ... and does not say that it is gone
  dies-at-go                           it ends before it reads the word
  silent                               it starts the guest, and ends

When it has the end of the stream the disks there must be complete: it runs
FAKE_CHECK, a line of shell, whose failure it writes to the file check.
"""

import os
import struct
import subprocess
import sys
import time

BANNER = b"xl migration receiver ready, send binary domain data.\n"
READY = b"domain received, ready to unpause\0"
GO = b"domain is yours, you are cleared to unpause\0"
REPORT = b"my copy unpause results are as follows\0"

there = os.environ["FAKE_THERE"]
fault = os.environ.get("FAKE_FAULT", "")


def path(name):
    return os.path.join(there, name)


def put(data):
    os.write(1, data)


def get(size, at_end=lambda: None):
    data = b""
    while len(data) < size:
        part = os.read(0, min(size - len(data), 1 << 20))
        if not part:
            at_end()
            give_up(f"the input ended after {len(data)} of {size} bytes")
        data += part
    return data


def give_up(why):
    """As xl does: the copy is destroyed."""
    for name in ("incoming", "runs"):
        if os.path.exists(path(name)):
            os.unlink(path(name))
    sys.exit(f"migration target: {why}")


def records(skip_type):
    while True:
        kind, length = struct.unpack("<II", get(8))
        get((length + 7) // 8 * 8)
        if kind == 0:
            return
        if kind == skip_type:
            assert get(12) == b"\xff" * 8 + b"XENF"
            get(12 + 16)
            if fault == "cut-memory":
                give_up("cut in the memory")
            records(None)


def receive():
    if fault == "no-banner":
        sys.exit("xl: command not found")
    if fault == "late-banner":
        time.sleep(1)
    put(b"welcome to the other host, dear user, who is it who goes\n"
        if fault == "wrong-banner" else BANNER)
    head = get(48)
    assert head[:32] == b"Xen saved domain, xl format\n \0 \r".ljust(32, b"\0")
    order, mandatory, optional, length = struct.unpack("<IIII", head[32:])
    assert (order, mandatory, optional) == (0x01020304, 3, 0)
    if fault == "cut-config":
        give_up("cut in the configuration")
    config = get(length)
    assert struct.unpack("<I", config[:4])[0] == length - 4
    assert config[-1] == 0
    with open(path("config"), "wb") as f:
        f.write(config[4:-1])
    assert get(8) == b"LibxlFmt"
    get(8)
    records(1)
    if fault == "cut-end":
        give_up("cut at the end")
    with open(path("incoming"), "wb"):
        pass
    check = subprocess.run(["sh", "-c", os.environ.get("FAKE_CHECK", ":")],
                           stdin=subprocess.DEVNULL, stdout=2, check=False)
    if check.returncode:
        with open(path("check"), "wb"):
            pass
    if fault == "no-ready":
        give_up("cannot make the guest's devices")
    put(READY if fault != "wrong-ready" else READY.upper())
    if fault == "dies-at-go":
        give_up("dies at the word")
    # as the real one: it destroys its copy when its report was heard
    try:
        word = get(len(GO), lambda: put(REPORT + b"\1"))
    except BrokenPipeError:
        sys.exit("nobody hears")
    if word != GO:
        give_up("another word")
    if fault.startswith("no-start"):
        put(REPORT + b"\3")
        os.unlink(path("incoming"))
        if fault == "no-start":
            put(GO)
        return
    os.rename(path("incoming"), path("runs"))
    if fault != "silent":
        put(REPORT + b"\0")


def vm_list():
    print("UUID                                  ID    name")
    for name, end in (("incoming", "--incoming"), ("runs", "")):
        if os.path.exists(path(name)):
            print(f"{os.environ['FAKE_UUID']}  5    "
                  f"{'guest' + end:<30}")
    print(f"{os.environ['FAKE_UUID']}  3    {'guest--migratedaway':<30}")


if sys.argv[1] == "migrate-receive":
    receive()
elif sys.argv[1] == "vm-list":
    if fault == "no-list":
        sys.exit("cannot reach the host")
    vm_list()
elif sys.argv[1] == "destroy":
    assert sys.argv[2] == "guest--incoming"
    os.unlink(path("incoming"))
