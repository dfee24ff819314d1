#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
#
# USB devices of the host in a guest as stock xl gives them, without anything of
# ours: the control of usb.bats.  A test here passes when stock xl does what
# docs/usb.md says of it; one that fails tells that Xen has become better, or
# that what we work around was never there.
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
    gadget_stick b 1d6b:0104
}
setup() {
    load guest
    load usb
    PATH=/usr/sbin:/usr/bin:/sbin:/bin      # stock xl, whatever is installed
    gadget_plugged b || gadget_plug b 1
}
# What a failed test left is no failure of the next one.
teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || {
        tail -n 20 /var/log/xen/xl-c.log
        guest_gone c || guest_destroy c
    }
}
teardown_file() {
    load guest
    load usb
    guests_end
    usb_end
}

# where NAME: hostbus=3,hostaddr=7, as stock xl wants it
where() {
    local busid
    busid=$(usb_busid "$1") || return
    echo "hostbus=$(usb_file "$busid" busnum),hostaddr=$(usb_file "$busid" devnum)"
}

# start_with [LINE]...: the guest c with lines of USB in its configuration
start_with() {
    GUEST_CONFIG=$(printf '%s\n' "$@") guest_config c pv
    guest_start c
}
controller="usbctrl = ['type=qusb,version=2,ports=4']"

no_qemu() { ! pgrep -f -- "-xen-domid $(guest_domid c) " > /dev/null; }

# look: what there is, to read when a test has failed
look() {
    xl usb-list c || true
    xenstore-ls -f | grep -E 'vusb|qusb|device-model' || true
    pgrep -af -- '-xen-domid' || true
}

@test "a controller of type qusb and a device in the config: it works" {
    gadget_plug a 0
    start_with "$controller" "usbdev = ['type=hostdev,$(where a)']"
    usb_compare c a "$GUESTS/a.img"
    look
    usb_qemu c
    usb_driven "$(usb_busid a)" usbfs
}

@test "after a reboot the config's device is there, also a detached one" {
    guest_reboot c
    look
    [ "$(usb_port c 1)" = "$(usb_busid a)" ]
    xl usbdev-detach c 0 1
    guest_reboot c
    [ "$(usb_port c 1)" = "$(usb_busid a)" ]
    guest_destroy c
}

@test "an attached device is lost when the guest reboots" {
    start_with "$controller"
    # shellcheck disable=SC2046 # two words
    xl usbdev-attach c $(where a | tr , ' ')
    usb_compare c a "$GUESTS/a.img"
    guest_reboot c
    look
    [ "$(usb_port c 1)" = "" ]
    usb_guest_lacks c a
    run ! usb_driven "$(usb_busid a)" usbfs
    guest_destroy c
}

@test "an address has another meaning after the device was plugged in anew" {
    old=$(where a)
    gadget_unplug a
    gadget_plug a 0
    echo "$old, $(where a)"
    [ "$old" != "$(where a)" ]
}

@test "one device that was pulled out: nothing can be attached on the host" {
    start_with "$controller" "usbdev = ['type=hostdev,$(where a)']"
    usb_compare c a "$GUESTS/a.img"
    gadget_unplug a
    run xl usb-list c
    echo "$output"
    # shellcheck disable=SC2046 # two words
    run xl usbdev-attach c $(where b | tr , ' ')
    echo "attach: $status $output"
    [ "$status" != 0 ]
    [[ $output == *"refusing to continue"* ]]
    run xl usbdev-detach c 0 1
    echo "detach: $status $output"
    [ "$status" != 0 ]
    run xl usbctrl-detach c 0
    echo "usbctrl-detach: $status $output"
    [ "$status" != 0 ]
    look
}

@test "it stays unusable when it is plugged in again" {
    gadget_plug a 0
    sleep 10
    look
    usb_qemu c
    guest_run c "dmesg | tail -n 20"
    usb_guest_lacks c a
}

@test "what is left in xenstore when the guest is destroyed" {
    gadget_unplug a
    domid=$(guest_domid c)
    guest_destroy c
    run xenstore-ls -f
    grep -E "qusb|vusb" <<< "$output"
    grep -q "backend/qusb/$domid/0" <<< "$output"
    xenstore-rm "/local/domain/0/backend/qusb/$domid"
}

@test "numbers: octal, and modulo 256; listed in hexadecimal" {
    # until it has an address that is 8 in octal
    until [ "$(usb_file "$(usb_busid b)" devnum)" = 8 ]; do
        gadget_unplug b
        gadget_plug b 1
        [ "$(usb_file "$(usb_busid b)" devnum)" -le 8 ]
    done
    bus=$(usb_file "$(usb_busid b)" busnum)
    start_with "$controller"
    xl usbdev-attach c hostbus="$bus" hostaddr=010
    usb_compare c b "$GUESTS/b.img"
    xl usbdev-detach c 0 1
    wait_for 30 "end in the guest" usb_guest_lacks c b
    xl usbdev-attach c hostbus="$bus" hostaddr=264
    [ "$(usb_port c 1)" = "$(usb_busid b)" ]
    xl usbdev-detach c 0 1
    while [ "$(usb_file "$(usb_busid b)" devnum)" -lt 10 ]; do
        gadget_unplug b
        gadget_plug b 1
    done
    xl usbdev-attach c hostbus="$bus" hostaddr=10
    run xl usb-list c
    echo "$output"
    [[ $output == *"Device 00a"* ]]
    xl usbdev-detach c 0 1
    guest_destroy c
}

@test "a device too fast for its controller: attached, says xl" {
    start_with "usbctrl = ['type=qusb,version=1,ports=4']"
    # shellcheck disable=SC2046 # two words
    run -0 xl usbdev-attach c $(where b | tr , ' ')
    echo "$output"
    sleep 5
    look
    usb_qemu c
    [ "$(usb_port c 1)" = "$(usb_busid b)" ]
    usb_guest_lacks c b
    run ! usb_driven "$(usb_busid b)" usbfs
    grep "device $(usb_busid b) wrong speed" /var/log/xen/qemu-dm-c.log
    guest_destroy c
}

@test "the same port of two controllers: QEMU is gone, and attached, says xl" {
    start_with "usbctrl = ['type=qusb,version=2,ports=2',
        'type=qusb,version=2,ports=2']"
    gadget_plug a 0
    # shellcheck disable=SC2046 # two words
    run -0 xl usbdev-attach c $(where a | tr , ' ') controller=0 port=1
    usb_compare c a "$GUESTS/a.img"
    # shellcheck disable=SC2046 # two words
    run -0 xl usbdev-attach c $(where b | tr , ' ') controller=1 port=1
    wait_for 30 "QEMU's end" no_qemu
    tail -n 2 /var/log/xen/qemu-dm-c.log
    look
    [ "$(xenstore-read "$(usb_backend c 1)/state")" = 4 ]
    run -1 xl usbctrl-detach c 1
    guest_destroy c
    gadget_unplug a
}

@test "a port with a device that is not there: QEMU is gone" {
    start_with "$controller"
    busid=$(usb_busid b)
    gadget_unplug b
    xenstore-write "$(usb_backend c)/port/1" "$busid"
    wait_for 60 "QEMU's end" no_qemu
    tail -n 2 /var/log/xen/qemu-dm-c.log
    guest_destroy c
}

# dead [LINE]...: with these lines the guest c gets a controller that nobody
# serves, and its kernel waits five minutes for it.
dead() {
    GUEST_ARGS=loglevel=5 GUEST_CONFIG=$(printf '%s\n' "$@") guest_config c pv
    guest_xl_create c
    wait_for 120 "the guest to wait" \
        grep -q 'Waiting for devices to initialise' "$(guest_log_file c)"
    look
    no_qemu
    [ "$(usb_port c 1)" = "$(usb_busid b)" ]
    [ "$(xenstore-read "$(usb_backend c)/state")" = 1 ]
    guest_destroy c
}

@test "a controller of the default type: no QEMU, and the guest hangs" {
    dead "usbctrl = ['version=2,ports=4']" \
        "usbdev = ['type=hostdev,$(where b)']"
}

@test "a device without a controller: the same" {
    dead "usbdev = ['type=hostdev,$(where b)']"
}

@test "a guest without QEMU cannot get a controller later" {
    start_with
    run xl usbctrl-attach c type=qusb version=2 ports=4
    echo "$status $output"
    [ "$status" != 0 ]
    [[ $output == *"device model required but not running"* ]]
    guest_destroy c
}

@test "no guest at all when its device is not there" {
    gone=$(where b)
    gadget_unplug b
    GUEST_CONFIG="$controller
usbdev = ['type=hostdev,$gone']" guest_config c pv
    run xl create -q "$(guest_config_file c)"
    echo "$status $output"
    [ "$status" != 0 ]
    [[ $output == *"not assignable"* ]]
    guest_gone c || xl destroy c
}
