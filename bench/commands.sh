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
versus 'xl list by our dispatcher' "${as_xl[@]}" "$xl" list \
    vs 'stock xl list' "${as_xl[@]}" "$stock" list
versus 'xl snapshot-list --help' "${as_xl[@]}" "$xl" snapshot-list --help \
    vs 'xl-snapshot snapshot-list --help' \
        "${as_xl[@]}" "$snapshot" snapshot-list --help
