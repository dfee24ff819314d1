#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of snapshot.bash
#
# The cost of snapshots: questions to QEMU, and nothing that stays behind.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

# asks QUESTIONS COMMAND...: the commands to QEMU, in their order
asks() {
    local wanted=$1
    shift
    LIBXLX_DEBUG=1 "$@" 2> "$tmp/log" > "$tmp/said"
    diff <(echo "$wanted") <(sed -n 's/^libxlx: debug: qmp: ".*": //p' \
                                 "$tmp/log" | xargs)
}

@test "no question to QEMU is asked in vain" {
    disks 3
    start_qemu
    # whose guest it is: greeting, uuid, name
    local find='qmp_capabilities query-uuid query-name'
    # which disks it has, and that nobody works on them
    local disks='qmp_capabilities query-block' jobs=query-jobs
    # who else uses the images, and which names of files it knows already: one
    # answer for all disks
    local world='x-debug-query-block-graph query-named-block-nodes'
    # qemu-img makes the overlays first, without a connection; then all
    # disks at once, and how they are afterwards
    local switch='qmp_capabilities transaction query-block'

    asks "$find $disks $world $jobs $switch" \
        xl snapshot-create "$guest" one --kind external
    # what an internal one came to is read from the image
    asks "$find $disks $world $jobs qmp_capabilities transaction" \
        xl snapshot-create "$guest" two --kind internal
    asks "$find $disks" xl snapshot-list "$guest"
    # the records of all guests are read without a word to any of them
    asks '' xl snapshot-list
}

# counted COMMAND: how often QEMU was told that
counted() { sed -n 's/^libxlx: debug: qmp: ".*": //p' "$tmp/log" | grep -cx "$1"; }

@test "the world is read once for each moment of a deletion" {
    disks 2
    start_qemu
    make_snapshot one --kind external
    LIBXLX_DEBUG=1 xl snapshot-delete "$guest" one 2> "$tmp/log" > "$tmp/said"
    # before all, which is also before the first disk, and before the second;
    # of each disk: when the job is over, and before the overlay is unlinked
    [ "$(counted x-debug-query-block-graph)" = 6 ]
    # of each disk: which nodes are merged, and whether the upper one is left
    [ "$(counted query-blockstats)" = 4 ]
    all_is_right
}

# Counts what QEMU and the file system have; names of nodes are not the same
# each time
things() {
    find "/proc/$qemu/fd" | wc -l
    qmp query-named-block-nodes '{"flat": true}' | jq length
    qmp query-jobs | jq length
    find "$images" "$tmp/state" "$tmp/run" | sort
}

@test "many rounds leave nothing behind" {
    disks 1
    start_qemu
    guest_write xvda 0 1048576 1
    local i kind rounds=${SLOW:+200}
    for ((i = 0; i < ${rounds:=20}; i++)); do
        kind=$([ $((i % 2)) = 0 ] && echo external || echo internal)
        xl snapshot-create "$guest" round --kind "$kind" > "$tmp/said"
        io xvda "write -P $((i + 1)) 65536 65536"
        xl snapshot-delete "$guest" round > "$tmp/said"
        [ $i != 3 ] || things > "$tmp/first"
    done
    io xvda flush
    reference xvda 65536 65536 $rounds
    things | diff "$tmp/first" -
    [ "$(find "$images" -type f)" = "$images/xvda.qcow2" ]
    all_is_right
}
