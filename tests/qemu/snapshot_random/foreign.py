# SPDX-License-Identifier: LGPL-2.1-or-later
"""Moves of other tools on the guest's images, and of people who hold them,
move them or copy them.  foreign_guest.py has those on its configuration and
in its QEMU.

The attribute destroys says that a move may change what states hold; then the
oracle forgets those that it did change.
"""

import os

from . import oracle, qcow2
from .foreign_guest import ForeignGuest
from .model import Clone, write
from .moves import NotNow
from .world import Failed


def destroys(move):
    move.destroys = True
    return move


class Foreign(ForeignGuest):
    """One run's"""

    # ---- what there is to act on ------------------------------------------

    def places(self):
        """[(path, format, vdev)]: those that take writes, those frozen"""
        record = oracle.raw_record(self.world, self.guest)
        where = oracle.where_present(self.world, self.guest, record)
        active = [(*where[v], v) for v in self.guest.original]
        frozen = []
        for snapshot in record["snapshots"]:
            for disk in snapshot["disks"]:
                one = disk["image"], disk["format"], disk["vdev"]
                if not disk["tag"] and one not in frozen + active:
                    frozen.append(one)
        gone = self.world.away
        return ([p for p in active if p[0] not in gone],
                [p for p in frozen if p[0] not in gone])

    def pick(self, which):
        if not which:
            raise NotNow
        return self.rng.choice(which)

    def offline(self):
        if self.world.qemu:
            raise NotNow

    def an_overlay(self):
        """(path, its backing file, format of that)"""
        active, frozen = self.places()
        found = []
        for path, kind, _ in active + frozen:
            if kind == "qcow2" and not oracle.away(self.world, path):
                below, below_kind, _, _ = qcow2.header(path)
                if below:
                    found.append((path, below, below_kind))
        return self.pick(found)

    def try_tool(self, *argv):
        """Another tool, which must succeed unless somebody has locked one of
        the images"""
        done = self.world.run(list(argv))
        if done.status and "lock" in done.said and self.holders:
            raise NotNow
        if done.status:
            raise RuntimeError(f"{' '.join(argv)}: {done.said}")

    # ---- overlays of others -------------------------------------------------

    def clone_at(self, path, known, active=False):
        world, rng = self.world, self.rng
        base, kind, _ = self.pick(self.places()[0 if active else 1])
        if oracle.away(world, base):
            raise NotNow
        spelled = base
        if known:
            # all of this is the same file to QEMU
            path = os.path.join(os.path.dirname(base),
                                os.path.basename(path))
            spelled = rng.choice((base, os.path.basename(base),
                                  *(["file:" + base] if "spelling" in
                                    self.moves.features else [])))
        self.try_tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", kind,
                      "-b", spelled, path)
        content = qcow2.read(base, kind)
        byte = world.next_byte()
        first = rng.randrange(len(content) - 4)
        try:
            self.try_tool("qemu-io", "-c", f"write -P {byte} "
                          f"{first * qcow2.BLOCK} {4 * qcow2.BLOCK}", path)
        except NotNow:
            os.unlink(path)
            raise
        clone = Clone(path, write(content, first, 4, byte), base, known)
        world.clones.append(clone)
        # deletions that would ruin it are refused
        world.disturbed.add(path)
        return clone

    def clone(self):
        """An overlay of another tool next to a frozen image"""
        self.clone_at(f"clone{len(self.world.clones)}.qcow2", True)

    def clone_present(self):
        """One of the image that takes the writes: until the next write"""
        self.offline()
        self.clone_at(f"clone{len(self.world.clones)}.qcow2", True, True)

    def clone_elsewhere(self):
        """One in another directory, which a program has open"""
        world = self.world
        clone = self.clone_at(f"{world.top}/far/clone"
                              f"{len(world.clones)}.qcow2", False)
        clone.holder = world.hold(clone.path, "qcow2", True)
        if not clone.holder:
            raise RuntimeError(f"{clone.path} cannot be held")

    # ---- locks -----------------------------------------------------------------

    def lock(self):
        world = self.world
        active, frozen = self.places()
        path, kind, _ = self.pick(active + frozen)
        if oracle.away(world, path):
            raise NotNow
        writable = not world.qemu and self.rng.random() < 0.5
        holder = world.hold(path, kind, writable)
        if holder:
            self.holders.append(holder)
            world.disturbed.add("lock")

    def unlock(self):
        if not self.holders:
            raise NotNow
        self.world.let_go(self.holders.pop())
        if not self.holders:
            self.world.disturbed.discard("lock")

    # ---- changes ----------------------------------------------------------------

    @destroys
    def commit(self):
        self.offline()
        path, _, _ = self.an_overlay()
        self.world.interfered = True
        self.world.run(["qemu-img", "commit", "-q", "-f", "qcow2", path])

    @destroys
    def rebase(self):
        """All content stays, the chain is another one."""
        self.offline()
        path, below, below_kind = self.an_overlay()
        onto, onto_kind = None, None
        if below_kind == "qcow2" and os.path.exists(below):
            onto, onto_kind, _, _ = qcow2.header(below)
        self.world.interfered = True
        argv = ["qemu-img", "rebase", "-q", "-f", "qcow2", "-b", onto or ""]
        self.world.run(argv + (["-F", onto_kind] if onto_kind else [])
                       + [path])

    def respell(self):
        """The backing file under another name of it"""
        self.offline()
        path, below, below_kind = self.an_overlay()
        name = os.path.relpath(below, os.path.dirname(path))
        if "spelling" in self.moves.features and self.rng.random() < 0.5:
            name = "file:" + below
        self.world.disturbed.add("mtime")       # of a frozen one
        self.world.interfered = True
        self.world.run(["qemu-img", "rebase", "-q", "-u", "-f", "qcow2", "-b",
                        name, "-F", below_kind, path])

    @destroys
    def resize(self):
        world = self.world
        path, kind, vdev = self.pick(self.places()[0])
        size = (len(self.guest.present[vdev]) + 16) * qcow2.BLOCK
        if world.qemu:
            world.ask("block_resize", node_name=world.node_of(vdev),
                      size=size)
        else:
            world.run(["qemu-img", "resize", "-q", "-f", kind, path,
                       str(size)])

    @destroys
    def write_frozen(self):
        self.offline()
        path, kind, _ = self.pick(self.places()[1])
        self.world.interfered = True
        self.world.run(["qemu-io", "-f", kind, "-c", "write -P "
                        f"{self.world.next_byte()} 65536 131072", path])

    @destroys
    def tags(self):
        """Internal snapshots of another tool: one made, one deleted"""
        self.offline()
        active, _ = self.places()
        path, kind, _ = self.pick(active)
        if kind != "qcow2" or oracle.away(self.world, path):
            raise NotNow
        names = qcow2.header(path)[3]
        self.world.interfered = True
        if names and self.rng.random() < 0.3:
            argv = ["-d", self.rng.choice(names)]
        else:
            argv = ["-c", f"theirs{self.world.next_byte()}"]
        self.world.run(["qemu-img", "snapshot", "-q", *argv, path])

    # ---- files ---------------------------------------------------------------------

    def move_image(self):
        self.offline()
        active, frozen = self.places()
        path, _, _ = self.pick(active + frozen)
        self.world.note(f"mv {path} {path}.away")
        os.rename(path, path + ".away")
        self.world.away[path] = path + ".away"
        self.world.disturbed.add("away")

    def move_back(self):
        if not self.world.away:
            raise NotNow
        for path, moved in list(self.world.away.items()):
            if os.path.lexists(path):
                raise Failed(f"{path} was only away, and now another file "
                             "is in its place")
            self.world.note(f"mv {moved} {path}")
            os.rename(moved, path)
            del self.world.away[path]
        self.world.disturbed.discard("away")

    @destroys
    def copy_back(self):
        """As from a backup: the same content in another file"""
        self.offline()
        active, frozen = self.places()
        path, _, _ = self.pick(active + frozen)
        self.world.interfered = True
        for clone in self.world.clones:
            # its holder has the old file open: nobody can know of the clone
            if not clone.known and path in qcow2.chain(clone.path, "qcow2"):
                clone.content = None
        self.world.tool("cp", path, path + ".new")
        self.world.tool("mv", path + ".new", path)

    # ---- the end ------------------------------------------------------------------

    def leave(self):
        """Locks, exports and jobs end; what was moved away comes back; the
        clones, which must be whole, are removed."""
        world = self.world
        while self.holders:
            self.unlock()
        if world.away:
            self.move_back()
        self.leave_qemu()
        oracle.check_clones(world)
        for clone in world.clones:
            if clone.holder:
                world.let_go(clone.holder)
            world.note(f"rm {clone.path}")
            os.unlink(clone.path)
            world.disturbed.discard(clone.path)
        world.clones = []
        world.disturbed.clear()


MOVES = ("clone", "clone_elsewhere", "clone_present", "lock", "unlock", "commit", "rebase",
         "respell", "resize", "write_frozen", "tags", "move_image",
         "move_back", "copy_back", "export", "second_node", "swap_disks",
         "copy_guest", "rename_guest", "their_commit", "their_cancel")
