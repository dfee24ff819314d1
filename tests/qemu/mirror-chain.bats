#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
# shellcheck disable=SC2016  # conditions for "within"
#
# A disk moves to other storage together with its snapshots.

load snapshot

setup() {
    snapshot_setup
    record=$tmp/state/$uuid/disk-jobs.json
    there=$images/there
}
teardown() { snapshot_teardown; }

mirror() { "$plugins/xl-mirror" "$@"; }
move() { mirror disk-move --with-chain "$@" "$guest" xvda "$there/now.qcow2"; }
where() { present | cut -d' ' -f2; }

# A guest with two snapshots below its present state, on a disk of that format
guest_with_snapshots() {
    vdevs=()
    rm -rf "$tmp/state" "$refs"/*.raw "${images:?}"/*
    mkdir "$there"
    disk xvda "${1:-qcow2}"
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    make_snapshot two --kind external
    next_state
}

no_job() {
    [ "$(qmp query-jobs)" = '[]' ]
    [ ! -e "$record" ]
    [ ! -e "$tmp/state/$uuid/snapshot-journal.json" ]
}

# All that the guest and its snapshots are on is in that directory.
all_in() { # DIRECTORY
    list | jq -r '(.disks[], .snapshots[].disks[]) | .image' > "$tmp/named"
    [ "$(wc -l < "$tmp/named")" = 3 ]
    while read -r file; do
        [ "$(dirname "$file")" = "$1" ]
    done < "$tmp/named"
    [ "$(dirname "$(where)")" = "$1" ]
}

@test "all snapshots are there afterwards, and can be reverted to and deleted" {
    local kind old
    for kind in qcow2 raw; do
        guest_with_snapshots $kind
        old=$(where)
        cksum "$images"/*.* > "$tmp/sum"
        move > "$tmp/said"
        grep -qxF "Moved xvda to $there/now.qcow2 (qcow2)" "$tmp/said"
        no_job
        all_in "$there"
        snapshots_are_right
        present_is_right
        # what was left is as it was, and nobody needs it
        cksum "$images"/*.* | cmp - "$tmp/sum"
        run ! grep -F "$images/xvda" <(graph)
        list | jq -e --arg old "$old" '[.moved[].image] | index($old)'
        rm "$images"/*.*
        next_state
        xl snapshot-delete "$guest" two
        snapshots_are_right
        present_is_right
        stop_qemu
        xl snapshot-revert "$uuid" one
        start_recorded
        same "${image[xvda]}" qcow2 "$refs/one@xvda.raw"
        stop_qemu
    done
}

@test "with --delete-old the former images go, and a template stays" {
    guest_with_snapshots
    stop_qemu
    mv "$images/xvda.qcow2" "$images/template.qcow2"
    qemu-img create -q -f qcow2 -b "$images/template.qcow2" -F qcow2 \
        "$images/xvda.qcow2"
    start_recorded
    cksum "$images/template.qcow2" > "$tmp/sum"
    xl snapshot-repair "$guest" || true
    move --delete-old
    cksum "$images/template.qcow2" | cmp - "$tmp/sum"
    [ "$(find "$images" -maxdepth 1 -type f)" = "$images/template.qcow2" ]
    present_is_right
    same "$there/xvda.qcow2" qcow2 "$refs/one@xvda.raw"
}

@test "a guest that is shut down" {
    guest_with_snapshots
    stop_qemu
    printf 'name="guest"\nuuid="%s"\ndisk=["%s"]\n' "$uuid" \
        "format=qcow2,vdev=xvda,access=rw,target=$images/xvda.qcow2" \
        > "$tmp/guest.cfg"
    mirror disk-move --with-chain --delete-old --config "$tmp/guest.cfg" \
        guest xvda "$there/now.qcow2"
    [ "$(present)" = "xvda $there/now.qcow2 qcow2" ]
    present_is_right
    snapshots_are_right
    [ "$(find "$images" -maxdepth 1 -type f)" = "" ]
    [ ! -e "$record" ]
}

@test "what cannot come along is refused" {
    guest_with_snapshots
    refuses 1 '*take all along (--with-chain)*' \
        mirror disk-move "$guest" xvda "$there/now.qcow2"
    refuses 1 '*new file in the format qcow2*' \
        mirror disk-move --with-chain --format raw "$guest" xvda "$there/n"
    touch "$there/xvda.qcow2"
    refuses 1 "*$there/xvda.qcow2: a copy of*it is taken*" move
    rm "$there/xvda.qcow2"
    refuses 1 '*it is taken*' mirror disk-move --with-chain "$guest" xvda \
        "$there/xvda.qcow2"
    make_snapshot inside --kind internal
    refuses 1 '*"inside" would stay behind, because it is internal*' move
    xl snapshot-delete "$guest" inside
    stop_qemu
    xl snapshot-revert "$uuid" one
    start_recorded
    refuses 1 '*the present state is not based on it*' move
    stop_qemu
    vdevs=()
    rm -rf "$tmp/state"
    disk xvda
    start_qemu
    refuses 1 '*no external snapshot*' move
}

@test "killed at every step: all is at one place, and nothing is left" {
    local point with withs='us QEMU' turns=0 killed=0
    for point in $(fault_points disk-move-chain. 'disk-mirror\.(recorded|made|identified|started)' \
                       'snapshot-move\.(journal|recorded)' disk-job.concluded) \
                 $(fault_points snapshot-merge. |
                     grep -E 'ready|completing|completed'); do
        # one of both in turns
        [ -n "${SLOW:-}" ] || withs=$([ $((turns++ % 2)) = 0 ] || echo QEMU)
        for with in ${withs:-us}; do
            guest_with_snapshots
            LIBXLX_FAULT=$point run move
            [ "$status" = 137 ] || { stop_qemu; continue; }
            killed=$((killed + 1))
            echo "killed at $point: $with"
            settle_after "$point" "$with"
            present_is_right
            snapshots_are_right
            no_job
            if [ "$(dirname "$(where)")" = "$there" ]; then
                all_in "$there"
            else
                all_in "$images"
                [ -z "$(ls "$there")" ]
                move
                all_in "$there"
            fi
            stop_qemu
        done
    done
    # a point that nobody passes would be no test
    echo "killed $killed times"
    [ $killed -ge 8 ]
}
