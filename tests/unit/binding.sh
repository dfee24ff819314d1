#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # top_srcdir is in the environment
#
# Runs shapes.py on a library made of tests/idl/good and shapes.c.

built=$top_builddir/tests/unit/.libs/libshapes.so
if [ "$SANITIZERS" = yes ]; then
    echo '1..0 # SKIP python3 itself is not built with sanitizers'
    exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$built" "$work/libxlx.so.2"
LD_LIBRARY_PATH=$work${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} \
    PYTHONPATH=$top_srcdir/tests/idl/good/expected/python \
    "${PYTHON:-python3}" -B "$top_srcdir/tests/unit/shapes.py"
