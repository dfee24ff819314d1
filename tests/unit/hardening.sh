#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # top_builddir is in the environment
#
# The installed files are hardened, whichever compiler built them: no writable
# table of functions (full RELRO), programs at a random address (PIE), a guard
# on the stack, and sizes that libc checks when the build is optimised.

if [ "$HARDENING" != yes ]; then
    echo '1..0 # SKIP configured with --disable-hardening'
    exit
fi
command -v readelf >/dev/null || { echo '1..0 # SKIP no readelf'; exit; }

# The program itself: libtool may have put a script in its place.
program_of()
{
    directory=$top_builddir/xl-plugins
    [ "$1" != xlxvirtd ] || directory=$top_builddir/libvirt-glue
    if [ -e "$directory/.libs/$1" ]; then
        echo "$directory/.libs/$1"
    else
        echo "$directory/$1"
    fi
}

number=0 failed=0
# verdict STATUS NAME
verdict()
{
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        echo "ok $number - $2"
    else
        failed=1
        echo "not ok $number - $2"
    fi
}

# has FILE OPTION PATTERN NAME
has()
{
    readelf -W "$2" "$1" | grep -Eq "$3"
    verdict $? "${1##*/}: $4"
}

library=$top_builddir/lib/.libs/libxlx.so
programs='xl xl-cpu xl-migrate xl-mirror xl-saved xl-scsi xl-snapshot xl-usb xl-vnuma xl-guard'
# it is built only with libxml2
[ ! -e "$top_builddir/libvirt-glue/xlxvirtd" ] || programs="$programs xlxvirtd"
# shellcheck disable=SC2086  # a list
num=$(set -- $programs && echo $#)
echo "1..$((3 * (num + 1) + num + 1))"
for file in $library $(for p in $programs; do program_of "$p"; done); do
    has "$file" --program-headers GNU_RELRO 'tables are read-only (RELRO)'
    has "$file" --dynamic 'BIND_NOW|FLAGS_1.* NOW' 'all is bound at the start'
    has "$file" --dyn-syms '__stack_chk_fail' 'the stack is guarded'
done
for p in $programs; do
    has "$(program_of "$p")" --dynamic 'FLAGS_1.* PIE' 'position-independent'
done

fortified='the library calls functions that check sizes'
# shellcheck disable=SC2086  # a command with its arguments
level=$(printf '%s\n' '#ifdef _FORTIFY_SOURCE' theirs '#elif __OPTIMIZE__' \
    ours '#endif' | $COMPILE -E -P - | tail -n 1)
if [ "$level" = ours ] && [ "$SANITIZERS" != yes ]; then
    readelf -W --dyn-syms "$library" | grep -Eq '__[a-z]*printf_chk'
    verdict $? "$fortified"
else
    number=$((number + 1))
    echo "ok $number - $fortified # SKIP not optimised, or the user's level"
fi
exit $failed
