#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034,SC2016  # variables of snapshot.bash; and
# text that others are to expand
#
# Internal snapshots; which kind is chosen; snapshots of other tools.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

@test "make, list, delete and go back, of two disks" {
    disks 2
    start_qemu
    for name in a b c; do
        next_state
        make_snapshot $name --kind internal
    done
    next_state
    all_is_right
    list "$guest" | jq -e '.current == "c" and [.snapshots[] |
        [.kind, .name, .parent, (.disks[].tag)]] == [
            ["internal", "a", "", "a", "a"], ["internal", "b", "a", "b", "b"],
            ["internal", "c", "b", "c", "c"]]'
    xl snapshot-delete "$guest" b
    all_is_right
    [ "$(list | jq -r '.snapshots[-1].parent')" = a ]
    stop_qemu
    keep left
    xl snapshot-revert "$uuid" a
    for vdev in xvda xvdb; do cp "$refs/a@$vdev.raw" "$refs/$vdev.raw"; done
    left=$(list | jq -r '.snapshots[-1].name')
    keep "$left"
    for vdev in xvda xvdb; do
        cp "$refs/left@$vdev.raw" "$refs/$left@$vdev.raw"
    done
    all_is_right
    [ "$(list | jq -r .current)" = a ]
    start_recorded
    next_state
    all_is_right
    stop_qemu
    xl snapshot-delete --children "$uuid" a
    [ ! -e "$tmp/state/$uuid" ]
    [ "$(qemu-img snapshot -l "${image[xvda]}")" = '' ]
    all_is_right
}

@test "auto is internal for little, and says why" {
    disks 2
    start_qemu
    next_state
    make_snapshot one
    list | jq -e '.snapshots[0] | .kind == "internal" and
        (.why | test("^only [0-9]+ MiB are allocated"))'
    grep -q 'Made internal snapshot "one" of xvda,xvdb (only' "$tmp/said"
}

@test "auto is external for much, for raw and over overlays" {
    disk xvda
    # 1.1 GiB that are allocated and take no space: preallocated
    qemu-img create -q -f qcow2 -o preallocation=metadata,size=2G \
        "${image[xvda]}"
    fallocate -l 1100M "${image[xvda]}" ||
        skip "the file system cannot preallocate"
    start_qemu
    run xl snapshot-create "$guest" one
    [[ $output = 'Made external snapshot "one" of xvda '*' MiB are allocated'*
    ]]
    run xl snapshot-create "$guest" two
    [[ $output = *'(xvda already has overlays'* ]]
    run xl snapshot-create "$guest" three --kind internal
    [ "$status" = 0 ]
    refuses 1 '*holds the internal snapshot "three"*' \
        xl snapshot-delete "$guest" two
    xl snapshot-delete "$guest" three
    xl snapshot-delete "$guest" two
    xl snapshot-delete "$guest" one
    nothing_left_over
}

@test "internal and external in one tree" {
    disks 1
    start_qemu
    next_state
    make_snapshot i1 --kind internal
    next_state
    make_snapshot e1 --kind external
    next_state
    make_snapshot i2 --kind internal
    next_state
    all_is_right
    refuses 1 '*xvda.qcow2, which QEMU has open as the frozen layer*' \
        xl snapshot-delete "$guest" i1
    all_is_right
    stop_qemu
    refuses 1 '*which other snapshots are based on*' \
        xl snapshot-revert "$uuid" i1
    xl snapshot-delete "$uuid" i2
    xl snapshot-delete "$uuid" e1
    all_is_right
    xl snapshot-revert "$uuid" i1
    holds i1 i1
    cp "$refs/i1@xvda.raw" "$refs/xvda.raw"
    present_is_right
}

@test "offline, a raw disk can have external ones only" {
    disk xvda raw
    start_qemu
    refuses 1 '*internal snapshot needs a qcow2 image*is raw' \
        xl snapshot-create "$guest" one --kind internal
}

@test "other tools' snapshots are shown and never touched" {
    disks 1
    qemu-img snapshot -c theirs "${image[xvda]}"
    start_qemu
    next_state
    qmp blockdev-snapshot-internal-sync \
        '{"device": "xvda-qcow2", "name": "also-theirs"}'
    refuses 1 '*already holds a snapshot "theirs" of another tool' \
        xl snapshot-create "$guest" theirs --kind internal
    make_snapshot ours --kind internal
    xl snapshot-list "$guest" | tee "$tmp/said"
    [ "$(list "$guest" | names_of foreign)" = $'theirs\nalso-theirs' ]
    for name in theirs also-theirs; do
        refuses 1 "*has no snapshot \"$name\"*" \
            xl snapshot-delete "$guest" $name
    done
    xl snapshot-delete "$guest" ours
    qemu-img snapshot -U -l "${image[xvda]}" > "$tmp/tags"
    [ "$(tail -n +3 "$tmp/tags" | awk '{print $2}')" = \
        $'theirs\nalso-theirs' ]
}

@test "a name of another tool that is not UTF-8 is shown" {
    disks 1
    qemu-img snapshot -c $'caf\xe9' "${image[xvda]}"
    start_qemu
    make_snapshot ours --kind internal
    run -0 xl snapshot-list --json "$guest"
    jq -e '[.[0].snapshots[] | {name, tag: .disks[0].tag}] | sort_by(.name) ==
        [{name: "caf\\xe9", tag: "caf\\xe9"}, {name: "ours", tag: "ours"}]' \
        <<< "$output"
}

@test "an overlay made behind our back is found and kept" {
    disks 1
    start_qemu
    next_state
    make_snapshot ours --kind external
    next_state
    qmp blockdev-snapshot-sync "{\"node-name\": \"$(qmp query-block |
        jq -r '.[0].inserted."node-name"')\", \"snapshot-node-name\": \"t\",
        \"snapshot-file\": \"$images/theirs.qcow2\", \"format\": \"qcow2\"}"
    next_state
    list "$guest" > "$tmp/list"
    [ "$(names_of foreign < "$tmp/list")" = xvda.ours.qcow2 ]
    jq -e --arg i "$images/theirs.qcow2" '.disks[0].image == $i and
        .current == "ours"' "$tmp/list"
    refuses 1 '*not one of this guest*' xl snapshot-delete "$guest" ours
    # from there on it goes
    make_snapshot later --kind external
    next_state
    holds ours ours
    holds later later
    xl snapshot-delete "$guest" later
    present_is_right
    holds ours ours
    [ -e "$images/theirs.qcow2" ]
}

@test "names of every kind" {
    disks 1
    start_qemu
    local names=('a b' 'Übung ✓' "it's \"x\"" 'a,b=c' '*' '$(id)' \
                 "$(printf 'x%.0s' {1..200})")
    for name in "${names[@]}"; do
        xl snapshot-create "$guest" "$name" --kind internal
        xl snapshot-create "$guest" "${name:0:199}e" --kind external
        xl snapshot-info --json "$guest" "$name" |
            jq -e --arg n "$name" '.name == $n'
        xl snapshot-delete "$guest" "$name" || xl snapshot-delete "$guest" \
            "${name:0:199}e"
    done
    xl snapshot-create "$guest" > "$tmp/said"
    grep -Eq 'snapshot "snap-[0-9]{8}-[0-9]{6}" of xvda' "$tmp/said"
}

@test "a name that is the id of another snapshot means the name" {
    disks 1
    start_qemu
    next_state
    make_snapshot 2 --kind internal
    next_state
    stop_qemu
    xl snapshot-revert "$uuid" 2
    cp "$refs/2@xvda.raw" "$refs/xvda.raw"
    present_is_right
    # ids 1, 2, 3: the names of each are those of others
    xl snapshot-delete --children "$uuid" 2
    for name in 3 1 2; do
        start_recorded
        next_state
        make_snapshot $name --kind internal
        stop_qemu
    done
    holds 1 1
    xl snapshot-revert --discard "$uuid" 1 || xl snapshot-revert "$uuid" 1
    cp "$refs/1@xvda.raw" "$refs/xvda.raw"
    present_is_right
    # and when one is removed, live or not, the others stay
    start_recorded
    xl snapshot-delete "$guest" 2
    holds 1 1
    holds 3 3
    stop_qemu
    xl snapshot-delete "$uuid" 3
    holds 1 1
    present_is_right
}

@test "another tool removed our snapshot and made one by its name" {
    disks 1
    start_qemu
    next_state
    make_snapshot mine --kind internal
    next_state
    stop_qemu
    xl snapshot-repair "$uuid"
    qemu-img snapshot -d mine "${image[xvda]}"
    qemu-img snapshot -c mine "${image[xvda]}"
    cp "$refs/xvda.raw" "$refs/theirs@xvda.raw"
    run -1 xl snapshot-repair "$uuid"
    [[ $output = *'mine: xvda: '*'is not the one that was made'* ]]
    refuses 1 '*is not the one that was made*--force-written*' \
        xl snapshot-revert "$uuid" mine
    refuses 1 '*is not the one that was made*--metadata-only*' \
        xl snapshot-delete "$uuid" mine
    xl snapshot-revert --force-written "$uuid" mine
    same "${image[xvda]}" qcow2 "$refs/theirs@xvda.raw"
    xl snapshot-delete --metadata-only "$uuid" mine
    qemu-img snapshot -l "${image[xvda]}" | grep -w mine
}

@test "two snapshots of one name, made by another tool: refused" {
    disks 1
    start_qemu
    next_state
    make_snapshot one --kind internal
    stop_qemu
    # qemu-img does not ask
    qemu-img snapshot -c one "${image[xvda]}"
    for command in revert delete; do
        refuses 1 '*two snapshots named "one" (ids 1 and 2)*' \
            xl snapshot-$command "$uuid" one
    done
}
