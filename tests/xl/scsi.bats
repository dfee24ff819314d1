#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats and of the rig
# vscsi= in a config: in which order stock xl is run and the library called, and
# what happens when one of them fails.  Here stock xl is a program of these
# tests, and fake-libxl.c answers for the library's call; the real ones do it
# in tests/xen-host.

bats_require_minimum_version 1.5.0
load rig

uuid=77777777-7d1e-4c5a-9a43-0d5d4f5e6a02

setup() {
    rig_setup
    # Not the script of libtool's: it forgets how it was called.
    path=$top_builddir/xl-plugins/.libs/xl-guard
    [ -x "$path" ] || path=$top_builddir/xl-plugins/xl-guard
    ln -s "$path" "$tmp/exec/xl-guard"
    teller stock
    base+=(LD_LIBRARY_PATH="$top_builddir/lib/.libs" LIBXLX_XL="$tmp/stock"
           LIBXLX_RUN_DIR="$tmp/run" FAKE_RUNNING="web,$uuid"
           FAKE_ATTACH="$tmp/calls" FAKE_FAIL="$tmp/fail")
}

# A program that notes how it was called, and fails on the word that fail has.
teller() {
    cat > "$tmp/$1" <<X
#!/bin/sh
echo "\${0##*/} \$*" >> "$tmp/calls"
case " \$* " in *" \$(cat "$tmp/fail" 2>/dev/null || echo none) "*) exit 3;; esac
X
    chmod +x "$tmp/$1"
}

config() {
    printf 'name="web"\ntype="pv"\nkernel="/k"\nmemory=64\n%s\n' "$1" \
        > "$tmp/web.cfg"
}

two='vscsi=["/dev/st0,0:0:0:0", "sdb,0:0:1:0,read-only,backend=iblock,shared"]'
attach='vscsidev_add web no-wait 0:0:0:0=/dev/st0,auto 0:0:1:0=sdb,iblock,read-only,shared'

@test "made paused, attached in order, then running" {
    config "$two"
    run -0 xl -v create -q "$tmp/web.cfg" 'memory=65'
    echo "$output"
    printf '%s\n' "stock -v create -p -q $tmp/web.cfg memory=65" \
        "$attach" "stock unpause web" | diff - "$tmp/calls"
}

@test "paused stays paused, and -n only asks stock xl" {
    config "$two"
    run -0 xl create -p "$tmp/web.cfg"
    [ "$(tail -n 1 "$tmp/calls")" = "$attach" ]
    rm "$tmp/calls"
    run -0 xl create -n "$tmp/web.cfg"
    [ "$(cat "$tmp/calls")" = "stock create -n $tmp/web.cfg" ]
    rm "$tmp/calls"
    run -0 xl -N create "$tmp/web.cfg"
    [ "$(cat "$tmp/calls")" = "stock -N create $tmp/web.cfg" ]
}

@test "64 devices: one call, which takes one lock, and a line for each" {
    local i list=
    for i in {0..63}; do list+="'1:0:0:$i,0:0:0:$i', "; done
    config "vscsi=[$list]"
    run -0 xl create "$tmp/web.cfg"
    [ "$(grep -c . "$tmp/calls")" = 3 ]
    [ "$(grep -c '^vscsidev_add' "$tmp/calls")" = 1 ]
    [ "$(grep -o '0:0:0:[0-9]*=1:0:0:[0-9]*' "$tmp/calls" | wc -l)" = 64 ]
    [ "${#lines[@]}" = 64 ]
    [ "${lines[63]}" = 'Attached 1:0:0:63 as 0:0:0:63 (auto)' ]
}

@test "a watcher stays with the guest" {
    teller exec/xl-scsi-watch
    config "$two"
    run -0 xl create "$tmp/web.cfg"
    timeout 60 sh -c "until grep -q 'xl-scsi-watch $uuid' '$tmp/calls'; do sleep 0.1; done"
}

@test "a failed attachment ends the guest, and xl with 1" {
    config "$two"
    echo sdb > "$tmp/fail"
    run -1 xl create "$tmp/web.cfg"
    [ "${lines[1]}" = "xl create: the guest is destroyed again, because it must not run without them" ]
    printf '%s\n' "stock create -p $tmp/web.cfg" "$attach" \
        "stock destroy web" | diff - "$tmp/calls"
}

@test "nothing goes on when stock xl refuses" {
    config "$two"
    echo create > "$tmp/fail"
    run -3 xl create "$tmp/web.cfg"
    [ "$(cat "$tmp/calls")" = "stock create -p $tmp/web.cfg" ]
}

@test "the word alone, or an empty list, changes nothing" {
    for line in '# vscsi' 'vscsi=[]'; do
        config "$line"
        rm -f "$tmp/calls"
        run -0 xl create "$tmp/web.cfg"
        [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    done
}

@test "an error is one line, before anything is made" {
    while IFS='|' read -r line wanted; do
        config "$line"
        run -1 xl create "$tmp/web.cfg"
        echo "$line: $output"
        [[ $output == "xl create: vscsi: "*"$wanted"* ]]
        [ "${#lines[@]}" = 1 ]
        [ ! -e "$tmp/calls" ]
    done <<'X'
vscsi="/dev/st0,0:0:0:0"|must be a list
vscsi=["/dev/st0"]|element 1: "/dev/st0": must be PDEV,VDEV
vscsi=["a,0:0:0:0", ""]|element 2: ""
vscsi=["a,0:0:0:0,feature-host"]|must be PDEV,VDEV
vscsi=["a,0:0:0:0,3"]|the backend must be in Domain-0
vscsi=["a,0:0:0:0,backend=tape"]|element 1: "a,0:0:0:0,backend=tape"
X
    config "$two"
    run -1 xl create -F "$tmp/web.cfg"
    [[ $output == *"not with -F or -c"* ]]
    config "$two"$'\nname="7"'
    run -1 xl create "$tmp/web.cfg"
    [[ $output == *'taken for a domid'* ]]
    [ ! -e "$tmp/calls" ]
}

# record [ENTRY]: the guest web runs, and that is recorded of its devices
record() {
    local dir=$tmp/state/$uuid
    mkdir -p "$dir"
    printf '{"version": 1, "guest": {"name": "web", "uuid": "%s", "domid": 7}}' \
        $uuid > "$dir/guest.json"
    printf '{"version": 1, "entries": [%s]}' "$1" > "$dir/scsi.json"
    chmod -R go-w "$tmp/state"
}

# ---- ordinary disks ------------------------------------------------------------

@test "a disk that is another guest's SCSI device is not given to two" {
    truncate -s 1M "$tmp/img"
    printf -v identity 'file %d:%d:%d' \
        $((0x$(stat -c %D "$tmp/img") >> 8 & 0xfff)) \
        $((0x$(stat -c %D "$tmp/img") & 0xff)) "$(stat -c %i "$tmp/img")"
    record '{"dev": {"vdev": "0:0:1:0", "pdev": "/img", "readonly": true},
        "status": "attached", "identity": "'"$identity"'"}'
    config "disk=['$tmp/img,raw,xvda,w']"
    sed -i 's/"web"/"other"/' "$tmp/web.cfg"
    run -1 xl create "$tmp/web.cfg"
    echo "$output"
    [[ $output == 'xl create: xvda: guest "web" has "'"$tmp/img"'" as its SCSI device 0:0:1:0, '* ]]
    [ "${#lines[@]}" = 1 ]
    [ ! -e "$tmp/calls" ]
    # two that only read, and another file
    config "disk=['$tmp/img,raw,xvda,r', '$tmp/none,raw,xvdb,w']"
    run -0 xl create "$tmp/web.cfg"
    [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    rm "$tmp/calls"
    sed -i 's/true/false/' "$tmp/state/$uuid/scsi.json"
    run -1 xl create "$tmp/web.cfg"
    [ ! -e "$tmp/calls" ]
}

# ---- a guest that leaves ------------------------------------------------------

entry='{"dev": {"vdev": "0:0:1:0", "pdev": "sdb"}, "status": "attached",
    "identity": "hctl 1:0:0:0"}'

@test "a guest with SCSI devices is not saved or migrated" {
    record "$entry"
    for command in 'save web /s' 'save -c 7 /s' 'migrate --live web host' \
        'migrate -s ssh web host'; do
        # shellcheck disable=SC2086 # words
        run -1 xl $command
        echo "$output"
        [[ $output == "xl ${command%% *}: \"web\" has SCSI devices, which cannot go with it: 0:0:1:0; with --detach "* ]]
        [ ! -e "$tmp/calls" ]
    done
}

@test "another guest is, and one that nobody knows" {
    record ''
    for command in 'save web /s' 'save -c nobody /s' 'migrate web host'; do
        rm -f "$tmp/calls"
        # shellcheck disable=SC2086 # words
        run -0 xl $command
        [ "$(cat "$tmp/calls")" = "stock $command" ]
        # there is nothing to detach
        # shellcheck disable=SC2086 # words
        run -0 xl ${command/ / --detach }
        [ "$(tail -n 1 "$tmp/calls")" = "stock $command" ]
    done
    # not ours: stock xl says what it thinks of it
    run -0 xl create --detach "$tmp/web.cfg"
    [ "$(tail -n 1 "$tmp/calls")" = "stock create --detach $tmp/web.cfg" ]
}

aside='{"dev": {"vdev": "0:0:1:0", "pdev": "sdb", "backstore": "iblock", "shared": true}, "status": "aside", "identity": "IDENTITY", "path": "/img"}'

@test "a device that another host does not know cannot go there" {
    record "${aside/IDENTITY/hctl 1:0:0:0}"
    sed -i 's/"aside"/"attached"/' "$tmp/state/$uuid/scsi.json"
    run -1 xl migrate --detach web host
    echo "$output"
    [[ $output == *"device 0:0:1:0 has no name that another host"* ]]
    run -1 xl migrate --detach -s '' web host
    [[ $output == *"empty -s"* ]]
    [ ! -e "$tmp/calls" ]
}

@test "migrated, they are attached on the other host, by identity" {
    teller path/ssh; teller exec/xl-scsi-repair
    local file=${aside/IDENTITY/file 1:2}
    record "${aside/IDENTITY/wwid naa.5}, ${file/0:0:1:0/1:0:0:2}"
    base+=(FAKE_GONE="$tmp/gone")
    # it failed, and the guest is here: they are attached again here
    echo migrate > "$tmp/fail"
    run -3 xl migrate --live --detach web host
    printf '%s\n' "stock migrate --live web host" "xl-scsi-repair $uuid" |
        diff - "$tmp/calls"
    rm "$tmp/calls" "$tmp/fail"
    # the guest has gone, but one of them is not there
    touch "$tmp/gone"
    cat > "$tmp/stock" <<X
#!/bin/sh
echo "stock \$*" >> "$tmp/calls"
touch "$tmp/gone"
X
    rm "$tmp/gone"
    echo /img > "$tmp/fail"
    run -3 xl migrate --detach -s 'ssh -p 22' web host
    echo "$output"
    [ "$output" = "xl migrate: \"web\" runs on host without its SCSI device 1:0:0:2: there, xl scsi-attach --backend=iblock --shared -- web /img 1:0:0:2" ]
    printf '%s\n' "stock migrate -s ssh -p 22 web host" \
        "ssh -p 22 host xl scsi-attach --backend=iblock --shared -- web naa.5 0:0:1:0" \
        "ssh -p 22 host xl scsi-attach --backend=iblock --shared -- web /img 1:0:0:2" |
        diff - "$tmp/calls"
    # what is there is no longer here
    [ "$(jq -r '.entries[].dev.vdev' "$tmp/state/$uuid/scsi.json")" = 1:0:0:2 ]
}

@test "a save file whose guest has devices aside is restored paused" {
    teller exec/xl-scsi-repair
    record "${aside/IDENTITY/wwid naa.5}"
    printf 'name="web"\nuuid="%s"\ntype="pv"\nkernel="/k"\nmemory=64\n' \
        $uuid > "$tmp/web.cfg"
    base+=(FAKE_GONE=/)
    run -0 xl restore "$tmp/web.cfg" /save
    printf '%s\n' "stock restore -p $tmp/web.cfg /save" \
        "xl-scsi-repair web" "stock unpause web" "xl-scsi-repair web" |
        diff - "$tmp/calls"
    rm "$tmp/calls"
    run -0 xl restore -p "$tmp/web.cfg" /save
    printf '%s\n' "stock restore -p -p $tmp/web.cfg /save" \
        "xl-scsi-repair web" | diff - "$tmp/calls"
    rm "$tmp/calls"
    echo web > "$tmp/fail"
    sed -i '/stock/d' "$tmp/fail"
    run xl restore "$tmp/web.cfg" /save
    [ "$status" = 3 ]
    [[ $output == *"destroyed again"* ]]
    run -1 xl restore -c "$tmp/web.cfg" /save
    [[ $output == *"not with -F or -c"* ]]
}

@test "records that cannot be read: not saved, and why" {
    record "$entry"
    echo '{' > "$tmp/state/$uuid/scsi.json"
    run -1 xl save web /s
    [[ ${lines[0]} == "xl save: "*scsi.json* ]]
    [[ ${lines[1]} == *"nobody knows whether it has SCSI devices"* ]]
}
