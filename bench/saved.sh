#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# save-compact and save-expand beside zstd and cp of the same file; save-info,
# save-index and save-verify beside reading it.  The file is made up: a third
# of the pages are zero, the others are text as programs have it.  SAVED=FILE
# is a real one.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title 'saved guests'
command -v zstd > /dev/null || leave_out 'install zstd'
saved=$LIBXLX_EXEC_DIR/.libs/xl-saved
[ -x "$saved" ] || saved=$LIBXLX_EXEC_DIR/xl-saved
runs=${RUNS:-5}
export saved tmp
if [ -z "${SAVED:-}" ]; then
    SAVED=$tmp/web.save
    python3 -B "$top_srcdir/tests/unit/saved-make.py" pvh "$SAVED" \
        pages=$((${MIB:-512} * 256)) > /dev/null
fi
export SAVED
echo "$SAVED, $(stat -c %s "$SAVED" | numfmt --to=iec)"

# shellcheck disable=SC2016  # for the shells that are measured
{
"$bench/versus" -n "$runs" 'save-compact' \
    sh -c '"$saved" save-compact -f "$SAVED" "$tmp/a.xlc" > /dev/null' \
    vs 'zstd -1' \
    sh -c 'zstd -q -1 -f -T1 "$SAVED" -o "$tmp/a.zst" && sync "$tmp/a.zst"'
"$bench/versus" -n "$runs" 'save-expand' \
    sh -c '"$saved" save-expand -f "$tmp/a.xlc" "$tmp/b" > /dev/null' \
    vs 'zstd -d' \
    sh -c 'zstd -q -d -f "$tmp/a.zst" -o "$tmp/b" && sync "$tmp/b"'
"$bench/versus" -n "$runs" 'save-expand to a pipe' \
    sh -c '"$saved" save-expand "$tmp/a.xlc" - | cat > /dev/null' \
    vs 'cat of the file' \
    sh -c 'cat "$SAVED" | cat > /dev/null'
"$bench/versus" -n "$runs" 'save-compact --zstd 0' \
    sh -c '"$saved" save-compact -f --zstd 0 "$SAVED" "$tmp/r.xlc" \
               > /dev/null' \
    vs cp \
    sh -c 'cp "$SAVED" "$tmp/b" && sync "$tmp/b"'
"$bench/versus" -n "$runs" 'save-info' \
    sh -c '"$saved" save-info --config "$SAVED" > /dev/null' \
    vs 'reading the file' sh -c 'cat "$SAVED" > /dev/null'
"$bench/versus" -n "$runs" 'save-index' \
    sh -c '"$saved" save-index -f "$SAVED" "$tmp/index" > /dev/null' \
    vs 'reading the file' sh -c 'cat "$SAVED" > /dev/null'
"$bench/versus" -n "$runs" 'save-verify with sums' \
    sh -c '"$saved" save-verify --index "$tmp/index" "$SAVED" > /dev/null' \
    vs 'reading the file' sh -c 'cat "$SAVED" > /dev/null'
}
echo "sizes: compact $(stat -c %s "$tmp/a.xlc"), zstd $(stat -c %s \
    "$tmp/a.zst"), the file $(stat -c %s "$SAVED")"
