#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# For how long the guest's disks stop while a snapshot is made, beside the bare
# QMP transaction that any client could send.  The disks are those of a QEMU
# without a guest, which exports each by NBD; stop-time.c writes to them.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title 'stop of the disks by snapshot-create, in milliseconds'
for need in qemu-img qemu-system-x86_64; do
    command -v $need > /dev/null || leave_out "install $need"
done
runs=${RUNS:-5}
# A wait for a processor would look like a disk that stops.
if chrt -r -p 5 $$ 2> /dev/null; then
    echo 'client, QEMU and commands have real-time priority'
else
    echo 'no right to real-time priority: the load of the machine is also measured'
fi

# start_qemu DISKS MIB-ALLOCATED: images in $dir, of 12 GiB each
start_qemu() {
    local i options=() exports=()
    dir=$(mktemp -d "$tmp/disks-XXX")
    for ((i = 0; i < $1; i++)); do
        make_image "$dir/$i.qcow2" "$2"
        options+=(-drive "if=none,id=xvd$i,file=$dir/$i.qcow2,format=qcow2")
        exports+=(block-export-add "{\"type\": \"nbd\", \"id\": \"e$i\",
            \"node-name\": \"xvd$i-node\", \"name\": \"$i\",
            \"writable\": true}")
        options[-1]+=,node-name=xvd$i-node
    done
    qemu-system-x86_64 -M none -nodefaults -display none -name bench \
        -uuid "$(cat /proc/sys/kernel/random/uuid)" "${options[@]}" \
        -qmp "unix:$dir/qmp,server=on,wait=off" > "$dir/log" 2>&1 &
    children=($!)
    await_socket "$dir/qmp" "$dir/log"
    "$source/qmp" "$dir/qmp" nbd-server-start "{\"addr\": {\"type\": \"unix\",
        \"data\": {\"path\": \"$dir/nbd\"}}}" "${exports[@]}" > /dev/null
}

stop_qemu() {
    kill "${children[0]}"
    wait "${children[0]}" || :
    children=()
    rm -rf "$dir"
}

# Allocated in the tables, of which an internal snapshot copies the counts;
# the data itself is a hole and takes no place on this disk.
make_image() {
    local mib=$2
    qemu-img create -q -f qcow2 -o preallocation=metadata "$1" \
        "$((mib ? mib : 1))M"
    [ "$mib" != 0 ] || qemu-img create -q -f qcow2 "$1" 12G
    qemu-img resize -q "$1" 12G
}

# The same without us: QEMU makes the overlays itself, in the transaction.
bare_transaction() {
    local i actions=
    for ((i = 0; i < $2; i++)); do
        case $1 in
        external) actions+=",{\"type\": \"blockdev-snapshot-sync\", \"data\":
            {\"device\": \"xvd$i\", \"format\": \"qcow2\",
             \"snapshot-file\": \"$dir/$3-$i.qcow2\"}}" ;;
        internal) actions+=",{\"type\": \"blockdev-snapshot-internal-sync\",
            \"data\": {\"device\": \"xvd$i\", \"name\": \"$3\"}}" ;;
        esac
    done
    bare=("$source/qmp" "$dir/qmp" transaction
          "{\"actions\": [${actions#,}]}")
}

# once WHAT COMMAND...: one run, its times to the files WHAT and none
once() {
    local what=$1 before during
    shift
    read -r before during _ < <("$bench/stop-time" "$dir/nbd" "$disks" "$@")
    echo "$before" >> "$tmp/none"
    echo "$during" >> "$tmp/$what"
}

# line NAME FILE: what the numbers of the file come to
line() {
    sort -g "$2" | awk -v name="$1" '{ v[NR] = $1 / 1e3 } END {
        printf "    %-22s %8.1f ms, at least %.1f, at most %.1f\n",
            name, v[int((NR + 1) / 2)], v[1], v[NR] }'
}

# measure KIND DISKS MIB
measure() {
    local i kind=$1 disks=$2 ratio
    start_qemu "$disks" "$3"
    rm -f "$tmp"/{none,bare,ours}
    for ((i = 0; i < runs; i++)); do
        bare_transaction "$kind" "$disks" "bare-$i"
        once bare "${bare[@]}"
        # by force: the client's export is another user of the image
        once ours "$snapshot" snapshot-create --kind "$kind" --force-open \
            "qmp:$dir/qmp" "ours-$i"
    done
    stop_qemu
    ratio=$(echo "$(median < "$tmp/ours") $(median < "$tmp/bare")" |
        awk '{ printf "%.2f", $1 / $2 }')
    echo "$kind, $disks disk(s), $(($3 / 1024)) GiB allocated in each:" \
        "$ratio times the bare transaction (medians of $runs)"
    line 'snapshot-create' "$tmp/ours"
    line 'bare transaction' "$tmp/bare"
    line 'no snapshot, 0.5 s' "$tmp/none"
}

for disks in 1 4 8; do
    measure external $disks 1024
done
for mib in 0 1024 10240; do
    measure internal 1 $mib
done
for disks in 4 8; do
    measure internal $disks 1024
done
