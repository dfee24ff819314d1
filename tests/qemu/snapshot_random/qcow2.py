# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an image holds, read without QEMU's help and without ours.

Tests read every state after every move: a qemu-img for each would take
minutes.  Whether this reader is right is compared with qemu-img by the oracle
now and then.  It knows what these tests make: qcow2 with clusters of BLOCK
bytes, without compression, and raw images.

A content is bytes, one for each block of the disk: the byte that the block is
filled with.
"""

import os
import struct

BLOCK = 65536
MAGIC = b"QFI\xfb"
OFFSET = 0x00fffffffffffe00
BACKING_FORMAT = 0xE2792ACA
DEEPEST = 100
MIXED = -1


class Unreadable(Exception):
    """The image is not there or is damaged."""


def filling(data):
    """The byte that a block is filled with; MIXED when there are several, as
    after a merge that ran out of room"""
    return data[0] if data.count(data[:1]) == len(data) else MIXED


class Image:
    """One file, not its chain"""

    def __init__(self, path, kind):
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDONLY)
        except OSError as e:
            raise Unreadable(f"{path}: {e.strerror}") from e
        self.kind = kind
        self.backing = self.backing_kind = None
        if kind == "qcow2":
            self.read_header()
        else:
            self.size = os.fstat(self.fd).st_size

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def at(self, offset, layout):
        length = struct.calcsize(layout)
        data = os.pread(self.fd, length, offset)
        if len(data) < length:
            raise Unreadable(f"{self.path}: too short")
        return struct.unpack(layout, data)

    def read_header(self):
        magic, version, name_at, name_len, bits, self.size, crypt, \
            self.l1_len, self.l1_at = self.at(0, ">4sIQIIQIIQ")
        if magic != MAGIC or bits != 16 or crypt:
            raise Unreadable(f"{self.path}: not a qcow2 image of these tests")
        self.num_tags, self.tags_at = self.at(60, ">IQ")
        place = 72
        if version > 2:
            incompatible, = self.at(72, ">Q")
            if incompatible & ~3:       # but dirty and corrupt
                raise Unreadable(f"{self.path}: unknown features")
            place, = self.at(100, ">I")
        if name_at:
            name = os.fsdecode(os.pread(self.fd, name_len, name_at))
            if name.startswith("file:"):
                name = name[5:]
            self.backing = os.path.join(os.path.dirname(self.path), name)
        while True:
            kind, length = self.at(place, ">II")
            if not kind:
                break
            if kind == BACKING_FORMAT:
                self.backing_kind = os.pread(self.fd, length,
                                             place + 8).decode()
            place += 8 + (length + 7) // 8 * 8

    def tags(self):
        """Internal snapshots: name -> (its L1 table, entries, disk size)"""
        found, place = {}, self.tags_at
        for _ in range(self.num_tags):
            l1_at, l1_len, id_len, name_len, _, _, _, _, extra = \
                self.at(place, ">QIHHIIQII")
            size = self.at(place + 48, ">Q")[0] if extra >= 16 else self.size
            place += 40 + extra + id_len
            name = os.pread(self.fd, name_len, place).decode()
            found[name] = (l1_at, l1_len, size)
            place = (place + name_len + 7) // 8 * 8
        return found

    def cluster(self, l1_at, l1_len, number):
        """The byte that a cluster is filled with; None: not allocated"""
        index, inner = divmod(number, BLOCK // 8)
        if index >= l1_len:
            return None
        l2_at = self.at(l1_at + 8 * index, ">Q")[0] & OFFSET
        if not l2_at:
            return None
        entry, = self.at(l2_at + 8 * inner, ">Q")
        if entry >> 62 & 1:
            raise Unreadable(f"{self.path}: a compressed cluster")
        if entry & 1:
            return 0
        if not entry & OFFSET:
            return None
        data = os.pread(self.fd, BLOCK, entry & OFFSET)
        return filling(data.ljust(BLOCK, b"\0"))

    def own(self, tag=None):
        """A list: the byte of each block, None where the backing is read"""
        if self.kind != "qcow2":
            return [filling(os.pread(self.fd, BLOCK, i * BLOCK))
                    for i in range(self.size // BLOCK)]
        where = self.l1_at, self.l1_len, self.size
        if tag:
            try:
                where = self.tags()[tag]
            except KeyError:
                raise Unreadable(f"{self.path}: holds no {tag}") from None
        return [self.cluster(where[0], where[1], i)
                for i in range(where[2] // BLOCK)]


def header(path, kind="qcow2"):
    """(backing path or None, its format, size, names of tags)"""
    with Image(path, kind) as image:
        tags = list(image.tags()) if kind == "qcow2" else []
        return image.backing, image.backing_kind, image.size, tags


def looks_like(path):
    with open(path, "rb") as file:
        return "qcow2" if file.read(4) == MAGIC else "raw"


def read(path, kind, tag=None):
    """The content of an image with all that it is based on"""
    blocks = layers(path, kind, tag, 0)
    if MIXED in blocks:
        raise Unreadable(f"{path}: block {blocks.index(MIXED)} holds "
                         "different bytes")
    return bytes(b or 0 for b in blocks)


def layers(path, kind, tag, depth):
    if depth > DEEPEST:
        raise Unreadable(f"{path}: the chain is endless")
    with Image(path, kind) as image:
        blocks = image.own(tag)
        if image.backing and None in blocks:
            try:
                below_kind = image.backing_kind or looks_like(image.backing)
            except OSError as e:
                raise Unreadable(f"{image.backing}: {e.strerror}") from e
            below = layers(image.backing, below_kind, None, depth + 1)
            blocks = [below[i] if b is None and i < len(below) else b
                      for i, b in enumerate(blocks)]
    return blocks


def chain(path, kind):
    """The files that the content of an image is read from, top first"""
    found = []
    while path and len(found) <= DEEPEST:
        found.append(path)
        below, below_kind, _, _ = header(path, kind)
        if below:
            try:
                below_kind = below_kind or looks_like(below)
            except OSError:
                return found + [below]
        path, kind = below, below_kind
    return found
