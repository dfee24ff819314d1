# SPDX-License-Identifier: LGPL-2.1-or-later
# For the groups scsi*.bats: scsi_debug's disks sda, sdb and sdc in dom0, the
# guest "g", and what is compared.  A group begins with
#     setup_file() { load guest; load scsi; scsi_begin; guest_start g; scsi_ready; }
#     setup() { load guest; load scsi; scsi_setup; }
#     teardown() { scsi_teardown; }
#     teardown_file() { load guest; load scsi; scsi_end; }
# shellcheck shell=bash disable=SC2154,SC2016 # bats' variables; the guest's

configfs=/sys/kernel/config/target

# scsi_debug ATTRIBUTE VALUE
scsi_debug() { echo "$2" > "/sys/bus/pseudo/drivers/scsi_debug/$1"; }

# scsi_begin [TYPE]: with the guest's configuration written, pv by default.
scsi_begin() {
    # shellcheck disable=SC2034  # of guests_begin
    GUEST_PROGRAMS="sg_inq lsscsi xenstore-ls" \
        guests_begin xen-scsifront sd_mod st sr_mod sg
    modprobe -a sd_mod st sr_mod sg target_core_mod target_core_pscsi \
        target_core_iblock target_core_file xen-scsiback
    mkdir -p "$configfs/xen-pvscsi"
    # one after the other: found together they have their names by chance
    modprobe scsi_debug max_luns=1 num_tgts=1 dev_size_mb=16 delay=0
    wait_for 60 "the first disk" test -b /dev/sda -a -c /dev/sg0
    scsi_debug max_luns 3
    fetch_addresses
    echo 0 0 1 > "/sys/class/scsi_host/host$host/scan"
    wait_for 60 "the second disk" test -b /dev/sdb -a -c /dev/sg1
    echo 0 0 2 > "/sys/class/scsi_host/host$host/scan"
    wait_for 60 "the third disk" test -b /dev/sdc -a -c /dev/sg2
    guest_config g "${1:-pv}"
}
scsi_ready() { world > "$GUESTS/before"; }
scsi_setup() { fetch_addresses; }
# What a failed test left is no failure of the next one.
scsi_teardown() {
    local vdev
    [ -z "${BATS_TEST_COMPLETED:-}" ] || return 0
    xl scsi-list || true
    xl unpause g 2>/dev/null || true
    for vdev in $(info .dev.vdev 2>/dev/null); do
        xl scsi-detach g "$vdev" || true
    done
    xl scsi-repair || true
}
scsi_end() {
    guests_end
    rmmod scsi_debug || true
}

# Addresses of scsi_debug's first three: sda, sdb, sdc
fetch_addresses() {
    # shellcheck disable=SC2012 # names of the kernel's
    host=$(ls -d /sys/bus/pseudo/devices/adapter0/host* | sed 's/.*host//')
    # shellcheck disable=SC2034 # the groups use them
    a=$host:0:0:0 b=$host:0:0:1 c=$host:0:0:2
}

# All that an operation of ours could leave, without what changes by itself.
world() {
    find "$configfs" \( -type d -o -type l \) -printf '%p -> %l\n' | sort
    xenstore-ls -f | sed -n 's/ = .*//; /vscsi/p'
    find /var/lib/libxlx -mindepth 1 | sort
}
same_world() {
    world | diff -U0 "$GUESTS/before" -
}

info() { xl scsi-list --json g | jq -r ".[0].ctrls[].devs[] | $1"; }
# works VDEV: both ends say so
works() {
    [ "$(info "select(.dev.vdev == \"$1\") |
        .backend_state + .frontend_state + .problem")" = \
        connectedconnected ]
}
adapter() {
    echo "/local/domain/0/backend/vscsi/$(guest_domid g)/0"
}

# The guest's name for the LUN 0:0:T:L, by its sysfs
in_guest() {
    guest_run g "ls /sys/bus/scsi/devices/*:0:$1/block" | tail -n1
}
guest_has() {
    guest_run g "ls -d /sys/bus/scsi/devices/*:0:$1/block/sd*" > /dev/null
}
guest_lacks() { ! guest_has "$1"; }

# compare T:L DEVICE: 1 MiB written in the guest is on DEVICE, and the reverse.
compare() {
    local disk sum
    wait_for 60 "disk 0:$1 in the guest" guest_has "$1" || return
    disk=/dev/$(in_guest "$1")
    run guest_run g "dd if=/dev/urandom of=/tmp/data bs=64k count=16 && \
        dd if=/tmp/data of=$disk bs=64k seek=16 conv=fsync"
    [ "$status" = 0 ] || { echo "the guest cannot write $disk: $output"
                           return 1; }
    sum=$(guest_run g 'md5sum < /tmp/data')
    [ "$(dd if="$2" bs=64k skip=16 count=16 iflag=direct status=none |
        md5sum)" = "$sum" ] || { echo "$2 has not what the guest wrote"
                                 return 1; }
    head -c 1M /dev/urandom > "$GUESTS/data"
    dd if="$GUESTS/data" of="$2" bs=64k seek=32 oflag=direct conv=notrunc,fsync \
        status=none || return
    guest_run g 'echo 3 > /proc/sys/vm/drop_caches' || return
    sum=$(guest_run g "dd if=$disk bs=64k skip=32 count=16 2>/dev/null |
        md5sum") || return
    [ "$(md5sum < "$GUESTS/data")" = "$sum" ] ||
        { echo "the guest reads not what $2 has"; return 1; }
}
