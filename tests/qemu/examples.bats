#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # status, output are set by bats' run
#
# The programs of examples/, on a QEMU without Xen: what they print is what
# qemu-img finds in the image.

bats_require_minimum_version 1.5.0

setup() {
    : "${top_builddir:?is not set: run by make check}" "${top_srcdir:?}"
    local program
    for program in qemu-system-x86_64 qemu-img python3; do
        command -v $program > /dev/null || skip "there is no $program"
    done
    tmp=$BATS_TEST_TMPDIR
    image=$tmp/disk.qcow2
    export LIBXLX_STATE_DIR=$tmp/state LIBXLX_RUN_DIR=$tmp/run
    qemu-img create -q -f qcow2 "$image" 64M
    qemu-system-x86_64 -S -accel tcg -nodefaults -display none -m 64 \
        -name web -uuid 5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10 \
        -drive "file=$image,format=qcow2,if=none,id=xvda" \
        -device virtio-blk-pci,drive=xvda \
        -qmp "unix:$tmp/qmp,server=on,wait=off" \
        > "$tmp/qemu.log" 2>&1 3>&- &
    qemu=$!
    for _ in {1..300}; do
        [ ! -S "$tmp/qmp" ] || return 0
        kill -0 $qemu || { cat "$tmp/qemu.log"; return 1; }
        sleep 0.1
    done
    echo "QEMU made no socket in 30 s"
    return 1
}

teardown() {
    [ -z "${qemu:-}" ] || kill "$qemu"
}

tags() {
    qemu-img snapshot -U -l "$image" | awk '$1 ~ /^[0-9]+$/ { print $2 }'
}

@test "snapshot-create and snapshot-list agree with the image" {
    run -0 "$top_builddir/examples/snapshot-list"
    [ "$output" = "" ]
    # no agent: said on stderr, and done without
    run -0 --separate-stderr \
        "$top_builddir/examples/snapshot-create" "qmp:$tmp/qmp" one
    [ "$output" = "one: internal
  xvda: $image" ]
    [[ $stderr == "not quiesced: "* ]]
    [ "$(tags)" = one ]
    run -0 "$top_builddir/examples/snapshot-list"
    [ "$output" = "web	one	internal	ready" ]
}

@test "disk-move: the guest goes on in the new file" {
    run -0 --separate-stderr \
        "$top_builddir/examples/disk-move" "qmp:$tmp/qmp" xvda "$tmp/new"
    [ "$output" = "xvda: from $image to $tmp/new" ]
    qemu-img compare -U "$image" "$tmp/new"
    run -1 --separate-stderr \
        "$top_builddir/examples/disk-move" "qmp:$tmp/qmp" xvda "$tmp/new"
    [[ $stderr == *'is there already'* ]]
}

@test "snapshot-create fails with the library's message" {
    run -0 "$top_builddir/examples/snapshot-create" "qmp:$tmp/qmp" one
    run -1 --separate-stderr \
        "$top_builddir/examples/snapshot-create" "qmp:$tmp/qmp" one
    [[ $stderr == *': the guest already has a snapshot "one"' ]]
    run -2 "$top_builddir/examples/snapshot-create"
    [[ $output == usage:* ]]
}

@test "snapshot-rotate.py keeps the number that it is given, and all of others" {
    [ "${SANITIZERS:-no}" != yes ] ||
        skip "python3 itself is not built with sanitizers"
    run -0 "$top_builddir/examples/snapshot-create" "qmp:$tmp/qmp" mine
    for _ in 1 2 3; do
        run -0 "$top_builddir/run" python3 -B \
            "$top_srcdir/examples/snapshot-rotate.py" "qmp:$tmp/qmp" 2
        sleep 1.1                   # names are of one second
    done
    [[ ${lines[1]} == "deleted rotate-"* ]]
    [ "$(tags | grep -c '^rotate-')" = 2 ]
    tags | grep -qx mine
}
