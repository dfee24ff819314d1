#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Attaching and detaching a USB stick, in dom0 of the emulated Xen host, beside
# stock xl's usbdev-attach and usbdev-detach.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title 'usb-attach, on the emulated Xen host'
command -v qemu-system-x86_64 mmdebstrap > /dev/null ||
    leave_out "install what ./check xen-host needs"

make -s -C "$top_builddir" install DESTDIR="$tmp/root" > "$tmp/log" 2>&1 ||
    { cat "$tmp/log"; exit 1; }
"$top_srcdir/tests/xen-host/boot" --job --root "$tmp/root" \
    --results "$tmp/results" usb-times
