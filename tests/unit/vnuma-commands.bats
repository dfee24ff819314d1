#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of bats, and of the environment
#
# xl vnuma-...: what is printed and the exit status, and that the programs for
# which topologies are written take them.  The rules are tested in vnuma-*.c.

bats_require_minimum_version 1.5.0

setup() {
    tmp=$BATS_TEST_TMPDIR
    cat > "$tmp/web.cfg" <<'EOF'
name="web"
type="hvm"
memory=3072
vcpus=6
vnuma=[
    ["pnode=2","size=2048","vcpus=0-2,5","vdistances=10,21"],
    ["pnode=0","size=1024","vcpus=3-4","vdistances=21,10"]
]
EOF
    write_host > "$tmp/host"
}

# Two pairs of nodes, each node with two cores of two threads
write_host() {
    local n m comma
    echo '{"nodes": ['
    for n in 0 1 2 3; do
        printf '{"node": %d, "memory": 34359738368, "free": 17179869184,
            "cpus": [{"cpu": %d, "core": 0}, {"cpu": %d, "core": 0},
                     {"cpu": %d, "core": 1}, {"cpu": %d, "core": 1}],
            "devices": ["0000:0%d:00.0"], "distances": [' \
            $n $((4 * n)) $((4 * n + 1)) $((4 * n + 2)) $((4 * n + 3)) $n
        comma=
        for m in 0 1 2 3; do
            printf '%s%d' "$comma" $((n == m ? 10 : n / 2 == m / 2 ? 16 : 28))
            comma=,
        done
        printf ']}'
        [ $n = 3 ] || echo ,
    done
    echo ']}'
}

xl() {
    "$top_builddir/run" xl "$@"
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" > /dev/null || skip "no $tool"
    done
}

need_xml() {
    grep -q '^#define HAVE_LIBXML2' "$top_builddir/config.h" ||
        skip "no libxml2"
}

@test "vnuma-show of a config" {
    run -0 xl vnuma-show "$tmp/web.cfg"
    [ "$output" = "Vnode Memory vCPUs Node Known      Elsewhere Distances
0     2.0g   0-2,5 2    configured -         10 21
1     1.0g   3-4   0    configured -         21 10" ]
    need jq
    xl vnuma-show --json "$tmp/web.cfg" > "$tmp/json"
    jq -e '.name == "web" and (.vnodes | length) == 2 and
        .vnodes[0].vcpus == [0, 1, 2, 5] and .vnodes[1].pnode == 0 and
        .vnodes[0].memory == 2147483648' "$tmp/json"
    xl vnuma-show --json - < "$tmp/web.cfg" | diff "$tmp/json" -
}

@test "each format is read again as the same topology" {
    need_xml
    xl vnuma-export "$tmp/web.cfg" --format json > "$tmp/json"
    for format in json libvirt; do
        xl vnuma-export "$tmp/web.cfg" --format "$format" > "$tmp/as"
        xl vnuma-export "$tmp/as" --format json | diff "$tmp/json" -
    done
    # these lines are without a name
    xl vnuma-export "$tmp/web.cfg" --format xl > "$tmp/as"
    xl vnuma-export "$tmp/as" --format xl | diff "$tmp/as" -
    run -0 xl vnuma-lint "$tmp/as"
    [ "$output" = "note: a guest with vnuma cannot be saved or migrated" ]
}

@test "libvirt's own XML, with its defaults" {
    need_xml
    cat > "$tmp/xml" <<'EOF'
<domain type='xen'><name>db</name>
<cpu mode='host-passthrough'><numa>
<cell id='1' cpus='4-7,^6' memory='2' unit='GiB'/>
<cell id='0' cpus='0-3,6' memory='1048576'><distances>
<sibling id='0' value='10'/><sibling id='1' value='31'/>
</distances></cell>
<cell cpus='8' memory='1048576'/>
</numa></cpu></domain>
EOF
    run -0 xl vnuma-export "$tmp/xml" --format xl
    [ "$output" = '# assumed: the node of vnode 0, the node of vnode 1, the node of vnode 2, the distance between vnodes 0 and 2, the distance between vnodes 1 and 2
type="hvm"
memory=4096
vcpus=9
maxvcpus=9
vnuma=[
    ["pnode=0","size=1024","vcpus=0-3,6","vdistances=10,31,20"],
    ["pnode=1","size=2048","vcpus=4-5,7","vdistances=31,10,20"],
    ["pnode=2","size=1024","vcpus=8","vdistances=20,20,10"]
]' ]
}

@test "lstopo shows the nodes, cpus, memory and distances of both" {
    need lstopo-no-graphics
    xl vnuma-export "$tmp/web.cfg" --format hwloc > "$tmp/guest.xml"
    lstopo-no-graphics -i "$tmp/guest.xml" --of console > "$tmp/said"
    cat "$tmp/said"
    [ "$(grep -c 'PU L#' "$tmp/said")" = 6 ]
    grep -q 'NUMANode L#0 (P#0 2048MB)' "$tmp/said"
    grep -q 'NUMANode L#1 (P#1 1024MB)' "$tmp/said"
    lstopo-no-graphics -i "$tmp/guest.xml" --distances |
        grep -qx ' *1 *21 *10'
    xl vnuma-export --from "$tmp/host" --format hwloc > "$tmp/host.xml"
    lstopo-no-graphics -i "$tmp/host.xml" --of console > "$tmp/said"
    cat "$tmp/said"
    [ "$(grep -c 'PU L#' "$tmp/said")" = 16 ]
    [ "$(grep -c 'Core L#' "$tmp/said")" = 8 ]
    [ "$(grep -c 'NUMANode.*32GB' "$tmp/said")" = 4 ]
    lstopo-no-graphics -i "$tmp/host.xml" --distances |
        grep -qx ' *1 *16 *10 *28 *28'
}

@test "a host as lstopo writes it" {
    need lstopo-no-graphics jq
    need_xml
    lstopo-no-graphics -i "numa:12 core:3 pu:2" --of xml > "$tmp/syn.xml"
    xl vnuma-export --from "$tmp/syn.xml" --format json > "$tmp/json"
    jq -e '(.nodes | length) == 12 and .nodes[11].node == 11 and
        [.nodes[1].cpus[].cpu] == [6, 7, 8, 9, 10, 11] and
        (.nodes[0].memory > 0) and .nodes[0].free == .nodes[0].memory and
        .nodes[0].cpus[2].core == 1 and
        (.nodes[0].distances | length) == 12' "$tmp/json"
    run -0 xl vnuma-plan --vcpus 12 --memory 1g --from "$tmp/syn.xml"
    [[ $output == *'["pnode=1","size=512","vcpus=6-11","vdistances='* ]]
}

@test "a plan passes vnuma-lint as it is printed" {
    for args in "--vcpus 8 --memory 8g" "--vcpus 16 --memory 4g --follow-host" \
        "--vcpus 4 --memory 1g"; do
        # shellcheck disable=SC2086
        xl vnuma-plan $args --from "$tmp/host" > "$tmp/planned"
        xl vnuma-lint --from "$tmp/host" "$tmp/planned"
    done
}

@test "vnuma-show of a host that is a file: what is assumed has a mark" {
    run -0 xl vnuma-show --from - <<'END'
available: 2 nodes (0-1)
node 0 cpus: 0 1
node 0 size: 2048 MB
node 0 free: 1024 MB
node 1 cpus: 2 3
node 1 size: 2048 MB
No distance information available.
END
    [ "$output" = "Node Memory Free  Kind Cpus Devices Distances
0    2.0g   1.0g  -    0-1  0       10 20?
1    2.0g   2.0g? -    2-3  0       20? 10
?: assumed, because the source does not say it." ]
    run -0 xl vnuma-show --from "$tmp/host"
    [ "${lines[1]}" = "0    32g*   16g  -    0-3   1       10 16 28 28" ]
    [ "${lines[5]}" = "*: the range of its addresses; it may have holes." ]
    run -2 xl vnuma-show --from "$tmp/host" web
    [ "${lines[0]}" = "xl vnuma-show: --from: \"$tmp/host\": it is a host, \
which is shown without a GUEST" ]
    # lstopo keeps the marks for us
    need lstopo-no-graphics
    need_xml
    lstopo-no-graphics -i "numa:2 pu:1" --of xml > "$tmp/syn.xml"
    xl vnuma-export --from "$tmp/syn.xml" --format hwloc > "$tmp/own.xml"
    lstopo-no-graphics -i "$tmp/own.xml" --of xml > "$tmp/again.xml"
    xl vnuma-show --from "$tmp/again.xml" | diff - \
        <(xl vnuma-show --from "$tmp/syn.xml")
}

@test "QEMU has the topology" {
    need qemu-system-x86_64
    # this machine need not have those nodes
    xl vnuma-export "$tmp/web.cfg" --format qemu |
        sed 's/,host-nodes=[0-9]*,policy=bind//; s/ \\$//' > "$tmp/options"
    # shellcheck disable=SC2046
    printf 'info numa\nquit\n' | qemu-system-x86_64 -S -accel tcg \
        -display none -nodefaults -monitor stdio \
        $(cat "$tmp/options") | tr -d '\r' > "$tmp/said"
    cat "$tmp/said"
    grep -qx '2 nodes' "$tmp/said"
    grep -qx 'node 0 cpus: 0 1 2 5' "$tmp/said"
    grep -qx 'node 0 size: 2048 MB' "$tmp/said"
    grep -qx 'node 1 cpus: 3 4' "$tmp/said"
}

@test "Graphviz and librsvg take the pictures" {
    need rsvg-convert dot
    for args in "$tmp/web.cfg" "$tmp/web.cfg --from $tmp/host" \
        "--from $tmp/host"; do
        # shellcheck disable=SC2086
        xl vnuma-export $args --format svg > "$tmp/svg"
        # shellcheck disable=SC2086
        xl vnuma-export $args --format dot > "$tmp/dot"
        rsvg-convert "$tmp/svg" > "$tmp/png"
        dot -Tsvg "$tmp/dot" > "$tmp/drawn"
    done
    grep -q 'n0 -- n1 \[label="16"\]' "$tmp/dot"
}

@test "vnuma-plan prints a config and why" {
    run -0 xl vnuma-plan --vcpus 8 --memory 8g --from "$tmp/host"
    [ "$output" = '# 2 vnodes: on one node there is room for at most 4 vCPUs and 16384 MiB with what belongs to them; no fewer equal ones fit
# nodes 0 and 1: no other set of as many that it fits is nearer together, or as near with more memory free; distances 16 to 16
# note: a guest with vnuma cannot be saved or migrated
# note: vnuma needs type="hvm"
# note: node 0: 4 vCPUs on 2 cores: some share a core as its threads
# note: node 1: 4 vCPUs on 2 cores: some share a core as its threads
type="hvm"
memory=8192
vcpus=8
maxvcpus=8
vnuma=[
    ["pnode=0","size=4096","vcpus=0-3","vdistances=10,16"],
    ["pnode=1","size=4096","vcpus=4-7","vdistances=16,10"]
]' ]
    xl vnuma-plan --vcpus 8 --memory 8192 --from "$tmp/host" |
        diff <(echo "$output") -
    run -0 xl vnuma-plan --vcpus 4 --memory 1g --from "$tmp/host"
    [ "${lines[1]}" = "# note: node 0: 4 vCPUs on 2 cores: some share a core \
as its threads" ]
    [ "${lines[4]}" = 'cpus_soft="nodes:0"' ]
    run -0 xl vnuma-plan --vcpus 4 --memory 4g --max-memory-per-node 1g \
        --from "$tmp/host"
    [ "$(grep -c '"pnode=' <<< "$output")" = 4 ]
    run -0 xl vnuma-plan --vcpus 4 --memory 4g --max-per-node 2 \
        --from "$tmp/host"
    [ "$(grep -c '"pnode=' <<< "$output")" = 2 ]
    run -0 xl vnuma-plan --vcpus 4 --memory 4g --follow-host \
        --from "$tmp/host"
    [ "$(grep -c '"pnode=' <<< "$output")" = 4 ]
}

@test "a plan as JSON is a topology to export" {
    xl vnuma-plan --vcpus 8 --memory 8g --from "$tmp/host" --json \
        > "$tmp/plan"
    xl vnuma-export "$tmp/plan" --format xl > "$tmp/xl"
    xl vnuma-plan --vcpus 8 --memory 8g --from "$tmp/host" |
        grep -v '^#' | diff - "$tmp/xl"
}

@test "vnuma-lint: a line and an exit status" {
    run -0 xl vnuma-lint --from "$tmp/host" "$tmp/web.cfg"
    [ "$output" = "note: node 2: 4 vCPUs on 2 cores: some share a core as its threads
note: a guest with vnuma cannot be saved or migrated" ]
    sed 's/10,21/10,21,31/; s/pnode=0/pnode=7/' "$tmp/web.cfg" > "$tmp/bad"
    run -1 xl vnuma-lint --from "$tmp/host" "$tmp/bad"
    [ "$output" = "overflow: vnode 0: vdistances has 3 numbers for 2 vnodes: xl writes the rest beyond its own memory
refused: vnode 1: pnode=7: the host has no node of that number
note: node 2: 4 vCPUs on 2 cores: some share a core as its threads
note: a guest with vnuma cannot be saved or migrated" ]
    need jq
    run -1 --separate-stderr xl vnuma-lint --json "$tmp/bad"
    jq -e '.findings[0].rule == "distance-count" and
        .findings[0].effect == "overflow"' <<< "$output"
}

@test "an error is one line" {
    run -2 xl vnuma-plan --memory 8g
    [ "${lines[0]}" = "xl vnuma-plan: --vcpus: it is needed" ]
    run -2 xl vnuma-plan --vcpus 8 --memory 8x
    [ "${lines[0]}" = 'xl vnuma-plan: --memory: "8x": not a size such as 4096 or 4g' ]
    run -2 xl vnuma-plan --vcpus 8 --memory 99999999999999t
    run -1 xl vnuma-plan --vcpus 99 --memory 8g --from "$tmp/host"
    [ "$output" = "xl vnuma-plan: 99 vCPUs and 8192 MiB do not fit: the host's 4 nodes have room for 16 vCPUs, and 65536 MiB free" ]
    run -1 xl vnuma-show /nonexistent
    [ "$output" = "xl vnuma-show: /nonexistent: No such file or directory" ]
    run -1 xl vnuma-export --from "$tmp/host" --format xl
    [ "$output" = "xl vnuma-export: the format xl is for a guest's topology, and none is given" ]
    sed 's/10,21/10,266/' "$tmp/web.cfg" > "$tmp/bad"
    run -1 xl vnuma-export "$tmp/bad" --format xl
    [ "$output" = "xl vnuma-export: $tmp/bad: vnode 0: distance 266 to vnode 1: the guest gets the lowest 8 bits of it; the most is 254" ]
}

@test "only a running guest can be measured" {
    run -2 xl vnuma-show --measure
    [ "$output" = "xl vnuma-show: --measure: name the GUEST to measure" ]
    run -2 xl vnuma-show --measure "$tmp/web.cfg"
    [[ $output == "xl vnuma-show: --measure: only the memory of "* ]]
}
