# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# Shared by the benchmarks: the build tree, a directory of their own, medians.

set -eu
: "${top_builddir:?run this by make bench}" "${top_srcdir:?}"
bench=$top_builddir/bench
source=$top_srcdir/bench

tmp=$(mktemp -d "${TMPDIR:-/var/tmp}/libxlx-bench-XXXXXX")
children=()
finish() {
    local child
    for child in ${children[@]+"${children[@]}"}; do
        if kill "$child" 2>/dev/null; then wait "$child" || :; fi
    done
    rm -rf "$tmp"
}
trap finish EXIT
trap 'exit 130' INT TERM

export LIBXLX_STATE_DIR=$tmp/state LIBXLX_RUN_DIR=$tmp/run
export LIBXLX_EXEC_DIR=$top_builddir/xl-plugins
export LD_LIBRARY_PATH=$top_builddir/lib/.libs:${LD_LIBRARY_PATH-}

# The program itself, not libtool's script in front of it.
xl=$(readlink -f "$LIBXLX_EXEC_DIR/xl")
snapshot=$LIBXLX_EXEC_DIR/.libs/xl-snapshot
[ -x "$snapshot" ] || snapshot=$LIBXLX_EXEC_DIR/xl-snapshot

title() { printf '\n== %s\n' "$*"; }
leave_out() { echo "left out: $*"; exit 0; }

# The median of the lines of numbers.
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# await_socket SOCKET LOG: of the child just started
await_socket() {
    until [ -S "$1" ]; do
        kill -0 $! 2>/dev/null || { cat "$2"; exit 1; }
        sleep 0.1
    done
}
