# SPDX-License-Identifier: LGPL-2.1-or-later
"""The moves of ours: commands, killed at some step or not, and starts."""

import os
import re
import shlex
import time

from . import oracle, qcow2
from .model import State
from .oracle import Oracle
from .world import Failed, Locked, can_mount

FAULT = re.compile(r'xlx__fault\("((?:snapshot|store)-[^"]+)"')


# what a deletion says of the image that it has merged away
GOES_ON = re.compile(r"the guest goes on in (\S+) \(format (\S+)\): a config "
                     r"that names (\S+) must be changed")
NAME_THAT = re.compile(r"names (\S+), which is not there; the disk is (\S+) "
                       r"\(format (\S+)\): name that there")


class NotNow(Exception):
    """The move does not fit the state that the run is in."""


def fault_points(source):
    found = set()
    for where, _, names in os.walk(source + "/lib"):
        for name in names:
            if name.endswith(".c"):
                with open(os.path.join(where, name), encoding="utf-8") as f:
                    found |= set(FAULT.findall(f.read()))
    return sorted(found)


class Moves:
    """One run's.  Each move is a method; rng decides on its details."""

    def __init__(self, world, guest, features):
        self.world, self.guest, self.features = world, guest, features
        self.points = [p for p in fault_points(world.source) if "recorded"
                       in features or not p.endswith(".recorded")]
        self.rng = None
        self.told = {}              # image -> what a config is to name then

    # ---- how a command is run -------------------------------------------

    def cut(self, stems):
        """Keyword arguments that kill the command, or its QEMU, or that make
        its file system full; most often none"""
        world, rng, dice = self.world, self.rng, self.rng.random()
        if dice < 0.15:
            points = [p for p in self.points if p.split(".")[0] in stems]
            return {"env": {"LIBXLX_FAULT": f"{rng.choice(points)}:"
                                            f"{rng.choice((1, 1, 2, 3))}"}}
        if dice < 0.20:
            return {"kill_after": rng.random() * 0.12}
        if dice < 0.24 and world.live and world.qemu:
            return {"alongside": self.qemu_killer(rng.random() * 0.12)}
        if dice < 0.28 and can_mount():
            return {"full": rng.choice((world.small, world.img))}
        return {}

    def qemu_killer(self, seconds):
        def kill():
            time.sleep(seconds)
            self.world.stop_qemu(kill=True)
        return kill

    def command(self, *args, changes=True, full=None, **how):
        """Runs a command of ours and says how it ended: done, refused, cut.
        What is refused must have changed nothing."""
        world, guest = self.world, self.guest
        before = world.everything()
        pending = guest.unsettled
        filler = world.fill(full) if full else None
        done = world.xl(*args, **how)
        if filler:
            world.empty(filler)
        killed = done.status == -9 or ("alongside" in how and done.status)
        # it says that it is to be repaired
        half = done.status and "undoing it failed" in done.err
        if killed or half:
            guest.unsettled = True
            result = "cut"
        else:
            result = "refused" if done.status else "done"
        world.count(args[0], result)
        # a repair that exits with 1 has repaired what it could
        tells = args[0] == "snapshot-repair" and changes
        if not killed and not half and not pending and not tells and (
                done.status or not changes):
            said = oracle.differences(before, world.everything(), changes)
            # a merge that runs out of room has begun
            if said and not full:
                raise Failed(f"{args[0]}: "
                             f"{'refused' if done.status else 'only asked'}, "
                             f"and yet {'; '.join(said)}; it said: "
                             f"{done.said}")
        self.last = done
        for path, kind, gone in GOES_ON.findall(done.out):
            self.told[gone] = path, kind
        self.mend_config()
        return result

    def look(self, **how):
        return Oracle(self.world, self.guest, self.rng).check(**how)

    def settled(self):
        """What a killed command left is settled, by a list or a repair."""
        if self.guest.unsettled:
            if self.rng.random() < 0.5 and self.has_state():
                self.repair()
            self.look()
        elif self.guest.left is not None:
            self.look()             # which name that state has

    def who(self):
        return oracle.who(self.world, self.guest, self.rng)

    def a_state(self):
        if not self.guest.states:
            raise NotNow
        return self.rng.choice(list(self.guest.states))

    def overlay_dir(self):
        if self.rng.random() < 0.3:
            return ["--overlay-dir", self.world.img + "/c"]
        return []

    # ---- moves ----------------------------------------------------------------

    def create(self):
        world, guest, rng = self.world, self.guest, self.rng
        if len(guest.states) > 7:
            raise NotNow
        self.settled()
        name = self.new_name()
        kind = rng.choice(("external", "external", "internal", "auto"))
        vdevs = list(guest.original)
        args = ["--kind", kind]
        # which disk a name means depends on who asks once they have changed
        # places: the record, or the configuration
        if rng.random() < 0.35 and not guest.swapped:
            vdevs = [rng.choice(vdevs)]
            args += ["--disks", ",".join(vdevs)]
        if kind == "external":
            args += self.overlay_dir()
        how = self.cut(("snapshot-create", "store"))
        guest.states[name] = State({v: guest.present[v] for v in vdevs}, True)
        state = guest.states[name]
        result = self.command("snapshot-create", *args, *self.who(), name,
                              **how)
        if result == "done":
            state.may_go = False
        elif result == "refused":
            del guest.states[name]

    def mend_config(self):
        """The overlay that the config names has been merged away: somebody
        makes it name what the guest is on now."""
        guest = self.guest
        if "stale-config" in self.features or \
                all(os.path.exists(p) for p, _ in guest.disks.values()):
            return
        record = oracle.raw_record(self.world, guest)
        disks = dict(guest.original)
        disks.update({d["vdev"]: (d["image"], d["format"])
                      for d in record["disks"]})
        write_config(self.world, guest, disks)

    def new_name(self):
        n = next(self.world.names)
        if "numbers" in self.features and self.rng.random() < 0.3:
            return str(self.rng.choice([k for k in range(1, 40) if str(k)
                                        not in self.guest.states]))
        return f"s{n}"

    def revert(self):
        world, guest, rng = self.world, self.guest, self.rng
        self.settled()
        name = self.a_state()
        target = guest.states[name].disks
        args = ["snapshot-revert", *self.overlay_dir()]
        discard = rng.random() < 0.3
        if discard:
            args.append("--discard")
        if world.qemu:
            args += ["--force"] if rng.random() < 0.5 else []
            if self.command(*args, *self.who(), name) == "done":
                raise Failed("a plain QEMU was reverted while it runs")
            return
        left = dict(guest.present)
        new = {**left, **target}
        how = self.cut(("snapshot-revert", "store"))
        result = self.command(*args, *self.who(), name, **how)
        if result == "refused" and not guest.unsettled:
            return
        guest.left, guest.discarded = left, discard
        guest.candidates = [new] if result == "done" else [left, new]
        if guest.swapped:
            # the snapshot calls its disks by the names that they had then
            one, two = guest.original
            other = {v: target[w] for v, w in ((one, two), (two, one))
                     if w in target}
            guest.candidates.append({**left, **other})

    def delete(self):
        guest, rng = self.guest, self.rng
        self.settled()
        name = self.a_state()
        names, args = [name], ["snapshot-delete"]
        if rng.random() < 0.25:
            args.append("--children")
            self.look()             # which these are
            names = guest.children(name)
        how = self.cut(("snapshot-delete", "snapshot-merge", "store"))
        result = self.command(*args, *self.who(), name, **how)
        if result == "refused" and not how.get("full"):
            return
        for one in names:
            if one not in guest.states:
                continue
            if result == "done":
                del guest.states[one]
            else:
                guest.states[one].may_go = True
                guest.states[one].may_merge = True

    def ask(self):
        """list, info, dry runs: nothing changes"""
        self.settled()
        names = list(self.guest.states) or ["none"]
        name = self.rng.choice(names)
        what = self.rng.choice((
            ["snapshot-list"], ["snapshot-list", "--tree"],
            ["snapshot-info"], ["snapshot-create"], ["snapshot-delete"],
            ["snapshot-delete", "--children"], ["snapshot-revert"],
            ["snapshot-repair"]))
        args = what + self.who()
        if what[0] == "snapshot-create":
            args.append("dry")
        elif what[0] not in ("snapshot-list", "snapshot-repair"):
            args.append(name)
        if what[0] not in ("snapshot-list", "snapshot-info"):
            args = ["-N"] + args
        self.command(*args, changes=False)

    def has_state(self):
        return os.path.exists(f"{self.world.small}/state/{self.guest.uuid}")

    def repair(self):
        guest = self.guest
        if not self.has_state():
            raise NotNow
        self.command("snapshot-repair", *self.who())
        if guest.unsettled:
            # what it did is not to be done again
            first = self.xl_repair()
            second = self.xl_repair()
            if (first.status, first.out) != (second.status, second.out):
                raise Failed("a second repair says something else: "
                             f"{first.said}; {second.said}")

    def xl_repair(self):
        done = self.world.xl("snapshot-repair",
                             *oracle.who(self.world, self.guest))
        # once the record is gone nobody says it again
        for gone, path, kind in NAME_THAT.findall(done.out):
            self.told[gone] = path, kind
        return done

    # ---- the guest runs --------------------------------------------------

    def gate(self, guest=None):
        """What xl create lets the guest start on: vdev -> (path, format);
        None when it refuses for good"""
        guest = guest or self.guest
        argv = ["create", guest.config]
        done = self.world.xl(*argv)
        self.world.count("xl create", "refused" if done.status else "done")
        if not done.status:
            return dict(guest.disks)
        for line in done.err.splitlines():
            _, found, command = line.partition("go on from the present "
                                               "state: xl ")
            if found:
                return self.go_on(shlex.split(command))
        self.refusal = done.said
        return None

    def go_on(self, argv):
        """The command that the refusal prints must pass."""
        done = self.world.xl(*argv)
        if done.status and "open for writing" in done.err and \
                "lock" in self.world.disturbed:
            self.refusal = done.said        # of another of its disks
            return None
        if done.status:
            raise Failed(f"the command that a refusal prints is refused: "
                         f"{shlex.join(argv)}: {done.said}")
        disks = {}
        for spec in re.findall(r'"([^"]*target=[^"]*)"', " ".join(argv)):
            head, _, path = spec.partition("target=")
            keys = dict(k.split("=") for k in head.strip(",").split(",")
                        if "=" in k)
            disks[keys["vdev"]] = path, keys["format"]
        return disks

    # ---- what only the user can tell --------------------------------------

    def choose(self):
        """Says in which images the guest goes on where a refused start asks
        for that, and forgets the snapshots that it names."""
        world, guest = self.world, self.guest
        for _ in range(20):
            doubt = re.search(r"(\S+): the guest's image (\S+) (?:is not there|"
                              r"is based on \S+, which was written)", self.refusal)
            forget = re.search(r"snapshot-delete (\S+) '([^']*)' forgets it",
                               self.refusal)
            if doubt and guest.uuid not in self.refusal:
                return None             # another guest's images
            if doubt and doubt[2] not in world.away:
                self.keep_image(doubt[1], doubt[2])
            elif not forget or self.command(
                    "snapshot-delete", forget[1], forget[2]) != "done":
                return None
            else:
                guest.states.pop(forget[2], None)
            disks = self.gate()
            if disks is not None:
                return disks
        raise Failed(f"no end of questions: {self.refusal}")

    def keep_image(self, vdev, present):
        """The one that holds what the disk held last; if all are wrong, any"""
        world, guest = self.world, self.guest
        record = oracle.raw_record(world, guest)
        images = {present: "qcow2"} | {
            d["image"]: d["format"] for s in record["snapshots"]
            for d in s["disks"] if d["vdev"] == vdev and not d["tag"]}
        there, right = [], []
        for path, kind in images.items():
            try:
                content = qcow2.read(path, kind)
            except qcow2.Unreadable:
                continue
            there.append((path, content))
            if content in guest.candidates[-1].values():
                right.append((path, content))
        if not there:
            raise NotNow
        path, content = (right or there)[0]
        if not right:
            self.refused_start("no image holds the present state")
            guest.candidates = [{**guest.candidates[-1], vdev: content}]
        done = world.xl("snapshot-repair", "--keep-image", path, guest.uuid)
        if "is kept, as you said" not in done.out:
            raise Failed(f"{path} is not kept: {done.said}")
        world.count("--keep-image", "right" if right else "any")

    def follow_hints(self):
        """The config names images that are gone: what a repair says to name
        there is what the disks are, or, when no record is left, what the
        deletion said."""
        world, guest = self.world, self.guest
        said = world.xl("snapshot-repair", "--config", guest.config,
                        guest.name).out
        disks = dict(guest.disks)
        for vdev, (path, _) in guest.disks.items():
            hint = re.search(rf"{vdev}: \S+ names {re.escape(path)}, which is "
                             r"not there; the disk is (\S+) \(format (\S+)\)",
                             said)
            if hint and path not in world.away:
                disks[vdev] = hint[1], hint[2]
            while disks[vdev][0] in self.told and \
                    not os.path.exists(disks[vdev][0]):
                disks[vdev] = self.told[disks[vdev][0]]
        if disks == guest.disks:
            return None
        write_config(world, guest, disks)
        return self.gate()

    def start(self):
        """The guest starts as xl create says, which must be on its present
        state; returns its disks."""
        world, guest = self.world, self.guest
        disks = self.gate()
        if disks is None:
            # what the refusal may be about
            if os.path.exists(f"{world.small}/state/{guest.uuid}"):
                self.xl_repair()
                self.look()
            disks = self.gate()
        if disks is None:
            disks = self.choose()
        if disks and not all(os.path.exists(p) for p, _ in disks.values()):
            disks = self.follow_hints() or disks
        if disks is None:
            self.refused_start()
            raise NotNow
        found = {}
        for vdev, (path, kind) in disks.items():
            if not os.path.exists(path):
                self.refused_start(f"{path} is not there")
                raise NotNow
            try:
                found[vdev] = oracle.content_of(world, path, kind)
            except qcow2.Unreadable as e:
                self.refused_start(str(e))
                raise NotNow from e
        Oracle(world, guest, self.rng).settle(found, disks, False)
        return disks

    def refused_start(self, why=None):
        if not self.world.may_refuse:
            raise Failed("the guest cannot be started: "
                         + (why or self.refusal))

    def run_guest(self):
        """It writes; offline, it is started for that and stopped."""
        world, guest = self.world, self.guest
        if world.qemu and world.running is not guest:
            raise NotNow
        disks = world.served() if world.qemu else self.start()
        if len(guest.candidates) > 1:
            raise NotNow
        world.count("guest", "writes")
        world.guest_writes(guest, disks, self.rng)

    def power(self):
        """QEMU starts or ends."""
        world = self.world
        if not world.live:
            raise NotNow
        if world.qemu:
            world.stop_qemu(kill=self.rng.random() < 0.5)
            world.count("QEMU", "ends")
        else:
            disks = self.start()
            try:
                world.start_qemu(self.guest, disks)
            except Locked as e:
                raise NotNow from e
            world.count("QEMU", "starts")

    def edit_config(self):
        """As docs/snapshot.md says: the images that the list names"""
        world, guest = self.world, self.guest
        self.settled()
        record = oracle.listed(world, guest)
        if record is None:
            raise NotNow
        disks = {v: oracle.where_present(world, guest, record)[v]
                 for v in guest.original}
        write_config(world, guest, disks)

    def old_config(self):
        """The config as it was at first"""
        if self.guest.swapped and self.world.away:
            raise NotNow            # as swap_disks: nobody could look
        self.settled()
        write_config(self.world, self.guest, self.guest.original)



def write_config(world, guest, disks):
    guest.disks = dict(disks)
    specs = ", ".join(f'"format={kind},vdev={vdev},access=rw,target={path}"'
                      for vdev, (path, kind) in disks.items())
    text = f'name = "{guest.name}"\nuuid = "{guest.uuid}"\n' \
           f'type = "pvh"\nmemory = 64\ndisk = [ {specs} ]\n'
    with open(guest.config, "w", encoding="utf-8") as file:
        file.write(text)
    world.note(f"cat > {guest.config} <<'END'\n{text}END")
