#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # top_srcdir is in the environment
#
# The layout of the public structs and the numbers of the enums, against
# abi.golden.  A difference breaks programs that are compiled already: raise
# ABI_VERSION in configure.ac, then run
# "./run tests/unit/abi.sh update".

golden=$top_srcdir/tests/unit/abi.golden
program=$top_builddir/tests/unit/gen-abi

if [ "$1" = update ]; then
    "$program" >"$golden"
    exit
fi

echo 1..1
if [ "$(getconf LONG_BIT)" != 64 ]; then
    echo "ok 1 - layout of the public types # SKIP the golden is for 64 bits"
    exit
fi
if difference=$("$program" | diff -u "$golden" -); then
    echo "ok 1 - layout of the public types"
else
    echo "not ok 1 - layout of the public types"
    echo "$difference" | sed 's/^/# /'
    echo "# raise ABI_VERSION in configure.ac if a release had the old layout;"
    echo "# then: ./run $top_srcdir/tests/unit/abi.sh update"
    exit 1
fi
