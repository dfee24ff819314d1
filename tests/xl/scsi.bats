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

# ---- a guest that starts with what is recorded of it ---------------------------

recorded='{"dev": {"vdev": "0:0:1:0", "pdev": "sdb"}, "status": "attached",
    "identity": "wwid naa.5"}'

aside='{"dev": {"vdev": "0:0:1:0", "pdev": "sdb", "backstore": "iblock", "shared": true}, "status": "aside", "identity": "IDENTITY", "path": "/img"}'

# started_again: the guest does not run, and does when stock xl has made it
started_again() {
    teller exec/xl-scsi-repair
    base+=(FAKE_GONE="$tmp/gone")
    cat > "$tmp/stock" <<X
#!/bin/sh
echo "stock \$*" >> "$tmp/calls"
rm -f "$tmp/gone"
X
}

# again ARGS...: xl, after the guest has ended, or the host was rebooted
again() {
    rm -f "$tmp/calls"
    touch "$tmp/gone"
    run xl "$@"
    echo "$output"
    cat "$tmp/calls"
}

@test "what is recorded is attached again, before the guest runs" {
    started_again
    record "$recorded"
    config "uuid=\"$uuid\""
    again create -q "$tmp/web.cfg"
    [ "$status" = 0 ]
    printf '%s\n' "stock create -p -q $tmp/web.cfg" "xl-scsi-repair web" \
        "stock unpause web" | diff - "$tmp/calls"
    # a guest that had to run without one does so now
    echo web > "$tmp/fail"
    again create "$tmp/web.cfg"
    [ "$status" = 0 ]
    [[ $output == *'"web" starts without the SCSI devices that could not be attached; xl scsi-watch tries again'* ]]
    [ "$(tail -n 1 "$tmp/calls")" = "stock unpause web" ]
    rm "$tmp/fail"
    # restored from an old save file
    again restore "$tmp/web.cfg" /save
    printf '%s\n' "stock restore -p $tmp/web.cfg /save" "xl-scsi-repair web" \
        "stock unpause web" "xl-scsi-repair web" | diff - "$tmp/calls"
    # nothing is attached or forgotten when stock xl only shows something
    again create -n "$tmp/web.cfg"
    [ "$(cat "$tmp/calls")" = "stock create -n $tmp/web.cfg" ]
    # it runs already: stock xl complains
    rm -f "$tmp/calls" "$tmp/gone"
    run -0 xl create "$tmp/web.cfg"
    [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    [ "$(jq '.entries | length' "$tmp/state/$uuid/scsi.json")" = 1 ]
}

@test "its watcher does not take it for ended while it is made" {
    started_again
    record "$recorded"
    config "uuid=\"$uuid\""
    cat > "$tmp/stock" <<X
#!/bin/sh
flock -n "$tmp/run/guest-$uuid.lock" true || echo "\$1 locked" >> "$tmp/calls"
rm -f "$tmp/gone"
X
    again create "$tmp/web.cfg"
    printf '%s\n' "create locked" "xl-scsi-repair web" | diff - "$tmp/calls"
}

@test "--no-devices: nothing is attached, and nothing stays reserved" {
    started_again
    record "$recorded"
    config "uuid=\"$uuid\""
    again create --no-devices -q "$tmp/web.cfg"
    [ "$status" = 0 ]
    [ "$(cat "$tmp/calls")" = "stock create -q $tmp/web.cfg" ]
    [ ! -e "$tmp/state/$uuid" ]
    # without records stock xl does not meet the word either
    again create --no-devices "$tmp/web.cfg"
    [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    again restore --no-devices "$tmp/web.cfg" /save
    [ "$(cat "$tmp/calls")" = "stock restore $tmp/web.cfg /save" ]
    record "$aside"
    again restore --no-devices "$tmp/web.cfg" /save
    [ "$(cat "$tmp/calls")" = "stock restore $tmp/web.cfg /save" ]
    [ ! -e "$tmp/state/$uuid" ]
}

@test "the config decides about its own devices, and about a place" {
    started_again
    # an element that was taken out of the config
    record "${recorded/\"sdb\"/\"sdb\", \"configured\": true}"
    config "uuid=\"$uuid\""
    again create "$tmp/web.cfg"
    [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    [ ! -e "$tmp/state/$uuid" ]
    # another device in its place, and the same one in another place
    for element in sdc,00:0:1:0 sdb,0:0:2:0; do
        record "$recorded"
        config "uuid=\"$uuid\""$'\n'"vscsi=['$element']"
        again create "$tmp/web.cfg"
        [ "$status" = 0 ]
        [ "$(wc -l < "$tmp/calls")" = 3 ]
        [[ "$(sed -n 2p "$tmp/calls")" == "vscsidev_add web no-wait "* ]]
        [ ! -e "$tmp/state/$uuid" ]
    done
    # the others come after those of the config
    record "$recorded"
    config "uuid=\"$uuid\""$'\n'"vscsi=['sdc,0:0:2:0']"
    again create "$tmp/web.cfg"
    printf '%s\n' "stock create -p $tmp/web.cfg" \
        "vscsidev_add web no-wait 0:0:2:0=sdc,auto" "xl-scsi-repair web" \
        "stock unpause web" | diff - "$tmp/calls"
}

@test "where a guest cannot be made paused, its watcher waits for it" {
    started_again
    teller exec/xl-scsi-watch
    record "$recorded"
    config "uuid=\"$uuid\""
    again create -c "$tmp/web.cfg"
    [ "$status" = 0 ]
    timeout 60 sh -c "until grep -q 'xl-scsi-watch $uuid' '$tmp/calls'; do sleep 0.1; done"
    grep -qx "stock create -c $tmp/web.cfg" "$tmp/calls"
    ! grep -q unpause "$tmp/calls"
}

@test "a guest without a uuid is known by a disk, and not by its name" {
    started_again
    truncate -s 1M "$tmp/img"
    record "$recorded"
    sed -i "s|\"domid\": 7}|&, \"disks\": [\"$tmp/img\"]|" \
        "$tmp/state/$uuid/guest.json"
    config "disk=['$tmp/img,raw,xvda,w']"
    again create "$tmp/web.cfg"
    printf '%s\n' "stock create -p $tmp/web.cfg uuid=\"$uuid\"" \
        "xl-scsi-repair web" "stock unpause web" | diff - "$tmp/calls"
    truncate -s 1M "$tmp/other"
    config "disk=['$tmp/other,raw,xvda,w']"
    again create "$tmp/web.cfg"
    [ "$status" = 0 ]
    [[ $output == *'SCSI devices are recorded of a guest "web" with the UUID '"$uuid, which may be another one"* ]]
    [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    [ -e "$tmp/state/$uuid/scsi.json" ]
}

# ---- watchers --------------------------------------------------------------------

@test "a watcher is a unit where systemd runs, and a process where it fails" {
    teller exec/xl-scsi-watch; teller systemctl
    config "$two"
    base+=(LIBXLX_SYSTEMCTL="$tmp/systemctl")
    run -0 xl create "$tmp/web.cfg"
    echo "$output"
    grep -qx "systemctl start --no-block xl-scsi-watch@$uuid.service" "$tmp/calls"
    run ! grep -q '^xl-scsi-watch' "$tmp/calls"
    echo start > "$tmp/fail"
    run -0 xl create "$tmp/web.cfg"
    echo "$output"
    [[ $output == *"systemd does not start xl-scsi-watch@$uuid.service: xl scsi-watch is a process of this session instead"* ]]
    timeout 60 sh -c "until grep -q '^xl-scsi-watch $uuid' '$tmp/calls'; do sleep 0.1; done"
}

# list_devices [ARGS...]: xl scsi-list
list_devices() {
    local path=$top_builddir/xl-plugins/.libs/xl-scsi
    [ -x "$path" ] || path=$top_builddir/xl-plugins/xl-scsi
    ln -sf "$path" "$tmp/exec/xl-scsi-list"
    run -0 xl scsi-list "$@"
    echo "$output"
}

@test "a list shows whether the watcher runs, and what it cannot do" {
    record "$recorded"
    list_devices
    [[ ${lines[0]} == *Watcher ]] && [[ ${lines[1]} == *missing ]]
    [[ $output == *"web: no xl scsi-watch runs, so that its devices are not attached when it is started again: xl scsi-repair web starts one"* ]]
    list_devices --json
    [ "$(jq -r '.[].watcher.status' <<< "$output")" = missing ]
    # one that runs
    local lock=$tmp/run/scsi-watch-$uuid.lock
    mkdir -p "$tmp/run"
    printf '1 1 0 0 0\n\n' > "$lock"
    exec 9<> "$lock"
    flock 9
    list_devices
    [[ ${lines[1]} == *runs ]]
    [ "${#lines[@]}" = 3 ]
    # one that fails
    printf '1 1 1700000000 1700000001 2\npdev sdb: it is gone\n' > "$lock"
    list_devices
    [[ ${lines[1]} == *failing ]]
    [[ $output == *"web: its watcher fails since 2023-11-1"*": pdev sdb: it is gone"* ]]
    list_devices --json
    [ "$(jq -c '.[].watcher | [.status, .failures, .last, .problem]' <<< "$output")" = \
        '["failing",2,1700000001,"pdev sdb: it is gone"]' ]
    # one that died of it
    flock -u 9
    list_devices
    [[ $output == *"starts one (the last one said: pdev sdb: it is gone)"* ]]
    # a guest that does not run needs none
    touch "$tmp/gone"
    base+=(FAKE_GONE="$tmp/gone")
    list_devices
    [[ ${lines[1]} == *- ]]
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
