#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
#
# Deletions past the nodes of other tools, other branches and sizes.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

size_of() { qemu-img info -U --output json "$1" | jq '."virtual-size"'; }

@test "a layer in the middle is merged while another branch lies on it" {
    local branch
    disks 1
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    make_snapshot two --kind external
    next_state
    stop_qemu
    xl snapshot-revert "$uuid" two
    branch=$(list | jq -r '.snapshots[].name | select(startswith("left-"))')
    keep "$branch"
    cp "$refs/two@xvda.raw" "$refs/xvda.raw"
    start_recorded
    next_state
    xl snapshot-delete "$guest" one
    [ ! -e "$images/xvda.one.qcow2" ]
    all_is_right
    stop_qemu
    xl snapshot-revert "$uuid" "$branch"
    cp "$refs/$branch@xvda.raw" "$refs/xvda.raw"
    present_is_right
}

@test "another monitor's node on a lower image of the second disk" {
    local lower
    disks 2
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    make_snapshot two --kind external
    next_state
    for lower in xvdb.qcow2 xvdb.one.qcow2; do
        qmp blockdev-add "{\"driver\": \"qcow2\", \"node-name\": \"second\",
            \"read-only\": true, \"file\": {\"driver\": \"file\",
            \"filename\": \"$images/$lower\", \"locking\": \"off\"}}"
        refuses 1 '*xvdb*qcow2: another tool has opened*--force-open*' \
            xl snapshot-delete "$guest" one
        qmp blockdev-del '{"node-name": "second"}'
    done
    qmp blockdev-add "{\"driver\": \"qcow2\", \"node-name\": \"second\",
        \"read-only\": true, \"file\": {\"driver\": \"file\",
        \"filename\": \"$images/xvdb.qcow2\", \"locking\": \"off\"}}"
    xl snapshot-delete --force-open "$guest" one
    qmp blockdev-del '{"node-name": "second"}'
    xl snapshot-delete "$guest" two
    all_is_right
}

@test "a disk that became smaller stays so when layers are merged" {
    local kind layer
    for kind in qcow2 raw; do
        rm -rf "$images" "$refs" "$tmp/state"
        mkdir "$images" "$refs"
        vdevs=()
        disk xvda $kind 8M
        start_qemu
        guest_write xvda 1048576 65536 1
        guest_write xvda 7340032 65536 2
        make_snapshot one --kind external
        guest_write xvda 2097152 65536 3
        make_snapshot two --kind external
        stop_qemu
        for layer in one two; do
            qemu-img resize -q --shrink "$images/xvda.$layer.qcow2" 4M
        done
        truncate -s 4M "$refs/xvda.raw"
        cp "$refs/xvda.raw" "$refs/two@xvda.raw"
        start_recorded
        refuses 1 '*xvda: *would make its disk larger*shut the guest down*' \
            xl snapshot-delete "$guest" one
        stop_qemu
        xl snapshot-delete --force-written "$uuid" one
        [ "$(size_of "$images/xvda.$kind")" = 4194304 ]
        present_is_right
        xl snapshot-delete --force-written "$uuid" two
        [ "$(size_of "$images/xvda.$kind")" = 4194304 ]
        present_is_right
        nothing_left_over
    done
}
