#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
# shellcheck disable=SC2016  # conditions for "within"
# shellcheck disable=SC2030,SC2031  # each test has its own environment
# shellcheck disable=SC2119,SC2120  # an option, by way of "run"
#
# A migration with disks: a real QEMU, real qemu-nbd, our sender.  The domain
# is that of migrate-storage.c, and the xl of the other host fake-xl.py, which
# says and does what a real one does not on demand.

load snapshot

setup() {
    snapshot_setup
    command -v qemu-nbd > /dev/null || skip 'there is no qemu-nbd'
    record=$tmp/state/$uuid/migration.json
    there=$tmp/there
    mkdir "$there" "$tmp/domain" "$tmp/bin" "$tmp/exec"
    ln -s "$top_srcdir/tests/qemu/fake-xl.py" "$tmp/bin/xl"
    program=$top_builddir/tests/qemu/migrate-storage
    ln -s "$program" "$tmp/exec/xl-disk-migrate-repair"
    export LIBXLX_EXEC_DIR=$tmp/exec FAKE_DOMAIN=$tmp/domain \
        FAKE_THERE=$there FAKE_UUID=$uuid FAKE_BIN=$tmp/bin
    unset FAKE_FAULT FAKE_CHECK FAKE_DISKS
    # what ssh does, to this host: -L is a link to the socket
    cat > "$tmp/ssh" <<'X'
#!/bin/sh
while :; do
    case $1 in
    -o) shift 2 ;;
    -L) ln -sf "${2#*:}" "${2%%:*}"; shift 2 ;;
    *) break ;;
    esac
done
[ ! -e "$FAKE_DOMAIN/unreachable" ] || { echo no route to host >&2; exit 255; }
shift
PATH=$FAKE_BIN:$PATH exec sh -c "$*"
X
    chmod +x "$tmp/ssh"
}

teardown() { snapshot_teardown; }

guest_with() { # FORMAT
    disk xvda "${1:-qcow2}"
    start_qemu
    next_state
    next_state
}

# move [OPTION=VALUE]...
move() {
    timeout 60 "$program" "$guest" other "ssh=$tmp/ssh" \
        "map=xvda=$there/copy" "$@" 3>&-
}
# A guest without Xen is not known when nothing is recorded of it.
repair() {
    [ -e "$record" ] || return 0
    timeout 60 "$tmp/exec/xl-disk-migrate-repair" "$uuid" "$@" 3>&-
}

no_job() { [ "$(qmp query-jobs)" = '[]' ]; }

# No job, file, process, socket or record.
nothing_is_left() {
    no_job
    [ ! -e "$record" ]
    [ ! -e "$tmp/state/$uuid/disk-jobs.json" ]
    # others may run this test at the same time
    within 10 '! grep -qs "$there" /tmp/xlx-migrate-*/made'
    [ -z "$(find "$tmp/run" -name 'migrate-*-xvda')" ]
    run ! pgrep -f "qemu-nbd.*$there"
}

runs_here() {
    [ ! -e "$tmp/domain/suspended" ]
    [ ! -e "$tmp/domain/gone" ]
    [ ! -e "$tmp/domain/away" ]
    [ ! -e "$there/runs" ]
    [ ! -e "$there/incoming" ]
    [ ! -e "$there/copy" ]
    present_is_right
}
runs_there() {
    [ -e "$tmp/domain/gone" ]
    [ -e "$there/runs" ]
    [ ! -e "$there/check" ]
    same "$there/copy" "${1:-qcow2}" "$refs/xvda.raw"
}

@test "the disk is complete and closed when the other host has the guest" {
    local from
    for from in qcow2 raw; do
        vdevs=()
        rm -rf "$refs/xvda.raw" "${there:?}"/* "$tmp"/domain/*
        guest_with $from
        chmod 640 "${image[xvda]}"
        export FAKE_CHECK="qemu-img compare -f $from -F raw $there/copy $refs/xvda.raw"
        run move
        [ "$output" = moved ] || { echo "$output"; false; }
        runs_there $from
        [ "$(stat -c %a "$there/copy")" = 640 ]
        # the disk has 64 MiB, and its data a few
        [ "$(stat -c %b "$there/copy")" -lt 65536 ]
        [ "$(jq -r '.disks[0].target' "$there/config")" = "$there/copy" ]
        nothing_is_left
        stop_qemu
    done
}

@test "what the guest writes while it is copied is in the copy" {
    guest_with
    export FAKE_CHECK="qemu-img compare -f qcow2 -F raw $there/copy $refs/xvda.raw"
    guest_write xvda 4194304 8388608 7
    move speed=4194304 > "$tmp/said" 2>&1 &
    pid=$!
    within 10 '[ "$(qmp query-jobs)" != "[]" ]'
    guest_write xvda 0 65536 8
    guest_write xvda 20971520 65536 9
    wait $pid
    runs_there
    nothing_is_left
}

@test "another host that does not do what it should: the guest runs here" {
    local fault
    guest_with
    for fault in no-banner wrong-banner cut-config cut-memory cut-end \
        no-ready wrong-ready no-start; do
        FAKE_FAULT=$fault run move
        echo "$fault: $status: $output"
        [ "$status" = 1 ]
        [[ $output == 'the guest runs here: '* ]]
        [[ $output != *$'\n'* ]]
        nothing_is_left
        runs_here
    done
    FAKE_FAULT=late-banner run -0 move
}

@test "the word was given, and no answer came: the other host is asked" {
    guest_with
    for fault in dies-at-go no-start-no-return; do
        FAKE_FAULT=$fault run move
        echo "$fault: $output"
        [ "$status" = 1 ]
        [[ $output == 'the guest runs here: '* ]]
        nothing_is_left
        runs_here
    done
    FAKE_FAULT=silent run move
    echo "$output"
    [ "$status" = 0 ]
    runs_there
    nothing_is_left
}

@test "nobody knows: the guest runs in no place until the other host says" {
    guest_with
    # the word cannot be asked about: vm-list fails
    cat > "$tmp/bin/unsure" <<'X'
#!/bin/sh
[ "$1" != vm-list ] || exit 1
exec "$(dirname "$0")/real" "$@"
X
    chmod +x "$tmp/bin/unsure"
    mv "$tmp/bin/xl" "$tmp/bin/real"
    mv "$tmp/bin/unsure" "$tmp/bin/xl"
    FAKE_FAULT=silent run move
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *'suspended here, and may run on other'* ]]
    [ -e "$tmp/domain/suspended" ]
    [ ! -e "$tmp/domain/gone" ]
    run move
    [[ $output == *'was cut short: xl disk-migrate-repair'* ]]
    run -0 repair
    [[ $output == *'stays suspended here'*--arrived* ]]
    # somebody has looked
    run -0 repair --arrived
    echo "$output"
    [[ $output == *'the guest runs there; its domain here is destroyed' ]]
    runs_there
    nothing_is_left
}

@test "killed at each step: the guest runs in one place, nothing is left" {
    local point points='copying closed ready renamed'
    [ -z "${SLOW:-}" ] ||
        points='recorded connected made copying copied begun moving suspended
                finished closed released ready kept handover renamed'
    guest_with
    for point in $points; do
        # the guard's repair ends before the output does
        LIBXLX_FAULT=disk-migrate.$point run move
        echo "$point: $status: $output"
        [ "$status" = 137 ]
        run -0 repair
        within 10 '! pgrep -f "qemu-nbd.*$there"'
        nothing_is_left
        runs_here
    done
    for point in told reported destroyed; do
        LIBXLX_FAULT=disk-migrate.$point run move
        echo "$point: $status: $output"
        run -0 repair
        nothing_is_left
        runs_there
        rm -rf "${there:?}"/* "$tmp"/domain/*
    done
}

@test "the server of a disk is killed, and a target that fills" {
    guest_with
    guest_write xvda 4194304 8388608 7
    move speed=1048576 > "$tmp/said" 2>&1 &
    pid=$!
    within 10 '[ "$(qmp query-jobs)" != "[]" ]'
    pkill -KILL -f "qemu-nbd.*$there"
    status=0
    wait $pid || status=$?
    cat "$tmp/said"
    [ "$status" = 1 ]
    grep -q '^the guest runs here: xvda: ' "$tmp/said"
    nothing_is_left
    runs_here
    # full: the wrapper's qemu-nbd cannot allocate in the image
    cat > "$tmp/bin/qemu-nbd" <<'X'
#!/bin/sh
for path; do :; done
shift 5                             # -t -e 4 -f FORMAT
exec /usr/bin/qemu-nbd -t -e 4 "$1" "$2" "$3" "$4" --image-opts "driver=$(
    )qcow2,file.driver=blkdebug,file.image.driver=file,$(
    )file.image.filename=$path,file.inject-error.0.event=write_aio,$(
    )file.inject-error.0.errno=28"
X
    chmod +x "$tmp/bin/qemu-nbd"
    run move
    echo "$output"
    [[ $output == 'the guest runs here: xvda: '*'No space left on device'* ]]
    rm "$tmp/bin/qemu-nbd"
    nothing_is_left
    runs_here
    # cancelled, and not by a second one
    move speed=1048576 > "$tmp/said" 2>&1 &
    pid=$!
    within 10 '[ "$(qmp query-jobs)" != "[]" ]'
    run move
    [[ $output == *'is under way' ]]
    touch "$tmp/domain/cancel"
    if wait $pid; then false; fi
    grep -qx 'the guest runs here: cancelled' "$tmp/said"
    rm "$tmp/domain/cancel"
    nothing_is_left
    runs_here
}

@test "another command takes the copy away: the guest runs here" {
    guest_with
    guest_write xvda 4194304 8388608 7
    move speed=1048576 > "$tmp/said" 2>&1 &
    pid=$!
    within 10 '[ "$(qmp query-jobs)" != "[]" ]'
    "$plugins/xl-mirror" disk-job-cancel "$guest" xvda
    if wait $pid; then false; fi
    grep '^the guest runs here: ' "$tmp/said"
    nothing_is_left
    runs_here
}

@test "QEMU has let go of its images, as that of an HVM guest" {
    export FAKE_HVM=1
    guest_with
    for fault in cut-end no-ready no-start; do
        FAKE_FAULT=$fault run move
        echo "$fault: $output"
        [[ $output == 'the guest runs here: '* ]]
        nothing_is_left
        # it takes writes again
        next_state
        runs_here
    done
    LIBXLX_FAULT=disk-migrate.closed run move
    [ "$status" = 137 ]
    repair
    next_state
    runs_here
    export FAKE_CHECK="qemu-img compare -f qcow2 -F raw $there/copy $refs/xvda.raw"
    run -0 move
    runs_there
    nothing_is_left
}

@test "two disks, and one that both hosts have" {
    disks 2
    start_qemu
    next_state
    touch "$tmp/cd.iso"
    export FAKE_DISKS="xvda xvdb cd:$tmp/cd.iso"
    export FAKE_CHECK="qemu-img compare -f qcow2 -F raw $there/b $refs/xvdb.raw"
    run -0 move "map=xvda=$there/copy,xvdb=$there/b"
    runs_there
    nothing_is_left
}

@test "refused before anything is made" {
    guest_with
    refused() { # MESSAGE OPTION...
        local want=$1
        shift
        run move "$@"
        echo "$*: $output"
        [ "$status" = 1 ]
        [[ $output == *"$want"* ]]
        nothing_is_left
    }
    echo precious > "$there/copy"
    refused 'copy is there already, and is not overwritten'
    [ "$(cat "$there/copy")" = precious ]
    rm "$there/copy"
    refused 'there is no directory /nowhere/' map=xvda=/nowhere/copy
    mkdir "$there/open"
    for mode in 777 1777; do
        chmod $mode "$there/open"
        refused "open: others than root can replace files" \
            "map=xvda=$there/open/copy"
    done
    refused 'not the absolute path' map=xvda=copy
    refused 'that disk is not copied' map=xvdb=/copy
    refused 'the guest has no such disk' disks=xvdb
    refused 'an empty command' ssh=
    FAKE_DISKS='xvda cd:/nowhere/cd.iso' refused 'there is no /nowhere/cd.iso'
    touch "$tmp/domain/unreachable"
    refused 'no route to host'
    rm "$tmp/domain/unreachable"
    touch "$tmp/domain/timeout"
    refused 'it did not suspend itself'
    rm "$tmp/domain/timeout"
    "$plugins/xl-snapshot" snapshot-create --kind internal "$guest" one
    refused 'its snapshot "one" would stay behind: --flatten'
    run -0 move flatten=1
    runs_there
}
