# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034,SC2154
# The rig of libvirt*.bats: the installed libvirtd and virsh, with the relay of
# the build tree between them, in a mount namespace of their own, so that the
# machine's /run, /etc/libvirt and /var/lib stay as they are.
#
# rig_make alone: libvirtd has only its test driver.  rig_make xen: it has its
# driver for Xen as well, on a xenstored and a hypervisor that are fakes, and
# the relay sees the same.  Domains can then be defined, but not started.

# Waits until COMMAND succeeds, 20 seconds at most.
wait_for() {
    local end=$((SECONDS + 20))
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "still not: $*" >&2; return 1; }
        sleep "${wait_step:-0.05}"
    done
}

in_rig() { nsenter -t "$(cat "$rig/holder.pid")" "${rig_ns[@]}" -- "$@"; }

# background NAME COMMAND...: in the rig; its number is in NAME.pid
background() {
    local name=$1
    shift
    # shellcheck disable=SC2016 # expanded in the rig
    in_rig setsid sh -c 'echo $$ > "$0"; exec "$@"' "$rig/$name.pid" "$@" \
        >> "$rig/$name.log" 2>&1 < /dev/null 3>&- &
    wait_for test -s "$rig/$name.pid"
}

# end NAME [SIGNAL]: and waits for it
end() {
    local pid
    pid=$(cat "$rig/$1.pid")
    kill "-${2:-TERM}" "$pid" 2> /dev/null || true
    wait_for is_gone "$pid"
    rm -f "$rig/$1.pid"
}
is_gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }

start_libvirtd() {
    background libvirtd env LIBVIRT_DRIVER_DIR=/run/drivers \
        "${libvirtd_env[@]}" libvirtd
    # what costs little is waited for first; it answers when its driver does
    wait_for in_rig test -S "$run/libvirt-sock-ro"
    wait_step=0.3 wait_for virsh_direct list
}

# start_relay [OPTION]...
start_relay() {
    background relay env "${relay_env[@]}" "$xlxvirtd" "$@"
    wait_for in_rig test -S "$run/virtxend-sock-ro"
    wait_for grep -q " 00010000 .* $run/virtxend-sock-ro\$" /proc/net/unix
}

# The machine that both see: see fake-libxl.c.
xen_env() {
    printf '%s\n' XENSTORED_PATH=/run/xenstored.sock \
        LD_PRELOAD="$top_builddir/tests/xl/.libs/fake-libvirtd.so" \
        ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0
}

rig_make() {
    : "${top_builddir:?is not set: run by make check}" "${top_srcdir:?}"
    local user=() driver
    echo "${1:-test}" > "$BATS_FILE_TMPDIR/kind"
    rig_use
    command -v libvirtd virsh > /dev/null ||
        skip 'no libvirtd is installed: install libvirt-daemon'
    [ -x "$xlxvirtd" ] || skip 'xlxvirtd is built only with libxml2'
    [ "$(id -u)" = 0 ] || user=(-r)
    driver=$(find /usr/lib/*/libvirt/connection-driver \
        /usr/lib64/libvirt/connection-driver -name libvirt_driver_libxl.so \
        2> /dev/null | head -n 1)
    [ "$rig_kind" = test ] || [ -n "$driver" ] ||
        skip 'libvirt has no driver for Xen: install libvirt-daemon-driver-xen'
    unshare "${user[@]}" -m true 2> /dev/null ||
        skip 'no mount namespace can be made here'
    # shellcheck disable=SC2016 # expanded in the namespace
    setsid unshare "${user[@]}" -m --propagation private sh -c '
        set -e
        for dir in /run /etc/libvirt /var/lib /var/log /var/cache; do
            mount -t tmpfs rig $dir
        done
        mkdir -p /run/libvirt /run/drivers /var/lib/libvirt /var/lib/xen
        if [ "$1" = xen ]; then
            ln -s "$2" /run/drivers
            # it is loaded where there is a xenstored
            mkdir -p /run/dev/xen /run/dev/shm
            for node in null zero random urandom; do
                touch /run/dev/$node
                mount --bind /dev/$node /run/dev/$node
            done
            touch /run/dev/xen/xenstored
            mount --rbind /run/dev /dev
        fi
        printf "auth_unix_%s = \"none\"\n" rw ro > /etc/libvirt/libvirtd.conf
        echo $$ > "$0/holder.pid"
        exec sleep 10000' "$rig" "$rig_kind" "$driver" > "$rig/holder.log" 2>&1 < /dev/null 3>&- &
    wait_for test -s "$rig/holder.pid"
    [ "$rig_kind" = xen ] || return 0
    background xenstored "${PYTHON:-python3}" \
        "$top_srcdir/tests/unit/fake-xenstored.py" /run/xenstored.sock \
        /local/domain/0/name=Domain-0 /local/domain/0/domid=0
    wait_for grep -q ready "$rig/xenstored.log"
}

rig_end() {
    local name
    for name in relay libvirtd qemu xenstored holder; do
        [ ! -s "$rig/$name.pid" ] || end "$name" KILL
    done
}

# After rig_make of setup_file, in each test.
rig_use() {
    PATH=$PATH:/usr/sbin:/sbin
    xlxvirtd=$(readlink -f "$top_builddir/libvirt-glue/xlxvirtd")
    rig=$BATS_FILE_TMPDIR run=/run/libvirt
    rig_kind=$(cat "$rig/kind")
    rig_ns=(-m)
    [ "$(id -u)" = 0 ] || rig_ns=(-U -m --preserve-credentials)
    libvirtd_env=()
    relay_env=(LIBXLX_STATE_DIR="$rig/state" LIBXLX_RUN_DIR="$rig/locks")
    direct="test+unix:///default?socket=$run/libvirt-sock"
    [ "$rig_kind" = xen ] || return 0
    direct='xen:///system?mode=legacy'
    mapfile -t libvirtd_env < <(xen_env)
    relay_env+=("${libvirtd_env[@]}")
}

virsh_relay() { in_rig timeout 60 virsh -c xen:///system "$@"; }
virsh_direct() { in_rig timeout 60 virsh -c "$direct" "$@"; }
# raw.py's test of that name
raw() {
    in_rig timeout 100 "${PYTHON:-python3}" -B \
        "$top_srcdir/tests/xl/libvirt-raw.py" "$@"
}
