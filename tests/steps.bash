# SPDX-License-Identifier: LGPL-2.1-or-later
# For ../check and ../demo: steps that say one line when they succeed and show
# their log when they do not, and what must be installed for them.  The
# sourcing script has set logs, a directory, and runs with "set -m", so that a step
# is a process group that can be stopped as a whole.
# shellcheck shell=bash disable=SC2034 # the lists are for those who source

export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C.UTF-8
unset MAKEFLAGS DESTDIR

packages_build='gcc libc6-dev make autoconf automake libtool pkg-config python3 perl
    xz-utils libxen-dev libyajl-dev libxml2-dev libzstd-dev libxxhash-dev
    ccache'
packages_test='clang libcmocka-dev bats jq shellcheck qemu-system-x86
    qemu-utils hwloc-nox graphviz librsvg2-bin libvirt-clients
    libvirt-daemon libvirt-daemon-driver-xen python3-libvirt python3-rtslib-fb'
packages_xen_host='mmdebstrap debian-archive-keyring qemu-system-x86
    qemu-utils cpio e2fsprogs kmod xz-utils zstd fakeroot uidmap'

: "${logs:?}"
child=''

say() { printf '%s\n' "$*"; }

# wait_child: waits for the process just started; its status.
wait_child() {
    local status=0
    child=$!
    wait "$child" || status=$?
    child=''
    return $status
}

# For a trap: ends the step that runs.
stop_child() {
    [ -z "$child" ] || kill -- "-$child" 2>/dev/null
    wait
}

log_of() { printf '%s/%s.log\n' "$logs" "$(tr -cs 'a-zA-Z0-9.\n' - <<< "$1")"; }

# quietly WHAT COMMAND...: one line when it succeeds, the end of its log when
# it does not.  Does not count.
quietly() {
    local what=$1 start=$SECONDS log
    log=$(log_of "$1")
    shift
    printf -- '-- %s ... ' "$what"
    "$@" > "$log" 2>&1 < /dev/null &
    if wait_child; then
        say "ok ($((SECONDS - start)) s)"
    else
        say "FAILED ($((SECONDS - start)) s); the end of $log:"
        tail -n 60 "$log" | sed 's/^/    /'
        return 1
    fi
}

# install_packages PACKAGE...: those that are missing; when that is not
# possible, what needs them says so later.
install_packages() {
    local package missing=() sudo=()
    command -v apt-get > /dev/null || return 0
    for package in "$@"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null |
            grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "-- packages to install: ${missing[*]}"
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || {
            say "-- not root, and sudo asks for a password: going on without"
            return 0
        }
        sudo=(sudo -n)
    fi
    quietly "apt-get update" "${sudo[@]}" apt-get -q update
    quietly "apt-get install" "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "${missing[@]}"
}

# use_ccache: what was compiled before, also in another clone, is taken from
# ccache's cache.  Paths below this tree are the same to it.
use_ccache() {
    [ -d /usr/lib/ccache ] && ccache --show-config > /dev/null 2>&1 || return 0
    export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=1G
    [[ $PATH == /usr/lib/ccache:* ]] || PATH=/usr/lib/ccache:$PATH
}

# build DIR OPTION...: configures and makes in DIR
build() {
    local dir=$1
    shift
    use_ccache
    mkdir -p "$dir" && cd "$dir" && ../configure --quiet "$@" &&
        make -s -j"$(nproc)"
}
