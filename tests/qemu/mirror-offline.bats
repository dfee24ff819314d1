#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
# shellcheck disable=SC2016  # conditions for "within"
#
# Jobs on the disks of a guest that is shut down: qemu-img works, and the same
# commands, words and records are used.

load snapshot

setup() {
    snapshot_setup
    record=$tmp/state/$uuid/disk-jobs.json
}
teardown() { snapshot_teardown; }

mirror() { "$plugins/xl-mirror" "$@"; }

config() { # IMAGE FORMAT
    cat > "$tmp/guest.cfg" <<X
name = "guest"
uuid = "$uuid"
disk = [ "format=$2,vdev=xvda,access=rw,target=$1" ]
X
}

# writes: the guest runs, writes, and ends
writes() {
    turn=$((turn % 250 + 1))
    qemu-io -f "${format[xvda]}" -c "write -P $turn $((turn % 4))M 128k" \
        "${image[xvda]}" > "$tmp/io"
    reference xvda $((turn % 4 * 1048576)) 131072 $turn
}

# A guest that has written to its disk of that format, and was shut down
guest_down() {
    vdevs=()
    rm -rf "$tmp/state" "$refs"/*.raw "${images:?}"/*
    disk xvda "${1:-qcow2}" 64M
    writes
    writes
    config "${image[xvda]}" "${format[xvda]}"
}

# The same, with the disk on two layers of another tool's
guest_on_layers() {
    local layer below
    guest_down
    for layer in middle top; do
        below=${image[xvda]}
        image[xvda]=$images/$layer.qcow2
        qemu-img create -q -f qcow2 -b "$below" -F qcow2 "${image[xvda]}"
        writes
    done
    original[xvda]="${image[xvda]} qcow2"
    config "${image[xvda]}" qcow2
}

# job COMMAND [ARGUMENT...]: on the guest that is shut down
job() {
    local command=$1
    shift
    mirror "$command" --config "$tmp/guest.cfg" guest xvda "$@"
}

no_job() {
    [ ! -e "$record" ]
    [ ! -e "$tmp/state/$uuid/snapshot-journal.json" ]
}

below() { # IMAGE
    qemu-img info --output=json "$1" | jq -r '."full-backing-filename" // "none"'
}

@test "a copy holds what the disk holds, in every format" {
    local from to
    for from in qcow2 raw; do
        guest_down $from
        chmod 640 "${image[xvda]}"
        cksum "${image[xvda]}" > "$tmp/sum"
        for to in qcow2 raw; do
            job disk-mirror --format $to "$tmp/copy" > "$tmp/said"
            grep -qxF "Copied xvda to $tmp/copy ($to)" "$tmp/said"
            same "$tmp/copy" $to "$refs/xvda.raw"
            [ "$(stat -c %a "$tmp/copy")" = 640 ]
            # sparse, and whole by itself
            [ "$(($(stat -c %b "$tmp/copy") * 512))" -lt 4194304 ]
            rm "$tmp/copy"
            no_job
        done
        cksum "${image[xvda]}" | cmp - "$tmp/sum"
        [ ! -e "$tmp/state/$uuid" ]
    done
}

@test "to a server, whose export is written to its end" {
    guest_down
    head -c 64M /dev/zero | tr '\0' x > "$tmp/export.raw"
    qemu-nbd -t -f raw -x web -k "$tmp/nbd" "$tmp/export.raw" 3>&- &
    holder=$!
    within 10 '[ -S "$tmp/nbd" ]'
    job disk-mirror "nbd:unix:$tmp/nbd:exportname=web"
    kill "$holder"
    wait "$holder"
    holder=
    same "$tmp/export.raw" raw "$refs/xvda.raw"
    no_job
}

@test "a move: the record, the next start and the config that is out of date" {
    local from to old
    for from in qcow2 raw; do
        for to in qcow2 raw; do
            guest_down $from
            old=${image[xvda]}
            job disk-move --format $to "$images/new" > "$tmp/said"
            grep -qxF "Moved xvda to $images/new ($to)" "$tmp/said"
            grep -qF "A config that names $old must be" "$tmp/said"
            no_job
            [ -e "$old" ]
            list | jq -e --arg old "$old" '.moved[0].image == $old'
            present_is_right
            # the old config is corrected by the record
            job disk-mirror --format raw "$tmp/copy"
            same "$tmp/copy" raw "$refs/xvda.raw"
            rm "$tmp/copy"
            start_recorded
            [ "${image[xvda]}" = "$images/new" ]
            next_state
            present_is_right
            stop_qemu
        done
    done
}

@test "a move with --delete-old, and back" {
    guest_on_layers
    job disk-move --delete-old "$images/new" > "$tmp/said"
    [ ! -e "$images/top.qcow2" ]
    [ "$(below "$images/new")" = none ]
    present_is_right
    config "$images/new" qcow2
    job disk-move --delete-old "$images/top.qcow2"
    [ ! -e "$images/new" ]
    present_is_right
    [ "$(present)" = "xvda $images/top.qcow2 qcow2" ]
}

@test "a pull, of all and of a part" {
    guest_on_layers
    cksum "$images/xvda.qcow2" "$images/middle.qcow2" > "$tmp/sum"
    job disk-pull --until "$images/xvda.qcow2" > "$tmp/said"
    grep -qF "which is now based on $images/xvda.qcow2" "$tmp/said"
    [ "$(below "$images/top.qcow2")" = "$images/xvda.qcow2" ]
    cksum "$images/xvda.qcow2" "$images/middle.qcow2" | cmp - "$tmp/sum"
    rm "$images/middle.qcow2"
    present_is_right
    job disk-pull > "$tmp/said"
    grep -qF "which is now based on nothing" "$tmp/said"
    rm "$images/xvda.qcow2"
    present_is_right
    no_job
    run ! job disk-pull
    [[ $output = *'based on nothing'* ]]
}

@test "a commit goes one layer down, and the guest goes on there" {
    guest_on_layers
    job disk-commit > "$tmp/said"
    grep -qxF "Committed xvda into $images/middle.qcow2 (qcow2)" "$tmp/said"
    [ -e "$images/top.qcow2" ]
    [ "$(present)" = "xvda $images/middle.qcow2 qcow2" ]
    present_is_right
    no_job
    rm "$images/top.qcow2"
    config "$images/middle.qcow2" qcow2
    job disk-commit --delete-old
    [ ! -e "$images/middle.qcow2" ]
    present_is_right
    start_recorded
    [ "${image[xvda]}" = "$images/xvda.qcow2" ]
    next_state
    present_is_right
}

@test "what another image needs is not written to" {
    guest_on_layers
    qemu-img create -q -f qcow2 -b "$images/xvda.qcow2" -F qcow2 \
        "$images/other.qcow2"
    job disk-commit
    config "$images/middle.qcow2" qcow2
    refuses 1 '*other.qcow2*' job disk-commit
    rm "$images/other.qcow2" "$images/top.qcow2"
    # nor what another program has open
    hold "$images/xvda.qcow2"
    refuses 1 '*end that first*--force-open*' job disk-commit
    release
    hold "$images/middle.qcow2" -f qcow2
    refuses 1 '*middle.qcow2*' job disk-mirror "$tmp/copy"
    release
    # a disk of another size than the guest's
    qemu-img resize -q "$images/xvda.qcow2" 128M
    refuses 1 '*134217728 bytes*' job disk-commit
}

@test "killed at every step: the disk is whole, and nothing is left" {
    local kind point points
    points=$(fault_points 'disk-mirror\.(recorded|made|identified|started)' \
        'disk-job\.(recorded|started|copied|worked|concluded)' \
        'snapshot-move\.(offline|recorded)')
    for kind in "disk-mirror $tmp/copy" \
        'disk-move '{,--delete-old}" $images/new" disk-pull \
        'disk-commit --delete-old'; do
        for point in $points; do
            guest_on_layers
            rm -f "$tmp/copy"
            # shellcheck disable=SC2086  # words
            LIBXLX_FAULT=$point run job $kind
            [ "$status" = 137 ] || { [ "$status" = 0 ] && continue; }
            echo "$kind killed at $point"
            run mirror disk-jobs "$uuid"
            run xl snapshot-repair --config "$tmp/guest.cfg" guest
            run mirror disk-job-cancel "$uuid" xvda
            run ! mirror disk-job-cancel "$uuid" xvda
            no_job
            present_is_right
            # the copy is whole, or away
            [ ! -e "$tmp/copy" ] || [ "$point" = disk-job.concluded ]
            [ "$(present)" = "xvda $images/new qcow2" ] ||
                [ ! -e "$images/new" ]
        done
    done
}

@test "no space, a file in the way, a disk that is not there" {
    guest_down
    touch "$tmp/there"
    refuses 1 '*is there already*' job disk-mirror "$tmp/there"
    refuses 1 'xl disk-mirror: the guest has no disk "xvdz": it has xvda' \
        mirror disk-mirror --config "$tmp/guest.cfg" guest xvdz "$tmp/copy"
    refuses 1 '*No such file*' job disk-mirror "$tmp/none/copy"
    refuses 1 "xl disk-mirror: $tmp/none.cfg: No such file or directory" \
        mirror disk-mirror --config "$tmp/none.cfg" guest xvda "$tmp/copy"
    mv "$images/xvda.qcow2" "$images/away"
    refuses 1 '*xvda.qcow2*' job disk-mirror "$tmp/copy"
}

@test "Ctrl-C ends it, and the copy is removed" {
    guest_down
    cat > "$tmp/qemu-img" <<X
#!/bin/sh
# qemu-img, which begins to copy when it may
[ "\$1" != convert ] || { echo > "$tmp/begun"; exec sleep 60; }
exec $(command -v qemu-img) "\$@"
X
    chmod +x "$tmp/qemu-img"
    # a shell's own background processes ignore SIGINT
    PATH=$tmp:$PATH env --default-signal=INT "$plugins/xl-mirror" disk-mirror \
        --config "$tmp/guest.cfg" guest xvda "$tmp/copy" \
        > "$tmp/said" 2>&1 3>&- &
    local pid=$!
    within 20 '[ -e "$tmp/begun" ]'
    mirror disk-jobs --json "$uuid" | jq -e '.[0].jobs[0] |
        .state == "running" and .offline'
    kill -INT "$pid"
    local status=0
    wait "$pid" || status=$?
    [ "$status" = 130 ]
    [ ! -e "$tmp/copy" ]
    no_job
    present_is_right
}

@test "somebody who writes to the disk is found out, and the copy removed" {
    guest_down
    cat > "$tmp/qemu-img" <<X
#!/bin/sh
# qemu-img, beside a program that does not look at locks
$(command -v qemu-img) "\$@" || exit
[ "\$1" != convert ] || touch "${image[xvda]}"
X
    chmod +x "$tmp/qemu-img"
    PATH=$tmp:$PATH run job disk-mirror "$tmp/copy"
    [ "$status" = 1 ]
    [[ $output = *"somebody wrote to ${image[xvda]}"* ]]
    [ ! -e "$tmp/copy" ]
    no_job
}
