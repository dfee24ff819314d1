#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The host itself: Xen is up, the product is in front of the stock tools and
# guests of each kind run and write.
# xen-host: suites bookworm trixie

bats_require_minimum_version 1.5.0

setup_file() { load guest; guests_begin; }
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

@test "a PVH guest writes to a qcow2 and a raw disk" {
    disk_create "$GUESTS/a.qcow2"
    disk_create "$GUESTS/b.raw" raw
    guest_create pvh pvh "qcow2:$GUESTS/a.qcow2" "raw:$GUESTS/b.raw"
    guest_wait_tick pvh 3
    guest_ticks_off pvh
    last=$(guest_tick pvh)
    run disk_blocks "$GUESTS/a.qcow2" "$GUESTS/b.raw"
    echo "$output, told: $last"
    [ "$status" = 0 ]
    [ "$output" = "$last"$'\n'"$last" ]
}

@test "commands run in the guest, with their status" {
    [ "$(guest_run pvh 'echo hello; uname -s')" = hello$'\n'Linux ]
    run guest_run pvh 'exit 7'
    [ "$status" = 7 ]
}

@test "a damaged block is found" {
    qemu-img convert -U -O raw "$GUESTS/a.qcow2" "$GUESTS/damaged"
    printf X | dd of="$GUESTS/damaged" bs=1 seek=8200 conv=notrunc status=none
    run disk_blocks "$GUESTS/damaged"
    [ "$status" = 1 ]
    [[ $output == *"block 2 is damaged"* ]]
    rm "$GUESTS/damaged"
}

@test "the guest continues after save and restore" {
    guest_ticks_on pvh
    guest_wait_more pvh
    guest_save pvh "$GUESTS/pvh.save"
    guest_restore pvh "$GUESTS/pvh.save"
    rm "$GUESTS/pvh.save"
    guest_wait_more pvh
}

@test "the guest continues after a reboot" {
    last=$(guest_tick pvh)
    guest_reboot pvh
    guest_wait_tick pvh $((last + 1))
}

@test "a destroyed guest leaves whole disks, and nothing on the host" {
    guest_destroy pvh
    run disk_blocks "$GUESTS/a.qcow2" "$GUESTS/b.raw"
    echo "$output"
    [ "$status" = 0 ]
    rm "$GUESTS/a.qcow2" "$GUESTS/b.raw"
}

@test "a PV guest writes to a disk served by the kernel" {
    disk_create "$GUESTS/c.raw" raw
    loop=$(disk_loop "$GUESTS/c.raw")
    guest_create pv pv "phy:$loop"
    guest_wait_tick pv 3
    guest_destroy pv
    losetup -d "$loop"
    run disk_blocks "$GUESTS/c.raw"
    echo "$output"
    [ "$status" = 0 ]
    [ "$output" -ge 3 ]
}
