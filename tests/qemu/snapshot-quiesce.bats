#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of snapshot.bash
#
# Snapshots of a guest whose file systems are frozen by its agent.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

@test "the guest is frozen, snapshot and thawed" {
    disks 2
    start_qemu_with_agent
    next_state
    make_snapshot one --kind external --quiesce
    [ "$(list | jq '.snapshots[0].quiesced')" = true ]
    [ "$(grep -xE 'frozen|thawed' "$tmp/log" | xargs)" = 'frozen thawed' ]
    all_is_right
}

# The file systems may be damaged in it: that must not pass unsaid.
@test "a guest that does not stay frozen" {
    local fault
    disks 1
    for fault in thaws vss; do
        start_qemu_with_agent $fault
        next_state
        keep $fault
        run --separate-stderr xl snapshot-create "$guest" $fault --quiesce
        echo "$status: $output$stderr"
        [ "$status" = 1 ]
        [ -z "$output" ]
        [[ $stderr = *"\"$fault\" was made, but not of a quiesced guest: "* ]]
        [ "${#stderr_lines[@]}" = 1 ]
        list | jq -e --arg n $fault '.snapshots[] | select(.name == $n) |
            .status == "ready" and (.quiesced | not)'
        all_is_right
        kill "$agent"
        stop_qemu
    done
}

@test "a guest that is not to be frozen" {
    disks 1
    start_qemu
    refuses 1 '*for a guest agent*' \
        xl snapshot-create "$guest" one --quiesce
    stop_qemu
    start_qemu_with_agent refuse
    refuses 1 '*has been disabled*' xl snapshot-create "$guest" one --quiesce
    nothing_left_over
}

@test "a refusal comes before the guest is frozen" {
    disks 1
    start_qemu_with_agent
    next_state
    xl snapshot-create "$guest" one --kind internal --quiesce
    qmp blockdev-snapshot-internal-sync \
        '{"device": "xvda-qcow2", "name": "two"}'
    refuses 1 '*already holds*' \
        xl snapshot-create "$guest" two --kind internal --quiesce
    [ "$(grep -cx frozen "$tmp/log")" = 1 ]
}
