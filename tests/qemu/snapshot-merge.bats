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
    start_qemu
    next_state
    make_snapshot one --kind external
    guest_write xvda 4194304 50331648 77
}

# merge_and STEP...: begins to delete "one"; when QEMU's job is there it is
# slowed down to a crawl, then STEP (evaluated: $command is its process)
merge_and() {
    rm -f "$tmp/ready"
    slow_down 3>&- &
    local slower=$!
    until [ -e "$tmp/ready" ]; do sleep 0.02; done
    # a shell's own background processes ignore SIGINT
    env --default-signal=INT "$top_builddir/xl-plugins/xl-snapshot" \
        snapshot-delete "$guest" one > "$tmp/said" 2> "$tmp/why" 3>&- &
    command=$!
    wait $slower
    eval "$*"
    status=0
    wait $command || status=$?
}

@test "Ctrl-C ends it; the guest is whole; it is finished later" {
    local signal code
    slow_chain
    for signal in INT TERM; do
        code=$([ $signal = INT ] && echo 130 || echo 143)
        merge_and "kill -$signal \$command"
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
    cancel() {
        qmp block-job-cancel '{"device": "xlx-merge-xvda", "force": true}'
    }
    merge_and cancel
    [ "$status" = 1 ]
    [ "$(wc -l < "$tmp/why")" = 1 ]
    [ "$(list "$guest" | names_of merging)" = one ]
    present_is_right
    xl snapshot-delete "$guest" one
    all_is_right
}

# after_kill POINT: "one" is being deleted, and the command killed there
after_kill() {
    status=0
    LIBXLX_FAULT=$1 xl snapshot-delete "$guest" one || status=$?
    [ "$status" = 137 ] || skip "built without --enable-fault-points"
}

has_job() { # STATUS
    qmp query-jobs | jq -e --arg s "$1" '.[] | select(.status == $s)' \
        > "$tmp/said"
}

@test "somebody cancels the job of a command that was killed" {
    local dismissed point
    slow_chain
    for point in started ready completing; do
        for dismissed in no yes; do
            after_kill snapshot-merge.$point
            qmp block-job-cancel \
                '{"device": "xlx-merge-xvda", "force": true}' > "$tmp/said"
            until has_job concluded; do sleep 0.02; done
            [ $dismissed = no ] || qmp job-dismiss '{"id": "xlx-merge-xvda"}'
            # the next command settles it
            run --separate-stderr xl snapshot-list --json "$guest"
            echo "$stderr"
            [[ $stderr = *'was cut short; undone as far as possible'* ]]
            [ "$(jq .[0] <<< "$output" | names_of merging)" = one ]
            [ "$(qmp query-jobs)" = '[]' ]
            [ -e "$images/xvda.one.qcow2" ]
            present_is_right
            next_state
            run -1 xl snapshot-repair "$guest"
            [[ $output = *'one: it is half deleted'* ]]
            present_is_right
        done
    done
    xl snapshot-delete "$guest" one
    all_is_right
    [ ! -e "$tmp/state/$uuid" ]
}

@test "a second command during a merge names the first" {
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

# qemu-img whose commit stands at half for a while, long enough to be seen
slow_qemu_img() {
    local real
    real=$(command -v qemu-img)
    mkdir "$tmp/bin"
    cat > "$tmp/bin/qemu-img" <<EOF2
#!/bin/sh
if [ "\$1" = commit ]; then
    printf '    (50.00/100%%)\r'
    : > "$tmp/ready"
    for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done
fi
exec "$real" "\$@"
EOF2
    chmod +x "$tmp/bin/qemu-img"
    PATH=$tmp/bin:$PATH
}

@test "of a guest that is shut down, it shows how far it is, and Ctrl-C ends it" {
    slow_chain
    stop_qemu
    slow_qemu_img
    LIBXLX_XL_OPTS=-t xl snapshot-delete -N "$uuid" one
    env --default-signal=INT LIBXLX_XL_OPTS=-t \
        "$top_builddir/xl-plugins/xl-snapshot" \
        snapshot-delete "$uuid" one > "$tmp/said" 2> "$tmp/why" 3>&- &
    command=$!
    until [ -e "$tmp/ready" ]; do sleep 0.02; done
    kill -INT $command
    status=0
    wait $command || status=$?
    [ "$status" = 130 ]
    # nothing was written yet, so that it never began
    [ "$(list | names_of ready)" = one ]
    LIBXLX_XL_OPTS=-t run --separate-stderr xl snapshot-delete "$uuid" one
    echo "$stderr"
    [ "$status" = 0 ]
    [[ $stderr = *"xvda: 50% ("* ]]
    [ ! -e "$tmp/state/$uuid" ]
    images_are_clean
}
