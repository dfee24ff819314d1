#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
# shellcheck disable=SC2016  # what the guest's shell expands
#
# A SCSI device that does not answer: what the commands say, what else of the
# host stands still meanwhile, and that all goes on when it answers again.
# xen-host: run asked

bats_require_minimum_version 1.5.0

setup_file() {
    load guest; load scsi
    scsi_begin
    disk_create "$GUESTS/x.raw" raw
    loop=$(disk_loop "$GUESTS/x.raw")
    guest_config g pv "phy:$loop"
    guest_start g
    scsi_ready
}
setup() { load guest; load scsi; scsi_setup; }
teardown() { answers; scsi_teardown; }
teardown_file() {
    load guest; load scsi
    scsi_end
    losetup -D
}

# Each command is lost, until the host's driver aborts it.
hangs() { scsi_debug opts 4; scsi_debug every_nth 1; }
answers() { scsi_debug every_nth 0; scsi_debug opts 0; }

took() { echo "$1: $((SECONDS - began)) s"; began=$SECONDS; }

@test "a device that hangs: told in time, and only its backend waits" {
    xl scsi-attach g /dev/sda 0:0:0:0
    xl scsi-attach g /dev/sdb 0:0:0:1
    wait_for 60 "disk" guest_has 0:0
    disk=$(in_guest 0:0)
    hangs
    guest_run g "(dd if=/dev/$disk of=/dev/null bs=64k count=1 iflag=direct; echo dd \$? > /run/dd) > /dev/null 2>&1 &"
    began=$SECONDS
    run xl scsi-detach --timeout 5 g 0:0:0:0
    took "detach"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"0:0:0:0"*"does not let go"* ]]
    [ "$(wc -l <<< "$output")" = 1 ]
    run xl scsi-list g
    took "list"
    echo "$output"
    [[ $output == *"detachment was not finished"* ]]
    # another backend, which the same thread of the kernel serves
    guest_wait_more g 3
    took "three ticks on xvda"
    # the host's side is as it was
    find "$configfs/xen-pvscsi" -path '*/lun_0/backstore' | grep .

    answers
    wait_for 240 "the guest's read" guest_run g 'cat /run/dd'
    took "the guest's read"
    run xl scsi-repair g
    took "repair"
    echo "$output"
    [ "$status" = 0 ]
    works 0:0:0:1
    compare 0:1 /dev/sdb
    xl scsi-detach g 0:0:0:1
    same_world
}

@test "a guest that is destroyed while its device hangs" {
    xl scsi-attach g /dev/sda 0:0:0:0
    wait_for 60 "disk" guest_has 0:0
    disk=$(in_guest 0:0)
    hangs
    guest_run g "(dd if=/dev/$disk of=/dev/null bs=64k count=1 iflag=direct) > /dev/null 2>&1 &"
    sleep 1
    began=$SECONDS
    xl destroy g
    took "xl destroy"
    run timeout 90 xl scsi-repair
    took "repair"
    echo "$output"
    [ "$status" -lt 2 ]
    # whether the kernel was done with it by itself, or not yet
    answers
    wait_for 240 "the end of it" settled_at_last
    took "the end"
    [ "$(xl scsi-assignable --json | jq -r '.units[0].used_by')" = "" ]
}
settled_at_last() { xl scsi-repair && same_world; }
