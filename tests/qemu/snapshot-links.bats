#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of snapshot.bash
#
# Others than root can write to the directory of the images.  Commands do
# not write to what they put in the place of an image, between its snapshot and
# the command: it may be any file of the host.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

# A guest that is shut down, with a snapshot whose base is xvda.raw; and a file
# that is nobody's business, of the same size
base_and_victim() {
    disk xvda raw
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    stop_qemu
    base=${original[xvda]% *}
    mkdir "$tmp/elsewhere"
    victim=$tmp/elsewhere/victim
    cp "$base" "$victim"
    touch -r "$base" "$victim"
    chmod 777 "$images"
    before=$(md5sum < "$victim")
}

# The base cannot be told from the one that was frozen, but for what it is.
delete_refuses() {
    run --separate-stderr xl snapshot-delete "$uuid" one
    echo "$status: $stderr"
    [ "$status" -ne 0 ]
    # shellcheck disable=SC2053 # a pattern
    [[ $stderr = $1 ]]
    [ "$(md5sum < "$victim")" = "$before" ]
    [ -e "$images/xvda.one.qcow2" ]
}

@test "the base became a link to another file" {
    base_and_victim
    mv "$base" "$base.mine"
    ln -s "$victim" "$base"
    delete_refuses '*xvda.raw is a symbolic link*not followed*'
    rm "$base"
    mv "$base.mine" "$base"
    xl snapshot-repair "$uuid"
    xl snapshot-delete "$uuid" one
    present_is_right
    nothing_left_over
}

@test "the directory of the base became a link" {
    base_and_victim
    chmod 755 "$images"
    chmod 777 "$tmp"
    mv "$victim" "$tmp/elsewhere/xvda.raw"
    victim=$tmp/elsewhere/xvda.raw
    cp -p "$images/xvda.one.qcow2" "$tmp/elsewhere/"
    mv "$images" "$images.mine"
    ln -s "$tmp/elsewhere" "$images"
    delete_refuses '*images is a symbolic link*not followed*'
}

@test "the base became another name of another user's file" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    base_and_victim
    chown 65534 "$images"
    rm "$base"
    ln "$victim" "$base"
    delete_refuses '*xvda.raw: has 2 names*'
}

# A guest that runs: QEMU has the base open, and opens it again by its name
# when the merge begins.
live_base_and_victim() {
    disk xvda raw
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    base=${original[xvda]% *}
    mkdir "$tmp/elsewhere"
    victim=$tmp/elsewhere/victim
    cp "$base" "$victim"
    before=$(md5sum < "$victim")
    mv "$base" "$base.mine"
}

live_delete_refuses() {
    run --separate-stderr xl snapshot-delete "$guest" one
    echo "$status: $stderr"
    [ "$status" -ne 0 ]
    # shellcheck disable=SC2053 # a pattern
    [[ $stderr = $1 ]]
    [ "$(md5sum < "$victim")" = "$before" ]
    mv -f "$base.mine" "$base"
    next_state
    xl snapshot-repair "$guest"
    xl snapshot-delete "$guest" one
    present_is_right
    nothing_left_over
}

@test "of a guest that runs the base became a link to another file" {
    live_base_and_victim
    chmod 777 "$images"
    ln -s "$victim" "$base"
    live_delete_refuses '*xvda.raw is a symbolic link*not followed*'
}

@test "of a guest that runs the base became another file" {
    live_base_and_victim
    ln "$victim" "$base"
    live_delete_refuses '*QEMU has another file open than*xvda.raw is now*'
}

@test "of a guest that runs the disk became another file before its snapshot" {
    disk xvda raw
    start_qemu
    next_state
    chmod 777 "$images"
    cp "${image[xvda]}" "$images/other"
    mv "${image[xvda]}" "$images/mine"
    mv "$images/other" "${image[xvda]}"
    refuses 1 '*QEMU has another file open than*xvda.raw is now*' \
        xl snapshot-create "$guest" one --kind external
    mv "$images/mine" "${image[xvda]}"
    make_snapshot one --kind external
    all_is_right
}

@test "a link that root made is followed" {
    disk xvda
    mkdir "$tmp/store"
    mv "$images/xvda.qcow2" "$tmp/store/real.qcow2"
    ln -s "$tmp/store/real.qcow2" "$images/xvda.qcow2"
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    stop_qemu
    xl snapshot-delete "$uuid" one
    present_is_right
}

# All of it, with a chain of three, in a directory that is open to others
everything_works() {
    disks 1
    chmod 777 "$images"
    [ -z "${1:-}" ] || chown -R "$1" "$images"
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    make_snapshot two --kind external
    next_state
    make_snapshot three --kind external
    next_state
    stop_qemu
    xl snapshot-delete "$uuid" two
    present_is_right
    snapshots_are_right
    printf 'name = "guest"\nuuid = "%s"\ndisk = [ "%s,qcow2,xvda,w" ]\n' \
        "$uuid" "$(present | cut -d' ' -f2)" > "$tmp/guest.cfg"
    xl snapshot-create --config "$tmp/guest.cfg" guest inside --kind internal
    keep inside
    xl snapshot-revert --discard "$uuid" inside
    xl snapshot-delete "$uuid" inside
    xl snapshot-delete "$uuid" one
    xl snapshot-delete "$uuid" three
    all_is_right
}

@test "others can write to the directory: by descriptors" {
    everything_works
}

@test "images and directory are another user's: qemu-img runs as he" {
    [ "$(id -u)" = 0 ] || skip "needs root"
    mkdir "$tmp/bin"
    cat > "$tmp/bin/qemu-img" << EOF
#!/bin/sh
echo "\$(id -u) \$*" >> $tmp/log
exec $(command -v qemu-img) "\$@"
EOF
    chmod 755 "$tmp/bin/qemu-img" "$tmp"
    touch "$tmp/log"
    chmod 666 "$tmp/log"
    PATH=$tmp/bin:$PATH everything_works 65534
    cat "$tmp/log"
    grep -q '^65534 commit ' "$tmp/log"
    grep -q '^65534 rebase ' "$tmp/log"
    grep -q '^65534 snapshot ' "$tmp/log"
    run ! grep -E '^0 (commit|rebase|snapshot) ' "$tmp/log"
}
