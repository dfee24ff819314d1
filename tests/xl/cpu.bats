#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# cpuid= in a config: what is ours reaches stock xl in its own words, what is
# its own reaches it as it stands, and what is wrong reaches it not at all.

bats_require_minimum_version 1.5.0
load rig

setup() {
    rig_setup
    command -v jq > /dev/null || skip "no jq"
    for program in guard cpu; do
        # Not the script of libtool's: it forgets how it was called.
        path=$top_builddir/xl-plugins/.libs/xl-$program
        [ -x "$path" ] || path=$top_builddir/xl-plugins/xl-$program
        ln -s "$path" "$tmp/exec/xl-$program"
    done
    ln -s xl-cpu "$tmp/exec/xl-cpu-expand"
    base+=(LD_LIBRARY_PATH="$top_builddir/lib/.libs"
           LIBXLX_RUN_DIR="$tmp/run")
    host false Haswell-noTSX,+hypervisor Haswell,+vmx,+pdpe1gb
}

# The features that Xen gives its guests here: host PV USUAL MOST
host() {
    local usual most
    usual=$(xl cpu-expand --json "$2")
    most=$(xl cpu-expand --json "$3")
    jq -n --argjson pv "$1" --argjson usual "$usual" --argjson most "$most" \
        '{pv: $pv, hardware: $most, xen: $most, most: $most, usual: $usual}' \
        > "$tmp/policies"
    extra=(LIBXLX_CPU_POLICIES="$tmp/policies")
}

# config [LINE...]
config() {
    printf 'name="web"\ntype="hvm"\nmemory=64\n'
    printf 'uuid="77777777-7d1e-4c5a-9a43-0d5d4f5e6a02"\n'
    [ $# -eq 0 ] || printf '%s\n' "$@"
}

# The arguments that reach stock xl for a config of these lines, after those
# that were typed.
lines_for() {
    config "$@" > "$tmp/web.cfg"
    rm -f "$tmp/record"
    extra+=(FAKE_RECORD="$tmp/record" FAKE_EXIT=0)
    xl create -n "$tmp/web.cfg" || return
    head -n 1 "$tmp/record" | tr '\0' '\n' | tail -n +5
}

# The result of stock xl for a config of these lines.
understood() {
    config "$@" > "$tmp/web.cfg"
    xl create -n "$tmp/web.cfg" > "$tmp/json"
    grep -v '^Parsing' "$tmp/json" |
        jq -c '.b_info.cpuid | if type == "object" then .cpuid else . end'
}

# One line on standard error, exit status 1, and stock xl is not started.
refused() {
    local text=$1
    shift
    config "$@" > "$tmp/web.cfg"
    rm -f "$tmp/record"
    extra+=(FAKE_RECORD="$tmp/record")
    run --separate-stderr -1 xl create "$tmp/web.cfg"
    echo "$stderr"
    [ -z "$output" ]
    [ ! -e "$tmp/record" ]
    [ "${#stderr_lines[@]}" = 1 ]
    [[ $stderr == *"$text"* ]]
}

@test "a model reaches stock xl as features to put off and on" {
    run -0 lines_for 'cpuid="Haswell-noTSX"'
    [ "$output" = 'cpuid="host"' ]
    run -0 lines_for 'cpuid="Haswell-noTSX,-avx2"'
    [ "$output" = 'cpuid="host,avx2=0"' ]
    run -0 lines_for 'cpuid="IvyBridge,+pdpe1gb,-rdrand"'
    echo "$output"
    [ "$output" = 'cpuid="host,fma=0,pcid=0,movbe=0,rdrand=0,page1gb=1,abm=0,bmi1=0,avx2=0,bmi2=0,invpcid=0"' ]
}

@test "vmx asked for by name brings nestedhvm" {
    run -0 lines_for 'cpuid="Haswell-noTSX,+vmx"'
    [ "${lines[0]}" = 'cpuid="host"' ]
    [ "${lines[1]}" = 'nestedhvm=1' ]
    [ "${#lines[@]}" = 2 ]
    refused "nestedhvm=0 forbids it" 'cpuid="Haswell-noTSX,+vmx"' 'nestedhvm=0'
}

@test "host, with our words" {
    run -0 lines_for 'cpuid="host,-avx2,+pdpe1gb"'
    [ "$output" = 'cpuid="host,page1gb=1,avx2=0"' ]
    run -0 lines_for 'cpuid="host,avx2=off"'
    [ "$output" = 'cpuid="host,avx2=0"' ]
}

@test "our words and those of xl in one string" {
    run -0 lines_for 'cpuid="Haswell-noTSX,-avx2,family=6,stepping=3,rdrand=0,hle=k"'
    echo "$output"
    [ "$output" = 'cpuid="host,family=6,stepping=3,rdrand=0,hle=k,avx2=0"' ]
}

@test "a model and leaves in one list" {
    run -0 lines_for 'cpuid=["Haswell-noTSX,-avx2", "0x7,0:ebx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0"]'
    echo "$output"
    [[ $output == 'cpuid=[ "0x1:'* ]]
    [[ $output == *', "0x7,0:ebx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0" ]' ]]
    refused 'cpuid, element 2, byte 10: 1 characters, and must be 32' \
        'cpuid=["Haswell-noTSX", "0x7,0:ebx=x"]'
}

@test "stock xl understands the line that it gets" {
    run -0 --separate-stderr understood 'cpuid="Haswell-noTSX,-avx2"'
    echo "$output"
    [ "$output" = '[{"leaf":7,"subleaf":0,"ebx":"xxxxxxxxxxxxxxxxxxxxxxxxxx0xxxxx"}]' ]
}

@test "the words of xl reach it as they stand" {
    for line in 'cpuid="host"' 'cpuid="host,avx=0,family=6"' \
        'cpuid="host,avx2=0,"' 'cpuid="host,"' 'cpuid="host,,avx=0"' \
        'cpuid=""' 'cpuid=","' 'cpuid=",host,avx=0"' 'cpuid=[[1], "x"]' \
        'cpuid=["0x7,0:ebx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0"]' \
        'cpuid=[]' 'xcpuid="Haswell"'; do
        config "$line" > "$tmp/web.cfg"
        same_as_stock create -n "$tmp/web.cfg"
    done
}

@test "a line of which stock xl would only warn is refused" {
    refused 'cpuid, byte 11: "pdpe1gb" is not a name that the installed libxl knows' \
        'cpuid="host,avx=0,pdpe1gb=1"'
    refused 'cpuid, byte 5: stock xl would warn, and give the guest all that the host has: no feature "avxx"; did you mean' \
        'cpuid="host,avxx=0"'
    refused 'cpuid, element 2, byte 2: eax=, ebx=, ecx= or edx= is expected here' \
        'cpuid=["7,0:ebx=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx0", "1:efx=x"]'
}

@test "a line that stock xl misreads gives a warning, and is taken" {
    config 'cpuid="host,avx=2"' > "$tmp/web.cfg"
    run -0 --separate-stderr xl create -n "$tmp/web.cfg"
    [[ ${stderr_lines[0]} == 'xl create: warning: cpuid, byte 9: "2" must be 0, 1, x, k or s: libxl would take some bits of it' ]]
}

@test "a PV guest is asked about as one" {
    host true Haswell-noTSX,-vme,-tsc-deadline Haswell
    run -0 lines_for 'type="pv"' 'cpuid="Haswell-noTSX,-avx2"'
    [ "$output" = 'cpuid="host,avx2=0"' ]
    refused "is about PV guests" 'cpuid="Haswell"'
}

@test "an error has its place, and nothing is started" {
    refused 'cpuid: CPU expression, byte 0: no CPU model "SandyBrige"; did you mean "SandyBridge"?' \
        'cpuid="SandyBrige,+pdpe1gb"'
    refused 'cpuid: CPU expression, byte 9: no feature "pdpe1bg"; did you mean "pdpe1gb"?' \
        'cpuid="Haswell,+pdpe1bg"'
    refused 'byte 8: a feature is expected here' 'cpuid="Haswell,"'
    refused 'byte 6: "ssb-no" is ambiguous' 'cpuid="host,-ssb-no"'
    refused 'byte 12: "2" must be on or off' 'cpuid="Haswell,avx=2"'
    refused 'byte 17: "300" must be a number up to 15' \
        'cpuid="Haswell,stepping=300"'
    refused 'byte 15: "k" must be a number' 'cpuid="Haswell,family=k"'
    refused 'Xen alone decides about "hypervisor"' 'cpuid="Haswell,-hypervisor"'
    refused '"EPYC-v1" is of the vendor AuthenticAMD' 'cpuid="EPYC"'
}

@test "a feature that the host lacks: the message says how to go on" {
    refused 'because the host has no 3dnowprefetch, adx, rdseed, smap for its guests' \
        'cpuid="Broadwell-noTSX"'
    run -0 lines_for "cpuid=${stderr##*or write }"
    [ "$output" = 'cpuid="host"' ]
}
