#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of snapshot.bash
#
# A command is killed (SIGKILL) at each of its fault points, the guest goes on
# writing, and then the next command or a repair comes: what is listed is
# right, in content too, and nothing is left over.  The points are taken from
# the source; the last test fails when one of them was in no scenario's way.

load snapshot

# These are passed only where there is a Xen domain: tests/xen-host.
of_domains='snapshot-merge.configured snapshot-revert.configured
    snapshot-revert.stopped'

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

points() { # STEM...
    fault_points "${@/%/[.]}"
}

fresh() {
    [ -z "$qemu" ] || kill_qemu
    rm -rf "$images" "$refs" "$tmp/state"
    mkdir "$images" "$refs"
    vdevs=()
    disks "$1"
}

config() {
    local vdev disks=
    for vdev in "${vdevs[@]}"; do
        disks+="'format=qcow2,vdev=$vdev,access=rw,target=${image[$vdev]}',"
    done
    printf 'name = "guest"\nuuid = "%s"\ndisk = [ %s ]\n' "$uuid" "$disks" \
        > "$tmp/guest.cfg"
}

# killed_at POINT COMMAND...: false when the command does not come by there
killed_at() {
    local point=$1 status=0
    shift
    LIBXLX_FAULT=$point "$@" > "$tmp/said" 2>&1 || status=$?
    case $status in
    137) echo "${point%:*}" >> "$BATS_FILE_TMPDIR/reached" ;;
    0) return 1 ;;
    *) echo "$point: status $status: $(cat "$tmp/said")"; exit 1 ;;
    esac
}

# recovers NUMBER: by the next command, or by a repair
recovers() {
    local who=$uuid status=0 again=0 name
    if [ -n "$qemu" ]; then
        who=$guest
        next_state
    fi
    if [ $(($1 % 2)) = 0 ] && [ -e "$tmp/state/$uuid" ]; then
        xl snapshot-list "$who"
        [ ! -e "$tmp/state/$uuid/snapshot-journal.json" ]
    fi
    if [ -e "$tmp/state/$uuid" ] || [ -n "$qemu" ]; then
        xl snapshot-repair "$who" || true
        xl snapshot-repair "$who" > "$tmp/first" || status=$?
        xl snapshot-repair "$who" > "$tmp/second" || again=$?
        diff "$tmp/first" "$tmp/second"
        [ $status = $again ]
        [ $status = 0 ] || [ "$(grep -vc 'it is half deleted; finish' \
                                "$tmp/first")" = 0 ]
        [ $status != 0 ] || grep -q 'all in order' "$tmp/first"
    fi
    note_revert
    all_is_right
    for name in $(list | names_of merging); do
        xl snapshot-delete "$who" "$name"
        all_is_right
    done
}

# Was the revert done?  Then the present is what the snapshot holds.
note_revert() {
    local left vdev
    left=$(list | jq -r '.snapshots[]?.name | select(startswith("left-"))')
    [ -n "$left" ] || return 0
    keep "$left"
    for vdev in "${vdevs[@]}"; do cp "$refs/one@$vdev.raw" "$refs/$vdev.raw"; done
}

# every_point PREPARATION STEMS COMMAND...
every_point() {
    local prepare=$1 stems=$2 point n=0 nth
    shift 2
    # shellcheck disable=SC2086  # words
    for point in $(points $stems); do
        for ((nth = 1; nth <= 3; nth++)); do
            $prepare
            if ! killed_at "$point:$nth" "$@"; then
                [ -z "$qemu" ] || present_is_right
                break
            fi
            echo "# killed at $point:$nth"
            n=$((n + 1))
            recovers $n
        done
    done
    [ $n -gt 0 ]
}

live() {
    fresh 2
    start_qemu
    next_state
    keep one
}

stopped() {
    live
    stop_qemu
    config
}

chain() {       # one, two, and a present
    live
    xl snapshot-create "$guest" one --kind "${1:-external}" > "$tmp/said"
    next_state
    make_snapshot two --kind "${1:-external}" > "$tmp/said"
    next_state
}

stopped_chain() { chain "$@"; stop_qemu; }
internal_chain() { chain internal; }
stopped_internal_chain() { stopped_chain internal; }

@test "making external ones of a running guest" {
    every_point live snapshot-create \
        xl snapshot-create "$guest" one --kind external
}

@test "making internal ones of a running guest" {
    every_point live snapshot-create \
        xl snapshot-create "$guest" one --kind internal
}

@test "making external ones of a guest that is shut down" {
    every_point stopped snapshot-create xl snapshot-create \
        --config "$tmp/guest.cfg" guest one --kind external
}

@test "making internal ones of a guest that is shut down" {
    every_point stopped snapshot-create xl snapshot-create \
        --config "$tmp/guest.cfg" guest one --kind internal
}

@test "while the guest is frozen: it is thawed all the same" {
    fresh 1
    start_qemu_with_agent
    for point in snapshot-create.frozen snapshot-create.switched; do
        next_state
        keep one
        killed_at $point xl snapshot-create "$guest" one --quiesce
        for ((i = 0; i < 200; i++)); do
            [ "$(grep -Ei 'freeze|thaw' "$tmp/log" | tail -n1 |
                     grep -ci thaw)" = 0 ] || break
            sleep 0.1
        done
        tail -n1 "$tmp/log" | grep -i thaw || { cat "$tmp/log"; false; }
        recovers 1
    done
    [ "$(list | names_of)" = one ]
    [ "$(list | jq '.snapshots[0].quiesced')" != true ]
}

@test "deleting the one that the present is based on" {
    every_point chain "snapshot-delete snapshot-merge" \
        xl snapshot-delete "$guest" two
}

@test "deleting one in the middle" {
    every_point chain snapshot-merge xl snapshot-delete "$guest" one
}

@test "deleting, of a guest that is shut down" {
    every_point stopped_chain "snapshot-delete snapshot-merge" \
        xl snapshot-delete "$uuid" one
}

@test "deleting an internal one" {
    every_point internal_chain snapshot-delete xl snapshot-delete "$guest" one
}

@test "reverting to an external one" {
    every_point stopped_chain snapshot-revert xl snapshot-revert "$uuid" one
}

@test "reverting to an internal one" {
    every_point stopped_internal_chain snapshot-revert \
        xl snapshot-revert "$uuid" one
}

@test "in the middle of writing a record" {
    local n
    for n in 1 2 3 4 5 6; do
        live
        killed_at store-written:$n \
            xl snapshot-create "$guest" one --kind external || break
        recovers $n
    done
    [ "$n" -gt 3 ]
}

@test "no fault point was left out" {
    diff <(points 'snapshot-[a-z]*' | grep -vxF "$(tr -s ' ' '\n' \
               <<< "$of_domains" | sed '/^$/d')") \
        <(grep '^snapshot-' "$BATS_FILE_TMPDIR/reached" | sort -u)
}
