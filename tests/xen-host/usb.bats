#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
# shellcheck disable=SC2016  # what the guest's shell expands
#
# USB devices of the host in a guest: gadgets of dom0's own, which come and go,
# and sticks and a sound card of the outer QEMU.  What was written at one end is
# compared with what the other end reads.  usb-stock.bats is the control.
# xen-host: run asked
# xen-host: deadline 5400
# xen-host: module drivers/usb/host/xen-hcd.c
# xen-host: file stick.img 16M
# xen-host: file fast.img 16M
# xen-host: qemu -blockdev driver=file,node-name=stick,filename=stick.img
# xen-host: qemu -blockdev driver=file,node-name=fast,filename=fast.img
# xen-host: qemu -device usb-ehci,id=ehci -device qemu-xhci,id=xhci
# xen-host: qemu -device usb-storage,id=stick,bus=ehci.0,drive=stick,serial=STICK
# xen-host: qemu -device usb-storage,id=fast,bus=xhci.0,drive=fast,serial=FAST
# xen-host: qemu -audiodev none,id=none -device usb-audio,bus=xhci.0,audiodev=none
# xen-host: qemu -chardev socket,id=outer,path=outer.sock,server=on,wait=off
# xen-host: qemu -mon chardev=outer,mode=readline
# xen-host: qemu -chardev socket,id=inner,path=outer.sock -device virtio-serial
# xen-host: qemu -device virtserialport,chardev=inner,name=monitor

bats_require_minimum_version 1.5.0

setup_file() {
    load guest
    load usb
    usb_begin ehci-pci xhci-pci
    guests_begin /job/modules/xen-hcd.ko usb-storage sd_mod
    gadget_stick a 1d6b:0104
    gadget_stick b 1d6b:0105
    begin
    world > "$GUESTS/before"
}
# What each test finds: the guest, and two sticks that nobody has.
begin() {
    gadget_plugged a || gadget_plug a 0
    gadget_plugged b || gadget_plug b 1
    ! guest_gone g || { guest_config g pv; guest_start g; }
}
setup() { load guest; load usb; begin; }
# What a failed test left is no failure of the next one: when QEMU has died under
# a device the guest can be left with a USB that hangs.
teardown() {
    [ -z "${BATS_TEST_COMPLETED:-}" ] || return 0
    xl usb-show g
    guest_log g | tail -n 20
    tail -n 5 /var/log/xen/qemu-dm-*.log /run/libxlx/*.log
    guest_destroy g
    xl usb-repair
}
teardown_file() {
    load guest
    load usb
    guests_end
    usb_end
}

# All that an operation of ours could leave, without what changes by itself.
world() {
    xenstore-ls -f | sed -n "s/ = .*//; s,/$(guest_domid g)/,/DOMID/,; /usb/p"
    find /var/lib/libxlx -mindepth 1 2>/dev/null | sort
    (cd "$usb_devices" && for i in *:*; do
        echo "$i $(readlink "$i/driver")"
    done)
    pgrep -fl -- '-xen-domid' || true
}
same_world() { world | diff -U0 "$GUESTS/before" -; }
clean() { wait_for 60 "the state before" same_world; }

info() {
    xl usb-show --json g |
        jq -r ".[].ctrls[] | .devid as \$ctrl | .ports[] | .ctrl = \$ctrl | $1"
}
works() { usb_works g "$1"; }
missing() { info .path | grep -qx "$1" && [ "$(info .present)" = false ]; }
# served NAME IMAGE: all that a device has to do
served() {
    works "$1" || { xl usb-show g; return 1; }
    usb_driven "$(usb_busid "$1")" usbfs || return
    usb_compare g "$1" "$2"
}
no_qemu() { ! pgrep -f -- "-xen-domid $(guest_domid g) " > /dev/null; }
watchers() { pgrep -fc 'xl-usb-watch' || true; }

@test "what there is, and who uses it" {
    xl usb-assignable
    xl usb-policy
    run -0 --separate-stderr xl usb-assignable --json
    echo "$output"
    jq -e --arg path "$(usb_busid a)" '.devices[] | select(.serial == "a") |
        .path == $path and .vendor == 7531 and .product == 260 and
        .kind == "storage" and .isochronous == false and .used_by == "" and
        .denied == ""' <<< "$output"
    [ "$(jq -r '.devices[] | select(.serial == "STICK") | .speed' \
        <<< "$output")" = high ]
    [ "$(jq -r '.devices[] | select(.serial == "FAST") | .speed' \
        <<< "$output")" = super ]
    [ "$(jq -r '.devices[] | select(.product == 2) | .isochronous' \
        <<< "$output")" = true ]
    mkfs.ext4 -q -F "/dev/$(usb_disk "$(usb_busid STICK)")"
    mkdir -p /run/m
    mount "/dev/$(usb_disk "$(usb_busid STICK)")" /run/m
    run -0 --separate-stderr xl usb-assignable --json
    umount /run/m
    run -0 jq -r '.devices[] | select(.serial == "STICK") | .used_by' \
        <<< "$output"
    echo "$output"
    [[ $output == *"mounted on /run/m"* ]]
}

@test "a guest without QEMU: attached, used, given back, and no QEMU again" {
    no_qemu
    time xl -v usb-attach g 1d6b:0104
    xl usb-show g
    usb_qemu g
    served a "$GUESTS/a.img"
    [[ "$(xl usb-assignable --json |
        jq -r '.devices[] | select(.serial == "a") | .used_by')" == *g* ]]
    xl usb-detach g 1d6b:0104
    wait_for 30 "the driver in dom0" \
        usb_driven "$(usb_busid a)" usb-storage
    wait_for 30 "end of the stick in the guest" usb_guest_lacks g a
    clean
    no_qemu
}

@test "every way to name a device" {
    busid=$(usb_busid a)
    bus=$(usb_file "$busid" busnum) address=$(usb_file "$busid" devnum)
    for selector in "$busid" 1d6b:0104 1d6b:0104:a "$bus:$address" \
        "$(printf '%03d:%03d' "$bus" "$address")" "/sys/bus/usb/devices/$busid" \
        "/sys/class/block/$(usb_disk "$busid")"
    do
        run -0 xl usb-attach -N --json g "$selector"
        [ "$(jq -r .path <<< "$output")" = "$busid" ] ||
            { echo "$selector: $output"; false; }
    done
    same_world
    xl usb-attach g "$bus:$address"
    works a
    xl usb-detach g "$busid"
    clean
}

@test "two at once, and a real stick; the first works on meanwhile" {
    mkfs.ext4 -q -F "/dev/$(usb_disk "$(usb_busid STICK)")"
    xl usb-attach g 1d6b:0104
    xl usb-attach g 46f4:0001:STICK
    xl usb-attach --controller 0 --port 4 g "$(usb_busid b)"
    xl usb-show g
    served a "$GUESTS/a.img"
    served b "$GUESTS/b.img"
    works STICK
    wait_for 60 "the stick" eval 'usb_in_guest g STICK > /dev/null'
    # what dom0 wrote before, the magic number of a file system
    [ "$(guest_run g "dd if=/dev/$(usb_in_guest g STICK) bs=1 skip=1080 count=2 \
        2>/dev/null | od -An -tx1")" = " 53 ef" ]
    xl usb-detach g 46f4:0001:STICK
    xl usb-detach g 0/4
    served a "$GUESTS/a.img"
    xl usb-detach g "$(usb_busid a)"
    clean
}

@test "a second controller: never the same port number, QEMU would end" {
    gadget_keyboard k 1d6b:0106 full-speed
    gadget_plug k 2
    xl usb-attach g 1d6b:0104
    xl usb-attach --force --version 1 g 1d6b:0106
    xl usb-show g
    works k
    served a "$GUESTS/a.img"
    [ "$(info .number | sort -u | wc -l)" = 2 ]
    run -1 xl usb-attach --controller 0 \
        --port "$(info 'select(.ctrl == 1) | .number')" g 1d6b:0105
    echo "$output"
    works k
    xl usb-detach g 1d6b:0106
    xl usb-detach g 1d6b:0104
    gadget_remove k
    clean
}

@test "a SuperSpeed stick" {
    xl usb-attach g 46f4:0001:FAST
    works FAST
    wait_for 60 "the stick" eval 'usb_in_guest g FAST > /dev/null'
    guest_run g "dd if=/dev/urandom of=/tmp/data bs=64k count=4; \
        dd if=/tmp/data of=/dev/$(usb_in_guest g FAST) bs=64k conv=fsync"
    sum=$(guest_run g 'md5sum < /tmp/data')
    xl usb-detach g 46f4:0001:FAST
    wait_for 30 "the stick in dom0" eval \
        '[ -b "/dev/$(usb_disk "$(usb_busid FAST)")" ]'
    [ "$(dd if="/dev/$(usb_disk "$(usb_busid FAST)")" bs=64k count=4 \
        iflag=direct status=none | md5sum)" = "$sum" ]
    clean
}

# refused TEXT ARGUMENT...: fails with TEXT in one line
refused() {
    local text=$1
    shift
    run xl usb-attach "$@"
    echo "$output"
    [ "$status" = 1 ] || return
    [[ $output == *"$text"* ]] || { echo "wanted: $text"; return 1; }
    [ "$(wc -l <<< "$output")" = 1 ]
}

@test "what is wrong is refused, and nothing changes" {
    refused 'more than one device: 1-1 ' g 46f4:0001
    refused hub g 1:1
    for selector in '' 1-0 1-1. 300:1 1:300 1d6b:104 1d6b:0104: zz:11 1:010x \
        class:nothing /dev/null $'1-1\n'; do
        refused selector g "$selector"
    done
    refused 99-1 g 99-1
    refused 'nobody' nobody 1d6b:0104
    refused ontroller --controller 7 g 1d6b:0104
    same_world
    xl usb-attach g 1d6b:0104
    run -1 xl usb-attach g 1d6b:0104
    echo "$output"
    [[ $output == *'the guest has it already'* ]]
    run -1 xl usb-attach --controller 0 --port 1 g 1d6b:0105
    echo "$output"
    run -1 xl usb-attach --controller 0 --port 99 g 1d6b:0105
    echo "$output"
    xl usb-detach g 1d6b:0104
    clean
}

@test "what is in use, and what the policy denies" {
    disk=/dev/$(usb_disk "$(usb_busid b)")
    mkfs.ext4 -q -F "$disk"
    mkdir -p /run/m
    mount "$disk" /run/m
    refused 'mounted on /run/m' g 1d6b:0105
    same_world
    umount /run/m
    gadget_keyboard k 1d6b:0106 full-speed
    gadget_plug k 2
    run -1 xl usb-attach g 1d6b:0106
    echo "$output"
    [[ $output == *keyboard* || $output == *policy* ]]
    xl usb-attach --force g 1d6b:0106
    works k
    xl usb-detach g 1d6b:0106
    gadget_remove k
    echo 'deny 1d6b:0105' > /etc/xen/usb-policy.conf
    refused 'usb-policy.conf' g 1d6b:0105
    rm /etc/xen/usb-policy.conf
    clean
}

@test "what its controller cannot serve is said, and nothing stays" {
    sound=$(grep -lx 'QEMU USB Audio' "$usb_devices"/*/product)
    sound=${sound%/product} sound=${sound##*/}
    refused isochronous g "$sound"
    refused 'high speed' --version 1 g 1d6b:0104
    same_world
}

@test "pulled out: missing, and in nobody's way; plugged in: back" {
    xl usb-attach g 1d6b:0104
    served a "$GUESTS/a.img"
    busid=$(usb_busid a)
    gadget_unplug a
    wait_for 30 "the watcher to see it" missing "$busid"
    xl usb-show g
    [ "$(usb_port g 1)" = "" ]
    wait_for 30 "end of the stick in the guest" usb_guest_lacks g a
    # stock xl can attach another: see usb-stock.bats
    run -0 /usr/sbin/xl usbdev-attach g \
        "hostbus=$(usb_file "$(usb_busid b)" busnum)" \
        "hostaddr=$(usb_file "$(usb_busid b)" devnum)"
    xl usb-detach g 1d6b:0105
    start=$EPOCHSECONDS
    gadget_plug a 0
    wait_for 60 "the stick, back" works a
    tap_note "back $((EPOCHSECONDS - start)) s after it was plugged in"
    served a "$GUESTS/a.img"
    xl usb-detach g 1d6b:0104
    clean
}

@test "pulled out, without the watcher: the next command clears up" {
    busid=$(usb_busid a)
    xl usb-attach g 1d6b:0104
    wait_for 30 "one watcher" eval '[ "$(watchers)" = 1 ]'
    pkill -f xl-usb-watch
    gadget_unplug a
    [ "$(usb_port g 1)" = "$busid" ]
    missing "$busid"
    xl usb-attach g 1d6b:0105
    works b
    xl usb-detach g 1d6b:0105
    xl usb-detach g "$busid"
    gadget_plug a 0
    clean
}

@test "a real stick is yanked, and put back" {
    xl usb-attach g 46f4:0001:STICK
    works STICK
    outer_monitor device_del stick
    wait_for 30 "end of the stick" eval '! usb_busid STICK > /dev/null'
    wait_for 30 "end of the stick in the guest" usb_guest_lacks g STICK
    xl usb-show g
    outer_monitor device_add usb-storage,id=stick,bus=ehci.0,port=1,drive=stick,serial=STICK
    wait_for 60 "the stick, back" works STICK
    wait_for 60 "the stick in the guest" eval \
        'usb_in_guest g STICK > /dev/null'
    xl usb-detach g 46f4:0001:STICK
    clean
}

@test "in another socket it is the same stick" {
    xl usb-attach g 1d6b:0104:a
    gadget_unplug a
    gadget_plug a 3
    wait_for 60 "the stick, back" works a
    served a "$GUESTS/a.img"
    gadget_unplug a
    gadget_plug a 0
    wait_for 60 "the stick, back" works a
    xl usb-detach g 1d6b:0104:a
    clean
}

@test "once: it does not come back" {
    xl usb-attach --once g 1d6b:0104
    gadget_unplug a
    wait_for 30 "the entry's end" eval '[ "$(info .number)" = "" ]'
    gadget_plug a 0
    sleep 5
    [ "$(info .number)" = "" ]
    clean
}

# settled: after a repair it is there and works, or gone without a trace
settled() {
    xl usb-repair g
    run -0 xl usb-repair g
    [ "$output" = "g: all in order" ] || { echo "again: $output"; return 1; }
    if [ "$(info .number)" != "" ]; then works a; else clean; fi
}

@test "attach, killed at each step, and repaired" {
    for point in intent backend controller port works; do
        run env LIBXLX_FAULT="usb-attach.$point" xl usb-attach g 1d6b:0104
        [ "$status" = 137 ] || { echo "$point: $status $output"; false; }
        settled || { echo "after $point"; xl usb-show g; false; }
        ! works a || xl usb-detach g 1d6b:0104
    done
    clean
}

@test "detach, killed at each step, and repaired" {
    for point in intent port controller; do
        xl usb-attach g 1d6b:0104
        run env LIBXLX_FAULT="usb-detach.$point" xl usb-detach g 1d6b:0104
        [ "$status" = 137 ] || { echo "$point: $status $output"; false; }
        settled || { echo "after $point"; xl usb-show g; false; }
        ! works a || xl usb-detach g 1d6b:0104
    done
    clean
}

@test "QEMU is killed: it is told, and the device comes back" {
    xl usb-attach g 1d6b:0104
    pkill -f xl-usb-watch
    kill -9 "$(pgrep -f -- "-xen-domid $(guest_domid g) ")"
    run -0 xl usb-show g
    echo "$output"
    [[ $output == *QEMU* ]]
    run xl usb-repair g
    echo "$output"
    [ "$status" = 0 ]
    wait_for 60 "the stick, back" works a
    served a "$GUESTS/a.img"
    xl usb-detach g 1d6b:0104
    clean
}

@test "the guest reboots: it has its stick again" {
    xl usb-attach g 1d6b:0104
    served a "$GUESTS/a.img"
    old=$(guest_domid g)
    guest_reboot g
    [ "$(guest_domid g)" != "$old" ]
    wait_for 60 "the stick, back" works a
    served a "$GUESTS/a.img"
    run ! grep -q "qusb/$old" <(xenstore-ls -f)
}

@test "the guest reboots without the watcher: usb-repair does it" {
    works a || xl usb-attach g 1d6b:0104
    pkill -f xl-usb-watch
    guest_reboot g
    xl usb-show g
    xl usb-repair g
    wait_for 60 "the stick, back" works a
    served a "$GUESTS/a.img"
}

@test "a repair after a reboot, killed: the next one does it" {
    for point in port works; do
        works a || xl usb-attach g 1d6b:0104
        pkill -f xl-usb-watch || true
        guest_reboot g
        run env LIBXLX_FAULT="usb-attach.$point" xl usb-repair g
        [ "$status" = 137 ] || { echo "$point: $status $output"; false; }
        xl usb-repair g
        wait_for 60 "the stick, after $point" works a
    done
    served a "$GUESTS/a.img"
}

@test "save --detach: set aside, nobody else's, and there after restore" {
    guest_destroy g
    xl usb-repair
    guest_start g
    xl usb-attach g 1d6b:0104
    run -1 xl save g "$GUESTS/save"
    echo "$output"
    [[ $output == *'has USB devices'*'0/1'* ]]
    xl save --detach g "$GUESTS/save"
    guest_gone g
    xl usb-show
    xl usb-show | grep 'set aside'
    usb_driven "$(usb_busid a)" usb-storage
    [[ "$(xl usb-assignable --json |
        jq -r '.devices[] | select(.serial == "a") | .used_by')" == *g* ]]
    # in another socket it is the same stick
    gadget_unplug a
    gadget_plug a 3
    xl restore "$GUESTS/save"
    wait_for 60 "the stick, back" works a
    served a "$GUESTS/a.img"
    xl usb-detach g 1d6b:0104
    rm "$GUESTS/save"
    gadget_unplug a
    gadget_plug a 0
    clean
}

@test "save -c --detach, and one that fails: the guest goes on with it" {
    xl usb-attach g 1d6b:0104
    xl save -c --detach g "$GUESTS/save"
    works a
    served a "$GUESTS/a.img"
    rm "$GUESTS/save"
    run xl save --detach g /nonexistent/save
    echo "$output"
    [ "$status" != 0 ]
    served a "$GUESTS/a.img"
    xl usb-detach g 1d6b:0104
    clean
}

@test "set aside, killed at each step, and repaired" {
    xl usb-attach g 1d6b:0104
    for point in intent one; do
        run env LIBXLX_FAULT="usb-aside.$point" xl save --detach g "$GUESTS/save"
        [ "$status" = 137 ] || { echo "$point: $status $output"; false; }
        xl usb-repair g
        works a
        [ ! -e "$GUESTS/save" ]
    done
    served a "$GUESTS/a.img"
    xl usb-detach g 1d6b:0104
    clean
}

# The shell that brings stock xl to the other host, which is this one.
@test "migrate --detach: there on the other side, or here when it fails" {
    xl usb-attach g 1d6b:0104
    shell_to_here
    run xl migrate --detach -s /run/here g localhost
    echo "$output"
    tap_note "xl migrate: $status"
    wait_for 60 "the stick" works a
    served a "$GUESTS/a.img"
    xl usb-detach g 1d6b:0104
}

@test "a destroyed guest: no QEMU, no keys, and the stick is the host's" {
    works a || xl usb-attach g 1d6b:0104
    guest_destroy g
    xl usb-repair
    wait_for 30 "the driver in dom0" \
        usb_driven "$(usb_busid a)" usb-storage
    run ! pgrep -f xen-domid
    run ! grep -q 'backend/qusb' <(xenstore-ls -f)
    [ "$(find /var/lib/libxlx -name usb.json)" = "" ]
    wait_for 90 "the watcher's end" eval '[ "$(watchers)" = 0 ]'
}

@test "usbdev= with a selector: mandatory, or optional" {
    guest_destroy g
    xl usb-repair
    GUEST_CONFIG="usbdev = ['selector=1d6b:0199']" guest_config g pv
    run -1 xl create -q "$(guest_config_file g)"
    echo "$output"
    [[ $output == *1d6b:0199* ]]
    guest_gone g
    gadget_unplug b
    GUEST_CONFIG="usbdev = ['selector=1d6b:0104',
        'selector=1d6b:0105,policy=optional']" guest_config g pv
    guest_start g
    wait_for 60 "the stick" works a
    served a "$GUESTS/a.img"
    gadget_plug b 1
    wait_for 60 "the optional one" works b
    served b "$GUESTS/b.img"
    run -1 xl save g "$GUESTS/save"
    echo "$output"
    [[ $output == *'has USB devices'* ]]
    guest_destroy g
    xl usb-repair
}

# With stock xl alone nobody serves such a controller: usb-stock.bats.
@test "stock xl's usbdev=, and controllers without a type: QEMU serves them" {
    busid=$(usb_busid a)
    where="hostbus=$(usb_file "$busid" busnum),hostaddr=$(usb_file "$busid" devnum)"
    for ctrls in "" "usbctrl = ['version=2,ports=4']"; do
        guest_destroy g
        wait_for 30 "the driver in dom0" usb_driven "$busid" usb-storage
        GUEST_CONFIG="$ctrls
            usbdev = ['type=hostdev,$where']" guest_config g pv
        guest_start g
        usb_compare g a "$GUESTS/a.img"
    done
    guest_destroy g
}
