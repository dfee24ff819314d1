#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # status, output are set by bats' run
#
# A guest that was started on an overlay, under a node-name as xen-disk gives
# it: when the overlay is merged away its disk can be snapshot again, and
# QEMU can still delete the node by its name.

bats_require_minimum_version 1.5.0

setup() {
    : "${top_builddir:?is not set: run by make check}" "${top_srcdir:?}"
    local program
    for program in qemu-system-x86_64 qemu-img python3; do
        command -v $program > /dev/null || skip "there is no $program"
    done
    tmp=$BATS_TEST_TMPDIR
    export LIBXLX_STATE_DIR=$tmp/state LIBXLX_RUN_DIR=$tmp/run
    qemu-img create -q -f qcow2 "$tmp/disk.qcow2" 64M
    start_qemu "$tmp/disk.qcow2"
}

teardown() {
    stop_qemu
}

start_qemu() {
    rm -f "$tmp/qmp"
    qemu-system-x86_64 -S -accel tcg -nodefaults -display none -m 64 \
        -name web -uuid 5e1c7d7e-8c2b-4b7e-9d55-7d3b8c1f4a10 \
        -object iothread,id=xvda -blockdev \
        "node-name=xvda-qcow2,driver=qcow2,file.driver=file,file.filename=$1" \
        -device virtio-blk-pci,id=xvda,drive=xvda-qcow2,iothread=xvda \
        -qmp "unix:$tmp/qmp,server=on,wait=off" \
        > "$tmp/qemu.log" 2>&1 3>&- &
    qemu=$!
    for _ in {1..300}; do
        [ ! -S "$tmp/qmp" ] || return 0
        kill -0 $qemu || { cat "$tmp/qemu.log"; return 1; }
        sleep 0.1
    done
    echo "QEMU made no socket in 30 s"
    return 1
}

stop_qemu() {
    [ -z "${qemu:-}" ] || kill "$qemu" || return 0
    wait "$qemu" || true
    qemu=
}

snapshot() {
    local command=$1
    shift
    "$top_builddir/run" xl "snapshot-$command" "$@"
}

# qmp COMMAND [ARGUMENTS]: what QEMU returns, or its error
qmp() {
    python3 - "$tmp/qmp" "$@" <<'EOF'
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rw")
f.readline()
for command, args in (("qmp_capabilities", "{}"),
                      (sys.argv[2], (sys.argv[3:] or ["{}"])[0])):
    f.write(json.dumps({"execute": command, "arguments": json.loads(args)}))
    f.flush()
    answer = json.loads(f.readline())
    while "event" in answer:
        answer = json.loads(f.readline())
print(json.dumps(answer.get("return", answer)))
EOF
}

# The layer that takes writes is merged.
@test "after a merge of the layer that the guest was started on" {
    snapshot create --kind external "qmp:$tmp/qmp" one
    stop_qemu
    start_qemu "$tmp/disk.one.qcow2"
    snapshot delete "qmp:$tmp/qmp" one
    run -0 qmp query-named-block-nodes '{"flat": true}'
    [[ $output != *disk.one.qcow2* ]]
    snapshot create --kind external "qmp:$tmp/qmp" two
    snapshot create --kind internal "qmp:$tmp/qmp" three
    run -0 snapshot repair web
    [ "$output" = "web: all in order" ]
    run -0 qmp blockdev-del '{"node-name": "xvda-qcow2"}'
    [ "$output" = "{}" ]
}

# A layer between two is.
@test "after a merge of that layer with another one on top" {
    snapshot create --kind external "qmp:$tmp/qmp" one
    stop_qemu
    start_qemu "$tmp/disk.one.qcow2"
    snapshot create --kind external "qmp:$tmp/qmp" two
    snapshot delete "qmp:$tmp/qmp" one
    run -0 qmp query-named-block-nodes '{"flat": true}'
    [[ $output != *disk.one.qcow2* ]]
    snapshot delete "qmp:$tmp/qmp" two
    snapshot create --kind external "qmp:$tmp/qmp" three
    run -0 snapshot repair web
    [ "$output" = "web: all in order" ]
}
