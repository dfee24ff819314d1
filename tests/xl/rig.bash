# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034
# The rig of these tests: the dispatcher of the build tree in front of the real
# xl of the installed Xen, whose calls to a hypervisor fake-libxl.c answers.

real_xl() {
    local found
    for found in "$REAL_XL" /usr/lib/xen-*/bin/xl; do
        [ -x "$found" ] && readlink -f "$found" && return
    done
    return 1
}

rig_setup() {
    : "${top_builddir:?is not set: run by make check}" "${top_srcdir:?}"
    xl=$(readlink -f "$top_builddir/xl-plugins/xl")
    fake=$top_builddir/tests/xl/.libs/fake-libxl.so
    real=$(real_xl) || skip 'no xl is installed: install xen-utils'
    tmp=$BATS_TEST_TMPDIR
    mkdir "$tmp/exec" "$tmp/bin" "$tmp/state" "$tmp/path"
    printf 'foo-create\tfoo\tMake a foo\nfoo-list\tfoo\tList all foos\n' \
        > "$tmp/exec/gen-commands.list"
    base=(PATH="$tmp/path:/usr/bin:/bin" LIBXLX_XL="$real"
          LIBXLX_EXEC_DIR="$tmp/exec" LIBXLX_STATE_DIR="$tmp/state"
          LD_PRELOAD="$fake" FAKE_STOCK="$real")
    # For --enable-sanitizers: stock xl has none, and is not ours to check.
    base+=(ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0)
    extra=()
}

# A program that tells how it was called: plant DIRECTORY NAME
plant() {
    cat > "$1/$2" <<'EOF'
#!/bin/sh
printf '%s\n' "$0 LIBXLX_XL_OPTS=${LIBXLX_XL_OPTS-unset}"
for arg in "$@"; do printf '<%s>\n' "$arg"; done
exit 7
EOF
    chmod +x "$1/$2"
}

# Runs PROGRAM as "xl" with nothing in its environment but base and extra.
as_xl() {
    env -i "${base[@]}" "${extra[@]}" \
        perl -e '$p = shift; exec {$p} "xl", @ARGV or die "$p: $!\n"' -- "$@"
}

# The dispatcher, for bats' run
xl() { as_xl "$xl" "$@"; }

# Standard output, standard error, exit code and what reached stock xl, as
# files PREFIX.*: observe PREFIX PROGRAM ARGS...
observe() {
    local prefix=$1 code=0 base=("${base[@]}" FAKE_RECORD="$tmp/record")
    shift
    rm -f "$tmp/record"
    as_xl "$@" > "$prefix.out" 2> "$prefix.err" || code=$?
    echo "$code" > "$prefix.code"
    strings_of "$tmp/record" > "$prefix.record"
}

# A record with a line for each string, but without the count that finds loops,
# which is the one thing that the dispatcher adds.
strings_of() { tr '\0\n' '\n\0' < "$1" | grep -av '^LIBXLX_XL_DEPTH=1$'; }

# Stock xl must be asked and answer as if the dispatcher were not there.
same_as_stock() {
    local what
    observe "$tmp/stock" "$real" "$@" < "${stdin:-/dev/null}"
    observe "$tmp/ours" "$xl" "$@" < "${stdin:-/dev/null}"
    for what in record out err code; do
        cmp "$tmp/stock.$what" "$tmp/ours.$what" || {
            echo "xl $* differs in $what:"
            diff -a "$tmp/stock.$what" "$tmp/ours.$what"
            return 1
        }
    done
}
