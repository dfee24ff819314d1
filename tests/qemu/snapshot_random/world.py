# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directories of one run, the programs that are run in them, and QEMU.

All that is done is noted as lines of a shell script, which a failing run
prints.
"""

import itertools
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import qcow2

LIMIT = 120                     # seconds that no program needs
IMAGES_SIZE = 48 << 20          # of the file systems, where they can be made
STATE_SIZE = 256 << 10


class Failed(Exception):
    """The library lost something, or said what is not so."""


class Locked(Exception):
    """QEMU does not start, because another program has locked an image."""


class Done:
    """How a program ended"""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    @property
    def said(self):
        return (self.err.strip() or self.out.strip())[-600:]

    @property
    def first_line(self):
        return (self.err.strip() or self.out.strip()).partition("\n")[0]


def can_mount():
    """The main program has put us into a mount namespace of our own."""
    return os.environ.get("XLX_OWN_MOUNTS") == "yes"


class World:
    def __init__(self, seed, live):
        self.seed, self.live = seed, live
        self.build = os.environ["top_builddir"]
        self.source = os.environ["top_srcdir"]
        where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.top = tempfile.mkdtemp(prefix="libxlx-random-", dir=where)
        self.img, self.small = self.top + "/img", self.top + "/small"
        self.script = []
        self.counts = {}            # (move, how it ended) -> number
        self.processes = []
        self.guests, self.clones = [], []
        self.away = {}              # path -> where another tool moved it to
        self.byte = 0
        self.names = itertools.count(1)
        self.qemu = self.monitor = self.running = None
        self.exports = 0
        self.interfered = False     # somebody changed what our record says
        self.disturbed = set()      # what keeps commands from working now
        self.make_directories()
        self.env = dict(
            os.environ, LIBXLX_STATE_DIR=self.small + "/state",
            LIBXLX_RUN_DIR=self.top + "/run", LC_ALL="C",
            LIBXLX_EXEC_DIR=self.build + "/xl-plugins",
            LIBXLX_XL=self.top + "/stock-xl",
            LD_LIBRARY_PATH=self.build + "/lib/.libs")
        for name in ("LIBXLX_FAULT", "LIBXLX_XL_OPTS", "LIBXLX_DEBUG"):
            self.env.pop(name, None)

    def make_directories(self):
        for path in (self.img, self.small):
            os.mkdir(path)
            if can_mount():
                size = IMAGES_SIZE if path == self.img else STATE_SIZE
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}",
                                "none", path], check=True)
        for path in (self.img + "/a", self.img + "/b", self.img + "/c",
                     self.top + "/far", self.top + "/run"):
            os.mkdir(path)
        # it is reached when xl-guard lets a start pass
        with open(self.top + "/stock-xl", "w", encoding="utf-8") as stock:
            stock.write("#!/bin/sh\necho LET-THROUGH\n")
        os.chmod(self.top + "/stock-xl", 0o755)

    def close(self):
        self.stop_qemu(kill=True)
        for process in self.processes:
            process.kill()
            process.wait()
        for path in (self.img, self.small):
            if can_mount():
                subprocess.run(["umount", "-l", path], check=False)
        shutil.rmtree(self.top, ignore_errors=True)

    @property
    def may_refuse(self):
        """A command of ours has a reason to."""
        return self.interfered or bool(self.disturbed)

    # ---- the script of what was done ------------------------------------

    def note(self, line):
        self.script.append(line)

    def reproducer(self):
        head = [
            "#!/bin/bash",
            f"# {self.seed}; run by: ./run bash SCRIPT, in the build tree",
            "T=$(mktemp -d)",
            "mkdir -p $T/{img/{a,b,c},small,far,run}",
            "printf '#!/bin/sh\\necho LET-THROUGH\\n' > $T/stock-xl",
            "chmod +x $T/stock-xl",
            "export LIBXLX_STATE_DIR=$T/small/state LIBXLX_RUN_DIR=$T/run",
            "export LIBXLX_XL=$T/stock-xl",
            "qmp() { python3 \"$top_srcdir/tests/xen-host/qmp\" $T/qmp2 "
            "\"$@\"; }",
        ]
        return "\n".join(head + self.script).replace(self.top, "$T")

    def count(self, move, how):
        self.counts[move, how] = self.counts.get((move, how), 0) + 1

    # ---- programs ---------------------------------------------------------

    def run(self, argv, env=None, kill_after=None, alongside=None, note=None):
        """Runs it to its end.  kill_after: seconds after which it is killed;
        alongside: called while it runs."""
        shown = note or shlex.join(argv)
        for name, value in (env or {}).items():
            shown = f"{name}={shlex.quote(value)} {shown}"
        with subprocess.Popen(argv, env={**self.env, **(env or {})},
                              stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, errors="replace",
                              start_new_session=True,
                              stderr=subprocess.PIPE) as process:
            try:
                if alongside:
                    alongside()
                if kill_after is not None:
                    time.sleep(kill_after)
                    process.send_signal(signal.SIGKILL)
                out, err = process.communicate(timeout=LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                self.note(shown + "    # hangs")
                raise Failed(f"{shown}: takes over {LIMIT} s") from None
        if process.returncode < 0:
            self.wait_children(process.pid)
        done = Done(process.returncode, out, err)
        how = f"killed after {kill_after:.3f} s" if kill_after else "exit"
        said = "" if "--json" in argv else done.first_line
        self.note(f"{shown}    # {how}: {done.status}"
                  f"{': ' + said if said else ''}")
        return done

    @staticmethod
    def wait_children(group):
        """A qemu-img goes on when the command that started it is killed."""
        try:
            for _ in range(500):
                os.killpg(group, 0)
                time.sleep(0.01)
        except ProcessLookupError:
            pass

    def tool(self, *argv, note=None):
        """A program that is not ours and has to succeed"""
        done = self.run(list(argv), note=note)
        if done.status:
            raise RuntimeError(f"{shlex.join(argv)}: {done.said}")
        return done.out

    def xl(self, *args, env=None, kill_after=None, alongside=None):
        """A command of ours.  No way to end is right but 0, 1 and the kill
        that was asked for."""
        program = self.build + "/xl-plugins/xl"
        done = self.run([program, *args], env, kill_after, alongside,
                        note=shlex.join(["xl", *args]))
        for sign in ("Sanitizer", "runtime error:", "Assertion"):
            if sign in done.err:
                raise Failed(f"{args[0]} crashed: {done.err[:4000]}")
        killed = kill_after is not None or "LIBXLX_FAULT" in (env or {})
        if done.status not in (0, 1) and not (killed and
                                              done.status == -9):
            raise Failed(f"{args[0]}: status {done.status}: {done.said}")
        if done.status == 1 and not done.err.strip() and \
                "snapshot-repair" not in args:      # which found something
            raise Failed(f"{args[0]}: fails without a word: {done.out}")
        return done

    def hold(self, path, kind, writable):
        """Another program that has an image open, and locked"""
        argv = ["qemu-io", "-f", kind] + ([] if writable else ["-r"]) + [path]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True,
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        try:
            process.stdin.write("length\n")
            process.stdin.flush()
            held = "MiB" in process.stdout.readline()
        except BrokenPipeError:     # it was refused, and has ended
            held = False
        if not held:
            process.kill()
            process.wait()
            return None
        self.processes.append(process)
        self.note(f"{{ sleep 1000 | {shlex.join(argv)}; }} &")
        return process

    def let_go(self, process):
        self.note(f"kill $!    # {shlex.join(process.args)}")
        process.stdin.close()
        process.kill()
        process.wait()
        self.processes.remove(process)

    # ---- file systems that are full ----------------------------------------

    def fill(self, path):
        """Leaves no room there.  None where that is not possible."""
        if not can_mount():
            return None
        self.note(f"cat /dev/zero > {path}/fill    # it is a small tmpfs")
        with open(path + "/fill", "wb", buffering=0) as file:
            for size in (65536, 4096):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    pass
        return path + "/fill"

    def empty(self, filler):
        self.note(f"rm {filler}")
        os.unlink(filler)

    # ---- what there is ------------------------------------------------------

    def files(self):
        found = {}
        for top in (self.img, self.small, self.top + "/far"):
            for where, _, names in os.walk(top):
                for name in names:
                    path = os.path.join(where, name)
                    if name == "fill":
                        continue
                    st = os.lstat(path)
                    found[path] = (st.st_ino, st.st_size, st.st_mtime_ns)
                    if top == self.small:
                        with open(path, "rb") as file:
                            found[path] = file.read()
        return found

    def graph(self):
        if not self.qemu:
            return []
        nodes = self.qmp("query-named-block-nodes", flat=True)
        return sorted((n.get("node-name", "").split("block")[0], n["drv"],
                       n["file"], n["ro"]) for n in nodes)

    def everything(self):
        self.flush()
        return self.files(), self.graph()

    def images(self):
        """All files that are images, in a fixed order"""
        return sorted(p for p in self.files() if p.startswith(self.img))

    # ---- QEMU ----------------------------------------------------------------

    def start_qemu(self, guest, disks):
        """disks: vdev -> (path, format), opened as Xen's QEMU does"""
        argv = ["qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "16",
                "-S", "-display", "none", "-nodefaults", "-name", guest.name,
                "-uuid", guest.uuid]
        for n in ("", "2"):
            argv += ["-qmp", f"unix:{self.top}/qmp{n},server=on,wait=off"]
        for vdev, (path, kind) in disks.items():
            argv += ["-object", f"iothread,id=io-{vdev}", "-blockdev",
                     f"node-name={vdev}-{kind},driver={kind},"
                     f"file.driver=file,file.filename={path},"
                     "file.locking=off", "-device",
                     f"virtio-blk-pci,id={vdev},drive={vdev}-{kind},"
                     f"iothread=io-{vdev}"]
        self.note(shlex.join(argv) + " & sleep 1")
        self.qemu_out = open(self.top + "/qemu.out", "a+", encoding="utf-8")
        self.qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                                     stdout=self.qemu_out,
                                     stderr=subprocess.STDOUT)
        self.running, self.exports = guest, 0
        for _ in range(600):
            try:
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(60)
                sock.connect(self.top + "/qmp2")
                break
            except OSError:
                sock.close()
                if self.qemu.poll() is not None:
                    break
                time.sleep(0.02)
        else:
            raise RuntimeError("QEMU made no socket")
        if self.qemu.poll() is not None:
            self.qemu_out.seek(0)
            said = self.qemu_out.read()[-500:]
            self.qemu_out.close()
            self.qemu = self.running = None
            if "lock" in said and "lock" in self.disturbed:
                raise Locked(said)
            raise RuntimeError(f"QEMU does not start: {said}")
        self.monitor = sock.makefile("rw")
        self.monitor.readline()
        self.qmp("qmp_capabilities")

    def ask(self, command, **arguments):
        """What QEMU answers, which may be an error"""
        arguments = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.monitor.write(json.dumps({"execute": command,
                                       "arguments": arguments}) + "\n")
        self.monitor.flush()
        for line in self.monitor:
            reply = json.loads(line)
            if "event" not in reply:
                break
        else:
            raise Failed(f"QEMU died of {command}")
        if not command.startswith("query") and command != "qmp_capabilities":
            self.note(f"qmp {command} {shlex.quote(json.dumps(arguments))}"
                      + ("" if "return" in reply else
                         f"    # {reply['error']['desc']}"))
        return reply

    def qmp(self, command, **arguments):
        reply = self.ask(command, **arguments)
        if "error" in reply:
            raise RuntimeError(f"{command}: {reply['error']['desc']}")
        return reply["return"]

    def io(self, vdev, what):
        said = self.qmp("human-monitor-command", command_line="qemu-io -d "
                        f"/machine/peripheral/{vdev}/virtio-backend "
                        f"\"{what}\"")
        if said:
            raise Failed(f"the guest cannot {what} {vdev}: {said}")

    def flush(self):
        if self.qemu:
            noted = len(self.script)
            for vdev in self.served():
                self.io(vdev, "flush")
            del self.script[noted:]

    def served(self):
        """vdev -> (path, format), as QEMU has it"""
        found = {}
        for device in self.qmp("query-block"):
            inserted, qdev = device.get("inserted"), device.get("qdev", "")
            if inserted and "/peripheral/" in qdev:
                image = inserted["image"]
                found[qdev.split("/")[3]] = (image["filename"],
                                             image["format"])
        return found

    def node_of(self, vdev):
        for device in self.qmp("query-block"):
            if f"/peripheral/{vdev}/" in device.get("qdev", ""):
                return device["inserted"]["node-name"]
        return None

    def stop_qemu(self, kill=False):
        if not self.qemu:
            return
        if kill:
            self.note("kill -9 $(pgrep -f \"$T/qmp2,\")")
            self.qemu.kill()
        else:
            self.qmp("quit")
        self.qemu.wait()
        self.monitor.close()
        self.qemu_out.close()
        self.qemu = self.monitor = self.running = None

    # ---- what the guest does ---------------------------------------------

    def next_byte(self):
        self.byte = self.byte % 255 + 1
        return self.byte

    def guest_writes(self, guest, disks, rng: random.Random):
        """disks: vdev -> (path, format) that it runs on; QEMU's when there is
        one"""
        for vdev, (path, kind) in disks.items():
            if guest.present[vdev] is None or rng.random() < 0.2:
                continue
            blocks = len(guest.present[vdev])
            first = rng.randrange(blocks)
            count = min(rng.randint(1, 6), blocks - first)
            byte = self.next_byte()
            what = f"write -P {byte} {first * qcow2.BLOCK} " \
                   f"{count * qcow2.BLOCK}"
            if self.qemu:
                self.io(vdev, what)
                self.io(vdev, "flush")
            else:
                done = self.run(["qemu-io", "-f", kind, "-c", what, path])
                if done.status and "lock" in done.err and self.disturbed:
                    return
                if done.status or "failed" in done.out:
                    raise RuntimeError(f"{path}: {done.said}")
            guest.written(vdev, first, count, byte)
            for clone in self.clones:
                if path in qcow2.chain(clone.path, "qcow2"):
                    clone.content = None
        if guest.swapped:
            # which of them is which cannot be told when they hold the same
            guest.candidates = [{v: qcow2.read(*d)
                                 for v, d in disks.items()}]
