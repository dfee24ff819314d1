#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Internal snapshots: made live, reverted to while the guest runs (its QEMU
# gives the image up between the last instruction and the restart), deleted.
# xen-host: deadline 1200

setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

opened() {
    guest_qmp "$1" query-block | jq -r '.[].inserted.image.filename' | sort
}

@test "auto makes it internal, on two disks at one instant" {
    disk_create "$D/a.qcow2"
    disk_create "$D/b.qcow2"
    guest_create g pv "qcow2:$D/a.qcow2" "qcow2:$D/b.qcow2"
    guest_wait_tick g 3
    run xl snapshot-create g i1
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *'Made internal snapshot "i1" of xvda,xvdb (only '* ]]
    guest_wait_more g 2
    run disk_blocks "$D/a.qcow2@i1" "$D/b.qcow2@i1"
    echo "$output"
    [ "$status" = 0 ]
    echo "$output" > "$D/i1.ticks"
    [ "$(opened g)" = "$D/a.qcow2"$'\n'"$D/b.qcow2" ]
}

@test "a snapshot of another tool is listed as foreign and left alone" {
    guest_qmp g blockdev-snapshot-internal-sync \
        "{\"device\": \"xvda-qcow2\", \"name\": \"by-hand\"}"
    run xl snapshot-list g
    echo "$output"
    grep -E 'by-hand +internal +foreign' <<< "$output"
    run xl snapshot-delete g by-hand
    [ "$status" = 1 ]
    run xl snapshot-create --kind internal g by-hand
    [ "$status" = 1 ]
    [[ $output == *"another tool"* ]]
}

@test "reverting a running guest puts both disks back and starts it again" {
    xl snapshot-create --kind internal g i2
    guest_wait_more g 2
    guest_ticks_off g
    last=$(guest_tick g)
    boots=$(guest_boots g)
    old=$(guest_domid g)
    run xl snapshot-revert --force g i1
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"runs again"* ]]
    guest_wait_boots g $((boots + 1))
    [ "$(guest_domid g)" != "$old" ]
    guest_wait_tick g $(($(sed -n 1p "$D/i1.ticks") + 1))
    left=$(xl snapshot-list --json g |
        jq -r '.[0].snapshots[] | select(.name | startswith("left-")) | .name')
    run disk_blocks "$D/a.qcow2@$left" "$D/b.qcow2@$left"
    echo "$output, last $last"
    [ "$status" = 0 ]
    [ "$output" = "$last"$'\n'"$last" ]
}

@test "the guest is watched as before: it reboots by itself" {
    last=$(guest_tick g)
    guest_reboot g
    guest_wait_tick g $((last + 1))
}

@test "images are sound after all of that, and the tree is told" {
    run xl snapshot-list --tree g
    echo "$output"
    [[ $output == *"by-hand [foreign, internal]"* ]]
    guest_destroy g
    qemu-img check "$D/a.qcow2"
    qemu-img check "$D/b.qcow2"
}

@test "revert of the guest that is shut down" {
    run xl snapshot-revert --discard g i2
    echo "$output"
    [ "$status" = 0 ]
    guest_start g
    guest_wait_tick g $(($(sed -n 1p "$D/i1.ticks") + 2))
}

@test "its records are found again though xl gave it a new UUID" {
    run xl snapshot-list g
    echo "$output"
    grep -F i1 <<< "$output"
    [ "$(ls /var/lib/libxlx | wc -l)" = 1 ]
}

@test "deleting all of them, live, leaves no record" {
    for name in $(xl snapshot-list --json g |
        jq -r '.[0].snapshots[] | select(.status != "foreign") | .name'); do
        xl snapshot-delete g "$name"
    done
    [ -z "$(ls /var/lib/libxlx)" ]
    qemu-img snapshot -U -l "$D/a.qcow2" | grep by-hand
    [ "$(qemu-img info -U --output=json "$D/a.qcow2" | jq '.snapshots | length')" = 1 ]
    guest_destroy g
}
