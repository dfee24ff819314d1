#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034,SC2016  # variables of snapshot.bash; and
# text that others are to expand
#
# Overlays: where they lie, what they are called, who may open them, how large
# they are, what they keep of the disk below; and who else has it open.

load snapshot

setup() {
    snapshot_setup
    loop=''
}

teardown() {
    snapshot_teardown
    [ -z "$loop" ] || losetup -d "$loop"
}

create() { xl snapshot-create "$guest" "$@"; }

@test "two disks of one stem, and of one name in two directories" {
    disks 3
    mkdir "$images/a" "$images/b" "$images/over"
    mv "${image[xvda]}" "$images/web.qcow2"
    mv "${image[xvdb]}" "$images/a/web.qcow2"
    mv "${image[xvdc]}" "$images/b/web.qcow2"
    image=([xvda]=$images/web.qcow2 [xvdb]=$images/a/web.qcow2
           [xvdc]=$images/b/web.qcow2)
    start_qemu
    next_state
    make_snapshot one --kind external --overlay-dir "$images/over"
    [ "$(ls "$images/over")" = \
        $'web.one-2.qcow2\nweb.one-3.qcow2\nweb.one.qcow2' ]
    next_state
    present_is_right
    holds one one
}

@test "one stem, next to each other" {
    disk xvda
    disk xvdb raw
    mv "${image[xvdb]}" "$images/xvda.raw"
    image[xvdb]=$images/xvda.raw
    start_qemu
    next_state
    make_snapshot one --kind external
    next_state
    present_is_right
    holds one one
}

@test "a name that leaves little room" {
    local long
    disks 1
    long=$(printf 'ü%.0s' {1..122})
    mv "${image[xvda]}" "$images/$long.qcow2"
    image[xvda]=$images/$long.qcow2
    start_qemu
    next_state
    make_snapshot "$(printf 'n%.0s' {1..100})" --kind external
    present_is_right
    # cut at the end of a character
    find "$images" -name '*.nnn*' -printf '%f' | iconv -f UTF-8 > /dev/null
}

@test "a block device has no place next to it" {
    [ "$(id -u)" = 0 ] || skip "not root"
    lasting
    disk xvda raw 8M
    loop=$(losetup --show -f "${image[xvda]}") || skip "no loop devices"
    start_qemu -blockdev "driver=raw,node-name=dev,file.driver=host_device,`
        `file.filename=$loop" -device virtio-blk-pci,id=xvdb,drive=dev
    refuses 1 "*xvdb: $loop is a block device*--overlay-dir*" \
        create one --disks xvdb
    refuses 1 '*is in memory*' create one --disks xvdb --overlay-dir /dev
    LIBXLX_OVERLAY_DIR=$lasting create one --disks xvdb
    compgen -G "$lasting/loop*.one.qcow2"
    io xvdb 'write -P 7 0 4096' flush
    # the next one lies where the last one is
    create two --disks xvdb
    compgen -G "$lasting/loop*.two.qcow2"
    xl snapshot-delete "$guest" two
    xl snapshot-delete "$guest" one
    qemu-io -r -f raw -c 'read -P 7 0 4096' "$loop" | grep -q 'read 4096'
}

@test "an image that lasts gets no overlay that does not" {
    lasting
    disks 1
    mv "${image[xvda]}" "$lasting/xvda.qcow2"
    image[xvda]=$lasting/xvda.qcow2
    [ "$(stat -f -c %T /dev/shm)" = tmpfs ] || skip "/dev/shm lasts"
    start_qemu
    refuses 1 '*/dev/shm: is in memory*' \
        create one --kind external --overlay-dir /dev/shm
    create one --kind external
    [ -e "$lasting/xvda.one.qcow2" ]
}

@test "the group that may open the disk may open the overlay, nobody else" {
    [ "$(id -u)" = 0 ] || skip "not root"
    disks 3
    chmod 664 "${image[xvda]}"; chown 1234:2345 "${image[xvda]}"
    chmod 640 "${image[xvdb]}"; chown 1234:2345 "${image[xvdb]}"
    chmod 606 "${image[xvdc]}"
    start_qemu
    (umask 0; create one --kind external)
    [ "$(stat -c '%a %u %g' "$images"/xvd?.one.qcow2)" = \
        $'660 1234 2345\n640 1234 2345\n600 0 0' ]
}

@test "a disk that grew on an overlay while the guest ran" {
    disks 1
    start_qemu
    create one --kind external
    qmp block_resize "{\"node-name\": \"$(qmp query-block |
        jq -r '.[0].inserted."node-name"')\", \"size\": 134217728}"
    io xvda 'write -P 5 130000000 4096' flush
    stop_qemu
    echo "disk = [ 'format=qcow2,vdev=xvda,target=${image[xvda]}' ]" \
        > "$tmp/guest.cfg"
    echo "uuid = '$uuid'" >> "$tmp/guest.cfg"
    echo "name = 'guest'" >> "$tmp/guest.cfg"
    xl snapshot-create --config "$tmp/guest.cfg" guest two --kind external
    qemu-io -f qcow2 -c 'read -P 5 130000000 4096' "$images/xvda.two.qcow2" |
        grep -q 'read 4096'
    # back to the smaller one: its own size, not that of the present
    xl snapshot-revert --config "$tmp/guest.cfg" guest one
    [ "$(qemu-img info --output=json "$(list | jq -r '.disks[0].image')" |
         jq '."virtual-size"')" = 67108864 ]
}

@test "a raw file whose end is within a sector keeps its last bytes" {
    printf 'name = "guest"\nuuid = "%s"\ndisk = [ "format=raw,vdev=xvda,target=%s" ]\n' \
        "$uuid" "$images/odd.raw" > "$tmp/guest.cfg"
    head -c 1000 /dev/urandom > "$images/odd.raw"
    xl snapshot-create --config "$tmp/guest.cfg" guest one --kind external
    [ "$(qemu-img info --output=json "$images/odd.one.qcow2" |
         jq '."virtual-size"')" = 1024 ]
    qemu-img convert -O raw "$images/odd.one.qcow2" "$tmp/now"
    cmp -n 1000 "$images/odd.raw" "$tmp/now"
}

@test "an image whose data are in another file" {
    disks 1
    qemu-img create -q -f qcow2 -o "data_file=$images/data" \
        "${image[xvda]}" 64M
    start_qemu
    next_state
    refuses 1 '*data in a file of their own*--kind external*' \
        create one --kind internal
    make_snapshot one
    grep -q 'external snapshot "one".*data in a file of their own' "$tmp/said"
    next_state
    present_is_right
    holds one one
    xl snapshot-delete "$guest" one
    present_is_right
}

@test "a data file of another protocol" {
    disks 1
    echo "disk = [ 'format=qcow2,vdev=xvda,target=${image[xvda]}' ]" \
        > "$tmp/guest.cfg"
    echo "uuid = '$uuid'" >> "$tmp/guest.cfg"
    echo "name = 'guest'" >> "$tmp/guest.cfg"
    qemu-img create -q -f qcow2 -o "data_file=$images/data" \
        "${image[xvda]}" 64M
    LC_ALL=C sed -i "s#$images/data#nbd:$(printf 'x%.0s' \
        $(seq $((${#images} + 1))))#" "${image[xvda]}"
    refuses 1 '*"nbd:xxx*is not a file of this host*' xl snapshot-create \
        --config "$tmp/guest.cfg" guest one
}

@test "the treatment of zeroes of the guest's disk stays" {
    disks 1
    options[xvda]=,detect-zeroes=unmap,discard=unmap
    start_qemu
    guest_write xvda 0 1048576 1
    create one --kind external
    [ "$(qmp query-block | jq -r '.[0].inserted.detect_zeroes')" = unmap ]
    guest_write xvda 0 1048576 2
    guest_write xvda 0 1048576 0
    present_is_right
    # the zeroes took no space
    [ "$(qemu-img map -U --output=json "$images/xvda.one.qcow2" |
        jq '[.[] | select(.depth == 0 and .data)] | length')" = 0 ]
    # the graph says plain names
    [ "$(qmp query-block | jq -r '.[0].inserted.image.filename')" = \
        "$images/xvda.one.qcow2" ]
    xl snapshot-delete "$guest" one
    present_is_right
}

@test "limits of the device and its I/O thread stay" {
    disks 1
    options[xvda]=,cache.direct=on
    start_qemu
    qmp block_set_io_throttle '{"bps": 0,
        "id": "/machine/peripheral/xvda/virtio-backend", "bps_rd": 0,
        "bps_wr": 0, "iops": 5000, "iops_rd": 0, "iops_wr": 0}'
    before=$(qmp query-block | jq -c '.[0].inserted | [.cache, .iops]')
    create one --kind external
    [ "$(qmp query-block | jq -c '.[0].inserted | [.cache, .iops]')" = \
        "$before" ]
    io xvda 'write 0 4096' flush
}

@test "a bitmap for backups stays behind, and the command says so" {
    disks 1
    start_qemu
    qmp block-dirty-bitmap-add '{"node": "xvda-qcow2", "name": "nightly"}'
    create one --kind external > "$tmp/said"
    grep -q 'bitmap "nightly" of xvda stays' "$tmp/said"
}

# chain NUMBER: the disk becomes the top of so many images
chain() {
    local i below=${image[xvda]}
    for ((i = 2; i <= $1; i++)); do
        qemu-img create -q -u -f qcow2 -F qcow2 -b "$below" \
            "$images/layer$i" 64M
        below=$images/layer$i
    done
    image[xvda]=$below
}

@test "a long chain is mentioned" {
    disks 1
    chain 14
    start_qemu
    create one --kind external > "$tmp/said"
    run grep chain "$tmp/said"
    [ "$status" = 1 ]
    create two --kind external > "$tmp/said"
    grep -qF "the chain of xvda has 16 images now" "$tmp/said"
    grep -qF "xl snapshot-delete $guest \"one\"" "$tmp/said"
}

@test "a chain that is too long is not made longer" {
    disks 1
    chain 60
    start_qemu
    refuses 1 '*xvda: its chain has 60 images, and 48 are the most*' \
        create one --kind external
    xl snapshot-list "$guest"
    stop_qemu
    qemu-img rebase -q -u -f qcow2 -F qcow2 -b "$images/layer59" \
        "$images/layer2"
    echo "disk = [ 'format=qcow2,vdev=xvda,target=${image[xvda]}' ]" \
        > "$tmp/guest.cfg"
    echo "name = 'guest'" >> "$tmp/guest.cfg"
    refuses 1 '*its chain of images comes back to*' xl snapshot-create \
        --config "$tmp/guest.cfg" guest one
}

@test "a disk that another program writes to" {
    disks 1
    start_qemu
    hold "${image[xvda]}" -f raw
    for kind in internal external; do
        refuses 1 '*qemu-io*has it open*--force-open*' create one --kind $kind
    done
    create one --kind external --force-open
    release
    # one that only reads does not matter
    hold "$images/xvda.one.qcow2" -r -U -f qcow2
    create two --kind external
}
