#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# make install puts the dispatcher and the commands where they find one
# another, and make uninstall takes all of it away again.

bats_require_minimum_version 1.5.0

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

@test "units of systemd lead to the installed commands" {
    sub_make install
    units=$(dirname "$(find "$dest" -name xl-devices.service)")
    [[ $units == */lib/systemd/system ]]
    commands=$(dirname "$(find "$dest" -name gen-commands.list)")
    for unit in "$units"/*; do
        ! grep '@[A-Za-z_]*@' "$unit"
        while read -r program; do
            [ -x "$dest$program" ]
        done < <(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit")
    done
    # watchers end before the guests, and QEMUs not with their watcher
    grep -q '^After=.*xendomains.service' "$units/xl-scsi-watch@.service"
    grep -q '^KillMode=process' "$units/xl-devices.service"
}

@test "another program's xl is neither overwritten nor removed" {
    sub_make install
    sbin=$(dirname "$(find "$dest" -name xl -path '*/sbin/*')")
    completion=$(find "$dest" -path '*/bash-completion/completions/xl')
    sub_make uninstall
    mkdir -p "$sbin" "${completion%/*}"
    echo 'echo xl of a Xen that was built here' > "$sbin/xl"
    echo 'complete xl' > "$completion"
    cp "$sbin/xl" "$BATS_TEST_TMPDIR/xl"
    run sub_make install
    echo "$output"
    [ "$status" != 0 ]
    [[ $output == *"$sbin/xl: it is not libxlx's, and is not overwritten."*"--sbindir=DIR --with-stock-xl="* ]]
    cmp "$BATS_TEST_TMPDIR/xl" "$sbin/xl"
    # from the top, where nothing else is installed then
    run env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS \
        make -s -C "$top_builddir" DESTDIR="$dest" install
    [ "$status" != 0 ]
    [ -z "$(find "$dest" -name 'libxlx*')" ]
    # a link that leads nowhere is also somebody's
    mv "$sbin/xl" "$BATS_TEST_TMPDIR/theirs"
    ln -s /nonexistent "$sbin/xl"
    run ! sub_make install
    [ -h "$sbin/xl" ]
    rm "$sbin/xl"
    # ours is replaced; theirs stays
    sub_make install
    sub_make install
    [ "$(cat "$completion")" = 'complete xl' ]
    mv "$BATS_TEST_TMPDIR/theirs" "$sbin/xl"
    sub_make uninstall
    cmp "$BATS_TEST_TMPDIR/xl" "$sbin/xl"
    [ "$(cat "$completion")" = 'complete xl' ]
}
