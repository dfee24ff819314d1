#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The common part of 10 000 hosts, and the nearest models of 1000 processors,
# compared with libvirt's cpu-baseline, which tells the nearest model of one.
# Both read the same <cpu> elements; libvirt's driver for tests does the work
# inside virsh.

# shellcheck source=bench/common.bash
. "${BASH_SOURCE%/*}/common.bash"
title 'CPU models'
command -v virsh > /dev/null || leave_out "install libvirt-clients"
cpu=$LIBXLX_EXEC_DIR/.libs/xl-cpu
[ -x "$cpu" ] || cpu=$LIBXLX_EXEC_DIR/xl-cpu

# Hosts of one vendor, each a model with up to ten features more.
mkdir "$tmp/hosts"
awk -v dir="$tmp/hosts" 'BEGIN {
    srand(1)
    models = split("SandyBridge IvyBridge Haswell-noTSX Broadwell " \
                   "Skylake-Client Skylake-Server Cascadelake-Server", model)
    features = split("acpi ds dtes64 ht monitor pdcm pdpe1gb smx ss ssbd " \
                     "stibp tm2 tsc_adjust umip vmx xtpr", feature)
    for (n = 1; n <= 10000; n++) {
        file = sprintf("%s/%05d", dir, n)
        printf "<cpu>\n  <arch>x86_64</arch>\n  <model>%s</model>\n" \
               "  <vendor>Intel</vendor>\n",
               model[1 + int(rand() * models)] > file
        for (i = 1; i <= features; i++)
            if (rand() * features < 10)
                printf "  <feature name=\047%s\047/>\n", feature[i] > file
        print "</cpu>" > file
        close(file)
    }
}'
cd "$tmp/hosts"
printf '%s\0' * | xargs -0 cat > "$tmp/all"     # virsh takes up to 10 MiB
virsh=(virsh -c test:///default)

echo "baseline of 10000 hosts"
"$bench/versus" -n "${RUNS:-5}" cpu-baseline "$cpu" cpu-baseline -- * \
    vs "virsh cpu-baseline" "${virsh[@]}" cpu-baseline "$tmp/all"

echo "nearest model of 1000 processors"
all=(*)
dumps=("${all[@]:0:1000}")
"$bench/versus" -n "${RUNS:-5}" cpu-detect "$bench/cpu-detect" "${dumps[@]}" \
    vs "virsh cpu-baseline" \
    "${virsh[@]}" "$(printf 'cpu-baseline %s;' "${dumps[@]}")"
