#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # output is set by bats' run
#
# When a test on the emulated Xen host is repeated: once, after a fault of the
# emulator in its own time, with a remark; and never because it failed.

bats_require_minimum_version 1.5.0

setup() {
    : "${top_srcdir:?is not set: run by make check}"
    guest=$(cd "$top_srcdir/tests/xen-host" && pwd)/guest
    cd "$BATS_TEST_TMPDIR" || return
    mkdir bin
    # the logs of Xen and of dom0's kernel
    printf '#!/bin/sh\ncat "%s/xen-log"\n' "$PWD" > bin/xl
    printf '#!/bin/sh\ncat "%s/kernel-log"\n' "$PWD" > bin/dmesg
    chmod +x bin/*
    : > xen-log
    : > kernel-log
    : > tries
}

# group BODY: runs a group whose one test is BODY; what it prints is TAP.
group() {
    printf 'setup() { load "%s"; }\n@test "one" { echo . >> tries\n%s\n}\n' \
        "$guest" "$1" > group.bats
    PATH=$PWD/bin:$PATH run bats --tap group.bats
    echo "$output"
}

tries() { wc -l < tries; }
fault='echo "(XEN) d2v0 Triple fault - invoking HVM shutdown" >> xen-log'

@test "a failure without a fault of the emulator is a failure" {
    group false
    [ "$(tries)" = 1 ]
    [[ $output == *"not ok 1"* && $output != *repeated* ]]
}

@test "a lost guest costs one repetition, which leaves a remark" {
    group "[ \$(wc -l < tries) = 2 ] || { $fault; false; }"
    [ "$(tries)" = 2 ]
    [[ $output == *"# repeated after a fault of the emulator: one"* ]]
    [[ $output == *"ok 1 one"* && $output != *"not ok"* ]]
}

@test "so does a crashed program of dom0" {
    group '[ $(wc -l < tries) = 2 ] || {
        echo "jq[77]: segfault at 0 ip 0" >> kernel-log; false; }'
    [ "$(tries)" = 2 ]
    [[ $output != *"not ok"* ]]
}

@test "a second fault is not forgiven" {
    group "$fault; false"
    [ "$(tries)" = 2 ]
    [[ $output == *"not ok 1"* ]]
}

@test "a test that passes is not repeated, whatever the logs say" {
    group "$fault"
    [ "$(tries)" = 1 ]
    [[ $output != *repeated* ]]
}

# as demo-story does
@test "a script that ends at the first error can use it with empty logs" {
    PATH=$PWD/bin:$PATH run -0 bash -euo pipefail -c ". '$guest.bash'; echo on"
    [ "$output" = on ]
}
