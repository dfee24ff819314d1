#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
#
# Many of the same: reboots, commands at the same time, and whatever comes in
# whatever order, after which nothing may be left.
# xen-host: run asked
# xen-host: deadline 7200

bats_require_minimum_version 1.5.0

setup_file() {
    load guest; load scsi
    scsi_begin
    guest_config h pv
    guest_start g
    guest_start h
    scsi_ready
}
setup() { load guest; load scsi; scsi_setup; }
teardown() { scsi_teardown; }
teardown_file() { load guest; load scsi; scsi_end; }

# try FILE COMMAND...: in the background; 0 or 1 into FILE
try() {
    local file=$1
    shift
    rm -f "$file"
    { if "$@" > "$file.out" 2>&1; then echo 0; else echo 1; fi > "$file"; } 3>&- &
}
won() { [ "$(cat "$GUESTS/$1")" = 0 ]; }

# direct GUEST: the first MiB of its disk, past its cache
direct() {
    guest_run "$1" "echo 3 > /proc/sys/vm/drop_caches; dd bs=64k count=16 \
        if=/dev/sda 2>/dev/null | md5sum"
}

@test "two guests share a disk" {
    xl scsi-attach --shared g "$a" 0:0:0:0
    run -1 xl scsi-attach h "$a" 0:0:0:0
    [[ $output == *'guest "g" has it as 0:0:0:0'* ]]
    run -1 xl scsi-attach --shared --backend iblock h "$a" 0:0:0:0
    [[ $output == *'must have it alike'* ]]
    xl scsi-attach --shared h "$a" 0:0:0:0
    wait_for 60 "disk in g" guest_run g 'test -b /dev/sda'
    wait_for 60 "disk in h" guest_run h 'test -b /dev/sda'
    guest_run g 'dd if=/dev/urandom of=/dev/sda bs=64k count=16 conv=fsync'
    [ "$(direct g)" = "$(direct h)" ]
    [ "$(direct h)" = "$(dd if=/dev/sda bs=1M count=1 iflag=direct status=none | md5sum)" ]
    xl scsi-detach g 0:0:0:0
    # the backstore still has its name
    run -1 xl scsi-attach g "$c" 0:0:0:0
    [[ $output == *'another guest, which shares /dev/sda, uses the backstore'* ]]
    run -0 xl scsi-repair g
    [ "$output" = "g: all in order" ]
    xl scsi-attach g "$c" 0:0:0:1
    wait_for 60 "the other disk" works 0:0:0:1
    xl scsi-detach g 0:0:0:1
    guest_run h 'dd if=/dev/urandom of=/dev/sda bs=64k count=16 conv=fsync'
    [ "$(direct h)" = "$(dd if=/dev/sda bs=1M count=1 iflag=direct status=none | md5sum)" ]
    xl scsi-detach h 0:0:0:0
    same_world
}

@test "a hundred times two guests want one disk, and one of them another" {
    for i in {1..100}; do
        try "$GUESTS/one" xl scsi-attach g "$a" 0:0:0:0
        try "$GUESTS/two" xl scsi-attach h "$a" 0:0:0:0
        try "$GUESTS/three" xl scsi-attach g "$b" 0:0:0:1
        wait
        if won one; then loser=two; else loser=one; fi
        cat "$GUESTS"/{one,two,three}.out > "$GUESTS/said"
        won one || won two || { echo "round $i: nobody has it"
                                cat "$GUESTS/said"; false; }
        ! won $loser || { echo "round $i: both have it"; false; }
        grep -Eq 'has it as 0:0:0:0|holds the lock' "$GUESTS/$loser.out" ||
            { echo "round $i: $(cat "$GUESTS/$loser.out")"; false; }
        for state in $(xenstore-ls -f /local/domain/0/backend/vscsi |
            sed -n 's,.*/[0-9]*/0/state = "\(.*\)",\1,p'); do
            [ "$state" = 4 ] || { echo "round $i: state $state"; false; }
        done
        if won one; then xl scsi-detach g 0:0:0:0
        else xl scsi-detach h 0:0:0:0; fi
        if won three; then xl scsi-detach g 0:0:0:1
        else grep -q 'holds the lock' "$GUESTS/three.out"; fi
        same_world || { echo "round $i"; false; }
        [ $((i % 20)) != 0 ] || tap_note "$i rounds"
    done
}

@test "twenty reboots" {
    xl scsi-attach g "$a" 0:0:0:0
    xl scsi-attach --backend iblock g "$b" 0:0:0:1
    find "$configfs" | sort > "$GUESTS/configfs"
    for number in {1..20}; do
        old=$(guest_domid g)
        guest_reboot g
        wait_for 60 "the first, reboot $number" works 0:0:0:0
        wait_for 60 "the second, reboot $number" works 0:0:0:1
        run ! grep -q "backend/vscsi/$old/" <(xenstore-ls -f)
        find "$configfs" | sort | diff "$GUESTS/configfs" -
        [ "$(xenstore-ls -f | grep -c 'backend/vscsi/.*/v-dev')" = 2 ]
        [ $((number % 5)) != 0 ] || tap_note "$number reboots"
    done
    compare 0:0 /dev/sda
    compare 0:1 /dev/sdb
    xl scsi-detach g 0:0:0:0
    xl scsi-detach g 0:0:0:1
    same_world
}

# What the guest should have: vdev to pdev
declare -gA has

attach_or_detach() {
    local vdevs=(0:0:0:0 0:0:0:1 0:0:7:3 2:0:0:0)
    local vdev=${vdevs[RANDOM % 4]} disks=("$a" "$b" "$c")
    local disk=${disks[RANDOM % 3]} kinds=(pscsi iblock) wanted=0
    if [ -n "${has[$vdev]:-}" ]; then
        xl scsi-detach g "$vdev" || return
        unset "has[$vdev]"
        return
    fi
    [[ " ${has[*]} " != *" $disk "* ]] || wanted=1
    run xl scsi-attach --backend "${kinds[RANDOM % 2]}" g "$disk" "$vdev"
    [ "$status" = $wanted ] || { echo "$disk as $vdev: $output"; return 1; }
    [ "$status" != 0 ] || has[$vdev]=$disk
}

detach_adapter() {
    local vdev wanted=1
    for vdev in "${!has[@]}"; do
        [[ $vdev != 0:* ]] || { wanted=0; unset "has[$vdev]"; }
    done
    run xl scsi-detach g 0
    [ "$status" = $wanted ] || { echo "adapter 0: $output"; return 1; }
}

all_there() {
    local vdev
    for vdev in "${!has[@]}"; do
        works "$vdev" || return
    done
    [ "$(info .dev.vdev | wc -w)" = ${#has[@]} ]
}

@test "two hundred times whatever comes" {
    RANDOM=4711
    for number in {1..200}; do
        case $((RANDOM % 40)) in
        0) what="reboot" ; guest_reboot g ;;
        1) what="destroy"; guest_destroy g; xl scsi-repair; has=()
           guest_start g ;;
        2) what="no watcher"; pkill -f xl-scsi-watch || true ;;
        3) what="repair"; xl scsi-repair ;;
        4) what="killed"
           run env LIBXLX_FAULT=scsi-attach.lun xl scsi-attach g "$c" 5:0:0:0 ;;
        5|6) what="all of an adapter off"; detach_adapter ;;
        *) what="attach or detach"; attach_or_detach ;;
        esac
        [ "$what" != reboot ] || xl scsi-repair g
        wait_for 60 "all, after $what, number $number" all_there ||
            { declare -p has; xl scsi-list g; false; }
    done
    for vdev in "${!has[@]}"; do xl scsi-detach g "$vdev"; done
    xl scsi-repair
    same_world
}
