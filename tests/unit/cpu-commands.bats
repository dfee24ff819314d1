#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of bats, and of the environment
#
# xl cpu-...: what is printed, for people and for programs, and the exit
# status.  The rules behind are tested in cpu-*.c.

bats_require_minimum_version 1.5.0

setup() {
    tmp=$BATS_TEST_TMPDIR
    cat > "$tmp/host" <<'EOF'
CPU 0:
   0x00000000 0x00: eax=0x00000016 ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69
   0x00000001 0x00: eax=0x000906ea ebx=0x00100800 ecx=0x7ffafbbf edx=0xbfebfbff
   0x00000007 0x00: eax=0x00000000 ebx=0x029c6fbf ecx=0x40000000 edx=0xbc000e00
   0x80000000 0x00: eax=0x80000008 ebx=0x00000000 ecx=0x00000000 edx=0x00000000
   0x80000001 0x00: eax=0x00000000 ebx=0x00000000 ecx=0x00000121 edx=0x2c100800
   0x80000008 0x00: eax=0x00003027 ebx=0x00000000 ecx=0x00000000 edx=0x00000000
EOF
}

xl() {
    "$top_builddir/run" xl "$@"
}

@test "cpu-expand --json has the members that are promised" {
    command -v jq > /dev/null || skip "no jq"
    run -0 --separate-stderr xl cpu-expand --json Haswell-noTSX,+pdpe1gb,-aes
    [ "$(jq -r 'keys_unsorted | join(" ")' <<< "$output")" = \
        "cpu_model vendor family model stepping level xlevel features note" ]
    jq -e '.cpu_model == "Haswell-v2" and .vendor == "GenuineIntel" and
        .family == 6 and .model == 60 and .stepping == 1 and .level == 13 and
        .xlevel == 2147483656 and .features == (.features | sort) and
        (.features | index("pdpe1gb")) and
        (.features | index("aes") | not)' <<< "$output"
}

@test "cpu-expand lists the features of a model that Xen would hide" {
    run -0 xl cpu-expand libvirt:Icelake-Client
    [ "${lines[-2]}" = "features that need one that is off (see --close)" ]
    [ "${lines[-1]}" = "  avx512-vpopcntdq avx512bitalg avx512vbmi avx512vbmi2 avx512vnni" ]
    run -0 xl cpu-expand --close libvirt:Icelake-Client
    [[ $output != *avx512* && $output != *"of these"* ]]
    run -0 xl cpu-expand Icelake-Server
    [[ $output != *"of these"* ]]
}

@test "cpu-detect --json: the model, added and removed features" {
    command -v jq > /dev/null || skip "no jq"
    xl cpu-detect --json "$tmp/host" > "$tmp/found"
    [ "$(jq -r 'keys_unsorted | join(" ")' "$tmp/found")" = \
        "vendor family model stepping cpu_model added removed unknown" ]
    jq -e '(.cpu_model | startswith("Skylake-Client-v")) and .family == 6 and
        .model == 158 and .stepping == 10 and .unknown == [] and
        (.added | index("sdbg")) and
        (.added | index("clflushopt"))' "$tmp/found"
    # the same from standard input, and from what was found
    xl cpu-detect --json - < "$tmp/host" | diff "$tmp/found" -
    xl cpu-detect --json "$tmp/found" | diff "$tmp/found" -
}

@test "the expression of cpu-detect is the processor again" {
    expression=$(xl cpu-detect "$tmp/host" | sed -n 's/^expression  //p')
    run -0 xl cpu-diff "$tmp/host" "$expression"
    [ "$output" = "" ]
}

# Dumps of real processors are not ours to give away.  KVM makes up an MSR of
# ARCH_CAPABILITIES where the processor says that there is none; dumps have
# its bits, expressions only together with the feature.
@test "each dump of LIBXLX_CPU_DUMPS is what cpu-detect says it is" {
    local dump expression dumps=0
    [ -n "${LIBXLX_CPU_DUMPS-}" ] ||
        skip "LIBXLX_CPU_DUMPS names no directory of dumps"
    while read -r -d '' dump; do
        echo "$dump"
        xl cpu-detect --json "$dump" > "$tmp/found"
        run -0 xl cpu-diff "$dump" "$tmp/found"
        [ "$output" = "" ]
        xl cpu-detect "$dump" > "$tmp/told"
        expression=$(sed -n 's/^expression  //p' "$tmp/told")
        if [ -n "$expression" ]; then
            run -0 xl cpu-diff "$dump" "$expression"
            [ "$output" = "" ] || {
                run -0 xl cpu-diff "$dump" "$expression,+arch-capabilities"
                [ "$output" = "+arch-capabilities" ]
            }
        else                            # of a maker without models
            grep -q '"cpu_model": ""' "$tmp/found"
        fi
        dumps=$((dumps + 1))
    done < <(find -L "$LIBXLX_CPU_DUMPS" -type f -print0)
    [ "$dumps" -gt 0 ]
}

@test "cpu-baseline of a host and an older one" {
    xl cpu-expand --json Haswell-noTSX-IBRS,+pdpe1gb > "$tmp/old"
    run -0 --separate-stderr xl cpu-baseline "$tmp/host" "$tmp/old"
    [[ ${lines[1]} == "signature   family 6, model 60, stepping 1" ]]
    [[ ${lines[3]} == 'cpuid="Haswell-v4,'*'"' ]]
    [[ $stderr == *"host and 1 more: only the hardware is known, without xen-cpuid -p: "* ]]
    xl cpu-baseline --json "$tmp/host" "$tmp/old" > "$tmp/pool"
    xl cpu-baseline --json "$tmp/old" "$tmp/host" | diff "$tmp/pool" -
    run -0 xl cpu-diff "$tmp/pool" "$tmp/old"
    [ "$(grep '^-' <<< "$output")" = "-md-clear" ]
    # it is a host of a pool again, of which no more is known
    xl cpu-baseline --json "$tmp/pool" "$tmp/old" "$tmp/host" |
        diff <(jq .features "$tmp/pool") <(jq .features)
}

@test "cpu-diff of two models" {
    run -0 xl cpu-diff Haswell-noTSX Broadwell-noTSX
    [ "$output" = "+3dnowprefetch
+adx
+rdseed
+smap" ]
}

# Six policies as xen-cpuid -p prints them: those of PV guests have nothing, the
# usual one of the others no pdpe1gb.
policies() {
    local title leaf
    echo "Xen reports there are maximum 120 leaves and 2 MSRs"
    for title in Raw Host "PV Max" "HVM Max" "PV Default" "HVM Default"; do
        leaf=2c100800
        [ "$title" != "HVM Default" ] || leaf=28100800
        printf '%s policy: 5 leaves, 2 MSRs\n CPUID:\n' "$title"
        printf '  %-8s %-8s -> %-8s %-8s %-8s %-8s\n' leaf subleaf eax ebx ecx edx
        printf '  %s:%s -> %s\n' \
            00000000 ffffffff 0000000d:756e6547:6c65746e:49656e69 \
            00000001 ffffffff 000906ea:00100800:f6fa3203:1fcbfbff \
            00000007 00000000 00000000:019c07ab:00000000:00000000 \
            80000000 ffffffff 80000008:00000000:00000000:00000000 \
            80000001 ffffffff 00000000:00000000:00000121:$leaf
        printf ' MSRs:\n  %-8s -> %-16s\n' index value
        printf '  %s -> %s\n' 000000ce 0000000000000000 \
            0000010a 0000000000000000
    done
}

@test "cpu-expand --format: as config, for hosts that xen-cpuid has printed" {
    policies > "$tmp/xen"
    run -0 xl cpu-expand --format xl host "$tmp/xen"
    [ "$output" = 'cpuid = "host"' ]
    run -0 xl cpu-expand --format xl host,-avx2,+pdpe1gb "$tmp/xen"
    [ "$output" = 'cpuid = "host,page1gb=1,avx2=0"' ]
    run -0 xl cpu-expand --pv --format xl host,-avx2,-pdpe1gb "$tmp/xen"
    [ "$output" = 'cpuid = "host,page1gb=0,avx2=0"' ]
    run -0 xl cpu-expand --format xl-list host,-avx2 "$tmp/xen" "$tmp/xen"
    [ "${lines[0]}" = 'cpuid = [ "0x1:edx=000xxxxxxx00x0xxxxxxx0xxxxxxxxxx,ecx=xxxxxxx0xxxxx0x000xx00x0000000xx",' ]
    [[ ${lines[-1]} == *' ]' ]]
    run -0 xl cpu-expand --format libvirt host,-avx2,+pdpe1gb "$tmp/xen"
    [ "$output" = "<cpu mode='host-passthrough'>
  <feature policy='force' name='page1gb'/>
  <feature policy='disable' name='avx2'/>
</cpu>" ]
    xl cpu-expand --format json host,-avx2,+sha512 "$tmp/xen" |
        jq -e '.string == "host,avx2=0" and .lacking == ["sha512"] and
            (.features | index("avx"))'
    LIBXLX_CPU_POLICIES=$tmp/xen run -0 xl cpu-expand --format xl host,-avx2
    [ "$output" = 'cpuid = "host,avx2=0"' ]
}

@test "cpu-detect --policy: the processor as Xen sees it" {
    policies > "$tmp/xen"
    run -0 xl cpu-detect --policy raw "$tmp/xen"
    [[ $output == *pdpe1gb* ]]
    run -0 xl cpu-detect --policy max "$tmp/xen"
    [[ $output == *pdpe1gb* ]]
    run -0 xl cpu-detect --policy default "$tmp/xen"
    [[ $output != *pdpe1gb* ]]
    run -0 xl cpu-detect --policy default --pv "$tmp/xen"
    [[ $output == *pdpe1gb* ]]
    LIBXLX_CPU_POLICIES=$tmp/xen run -0 xl cpu-detect --policy host --json
    jq -e '.model == 158' <<< "$output"
    run -1 --separate-stderr xl cpu-detect --policy max "$tmp/host"
    [ "${stderr_lines[-1]}" = "xl cpu-detect: $tmp/host: has no policies of Xen, as xen-cpuid -p prints them" ]
    run -2 xl cpu-detect --policy most "$tmp/xen"
    run -2 xl cpu-detect --pv "$tmp/xen"
    run -2 xl cpu-detect --policy max --domain 1
}

@test "cpu-expand --format: errors" {
    policies > "$tmp/xen"
    run -2 xl cpu-expand --format yaml host "$tmp/xen"
    [ "$output" = 'xl cpu-expand: --format: "yaml": must be xl, xl-list, libvirt or json' ]
    run -2 xl cpu-expand Haswell "$tmp/xen"
    sed '/^HVM Max/,/^PV Default/d' "$tmp/xen" > "$tmp/half"
    run -1 xl cpu-expand --format xl Broadwell-noTSX,-rdseed "$tmp/half"
    [ "$output" = "xl cpu-expand: $tmp/half: no \"HVM Max policy\", though there is another: is it all of the output of xen-cpuid -p?" ]
    run -1 xl cpu-expand --format xl x86-64-v2,+la57,-aes,+movbe "$tmp/xen"
    [ "$output" = 'xl cpu-expand: "x86-64-v2,+la57,-aes,+movbe" cannot be had here, because the host has no la57 for its guests: take an older model, or write "x86-64-v2,-aes,+movbe"' ]
    [ -e /proc/xen/capabilities ] || {
        run -1 xl cpu-expand --format xl host
        [[ $output == *"no hypervisor to ask about the processor: "* ]]
    }
}

# The line goes as it is into a config, a check, and the words of stock xl.
@test "cpu-baseline: the line for configs, on the hosts of the pool" {
    local line
    policies > "$tmp/xen"
    sed 's/019c07ab/019c07a3/; s/2.100800/28100800/' "$tmp/xen" > "$tmp/other"
    run -0 xl cpu-baseline "$tmp/xen" "$tmp/other"
    [ "${lines[3]}" = \
        'cpuid="Westmere-v1,+acpi,+ss,+fma,+pcid,+x2apic,+movbe,+xsave,+avx,+f16c,+rdrand,+rdtscp,+abm,+3dnowprefetch,+fsgsbase,+tsc-adjust,+avx2,+smep,+bmi2,+erms,+invpcid,+rdseed,+adx,+smap,+clflushopt,+clwb"' ]
    line=$(cut -d'"' -f2 <<< "${lines[3]}")
    run -0 xl cpu-check "$line" --on "$tmp/xen" "$tmp/other"
    run -0 xl cpu-expand --format json "$line" "$tmp/xen"
    jq -e '.lacking == []' <<< "$output"
    xl cpu-baseline --json "$tmp/xen" "$tmp/other" |
        diff <(jq .features <<< "$output") <(jq .guest)
    xl cpu-baseline --pv --json "$tmp/xen" "$tmp/host" 2> "$tmp/err" |
        jq -e '.predicted and (.cpuid | startswith("Broadwell-v"))'
    grep -q "^xl cpu-baseline: $tmp/host: only the hardware" "$tmp/err"
}

# Every form of a processor can also be a host.
@test "hosts of which only the hardware is known" {
    local file
    policies > "$tmp/xen"
    xl cpu-expand --json Haswell-noTSX > "$tmp/cpu"
    xl cpu-detect --json "$tmp/cpu" > "$tmp/found"
    xl cpu-baseline --json "$tmp/cpu" > "$tmp/pool"
    echo 1fcbfbff-77fa3223-2c100800-00000121-00000001-009c6fbb > "$tmp/xapi"
    cat > "$tmp/libvirt" <<< "<cpu><vendor>Intel</vendor><model>Haswell-noTSX</model></cpu>"
    for file in host cpu found pool xapi libvirt; do
        echo "$file"
        run -0 --separate-stderr xl cpu-check x86-64-v2 --on "$tmp/$file"
        [ "$output" = "$tmp/$file: runs" ]
        [[ $stderr == *"xl cpu-check: $tmp/$file: only the hardware is known"* ]]
        run -0 --separate-stderr xl cpu-explain --on "$tmp/$file" x86-64-v2 avx
        [[ ${lines[1]} == *"of no use without xsave, which is off"* ]]
        run -0 --separate-stderr xl cpu-expand --format xl x86-64-v2 "$tmp/$file"
        [[ $output == 'cpuid = "host,'*avx=0*'"' ]]
        run -0 xl cpu-baseline "$tmp/$file"
        [[ $output == *'cpuid="'* ]]
    done
}

@test "cpu-explain: an expression, a dump, and one feature" {
    policies > "$tmp/xen"
    run -0 xl cpu-explain --on "$tmp/xen" host,-avx pdpe1gb
    [[ $(tr -s " " <<< "${lines[1]}") == "pdpe1gb - only for a guest that asks, without security support: +pdpe1gb"* ]]
    run -0 xl cpu-explain --on "$tmp/xen" host,-avx avx2
    [[ $(tr -s " " <<< "${lines[1]}") == "avx2 - of no use without avx, which is off"* ]]
    run -0 xl cpu-explain --on "$tmp/xen" host,-avx avx
    [[ $(tr -s " " <<< "${lines[1]}") == "avx - turned off by -avx"* ]]
    run -0 xl cpu-explain --on "$tmp/xen" "$tmp/host" avx512f
    [[ $(tr -s " " <<< "${lines[1]}") == "avx512f - the processor does not have it"* ]]
    xl cpu-explain --json --on "$tmp/xen" host |
        jq -e '.features | length > 60 and
            any(.feature == "avx2" and .on and .reason == "on")'
    LIBXLX_CPU_POLICIES=$tmp/xen run -0 xl cpu-explain host avx2
    [[ $(tr -s " " <<< "${lines[1]}") == "avx2 has it"* ]]
    run -1 xl cpu-explain --on "$tmp/xen" host avx22
    [[ $output == *'no feature "avx22"; did you mean'* ]]
}

@test "cpu-check: a move, a start, and obstacles" {
    policies > "$tmp/xen"
    run -0 xl cpu-check x86-64-v1 --on "$tmp/xen"
    [ "$output" = "$tmp/xen: runs" ]
    run -1 xl cpu-check x86-64-v1,+la57 --on "$tmp/xen"
    [ "$output" = "$tmp/xen: is refused: the host lacks what was asked for
 lost
  la57" ]
    # a host is not a guest: those that it makes are meant
    run -0 xl cpu-check "$tmp/xen" --on "$tmp/xen"
    run -0 --separate-stderr xl cpu-check "$tmp/host" --on "$tmp/host"
    xl cpu-expand --json Haswell,level=22 > "$tmp/deep"
    run -1 xl cpu-check "$tmp/deep" --on "$tmp/xen"
    [[ $output == "$tmp/xen: is refused: its largest leaf is 0x16, the host allows 0xd"* ]]
    xl cpu-expand --json IvyBridge,level=13,+adx,+sha-ni > "$tmp/guest"
    run -1 xl cpu-check --xen 4.17.7 --json "$tmp/guest" --on "$tmp/xen"
    jq -e --arg host "$tmp/xen" '.verdicts[0] | .fate == "lose" and .host == $host and (.lost | index("sha-ni")) and
        (.lost | index("adx") | not)' <<< "$output"
    run -1 xl cpu-check --xen new "$tmp/guest" --on "$tmp/xen"
    [ "$output" = 'xl cpu-check: release: "new" must be like 4.17.5' ]
}

@test "cpu-check: whose guests run where" {
    policies > "$tmp/new"
    sed 's/019c07ab/000c07ab/' "$tmp/new" > "$tmp/old"
    run -1 xl cpu-check "$tmp/new" "$tmp/old"
    [ "$(tr -s ' ' <<< "${lines[0]}" | sed 's/ $//')" = "Guests of new old" ]
    [ "$(tr -s ' ' <<< "${lines[1]}" | sed 's/ $//')" = "new runs loses 3" ]
    [ "$(tr -s ' ' <<< "${lines[2]}" | sed 's/ $//')" = "old runs runs" ]
    run -1 xl cpu-check --json "$tmp/new" "$tmp/old"
    jq -e --arg new "$tmp/new" '.rows[0] | .guest == $new and
        .verdicts[0].fate == "run" and .verdicts[1].fate == "lose" and
        (.verdicts[1].lost | length == 3)' <<< "$output"
    run -0 xl cpu-check "$tmp/new" "$tmp/new"
    run -1 xl cpu-check "$tmp/new" Haswell
    [[ $output == *'"Haswell" is not a file: the table is of hosts'* ]]
    run -2 xl cpu-check "$tmp/new" "$tmp/old" --on "$tmp/new"
}

# What people post; each has only a part of the features, and says so.
@test "processors as systems list them" {
    local file
    cat > "$tmp/cpuinfo" <<'EOF'
processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 158
model name	: Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz
stepping	: 10
cpuid level	: 22
flags		: fpu de tsc msr pae cx8 apic sep cmov pat fxsr sse sse2 syscall nx lm constant_tsc nonstop_tsc pni ssse3 cx16 sse4_1 sse4_2 popcnt ibrs ibpb avx xsave md_clear
bugs		: spectre_v1
processor	: 1
EOF
    run -0 --separate-stderr xl cpu-detect --json "$tmp/cpuinfo"
    [[ $stderr == *"cpuinfo: Linux lists the features that it knows and uses"* ]]
    jq -e '.model == 158 and (.cpu_model | startswith("Skylake-Client"))' \
        <<< "$output"
    run -0 --separate-stderr xl cpu-diff "$tmp/cpuinfo" kvm64
    [[ $output == *"-spec-ctrl"* && $output == *"-invtsc"* ]]
    echo "hw_caps : bfebf3ff:77fafbff:2c100800:00000121:0000000f:d39ffffb:00000008:00000100" > "$tmp/info"
    # Xen 4.6 and older
    echo "hw_caps                : bfebf3ff:2c100800:00000000:00000000:77fafbff:00000000:00000121:d39ffffb" > "$tmp/oldinfo"
    cat > "$tmp/xe" <<'EOF'
cpu_count       : 16
          vendor: GenuineIntel
          family: 6
           model: 85
        stepping: 4
           flags: fpu de tsc
        features: 7ffefbff-bfebfbff-00000121-2c100800
    features_hvm: bfebf3ff-77fafbff-2c100800-00000121-0000000f-d39ffffb
EOF
    for file in info oldinfo xe; do
        run -0 --separate-stderr xl cpu-detect "$tmp/$file"
        [[ $output == *"x86-64-v4"* && -n $stderr ]]
        run -0 --separate-stderr xl cpu-baseline "$tmp/host" "$tmp/$file"
        [[ ${lines[0]} == "vendor      GenuineIntel" ]]
    done
    cat "$tmp/cpuinfo" "$tmp/cpuinfo" > "$tmp/both"
    run -1 xl cpu-detect "$tmp/both"
    [[ $output == *"holds more than one host"* ]]
}

@test "cpu-models lists the models that cpu-expand takes" {
    xl cpu-models | awk 'NR > 1 { print $1 }' > "$tmp/names"
    [ "$(wc -l < "$tmp/names")" -ge 70 ]
    run -0 xl cpu-expand "$(tail -1 "$tmp/names")"
}

@test "an error is one line, with exit status 1" {
    run -1 xl cpu-expand SandyBrige
    [ "$output" = 'xl cpu-expand: CPU expression, byte 0: no CPU model "SandyBrige"; did you mean "SandyBridge"?' ]
    run -1 xl cpu-detect /nonexistent
    [ "$output" = "xl cpu-detect: /nonexistent: No such file or directory" ]
    printf 'CPUID\0' > "$tmp/bad"
    run -1 xl cpu-detect "$tmp/bad"
    [ "$output" = "xl cpu-detect: $tmp/bad: not a text" ]
    xl cpu-expand --json EPYC > "$tmp/amd"
    run -1 xl cpu-baseline "$tmp/host" "$tmp/amd"
    [[ $output == *"host 2 is of the vendor"* ]]
    run -2 xl cpu-baseline
}
