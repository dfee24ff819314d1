#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # variables of bats
# The units of systemd, as they are installed: systemd takes every line, and
# they give away no more of the host than the programs need.

bats_require_minimum_version 1.5.0

setup_file() {
    export dest=$BATS_FILE_TMPDIR/dest
    env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS \
        make -s -C "$top_builddir/xl-plugins" DESTDIR="$dest" install
    env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS \
        make -s -C "$top_builddir/libvirt-glue" DESTDIR="$dest" install
}

setup() {
    units=$(dirname "$(find "$dest" -name xl-devices.service)")
    [ -d "$units" ] || skip 'configured without units of systemd'
}

@test "systemd takes every line" {
    command -v systemd-analyze > /dev/null || skip 'no systemd-analyze'
    mkdir "$BATS_TEST_TMPDIR/units"
    for unit in "$units"/*; do
        # with programs that are there
        sed "s|^ExecStart=/|ExecStart=$dest/|" "$unit" \
            > "$BATS_TEST_TMPDIR/units/${unit##*/}"
    done
    for unit in "$units"/*; do
        copy=$BATS_TEST_TMPDIR/units/${unit##*/}
        run systemd-analyze verify --man=no --recursive-errors=no "$copy"
        echo "$output"
        [ "$status" = 0 ]
        # a name or value that it does not know is only a warning
        [[ $output != *"${unit##*/}"* ]]
    done
}

@test "what is left open is what the programs need" {
    command -v systemd-analyze > /dev/null || skip 'no systemd-analyze'
    systemd-analyze security --help | grep -q -e --offline ||
        skip 'systemd-analyze judges only units that run'
    for unit in "$units"/*.service; do
        # in tenths, of which 100 is everything
        run systemd-analyze security --offline=yes --threshold=56 "$unit"
        echo "$output"
        [ "$status" = 0 ]
        # nothing is open but these; hardening.in has the reasons
        for open in $(awk '$1 == "\342\234\227" { print $2 }' <<< "$output"); do
            case $open in
            CapabilityBoundingSet=~CAP_"(CHOWN"*|CapabilityBoundingSet=~CAP_"(DAC"*) ;;
            *CAP_IPC_LOCK|*CAP_KILL|*CAP_MKNOD|*CAP_NET_ADMIN|*CAP_SYS_ADMIN) ;;
            *CAP_SYS_MODULE|*CAP_SYS_PTRACE|*CAP_SYS_RAWIO|*CAP_"S"*"(UID|GID|PCAP)") ;;
            *CAP_SYS_"(NICE|RESOURCE)"|DeviceAllow=|MemoryDenyWriteExecute=) ;;
            PrivateDevices=|PrivateMounts=|PrivateNetwork=|PrivateTmp=|PrivateUsers=) ;;
            ProcSubset=|ProtectClock=|ProtectHome=|ProtectKernelModules=) ;;
            ProtectKernelTunables=|ProtectProc=|ProtectSystem=|Root*|User=*) ;;
            RestrictAddressFamilies=~AF_NETLINK|RestrictAddressFamilies=~AF_UNIX) ;;
            SystemCallFilter=~@m*|SystemCallFilter=~@privileged|*=~@resources) ;;
            *) echo "${unit##*/}: $open"; false ;;
            esac
        done
    done
}

@test "where there is no Xen nothing is started" {
    for unit in "$units"/*; do
        [ "$(grep -c '^ConditionPathExists=|' "$unit")" = 2 ]
    done
}

@test "a watcher of a guest that nobody knows is not started again" {
    mkdir "$BATS_TEST_TMPDIR/state"
    for stem in scsi usb; do
        run -3 env LD_LIBRARY_PATH="$top_builddir/lib/.libs" \
            LIBXLX_STATE_DIR="$BATS_TEST_TMPDIR/state" \
            LIBXLX_RUN_DIR="$BATS_TEST_TMPDIR/run" \
            "$top_builddir/xl-plugins/xl-$stem-watch" \
            77777777-7d1e-4c5a-9a43-0d5d4f5e6a02
        echo "$output"
        grep -q '^RestartPreventExitStatus=.*3' "$units/xl-$stem-watch@.service"
    done
}

@test "make uninstall takes the relay and its units away" {
    [ -n "$(find "$dest" -name xlxvirtd)" ] || skip 'built without libxml2'
    [ "$(find "$dest" -name 'xlxvirtd*.s*' | wc -l)" = 3 ]
    env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS \
        make -s -C "$top_builddir/libvirt-glue" DESTDIR="$dest" uninstall
    run find "$dest" -name 'xlxvirtd*'
    [ -z "$output" ]
}
