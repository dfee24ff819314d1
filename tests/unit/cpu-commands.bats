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
EOF
}

xl() {
    "$top_builddir/run" xl "$@"
}

@test "cpu-expand --json has the members that are promised" {
    command -v jq > /dev/null || skip "no jq"
    run -0 --separate-stderr xl cpu-expand --json Haswell-noTSX,+pdpe1gb,-aes
    [ "$(jq -r 'keys_unsorted | join(" ")' <<< "$output")" = \
        "cpu_model vendor family model stepping level xlevel features" ]
    jq -e '.cpu_model == "Haswell-v2" and .vendor == "GenuineIntel" and
        .family == 6 and .model == 60 and .stepping == 1 and .level == 13 and
        .xlevel == 2147483656 and .features == (.features | sort) and
        (.features | index("pdpe1gb")) and
        (.features | index("aes") | not)' <<< "$output"
}

@test "cpu-detect --json: the model, what was added, what was removed" {
    command -v jq > /dev/null || skip "no jq"
    xl cpu-detect --json "$tmp/host" > "$tmp/found"
    [ "$(jq -r 'keys_unsorted | join(" ")' "$tmp/found")" = \
        "vendor family model stepping cpu_model added removed unknown" ]
    jq -e '(.cpu_model | startswith("Skylake-Client-v")) and .family == 6 and
        .model == 158 and .stepping == 10 and .unknown == ["1c[11]"] and
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

@test "cpu-baseline of a host and an older one" {
    xl cpu-expand --json Haswell-noTSX-IBRS,+pdpe1gb > "$tmp/old"
    run -0 xl cpu-baseline "$tmp/host" "$tmp/old"
    [[ $output == *"expression  Haswell-v4,"* ]]
    xl cpu-baseline --json "$tmp/host" "$tmp/old" > "$tmp/pool"
    xl cpu-baseline --json "$tmp/old" "$tmp/host" | diff "$tmp/pool" -
    run -0 xl cpu-diff "$tmp/pool" "$tmp/old"
    [ "$(grep '^-' <<< "$output")" = "-md-clear" ]
}

@test "cpu-diff of two models" {
    run -0 xl cpu-diff Haswell-noTSX Broadwell-noTSX
    [ "$output" = "+3dnowprefetch
+adx
+rdseed
+smap" ]
}

@test "cpu-models lists what cpu-expand takes" {
    xl cpu-models | awk 'NR > 1 { print $1 }' > "$tmp/names"
    [ "$(wc -l < "$tmp/names")" -ge 70 ]
    run -0 xl cpu-expand "$(tail -1 "$tmp/names")"
}

@test "what is wrong is told in one line, with exit status 1" {
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
