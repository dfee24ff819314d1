#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# xl restore of compact files: stock xl gets a pipe with what it reads, and all
# other files as they were typed.

bats_require_minimum_version 1.5.0
load rig

setup() {
    rig_setup
    for program in guard saved saver; do
        # Not the script of libtool's: it forgets how it was called.
        path=$top_builddir/xl-plugins/.libs/xl-$program
        [ -x "$path" ] || path=$top_builddir/xl-plugins/xl-$program
        ln -s "$path" "$tmp/exec/xl-$program"
    done
    for command in compact expand; do
        ln -s xl-saved "$tmp/exec/xl-save-$command"
    done
    base+=(LD_LIBRARY_PATH="$top_builddir/lib/.libs"
           LIBXLX_RUN_DIR="$tmp/run")
    python3 -B "$top_srcdir/tests/unit/saved-make.py" pvh "$tmp/g.save" \
        pages=2000 > /dev/null
    xl save-compact "$tmp/g.save" "$tmp/g.xlc"
    xl save-expand "$tmp/g.xlc" "$tmp/back.save"
    printf '#!/bin/bash\nprintf "%%s\\n" "$@" > %q\ncat "${!#}" > %q\n' \
        "$tmp/words" "$tmp/got" > "$tmp/stock"
    chmod +x "$tmp/stock"
    extra=(LIBXLX_XL="$tmp/stock")
}

@test "a compact file reaches stock xl as xl save would have written it" {
    xl restore -p "$tmp/g.xlc"
    cmp "$tmp/back.save" "$tmp/got"
    [[ $(tr '\n' ' ' < "$tmp/words") == "restore -p /dev/fd/"* ]]
    # with a config in front, and under a shorter name of the command
    xl rest "$tmp/g.cfg" "$tmp/g.xlc"
    cmp "$tmp/back.save" "$tmp/got"
}

@test "with records, the guard looks at the guest, and then the same" {
    touch "$tmp/state/something"
    xl restore "$tmp/g.xlc"
    cmp "$tmp/back.save" "$tmp/got"
}

@test "any other file is stock xl's, as it was typed" {
    xl restore "$tmp/g.save"
    [ "$(cat "$tmp/words")" = "restore
$tmp/g.save" ]
    head -c 40 "$tmp/g.xlc" > "$tmp/short"
    xl restore "$tmp/short"
    cmp "$tmp/short" "$tmp/got"
}

@test "a damaged page: a message, and the pipe ends before it" {
    size=$(stat -c %s "$tmp/g.xlc")
    printf '\x5a\xa5' | dd of="$tmp/g.xlc" bs=1 seek=$((size / 3)) \
        conv=notrunc status=none
    run xl restore "$tmp/g.xlc"
    echo "$output"
    [[ $output == *"xl save-expand: $tmp/g.xlc: page 0x"* ]]
    [ "$(stat -c %s "$tmp/got")" -lt "$(stat -c %s "$tmp/g.save")" ]
}

@test "save --compact is ours, also when it is wrong; stock xl is not asked" {
    run -2 xl save --compact
    [ ! -e "$tmp/words" ]
    run -2 xl save --compact g
    run -2 xl save --compact --zstd 99 g "$tmp/new"
    [[ $output == *"usage: xl save --compact"* ]]
    run -1 xl save --compact g "$tmp/g.save"
    echo "$output"
    [[ $output == *"there is such a file"* ]]
    [ ! -e "$tmp/words" ]
    xl save g "$tmp/g.save" --
    [ -e "$tmp/words" ]
}
