#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Commands of stock xl reach it byte for byte: arguments, environment, standard
# input and output, exit code; and costs one exec and no library.

bats_require_minimum_version 1.5.0
load rig

setup() { rig_setup; }

guest_config() {
    printf 'name="%s"\nuuid="6aa7a3a4-1fd6-4a5c-8d4a-8a7b0f8d3c11"\n' "$1"
    printf 'type="hvm"\nmemory=64\n'
}

stock_commands() { as_xl "$real" help | sed 1,4d | awk '/^ [^ ]/ {print $1}'; }

@test "the stock commands compiled in are those of the installed xl" {
    minor=$(pkg-config --modversion xenlight | sed 's/^4\.\([0-9]*\).*/\1/')
    stock_commands | sort > "$tmp/real"
    [ "$(wc -l < "$tmp/real")" -gt 80 ]
    sed -n 's/^{ "\([^"]*\)", \([0-9]*\) },$/\2 \1/p' \
        "$top_srcdir/xl-plugins/stock-commands.inc" |
        awk -v v="$minor" '$1 <= v {print $2}' | sort > "$tmp/ours"
    # On Arm some are left out of the installed one.
    case $(uname -m) in
    x86_64|i?86) diff "$tmp/real" "$tmp/ours" ;;
    *) [ -z "$(comm -23 "$tmp/real" "$tmp/ours")" ] ;;
    esac
}

@test "every stock command and each of its prefixes reaches stock xl" {
    stock_commands > "$tmp/commands"
    awk '{for (i = 1; i <= length($1); i++) print substr($1, 1, i)}' \
        "$tmp/commands" | sort -u |
        grep -Evx 'sa|sav|save|migrate' > "$tmp/prefixes"   # by way of xl-guard
    [ "$(wc -l < "$tmp/prefixes")" -gt 500 ]
    # All in one go, and one comparison: there are more than 500 of them.
    plant "$tmp" planted
    perl -le '$tmp = shift; chomp(@names = <STDIN>);
        for $name (map { ("path/xl-$_", "exec/xl-$_") } @names) {
            link "$tmp/planted", "$tmp/$name" or die "$name: $!"
        }' "$tmp" < "$tmp/prefixes"
    all='$p = shift; while (<>) {
             chomp; system {$p} "xl", $_, "-x", "a b"; print "$_ $?\n"
         }'
    for who in real xl; do
        env -i "${base[@]}" FAKE_RECORD="$tmp/record" FAKE_EXIT=5 \
            perl -e "$all" -- "${!who}" "$tmp/prefixes" > "$tmp/codes"
        diff <(sed 's/$/ 1280/' "$tmp/prefixes") "$tmp/codes"
        strings_of "$tmp/record" > "$tmp/$who.strings"
        rm "$tmp/record"
    done
    [ "$(grep -c '^a b$' "$tmp/xl.strings")" = "$(wc -l < "$tmp/prefixes")" ]
    cmp "$tmp/real.strings" "$tmp/xl.strings"
}

@test "stock xl answers as without us: help of each command" {
    for name in $(stock_commands); do
        same_as_stock help "$name"
    done
}

@test "stock xl answers as without us: list, a dry run, errors" {
    guest_config g > "$tmp/g.cfg"
    same_as_stock list
    same_as_stock -vvv list
    same_as_stock create -n "$tmp/g.cfg"
    [ "$(cat "$tmp/ours.code")" = 0 ]
    [ -s "$tmp/ours.out" ]
    same_as_stock cre -n "$tmp/g.cfg"
    same_as_stock -N create "$tmp/g.cfg"
    same_as_stock create -n "$tmp/g.cfg" 'name="x; touch /nonexistent"'
    same_as_stock create -n "$tmp/missing.cfg"
    same_as_stock -N list
    same_as_stock destroy
    same_as_stock
    same_as_stock -x list
    same_as_stock --help
    same_as_stock ''
    same_as_stock -
    same_as_stock -- list
    same_as_stock help nonsense
    same_as_stock nonsense
    same_as_stock ../foo-list
}

@test "standard input reaches stock xl" {
    guest_config from-stdin > "$tmp/g.cfg"
    stdin=$tmp/g.cfg same_as_stock create -n /dev/stdin
    grep -q from-stdin "$tmp/ours.out"
}

@test "arguments of any bytes reach stock xl unchanged" {
    extra=(FAKE_EXIT=5)
    same_as_stock create a.cfg $'name="a b"; x=\'y\' $(touch z) `id`\n#"\\"' \
        '' $'\xff\xfe' '*' '~'
    same_as_stock -v -f -N -t -T -vfNtT list -- -v
}

@test "a program planted as xl-list does not shadow list" {
    plant "$tmp/path" xl-list
    plant "$tmp/exec" xl-list
    run xl list
    [ "$status" = 0 ]
    [[ ${lines[0]} = Name* && ${lines[1]} = Domain-0* ]]
}

@test "xl snap stays unknown to stock xl" {
    plant "$tmp/exec" xl-snapshot-list
    run xl snap
    [ "$status" = 1 ]
    [ "$output" = 'command not implemented' ]
}

@test "one exec, in the same process, with libc alone" {
    command -v strace > /dev/null || skip 'no strace'
    ! ldd "$xl" | grep -q libasan || skip 'built with sanitizers'
    base=(PATH="$PATH" LIBXLX_XL="$real" LIBXLX_EXEC_DIR="$tmp/exec"
          LIBXLX_STATE_DIR="$tmp/state")
    # Without Xen the real xl ends with an error: it is run here all the same.
    as_xl "$(command -v strace)" -f -o "$tmp/trace" \
        -e trace=execve,openat,fork,vfork,clone,clone3 "$xl" list || true
    cat "$tmp/trace"
    awk '/execve\(/ && / = 0$/ {n++} n == 1' "$tmp/trace" > "$tmp/before"
    awk '/execve\(/ && / = 0$/ {n++} n == 2 {print; exit}' "$tmp/trace" |
        grep -F "execve(\"$real\", "
    run grep -E 'fork|clone' "$tmp/before"
    [ "$status" = 1 ]
    # Attempts included: nothing of Xen is even looked for.
    run grep -E '/lib(xen|xl|yajl)[^/]*\.so' "$tmp/before"
    [ "$status" = 1 ]
    [ "$(grep -c 'openat.*\.so\.[0-9]*".* = [0-9]' "$tmp/before")" = 1 ]
    grep -q 'openat.*/libc\.so\.6"' "$tmp/before"
}

@test "stock xl is the next one on PATH, never ourselves" {
    mkdir "$tmp/a" "$tmp/b" "$tmp/c"
    ln -s "$xl" "$tmp/a/xl"
    ln -s "$xl" "$tmp/b/xl"
    plant "$tmp/c" xl
    base=(PATH="$tmp/a:$tmp/b:$tmp/c:/usr/bin:/bin"
          LIBXLX_EXEC_DIR="$tmp/exec")
    run xl list
    [ "$status" = 7 ]
    [ "${lines[0]}" = "$tmp/c/xl LIBXLX_XL_OPTS=unset" ]
    # One before us on PATH is a wrapper that called us.
    plant "$tmp/path" xl
    base=(PATH="$tmp/path:$tmp/a:$tmp/c:/usr/bin:/bin"
          LIBXLX_EXEC_DIR="$tmp/exec")
    run xl list
    [ "${lines[0]}" = "$tmp/c/xl LIBXLX_XL_OPTS=unset" ]
    # The current directory is not searched.
    base=(PATH="$tmp/a:.::$tmp/c:/usr/bin:/bin" LIBXLX_EXEC_DIR="$tmp/exec")
    cd "$tmp/path"
    run xl list
    [ "${lines[0]}" = "$tmp/c/xl LIBXLX_XL_OPTS=unset" ]
}

@test "a stock xl that leads back to us is a loop: a message" {
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$xl" > "$tmp/bin/xl"
    chmod +x "$tmp/bin/xl"
    extra=(LIBXLX_XL="$tmp/bin/xl")
    run xl list
    [ "$status" = 126 ]
    [ "${#lines[@]}" = 1 ]
    [[ $output = 'xl: '*'leads back here; set LIBXLX_XL'* ]]
    # A wrapper that forks ends as well.
    printf '#!/bin/sh\n"%s" "$@"\n' "$xl" > "$tmp/bin/xl"
    run xl list
    [ "$status" = 126 ]
    extra=(LIBXLX_XL="$xl")
    run xl list
    [ "$status" = 126 ]
    [[ $output = 'xl: LIBXLX_XL: '*'is this program itself'* ]]
}

@test "calls that nest are not taken for a loop" {
    extra=(LIBXLX_XL_DEPTH=3)
    run xl list
    [ "$status" = 0 ]
}

@test "no stock xl: 127 and how to help it" {
    extra=(LIBXLX_XL="$tmp/nothing")
    run -127 xl list
    [ "$output" = "xl: stock xl: \"$tmp/nothing\": No such file or directory" ]
    echo 'not a program' > "$tmp/nothing"
    chmod +x "$tmp/nothing"
    run xl list
    [ "$status" = 126 ]
}
