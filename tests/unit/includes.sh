#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # top_srcdir is in the environment
#
# A file of lib/ includes headers of its own directory and of those below it:
# core, then guest, then disk, then hostdev, which scsi and usb share, then the
# concepts, which do not know each other; but mirror is on top of snapshot,
# whose record says in which images a guest's disks are, and migrate on top of
# mirror, whose jobs copy the disks that go along.

cd "$top_srcdir/lib" || exit

below_core=''
below_guest='core'
below_disk='core guest'
below_hostdev='core guest disk'
below_concept='core guest disk'
below_mirror='core guest disk snapshot'
below_migrate='core guest disk snapshot mirror'
# the concepts with devices of the host
below_devices='core guest disk hostdev'

# wrong DIRECTORY ALLOWED...: the lines that include another directory.
wrong()
{
    directory=$1
    shift
    pattern=$(printf '%s|' "$directory" "$@")
    grep -nE '^ *# *include "[^"]*/' "$directory"/*.[ch] |
        grep -vE "\"(${pattern%|})/"
}

# check NUMBER DIRECTORY ALLOWED...
check()
{
    number=$1
    shift
    if lines=$(wrong "$@"); then
        failed=1
        echo "not ok $number - $1 includes only what is below it"
        echo "$lines" | sed 's/^/# /'
    else
        echo "ok $number - $1 includes only what is below it"
    fi
}

failed=0
number=0
for directory in */; do
    directory=${directory%/}
    case $directory in
    core) allowed=$below_core ;;
    guest) allowed=$below_guest ;;
    disk) allowed=$below_disk ;;
    hostdev) allowed=$below_hostdev ;;
    mirror) allowed=$below_mirror ;;
    migrate) allowed=$below_migrate ;;
    scsi | usb) allowed=$below_devices ;;
    *) allowed=$below_concept ;;
    esac
    number=$((number + 1))
    # shellcheck disable=SC2086  # a list
    check $number "$directory" $allowed
done
echo "1..$number"
exit $failed
