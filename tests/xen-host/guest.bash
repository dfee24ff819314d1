# SPDX-License-Identifier: LGPL-2.1-or-later
# Guests for the tests in dom0.  A group begins with
#     setup_file() { load guest; guests_begin; }
#     setup()      { load guest; }
#     teardown_file() { load guest; guests_end; }
# and then has the functions below.  $GUESTS is a directory on dom0's disk for
# images and configurations.  guest-init says which programs run in a guest
# and which pattern they write; each wait has a deadline and says what it waited for.
# shellcheck shell=bash

export GUESTS=/var/lib/guests
guest_dir=$(dirname -- "${BASH_SOURCE[0]}")

# ---- waiting ----------------------------------------------------------------

# wait_for SECONDS WHAT COMMAND...: until COMMAND succeeds; WHAT is for the
# message when it does not.
wait_for() {
    local seconds=$1 what=$2 end=$((SECONDS + $1))
    shift 2
    until "$@"; do
        [ $SECONDS -lt $end ] || {
            echo "waited $seconds s in vain: $what"
            return 1
        }
        sleep 0.5
    done
}

# ---- faults of the emulator -------------------------------------------------

# emulator_faults: the number of faults in the logs that no test provokes: a
# guest's triple fault in Xen's, a program of dom0 that crashed in the kernel's.
emulator_faults() {
    { xl dmesg; dmesg; } 2>/dev/null |
        grep -Ec 'Triple fault|segfault at|general protection|traps: ' || true
}

# bats asks this when a test has failed.  A test is repeated once, and only
# when the logs show a fault of the emulator in its time; ./check counts the
# remark.  Each test that needs a guest therefore begins by asking for it.
faults_before=$(emulator_faults)
bats_should_retry_test() {
    [ "$BATS_TEST_TRY_NUMBER" = 1 ] &&
        [ "$(emulator_faults)" != "$faults_before" ] || return
    tap_note "repeated after a fault of the emulator: $BATS_TEST_DESCRIPTION"
}

# ---- the group's beginning and end ------------------------------------------

# guests_begin [MODULE...]: packs the initramfs of the guests, with more
# modules than blkfront when named, a name of modprobe's or a file, and with
# the programs of dom0's that GUEST_PROGRAMS names.
guests_begin() {
    mkdir -p "$GUESTS"
    guest_initrd "$GUESTS/initrd" xen-blkfront ext4 crc32c_generic "$@"
}

# guest_initrd FILE MODULE...
guest_initrd() {
    local out=$1 dir=$GUESTS/initrd.d module file
    shift
    rm -rf "$dir"
    mkdir -p "$dir"/{bin,dev,proc,sys,mod}
    cp /bin/busybox "$dir/bin/"
    ln -s busybox "$dir/bin/sh"
    install -m755 "$guest_dir/guest-init" "$dir/init"
    for module in "$@"; do
        module_insmods "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' > "$dir/mod/files"
    while read -r file; do
        module=$(basename "${file%%.ko*}").ko
        case $file in
        *.xz) busybox xzcat "$file" ;;
        *)    cat "$file" ;;
        esac > "$dir/mod/$module"
        echo "$module"
    done < "$dir/mod/files" > "$dir/mod/order"
    # shellcheck disable=SC2086 # a list of programs
    [ -z "${GUEST_PROGRAMS:-}" ] || guest_programs "$dir" $GUEST_PROGRAMS
    (cd "$dir" && find . | busybox cpio -o -H newc 2>/dev/null) > "$out"
    rm -rf "$dir"
}

# module_insmods NAME|FILE: how it is loaded, as modprobe tells it.
module_insmods() {
    local needed
    case $1 in
    */*)
        for needed in $(modinfo -F depends "$1" | tr , ' '); do
            modprobe --show-depends "$needed"
        done
        echo "insmod $1"
        ;;
    *) modprobe --show-depends "$1" ;;
    esac
}

# guest_programs DIR PROGRAM...: each with the libraries that it needs.
guest_programs() {
    local dir=$1 program file
    shift
    mkdir -p "$dir/lib"
    for program in "$@"; do
        program=$(command -v "$program") || return
        cp -L --parents "$program" "$dir"
        ln -sf "$program" "$dir/bin/"
        ldd "$program" | grep -o '/[^ ]*' | while read -r file; do
            cp -L --parents "$file" "$dir"
            # where the guest's loader looks without a cache
            [[ $file != /usr/local/* ]] || ln -sf "$file" "$dir/lib/"
        done
    done
}

# Destroys what still runs and removes the images.
guests_end() {
    local name
    for name in $(guest_names); do
        guest_destroy "$name"
    done
    rm -rf "$GUESTS"
}

# ---- disks ------------------------------------------------------------------

# disk_create FILE [FORMAT [SIZE]]: an empty image, qcow2 and 64M by default.
disk_create() {
    qemu-img create -q -f "${2:-qcow2}" "$1" "${3:-64M}"
}

# disk_loop FILE: a loop device on FILE, for a phy: disk; prints its name.
disk_loop() {
    losetup --find --show "$1"
}

# disk_blocks IMAGE...: prints the highest tick on each image, first disk of
# the guest first.  IMAGE is FILE, or FILE@TAG for an internal snapshot.
# Fails, with the reason on stdout, when a block is missing or damaged or the
# images are not of one instant.  Reads images that are in use, too; as they
# are now those are whole only after guest_ticks_off.
disk_blocks() {
    local image raw=() i=0 status=0 tag
    for image in "$@"; do
        tag=()
        [[ $image != *@* ]] || tag=(-l "snapshot.name=${image#*@}")
        raw[i]=$GUESTS/.blocks.$BASHPID.$i
        qemu-img convert -U "${tag[@]}" -O raw "${image%%@*}" "${raw[i]}" 2>&1 ||
            return
        i=$((i + 1))
    done
    "$guest_dir/blocks" "${raw[@]}" 2>&1 || status=$?
    rm -f "${raw[@]}"
    return $status
}

# ---- guests -----------------------------------------------------------------

guest_names() { xl list | awk 'NR > 1 && $1 != "Domain-0" { print $1 }'; }
guest_domid() { xl domid "$1" 2>/dev/null; }
guest_gone() { ! xl domid "$1" > /dev/null 2>&1; }
guest_config_file() { echo "$GUESTS/$1.cfg"; }

# guest_config NAME TYPE [DISK]...: writes the configuration of a pvh, pv or
# hvm guest.  DISKs become xvda, xvdb, ...: qcow2:FILE or raw:FILE, served by
# QEMU, or phy:DEVICE, served by the kernel.  Environment: GUEST_ARGS more
# arguments of its kernel (see guest-init), GUEST_CONFIG more lines.
guest_config() {
    local name=$1 type=$2 disk letters=abcdefgh i=0 disks='' backend format
    local kernel=vmlinux        # unpacked, but for QEMU, which loads HVM's
    shift 2
    for disk in "$@"; do
        case ${disk%%:*} in
        phy) format=raw backend=phy ;;
        *)   format=${disk%%:*} backend=qdisk ;;
        esac
        disks="$disks'format=$format,vdev=xvd${letters:i:1},"
        disks="${disks}backendtype=$backend,access=rw,target=${disk#*:}',"
        i=$((i + 1))
    done
    [ "$type" != hvm ] || kernel=vmlinuz
    cat > "$(guest_config_file "$name")" <<X
name = '$name'
type = '$type'
kernel = '/boot/$kernel-$(uname -r)'
ramdisk = '$GUESTS/initrd'
extra = 'console=hvc0 earlyprintk=xen quiet disks=$# ${GUEST_ARGS:-}'
memory = 256
vcpus = 1
disk = [ $disks ]
device_model_override = '/usr/libexec/xen-qemu-system-i386'
$([ "$type" != hvm ] || printf '%s\n' "vga = 'none'" 'nographic = 1')
${GUEST_CONFIG:-}
X
}

# guest_create NAME TYPE [DISK]...: configuration as above, "xl create", and
# waits until its user space is up.
guest_create() {
    guest_config "$@"
    guest_start "$1"
}

# guest_start NAME: starts a guest that has its configuration.  Stock libxl
# gives QEMU and its scripts some seconds; on a loaded machine the emulated
# host may need more, so what timed out is tried once more, and reported.
guest_start() {
    guest_xl_create "$1" || return
    guest_wait_boots "$1" 1
}

# guest_xl_create NAME: the same, and does not wait for its user space.  The xl
# that stays with the guest must not hold bats' output: the end of that is
# waited for before the host is reset under the guest.
guest_xl_create() {
    local said log
    log=$(guest_log_file "$1")
    [ ! -e "$log" ] || mv -f "$log" "$log.old"
    said=$(xl create -q "$(guest_config_file "$1")" 2>&1 3>&- 4>&-) && return
    if grep -Eq 'timeout|rc=-9' <<< "$said"; then
        guest_gone "$1" || xl destroy "$1"
        tap_note "the emulator is slow: xl create $1 once more"
        said=$(xl create -q "$(guest_config_file "$1")" 2>&1 3>&- 4>&-) && return
    fi
    echo "$said"
    guest_gone "$1" || xl destroy "$1"
    return 1
}

# tap_note TEXT: shown in the TAP at once, whether the test passes or not.
tap_note() {
    if [ -e /proc/self/fd/3 ]; then echo "# $*" >&3; else echo "# $*"; fi
}

# guest_boots NAME: how often its user space came up since guest_start.
guest_boots() {
    grep -ac '^guest up' "$(guest_log_file "$1")" 2>/dev/null || true
}

# guest_wait_boots NAME N: until its user space came up N times.  For what
# starts a guest again: boots=$(guest_boots g) first, then the deed, then
# guest_wait_boots g $((boots + 1)).
guest_wait_boots() {
    wait_for 300 "boot $2 of guest $1" guest_booted "$1" "$2" ||
        { guest_log "$1" | tail -n 20; return 1; }
}
guest_booted() { [ "$(guest_boots "$1")" -ge "$2" ]; }

guest_destroy() {
    local domid
    domid=$(guest_domid "$1") || return 0
    xl destroy "$1" || return
    wait_for 60 "end of guest $1" guest_gone "$1" || return
    wait_for 60 "end of QEMU of guest $1" \
        eval "! pgrep -f -- '-xen-domid $domid ' > /dev/null"
}

# guest_shutdown NAME, guest_reboot NAME: ask the guest and wait for it.
guest_shutdown() {
    xl shutdown -w "$1" > /dev/null || return
    wait_for 60 "end of guest $1" guest_gone "$1"
}

guest_reboot() {
    local boots
    boots=$(guest_boots "$1")
    xl reboot "$1" > /dev/null || return
    guest_wait_boots "$1" $((boots + 1))
}

# guest_save NAME FILE, guest_restore NAME FILE
guest_save() {
    xl save "$1" "$2" > /dev/null && guest_gone "$1"
}

guest_restore() {
    xl restore "$2" > /dev/null && guest_domid "$1" > /dev/null
}

# shell_to_here: for -s /run/here of "xl migrate", the shell that brings it to
# the other host, which is this one.
shell_to_here() {
    printf '#!/bin/sh\nshift\nexec "$@"\n' > /run/here
    chmod +x /run/here
}

# ---- what a guest says, and what it is told -----------------------------------

guest_log_file() { echo "/var/log/xen/console/guest-$1.log"; }

# guest_migrated NAME: its console goes on in the log that xenconsoled began
# under the name that a guest has while it comes.
guest_migrated() {
    ln -sf "guest-$1--incoming.log" "$(guest_log_file "$1")"
}

# guest_log NAME: its console since its last boot.
guest_log() {
    awk '
        /^guest up/ { n = 0 }
        { sub(/\r+$/, ""); line[n++] = $0 }
        END { for (i = 0; i < n; i++) print line[i] }
    ' "$(guest_log_file "$1")" 2>/dev/null
}

# guest_says NAME REGEX: a line of the console since its last boot matches.
guest_says() {
    guest_log "$1" | grep -q -- "$2"
}

# guest_tick NAME: number of the last tick it told, 0 when none.
guest_tick() {
    guest_log "$1" |
        awk '/^tick [0-9]+$/ { n = $2 } END { print n + 0 }'
}

# guest_wait_tick NAME N: until tick N, or a later one, is written.
guest_wait_tick() {
    wait_for 180 "tick $2 of guest $1" guest_ticked "$1" "$2" ||
        { guest_log "$1" | tail -n 20; return 1; }
}
guest_ticked() { [ "$(guest_tick "$1")" -ge "$2" ]; }

# guest_wait_more NAME [N]: until N (2) more ticks than now.
guest_wait_more() {
    guest_wait_tick "$1" $(($(guest_tick "$1") + ${2:-2}))
}

# guest_run NAME COMMAND: runs a line of shell in the guest, prints what it
# prints and returns its status.  The ends of several lines become blanks.
guest_run() {
    local name=$1 id tty
    id=$(date +%s%N)
    tty=$(xenstore-read "/local/domain/$(guest_domid "$1")/console/tty") ||
        return
    shift
    printf '%s %s\n' "$id" "${*//$'\n'/ }" > "$tty"
    wait_for 120 "guest $name to run: $*" guest_says "$name" "^done $id " ||
        { guest_log "$name" | tail -n 20; return 1; }
    guest_log "$name" | sed -n "s/^out $id: //p"
    return "$(guest_log "$name" | sed -n "s/^done $id //p")"
}

# guest_ticks_off NAME, guest_ticks_on NAME: stop the writer, with its last
# tick flushed and told; go on.
guest_ticks_off() { guest_run "$1" ticks_off; }
guest_ticks_on() { guest_run "$1" ticks_on; }

# ---- QEMU and leaks -----------------------------------------------------------

# guest_qmp NAME COMMAND [JSON]
guest_qmp() {
    local domid
    domid=$(guest_domid "$1") || return
    shift
    "$guest_dir/qmp" "$domid" "$@"
}

# guest_nodes NAME: QEMU's block nodes, "NODE DRIVER FILE" a line.
guest_nodes() {
    guest_qmp "$1" query-named-block-nodes '{"flat": true}' |
        jq -r '.[] | "\(."node-name") \(.drv) \(.file)"' | sort
}

# host_state: everything that an operation could leave behind: files of
# guests, of libxlx and of libxl, loop devices, block nodes and file
# descriptors of each QEMU, xenstore keys, processes of the toolstack.  A lock
# file is meant to stay: to remove it would race with its next user.
# Take it before and after, into files, and compare with host_state_same.
host_state() {
    local name
    find "$GUESTS" /var/lib/libxlx /run/libxlx /var/lib/xen /run/xen \
        -type f -o -type s 2>/dev/null | grep -Ev '/\.blocks\.|^/run/libxlx/.*\.lock$' |
        sort
    losetup -l -n -O NAME,BACK-FILE
    for name in $(guest_names); do
        guest_nodes "$name" | sed "s/^/node of $name: /"
        find "/proc/$(pgrep -f -- "-xen-domid $(guest_domid "$name") ")/fd" \
            -lname '/*' -printf "file of QEMU of $name: %l\n" 2>/dev/null |
            sort
    done
    xenstore-ls -f | sed -n 's/^\([^ ]*\) = .*/key \1/p' | sort
    # shellcheck disable=SC2009 # names and arguments are wanted
    ps -eo args | grep -E '^(qemu|xl|/[^ ]*(qemu|/xl))' | sort
}

# host_state_same BEFORE AFTER: prints the difference.
host_state_same() {
    diff -U0 "$1" "$2"
}
