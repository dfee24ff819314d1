#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# An HVM guest, whose QEMU has its disk open twice until the guest's Xen driver
# has unplugged the emulated one.  Slow: firmware and all are emulated.
# xen-host: run asked
# xen-host: deadline 1500

setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

opened() {
    guest_qmp "$1" query-block |
        jq -r '.[] | select(.inserted) | .inserted.image.filename' | sort
}

@test "while the disk is open twice a snapshot is refused" {
    disk_create "$D/h.qcow2"
    guest_config h hvm "qcow2:$D/h.qcow2"
    xl create -q -p "$(guest_config_file h)"
    run xl snapshot-create --kind external h early
    echo "$output"
    [ "$status" = 1 ]
    [ "${#lines[@]}" = 1 ]
    [[ $output == *"open twice"* ]]
    [ ! -e "$D/h.early.qcow2" ]
}

@test "when the guest's driver has taken over, it works" {
    xl unpause h
    guest_wait_boots h 1
    guest_wait_tick h 2
    xl snapshot-create --kind external h s1
    guest_wait_more h 2
    run disk_blocks "$D/h.qcow2"
    echo "$output"
    [ "$status" = 0 ]
    [ "$(opened h)" = "$D/h.s1.qcow2" ]
}

@test "its reboot goes on in the overlay, and a merge brings it back" {
    last=$(guest_tick h)
    guest_reboot h
    guest_wait_tick h $((last + 1))
    [ "$(opened h)" = "$D/h.s1.qcow2" ]
    xl snapshot-delete h s1
    [ "$(opened h)" = "$D/h.qcow2" ]
    guest_ticks_off h
    [ "$(disk_blocks "$D/h.qcow2")" = "$(guest_tick h)" ]
    guest_destroy h
}
