#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# External snapshots of a running guest, and the path problem: whatever starts
# the guest again uses the newest image, or is stopped.
# xen-host: guests pv pvh
# xen-host: deadline 1500

setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

# The image that takes the writes of a disk, by libxl's own word.
configured() {
    xl list -l "$1" | jq -r --arg d "$2" \
        '.[0].config.disks[] | select(.vdev == $d) | .pdev_path'
}

# What QEMU has open for writing.
opened() {
    guest_qmp "$1" query-block | jq -r '.[].inserted.image.filename' | sort
}

@test "a snapshot of two disks is one instant, while the guest writes" {
    disk_create "$D/a.qcow2"
    disk_create "$D/b.raw" raw
    guest_create g "$GUEST_TYPE" "qcow2:$D/a.qcow2" "raw:$D/b.raw"
    guest_wait_tick g 3
    run xl snapshot-create --description 'first one' g s1
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *'Made external snapshot "s1" of xvda,xvdb'* ]]
    guest_wait_more g 3
    [ -f "$D/a.s1.qcow2" ]
    # the access that the image gives to its group, and to nobody else
    [ "$(stat -c '%a %u %g' "$D/a.s1.qcow2")" = "640 0 0" ]
    run disk_blocks "$D/a.qcow2" "$D/b.raw"
    echo "$output"
    [ "$status" = 0 ]
    echo "$output" > "$D/s1.ticks"
    [ "$(sed -n 1p "$D/s1.ticks")" -ge 3 ]
}

@test "libxl's configuration, xenstore and QEMU agree on the overlays" {
    [ "$(configured g xvda)" = "$D/a.s1.qcow2" ]
    [ "$(configured g xvdb)" = "$D/b.s1.qcow2" ]
    [ "$(opened g)" = "$D/a.s1.qcow2"$'\n'"$D/b.s1.qcow2" ]
    xenstore-ls -f /libxl | grep -F "qcow2:$D/a.s1.qcow2"
    xenstore-ls -f /local/domain/0/backend | grep -F "qcow2:$D/b.s1.qcow2"
}

@test "a second snapshot freezes what came between" {
    xl snapshot-create g s2
    guest_wait_more g 2
    run disk_blocks "$D/a.s1.qcow2" "$D/b.s1.qcow2"
    echo "$output"
    [ "$status" = 0 ]
    [ "$(sed -n 1p <<< "$output")" -gt "$(sed -n 1p "$D/s1.ticks")" ]
    run xl snapshot-list --tree g
    echo "$output"
    [ "$output" = '`-- s1  (first one)
    `-- s2
        `-- (current)' ]
}

@test "the guest's reboot goes on in the overlay" {
    last=$(guest_tick g)
    guest_reboot g
    [ "$(opened g)" = "$D/a.s2.qcow2"$'\n'"$D/b.s2.qcow2" ]
    guest_wait_tick g $((last + 2))
}

@test "save and restore go on in the overlay" {
    last=$(guest_tick g)
    guest_save g "$D/g.save"
    guest_restore g "$D/g.save"
    rm "$D/g.save"
    [ "$(opened g)" = "$D/a.s2.qcow2"$'\n'"$D/b.s2.qcow2" ]
    guest_wait_tick g $((last + 2))
}

@test "xl create with the old config is stopped, with the command that is right" {
    guest_ticks_off g
    guest_tick g > "$D/last"
    guest_destroy g
    md5sum "$D/a.qcow2" "$D/b.raw" "$D/a.s1.qcow2" > "$D/frozen.md5"
    run xl create "$(guest_config_file g)"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"holds the snapshot \"s1\" of \"g\""* ]]
    guest_gone g
    # the command that is printed, as it is printed
    grep -o 'xl create .*' <<< "$output" | tail -n 1 > "$D/right"
    [ -s "$D/right" ]
    log=$(guest_log_file g); rm -f "$log"
    bash "$D/right"
    guest_wait_boots g 1
    [ "$(opened g)" = "$D/a.s2.qcow2"$'\n'"$D/b.s2.qcow2" ]
    guest_wait_tick g $(($(cat "$D/last") + 2))
    md5sum -c "$D/frozen.md5"
    # and it is still the same guest to us
    xl snapshot-list g | grep -F s2
}

@test "revert of a running guest needs --force" {
    run xl snapshot-revert g s1
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"is running"*"--force"* ]]
}

@test "revert starts the guest on the snapshot and keeps the state left" {
    guest_ticks_off g
    last=$(guest_tick g)
    boots=$(guest_boots g)
    run xl snapshot-revert --force g s1
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"runs again"* ]]
    guest_wait_boots g $((boots + 1))
    # the guest counts on from what the snapshot holds
    guest_wait_tick g $(($(sed -n 1p "$D/s1.ticks") + 1))
    [ "$(guest_tick g)" -lt "$last" ]
    md5sum -c "$D/frozen.md5"
    left=$(xl snapshot-list --json g | jq -r '.[0].snapshots[-1].name')
    [[ $left == left-* ]]
    run disk_blocks "$D/a.s2.qcow2" "$D/b.s2.qcow2"
    echo "$output, last $last"
    [ "$status" = 0 ]
    [ "$(sed -n 1p <<< "$output")" = "$last" ]
}

@test "a branch that is not in use is deleted" {
    left=$(xl snapshot-list --json g | jq -r '.[0].snapshots[-1].name')
    xl snapshot-delete g "$left"
    [ ! -e "$D/a.s2.qcow2" ]
    [ ! -e "$D/b.s2.qcow2" ]
    # s2 is a leaf now, too
    xl snapshot-delete g s2
    [ ! -e "$D/a.s1.qcow2" ]
}

@test "deleting the last snapshot brings the guest back, while it writes" {
    run xl snapshot-delete g s1
    echo "$output"
    [ "$status" = 0 ]
    [ "$(opened g)" = "$D/a.qcow2"$'\n'"$D/b.raw" ]
    [ "$(configured g xvda)" = "$D/a.qcow2" ]
    guest_wait_more g 2
    guest_ticks_off g
    last=$(guest_tick g)
    run disk_blocks "$D/a.qcow2" "$D/b.raw"
    echo "$output, last $last"
    [ "$output" = "$last"$'\n'"$last" ]
    [ -z "$(find "$D" -name '*.s[12]*.qcow2')" ]
    [ -z "$(ls /var/lib/libxlx)" ]
}

@test "the guest reboots on its own image again" {
    guest_reboot g
    [ "$(opened g)" = "$D/a.qcow2"$'\n'"$D/b.raw" ]
    guest_ticks_on g || true
    guest_wait_more g 2
    guest_destroy g
    qemu-img check "$D/a.qcow2"
}
