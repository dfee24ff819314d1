#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# A host of two nodes: what is planned for a guest, what stock xl builds of it,
# what the guest's own kernel sees and what vnuma-show says are the same.
# xen-host: deadline 1500
# xen-host: qemu -object memory-backend-ram,id=m0,size=2G
# xen-host: qemu -object memory-backend-ram,id=m1,size=2G
# xen-host: qemu -numa node,nodeid=0,cpus=0,memdev=m0
# xen-host: qemu -numa node,nodeid=1,cpus=1,memdev=m1
# xen-host: qemu -numa dist,src=0,dst=1,val=21
# xen-host: run asked

setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

# The vnodes without what only a running guest has, and the cpus of the host
# and its nodes without what changes.
vnodes() { jq -c '[.vnodes[] | [.memory, .vcpus, .distances, .pnode]]'; }

# As /sys in the guest has them: cpus and distances, a line a node.
guest_sys() {
    local n
    for n in 0 1; do
        guest_run "$1" "cd /sys/devices/system/node/node$n &&" \
            "echo node$n \$(cat cpulist) / \$(cat distance)"
    done
}

# The same from vnuma-show
shown_as_sys() {
    xl vnuma-show --json "$1" | jq -r '.vnodes | to_entries[] |
        "node\(.key) \(.value.vcpus | join(",")) / \(.value.distances |
         join(" "))"'
}

@test "the host's topology is Xen's" {
    xl vnuma-show --json > "$D/host.json"
    cat "$D/host.json"
    jq -e '(.nodes | length) == 2 and
        [.nodes[].cpus[].cpu] == [0, 1] and
        [.nodes[].distances] == [[10, 21], [21, 10]] and
        ([.nodes[] | select(.free > 0 and .free <= .memory)] | length) == 2' \
        "$D/host.json"
    # megabytes, as stock xl has them
    xl info -n | sed -n '/^node:/,$p' |
        awk '$1 == "0:" || $1 == "1:" { print $2 }' > "$D/sizes"
    jq -r '.nodes[].memory / 1048576 | floor' "$D/host.json" |
        diff - "$D/sizes"
    run xl vnuma-show Domain-0
    [ "$output" = "The guest has no NUMA topology." ]
}

@test "vnuma=\"auto\": an HVM guest is built as planned" {
    xl vnuma-plan --vcpus 2 --memory 256 --json > "$D/plan.json"
    cat "$D/plan.json"
    [ "$(jq '.topology.vnodes | length' "$D/plan.json")" = 2 ]
    GUEST_CONFIG='vcpus = 2
vnuma = "auto"' guest_create a hvm
    xl vnuma-show --json a > "$D/shown.json"
    cat "$D/shown.json"
    [ "$(vnodes < "$D/shown.json")" = \
        "$(jq .topology "$D/plan.json" | vnodes)" ]
    jq -e '.name == "a" and
        ([.vnodes[].pnode_source] == ["configured", "configured"]) and
        ([.vnodes[] | ([.ranges[] | .end - .start] | add) == .memory] |
         all)' "$D/shown.json"
    jq -r '.config' "$D/plan.json" | sed '/^$/d' |
        diff - <(xl vnuma-export a --format xl)
}

@test "the guest's kernel sees the same" {
    guest_sys a > "$D/sys"
    cat "$D/sys"
    [ "$(wc -l < "$D/sys")" = 2 ]
    shown_as_sys a | diff "$D/sys" -
    # most of each vnode's memory; the kernel keeps some
    for n in 0 1; do
        seen=$(guest_run a "cat /sys/devices/system/node/node$n/meminfo" |
            awk '$3 == "MemTotal:" { print $4 * 1024 }')
        jq -e --argjson n $n --argjson seen "$seen" \
            '.vnodes[$n].memory as $m | $seen <= $m and $seen > $m / 2' \
            "$D/shown.json"
    done
}

@test "its memory lies where it was planned, and adds up" {
    xl vnuma-show --measure a
    xl vnuma-show --measure --json a > "$D/measured.json"
    jq -c '.places, [.vnodes[] | [.pnode, .pnode_source]]' "$D/measured.json"
    # stock xl has the sum, in whole MiB
    sum=$(jq '[.places[].memory] | add / 1048576 | floor' "$D/measured.json")
    [ "$sum" = "$(/usr/sbin/xl list a | awk 'NR == 2 { print $3 }')" ]
    # Xen names the same nodes as libxl's configuration, and most of the
    # memory of each vnode is there
    jq -e --slurpfile plan "$D/plan.json" '
        ([.vnodes[] | [.pnode, .pnode_source]] ==
         [$plan[0].topology.vnodes[] | [.pnode, "measured"]]) and
        ([.vnodes[] as $v | .places[] | select(.node == $v.pnode) |
          .memory > $v.memory * 0.9 and .memory < $v.memory * 1.2] |
         length == 2 and all)' "$D/measured.json"
    # and of a guest without virtual NUMA
    xl vnuma-show --measure --json Domain-0 |
        jq -e '.vnodes == [] and ([.places[].memory] | add) > 0'
}

@test "vCPUs on another node are counted" {
    xl vcpu-pin a 0 "$(jq '1 - .vnodes[0].pnode' "$D/shown.json")"
    wait_for 60 "vCPU 0 to run elsewhere" \
        eval "xl vnuma-show a | grep -q '^0 .* 1 of 1 '"
    xl vnuma-show a
    xl vcpu-pin a 0 all
}

@test "hwloc and the picture have guest and host" {
    xl vnuma-export a --format svg > "$D/svg"
    for word in 'vnode 0' 'vnode 1' 'node 0' 'node 1' 'as configured'; do
        grep -q ">$word<" "$D/svg"
    done
    xl vnuma-export a --format hwloc | grep -c 'type="PU"' | grep -qx 2
    xl vnuma-export --format hwloc | grep -c 'type="NUMANode"' | grep -qx 3
    guest_destroy a
}

@test "a PVH guest with vnuma= is refused, and stock xl could not build it" {
    GUEST_CONFIG='vcpus = 2
vnuma = [["pnode=0","size=128","vcpus=0","vdistances=10,21"],
         ["pnode=1","size=128","vcpus=1","vdistances=21,10"]]' \
        guest_config p pvh
    run xl create -q "$(guest_config_file p)"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == "xl create: vnuma: a PVH guest cannot have vnuma: "* ]]
    guest_gone p
    run /usr/sbin/xl create -q "$(guest_config_file p)"
    echo "$output"
    [ "$status" != 0 ]
    guest_gone p || guest_destroy p
}

@test "what does not fit a node is refused before libxl tries" {
    GUEST_CONFIG='vcpus = 2
memory = 4096
vnuma = [["pnode=0","size=2048","vcpus=0","vdistances=10,21"],
         ["pnode=1","size=2048","vcpus=1","vdistances=21,10"]]' \
        guest_config b hvm
    run xl create -q "$(guest_config_file b)"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"xl create: vnuma: node 0: its 1 vnode needs 2048 MiB, "* ]]
    guest_gone b
}
