#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034  # variables of snapshot.bash
#
# Chains that another tool has changed, and guests that were moved along them.
# A deletion looks at the whole chain of every disk before it begins: what is
# refused leaves all snapshots ready and all images as they were.

load snapshot

setup() { snapshot_setup; loop='' lasting=''; }
teardown() {
    [ -z "$loop" ] || losetup -d "$loop"
    [ -z "$lasting" ] || rm -rf "$lasting"
    snapshot_teardown
}

# A chain of two snapshots on each disk, and the guest is shut down
two_snapshots() {
    chain_of_snapshots "$1" one two
    stop_qemu
}

# config [VDEV IMAGE]...: of the guest
config() {
    local specs=()
    while [ $# -gt 0 ]; do
        specs+=("\"format=${2##*.},vdev=$1,access=rw,target=$2\"")
        shift 2
    done
    printf 'name="guest"\nuuid="%s"\ntype="pvh"\nmemory=64\ndisk=[%s]\n' \
        "$uuid" "$(IFS=,; echo "${specs[*]}")" > "$tmp/guest.cfg"
}

# Prints what reaches stock xl
xl_create() {
    printf '#!/bin/sh\necho LET-THROUGH\n' > "$tmp/stock"
    chmod +x "$tmp/stock"
    LIBXLX_XL=$tmp/stock LIBXLX_EXEC_DIR=$top_builddir/xl-plugins \
        run --separate-stderr "$top_builddir/xl-plugins/xl" create "$@"
    echo "$status: $output$stderr"
}

all_are_ready() { [ "$(list | names_of ready | xargs)" = "one two" ]; }

# ---- the names in headers ----------------------------------------------------

@test "the same image below, under another name" {
    local top=$images/xvda.one.qcow2 name
    for name in "file:$images/xvda.qcow2" xvda.qcow2 "$images/./xvda.qcow2" \
        "$images/link"; do
        rm -rf "$images" "$refs" "$tmp/state"
        mkdir "$images" "$refs"
        vdevs=()
        two_snapshots 1
        ln -s xvda.qcow2 "$images/link"
        qemu-img rebase -q -u -f qcow2 -b "$name" -F qcow2 "$top"
        echo "$name"
        xl snapshot-delete "$uuid" one
        [ ! -e "$top" ]
        present_is_right
        # that it was written to is not forgotten
        refuses 1 '*was written to*--force-written*' \
            xl snapshot-delete "$uuid" two
        xl snapshot-delete --force-written "$uuid" two
        present_is_right
        rm "$images/link"
        nothing_left_over
    done
}

@test "a layer that would be merged is based on another image now" {
    two_snapshots 2
    qemu-img rebase -q -f qcow2 -b '' "$images/xvdb.one.qcow2"
    refuses 1 '*xvdb.one.qcow2 is based on nothing*another tool*' \
        xl snapshot-delete "$uuid" one
    refuses 1 '*xvdb.one.qcow2 was written to*--force-written*' \
        xl snapshot-delete --children "$uuid" one
    refuses 1 '*xvdb.one.qcow2 is based on nothing*another tool*' \
        xl snapshot-delete --children --force-written "$uuid" one
    all_are_ready
}

@test "a layer above the merged one is based on another image now" {
    two_snapshots 2
    # it has all of its content, and would get the lower image below it
    qemu-img rebase -q -f qcow2 -b '' "$images/xvdb.two.qcow2"
    refuses 1 '*xvdb.two.qcow2 is based on nothing*another tool*' \
        xl snapshot-delete "$uuid" one
    all_are_ready
    present_is_right
}

# ---- images that are away ----------------------------------------------------

@test "an image far below is missing" {
    two_snapshots 2
    mv "$images/xvdb.qcow2" "$tmp/away"
    refuses 1 '*xvdb.qcow2*' xl snapshot-delete "$uuid" two
    refuses 1 '*xvdb.qcow2*' xl snapshot-delete "$uuid" one
    refuses 1 '*xvdb.qcow2*' xl snapshot-delete --children "$uuid" one
    all_are_ready
    mv "$tmp/away" "$images/xvdb.qcow2"
    xl snapshot-delete "$uuid" two
    xl snapshot-delete "$uuid" one
    present_is_right
    nothing_left_over
}

@test "an image below one of two disks is missing, and a tag is concerned" {
    local action
    disks 2
    start_qemu
    next_state
    make_snapshot one --kind external
    make_snapshot two --kind internal
    next_state
    stop_qemu
    config xvda "$images/xvda.one.qcow2" xvdb "$images/xvdb.one.qcow2"
    mv "$images/xvdb.qcow2" "$tmp/away"
    for action in 'delete two' 'revert two' 'create --kind internal three' \
        'create --kind external three'; do
        # shellcheck disable=SC2086  # words
        refuses 1 '*xvdb.one.qcow2 is based on *xvdb.qcow2, which is not there*' \
            xl snapshot-${action% *} --config "$tmp/guest.cfg" guest ${action##* }
    done
    mv "$tmp/away" "$images/xvdb.qcow2"
    all_are_ready
    xl snapshot-delete "$uuid" two
    all_is_right
}

# ---- who holds them ------------------------------------------------------------

@test "a reader of one of two disks, before either is touched" {
    two_snapshots 2
    hold "$images/xvdb.qcow2"
    refuses 1 '*xvdb.qcow2: qemu-io*has it open*--force-open*' \
        xl snapshot-delete "$uuid" one
    all_are_ready
    refuses 1 '*has it open*--force-open*' \
        xl snapshot-delete --children "$uuid" one
    all_are_ready
}

@test "a writer below the layers of one of two disks, before either is touched" {
    two_snapshots 2
    hold "$images/xvdb.qcow2" -f qcow2
    refuses 1 '*another program writes to *xvdb.qcow2, on which *xvdb.one*' \
        xl snapshot-delete "$uuid" two
    all_are_ready
}

@test "a reader of one of two disks gets no tag made in the other" {
    disks 2
    config xvda "$images/xvda.qcow2" xvdb "$images/xvdb.qcow2"
    hold "$images/xvdb.qcow2"
    refuses 1 '*xvdb.qcow2: qemu-io*has it open*--force-open*' \
        xl snapshot-create --kind internal --config "$tmp/guest.cfg" guest one
}

# ---- sizes ------------------------------------------------------------------------

@test "a device that is smaller than the overlay by now" {
    [ "$(id -u)" = 0 ] || skip "not root"
    lasting=$(mktemp -d -p /var/tmp libxlx-XXXXXX)
    truncate -s 8M "$tmp/device"
    loop=$(losetup --show -f "$tmp/device") || skip "no loop devices"
    start_qemu -blockdev "driver=raw,node-name=dev,file.driver=host_device,`
        `file.filename=$loop" -device virtio-blk-pci,id=xvda,drive=dev
    LIBXLX_OVERLAY_DIR=$lasting xl snapshot-create "$guest" one \
        --kind external
    top=$(echo "$lasting"/loop*.one.qcow2)
    qmp block_resize "{\"node-name\": \"$(qmp query-block |
        jq -r '.[].inserted."node-name"')\", \"size\": 16777216}"
    refuses 1 "*the device $loop has 8388608*" xl snapshot-delete "$guest" one
    stop_qemu
    refuses 1 "*the device $loop has 8388608*" xl snapshot-delete "$uuid" one
    [ "$(list | names_of ready)" = one ]
    truncate -s 16M "$tmp/device"
    losetup -c "$loop"
    xl snapshot-delete "$uuid" one
    [ ! -e "$top" ]
}

@test "an overlay that was resized before the next snapshot" {
    disks 1
    config xvda "$images/xvda.qcow2"
    xl snapshot-create --kind external --config "$tmp/guest.cfg" guest one
    qemu-img resize -q "$images/xvda.one.qcow2" 96M
    xl snapshot-create --kind external "$uuid" two
    [ "$(qemu-img info --output json "$images/xvda.two.qcow2" |
         jq '."virtual-size"')" = $((96 << 20)) ]
    xl snapshot-create --kind external --config "$tmp/guest.cfg" guest three
    [ "$(qemu-img info --output json "$images/xvda.three.qcow2" |
         jq '."virtual-size"')" = $((96 << 20)) ]
    for name in three two one; do xl snapshot-delete "$uuid" $name; done
    [ "$(qemu-img info --output json "$images/xvda.qcow2" |
         jq '."virtual-size"')" = $((96 << 20)) ]
}

# ---- disks and guests --------------------------------------------------------------

@test "disks that changed places in the config of a guest that is shut down" {
    disks 2
    config xvda "$images/xvda.qcow2" xvdb "$images/xvdb.qcow2"
    xl snapshot-create --kind external --disks xvdb \
        --config "$tmp/guest.cfg" guest one
    qemu-io -c 'write -P 7 0 64k' "$images/xvdb.one.qcow2" > /dev/null
    config xvda "$images/xvdb.qcow2" xvdb "$images/xvda.qcow2"
    xl snapshot-create --kind external --config "$tmp/guest.cfg" guest two
    [ "$(list | jq -r '[.disks[] | "\(.vdev) \(.backing)"] | sort[]')" = \
"xvda $images/xvdb.one.qcow2
xvdb $images/xvda.qcow2" ]
    xl snapshot-delete "$uuid" two
    xl snapshot-delete "$uuid" one
    qemu-io -c 'read -P 7 0 64k' "$images/xvdb.qcow2" | grep -q 'read 65536'
}

@test "an internal revert into an image that is frozen for another guest" {
    disks 1
    config xvda "$images/xvda.qcow2"
    xl snapshot-create --kind internal --config "$tmp/guest.cfg" guest one
    sed 's/^name=.*/name="copy"/; s/^uuid="6f1b/uuid="7f1b/' \
        "$tmp/guest.cfg" > "$tmp/copy.cfg"
    refuses 1 '*record of guest guest*--force-based*' xl snapshot-create \
        --kind external --config "$tmp/copy.cfg" copy two
    xl snapshot-create --kind external --force-based \
        --config "$tmp/copy.cfg" copy two
    refuses 1 '*xvda.two.qcow2 is based on it*--force-based*' \
        xl snapshot-revert "$uuid" one
}

# ---- a guest that another tool moved ------------------------------------------------

@test "the gate gives no advice that it refuses" {
    disks 1
    config xvda "$images/xvda.qcow2"
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    qmp block-commit '{"job-id": "theirs", "device":
        "'"$(qmp query-block | jq -r '.[].inserted."node-name"')"'"}'
    until qmp query-jobs | grep -q '"ready"'; do sleep 0.05; done
    qmp block-job-complete '{"device": "theirs"}'
    until [ "$(qmp query-jobs)" = "[]" ]; do sleep 0.05; done
    rm "$images/xvda.one.qcow2"
    # a command that writes the record finds where QEMU is
    make_snapshot two --kind external
    xl snapshot-delete "$guest" two
    stop_qemu
    xl_create "$tmp/guest.cfg"
    [ "$status" = 1 ]
    [[ $stderr != *'present state'* ]]
    [[ $stderr = *"xl snapshot-delete $uuid 'one' forgets it"* ]]
    xl snapshot-delete "$uuid" one
    xl_create "$tmp/guest.cfg"
    [ "$output" = LET-THROUGH ]
    present_is_right
}
