# SPDX-License-Identifier: LGPL-2.1-or-later
"""Moves of other people on the guest's configuration, and of other programs
that talk to its QEMU."""

import os
import time
import uuid

from . import oracle, qcow2
from .model import Guest
from .moves import Moves, NotNow, write_config


class ForeignGuest:
    def __init__(self, world, guest, moves):
        self.world, self.guest, self.moves = world, guest, moves
        self.rng = None
        self.holders = []
        self.nodes = []             # second ones, of ours
        self.copy = None            # Moves of a guest on the same disks

    def running(self):
        if not self.world.qemu:
            raise NotNow

    # ---- the configuration ------------------------------------------------

    def swap_disks(self):
        """The disks change places between two starts."""
        world, guest = self.world, self.guest
        if world.qemu or world.away:
            raise NotNow
        disks = dict(zip(guest.disks, reversed(guest.disks.values())))
        guest.swapped = True
        write_config(world, guest, disks)
        if not world.live:
            return
        disks = self.moves.start()
        world.start_qemu(guest, disks)

    def rename_guest(self):
        self.offline()
        guest = self.guest
        guest.name = f"renamed{self.rng.randrange(100)}"
        write_config(self.world, guest, guest.disks)

    def copy_guest(self):
        """A copy of the config with another name and UUID, which names the
        same disks, acts.  What its commands and its start are let do must
        harm no snapshot of anybody."""
        world, guest, rng = self.world, self.guest, self.rng
        if world.qemu or world.away:
            raise NotNow
        if not self.copy:
            number = str(uuid.UUID(int=rng.getrandbits(128)))
            copy = Guest("copy", number, world.top + "/copy.cfg", guest.disks)
            copy.original = dict(guest.original)
            write_config(world, copy, guest.disks)
            self.copy = Moves(world, copy, self.moves.features)
            world.guests.append(copy)
        copy = self.copy.guest
        self.copy.rng = rng
        world.interfered = True
        copy.candidates = [{v: None for v in copy.original}]
        self.copy.look(shared=True)
        name = rng.choice(("create", "run_guest", "delete", "revert"))
        world.note(f"# the copy: {name}")
        try:
            getattr(self.copy, name)()
        finally:
            # what the disks hold now is both guests'
            for one in (guest, copy):
                self.world.note(f"# {one.name}")
                oracle.Oracle(world, one, rng).check(shared=True)

    # ---- in its QEMU ----------------------------------------------------------

    def node_names(self):
        """Of the images that the guest's disks are made of"""
        world = self.world
        files = {p[0]: p for p in sum(self.places(), [])}
        return [(n["node-name"], n["file"]) for n in
                world.qmp("query-named-block-nodes", flat=True)
                if n["file"] in files and n["drv"] == files[n["file"]][1]
                and n["drv"] != "file"]

    def export(self):
        """One more layer is served, or the server ends."""
        world = self.world
        self.running()
        if world.exports:
            self.leave_exports()
            return
        node, _ = self.pick(self.node_names())
        world.ask("nbd-server-start", addr={
            "type": "unix", "data": {"path": world.top + "/nbd"}})
        world.exports = 1
        world.disturbed.add("export")
        world.ask("block-export-add", type="nbd", id="theirs",
                  node_name=node)

    def leave_exports(self):
        world = self.world
        if world.qemu and world.exports:
            world.ask("nbd-server-stop")
        world.exports = 0
        world.disturbed.discard("export")

    def second_node(self):
        world = self.world
        self.running()
        if self.nodes:
            self.leave_nodes()
            return
        _, path = self.pick(self.node_names())
        kind = next(k for p, k, _ in sum(self.places(), []) if p == path)
        reply = world.ask("blockdev-add", driver=kind, node_name="second",
                          read_only=True,
                          file={"driver": "file", "filename": path,
                                "locking": "off"})
        if "return" in reply:
            self.nodes.append("second")
            world.disturbed.add("node")

    def leave_nodes(self):
        for node in self.nodes:
            if self.world.qemu:
                self.world.ask("blockdev-del", node_name=node)
        self.nodes = []
        self.world.disturbed.discard("node")

    def leave_qemu(self):
        self.leave_exports()
        self.leave_nodes()

    def wait_job(self, job, status, seconds=10):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            jobs = {j["id"]: j["status"]
                    for j in self.world.qmp("query-jobs")}
            if jobs.get(job) == status or job not in jobs:
                return job in jobs
            time.sleep(0.01)
        raise RuntimeError(f"the job {job} does not become {status}")

    def their_commit(self):
        """The layer that takes writes is merged away, and removed."""
        world = self.world
        self.running()
        vdev = self.rng.choice(list(self.guest.original))
        path, kind = world.served()[vdev]
        if kind != "qcow2" or not qcow2.header(path)[0] or world.away:
            raise NotNow
        world.interfered = True
        reply = world.ask("block-commit", job_id="theirs",
                          device=world.node_of(vdev))
        if "error" in reply:
            return
        if self.wait_job("theirs", "ready"):
            world.ask("block-job-complete", device="theirs")
            self.wait_job("theirs", "none")
        self.overwritten(vdev, world.served()[vdev][0])
        if world.served()[vdev][0] != path and self.rng.random() < 0.7:
            world.note(f"rm {path}")
            os.unlink(path)

    def overwritten(self, vdev, image):
        """The guest writes to an image that snapshots show from now on."""
        record = oracle.raw_record(self.world, self.guest)
        for snapshot in record["snapshots"]:
            state = self.guest.states.get(snapshot["name"])
            for disk in snapshot["disks"]:
                if state and oracle.shows(disk, image):
                    key = disk["vdev"] if disk["vdev"] in state.disks \
                        else vdev
                    state.disks[key] = None

    def their_cancel(self):
        """Somebody ends the job of a deletion of ours."""
        world, moves = self.world, self.moves
        self.running()
        if not self.guest.states:
            raise NotNow
        order = self.rng.choice(("block-job-cancel", "block-job-complete",
                                 "block-job-pause"))
        force = self.rng.random() < 0.5

        def meddle():
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                jobs = world.ask("query-block-jobs").get("return", [])
                for job in jobs:
                    more = {"force": force} if "cancel" in order else {}
                    world.ask(order, device=job["device"], **more)
                    if order == "block-job-pause":
                        time.sleep(0.3)
                        world.ask("block-job-resume", device=job["device"])
                    return
        name = moves.a_state()
        result = moves.command("snapshot-delete", *moves.who(), name,
                               alongside=meddle)
        state = self.guest.states[name]
        if result == "done":
            del self.guest.states[name]
        elif result == "cut":
            state.may_go = state.may_merge = True
            moves.rng = self.rng
            moves.settled()


ForeignGuest.their_commit.destroys = True
