#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Attaching SCSI devices, in dom0 of the emulated Xen host: where the time of
# one goes, and 64 of them by one command and by 64 commands.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title 'scsi-attach, on the emulated Xen host'
command -v qemu-system-x86_64 mmdebstrap > /dev/null ||
    leave_out "install what ./check xen-host needs"

make -s -C "$top_builddir" install DESTDIR="$tmp/root" > "$tmp/log" 2>&1 ||
    { cat "$tmp/log"; exit 1; }
# a program of the build tree, which finds the library where it is installed
install -D "$bench/scsi-attach" "$tmp/root/usr/local/bin/scsi-attach-times"
"$top_srcdir/tests/xen-host/boot" --job --root "$tmp/root" \
    --results "$tmp/results" scsi-times
