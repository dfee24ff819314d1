#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# xl create and xl restore on a host with snapshots: no guest may write to an
# image that a snapshot is made of, and all else is as without us.

bats_require_minimum_version 1.5.0
load rig

other=77777777-7d1e-4c5a-9a43-0d5d4f5e6a02

setup() {
    rig_setup
    for tool in qemu-img jq; do
        command -v "$tool" > /dev/null || skip "no $tool"
    done
    for program in guard snapshot; do
        # Not the script of libtool's: it forgets how it was called.
        path=$top_builddir/xl-plugins/.libs/xl-$program
        [ -x "$path" ] || path=$top_builddir/xl-plugins/xl-$program
        ln -s "$path" "$tmp/exec/xl-$program"
    done
    for command in create delete list repair; do
        ln -s xl-snapshot "$tmp/exec/xl-snapshot-$command"
    done
    ln -s "$xl" "$tmp/path/xl"
    base+=(LD_LIBRARY_PATH="$top_builddir/lib/.libs"
           LIBXLX_RUN_DIR="$tmp/run")
    truncate -s 1M "$tmp/data.img"
    web_with_snapshot "$tmp"
}

# Guest "web" with a snapshot "s1" of xvda, which is an image, and the overlay
# in a directory that takes the writes since.
web_with_snapshot() {
    rm -rf "$tmp/state" "$tmp/web.qcow2"
    mkdir "$tmp/state"
    base_image=$tmp/web.qcow2
    overlay=$1/web.s1.qcow2
    qemu-img create -q -f qcow2 "$base_image" 1M
    config web "$base_image" > "$tmp/web.cfg"
    xl snapshot-create --disks xvda --kind external --overlay-dir "$1" \
        --config "$tmp/web.cfg" web s1
    [ -e "$overlay" ]
    uuid=$(basename "$tmp"/state/*-*)
}

# config NAME IMAGE [LINE...]
config() {
    printf 'name="%s"\ntype="hvm"\nmemory=64\n' "$1"
    printf 'disk=["format=qcow2,vdev=xvda,access=rw,target=%s",\n' "$2"
    printf '"%s/data.img,raw,xvdb,w"]\n' "$tmp"
    shift 2
    [ $# -eq 0 ] || printf '%s\n' "$@"
}

# save_file JSON: as xl save writes it, without the memory
save_file() {
    printf 'Xen saved domain, xl format\n \0 \r'
    perl -e 'undef $/; $_ = <STDIN> . "\0";
             print pack("LLLLL", 0x01020304, 3, 0, length($_) + 4,
                        length($_)), $_' < "$1"
}

# refused XL-ARGS...: exit code 1 and stock xl is not even started
refused() {
    rm -f "$tmp/record"
    extra+=(FAKE_RECORD="$tmp/record")
    run --separate-stderr xl "$@"
    echo "$output"
    echo "$stderr"
    [ "$status" = 1 ]
    [ -z "$output" ]
    [ ! -e "$tmp/record" ]
    [ "${stderr_lines[0]}" = "xl ${name:-create}: xvda: \"$base_image\" holds \
the snapshot \"s1\" of \"web\"; to write to it would destroy that snapshot \
and all data written since" ]
    [ "${#stderr_lines[@]}" = 2 ]
}

@test "a guest on a frozen image is refused, with the command that goes on" {
    refused create "$tmp/web.cfg"
    [ "${stderr_lines[1]}" = "xl create: to go on from the present state: \
xl create $tmp/web.cfg 'disk=[\"format=qcow2,vdev=xvda,access=rw,\
target=$overlay\", \"$tmp/data.img,raw,xvdb,w\"]' 'uuid=\"$uuid\"'" ]
}

@test "however it is asked for" {
    empty=$tmp/empty.cfg
    printf 'name="web"\ntype="hvm"\nmemory=64\n' > "$empty"
    disk="disk=['$base_image,qcow2,xvda,w']"
    refused create -n "$tmp/web.cfg"
    refused cre "$tmp/web.cfg"
    refused -N create "$tmp/web.cfg"
    refused -vf -t create -pq "$tmp/web.cfg" memory=128
    refused create -f "$tmp/web.cfg"
    refused create --defconfig="$tmp/web.cfg" -n
    refused create --defcon "$tmp/web.cfg"
    refused create memory=128 "$tmp/web.cfg"
    refused create "$tmp/web.cfg" -n
    refused create "$empty" "$disk"
    refused create /dev/null 'name="web"' 'type="hvm"' 'memory=64' "$disk"
    refused create "$empty" "disk=['x,raw,xvdc,w']" "${disk/=/+=}"
    cd "$tmp"
    config web web.qcow2 > rel.cfg
    run xl create rel.cfg
    [ "$status" = 1 ]
    [[ ${lines[0]} = 'xl create: xvda: "web.qcow2" holds the snapshot'* ]]
}

@test "by whatever name the image goes" {
    ln -s web.qcow2 "$tmp/link.qcow2"
    ln "$tmp/web.qcow2" "$tmp/hard.qcow2"
    for image in link hard; do
        base_image=$tmp/$image.qcow2
        config web "$base_image" > "$tmp/g.cfg"
        refused create "$tmp/g.cfg"
    done
}

@test "the command that it names does go on, with any path" {
    dir="$tmp/a b'c\"d\$(e)\\f,g;h"
    mkdir "$dir"
    web_with_snapshot "$dir"
    mv "$tmp/web.cfg" "$dir/web.cfg"
    refused create -n "$dir/web.cfg" 'on_crash="preserve"'
    command=${stderr_lines[1]#*present state: }
    env -i "${base[@]}" PATH="$tmp/path:/usr/bin:/bin" \
        sh -c "$command" > "$tmp/json"
    cat "$tmp/json"
    [ "$(jq -r '.disks[0].pdev_path' "$tmp/json")" = "$overlay" ]
    [ "$(jq -r '.disks[1].pdev_path' "$tmp/json")" = "$tmp/data.img" ]
    [ "$(jq -r '.disks | length' "$tmp/json")" = 2 ]
    [ "$(jq -r '.c_info.uuid' "$tmp/json")" = "$uuid" ]
    [ "$(jq -r '.on_crash' "$tmp/json")" = preserve ]
}

@test "the words of the config about the disk are kept, where they fit" {
    printf 'name="web"\ntype="hvm"\nmemory=64\nuuid="%s"\n' "$uuid" \
        > "$tmp/g.cfg"
    refused create "$tmp/g.cfg" "disk=['format=raw,vdev=xvda,access=rw,\
backendtype=phy,discard,direct-io-safe,target=$base_image']"
    [[ ${stderr_lines[1]} = *" 'disk=[\"format=qcow2,vdev=xvda,access=rw,\
discard,direct-io-safe,target=$overlay\"]'" ]]
    refused create "$tmp/g.cfg" "disk=['format=raw,vdev=xvda,access=rw,\
backendtype=qdisk,no-discard,target=$base_image']"
    [[ ${stderr_lines[1]} = *" 'disk=[\"format=qcow2,vdev=xvda,access=rw,\
backendtype=qdisk,no-discard,target=$overlay\"]'" ]]
}

# As xl disk-move records it: the disk is on the overlay's path, and has left
# the image that the config names
moved() {
    jq -n --arg old "$base_image" --arg new "$overlay" \
        --slurpfile r "$tmp/state/$uuid/snapshots.json" '$r[0] |
        .snapshots = [] | .current = "" |
        .disks = [.disks[] | if .image == $new then
            .owned = false | .backing = "" else . end] |
        .moved = [{vdev: "xvda", image: $old, format: "qcow2"}]' \
        > "$tmp/moved.json"
    qemu-img create -q -f qcow2 "$tmp/alone" 1M
    mv "$tmp/alone" "$overlay"
    mv "$tmp/moved.json" "$tmp/state/$uuid/snapshots.json"
}

@test "an image that the disk has left is not started on, by that guest" {
    moved
    run -1 --separate-stderr xl create "$tmp/web.cfg"
    [[ ${stderr_lines[0]} = "xl create: xvda: the disk of \"web\" was moved \
from \"$base_image\" to \"$overlay\", and what was written since is there \
alone" ]]
    [[ ${stderr_lines[1]} = *'to go on from the present state: xl create'* ]]
    [[ ${stderr_lines[1]} = *"target=$overlay"* ]]
    # another guest may have it, and this one the new one
    config db "$base_image" > "$tmp/db.cfg"
    run -0 xl create -n "$tmp/db.cfg"
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/web.cfg"
    run -0 xl create -n "$tmp/web.cfg"
}

@test "the advice to another guest is an image of its own" {
    config mail "$base_image" > "$tmp/g.cfg"
    refused create "$tmp/g.cfg"
    [[ ${stderr_lines[1]} = 'xl create: this guest is not "web": '* ]]
    config web "$base_image" "uuid=\"$other\"" > "$tmp/g.cfg"
    refused create "$tmp/g.cfg"
    [[ ${stderr_lines[1]} = 'xl create: this guest is not "web": '* ]]
}

@test "the message says that the guest is running" {
    extra=(FAKE_RUNNING="web,$uuid")
    refused create "$tmp/web.cfg"
    [ "${stderr_lines[1]}" = 'xl create: "web" is running, as domain 7' ]
}

@test "all else is as without us" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    same_as_stock create -n "$tmp/now.cfg"
    [ "$(cat "$tmp/ours.code")" = 0 ]
    printf 'name="g"\ntype="hvm"\nuuid="%s"\nmemory=64\n' "$uuid" \
        > "$tmp/none.cfg"
    same_as_stock create -n "$tmp/none.cfg"
    same_as_stock create -n "$tmp/none.cfg" "disk=['$base_image,qcow2,xvda,r']"
    same_as_stock create -n "$tmp/none.cfg" \
        "disk=['$base_image,qcow2,hdc,r,cdrom']" memory=128
    same_as_stock create -n "$tmp/none.cfg" "disk=['/missing,raw,xvda,w']"
    same_as_stock -vN create -- "$tmp/none.cfg" 'memory=65'
    # The last one counts.
    same_as_stock create -n "$tmp/web.cfg" 'disk=[]' "uuid=\"$uuid\""
    [ "$(cat "$tmp/ours.code")" = 0 ]
}

@test "stock xl refuses in its own words" {
    echo 'disk=[' > "$tmp/bad.cfg"
    config web "$base_image" "x=[" > "$tmp/bad2.cfg"
    same_as_stock create "$tmp/bad.cfg"
    same_as_stock create "$tmp/bad2.cfg"
    same_as_stock create "$tmp/missing.cfg"
    same_as_stock create "$tmp"
    same_as_stock create /dev/zero
    same_as_stock create
    same_as_stock create "$tmp/web.cfg" "$tmp/web.cfg"
    same_as_stock create --nonsense "$tmp/web.cfg"
    same_as_stock create -h "$tmp/web.cfg"
    same_as_stock create "$tmp/web.cfg" "disk=['a,b,c,d']"
    [ "$(cat "$tmp/ours.code")" != 0 ]
}

@test "a saved guest on a frozen image is not resumed" {
    extra=(LIBXLX_STATE_DIR="$tmp/nothing")
    xl create -n "$tmp/web.cfg" > "$tmp/json"
    save_file "$tmp/json" > "$tmp/save"
    extra=()
    name=restore
    refused restore "$tmp/save"
    [[ ${stderr_lines[1]} = "xl restore: the memory in \"$tmp/save\" fits the \
disks only as they were when it was saved: "* ]]
    refused restore -p -e "$tmp/save"
    refused rest "$tmp/save"
    refused restore "$tmp/web.cfg" "$tmp/save"
    # A config that names other disks is obeyed.
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    extra=(FAKE_EXIT=5)
    same_as_stock restore "$tmp/now.cfg" "$tmp/save"
    [ "$(cat "$tmp/ours.code")" = 5 ]
}

@test "a save file is stock xl's when nothing in it is frozen, or is wrong" {
    jq -n '{c_info: {type: "hvm", name: "g"}, disks: []}' > "$tmp/json"
    save_file "$tmp/json" > "$tmp/save"
    extra=(FAKE_EXIT=5)
    same_as_stock restore "$tmp/save"
    [ "$(cat "$tmp/ours.code")" = 5 ]
    extra=()
    for size in 0 31 47 48 51 60; do
        head -c "$size" "$tmp/save" > "$tmp/cut"
        same_as_stock restore "$tmp/cut"
        [ "$(cat "$tmp/ours.code")" = 1 ]
    done
    printf '{"c_info": {' > "$tmp/json"
    extra=(FAKE_EXIT=5)
    save_file "$tmp/json" > "$tmp/save"
    same_as_stock restore "$tmp/save"
    same_as_stock restore "$tmp/missing"
    same_as_stock restore "$tmp"
    same_as_stock restore
    same_as_stock restore a b c
}

# cut_short POINT: the making of s1 is, at that fault point
cut_short() {
    rm -rf "$tmp/state" "$overlay"
    extra=(LIBXLX_FAULT="$1")
    run xl snapshot-create --disks xvda --kind external --config \
        "$tmp/web.cfg" web s1
    extra=()
    [ "$status" != 0 ] || skip 'built without --enable-fault-points'
    [ "$status" = 137 ]
    uuid=$(basename "$tmp"/state/*-*)
    [ -e "$tmp/state/$uuid/snapshot-journal.json" ]
}

# unsettled XL-ARGS...: refused, before stock xl is started
unsettled() {
    rm -f "$tmp/record"
    extra=(FAKE_RECORD="$tmp/record")
    run --separate-stderr xl "$@"
    echo "$stderr"
    extra=()
    [ "$status" = 1 ]
    [ ! -e "$tmp/record" ]
    [ "$stderr" = "xl create: xvda: no guest may write to \"$image\": a command \
that changed the snapshots of \"web\" was cut short; xl snapshot-repair $uuid \
finishes or undoes it" ]
}

@test "a command that was cut short: no start before it is settled" {
    image=$base_image
    for point in snapshot-create.journal snapshot-create.overlay \
        snapshot-create.configured; do
        cut_short $point
        unsettled create -n "$tmp/web.cfg"
        # by another guest, and on the new image
        config mail "$base_image" > "$tmp/g.cfg"
        unsettled create "$tmp/g.cfg"
        run -0 xl snapshot-repair "$uuid"
        [[ $output = *'undone: there is no such snapshot' ]]
        [ ! -e "$overlay" ]
        same_as_stock create -n "$tmp/web.cfg" "uuid=\"$uuid\""
        [ "$(cat "$tmp/ours.code")" = 0 ]
    done
}

@test "a switch that is in the journal only: the old image is frozen" {
    image=$base_image
    cut_short snapshot-create.configured
    qemu-io -f qcow2 -c 'write -P 7 0 64k' "$overlay"
    unsettled create "$tmp/web.cfg"
    image=$overlay
    config web "$overlay" > "$tmp/g.cfg"
    unsettled create "$tmp/g.cfg"
    run -0 xl snapshot-repair web
    [[ $output = *'finished: the snapshot is there' ]]
    refused create "$tmp/web.cfg"
}

@test "a journal that cannot be read: no start, and why" {
    echo '{' > "$tmp/state/$uuid/snapshot-journal.json"
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    run -1 xl create "$tmp/now.cfg"
    [[ ${lines[0]} = "xl create: "*"$tmp/state/$uuid/snapshot-journal.json"* ]]
    [[ ${lines[1]} = *"use \"$real\" instead of xl to start the guest"* ]]
}

@test "a forgotten snapshot: the images below the guest stay guarded" {
    run -0 xl snapshot-delete --metadata-only web s1
    [ "${lines[1]}" = "xvda: the guest stays on $overlay, and needs \
$base_image below it: no guest may be started on that one" ]
    extra=(FAKE_RECORD="$tmp/record")
    run xl create "$tmp/web.cfg"
    [ "$status" = 1 ]
    [ ! -e "$tmp/record" ]
    [ "${lines[0]}" = "xl create: xvda: no guest may write to \
\"$base_image\": $overlay is based on it" ]
    [[ ${lines[1]} = *"start the guest on that one, or remove it when nobody \
needs it; or use \"$real\" instead"* ]]
    extra=()
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    same_as_stock create -n "$tmp/now.cfg"
    [ "$(cat "$tmp/ours.code")" = 0 ]
}

@test "a clone that no record knows: its base is not started" {
    rm -r "${tmp:?}/state/$uuid" "$overlay"
    mkdir -p "$tmp/state/$other"
    qemu-img create -q -f qcow2 -b "$base_image" -F qcow2 "$tmp/clone.qcow2"
    run -1 xl create "$tmp/web.cfg"
    [ "${lines[0]}" = "xl create: xvda: no guest may write to \
\"$base_image\": $tmp/clone.qcow2 is based on it" ]
}

# hold NAME MODE IMAGE: a program of that name has it open, without any lock,
# as Xen's QEMU has its disks
hold() {
    # shellcheck disable=SC2016 # perl's
    perl -e '$0 = shift; open F, shift, shift or die; print "open\n";
             close STDOUT; sleep 60' "$@" > "$tmp/held" 2>&1 3>&- &
    holder=$!
    for _ in {1..100}; do
        [ ! -s "$tmp/held" ] || return 0
        sleep 0.05
    done
    return 1
}

# busy HOLDER: what is now on the image that takes web's writes is refused
busy() {
    rm -f "$tmp/record"
    extra+=(FAKE_RECORD="$tmp/record")
    run xl create "$tmp/now.cfg"
    echo "$output"
    [ "$status" = 1 ]
    [ ! -e "$tmp/record" ]
    [ "${#lines[@]}" = 2 ]
    [ "${lines[0]}" = "xl create: xvda: \"$overlay\" is open for writing \
elsewhere: $1" ]
    [[ ${lines[1]} = *'set LIBXLX_FORCE_OPEN=1 in the environment of xl' ]]
    extra+=(LIBXLX_FORCE_OPEN=1 FAKE_EXIT=5)
    run -5 xl create "$tmp/now.cfg"
    [ -z "$output" ]
    extra=()
}

@test "an image that somebody else writes to: no start, and the name" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    hold qemu-system-i38 '+<' "$overlay"
    busy "qemu-system-i38 (process $holder) has it open"
    # a disk that the guest only reads changes below it
    extra=()
    run -1 xl create "$tmp/now.cfg" "disk=['$overlay,qcow2,xvda,r']"
    [[ ${lines[0]} = "xl create: xvda: \"$overlay\" is open for writing "* ]]
    # a CD-ROM drive is not asked about
    same_as_stock create -n "$tmp/now.cfg" \
        "disk=['$overlay,raw,hdc,r,cdrom']"
    kill $holder
    wait $holder || true
    same_as_stock create -n "$tmp/now.cfg"
    [ "$(cat "$tmp/ours.code")" = 0 ]
}

@test "a reader of an image keeps no guest from it" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    hold qemu-nbd '<' "$overlay"
    same_as_stock create -n "$tmp/now.cfg"
    [ "$(cat "$tmp/ours.code")" = 0 ]
    same_as_stock create -n "$tmp/now.cfg" "disk=['$overlay,qcow2,xvda,r']"
    kill $holder
    extra=(FAKE_RUNNING="db,$other" FAKE_DISK="r,qcow2:$overlay")
    same_as_stock create -n "$tmp/now.cfg" "disk=['$overlay,qcow2,xvda,r']"
    [ "$(cat "$tmp/ours.code")" = 0 ]
}

@test "the disk of a guest that runs: no start of another one on it" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    ln -s "$overlay" "$tmp/name"
    extra=(FAKE_RUNNING="db,$other" FAKE_DISK="w,qcow2:$tmp/name")
    busy 'guest db has it as its disk xvda'
}

@test "an image that a program has locked: no start" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    cp "$(command -v qemu-io)" "$tmp/some-tool"
    mkfifo "$tmp/fifo"
    stdbuf -oL "$tmp/some-tool" "$overlay" < "$tmp/fifo" > "$tmp/said" 3>&- &
    holder=$!
    exec 9> "$tmp/fifo"
    echo 'read 0 512' >&9           # its answer: the image is open and locked
    for _ in {1..400}; do
        ! grep -q 'read 512/512' "$tmp/said" || break
        sleep 0.05
    done
    busy 'another program has it open and locked'
    exec 9>&-
    wait $holder
}

# start [ARG...]: xl create of the present state, whose stock xl waits for the
# file "go" to be gone; "started" has the number of the guard's process
start() {
    touch "$tmp/go"
    printf '#!/bin/bash\necho $PPID > %q\nwhile [ -e %q ]; do sleep 0.05; done\n' \
        "$tmp/started" "$tmp/go" > "$tmp/stock"
    chmod +x "$tmp/stock"
    extra=(LIBXLX_XL="$tmp/stock")
    xl create "$@" "$tmp/now.cfg" 3>&- &
    starter=$!
    until [ -s "$tmp/started" ]; do sleep 0.05; done
    extra=(FAKE_RECORD="$tmp/record" FAKE_EXIT=5)
}

@test "two starts at once on one image: the second one is refused" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    ln -s "$overlay" "$tmp/name"
    config db "$tmp/name" > "$tmp/db.cfg"
    sed -i "s,$tmp/data.img,/nowhere," "$tmp/db.cfg"
    start
    run -1 xl create "$tmp/db.cfg"
    [[ $output = "xl create: $tmp/name: another command is starting a guest \
on it, or changes it, at this moment"* ]]
    [ ! -e "$tmp/record" ]
    # who only shows what would be started, or shares the disk on purpose
    run -5 xl create -n "$tmp/db.cfg"
    extra+=(LIBXLX_FORCE_OPEN=1)
    run -5 xl create "$tmp/db.cfg"
    # another guest
    extra=(FAKE_RECORD="$tmp/record" FAKE_EXIT=5)
    truncate -s 1M "$tmp/other.img"
    sed "s,$tmp/name,$tmp/other.img,; s/qcow2/raw/" "$tmp/db.cfg" \
        > "$tmp/other.cfg"
    run -5 xl create "$tmp/other.cfg"
    rm "$tmp/go"
    wait $starter
    run -5 xl create "$tmp/db.cfg"
}

@test "a start, and a command that changes the images of the guest" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    start
    for command in "delete web s1" "create --config $tmp/now.cfg web s2"; do
        # shellcheck disable=SC2086 # words
        run -1 xl snapshot-$command
        echo "$output"
        [[ $output = *': another command is starting a guest on it'* ]]
    done
    kill -KILL "$(cat "$tmp/started")"
    wait $starter || true
    xl snapshot-create --config "$tmp/now.cfg" web s2
    rm "$tmp/go"
}

@test "a start in the foreground holds its images until they are open" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    start -F
    run -1 xl create "$tmp/now.cfg"
    [[ $output = *': another command is starting a guest on it'* ]]
    hold qemu-system-i38 '+<' "$overlay"
    for _ in {1..100}; do
        run -1 xl create "$tmp/now.cfg"
        [[ $output = *': another command is starting'* ]] || break
    done
    [[ $output = *"qemu-system-i38 (process $holder) has it open"* ]]
    rm "$tmp/go"
    wait $starter
}

@test "a guest that was just shut down may take a moment to let go" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    hold qemu-system-i38 '+<' "$overlay"
    (sleep 1; kill $holder) 3>&- &
    extra=(FAKE_RECORD="$tmp/record" FAKE_EXIT=5)
    run -5 xl create "$tmp/now.cfg"
    [ -z "$output" ]
}

@test "nobody knows who has it open: a warning, and the guest starts" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    extra=(FAKE_RECORD="$tmp/record" FAKE_EXIT=5 FAKE_XENSTORE=EIO)
    run -5 xl create "$tmp/now.cfg"
    echo "$output"
    [ "${#lines[@]}" = 1 ]
    [[ ${lines[0]} = "xl create: warning: it is not known whether another guest \
or program writes to the disks of this guest: xenstore: "* ]]
}

@test "a dry run with the config of a guest that runs" {
    config web "$overlay" "uuid=\"$uuid\"" > "$tmp/now.cfg"
    hold qemu-system-i38 '+<' "$overlay"
    extra=(FAKE_RECORD="$tmp/record" FAKE_EXIT=5)
    run -5 xl create -n "$tmp/now.cfg"
    kill $holder
    [ -z "$output" ]
}

@test "open elsewhere and frozen: both are said, and the command that goes on" {
    hold qemu-system-i38 '+<' "$tmp/data.img"
    run -1 xl create "$tmp/web.cfg"
    kill $holder
    [ "${#lines[@]}" = 4 ]
    [[ ${lines[0]} = "xl create: xvda: \"$base_image\" holds the snapshot"* ]]
    [[ ${lines[1]} = "xl create: xvdb: \"$tmp/data.img\" is open for writing \
elsewhere: qemu-system-i38 (process $holder) has it open" ]]
    [[ ${lines[2]} = *LIBXLX_FORCE_OPEN=1* ]]
    [[ ${lines[3]} = *"'disk=[\"format=qcow2,vdev=xvda,access=rw,\
target=$overlay\", \"$tmp/data.img,raw,xvdb,w\"]' 'uuid=\"$uuid\"'" ]]
}

# A stock xl that takes its time: until it is killed, or the file go is there.
slow_stock() {
    printf '#!/bin/sh\necho $$ > %s\n' "$tmp/pid" > "$tmp/slow"
    printf 'while [ ! -e %s ]; do sleep 0.05; done\n' "$tmp/go" >> "$tmp/slow"
    chmod +x "$tmp/slow"
    rm -f "$tmp/pid" "$tmp/go"
    extra=(LIBXLX_XL="$tmp/slow" FAKE_RUNNING="web,$uuid")
}

started() {
    for _ in {1..200}; do
        [ ! -s "$tmp/pid" ] || return 0
        sleep 0.05
    done
    return 1
}

@test "while stock xl moves a guest, no command of ours changes it" {
    for command in 'save web /nowhere' 'migrate web host'; do
        slow_stock
        # shellcheck disable=SC2086 # words
        xl $command > "$tmp/out" 2>&1 3>&- &
        pid=$!
        started
        run -1 xl snapshot-create web s2
        echo "$output"
        [[ $output = "xl snapshot-create: guest $uuid is being changed: \
process "*" $command) holds the lock "* ]]
        # shellcheck disable=SC2086 # words
        run -1 xl $command
        [[ $output = "xl ${command%% *}: guest $uuid is being changed: "* ]]
        kill -KILL "$(cat "$tmp/pid")"
        wait $pid || true
        # it went with stock xl; there is no QEMU here to make a snapshot
        for _ in {1..100}; do
            run xl snapshot-create web s2
            [[ $output = *'is being changed'* ]] || break
            sleep 0.05
        done
        [[ $output != *'is being changed'* ]]
    done
}

@test "while a command of ours is cut short, a guest is not moved" {
    cut_short snapshot-create.overlay
    extra=(FAKE_RUNNING="web,$uuid" FAKE_RECORD="$tmp/record" FAKE_EXIT=5)
    for command in 'save web /nowhere' 'migrate web host'; do
        # shellcheck disable=SC2086 # words
        run -1 xl $command
        echo "$output"
        [[ ${lines[0]} = "xl ${command%% *}: a command that changed the \
snapshots of \"web\" was cut short; xl snapshot-repair finishes or undoes it" ]]
        [ ! -e "$tmp/record" ]
    done
    run -5 xl save nobody /nowhere
}

# A writer waits at the FIFO: whoever opens it lets him go on.
@test "a pipe is for stock xl to open" {
    mkfifo "$tmp/fifo"
    { echo x > "$tmp/fifo"; } 2> /dev/null 3>&- &
    writer=$!
    extra=(FAKE_RECORD="$tmp/record" FAKE_EXIT=5)
    for args in "restore $tmp/web.cfg $tmp/fifo" "create $tmp/fifo" \
        "create -f $tmp/fifo"; do
        # shellcheck disable=SC2086 # words
        run xl $args
        sleep 0.2
        kill -0 $writer
    done
    rm -r "${tmp:?}/state"
    run -5 xl restore "$tmp/fifo"
    run -5 xl create "$tmp/fifo"
    sleep 0.2
    kill -0 $writer
    cat "$tmp/fifo" > /dev/null
    wait $writer
}

# Out of a pipe the head comes once, and is stock xl's.
@test "a guest that is restored out of a pipe is also looked at" {
    extra=(LIBXLX_STATE_DIR="$tmp/nothing")
    xl create -n "$tmp/web.cfg" > "$tmp/json"
    { save_file "$tmp/json"; head -c 300000 /dev/urandom; } > "$tmp/save"
    mkfifo "$tmp/fifo"
    name=restore
    extra=()
    for slow in "cat" "head -c 20 -- - && sleep 0.3 && cat"; do
        # shellcheck disable=SC2094 # it is not written to
        bash -c "{ $slow; } < '$tmp/save'" 2> /dev/null 3>&- | {
            refused restore /dev/stdin
        }
        bash -c "{ $slow; } < '$tmp/save' > '$tmp/fifo'" 2> /dev/null 3>&- &
        refused restore "$tmp/fifo"
        wait $! || true
    done
    # /dev/fd, and a writer that ends in the middle of the head
    refused restore /dev/fd/7 7< <(cat "$tmp/save")
    extra=(FAKE_EXIT=5 FAKE_RECORD="$tmp/record")
    run -5 xl restore /dev/stdin < <(head -c 200 "$tmp/save")
    run -5 xl restore /dev/stdin < <(:)
}

@test "a save file in a pipe reaches stock xl whole" {
    jq -n '{c_info: {type: "hvm", name: "g"}, disks: []}' > "$tmp/json"
    { save_file "$tmp/json"; head -c 3000000 /dev/urandom; } > "$tmp/save"
    printf '#!/bin/bash\nfor last; do :; done\ncat "$last" > %q\n' \
        "$tmp/got" > "$tmp/stock"
    chmod +x "$tmp/stock"
    mkfifo "$tmp/fifo"
    extra=(LIBXLX_XL="$tmp/stock")
    cat "$tmp/save" | xl restore /dev/stdin
    cmp "$tmp/save" "$tmp/got"
    { cat "$tmp/save" > "$tmp/fifo"; } 3>&- &
    xl restore -p "$tmp/fifo"
    wait $!
    cmp "$tmp/save" "$tmp/got"
}

@test "a save file that cannot be looked at: a message" {
    extra=(FAKE_EXIT=5 FAKE_RECORD="$tmp/record")
    run -1 xl restore /dev/zero
    echo "$output"
    [[ $output = 'xl restore: "/dev/zero": which guest is in it cannot be '*\
'neither a file nor a pipe; copy it into a file and restore that, or use '* ]]
    [ ! -e "$tmp/record" ]
    run -5 xl restore "$tmp/web.cfg" /dev/zero "$tmp"
}

@test "no records: a save file is not even looked at" {
    rm -r "${tmp:?}/state" "$tmp/exec/xl-guard"
    plant "$tmp/exec" xl-guard
    { echo '{}' > "$tmp/json" && save_file "$tmp/json"; echo cpuid; } \
        > "$tmp/save"
    extra=(FAKE_RECORD="$tmp/record" FAKE_EXIT=5)
    run -5 xl restore "$tmp/save"
}

@test "no records: the guard is not even run" {
    rm "$tmp/exec/xl-guard"
    plant "$tmp/exec" xl-guard
    run xl create -n "$tmp/web.cfg"
    [ "$status" = 7 ]
    [[ ${lines[1]} = "<$real>" && ${lines[2]} = '<create>' ]]
    rm -r "${tmp:?}/state"/*
    run xl create -n "$tmp/web.cfg"
    [ "$status" = 0 ]
    rmdir "$tmp/state"
    run xl create -n "$tmp/web.cfg"
    [ "$status" = 0 ]
}

@test "a config with a key of ours goes through the guard, however it is named" {
    rm -r "${tmp:?}/state" "$tmp/exec/xl-guard"
    plant "$tmp/exec" xl-guard
    { cat "$tmp/web.cfg"; echo 'cpuid="host"'; } > "$tmp/ours.cfg"
    for args in "$tmp/ours.cfg" "-f$tmp/ours.cfg" "-f $tmp/ours.cfg" \
        "--defconfig=$tmp/ours.cfg" "$tmp/web.cfg cpuid=[]"; do
        # shellcheck disable=SC2086 # words
        run xl create -n $args
        echo "$args: $output"
        [ "$status" = 7 ]
        [ "${lines[1]}" = "<$real>" ]
    done
}

@test "no guard, or records that cannot be read: no start, and why" {
    echo '{' > "$tmp/state/$uuid/snapshots.json"
    run xl create "$tmp/web.cfg"
    [ "$status" = 1 ]
    [ "${#lines[@]}" = 2 ]
    [[ ${lines[0]} = "xl create: "*"$tmp/state/$uuid/snapshots.json"* ]]
    [[ ${lines[1]} = *"use \"$real\" instead of xl to start the guest"* ]]
    rm "$tmp/exec/xl-guard"
    run xl create "$tmp/web.cfg"
    [ "$status" = 126 ]
    [[ $output = "xl: \"$tmp/exec/xl-guard\": No such file"* ]]
    # Nothing but create and restore needs it.
    same_as_stock list
}

# ---- disks that QEMU cannot open --------------------------------------------

# lost TYPE SPEC [LINE...]: refused, and stock xl is not even started, on a
# host without records
lost() {
    local type=$1 spec=$2
    shift 2
    rm -rf "${tmp:?}/state" "$tmp/record"
    printf '%s\n' 'name="g"' "type=\"$type\"" 'memory=64' \
        'kernel="/vmlinuz"' "disk=['$spec']" "$@" > "$tmp/g.cfg"
    extra=(FAKE_RECORD="$tmp/record")
    run --separate-stderr xl create "$tmp/g.cfg"
    echo "$spec: $status: $output $stderr"
    [ "$status" = 1 ]
    [ -z "$output" ]
    [ ! -e "$tmp/record" ]
}

# not_lost TYPE SPEC [LINE...]: what stock xl makes of it, byte for byte
not_lost() {
    local type=$1 spec=$2
    shift 2
    rm -rf "${tmp:?}/state"
    printf '%s\n' 'name="g"' "type=\"$type\"" 'memory=64' \
        'kernel="/vmlinuz"' "disk=['$spec']" \
        'uuid="77777777-7d1e-4c5a-9a43-0d5d4f5e6a03"' "$@" > "$tmp/g.cfg"
    echo "$type $spec"
    same_as_stock create -n "$tmp/g.cfg"
    [ "$(cat "$tmp/ours.code")" = 0 ]
}

qdisk=format=raw,vdev=xvda,access=rw,backendtype=qdisk,target=

@test "a URL as the disk of a PV or PVH guest: no start, and what to do" {
    lost pv "${qdisk}nbd:unix:/run/web.sock"
    [ "${stderr_lines[0]}" = "xl create: xvda: \"nbd:unix:/run/web.sock\" is \
not a file or device: for a PV guest QEMU opens nothing else, and so the guest \
would run without this disk, while stock xl says that all is well" ]
    [ "${stderr_lines[1]}" = "xl create: xvda: have this host connect it to a \
block device, and name that: qemu-nbd --connect=/dev/nbd0 --format=raw \
nbd:unix:/run/web.sock (or: nbd-client), and as the disk format=raw,\
backendtype=phy,target=/dev/nbd0; or use \"$real\" instead of xl to do it \
regardless" ]
    [ "${#stderr_lines[@]}" = 2 ]
    for url in nbd://host/web nbd+unix:///web?socket=/run/s rbd:pool/web \
        iscsi://host/iqn.2001-04.org:x/0 https://host/web.img \
        ssh://host/web.img gluster://host/vol/web sheepdog:web fat:/srv \
        'json:{"driver":"nbd","host":"h"}' blkdebug::/web.img; do
        lost pvh "$qdisk$url"
        [[ $stderr == *'for a PVH guest QEMU opens nothing else'* ]]
        [[ $stderr == *'qemu-nbd --connect=/dev/nbd0'* ]]
    done
    lost pv "${qdisk/raw/qcow2}rbd:pool/web"
    [[ $stderr == *"--format=qcow2 rbd:pool/web (or: rbd map), "* ]]
    lost pv "rbd:pool/web,raw,xvda,w,backendtype=qdisk"
    lost pv "${qdisk}file:$tmp/data.img"
    [ "${stderr_lines[1]}" = "xl create: xvda: write the path alone: \
target=$tmp/data.img" ]
}

@test "a disk that is not there, and stock xl does not look" {
    lost pv "$qdisk$tmp/gone.img"
    [ "$stderr" = "xl create: xvda: \"$tmp/gone.img\": No such file or \
directory: with backendtype=qdisk stock xl does not look, and so the guest \
would run without this disk; correct the name, or use \"$real\" instead of xl \
to do it regardless" ]
}

@test "a URL as the disk of an HVM guest: only what QEMU does not emulate" {
    for vdev in xvde hdf xvdaa d4p0; do
        lost hvm "${qdisk/xvda/$vdev}nbd:unix:/run/web.sock"
        [[ $stderr == *"$vdev: "*"for a disk that is not emulated QEMU"* ]]
    done
    lost hvm "${qdisk}nbd:unix:/s" device_model_stubdomain_override=1
    [[ $stderr == *"for a stub domain QEMU opens nothing else"* ]]
    rm -rf "${tmp:?}/state"
    for vdev in xvda xvdd hdc sdb d3p0; do
        printf '%s\n' 'name="g"' 'type="hvm"' 'memory=64' \
            "disk=['${qdisk/xvda/$vdev}nbd:unix:/s']" > "$tmp/g.cfg"
        run -0 --separate-stderr xl create -n "$tmp/g.cfg"
        [[ $stderr == "xl create: warning: $vdev: QEMU opens "* ]]
    done
    not_lost hvm "${qdisk/xvda/hda}nbd:unix:/s" xen_platform_pci=0
    not_lost hvm "${qdisk/xvda/xvde}nbd:unix:/s" 'hdtype="ahci"' \
        xen_platform_pci=0
    not_lost hvm "devtype=cdrom,${qdisk/xvda/hdc}https://host/cd.iso"
    not_lost hvm "${qdisk/xvda/hda}/gone.img"
}

@test "a disk that QEMU can open, or that is not QEMU's, is stock xl's" {
    rm "$tmp/exec/xl-guard"
    plant "$tmp/exec" xl-guard
    cd "$tmp"
    truncate -s 1M nbd:unix:here
    not_lost pv "$qdisk$tmp/data.img"
    not_lost pv "${qdisk}data.img"
    not_lost pv "${qdisk}nbd:unix:here"
    not_lost pv "$tmp/data.img,raw,xvda,w,backendtype=qdisk"
    not_lost pv "format=empty,vdev=xvda,devtype=cdrom,backendtype=qdisk"
    # the script makes a device of it
    not_lost pv "vdev=xvda,script=block-iscsi,target=iqn=x,portal=host"
    not_lost pv "vdev=xvda,script=block-dummy,target=dummy:/img"
    # libxl looks itself
    not_lost pv "format=raw,vdev=xvda,target=rbd:pool/web"
    not_lost pv "$qdisk$tmp/data.img" "# disk=['${qdisk}nbd:unix:/s']"
}

@test "a disk of a driver domain, or of a script, is not QEMU's of this host" {
    config web "$base_image" cpuid=\"host\" > "$tmp/g.cfg"
    not_lost pv "backend=storage,${qdisk}nbd:unix:/s"
    not_lost pv "script=block-x,${qdisk}nbd:unix:/s"
}

@test "block-attach of a URL is refused, and all other disks are stock xl's" {
    rm -rf "${tmp:?}/state"
    extra=(FAKE_RECORD="$tmp/record" FAKE_RUNNING="web,$uuid")
    for parts in "${qdisk}nbd:unix:/s" \
        "vdev=xvda format=raw backendtype=qdisk target=nbd:unix:/s"; do
        # shellcheck disable=SC2086 # words
        run -1 --separate-stderr xl block-attach web $parts
        echo "$stderr"
        [[ $stderr == "xl block-attach: xvda: \"nbd:unix:/s\" is not a file \
or device: for a guest that runs QEMU opens nothing else, "* ]]
        [ ! -e "$tmp/record" ]
    done
    extra=(FAKE_RUNNING="web,$uuid")
    same_as_stock -N block-attach web "${qdisk}$tmp/data.img"
    same_as_stock -N block-attach web format=raw vdev=xvdb "target=rbd:p/i"
    same_as_stock -N block-attach web "devtype=cdrom,${qdisk}https://h/cd"
    same_as_stock block-attach web
    same_as_stock block-attach
    same_as_stock block-attach -h
    same_as_stock block-attach nobody "$tmp/gone,raw,xvda,w"
}
