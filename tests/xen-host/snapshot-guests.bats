#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Other guests and other disks: PV, phy, CD-ROM, none at all; and 50 rounds of
# create and delete that leave nothing behind.
# xen-host: run asked
# xen-host: deadline 1800

setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

opened() {
    guest_qmp "$1" query-block | jq -r '.[].inserted.image.filename' | sort
}

@test "a PV guest: external snapshot, reboot, delete" {
    disk_create "$D/pv.qcow2"
    guest_create p pv "qcow2:$D/pv.qcow2"
    guest_wait_tick p 2
    xl snapshot-create --kind external p e1
    guest_wait_more p 2
    run disk_blocks "$D/pv.qcow2"
    echo "$output"
    [ "$status" = 0 ]
    last=$(guest_tick p)
    guest_reboot p
    [ "$(opened p)" = "$D/pv.e1.qcow2" ]
    guest_wait_tick p $((last + 1))
    xl snapshot-delete p e1
    [ "$(opened p)" = "$D/pv.qcow2" ]
    guest_ticks_off p
    last=$(guest_tick p)
    [ "$(disk_blocks "$D/pv.qcow2")" = "$last" ]
    guest_destroy p
}

@test "a disk that the kernel serves is refused, and says what to do" {
    disk_create "$D/a.qcow2"
    disk_create "$D/phy.raw" raw
    loop=$(disk_loop "$D/phy.raw")
    guest_create g pv "qcow2:$D/a.qcow2" "phy:$loop"
    host_state > "$BATS_FILE_TMPDIR/before"
    run xl snapshot-create g s1
    echo "$output"
    [ "$status" = 1 ]
    [ "${#lines[@]}" = 1 ]
    [[ $output == *"xvdb"*"backendtype=qdisk"* ]]
    host_state > "$BATS_FILE_TMPDIR/after"
    host_state_same "$BATS_FILE_TMPDIR/before" "$BATS_FILE_TMPDIR/after"
    # the other one can be snapshot, and xvdb stays as it is
    xl snapshot-create --disks xvda --kind external g s1
    xenstore-ls -f /libxl | grep -E "params = \"$loop\""
    xl snapshot-delete g s1
    guest_destroy g
    losetup -d "$loop"
}

@test "a guest without a disk, and one that does not exist" {
    guest_create none pv
    run xl snapshot-create none s1
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"no disk"* ]]
    guest_destroy none
    run xl snapshot-create nobody s1
    echo "$output"
    [ "$status" = 1 ]
    [ "${#lines[@]}" = 1 ]
    run xl snapshot-create 99 s1
    echo "$output"
    [ "$status" = 1 ]
}

@test "50 rounds of create and delete leave nothing behind" {
    guest_create g pv "qcow2:$D/a.qcow2"
    guest_wait_tick g 2
    xl snapshot-create --kind external g warm-up && xl snapshot-delete g warm-up
    host_state > "$BATS_FILE_TMPDIR/before"
    for i in $(seq 25); do
        xl snapshot-create --kind external g "e$i" > /dev/null
        xl snapshot-delete g "e$i" > /dev/null
        xl snapshot-create --kind internal g "i$i" > /dev/null
        xl snapshot-delete g "i$i" > /dev/null
    done
    host_state > "$BATS_FILE_TMPDIR/after"
    host_state_same "$BATS_FILE_TMPDIR/before" "$BATS_FILE_TMPDIR/after"
    guest_ticks_off g
    [ "$(disk_blocks "$D/a.qcow2")" = "$(guest_tick g)" ]
    guest_destroy g
    qemu-img check "$D/a.qcow2"
}

@test "a guest that is shut down, by its config file" {
    run xl snapshot-create --config "$(guest_config_file g)" --kind external g off
    echo "$output"
    [ "$status" = 0 ]
    run xl snapshot-create --config "$(guest_config_file g)" g off2
    echo "$output"
    [ "$status" = 0 ]
    # the second one is on the first one's overlay, not on the frozen image
    run xl snapshot-list --tree g
    echo "$output"
    [ "$output" = '`-- off
    `-- off2
        `-- (current)' ]
    run xl create "$(guest_config_file g)"
    echo "$output"
    [ "$status" = 1 ]
    xl snapshot-delete g off2
    xl snapshot-delete g off
    [ -z "$(ls /var/lib/libxlx)" ]
}

@test "an old saved state does not start on a frozen image" {
    guest_start g
    guest_wait_more g 2
    guest_save g "$D/old.save"
    guest_start g
    xl snapshot-create --kind external g s1
    guest_destroy g
    run xl restore "$D/old.save"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *'holds the snapshot "s1"'* ]]
    guest_gone g
    xl snapshot-delete g s1
}
