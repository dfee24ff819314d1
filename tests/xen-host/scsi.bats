#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
# shellcheck disable=SC2016  # what the guest's shell expands
#
# SCSI devices of the host in a guest: scsi_debug's disks, tapes and drives, and
# files, through the kernel's target, backend and frontend.  What was written
# at one end is compared with what the other end reads.
# xen-host: run asked
# xen-host: deadline 2400

bats_require_minimum_version 1.5.0

setup_file() { load guest; load scsi; scsi_begin; guest_start g; scsi_ready; }
setup() { load guest; load scsi; scsi_setup; }
teardown() { scsi_teardown; }
teardown_file() { load guest; load scsi; scsi_end; }

@test "what there is, and who uses it" {
    xl scsi-assignable
    run -0 --separate-stderr xl scsi-assignable --json
    [ "$(jq -r '.units | length' <<< "$output")" = 3 ]
    jq -e --arg a "$a" '.units[0] | .hctl == $a and .type == "disk" and
        .vendor == "Linux" and .model == "scsi_debug" and
        .path == "/dev/sda" and .generic == "/dev/sg0" and
        .used_by == ""' <<< "$output"
    mkfs.ext4 -q /dev/sdb
    mkdir -p /run/m
    mount /dev/sdb /run/m
    run -0 --separate-stderr xl scsi-assignable --json
    [ "$(jq -r '.units[1].used_by' <<< "$output")" = \
        "sdb is mounted on /run/m" ]
    umount /run/m
}

@test "a disk as it is: both directions, the strings of the device, and off" {
    xl -v scsi-attach g /dev/sda 0:0:0:0
    xl scsi-list g
    works 0:0:0:0
    compare 0:0 /dev/sda
    run guest_run g "sg_inq /dev/$(in_guest 0:0)"
    echo "$output"
    [[ $output == *"Vendor identification: Linux"* ]]
    [[ $output == *"Product identification: scsi_debug"* ]]
    # with its path: busybox has one, too, which knows no /dev
    run guest_run g /usr/bin/lsscsi
    echo "$output"
    [[ $output =~ \[[0-9]+:0:0:0\]\ +disk\ +Linux\ +scsi_debug.*/dev/sd ]]
    [ "$(xl scsi-assignable --json | jq -r '.units[0].used_by')" = \
        "guest g has it as 0:0:0:0" ]
    xl scsi-detach g 0:0:0:0
    wait_for 30 "end of the disk in the guest" guest_lacks 0:0
    same_world
}

@test "a second disk comes and goes while the first is written to" {
    xl scsi-attach g "$a" 0:0:0:0
    wait_for 60 "disk" guest_has 0:0
    disk=$(in_guest 0:0)
    # beyond what is compared: scsi_debug's disks have one store in common
    guest_run g "(i=0; while [ ! -e /run/halt ]; do \
        dd if=/dev/zero of=/dev/$disk bs=64k seek=64 count=64 conv=fsync || break; \
        i=\$((i + 1)); echo \$i > /run/rounds; done > /run/dd 2>&1) &"
    xl scsi-attach g "$b" 0:0:0:1
    works 0:0:0:0
    works 0:0:0:1
    compare 0:1 /dev/sdb
    xl scsi-detach g 0:0:0:1
    wait_for 30 "end of the disk in the guest" guest_lacks 0:1
    run ! grep -q 'vscsi.*dev-1\b' <(xenstore-ls -f)
    [ "$(ls "$configfs"/core/pscsi_*)" != "" ]
    guest_run g 'touch /run/halt; sleep 1; ! grep -i error /run/dd'
    [ "$(guest_run g 'cat /run/rounds')" -ge 1 ]
    compare 0:0 /dev/sda
    xl scsi-detach g 0:0:0:0
    same_world
}

@test "iblock: an emulated disk, writable and read-only" {
    xl scsi-attach --backend iblock g "$a" 1:0:3:7
    compare 3:7 /dev/sda
    run guest_run g "sg_inq /dev/$(in_guest 3:7)"
    [[ $output == *LIO-ORG* ]]
    xl scsi-detach g 1:0:3:7
    xl scsi-attach --read-only g "$a" 1:0:3:7
    wait_for 60 "disk" guest_has 3:7
    disk=$(in_guest 3:7)
    sum=$(md5sum < /dev/sda)
    [ "$(guest_run g "cat /sys/block/$disk/ro")" = 1 ]
    run guest_run g "dd if=/dev/urandom of=/dev/$disk bs=4k count=1 conv=fsync"
    [ "$status" != 0 ]
    [ "$(guest_run g "md5sum < /dev/$disk")" = "$sum" ]
    xl scsi-detach g 1:0:3:7
    same_world
}

@test "a file" {
    truncate -s 16M "$GUESTS/lun"
    xl scsi-attach g "$GUESTS/lun" 0:0:5:0
    compare 5:0 "$GUESTS/lun"
    xl scsi-detach g 0:0:5:0
    rm "$GUESTS/lun"
    same_world
}

# passed_as TYPE NODE SYSFS: one more host with a device of that type, NODE in
# dom0, which the guest has as SYSFS.  scsi_debug answers INQUIRY with the type
# that is set at that moment, whatever it was when the device was found.
passed_as() {
    scsi_debug ptype "$1"
    scsi_debug add_host 1
    wait_for 30 "$2" test -e "/dev/$2"
    xl scsi-attach g "$2" 0:0:1:0
    works 0:0:1:0
    wait_for 60 "$2 in the guest" guest_run g \
        "ls -d /sys/bus/scsi/devices/*:0:1:0/$3"
    guest_run g "ls /sys/bus/scsi/devices/*:0:1:0/scsi_generic" > "$GUESTS/sg"
    run guest_run g "sg_inq /dev/$(cat "$GUESTS/sg")"
    echo "$output"
    [[ $output == *"Product identification: scsi_debug"* ]]
    guest_run g "dd if=/dev/${3##*/} of=/dev/null bs=32k count=1" || true
    xl scsi-detach g 0:0:1:0
    scsi_debug add_host -1
    scsi_debug ptype 0
    same_world
}

@test "a tape drive" {
    passed_as 1 st0 scsi_tape/st0
    [[ $output == *"tape"* ]]
}

@test "a CD drive" {
    passed_as 5 sr0 block/sr0
    [[ $output == *"cd/dvd"* ]]
}

@test "host: all of a host adapter, under their own addresses" {
    scsi_debug num_tgts 2
    scsi_debug add_host 1
    wait_for 60 "six more disks" test -b /dev/sdi
    other=$(xl scsi-assignable --json | jq -r '.units[3].hctl')
    other=${other%%:*}
    run -0 xl scsi-attach g "$other:0:1:2" host
    [[ $output == *"Attached $other:0:0:1 as $other:0:0:1 (pscsi)"* ]]
    [ "$(info .dev.pdev)" = "$(info .dev.vdev)" ]
    [ "$(info .dev.vdev | tr '\n' ' ')" = \
        "$other:0:0:0 $other:0:0:1 $other:0:0:2 $other:0:1:0 $other:0:1:1 $other:0:1:2 " ]
    for vdev in $(info .dev.vdev); do
        works "$vdev"
        [ "$(info "select(.dev.vdev == \"$vdev\").hctl")" = "$vdev" ]
    done
    compare 1:2 "/dev/$(ls "/sys/bus/scsi/devices/$other:0:1:2/block")"
    run -1 xl scsi-detach g $((other + 1))
    [[ $output == *"nothing was attached to that adapter"* ]]
    xl scsi-detach g "$other"
    [ -z "$(info .dev.vdev)" ]
    scsi_debug add_host -1
    scsi_debug num_tgts 1
    same_world
}

@test "every spelling is the same device" {
    ln -sf /dev/sdb "$GUESTS/by-name"
    wwid=$(cat "/sys/class/scsi_device/$b/device/wwid")
    for pdev in "$b" /dev/sdb sdb /dev/sg1 sg1 "$GUESTS/by-name" "$wwid"; do
        run -0 xl scsi-attach -N --json g "$pdev" 0:0:0:0
        xl scsi-attach g "$pdev" 0:0:0:0
        [ "$(info .hctl)" = "$b" ] || { echo "$pdev: $(info .hctl)"; false; }
        xl scsi-detach g 0:0:0:0
    done
    same_world
}

# refused TEXT ARGUMENT...: fails with TEXT and leaves all as it was
refused() {
    local text=$1
    shift
    run xl scsi-attach "$@"
    echo "$output"
    [ "$status" = 1 ] || return
    [[ $output == *"$text"* ]] || { echo "wanted: $text"; return 1; }
    [ "$(wc -l <<< "$output")" = 1 ] || return
    same_world
}

@test "what is wrong is refused, and nothing changes" {
    for pdev in :0 naa.X 1:2:3 naa.:0 0:0:0:-1 0:0:0:0x10 "$a:0" ''; do
        refused pdev g "$pdev" 0:0:0:0
    done
    refused '31 characters' g "naa.$(printf 5%.0s {1..40}):0" 0:0:0:0
    refused 'control character' g $'sda\n' 0:0:0:0
    for vdev in 0:1:0:0 0:0:64:0 0:0:0:255 0:0:0 0:0:0:-1 0:0:0:0x1 '' \
        ' 0:0:0:0' 0:0:0:0: 0:0:0:0/1; do
        refused vdev g "$a" "$vdev"
    done
    long=$GUESTS/$(printf 'd%.0s' {1..120})/$(printf 'f%.0s' {1..120})
    mkdir "${long%/*}"
    truncate -s 1M "$long"
    refused 'up to 255 bytes' g "$long" 0:0:0:0
    rm -r "${long%/*}"
    ln -sf /nonexistent "$GUESTS/dangling"
    refused 'No such file' g "$GUESTS/dangling" 0:0:0:0
    refused 'not a SCSI device' g /dev/null 0:0:0:0
    refused 'neither a device nor a file' g /run 0:0:0:0
    refused 'no SCSI device at that address' g 99:0:0:0 0:0:0:0
    refused 'no such guest' nobody "$a" 0:0:0:0
    # a partition table with one entry: type 83, 4096 sectors from 2048 on
    printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\020\0\0' |
        dd of=/dev/sdc bs=1 seek=446 conv=notrunc status=none
    printf '\125\252' | dd of=/dev/sdc bs=1 seek=510 conv=notrunc,fsync \
        status=none
    blockdev --rereadpt /dev/sdc
    wait_for 30 "sdc1" test -b /dev/sdc1
    refused 'is a partition' g /dev/sdc1 0:0:0:0
    wipefs -qa /dev/sdc
    blockdev --rereadpt /dev/sdc
    rm "$GUESTS/dangling"
}

@test "what is in use is refused, with the user's name" {
    root=$(findmnt -no SOURCE /)
    refused 'mounted on /' g "$root" 0:0:0:0
    mkfs.ext4 -q /dev/sdb
    mount /dev/sdb /run/m
    refused 'sdb is mounted on /run/m' g "$b" 0:0:0:0
    # another path to the disk that is mounted
    scsi_debug vpd_use_hostno 0
    scsi_debug add_host 1
    wait_for 60 "three more disks" test -b /dev/sdf
    other=$(xl scsi-assignable --json | jq -r '.units[4].hctl')
    [ "$(cat "/sys/class/scsi_device/$other/device/wwid")" = \
        "$(cat "/sys/class/scsi_device/$b/device/wwid")" ]
    refused 'sdb is mounted on /run/m' g "$other" 0:0:0:0
    scsi_debug add_host -1
    scsi_debug vpd_use_hostno 1
    umount /run/m
    mkswap -q /dev/sdb
    swapon /dev/sdb
    refused 'sdb is used for swap' g "$b" 0:0:0:0
    swapoff /dev/sdb
    # an ordinary disk of a guest
    xl block-attach g phy:/dev/sdb xvdz w
    refused 'guest g has it as its disk xvdz' g "$b" 0:0:0:0
    [ "$(xl scsi-assignable --json | jq -r '.units[1].used_by')" = \
        "guest g has it as its disk xvdz" ]
    xl block-detach g xvdz
    xl scsi-attach g "$a" 0:0:0:0
    run -1 xl scsi-attach g /dev/sda 0:0:0:1
    [[ $output == *'recorded for this guest already, as 0:0:0:0'* ]]
    run -1 xl scsi-attach --shared g /dev/sda 0:0:0:1
    [[ $output == *'recorded for this guest already, as 0:0:0:0'* ]]
    run -1 xl scsi-attach g "$b" 0:0:0:0
    [[ $output == *'the guest has it already'* ]]
    # the target that we made for it is no other device
    run -1 xl scsi-attach g "$(info .target)" 0:0:0:1
    [[ $output == *'xl scsi-attach made it for guest'* ]]
    xl scsi-detach g 0:0:0:0
    run -1 xl scsi-detach g 0:0:0:0
    [[ $output == *'no such SCSI device'* ]]
    same_world
}

# naa.5000000000000001:0 leads to sdc; without a nexus yet
other_tool() {
    iblock=$configfs/core/iblock_0/other
    tpg=$configfs/xen-pvscsi/naa.5000000000000001/tpgt_1
    mkdir -p "$iblock"
    echo udev_path=/dev/sdc > "$iblock/control"
    echo 1 > "$iblock/enable"
    mkdir -p "$tpg/lun/lun_0"
    ln -s "$iblock" "$tpg/lun/lun_0/x"
    find "$configfs" | sort > "$GUESTS/foreign"
}
other_tool_ends() {
    find "$configfs" | sort | diff "$GUESTS/foreign" - || return
    rm "$tpg/lun/lun_0/x"
    rmdir "$tpg/lun/lun_0"
    echo NULL > "$tpg/nexus"
    rmdir "$tpg" "${tpg%/*}" "$iblock" "${iblock%/*}"
}

@test "a target of another tool: used, and left alone" {
    other_tool
    run -1 xl scsi-attach g naa.5000000000000001:0 0:0:0:0
    [[ $output == *'has no nexus'* ]]
    echo naa.5000000000000002 > "$tpg/nexus"
    run -1 xl scsi-attach g naa.5000000000000001:3 0:0:0:0
    [[ $output == *'has no naa.5000000000000001:3'* ]]
    xl scsi-attach g naa.5000000000000001:0 0:0:0:0
    compare 0:0 /dev/sdc
    # nor can its disk be had by another way
    run -1 xl scsi-attach g "$c" 0:0:0:1
    [[ $output == *'open exclusively'* ]]
    xl scsi-detach g 0:0:0:0
    other_tool_ends
    same_world
}

@test "an adapter detached: ours go at once, that of another tool stays" {
    other_tool
    echo naa.5000000000000002 > "$tpg/nexus"
    xl scsi-attach g naa.5000000000000001:0 0:0:0:2
    # as if we had not done it
    rm "$(find /var/lib/libxlx -name scsi.json)"
    xl scsi-attach g "$a" 0:0:0:0
    xl scsi-attach g "$b" 0:0:0:1
    compare 0:0 /dev/sda
    compare 0:1 /dev/sdb
    xl scsi-detach g 0
    [ "$(info .dev.vdev)" = 0:0:0:2 ]
    wait_for 30 "the first to go" guest_lacks 0:0
    wait_for 30 "the second to go" guest_lacks 0:1
    compare 0:2 /dev/sdc
    xl scsi-detach g 0:0:0:2
    wait_for 30 "the third to go" guest_lacks 0:2
    other_tool_ends
    same_world
}

@test "the guest cannot read what its device is on the host, nor fool us" {
    xl scsi-attach g /dev/sda 0:0:0:0
    run xenstore-ls -p "$(adapter)/vscsi-devs/dev-0"
    echo "$output"
    grep -Eq 'p-dev = .*\(n0\)$' <<< "$output"
    grep -Eq 'p-devname = .*\(n0\)$' <<< "$output"
    grep -Eq "v-dev = .*\\(n0,r$(guest_domid g)\\)" <<< "$output"
    run guest_run g "xenstore-ls $(adapter)/vscsi-devs/dev-0"
    echo "$output"
    # xenstore-ls goes no further than the first node that it may not read
    [[ $output == *'p-dev): Permission denied'* ]]
    [[ $output != *naa.* && $output != *sda* ]]
    front=/local/domain/$(guest_domid g)/device/vscsi/0
    old=$(xenstore-read "$front/vscsi-devs/dev-0/state")
    for garbage in 99 ' 1' 4junk "$(printf '\033[2J')" ''; do
        xenstore-write "$front/vscsi-devs/dev-0/state" "$garbage"
        run -0 xl scsi-list g
        [[ $output == *'not connected'* && $output != *junk* ]]
    done
    xenstore-write "$front/vscsi-devs/dev-0/state" "$old"
    works 0:0:0:0
    xl scsi-detach g 0:0:0:0
    same_world
}

@test "a guest without the driver: told, or waited for" {
    guest_run g 'rmmod xen-scsifront'
    run -1 xl scsi-attach --timeout 20 g "$a" 0:0:0:0
    [[ $output == *'needs xen-scsifront'* ]]
    same_world
    xl scsi-attach --no-wait g "$a" 0:0:0:0
    run -0 xl scsi-list g
    [[ $output == *'no driver for it yet'* ]]
    xl scsi-attach --no-wait g "$b" 0:0:0:1
    guest_run g 'insmod /mod/xen-scsifront.ko'
    wait_for 60 "the first" works 0:0:0:0
    wait_for 60 "the second" works 0:0:0:1
    compare 0:1 /dev/sdb
    xl scsi-detach g 0:0:0:0
    xl scsi-detach g 0:0:0:1
    same_world
}

@test "a paused guest: taken back, and it goes on afterwards" {
    xl scsi-attach g "$a" 0:0:0:0
    world > "$GUESTS/one"
    xl pause g
    run -1 xl scsi-attach --timeout 3 g "$b" 0:0:0:1
    echo "$output"
    [[ $output == *'is the guest paused'* ]]
    world | diff "$GUESTS/one" -
    [ "$(xenstore-read "$(adapter)/state")" = 4 ]
    # a detachment cannot be taken back: it is finished later
    run -1 xl scsi-detach --timeout 3 g 0:0:0:0
    [[ $output == *'does not let go'* ]]
    xl scsi-list g | grep 'detachment was not finished'
    xl unpause g
    xl scsi-repair g
    same_world
    xl scsi-attach g "$b" 0:0:0:1
    compare 0:1 /dev/sdb
    xl scsi-detach g 0:0:0:1
    same_world
}

@test "the module of the backend is loaded when it is needed" {
    rmdir "$configfs/xen-pvscsi"
    rmmod xen-scsiback
    # a kernel that has none
    echo 'install xen-scsiback /bin/false' > /etc/modprobe.d/none.conf
    run -1 xl scsi-attach g "$a" 0:0:0:0
    rm /etc/modprobe.d/none.conf
    echo "$output"
    [[ $output == *"kernel lacks a module"*"xen-scsiback"* ]]
    [ "$(wc -l <<< "$output")" = 1 ]
    [ -z "$(info .dev.vdev)" ]
    xl scsi-attach g "$a" 0:0:0:0
    works 0:0:0:0
    xl scsi-detach g 0:0:0:0
    same_world
}
