#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # output is set by bats' run
#
# Snapshots by the installed virsh, through the relay, of a guest that the
# installed libvirtd has with its driver for Xen: in real images, of a guest
# that is shut down, and of one that a QEMU runs.

bats_require_minimum_version 1.5.0
load libvirt.bash

uuid=7c5ac0e4-1f3b-4f0e-9a52-0d6a2f3f9b11

setup_file() {
    rig_make xen
    command -v qemu-img > /dev/null || skip 'no qemu-img'
    start_libvirtd
    start_relay
    make_guest
}
teardown_file() { rig_use; rig_end; }
setup() {
    rig_use
    image=$rig/web.qcow2
    [ -s "$rig/libvirtd.pid" ] || start_libvirtd
    [ -s "$rig/relay.pid" ] || start_relay
}
# Whatever a test that failed has left.
teardown() {
    local name
    while read -r name; do
        [ -z "$name" ] || virsh_relay snapshot-delete web "$name" --children
    done < <(virsh_relay snapshot-list web --name --roots) > /dev/null
}

# A guest named web with a disk that holds "first".
make_guest() {
    image=$rig/web.qcow2
    qemu-img create -q -f qcow2 "$image" 16M
    qemu-io -c 'write -P 1 0 64k' "$image" > /dev/null
    sed "s|@IMAGE@|$image|; s|@UUID@|$uuid|" > "$rig/web.xml" <<'EOF'
<domain type='xen'>
  <name>web</name>
  <uuid>@UUID@</uuid>
  <title>as it was</title>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='xenpvh'>xenpvh</type><kernel>/boot/none</kernel></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2'/>
      <source file='@IMAGE@'/>
      <target dev='xvda' bus='xen'/>
    </disk>
  </devices>
</domain>
EOF
    in_rig virsh -c xen:///system define "$rig/web.xml"
}

# holds BYTE: the image's first bytes
holds() { qemu-io -r -c "read -P $1 0 64k" "$image" | grep -q '^read 65536'; }
tags() { qemu-img snapshot -l "$image" | awk 'NR > 2 { print $2 }'; }
xl_command() {
    env LIBXLX_STATE_DIR="$rig/state" LIBXLX_RUN_DIR="$rig/locks" \
        "$top_builddir/run" "$@"
}
# The list without its header and times.
list() {
    virsh_relay snapshot-list web "$@" |
        awk 'NR > 2 && NF { print $1, $NF }'
}

@test "libvirtd alone has none of this" {
    run -1 in_rig virsh -c "$direct" snapshot-list web
    [[ "$output" == *'not supported by the connection driver'* ]]
    run -0 virsh_relay snapshot-list web
    run -0 virsh_relay snapshot-list Domain-0
}

@test "a guest that is shut down: create, look, revert, delete" {
    run -0 virsh_relay snapshot-create-as web one --description 'the <first>'
    [ "$output" = 'Domain snapshot one created' ]
    [ "$(tags)" = one ]
    qemu-io -c 'write -P 2 0 64k' "$image" > /dev/null
    virsh_relay snapshot-create-as web two
    run -0 list
    [ "$output" = $'one shutoff\ntwo shutoff' ]
    run -0 virsh_relay snapshot-list web --tree
    echo "$output"
    [ "$(tr -d ' ' <<< "$output" | grep .)" = $'one\n|\n+-two' ]
    run -1 virsh_relay 'snapshot-list web --name --roots;
        snapshot-list web --from one --name;
        snapshot-list web --external --name;
        snapshot-parent web two; snapshot-current web --name;
        snapshot-parent web one'
    [ "$(grep . <<< "$output")" = "one
two
one
two
error: snapshot 'one' has no parent" ]
    run -0 virsh_relay snapshot-info web one
    grep -Eq '^Name: +one$' <<< "$output"
    grep -Eq '^State: +shutoff$' <<< "$output"
    grep -Eq '^Location: +internal$' <<< "$output"
    grep -Eq '^Parent: +-$' <<< "$output"
    grep -Eq '^Children: +1$' <<< "$output"
    # one truth
    run -0 xl_command xl-snapshot-list --json web
    [ "$(jq -r '.[].snapshots[].name' <<< "$output")" = $'one\ntwo' ]

    holds 2
    virsh_relay snapshot-revert web one
    holds 1
    run -0 virsh_relay snapshot-current web --name
    [ "${lines[0]}" = one ]
    virsh_relay snapshot-delete web two
    virsh_relay snapshot-delete web one --children
    run -0 list
    [ -z "$output" ]
    [ -z "$(tags)" ]
    holds 1
    [ ! -e "$rig/state/libvirt/$uuid" ]
}

@test "dumpxml has the domain as it was" {
    virsh_relay snapshot-create-as web one --description 'the <first>'
    sed 's/as it was/as it is now/' "$rig/web.xml" > "$rig/new.xml"
    virsh_relay define "$rig/new.xml"
    virsh_relay snapshot-dumpxml web one > "$rig/one.xml"
    xmllint --noout "$rig/one.xml" || ! command -v xmllint
    grep -qF '<description>the &lt;first&gt;</description>' "$rig/one.xml"
    grep -qF "<disk name='xvda' snapshot='internal'/>" "$rig/one.xml"
    grep -qF '<title>as it was</title>' "$rig/one.xml"
    # one that xl made has the present one
    in_rig env "${relay_env[@]}" "$top_builddir/run" xl-snapshot-create \
        --config "$rig/locks/libvirt/$uuid/guest.cfg" web two
    run -0 virsh_relay snapshot-dumpxml web two
    [[ "$output" == *'<title>as it is now</title>'* ]]
    run -1 virsh_relay -r snapshot-dumpxml web one --security-info
    [[ "$output" == *'operation forbidden'* ]]
    virsh_relay define "$rig/web.xml"
}

@test "snapshot-edit changes the description, and nothing else" {
    virsh_relay snapshot-create-as web one --description 'the <first>'
    virsh_relay snapshot-create-as web two
    in_rig env EDITOR="sed -i s/first/second/" virsh -c xen:///system \
        snapshot-edit web one
    run -0 virsh_relay snapshot-dumpxml web one
    [[ "$output" == *'the &lt;second&gt;'* ]]
    run -0 xl_command xl-snapshot-info --json web one
    [ "$(jq -r .description <<< "$output")" = 'the <second>' ]
    # which one is current is a fact
    virsh_relay snapshot-current web two
    run -1 virsh_relay snapshot-current web one
    [[ "$output" == *"revert to 'one' to make it that"* ]]
    virsh_relay snapshot-dumpxml web one |
        sed 's/<name>one/<name>three/' > "$rig/three.xml"
    run -1 virsh_relay snapshot-create web "$rig/three.xml" --redefine
    [[ "$output" == *"there is no snapshot 'three'"* ]]
    virsh_relay snapshot-delete web one --children-only
    run -0 list
    [ "$output" = 'one shutoff' ]
    virsh_relay snapshot-delete web one
}

@test "what cannot be is refused, and leaves nothing" {
    local before text xml
    virsh_relay snapshot-create-as web one
    before=$(find "$rig/state" "$rig/locks" | sort; tags)
    run -1 virsh_relay snapshot-create-as web one
    [[ "$output" == *'operation failed: domain moment one already exists'* ]]
    # each line is MESSAGE#XML; one virsh for all, which goes on after an error
    local number=0 texts=() commands=''
    while IFS='#' read -r text xml; do
        number=$((number + 1))
        printf '%s\n' "$xml" > "$rig/bad$number.xml"
        texts+=("$text")
        commands+="snapshot-create web $rig/bad$number.xml; "
    done <<EOF
(domain_snapshot):2: Premature end#<domainsnapshot><name>x
unexpected root element <domain>#<domain/>
document type is not allowed#<!DOCTYPE a [<!ENTITY b "c">]><domainsnapshot/>
no disk named 'xvdz'#<domainsnapshot><disks><disk name='xvdz'/></disks></domainsnapshot>
specified twice#<domainsnapshot><disks><disk name='xvda'/><disk name='xvda'/></disks></domainsnapshot>
must be absolute#<domainsnapshot><memory snapshot='external' file='a'/></domainsnapshot>
memory of a guest cannot be part#<domainsnapshot><memory snapshot='internal'/></domainsnapshot>
frozen image#<domainsnapshot><disks><disk name='xvda' snapshot='external'/></disks></domainsnapshot>
cannot be chosen#<domainsnapshot><disks><disk name='xvda' snapshot='external'><source file='/a'/></disk></disks></domainsnapshot>
at least one disk#<domainsnapshot><disks><disk name='xvda' snapshot='no'/></disks></domainsnapshot>
invalid snapshot name ''#<domainsnapshot><name/></domainsnapshot>
invalid snapshot name 'a/b'#<domainsnapshot><name>a/b</name></domainsnapshot>
invalid snapshot name '../x'#<domainsnapshot><name>../x</name></domainsnapshot>
invalid snapshot name '.hidden'#<domainsnapshot><name>.hidden</name></domainsnapshot>
longer than 200 bytes#<domainsnapshot><name>$(printf 'x%.0s' {1..5000})</name></domainsnapshot>
line breaks#<domainsnapshot><name>a&#10;b</name></domainsnapshot>
EOF
    run -1 virsh_relay "$commands"
    [ "$(grep -c '^error: ' <<< "$output")" = $number ]
    for text in "${texts[@]}"; do
        [[ "$output" == *"$text"* ]] || { echo "$text: $output"; false; }
    done
    printf '<domainsnapshot><nonsense/></domainsnapshot>' > "$rig/bad.xml"
    run -1 virsh_relay snapshot-create web "$rig/bad.xml" --validate
    [[ "$output" == *'failed to validate against schema'* ]]
    run -1 virsh_relay 'snapshot-create-as web x --reuse-external --disk-only;
        snapshot-create-as Domain-0 x; snapshot-delete web nosuch'
    [[ "$output" == *'unsupported flags (0x20)'* ]]
    [[ "$output" == *'Requested operation is not valid'* ]]
    [[ "$output" == *"no domain snapshot with matching name 'nosuch'"* ]]
    run -1 virsh_relay -r snapshot-delete web one
    [[ "$output" == *'operation forbidden'* ]]
    run -0 virsh_relay -r snapshot-list web
    raw snapshot_denied "$uuid"
    [ "$(find "$rig/state" "$rig/locks" | sort; tags)" = "$before" ]
    virsh_relay snapshot-delete web one
}

@test "undefine: not with snapshots, or with them" {
    virsh_relay snapshot-create-as web one
    virsh_relay snapshot-create-as web two
    run -1 virsh_relay undefine web
    [[ "$output" == *'cannot delete inactive domain with 2 snapshots'* ]]
    raw undefine_refused "$uuid"
    run -1 virsh_relay -r undefine web --snapshots-metadata
    run -0 list
    [ "$output" = $'one shutoff\ntwo shutoff' ]
    virsh_relay undefine web --snapshots-metadata
    run -1 virsh_relay dominfo web
    # the images are as they were, and nothing else is left
    [ "$(tags)" = $'one\ntwo' ]
    [ ! -e "$rig/state/libvirt/$uuid" ]
    virsh_relay define "$rig/web.xml"
    run -0 list
    [ -z "$output" ]
    qemu-img snapshot -d one "$image"
    qemu-img snapshot -d two "$image"
    virsh_relay undefine web
    virsh_relay define "$rig/web.xml"
}

@test "all calls agree, whatever was made and deleted" {
    local python
    for python in "${PYTHON:-python3}" /usr/bin/python3; do
        "$python" -c 'import libvirt' 2> /dev/null || continue
        in_rig timeout 100 "$python" -B \
            "$top_srcdir/tests/xl/libvirt-snapshot.py" web
        return
    done
    skip 'no python3-libvirt'
}

@test "killed in the middle: the next call puts it in order" {
    grep -q '^#define XLX_FAULT_POINTS' "$top_builddir/config.h" ||
        skip 'configured without --enable-fault-points'
    end relay
    relay_env+=(LIBXLX_FAULT=snapshot-create.tagged)
    start_relay
    run -1 virsh_relay snapshot-create-as web one
    [[ "$output" == *'the process that answers the call ended before it did'* ]]
    end relay
    rig_use
    start_relay
    virsh_relay snapshot-create-as web two
    run -0 list
    [[ "$output" == *'two shutoff' ]]
    virsh_relay snapshot-delete web two
    virsh_relay snapshot-delete web one || true
    [ -z "$(tags)" ]
}

@test "a guest that runs: by --disk-only, and reverted by force only" {
    command -v qemu-system-x86_64 > /dev/null || skip 'no QEMU'
    background qemu qemu-system-x86_64 -S -nodefaults -display none \
        -machine q35 -name web -uuid $uuid \
        -drive "file=$image,if=none,id=xvda" \
        -device virtio-blk-pci,drive=xvda \
        -qmp "unix:$rig/qmp,server=on,wait=off"
    wait_for test -S "$rig/qmp"
    # which QEMU it is the record says: libxl's would be found by Xen
    xl_command xl-snapshot-create "qmp:$rig/qmp" by-xl
    run -1 virsh_relay snapshot-create-as web one
    [[ "$output" == *'the guest runs, and its memory cannot be part'* ]]
    virsh_relay snapshot-create-as web one --disk-only
    virsh_relay snapshot-create-as web two --disk-only \
        --diskspec xvda,snapshot=external
    run -0 list
    [ "$output" = $'by-xl disk-snapshot\none disk-snapshot\ntwo disk-snapshot' ]
    run -0 virsh_relay snapshot-list web --external --disk-only --name
    [ "${lines[0]}" = two ]
    run -0 virsh_relay snapshot-info web two
    grep -Eq '^Location: +external$' <<< "$output"
    run -1 virsh_relay snapshot-revert web one
    [[ "$output" == *'revert requires force'* ]]
    # nobody is started on the frozen layer
    sed "s/$uuid/${uuid%11}22/; s/>web</>other</" "$rig/web.xml" \
        > "$rig/other.xml"
    virsh_relay define "$rig/other.xml"
    for option in '' --paused; do
        # shellcheck disable=SC2086 # none or one
        run -1 virsh_relay start other $option
        [[ "$output" == *"$image is the frozen layer of snapshot \"two\" of"* ]]
    done
    virsh_relay undefine other
    run -1 virsh_relay create "$rig/other.xml"
    [[ "$output" == *"$image is the frozen layer of snapshot"* ]]
    "${PYTHON:-python3}" - "$rig/other.xml" "$rig/other.save" <<'EOF'
import struct, sys
xml = open(sys.argv[1], "rb").read() + b"\0"
with open(sys.argv[2], "wb") as f:
    f.write(b"libvirt-xml\n \0 \r" + struct.pack("=II", 2, len(xml)) +
            bytes(40) + xml)
EOF
    run -1 virsh_relay restore "$rig/other.save"
    [[ "$output" == *"$image is the frozen layer of snapshot"* ]]
    # an image that is none is libvirtd's to refuse
    head -c 30 "$rig/other.save" > "$rig/bad.save"
    run -1 virsh_direct restore "$rig/bad.save"
    local stock=$output
    run -1 virsh_relay restore "$rig/bad.save"
    [ "$output" = "$stock" ]
    virsh_relay snapshot-delete web two
    virsh_relay snapshot-delete web by-xl --children
    run -0 list
    [ -z "$output" ]
    end qemu
    holds 1
    # and libvirtd says what it says when nothing is in the way
    run -1 virsh_direct start web
    stock=$output
    run -1 virsh_relay start web
    [ "$output" = "$stock" ]
}

@test "the sanitizers have nothing to say" {
    run ! grep -E 'ERROR: |runtime error' "$rig/relay.log"
}
