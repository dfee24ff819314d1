#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Commands that are not stock xl's: ours and those that others put on PATH, how
# they are run, listed, explained and completed.

bats_require_minimum_version 1.5.0
load rig

setup() {
    rig_setup
    plant "$tmp/exec" xl-foo
    ln -s xl-foo "$tmp/exec/xl-foo-create"
    ln -s xl-foo "$tmp/exec/xl-foo-list"
}

@test "a command of ours runs, under its own name, with its arguments" {
    run xl foo-list 'a b' '' $'c\nd; $(e)'
    [ "$status" = 7 ]
    [ "$output" = "$tmp/exec/xl-foo-list LIBXLX_XL_OPTS=unset
<a b>
<>
<c
d; \$(e)>" ]
}

@test "a command must be named in full" {
    run xl foo-lis
    [ "$status" = 1 ]
    [ "$output" = 'command not implemented' ]
    # One that is the beginning of stock commands is not even looked for.
    plant "$tmp/exec" xl-s
    run xl s
    [ "$output" = 'command not implemented' ]
}

@test "our directory comes before PATH, and no command is a path" {
    plant "$tmp/path" xl-foo-list
    plant "$tmp/path" xl-bar
    run xl foo-list
    [ "${lines[0]}" = "$tmp/exec/xl-foo-list LIBXLX_XL_OPTS=unset" ]
    run xl bar
    [ "${lines[0]}" = "$tmp/path/xl-bar LIBXLX_XL_OPTS=unset" ]
    mkdir "$tmp/exec/xl-dir"
    plant "$tmp/exec/xl-dir" inner
    plant "$tmp/exec" xl-guard          # a program, but no command
    for name in dir dir/inner ../exec/xl-foo-list guard; do
        run xl "$name"
        [ "$output" = 'command not implemented' ]
    done
}

@test "options of xl itself are handed over in the environment" {
    for given in '-v -N|-vN' '-vN|-vN' '-vfN -t -T -v|-vfNtTv' '-N -N|-N' \
                 '--|unset'; do
        # shellcheck disable=SC2086 # words
        run xl ${given%|*} foo-list -v
        [ "${lines[0]}" = \
          "$tmp/exec/xl-foo-list LIBXLX_XL_OPTS=${given#*|}" ]
        [ "${lines[1]}" = '<-v>' ]
    done
    # The options of an outer command are not ours.
    extra=(LIBXLX_XL_OPTS=-N)
    run xl foo-list
    [ "${lines[0]}" = "$tmp/exec/xl-foo-list LIBXLX_XL_OPTS=unset" ]
    run xl -x foo-list
    [ "$status" = 1 ]
    [ "${lines[-1]}" = 'unknown global option' ]
}

@test "xl help: stock xl's list, then the others" {
    plant "$tmp/path" xl-bar
    as_xl "$real" help > "$tmp/stock"
    xl help > "$tmp/all"
    cat > "$tmp/others" <<EOF
 foo-create          Make a foo
 foo-list            List all foos
 bar                 $tmp/path/xl-bar
 plugins             List the commands that are not stock xl's.

create and restore also take --no-devices: not the SCSI and USB devices that
are recorded of the guest; save and migrate also take --detach, and
save takes --compact: see man xlx
migrate --copy-disks is disk-migrate
EOF
    cat "$tmp/stock" "$tmp/others" | diff - "$tmp/all"
    xl help help | diff "$tmp/all" -
}

@test "xl help without Xen: others are listed, and the error is shown" {
    printf '#!/bin/sh\necho "no Xen here" >&2\nexit 3\n' > "$tmp/bin/xl"
    chmod +x "$tmp/bin/xl"
    extra=(LIBXLX_XL="$tmp/bin/xl")
    run --separate-stderr xl help
    [ "$status" = 3 ]
    [ "$stderr" = 'no Xen here' ]
    [ "$(sed 1,4d <<< "$output" | awk '/^ [^ ]/ {printf "%s ", $1}')" = \
      'foo-create foo-list plugins ' ]
    printf '#!/bin/sh\nkill -9 $$\n' > "$tmp/bin/xl"
    run xl help
    [ "$status" = 137 ]
}

@test "xl help NAME of ours is its --help" {
    run xl -v help foo-list
    [ "$status" = 7 ]
    [ "${lines[0]}" = "$tmp/exec/xl-foo-list LIBXLX_XL_OPTS=-v" ]
    [ "${lines[1]}" = '<--help>' ]
    [ "${#lines[@]}" = 2 ]
    run xl help plugins
    [ "$status" = 0 ]
    [ "${lines[0]}" = 'Usage: xl plugins [--json]' ]
}

@test "xl plugins: all programs, and those that are never run" {
    plant "$tmp/path" xl-bar
    plant "$tmp/path" xl-list
    plant "$tmp/path" xl-foo-list
    plant "$tmp/path" xl-plugins
    plant "$tmp/exec" xl-extra
    plant "$tmp/exec" xl-guard
    touch "$tmp/exec/xl-object.o"
    touch "$tmp/path/xl-plain"
    rm "$tmp/exec/xl-foo-create"
    # The same directory by another name holds nothing new.
    ln -s path "$tmp/again"
    base+=(PATH="$tmp/path:$tmp/again:$tmp/exec:/usr/bin:/bin")
    run --separate-stderr xl plugins
    [ "$status" = 0 ]
    [ "$(awk '{print $1, $2}' <<< "$output")" = 'Name From
foo-list libxlx
extra exec-dir
bar path' ]
    [[ ${lines[1]} = *" $tmp/exec/xl-foo-list "*' List all foos' ]]
    diff - <(echo "$stderr") <<EOF
xl plugins: warning: $tmp/exec/xl-foo-create: not run: it is missing
xl plugins: warning: $tmp/path/xl-foo-list: not run: hidden by $tmp/exec/xl-foo-list
xl plugins: warning: $tmp/path/xl-list: never run: the name is stock xl's
xl plugins: warning: $tmp/path/xl-plain: not run: it is not executable
xl plugins: warning: $tmp/path/xl-plugins: never run: the name is xl's own
EOF
    for option in --nonsense -x extra; do
        run xl plugins "$option"
        [ "$status" = 2 ]
    done
}

@test "xl plugins --json says the same, whatever bytes are in a name" {
    command -v jq > /dev/null || skip 'no jq'
    plant "$tmp/path" $'xl-q"\\\n\t\xff\xc3\xa4'
    plant "$tmp/path" xl-list
    xl plugins --json > "$tmp/json"
    [ "$(jq -r '.[] | [.name, .from, .summary, .warning] | join("|")' \
         "$tmp/json" | head -2)" = 'foo-create|libxlx|Make a foo|
foo-list|libxlx|List all foos|' ]
    [ "$(jq '.[] | select(.name == "list") | .warning' "$tmp/json")" = \
      "\"never run: the name is stock xl's\"" ]
    jq -e 'any(.name == "q\"\\\n\t\ufffd\u00e4")' "$tmp/json"
}

@test "xl plugins --json has no control characters" {
    command -v jq > /dev/null || skip 'no jq'
    plant "$tmp/path" $'xl-c\e\x7f\xc2\x9b\xd8\x9c\xe2\x80\xae\xe2\x81\xa6'
    xl plugins --json > "$tmp/json"
    run ! env LC_ALL=C grep -aq $'[\e\x7f\x9b\x9c\xae\xa6]' "$tmp/json"
    jq -e 'any(.name == "c\u001b\u007f\u009b\u061c\u202e\u2066")' "$tmp/json"
}

@test "the completion of stock xl offers our commands" {
    found=
    for file in "$STOCK_COMPLETION" \
                /usr/share/bash-completion/completions/xl \
                /etc/bash_completion.d/xl; do
        [ -r "$file" ] && found=$file && break
    done
    [ -n "$found" ] || skip 'no completion of stock xl is installed'
    ln -s "$xl" "$tmp/path/xl"
    run env -i "${base[@]}" bash -c '
        . "$1"
        COMP_WORDS=(xl "$2") COMP_CWORD=1
        _xl
        printf "%s\n" "${COMPREPLY[@]}"' - "$found" foo
    [ "${lines[*]}" = 'foo-create  foo-list ' ]
}

@test "our directory is gone: stock commands run, others get a message" {
    rm -r "$tmp/exec"
    run xl list
    [ "$status" = 0 ]
    run --separate-stderr xl help
    [ "$status" = 0 ]
    [ "$stderr" = \
      "xl: $tmp/exec/gen-commands.list: No such file or directory" ]
}
