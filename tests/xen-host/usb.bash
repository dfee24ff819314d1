# SPDX-License-Identifier: LGPL-2.1-or-later
# USB devices for the tests in dom0.  Two kinds:
#  * gadgets: what Linux's own gadget drivers play on dummy_hcd's controllers;
#    a gadget is plugged in and pulled out as often as a test likes
#  * sticks of the outer QEMU, for dom0 real hardware: "# xen-host: qemu" lines
#    of the group; with a port to QEMU's own monitor they can be yanked
# shellcheck shell=bash

gadgets=/sys/kernel/config/usb_gadget
usb_devices=/sys/bus/usb/devices

# usb_begin: the drivers, and udevd, from which libusb in QEMU hears of devices
# that come and go: without it QEMU knows only those of its own start.
usb_begin() {
    modprobe -a usb-storage usbhid "$@" || return
    modprobe dummy_hcd num=4 is_super_speed=1 || return
    modprobe -a libcomposite usb_f_mass_storage usb_f_hid
    mkdir -p /run/udev
    /lib/systemd/systemd-udevd --daemon > /dev/null 2>&1 3>&- 4>&-
    udevadm trigger --subsystem-match=usb
    udevadm settle
}

usb_end() {
    local gadget
    for gadget in "$gadgets"/*; do
        [ ! -d "$gadget" ] || gadget_remove "${gadget##*/}"
    done
    udevadm control --exit
}

# ---- gadgets ------------------------------------------------------------------

# gadget NAME VENDOR:PRODUCT [SPEED]: a device without a function, not plugged
# in; its serial number is NAME.  SPEED is super-speed, high-speed (the
# default) or full-speed.
gadget() {
    local dir=$gadgets/$1
    mkdir "$dir" || return
    echo "0x${2%:*}" > "$dir/idVendor"
    echo "0x${2#*:}" > "$dir/idProduct"
    echo "${3:-high-speed}" > "$dir/max_speed"
    mkdir "$dir/strings/0x409" "$dir/configs/c.1"
    echo "$1" > "$dir/strings/0x409/serialnumber"
    echo "libxlx" > "$dir/strings/0x409/manufacturer"
    echo "gadget $1" > "$dir/strings/0x409/product"
}

# gadget_function NAME FUNCTION: prints its directory
gadget_function() {
    local dir=$gadgets/$1/functions/$2.0
    mkdir "$dir" && echo "$dir"
}

# gadget_has NAME FUNCTION: the function is part of the device
gadget_has() {
    ln -s "$gadgets/$1/functions/$2.0" "$gadgets/$1/configs/c.1/"
}

# gadget_stick NAME VENDOR:PRODUCT [SPEED]: a stick of 16 MiB, $GUESTS/NAME.img
gadget_stick() {
    local function
    truncate -s 16M "$GUESTS/$1.img"
    gadget "$@" || return
    function=$(gadget_function "$1" mass_storage) || return
    echo "$GUESTS/$1.img" > "$function/lun.0/file"
    gadget_has "$1" mass_storage
}

# gadget_keyboard NAME VENDOR:PRODUCT [SPEED]: a boot keyboard
gadget_keyboard() {
    local function
    gadget "$@" || return
    function=$(gadget_function "$1" hid) || return
    echo 1 > "$function/subclass"
    echo 1 > "$function/protocol"
    echo 8 > "$function/report_length"
    # the report of eight bytes of the HID specification, appendix B.1
    printf '%b' '\x05\x01\x09\x06\xa1\x01\x05\x07\x19\xe0\x29\xe7\x15\x00' \
        '\x25\x01\x75\x01\x95\x08\x81\x02\x95\x01\x75\x08\x81\x03\x95\x05' \
        '\x75\x01\x05\x08\x19\x01\x29\x05\x91\x02\x95\x01\x75\x03\x91\x03' \
        '\x95\x06\x75\x08\x15\x00\x25\x65\x05\x07\x19\x00\x29\x65\x81\x00' \
        '\xc0' > "$function/report_desc"
    gadget_has "$1" hid
}

# gadget_plug NAME [CONTROLLER]: plugs it into dummy_hcd's controller (0), and
# waits until dom0 has configured it.
gadget_plug() {
    echo "dummy_udc.${2:-0}" > "$gadgets/$1/UDC" || return
    wait_for 30 "gadget $1" usb_busid "$1" > /dev/null
    udevadm settle
}

gadget_unplug() {
    echo > "$gadgets/$1/UDC" || return
    wait_for 30 "end of gadget $1" eval "! usb_busid $1 > /dev/null"
    udevadm settle
}

gadget_plugged() { [ "$(cat "$gadgets/$1/UDC")" != "" ]; }

gadget_remove() {
    local dir=$gadgets/$1
    echo > "$dir/UDC" 2>/dev/null
    rm -f "$dir"/configs/c.1/*.0
    rmdir "$dir"/configs/c.1 "$dir"/functions/*.0 "$dir"/strings/0x409 "$dir" \
        2>/dev/null
    rm -f "$GUESTS/$1.img"
    [ ! -d "$dir" ]
}

# ---- what dom0 says of a device -----------------------------------------------

# usb_busid SERIAL: where it is, as 3-1; fails when it is not plugged in.  The
# serial number of a gadget is its name.
usb_busid() {
    local file
    file=$(grep -lsx -- "$1" "$usb_devices"/*/serial) || return
    file=${file%/serial}
    echo "${file##*/}"
}

# usb_file BUSID FILE
usb_file() { cat "$usb_devices/$1/$2"; }

# usb_driver BUSID: of its first interface; usbfs when QEMU has it
usb_driver() {
    local link
    link=$(readlink "$usb_devices/$1:1.0/driver") && basename "$link"
}
usb_driven() { [ "$(usb_driver "$1")" = "$2" ]; }

# usb_disk BUSID: the name of a stick's disk in dom0
usb_disk() {
    ls "$usb_devices/$1:1.0"/host*/target*/*/block 2>/dev/null
}

# ---- what a guest has -----------------------------------------------------------

# usb_backend NAME [CONTROLLER]: the controller's directory in xenstore
usb_backend() {
    echo "/local/domain/0/backend/qusb/$(guest_domid "$1")/${2:-0}"
}

# usb_port NAME PORT [CONTROLLER]: the device that the port is to have
usb_port() { xenstore-read "$(usb_backend "$1" "${3:-0}")/port/$2"; }

# usb_qemu NAME: QEMU's devices, as its monitor shows them
usb_qemu() {
    guest_qmp "$1" human-monitor-command '{"command-line": "info usb"}' |
        jq -r .
}

# usb_works NAME SERIAL: by our account QEMU has it, and nothing is wrong.
usb_works() {
    [ "$(xl usb-show --json "$1" | jq -r --arg serial "$2" \
        '.[].ctrls[].ports[] | select(.device.serial == $serial) |
        "\(.held) \(.problem)"')" = "true " ]
}

# usb_in_guest NAME SERIAL: the disk of a stick in the guest, as sda
usb_in_guest() {
    guest_run "$1" "d=\$(grep -lx '$2' /sys/bus/usb/devices/*/serial) &&
        ls -d \${d%/serial}/*/host*/target*/*/block/* | sed 's,.*/,,' |
        grep ."
}
usb_guest_lacks() { ! usb_in_guest "$@" > /dev/null; }

# usb_found NAME SERIAL: its disk, as $found
usb_found() { found=$(usb_in_guest "$@"); }

# usb_compare NAME SERIAL FILE: 256 KiB written in the guest are in the stick's
# image, and the reverse.
usb_compare() {
    local found disk said
    wait_for 60 "stick $2 in guest $1" usb_found "$1" "$2" ||
        { guest_run "$1" "dmesg | tail -n 20"; return 1; }
    disk=/dev/$found
    said=$(guest_run "$1" "dd if=/dev/urandom of=/tmp/data bs=64k count=4 \
        2>/dev/null && dd if=/tmp/data of=$disk bs=64k seek=16 conv=fsync \
        2>/dev/null && md5sum < /tmp/data") ||
        { echo "the guest cannot write $disk: $said"; return 1; }
    [ "$(dd if="$3" bs=64k skip=16 count=4 status=none | md5sum)" = "$said" ] ||
        { echo "$3 has not what the guest wrote"; return 1; }
    head -c 256K /dev/urandom > "$GUESTS/data"
    dd if="$GUESTS/data" of="$3" bs=64k seek=32 conv=notrunc status=none
    said=$(guest_run "$1" "echo 3 > /proc/sys/vm/drop_caches;
        dd if=$disk bs=64k skip=32 count=4 2>/dev/null | md5sum")
    [ "$(md5sum < "$GUESTS/data")" = "$said" ] ||
        { echo "the guest reads not what $3 has"; return 1; }
}

# ---- real sticks ----------------------------------------------------------------

# outer_monitor COMMAND: a line for the monitor of the QEMU in which all this
# runs, when the group has given it a port named "monitor".
outer_monitor() {
    local port
    modprobe virtio_console || return
    port=$(grep -lx monitor /sys/class/virtio-ports/*/name) || return
    port=${port%/name}
    printf '%s\n' "$*" > "/dev/${port##*/}"
}
