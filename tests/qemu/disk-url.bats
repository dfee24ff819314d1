#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # status, output are set by bats' run
#
# What xl-plugins/guard-disk.c knows about QEMU: an image that -drive opens by
# a URL is no file to the block nodes that xen-block makes (xen-block itself
# needs Xen; these are its nodes, in its words).

bats_require_minimum_version 1.5.0

setup() {
    : "${top_builddir:?is not set: run by make check}"
    local program
    for program in qemu-system-x86_64 qemu-nbd qemu-img; do
        command -v $program > /dev/null || skip "there is no $program"
    done
    tmp=$BATS_TEST_TMPDIR
    url=nbd:unix:$tmp/nbd
    qemu-img create -q -f raw "$tmp/disk.img" 1M
    qemu-nbd -t -f raw -k "$tmp/nbd" "$tmp/disk.img" 3>&- &
    nbd=$!
    appears "$tmp/nbd"
    # what libxl gives QEMU for an emulated disk
    qemu-system-x86_64 -S -accel tcg -nodefaults -display none -m 64 \
        -drive "file=$url,if=none,id=ide,format=raw" \
        -qmp "unix:$tmp/qmp,server=on,wait=off" \
        > "$tmp/qemu.log" 2>&1 3>&- &
    qemu=$!
    appears "$tmp/qmp" || { cat "$tmp/qemu.log"; return 1; }
}

teardown() {
    [ -z "${qemu:-}" ] || kill "$qemu"
    [ -z "${nbd:-}" ] || kill "$nbd"
}

appears() {
    for _ in {1..300}; do
        [ ! -S "$1" ] || return 0
        sleep 0.1
    done
    echo "no socket $1 in 30 s"
    return 1
}

qmp() { "$top_builddir/tests/qemu/qmp-ask" "$tmp/qmp" "$@"; }

# the nodes that xen_block_drive_create() makes of params: xen_block PARAMS
xen_block() {
    qmp blockdev-add "{\"node-name\": \"xvda-raw\",
        \"driver\": \"${1%%:*}\", \"file\": {\"driver\": \"file\",
        \"filename\": \"${1#*:}\", \"locking\": \"off\"}}"
}

@test "a URL is a disk to -drive, and no file to what xen-block makes" {
    qmp query-named-block-nodes > "$tmp/nodes"
    cat "$tmp/nodes"
    grep -q nbd "$tmp/nodes"
    run xen_block "raw:$url"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"Could not open"*"No such file or directory"* ]]
    # and the name of a file with the scheme is none either
    run xen_block "raw:file:$tmp/disk.img"
    echo "$output"
    [ "$status" = 1 ]
    xen_block "raw:$tmp/disk.img"
}
