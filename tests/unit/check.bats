#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # output is set by bats' run
#
# The last line of ./check and its exit code: whoever runs it, CI first of all,
# need read nothing else.

bats_require_minimum_version 1.5.0

setup() { : "${top_srcdir:?is not set: run by make check}"; }

@test "a failure is in the last line and in the exit code" {
    run -1 "$top_srcdir/check" no-such-floor
    echo "$output"
    [[ ${lines[0]} == usage:* ]]
    [ "${lines[-1]}" = '0 passed, 1 failed, 0 skipped' ]
}
