#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of bats and of the rig
# usb-assignable-add and -remove as an administrator types them: in a sysfs of
# this test, with udev's rules in a file.

bats_require_minimum_version 1.5.0
load rig

uuid=77777777-7d1e-4c5a-9a43-0d5d4f5e6a02

setup() {
    rig_setup
    command -v jq > /dev/null || skip 'no jq'
    program=$top_builddir/xl-plugins/.libs/xl-usb
    [ -x "$program" ] || program=$top_builddir/xl-plugins/xl-usb
    for name in assignable assignable-add assignable-remove detach; do
        ln -s "$program" "$tmp/exec/xl-usb-$name"
    done
    sys=$tmp/sys rules=$tmp/rules.d/71-libxlx-usb.rules
    mkdir -p "$sys/bus/usb/devices" "$tmp/rules.d" "$tmp/proc/1" \
        "$tmp/proc/self/ns" "$tmp/proc/sys/kernel/random" "$tmp/run"
    : > "$sys/bus/usb/drivers_probe"
    ln -s 'mnt:[1]' "$tmp/proc/self/ns/mnt"
    echo 11111111-2222-3333-4444-555555555555 \
        > "$tmp/proc/sys/kernel/random/boot_id"
    xhci=$sys/devices/pci0000:00/0000:00:14.0
    mkdir -p "$xhci/usb1"
    echo 2.00 > "$xhci/usb1/version"
    ln -s "$xhci/usb1" "$sys/bus/usb/devices/usb1"
    plug 1-1 1666 AB12
    plug 1-2 0002
    base+=(LD_LIBRARY_PATH="$top_builddir/lib/.libs" LIBXLX_SYSFS_DIR="$sys"
           LIBXLX_RUN_DIR="$tmp/run" LIBXLX_PROC_DIR="$tmp/proc"
           LIBXLX_DEV_DIR="$tmp" LIBXLX_USB_KEPT="$rules"
           LIBXLX_USB_POLICY="$tmp/policy" FAKE_RUNNING="web,$uuid")
}

# plug PATH PRODUCT [SERIAL]: a device with two interfaces
plug() {
    local dir=$xhci/usb1/$1 i
    for i in 0 1; do
        mkdir -p "$dir/$1:1.$i"
        echo 08 > "$dir/$1:1.$i/bInterfaceClass"
        echo 1 > "$dir/$1:1.$i/authorized"
        ln -sfn "$dir/$1:1.$i" "$sys/bus/usb/devices/$1:1.$i"
    done
    echo 1 > "$dir/busnum"
    echo "${1#1-}" > "$dir/devnum"
    echo 0951 > "$dir/idVendor"
    echo "$2" > "$dir/idProduct"
    echo 00 > "$dir/bDeviceClass"
    [ -z "${3-}" ] || echo "$3" > "$dir/serial"
    ln -sfn "$dir" "$sys/bus/usb/devices/$1"
}

unplug() {
    rm -r "$xhci/usb1/$1" "$sys/bus/usb/devices/$1"*
}

# interfaces PATH VALUE: the authorization of both
interfaces() {
    [ "$(cat "$xhci/usb1/$1/$1":1.?/authorized | tr '\n' ' ')" = "$2 $2 " ]
}

# kept PATH: by which selector, "" for none
kept() {
    xl usb-assignable --json |
        jq -r --arg path "$1" '.devices[] | select(.path == $path).kept'
}

# devices_of ENTRY: the guest web has, or waits for, that
devices_of() {
    local dir=$tmp/state/$uuid
    mkdir -p "$dir"
    printf '{"version": 1, "guest": {"name": "web", "uuid": "%s", "domid": 7}}' \
        $uuid > "$dir/guest.json"
    printf '{"version": 1, "entries": [%s]}' "$1" > "$dir/usb.json"
    chmod -R go-w "$tmp/state"
}

has='{"selector": "0951:1666", "status": "attached", "ctrl": 0, "port": 2,
    "path": "1-1", "domid": 7, "boot": "11111111-2222-3333-4444-555555555555"}'

@test "kept, listed, and given back" {
    run -0 xl usb-assignable-add 1:1
    [ "$output" = 'Kept 1-1: 0951:1666:AB12' ]
    interfaces 1-1 0
    interfaces 1-2 1
    [ "$(grep -c '^# kept: 0951:1666:AB12$' "$rules")" = 1 ]
    [ "$(kept 1-1)" = 0951:1666:AB12 ]
    [ -z "$(kept 1-2)" ]
    run -0 xl usb-assignable
    [[ ${lines[0]} == *'Kept by'* && ${lines[1]} == *' 0951:1666:AB12' ]]
    [ ! -e "$rules.new" ]

    run -0 xl usb-assignable-remove 1-1
    [ "$output" = 'Not kept any more: 1-1' ]
    interfaces 1-1 1
    [ "$(cat "$sys/bus/usb/drivers_probe")" = 1-1:1.1 ]
    [ ! -e "$rules" ]
    [ -z "$(kept 1-1)" ]
}

@test "twice: the same, also when something has authorized it between them" {
    xl usb-assignable-add 1-1
    cp "$rules" "$tmp/before"
    echo 1 > "$xhci/usb1/1-1/1-1:1.1/authorized"
    run -0 xl usb-assignable-add 1-1
    [ "$output" = 'Kept 1-1: pci-0000:00:14.0-usbv2-0:1' ]
    interfaces 1-1 0
    cmp "$rules" "$tmp/before"
    xl usb-assignable-remove 1-1
    run -1 xl usb-assignable-remove 1-1
    echo "$output"
    [[ $output == 'xl usb-assignable-remove: selector "1-1": no such device is kept from the host'*'; none is' ]]
}

@test "by ID and by socket: both keep it, and each is given up by its name" {
    xl usb-assignable-add 0951:1666
    run -0 xl usb-assignable-add 1-1
    [ "$output" = 'Kept 1-1: pci-0000:00:14.0-usbv2-0:1' ]
    [ "$(grep -c '^# kept: ' "$rules")" = 2 ]
    # another device in that socket is kept as well
    unplug 1-1
    plug 1-1 7777
    [ "$(kept 1-1)" = pci-0000:00:14.0-usbv2-0:1 ]
    plug 1-1 1666 AB12
    run -0 xl usb-assignable-add 1-1
    interfaces 1-1 0
    # it is still kept by the other one
    run -0 xl usb-assignable-remove 0951:1666:AB12
    echo "$output"
    [[ $output == *'1-1: it is still kept, by pci-0000:00:14.0-usbv2-0:1'* ]]
    [[ $output == *'Not kept any more: 0951:1666:AB12' ]]
    interfaces 1-1 0
    run -0 xl usb-assignable-remove 1-1
    [ "$output" = 'Not kept any more: 1-1' ]
    interfaces 1-1 1
}

@test "a dry run says it, and does nothing" {
    run -0 xl usb-assignable-add --dry-run 1-1
    [ "$output" = 'Would keep 1-1: pci-0000:00:14.0-usbv2-0:1' ]
    [ ! -e "$rules" ]
    interfaces 1-1 1
    xl usb-assignable-add 1-1
    run -0 xl usb-assignable-remove --dry-run 1-1
    [ "$output" = 'Would not be kept any more: 1-1' ]
    interfaces 1-1 0
    [ -n "$(kept 1-1)" ]
}

@test "no such device" {
    for command in add remove; do
        for selector in 1-9 0951:9999 9:9; do
            run -1 xl usb-assignable-$command $selector
            echo "$output"
            [[ $output == "xl usb-assignable-$command: "*"$selector"*'no such device'* ]]
            [ "${#lines[@]}" = 1 ]
        done
        run -1 xl usb-assignable-$command 1-x
        [[ $output == *'selector "1-x": a port is missing'* ]]
        run -2 xl usb-assignable-$command
    done
    [ ! -e "$rules" ]
}

@test "a guest has it, or waits for it" {
    devices_of "$has"
    for force in '' --force; do
        # shellcheck disable=SC2086 # words
        run -1 xl usb-assignable-add $force 1-1
        echo "$output"
        [[ $output == *'1-1: guest web has it'* ]]
    done
    [ ! -e "$rules" ]
    interfaces 1-1 1
    devices_of "${has/attached/missing}"
    run -1 xl usb-assignable-add 1-1
    echo "$output"
    [[ $output == *'1-1: guest web '* ]]
    run -0 xl usb-assignable-add 1-2
}

@test "given up while a guest has it: the guest keeps it" {
    xl usb-assignable-add 1-1
    echo 1 | tee "$xhci/usb1/1-1/1-1":1.?/authorized
    devices_of "$has"
    run -0 xl usb-assignable-remove 1-1
    echo "$output"
    [[ $output == *"1-1: the host's drivers get it later: guest web has it"* ]]
    [ ! -s "$sys/bus/usb/drivers_probe" ]
    [ ! -e "$rules" ]
}

@test "a rule whose device is not there is given up by its name" {
    xl usb-assignable-add 1:1
    xl usb-assignable-add 1-2
    unplug 1-1
    unplug 1-2
    run -0 xl usb-assignable --json
    [ "$(jq '.devices? // [] | length' <<< "$output")" = 0 ]
    run -0 xl usb-assignable-remove 0951:1666:AB12
    [ "$output" = 'Not kept any more: 0951:1666:AB12' ]
    run -1 xl usb-assignable-remove 0951:1667
    [[ $output == *'; these are: pci-0000:00:14.0-usbv2-0:2' ]]
    # by its path as well, which means that socket
    run -0 xl usb-assignable-remove 1-2
    [ ! -e "$rules" ]
}

@test "two devices of one ID: the rule is given up for both" {
    xl usb-assignable-add 0951:0002
    plug 1-3 0002
    [ "$(kept 1-3)" = 0951:0002 ]
    echo 0 | tee "$xhci/usb1/1-3/1-3":1.?/authorized
    run -0 xl usb-assignable-remove 0951:0002
    interfaces 1-2 1
    interfaces 1-3 1
    # but not by a name that means either of them
    run -1 xl usb-assignable-add 0951:0002
    echo "$output"
    [[ $output == *1-2*1-3* ]]
    [ -z "$(kept 1-2)" ]
}

@test "the kernel does not do it: nothing is written" {
    rm "$xhci/usb1/1-1/1-1:1.1/authorized"
    run -1 xl usb-assignable-add 1-1
    echo "$output"
    [[ $output == *'1-1:1.1: the kernel cannot keep its drivers from it'* ]]
    [ ! -e "$rules" ]
    [ "$(cat "$xhci/usb1/1-1/1-1:1.0/authorized")" = 1 ]
}

@test "an administrator has edited the file" {
    xl usb-assignable-add 1:1
    # without our words at its top, and without an end to the last line
    sed -i '/^# \(Devices\|and\)/d' "$rules"
    printf %s "$(cat "$rules")" > "$tmp/short"
    cp "$tmp/short" "$rules"
    [ "$(kept 1-1)" = 0951:1666:AB12 ]
    xl usb-assignable-add 1-2
    [ "$(grep -c '^# kept: ' "$rules")" = 2 ]
    [ "$(grep -c '^ACTION' "$rules")" = 2 ]
    # lines of theirs stay
    sed -i '1i # mine' "$rules"
    echo 'SUBSYSTEM=="usb", TAG+="theirs"' >> "$rules"
    xl usb-assignable-remove 1-1
    xl usb-assignable-remove 1-2
    printf '%s\n' '# mine' 'SUBSYSTEM=="usb", TAG+="theirs"' | diff - "$rules"
}

@test "a file that cannot be written, and one that is not a file" {
    rm -r "$tmp/rules.d"
    run -1 xl usb-assignable-add 1-1
    echo "$output"
    [[ $output == *"$rules"*': cannot create'* ]]
    interfaces 1-1 1
    mkdir -p "$rules"
    run -1 xl usb-assignable-add 1-1
    echo "$output"
    [[ $output == *"$rules"* ]]
    interfaces 1-1 1
}
