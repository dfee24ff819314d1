#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# cpuid= with our words, on a real Xen: what it holds for the guest, and what
# the guest itself sees, are what cpu-expand --format says they will be; and
# they stay so over a reboot, save and restore.
# xen-host: suites bookworm trixie
# xen-host: run asked

bats_require_minimum_version 1.5.0

setup_file() {
    load guest
    # the guest asks its own processor with the same program
    PATH=$PATH:$(dirname "$(find /usr/local -name xl-cpu -path '*libexec*')")
    GUEST_PROGRAMS=xl-cpu guests_begin
}
setup() { load guest; tmp=$BATS_TEST_TMPDIR; }
teardown() { guest_destroy g; }
teardown_file() { load guest; guests_end; }

# Xen decides about these for each domain, by rules of its own.
own='["apic","cmp-legacy","fdp-excptn-only","ht","hypervisor","invtsc",
      "osxsave","ospke","x2apic","zero-fcs-fds"]'

# features FILE: the names in JSON of any kind, without Xen's own, a line each
features() {
    jq -r --argjson own "$own" '.features - $own | sort[]' "$1"
}

# predict EXPR [OPTION...]: into $tmp/predicted; what cannot be had here is
# put off first, and $expression says how.
predict() {
    local lacking
    expression=$1
    shift
    lacking=$(xl cpu-expand --format json "$@" "$expression" |
        jq -r '.lacking | map(",-" + .) | add // ""')
    expression=$expression$lacking
    xl cpu-expand --format json "$@" "$expression" > "$tmp/json"
    features "$tmp/json" > "$tmp/predicted"
    [ -s "$tmp/predicted" ]
}

# What Xen holds for the guest, as a processor in JSON: model, added and
# removed put together.
held() {
    xl cpu-detect --json --domain g > "$tmp/found"
    jq -n --slurpfile d "$tmp/found" \
        --argjson m "$(xl cpu-expand --json "$(jq -r .cpu_model "$tmp/found")")" \
        '{features: ($m.features + $d[0].added + $d[0].unknown - $d[0].removed)}' \
        > "$tmp/held"
    features "$tmp/held"
}

same_as_predicted() {
    held > "$tmp/features"
    diff -U0 "$tmp/predicted" "$tmp/features"
}

# Creates guest g of that type paused, compares, and lets it go.
try_expression() {
    local type=$1 pv=()
    [ "$type" != pv ] || pv=(--pv)
    predict "$2" "${pv[@]}"
    echo "$2 as $expression"
    GUEST_CONFIG="cpuid='$expression'" GUEST_ARGS="ticks=off" guest_config g "$type"
    xl create -q -p "$(guest_config_file g)"
    same_as_predicted
    guest_destroy g
}

@test "what Xen makes of its processor is read" {
    xl cpu-expand --format json host > "$tmp/usual"
    xl cpu-expand --format json --pv host > "$tmp/pv"
    jq -e '.features | index("lm")' "$tmp/usual"
    jq -e '.features | index("lm")' "$tmp/pv"
    # the same as the tool of Xen says
    "$(echo /usr/lib/xen-*/bin/xen-cpuid)" -p > "$tmp/policies"
    xl cpu-expand --format json host "$tmp/policies" | diff - "$tmp/usual"
    xl cpu-expand --format json --pv host "$tmp/policies" | diff - "$tmp/pv"
    cp "$tmp/policies" /job/results/ || true
}

@test "ten expressions for a PVH guest" {
    for e in host x86-64-v1 x86-64-v2 kvm64 qemu64 phenom Opteron_G1 \
        Opteron_G2 host,-aes,-popcnt host,-pni x86-64-v2,-sse4.1,+aes max; do
        try_expression pvh "$e"
    done
}

@test "the line of cpu-baseline goes into a config as it is" {
    "$(echo /usr/lib/xen-*/bin/xen-cpuid)" -p > "$tmp/host"
    for type in pvh pv; do
        pv=()
        [ $type != pv ] || pv=(--pv)
        xl cpu-baseline "${pv[@]}" --json "$tmp/host" |
            jq '{features: .guest}' > "$tmp/guest"
        features "$tmp/guest" > "$tmp/predicted"
        [ -s "$tmp/predicted" ]
        line=$(xl cpu-baseline "${pv[@]}" "$tmp/host" | grep ^cpuid=)
        echo "$line"
        GUEST_CONFIG=$line GUEST_ARGS="ticks=off" guest_config g $type
        xl create -q -p "$(guest_config_file g)"
        same_as_predicted
        guest_destroy g
    done
}

# How many domains there are, those without a name included.
domains() { xl list | tail -n +2 | wc -l; }

@test "cpu-check --exact: what is predicted is what Xen makes of it" {
    local before failed=0
    before=$(domains)
    for e in host x86-64-v1 x86-64-v2 kvm64 qemu64 phenom Opteron_G1 \
        Opteron_G2 Opteron_G3 host,-aes host,-sse host,-xsave host,-nx \
        host,-pni host,-lm host,-svm x86-64-v2,-popcnt host,-pat,-pge \
        kvm64,mitigations=model host,-fxsr max; do
        for pv in '' --pv; do
            predict "$e" ${pv:+"$pv"}
            run xl cpu-check --exact --json ${pv:+"$pv"} "$expression"
            echo "$expression $pv: $status, $output"
            [ "$status" = 0 ] || failed=1
            [ "$(jq -c '.verdicts[1] | .fate, .lost, .gained' <<< "$output" |
                tr -d '\n')" = '"run"[][]' ] || failed=1
        done
    done
    [ "$failed" = 0 ]
    [ "$(domains)" = "$before" ]
}

@test "cpu-check --exact: what Xen does not give is told" {
    xl cpu-expand --json host > "$tmp/more"
    jq '.features |= (. + ["la57"] | sort)' "$tmp/more" > "$tmp/guest"
    run -1 xl cpu-check --exact "$tmp/guest"
    echo "$output"
    [[ $output == *"this host, tried: silently loses features"* ]]
    grep -A1 '^this host, tried' <<< "$output" | grep lost
    # its limits, too
    jq '.level = 100' "$tmp/guest" > "$tmp/large"
    run -1 xl cpu-check --exact "$tmp/large"
    echo "$output"
    [[ ${lines[-1]} == "this host, tried: is refused: "*leaf* ]]
}

@test "cpu-check --exact: what a kill leaves behind goes with the next trial" {
    local before
    before=$(domains)
    run -137 env LIBXLX_FAULT=cpu-try.created xl cpu-check --exact host
    [ "$(domains)" = $((before + 1)) ]
    run -0 xl cpu-check --exact host
    echo "$output"
    [ "$(domains)" = "$before" ]
}

@test "expressions for a PV and an HVM guest" {
    for e in host x86-64-v1 x86-64-v2,-ssse3 host,-sse4a; do
        try_expression pv "$e"
    done
    for e in kvm64 host,-aes; do
        try_expression hvm "$e"
    done
}

@test "the list form gives the same" {
    predict x86-64-v2
    xl cpu-expand --format xl-list "$expression" > "$tmp/line"
    GUEST_CONFIG=$(cat "$tmp/line") GUEST_ARGS="ticks=off" guest_config g pvh
    xl create -q -p "$(guest_config_file g)"
    same_as_predicted
}

# What the guest's own processor tells it, as held does.
seen() {
    guest_run g 'xl-cpu cpu-detect --json' > "$tmp/found"
    jq -n --slurpfile d "$tmp/found" \
        --argjson m "$(xl cpu-expand --json "$(jq -r .cpu_model "$tmp/found")")" \
        '{features: ($m.features + $d[0].added + $d[0].unknown - $d[0].removed)}' \
        > "$tmp/held"
    features "$tmp/held"
}

@test "a PVH guest sees it, after a reboot, and after save and restore" {
    predict x86-64-v2,-popcnt
    GUEST_CONFIG="cpuid='$expression'" GUEST_ARGS="ticks=off" guest_create g pvh
    same_as_predicted
    seen > "$tmp/seen"
    diff -U0 "$tmp/predicted" "$tmp/seen"
    run ! grep -qx popcnt "$tmp/seen"
    guest_reboot g
    same_as_predicted
    xl cpu-detect --json --domain g > "$tmp/before"
    guest_save g "$GUESTS/g.save"
    # what lies in the file is what Xen held
    xl cpu-detect --json "$GUESTS/g.save" | diff "$tmp/before" -
    guest_restore g "$GUESTS/g.save"
    same_as_predicted
    seen | diff -U0 "$tmp/seen" -
    rm "$GUESTS/g.save"
}

@test "what is wrong starts nothing" {
    GUEST_CONFIG="cpuid='SandyBrige'" guest_config g pvh
    run -1 xl create "$(guest_config_file g)"
    [ "${lines[-1]}" = 'xl create: cpuid: CPU expression, byte 0: no CPU model "SandyBrige"; did you mean "SandyBridge"?' ]
    GUEST_CONFIG="cpuid='x86-64-v4'" guest_config g pvh
    run -1 xl create "$(guest_config_file g)"
    [[ ${lines[-1]} == *"the host has no "*avx512f* ]]
    GUEST_CONFIG="cpuid='Haswell'" guest_config g pvh
    run -1 xl create "$(guest_config_file g)"
    [[ ${lines[-1]} == *'"Haswell-v1" is of the vendor GenuineIntel'* ]]
    guest_gone g
    run -1 xl cpu-detect --domain g
}
