#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of rig.bash
# xl migrate --copy-disks is xl disk-migrate, with the guard before it; xl
# migrate without it stays stock xl's.

bats_require_minimum_version 1.5.0
load rig

setup() {
    rig_setup
    path=$top_builddir/xl-plugins/.libs/xl-guard
    [ -x "$path" ] || path=$top_builddir/xl-plugins/xl-guard
    ln -s "$path" "$tmp/exec/xl-guard"
    base+=(LD_LIBRARY_PATH="$top_builddir/lib/.libs"
           LIBXLX_RUN_DIR="$tmp/run"
           "FAKE_RUNNING=web,6f1b9a0e-53a4-4b0c-9c5e-0123456789ab")
    plant "$tmp/exec" xl-disk-migrate
}

# becomes OPTS WORD... -- XL-ARGS...: what xl-disk-migrate was called with
becomes() {
    local want="$tmp/exec/xl-disk-migrate LIBXLX_XL_OPTS=$1"
    shift
    while [ "$1" != -- ]; do
        want+=$'\n'"<$1>"
        shift
    done
    shift
    run xl "$@"
    echo "$output"
    [ "$status" = 7 ]
    [ "$output" = "$want" ]
}

@test "the words of both, in any order, reach the command" {
    becomes unset web other -- migrate --copy-disks web other
    becomes unset web other -- disk-migrate web other
    becomes unset --disks xvda,xvdb web other -- \
        migrate --copy-disks=xvda,xvdb web other
    becomes unset web --map xvda=/b other --speed 1m -s 'ssh -p 2' -- \
        migrate web --map xvda=/b other --copy-disks --speed 1m -s 'ssh -p 2'
    becomes -vvN web other -- -vvN migrate --live --copy-disks web other
    becomes unset --help -- migrate --copy-disks --help
    # what is wrong is the command's to say
    becomes unset -C file web other -- migrate --copy-disks -C file web other
    becomes unset -- disk-migrate
}

@test "without --copy-disks it is stock xl's" {
    same_as_stock migrate
    same_as_stock migrate -h
    run xl save --copy-disks web "$tmp/save"
    [[ $output != *xl-disk-migrate* ]]
}
