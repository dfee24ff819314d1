#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The price of a job for the guest: how long its writes take while the disk is
# copied, in the background and with each write in both images, beside no job;
# and for how long they stop when it is moved.  A client of the disk over NBD
# writes as the guest would (stop-time.c).

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title "writes of a guest while its disk is copied"
for need in qemu-img qemu-system-x86_64; do
    command -v $need > /dev/null || leave_out "install $need"
done
mirror=$LIBXLX_EXEC_DIR/.libs/xl-mirror
[ -x "$mirror" ] || mirror=$LIBXLX_EXEC_DIR/xl-mirror
mib=${MIB:-512} runs=${RUNS:-5}
guest=qmp:$tmp/qmp

head -c "${mib}M" /dev/urandom > "$tmp/data"
qemu-img convert -f raw -O qcow2 "$tmp/data" "$tmp/disk.qcow2"
rm "$tmp/data"
qemu-system-x86_64 -M none -nodefaults -display none -name bench \
    -uuid "$(cat /proc/sys/kernel/random/uuid)" \
    -drive "if=none,id=xvda,node-name=xvda-qcow2,format=qcow2,`
        `file=$tmp/disk.qcow2" \
    -qmp "unix:$tmp/qmp,server=on,wait=off" > "$tmp/log" 2>&1 &
children+=($!)
await_socket "$tmp/qmp" "$tmp/log"
"$source/qmp" "$tmp/qmp" nbd-server-start "{\"addr\": {\"type\": \"unix\",
    \"data\": {\"path\": \"$tmp/nbd\"}}}" block-export-add '{"type": "nbd",
    "id": "e0", "node-name": "xvda-qcow2", "name": "0", "writable": true}' \
    > /dev/null

# once WHAT COMMAND...: its writes to WHAT.50 and WHAT.99, its stop to WHAT.max
once() {
    local what=$1 during p50 p99
    shift
    read -r _ during p50 p99 < <("$bench/stop-time" "$tmp/nbd" 1 "$@")
    echo "$p50" >> "$tmp/$what.50"
    echo "$p99" >> "$tmp/$what.99"
    echo "$during" >> "$tmp/$what.max"
}

await_ready() {
    until "$mirror" disk-jobs "$guest" | grep -q ready; do sleep 0.2; done
}

of() { median < "$tmp/$1"; }
times() { echo "$(of "$1") $(of "$2")" | awk '{ printf "%.2f", $1 / $2 }'; }

# Copying that takes some seconds, whatever the storage
speed=$((mib / 4))m
for ((i = 0; i < runs; i++)); do
    once none sleep 3
    once background "$mirror" disk-mirror --speed "$speed" "$guest" xvda \
        "$tmp/copy"
    rm "$tmp/copy"
    # it begins before the client writes: nothing here stops for it
    "$mirror" disk-mirror --no-wait --sync-writes --speed "$speed" "$guest" \
        xvda "$tmp/copy" > /dev/null
    once sync sleep 3
    "$mirror" disk-job-cancel "$guest" xvda > /dev/null
done
for what in background sync; do
    echo "$what: $(times $what.50 none.50) times a write without a job" \
        "(median), $(times $what.99 none.99) times the slowest of 100" \
        "(medians of $runs)"
done

for ((i = 0; i < runs; i++)); do
    "$mirror" disk-move --no-wait --delete-old "$guest" xvda "$tmp/to-$i" \
        > /dev/null
    await_ready
    once pivot "$mirror" disk-job-finish "$guest" xvda
done
echo "stop by the last step of disk-move: $(times pivot.max none.max) times" \
    "the longest without a job (medians of $runs)"
