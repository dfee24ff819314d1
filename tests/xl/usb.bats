#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of bats and of the rig
# usbdev= in a config: what stock xl gets of it, and in which order stock xl is
# run and the library called.  Here stock xl is a program of these tests, and
# fake-libxl.c answers for the library's calls; the real ones do it in
# tests/xen-host.

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

stick="selector=0951:1666,policy=requisite,controller=0,port=2,once"
stock="type=hostdev, hostbus=1,hostaddr=010"

@test "our elements are attached between making and running; stock xl gets its own" {
    config "usbdev=['$stock', '$stick', 'selector=1-2']"
    run -0 xl create -q "$tmp/web.cfg"
    echo "$output"
    printf '%s\n' \
        "stock create -p -q $tmp/web.cfg usbctrl=[\"type=qusb\"] usbdev=[\"$stock\"]" \
        "usb_attach web no-wait 0951:1666 ctrl=0 port=2 type=auto version=0 once" \
        "usb_attach web no-wait 1-2 ctrl=-1 port=0 type=auto version=0" "stock unpause web" |
        diff - "$tmp/calls"
}

@test "every option reaches the library" {
    config "usbdev=['selector=1-2,policy=optional,port=3,type=qusb,version=2,reset,force']"
    run -0 xl create "$tmp/web.cfg"
    [ "${lines[0]}" = 'Attached 1-2, port 0/0' ]
    [ "$(sed -n 2p "$tmp/calls")" = "usb_attach web no-wait 1-2 ctrl=-1 port=3 type=qusb version=2 optional reset force" ]
}

@test "an element can be a tree: a hub, a socket or a controller" {
    config "usbdev=['tree,selector=pci-0000:00:14.0', 'selector=1-2,tree,force,controller=1,reset,type=qusb']"
    run -0 xl create "$tmp/web.cfg"
    echo "$output"
    [ "${lines[0]}" = 'Attached USB tree pci-0000:00:14.0' ]
    printf '%s\n' "stock create -p $tmp/web.cfg usbdev=[]" \
        "usb_tree_attach web no-wait pci-0000:00:14.0 ctrl=-1 type=auto" \
        "usb_tree_attach web no-wait 1-2 ctrl=1 type=qusb reset force" \
        "stock unpause web" | diff - "$tmp/calls"
}

@test "any number of elements: no process for any of them, one watcher" {
    local i list=
    teller exec/xl-usb-watch
    for i in {1..40}; do list+="'selector=1-$i', "; done
    config "usbdev=[$list]"
    run -0 xl create "$tmp/web.cfg"
    [ "$(grep -c '^usb_attach' "$tmp/calls")" = 40 ]
    timeout 60 sh -c "until grep -q 'xl-usb-watch $uuid' '$tmp/calls'; do sleep 0.1; done"
    [ "$(grep -vc '^usb_attach' "$tmp/calls")" = 3 ]
}

@test "a selector with commas comes last" {
    config "usbdev=['once,port=2,controller=0,selector=0951:1666:A,B,once', '$stock']"
    run -0 xl create "$tmp/web.cfg"
    echo "$output"
    printf '%s\n' "stock create -p $tmp/web.cfg usbctrl=[\"type=qusb\"] usbdev=[\"$stock\"]" \
        "usb_attach web no-wait 0951:1666:A,B,once ctrl=0 port=2 type=auto version=0 once" \
        "stock unpause web" | diff - "$tmp/calls"
}

@test "a list of stock xl's is handed over as it is" {
    for line in 'usbdev=[]' "usbdev='$stock'" '# usbdev' 'usbctrl=[]' \
        "usbctrl=['type=qusb']"$'\n'"usbdev=['$stock']" \
        "usbctrl=['ports=4,type=pv', 'type=devicemodel']" "usbctrl=[['x']]" \
        "type='hvm'"$'\n'"usbdev=['$stock']" \
        "type='hvm'"$'\n'"usbctrl=['version=3']"; do
        config "$line"
        rm -f "$tmp/calls"
        run -0 xl create "$tmp/web.cfg"
        [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    done
}

# A controller of the default type is of this type also for libxl, but then it
# starts no QEMU.
@test "a paravirtual guest's controllers are said to be of the type they get" {
    while IFS='|' read -r line wanted; do
        config "${line//;/$'\n'}"
        rm -f "$tmp/calls"
        run -0 xl create "$tmp/web.cfg"
        echo "$line: $(cat "$tmp/calls")"
        [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg usbctrl=[$wanted]" ]
    done <<X
usbctrl=["version=2,ports=4"]|"version=2,ports=4,type=qusb"
usbctrl=["type=pv,type=auto"]|"type=pv,type=auto,type=qusb"
usbctrl=["", " type=qusb", "ports=3"]|"type=qusb", " type=qusb", "ports=3,type=qusb"
usbdev=["$stock"]|"type=qusb"
usbdev=["$stock"];usbctrl=[]|"type=qusb"
usbdev=["$stock"];type="pvh"|"type=qusb"
X
}

@test "with SCSI devices: both kinds are attached" {
    config "usbdev=['selector=1-2']"$'\nvscsi=["sdb,0:0:0:0"]'
    run -0 xl create -p "$tmp/web.cfg"
    printf '%s\n' "stock create -p -p $tmp/web.cfg usbdev=[]" \
        "vscsidev_add web no-wait 0:0:0:0=sdb,auto" \
        "usb_attach web no-wait 1-2 ctrl=-1 port=0 type=auto version=0" | diff <(sed 's/-p -p/-p -p/' "$tmp/calls") -
}

@test "a failed attachment ends the guest, and xl with 1" {
    config "usbdev=['selector=1-2', 'selector=1-3']"
    echo 1-2 > "$tmp/fail"
    run -1 xl create "$tmp/web.cfg"
    printf '%s\n' "stock create -p $tmp/web.cfg usbdev=[]" \
        "usb_attach web no-wait 1-2 ctrl=-1 port=0 type=auto version=0" "stock destroy web" |
        diff - "$tmp/calls"
}

@test "an error is one line, before anything is made" {
    while IFS='|' read -r line wanted; do
        config "$line"
        run -1 xl create "$tmp/web.cfg"
        echo "$line: $output"
        [[ $output == "xl create: usbdev: "*"$wanted"* ]]
        [ "${#lines[@]}" = 1 ]
        [ ! -e "$tmp/calls" ]
    done <<'X'
usbdev=["selector="]|element 1: "selector=": must be selector=SELECTOR
usbdev=["selector=1-2", "selector=1-3,maybe"]|element 2
usbdev=["once,maybe,selector=1-2"]|element 1: "once,maybe,selector=1-2"
usbdev=["once,selector="]|element 1: "once,selector="
usbdev=["selector=1-2,policy=never"]|policy=mandatory|requisite|optional
usbdev=["selector=1-2,once,policy=optional"]|element 1
usbdev=["selector=1-2,port=x"]|element 1: "selector=1-2,port=x"
usbdev=["selector=1-2,controller=4294967296"]|element 1
usbdev=["selector=1-2,type=tape"]|element 1
usbdev=["selector=1-2,once=1"]|element 1
usbdev=["selector=1-2,port"]|element 1
usbdev=["selector=1-2,tree=1"]|element 1
usbdev=["tree,once,selector=1-2"]|tree (not with policy=optional, port or once)
usbdev=["tree,port=2,selector=1-2"]|element 1
usbdev=["tree,policy=optional,selector=1-2"]|element 1
X
    config "usbdev=['selector=1-2']"
    run -1 xl create -F "$tmp/web.cfg"
    [[ $output == "xl create: usbdev: not with -F or -c"* ]]
    [ ! -e "$tmp/calls" ]
}

# ---- a guest that leaves ------------------------------------------------------

# record [ENTRY]: the guest web runs, and that is recorded of its devices
record() {
    local dir=$tmp/state/$uuid
    mkdir -p "$dir"
    printf '{"version": 1, "guest": {"name": "web", "uuid": "%s", "domid": 7}}' \
        $uuid > "$dir/guest.json"
    printf '{"version": 1, "entries": [%s]}' "$1" > "$dir/usb.json"
    chmod -R go-w "$tmp/state"
}

entry='{"selector": "1-2", "status": "missing", "ctrl": 0, "port": 2, "path": "1-2"}'

@test "a guest with USB devices is not saved or migrated" {
    record "$entry"
    for command in 'save web /s' 'migrate --live web host'; do
        # shellcheck disable=SC2086 # words
        run -1 xl $command
        echo "$output"
        [[ $output == *"\"web\" has USB devices, which cannot go with it: 0/2; with --detach "* ]]
        [ ! -e "$tmp/calls" ]
    done
}

@test "another guest is" {
    record ''
    for option in '' ' --detach'; do
        rm -f "$tmp/calls"
        # shellcheck disable=SC2086 # words
        run -0 xl save$option web /s
        echo "$output"
        [ "$(cat "$tmp/calls")" = "stock save web /s" ]
    done
}

aside='{"selector": "0951:1666:A,B", "status": "aside", "ctrl": 0, "port": 2, "type": "qusb", "path": "1-2"}'

@test "a device that another host does not know cannot go there" {
    record "$entry"
    run -1 xl migrate --detach web host
    echo "$output"
    [[ $output == *"0/2 has no name that another host"* ]]
    run -1 xl migrate --detach -s '' web host
    [[ $output == *"empty -s"* ]]
    [ ! -e "$tmp/calls" ]
}

# entries_left: their ports
entries_left() { jq -r '.entries[].port' "$tmp/state/$uuid/usb.json"; }

# record_tree [MEMBERS [ENTRY]]: the guest web runs, with a tree
record_tree() {
    record "${2:-}], \"trees\": [{\"selector\": \"pci-0000:00:14.0\"${1:+, $1}}"
}
in_tree='{"selector": "1-2", "once": true, "tree": "pci-0000:00:14.0", "port": 2, "path": "1-2"}'

@test "a tree stands for its devices, and stays on this host" {
    for entry in '' "$in_tree"; do
        record_tree '' "$entry"
        run -1 xl save web /s
        echo "$output"
        [[ $output == *"has USB devices, which cannot go with it: tree pci-0000:00:14.0; with"* ]]
        run -1 xl migrate --detach web host
        [[ $output == *"tree pci-0000:00:14.0 has no name that another host"* ]]
        [ ! -e "$tmp/calls" ]
    done
}

@test "a guest that is made again, or restored, has its tree again" {
    base+=(FAKE_GONE="$tmp/gone")
    teller exec/xl-usb-repair
    local key="uuid='$uuid'"
    made_again "], \"trees\": [{\"selector\": \"pci-0000:00:14.0\"}" "$key"
    printf '%s\n' "stock create -p $tmp/web.cfg" "xl-usb-repair web" \
        "stock unpause web" | diff - "$tmp/calls"
    made_again "$in_tree], \"trees\": [{\"selector\": \"pci-0000:00:14.0\"}" \
        "$key" --no-devices
    [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    [ ! -e "$tmp/state/$uuid/usb.json" ]
    # the config decides about those that came from it
    made_again "], \"trees\": [{\"selector\": \"pci-0000:00:14.0\", \"configured\": true}" "$key"
    [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    [ ! -e "$tmp/state/$uuid/usb.json" ]
    record_tree '"aside": true'
    touch "$tmp/gone"
    rm "$tmp/calls"
    run -0 xl restore "$tmp/web.cfg" /save
    echo "$output"
    printf '%s\n' "stock restore $tmp/web.cfg /save" "xl-usb-repair web" |
        diff - "$tmp/calls"
}

# ours COMMAND...: of the build tree
ours() {
    local command program=$top_builddir/xl-plugins/.libs/xl-usb
    [ -x "$program" ] || program=$top_builddir/xl-plugins/xl-usb
    for command; do
        ln -s "$program" "$tmp/exec/xl-$command"
        printf '%s\tusb\tx\n' "$command" >> "$tmp/exec/gen-commands.list"
    done
}

# stick BUS-PORT BUS ADDRESS: 0951:1666 in a sysfs of this test
stick() {
    local dir=$tmp/sys/bus/usb/devices/$1
    mkdir -p "$dir"
    echo "$2" > "$dir/busnum"; echo "$3" > "$dir/devnum"
    echo 0951 > "$dir/idVendor"; echo 1666 > "$dir/idProduct"
}

@test "usb-show has a line for a tree, and what the guest does not get" {
    ours usb-show usb-detach usb-attach
    stick 1-3 1 5
    stick 1-2 1 6
    base+=(LIBXLX_SYSFS_DIR="$tmp/sys" FAKE_GONE=/ LIBXLX_BOOT_ID=x)
    note='"path": "1-3", "bus": 1, "vendor": 2385, "product": 5734, "why": "no port"'
    record "$in_tree], \"trees\": [{\"selector\": \"pci-0000:00:14.0\", \"boot\": \"x\", \"left\": [{$note, \"address\": 5}, {${note/1-3/1-2}, \"address\": 4}]}"
    run -0 xl usb-show web
    echo "$output"
    [[ ${lines[1]} == "web    -    tree   - "*" pci-0000:00:14.0 "* ]]
    [[ ${lines[2]} == "web    0    auto 0 2/15 "*" tree pci-0000:00:14.0 "* ]]
    [[ $output == *"web tree pci-0000:00:14.0: 1-3 (0951:1666) is left out: no port"* ]]
    [[ $output != *"1-2 (0951:1666) is left out"* ]]
    run -0 xl usb-show --json web
    [ "$(jq -r '.[].trees[] | "\(.selector) \(.left | length)"' <<< "$output")" = 'pci-0000:00:14.0 1' ]
    [ "$(jq -r '.[].ctrls[].ports[].tree' <<< "$output")" = pci-0000:00:14.0 ]
    run -1 xl usb-detach web pci-0000:00:14.0-usb-0:9
    echo "$output"
    [[ $output == *'the guest has no such USB device' ]]
    run -1 xl usb-detach --tree web usb9
    echo "$output"
    run -0 xl usb-detach -N --tree web pci-0000:00:14.0
    [ "${lines[0]}" = 'Would detach USB tree pci-0000:00:14.0' ]
    [[ ${lines[1]} == 'Would detach 1-2, port 0/2'* ]]
    [ "${#lines[@]}" = 2 ]
    run -0 xl usb-detach --tree web pci-0000:00:14.0
    [ "${lines[0]}" = 'Detached USB tree pci-0000:00:14.0' ]
    [ ! -e "$tmp/state/$uuid/usb.json" ]
    for option in --permanent --once --optional '--controller 0 --port 1'; do
        # shellcheck disable=SC2086 # words
        run -2 xl usb-attach --tree $option web usb1
        echo "$option: $output"
        [[ $output == "xl usb-attach: --tree: not together with "* ]]
    done
    run -2 xl usb-attach --once --permanent web 1-2
    [[ $output == "xl usb-attach: --once: not together with "* ]]
}

@test "migrated, they are for the other host to wait for" {
    teller path/ssh; teller exec/xl-usb-repair
    record "$aside, ${aside/'"port": 2'/'"once": true, "port": 3'}"
    base+=(FAKE_GONE="$tmp/gone")
    # it failed, and the guest is here: they are attached again here
    echo migrate > "$tmp/fail"
    run -3 xl migrate --detach web host
    printf '%s\n' "stock migrate web host" "xl-usb-repair $uuid" |
        diff - "$tmp/calls"
    rm "$tmp/calls"
    cat > "$tmp/stock" <<X
#!/bin/sh
echo "stock \$*" >> "$tmp/calls"
touch "$tmp/gone"
X
    # the guest has gone, but one of them is not there
    echo --once > "$tmp/fail"
    run -3 xl migrate --detach -s 'ssh -p 22' web host
    echo "$output"
    [ "$output" = "xl migrate: \"web\" runs on host without its USB device 0/3: there, xl usb-attach --once --type=qusb -- web 0951:1666:A,B" ]
    printf '%s\n' "stock migrate -s ssh -p 22 web host" \
        "ssh -p 22 host xl usb-attach --optional --type=qusb -- web 0951:1666:A,B" \
        "ssh -p 22 host xl usb-attach --once --type=qusb -- web 0951:1666:A,B" |
        diff - "$tmp/calls"
    # what is there is no longer here
    [ "$(entries_left)" = 3 ]
}

@test "what stock xl leaves running does not keep the guest locked" {
    local option
    for option in '' ' --detach'; do
        rm -rf "$tmp/state/$uuid"
        [ -z "$option" ] || { teller exec/xl-usb-repair; record "$aside"; }
        cat > "$tmp/stock" <<X
#!/bin/sh
flock -n "$tmp/run/guest-$uuid.lock" true && touch "$tmp/not-locked"
sleep 60 > /dev/null 2>&1 3>&- &
echo \$! > "$tmp/left"
X
        # shellcheck disable=SC2086 # words
        run -0 xl save -c$option web /s
        echo "$output"
        [ ! -e "$tmp/not-locked" ]
        flock -n "$tmp/run/guest-$uuid.lock" true
        kill "$(cat "$tmp/left")"
    done
}

# vscsi_too: the guest also has a SCSI device, which is aside already
vscsi_too() {
    echo '{"version": 1, "entries": [{"dev": {"vdev": "0:0:1:0", "pdev": "sdb"},
        "status": "aside", "identity": "wwid naa.5"}]}' \
        > "$tmp/state/$uuid/scsi.json"
}

@test "with SCSI devices: all of them, or none" {
    teller exec/xl-usb-repair; teller exec/xl-scsi-repair
    record "$aside"
    vscsi_too
    run -0 xl save -c --detach web /s
    echo "$output"
    printf '%s\n' "stock save -c web /s" "xl-scsi-repair $uuid" \
        "xl-usb-repair $uuid" | diff - "$tmp/calls"
    # those of one kind must stay: those of the other are left alone
    rm "$tmp/calls"
    record "$entry"
    run -1 xl migrate --detach web host
    echo "$output"
    [ ! -e "$tmp/calls" ]
    # without --detach both kinds are named
    record "${aside/\"aside\"/\"attached\"}"
    sed -i 's/"aside"/"attached"/' "$tmp/state/$uuid/scsi.json"
    run -1 xl save web /s
    echo "$output"
    [[ ${lines[0]} == *'"web" has SCSI devices, which cannot go'* ]]
    [[ ${lines[1]} == *'"web" has USB devices, which cannot go'* ]]
}

@test "a save file whose guest has devices aside: they come when it runs" {
    teller exec/xl-usb-repair; teller exec/xl-scsi-repair
    record "$aside"
    printf 'name="web"\nuuid="%s"\ntype="pv"\nkernel="/k"\nmemory=64\n' \
        $uuid > "$tmp/web.cfg"
    base+=(FAKE_GONE=/)
    run -0 xl restore "$tmp/web.cfg" /save
    echo "$output"
    printf '%s\n' "stock restore $tmp/web.cfg /save" "xl-usb-repair web" |
        diff - "$tmp/calls"
    rm "$tmp/calls"
    run -0 xl restore -p "$tmp/web.cfg" /save
    [ "$output" = 'xl restore: when "web" runs, xl usb-repair gives it its USB devices' ]
    [ "$(cat "$tmp/calls")" = "stock restore -p $tmp/web.cfg /save" ]
    rm "$tmp/calls"
    vscsi_too
    run -0 xl restore "$tmp/web.cfg" /save
    printf '%s\n' "stock restore -p $tmp/web.cfg /save" "xl-scsi-repair web" \
        "stock unpause web" "xl-scsi-repair web" "xl-usb-repair web" |
        diff - "$tmp/calls"
}

# made_again CONFIG ARGS...: xl create of a guest that ended, with that recorded
made_again() {
    record "$1"
    touch "$tmp/gone"
    rm -f "$tmp/calls"
    printf '#!/bin/sh\necho "stock $*" >> "%s"\nrm -f "%s"\n' "$tmp/calls" \
        "$tmp/gone" > "$tmp/stock"
    config "$2"
    shift 2
    run -0 xl create "$@" "$tmp/web.cfg"
    echo "$output"
    cat "$tmp/calls"
}

@test "a guest that is made again has what is recorded, unless the config decides" {
    base+=(FAKE_GONE="$tmp/gone")
    teller exec/xl-usb-repair
    local key="uuid='$uuid'"
    made_again "$entry" "$key"
    printf '%s\n' "stock create -p $tmp/web.cfg" "xl-usb-repair web" \
        "stock unpause web" | diff - "$tmp/calls"
    made_again "$entry" "$key" --no-devices
    [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    [ ! -e "$tmp/state/$uuid/usb.json" ]
    made_again "${entry/'"ctrl"'/'"configured": true, "ctrl"'}" "$key"
    [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    # by its selector, or by its port
    for element in selector=1-2 selector=1-3,controller=0,port=2; do
        made_again "$entry" "$key"$'\n'"usbdev=['$element']"
        [ "$(grep -c '^usb_attach web' "$tmp/calls")" = 1 ]
        ! grep -q repair "$tmp/calls"
        [ ! -e "$tmp/state/$uuid/usb.json" ]
    done
}
