#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
# shellcheck disable=SC2016  # conditions for "within"
#
# The disk of a running guest goes on in another image.

load snapshot

setup() {
    snapshot_setup
    record=$tmp/state/$uuid/disk-jobs.json
}
teardown() { snapshot_teardown; }

mirror() { "$plugins/xl-mirror" "$@"; }
state() { mirror disk-jobs --json "$guest" | jq -r '.[].jobs[0].state // "none"'; }
where() { present | cut -d' ' -f2; }

# A guest with a disk of that format that holds something, and nothing else
guest_with() {
    vdevs=()
    rm -rf "$tmp/state" "$refs"/*.raw "${images:?}"/*
    disk xvda "${1:-qcow2}"
    start_qemu
    next_state
    next_state
}

no_job() {
    [ "$(qmp query-jobs)" = '[]' ]
    [ ! -e "$record" ]
}

opened_by_qemu() { readlink "/proc/$qemu/fd/"* | grep -qxF "$1"; }

# The guest is on one of these images, which is right, and the other one that
# libxlx made is not there.
settled_on() { # OLD NEW
    local now
    now=$(where)
    echo "the guest is on $now"
    present_is_right
    [ "$now" = "$1" ] || [ "$now" = "$2" ]
    [ "$now" = "$2" ] || [ ! -e "$2" ]
    [ ! -e "$tmp/state/$uuid/snapshot-journal.json" ]
}

@test "a guest goes on in the new image, from and to every format" {
    local from to new=$images/new
    for from in qcow2 raw; do
        for to in qcow2 raw; do
            guest_with $from
            mirror disk-move --format $to "$guest" xvda "$new" > "$tmp/said"
            grep -qxF "Moved xvda to $new ($to)" "$tmp/said"
            grep -qF "A config that names ${image[xvda]} must be" "$tmp/said"
            [ "$(where)" = "$new" ]
            # the old one holds the disk as it was, and its space can be freed
            same "${image[xvda]}" $from "$refs/xvda.raw"
            run ! opened_by_qemu "${image[xvda]}"
            cksum "${image[xvda]}" > "$tmp/sum"
            next_state
            present_is_right
            cksum "${image[xvda]}" | cmp - "$tmp/sum"
            no_job
            # snapshots of it are as ever
            make_snapshot s1 --kind external
            next_state
            xl snapshot-delete "$guest" s1
            present_is_right
            [ "$(where)" = "$new" ]
            stop_qemu
            start_recorded
            present_is_right
            stop_qemu
        done
    done
}

@test "what is below the disk comes along; and back again" {
    guest_with
    stop_qemu
    mv "$images/xvda.qcow2" "$images/template.qcow2"
    qemu-img create -q -f qcow2 -b "$images/template.qcow2" -F qcow2 \
        "$images/xvda.qcow2"
    start_qemu
    next_state
    mirror disk-move --delete-old "$guest" xvda "$images/new.qcow2"
    [ ! -e "$images/xvda.qcow2" ]
    rm "$images/template.qcow2"
    present_is_right
    mirror disk-move --delete-old "$guest" xvda "$images/xvda.qcow2"
    [ "$(where)" = "$images/xvda.qcow2" ]
    [ ! -e "$images/new.qcow2" ]
    present_is_right
    next_state
    present_is_right
    no_job
}

@test "two disks, one after the other; one job with --no-wait" {
    disks 2
    start_qemu
    next_state
    mirror disk-move --no-wait "$guest" xvda "$images/a"
    mirror disk-move --no-wait "$guest" xvdb "$images/b"
    within 20 '[ "$(mirror disk-jobs --json "$guest" |
        jq "[.[].jobs[] | select(.state == \"ready\")] | length")" = 2 ]'
    next_state
    mirror disk-job-finish "$guest" xvdb
    next_state
    mirror disk-job-finish "$guest" xvda
    next_state
    present_is_right
    [ "$(where | sort)" = "$images/a"$'\n'"$images/b" ]
    no_job
}

@test "cancelled: the guest stays" {
    guest_with
    mirror disk-move --no-wait "$guest" xvda "$images/new"
    within 20 '[ "$(state)" = ready ]'
    mirror disk-job-cancel "$guest" xvda
    [ ! -e "$images/new" ]
    [ "$(where)" = "${image[xvda]}" ]
    next_state
    present_is_right
    no_job
    [ ! -e "$tmp/state/$uuid" ]
}

points() {
    # this guest stands still anyway: it is not halted
    fault_points disk-mirror\\. snapshot-move. disk-job.concluded |
        grep -v 'halt\|offline'
    fault_points snapshot-merge. |
        grep -E 'ready|configured|completing|completed'
}

@test "killed at every step: the guest is on one of them, and can be moved" {
    local point
    for point in $(points); do
        echo "killed at $point"
        guest_with
        LIBXLX_FAULT=$point run mirror disk-move "$guest" xvda "$images/new"
        # configuring is for domains
        [ "$status" = 137 ] || [[ $point = *.configured ]]
        next_state
        run mirror disk-job-cancel "$guest" xvda
        run xl snapshot-repair "$guest"
        next_state
        settled_on "${image[xvda]}" "$images/new"
        no_job
        [ "$(where)" = "$images/new" ] ||
            mirror disk-move "$guest" xvda "$images/new"
        present_is_right
        [ "$(where)" = "$images/new" ]
        stop_qemu
    done
}

@test "killed at every step, and QEMU as well: started by the record" {
    local point
    for point in $(points); do
        echo "killed at $point"
        guest_with
        LIBXLX_FAULT=$point run mirror disk-move "$guest" xvda "$images/new"
        [[ $point = *.completed ]] || io xvda flush
        kill_qemu
        run xl snapshot-repair "$uuid"
        run mirror disk-job-cancel "$uuid" xvda
        [ ! -e "$record" ]
        start_recorded
        settled_on "${image[xvda]}" "$images/new"
        next_state
        present_is_right
        no_job
        stop_qemu
    done
}

@test "the guest writes on before QEMU is killed: none of it is lost" {
    local point right
    for point in $(points); do
        echo "killed at $point"
        guest_with raw
        LIBXLX_FAULT=$point run mirror disk-move --format qcow2 "$guest" \
            xvda "$images/new"
        next_state
        right=$(where)
        kill_qemu
        run xl snapshot-repair "$uuid"
        if [[ $output = *'and these differ'* ]]; then
            # nobody but the user can tell
            [[ $point = *.completing || $point = *.completed ]]
            xl snapshot-repair --keep-image "$right" "$uuid"
        fi
        run mirror disk-job-cancel "$uuid" xvda
        [ ! -e "$record" ]
        start_recorded
        settled_on "${image[xvda]}" "$images/new"
        stop_qemu
    done
}

@test "with --delete-old the image that was left is removed last" {
    local point old
    for point in $(points); do
        echo "killed at $point"
        guest_with
        old=${image[xvda]}
        LIBXLX_FAULT=$point run mirror disk-move --delete-old "$guest" xvda \
            "$images/new"
        run mirror disk-job-cancel "$guest" xvda
        run xl snapshot-repair "$guest"
        if [ "$(where)" = "$images/new" ]; then
            [ ! -e "$old" ]
        else
            [ -e "$old" ]
        fi
        settled_on "$old" "$images/new"
        stop_qemu
    done
}

@test "another tool ends the job at the last moment: nothing is lost" {
    guest_with
    mirror disk-move --no-wait "$guest" xvda "$images/new"
    within 20 '[ "$(state)" = ready ]'
    qmp block-job-cancel '{"device": "xlx-mirror-xvda", "force": true}'
    next_state
    run ! mirror disk-job-finish "$guest" xvda
    [ ! -e "$images/new" ]
    [ "$(where)" = "${image[xvda]}" ]
    present_is_right
    no_job
}

@test "a disk with snapshots is not torn from them; nor goes it to a server" {
    guest_with
    make_snapshot s1 --kind external
    refuses 1 '*the snapshot "s1" would stay behind*' \
        mirror disk-move "$guest" xvda "$images/new"
    xl snapshot-delete "$guest" s1
    make_snapshot s2 --kind internal
    refuses 1 '*the snapshot "s2" would stay behind*' \
        mirror disk-move "$guest" xvda "$images/new"
    xl snapshot-delete "$guest" s2
    stop_qemu
    qemu-img snapshot -c theirs "${image[xvda]}"
    start_qemu
    refuses 1 '*the snapshot "theirs" in * would stay behind*' \
        mirror disk-move "$guest" xvda "$images/new"
    refuses 1 '*name a file or a block device*' \
        mirror disk-move "$guest" xvda nbd:unix:/run/nothing
}

@test "QEMU is killed when it may have moved the guest, from raw to raw" {
    local point
    for point in completing completed; do
        guest_with raw
        LIBXLX_FAULT=snapshot-merge.$point run mirror disk-move "$guest" xvda \
            "$images/new"
        [ "$status" = 137 ]
        kill_qemu
        run xl snapshot-repair "$uuid"
        echo "$status $output"
        [[ $output = *'finished: the guest is on the new one'* ]]
        start_recorded
        settled_on "${image[xvda]}" "$images/new"
        stop_qemu
    done
}

@test "a disk that lasts does not move to where it would not" {
    lasting
    [ "$(stat -f -c %T /dev/shm)" = tmpfs ] || skip "/dev/shm lasts"
    disk xvda
    mv "${image[xvda]}" "$lasting/xvda.qcow2"
    image[xvda]=$lasting/xvda.qcow2
    start_qemu
    next_state
    refuses 1 '*is in memory*' mirror disk-move "$guest" xvda "$tmp/new"
    # a copy is the user's own matter
    mirror disk-mirror "$guest" xvda "$tmp/copy"
    same "$tmp/copy" qcow2 "$refs/xvda.raw"
}

@test "the image that was left is no guest's disk by mistake" {
    guest_with
    mirror disk-move "$guest" xvda "$images/new"
    stop_qemu
    list | jq -e '.moved[0].vdev == "xvda"'
    # a disk that goes back to it has not left it
    start_qemu
    next_state
    xl snapshot-repair "$guest" || true
    list | jq -e '(.moved // []) | length == 0'
}
