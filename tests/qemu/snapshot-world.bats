#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
#
# The world over the record: other tools, other guests and other programs use
# the images, too, and disks change places.  Nothing that anybody needs is
# unlinked, merged or reverted over; the command says who needs it, and which
# option overrides that.

load snapshot

setup() { snapshot_setup; other=; }
teardown() {
    [ -z "$other" ] || kill -KILL "$other" || true
    snapshot_teardown
}

# The node of an image in QEMU, its format node
node_of() {
    qmp query-named-block-nodes '{"flat": true}' |
        jq -r --arg f "$1" '[.[] | select(.file == $f and .drv != "file")][0]
            ."node-name"'
}

swap() { mv "$1" "$1.swap"; mv "$2" "$1"; mv "$1.swap" "$2"; }

two_snapshots() { chain_of_snapshots "$1" one two; }

# ---- the record over QEMU's graph --------------------------------------------

@test "disks that changed places between two starts" {
    local name
    two_snapshots 2
    stop_qemu
    image[xvda]=$images/xvdb.two.qcow2 image[xvdb]=$images/xvda.two.qcow2
    for name in '' one@ two@; do
        swap "$refs/${name}xvda.raw" "$refs/${name}xvdb.raw"
    done
    start_qemu
    present_is_right
    next_state
    xl snapshot-delete "$guest" two
    [ -e "$images/xvda.one.qcow2" ] && [ -e "$images/xvdb.one.qcow2" ]
    present_is_right
    snapshots_are_right
    xl snapshot-delete "$guest" one
    all_is_right
}

# QEMU that gives its devices no names: NUMBER of disks, and one before them
anonymous() {
    local disk args=()
    for disk; do
        args+=(-blockdev "node-name=n$((${#args[@]} / 4)),driver=qcow2,`
               `file.driver=file,file.filename=$disk,file.locking=off"
               -device "virtio-blk-pci,drive=n$((${#args[@]} / 4))")
    done
    vdevs=()
    start_qemu "${args[@]}"
}

@test "a device in front shifts the names of those without one" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 64M
    qemu-img create -q -f qcow2 "$images/front.qcow2" 64M
    anonymous "$images/a.qcow2"
    xl snapshot-create "$guest" one --kind external
    xl snapshot-create "$guest" two --kind external
    stop_qemu
    anonymous "$images/front.qcow2" "$images/a.two.qcow2"
    xl snapshot-delete "$guest" two
    [ -e "$images/a.one.qcow2" ]
    [ ! -e "$images/a.two.qcow2" ]
    graph | grep -q "a.one.qcow2 false"
    xl snapshot-delete "$guest" one
    graph | grep -q "a.qcow2 false"
    [ ! -e "$images/a.one.qcow2" ]
}

@test "another tool committed our newest layer away" {
    local top=$images/xvda.two.qcow2
    two_snapshots 1
    qmp block-commit "{\"job-id\": \"theirs\", \"device\": \"$(node_of "$top")\",
        \"base-node\": \"$(node_of "$images/xvda.one.qcow2")\"}"
    within 10 'qmp query-jobs | grep -q "\"ready\""'
    qmp block-job-complete '{"device": "theirs"}'
    within 10 '[ "$(qmp query-jobs)" = "[]" ]'
    rm "$top"
    graph | grep -q "xvda.one.qcow2 false"
    base=$(graph)
    xl snapshot-delete "$guest" two
    diff <(echo "$base") <(graph)
    [ -e "$images/xvda.one.qcow2" ]
    present_is_right
    next_state
    xl snapshot-delete "$guest" one
    [ ! -e "$images/xvda.one.qcow2" ]
    present_is_right
    nothing_left_over
}

@test "another tool put a layer of its own on ours, and below" {
    local foreign=$images/theirs.qcow2
    two_snapshots 1
    qmp blockdev-snapshot-sync "{\"node-name\":
        \"$(node_of "$images/xvda.two.qcow2")\", \"snapshot-file\":
        \"$foreign\", \"format\": \"qcow2\", \"snapshot-node-name\": \"t\"}"
    next_state
    before=$(graph)
    # with or without success: the chain is whole, and holds what was written
    xl snapshot-delete "$guest" two || diff <(echo "$before") <(graph)
    present_is_right
    xl snapshot-delete "$guest" one || true
    present_is_right
    stop_qemu
    same "$foreign" qcow2 "$refs/xvda.raw"
}

# ---- who is based on it ------------------------------------------------------

@test "a revert that discards looks for images based on those it unlinks" {
    disks 1
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    stop_qemu
    qemu-img create -q -f qcow2 -F qcow2 -b "$images/xvda.one.qcow2" \
        "$images/clone.qcow2"
    refuses 1 '*clone.qcow2 is based on it*--force-based*' \
        xl snapshot-revert --discard "$uuid" one
    xl snapshot-revert --discard --force-based "$uuid" one
    [ ! -e "$images/xvda.one.qcow2" ]
}

@test "an internal revert looks for images based on the one it changes" {
    disks 1
    start_qemu
    next_state
    make_snapshot one --kind internal
    next_state
    stop_qemu
    qemu-img create -q -f qcow2 -F qcow2 -b "$images/xvda.qcow2" \
        "$images/clone.qcow2"
    refuses 1 '*clone.qcow2 is based on it*--force-based*' \
        xl snapshot-revert "$uuid" one
    xl snapshot-revert --force-based "$uuid" one
}

@test "clones, in whatever way their headers name the image" {
    local base=$images/xvda.qcow2 name n=0
    two_snapshots 1
    stop_qemu
    mkdir "$images/sub"
    ln -s xvda.qcow2 "$images/link"
    ln -s . "$images/here"
    for name in xvda.qcow2 ./xvda.qcow2 sub/../xvda.qcow2 link \
        here/xvda.qcow2 "$base" "file:$base" "file:xvda.qcow2" \
        "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"$base\"}}" \
        "json:{\"file.filename\":\"$base\",\"driver\":\"qcow2\"}" \
        "json:{'driver':'qcow2','file':{'driver':'file','filename':'$base'}}" \
        "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"blkdebug\",\"image\":{\"driver\":\"file\",\"filename\":\"$base\"}}}"
    do
        n=$((n + 1))
        qemu-img create -q -u -f qcow2 -F qcow2 -b "$name" \
            "$images/clone.qcow2" 64M
        echo "$name"
        refuses 1 '*clone.qcow2*based on it*--force-*' \
            xl snapshot-delete "$uuid" one
        rm "$images/clone.qcow2"
    done
    [ $n = 12 ]
    xl snapshot-delete "$uuid" one
    all_is_right
}

@test "an image that is the data file of another" {
    two_snapshots 1
    stop_qemu
    python3 - "$images/clone.qcow2" "$images/xvda.one.qcow2" <<'EOF2'
import struct, subprocess, sys
image, data = sys.argv[1:]
subprocess.check_call(['qemu-img', 'create', '-q', '-f', 'qcow2', '-o',
                       'data_file=%s.raw' % image, image, '64M'])
with open(image, 'r+b') as f:           # the name is changed in its place
    head = bytearray(f.read(65536))
    at = struct.unpack('>I', head[100:104])[0]
    while struct.unpack('>I', head[at:at + 4])[0] != 0x44415441:
        at += 8 + (struct.unpack('>I', head[at + 4:at + 8])[0] + 7) // 8 * 8
    old = struct.unpack('>I', head[at + 4:at + 8])[0]
    assert len(data) <= old
    head[at + 4:at + 8] = struct.pack('>I', len(data))
    head[at + 8:at + 8 + old] = data.encode().ljust(old, b'\0')
    f.seek(0)
    f.write(head)
EOF2
    qemu-img info -U "$images/clone.qcow2" | grep -q xvda.one.qcow2
    refuses 1 '*clone.qcow2*based on it*--force-based*' \
        xl snapshot-delete "$uuid" one
}

@test "a header that a guest writes into a raw disk has no effect" {
    disk xvda
    disk xvdb raw
    start_qemu
    next_state
    make_snapshot one --kind external
    stop_qemu
    # the raw image is known as such; the guest wrote this before
    qemu-img create -q -f qcow2 -F qcow2 -b "$images/xvda.qcow2" "$tmp/evil"
    dd if="$tmp/evil" of="$images/xvdb.raw" conv=notrunc status=none
    xl snapshot-delete --force-written "$uuid" one ||
        xl snapshot-delete "$uuid" one
    [ ! -e "$images/xvda.one.qcow2" ]
}

# ---- who has it open ----------------------------------------------------------

# elsewhere IMAGE [,OPTION]: another guest, whose disk lies in another directory
# on IMAGE; the option is one of its -name
elsewhere() {
    mkdir -p "$tmp/elsewhere"
    qemu-img create -q -f qcow2 -F qcow2 -b "$1" "$tmp/elsewhere/clone.qcow2"
    qemu-system-x86_64 -machine pc,accel=tcg -m 16 -S -display none \
        -nodefaults -name "other${2:-}" -blockdev "node-name=x,driver=qcow2,`
        `file.driver=file,file.locking=off,`
        `file.filename=$tmp/elsewhere/clone.qcow2,`
        `backing.driver=qcow2,backing.file.driver=file,`
        `backing.file.locking=off,backing.file.filename=$1" \
        -device virtio-blk-pci,drive=x -pidfile "$tmp/other" \
        > "$tmp/other.out" 2>&1 3>&- &
    other=$!
    within 10 '[ -s "$tmp/other" ]'
}

@test "a guest elsewhere runs on a layer that would be unlinked" {
    two_snapshots 1
    elsewhere "$images/xvda.one.qcow2"
    refuses 1 '*qcow2: qemu-system* has it open*--force-open*' \
        xl snapshot-delete "$guest" one
    stop_qemu
    refuses 1 '*qcow2: qemu-system* has it open*--force-open*' \
        xl snapshot-delete "$uuid" one
    refuses 1 '*qcow2: qemu-system* has it open*--force-open*' \
        xl snapshot-delete "$uuid" two
    kill -KILL $other
    wait $other || true
    other=
    xl snapshot-delete "$uuid" two
    all_is_right
}

@test "a reader without locks of a layer that would be merged into" {
    two_snapshots 1
    stop_qemu
    elsewhere "$images/xvda.qcow2"
    refuses 1 '*xvda.qcow2: qemu-system* has it open*--force-open*' \
        xl snapshot-delete "$uuid" one
    xl snapshot-delete --force-open "$uuid" one
    [ ! -e "$images/xvda.one.qcow2" ]
}

@test "a QEMU that gave its process another name" {
    two_snapshots 1
    stop_qemu
    elsewhere "$images/xvda.qcow2" ,process=web
    [ "$(cat "/proc/$other/comm")" = web ]
    refuses 1 '*xvda.qcow2: web (process *has it open*--force-open*' \
        xl snapshot-delete "$uuid" one
}

@test "an NBD export of a frozen layer" {
    local layer
    for layer in xvda.qcow2 xvda.one.qcow2; do
        [ -n "$qemu" ] || two_snapshots 1
        qmp nbd-server-start "{\"addr\": {\"type\": \"unix\", \"data\":
            {\"path\": \"$tmp/nbd\"}}}"
        qmp block-export-add "{\"type\": \"nbd\", \"id\": \"backup\",
            \"node-name\": \"$(node_of "$images/$layer")\"}"
        refuses 1 "*$layer: the guest's QEMU exports it (\"backup\")*" \
            xl snapshot-delete "$guest" one
        qmp nbd-server-stop
    done
    xl snapshot-delete "$guest" one
    all_is_right
}

@test "a second node on a frozen layer, of another tool" {
    two_snapshots 1
    qmp blockdev-add "{\"driver\": \"qcow2\", \"node-name\": \"theirs\",
        \"read-only\": true, \"backing\": null, \"file\": {\"driver\": \"file\",
        \"filename\": \"$images/xvda.qcow2\", \"locking\": \"off\"}}"
    qmp device_add '{"driver": "virtio-blk-pci", "drive": "theirs",
        "id": "theirs"}' || skip "this machine has no hot plug"
    refuses 1 '*xvda.qcow2: *as the disk *theirs*' \
        xl snapshot-delete "$guest" one
}

@test "a dirty bitmap in a layer that would be merged away" {
    local top=$images/xvda.two.qcow2
    two_snapshots 1
    qmp block-dirty-bitmap-add "{\"node\": \"$(node_of "$top")\",
        \"name\": \"backup0\", \"persistent\": true}"
    refuses 1 '*xvda.two.qcow2*bitmap "backup0"*--force-bitmap*' \
        xl snapshot-delete "$guest" two
    stop_qemu
    refuses 1 '*xvda.two.qcow2*bitmap*--force-bitmap*' \
        xl snapshot-delete "$uuid" two
    xl snapshot-delete --force-bitmap "$uuid" two
    all_is_right
}

# ---- what really happened ------------------------------------------------------

@test "another monitor ends the merge when it is ready" {
    local top=$images/xvda.one.qcow2
    disks 1
    start_qemu
    next_state
    make_snapshot one --kind external
    guest_write xvda 4194304 50331648 77
    slow_down end 3>&- &
    local ender=$!
    within 10 '[ -e "$tmp/ready" ]'
    run --separate-stderr xl snapshot-delete "$guest" one
    wait $ender
    echo "$status: $output$stderr"
    [ "$status" = 1 ]
    [ -e "$top" ]
    present_is_right
    next_state
    xl snapshot-delete "$guest" one
    all_is_right
}

@test "a merge that was completed, and the newest data are in the base" {
    local top=$images/xvda.one.qcow2 base=$images/xvda.qcow2 status=0 keep
    for keep in base top; do
        if [ -n "$qemu" ]; then kill_qemu; fi
        rm -rf "$images" "$refs" "$tmp/state"
        mkdir "$images" "$refs"
        vdevs=()
        disks 1
        start_qemu
        next_state
        make_snapshot one --kind external
        next_state
        status=0
        LIBXLX_FAULT=snapshot-merge.completed xl snapshot-delete "$guest" one ||
            status=$?
        [ $status = 137 ] || skip "built without --enable-fault-points"
        within 10 '! graph | grep -q commit_top'
        cp --sparse=always "$refs/xvda.raw" "$refs/top.raw"
        guest_write xvda 65536 4096 99
        kill_qemu
        run --separate-stderr xl snapshot-list "$uuid"
        echo "$stderr"
        [ "$status" = 1 ]
        [[ $stderr = *"$top"*"$base"*"these differ (first near byte 65536)"*"--keep-image"* ]]
        refuses 1 '*neither*' xl snapshot-repair --keep-image "$refs/xvda.raw" \
            "$uuid"
        xl snapshot-repair --keep-image "${!keep}" "$uuid" > "$tmp/said" || true
        cat "$tmp/said"
        [ ! -e "$tmp/state/$uuid/snapshot-journal.json" ]
        if [ $keep = base ]; then
            same "$base" qcow2 "$refs/xvda.raw"
            [ -e "$top" ]
            grep -q "$top" "$tmp/said"
            [ -z "$(list | jq -r '.snapshots[]?.name')" ]
        else
            [ "$(list | jq -r '.disks[0].image')" = "$top" ]
            [ "$(list | names_of merging)" = one ]
            xl snapshot-delete "$uuid" one
            [ ! -e "$top" ]
        fi
    done
}

# ---- dead ends ------------------------------------------------------------------

@test "our own removal of an internal snapshot does not spoil an external one" {
    disks 1
    start_qemu
    next_state
    make_snapshot inside --kind internal
    next_state
    make_snapshot outside --kind external
    next_state
    stop_qemu
    sleep 0.02
    xl snapshot-delete "$uuid" inside
    xl snapshot-repair "$uuid"
    xl snapshot-revert "$uuid" outside
    holds outside outside
}

@test "our own removal of an internal snapshot, and a kill before its end" {
    disks 1
    start_qemu
    next_state
    make_snapshot inside --kind internal
    next_state
    make_snapshot outside --kind external
    next_state
    stop_qemu
    mkdir "$tmp/bin"
    cat > "$tmp/bin/qemu-img" <<EOF2
#!/bin/sh
$(command -v qemu-img) "\$@" || exit
[ "\$1 \$2" != 'snapshot -q' ] && [ "\$1" != snapshot ] ||
    { touch $tmp/removed; sleep 3; }
EOF2
    chmod +x "$tmp/bin/qemu-img"
    PATH=$tmp/bin:$PATH "$top_builddir/xl-plugins/xl-snapshot" \
        snapshot-delete "$uuid" inside > /dev/null 2>&1 3>&- &
    command=$!
    until [ -e "$tmp/removed" ]; do sleep 0.02; done
    kill -KILL $command
    wait $command || true
    sleep 0.05
    xl snapshot-repair "$uuid"
    xl snapshot-revert "$uuid" outside
    holds outside outside
}

@test "an image that was written to after it was frozen: a look, and a way" {
    disks 1
    start_qemu
    next_state
    make_snapshot one --kind external
    stop_qemu
    sleep 0.05
    qemu-io -f qcow2 -c 'write 0 512' "$images/xvda.qcow2" > /dev/null
    refuses 1 '*was written to*after it was frozen*--force-written*' \
        xl snapshot-revert "$uuid" one
    xl snapshot-revert --force-written "$uuid" one
}

failing_qemu_img() {
    local real
    real=$(command -v qemu-img)
    mkdir "$tmp/bin"
    cat > "$tmp/bin/qemu-img" <<EOF2
#!/bin/sh
if [ "\$1" = commit ]; then
    echo "qemu-img: Could not open: Permission denied" >&2
    exit 1
fi
exec "$real" "\$@"
EOF2
    chmod +x "$tmp/bin/qemu-img"
}

@test "a deletion that never began leaves the snapshot as it was" {
    two_snapshots 1
    stop_qemu
    failing_qemu_img
    PATH=$tmp/bin:$PATH run --separate-stderr xl snapshot-delete "$uuid" one
    [ "$status" = 1 ]
    [[ $stderr = *'Permission denied'* ]]
    [ "$(list | names_of ready | xargs)" = "one two" ]
    all_is_right
    xl snapshot-revert "$uuid" one
    xl snapshot-delete --children "$uuid" one
}

@test "a deletion that was killed before it began is undone" {
    local point status
    two_snapshots 1
    for point in journal marked; do
        status=0
        LIBXLX_FAULT=snapshot-delete.$point xl snapshot-delete "$guest" one ||
            status=$?
        [ $status = 137 ] || skip "built without --enable-fault-points"
        xl snapshot-repair "$guest"
        [ "$(list | names_of ready | xargs)" = "one two" ]
        all_is_right
    done
    # one of two disks is done: the rest is still half deleted
    xl snapshot-delete "$guest" one
    all_is_right
}

@test "half of a deletion is not forgotten" {
    local status=0
    two_snapshots 2
    LIBXLX_FAULT=snapshot-delete.journal:2 xl snapshot-delete "$guest" one ||
        status=$?
    [ $status = 137 ] || skip "built without --enable-fault-points"
    [ "$(list "$guest" | names_of merging)" = one ]
    xl snapshot-delete "$guest" one
    all_is_right
}
