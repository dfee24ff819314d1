#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # output and status are set by bats' run
# A guest goes from this host to itself, and its disk to another path: over
# xl's own protocol to a stock "xl migrate-receive".  The guest writes its
# ticks all the time.
# xen-host: guests pvh hvm pv
# xen-host: deadline 4800
# xen-host: run asked

bats_require_minimum_version 1.5.0
setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; shell_with_sockets; }
teardown_file() { load guest; guests_end; }

# What ssh does, to this host: -L is a link to the socket.
shell_with_sockets() {
    cat > /run/there <<'X'
#!/bin/sh
while :; do
    case $1 in
    -o) shift 2 ;;
    -L) ln -sf "${2#*:}" "${2%%:*}"; shift 2 ;;
    *) break ;;
    esac
done
shift
exec sh -c "$*"
X
    chmod +x /run/there
}

# Stock xl cannot migrate a PV guest with Debian's Xen 4.17: no log-dirty mode.
# So it is the guest that libxl refuses when all is copied.
moves() { [ "$GUEST_TYPE" != pv ] || skip "this Xen migrates no PV guests"; }

# a guest that writes, on $D/a.qcow2
running_guest() {
    [ -z "$(guest_domid g)" ] || return 0
    rm -f "$D"/b.* "$D/a.qcow2"
    disk_create "$D/a.qcow2"
    guest_create g "$GUEST_TYPE" "qcow2:$D/a.qcow2"
    guest_wait_tick g 3
}

move() { # TARGET [OPTION]...
    local target=$1
    shift
    xl migrate --copy-disks -s /run/there --map "xvda=$target" "$@" g there
}

# The shell on the other side, when its input ends, needs a moment.
there_is_nothing() {
    ! ls -d /tmp/xlx-migrate-* 2> /dev/null &&
        ! pgrep -x qemu-nbd && ! pgrep xlx-migrate && [ "$(guest_names)" = g ]
}
nothing_is_left() {
    wait_for 60 "the other side's end" there_is_nothing
    [ "$(guest_qmp g query-jobs)" = '[]' ]
    [ -z "$(find /run/libxlx -name 'migrate-*-xvda')" ]
    [ -z "$(find /var/lib/libxlx -name migration.json -o \
        -name disk-jobs.json)" ]
    # the xl that stays with the guest, and goes on
    local pid
    for pid in $(pgrep -x xl); do
        ! grep -q '^State:.T' "/proc/$pid/status" || return 1
    done
}

# at_least IMAGE TICK: it is whole, up to that tick
at_least() {
    run disk_blocks "$1"
    echo "$1: $output, want $2"
    [ "$status" = 0 ]
    [ "$(sed -n 1p <<< "$output")" -ge "$2" ]
}

@test "the guest goes on there, with all that it wrote here" {
    moves
    running_guest
    last=$(guest_tick g)
    domid=$(guest_domid g)
    run move "$D/b.qcow2"
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"g runs on there; it stood still for "* ]]
    tap_note "$GUEST_TYPE: $(grep -o 'it stood still.*' <<< "$output")"
    [ "$(guest_domid g)" != "$domid" ]
    guest_migrated g
    [ "$(xl list -l g | jq -r '.[0].config.disks[0].pdev_path')" = \
      "$D/b.qcow2" ]
    nothing_is_left
    # the copy is what the image here was at that moment, to the last block
    here=$(disk_blocks "$D/a.qcow2")
    [ "$here" -ge "$last" ]
    guest_wait_more g 3
    now=$(guest_tick g)
    [ "$now" -gt "$here" ]
    guest_ticks_off g
    at_least "$D/b.qcow2" "$now"
    guest_destroy g
    qemu-img check -q "$D/b.qcow2"
    # and sparse
    [ "$(stat -c %b "$D/b.qcow2")" -lt 65536 ]
}

@test "a reboot there goes on there, and then back" {
    moves
    running_guest
    move "$D/b.qcow2"
    guest_migrated g
    guest_reboot g
    guest_wait_more g 2
    last=$(guest_tick g)
    rm -f "$D/a.qcow2"
    move "$D/a.qcow2"
    guest_migrated g
    guest_wait_more g 2
    nothing_is_left
    guest_ticks_off g
    at_least "$D/a.qcow2" "$last"
    guest_destroy g
}

@test "refused: what is there stays as it is, and the guest runs" {
    running_guest
    echo precious > "$D/b.qcow2"
    run move "$D/b.qcow2"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"the guest runs here: xvda: there: $D/b.qcow2 is there already"* ]]
    [ "$(cat "$D/b.qcow2")" = precious ]
    rm "$D/b.qcow2"
    run move /nowhere/b.qcow2
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"there is no directory /nowhere/"* ]]
    nothing_is_left
    guest_wait_more g 2
}

@test "killed at each step: it runs in one place, and nothing is left" {
    moves
    running_guest
    # the qemu floor has all of them
    for point in copying moving suspended closed ready renamed; do
        last=$(guest_tick g)
        LIBXLX_FAULT=disk-migrate.$point run move "$D/b.qcow2"
        echo "$point: $status: $output"
        [ "$status" -ne 0 ]
        xl disk-migrate-repair g
        guest_wait_more g 2
        nothing_is_left
        [ ! -e "$D/b.qcow2" ]
        at_least "$D/a.qcow2" "$last"
    done
}

@test "killed while libxl sends the memory: the guest runs here" {
    moves
    running_guest
    last=$(guest_tick g)
    move "$D/b.qcow2" > "$D/said" 2>&1 3>&- &
    wait_for 120 "the memory" \
        eval 'jq -e ".phase == \"moving\"" /var/lib/libxlx/*/migration.json'
    sleep 3
    pkill -KILL -x xl-disk-migrate
    wait_for 120 "the guard's repair" \
        eval '! ls /var/lib/libxlx/*/migration.json 2> /dev/null'
    cat "$D/said"
    guest_wait_more g 2
    nothing_is_left
    [ ! -e "$D/b.qcow2" ]
    at_least "$D/a.qcow2" "$last"
}

@test "killed after the word: it runs there" {
    moves
    for point in told destroyed; do
        running_guest
        last=$(guest_tick g)
        LIBXLX_FAULT=disk-migrate.$point run move "$D/b.qcow2"
        echo "$point: $status: $output"
        [ "$status" -ne 0 ]
        xl disk-migrate-repair g
        guest_migrated g
        guest_wait_more g 2
        nothing_is_left
        guest_ticks_off g
        at_least "$D/b.qcow2" "$last"
        guest_destroy g
    done
}

@test "the NBD server is killed while it copies" {
    running_guest
    move "$D/b.qcow2" --speed 1k > "$D/said" 2>&1 3>&- &
    pid=$!
    wait_for 60 "the copy" eval 'xl disk-jobs g | grep -q running'
    pkill -KILL qemu-nbd
    status=0
    wait $pid || status=$?
    cat "$D/said"
    [ "$status" = 1 ]
    grep -q 'the guest runs here' "$D/said"
    guest_wait_more g 2
    nothing_is_left
    [ ! -e "$D/b.qcow2" ]
}

@test "libxl refuses to send the memory: the guest runs here" {
    [ "$GUEST_TYPE" = pv ] || skip "it is done with a PV guest"
    running_guest
    last=$(guest_tick g)
    run move "$D/b.qcow2"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"the guest runs here: "*logdirty* ]]
    nothing_is_left
    [ ! -e "$D/b.qcow2" ]
    guest_wait_more g 2
    at_least "$D/a.qcow2" "$last"
}

@test "the xl that watches the guest is still there after a failure" {
    running_guest
    LIBXLX_FAULT=disk-migrate.suspended run move "$D/b.qcow2"
    xl disk-migrate-repair g
    guest_reboot g
    guest_wait_more g 2
    guest_destroy g
}

@test "control: stock xl migrate next to a job leaves a copy that is short" {
    moves
    running_guest
    truncate -s 64M "$D/nbd.img"
    qemu-nbd -t -f raw -x xvda -k "$D/nbd" "$D/nbd.img" 3>&- &
    server=$!
    wait_for 20 "the server" test -S "$D/nbd"
    guest_run g 'dd if=/bin/busybox of=/dev/xvda bs=1M seek=32 conv=fsync' || true
    xl disk-mirror --no-wait --speed 1k g xvda \
        "nbd:unix:$D/nbd:exportname=xvda"
    # ours refuses
    run xl migrate -s /run/there g there
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *xlx-mirror-xvda* ]]
    # stock xl under its own path does not ask
    run /usr/sbin/xl migrate -s /run/there g there
    echo "stock: $status: $output"
    tap_note "stock xl migrate next to a job: status $status"
    kill $server
    wait $server || true
    # whatever it says, the copy is not the disk
    run qemu-img compare -U -f qcow2 -F raw "$D/a.qcow2" "$D/nbd.img"
    [ "$status" = 1 ]
    local name
    for name in $(guest_names); do guest_destroy "$name"; done
}
