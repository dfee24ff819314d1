#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
#
# A guest that is not where its record has it: another monitor merged its
# image away, or it was started past xl create on a frozen one.  It is said,
# nothing is merged or started over it, and --keep-image is the way out.  And
# what a deletion would do to the size of a disk, or past another tool's node.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

config() { # of the disk xvda, as it was at first
    printf 'name="guest"\nuuid="%s"\ntype="pvh"\nmemory=64\n' "$uuid" \
        > "$tmp/guest.cfg"
    printf 'disk=["format=qcow2,vdev=xvda,access=rw,target=%s"]\n' \
        "$images/xvda.qcow2" >> "$tmp/guest.cfg"
}

# Prints what reaches stock xl
xl_create() {
    printf '#!/bin/sh\necho LET-THROUGH\n' > "$tmp/stock"
    chmod +x "$tmp/stock"
    LIBXLX_XL=$tmp/stock LIBXLX_EXEC_DIR=$top_builddir/xl-plugins \
        run --separate-stderr "$top_builddir/xl-plugins/xl" create "$@"
    echo "$status: $output$stderr"
}

node_of() {
    qmp query-named-block-nodes '{"flat": true}' |
        jq -r --arg f "$1" '[.[] | select(.file == $f and .drv != "file")][0]
            ."node-name"'
}

# Another monitor merges the guest's image away.
their_commit() {
    qmp block-commit "{\"job-id\": \"theirs\", \"device\":
        \"$(node_of "$images/xvda.one.qcow2")\"}"
    until qmp query-jobs | grep -q '"ready"'; do sleep 0.05; done
    qmp block-job-complete '{"device": "theirs"}'
    until [ "$(qmp query-jobs)" = "[]" ]; do sleep 0.05; done
}

one_snapshot() {
    disks 1
    config
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
}

size_of() { qemu-img info -U --output json "$1" | jq '."virtual-size"'; }

# ---- moved by another monitor --------------------------------------------------

@test "the guest's image was merged away and removed, and QEMU is gone" {
    local base=$images/xvda.qcow2 top=$images/xvda.one.qcow2
    one_snapshot
    their_commit
    rm "$top"
    next_state
    kill_qemu
    run --separate-stderr xl snapshot-list --json "$uuid"
    [ "$status" = 0 ]
    [[ $stderr = *"$top is not there"*"--keep-image IMAGE $uuid"* ]]
    [ "$(jq -r '.[0].disks[0].missing' <<< "$output")" = true ]
    run xl snapshot-repair "$uuid"
    [ "$status" = 1 ]
    [[ $output = *"$top is not there"*"--keep-image IMAGE $uuid"* ]]
    xl_create "$tmp/guest.cfg"
    [ "$status" = 1 ]
    [[ $stderr = *"$top is not there"*"--keep-image IMAGE $uuid"* ]]
    refuses 1 '*is neither the present image*' xl snapshot-repair \
        --keep-image "$refs/xvda.raw" "$uuid"
    xl snapshot-repair --keep-image "$base" "$uuid" || [ $? = 1 ]
    run --separate-stderr xl snapshot-list --json "$uuid"
    [ -z "$stderr" ]
    [ "$(jq -r '.[0].disks[0].image' <<< "$output")" = "$base" ]
    refuses 1 '*no two images*' xl snapshot-repair --keep-image "$base" "$uuid"
    xl_create "$tmp/guest.cfg"
    [[ $stderr = *"xl snapshot-delete $uuid 'one' forgets it"* ]]
    xl snapshot-delete "$uuid" one
    xl_create "$tmp/guest.cfg"
    [ "$output" = LET-THROUGH ]
    all_is_right
}

@test "the guest's image was merged away and is still there: which one?" {
    local base=$images/xvda.qcow2 top=$images/xvda.one.qcow2 keep
    one_snapshot
    their_commit
    cp --sparse=always "$refs/xvda.raw" "$refs/top.raw"
    next_state
    kill_qemu
    cp -r "$images" "$tmp/state" "$tmp/run"
    for keep in base top; do
        rm -rf "$images" "$tmp/state"
        cp -rp "$tmp/run/images" "$tmp/run/state" "$tmp"
        touch "$top"
        xl_create "$tmp/guest.cfg"
        [ "$status" = 1 ]
        [[ $stderr = *"$top is based on $base, which was written to"* ]]
        [[ $stderr = *"--keep-image IMAGE $uuid"* ]]
        [[ $stderr != *'present state'* ]]
        refuses 1 "*$top is based on $base, which was written to*" \
            xl snapshot-create --kind external --config "$tmp/guest.cfg" \
            guest two
        xl snapshot-repair --keep-image "${!keep}" "$uuid" || [ $? = 1 ]
        if [ $keep = base ]; then
            present_is_right
            [ -e "$top" ]
            continue
        fi
        xl_create "$tmp/guest.cfg"
        [[ $stderr = *"present state: "*"target=$top"* ]]
        # the snapshot is not what it was all the same
        refuses 1 '*was written to*--force-written*' \
            xl snapshot-revert "$uuid" one
        xl snapshot-delete --force-written "$uuid" one
        [ ! -e "$top" ]
    done
}

@test "a repair while the guest runs records where it is" {
    one_snapshot
    their_commit
    run xl snapshot-repair "$guest"
    [[ $output = *"runs on $images/xvda.qcow2, not on "*"recorded"* ]]
    [[ $output = *"one: xvda: the guest writes to"* ]]
    kill_qemu
    [ "$(list | jq -r '.disks[0].image')" = "$images/xvda.qcow2" ]
    present_is_right
}

# ---- started past xl create ------------------------------------------------------

@test "writes to a frozen layer are not merged in silence" {
    one_snapshot
    stop_qemu
    qemu-io -f qcow2 -c 'write -P 9 40M 64k' "$images/xvda.qcow2" > /dev/null
    refuses 1 '*xvda.qcow2 was written to*--force-written*' \
        xl snapshot-delete "$uuid" one
    xl snapshot-delete --force-written "$uuid" one
    [ ! -e "$images/xvda.one.qcow2" ]
}

@test "writes to a frozen layer do not go with it in silence" {
    one_snapshot
    stop_qemu
    xl snapshot-revert "$uuid" one
    qemu-io -f qcow2 -c 'write -P 9 40M 64k' "$images/xvda.one.qcow2" \
        > /dev/null
    name=$(list | jq -r '.snapshots[].name | select(startswith("left-"))')
    refuses 1 '*xvda.one.qcow2 was written to*--force-written*' \
        xl snapshot-delete "$uuid" "$name"
    xl snapshot-delete --force-written "$uuid" "$name"
}

# A deletion that was cut short, and is undone as far as possible
half_deleted() {
    local status=0
    one_snapshot
    LIBXLX_FAULT=snapshot-merge.ready xl snapshot-delete "$guest" one ||
        status=$?
    [ $status = 137 ] || skip "built without --enable-fault-points"
    xl snapshot-repair "$guest" || [ $? = 1 ]
    [ "$(list "$guest" | names_of merging)" = one ]
}

@test "a guest that is started on the layer of a half-done deletion" {
    half_deleted
    stop_qemu
    # our own merge is not a write of others
    xl_create "$tmp/guest.cfg"
    [[ $stderr = *'present state'* ]]
    qemu-io -f qcow2 -c 'write -P 9 1M 64k' "$images/xvda.qcow2" > /dev/null
    run xl snapshot-repair "$uuid"
    [[ $output = *"xvda.qcow2 was written to after it was frozen"* ]]
    xl_create "$tmp/guest.cfg"
    [[ $stderr = *"xvda.qcow2, which was written to"*--keep-image* ]]
    refuses 1 '*xvda.qcow2 was written to*--force-written*' \
        xl snapshot-delete "$uuid" one
    xl snapshot-repair --keep-image "$images/xvda.one.qcow2" "$uuid" ||
        [ $? = 1 ]
    refuses 1 '*xvda.qcow2 was written to*--force-written*' \
        xl snapshot-delete "$uuid" one
    xl snapshot-delete --force-written "$uuid" one
    [ ! -e "$images/xvda.one.qcow2" ]
}

@test "a kill in the middle of a merge, and a start on the lower layer" {
    local status=0
    one_snapshot
    LIBXLX_FAULT=snapshot-merge.ready xl snapshot-delete "$guest" one ||
        status=$?
    [ $status = 137 ] || skip "built without --enable-fault-points"
    kill_qemu
    start_qemu                      # past xl create, on the image of long ago
    guest_write xvda 1048576 65536 9
    run xl snapshot-repair "$guest"
    [ -e "$images/xvda.one.qcow2" ]
    kill_qemu
    qemu-io -f qcow2 -c 'read -P 9 1M 64k' "$images/xvda.qcow2" |
        grep -q 'read 65536'
    [ -e "$images/xvda.one.qcow2" ]
}

@test "another monitor merged all layers: no snapshot on the lowest is ready" {
    one_snapshot
    make_snapshot two --kind external
    next_state
    qmp block-commit "{\"job-id\": \"theirs\", \"device\":
        \"$(node_of "$images/xvda.two.qcow2")\"}"
    until qmp query-jobs | grep -q '"ready"'; do sleep 0.05; done
    qmp block-job-complete '{"device": "theirs"}'
    until [ "$(qmp query-jobs)" = "[]" ]; do sleep 0.05; done
    next_state
    list "$guest" > "$tmp/list"
    [ -z "$(names_of ready < "$tmp/list")" ]
    [ "$(names_of merging < "$tmp/list" | sort | xargs)" = 'one two' ]
    stop_qemu
    xl snapshot-repair "$uuid" || [ $? = 1 ]
    refuses 1 '*was written to*' xl snapshot-revert "$uuid" two
}

# cut_short POINT: the deletion of "one", and the guest and its QEMU with it
cut_short() {
    local status=0
    one_snapshot
    LIBXLX_FAULT=$1 xl snapshot-delete "$guest" one || status=$?
    [ $status = 137 ] || skip "built without --enable-fault-points"
    kill_qemu
}

# A guest was started past xl create on the lower image, wrote, and has ended.
stray() { # [OFFSET]
    qemu-io -f qcow2 -c "write -P 9 ${1:-40M} 64k" "$images/xvda.qcow2"
}

stray_is_there() { # [OFFSET]
    qemu-io -f qcow2 -c "read -P 9 ${1:-40M} 64k" "$images/xvda.qcow2" |
        grep -q 'read 65536'
}

stray_is_seen() {
    run xl snapshot-repair "$uuid"
    echo "$output"
    [[ $output = *"xvda.qcow2 was written to after it was frozen"* ]]
    xl_create "$tmp/guest.cfg"
    [[ $stderr = *"xvda.qcow2, which was written to"*--keep-image* ]]
    refuses 1 '*xvda.qcow2 was written to*--force-written*' \
        xl snapshot-delete "$uuid" one
    stray_is_there
    [ -e "$images/xvda.one.qcow2" ]
}

@test "a merge that a crash of the host cut short, and a start that is over" {
    cut_short snapshot-merge.ready
    # before the host was booted
    touch -d 2001-01-01 "$tmp/state/$uuid/snapshot-journal.json"
    stray
    stray_is_seen
}

@test "a merge that a crash of the host cut short is no write of others" {
    cut_short snapshot-merge.ready
    touch -d 2001-01-01 "$tmp/state/$uuid/snapshot-journal.json"
    touch -d 2001-01-02 "$images/xvda.qcow2"
    run xl snapshot-repair "$uuid"
    [[ $output != *'was written to'* ]]
    xl snapshot-delete "$uuid" one
    [ ! -e "$images/xvda.one.qcow2" ]
    present_is_right
}

@test "a deletion that was cut short before it began, and a start that is over" {
    cut_short snapshot-delete.journal
    stray
    stray_is_seen
}

@test "a merge that was cut short at its end, and a start that wrote elsewhere" {
    cut_short snapshot-merge.completing
    stray
    # the lower image has all that the upper one has, and then its writes
    xl snapshot-repair "$uuid"
    [ ! -e "$images/xvda.one.qcow2" ]
    stray_is_there
    reference xvda 41943040 65536 9
    present_is_right
}

@test "a merge that was cut short at its end, and a start that wrote there" {
    cut_short snapshot-merge.completing
    stray 2M                        # the last state has that, too
    run -1 xl snapshot-repair "$uuid"
    [[ $output = *'these differ'*--keep-image* ]]
    xl_create "$tmp/guest.cfg"
    [[ $stderr = *'cut short'* ]]
    stray_is_there 2M
    [ -e "$images/xvda.one.qcow2" ]
}

# ---- other branches, nodes and sizes ----------------------------------------------

@test "a layer in the middle is merged while another branch lies on it" {
    local branch
    disks 1
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    make_snapshot two --kind external
    next_state
    stop_qemu
    xl snapshot-revert "$uuid" two
    branch=$(list | jq -r '.snapshots[].name | select(startswith("left-"))')
    keep "$branch"
    cp "$refs/two@xvda.raw" "$refs/xvda.raw"
    start_recorded
    next_state
    xl snapshot-delete "$guest" one
    [ ! -e "$images/xvda.one.qcow2" ]
    all_is_right
    stop_qemu
    xl snapshot-revert "$uuid" "$branch"
    cp "$refs/$branch@xvda.raw" "$refs/xvda.raw"
    present_is_right
}

@test "another monitor's node on a lower image of the second disk" {
    local lower
    disks 2
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    make_snapshot two --kind external
    next_state
    for lower in xvdb.qcow2 xvdb.one.qcow2; do
        qmp blockdev-add "{\"driver\": \"qcow2\", \"node-name\": \"second\",
            \"read-only\": true, \"file\": {\"driver\": \"file\",
            \"filename\": \"$images/$lower\", \"locking\": \"off\"}}"
        refuses 1 '*xvdb*qcow2: another tool has opened*--force-open*' \
            xl snapshot-delete "$guest" one
        qmp blockdev-del '{"node-name": "second"}'
    done
    qmp blockdev-add "{\"driver\": \"qcow2\", \"node-name\": \"second\",
        \"read-only\": true, \"file\": {\"driver\": \"file\",
        \"filename\": \"$images/xvdb.qcow2\", \"locking\": \"off\"}}"
    xl snapshot-delete --force-open "$guest" one
    qmp blockdev-del '{"node-name": "second"}'
    xl snapshot-delete "$guest" two
    all_is_right
}

@test "a disk that became smaller stays so when layers are merged" {
    local kind layer
    for kind in qcow2 raw; do
        rm -rf "$images" "$refs" "$tmp/state"
        mkdir "$images" "$refs"
        vdevs=()
        disk xvda $kind 8M
        start_qemu
        guest_write xvda 1048576 65536 1
        guest_write xvda 7340032 65536 2
        make_snapshot one --kind external
        guest_write xvda 2097152 65536 3
        make_snapshot two --kind external
        stop_qemu
        for layer in one two; do
            qemu-img resize -q --shrink "$images/xvda.$layer.qcow2" 4M
        done
        truncate -s 4M "$refs/xvda.raw"
        cp "$refs/xvda.raw" "$refs/two@xvda.raw"
        start_recorded
        refuses 1 '*xvda: *would make its disk larger*shut the guest down*' \
            xl snapshot-delete "$guest" one
        stop_qemu
        xl snapshot-delete --force-written "$uuid" one
        [ "$(size_of "$images/xvda.$kind")" = 4194304 ]
        present_is_right
        xl snapshot-delete --force-written "$uuid" two
        [ "$(size_of "$images/xvda.$kind")" = 4194304 ]
        present_is_right
        nothing_left_over
    done
}
