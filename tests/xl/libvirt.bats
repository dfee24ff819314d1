#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # output is set by bats' run
#
# The relay between the installed virsh and the installed libvirtd.  libvirtd
# has its test driver behind it, which needs no hypervisor: --open tells it to
# open that where the client has opened xen:///system.

bats_require_minimum_version 1.5.0
load libvirt.bash

setup_file() {
    rig_make
    start_libvirtd
    start_relay --open test:///default
}
teardown_file() { rig_use; rig_end; }
# Each test finds both running, also after one that failed.
setup() {
    rig_use
    [ -s "$rig/libvirtd.pid" ] || start_libvirtd
    [ -s "$rig/relay.pid" ] || start_relay --open test:///default
}

@test "xen:///system is the relay, for clients that may only read as well" {
    run -0 virsh_relay cpu-models x86_64
    [ "$(grep -c . <<< "$output")" -ge 100 ]
    grep -qx Haswell-noTSX <<< "$output"
    sort -c <(grep . <<< "$output")
    run -0 virsh_relay -r cpu-models i686
    run -1 virsh_relay cpu-models sparc
    [[ "$output" == *'invalid argument: architecture "sparc"'* ]]
    # libvirtd's own answer is another
    run -1 virsh_direct cpu-models sparc
    [[ "$output" != *'CPU models are known for'* ]]
}

@test "hypervisor-cpu-baseline" {
    local cpu='<cpu><arch>x86_64</arch><model>%s</model>%s</cpu>\n'
    {
        # shellcheck disable=SC2059 # formats
        printf "$cpu" Haswell-noTSX ''
        # shellcheck disable=SC2059
        printf "$cpu" Skylake-Server "<feature name='aes' policy='disable'/>"
    } > "$rig/cpus.xml"
    run -0 virsh_relay hypervisor-cpu-baseline "$rig/cpus.xml"
    grep -q "<cpu mode='custom' match='exact'>" <<< "$output"
    grep -Eq "<model fallback='forbid'>Haswell[^<]*</model>" <<< "$output"
    grep -qF "<feature policy='disable' name='aes'/>" <<< "$output"
    # it is the same the other way round, and again
    tac "$rig/cpus.xml" > "$rig/cpus2.xml"
    [ "$(virsh_relay hypervisor-cpu-baseline "$rig/cpus2.xml")" = "$output" ]
    run -0 virsh_relay hypervisor-cpu-baseline "$rig/cpus.xml" --features
    grep -qF "<feature policy='require' name='avx2'/>" <<< "$output"
    run ! grep -F '[' <<< "$output"
    # no program of the client's choice is run
    printf '#!/bin/sh\n: > %s/evil\n' "$rig" > "$rig/evil.sh"
    chmod +x "$rig/evil.sh"
    virsh_relay hypervisor-cpu-baseline "$rig/cpus.xml" \
        --emulator "$rig/evil.sh"
    [ ! -e "$rig/evil" ]
    run -1 virsh_relay hypervisor-cpu-baseline "$rig/cpus.xml" --arch sparc
    [[ "$output" == *'invalid argument'* ]]
    run -1 virsh_relay hypervisor-cpu-baseline "$rig/cpus.xml" --virttype kvm
    [[ "$output" == *'this hypervisor is xen'* ]]
    run -1 virsh_relay -r hypervisor-cpu-baseline "$rig/cpus.xml"
    [[ "$output" == *'operation forbidden'* ]]
    # shellcheck disable=SC2059
    printf "$cpu" Nonsense-9000 '' > "$rig/cpus.xml"
    run -1 virsh_relay hypervisor-cpu-baseline "$rig/cpus.xml"
    [[ "$output" == *'invalid argument'*Nonsense-9000* ]]
    raw baseline_counts
}

@test "domstats" {
    run -0 virsh_relay -r domstats
    grep -qx "Domain: 'test'" <<< "$output"
    grep -qx '  state.state=1' <<< "$output"
    grep -qx '  balloon.maximum=8388608' <<< "$output"
    grep -qx '  vcpu.current=2' <<< "$output"
    grep -Eqx '  cpu.time=[1-9][0-9]*' <<< "$output"
    run -0 virsh_relay domstats --state test
    [ "$(grep -c = <<< "$output")" = 2 ]
    run -0 virsh_relay domstats --list-inactive
    [ -z "$output" ]
    run -0 virsh_relay domstats --block test
    [ "$(grep . <<< "$output")" = "Domain: 'test'" ]
    run -1 virsh_relay domstats --block --enforce
    [[ "$output" == *'argument unsupported: Stats types bits 0x20'* ]]
}

# image FILE [VERSION [LENGTH [MAGIC]]]: as libvirt's driver for Xen saves it
image() {
    "${PYTHON:-python3}" - "$@" <<'EOF'
import os, struct, sys
xml = b"""<domain type='xen'><name>web</name>
<uuid>7c5ac0e4-1f3b-4f0e-9a52-0d6a2f3f9b11</uuid><memory>65536</memory>
<devices><graphics type='vnc' passwd='secret'/></devices></domain>\0"""
args = sys.argv[2:] + [""] * 3
version, length = int(args[0] or 2), int(args[1] or len(xml))
magic = b"libvirt-xml\n \0 \r" if not args[2] else b"x" * 16
with open(sys.argv[1], "wb") as f:
    f.write(magic + struct.pack("=II", version, length) + bytes(40) + xml)
    f.write(b"stream" * 500000)
os.chmod(sys.argv[1], 0o640)
EOF
}

@test "images of saved guests" {
    local file=$rig/web.save bad
    image "$file"
    run -1 virsh_direct save-image-dumpxml "$file"
    [[ "$output" != *'<name>web'* ]]
    run -0 virsh_relay save-image-dumpxml "$file"
    [[ "$output" == *'<name>web</name>'* && "$output" != *secret* ]]
    run -0 virsh_relay save-image-dumpxml "$file" --security-info
    [[ "$output" == *"passwd='secret'"* ]]
    # another definition, of another length; the rest is as it was
    ln -s web.save "$rig/link"
    sed 's/65536/131072/; s/^<domain/<!-- longer -->&/' <<< "$output" \
        > "$rig/new.xml"
    virsh_relay save-image-define "$rig/link" "$rig/new.xml"
    [ -h "$rig/link" ]
    [ "$(stat -c %a "$file")" = 640 ]
    run -0 virsh_relay save-image-dumpxml "$file"
    [[ "$output" == *131072* ]]
    [ "$(tail -c 3000000 "$file" | md5sum)" = \
        "$(yes stream | tr -d '\n' | head -c 3000000 | md5sum)" ]
    [ "$(stat -c %s "$file")" = \
        $((64 + $(wc -c < "$rig/new.xml") + 1 + 3000000)) ]
    sed 's/9b11/9b12/' "$rig/new.xml" > "$rig/other.xml"
    run -1 virsh_relay save-image-define "$file" "$rig/other.xml"
    [[ "$output" == *'the name and the uuid of the saved guest'* ]]
    # what cannot be one
    image "$rig/bad-magic" 2 '' x
    image "$rig/bad-version" 3
    image "$rig/bad-zero" 2 0
    image "$rig/bad-long" 2 4294967295
    head -c 30 "$file" > "$rig/bad-head"
    head -c 80 "$file" > "$rig/bad-xml"
    mkfifo "$rig/bad-fifo"
    local commands='' texts=()
    while read -r bad text; do
        commands+="save-image-dumpxml $rig/bad-$bad; "
        texts+=("$text")
    done <<'EOF'
magic image magic is incorrect
version image version is not supported (3 > 2)
zero invalid XML length: 0
long invalid XML length: -1
head failed to read libxl header
xml failed to read XML
fifo is not a file
nosuch No such file
EOF
    run -1 virsh_relay "$commands"
    for text in "${texts[@]}"; do
        [[ "$output" == *"$text"* ]] || { echo "$text: $output"; false; }
    done
    run -1 virsh_relay -r save-image-dumpxml "$file"
    [[ "$output" == *'operation forbidden'* ]]
    raw save_denied
    run -0 find "$rig" -name '*.xlx-*'
    [ -z "$output" ]
}

@test "everything that is not ours comes back as from libvirtd" {
    # one virsh for all: it goes on after an error
    local commands='list --all; dumpxml test; vol-list default-pool;
        dumpxml nosuch; domstate test --reason; version; capabilities;
        setmem test 1000 --live; blockresize test vda 1; checkpoint-list test;
        nodeinfo; vcpuinfo nosuch; net-list --all; pool-list; dominfo nosuch'
    virsh_direct "$commands" > "$BATS_TEST_TMPDIR/direct" 2>&1 || true
    virsh_relay "$commands" > "$BATS_TEST_TMPDIR/relay" 2>&1 || true
    grep -q '<capabilities>' "$BATS_TEST_TMPDIR/relay"
    grep -q "failed to get domain 'nosuch'" "$BATS_TEST_TMPDIR/relay"
    diff "$BATS_TEST_TMPDIR/direct" "$BATS_TEST_TMPDIR/relay"
}

@test "streams and events pass" {
    in_rig sh -c 'rm -f /run/shot.*'
    virsh_relay screenshot test /run/shot.relay
    virsh_direct screenshot test /run/shot.direct
    in_rig cmp /run/shot.relay /run/shot.direct
    background event timeout 30 virsh -c xen:///system event test \
        --event lifecycle --loop --timeout 20
    # it must be registered before anything happens
    wait_for in_rig sh -c \
        "virsh -c xen:///system 'suspend test; resume test' &&
         grep -q Resumed $rig/event.log"
    end event
    grep -q "event 'lifecycle' for domain 'test': Suspended" "$rig/event.log"
}

@test "?mode=legacy goes past the relay, and without it all is as before" {
    run -1 in_rig virsh -c 'xen:///system?mode=legacy' list
    stock=$output
    [[ "$stock" == *'failed to connect'* ]]     # there is no Xen here
    end relay
    # the sockets went with it
    run ! in_rig ls "$run/virtxend-sock"
    run ! in_rig ls "$run/virtxend-sock-ro"
    run -1 in_rig virsh -c xen:///system list
    [ "$output" = "$stock" ]
    start_relay --open test:///default
    run -0 virsh_relay list
}

@test "raw clients: calls before the connection is open are libvirtd's" {
    raw before_open
    raw other_driver
    raw pipelined_open
}

@test "raw clients: the read-only socket" { raw read_only; }

@test "nobody becomes root through the relay" {
    local nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    in_rig "${nobody[@]}" true || skip 'users cannot be changed here'
    # the socket is root's
    run -1 in_rig "${nobody[@]}" virsh -c xen:///system list
    [[ "$output" == *'Permission denied'* ]]
    run -0 in_rig "${nobody[@]}" virsh -r -c xen:///system list
    run -1 in_rig "${nobody[@]}" virsh -r -c xen:///system destroy test
    [[ "$output" == *'read only access prevents'* ]]
    # of a group, and of no other
    end relay
    start_relay --open test:///default --group daemon
    run -0 in_rig setpriv --reuid 65534 --regid "$(id -g daemon)" \
        --clear-groups virsh -c xen:///system list
    run -1 in_rig "${nobody[@]}" virsh -c xen:///system list
    end relay
    # libvirtd knows who it was
    end libvirtd
    libvirtd_env=(LIBVIRT_LOG_FILTERS=1:daemon.remote
                  LIBVIRT_LOG_OUTPUTS=1:stderr)
    start_libvirtd
    start_relay --open test:///default
    : > "$rig/libvirtd.log"
    run -0 in_rig "${nobody[@]}" virsh -r -c xen:///system list
    grep -qF '"unix-user-id"]=(ullong)65534' "$rig/libvirtd.log"
    grep -qF '"process-id"]=(llong)' "$rig/libvirtd.log"
    end libvirtd
}

@test "raw clients: garbage" { raw garbage; }

@test "raw clients: keepalive and many threads" {
    raw keepalive
    raw stream
}

@test "raw clients: a hundred, a slow one, and some that vanish" {
    raw many
    raw vanish
    raw slow_reader "$(cat "$rig/relay.pid")"
    # nothing is left of them
    wait_for no_children
}
no_children() { ! pgrep -P "$(cat "$rig/relay.pid")"; }

@test "libvirtd is killed: clients hear of it, and the next one is served" {
    raw held "$rig/held" > "$rig/held.log" 2>&1 &
    wait_for test -e "$rig/held"
    end libvirtd KILL
    wait $!
    run -1 virsh_relay list
    [[ "$output" == *"cannot reach libvirtd at $run/libvirt-sock"* ]]
    run -1 in_rig "$xlxvirtd" --check
    [[ "$output" == *"does not answer"* ]]
    in_rig rm -f "$run/libvirt-sock" "$run/libvirt-sock-ro"
    start_libvirtd
    run -0 virsh_relay list
}

@test "the relay is killed: the next one takes its place" {
    end relay KILL
    run -1 virsh_relay list
    start_relay --open test:///default
    run -0 virsh_relay list
    # a second one does not
    run -1 in_rig "$xlxvirtd"
    [[ "$output" == *'another program listens there'* ]]
    run -0 virsh_relay list
}

@test "it is not its own libvirtd" {
    run -1 in_rig "$xlxvirtd" --socket /run/a --socket-ro /run/b --backend /run/a
    [[ "$output" == *"relay's own socket"* ]]
}

@test "sockets of systemd's, and the end when nobody needs it" {
    end relay
    cat > "$BATS_TEST_TMPDIR/activate.py" <<'EOF'
import os, socket, sys
for i, path in enumerate(("virtxend-sock", "virtxend-sock-ro")):
    s = socket.socket(socket.AF_UNIX)
    s.bind("/run/libvirt/" + path)
    s.listen()
    if s.fileno() != 3 + i:
        os.dup2(s.fileno(), 3 + i)
    os.set_inheritable(3 + i, True)
    s.detach()
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "2"
os.execv(sys.argv[1], sys.argv[1:])
EOF
    background relay "${PYTHON:-python3}" "$BATS_TEST_TMPDIR/activate.py" \
        "$xlxvirtd" --open test:///default --idle 2
    wait_for virsh_relay list
    raw read_only
    wait_for is_gone "$(cat "$rig/relay.pid")"
    in_rig rm "$run/virtxend-sock" "$run/virtxend-sock-ro"
    start_relay --open test:///default
}

@test "with access drivers nothing is answered here" {
    end relay
    in_rig sh -c 'echo "access_drivers = [ \"polkit\" ]" \
        > /run/other.conf'
    start_relay --open test:///default --config /run/other.conf
    run -0 virsh_direct cpu-models x86_64
    local stock=$output
    run -0 virsh_relay cpu-models x86_64
    [ "$output" = "$stock" ]
    end relay
    # libvirt's daemon for Xen alone has a file of its own
    in_rig cp /run/other.conf /etc/libvirt/virtxend.conf
    run -0 in_rig "$xlxvirtd" --check
    [[ "$output" == *'nothing, because libvirtd has access drivers'* ]]
    in_rig rm /etc/libvirt/virtxend.conf
    start_relay --open test:///default
}

@test "options" {
    run -0 "$xlxvirtd" --help
    [[ "$output" == Usage:* ]]
    run -0 "$xlxvirtd" --version
    run -2 "$xlxvirtd" --nosuch
    run -2 "$xlxvirtd" argument
    run -2 "$xlxvirtd" --idle x
    run -1 "$xlxvirtd" --socket "/$(printf 'x%.0s' {1..200})"
    [[ "$output" == *'at most 107 bytes'* ]]
}

@test "the sanitizers have nothing to say" {
    run ! grep -E 'ERROR: |runtime error' "$rig/relay.log"
}
