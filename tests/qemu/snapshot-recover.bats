#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of snapshot.bash
#
# A command was cut short and the guest was started again in between: what is
# printed and kept; and whose records are whose.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

# cut_short POINT COMMAND...
cut_short() {
    local point=$1
    shift
    LIBXLX_FAULT=$point run "$@"
    echo "$point: $status: $output"
    [ "$status" = 137 ]
}

# config FILE NAME IMAGE: without a uuid
config() {
    printf "name='%s'\ndisk=['format=qcow2,vdev=xvda,access=rw,target=%s']\n" \
        "$2" "$3" > "$1"
}

two_disks_with_a_tag() {
    disks 2
    start_qemu
    next_state
    make_snapshot one --kind internal
    next_state
    stop_qemu
}

@test "the guest was started on the old image: each command says so" {
    disks 1
    start_qemu
    next_state
    cut_short snapshot-create.switched \
        xl snapshot-create "$guest" one --kind external
    cp "$refs/xvda.raw" "$tmp/base.raw"
    next_state                          # in the overlay
    kill_qemu
    start_qemu
    run -0 --separate-stderr xl snapshot-list "$guest"
    [ "$output" = 'no snapshots' ]
    echo "$stderr"
    [[ ${stderr_lines[0]} = 'xl snapshot-list: guest: making the snapshot '*\
'"one" was cut short; undone'* ]]
    [[ ${stderr_lines[1]} = "xl snapshot-list: guest: $images/xvda.one.qcow2 "*\
'holds data; kept'* ]]
    same "$images/xvda.one.qcow2" qcow2 "$refs/xvda.raw"
    same "${image[xvda]}" qcow2 "$tmp/base.raw"
}

@test "the guest went on in the old image and ended: that is its state" {
    disks 1
    start_qemu
    next_state
    cut_short snapshot-create.switched \
        xl snapshot-create "$guest" one --kind external
    next_state                          # in the overlay
    kill_qemu
    cp "$refs/xvda.raw" "$tmp/overlay.raw"
    qemu-io -f qcow2 -c 'write -P 77 32m 64k' "${image[xvda]}"
    run -1 xl snapshot-repair "$uuid"
    [[ ${lines[0]} = *'cut short; undone: there is no such snapshot' ]]
    [[ ${lines[1]} = *"$images/xvda.one.qcow2 holds data; kept"* ]]
    [ "$(list | jq '.snapshots | length')" = 0 ]
}

@test "a revert that put back one disk of two, and then a start" {
    two_disks_with_a_tag
    keep before
    cut_short snapshot-revert.applied:1 xl snapshot-revert "$uuid" one
    start_qemu
    io xvda 'write -P 99 40m 4k' flush
    run -1 xl snapshot-repair "$guest"
    echo "$output"
    [[ $output != *'goes on as before'* ]]
    [[ ${lines[0]} = *'started while only some of its disks were put back'* ]]
    [[ ${lines[1]} = *'one: xvda; '*'put back'* ]]
    [[ ${lines[2]} = *'one: xvdb; not put back' ]]
    run -0 xl snapshot-repair "$guest"
    [ "$output" = 'guest: all in order' ]
    stop_qemu
    left=$(list | names_of | grep '^left-')
    cp "$refs/before@xvda.raw" "$refs/$left@xvda.raw"
    holds "$left" "$left"
    xl snapshot-revert "$uuid" one
    cp "$refs/one@xvda.raw" "$refs/xvda.raw"
    cp "$refs/one@xvdb.raw" "$refs/xvdb.raw"
    present_is_right
}

@test "a revert that did not begin is undone, and nothing is put back" {
    two_disks_with_a_tag
    cut_short snapshot-revert.journal xl snapshot-revert "$uuid" one
    start_qemu
    next_state
    stop_qemu
    run -0 xl snapshot-repair "$uuid"
    [[ $output = *'was cut short; undone: the guest goes on as before' ]]
    all_is_right
}

# Killed when the new record was written: all is done but the last unlink.

@test "a creation whose record is written is finished, with empty overlays" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    cut_short snapshot-create.recorded xl snapshot-create \
        --config "$tmp/a.cfg" --kind external web one
    run -0 xl snapshot-repair --config "$tmp/a.cfg" web
    [[ $output = *'"one" was cut short; finished: the snapshot is there' ]]
    [ -s "$images/a.one.qcow2" ]
    run -0 xl snapshot-info --json web one
    [ "$(jq -r '.disks[].image' <<< "$output")" = "$images/a.qcow2" ]
}

@test "a deletion whose record is written is finished, also the last one" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    xl snapshot-create --config "$tmp/a.cfg" --kind external web one
    cut_short snapshot-delete.recorded xl snapshot-delete web one
    run -0 xl snapshot-list --config "$tmp/a.cfg" web
    [[ $output = *'was cut short; finished'* ]]
    [ ! -e "$images/a.one.qcow2" ]
    xl snapshot-create --config "$tmp/a.cfg" --kind external web two
    xl snapshot-delete web two
}

# A program has the overlay open just when it should go.
in_use_at_the_end() {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    xl snapshot-create --config "$tmp/a.cfg" --kind external web one
    cut_short snapshot-delete.recorded xl snapshot-delete web one
    hold "$images/a.one.qcow2"
    run -1 xl snapshot-list --config "$tmp/a.cfg" web
    [[ $output = *'all is done, but a file'*'a.one.qcow2'*'has it open'* ]]
    [ -e "$images/a.one.qcow2" ]
}

@test "a file that is in use when it should go is removed later" {
    in_use_at_the_end
    run -1 xl snapshot-repair --config "$tmp/a.cfg" web
    [[ $output = *'cannot go yet: '*'a.one.qcow2: qemu-io'*'kept until'* ]]
    run -1 xl snapshot-repair -N --config "$tmp/a.cfg" web
    [[ $output = *'cannot go yet: '* ]]
    run -1 "$top_builddir/xl-plugins/xl-guard" true create "$tmp/a.cfg" \
        "disk=['format=qcow2,vdev=xvda,access=rw,`
        `target=$images/a.one.qcow2']"
    [[ $output = *'xl snapshot-repair'* ]]
    release
    run -1 xl snapshot-repair -N --config "$tmp/a.cfg" web
    [[ $output = *"a.one.qcow2 is not needed any more; xl snapshot-repair"* ]]
    [ -e "$images/a.one.qcow2" ]
    run -0 xl snapshot-repair --config "$tmp/a.cfg" web
    [[ $output = *"a.one.qcow2 is not needed any more; removed" ]]
    [ ! -e "$images/a.one.qcow2" ]
    [ -z "$(find "$tmp/state" -name 'snapshot*')" ]
}

@test "a file that was in use when it should go, and was written to, stays" {
    in_use_at_the_end
    release
    qemu-io -f qcow2 -c 'write -P 9 1M 64k' "$images/a.one.qcow2"
    run -1 xl snapshot-repair --config "$tmp/a.cfg" web
    [[ $output = *"a.one.qcow2, which "*'was written to since; kept: look'* ]]
    run -0 xl snapshot-repair --config "$tmp/a.cfg" web
    qemu-io -f qcow2 -c 'read -P 9 1M 64k' "$images/a.one.qcow2"
}

@test "a kill between a file that stays and the journal's end" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    xl snapshot-create --config "$tmp/a.cfg" --kind external web one
    cut_short snapshot-delete.recorded xl snapshot-delete web one
    hold "$images/a.one.qcow2"
    cut_short snapshot-delete.unlinked \
        xl snapshot-list --config "$tmp/a.cfg" web
    release
    run -0 xl snapshot-repair --config "$tmp/a.cfg" web
    [ ! -e "$images/a.one.qcow2" ]
    run -0 xl snapshot-repair --config "$tmp/a.cfg" web
    [ -z "$(find "$tmp/state" -name 'snapshot*')" ]
}

# Another program's file has the name of one that should go.
@test "a file that was put in the place of one that should go stays" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    xl snapshot-create --config "$tmp/a.cfg" --kind external web one
    cut_short snapshot-delete.recorded xl snapshot-delete web one
    cp -p "$images/a.one.qcow2" "$tmp/other"
    rm "$images/a.one.qcow2"
    cp -p "$tmp/other" "$images/a.one.qcow2"
    run -1 xl snapshot-list --config "$tmp/a.cfg" web
    [[ $output = *'all is done, but a file that should go is not what it '*\
"a.one.qcow2: another file was put there"*'and is kept' ]]
    cmp "$tmp/other" "$images/a.one.qcow2"
    run -0 xl snapshot-repair --config "$tmp/a.cfg" web
    cmp "$tmp/other" "$images/a.one.qcow2"
    [ -z "$(find "$tmp/state" -name 'snapshot*')" ]
}

@test "a kill while a file is removed leaves none under another name" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    xl snapshot-create --config "$tmp/a.cfg" --kind external web one
    cut_short image-remove.aside xl snapshot-delete web one
    [ -e "$images/a.one.qcow2.xlx-removing" ]
    run -0 xl snapshot-repair --config "$tmp/a.cfg" web
    [ "$(ls "$images")" = a.qcow2 ]
    # and a name that leaves no room for another one
    xl snapshot-create --config "$tmp/a.cfg" --kind external web \
        "$(printf 'n%.0s' {1..200})"
    ls "$images"
    xl snapshot-delete web "$(printf 'n%.0s' {1..200})"
    [ "$(ls "$images")" = a.qcow2 ]
}

@test "a file that was put in the place of an overlay that was never made" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    cut_short snapshot-create.overlay xl snapshot-create \
        --config "$tmp/a.cfg" --kind external web one
    head -c 4096 /dev/zero > "$images/a.one.qcow2"
    echo data | dd of="$images/a.one.qcow2" bs=1 seek=2048 conv=notrunc
    run -1 xl snapshot-repair --config "$tmp/a.cfg" web
    [[ $output = *"a.one.qcow2 holds data; kept"* ]]
    grep -q data "$images/a.one.qcow2"
}

@test "a deletion whose record is written, and a start on an image it removes" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    xl snapshot-create --config "$tmp/a.cfg" --kind external web one
    cut_short snapshot-delete.recorded xl snapshot-delete web one
    qemu-io -f qcow2 -c 'write -P 9 1M 64k' "$images/a.one.qcow2"
    run -1 xl snapshot-repair --config "$tmp/a.cfg" web
    [[ ${lines[0]} = *'was cut short; finished' ]]
    [[ ${lines[1]} = *"started on $images/a.one.qcow2, which "*'kept: look'* ]]
    qemu-io -f qcow2 -c 'read -P 9 1M 64k' "$images/a.one.qcow2"
}

@test "an internal revert whose record is written, and a start after it" {
    two_disks_with_a_tag
    cut_short snapshot-revert.recorded xl snapshot-revert "$uuid" one
    start_qemu
    io xvda 'write -P 99 40m 4k' flush
    run -0 xl snapshot-repair "$guest"
    [ "$output" = 'guest: the revert to "one" was cut short; finished: '`
                  `'the guest is on the snapshot' ]
}

@test "a config that names an image that was merged away: the record tells" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    xl snapshot-create --config "$tmp/a.cfg" --kind external web one
    xl snapshot-create --config "$tmp/a.cfg" --kind external web two
    config "$tmp/a.cfg" web "$images/a.two.qcow2"
    # a name alone is not an identity, and its image is away
    echo "uuid='$(basename "$tmp"/state/*-*)'" >> "$tmp/a.cfg"
    xl snapshot-delete --config "$tmp/a.cfg" web two
    hint="xvda: $tmp/a.cfg names $images/a.two.qcow2, which is not there; `
        `the disk is $images/a.one.qcow2 (format qcow2): name that there"
    for command in list "info web one"; do
        # shellcheck disable=SC2086  # words
        set -- $command
        run -0 --separate-stderr xl "snapshot-$1" --json \
            --config "$tmp/a.cfg" "${2:-web}" ${3:+"$3"}
        [ "$stderr" = "xl snapshot-$1: $hint" ]
        [[ $output = *'"one"'* ]]
    done
    run -1 xl snapshot-repair --config "$tmp/a.cfg" web
    [ "$output" = "web: $hint" ]
    xl snapshot-revert --config "$tmp/a.cfg" web one
    rm "$tmp/a.cfg"
    run -0 --separate-stderr xl snapshot-list --json web
    [[ $output = *'"one"'* ]]
}

@test "an image that is missing: the advice does not lose the present" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    xl snapshot-create --config "$tmp/a.cfg" --kind external web one
    mv "$images/a.qcow2" "$images/away"
    run -1 xl snapshot-repair web
    [[ $output = *"a.qcow2 is missing; bring the image back: other states "* ]]
    [[ $output != *--metadata-only* ]]
}

@test "two guests of one name: each has its own records" {
    qemu-img create -q -f qcow2 "$images/a.qcow2" 4M
    qemu-img create -q -f qcow2 "$images/b.qcow2" 4M
    config "$tmp/a.cfg" web "$images/a.qcow2"
    config "$tmp/b.cfg" web "$images/b.qcow2"
    for guest in a b; do
        xl snapshot-create --config "$tmp/$guest.cfg" --kind internal web old1
    done
    xl snapshot-delete --config "$tmp/b.cfg" web old1
    [[ $(qemu-img snapshot -l "$images/a.qcow2") = *old1* ]]
    [[ $(qemu-img snapshot -l "$images/b.qcow2") != *old1* ]]
    run -0 xl snapshot-list --json --config "$tmp/a.cfg" web
    [ "$(jq -r '.[0].snapshots[].name' <<< "$output")" = old1 ]
    xl snapshot-create --config "$tmp/b.cfg" --kind internal web old2
    run -1 xl snapshot-list web
    [[ $output = *'there are records of two guests of that name: say the '* ]]
}
