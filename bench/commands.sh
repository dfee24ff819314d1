#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The cost of the commands as whole processes, compared with stock xl.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
for stock in ${STOCK_XL:-/usr/lib/xen-*/bin/xl}; do :; done
[ -x "$stock" ] || leave_out 'no xl is installed: install xen-utils'
fake=$top_builddir/tests/xl/.libs/fake-libxl.so
as_xl=("LIBXLX_XL=$stock")
if [ "$(cat /sys/hypervisor/type 2>/dev/null)" = xen ]; then
    title "commands, on this host's Xen"
else
    title 'commands; the hypervisor is faked (tests/xl/fake-libxl.c)'
    as_xl+=("LD_PRELOAD=$fake")
fi
"$bench/make-guests" "$LIBXLX_STATE_DIR" "$tmp/images" 4 5
versus() { "$bench/versus" -n "${RUNS:-41}" "$@"; }

versus 'xl snapshot-list' "${as_xl[@]}" "$xl" snapshot-list \
    vs 'stock xl list' "${as_xl[@]}" "$stock" list
# What an administrator of Debian types is a script that looks for the xl of the
# running Xen; here it reads the version from elsewhere.
wrapper=$(readlink -f /usr/sbin/xl)
if head -n1 "$wrapper" 2>/dev/null | grep -q '^#!/bin/sh'; then
    version=${stock%/bin/xl} version=${version##*/xen-}
    mkdir "$tmp/version"
    echo "${version%.*}" > "$tmp/version/major"
    echo "${version#*.}" > "$tmp/version/minor"
    sed "s,/sys/hypervisor/version,$tmp/version," "$wrapper" > "$tmp/xl"
    chmod +x "$tmp/xl"
    versus 'xl snapshot-list' "${as_xl[@]}" "$xl" snapshot-list \
        vs "xl list by Debian's wrapper" "${as_xl[@]}" "$tmp/xl" list
fi
versus 'xl list by our dispatcher' "${as_xl[@]}" "$xl" list \
    vs 'stock xl list' "${as_xl[@]}" "$stock" list
versus 'xl snapshot-list --help' "${as_xl[@]}" "$xl" snapshot-list --help \
    vs 'xl-snapshot snapshot-list --help' \
        "${as_xl[@]}" "$snapshot" snapshot-list --help
