#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A plan for a guest on a host of 64 nodes and 8192 cpus that hwloc describes,
# beside lstopo, which reads the same file and plans nothing.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title 'vnuma-plan, 64 nodes, 8192 cpus'
command -v lstopo-no-graphics > /dev/null || leave_out "install hwloc-nox"
vnuma=$LIBXLX_EXEC_DIR/.libs/xl-vnuma
[ -x "$vnuma" ] || vnuma=$LIBXLX_EXEC_DIR/xl-vnuma

lstopo-no-graphics -i 'numa:64 core:64 pu:2' --of xml > "$tmp/host.xml"
"$vnuma" vnuma-export --from "$tmp/host.xml" --format json > "$tmp/host.json"
for vcpus in 16 1000 4096; do
    echo "$vcpus vCPUs"
    "$bench/versus" -n "${RUNS:-5}" "vnuma-plan" \
        "$vnuma" vnuma-plan --vcpus $vcpus --memory 8192 \
        --from "$tmp/host.xml" \
        vs "lstopo" lstopo-no-graphics -i "$tmp/host.xml" --of console
done
