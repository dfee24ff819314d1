#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
# shellcheck disable=SC2016  # conditions for "within"
#
# Random jobs on two disks, with our commands and QEMU killed at random moments
# and other tools at work.  The disks must hold what the guest wrote after each
# step, and snapshots what it had written; at the end no file, node or job is
# there that should not be.
# SEED repeats a run; with SLOW there are two hundred.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

# Jobs end between the look and the deed, and some things cannot be done now:
# what counts is that nothing is lost.
try() {
    echo "  $*" | sed "s|$tmp/||g" >> "$tmp/story"
    "$@" >> "$tmp/said" 2>&1 < /dev/null && status=0 || status=$?
    [ "$status" -lt 124 ] || [ "$status" = 137 ]
}

# Into a variable: a subshell would have a seed of its own.
below() { got=$((RANDOM % $1)); }

one_of() {
    below $#
    shift "$got"
    got=$1
}

# killed PROGRAM...: after up to a tenth of a second; not a function, of which
# only the shell would be killed
killed() {
    echo "  killed: $*" | sed "s|$tmp/||g" >> "$tmp/story"
    below 99
    "$@" >> "$tmp/said" 2>&1 < /dev/null 3>&- &
    sleep "0.0$got"
    kill -KILL $! 2> /dev/null || true
    wait $! 2> /dev/null || true
}

restart() {
    echo "  QEMU: $1" >> "$tmp/story"
    if [ "$1" = killed ]; then kill_qemu; else stop_qemu; fi
    # what was cut short is settled before a guest is started, by the guard
    try xl snapshot-repair "$uuid"
    if grep -q 'and these differ' "$tmp/said"; then
        : > "$tmp/said"
        try xl snapshot-repair --keep-image "$last" "$uuid"
    fi
    start_recorded
}

# Another tool takes an overlay, as for a backup, and leaves it.  It is gone
# before QEMU is: nobody but that tool knows what the guest would go on in.
foreign_overlay() { # VDEV FILE
    local i node
    node=$(qmp query-block | jq -r --arg v "$1" '.[] | select(.qdev // "" |
        contains("/" + $v + "/")) | .inserted."node-name"')
    try qmp blockdev-snapshot-sync "{\"node-name\": \"$node\",
        \"snapshot-node-name\": \"$(basename "$2")\",
        \"snapshot-file\": \"$2\", \"format\": \"qcow2\"}"
    [ "$status" = 0 ] || return 0
    io "$1" "write -P $((turn % 250 + 1)) 40M 64k" flush
    reference "$1" 41943040 65536 $((turn % 250 + 1))
    "${run[@]}" "$mirror" disk-commit --delete-old "$guest" "$1"
    for ((i = 0; i < 5; i++)); do
        [ -e "$2" ] || return 0
        try "$mirror" disk-job-finish "$guest" "$1"
        try "$mirror" disk-commit --delete-old "$guest" "$1"
    done
    echo "$2 stays"
    return 1
}

# Nothing is open, or there, that neither the guest nor a snapshot needs.
nothing_too_much() {
    {
        present | cut -d' ' -f2
        list | jq -r '(.disks[]?, .snapshots[]?.disks[]) | .image'
    } | sort -u > "$tmp/known"
    qmp query-named-block-nodes '{"flat": true}' |
        jq -r '.[] | select(.drv != "null-co") | .file' | sort -u > "$tmp/open"
    comm -23 "$tmp/open" "$tmp/known" | diff /dev/null -
    # copies that were finished stay; those of layers go with their disk
    find "$images" -mindepth 2 -type f | sort > "$tmp/found"
    comm -23 "$tmp/found" "$tmp/known" | diff /dev/null -
}

@test "random moves" {
    local i vdev target seed=${SEED:-$RANDOM} run=() last got
    local mirror=$plugins/xl-mirror
    echo "# seed $seed" >&3
    RANDOM=$seed
    disk xvda
    disk xvdb raw
    start_qemu
    next_state
    for ((i = 0; i < ${SLOW:+140} + 60; i++)); do
        one_of xvda xvdb
        vdev=$got
        one_of qcow2 raw
        target=$images/t$i.$got
        below 5
        run=(try)
        [ "$got" != 0 ] || run=(killed)
        last=$(present | sed -n "s/^$vdev //p" | cut -d' ' -f1)
        below 21
        case $got in
        0 | 1) "${run[@]}" "$mirror" disk-mirror "$guest" "$vdev" "$target" ;;
        2) "${run[@]}" "$mirror" disk-mirror --no-wait --speed 1m "$guest" \
            "$vdev" "$target" --format "${target##*.}" ;;
        3) "${run[@]}" "$mirror" disk-mirror --no-wait "$guest" "$vdev" "$target" ;;
        4 | 5) "${run[@]}" "$mirror" disk-move --delete-old "$guest" "$vdev" \
            "$target" --format "${target##*.}" ;;
        6) "${run[@]}" "$mirror" disk-move --no-wait --delete-old "$guest" \
            "$vdev" "$target" --format "${target##*.}" ;;
        7 | 8) "${run[@]}" "$mirror" disk-job-finish "$guest" "$vdev" ;;
        9) "${run[@]}" "$mirror" disk-job-cancel "$guest" "$vdev" ;;
        10) try "$mirror" disk-job-pause "$guest" "$vdev" ;;
        11) try "$mirror" disk-job-resume "$guest" "$vdev"
            try "$mirror" disk-job-speed "$guest" "$vdev" 0 ;;
        12) keep "s$i"
            "${run[@]}" "$plugins/xl-snapshot" snapshot-create --kind external "$guest" "s$i"
            try xl snapshot-delete "$guest" "s$i" ;;
        13) try qmp block-job-cancel \
            "{\"device\": \"xlx-mirror-$vdev\", \"force\": true}" ;;
        14) "${run[@]}" "$mirror" disk-jobs --json "$guest" ;;
        15) one_of killed ended
            restart "$got" ;;
        16) keep "k$i"
            "${run[@]}" "$plugins/xl-snapshot" snapshot-create --kind external "$guest" "k$i" ;;
        17) "${run[@]}" "$plugins/xl-snapshot" snapshot-delete "$guest" \
            "$(list | names_of | head -n 1)" ;;
        18 | 19) mkdir "$images/d$i"
            "${run[@]}" "$mirror" disk-move --with-chain --delete-old \
                "$guest" "$vdev" "$images/d$i/now.qcow2" ;;
        20) foreign_overlay "$vdev" "$images/f$i" ;;
        esac
        below 2
        [ "$got" = 0 ] || next_state
        io xvda flush
        io xvdb flush
        { present_is_right && snapshots_are_right; } || {
            tail -n 30 "$tmp/story"
            tail -n 5 "$tmp/said"
            graph
            false
        }
    done
    for vdev in xvda xvdb; do
        try "$mirror" disk-job-cancel "$guest" "$vdev"
        try "$mirror" disk-job-cancel "$guest" "$vdev"
    done
    try xl snapshot-repair "$guest"
    present_is_right
    [ "$(qmp query-jobs)" = '[]' ]
    [ ! -e "$tmp/state/$uuid/disk-jobs.json" ]
    [ ! -e "$tmp/state/$uuid/snapshot-journal.json" ]
    nothing_too_much
}
