#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of snapshot.bash
#
# Each fault point of each command, crossed with a guest that is started again:
# on the images that its config named before, on those that the command was
# about to give it, or not at all.  It is asked first (xl create), and started
# all the same when that refuses, as by a stock xl.  Then repair, list, delete.
# The points come from the sources; those of writing records are crossed with a
# creation.
#
# make check crosses each point once, with the three starts in turn; with SLOW
# set each point is crossed with each of them, and also the second time that a
# command comes by there.
#
# After that, by content: a start that xl create allowed is the present state;
# each snapshot that is listed as ready holds what it held, or the repair says
# that somebody wrote to it; no image that a guest wrote to is gone.

load snapshot

# These are passed only where there is a Xen domain (tests/xen-host), or an
# agent, or when a guest's records are moved; those of a move of a disk, in
# mirror-move.bats.
elsewhere='snapshot-create.frozen snapshot-merge.configured
    snapshot-move.journal snapshot-move.offline snapshot-move.recorded
    snapshot-revert.configured snapshot-revert.stopped store-adopted'

setup() { snapshot_setup; crossings=$BATS_TEST_NUMBER live=''; }
teardown() { snapshot_teardown; }

# ---- a guest, as files -------------------------------------------------------

config() { # IMAGE FORMAT of each disk on standard input
    local vdev path kind disks=
    while read -r vdev path kind; do
        disks+="'format=$kind,vdev=$vdev,access=rw,target=$path',"
    done
    printf 'name="guest"\nuuid="%s"\ntype="pvh"\nmemory=64\ndisk=[%s]\n' \
        "$uuid" "$disks" > "$tmp/guest.cfg"
}

# writes NUMBER: the guest runs, writes on all disks, and ends
writes() {
    local vdev path kind
    turn=$1
    while read -r vdev path kind; do
        qemu-io -f "$kind" -c "write -P $turn $((turn % 3))M 64k" "$path" \
            > "$tmp/said"
        reference "$vdev" $((turn % 3 * 1048576)) 65536 "$turn"
    done < <(present)
}

snapshot_of() { # NAME [OPTION...]
    xl snapshot-create --config "$tmp/guest.cfg" guest "$@" > "$tmp/said"
    keep "$1"
}

begin() { # KIND: one, two, and a present state on top of them
    disk xvda qcow2 4M
    disk xvdb qcow2 4M
    present | config
    writes 1
    [ -n "$1" ] || return 0
    snapshot_of one --kind "$1"
    writes 2
    snapshot_of two --kind "$1"
    writes 3
}

# The files of the test go to a second place and come back with their times.
save() { rm -rf "${tmp:?}/$1"; mkdir "$tmp/$1"; cp -a "$images" "$refs" "$tmp/$1"
         [ ! -e "$tmp/state" ] || cp -a "$tmp/state" "$tmp/$1"; }
back() { rm -rf "$images" "$refs" "$tmp/state"; cp -a "$tmp/$1"/* "$tmp"; }

# ---- started again -----------------------------------------------------------

# "VDEV IMAGE FORMAT" of what the command was about to give the guest
wanted() {
    local file
    for file in snapshot-journal.json snapshots.json; do
        [ -e "$tmp/state/$uuid/$file" ] || continue
        jq -r '(.after // .).disks[] | "\(.vdev) \(.image) \(.format)"' \
            "$tmp/state/$uuid/$file"
        return
    done
    cat "$tmp/old"
}

# start_on FILE: sets allowed; what each disk shows then goes to refs/start@
start_on() {
    local vdev path kind
    config < "$1"
    allowed=no
    LIBXLX_XL=/bin/true LIBXLX_EXEC_DIR=$top_builddir/xl-plugins \
        "$top_builddir/xl-plugins/xl" create "$tmp/guest.cfg" \
        > "$tmp/gate" 2>&1 && allowed=yes
    while read -r vdev path kind; do
        [ -s "$path" ] || return 1
    done < "$1"
    while read -r vdev path kind; do
        qemu-io -f "$kind" -c "write -P 77 3M 64k" "$path" > "$tmp/said" ||
            return 1
        qemu-img convert -f "$kind" -O raw "$path" "$refs/start@$vdev.raw"
    done < "$1"
}

# ---- repair, list, delete ----------------------------------------------------

repair() {
    local status=0
    [ -e "$tmp/state/$uuid" ] || { echo 'guest: all in order'; return; }
    xl snapshot-repair "$uuid" 2>&1 || status=$?
    [ $status -le 1 ]
}

# choose FILE: QEMU was killed while it moved the guest, and the two images
# differ, or a guest was started past xl create: the images in FILE go on.
choose() {
    local vdev path
    while grep -q -e '--keep-image IMAGE' "$tmp/repaired"; do
        vdev=$(sed -n "s/.*: \(xvd.\): the guest's image .*/\1/p" \
            "$tmp/repaired" | head -n 1)
        [ -n "$vdev" ] || vdev=$(jq -r .merge_vdev \
            "$tmp/state/$uuid/snapshot-journal.json")
        path=$(awk -v v="$vdev" '$1 == v { print $2 }' "$1")
        echo "$vdev: $path is kept"
        xl snapshot-repair --keep-image "$path" "$uuid" > "$tmp/said"
        repair > "$tmp/repaired"
    done
}

# Each snapshot that is ready holds what it should.  One that was written to
# past xl create is named by the repair.
snapshots_hold() {
    local name
    list > "$tmp/list"
    for name in $(names_of < "$tmp/list"); do
        [ -e "$refs/$name@xvda.raw" ] || continue       # left-...
        grep -q "^$name: .* was written to after\|: $name: .* was written" \
            "$tmp/repaired" && [ "$allowed" != yes ] && continue
        holds "$name" "$name" || { echo "$name does not hold"; return 1; }
    done
}

# start_is_there FILE: nothing that the guest wrote is gone
start_is_there() {
    local vdev path kind
    while read -r vdev path kind; do
        same "$path" "$kind" "$refs/start@$vdev.raw"
    done < "$1"
}

# The present state is what one of those references holds.
present_is() {
    local name
    for name; do
        ( for vdev in "${vdevs[@]}"; do
              [ "$name" = now ] || cp "$refs/$name@$vdev.raw" \
                  "$refs/$vdev.raw" 2> /dev/null || exit 1
          done
          present_is_right ) > "$tmp/differs" 2>&1 && return
    done
    echo "the present state is none of: $*"
    cat "$tmp/differs"
    return 1
}

# after FILE PRESENT...: FILE is what the guest was started on, or none
after() {
    local file=$1 name
    shift
    repair > "$tmp/repaired" || { cat "$tmp/repaired"; return 1; }
    choose "${file:-$tmp/old}"
    [ ! -e "$tmp/state/$uuid/snapshot-journal.json" ]
    repair >> "$tmp/repaired"
    [ -z "$file" ] || start_is_there "$file"
    if [ "$allowed" = yes ] || { [ -n "$file" ] && present_is start; } \
            > /dev/null; then
        set -- start
    elif [ -n "$file" ]; then
        set --                      # a side track that xl create refused
    fi
    [ $# = 0 ] || present_is "$@"
    snapshots_hold
    for name in $(list | jq -r '.snapshots[]?.name' | tac); do
        xl snapshot-delete "$uuid" "$name" > "$tmp/said" 2>&1 ||
            grep '^xl snapshot-delete: ' "$tmp/said"
        [ ! -e "$tmp/state/$uuid/snapshot-journal.json" ]
        [ $# = 0 ] || present_is "$@"
        snapshots_hold
    done
}

# Prints what the guest is started on
starts() {
    local all=(none old new)
    if cmp -s "$tmp/old" "$tmp/new"; then all=(none old); fi
    if [ -n "${SLOW:-}" ]; then
        echo "${all[@]}"
    else
        echo "${all[crossings % ${#all[@]}]}"
    fi
}

# crossed POINTS PRESENT -- COMMAND...: PRESENT is what the disks may hold
# after a kill, a word each
crossed() {
    local points=$1 may=$2 point nth status how before=$crossings
    shift 3
    present > "$tmp/old"
    save before
    # shellcheck disable=SC2086  # words
    for point in $(fault_points $points); do
        for ((nth = 1; nth <= (${SLOW:+1} + 1); nth++)); do
            back before
            config < "$tmp/old"
            [ -z "$live" ] || start_qemu
            status=0
            LIBXLX_FAULT=$point:$nth "$@" > "$tmp/said" 2>&1 || status=$?
            [ -z "$live" ] || kill_qemu > /dev/null 2>&1
            [ $status != 0 ] || break
            [ $status = 137 ] || { echo "$point: $(cat "$tmp/said")"; return 1; }
            echo "$point" >> "$BATS_FILE_TMPDIR/reached"
            wanted > "$tmp/new"
            save killed
            for how in $(starts); do
                back killed
                allowed=none
                echo "$point:$nth, started: $how"
                if [ $how != none ] && start_on "$tmp/$how"; then
                    # shellcheck disable=SC2086  # words
                    after "$tmp/$how" $may
                else
                    # shellcheck disable=SC2086  # words
                    [ $how != none ] || after '' $may
                fi
                crossings=$((crossings + 1))
            done
        done
    done
    [ $crossings -gt $before ]
}

@test "making external ones" {
    begin ''
    keep one
    crossed 'snapshot-create. store-' now -- xl snapshot-create \
        --config "$tmp/guest.cfg" guest one --kind external
}

# The guest runs, and ends with the command: both are killed by one crash.
begin_live() {
    local vdev path kind
    begin "$@"
    while read -r vdev path kind; do
        image[$vdev]=$path format[$vdev]=$kind
    done < <(present)
    live=yes
}

@test "making external ones of a running guest" {
    begin_live ''
    keep one
    crossed snapshot-create.switched now -- xl snapshot-create \
        "$guest" one --kind external
}

@test "merging an image that a running guest writes to" {
    begin_live external
    crossed 'snapshot-merge. snapshot-delete.recorded' now -- \
        xl snapshot-delete "$guest" two
}

@test "making internal ones" {
    begin ''
    keep one
    crossed snapshot-create. now -- xl snapshot-create \
        --config "$tmp/guest.cfg" guest one --kind internal
}

@test "deleting the external one that the present is based on" {
    begin external
    crossed 'snapshot-delete. snapshot-merge.' now -- \
        xl snapshot-delete "$uuid" two
}

@test "deleting the external one in the middle" {
    begin external
    crossed 'snapshot-delete. snapshot-merge.' now -- \
        xl snapshot-delete "$uuid" one
}

@test "deleting an internal one" {
    begin internal
    crossed snapshot-delete. now -- xl snapshot-delete "$uuid" one
}

@test "reverting to an external one" {
    begin external
    crossed snapshot-revert. 'now one' -- \
        xl snapshot-revert "$uuid" one
}

@test "reverting to an external one, and the state left is thrown away" {
    begin external
    crossed 'snapshot-revert. snapshot-delete.' 'now two' -- \
        xl snapshot-revert --discard "$uuid" two
}

@test "reverting to an internal one" {
    begin internal
    crossed snapshot-revert. 'now one' -- xl snapshot-revert "$uuid" one
}

@test "no fault point was left out" {
    diff <(fault_points 'snapshot-[a-z]*\.' store- |
               grep -vxF "$(tr -s ' ' '\n' <<< "$elsewhere" | sed '/^$/d')") \
        <(sort -u "$BATS_FILE_TMPDIR/reached")
}
