#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# bats file_tags=snapshot
#
# qemu-img as a child: a failure counts as one whatever our parent made of
# SIGCHLD, and nothing is removed on the word of a program that failed.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

# fail_at COMMAND STATUS: qemu-img fails there, after it did its work
fail_at() {
    local real
    real=$(command -v qemu-img)
    mkdir -p "$tmp/bin"
    cat > "$tmp/bin/qemu-img" <<EOF2
#!/bin/sh
[ "\$1" != "$1" ] || { echo "qemu-img: the disk is on fire" >&2; exit $2; }
exec $real "\$@"
EOF2
    chmod +x "$tmp/bin/qemu-img"
    PATH=$tmp/bin:$PATH
}

ignoring() { perl -e '$SIG{CHLD} = "IGNORE"; exec @ARGV' -- "$@"; }

@test "a failed commit is one with SIGCHLD ignored by our parent, too" {
    disk xvda
    start_qemu
    make_snapshot one --kind external
    next_state
    make_snapshot two --kind external
    next_state
    stop_qemu
    fail_at commit 1
    run -1 ignoring "$top_builddir/xl-plugins/xl-snapshot" snapshot-delete \
        "$uuid" two
    [[ $output = *'the disk is on fire'* ]]
    [[ $output != *Deleted* ]]
    PATH=${PATH#*:}
    snapshots_are_right
    present_is_right
}
