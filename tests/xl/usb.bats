#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of bats and of the rig
# usbdev= in a config: what stock xl gets of it, and in which order stock xl and
# usb-attach are run.  Both are programs of these tests here; the real ones do
# it in tests/xen-host.

bats_require_minimum_version 1.5.0
load rig

setup() {
    rig_setup
    # Not the script of libtool's: it forgets how it was called.
    path=$top_builddir/xl-plugins/.libs/xl-guard
    [ -x "$path" ] || path=$top_builddir/xl-plugins/xl-guard
    ln -s "$path" "$tmp/exec/xl-guard"
    teller stock; teller exec/xl-usb-attach; teller exec/xl-scsi-attach
    base+=(LD_LIBRARY_PATH="$top_builddir/lib/.libs" LIBXLX_XL="$tmp/stock")
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

stick="selector=0951:1666,policy=optional,controller=0,port=2,once"
stock="type=hostdev, hostbus=1,hostaddr=010"

@test "our elements are attached between making and running; stock xl gets its own" {
    config "usbdev=['$stock', '$stick', 'selector=1-2']"
    run -0 xl create -q "$tmp/web.cfg"
    echo "$output"
    printf '%s\n' \
        "stock create -p -q $tmp/web.cfg usbdev=[\"$stock\"]" \
        "xl-usb-attach --no-wait --optional --controller=0 --port=2 --once -- web 0951:1666" \
        "xl-usb-attach --no-wait -- web 1-2" "stock unpause web" |
        diff - "$tmp/calls"
}

@test "a list of stock xl's is handed over as it is" {
    for line in "usbdev=['$stock']" 'usbdev=[]' "usbdev='$stock'" '# usbdev'; do
        config "$line"
        rm -f "$tmp/calls"
        run -0 xl create "$tmp/web.cfg"
        [ "$(cat "$tmp/calls")" = "stock create $tmp/web.cfg" ]
    done
}

@test "with SCSI devices: both kinds are attached" {
    config "usbdev=['selector=1-2']"$'\nvscsi=["sdb,0:0:0:0"]'
    run -0 xl create -p "$tmp/web.cfg"
    printf '%s\n' "stock create -p -p $tmp/web.cfg usbdev=[]" \
        "xl-scsi-attach --no-wait -- web sdb 0:0:0:0" \
        "xl-usb-attach --no-wait -- web 1-2" | diff <(sed 's/-p -p/-p -p/' "$tmp/calls") -
}

@test "what cannot be attached ends the guest, with that exit status" {
    config "usbdev=['selector=1-2', 'selector=1-3']"
    echo 1-2 > "$tmp/fail"
    run -3 xl create "$tmp/web.cfg"
    printf '%s\n' "stock create -p $tmp/web.cfg usbdev=[]" \
        "xl-usb-attach --no-wait -- web 1-2" "stock destroy web" |
        diff - "$tmp/calls"
}

@test "what is wrong is told in one line, before anything is made" {
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
usbdev=["selector=1-2,policy=never"]|policy=mandatory|requisite|optional
usbdev=["selector=1-2,once,once,once,once,once,once,once,once,once"]|element 1
X
    config "usbdev=['selector=1-2']"
    run -1 xl create -F "$tmp/web.cfg"
    [[ $output == "xl create: usbdev: not with -F or -c"* ]]
    [ ! -e "$tmp/calls" ]
}

# ---- a guest that leaves ------------------------------------------------------

uuid=77777777-7d1e-4c5a-9a43-0d5d4f5e6a02

# record [ENTRY]: the guest web runs, and that is recorded of its devices
record() {
    local dir=$tmp/state/$uuid
    mkdir -p "$dir"
    printf '{"version": 1, "guest": {"name": "web", "uuid": "%s", "domid": 7}}' \
        $uuid > "$dir/guest.json"
    printf '{"version": 1, "entries": [%s]}' "$1" > "$dir/usb.json"
    chmod -R go-w "$tmp/state"
    base+=(FAKE_RUNNING="web,$uuid" LIBXLX_RUN_DIR="$tmp/run")
}

entry='{"selector": "1-2", "status": "missing", "ctrl": 0, "port": 2, "path": "1-2"}'

@test "a guest with USB devices is not saved or migrated" {
    record "$entry"
    for command in 'save web /s' 'migrate --live web host'; do
        # shellcheck disable=SC2086 # words
        run -1 xl $command
        echo "$output"
        [[ $output == *"\"web\" has USB devices, which cannot go with it: xl usb-detach 0/2" ]]
        [ ! -e "$tmp/calls" ]
    done
}

@test "another guest is" {
    record ''
    run -0 xl save web /s
    echo "$output"
    [ "$(cat "$tmp/calls")" = "stock save web /s" ]
}
