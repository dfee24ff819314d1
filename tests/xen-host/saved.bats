#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Guests that stock xl saved, or our xl save --compact: looked at, checked, made
# compact and back, restored from each form by stock xl, and the guest goes on
# counting.
# xen-host: guests pvh
# xen-host: deadline 3600
# xen-host: run asked

bats_require_minimum_version 1.5.0
setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

# running TYPE: the guest g, of that type, which counts
running() {
    if ! guest_gone g && ! grep -q "^type = '$1'" "$(guest_config_file g)"; then
        guest_destroy g
    fi
    rm -f "$D"/*.save "$D"/*.xlc
    guest_gone g || return 0
    rm -f "$D/a.qcow2"
    disk_create "$D/a.qcow2"
    guest_create g "$1" "qcow2:$D/a.qcow2"
}

# The data of all pages, and the other records, are byte for byte the same: a
# guest that stood still has each page once and in order.
all_forms() {
    xl save-info "$D/g.save"
    xl save-verify "$D/g.save"
    xl save-compact "$D/g.save" "$D/g.xlc"
    xl save-verify "$D/g.xlc"
    xl save-compact --zstd 0 "$D/g.xlc" "$D/raw.xlc"
    xl save-expand "$D/raw.xlc" "$D/back.save"
    cmp "$D/g.save" "$D/back.save"
    ls -ls "$D"/*.save "$D"/*.xlc
    [ "$(stat -c %s "$D/g.xlc")" -lt $(($(stat -c %s "$D/g.save") / 2)) ]
    [ "$(stat -c %a "$D/g.xlc")" = 600 ]
}

goes_on() {
    guest_domid g
    guest_wait_more g
    run disk_blocks "$D/a.qcow2"
    echo "$output"
    [ "$status" = 0 ]
}

@test "pvh: each form of what stock xl saved is the same guest" {
    running pvh
    guest_wait_more g
    # a stock xl, not ours
    /usr/sbin/xl save g "$D/g.save"
    guest_gone g
    all_forms
    run xl save-info "$D/g.save"
    [[ $output != *"here: FAILS"* ]]
    rm "$D/g.save" "$D/raw.xlc"
    /usr/sbin/xl restore "$D/back.save"
    goes_on
    guest_destroy g
}

@test "pvh: stock xl says that it cannot read the compact form" {
    running pvh
    guest_wait_more g
    xl save g "$D/g.save"
    xl save-compact "$D/g.save" "$D/g.xlc"
    run /usr/sbin/xl restore "$D/g.xlc"
    echo "$output"
    [ "$status" != 0 ]
    [[ $output == *"andatory flag"* ]]
    rm "$D/g.save"
    xl restore "$D/g.xlc"
    goes_on
}

@test "pvh: xl save --compact, and with --live; restored as they are" {
    running pvh
    guest_wait_more g
    xl save --compact g "$D/one.xlc"
    guest_gone g
    xl save-info "$D/one.xlc"
    xl restore "$D/one.xlc"
    goes_on
    xl save --compact --live g "$D/two.xlc"
    guest_gone g
    xl save-verify "$D/two.xlc"
    run xl save-info --json "$D/two.xlc"
    jq '.[].saved | {size, stream, passes, hot_pages, old_pages, zero_pages}' \
        <<< "$output"
    [ "$(jq '.[].saved.passes' <<< "$output")" -ge 2 ]
    [ "$(jq '.[].saved.hot_pages' <<< "$output")" -gt 0 ]
    # once more without what the guest wrote twice, and the same
    xl save-compact "$D/two.xlc" "$D/three.xlc"
    xl save-expand "$D/two.xlc" "$D/two.save"
    xl save-expand "$D/three.xlc" "$D/three.save"
    cmp "$D/two.save" "$D/three.save"
    rm "$D"/*.save "$D/two.xlc"
    xl restore "$D/three.xlc"
    goes_on
}

@test "pvh: a save that cannot be written leaves the guest running" {
    running pvh
    guest_wait_more g
    mkdir -p "$D/small"
    mount -t tmpfs -o size=4m tmpfs "$D/small"
    run xl save --compact g "$D/small/g.xlc"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"No space left"*"was not saved, and goes on"* ]]
    [ -z "$(ls "$D/small")" ]
    umount "$D/small"
    guest_wait_more g
    echo precious > "$D/there.xlc"
    run xl save --compact g "$D/there.xlc"
    [ "$status" = 1 ]
    [ "$(cat "$D/there.xlc")" = precious ]
    guest_wait_more g
    xl save --compact -c g "$D/kept.xlc"
    guest_wait_more g
}

@test "pvh: a damaged page is not restored" {
    running pvh
    guest_wait_more g
    xl save --compact g "$D/g.xlc"
    cp "$D/g.xlc" "$D/bad.xlc"
    printf x | dd of="$D/bad.xlc" bs=1 seek=$((2 << 20)) conv=notrunc
    run xl save-verify "$D/bad.xlc"
    [ "$status" = 1 ]
    run xl restore "$D/bad.xlc"
    echo "$output"
    [ "$status" != 0 ]
    [[ $output == *"damaged"* || $output == *"zstd"* ]]
    guest_gone g
    xl restore "$D/g.xlc"
    goes_on
}

@test "pv: each form, and the guest goes on" {
    running pv
    guest_wait_more g
    /usr/sbin/xl save g "$D/g.save"
    all_forms
    rm "$D/g.save" "$D/raw.xlc" "$D/back.save"
    xl restore "$D/g.xlc"
    goes_on
    xl save --compact --live g "$D/live.xlc"
    xl save-info "$D/live.xlc"
    xl restore "$D/live.xlc"
    goes_on
}
