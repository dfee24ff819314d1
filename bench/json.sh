#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Our JSON reader against jq and Python's, on 50 MB of a QEMU's answer to
# query-named-block-nodes: the real answer of one with a chain of eight
# images, its entries repeated under other node names.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title 'JSON, 50 MB of query-named-block-nodes'
for need in jq qemu-img qemu-system-x86_64; do
    command -v $need > /dev/null || leave_out "install $need"
done

qemu-img create -q -f qcow2 "$tmp/0.qcow2" 10G
for i in {1..7}; do
    qemu-img create -q -f qcow2 -b "$tmp/$((i - 1)).qcow2" -F qcow2 \
        "$tmp/$i.qcow2"
done
qemu-system-x86_64 -M none -nodefaults -display none \
    -drive "if=none,id=xvda,file=$tmp/7.qcow2,format=qcow2" \
    -qmp "unix:$tmp/qmp,server=on,wait=off" > "$tmp/log" 2>&1 &
children=($!)
await_socket "$tmp/qmp" "$tmp/log"
"$source/qmp" "$tmp/qmp" query-named-block-nodes > "$tmp/answer"

bytes=$(jq -c . "$tmp/answer" | wc -c)
jq -c --argjson times $((50000000 / bytes)) \
    '. as $nodes | [range($times) as $i | $nodes[] |
     ."node-name" = "node-\($i)-\(."node-name")"]' \
    "$tmp/answer" > "$tmp/large"
echo "$(wc -c < "$tmp/large") bytes, $(jq length "$tmp/large") nodes"
for peer in 'jq' 'python3 json'; do
    case $peer in
    jq) command=(jq length "$tmp/large") ;;
    *) command=(python3 -c 'import json, sys
print(len(json.load(open(sys.argv[1]))))' "$tmp/large") ;;
    esac
    "$bench/versus" -n 5 libxlx "$bench/json-read" "$tmp/large" \
        vs "$peer" "${command[@]}"
done
