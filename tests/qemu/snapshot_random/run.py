# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run: moves drawn from a seed, the oracle after each, and a way out at
the end."""

import os
import random
import uuid

from . import foreign, oracle
from .model import Guest
from .moves import Moves, NotNow, write_config
from .oracle import Oracle
from .world import Failed, World

LENGTH = 14

OURS = {
    "create": 6, "revert": 4, "delete": 4, "ask": 2, "repair": 1,
    "run_guest": 8, "edit_config": 1, "old_config": 1,
}


class Run:
    def __init__(self, seed, features, skip=()):
        mode, _, number = seed.partition("-")
        self.seed, self.skip, self.features = seed, skip, features
        self.world = World(seed, mode == "live")
        self.rng = random.Random(seed)
        self.guest = self.new_guest("guest", self.rng)
        self.moves = Moves(self.world, self.guest, features)
        self.move = None            # the one that is being made
        self.length = LENGTH + self.rng.randrange(8)
        self.others = foreign.Foreign(self.world, self.guest, self.moves)

    def new_guest(self, name, rng):
        world = self.world
        disks = {}
        where = rng.choice((("a", "b"), ("a", "a")))
        for vdev, place in zip(("xvda", "xvdb"), where):
            kind = "raw" if rng.random() < 0.15 else "qcow2"
            path = f"{world.img}/{place}/{vdev}.{kind}"
            world.tool("qemu-img", "create", "-q", "-f", kind, path, "4M")
            disks[vdev] = path, kind
        guest = Guest(name, str(uuid.UUID(int=rng.getrandbits(128))),
                      world.top + f"/{name}.cfg", disks)
        write_config(world, guest, disks)
        world.guests.append(guest)
        return guest

    def play(self):
        weights = dict(OURS)
        if self.world.live:
            weights["power"] = 4
        theirs = [f for f in foreign.MOVES if f in self.features]
        for number in range(self.length):
            self.moves.rng = self.others.rng = rng = random.Random(
                f"{self.seed}-{number}")
            if number in self.skip:
                continue
            if number == 0 and self.world.live:
                self.step(number, self.moves, "power", rng)
            elif theirs and rng.random() < 0.35:
                self.step(number, self.others, rng.choice(theirs), rng)
            else:
                name = rng.choices(list(weights), weights.values())[0]
                self.step(number, self.moves, name, rng)
        self.finale()

    def step(self, number, actor, name, rng):
        self.move = number
        self.world.note(f"# move {number}: {name}")
        theirs = actor is self.others
        if theirs:
            self.moves.settled()
        action = getattr(actor, name)
        try:
            action()
            if theirs:
                self.world.count("others", name)
        except NotNow:
            self.world.script.pop()
            return
        if self.guest.unsettled and rng.random() < 0.4:
            return
        if theirs or rng.random() < 0.8:
            self.look(getattr(action, "destroys", False), rng)

    def look(self, destroyed, rng):
        self.moves.mend_config()
        for guest in self.world.guests:
            Oracle(self.world, guest, rng).check(
                foreign=destroyed, thorough=rng.random() < 0.1,
                shared=guest is not self.guest)
        oracle.check_clones(self.world, destroyed)

    # ---- the end: a way out of every state -------------------------------

    def finale(self):
        world, guest, moves = self.world, self.guest, self.moves
        self.move = "end"
        world.note("# the end")
        moves.rng = self.others.rng = rng = random.Random(self.seed + "-end")
        self.others.leave()
        self.look(True, rng)
        if world.qemu and rng.random() < 0.5:
            world.stop_qemu(kill=rng.random() < 0.5)
        if os.path.exists(f"{world.small}/state/{guest.uuid}"):
            moves.repair()
        self.look(False, rng)
        self.start()
        self.delete_all()
        self.look(False, rng)
        world.stop_qemu(kill=rng.random() < 0.3)
        self.start()
        if not world.interfered:
            self.nothing_left_over()
        self.look(False, rng)
        self.check_images()

    def start(self):
        """The guest can be started; moves.start() knows when it need not."""
        if self.world.qemu:
            return
        try:
            self.moves.start()
        except NotNow:
            pass

    def delete_all(self):
        """Every snapshot can be deleted, in some order."""
        world, guest, moves = self.world, self.guest, self.moves
        while guest.states:
            said = []
            for name in reversed(list(guest.states)):
                if name not in guest.states:
                    continue
                if moves.command("snapshot-delete",
                                 *oracle.who(world, guest), name) == "done":
                    del guest.states[name]
                    moves.look()
                    break
                said.append(moves.last.said)
            else:
                if world.interfered:
                    return
                raise Failed("no snapshot can be deleted: " + "; ".join(said))
        if world.interfered:
            return
        for vdev, (path, _) in list(guest.disks.items()):
            if not os.path.exists(path):    # the overlay that it named
                guest.disks[vdev] = guest.bottom(vdev, guest.disks)
        write_config(world, guest, guest.disks)

    def nothing_left_over(self):
        world, guest = self.world, self.guest
        known = {path for path, _ in guest.original.values()}
        known |= {path for path, _ in guest.disks.values()}
        left = [p for p in world.images() if p not in known]
        state = f"{world.small}/state/{guest.uuid}"
        if os.path.exists(state):
            left += [f"{state}/{n}" for n in os.listdir(state)
                     if n != "guest.json"]
        if left:
            raise Failed(f"left over: {left}")

    def check_images(self):
        """Their metadata are in order.  What a killed QEMU had not written
        are counts that are too high."""
        for path in self.world.images():
            if not path.endswith("qcow2"):
                continue
            done = self.world.run(["qemu-img", "check", "-q", "-U", path])
            if done.status not in (0, 3) and not self.world.interfered:
                raise Failed(f"qemu-img check {path}: {done.said}")
