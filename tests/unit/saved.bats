#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of bats, and of the environment
#
# xl save-...: on files that saved-make.py makes from Xen's specifications.

bats_require_minimum_version 1.5.0

setup() {
    tmp=$BATS_TEST_TMPDIR
    cd "$tmp" || return
}

xl() { "$top_builddir/run" xl "$@"; }
make_saved() { python3 -B "$top_srcdir/tests/unit/saved-make.py" "$@"; }

@test "save-info tells of each kind of guest" {
    for kind in pvh hvm pv; do
        make_saved $kind g.save > /dev/null
        run -0 xl save-info g.save
        echo "$output"
        [[ $output == *"guest       web $kind"* ]]
        [[ $output == *"disk        xvda /nonexistent/a.qcow2 qcow2"* ]]
        [[ $output == *"here: FAILS xvda: its image"*"No such file"* ]]
        [[ $output == *"here: FAILS nic: 00:16:3e:01:02:03: there is no bridge"* ]]
    done
    [[ $output != *QEMU* ]]
}

@test "save-info --json has what the schema promises" {
    make_saved live g.save pages=40 > /dev/null
    make_saved hvm h.save > /dev/null
    run -0 --separate-stderr xl save-info --json g.save h.save
    jq -e 'length == 2 and .[0].saved.passes == 3 and
        .[0].saved.hot_pages == 3 and .[0].saved.old_pages == 11 and
        .[0].saved.name == "web" and .[0].saved.vcpus == 2 and
        .[0].saved.max_memory == 536870912 and .[1].saved.emulator == 404 and
        (.[0].here.obstacles | map(.about) | index("xvda"))' <<< "$output"
}

@test "save-info --config gives the configuration back" {
    make_saved pvh g.save config='{"c_info":{"name":"x"}}' > /dev/null
    run -0 xl save-info --config g.save
    [ "$output" = '{"c_info":{"name":"x"}}' ]
}

@test "a config of another kind, or none, is not an error" {
    make_saved text-config g.save
    run -0 xl save-info g.save
    [[ $output == *"guest       - hvm"* ]]
    make_saved pvh g.save config='{"c_info":7,"b_info":[],"disks":{},"nics":[3,{"mac":1}]}' > /dev/null
    xl save-info g.save
    make_saved pvh g.save config='{"c_info":' > /dev/null
    xl save-info g.save
}

@test "save-verify: each fault is found, with its byte" {
    for fault in $(make_saved faults x); do
        make_saved "$fault" f.save
        run xl save-verify f.save
        echo "$fault: $output"
        [ "$status" = 1 ]
        [[ $output =~ ^xl\ save-verify:\ f.save:\ byte\ [0-9]+,\ .*:\  ]]
        run xl save-info f.save
        [ "$status" = 1 ]
    done
}

@test "save-verify takes what Xen takes" {
    for good in optional verify text-config; do
        make_saved $good g.save
        run -0 xl save-verify g.save
        [[ $output == "g.save: good: "* ]]
    done
    printf x >> g.save
    run -0 xl save-verify g.save
    [[ $output == *"1 bytes behind the end"* ]]
}

@test "several files: each is told of, and the worst status counts" {
    make_saved pvh g.save > /dev/null
    run -1 xl save-verify none g.save
    [[ $output == *"none: No such file"*"g.save: good"* ]]
    run -0 --separate-stderr xl save-verify --json g.save
    jq -e '.[0].pages == 72 and .[0].sums == 0' <<< "$output"
}

@test "a FIFO, a directory and /dev/zero are refused at once" {
    mkfifo fifo
    for f in fifo . /dev/zero; do
        run -1 timeout 10 "$top_builddir/run" xl save-info $f
        [[ $output == *"neither a file nor a block device"* ]]
    done
}

@test "a large guest in a sparse file: little is read, and little memory used" {
    make_saved pvh g.save pages=4 > /dev/null
    truncate -s 4T g.save
    run -0 xl save-verify g.save
    [[ $output == *"bytes behind the end"* ]]
}
