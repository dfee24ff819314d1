#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of snapshot.bash
#
# External snapshots of a running guest, and the chains and branches that they
# make.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

# frozen_layers_stay NUMBER: of disks
frozen_layers_stay() {
    local before after
    disks "$1"
    start_qemu
    next_state
    before=$(md5sum "$images"/*)
    make_snapshot one --kind external
    after=$(md5sum "${image[@]}")
    diff <(sort <<< "$before") <(sort <<< "$after")
    next_state
    after=$(md5sum "${image[@]}")
    diff <(sort <<< "$before") <(sort <<< "$after")
    list "$guest" | jq -e --argjson n "$1" '.snapshots[0] |
        .kind == "external" and .status == "ready" and .running and
        (.quiesced | not) and .qemu_version != "" and (.disks | length) == $n'
    all_is_right
}

@test "one disk: the frozen layer keeps every byte" { frozen_layers_stay 1; }
@test "four disks at once" { frozen_layers_stay 4; }
@test "eight disks at once" { frozen_layers_stay 8; }

@test "twenty disks" {
    disks 20
    start_qemu
    make_snapshot one --kind external
    guest_write xvdt 0 65536 9
    holds one one
    same "$images/xvdt.one.qcow2" qcow2 "$refs/xvdt.raw"
    xl snapshot-delete "$guest" one
    nothing_left_over
}

@test "the device can be removed afterwards" {
    disks 2
    start_qemu
    next_state
    make_snapshot one --kind external
    # the guest is not there to agree: the bus gives it up at a reset
    qmp device_del '{"id": "xvda"}'
    qmp system_reset
    within 5 '! qmp query-block | grep -q /xvda/'
    # it lets go of the nodes a moment later
    within 5 "qmp blockdev-del '{\"node-name\": \"xvda-qcow2\"}'"
    [ "$(graph | grep -c "$images/xvda")" = 0 ]
    same "$images/xvda.one.qcow2" qcow2 "$refs/xvda.raw"
}

@test "a new overlay has the owner of its disk, and no access for others" {
    [ "$(id -u)" = 0 ] || skip "not root"
    disks 1
    chown 12:34 "${image[xvda]}"
    start_qemu
    make_snapshot one --kind external
    [ "$(stat -c '%u:%g %a' "$images/xvda.one.qcow2")" = '12:34 640' ]
}

@test "an existing file is never overwritten" {
    disks 1
    start_qemu
    echo precious > "$images/xvda.one.qcow2"
    ln -s nowhere "$images/xvda.one-2.qcow2"
    make_snapshot one --kind external
    [ "$(cat "$images/xvda.one.qcow2")" = precious ]
    [ "$(list | jq -r '.disks[0].image')" = "$images/xvda.one-3.qcow2" ]
    xl snapshot-delete "$guest" one
    [ "$(cat "$images/xvda.one.qcow2")" = precious ]
    [ "$(readlink "$images/xvda.one-2.qcow2")" = nowhere ]
}

@test "a raw disk; names do not grow with the chain" {
    disk xvda raw
    start_qemu
    for name in a b c; do
        next_state
        make_snapshot $name
    done
    grep -q 'xvda already has overlays' "$tmp/said"
    xl snapshot-info "$guest" a | grep -q 'only qcow2'
    [ "$(cd "$images" && echo *)" = \
        "xvda.a.qcow2 xvda.b.qcow2 xvda.c.qcow2 xvda.raw" ]
    all_is_right
    for name in a b c; do xl snapshot-delete "$guest" $name; done
    [ "$(cd "$images" && echo *)" = xvda.raw ]
    present_is_right
}

@test "overlays in another directory, by a path with a comma and a blank" {
    disks 1
    mkdir "$images/far, away"
    start_qemu
    next_state
    make_snapshot one --kind external --overlay-dir "$images/far, away"
    next_state
    [ -e "$images/far, away/xvda.one.qcow2" ]
    holds one one
    xl snapshot-delete "$guest" one
    rmdir "$images/far, away"
    all_is_right
}

@test "a symbolic link as the disk's path" {
    disks 1
    mv "${image[xvda]}" "$images/real"
    ln -s real "${image[xvda]}"
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    holds one one
    xl snapshot-delete "$guest" one
    [ "$(readlink "${image[xvda]}")" = real ]
    present_is_right
}

@test "some of the disks, and then others" {
    disks 3
    start_qemu
    next_state
    xl snapshot-create "$guest" ab --disks xvda,xvdb --kind external
    keep ab
    next_state
    xl snapshot-create "$guest" bc --disks xvdb,xvdc --kind external
    keep bc
    next_state
    holds ab ab
    holds bc bc
    xl snapshot-delete "$guest" ab
    holds bc bc
    xl snapshot-delete "$guest" bc
    nothing_left_over
    present_is_right
}

# chain_of NUMBER: snapshots s1, s2, ... and a present
chain_of() {
    local i
    for ((i = 1; i <= $1; i++)); do
        next_state
        make_snapshot s$i --kind external
    done
    next_state
}

@test "of a chain of ten the first, a middle one and the last are deleted" {
    disks 2
    start_qemu
    chain_of 10
    all_is_right
    for name in s1 s5 s10; do
        xl snapshot-delete "$guest" $name
        all_is_right
        # what the merge wrote to is not taken for changed by somebody
        xl snapshot-repair "$guest"
        next_state
    done
    [ "$(list | jq -r '.snapshots[] | "\(.parent)>\(.name)"' | xargs)" = \
        ">s2 s2>s3 s3>s4 s4>s6 s6>s7 s7>s8 s8>s9" ]
    [ "$(list | jq -r .current)" = s9 ]
    stop_qemu
    all_is_right
    LIBXLX_XL_OPTS=-N xl snapshot-revert "$uuid" s6
    LIBXLX_XL_OPTS=-N xl snapshot-revert "$uuid" s2
    # and so when nothing runs
    for name in s2 s6; do
        xl snapshot-delete "$uuid" $name
        all_is_right
    done
    xl snapshot-delete --children "$uuid" s3
    all_is_right
    [ -z "$(list | names_of)" ]
    [ ! -e "$tmp/state/$uuid/snapshots.json" ]
}

@test "a branch: revert, go on, go back; delete where it forks" {
    disks 1
    start_qemu
    chain_of 2
    stop_qemu
    keep left
    xl snapshot-revert "$uuid" s1
    left=$(list | jq -r '.snapshots[-1].name')
    [[ $left = left-* ]]
    cp "$refs/s1@xvda.raw" "$refs/xvda.raw"
    present_is_right
    holds "$left" left
    start_recorded
    next_state
    present_is_right
    [ "$(list | jq -r .current)" = s1 ]
    xl snapshot-list --tree "$guest" | tee "$tmp/tree"
    [ "$(sed 's/  *(state left.*//' "$tmp/tree")" = "\`-- s1
    |-- s2
    |   \`-- $left
    \`-- (current)" ]
    make_snapshot s3 --kind external
    refuses 1 '*2 states are based on this snapshot*--children*' \
        xl snapshot-delete "$guest" s1
    for name in s1 s2 s3; do holds $name $name; done
    holds "$left" left
    images_are_clean
    stop_qemu
    # back to the branch that was left, and that of now thrown away
    xl snapshot-revert --discard "$uuid" "$left"
    cp "$refs/left@xvda.raw" "$refs/xvda.raw"
    present_is_right
    for name in s1 s2 s3; do holds $name $name; done
    xl snapshot-delete "$uuid" s3
    xl snapshot-delete "$uuid" "$left"
    all_is_right
    xl snapshot-delete "$uuid" s1
    xl snapshot-delete "$uuid" s2
    all_is_right
}

@test "dry runs change nothing" {
    disks 2
    start_qemu
    chain_of 2
    same_after() {
        local before
        before=$(everything)
        "$@"
        diff <(echo "$before") <(everything)
    }
    export LIBXLX_XL_OPTS=-N
    same_after xl snapshot-create "$guest" three --kind external
    same_after xl snapshot-create "$guest" four --kind internal
    same_after xl snapshot-delete "$guest" s1 | tee "$tmp/said"
    grep -q "merge $images/xvda.s1.qcow2 into $images/xvda.qcow2" "$tmp/said"
    same_after xl snapshot-delete --children "$guest" s1
    same_after xl snapshot-delete --metadata-only "$guest" s1
    same_after xl snapshot-repair "$guest"
    unset LIBXLX_XL_OPTS
    stop_qemu
    LIBXLX_XL_OPTS=-N same_after xl snapshot-revert "$uuid" s1
    [ -n "$(list | names_of)" ]
    # what was cut short is not finished by the way
    run env LIBXLX_FAULT=snapshot-revert.journal \
        "$top_builddir/xl-plugins/xl-snapshot" snapshot-revert "$uuid" s1
    if [ "$status" = 137 ]; then    # with --enable-fault-points only
        export LIBXLX_XL_OPTS=-N
        for command in "create $uuid three" "delete $uuid s1" \
            "revert $uuid s1"; do
            # shellcheck disable=SC2086  # words
            refuses 1 '*cut short*snapshot-repair*' xl snapshot-$command
        done
    fi
}

@test "only the record is deleted with --metadata-only" {
    disks 1
    start_qemu
    chain_of 2
    find "$images" -printf '%p %s %T@\n' | sort > "$tmp/before"
    xl snapshot-delete --metadata-only "$guest" s1
    [ "$(list | names_of)" = s2 ]
    find "$images" -printf '%p %s %T@\n' | sort | diff "$tmp/before" -
    # the layer is now somebody's: shown, and in nobody's way
    [ "$(list "$guest" | names_of foreign)" = xvda.qcow2 ]
    holds s2 s2
    present_is_right
}
