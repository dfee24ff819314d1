#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of bats
#
# SCSI devices in a PVH guest, whose driver is the same as a PV guest's, but
# whose rings and grants go another way through Xen.
# xen-host: run asked

bats_require_minimum_version 1.5.0

setup_file() { load guest; load scsi; scsi_begin pvh; guest_start g; scsi_ready; }
setup() { load guest; load scsi; scsi_setup; }
teardown() { scsi_teardown; }
teardown_file() { load guest; load scsi; scsi_end; }

@test "PVH: attached, both directions, detached" {
    xl scsi-attach g /dev/sda 0:0:0:0
    xl scsi-attach --backend iblock g /dev/sdb 0:0:0:1
    works 0:0:0:0
    works 0:0:0:1
    compare 0:0 /dev/sda
    compare 0:1 /dev/sdb
    xl scsi-detach g 0:0:0:0
    wait_for 30 "end of the disk in the guest" guest_lacks 0:0
    compare 0:1 /dev/sdb
    xl scsi-detach g 0:0:0:1
    same_world
}

@test "PVH: migrated with --detach, it has the disk on the other side" {
    xl scsi-attach g /dev/sda 0:0:0:0
    wait_for 60 "the disk" works 0:0:0:0
    compare 0:0 /dev/sda
    shell_to_here
    old=$(guest_domid g)
    xl migrate --detach -s /run/here g localhost
    [ "$(guest_domid g)" != "$old" ]
    guest_migrated g
    wait_for 60 "the disk" works 0:0:0:0
    compare 0:0 /dev/sda
    xl scsi-detach g 0:0:0:0
    same_world
}

@test "PVH: there when the guest starts" {
    guest_destroy g
    GUEST_CONFIG="vscsi = ['/dev/sda,0:0:0:0']" guest_config g pvh
    guest_start g
    wait_for 60 "the disk" works 0:0:0:0
    compare 0:0 /dev/sda
    xl scsi-detach g 0:0:0:0
    same_world
}
