#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# --quiesce of a guest without an agent is an error, and makes no snapshot.
# (tests/qemu has the agent's side: frozen, thawed, killed, lost.)
# xen-host: deadline 900

setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

@test "without an agent it is an error, and no snapshot is made" {
    disk_create "$D/q.qcow2"
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
    GUEST_ARGS=ticks=off GUEST_CONFIG="channel = ['connection=socket,path=/run/xen/ga-q,name=org.qemu.guest_agent.0']" \
        guest_create q pv "qcow2:$D/q.qcow2"
    run xl snapshot-create --quiesce q s1
    echo "$output"
    [ "$status" = 1 ]
    [ -z "$(ls /var/lib/libxlx 2>/dev/null)" ]
}
