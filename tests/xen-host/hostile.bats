#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
#
# A hostile guest: "bad" writes whatever it likes into every node of xenstore
# that it may write (hostile-guest), as fast as it can.  Commands and watchers
# work on it and on its neighbour "good" at the same time: none of them crashes
# or hangs, the neighbour has what it had, and nothing is left at the end.
# Stock xl's commands are in the same run as the control.
# xen-host: run asked
# xen-host: deadline 3600
# xen-host: module drivers/usb/host/xen-hcd.c

bats_require_minimum_version 1.5.0

setup_file() {
    load guest
    load scsi
    load usb
    export HOSTILE=$GUESTS/hostile
    scsi_begin
    usb_begin
    # shellcheck disable=SC2034  # of guests_begin
    GUEST_PROGRAMS="sg_inq xenstore-ls xenstore-read xenstore-write \
        xenstore-rm $PWD/hostile-guest" \
        guests_begin /job/modules/xen-hcd.ko usb-storage xen-scsifront sd_mod
    gadget_stick a 1d6b:0104
    gadget_stick b 1d6b:0105
    gadget_plug a 0
    gadget_plug b 1
    traces > "$HOSTILE.none"
    guest_config bad pv
    guest_config good pv
    guest_start bad
    guest_start good
    xl scsi-attach bad "$a" 0:0:0:0
    xl scsi-attach good "$b" 0:0:0:0
    xl usb-attach bad 1d6b:0104
    xl usb-attach good 1d6b:0105
    wait_for 60 "both watchers" eval '[ "$(watchers | wc -l)" = 4 ]'
    record good > "$HOSTILE.good"
    guest_run bad "hostile-guest $$ > /dev/console 2>&1 < /dev/null &"
    wait_for 60 "the storm" guest_says bad '^round 1: [1-9]'
}
setup() { load guest; load scsi; load usb; scsi_setup; }
teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || {
        xl scsi-list
        xl usb-show
        guest_log bad | tail -n 5
    }
}
teardown_file() {
    load guest
    load scsi
    load usb
    guests_end
    usb_end
    rmmod scsi_debug || true
}

watchers() { pgrep -f 'xl-(scsi|usb)-watch'; }
uuid() { xl list -v "$1" | awk 'NR == 2 { print $NF == "-" ? $(NF - 2) : $NF }'; }
# record NAME: what is recorded of that guest
record() {
    jq -S . "$(dirname "$(grep -l "\"$1\"" /var/lib/libxlx/*/*.json |
        head -n1)")"/{scsi,usb}.json
}
# All that could be left of a guest, in xenstore, the target and the records.
# Below "error" dom0's kernel keeps what its backends complained of.
traces() {
    xenstore-ls -f | sed -n 's/ = .*//; /domain.0.error/d
        /v\(scsi\|usb\)/p; /qusb/p'
    find "$configfs" -mindepth 2 -path '*naa.*' -o -path '*xlx-*' | sort
    find /var/lib/libxlx -mindepth 1 2>/dev/null | sort
    pgrep -fl -- '-xen-domid' || true
}
same_traces() { traces | diff -U0 "$1" -; }

# bounded COMMAND...: it ends within two minutes, and not by a signal.
bounded() {
    run timeout 120 "$@"
    [ "$status" -lt 124 ] || {
        echo "$*: status $status: $output"
        return 1
    }
}
# From now on, too, it writes, and xenstored takes that.
storming() {
    local rounds
    rounds=$(rounds)
    wait_for 120 "the guest to write on" eval "[ \$(rounds) -gt $rounds ]"
}
rounds() { guest_log bad | grep -ac '^round [0-9]*: [1-9]'; }
# the neighbour's two devices work
good_works() {
    [ "$(xl scsi-list --json good |
        jq -r '.[0].ctrls[].devs[] | .backend_state + .frontend_state + .problem')" = \
        connectedconnected ] || { xl scsi-list good; return 1; }
    usb_works good b
}

@test "lists tell of both guests, in time, and JSON is JSON" {
    local i command
    for i in 1 2 3 4 5; do
        for command in "scsi-list bad" "scsi-list" "usb-show bad" "usb-show" \
            "scsi-assignable" "usb-assignable" "snapshot-list bad" \
            "vnuma-show bad"; do
            # shellcheck disable=SC2086 # words
            bounded xl $command
        done
        for command in "scsi-list --json" "usb-show --json" \
            "scsi-assignable --json" "usb-assignable --json"; do
            # shellcheck disable=SC2086 # words
            timeout 120 xl $command > "$HOSTILE.json" || {
                echo "$command: $?"
                false
            }
            jq . "$HOSTILE.json" > /dev/null
            # nothing that a terminal would obey
            run ! grep -q $'[\001-\010\013-\037]' "$HOSTILE.json"
        done
    done
    storming
    good_works
}

@test "control: stock xl in the same storm" {
    for command in list "list -l bad" "block-list bad" "network-list bad" \
        "usb-list bad" "vcpu-list bad"; do
        # shellcheck disable=SC2086 # words
        run timeout 120 xl $command
        # stock xl may fail, and even crash: that is its own affair
        echo "# stock xl $command: status $status" >&3
    done
    storming
}

@test "the neighbour gets and gives back devices as ever" {
    local i
    for i in 1 2 3; do
        xl scsi-attach good "$c" 0:0:1:0
        compare_on good 1:0 /dev/sdc
        xl scsi-detach good 0:0:1:0
        xl usb-detach good 1d6b:0105
        xl usb-attach good 1d6b:0105
        wait_for 60 "the stick" usb_works good b
    done
    storming
    good_works
}
# compare of scsi.bash is for the guest "g"
compare_on() {
    local disk sum
    wait_for 60 "disk in the guest" guest_run "$1" \
        "ls -d /sys/bus/scsi/devices/*:0:$2/block/sd*" > /dev/null || return
    disk=/dev/$(guest_run "$1" "ls /sys/bus/scsi/devices/*:0:$2/block" |
        tail -n1)
    guest_run "$1" "dd if=/dev/urandom of=/tmp/data bs=64k count=4 && \
        dd if=/tmp/data of=$disk bs=64k conv=fsync" || return
    sum=$(guest_run "$1" 'md5sum < /tmp/data')
    [ "$(dd if="$3" bs=64k count=4 iflag=direct status=none | md5sum)" = \
        "$sum" ]
}

@test "commands on the hostile guest itself end in time" {
    local i
    for i in 1 2; do
        bounded xl scsi-attach --timeout 10 bad "$c" 0:0:1:0
        bounded xl scsi-detach --timeout 10 bad 0:0:1:0
        bounded xl usb-detach bad 1d6b:0104
        bounded xl usb-attach bad 1d6b:0104
        bounded xl scsi-repair bad
        bounded xl usb-repair bad
        bounded xl snapshot-create bad
    done
    storming
    good_works
}

@test "a reboot of the neighbour in the storm: it has its devices again" {
    guest_reboot good
    wait_for 120 "its devices" good_works
    storming
}

@test "watchers live, in bounded memory and with bounded files" {
    local pid
    [ "$(watchers | wc -l)" -ge 2 ]
    for pid in $(watchers); do
        [ "$(find "/proc/$pid/fd" -mindepth 1 | wc -l)" -lt 64 ]
        [ "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")" -lt 65536 ]
    done
    run ! grep -E 'segfault|traps:' <(dmesg | grep -E 'xl-')
}

@test "its end: nothing is left of it, and the neighbour has what it had" {
    guest_destroy bad
    bounded xl scsi-repair
    bounded xl usb-repair
    good_works
    record good | jq -S 'del(.. | .domid?, .boot?, .address?)' > "$HOSTILE.now"
    jq -S 'del(.. | .domid?, .boot?, .address?)' "$HOSTILE.good" |
        diff - "$HOSTILE.now"
    run ! grep -l '"bad"' /var/lib/libxlx/*/*.json
    xl scsi-detach good 0:0:0:0
    xl usb-detach good 1d6b:0105
    guest_destroy good
    xl scsi-repair
    xl usb-repair
    wait_for 90 "no trace" same_traces "$HOSTILE.none"
    # and its disk is free
    [ "$(xl scsi-assignable --json |
        jq -r ".units[] | select(.hctl == \"$a\").used_by")" = "" ]
}
