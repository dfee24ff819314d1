#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of snapshot.bash
#
# QEMU is killed (SIGKILL) at a random moment of a command.  Afterwards a
# repair, and QEMU is started on the images that the record names: everything
# that the guest had flushed is there, on the disks and in the snapshots.  The
# moments come of a seed, which is printed; XLX_SEED=N repeats a run.  With SLOW
# set there are more of them.

load snapshot

setup() {
    snapshot_setup
    seed=${XLX_SEED:-$((RANDOM * 32768 + RANDOM))}
    echo "# XLX_SEED=$seed" >&3
    RANDOM=$((seed % 32768))
}
teardown() { snapshot_teardown; }

# crash_in COMMAND...: QEMU is killed in the first 200 ms of it
crash_in() {
    local pid ms=$((RANDOM % 200))
    "$@" > "$tmp/said" 2>&1 3>&- &
    pid=$!
    sleep "$(printf '0.%03d' $ms)"
    kill_qemu
    if wait $pid; then result="done"; else result=failed; fi
    echo "# killed after $ms ms of: $*: $result: $(tail -n 1 "$tmp/said")" >&3
}

repair_images() {
    local file
    for file in "$images"/*.qcow2; do
        qemu-img check -q -r all -f qcow2 "$file" || true
    done
}

# The repair says the same when it is asked again, and QEMU can be started on
# what the record says.
comes_back() {
    local status=0 again=0
    if [ -e "$tmp/state/$uuid" ]; then
        xl snapshot-repair "$uuid" || true
    fi
    if [ -e "$tmp/state/$uuid" ]; then
        xl snapshot-repair "$uuid" > "$tmp/first" || status=$?
        xl snapshot-repair "$uuid" > "$tmp/second" || again=$?
        diff "$tmp/first" "$tmp/second"
        [ $status = $again ]
        [ $status = 0 ] ||
            [ "$(grep -vc 'half deleted; finish' "$tmp/first")" = 0 ]
    fi
    present_is_right
    snapshots_are_right
    # with the last snapshot gone there is no record, and the base is in use
    [ -e "$tmp/state/$uuid/snapshots.json" ] || image[xvda]=$images/xvda.qcow2
    start_recorded
    present_is_right
    snapshots_are_right
    [ -z "$(find "$tmp/state" -name snapshot-journal.json)" ]
}

@test "while an external snapshot is made" {
    local i times=${SLOW:+8}
    disks 2
    start_qemu
    for ((i = 0; i < ${times:-3}; i++)); do
        next_state
        keep s$i
        crash_in xl snapshot-create "$guest" s$i --kind external
        comes_back
        nothing_left_over
    done
}

@test "while an internal snapshot is made" {
    local i times=${SLOW:+6}
    disks 2
    start_qemu
    for ((i = 0; i < ${times:-2}; i++)); do
        next_state
        keep s$i
        crash_in xl snapshot-create "$guest" s$i --kind internal
        comes_back
        nothing_left_over
        images_are_clean
    done
}

# deleting KIND NUMBER: half of them the newest, half the oldest
deleting() {
    local i name
    disks 1
    start_qemu
    for ((i = 0; i < $2; i++)); do
        next_state
        guest_write xvda $((1048576 * (i + 1))) 4194304 $((i + 1))
        make_snapshot s$i --kind "$1"
    done
    next_state
    for ((i = 0; i < $2; i++)); do
        if [ $((i % 2)) = 0 ]; then
            name=$(list | jq -r '.snapshots[-1].name')
        else
            name=$(list | jq -r '.snapshots[0].name')
        fi
        crash_in xl snapshot-delete "$guest" "$name"
        # what QEMU had not written when it was killed after the end of the
        # command is its own affair
        [ "$1 $result" != "internal done" ] || repair_images
        comes_back
        [ "$(list | jq --arg n "$name" '[.snapshots[]? |
            select(.name == $n)] | length')" = 0 ] ||
            xl snapshot-delete "$guest" "$name"
        all_is_right
        next_state
    done
    [ ! -e "$tmp/state/$uuid/snapshots.json" ]
    all_is_right
}

@test "while an external snapshot is deleted" {
    deleting external $((${SLOW:+6} + 2))
}

@test "while an internal snapshot is deleted" {
    deleting internal $((${SLOW:+2} + 2))
}

# One reference more than there is, to the image's first cluster (qcow2.txt:
# the table's place stands at 48, the place of its first block at its begin)
leak() {
    python3 - "$1" <<'EOF2'
import struct, sys
with open(sys.argv[1], 'r+b') as f:
    def at(place, kind):
        f.seek(place)
        return struct.unpack(kind, f.read(struct.calcsize(kind)))[0]
    block = at(at(48, '>Q'), '>Q')
    count = at(block, '>H')
    f.seek(block)
    f.write(struct.pack('>H', count + 1))
EOF2
}

@test "counts that a killed QEMU left wrong are put right by the repair" {
    local status=0
    disks 1
    start_qemu
    next_state
    make_snapshot one --kind internal
    LIBXLX_FAULT=snapshot-delete.journal xl snapshot-delete "$guest" one ||
        status=$?
    [ $status = 137 ] || skip "built without --enable-fault-points"
    kill_qemu
    leak "$images/xvda.qcow2"
    run -3 qemu-img check "$images/xvda.qcow2"
    comes_back
    stop_qemu
    qemu-img check "$images/xvda.qcow2"
}
