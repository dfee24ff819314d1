#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of snapshot.bash
#
# A merge that is slow enough to be stopped in its middle.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

# A chain whose newest layer takes some seconds to be merged
slow_chain() {
    disks 1
    options[xvda]=",file.cache.direct=off"
    start_qemu
    next_state
    make_snapshot one --kind external
    guest_write xvda 4194304 50331648 77
}

# merge_and STEP...: begins to delete "one"; when QEMU's job is there it is
# slowed down to a crawl, then STEP
merge_and() {
    xl snapshot-delete "$guest" one > "$tmp/said" 2> "$tmp/why" 3>&- &
    command=$!
    local i
    for ((i = 0; i < 3000; i++)); do
        qmp block-job-set-speed \
            '{"device": "xlx-merge-xvda", "speed": 1048576}' \
            2> /dev/null && break
        kill -0 $command || { cat "$tmp/why"; return 1; }
    done
    "$@"
    status=0
    wait $command || status=$?
}

@test "Ctrl-C ends it; the guest is whole; it is finished later" {
    local signal code
    slow_chain
    for signal in INT TERM; do
        code=$([ $signal = INT ] && echo 130 || echo 143)
        merge_and kill -$signal "%1" || merge_and kill -$signal "$command"
        [ "$status" = "$code" ]
        [ "$(wc -l < "$tmp/why")" -le 1 ]
        [ "$(qmp query-jobs)" = '[]' ]
        [ "$(list "$guest" | names_of merging)" = one ]
        present_is_right
        refuses 1 '*half deleted*' xl snapshot-revert "$guest" one || true
        next_state
        present_is_right
        nothing_left_over
    done
    xl snapshot-repair "$guest" > "$tmp/said" && false
    grep -q 'one: it is half deleted' "$tmp/said"
    xl snapshot-delete "$guest" one
    all_is_right
    [ ! -e "$tmp/state/$uuid" ]
}

@test "the guest writes while it is being merged" {
    slow_chain
    writes() {
        next_state
        next_state
        qmp block-job-set-speed '{"device": "xlx-merge-xvda", "speed": 0}'
    }
    merge_and writes
    [ "$status" = 0 ]
    all_is_right
}

@test "somebody cancels the job" {
    slow_chain
    merge_and qmp block-job-cancel \
        '{"device": "xlx-merge-xvda", "force": true}'
    [ "$status" = 1 ]
    [ "$(wc -l < "$tmp/why")" = 1 ]
    [ "$(list "$guest" | names_of merging)" = one ]
    present_is_right
    xl snapshot-delete "$guest" one
    all_is_right
}

@test "the second command meanwhile is told who works" {
    slow_chain
    second() {
        run --separate-stderr xl snapshot-create "$guest" two
        second=$status why=$stderr
        list "$guest" > "$tmp/meanwhile"
        kill -INT $command
    }
    merge_and second
    [ "$second" = 1 ]
    [[ $why = *"process $command "* ]]
    [ "$(names_of merging < "$tmp/meanwhile")" = one ]
}

@test "QEMU ends in the middle" {
    slow_chain
    merge_and kill_qemu
    [ "$status" = 1 ]
    [ "$(wc -l < "$tmp/why")" = 1 ]
    present_is_right
    xl snapshot-delete "$uuid" one
    all_is_right
}
