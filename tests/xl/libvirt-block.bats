#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # output is set by bats' run
#
# Jobs on disks by the installed virsh, through the relay, in a real QEMU.  The
# installed libvirtd knows the guest as one that is shut down, because it has
# no Xen to start it with; libxlx finds its QEMU by the record.

bats_require_minimum_version 1.5.0
load libvirt.bash

uuid=7c5ac0e4-1f3b-4f0e-9a52-0d6a2f3f9b12

setup_file() {
    rig_make xen
    command -v qemu-system-x86_64 qemu-img > /dev/null || skip 'no QEMU'
    start_libvirtd
    start_relay
    make_guest
}
teardown_file() { rig_use; rig_end; }
setup() {
    rig_use
    [ -s "$rig/relay.pid" ] || start_relay
}

# xvda is an overlay of base.qcow2; a snapshot of xvdb alone has libxlx know
# the guest.
make_guest() {
    local disk
    qemu-img create -q -f qcow2 "$rig/base.qcow2" 16M
    qemu-io -c 'write -P 1 0 1M' "$rig/base.qcow2" > /dev/null
    qemu-img create -q -f qcow2 -b "$rig/base.qcow2" -F qcow2 "$rig/xvda.qcow2"
    qemu-io -c 'write -P 2 1M 1M' "$rig/xvda.qcow2" > /dev/null
    qemu-img create -q -f qcow2 "$rig/xvdb.qcow2" 1M
    {
        echo "<domain type='xen'><name>web</name><uuid>$uuid</uuid>"
        echo "<memory unit='MiB'>64</memory><os><type arch='x86_64'"
        echo "machine='xenpvh'>xenpvh</type><kernel>/boot/none</kernel></os>"
        echo "<devices>"
        for disk in xvda xvdb; do
            echo "<disk type='file'><driver name='qemu' type='qcow2'/>"
            echo "<source file='$rig/$disk.qcow2'/>"
            echo "<target dev='$disk' bus='xen'/></disk>"
        done
        echo "</devices></domain>"
    } > "$rig/web.xml"
    in_rig virsh -c xen:///system define "$rig/web.xml"
    background qemu qemu-system-x86_64 -S -nodefaults -display none \
        -machine q35 -name web -uuid $uuid \
        -drive "file=$rig/xvda.qcow2,if=none,id=xvda" \
        -device virtio-blk-pci,drive=xvda \
        -drive "file=$rig/xvdb.qcow2,if=none,id=xvdb" \
        -device virtio-blk-pci,drive=xvdb \
        -qmp "unix:$rig/qmp,server=on,wait=off"
    wait_for test -S "$rig/qmp"
    env LIBXLX_STATE_DIR="$rig/state" LIBXLX_RUN_DIR="$rig/locks" \
        "$top_builddir/run" xl-snapshot-create "qmp:$rig/qmp" \
        anchor --disks xvdb
}

same() { qemu-img compare -U "$rig/xvda.qcow2" "$1" > /dev/null; }
# A client that prints events, in NAME.log: listen NAME EVENT
listen() {
    background "$1" timeout 60 virsh -c xen:///system event web --event "$2" \
        --loop
    # it says nothing when it listens; it is asked for twice by the relay
    sleep 0.5
}
no_watchers() { ! pgrep -P "$(cat "$rig/relay.pid")"; }

@test "sizes of disks" {
    run -0 virsh_relay domblkinfo web xvda
    grep -Eq '^Capacity: +16777216$' <<< "$output"
    run -0 virsh_relay -r domblkinfo web "$rig/xvdb.qcow2"
    grep -Eq '^Capacity: +1048576$' <<< "$output"
    run -1 virsh_relay domblkinfo web xvdz
    [[ "$output" == *"disk 'xvdz' not found"* ]]
    run -1 virsh_direct domblkinfo web xvda
}

@test "blockcopy --wait --finish: the copy is whole, events come once" {
    listen one block-job
    listen two block-job-2
    run -0 virsh_relay blockcopy web xvda "$rig/copy.qcow2" --wait --verbose \
        --finish
    [[ "$output" == *'Successfully copied'* ]]
    same "$rig/copy.qcow2"
    run -0 virsh_relay blockjob web xvda
    [[ "$output" == *'No current block job'* ]]
    wait_for no_watchers
    end one
    end two
    [ "$(grep -c 'Block Copy for.*ready' "$rig/one.log")" = 1 ]
    [ "$(grep -c 'Block Copy for.*canceled' "$rig/one.log")" = 1 ]
    grep -q "$rig/xvda.qcow2" "$rig/one.log"
    [ "$(grep -c 'Block Copy for xvda ready' "$rig/two.log")" = 1 ]
    [ "$(grep -c 'Block Copy for xvda canceled' "$rig/two.log")" = 1 ]
    [ "$(grep -c '^event' "$rig/two.log")" = 2 ]
}

@test "a job: what it is, its speed, a second one, its end" {
    virsh_relay blockcopy web xvda "$rig/slow.img" --format raw --bandwidth 1 \
        --bytes
    run -0 virsh_relay blockjob web xvda --bytes
    [[ "$output" == *'Block Copy: ['*'Bandwidth limit: 1 bytes/s'* ]]
    run -1 virsh_relay blockcopy web xvda "$rig/other.img"
    [[ "$output" == *'block copy still active'* ]]
    run -1 virsh_relay blockjob web xvda --pivot
    [[ "$output" == *"disk 'xvda' not ready for pivot yet"* ]]
    virsh_relay blockjob web xvda 2
    run -0 virsh_relay blockjob web xvda --raw
    [[ "$output" == *'bandwidth=2'* ]]
    # xl sees the same
    run -0 env LIBXLX_STATE_DIR="$rig/state" LIBXLX_RUN_DIR="$rig/locks" \
        "$top_builddir/run" xl-disk-jobs --json web
    [ "$(jq -r '.[].jobs[].vdev' <<< "$output")" = xvda ]
    # libvirtd, which knows of no job, does not get a call that would end it
    local command
    for command in "save web $rig/web.save" 'managedsave web' \
        'migrate --live web xen+ssh://nowhere.invalid/'; do
        # shellcheck disable=SC2086 # words
        run -1 virsh_relay $command
        [[ "$output" == *"domain has active block job on 'xvda'"* ||
           "$command" == migrate* ]]
    done
    raw job_guarded $uuid
    virsh_relay blockjob web xvda --abort
    # and gets it again, and says what it says
    run -1 virsh_direct save web "$rig/web.save"
    local stock=$output
    run -1 virsh_relay save web "$rig/web.save"
    [ "$output" = "$stock" ]
    run -1 virsh_relay blockjob web xvda --abort
    [[ "$output" == *'does not have an active block job'* ]]
    wait_for no_watchers
    [ ! -e "$rig/other.img" ]
}

@test "what cannot be is refused" {
    virsh_relay blockcopy web xvda "$rig/pivot.img" --wait
    run -1 virsh_relay blockjob web xvda --pivot
    [[ "$output" == *'start the guest on the old image'* ]]
    virsh_relay blockjob web xvda --abort
    same "$rig/pivot.img"
    run -1 virsh_relay blockcopy web xvda "$rig/pivot.img"
    [[ "$output" == *"$rig/pivot.img"* ]]
    run -1 virsh_relay blockcopy web xvda "$rig/nowhere/copy.img"
    run -1 virsh_relay blockcopy web xvda "$rig/copy2.img" --shallow
    [[ "$output" == *'unsupported flags (0x1)'* ]]
    run -1 virsh_relay blockcommit web xvda --base "$rig/base.qcow2"
    [[ "$output" == *'--active'* ]]
    run -1 virsh_relay -r blockjob web xvda --abort
    [[ "$output" == *'operation forbidden'* ]]
    raw block_denied $uuid
    run -1 virsh_relay blockpull Domain-0 xvda
    [[ "$output" == *'Requested operation is not valid'* ||
       "$output" == *'not found'* ]]
}

@test "the client, then the relay is killed: the job goes on" {
    local pid pids=()
    background client timeout 60 virsh -c xen:///system blockcopy web xvda \
        "$rig/kept.img" --wait --bandwidth 1 --bytes --verbose
    wait_for has_job || { cat "$rig/client.log"; false; }
    end client KILL
    has_job
    end relay KILL
    start_relay
    has_job
    # many ask at once, QEMU's monitor has room for one
    for _ in 1 2 3 4 5 6; do
        virsh_relay blockjob web xvda > /dev/null &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    virsh_relay blockjob web xvda --abort
}
has_job() {
    [[ "$(virsh_relay blockjob web xvda 2>&1)" == *'Block Copy: ['* ]]
}

@test "blockcommit --active: ready, and taken back" {
    run -0 virsh_relay blockcommit web xvda --active --wait --verbose
    [[ "$output" == *'synchronized phase'* ]]
    run -0 virsh_relay blockjob web xvda
    [[ "$output" == *'Active Block Commit: [100 %]'* ]]
    virsh_relay blockjob web xvda --abort
    qemu-io -U -r -c 'read -P 1 0 1M' -c 'read -P 2 1M 1M' "$rig/xvda.qcow2"
}

@test "blockpull --wait: the last step is done without being asked for" {
    listen three block-job-2
    run -0 virsh_relay blockpull web xvda --wait --verbose
    [[ "$output" == *'Pull complete'* ]]
    run -0 qemu-img info -U --output=json "$rig/xvda.qcow2"
    [ "$(jq -r '."backing-filename" // "none"' <<< "$output")" = none ]
    qemu-io -U -r -c 'read -P 1 0 1M' -c 'read -P 2 1M 1M' "$rig/xvda.qcow2"
    end three
    grep -q 'Block Pull for xvda completed' "$rig/three.log"
    run -1 virsh_relay blockpull web xvda
}

@test "the sanitizers have nothing to say" {
    run ! grep -E 'ERROR: |runtime error' "$rig/relay.log"
}
