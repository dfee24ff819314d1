# SPDX-License-Identifier: LGPL-2.1-or-later
# The scripts of this directory share it: the Debian releases they know, the
# cache, messages, and how a TAP file is counted.  Sourced; sets no options.
# shellcheck shell=bash

# shellcheck disable=SC2034 # for those who source this
xh_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
xh_cache=${XDG_CACHE_HOME:-$HOME/.cache}/libxlx/xen-host

xh_say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
xh_die() { xh_say "$*"; exit 1; }

# The Xen that a release of Debian has.
xh_xen_of() {
    case $1 in
    bookworm) echo 4.17 ;;
    trixie)   echo 4.20 ;;
    *) xh_die "\"$1\": not a known release of Debian (bookworm, trixie)" ;;
    esac
}

# Names the Debian packages of the missing commands; each argument is
# COMMAND:PACKAGE.
xh_need() {
    local want missing=()
    for want; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${want%%:*}" >/dev/null ||
            missing+=("${want#*:}")
    done
    [ ${#missing[@]} = 0 ] || xh_die "needs packages: ${missing[*]}"
}

# Runs a command as root of its own user name space when we are not root.
xh_as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else fakeroot -- "$@"; fi
}

# xh_mmdebstrap SUITE TARGET OPTION...: mmdebstrap with the mirrors that this
# machine's apt uses, or, on a machine without Debian's sources, with
# mmdebstrap's own default.
xh_mmdebstrap() {
    local suite=$1 target=$2 uri label proxy='' valid='' lines=() key
    shift 2
    key=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -r $key ] && key="[signed-by=$key]" || key=
    # shellcheck disable=SC2016 # apt expands the format
    while IFS='|' read -r uri label; do
        case $label in
        Debian) lines+=("deb $key $uri $suite main"
                        "deb $key $uri $suite-updates main") ;;
        Debian-Security) lines+=("deb $key $uri $suite-security main") ;;
        esac
    done < <(apt-get indextargets --format '$(REPO_URI)|$(LABEL)' \
                 'Created-By: Packages' 'Origin: Debian' 'Component: main' \
                 2>/dev/null | sort -u)
    # a mirror that stands still has lists of testing that are out of date
    eval "$(apt-config shell proxy Acquire::http::Proxy \
                             valid Acquire::Check-Valid-Until)"
    [ -z "$proxy" ] || set -- --aptopt="Acquire::http::Proxy \"$proxy\"" "$@"
    [ -z "$valid" ] ||
        set -- --aptopt="Acquire::Check-Valid-Until \"$valid\"" "$@"
    mmdebstrap --quiet --variant=minbase --architectures=amd64 "$@" \
        "$suite" "$target" "${lines[@]}"
}

# xh_cached NAME FUNCTION FILE...: prints the directory of NAME in the
# cache.  When it is not there FUNCTION makes it, called with a temporary
# directory that takes the name at the end, so that it is whole or absent and
# two who build at once do not meet.  The FILEs are the recipe: when one changes
# another directory is made, and the old ones go unless somebody holds them
# (xh_hold).
xh_cached() {
    local name=$1 make=$2 dir old tmp
    shift 2
    dir=$xh_cache/$name-$(cat -- "$@" | sha256sum | cut -c1-16)
    tmp=$xh_cache/$name.tmp
    if [ ! -e "$dir/complete" ]; then
        mkdir -p "$xh_cache"
        exec 8>"$xh_cache/$name.lock"
        flock 8
        if [ ! -e "$dir/complete" ]; then
            rm -rf -- "$tmp"
            mkdir -- "$tmp"
            # "set -e" does not hold where a caller asks for the status
            "$make" "$tmp" >&2 || return
            touch -- "$tmp/complete"
            mv -T -- "$tmp" "$dir"
        fi
        for old in "$xh_cache/$name"-*; do
            [ "$old" = "$dir" ] ||
                flock -n "$old/complete" rm -rf -- "$old" || true
        done
        exec 8>&-
    fi
    printf '%s\n' "$dir"
}

# Runs a command as root with mounts of its own.
xh_privately() {
    if [ "$(id -u)" = 0 ]; then
        unshare --mount --propagation private -- "$@"
    else
        mmdebstrap --unshare-helper "$@"
    fi
}

# xh_chroot ROOT.TAR WORK COMMAND...: unpacks that root file system to
# WORK/root and runs COMMAND in it, with this one's standard input and output.
# The caller removes WORK/root, by xh_privately.
xh_chroot() {
    local tar=$1 work=$2
    shift 2
    chmod 755 "$work"
    [ "$(id -u)" = 0 ] || chmod 777 "$work"
    # shellcheck disable=SC2016 # expanded by the inner shell
    xh_privately sh -c '
        set -e
        root=$1
        shift
        mkdir "$root"
        # a mount of its own, or programs in it could not unshare mounts
        mount --bind "$root" "$root"
        tar -C "$root" --exclude="./dev/*" -x <&9
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc" 2>/dev/null ||
            mount --rbind /proc "$root/proc"
        exec chroot "$root" /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 \
            PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@" 9<&-' \
        sh "$work/root" "$@" 9< "$tar"
}

# Keeps a directory of the cache from being removed for as long as this script lives.
xh_hold() {
    exec 9<"$1/complete"
    flock -s 9
}

# The value of each "# xen-host: WORD VALUE" line of a group's file.
xh_header() {
    sed -n "s/^# xen-host: $2 //p" "$1"
}

# Prints "PASSED FAILED SKIPPED" of a TAP file.  A file without a plan, or
# with fewer results than planned, has a failure more.  A group of several
# boots has a plan for each.
xh_count_tap() {
    [ -e "$1" ] || { echo 0 1 0; return; }
    awk '
        /^1\.\.[0-9]+/       { plan += substr($1, 4); seen++ }
        /^not ok/            { bad++; next }
        /^ok .*# (skip|SKIP)/ { skip++; next }
        /^ok/                { good++ }
        END {
            if (!seen || good + bad + skip != plan)
                bad++
            print good + 0, bad + 0, skip + 0
        }' "$1"
}
