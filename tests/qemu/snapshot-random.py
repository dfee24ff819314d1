#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random moves on snapshots, and after each whether anything is lost.

A guest with two disks, shut down (offline) or in a real QEMU (live).  Moves
are our commands, killed at any step, full file systems, starts of the guest
from its config, and what other tools do to the same images; see
snapshot_random/.

  SEED=offline-1      repeats a run; default: the same few runs each time
  XLX_RUNS=N          N runs offline and a fifth of that live, new seeds, printed
  XLX_SKIP=3,5        leaves out these moves
  XLX_SHRINK=1        looks for moves that a failing run can do without
  XLX_FEATURES=a,b    switches moves on besides those that pass; all: all
"""

import collections
import os
import random
import re
import shutil
import subprocess
import sys
import traceback

from snapshot_random import foreign
from snapshot_random.run import Run
from snapshot_random.world import Failed

# Moves of others, and kinds of kills and names, that the library copes with:
# all, until a new one waits for its mend.
PASSING = ("numbers", "recorded", "spelling", "clone", "clone_elsewhere",
           "clone_present", "commit", "rebase", "respell",
           "write_frozen", "tags", "copy_back", "lock", "unlock",
           "rename_guest", "export", "stale-config", "move_image",
           "move_back", "copy_guest", "their_cancel", "their_commit",
           "second_node", "resize", "swap_disks")
FEATURES = (*foreign.MOVES, "numbers", "recorded", "spelling", "stale-config")


def own_mounts():
    """Starts again in a mount namespace, for file systems that are full."""
    if "XLX_OWN_MOUNTS" in os.environ:
        return
    possible = os.geteuid() == 0 and shutil.which("unshare") and \
        subprocess.run(["unshare", "-m", "sh", "-c",
                        "mount -t tmpfs none /mnt"],
                       stderr=subprocess.DEVNULL, check=False).returncode == 0
    os.environ["XLX_OWN_MOUNTS"] = "yes" if possible else "no"
    if possible:
        os.execvp("unshare", ["unshare", "-m", sys.executable, "-B",
                              *sys.argv])
    print("# no file system can be mounted: none is filled up")


def play(seed, features, skip, counts):
    """None, or the Failed and its run"""
    run = Run(seed, features, skip)
    try:
        run.play()
    except Failed as e:
        return e, run
    except Exception as e:
        traceback.print_exc()
        return RuntimeError(f"the test itself: {e}"), run
    finally:
        run.world.close()
        counts.update(run.world.counts)
    return None


def kind_of(failed):
    """What stays the same when a move is left out"""
    text = re.sub(r"/\S+|[0-9a-f]{8,}|\d+|s\d+|xvd.", "", str(failed))
    return text[:60]


def shrink(seed, features, skip, failed, run):
    """Leaves out every move that the failure does not need."""
    wanted = kind_of(failed)
    for number in reversed(range(run.length)):
        if number in skip or number == run.move:
            continue
        result = play(seed, features, {*skip, number}, collections.Counter())
        if result and kind_of(result[0]) == wanted:
            skip = {*skip, number}
            failed, run = result
    return skip, failed, run


def report(seed, skip, failed, run):
    again = f"SEED={seed}"
    if skip:
        again += " XLX_SKIP=" + ",".join(map(str, sorted(skip)))
    print(f"# {again} fails at move {run.move}: {failed}")
    for line in run.world.reproducer().splitlines():
        print("#   " + line)


def seeds():
    """Always the same ones, so that a build that was good stays good; what is
    new is looked for when XLX_RUNS asks for it."""
    if "SEED" in os.environ:
        return os.environ["SEED"].split(",")
    runs = int(os.environ.get("XLX_RUNS", "0"))
    if not runs:
        offline, live = (100, 20) if os.environ.get("SLOW") else (12, 2)
        return [f"offline-{i + 1}" for i in range(offline)] + \
               [f"live-{i + 1}" for i in range(live)]
    first = random.SystemRandom().randrange(1000000)
    return [f"offline-{first + i}" for i in range(runs)] + \
           [f"live-{first + i}" for i in range(runs // 5)]


def main():
    for program in ("qemu-system-x86_64", "qemu-img", "qemu-io"):
        if not shutil.which(program):
            print(f"1..0 # SKIP no {program}")
            return 0
    own_mounts()
    features = set(PASSING)
    wanted = os.environ.get("XLX_FEATURES", "")
    features |= set(FEATURES if wanted == "all" else
                    filter(None, wanted.split(",")))
    features -= {f[1:] for f in wanted.split(",") if f.startswith("-")}
    skip = {int(n) for n in os.environ.get("XLX_SKIP", "").split(",") if n}
    todo = seeds()
    counts, failures = collections.Counter(), 0
    print(f"1..{len(todo)}", flush=True)
    for number, seed in enumerate(todo, 1):
        result = play(seed, features, skip, counts)
        if result:
            failures += 1
            left_out = skip
            if os.environ.get("XLX_SHRINK"):
                left_out, *result = shrink(seed, features, skip, *result)
            report(seed, left_out, *result)
        print(f"{'not ' if result else ''}ok {number} - SEED={seed}",
              flush=True)
    for (move, how), times in sorted(counts.items()):
        print(f"# {move}: {how}: {times}")
    return 1 if failures else 0


sys.exit(main())
