#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of bats and of rig.bash
# vnuma= at xl create, on a host that seems to have several nodes: what stock
# xl would crash on or bend is refused, "auto" is what the planner says.

bats_require_minimum_version 1.5.0
load rig

setup() {
    rig_setup
    command -v jq > /dev/null || skip "no jq"
    # Not the script of libtool's: it forgets how it was called.
    path=$top_builddir/xl-plugins/.libs/xl-guard
    [ -x "$path" ] || path=$top_builddir/xl-plugins/xl-guard
    ln -s "$path" "$tmp/exec/xl-guard"
    base+=(LD_LIBRARY_PATH="$top_builddir/lib/.libs" FAKE_NODES=4
           LIBXLX_RUN_DIR="$tmp/run")
    cat > "$tmp/web.cfg" <<'EOF'
name="web"
type="hvm"
memory=2048
vcpus=4
uuid="77777777-7d1e-4c5a-9a43-0d5d4f5e6a02"
vnuma=[["pnode=0","size=1024","vcpus=0-1","vdistances=10,20"],
       ["pnode=3","size=1024","vcpus=2-3","vdistances=20,10"]]
EOF
}

# The result of stock xl: planned XL-ARGS...
planned() {
    xl create -n "$@" > "$tmp/json"
    jq -c '[.b_info.vnuma_nodes[]? | [.pnode // 0, .memkb, .vcpus, .distances]]' \
        "$tmp/json"
}

# refused MESSAGE XL-ARGS...: and stock xl is not even started
refused() {
    local message=$1
    shift
    rm -f "$tmp/record"
    extra+=(FAKE_RECORD="$tmp/record")
    run --separate-stderr xl "$@"
    echo "$stderr"
    [ "$status" = 1 ]
    [ -z "$output" ]
    [ ! -e "$tmp/record" ]
    [ "$stderr" = "xl create: vnuma: $message" ]
}

@test "a topology without fault is stock xl's, byte for byte" {
    same_as_stock create -n "$tmp/web.cfg"
    [ "$(cat "$tmp/ours.code")" = 0 ]
    same_as_stock create -n "$tmp/web.cfg" 'vnuma=[]'
    [ "$(planned "$tmp/web.cfg")" = \
        '[[0,1048576,[0,1],[10,20]],[3,1048576,[2,3],[20,10]]]' ]
}

@test "a line on which stock xl would crash, or that it bends, is refused" {
    sed 's/10,20/10,20,20,20,20,20,20/' "$tmp/web.cfg" > "$tmp/bad.cfg"
    refused "vnode 0: vdistances has 7 numbers for 2 vnodes: xl writes the \
rest beyond its own memory" create "$tmp/bad.cfg"
    sed 's/10,20/10,266/' "$tmp/web.cfg" > "$tmp/bad.cfg"
    refused "vnode 0: distance 266 to vnode 1: the guest gets the lowest 8 \
bits of it; the most is 254" create "$tmp/bad.cfg"
    refused "a PVH guest cannot have vnuma: libxl takes Xen's answer of how \
large its topology is for a failure; use type=\"hvm\"" \
        create "$tmp/web.cfg" 'type="pvh"'
    extra=(FAKE_NODES=3)
    refused "vnode 1: pnode=3: the host has no node of that number" \
        create -n "$tmp/web.cfg"
}

@test "the last line counts" {
    refused "maxmem=4096, but the vnodes have 2048 MiB together" \
        create "$tmp/web.cfg" maxmem=4096
    extra=()
    xl create -n "$tmp/web.cfg" maxmem=4096 maxmem=2048 > "$tmp/json"
}

@test "vnuma=\"auto\" of a guest that needs two nodes" {
    sed '/^vnuma/,$d' "$tmp/web.cfg" > "$tmp/auto.cfg"
    echo 'vnuma="auto"' >> "$tmp/auto.cfg"
    [ "$(planned "$tmp/auto.cfg")" = \
        '[[0,1048576,[0,1],[10,21]],[1,1048576,[2,3],[21,10]]]' ]
    # by its memory
    [ "$(planned "$tmp/auto.cfg" memory=6000 vcpus=2)" = \
        '[[0,3072000,[0],[10,21]],[1,3072000,[1],[21,10]]]' ]
    [ "$(jq .b_info.max_memkb "$tmp/json")" = 6144000 ]
}

@test "vnuma=\"auto\" of a guest that fits one node" {
    sed '/^vnuma/,$d' "$tmp/web.cfg" > "$tmp/auto.cfg"
    echo 'vnuma="auto"' >> "$tmp/auto.cfg"
    [ "$(planned "$tmp/auto.cfg" vcpus=2)" = '[]' ]
    [ "$(jq -c '.b_info.vcpu_soft_affinity' "$tmp/json")" = \
        '[[0,1],[0,1]]' ]
    # the user's own affinity is kept
    [ "$(planned "$tmp/auto.cfg" vcpus=2 'cpus="4-5"')" = '[]' ]
    [ "$(jq -c '.b_info.vcpu_soft_affinity' "$tmp/json")" = null ]
    # and a PVH guest can have this much
    [ "$(planned "$tmp/auto.cfg" vcpus=2 'type="pvh"' \
        'kernel="/vmlinuz"')" = '[]' ]
}

@test "vnuma=\"auto\" of a guest that cannot be" {
    sed '/^vnuma/,$d' "$tmp/web.cfg" > "$tmp/auto.cfg"
    echo 'vnuma="auto"' >> "$tmp/auto.cfg"
    run -1 xl create -n "$tmp/auto.cfg" vcpus=9
    [ "$output" = "xl create: vnuma=\"auto\": 9 vCPUs and 2048 MiB do not \
fit: the host's 4 nodes have room for 8 vCPUs, and 16384 MiB free" ]
    run -1 xl create -n "$tmp/auto.cfg" 'type="pvh"'
    [[ $output == "xl create: vnuma: a PVH guest cannot have vnuma: "* ]]
    run -1 xl create -n "$tmp/auto.cfg" 'memory="much"'
    [ "$output" = "xl create: vnuma=\"auto\": memory= is missing, or not a \
number of MiB" ]
}
