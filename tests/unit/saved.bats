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

@test "save-compact, save-expand: memory, types and records are the same" {
    for kind in pvh hvm pv live; do
        for level in 0 1 19; do
            rm -f ./*
            digest=$(make_saved $kind g.save pages=150 seed=$level)
            xl save-compact --zstd $level g.save g.xlc
            [ "$(stat -c %a g.xlc)" = 600 ]
            xl save-verify g.xlc
            xl save-expand g.xlc back.save
            make_saved same g.save back.save
            [ "$(make_saved digest back.save)" = "$digest" ]
            # compact of compact, and out of a pipe
            xl save-compact g.xlc h.xlc
            xl save-expand h.xlc - | cmp - back.save
            xl save-verify back.save
        done
    done
}

@test "save-compact of a live save: the last data only, and the hot pages" {
    make_saved live g.save pages=40 > /dev/null
    xl save-compact g.save g.xlc
    run -0 --separate-stderr xl save-info --json g.xlc
    jq -e '.[0].saved | .form == "compact" and .old_pages == 0 and
        .hot_pages == 3 and .passes == 3 and .sums and .name == "web" and
        .data_pages == 48 and .zero_pages > 5 and .config != ""' <<< "$output"
    jq -e '.[0].here.obstacles | map(.about) | index("xvda")' <<< "$output"
    run -0 xl save-verify --json g.xlc
    jq -e '.[0] | .sums == .pages and .sums < 48' <<< "$output"
}

@test "a compact file that is cut off or damaged anywhere is refused" {
    make_saved pvh g.save pages=40 > /dev/null
    for level in 0 1; do
        rm -f g.xlc
        xl save-compact --zstd $level g.save g.xlc
        size=$(stat -c %s g.xlc)
        for at in 0 47 48 400 4095 4096 $((size / 2)) $((size - 257)) \
            $((size - 1)); do
            head -c "$at" g.xlc > bad
            run -1 xl save-verify bad
            [[ $output == "xl save-verify: bad: "* ]]
        done
        good=$(xl save-expand g.xlc - | sha256sum)
        # everything but the filling behind the head has a sum
        for at in 10 36 60 $((4096 + 30)) $((size - 700)) $((size - 300)) \
            $((size - 250)) $((size - 90)) $((size - 4)); do
            cp g.xlc bad
            printf '\x5a' | dd of=bad bs=1 seek="$at" conv=notrunc status=none
            run -1 xl save-verify bad
            echo "$at: $output"
            run -1 xl save-expand bad out.save
            [ ! -e out.save ]
        done
    done
    [ "$(xl save-expand g.xlc - | sha256sum)" = "$good" ]
}

@test "no file is replaced without --force, and nothing half done is left" {
    make_saved pvh g.save > /dev/null
    echo precious > there
    for command in "save-compact g.save" "save-expand g.save"; do
        run -1 xl $command there
        [[ $output == *"there is such a file"*"--force"* ]]
        [ "$(cat there)" = precious ]
    done
    xl save-compact -f g.save there
    xl save-verify there
    # the file itself
    run -1 xl save-compact g.save g.save
    xl save-compact -f g.save g.save
    xl save-verify g.save
    run -1 xl save-compact none new
    run -1 xl save-compact g.save nowhere/new
    run -1 xl save-compact --zstd 23 g.save new
    run -1 xl save-expand there .
    [ "$(ls)" = "g.save
there" ]
}

@test "killed at each step: the old file, or the new one, and no other" {
    grep -q XLX_FAULT_POINTS "$top_builddir/config.h" || skip "no fault points"
    grep -q 'define XLX_FAULT_POINTS 1' "$top_builddir/config.h" ||
        skip "no fault points"
    make_saved pvh g.save > /dev/null
    for force in "" -f; do
        for point in written synced named; do
            rm -f new
            [ -z "$force" ] || echo old > new
            LIBXLX_FAULT=saved-file.$point run xl save-compact $force g.save new
            [ "$status" = 137 ]
            if [ $point = named ]; then
                xl save-verify new
            elif [ -n "$force" ]; then
                [ "$(cat new)" = old ]
            else
                [ ! -e new ]
            fi
            [ "$(find . -type f ! -name g.save ! -name new | wc -l)" = 0 ]
        done
    done
}

@test "a full disk: a message, and nothing is left" {
    make_saved pvh g.save pages=2000 > /dev/null
    run -1 bash -c "trap '' XFSZ; ulimit -f 100; exec '$top_builddir/run' xl save-expand g.save new"
    [[ $output == *"new: File too large"* ]]
    [ ! -e new ]
}

@test "save-index: a changed bit is found, in a page or elsewhere" {
    make_saved live g.save pages=60 > /dev/null
    run -0 xl save-index g.save
    [[ $output == "Made g.save.index: sums of "* ]]
    [ "$(stat -c %a g.save.index)" = 600 ]
    run -0 xl save-verify g.save
    [[ $output == *"all sums agree" ]]
    # another copy is still that file
    cp g.save copy
    run -0 xl save-verify --index g.save.index copy
    size=$(stat -c %s g.save)
    for at in 600 3000 $((size / 3)) $((size / 2)) $((size - 80)); do
        cp g.save copy
        printf '\x01' | dd of=copy bs=1 seek="$at" conv=notrunc status=none
        cmp -s g.save copy && continue
        run -1 xl save-verify --index g.save.index copy
        echo "$at: $output"
    done
    run -1 xl save-index g.save
    [[ $output == *"--force"* ]]
    xl save-index --force g.save
    xl save-compact g.save g.xlc
    run -1 xl save-index g.xlc
    [[ $output == *"has sums of its own"* ]]
}

@test "an index that is cut off, damaged, or of another file" {
    make_saved pvh g.save > /dev/null
    make_saved pvh h.save seed=7 > /dev/null
    xl save-index g.save
    size=$(stat -c %s g.save.index)
    for at in 0 100 127 128 400 $((size - 1)); do
        head -c "$at" g.save.index > bad
        run -1 xl save-verify --index bad g.save
        cp g.save.index bad
        printf '\x5a' | dd of=bad bs=1 seek="$at" conv=notrunc status=none
        run -1 xl save-verify --index bad g.save
    done
    run -1 xl save-verify --index g.save h.save
    [[ $output == *"not an index"* ]]
    run -1 xl save-verify --index g.save.index h.save
    [[ $output == *"not the file that the index"* ]]
    run -1 xl save-verify --index none g.save
}

@test "save-diff compares the guests and not the files" {
    make_saved live g.save pages=60 > /dev/null
    xl save-compact g.save g.xlc
    run -0 xl save-diff g.save g.xlc
    [[ $output == "The guests are the same"* ]]
    make_saved live h.save pages=60 seed=2 > /dev/null
    run -1 xl save-diff --ranges g.xlc h.save
    [[ $output == *"The guests differ"*changed* ]]
    make_saved live i.save pages=70 > /dev/null
    run -1 --separate-stderr xl save-diff --json g.save i.save
    jq -e '.added_pages == 10 and .gone_pages == 0 and .same_config and
        (.same | not) and (.ranges | map(select(.change == "added")) |
        length) == 1' <<< "$output"
    make_saved hvm j.save > /dev/null
    run -1 --separate-stderr xl save-diff --json g.save j.save
    jq -e '(.same_config | not) and (.same_records | not) and
        (.records | index("EMULATOR_CONTEXT"))' <<< "$output"
    run -1 xl save-diff g.save none
}

@test "a compact file has its CPU policy and its guest where others look" {
    make_saved pvh g.save > /dev/null
    xl save-compact g.save g.xlc
    [ "$(xl cpu-detect g.xlc)" = "$(xl cpu-detect g.save)" ]
    run -0 xl save-info g.xlc
    [[ $output == *"compact, of "*" zero"* ]]
}

@test "the example lists files of both forms" {
    make_saved pvh g.save > /dev/null
    xl save-compact g.save g.xlc
    run -0 "$top_builddir/run" "$top_builddir/examples/saved-list" g.save g.xlc
    echo "$output"
    [[ $output == *"g.save"$'\t'"web"$'\t'"pvh"$'\t'*"g.xlc"$'\t'"web"* ]]
    [[ $output == *"xvda: its image"* ]]
}
