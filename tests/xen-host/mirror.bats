#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Copies of the disk of a guest, disks that move, and chains that get shorter,
# on Xen's own QEMU: the guest writes its ticks all the time.
# xen-host: guests pv pvh
# xen-host: deadline 1200
# xen-host: run asked

bats_require_minimum_version 1.5.0
setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

state() { xl disk-jobs --json g | jq -r '.[].jobs[0].state // "none"'; }
is() { [ "$(state)" = "$1" ]; }
no_jobs() { [ "$(guest_qmp g query-jobs)" = '[]' ]; }

# at_least IMAGE TICK: it is whole, up to that tick
at_least() {
    run disk_blocks "$1"
    echo "$1: $output, want $2"
    [ "$status" = 0 ]
    [ "$(sed -n 1p <<< "$output")" -ge "$2" ]
}

where() { guest_qmp g query-block | jq -r '.[].inserted.image.filename'; }
configured() { xl list -l g | jq -r '.[0].config.disks[0].pdev_path'; }

running_guest() {
    guest_gone g || return 0
    [ -e "$D/a.qcow2" ] || disk_create "$D/a.qcow2"
    guest_create g "$GUEST_TYPE" "qcow2:$D/a.qcow2"
    guest_wait_tick g 3
}

@test "a copy in each format holds all that was written before it ended" {
    running_guest
    for format in qcow2 raw; do
        rm -f "$D/copy.$format"
        xl disk-mirror --no-wait --format $format g xvda "$D/copy.$format"
        wait_for 60 "the copy" is ready
        guest_wait_more g 3
        last=$(guest_tick g)
        xl disk-job-finish g xvda
        at_least "$D/copy.$format" "$last"
        no_jobs
        # it is not written to any more, and the guest goes on
        md5sum "$D/copy.$format" > "$D/sum"
        guest_wait_more g 2
        md5sum "$D/copy.$format" | cmp - "$D/sum"
    done
    rm "$D/copy.raw"
}

@test "a copy to a block device, of the size of the disk" {
    running_guest
    truncate -s 64M "$D/device"
    loop=$(disk_loop "$D/device")
    last=$(guest_tick g)
    xl disk-mirror --sync-writes g xvda "$loop"
    at_least "$D/device" "$last"
    mkfs.ext4 -q "$loop"
    mkdir -p /run/m
    mount "$loop" /run/m
    run xl disk-mirror g xvda "$loop"
    umount /run/m
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *'is mounted on /run/m'* ]]
    losetup -d "$loop"
}

@test "xl save and xl migrate refuse while a job works" {
    running_guest
    xl disk-mirror --no-wait g xvda "$D/copy2"
    wait_for 60 "the copy" is ready
    for command in "save g $D/save" "migrate g localhost"; do
        # shellcheck disable=SC2086  # words
        run xl $command
        echo "$output"
        [ "$status" = 1 ]
        [[ $output == *'xlx-mirror-xvda'*'xl disk-jobs'* ]]
    done
    xl disk-job-cancel g xvda
    [ ! -e "$D/copy2" ]
    no_jobs
}

@test "the guest reboots: the copy is not complete, and is removed" {
    running_guest
    guest_run g 'ticks_off'
    xl disk-mirror --no-wait --speed 1k g xvda "$D/copy3"
    guest_ticks_on g
    guest_reboot g
    run xl disk-job-cancel g xvda
    echo "$output"
    [[ $output == *'an earlier mirror has failed: QEMU ended'* ]]
    [ ! -e "$D/copy3" ]
    guest_wait_more g 2
    # another one is copied as ever
    last=$(guest_tick g)
    xl disk-mirror g xvda "$D/copy3"
    at_least "$D/copy3" "$last"
}

@test "a job that gets each write begins while the guest writes a lot" {
    running_guest
    last=$(guest_tick g)
    # more than the ticks: QEMU ends when a write comes at the wrong moment
    guest_run g '(while :; do dd if=/dev/zero of=/dev/xvda bs=4k count=64 seek=8192 conv=notrunc,fsync; done) > /dev/null 2>&1 &'
    qemu=$(pgrep -f -- "-xen-domid $(guest_domid g) ")
    for _ in {1..8}; do
        rm -f "$D/copy5"
        xl disk-mirror --no-wait --sync-writes g xvda "$D/copy5"
        [ -d "/proc/$qemu" ]
        xl disk-job-cancel g xvda
    done
    guest_wait_more g 2
    xl list g | awk 'END { exit $5 ~ /p/ }'
    [ "$(guest_qmp g query-status | jq -r .status)" = running ]
    guest_reboot g
}

@test "killed while the guest stands still: the next command has it go on" {
    running_guest
    for point in disk-mirror.halting disk-mirror.halted; do
        LIBXLX_FAULT=$point run xl disk-mirror --sync-writes g xvda "$D/copy6"
        [ "$status" -ne 0 ]
        xl disk-job-cancel g xvda || true
        guest_wait_more g 2
        [ ! -e "$D/copy6" ]
    done
    no_jobs
}

@test "QEMU's nodes and files are what they were" {
    running_guest
    guest_nodes g > "$D/nodes"
    xl disk-mirror g xvda "$D/copy4"
    guest_nodes g | diff "$D/nodes" -
    # the disk can be taken off, which a node of ours would keep from it
    guest_ticks_off g
    xl block-detach g xvda
    wait_for 30 "QEMU to let go of the disk" no_nodes
    guest_destroy g
}
no_nodes() { [ -z "$(guest_nodes g)" ]; }

@test "the guest goes on in another image: it, its reboot, save and restore" {
    running_guest
    last=$(guest_tick g)
    [ "$(where)" = "$D/moved.raw" ] || rm -f "$D/moved.raw"
    [ -e "$D/moved.raw" ] || xl disk-move g xvda "$D/moved.raw" --format raw
    [ "$(where)" = "$D/moved.raw" ]
    [ "$(configured)" = "$D/moved.raw" ]
    xenstore-ls -f /libxl | grep -F "$D/moved.raw"
    guest_wait_more g 3
    at_least "$D/a.qcow2" "$last"
    md5sum "$D/a.qcow2" > "$D/sum"
    last=$(guest_tick g)
    guest_reboot g
    [ "$(where)" = "$D/moved.raw" ]
    guest_wait_tick g $((last + 2))
    guest_save g "$D/save"
    guest_restore g "$D/save"
    [ "$(where)" = "$D/moved.raw" ]
    guest_wait_more g 2
    md5sum "$D/a.qcow2" | cmp - "$D/sum"
}

@test "the old config is stopped, and the command that it names goes on" {
    guest_gone g || guest_ticks_off g
    last=$(guest_tick g)
    guest_gone g || guest_destroy g
    run -1 xl create "$(guest_config_file g)"
    echo "$output"
    [[ $output == *"was moved from \"$D/a.qcow2\" to \"$D/moved.raw\""* ]]
    grep -o 'xl create .*' <<< "$output" | tail -n 1 > "$D/right"
    log=$(guest_log_file g); rm -f "$log"
    bash "$D/right"
    guest_wait_boots g 1
    [ "$(where)" = "$D/moved.raw" ]
    guest_wait_tick g $((last + 2))
}

@test "and on to a block device, and back, with snapshots as ever" {
    running_guest
    truncate -s 64M "$D/device"
    loop=$(disk_loop "$D/device")
    xl disk-move g xvda "$loop"
    [ "$(where)" = "$loop" ]
    guest_wait_more g 2
    last=$(guest_tick g)
    guest_reboot g
    [ "$(where)" = "$loop" ]
    guest_wait_tick g $((last + 2))
    xl disk-move --delete-old g xvda "$D/b.qcow2" --format qcow2
    [ -b "$loop" ]
    losetup -d "$loop"
    guest_wait_more g 2
    xl snapshot-create --kind external g s1
    guest_wait_more g 2
    xl snapshot-delete g s1
    [ "$(where)" = "$D/b.qcow2" ]
    guest_wait_more g 2
    last=$(guest_tick g)
    guest_ticks_off g
    at_least "$D/b.qcow2" "$last"
    no_jobs
    guest_destroy g
    xl snapshot-delete g s1 || true
    rm -rf /var/lib/libxlx/*-*-*
}

@test "a disk gets out of its template while the guest writes" {
    guest_gone g || guest_destroy g
    mv "$D/a.qcow2" "$D/template.qcow2"
    md5sum "$D/template.qcow2" > "$D/sum"
    qemu-img create -q -f qcow2 -b "$D/template.qcow2" -F qcow2 "$D/a.qcow2"
    running_guest
    xl disk-pull g xvda
    md5sum "$D/template.qcow2" | cmp - "$D/sum"
    rm "$D/template.qcow2"
    guest_wait_more g 3
    last=$(guest_tick g)
    guest_reboot g
    guest_wait_tick g $((last + 2))
    guest_save g "$D/save"
    guest_restore g "$D/save"
    guest_wait_more g 2
    guest_ticks_off g
    at_least "$D/a.qcow2" "$((last + 2))"
    no_jobs
}

@test "another tool's overlay goes into the image below, while the guest writes" {
    guest_gone g || { guest_ticks_off g; guest_destroy g; }
    rm -rf "$D/over.qcow2" /var/lib/libxlx/*-*-*
    qemu-img create -q -f qcow2 -b "$D/a.qcow2" -F qcow2 "$D/over.qcow2"
    guest_create g "$GUEST_TYPE" "qcow2:$D/over.qcow2"
    guest_wait_more g 2
    xl disk-commit --delete-old g xvda
    [ "$(where)" = "$D/a.qcow2" ]
    [ "$(configured)" = "$D/a.qcow2" ]
    [ ! -e "$D/over.qcow2" ]
    guest_wait_more g 2
    last=$(guest_tick g)
    guest_reboot g
    [ "$(where)" = "$D/a.qcow2" ]
    guest_wait_tick g $((last + 2))
    no_jobs
    guest_ticks_off g
    last=$(guest_tick g)
    guest_destroy g
    at_least "$D/a.qcow2" "$last"
    rm -rf /var/lib/libxlx/*-*-*
}

@test "the disk of a guest that is shut down moves, and the guest goes on there" {
    guest_gone g || { guest_ticks_off g; guest_destroy g; }
    rm -rf "$D/off.raw" /var/lib/libxlx/*-*-*
    last=$(disk_blocks "$D/a.qcow2" | sed -n 1p)
    guest_config g "$GUEST_TYPE" "qcow2:$D/a.qcow2"
    xl disk-move --config "$(guest_config_file g)" --format raw g xvda \
        "$D/off.raw"
    at_least "$D/off.raw" "$last"
    run -1 xl create "$(guest_config_file g)"
    echo "$output"
    grep -o 'xl create .*' <<< "$output" | tail -n 1 > "$D/right"
    log=$(guest_log_file g); rm -f "$log"
    bash "$D/right"
    guest_wait_boots g 1
    [ "$(where)" = "$D/off.raw" ]
    guest_wait_tick g $((last + 2))
    # nobody copies below a guest that runs
    run -1 xl disk-move --config "$(guest_config_file g)" none xvda "$D/x"
    echo "$output"
    guest_ticks_off g
}
