#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A guest runs, and its QEMU cannot be asked: there is no socket, nobody
# listens, or it never answers.  It does not count as shut down: no command
# changes its images, and each one ends in time with what to do.

bats_require_minimum_version 1.5.0
load rig

uuid=7c5ac0e4-1f3b-4f0e-9a52-0d6a2f3f9b11

setup() {
    rig_setup
    for tool in qemu-img jq python3; do
        command -v "$tool" > /dev/null || skip "no $tool"
    done
    path=$top_builddir/xl-plugins/.libs/xl-snapshot
    [ -x "$path" ] || path=$top_builddir/xl-plugins/xl-snapshot
    for command in "" -create -delete -list -repair; do
        ln -s "$path" "$tmp/exec/xl-snapshot$command"
    done
    ln -s "$xl" "$tmp/path/xl"
    mkdir "$tmp/xen"
    base+=(LD_LIBRARY_PATH="$top_builddir/lib/.libs"
           LIBXLX_RUN_DIR="$tmp/run" LIBXLX_XEN_RUN_DIR="$tmp/xen"
           LIBXLX_XEN_LIB_DIR="$tmp/xen")
    image=$tmp/web.qcow2
    qemu-img create -q -f qcow2 "$image" 1M
    printf 'name="web"\nuuid="%s"\nmemory=64\ndisk=["%s,qcow2,xvda,w"]\n' \
        "$uuid" "$image" > "$tmp/web.cfg"
    xl snapshot-create --kind external --config "$tmp/web.cfg" web s1
    overlay=$tmp/web.s1.qcow2
    extra=(FAKE_RUNNING="web,$uuid" FAKE_DISK="w,qcow2:$overlay")
    listener=''
}

teardown() {
    [ -z "$listener" ] || kill "$listener" || true
}

# listen SOCKET...: takes what comes and never answers
listen() {
    python3 -c '
import socket, sys, time
kept = []
for path in sys.argv[1:]:
    kept.append(socket.socket(socket.AF_UNIX))
    kept[-1].bind(path)
    kept[-1].listen(64)
print("ready", flush=True)
time.sleep(300)' "$@" > "$tmp/ready" 3>&- &
    listener=$!
    until grep -q ready "$tmp/ready"; do sleep 0.05; done
}

everything() { (cd "$tmp" && md5sum ./*.qcow2 && cat state/*/*.json); }

# refused PATTERN: each command that changes something, and within a minute
refused() {
    local before command
    before=$(everything)
    for command in "create --kind external web s2" \
        "create --kind internal web s2" "delete web s1"; do
        SECONDS=0
        # shellcheck disable=SC2086 # words
        run --separate-stderr xl snapshot-$command
        echo "$command: $status after $SECONDS s: $output$stderr"
        [ "$status" = 1 ]
        [ "$SECONDS" -lt 60 ]
        [ "${#stderr_lines[@]}" = 1 ]
        # shellcheck disable=SC2053 # a pattern
        [[ $stderr = $1 ]]
        diff <(echo "$before") <(everything)
    done
    SECONDS=0
    run xl snapshot-repair web
    echo "repair: $status after $SECONDS s: $output"
    [ "$SECONDS" -lt 60 ]
    run xl snapshot-list web
    echo "list: $status after $SECONDS s: $output"
    [ "$SECONDS" -lt 90 ]
    diff <(echo "$before") <(everything)
}

@test "no socket of its QEMU is there" {
    refused 'xl snapshot-*: *QEMU*'
}

@test "nobody listens at the socket of its QEMU" {
    listen "$tmp/xen/qmp-libxl-7" "$tmp/xen/qmp-libxenstat-7"
    kill "$listener"
    wait "$listener" || true
    listener=''
    refused 'xl snapshot-*: *QEMU*'
}

@test "its QEMU never answers" {
    listen "$tmp/xen/qmp-libxl-7" "$tmp/xen/qmp-libxenstat-7"
    refused 'xl snapshot-*: *qmp-lib*: *'
}

@test "a guest that has no disk has no QEMU, and the message says the first" {
    extra=(FAKE_RUNNING="none,8c5ac0e4-1f3b-4f0e-9a52-0d6a2f3f9b11")
    run -1 xl snapshot-create none s1
    echo "$output"
    [[ $output == *"no disk"* ]]
}
