#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
# shellcheck disable=SC2016  # what the guest's shell expands
#
# The host is reset under three guests that have SCSI and USB devices.  When it
# is up again the disks have other addresses, the sticks are plugged in the
# other way round, and each guest gets the number that the other one had: each
# has its own devices again, and none of the other's.
# xen-host: run asked
# xen-host: deadline 3600
# xen-host: boots 2
# xen-host: module drivers/usb/host/xen-hcd.c

bats_require_minimum_version 1.5.0

setup_file() {
    load guest
    load scsi
    load usb
    export HOST_STATE=/var/lib/host-boot    # not of the tests' directory
    mkdir -p "$HOST_STATE"
    [ "$HOST_BOOT" = 1 ] && first_boot || second_boot
}
setup() { load guest; load scsi; load usb; scsi_setup; }
teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || {
        xl list
        xl scsi-list
        xl usb-show
        xl scsi-assignable
        xl usb-assignable
    }
}
teardown_file() {
    load guest
    load usb
    [ "$HOST_BOOT" != 2 ] || { guests_end; usb_end; }
}

disks_begin() {
    modprobe -a sd_mod sg target_core_mod target_core_pscsi \
        target_core_iblock target_core_file xen-scsiback
    modprobe scsi_debug max_luns=3 num_tgts=1 dev_size_mb=16 delay=0 \
        vpd_use_hostno=0
    wait_for 60 "three disks" eval '[ "$(debug_disks | wc -l)" = 3 ]'
    fetch_addresses
}
debug_disks() {
    grep -l scsi_debug /sys/class/block/sd*/device/model |
        cut -d/ -f5
}
wwid_of() { cat "/sys/class/scsi_device/$1/device/wwid"; }

first_boot() {
    local lun
    disks_begin
    for lun in 0 1 2; do wwid_of "$host:0:0:$lun"; done > "$HOST_STATE/wwids"
    usb_begin
    guests_begin /job/modules/xen-hcd.ko usb-storage xen-scsifront sd_mod
    gadget_stick a 1d6b:0104
    gadget_stick b 1d6b:0105
    gadget_stick c 1d6b:0106
    gadget_plug a 0
    gadget_plug b 1
    gadget_plug c 2
    guest_config g pv
    guest_config h pv
    guest_config k pv
    guest_start g
    guest_start h
    guest_start k
    truncate -s 16M "$HOST_STATE/file.img"
}

second_boot() {
    usb_begin
    gadget_stick a 1d6b:0104
    gadget_stick b 1d6b:0105
    gadget_stick d 1d6b:0107
    gadget_plug a 1             # the other way round
    gadget_plug b 0
    gadget_plug d 2             # in the place of c
    disks_begin                 # the sticks have the first addresses now
}

scsi_works() {
    [ "$(xl scsi-list --json "$1" | jq -r --arg vdev "$2" \
        '.[0].ctrls[].devs[] | select(.dev.vdev == $vdev) |
        .backend_state + .frontend_state + .problem')" = connectedconnected ]
}
# guest_wwid NAME: of its disk, as the guest has read it; a stick has none
guest_wwid() { guest_run "$1" "cat /sys/bus/scsi/devices/*:0:0:0/wwid"; }
has_wwid() { guest_wwid "$1" | grep -qx "$(sed -n "$2p" "$HOST_STATE/wwids")"; }
entries() { jq -s 'map(.entries | length) | add' /var/lib/libxlx/*/"$1".json; }
domid_before() { awk -v n="$1" '$1 == n { print $2 }' "$HOST_STATE/domids"; }

# bats test_tags=boot:1
@test "three guests have SCSI and USB devices, and the host is reset" {
    xl scsi-attach g "$a" 0:0:0:0
    xl scsi-attach h "$b" 0:0:0:0
    xl scsi-attach h "$HOST_STATE/file.img" 0:0:1:0
    xl scsi-attach --backend iblock k "$c" 0:0:0:0
    xl usb-attach g 1d6b:0104
    xl usb-attach h 1d6b:0105
    xl usb-attach k "$(usb_busid c)"
    usb_compare g a "$GUESTS/a.img"
    usb_compare h b "$GUESTS/b.img"
    wait_for 60 "the file" eval \
        'guest_run h "ls /sys/bus/scsi/devices/*:0:1:0/block"'
    guest_run h 'echo "the file" | dd conv=fsync,sync bs=512
        of=/dev/$(ls /sys/bus/scsi/devices/*:0:1:0/block)'
    [ "$(head -c 8 "$HOST_STATE/file.img")" = "the file" ]
    for guest in g h k; do
        echo "$guest $(guest_domid $guest)"
    done > "$HOST_STATE/domids"
    echo "$a" > "$HOST_STATE/address"
    [ "$(entries scsi)" = 4 ]
    [ "$(entries usb)" = 3 ]
    sync
}

# bats test_tags=boot:2
@test "the host is another, and a repair before the guests forgets nothing" {
    [ "$(xl list | wc -l)" = 2 ]
    [ "$a" != "$(cat "$HOST_STATE/address")" ]
    for lun in 0 1 2; do wwid_of "$host:0:0:$lun"; done |
        diff "$HOST_STATE/wwids" -
    xl scsi-repair
    xl usb-repair
    [ "$(entries scsi)" = 4 ]
    [ "$(entries usb)" = 3 ]
    # nor can another guest have them: they are spoken for
    run xl scsi-assignable
    [ "$(grep -c 'guest [ghk]' <<< "$output")" = 3 ]
}

# bats test_tags=boot:2
@test "created again, with the number of the other one, each has its own" {
    guest_start h
    guest_start g
    [ "$(guest_domid h)" = "$(domid_before g)" ]
    [ "$(guest_domid g)" = "$(domid_before h)" ]
    wait_for 90 "the disk of g" scsi_works g 0:0:0:0
    wait_for 90 "the disk of h" scsi_works h 0:0:0:0
    wait_for 90 "the file of h" scsi_works h 0:0:1:0
    wait_for 90 "the stick of g" usb_works g a
    wait_for 90 "the stick of h" usb_works h b
    wait_for 60 "the disk in g" has_wwid g 1
    wait_for 60 "the disk in h" has_wwid h 2
    run -0 guest_run h \
        'head -n 1 /dev/$(ls /sys/bus/scsi/devices/*:0:1:0/block)'
    [ "$output" = "the file" ]
    usb_compare g a "$GUESTS/a.img"
    usb_compare h b "$GUESTS/b.img"
    # none has the other's
    usb_guest_lacks g b
    usb_guest_lacks h a
    [ "$(guest_run g 'ls -d /sys/bus/scsi/devices/*:*:*:*' | wc -l)" = 2 ]
}

# bats test_tags=boot:2
@test "a guest that stock xl started: the repair at boot gives it its disk" {
    local stock disk
    stock=$(echo /usr/lib/xen-[0-9]*/bin/xl)
    "$stock" create -q "$(guest_config_file k)" 3>&- 4>&-
    guest_wait_boots k 2
    xl scsi-repair
    xl usb-repair || true       # another device is in that place
    wait_for 90 "the disk of k" scsi_works k 0:0:0:0
    # the guest of iblock sees the kernel's name and not the disk's
    disk=$(cat "$configfs"/core/iblock_*/*/udev_path)
    cmp "/sys/class/block/${disk#/dev/}/device/wwid" \
        <(sed -n 3p "$HOST_STATE/wwids")
}

# bats test_tags=boot:2
@test "another stick in the socket is not the guest's, and its own one is" {
    run xl usb-show k
    echo "$output"
    usb_guest_lacks k d
    run usb_driver "$(usb_busid d)"
    [ "$output" = usb-storage ]
    gadget_unplug d
    gadget_stick c 1d6b:0106
    gadget_plug c 2
    wait_for 90 "its own stick" usb_works k c
    usb_compare k c "$GUESTS/c.img"
}

# bats test_tags=boot:2
@test "watchers stay with all of them, and all can be taken off" {
    guest_reboot g
    wait_for 90 "the disk of g" scsi_works g 0:0:0:0
    wait_for 90 "the stick of g" usb_works g a
    xl scsi-detach g 0
    xl scsi-detach h 0
    xl scsi-detach k 0
    xl usb-detach g 1d6b:0104
    xl usb-detach h 1d6b:0105
    xl usb-detach k "$(usb_busid c)"
    [ -z "$(find /var/lib/libxlx -name scsi.json -o -name usb.json)" ]
    [ -z "$(find "$configfs" -name '*naa.*' -o -name '*xlx-*')" ]
}
