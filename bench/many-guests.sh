#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# snapshot-list of ever more guests, against jq, which reads the same records
# and prints the same columns.  The time of a guest must not grow, nor the
# memory.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title 'xl-snapshot snapshot-list, 100 snapshots a guest'
columns='.snapshots[] | [.name, .kind, .status, .time, .disks[0].vdev,
         .parent, .description] | @tsv'
jq=$(command -v jq) || echo 'no comparison: install jq'
for guests in 1 10 100 1000; do
    rm -rf "$LIBXLX_STATE_DIR"
    "$bench/make-guests" "$LIBXLX_STATE_DIR" "$tmp/images" $guests 100
    read -r us kib < <("$bench/versus" -q -n 5 ours "$snapshot" snapshot-list)
    line=$(awk -v n=$guests -v us="$us" -v kib="$kib" 'BEGIN {
        printf "%4d guests %10.1f ms, %6.2f ms a guest, peak %.1f MiB",
            n, us / 1e3, us / 1e3 / n, kib / 1024 }')
    if [ -n "$jq" ]; then
        read -r peer _ < <("$bench/versus" -q -n 5 jq find \
            "$LIBXLX_STATE_DIR" -name snapshots.json \
            -exec "$jq" -r "$columns" {} +)
        line+=$(awk -v us="$us" -v peer="$peer" 'BEGIN {
            printf "; %.2f times the time of jq, %.1f ms",
                us / peer, peer / 1e3 }')
    fi
    echo "$line (medians of 5)"
done
