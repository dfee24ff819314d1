# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# shellcheck disable=SC2119,SC2120,SC2154  # status, output, stderr are set by bats' run
#
# Snapshots of a real QEMU, for snapshot-*.bats.  The disks are made as Xen's
# QEMU makes those of a guest: node-name VDEV-FORMAT, no lock on the file, an
# I/O thread each.  The guest is stopped before its first instruction; what
# "it writes" goes through HMP's qemu-io on the device, and at the same time
# into a plain file, the reference.  So what a disk or a snapshot must hold is
# known without asking the code that is tested.

bats_require_minimum_version 1.5.0

snapshot_setup() {
    : "${top_builddir:?is not set: run by make check}" "${top_srcdir:?}"
    local program
    for program in qemu-system-x86_64 qemu-img jq python3; do
        command -v $program > /dev/null || skip "there is no $program"
    done
    # libtool's wrappers take longer than the commands themselves
    plugins=$top_builddir/xl-plugins
    if [ -x "$plugins/.libs/xl-snapshot" ]; then
        export LD_LIBRARY_PATH=$top_builddir/lib/.libs
        plugins+=/.libs
    fi
    # where a flush costs nothing, if there is such a place
    tmp=$(mktemp -d -p "$({ [ -w /dev/shm ] && echo /dev/shm; } ||
                          echo "$BATS_TEST_TMPDIR")" libxlx-XXXXXX)
    images=$tmp/images refs=$tmp/refs
    mkdir "$images" "$refs" "$tmp/run"
    export LIBXLX_STATE_DIR=$tmp/state LIBXLX_RUN_DIR=$tmp/run
    unset LIBXLX_FAULT LIBXLX_XL_OPTS LIBXLX_DEBUG
    uuid=6f1b9a0e-53a4-4b0c-9c5e-0123456789ab
    guest=qmp:$tmp/qmp
    vdevs=() qemu='' agent='' holder=''
    declare -gA image=() format=() options=() original=()
}

snapshot_teardown() {
    # what QEMU had to say matters when a test failed
    [ -n "${BATS_TEST_COMPLETED:-}" ] || [ ! -e "$tmp/qemu.out" ] ||
        tail -n 5 "$tmp/qemu.out"
    [ -z "$qemu" ] || kill_qemu
    [ -z "$agent" ] || kill "$agent" || true
    [ -z "$holder" ] || release
    [ -z "$tmp" ] || rm -rf "$tmp"
}

# within SECONDS CONDITION
within() {
    local i
    for ((i = 0; i < $1 * 20; i++)); do
        if eval "$2"; then return; fi
        sleep 0.05
    done
    echo "not within $1 seconds: $2"
    return 1
}

# A directory on a file system that lasts
lasting() {
    [ "$(stat -f -c %T "$BATS_TEST_TMPDIR")" != tmpfs ] ||
        skip "there is no file system that lasts"
    lasting=$BATS_TEST_TMPDIR/lasting
    mkdir -p "$lasting"
}

# ---- the guest ---------------------------------------------------------------

# disk VDEV [FORMAT [SIZE]]: a disk of the guest, for start_qemu
disk() {
    image[$1]=$images/$1.${2:-qcow2} format[$1]=${2:-qcow2} options[$1]=''
    original[$1]="${image[$1]} ${format[$1]}"
    qemu-img create -q -f "${2:-qcow2}" "${image[$1]}" "${3:-64M}"
    truncate -s "${3:-64M}" "$refs/$1.raw"
    vdevs+=("$1")
}

# disks NUMBER [FORMAT]: xvda, xvdb, ...
disks() {
    local names=(xvd{a..z}) vdev
    for vdev in "${names[@]:0:$1}"; do disk "$vdev" "${2:-qcow2}"; done
}

# start_qemu [ARGUMENT...]: of QEMU, besides those for the disks
start_qemu() {
    local vdev node args=() i
    for vdev in "${vdevs[@]}"; do
        node=$vdev-${format[$vdev]}
        args+=(-object "iothread,id=io-$vdev" -blockdev
               "node-name=$node,driver=${format[$vdev]},file.driver=file,`
               `file.filename=${image[$vdev]},file.locking=off`
               `${options[$vdev]}"
               -device "virtio-blk-pci,id=$vdev,drive=$node,`
               `iothread=io-$vdev")
    done
    qemu-system-x86_64 -machine pc,accel=tcg -m 16 -S -display none \
        -nodefaults -name guest -uuid "$uuid" \
        -qmp "unix:$tmp/qmp,server=on,wait=off" \
        -qmp "unix:$tmp/qmp2,server=on,wait=off" \
        "${args[@]}" "$@" > "$tmp/qemu.out" 2>&1 3>&- &
    qemu=$!
    for ((i = 0; i < 500; i++)); do
        qmp query-status > /dev/null 2>&1 && return
        kill -0 $qemu || break
        sleep 0.02
    done
    cat "$tmp/qemu.out"
    return 1
}

# At once, as by a crash of the host
kill_qemu() {
    kill -KILL "$qemu" 2> /dev/null || true
    wait "$qemu" 2> /dev/null || true
    qemu=
}

stop_qemu() {
    qmp quit > /dev/null
    wait "$qemu"
    qemu=
}

# start_qemu_with_agent [FAULT]: QEMU knows of a channel to a guest agent; on
# the other end is fake-agent.py
start_qemu_with_agent() {
    start_qemu -chardev "socket,id=qga0,path=$tmp/qga,server=on,wait=off"
    rm -f "$tmp/qga" "$tmp/agent"   # of an agent before
    python3 "$top_srcdir/tests/unit/fake-agent.py" "$tmp/qga" "$tmp/log" "$@" \
        > "$tmp/agent" 3>&- &
    agent=$!
    until grep -qs ready "$tmp/agent"; do sleep 0.02; done
}

# The images that the record names are those that QEMU is started on.
start_recorded() {
    local vdev path kind
    while read -r vdev path kind; do
        image[$vdev]=$path format[$vdev]=$kind
    done < <(list | jq -r '.disks[]? | "\(.vdev) \(.image) \(.format)"')
    start_qemu "$@"
}

# The monitor that libxlx does not use: qmp COMMAND [ARGUMENTS]
qmp() { "$top_builddir/tests/qemu/qmp-ask" "$tmp/qmp2" "$@"; }

# io VDEV COMMAND...: qemu-io's, on the guest's disk
io() {
    local vdev=$1 command said
    shift
    for command; do
        said=$(qmp human-monitor-command "{\"command-line\": \"qemu-io -d `
            `/machine/peripheral/$vdev/virtio-backend \\\"$command\\\"\"}")
        [ "$said" = '""' ] || { echo "$vdev: $command: $said"; return 1; }
    done
}

# guest_write VDEV OFFSET LENGTH BYTE: in bytes; and it is flushed
guest_write() {
    io "$1" "write -P $4 $2 $3" flush
    reference "$@"
}

# Writes as the guest would, and QEMU does not: to the reference alone
reference() {
    head -c "$3" /dev/zero | tr '\0' "\\$(printf %o "$4")" |
        dd of="$refs/$1.raw" bs=4096 seek=$(($2 / 4096)) conv=notrunc \
            status=none
}

# keep NAME [VDEV...]: what the disks hold now is what snapshot NAME must hold
keep() {
    local name=$1 vdev
    shift
    [ $# -gt 0 ] || set -- "${vdevs[@]}"
    for vdev; do cp --sparse=always "$refs/$vdev.raw" "$refs/$name@$vdev.raw"; done
}

# hold IMAGE [OPTION...]: another program has it open; the options are
# qemu-io's, and without any it only reads
hold() {
    local file=$1
    shift
    [ $# -gt 0 ] || set -- -r -f qcow2
    qemu-io "$@" -c 'sleep 60000' "$file" > /dev/null 3>&- &
    holder=$!
    within 10 "readlink /proc/$holder/fd/* | grep -qxF '$file'"
}

release() {
    kill -KILL "$holder"
    wait "$holder" || true
    holder=
}

# The next state of the guest: every disk differs from what it was.
turn=0
next_state() {
    local vdev
    turn=$((turn + 1))
    for vdev in "${vdevs[@]}"; do
        io "$vdev" "write -P $turn $((turn % 50))M 128k" \
            "write -P $turn 64k 4k" flush
        reference "$vdev" $((turn % 50 * 1048576)) 131072 $turn
        reference "$vdev" 65536 4096 $turn
    done
}

# ---- the commands ---------------------------------------------------------------

xl() { "$plugins/xl-snapshot" "$@"; }

# The record, as JSON; for a guest without one that it is empty.  The command
# prints an array of one; jq would take longer than the command.
list() {
    local said={}
    if compgen -G "$tmp/state/$uuid/snapshot*.json" > /dev/null; then
        said=$(xl snapshot-list --json "${1:-$uuid}") || return
        said=${said#[}
        said=${said%]}
    fi
    echo "$said"
}

# make_snapshot NAME [OPTION...]: and keep its reference
make_snapshot() {
    xl snapshot-create "$guest" "$@" > "$tmp/said"
    keep "$1"
}

# chain_of_snapshots DISKS NAME...: a guest runs that has those disks, these
# external snapshots, and other content since each
chain_of_snapshots() {
    local name
    disks "$1"
    shift
    start_qemu
    next_state
    for name; do
        make_snapshot "$name" --kind external
        next_state
    done
}

# The fault points whose names begin so, as regular expressions
fault_points() { # PREFIX...
    local prefix
    for prefix; do
        grep -rhoE "xlx__fault\(\"${prefix}[^\"]*\"" "$top_srcdir/lib" |
            cut -d'"' -f2
    done | sort -u
}

# settle_after POINT us|QEMU: our command was killed there, on a job of xvda;
# QEMU as well, and then it is started by the record, or the guest writes on
# and the next commands find what there is.
settle_after() {
    if [ "$2" = QEMU ]; then
        [[ $1 = *.completed ]] || io xvda flush
        kill_qemu
        run xl snapshot-repair "$uuid"
        run mirror disk-job-cancel "$uuid" xvda
        start_recorded
    else
        next_state
        run mirror disk-job-cancel "$guest" xvda
        run xl snapshot-repair "$guest"
    fi
}

# slow_down [end]: waits for the job that merges xvda, and slows it down to a
# crawl; with "end" only until our command has looked, and ends it as it is when
# it is ready.  $tmp/ready is there when it waits.
slow_down() {
    python3 - "$tmp/qmp2" "$tmp/ready" "${1:-}" <<'EOF2'
import json, socket, sys, time
job = {'device': 'xlx-merge-xvda'}
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
lines = sock.makefile('rw')
lines.readline()
def ask(command, **arguments):
    lines.write(json.dumps({'execute': command, 'arguments': arguments}))
    lines.flush()
    while True:
        reply = json.loads(lines.readline())
        if 'event' not in reply:
            return reply
ask('qmp_capabilities')
open(sys.argv[2], 'w').close()
end = time.monotonic() + 60
while 'error' in ask('block-job-set-speed', **job, speed=1 << 20):
    if time.monotonic() > end:
        sys.exit('no job came')
if not sys.argv[3]:
    sys.exit()
time.sleep(0.6)     # the command now looks every 500 ms
ask('block-job-set-speed', **job, speed=0)
while not any(j['ready'] for j in ask('query-block-jobs')['return']):
    if time.monotonic() > end:
        sys.exit('it is not ready')
ask('block-job-cancel', **job)
EOF2
}

# refuses STATUS PATTERN COMMAND...: one line on standard error, nothing on
# the other, and nothing is changed anywhere
refuses() {
    local wanted=$1 pattern=$2 before after
    shift 2
    before=$(everything)
    run --separate-stderr "$@"
    echo "$*: status $status: $output$stderr"
    [ "$status" -eq "$wanted" ]
    [ -z "$output" ]
    # shellcheck disable=SC2053  # it is a pattern
    [[ $stderr = $pattern ]]
    [ "${#stderr_lines[@]}" = 1 ]
    after=$(everything)
    diff <(echo "$before") <(echo "$after")
}

# All files of the test, and what QEMU has open
everything() {
    (cd "$tmp" && find images state -mindepth 1 -printf '%p %y %s %T@ %m %U\n' | sort
     find state -type f -exec md5sum {} +) 2> /dev/null
    [ -z "$qemu" ] || graph
}

graph() {
    { qmp query-named-block-nodes '{"flat": true}'; qmp query-jobs; } |
        jq -r '.[] | if .drv then
            "\(."node-name") \(.drv) \(.file) \(.ro)"
            else "\(.id) \(.type) \(.status)" end' |
        sed 's/^#block[0-9]*/#/' | sort
}

# ---- what must hold ---------------------------------------------------------------

# same IMAGE FORMAT REFERENCE
same() {
    qemu-img compare -q -U -f "$2" -F raw "$1" "$3" ||
        { echo "$1 is not $3"; return 1; }
}

# present_is_right: the guest's disks hold what it wrote
present_is_right() {
    local vdev path kind
    while read -r vdev path kind; do
        same "$path" "$kind" "$refs/$vdev.raw"
    done < <(present)
}

# "VDEV IMAGE FORMAT" of each disk: of QEMU, or of the record
present() {
    local vdev
    if [ -n "$qemu" ]; then
        qmp query-block | jq -r '.[] | select(.inserted) | .inserted.image +
            {qdev} | "\(.qdev | split("/")[3]) \(.filename) \(.format)"'
        return
    fi
    list > "$tmp/list"
    for vdev in "${vdevs[@]}"; do
        echo "$vdev ${original[$vdev]}"
    done | jq -Rr --slurpfile list "$tmp/list" 'split(" ") as $d |
        [$list[0].disks[]? | select(.vdev == $d[0]) |
            "\(.vdev) \(.image) \(.format)"][0] // .'
}

# disk_holds REFERENCE IMAGE FORMAT [TAG]
disk_holds() {
    if [ -z "${4:-}" ]; then
        same "$2" "$3" "$1"
    else
        rm -f "$tmp/tag.raw"
        qemu-img convert -U -f qcow2 -O raw -l "snapshot.name=$4" \
            "$2" "$tmp/tag.raw"
        same "$tmp/tag.raw" raw "$1"
    fi
}

# holds NAME REFERENCE-NAME: the snapshot does, on every disk
holds() {
    local vdev path kind tag
    xl snapshot-info --json "${who:-$uuid}" "$1" > "$tmp/info"
    jq -r '.disks[] | [.vdev, .image, .format, .tag // ""] | @tsv' \
        "$tmp/info" > "$tmp/held"
    while IFS=$'\t' read -r vdev path kind tag; do
        disk_holds "$refs/$2@$vdev.raw" "$path" "$kind" "$tag"
    done < "$tmp/held"
}

names_of() {
    jq -r --arg s "${1:-ready}" '.snapshots[]? | select(.status == $s) | .name'
}

# Every snapshot that can be reverted to holds what its reference does.
snapshots_are_right() {
    local name vdev path kind tag
    list > "$tmp/list"
    jq -r '.snapshots[]? | select(.status == "ready") | .name as $name |
        .disks[] | [$name, .vdev, .image, .format, .tag // ""] | @tsv' \
        "$tmp/list" > "$tmp/ready"
    while IFS=$'\t' read -r name vdev path kind tag; do
        disk_holds "$refs/$name@$vdev.raw" "$path" "$kind" "$tag"
    done < "$tmp/ready"
}

# No image but those that are recorded and those that the guest began with; no
# temporary file, no journal, no job.
nothing_left_over() {
    local vdev
    {
        for vdev in "${vdevs[@]}"; do
            echo "$images/$vdev.qcow2"
            echo "$images/$vdev.raw"
        done
        list | jq -r '(.disks[]?, .snapshots[]?.disks[]) | .image'
    } | sort -u > "$tmp/known"
    find "$images" -type f | sort > "$tmp/found"
    comm -13 "$tmp/known" "$tmp/found" | diff /dev/null -
    find "$tmp/state" -name '.*.new' -o -name 'snapshot-journal.json' |
        diff /dev/null -
    [ -z "$qemu" ] || [ "$(qmp query-jobs)" = '[]' ]
}

# In images that a QEMU has open, counts that are too high (3) are not a fault:
# it writes them later.
images_are_clean() {
    local file status
    for file in "$images"/*.qcow2; do
        status=0
        qemu-img check -q -U -f qcow2 "$file" || status=$?
        [ $status = 0 ] || [ "$status:${qemu:+live}" = 3:live ]
    done
}

all_is_right() {
    present_is_right
    snapshots_are_right
    nothing_left_over
    images_are_clean
}
