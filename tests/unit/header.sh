#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # top_srcdir is in the environment
#
# libxlx.h by itself, as a program includes it: in C99 and in C++.

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/header.c" <<END
#include <libxlx.h>
int main(void)
{
    xlx_disk disk;
    xlx_disk_init(&disk);
    return XLX_HAVE_CTX_ALLOC + XLX_HAVE_DISK - 2;
}
END
cp "$dir/header.c" "$dir/header.cc"
failed=0

# try NUMBER NAME COMPILER ARGUMENTS...
try()
{
    number=$1
    name=$2
    shift 2
    if ! command -v "$1" >/dev/null; then
        echo "ok $number - $name # SKIP no $1"
    elif "$@" -Wall -Wextra -Werror -I "$top_srcdir/include" \
        -fsyntax-only 2>"$dir/said"; then
        echo "ok $number - $name"
    else
        failed=1
        echo "not ok $number - $name"
        sed 's/^/# /' "$dir/said"
    fi
}

echo 1..3
try 1 "C99, gcc" gcc -std=c99 -pedantic "$dir/header.c"
try 2 "C99, clang" clang -std=c99 -pedantic "$dir/header.c"
try 3 "C++" g++ "$dir/header.cc"
exit $failed
