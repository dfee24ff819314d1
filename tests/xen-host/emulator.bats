#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The control of all other groups: how many guests the emulated host itself
# loses while they do nothing but fork and compute.  README.md, "The
# emulator", has the reason for what is lost on the first processor.
# xen-host: run asked
# xen-host: deadline 3600

setup_file() { load guest; guests_begin; }
setup() { load guest; }
teardown() { guest_destroy a; guest_destroy b; }
teardown_file() { load guest; guests_end; }

seconds=300

# busy NAME TYPE [CPU]: a guest that forks and computes, without an end.
busy() {
    GUEST_CONFIG=$'on_reboot = "destroy"\non_crash = "destroy"' \
        guest_create "$1" "$2" || return
    [ -z "${3:-}" ] || xl vcpu-pin "$1" 0 "$3" || return
    guest_run "$1" 'while :; do : $(echo 1 | md5sum); done > /dev/null 2>&1 &'
}

# measure TYPE [CPU]: sets lost, of two such guests in $seconds.
measure() {
    local end name
    lost=0
    busy a "$@"
    busy b "$@"
    end=$((SECONDS + seconds))
    while [ $SECONDS -lt $end ]; do
        sleep 1
        for name in a b; do
            guest_gone $name || continue
            lost=$((lost + 1))
            busy $name "$@"
        done
    done
    tap_note "$1${2:+, processor $2}: $lost of 2 busy guests lost in" \
        "$seconds s, $((lost * 3600 / seconds)) an hour"
}

@test "no PV guest is lost" {
    measure pv
    [ $lost = 0 ]
}

@test "no PVH guest is lost on the second processor" {
    measure pvh
    [ "$(xl vcpu-list a | awk 'NR == 2 { print $7 }')" = 1 ]
    [ $lost = 0 ]
}

# To know when the first processor can be used again; a loss is no failure.
@test "PVH guests on the first processor: measured" {
    local conf=/etc/xen/xl.conf
    cp $conf "$BATS_TEST_TMPDIR/kept"
    sed -i '/^vm\.hvm\.cpumask=/d' $conf      # from dom0-init
    measure pvh 0
    cp "$BATS_TEST_TMPDIR/kept" $conf
}
