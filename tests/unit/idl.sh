#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # top_srcdir is in the environment
#
# The generator against tests/idl: each bad/X.idl gives the messages in
# bad/X.err and no output; good/*.idl gives the files in good/expected, and a
# second run rewrites none.  "idl.sh update" takes what comes out as expected;
# read the difference before you commit it.

idl=$top_srcdir/tests/idl
generator=$top_srcdir/idl/gen/main.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0
failed=0

# A tree of its own: release 0.2, one example, no pages by hand.
tree()
{
    rm -rf "$work/tree"
    mkdir -p "$work/tree/examples"
    echo 'AC_INIT([libxlx], [0.2.0])
AC_SUBST([ABI_VERSION], [3:0:1])' >"$work/tree/configure.ac"
    printf 'int main(void)\n{\n    return 0;\n}\n' \
        >"$work/tree/examples/shape-find.c"
}

# Leaves the golden files: not tests and fuzzers, which prove themselves.
without_tests()
{
    rm -rf "$work/tree/configure.ac" "$work/tree/examples" \
        "$work/tree/tests" "$work/tree/fuzz"
}

# generate DIRECTORY FILE...
generate()
{
    (cd "$idl/$1" && shift &&
        "${PYTHON:-python3}" -B "$generator" --root "$work/tree" "$@")
}

# result NAME, reads the difference
result()
{
    number=$((number + 1))
    if [ -s "$work/difference" ]; then
        failed=1
        echo "not ok $number - $1"
        sed 's/^/# /' "$work/difference"
    else
        echo "ok $number - $1"
    fi
}

if [ "$1" = update ]; then
    for f in "$idl"/bad/*.idl; do
        tree
        generate bad "${f##*/}" 2>"${f%.idl}.err"
    done
    tree
    generate good cpu.idl older.idl rpc.idl shapes.idl || exit
    rm -rf "$idl/good/expected"
    without_tests
    cp -R "$work/tree" "$idl/good/expected"
    find "$idl/good/expected" -type f -exec chmod 644 {} +
    exit
fi

for f in "$idl"/bad/*.idl; do
    name=${f##*/}
    tree
    if generate bad "$name" >"$work/said" 2>&1; then
        echo "accepted" >>"$work/said"
    fi
    find "$work/tree" -newer "$work/tree/configure.ac" -type f \
        ! -name shape-find.c >>"$work/said"
    diff "${f%.idl}.err" "$work/said" >"$work/difference"
    result "bad/$name"
done

tree
generate good cpu.idl older.idl rpc.idl shapes.idl >"$work/difference" 2>&1
result "good/*.idl are accepted"
cp -Rp "$work/tree" "$work/all"
without_tests
# a build in the source directory leaves its objects next to the golden files
diff -ru -x .deps -x .dirstamp -x .libs -x '*.o' -x '*.lo' \
    "$idl/good/expected" "$work/tree" >"$work/difference"
result "good/expected"

rm -rf "$work/tree"
mv "$work/all" "$work/tree"
touch "$work/before"
touch "$work/tree/docs/gen/man3/xlx_gone.pod"
generate good cpu.idl older.idl rpc.idl shapes.idl
find "$work/tree" -type f -newer "$work/before" >"$work/difference"
result "a second run rewrites nothing"

find "$work/tree" -name xlx_gone.pod >"$work/difference"
result "a page of a call that has gone is removed"

find "$work/tree" -type f -perm /222 ! -name shape-find.c \
    ! -name configure.ac >"$work/difference"
result "what comes out is read-only"

# The golden files cannot tell that all of it compiles.
: >"$work/difference"
for f in libvirt-glue/gen-answers.c libvirt-glue/gen-libvirt.c lib/cpu/gen-cpu.c lib/gen-types.c lib/gen-json.c lib/gen-calls.c \
    lib/gen-records.c \
    xl-plugins/gen-shapes.c tests/unit/gen-roundtrip.c tests/unit/gen-abi.c \
    fuzz/gen-fuzz-json.c; do
    ${CC:-cc} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Wshadow -Wformat=2 \
        -Wmissing-prototypes -Wstrict-prototypes -Wwrite-strings -Werror \
        -I "$work/tree/include" -I "$work/tree/lib" -I "$top_srcdir/lib" \
        -I "$top_srcdir/xl-plugins" -I "$top_srcdir/libvirt-glue" -I "$top_srcdir/tests/unit" \
        -fsyntax-only "$work/tree/$f" >>"$work/difference" 2>&1
done
result "the C of good/*.idl compiles"

"${PYTHON:-python3}" -B -c 'import ast, json, sys
ast.parse(open(sys.argv[1]).read())
json.load(open(sys.argv[2]))' "$work/tree/python/libxlx.py" \
    "$work/tree/docs/gen/libxlx.schema.json" >"$work/difference" 2>&1
result "the Python and the JSON of good/*.idl can be read"

podchecker "$work"/tree/docs/gen/man?/*.pod 2>&1 |
    grep -v 'pod syntax OK' >"$work/difference"
result "the man pages of good/*.idl are right POD"

echo "1..$number"
exit $failed
