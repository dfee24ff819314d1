#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
#
# USB devices of the host in a PVH guest, which has no QEMU of its own: the
# same as for a PV guest, and a migration, which stock xl of Debian's Xen 4.17
# only does with such a guest.
# xen-host: run asked
# xen-host: deadline 3600
# xen-host: module drivers/usb/host/xen-hcd.c

bats_require_minimum_version 1.5.0

setup_file() {
    load guest
    load usb
    usb_begin
    guests_begin /job/modules/xen-hcd.ko usb-storage sd_mod
    gadget_stick a 1d6b:0104
    gadget_plug a 0
    guest_config p pvh
    guest_start p
}
setup() { load guest; load usb; }
teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || {
        xl usb-show
        guest_log p | tail -n 20
        tail -n 5 /run/libxlx/*.log
    }
}
teardown_file() {
    load guest
    load usb
    guests_end
    usb_end
}

works() { usb_works p a; }
no_qemu() { ! pgrep -f -- "-xen-domid $(guest_domid p) " > /dev/null; }

@test "PVH: attached, both directions, detached, and no QEMU again" {
    no_qemu
    xl usb-attach p 1d6b:0104
    works
    usb_compare p a "$GUESTS/a.img"
    xl usb-detach p 1d6b:0104
    wait_for 30 "the driver in dom0" usb_driven "$(usb_busid a)" usb-storage
    wait_for 30 "end of the stick in the guest" usb_guest_lacks p a
    wait_for 30 "QEMU's end" no_qemu
}

@test "PVH: the guest reboots: it has its stick again" {
    xl usb-attach p 1d6b:0104
    guest_reboot p
    wait_for 60 "the stick, back" works
    usb_compare p a "$GUESTS/a.img"
}

@test "PVH: migrated with --detach, it has its stick on the other side" {
    works
    shell_to_here
    old=$(guest_domid p)
    xl migrate --detach -s /run/here p localhost
    [ "$(guest_domid p)" != "$old" ]
    guest_migrated p
    wait_for 60 "the stick" works
    usb_compare p a "$GUESTS/a.img"
    xl usb-detach p 1d6b:0104
    wait_for 30 "the driver in dom0" usb_driven "$(usb_busid a)" usb-storage
    guest_destroy p
    xl usb-repair
    [ "$(find /var/lib/libxlx -name usb.json)" = "" ]
}
