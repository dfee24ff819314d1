#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Commands that are killed half-way on a running domain: the next command
# finishes or undoes them, the guest's data are whole, libxl's configuration
# names the image that QEMU writes to, and nothing is left over.  The steps are
# those at which the domain matters; tests/qemu has all of them.
# xen-host: run asked
# xen-host: deadline 1800

setup_file() { load guest; guests_begin; }
setup() { load guest; D=$GUESTS; }
teardown_file() { load guest; guests_end; }

configured() {
    xl list -l "$1" | jq -r '.[0].config.disks[].pdev_path' | sort
}
opened() {
    guest_qmp "$1" query-block | jq -r '.[].inserted.image.filename' | sort
}

# killed POINT COMMAND...: the command dies at that point.
killed() {
    local point=$1
    shift
    run env LIBXLX_FAULT="$point" xl "$@"
    [ "$status" = 137 ] || { echo "$point: $status, $output"; return 1; }
}

# After a repair everything agrees.
settled() {
    xl snapshot-repair g
    run xl snapshot-repair g
    echo "$output"
    [ "$output" = "g: all in order" ] || return 1
    [ "$(configured g)" = "$(opened g)" ] || return 1
    [ -z "$(find /var/lib/libxlx -name snapshot-journal.json)" ]
}

@test "create, killed at each step" {
    disk_create "$D/a.qcow2"
    disk_create "$D/b.qcow2"
    guest_create g pv "qcow2:$D/a.qcow2" "qcow2:$D/b.qcow2"
    guest_wait_tick g 2
    for kind in external internal; do
        for point in overlay:2 configured switched recorded; do
            case $kind-$point in
            internal-overlay*|internal-configured) continue ;;
            esac
            killed "snapshot-create.$point" snapshot-create --kind $kind g s
            settled || { echo "after $kind $point"; return 1; }
            run xl snapshot-list --json g
            if [[ $output == *'"name": "s"'* ]]; then
                xl snapshot-delete g s
            fi
            [ "$(opened g)" = "$D/a.qcow2"$'\n'"$D/b.qcow2" ]
            [ "$(ls "$D"/*.qcow2)" = "$D/a.qcow2"$'\n'"$D/b.qcow2" ]
            [ -z "$(ls /var/lib/libxlx)" ]
        done
    done
}

@test "the guest reboots between configuration and switch" {
    killed snapshot-create.configured snapshot-create --kind external g s
    last=$(guest_tick g)
    guest_reboot g
    guest_wait_tick g $((last + 1))
    settled
    xl snapshot-list g | grep -F ' ready '
    xl snapshot-delete g s
}

@test "delete with merge, killed at each step" {
    for point in merge.started merge.configured merge.completing \
        merge.completed delete.recorded; do
        xl snapshot-create --kind external g s
        guest_wait_more g 1
        killed "snapshot-$point" snapshot-delete g s
        xl snapshot-repair g || true
        [ "$(configured g)" = "$(opened g)" ] || { echo "$point"; return 1; }
        if xl snapshot-list --json g | grep -q '"name": "s"'; then
            xl snapshot-delete g s
        fi
        settled || { echo "after $point"; return 1; }
        [ "$(opened g)" = "$D/a.qcow2"$'\n'"$D/b.qcow2" ]
        [ -z "$(ls /var/lib/libxlx)" ]
    done
    guest_ticks_off g
    last=$(guest_tick g)
    [ "$(disk_blocks "$D/a.qcow2" "$D/b.qcow2")" = "$last"$'\n'"$last" ]
    guest_ticks_on g
}

@test "revert, killed at each step" {
    xl snapshot-create --kind external g s
    guest_wait_more g 1
    for point in overlay:2 configured; do
        last=$(guest_tick g)
        killed "snapshot-revert.$point" snapshot-revert --force g s
        settled || { echo "after $point"; return 1; }
        guest_wait_tick g $((last + 1))     # it never stopped
    done
    boots=$(guest_boots g)
    killed snapshot-revert.recorded snapshot-revert --force g s
    guest_wait_boots g $((boots + 1))
    settled
    guest_wait_more g 1
    guest_destroy g
    xl snapshot-delete --children g s
    [ -z "$(ls /var/lib/libxlx)" ]
    qemu-img check "$D/a.qcow2"
    qemu-img check "$D/b.qcow2"
}
