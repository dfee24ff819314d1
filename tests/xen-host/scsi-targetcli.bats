#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
#
# A guest's SCSI devices next to an administrator who uses targetcli and
# targetctl, the real ones, for targets of iSCSI and loopback.
# xen-host: run asked

bats_require_minimum_version 1.5.0

saved=/etc/rtslib-fb-target/saveconfig.json
iqn=iqn.2003-01.org.linux-iscsi.dom0.x8664:sn.theirs
naa=naa.5001405000000001

# There is no system bus in dom0, which targetcli asks for handlers of tcmu.
targetcli() {
    python3 -c 'import runpy, sys
from gi.repository import Gio
Gio.bus_get_sync = lambda *_: None
sys.argv[0] = "targetcli"
runpy.run_path("/usr/bin/targetcli", run_name="__main__")' "$@"
}

setup_file() {
    load guest; load scsi
    scsi_begin
    mkdir -p /etc/rtslib-fb-target
    targetcli /backstores/fileio create theirs "$GUESTS/theirs.img" 8M
    targetcli /loopback create $naa
    targetcli /loopback/$naa/luns create /backstores/fileio/theirs
    targetcli /iscsi create $iqn
    targetcli /iscsi/$iqn/tpg1/luns create /backstores/fileio/theirs
    targetctl save
    guest_start g
    scsi_ready
}
setup() { load guest; load scsi; scsi_setup; }
teardown() { scsi_teardown; }
teardown_file() {
    load guest; load scsi
    guest_destroy g || true
    targetctl clear || true
    scsi_end
}

ours() {
    find "$configfs/xen-pvscsi" "$configfs"/core/*_7892088 \
        \( -type d -o -type l \) -printf '%p -> %l\n' | sort
}
# theirs_are NUMBER: links of theirs
theirs_are() {
    [ "$(find "$configfs/iscsi" "$configfs/loopback" -type l -printf '%l\n' |
        grep -c '/fileio_[0-9]*/theirs$')" = "$1" ]
}

@test "listed and saved, with the guest's disks next to theirs" {
    xl scsi-attach g "$a" 0:0:0:0
    xl scsi-attach --backend iblock g "$b" 0:0:0:1
    compare 0:0 /dev/sda
    ours > "$GUESTS/ours"
    run -0 targetcli ls
    [[ $output == *"$iqn"* && $output == *"$naa"* ]]
    [[ $output == *naa.502786c* && $output == *xlx-* ]]
    targetctl save
    cp "$saved" "$GUESTS/with-ours"

    [ "$(jq '[.storage_objects[] | select(.name | startswith("xlx-"))] |
        length' "$saved")" = 2 ]
    ours | diff "$GUESTS/ours" -
    theirs_are 2
    compare 0:1 /dev/sdb
}

@test "clear stops at the guest's disks, and the guest works on" {
    run targetctl clear
    [ "$status" != 0 ]
    [[ $output == *'Directory not empty'*naa.502786c*tpgt_2* ]]
    ours | diff "$GUESTS/ours" -
    theirs_are 0
    compare 0:0 /dev/sda
    compare 0:1 /dev/sdb
    # it takes any failure for a file that is not there
    run targetctl restore
    [[ $status != 0 || $output == *'No saved config file'* ]]
    ours | diff "$GUESTS/ours" -
    compare 0:0 /dev/sda
}

@test "xlx-targetctl restores, clears and saves theirs" {
    for _ in 1 2; do
        xlx-targetctl restore
        theirs_are 2
        ours | diff "$GUESTS/ours" -
        compare 0:0 /dev/sda
        xlx-targetctl clear
        theirs_are 0
        [ "$(find "$configfs/core" -name theirs | wc -l)" = 0 ]
        ours | diff "$GUESTS/ours" -
        compare 0:1 /dev/sdb
    done
    xlx-targetctl restore
    xlx-targetctl save
    ! grep -q xlx- "$saved" || false
    ! grep -q naa.502786c "$saved" || false
    theirs_are 2
}

@test "a LUN and a backstore that targetcli deletes are made again" {
    target=$(info '.target' | head -n1)
    targetcli "/xen-pvscsi/${target%:*}/tpg1/luns" delete 0
    run -0 xl scsi-repair g
    [[ $output == *'0:0:0:0'*'another tool has removed its target'*'made again'* ]]
    ours | diff "$GUESTS/ours" -
    compare 0:0 /dev/sda
    name=$(basename "$(find "$configfs/core/iblock_7892088" -name 'xlx-*')")
    targetcli /backstores/block delete "$name"
    run -0 xl scsi-repair g
    ours | diff "$GUESTS/ours" -
    compare 0:1 /dev/sdb
    run -0 xl scsi-repair g
    [ "$output" = "g: all in order" ]
}

@test "a group cannot be removed from under the guest" {
    target=$(info '.target' | head -n1)
    run targetcli /xen-pvscsi delete "${target%:*}"
    echo "$output"
    run targetcli "/xen-pvscsi/${target%:*}" delete tag=1
    echo "$output"
    [ -d "$configfs/xen-pvscsi/${target%:*}/tpgt_1" ]
    xl scsi-repair g
    compare 0:0 /dev/sda
    compare 0:1 /dev/sdb
    xl scsi-detach g 0
    same_world
}

@test "a copy from the file, of another disk by now, is not used" {
    # as after a boot of the host: all of the file is there, and none of ours
    sed 's|"/dev/sda"|"/dev/sdc"|' "$GUESTS/with-ours" > "$GUESTS/moved"
    targetctl restore "$GUESTS/moved"
    theirs_are 2
    find "$configfs/xen-pvscsi" -type l -printf '%l\n' |
        grep '/pscsi_[0-9]*/xlx-'
    xl scsi-attach g "$a" 0:0:0:0
    [ -d "$configfs/core/pscsi_7892088" ]
    compare 0:0 /dev/sda
    xl scsi-detach g 0:0:0:0
    # that of the other disk has no guest
    run -0 xl scsi-repair g
    echo "$output"
    [ -z "$(find "$configfs" -name 'xlx-*' -o -name 'naa.502786c*')" ]
    theirs_are 2
}

@test "without disks of guests they work as ever" {
    targetctl save
    targetctl clear
    theirs_are 0
    targetctl restore
    theirs_are 2
}
