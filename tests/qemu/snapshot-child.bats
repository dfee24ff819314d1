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

@test "a failed commit is a failure also when our parent ignores SIGCHLD" {
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

# qemu-img that does SHELL before it makes an image: before_making SHELL
before_making() {
    local real
    real=$(command -v qemu-img)
    mkdir -p "$tmp/bin"
    cat > "$tmp/bin/qemu-img" <<EOF2
#!/bin/bash
if [ "\$1" = create ]; then $1; fi
exec $real "\$@"
EOF2
    chmod +x "$tmp/bin/qemu-img"
    PATH=$tmp/bin:$PATH
}

@test "the overlays of several disks are made at once" {
    disks 3
    start_qemu
    # each waits for the others
    before_making ": > $tmp/made.\$\$
        for ((i = 0; i < 500; i++)); do
            seen=($tmp/made.*)
            [ \${#seen[@]} -lt 3 ] || break
            sleep 0.02
        done
        [ \$i != 500 ] || { echo 'it is alone' >&2; exit 1; }"
    make_snapshot one --kind external
    PATH=${PATH#*:}
    all_is_right
}

@test "one of several overlays cannot be made: none is left" {
    disks 3
    start_qemu
    before_making '[[ $* != *xvdb.qcow2* ]] ||
        { echo "qemu-img: no more" >&2; exit 1; }'
    run -1 xl snapshot-create "$guest" one --kind external
    [[ $output = *"xvdb: $images/xvdb.one.qcow2: qemu-img create: no more" ]]
    PATH=${PATH#*:}
    [ "$(ls "$images")" = $'xvda.qcow2\nxvdb.qcow2\nxvdc.qcow2' ]
    nothing_left_over
}

@test "a qemu-img that outlives us makes no file when all was undone" {
    disks 2
    start_qemu
    before_making "until [ -e $tmp/go ]; do sleep 0.02; done
        PATH=\${PATH#*:} qemu-img \"\$@\"; : > $tmp/over.\$\$; exit"
    LIBXLX_FAULT=snapshot-create.making \
        run xl snapshot-create "$guest" one --kind external
    [ "$status" = 137 ] || skip "built without --enable-fault-points"
    PATH=${PATH#*:}
    xl snapshot-repair "$guest"
    [ "$(ls "$images")" = $'xvda.qcow2\nxvdb.qcow2' ]
    : > "$tmp/go"
    until [ "$(find "$tmp" -name 'over.*' | wc -l)" = 2 ]; do sleep 0.02; done
    [ "$(ls "$images")" = $'xvda.qcow2\nxvdb.qcow2' ]
    next_state
    make_snapshot one --kind external
    all_is_right
}

# qemu-img says that it has merged, and is not right: lies SHELL, for commit
lies() {
    mkdir -p "$tmp/bin"
    cat > "$tmp/bin/qemu-img" <<EOF2
#!/bin/bash
real=$(command -v qemu-img)
if [ "\$1" = commit ]; then $1; fi
exec \$real "\$@"
EOF2
    chmod +x "$tmp/bin/qemu-img"
    PATH=$tmp/bin:$PATH
}

# lied_to LIE [FORMAT]: the newest layer is merged by a qemu-img that lies
lied_to() {
    disk xvda "${2:-qcow2}"
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    io xvda 'write -z 32M 1M' flush
    stop_qemu
    lies "$1"
    run -1 xl snapshot-delete "$uuid" one
    echo "$output"
    [[ $output = *'xvda.one.qcow2: '*'is not in the image below: nothing is '* ]]
    [ -e "$images/xvda.one.qcow2" ]
    PATH=${PATH#*:}
    present_is_right
    xl snapshot-delete "$uuid" one
    [ ! -e "$images/xvda.one.qcow2" ]
    present_is_right
}

@test "a merge that did nothing, and said that it did" {
    lied_to 'exit 0'
}

@test "a merge into a raw disk that did nothing, and said that it did" {
    lied_to 'exit 0' raw
}

@test "a merge of which a byte did not reach the image below" {
    lied_to "\$real \"\$@\" && qemu-io -f qcow2 -c 'write -P 99 2M 512' `
        `$images/xvda.qcow2 > /dev/null; exit"
}
