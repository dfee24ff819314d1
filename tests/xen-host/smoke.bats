#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The host itself: Xen is up, the product is in front of the stock tools and
# guests of each kind run and write.
# xen-host: suites bookworm trixie

bats_require_minimum_version 1.5.0

setup_file() { load guest; guests_begin xen-scsifront sd_mod; }
setup() { load guest; }
teardown_file() { load guest; guests_end; }

@test "the host is Xen, and runs guests with hardware support and without" {
    run xl info
    echo "$output"
    [ "$status" = 0 ]
    grep -Eq '^virt_caps *: pv hvm' <<< "$output"
    grep -Eq '^xen_version *: 4\.' <<< "$output"
}

@test "the installed xl is found first, and hands on to the stock one" {
    [ "$(command -v xl)" = /usr/local/sbin/xl ]
    [ "$(xl info)" != "" ]
    run -0 xl help
    [[ $output == *snapshot-create* ]]
    [[ $output == *vcpu-pin* ]]
    run dpkg --verify xen-utils-common "$(dpkg -S /usr/lib/xen-*/bin/xl |
        cut -d: -f1)"
    [[ $output != *bin/* ]]
}

@test "the library and what it needs are found" {
    run ldd /usr/local/lib/libxlx.so.0
    echo "$output"
    [[ $output == *libxenlight* && $output != *"not found"* ]]
}

# The PVH guest with two disks that the next tests use.
pvh_guest() {
    guest_gone pvh || return 0
    disk_create "$GUESTS/a.qcow2"
    disk_create "$GUESTS/b.raw" raw
    guest_create pvh pvh "qcow2:$GUESTS/a.qcow2" "raw:$GUESTS/b.raw"
}

@test "a PVH guest writes to a qcow2 and a raw disk" {
    pvh_guest
    guest_wait_more pvh 3
    guest_ticks_off pvh
    last=$(guest_tick pvh)
    run disk_blocks "$GUESTS/a.qcow2" "$GUESTS/b.raw"
    echo "$output, told: $last"
    [ "$status" = 0 ]
    [ "$output" = "$last"$'\n'"$last" ]
    guest_ticks_on pvh
}

# bats test_tags=rig
@test "commands run in the guest, with their status" {
    pvh_guest
    [ "$(guest_run pvh 'echo hello; uname -s')" = hello$'\n'Linux ]
    run guest_run pvh 'exit 7'
    [ "$status" = 7 ]
}

# bats test_tags=rig
@test "damage on a disk is found" {
    pvh_guest
    guest_wait_tick pvh 5
    guest_ticks_off pvh
    last=$(guest_tick pvh)
    image=$GUESTS/damaged

    qemu-img convert -U -O raw "$GUESTS/a.qcow2" "$image"
    printf X | dd of="$image" bs=1 seek=8200 conv=notrunc status=none
    run -1 disk_blocks "$image"
    [[ $output == *"block 2 is damaged"* ]]

    qemu-img convert -U -O raw "$GUESTS/a.qcow2" "$image"
    dd if=/dev/zero of="$image" bs=4096 seek=3 count=1 conv=notrunc status=none
    run -1 disk_blocks "$image"
    [[ $output == *"block 4 is written, but 3 is not"* ]]

    qemu-img convert -U -O raw "$GUESTS/a.qcow2" "$image"
    truncate -s $((4096 * (last - 2))) "$image"
    run -1 disk_blocks "$GUESTS/b.raw" "$image"
    [[ $output == *"not of one instant"* ]]
    rm "$image"
    guest_ticks_on pvh
}

@test "a guest goes on after save and restore; what is left behind is found" {
    pvh_guest
    guest_save pvh "$GUESTS/pvh.save"
    guest_restore pvh "$GUESTS/pvh.save"
    guest_wait_more pvh
    host_state > "$BATS_TEST_TMPDIR/before"
    [ -s "$BATS_TEST_TMPDIR/before" ]
    touch "$GUESTS/left-behind"
    host_state > "$BATS_TEST_TMPDIR/after"
    run -1 host_state_same "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
    echo "$output"
    [[ $output == *"+$GUESTS/left-behind"* ]]
    rm "$GUESTS/pvh.save" "$GUESTS/left-behind"
}

@test "a snapshot of its two disks, a reboot after which it counts on, and back" {
    pvh_guest
    guest_wait_more pvh
    xl snapshot-create --kind external pvh s1
    guest_wait_more pvh
    run disk_blocks "$GUESTS/a.qcow2" "$GUESTS/b.raw"
    echo "$output"
    [ "$status" = 0 ]
    last=$(guest_tick pvh)
    guest_reboot pvh
    guest_nodes pvh | grep -F "$GUESTS/a.s1.qcow2"
    guest_wait_tick pvh $((last + 1))
    xl snapshot-delete pvh s1
    [ ! -e "$GUESTS/a.s1.qcow2" ]
    xl snapshot-create --kind internal --disks xvda pvh i1
    xl snapshot-delete pvh i1
    [ -z "$(ls /var/lib/libxlx)" ]
    guest_wait_more pvh
}

@test "a destroyed guest has whole disks" {
    pvh_guest
    guest_wait_more pvh
    guest_destroy pvh
    run disk_blocks "$GUESTS/a.qcow2" "$GUESTS/b.raw"
    echo "$output"
    [ "$status" = 0 ]
    rm "$GUESTS/a.qcow2" "$GUESTS/b.raw"
}

# The PV guest with a disk that the kernel serves, which the next tests use.
pv_guest() {
    guest_gone pv || return 0
    disk_create "$GUESTS/c.raw" raw
    GUEST_CONFIG="cpuid='host,-popcnt'" guest_create pv pv "phy:$(disk_loop "$GUESTS/c.raw")"
}

scsi_disk_there() { guest_run pv 'ls /sys/bus/scsi/devices/*:0:0:0/block/sda' > /dev/null; }

@test "a SCSI disk of the host in a PV guest, and nothing left of it" {
    pv_guest
    head -c 8M /dev/urandom > "$GUESTS/lun"
    xl scsi-attach pv "$GUESTS/lun" 0:0:0:0
    wait_for 60 "the disk in the guest" scsi_disk_there
    [ "$(guest_run pv 'md5sum < /dev/sda')" = "$(md5sum < "$GUESTS/lun")" ]
    guest_run pv 'dd if=/dev/urandom of=/dev/sda bs=64k count=16 conv=fsync'
    [ "$(guest_run pv 'dd if=/dev/sda bs=64k count=16 2>/dev/null | md5sum')" = \
        "$(head -c 1M "$GUESTS/lun" | md5sum)" ]
    xl scsi-detach pv 0:0:0:0
    run ! scsi_disk_there
    run ! grep vscsi <(xenstore-ls -f)
    [ -z "$(find /sys/kernel/config/target -name '*xlx-*')" ]
    [ -z "$(ls /var/lib/libxlx)" ]
    rm "$GUESTS/lun"
}

has_feature() { grep -m1 '^flags' | grep -qw "$1"; }

@test "cpuid= in our words: the guest is without the feature, and only that" {
    pv_guest
    has_feature popcnt < /proc/cpuinfo
    guest_run pv 'cat /proc/cpuinfo' > "$BATS_TEST_TMPDIR/cpuinfo"
    run ! has_feature popcnt < "$BATS_TEST_TMPDIR/cpuinfo"
    has_feature sse2 < "$BATS_TEST_TMPDIR/cpuinfo"
    run -0 xl cpu-check --exact --pv --json host,-popcnt
    echo "$output"
    [ "$(jq -c '.verdicts[1] | .fate, .lost, .gained' <<< "$output" |
        tr -d '\n')" = '"run"[][]' ]
    run -1 xl create -n "$(guest_config_file pv)" "cpuid='host,-popcmt'"
    [[ $output == *'did you mean "popcnt"'* ]]
}

@test "Xen's count of a guest's memory adds up" {
    pv_guest
    xl vnuma-show --measure --json pv > "$BATS_TEST_TMPDIR/measured"
    cat "$BATS_TEST_TMPDIR/measured"
    [ "$(jq '[.places[].memory] | add / 1048576 | floor' \
        "$BATS_TEST_TMPDIR/measured")" = \
        "$(/usr/sbin/xl list pv | awk 'NR == 2 { print $3 }')" ]
}

@test "a PV guest writes to a disk served by the kernel" {
    pv_guest
    loop=$(losetup -n -O NAME -j "$GUESTS/c.raw")
    guest_wait_tick pv 3
    guest_destroy pv
    losetup -d "$loop"
    run disk_blocks "$GUESTS/c.raw"
    echo "$output"
    [ "$status" = 0 ]
    [ "$output" -ge 3 ]
}
