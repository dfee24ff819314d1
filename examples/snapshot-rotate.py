#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes one more snapshot of a guest and deletes the oldest of its own, so
that KEEP remain.  For a timer:

    snapshot-rotate.py web 7
"""

import sys
import time

import libxlx

PREFIX = "rotate-"


def rotate(who, keep):
    ctx = libxlx.Context()
    guest = ctx.guest_find(who)
    # In UTC and down to the second: names sort by time.
    name = time.strftime(PREFIX + "%Y%m%d-%H%M%S", time.gmtime())
    made = ctx.snapshot_create(guest, libxlx.SnapshotSpec(name=name))
    print(f"made {made.name} ({made.kind.value}: {made.why})")

    mine = [s.name for s in ctx.snapshot_list(guest).snapshots
            if s.name.startswith(PREFIX)
            and s.status is not libxlx.SnapshotStatus.FOREIGN]
    for old in sorted(mine)[:-keep]:
        ctx.snapshot_delete(guest, libxlx.SnapshotDeleteSpec(name=old))
        print(f"deleted {old}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or not sys.argv[2].isdigit() or sys.argv[2] == "0":
        sys.exit(f"usage: {sys.argv[0]} DOMAIN KEEP")
    try:
        rotate(sys.argv[1], int(sys.argv[2]))
    except libxlx.XlxError as e:
        sys.exit(f"{sys.argv[0]}: {e}")
