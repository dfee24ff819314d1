#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
#
# USB devices of the host in an HVM guest, on a controller that QEMU emulates:
# the guest has drivers of its own for it.
# xen-host: run asked
# xen-host: deadline 3600

bats_require_minimum_version 1.5.0

setup_file() {
    load guest
    load usb
    usb_begin
    guests_begin xhci-pci usb-storage sd_mod
    gadget_stick a 1d6b:0104
    gadget_plug a 0
    guest_config h hvm
    guest_start h
}
setup() { load guest; load usb; }
teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || {
        xl usb-show
        usb_qemu h
        guest_run h 'dmesg | tail -n 20'
        tail -n 5 /var/log/xen/qemu-dm-h.log
    }
}
teardown_file() {
    load guest
    load usb
    guests_end
    usb_end
}

works() { usb_works h a; }

@test "an emulated xhci is made, serves the stick and goes with it" {
    xl -v usb-attach h 1d6b:0104
    xl usb-show h
    [ "$(xl usb-show --json h | jq -r '.[].ctrls[] |
        "\(.type) \(.version)"')" = "devicemodel 3" ]
    works
    usb_compare h a "$GUESTS/a.img"
    usb_qemu h
}

@test "pulled out, and plugged in again" {
    gadget_unplug a
    wait_for 60 "end of the stick in the guest" usb_guest_lacks h a
    start=$EPOCHSECONDS
    gadget_plug a 0
    wait_for 90 "the stick, back" works
    tap_note "back $((EPOCHSECONDS - start)) s after it was plugged in"
    usb_compare h a "$GUESTS/a.img"
}

@test "the guest reboots: it has its stick again" {
    guest_reboot h
    wait_for 120 "the stick, back" works
    usb_compare h a "$GUESTS/a.img"
}

@test "detached: the host has it, and the controller is gone" {
    xl usb-detach h 1d6b:0104
    wait_for 30 "the driver in dom0" usb_driven "$(usb_busid a)" usb-storage
    [ "$(xl usb-show --json h | jq '[.[].ctrls[]] | length')" = 0 ]
    guest_destroy h
    xl usb-repair
    [ "$(find /var/lib/libxlx -name usb.json)" = "" ]
}

# ---- everything below a controller ----------------------------------------------

ports() { xl usb-show --json h | jq -r '.[].ctrls[].ports[].path'; }
no_ports() { [ "$(ports)" = "" ]; }
stick_b() { usb_works h b; }

@test "a tree: what is plugged in is attached, what is pulled out taken off" {
    ! guest_gone h || guest_start h
    gadget_stick b 1d6b:0105
    run -0 xl usb-attach --tree h platform-dummy_hcd.1
    echo "$output"
    [[ $output == *"Attached USB tree platform-dummy_hcd.1"* ]]
    no_ports
    run -1 xl usb-attach --tree h platform-dummy_hcd.1
    gadget_plug b 1
    wait_for 90 "stick b" stick_b
    xl usb-show h
    usb_compare h b "$GUESTS/b.img"
    gadget_unplug b
    wait_for 60 "end of the stick in the guest" usb_guest_lacks h b
    wait_for 60 "the empty port" no_ports
    # next to the tree
    usb_driven "$(usb_busid a)" usb-storage
}

@test "a device of the tree that is detached stays out until it is pulled out" {
    gadget_plug b 1
    wait_for 90 "stick b" stick_b
    xl usb-detach h 1d6b:0105
    xl usb-repair h
    no_ports
    xl usb-show h
    [ "$(xl usb-show --json h | jq '.[].trees[].left[].detached')" = true ]
    gadget_unplug b
    gadget_plug b 1
    wait_for 90 "stick b" stick_b
}

@test "the guest reboots: it has what is below its tree" {
    guest_reboot h
    wait_for 120 "stick b, back" stick_b
    usb_compare h b "$GUESTS/b.img"
}

@test "the tree is detached: the host has its devices, and what comes" {
    run -0 xl usb-detach --tree h platform-dummy_hcd.1
    echo "$output"
    wait_for 30 "the driver in dom0" usb_driven "$(usb_busid b)" usb-storage
    gadget_unplug b
    gadget_plug b 1
    wait_for 30 "the driver in dom0" usb_driven "$(usb_busid b)" usb-storage
    xl usb-repair
    no_ports
    guest_destroy h
    xl usb-repair
    [ "$(find /var/lib/libxlx -name usb.json)" = "" ]
}
