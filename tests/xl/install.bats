#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# make install puts the dispatcher and the commands where they find one
# another, and make uninstall takes all of it away again.

setup() {
    dest=$BATS_TEST_TMPDIR/dest
}

sub_make() {
    env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS \
        make -s -C "$top_builddir/xl-plugins" DESTDIR="$dest" "$@"
}

@test "install and uninstall" {
    sub_make install
    sbin=$(dirname "$(find "$dest" -name xl -path '*/sbin/*')")
    commands=$(dirname "$(find "$dest" -name gen-commands.list)")
    find "$dest" ! -type d -printf '%P\n'

    # Every command of the list is a link to a program that is there.
    [ "$(wc -l < "$commands/gen-commands.list")" -ge 6 ]
    while read -r name stem _; do
        [ "$(readlink "$commands/xl-$name")" = "xl-$stem" ]
        [ -f "$commands/xl-$stem" ] && [ -x "$commands/xl-$stem" ]
    done < "$commands/gen-commands.list"
    [ -x "$commands/xl-guard" ]

    # The installed dispatcher lists them all, without a warning.
    LIBXLX_EXEC_DIR=$commands "$sbin/xl" plugins --json |
        jq -e --argjson n "$(wc -l < "$commands/gen-commands.list")" \
            '[.[] | select(.from == "libxlx" and .warning == "")] |
             length == $n'

    # bash finds the completion by the name of the command.
    completion=$(find "$dest" -path '*/bash-completion/completions/xl')
    bash -n "$completion"

    sub_make uninstall
    run find "$dest" ! -type d
    [ -z "$output" ]
    [ ! -e "$commands" ]
}
