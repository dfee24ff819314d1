#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
# shellcheck disable=SC2016  # conditions for "within"
#
# The image of a running guest's disk goes into the one below it.

load snapshot

setup() {
    snapshot_setup
    record=$tmp/state/$uuid/disk-jobs.json
    base=$images/xvda.qcow2 top=$images/top.qcow2
}
teardown() { snapshot_teardown; }

mirror() { "$plugins/xl-mirror" "$@"; }
commit() { mirror disk-commit "$@" "$guest" xvda; }
state() { mirror disk-jobs --json "$guest" | jq -r '.[].jobs[0].state // "none"'; }
where() { present | cut -d' ' -f2; }

# A guest on an overlay that another tool has made
guest_on_overlay() { # FORMAT of the image below
    vdevs=()
    rm -rf "$tmp/state" "$refs"/*.raw "${images:?}"/*
    disk xvda "${1:-qcow2}"
    base=${image[xvda]}
    qemu-io -f "${format[xvda]}" -c 'write -P 77 3M 1M' "$base" > "$tmp/io"
    reference xvda 3145728 1048576 77
    qemu-img create -q -f qcow2 -b "$base" -F "${format[xvda]}" "$top"
    image[xvda]=$top format[xvda]=qcow2
    original[xvda]="$top qcow2"
    start_qemu
    next_state
}

no_job() {
    [ "$(qmp query-jobs)" = '[]' ]
    [ ! -e "$record" ]
    [ ! -e "$tmp/state/$uuid/snapshot-journal.json" ]
}

@test "the guest goes on in the image below, which holds all" {
    local kind
    for kind in qcow2 raw; do
        guest_on_overlay $kind
        commit > "$tmp/said"
        grep -qxF "Committed xvda into $base ($kind)" "$tmp/said"
        grep -qF "A config that names $top must be" "$tmp/said"
        [ "$(where)" = "$base" ]
        rm "$top"
        present_is_right
        next_state
        present_is_right
        no_job
        list | jq -e --arg top "$top" '.moved[0].image == $top'
        stop_qemu
        start_recorded
        [ "${image[xvda]}" = "$base" ]
        present_is_right
        stop_qemu
    done
}

@test "with --no-wait it follows the guest until it is finished" {
    guest_on_overlay
    commit --no-wait --delete-old
    within 20 '[ "$(state)" = ready ]'
    next_state
    mirror disk-jobs "$guest" | grep -q 'commit *ready *100%'
    mirror disk-job-finish "$guest" xvda
    [ ! -e "$top" ]
    [ "$(where)" = "$base" ]
    present_is_right
    no_job
    # snapshots of it are as ever
    make_snapshot s1 --kind external
    next_state
    xl snapshot-delete "$guest" s1
    present_is_right
}

@test "cancelled, the guest stays, and it can be done again" {
    guest_on_overlay
    io xvda 'write -P 9 8M 40M'
    reference xvda 8388608 41943040 9
    commit --no-wait --speed 1m
    [ "$(state)" = running ]
    # not by refuses(): the job changes the image below
    run -1 mirror disk-job-finish "$guest" xvda
    [[ $output = *'not all is copied'* ]]
    mirror disk-job-cancel "$guest" xvda
    [ "$(where)" = "$top" ]
    present_is_right
    no_job
    commit --delete-old
    present_is_right
}

@test "what others need is not written to" {
    guest_on_overlay
    qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$images/other.qcow2"
    refuses 1 '*other.qcow2*--force-based*' commit
    rm "$images/other.qcow2"
    qemu-img create -q -f qcow2 -b "$top" -F qcow2 "$images/other.qcow2"
    refuses 1 '*other.qcow2*--force-based*' commit
    rm "$images/other.qcow2"
    make_snapshot one --kind external
    refuses 1 '*the snapshot "one" is in *xl snapshot-delete merges*' commit
    xl snapshot-delete "$guest" one
    stop_qemu
    qemu-img snapshot -c theirs "$top"
    start_qemu
    refuses 1 '*the snapshot "theirs" in*' commit
    stop_qemu
    qemu-img snapshot -d theirs "$top"
    qemu-img resize -q "$top" 96M
    start_qemu
    refuses 1 '*67108864 bytes, and the disk has 100663296*' commit
    commit --help | grep -q -- --force-open
}

@test "an overlay on top of a snapshot of ours; that is as ever afterwards" {
    guest_on_overlay
    make_snapshot one --kind external
    next_state
    qmp blockdev-snapshot-sync "{\"node-name\": \"$(qmp query-block |
        jq -r '.[0].inserted."node-name"')\", \"format\": \"qcow2\",
        \"snapshot-node-name\": \"theirs\",
        \"snapshot-file\": \"$images/theirs.qcow2\"}"
    next_state
    commit --delete-old
    [ ! -e "$images/theirs.qcow2" ]
    present_is_right
    snapshots_are_right
    next_state
    xl snapshot-delete "$guest" one
    present_is_right
    [ "$(where)" = "$top" ]
    no_job
}

@test "killed at every step, also with QEMU: the guest is whole" {
    local point with killed=0
    for point in $(fault_points 'disk-job\.' snapshot-move\\.recorded \
                       snapshot-move.journal) \
                 $(fault_points snapshot-merge. |
                     grep -E 'ready|completing|completed'); do
        for with in us QEMU; do
            guest_on_overlay
            LIBXLX_FAULT=$point run commit
            [ "$status" = 137 ] || { stop_qemu; continue; }
            killed=$((killed + 1))
            echo "killed at $point: $with"
            settle_after "$point" "$with"
            present_is_right
            [ ! -e "$record" ]
            next_state
            [ "$(where)" = "$base" ] || commit
            present_is_right
            no_job
            stop_qemu
        done
    done
    # a point that nobody passes would be no test
    echo "killed $killed times"
    [ $killed -ge 12 ]
}
