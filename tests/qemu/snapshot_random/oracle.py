# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether what there is agrees with the model.

After a move of ours every state that is listed as ready, and what the disks
hold now, must be readable and be what the model says.  After a move of
somebody else what he destroyed is forgotten, and only that.
"""

import json
import os

from . import qcow2
from .model import State
from .world import Failed


def show(content):
    return "nothing" if content is None else content.hex()


# ---- what is listed -------------------------------------------------------

def record_path(world, guest):
    return f"{world.small}/state/{guest.uuid}/snapshots.json"


def journal(world, guest):
    return os.path.exists(f"{world.small}/state/{guest.uuid}/"
                          "snapshot-journal.json")


def who(world, guest, rng=None):
    """The arguments that name the guest to a command"""
    if world.qemu and world.running is guest:
        return ["qmp:" + world.top + "/qmp"]
    known = os.path.exists(record_path(world, guest)) or \
        journal(world, guest)
    if known and (rng is None or rng.random() < 0.5):
        return [guest.uuid]
    return ["--config", guest.config, guest.name]


def listed(world, guest):
    """The record as the library gives it; None when it refuses to"""
    done = world.xl("snapshot-list", "--json", *who(world, guest))
    if done.status:
        if not world.may_refuse:
            raise Failed(f"{guest.name} cannot be listed: {done.said}")
        # in the middle of something the record is not what there is
        return None if journal(world, guest) else raw_record(world, guest)
    found = json.loads(done.out)
    if len(found) != 1:
        raise Failed(f"snapshot-list of {guest.name}: exit 0, and it lists "
                     f"{len(found)} guests")
    return found[0]


def raw_record(world, guest):
    """The record as it is on disk, with nothing finished or undone"""
    try:
        with open(record_path(world, guest), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {"disks": [], "snapshots": []}


def place_of(guest, disk, record):
    """Where the configuration has a disk of the record: it may have changed
    places with another one.  The configuration may name any image that the
    disk has, or had: a disk is its images, and not its name."""
    if not guest.swapped:
        return disk["vdev"]
    images = {d["image"] for s in record["snapshots"] for d in s["disks"]
              if d["vdev"] == disk["vdev"]}
    try:
        images |= set(qcow2.chain(disk["image"], disk["format"]))
    except qcow2.Unreadable:
        images.add(disk["image"])
    return next((v for v, (path, _) in guest.disks.items() if path in images),
                None)


def where_present(world, guest, record):
    """vdev -> (path, format) of the images that take the guest's writes"""
    if world.qemu and world.running is guest:
        return world.served()
    found, left = dict(guest.disks), []
    free = list(guest.disks)
    for disk in record["disks"]:
        vdev = place_of(guest, disk, record)
        if vdev in free:
            free.remove(vdev)
            found[vdev] = (disk["image"], disk["format"])
        else:
            left.append(disk)
    for disk in left:       # the configuration names what is gone by now
        vdev = disk["vdev"] if disk["vdev"] in free or not free else free[0]
        if vdev in free:
            free.remove(vdev)
        found[vdev] = (disk["image"], disk["format"])
    if not record["snapshots"]:         # the last one has been deleted
        found = {v: p if os.path.exists(p[0]) or p[0] in world.away
                 else guest.bottom(v, found) for v, p in found.items()}
    return found


# ---- content ---------------------------------------------------------------

def away(world, path):
    """The image, or one below it, is not where it was."""
    if not world.away:
        return False
    kind = "qcow2" if path.endswith("qcow2") else "raw"
    try:
        return any(p in world.away for p in qcow2.chain(path, kind))
    except qcow2.Unreadable:
        return True


def by_qemu(world, path, kind, tag):
    """The same as qcow2.read(), by qemu-img"""
    target = world.top + "/converted"
    argv = ["qemu-img", "convert", "-U", "-O", "raw"]
    argv += ["-l", f"snapshot.name={tag}"] if tag else []
    noted = len(world.script)
    done = world.run(argv + ["-f", kind, path, target])
    del world.script[noted:]
    if done.status:
        raise qcow2.Unreadable(done.said)
    content = qcow2.read(target, "raw")
    os.unlink(target)
    return content


def content_of(world, path, kind, tag=None, by=qcow2.read):
    if by is not qcow2.read:
        return by(world, path, kind, tag)
    return qcow2.read(path, kind, tag)


def check_clones(world, destroyed=False):
    """destroyed: somebody else may have"""
    for clone in list(world.clones):
        if clone.content is None:
            continue
        if away(world, clone.path):
            continue
        try:
            found = qcow2.read(clone.path, "qcow2")
        except qcow2.Unreadable as e:
            found = str(e).encode()
        if found == clone.content:
            continue
        if destroyed or (not clone.known and clone.holder is None):
            clone.content = None    # or nobody can know of it
            continue
        raise Failed(f"another tool's image {clone.path} held "
                     f"{clone.content.hex()} and now {show(found)}")


def shows(disk, image):
    """The image is that of a disk of a snapshot, or lies below it; an internal
    snapshot is safe from writes to its own."""
    try:
        layers = qcow2.chain(disk["image"], disk["format"])
    except qcow2.Unreadable:
        layers = [disk["image"]]
    return image in (layers[1:] if disk["tag"] else layers)


class Oracle:
    def __init__(self, world, guest, rng):
        self.world, self.guest, self.rng = world, guest, rng

    def check(self, foreign=False, thorough=False, shared=False):
        """foreign: the last move was not ours; shared: another guest has the
        same disks, and may have written to them"""
        world, guest = self.world, self.guest
        world.flush()
        by = by_qemu if thorough else qcow2.read
        record = listed(world, guest)
        if record is None:
            return
        self.check_present(record, foreign or shared, by)
        ready = {s["name"]: s for s in record["snapshots"]
                 if s["status"] != "foreign"}
        self.check_names(ready)
        for name, snapshot in ready.items():
            if snapshot["status"] == "ready":
                self.check_state(name, snapshot, foreign, by)
        guest.parents = {n: s["parent"] for n, s in ready.items()}
        guest.left, guest.unsettled = None, False
        guest.took_last = False
        for state in guest.states.values():
            state.may_go = state.may_merge = False

    # ---- what the disks hold now ------------------------------------------

    def check_present(self, record, foreign, by):
        world, guest = self.world, self.guest
        where = where_present(world, guest, record)
        gone = {d["image"] for d in record["disks"] if d.get("missing")}
        found, wrong = {}, ""
        for vdev in guest.original:
            path, kind = where[vdev]
            if away(world, path):
                continue
            if path in gone and not os.path.exists(path):
                # the message says so, and moves.choose() has a way out
                found.update({vdev: one[vdev] for one in guest.candidates})
                continue
            try:
                found[vdev] = content_of(world, path, kind, by=by)
            except qcow2.Unreadable as e:
                wrong = f" ({e})"
        self.settle(found, where, foreign, wrong)

    def settle(self, found, where, foreign, wrong=""):
        world, guest = self.world, self.guest
        if world.away:
            for one in guest.candidates:
                found = {**{v: one[v] for v in one}, **found}
        if guest.swapped:
            guest.candidates += [dict(zip(one, reversed(one.values())))
                                 for one in guest.candidates]
        before = guest.candidates
        if (last := guest.settle(found)) is None:
            if not foreign:
                raise Failed(
                    f"{guest.name}: the disks hold "
                    f"{ {v: show(c) for v, c in found.items()} } in {where}"
                    f"{wrong}, and not one of "
                    f"{[{v: show(c) for v, c in x.items()} for x in before]}")
            guest.candidates = [{v: found.get(v) for v in before[-1]}]
            last = False
        if last and before[0] != guest.present:
            guest.took_last = True

    # ---- snapshots ----------------------------------------------------------

    def check_names(self, ready):
        guest = self.guest
        for name in list(guest.states):
            state = guest.states[name]
            if name in ready:
                merging = ready[name]["status"] == "merging"
                if merging and not (state.may_merge or state.merging or
                                    self.is_present(ready[name])):
                    raise Failed(f"{guest.name}: snapshot {name} is half "
                                 "deleted, and nobody asked for that")
                state.merging = merging
                continue
            if not state.may_go:
                raise Failed(f"{guest.name}: snapshot {name} is not listed "
                             "any more")
            del guest.states[name]
        new = [n for n in ready if n not in guest.states]
        for name in new:
            if guest.left is None or not name.startswith("left-"):
                raise Failed(f"{guest.name}: nobody made snapshot {name}")
            disks = [d["vdev"] for d in ready[name]["disks"]]
            guest.states[name] = State({v: guest.left[v] for v in disks})
        if guest.left is not None and guest.took_last and not new and \
                not guest.discarded:
            raise Failed(f"{guest.name}: the state left is not listed")

    def is_present(self, snapshot):
        """Another tool has made an image that it shows one that the guest
        writes to."""
        images = {path for path, _ in where_present(
            self.world, self.guest,
            raw_record(self.world, self.guest)).values()}
        return self.world.interfered and any(
            shows(d, i) for d in snapshot["disks"] for i in images)

    def check_state(self, name, snapshot, foreign, by):
        held = {d["vdev"]: d for d in snapshot["disks"]}
        if not self.guest.swapped:
            self.check_disks(name, held, foreign, by)
            return
        # the record calls a disk by the name that it had when it was written
        one, two = self.guest.original
        other = {{one: two, two: one}[v]: d for v, d in held.items()}
        try:
            self.check_disks(name, held, False, by)
        except Failed as e:
            try:
                self.check_disks(name, other, False, by)
            except Failed:
                if not foreign:
                    raise e from None
                self.guest.states[name].disks = dict.fromkeys(held)

    def check_disks(self, name, held, foreign, by):
        state = self.guest.states[name]
        if set(held) != set(state.disks):
            raise Failed(f"snapshot {name} has the disks {sorted(held)}, "
                         f"not {sorted(state.disks)}")
        for vdev, disk in held.items():
            wanted = state.disks[vdev]
            if wanted is None or away(self.world, disk["image"]):
                continue
            try:
                found = content_of(self.world, disk["image"], disk["format"],
                                   disk["tag"], by)
            except qcow2.Unreadable as e:
                found = str(e).encode()
            # qemu-img gives a tag the size that the image has now: compare
            # what both sizes have, and the rest with what we read
            if disk["tag"] and by is by_qemu and len(found) != len(wanted) \
                    and found[:len(wanted)] == wanted[:len(found)]:
                found = qcow2.read(disk["image"], disk["format"],
                                   disk["tag"])
            if found == wanted:
                continue
            if foreign:
                state.disks[vdev] = None
                self.world.note(f"# {name}: {vdev} is destroyed by this")
                continue
            raise Failed(
                f"{self.guest.name}: snapshot {name}, {vdev} in "
                f"{disk['image']} {disk['tag']}: holds {show(found)}, "
                f"not {wanted.hex()}")


# ---- commands that were refused --------------------------------------------

def differences(before, after, may_undo):
    """may_undo: an image may have been changed and changed back, what its
    states hold is looked at anyway"""
    files, was = after[0], before[0]
    said = [f"{p}: {'changed' if p in files else 'gone'}"
            for p in was if files.get(p) != was[p] and
            not (may_undo and p in files and isinstance(was[p], tuple))]
    said += [f"{p}: new" for p in files if p not in was]
    if before[1] != after[1]:
        said.append(f"QEMU's nodes: {before[1]} -> {after[1]}")
    return said
