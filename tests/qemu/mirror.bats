#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
# shellcheck disable=SC2016  # conditions for "within"
#
# Jobs on the disks of a real QEMU: copies, and chains that become shorter.
# What a copy must hold is known from the references of snapshot.bash.

load snapshot

setup() {
    snapshot_setup
    record=$tmp/state/$uuid/disk-jobs.json
    server=
}

teardown() {
    [ -z "$server" ] || kill "$server" || true
    snapshot_teardown
}

mirror() { "$plugins/xl-mirror" "$@"; }

# A guest with one disk that holds something
guest_with() { # FORMAT
    disk xvda "${1:-qcow2}"
    start_qemu
    next_state
    next_state
}

# The same, on an overlay of a template
guest_on_template() {
    disk xvda
    start_qemu
    next_state
    stop_qemu
    mv "$images/xvda.qcow2" "$images/template.qcow2"
    qemu-img create -q -f qcow2 -b "$images/template.qcow2" -F qcow2 \
        "$images/xvda.qcow2"
    start_qemu
    next_state
}

# A job on xvda that is slow enough to be stopped in its middle
slow_mirror() {
    guest_write xvda 4194304 33554432 7
    mirror disk-mirror --no-wait --speed 1m "$guest" xvda "$tmp/copy"
}

state() { mirror disk-jobs --json "$guest" | jq -r '.[].jobs[0].state // "none"'; }

nothing_is_left() {
    [ "$(qmp query-jobs)" = '[]' ]
    [ ! -e "$record" ]
    graph | { run ! grep -F copy; }
}

# ---- copies ----------------------------------------------------------------

@test "a copy holds what the guest wrote, in every format" {
    local from to
    for from in qcow2 raw; do
        vdevs=()
        rm -f "$refs/xvda.raw"
        guest_with $from
        chmod 640 "${image[xvda]}"
        for to in qcow2 raw; do
            mirror disk-mirror --format $to "$guest" xvda "$tmp/copy" \
                > "$tmp/said"
            grep -qxF "Copied xvda to $tmp/copy ($to)" "$tmp/said"
            same "$tmp/copy" $to "$refs/xvda.raw"
            [ "$(stat -c %a "$tmp/copy")" = 640 ]
            nothing_is_left
            rm "$tmp/copy"
        done
        next_state
        present_is_right
        stop_qemu
    done
}

@test "what is below the disk is part of the copy, and zeroes take no place" {
    guest_on_template
    mirror disk-mirror --format raw "$guest" xvda "$tmp/copy"
    same "$tmp/copy" raw "$refs/xvda.raw"
    [ "$(stat -c %s "$tmp/copy")" = 67108864 ]
    [ "$(($(stat -c %b "$tmp/copy") * 512))" -lt 4194304 ]
    mirror disk-mirror --format qcow2 "$guest" xvda "$tmp/copy2"
    run ! grep -q backing <(qemu-img info "$tmp/copy2")
    [ "$(stat -c %s "$tmp/copy2")" -lt 4194304 ]
}

@test "a copy follows the guest until it is finished" {
    local how
    guest_with
    for how in '' --sync-writes; do
        # shellcheck disable=SC2086  # nothing or an option
        mirror disk-mirror --no-wait $how "$guest" xvda "$tmp/copy"
        within 20 '[ "$(state)" = ready ]'
        next_state
        mirror disk-jobs "$guest" | grep -q 'mirror *ready *100%'
        mirror disk-job-finish "$guest" xvda > "$tmp/said"
        grep -qF "Copied xvda to $tmp/copy" "$tmp/said"
        same "$tmp/copy" qcow2 "$refs/xvda.raw"
        keep instant
        next_state
        same "$tmp/copy" qcow2 "$refs/instant@xvda.raw"
        present_is_right
        nothing_is_left
        rm "$tmp/copy"
    done
}

@test "two disks at a time, each with its own job" {
    disks 2
    start_qemu
    next_state
    mirror disk-mirror --no-wait "$guest" xvda "$tmp/copy-a"
    mirror disk-mirror --no-wait "$guest" xvdb "$tmp/copy-b"
    within 20 '[ "$(mirror disk-jobs --json "$guest" |
        jq "[.[].jobs[] | select(.state == \"ready\")] | length")" = 2 ]'
    next_state
    mirror disk-job-finish "$guest" xvdb
    mirror disk-job-finish "$guest" xvda
    same "$tmp/copy-a" qcow2 "$refs/xvda.raw"
    same "$tmp/copy-b" qcow2 "$refs/xvdb.raw"
    nothing_is_left
}

@test "a device that is an NBD export" {
    guest_with
    truncate -s 64M "$tmp/export"
    qemu-nbd -f raw -t -k "$tmp/nbd" -x web "$tmp/export" 3>&- &
    server=$!
    within 10 '[ -S "$tmp/nbd" ]'
    mirror disk-mirror "$guest" xvda "nbd:unix:$tmp/nbd:exportname=web"
    kill $server && wait $server || true
    server=
    same "$tmp/export" raw "$refs/xvda.raw"
    nothing_is_left
}

# ---- ends before its end ---------------------------------------------------

@test "cancelled, by command and by Ctrl-C: the copy is gone" {
    local signal
    guest_with
    slow_mirror
    [ "$(state)" = running ]
    mirror disk-job-cancel "$guest" xvda > "$tmp/said"
    grep -qx 'Cancelled the mirror of xvda' "$tmp/said"
    [ ! -e "$tmp/copy" ]
    nothing_is_left
    for signal in INT TERM; do
        env --default-signal=INT "$plugins/xl-mirror" disk-mirror --speed 1m \
            "$guest" xvda "$tmp/copy" > "$tmp/said" 2> "$tmp/why" 3>&- &
        within 20 '[ "$(state)" = running ]'
        kill -$signal $!
        status=0
        wait $! || status=$?
        [ "$status" = "$([ $signal = INT ] && echo 130 || echo 143)" ]
        [ ! -e "$tmp/copy" ]
        nothing_is_left
    done
    present_is_right
}

@test "paused, resumed, made fast" {
    guest_with
    slow_mirror
    mirror disk-job-pause "$guest" xvda
    mirror disk-job-pause "$guest" xvda
    within 10 '[ "$(state)" = paused ]'
    refuses 1 '*paused: xl disk-job-resume' \
        mirror disk-job-finish "$guest" xvda
    mirror disk-job-resume "$guest" xvda
    mirror disk-job-speed "$guest" xvda 0
    within 20 '[ "$(state)" = ready ]'
    mirror disk-job-finish "$guest" xvda
    same "$tmp/copy" qcow2 "$refs/xvda.raw"
    nothing_is_left
}

@test "a job is found by the name of its guest" {
    guest_with
    slow_mirror
    [ "$(mirror disk-jobs --json | jq -r '.[].jobs[0].state')" = running ]
    mirror disk-job-cancel "$uuid" xvda
    [ ! -e "$tmp/copy" ]
    nothing_is_left
    [ "$(mirror disk-jobs --json | jq length)" = 0 ]
}

@test "QEMU ends: the next command removes the copy" {
    guest_with
    slow_mirror
    kill_qemu
    [ "$(mirror disk-jobs --json "$uuid" | jq -r '.[].jobs[0].state')" = failed ]
    [ -e "$tmp/copy" ]
    run ! mirror disk-job-cancel "$uuid" xvda
    [[ $output = *"an earlier mirror has failed: QEMU ended"* ]]
    [ ! -e "$tmp/copy" ]
    [ ! -e "$record" ]
    start_qemu
    slow_mirror
    kill_qemu
    start_qemu
    mirror disk-mirror "$guest" xvda "$tmp/copy2" 2> "$tmp/why"
    grep -q 'an earlier mirror has failed' "$tmp/why"
    [ ! -e "$tmp/copy" ]
    same "$tmp/copy2" qcow2 "$refs/xvda.raw"
    nothing_is_left
}

@test "a file that somebody put in the place of the copy stays" {
    guest_with
    slow_mirror
    mv "$tmp/copy" "$tmp/moved"
    echo precious > "$tmp/copy"
    run -0 mirror disk-job-cancel "$guest" xvda
    [[ $output = *'another file'* || $output = *'it stays'* ]]
    [ "$(cat "$tmp/copy")" = precious ]
    [ "$(qmp query-jobs)" = '[]' ]
    [ ! -e "$record" ]
}

@test "the NBD server is killed: it is said, and the guest goes on" {
    guest_with
    guest_write xvda 4194304 33554432 7
    truncate -s 64M "$tmp/export"
    qemu-nbd -f raw -t -k "$tmp/nbd" -x web "$tmp/export" 3>&- &
    server=$!
    within 10 '[ -S "$tmp/nbd" ]'
    mirror disk-mirror --no-wait --speed 1m "$guest" xvda \
        "nbd:unix:$tmp/nbd:exportname=web"
    kill -KILL $server && wait $server || true
    server=
    mirror disk-job-speed "$guest" xvda 0 || true
    within 20 '[ "$(qmp query-jobs | jq -r ".[0].status // \"none\"")" = concluded ] ||
        [ "$(qmp query-jobs)" = "[]" ]'
    next_state
    run mirror disk-job-cancel "$guest" xvda
    [[ $output = *"an earlier mirror has failed"* ]] || nothing_is_left
    nothing_is_left
    present_is_right
}

@test "there is no space for the copy: it is said, and the guest goes on" {
    guest_with
    guest_write xvda 4194304 33554432 7
    truncate -s 64M "$tmp/export"
    qemu-nbd -t -k "$tmp/nbd" --image-opts driver=raw,file.driver=blkdebug,`
        `file.image.driver=file,file.image.filename="$tmp/export",`
        `file.inject-error.0.event=pwritev,file.inject-error.0.errno=28,`
        `file.inject-error.0.once=off 3>&- &
    server=$!
    within 10 '[ -S "$tmp/nbd" ]'
    run -1 mirror disk-mirror "$guest" xvda "nbd:unix:$tmp/nbd"
    [[ $output = *'the mirror failed: No space left on device'* ]]
    next_state
    present_is_right
    nothing_is_left
}

@test "a server that takes the connection and never answers" {
    guest_with
    python3 - "$tmp/nbd" 3>&- <<'EOF' &
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen(8)
time.sleep(60)
EOF
    server=$!
    within 10 '[ -S "$tmp/nbd" ]'
    # QEMU, whose monitor would wait for it, is not asked
    run -1 mirror disk-mirror "$guest" xvda "nbd:unix:$tmp/nbd"
    qmp query-status > "$tmp/said"
    next_state
    present_is_right
    nothing_is_left
}

@test "another tool ends the job, or makes the guest go on in the copy" {
    guest_with
    mirror disk-mirror --no-wait "$guest" xvda "$tmp/copy"
    within 20 '[ "$(state)" = ready ]'
    qmp job-complete '{"id": "xlx-mirror-xvda"}'
    within 10 '[ "$(qmp query-jobs | jq -r ".[0].status")" = concluded ]'
    next_state
    run mirror disk-job-cancel "$guest" xvda
    [ -e "$tmp/copy" ]
    [ ! -e "$record" ]
    qmp human-monitor-command '{"command-line": "info block"}' | grep -q copy
    same "$tmp/copy" qcow2 "$refs/xvda.raw"
    next_state
    same "$tmp/copy" qcow2 "$refs/xvda.raw"
    # ended, and taken out of the list
    mirror disk-mirror --no-wait "$guest" xvda "$tmp/copy2"
    within 20 '[ "$(state)" = ready ]'
    qmp block-job-cancel '{"device": "xlx-mirror-xvda", "force": true}'
    within 10 '[ "$(qmp query-jobs | jq -r ".[0].status")" = concluded ]'
    qmp job-dismiss '{"id": "xlx-mirror-xvda"}'
    run mirror disk-job-cancel "$guest" xvda
    [[ $output = *"whether $tmp/copy2 is complete is not known"* ]]
    [ -e "$tmp/copy2" ]
    [ "$(qmp query-jobs)" = '[]' ]
    [ ! -e "$record" ]
}

@test "killed at every step: the next command leaves nothing but the guest" {
    local point
    guest_with
    for point in $(fault_points disk-mirror\\. | grep -v halt); do
        LIBXLX_FAULT=$point run mirror disk-mirror --no-wait "$guest" xvda \
            "$tmp/copy"
        [ "$status" = 137 ]
        mirror disk-job-cancel "$guest" xvda 2> /dev/null || true
        [ ! -e "$tmp/copy" ]
        nothing_is_left
    done
    for point in $(fault_points disk-job-finish. disk-mirror-finish. \
        disk-job.concluded); do
        mirror disk-mirror --no-wait "$guest" xvda "$tmp/copy"
        within 20 '[ "$(state)" = ready ]'
        LIBXLX_FAULT=$point run mirror disk-job-finish "$guest" xvda
        [ "$status" = 137 ]
        within 20 '[ "$(qmp query-jobs | jq -r ".[0].status")" != running ]'
        run mirror disk-job-finish "$guest" xvda
        same "$tmp/copy" qcow2 "$refs/xvda.raw"
        nothing_is_left
        rm "$tmp/copy"
    done
    for point in $(fault_points disk-job-cancel.); do
        mirror disk-mirror --no-wait "$guest" xvda "$tmp/copy"
        LIBXLX_FAULT=$point run mirror disk-job-cancel "$guest" xvda
        [ "$status" = 137 ]
        run mirror disk-job-cancel "$guest" xvda
        [ ! -e "$tmp/copy" ]
        nothing_is_left
    done
    present_is_right
}

@test "killed while the guest stands still: the next command has it go on" {
    local point
    guest_with
    qmp cont > "$tmp/said"
    for point in $(fault_points disk-mirror.halt); do
        LIBXLX_FAULT=$point run mirror disk-mirror --sync-writes "$guest" \
            xvda "$tmp/copy"
        [ "$status" = 137 ]
        run mirror disk-job-cancel "$guest" xvda
        [ "$(qmp query-status | jq -r .status)" = running ]
        [ ! -e "$tmp/copy" ]
        nothing_is_left
    done
    mirror disk-mirror --sync-writes "$guest" xvda "$tmp/copy"
    [ "$(qmp query-status | jq -r .status)" = running ]
    same "$tmp/copy" qcow2 "$refs/xvda.raw"
    nothing_is_left
}

# ---- refused ---------------------------------------------------------------

@test "what cannot be copied, or not there, is refused" {
    guest_with
    echo precious > "$tmp/file"
    mkdir "$tmp/dir"
    ln -s nowhere "$tmp/link"
    refuses 1 '*no disk "xvdz": it has xvda' mirror disk-mirror "$guest" xvdz "$tmp/copy"
    refuses 1 "*$tmp/file is there already*" \
        mirror disk-mirror "$guest" xvda "$tmp/file"
    refuses 1 "*$tmp/link is there already*" \
        mirror disk-mirror "$guest" xvda "$tmp/link"
    refuses 1 "*$tmp/dir is there already*" \
        mirror disk-mirror "$guest" xvda "$tmp/dir"
    refuses 1 '*No such file or directory*' \
        mirror disk-mirror "$guest" xvda "$tmp/none/copy"
    mkdir "$tmp/open"
    # in a sticky one the owner of the copy can replace it
    for mode in 777 1777; do
        chmod $mode "$tmp/open"
        refuses 1 '*others than root can put files into that directory*' \
            mirror disk-mirror "$guest" xvda "$tmp/open/copy"
    done
    refuses 1 '*format "vmdk": qcow2 or raw' \
        mirror disk-mirror --format vmdk "$guest" xvda "$tmp/copy"
    refuses 1 '*speed "fast"*' \
        mirror disk-mirror --speed fast "$guest" xvda "$tmp/copy"
    refuses 1 '*only raw can be written there*' mirror disk-mirror \
        --format qcow2 "$guest" xvda nbd:unix:/nowhere || true
    refuses 1 '*nbd:unix:/nowhere*' mirror disk-mirror "$guest" xvda \
        nbd:unix:/nowhere
    refuses 1 '*no job of libxlx is on "xvda"*' \
        mirror disk-job-finish "$guest" xvda
    [ "$(cat "$tmp/file")" = precious ]
    nothing_is_left
}

@test "snapshots are not part of a copy, and the user is told" {
    guest_with
    make_snapshot one --kind external
    next_state
    run -0 --separate-stderr mirror disk-mirror "$guest" xvda "$tmp/copy"
    [[ $stderr = *'the snapshot "one" is not part of it'* ]]
    same "$tmp/copy" qcow2 "$refs/xvda.raw"
    run ! grep -q backing <(qemu-img info "$tmp/copy")
    make_snapshot two --kind external
    run -0 --separate-stderr mirror disk-mirror -N "$guest" xvda "$tmp/copy2"
    [[ $stderr = *'its 2 snapshots are not part of it'* ]]
    snapshots_are_right
}

@test "one job on a disk, and no snapshot, save or migration meanwhile" {
    guest_with
    slow_mirror
    refuses 1 '*xvda: a job is on it*' mirror disk-mirror "$guest" xvda \
        "$tmp/copy2"
    refuses 1 '*not all is copied yet*' \
        mirror disk-job-finish "$guest" xvda
    refuses 1 '*mirror job "xlx-mirror-xvda": see xl disk-jobs*' \
        xl snapshot-create "$guest" s1
    mirror disk-job-cancel "$guest" xvda
    xl snapshot-create "$guest" s1
}

@test "an export that is smaller or larger is refused" {
    local size
    guest_with
    for size in 63M 65M; do
        truncate -s $size "$tmp/export"
        qemu-nbd -f raw -t -k "$tmp/nbd" "$tmp/export" 3>&- &
        server=$!
        within 10 '[ -S "$tmp/nbd" ]'
        run ! mirror disk-mirror "$guest" xvda "nbd:unix:$tmp/nbd"
        [[ $output = *'both must have the same'* ]]
        kill $server && wait $server || true
        server=
        rm -f "$tmp/nbd"
    done
    nothing_is_left
}

@test "a dry run copies nothing" {
    guest_with
    mirror disk-mirror -N "$guest" xvda "$tmp/copy" > "$tmp/said"
    grep -qxF "Would copy xvda to $tmp/copy (qcow2)" "$tmp/said"
    [ ! -e "$tmp/copy" ]
    nothing_is_left
}

# ---- pull ------------------------------------------------------------------

@test "a disk gets out of its template" {
    guest_on_template
    cp "$images/template.qcow2" "$tmp/before"
    mirror disk-pull "$guest" xvda > "$tmp/said"
    grep -q 'Pulled into .*xvda.qcow2, which is now based on nothing' "$tmp/said"
    cmp "$tmp/before" "$images/template.qcow2"
    [ "$(qemu-img info -U --output=json "$images/xvda.qcow2" |
         jq 'has("backing-filename")')" = false ]
    rm "$images/template.qcow2"
    present_is_right
    next_state
    present_is_right
    nothing_is_left
    refuses 1 '*is based on nothing*' mirror disk-pull "$guest" xvda
}

@test "a disk stays based on the image that is named" {
    local base=$images/base.qcow2
    guest_on_template
    stop_qemu
    mv "$images/xvda.qcow2" "$images/middle.qcow2"
    qemu-img create -q -f qcow2 -b "$images/middle.qcow2" -F qcow2 \
        "$images/xvda.qcow2"
    start_qemu
    next_state
    base=$images/template.qcow2
    refuses 1 '*middle.qcow2 itself*' mirror disk-pull --until \
        "$images/middle.qcow2" "$guest" xvda
    refuses 1 '*is not below*' mirror disk-pull --until "$tmp/other" \
        "$guest" xvda
    (cd "$images" && mirror disk-pull --until template.qcow2 "$guest" xvda)
    [ "$(qemu-img info -U --output=json "$images/xvda.qcow2" |
         jq -r '."full-backing-filename"')" = "$base" ]
    present_is_right
    nothing_is_left
}

@test "a pull that is cancelled, or whose QEMU is killed, harms nothing" {
    guest_on_template
    stop_qemu
    # enough below to take a while
    qemu-io -f qcow2 -c 'write -P 5 8M 40M' "$images/template.qcow2" > "$tmp/io"
    reference xvda 8388608 41943040 5
    start_qemu
    mirror disk-pull --no-wait --speed 1m "$guest" xvda
    [ "$(state)" = running ]
    mirror disk-job-cancel "$guest" xvda
    present_is_right
    nothing_is_left
    mirror disk-pull --no-wait --speed 1m "$guest" xvda
    kill_qemu
    start_qemu
    present_is_right
    run -0 mirror disk-pull "$guest" xvda
    [[ $output = *'an earlier pull has failed: QEMU ended'* ]]
    rm "$images/template.qcow2"
    present_is_right
    nothing_is_left
}

@test "QEMU is killed at any moment of a pull: the disk is whole" {
    local point
    for point in $(fault_points 'disk-pull\.' 'disk-job-finish\.' \
        'disk-job\.(recorded|started|concluded)'); do
        vdevs=()
        rm -rf "$tmp/state" "$refs/xvda.raw" "${images:?}"/*
        guest_on_template
        LIBXLX_FAULT=$point run mirror disk-pull "$guest" xvda
        kill_qemu
        [ "$status" = 137 ]
        # what it needs is what its header says
        [ "$(qemu-img info -U --output=json "$images/xvda.qcow2" |
             jq 'has("backing-filename")')" = true ] ||
            rm "$images/template.qcow2"
        start_qemu
        present_is_right
        run mirror disk-pull "$guest" xvda
        rm -f "$images/template.qcow2"
        present_is_right
        nothing_is_left
        stop_qemu
    done
}

@test "snapshots of the disk are not pulled apart" {
    guest_on_template
    make_snapshot one --kind external
    refuses 1 '*the snapshot "one" needs the images*' \
        mirror disk-pull "$guest" xvda
    xl snapshot-delete "$guest" one
    stop_qemu
    qemu-img snapshot -c theirs "$images/xvda.qcow2"
    start_qemu
    refuses 1 '*the snapshot "theirs" in*' mirror disk-pull "$guest" xvda
}
