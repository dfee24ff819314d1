#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # top_srcdir is in the environment
#
# The library exports what libxlx.map lists, all of it and nothing else, each
# symbol with its version; and libxlx.h declares no other functions.  It starts
# fast.

map=$top_srcdir/lib/libxlx.map
header=$top_srcdir/include/libxlx.h
library=$top_builddir/lib/.libs/libxlx.so

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

awk '/^LIBXLX_/ { node = $1 } /^ +xlx_/ { sub(/;/, ""); print $1 "@@" node }' \
    "$map" | sort >"$work/map"
nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' |
    sort >"$work/library"
sed 's/@@.*//' "$work/map" >"$work/names"
sed -n 's/^[a-z].*[ *]\(xlx_[a-z0-9_]*\)(.*/\1/p' "$header" |
    sort >"$work/header"

# compare NUMBER NAME EXPECTED FOUND
compare()
{
    if [ -s "$3" ] && difference=$(diff "$3" "$4"); then
        echo "ok $1 - $2"
    else
        failed=1
        echo "not ok $1 - $2"
        echo "$difference" | sed 's/^/# /'
    fi
}

echo 1..3
compare 1 "exported symbols are those of libxlx.map" \
    "$work/map" "$work/library"
compare 2 "functions of libxlx.h are those of libxlx.map" \
    "$work/names" "$work/header"

# Every command starts with these.  libxml2 would double the time, see
# vnuma-xml.c.
loaded=$(ldd "$library")
case $loaded in
*libxml2*|*libicu*|'')
    failed=1
    echo "not ok 3 - the library brings neither libxml2 nor ICU with it"
    echo "$loaded" | sed 's/^/# /'
    ;;
*)
    echo "ok 3 - the library brings neither libxml2 nor ICU with it"
    ;;
esac
exit $failed
