#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# --quiesce with a real guest agent on a Xen channel: the frozen image holds a
# file system that needs no recovery, and the guest is thawed on every path.
# xen-host: deadline 1200

setup_file() {
    load guest
    GUEST_PROGRAMS=qemu-ga guests_begin
}
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

# Does the file system in this image have to be recovered from its journal?
needs_recovery() {
    qemu-img convert -U -O raw "$1" "$D/fs.raw"
    dumpe2fs -h "$D/fs.raw" 2>/dev/null | grep -q needs_recovery
}

# The guest's writer gets on.
writes() {
    local was
    was=$(guest_run q 'cat /mnt/count')
    wait_for 60 "the guest to write" eval \
        "[ \"\$(guest_run q 'cat /mnt/count')\" -gt $was ]"
}

@test "without an agent it is an error, and no snapshot is made" {
    truncate -s 32M "$D/fs"
    mke2fs -q -t ext4 -F "$D/fs"
    qemu-img convert -f raw -O qcow2 "$D/fs" "$D/q.qcow2"
    rm "$D/fs"
    GUEST_ARGS=ticks=off guest_create plain pv "qcow2:$D/q.qcow2"
    run xl snapshot-create --quiesce plain s1
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *channel* ]]
    [ -z "$(ls /var/lib/libxlx 2>/dev/null)" ]
    [ ! -e "$D/q.s1.qcow2" ]
    guest_destroy plain
}

@test "a channel whose guest runs no agent is an error as well" {
    # xl of 4.17 loses the first channel
    GUEST_ARGS=ticks=off \
        GUEST_CONFIG="channel = ['connection=pty,name=unused', 'connection=socket,path=/run/xen/ga-q,name=org.qemu.guest_agent.0']" \
        guest_create q pv "qcow2:$D/q.qcow2"
    xl channel-list q
    run xl snapshot-create --quiesce q s1
    echo "$output"
    [ "$status" = 1 ]
    [ -z "$(ls /var/lib/libxlx 2>/dev/null)" ]
}

@test "with the agent the frozen image needs no recovery" {
    guest_run q 'mount -t ext4 /dev/xvda /mnt && mkdir -p /var/run /var/local/run'
    guest_run q '(i=0; while :; do i=$((i + 1)); echo $i > /mnt/count; sleep 0.1; done) > /dev/null 2>&1 &'
    guest_run q 'qemu-ga -m isa-serial -p /dev/hvc1 -d -t /run -f /run/qemu-ga.pid'
    writes
    run xl snapshot-create --kind external q plain
    echo "$output"
    [ "$status" = 0 ]
    needs_recovery "$D/q.qcow2"
    run xl snapshot-create --quiesce --kind external q quiet
    echo "$output"
    [ "$status" = 0 ]
    run needs_recovery "$D/q.plain.qcow2"
    [ "$status" = 1 ]
    [ "$(xl snapshot-info --json q quiet | jq .quiesced)" = true ]
    writes
}

@test "the guest is thawed though the command was killed" {
    run env LIBXLX_FAULT=snapshot-create.frozen \
        xl snapshot-create --quiesce --kind external q killed
    [ "$status" = 137 ]
    writes
    xl snapshot-repair q
    run xl snapshot-list q
    [[ $output != *killed* ]]
}

@test "an agent that dies while the guest is frozen does not keep it so" {
    guest_run q 'kill -9 $(cat /run/qemu-ga.pid)'
    run xl snapshot-create --quiesce --kind external q dead
    echo "$output"
    [ "$status" = 1 ]
    writes
    xl snapshot-delete --children q plain
    [ "$(ls "$D"/*.qcow2)" = "$D/q.qcow2" ]
    guest_destroy q
}
