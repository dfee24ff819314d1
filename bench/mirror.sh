#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# xl disk-mirror of the disk of a QEMU without a guest, to raw, qcow2 and an
# NBD server, beside qemu-img convert of the same image; and of a disk that is
# almost empty, beside one that is full of the same data.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title 'disk-mirror, whole command'
for need in qemu-img qemu-nbd qemu-system-x86_64; do
    command -v $need > /dev/null || leave_out "install $need"
done
mirror=$LIBXLX_EXEC_DIR/.libs/xl-mirror
[ -x "$mirror" ] || mirror=$LIBXLX_EXEC_DIR/xl-mirror
mib=${MIB:-512} runs=${RUNS:-5}
export mirror tmp

# start_qemu NAME SIZE: with a disk of that size, of which $mib MiB are data
start_qemu() {
    head -c "${mib}M" /dev/urandom > "$tmp/data"
    qemu-img convert -f raw -O qcow2 "$tmp/data" "$tmp/$1.qcow2"
    qemu-img resize -q "$tmp/$1.qcow2" "$2"
    rm "$tmp/data"
    qemu-system-x86_64 -M none -nodefaults -display none -name "$1" \
        -uuid "$(cat /proc/sys/kernel/random/uuid)" \
        -drive "if=none,id=xvda,node-name=xvda-qcow2,format=qcow2,`
            `file=$tmp/$1.qcow2" \
        -qmp "unix:$tmp/$1.qmp,server=on,wait=off" > "$tmp/$1.log" 2>&1 &
    children+=($!)
    await_socket "$tmp/$1.qmp" "$tmp/$1.log"
}

# shellcheck disable=SC2016  # for the shells that are measured
compare() { # TITLE FORMAT
    echo "$1, $mib MiB"
    "$bench/versus" -n "$runs" disk-mirror \
        sh -c 'rm -f "$tmp/copy"
               "$mirror" disk-mirror --format $0 "qmp:$tmp/full.qmp" xvda \
                   "$tmp/copy" > /dev/null' "$2" \
        vs 'qemu-img convert' \
        sh -c 'rm -f "$tmp/copy"
               qemu-img convert -U -f qcow2 -O $0 "$tmp/full.qcow2" \
                   "$tmp/copy"' "$2"
}

start_qemu full "${mib}M"
compare 'to raw' raw
compare 'to qcow2' qcow2
rm -f "$tmp/copy"

truncate -s "${mib}M" "$tmp/export"
qemu-nbd -f raw -t -e 4 -k "$tmp/nbd" "$tmp/export" > "$tmp/nbd.log" 2>&1 &
children+=($!)
await_socket "$tmp/nbd" "$tmp/nbd.log"
echo "to an NBD server, $mib MiB"
# shellcheck disable=SC2016
"$bench/versus" -n "$runs" disk-mirror \
    sh -c '"$mirror" disk-mirror "qmp:$tmp/full.qmp" xvda \
               "nbd:unix:$tmp/nbd" > /dev/null' \
    vs 'qemu-img convert' \
    sh -c 'qemu-img convert -n -U -f qcow2 -O raw "$tmp/full.qcow2" \
               "nbd:unix:$tmp/nbd"'

start_qemu sparse 1T
echo "a disk of 1 TiB with $mib MiB of data, to qcow2"
# shellcheck disable=SC2016
"$bench/versus" -n "$runs" 'almost empty' \
    sh -c 'rm -f "$tmp/copy"
           "$mirror" disk-mirror "qmp:$tmp/sparse.qmp" xvda "$tmp/copy" \
               > /dev/null' \
    vs 'full' \
    sh -c 'rm -f "$tmp/copy"
           "$mirror" disk-mirror "qmp:$tmp/full.qmp" xvda "$tmp/copy" \
               > /dev/null'
