#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2034,SC2016  # variables of snapshot.bash; and
# text that others are to expand
#
# Requests that cannot be met: one line that says why, and nothing is changed.

load snapshot

setup() { snapshot_setup; }
teardown() { snapshot_teardown; }

create() { xl snapshot-create "$guest" "$@"; }

@test "guests that are not there" {
    [ ! -e /sys/hypervisor/type ] || skip "this is a Xen host"
    refuses 1 '*no records of such a guest, and no Xen on this host' \
        xl snapshot-create no-such-guest one
    refuses 1 '*' xl snapshot-create 1 one
    [[ $stderr = *[Xx]en* ]]
    refuses 1 '*' xl snapshot-create 99999 one
    refuses 1 '*the name of the guest is empty' xl snapshot-create '' one
    refuses 1 '*nowhere*No such file*' xl snapshot-create qmp:/nowhere one
    # a wrong command line gives two lines, and another status
    for line in create 'create x --kind sideways' 'delete x'; do
        # shellcheck disable=SC2086  # words
        run xl snapshot-$line
        [ "$status" = 2 ]
    done
}

@test "names that are none" {
    disks 1
    start_qemu
    create taken
    refuses 1 '*already has a snapshot "taken"' create taken
    refuses 1 '*name of the snapshot is empty' create ''
    refuses 1 '*must not contain a slash' create a/b
    refuses 1 '*must not begin with "."' create ..
    refuses 1 '*must not begin with "-"' create -- -x
    refuses 1 '*300 bytes, at most 200*' create "$(printf 'x%.0s' {1..300})"
    refuses 1 '*control characters' create $'a\nb'
    refuses 1 '*control characters' create $'a\tb'
    refuses 1 '*not valid UTF-8' create $'\xff\xfe'
    refuses 1 '*description*UTF-8' create x --description $'\xff'
    refuses 1 '*description: over*' create x --description \
        "$(printf 'x%.0s' {1..5000})"
    for command in revert delete info; do
        refuses 1 '*has no snapshot "none"*' xl snapshot-$command "$guest" none
        refuses 1 '*snapshot*' xl snapshot-$command "$guest" ''
    done
}

@test "disks that are none" {
    disks 2
    start_qemu
    refuses 1 '*no disk "xvdz"' create one --disks xvdz
    refuses 1 '*"xvda" is named twice' create one --disks xvda,xvdb,xvda
    refuses 1 '*list is empty' create one --disks ''
    refuses 1 '*is empty' create one --disks xvda,
}

@test "directories for overlays" {
    disks 1
    start_qemu
    to() { create one --kind external --overlay-dir "$1"; }
    refuses 1 '*No such file*' to "$tmp/nowhere"
    refuses 1 '*must be an absolute path' to images
    refuses 1 "*name of the directory is empty" to ''
    refuses 1 '*not a directory' to "${image[xvda]}"
    refuses 1 '*leave the overlay directory out*' create one --kind internal --overlay-dir "$tmp"
}

@test "no guest without Xen is reverted while it runs" {
    disks 1
    start_qemu
    create one --kind external
    refuses 1 '*end it first*' xl snapshot-revert "$guest" one
    refuses 1 '*end it first*' xl snapshot-revert --force "$guest" one
}

@test "a read-only disk, a CD-ROM and an empty drive are left out" {
    disks 3
    options[xvdb]=',read-only=on'
    start_qemu -device ahci,id=ahci \
        -blockdev "driver=raw,node-name=cd,read-only=on,file.driver=file,`
                  `file.filename=${image[xvdb]}" \
        -device ide-cd,drive=cd,bus=ahci.0,id=cd0 \
        -device ide-cd,bus=ahci.1,id=cd1
    refuses 1 '*xvdb: it is read-only' create one --disks xvdb
    refuses 1 '*cd0: it is *' create one --disks cd0
    refuses 1 '*no disk "cd1"' create one --disks cd1
    create one --kind external
    [ "$(list "$guest" | jq -c '[.snapshots[0].disks[].vdev]')" = \
        '["xvda","xvdc"]' ]
}

@test "a guest without disks" {
    start_qemu
    refuses 1 '*no disk that it can write to' create one
}

@test "a disk below a filter" {
    disks 1
    start_qemu -object throttle-group,id=slow,x-bps-total=1000000 \
        -blockdev "driver=qcow2,node-name=below,file.driver=file,`
                  `file.filename=$(qemu-img create -q -f qcow2 \
                      "$images/filtered" 64M; echo "$images/filtered")" \
        -blockdev driver=throttle,node-name=filter,throttle-group=slow,file=below \
        -device virtio-blk-pci,id=xvdb,drive=filter
    refuses 1 '*xvdb: *filter*' create one --disks xvdb
    refuses 1 '*not all disks*--disks*xvdb: *filter*' create one
    create one --disks xvda --kind external
}

@test "an image that is open twice" {
    disks 1
    start_qemu \
        -blockdev "driver=qcow2,node-name=twice,file.driver=file,`
                  `file.filename=${image[xvda]},file.locking=off" \
        -device virtio-blk-pci,id=xvdb,drive=twice
    for kind in internal external; do
        refuses 1 '*xvda: *twice*' create one --disks xvda --kind $kind
        refuses 1 '*xvdb: *twice*' create one --disks xvdb --kind $kind
    done
}

@test "a job of somebody else" {
    disks 1
    start_qemu
    guest_write xvda 0 1048576 1
    create one --kind external
    qmp drive-backup "{\"job-id\": \"night\", \"sync\": \"full\", \"speed\": 1,
        \"device\": \"$(qmp query-block | jq -r '.[0].inserted."node-name"')\",
        \"target\": \"$tmp/backup\", \"format\": \"raw\"}"
    refuses 1 '*job*' create two
    refuses 1 '*busy with the backup job "night"*' \
        xl snapshot-delete "$guest" one
    qmp block-job-cancel '{"device": "night", "force": true}'
    xl snapshot-delete "$guest" one
    nothing_left_over
}

@test "a mirror, which sits on top of its disk" {
    disks 1
    start_qemu
    guest_write xvda 0 1048576 1
    qmp drive-mirror "{\"job-id\": \"m\", \"sync\": \"full\", \"speed\": 1,
        \"device\": \"xvda-qcow2\", \"target\": \"$tmp/copy\",
        \"format\": \"raw\"}"
    for kind in internal external; do
        refuses 1 '*' create one --kind $kind
        [[ $stderr = *busy*mirror* ]]
    done
}

@test "a full file system" {
    [ "$(id -u)" = 0 ] || skip "not root: cannot mount one"
    disks 2
    full() {
        unshare -m bash -e -c '
            mkdir -p "$1/small"
            mount -t tmpfs -o size=64k none "$1/small"
            head -c 60k /dev/zero > "$1/small/fill" || true
            shift
            exec "$@"' full "$tmp" "$@"
    }
    start_qemu
    next_state
    refuses 1 '*xvd[ab]*[Nn]o space*' full \
        "$top_builddir/xl-plugins/xl-snapshot" snapshot-create "$guest" one \
        --kind external --overlay-dir "$tmp/small"
    # the records' own file system
    refuses 1 '*No space left*' env LIBXLX_STATE_DIR="$tmp/small/state" \
        bash -c 'true; exec "$0" "$@"' unshare -m bash -e -c '
            mount -t tmpfs -o size=16k none "$1/small"
            cat /dev/zero > "$1/small/fill" 2> /dev/null || true
            shift
            exec "$@"' full "$tmp" \
        "$top_builddir/xl-plugins/xl-snapshot" snapshot-create "$guest" one \
        --kind external
    next_state
    nothing_left_over
}

@test "an image whose lock somebody holds" {
    disks 1
    start_qemu
    create one --kind external
    stop_qemu
    hold "$images/xvda.one.qcow2" -f qcow2
    refuses 1 '*qemu-io (process *has it open*' xl snapshot-delete "$uuid" one
    release
    xl snapshot-delete "$uuid" one
    nothing_left_over
}

@test "records that cannot be read" {
    disks 1
    start_qemu
    create one
    local record=$tmp/state/$uuid/snapshots.json good
    good=$(cat "$record")
    for text in '{' '[]' 'null' '' '{"version": 1, "snapshots": 5}' \
        "$(head -c 200 <<< "$good")" '{"version": "x"}' \
        "$(printf '[%.0s' {1..1000})" $'\xff\xfe'; do
        printf %s "$text" > "$record"
        for command in "create $guest two" "list $guest" "delete $guest one" \
            "revert $uuid one"; do
            # shellcheck disable=SC2086  # words
            refuses 1 '*snapshots.json*' xl snapshot-$command
        done
    done
    echo "${good/\"version\": 1,/\"version\": 2,}" > "$record"
    refuses 1 '*newer*' create two
    refuses 1 '*newer*' xl snapshot-delete "$guest" one
    echo "$good" > "$record"
    xl snapshot-delete "$guest" one
}

@test "a guest whose record is damaged leaves no gap in the list of all" {
    local first=00000000-0000-4000-8000-000000000001
    disks 1
    start_qemu
    create one
    cp -r "$tmp/state/$uuid" "$tmp/state/$first"
    echo '{' > "$tmp/state/$first/snapshots.json"
    run --separate-stderr xl snapshot-list --json
    [ "$status" = 1 ]
    [[ $stderr == *"$first"* ]]
    [ "$(jq -r '.[].snapshots[].name' <<< "$output")" = one ]
}

@test "an image that is gone, damaged, or not to be read" {
    disks 1
    start_qemu
    create one --kind external
    stop_qemu
    mv "$images/xvda.qcow2" "$images/away"
    refuses 1 '*xvda.qcow2*No such file*' xl snapshot-revert "$uuid" one
    refuses 1 '*' xl snapshot-delete "$uuid" one
    mv "$images/away" "$images/xvda.qcow2"
    printf 'garbage' | dd of="$images/xvda.one.qcow2" conv=notrunc status=none
    refuses 1 '*' xl snapshot-delete "$uuid" one
}

@test "an image that was written to after it was frozen" {
    disks 1
    start_qemu
    create one --kind external
    stop_qemu
    sleep 0.05
    qemu-io -f qcow2 -c 'write 0 512' "$images/xvda.qcow2" > /dev/null
    refuses 1 '*was written to*after it was frozen*' \
        xl snapshot-revert "$uuid" one
    run xl snapshot-repair "$uuid"
    [ "$status" = 1 ]
    [[ $output = *'written to after it was frozen'* ]]
}

@test "another user" {
    [ "$(id -u)" = 0 ] || skip "not root"
    disks 1
    start_qemu
    create one
    chmod 755 "$tmp"
    setpriv --reuid 65534 --clear-groups \
        "$top_builddir/xl-plugins/.libs/xl-snapshot" snapshot-list --help ||
        skip "no setpriv, or others cannot read the build tree"
    refuses 1 '*Permission denied*' setpriv --reuid 65534 --clear-groups \
        "$top_builddir/xl-plugins/.libs/xl-snapshot" snapshot-create "$guest" x
}

@test "two commands at once: the second names the holder of the lock" {
    disks 1
    start_qemu
    create one --kind external
    exec 9>> "$tmp/run/guest-$uuid.lock"
    flock 9
    echo $$ > "$tmp/holder"
    for command in "create $guest two" "delete $guest one" \
        "revert $uuid one" "repair $guest"; do
        # shellcheck disable=SC2086  # words
        refuses 1 '*' xl snapshot-$command
        [[ $stderr = *lock* || $stderr = *another* || $stderr = *works* ]]
    done
    list "$guest" | jq -e '.snapshots | length == 1'
    exec 9>&-
}

@test "peers that are no QEMU" {
    local n=0
    while read -r script; do
        n=$((n + 1))
        eval "set -- $script"
        python3 "$top_srcdir/tests/unit/fake-qmp.py" "$tmp/fake$n" accept "$@" \
            > "$tmp/fake$n.out" 2>&1 3>&- &
        local peer=$!
        until grep -qs ready "$tmp/fake$n.out"; do sleep 0.02; done
        refuses 1 '*' xl snapshot-create "qmp:$tmp/fake$n" one
        [[ $stderr != *'No such file'* ]]
        wait $peer || true
    done <<'EOF2'
close
'raw HTTP/1.1 400 Bad Request\r\n\r\n' close
'raw {}\r\n' close
greet close
greet 'expect qmp_capabilities' 'return {}' 'expect query-uuid' 'return {"UUID": "no"}' gone
greet 'expect qmp_capabilities' 'return {}' 'expect query-uuid' 'return {"UUID": 5}' gone
greet 'expect qmp_capabilities' 'return {}' 'expect query-uuid' 'return {"UUID": "00000000-0000-0000-0000-000000000000"}' gone
greet 'expect qmp_capabilities' 'return {}' 'expect query-uuid' 'forever {"event": "x", "data": {}}\r\n'
greet 'expect qmp_capabilities' 'return {}' 'expect query-uuid' 'error GenericError no\tidea\n' gone
EOF2
    [ "$n" = 9 ]
}

@test "a second node of another tool on the same file is not the disk" {
    disks 1
    start_qemu -blockdev "driver=qcow2,node-name=a-look,read-only=on,`
        `file.driver=file,file.read-only=on,`
        `file.filename=${image[xvda]},file.locking=off"
    next_state
    make_snapshot one --kind internal
    xl snapshot-delete "$guest" one
    make_snapshot two --kind external
    next_state
    # one that is newer than the disk's own comes first in QEMU's list
    qmp blockdev-add "{\"driver\": \"qcow2\", \"node-name\": \"a-look-too\",
        \"read-only\": true, \"file\": {\"driver\": \"file\",
        \"filename\": \"$images/xvda.two.qcow2\", \"locking\": \"off\"}}"
    create three --kind external
    present_is_right
}

@test "a job that has ended, and that its tool has not dismissed" {
    disks 1
    start_qemu
    qmp blockdev-create '{"job-id": "theirs", "options": {"driver": "file",
        "filename": "'"$tmp"'/made", "size": 512}}'
    until [ "$(qmp query-jobs | jq -r '.[0].status')" = concluded ]; do
        sleep 0.05
    done
    refuses 1 '*job "theirs", which has ended*job-dismiss*' create one
    qmp job-dismiss '{"id": "theirs"}'
    create one
}

@test "an encrypted disk, and one that QEMU names by a relative path" {
    disks 1
    printf secret > "$tmp/secret"
    # on a busy machine qemu-img cannot measure its own speed
    patiently() { local i; for i in {1..20}; do "$@" && return; done; }
    patiently qemu-img create -q -f luks --object "secret,id=s,file=$tmp/secret" \
        -o key-secret=s,iter-time=10 "$images/luks" 8M
    patiently qemu-img create -q -f qcow2 --object "secret,id=s,file=$tmp/secret" \
        -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 \
        "$images/inside" 8M
    qemu-img create -q -f qcow2 "$images/relative" 8M
    cd "$images"
    start_qemu -object "secret,id=s,file=$tmp/secret" \
        -blockdev "driver=luks,node-name=l,key-secret=s,file.driver=file,`
                  `file.filename=$images/luks" \
        -device virtio-blk-pci,id=xvdb,drive=l \
        -blockdev "driver=qcow2,node-name=q,encrypt.format=luks,`
                  `encrypt.key-secret=s,file.driver=file,`
                  `file.filename=$images/inside" \
        -device virtio-blk-pci,id=xvdc,drive=q \
        -blockdev driver=qcow2,node-name=r,file.driver=file,file.filename=relative \
        -device virtio-blk-pci,id=xvdd,drive=r
    refuses 1 '*xvdb: its image is encrypted*' create one --disks xvdb
    refuses 1 '*xvdc: its image is encrypted*' create one --disks xvdc
    refuses 1 '*xvdd: QEMU was started with the path "relative"*' \
        create one --disks xvdd
}
