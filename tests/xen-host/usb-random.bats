#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154,SC2030,SC2031  # variables of bats
#
# Fifty random things that happen to USB devices and their guest, and after all
# of them: what is to be there is there and works, and nothing else.  The test
# says with which seed it began; USB_SEED repeats it.
# xen-host: run asked
# xen-host: deadline 7200
# xen-host: module drivers/usb/host/xen-hcd.c

bats_require_minimum_version 1.5.0

setup_file() {
    load guest
    load usb
    usb_begin
    guests_begin /job/modules/xen-hcd.ko usb-storage sd_mod
    for name in a b c; do
        gadget_stick $name "1d6b:010$((++number))"
    done
}
setup() { load guest; load usb; }
teardown_file() {
    load guest
    load usb
    guests_end
    usb_end
}

# one NAME DEED: says what it does; what cannot be done now does nothing.
# wanted[NAME] is set while it is attached.
one() {
    local name=$1
    echo "$2 $name"
    case $2 in
    plug)   gadget_plugged "$name" ||
                gadget_plug "$name" "$(tr abc 012 <<< "$name")" ;;
    unplug) ! gadget_plugged "$name" || gadget_unplug "$name" ;;
    attach)
        if ! gadget_plugged "$name" || [ -n "${wanted[$name]:-}" ]; then
            run -1 xl usb-attach g "${id[$name]}" || return
            echo "$output"
        else
            xl usb-attach g "${id[$name]}" || return
            wanted[$name]=yes
        fi ;;
    detach)
        if [ -n "${wanted[$name]:-}" ]; then
            xl usb-detach g "${id[$name]}" || return
            unset "wanted[$name]"
        else
            run -1 xl usb-detach g "${id[$name]}" || return
            echo "$output"
        fi ;;
    reboot) guest_reboot g ;;
    esac
}

@test "fifty random things" {
    local deeds=(plug plug unplug attach attach attach detach) names=(a b c)
    local -A wanted=() id=([a]=1d6b:0101 [b]=1d6b:0102 [c]=1d6b:0103)
    local number name deed        # not i, which is what "run" counts with
    RANDOM=${USB_SEED:=$EPOCHSECONDS}
    tap_note "seed $USB_SEED"
    guest_config g pv
    guest_start g
    for ((number = 1; number <= 50; number++)); do
        name=${names[RANDOM % 3]} deed=${deeds[RANDOM % 7]}
        [ $((number % 16)) != 0 ] || deed=reboot
        one "$name" "$deed" || { echo "number $number"; xl usb-show; false; }
        xl usb-show g > /dev/null
        [ $((number % 10)) != 0 ] || tap_note "$number done"
    done
    for name in a b c; do
        one $name plug
    done
    xl usb-show
    xl usb-assignable
    for name in a b c; do
        if [ -n "${wanted[$name]:-}" ]; then
            wait_for 90 "stick $name" usb_works g $name
            usb_compare g $name "$GUESTS/$name.img"
            one $name detach
        fi
        wait_for 30 "the driver of $name" \
            usb_driven "$(usb_busid $name)" usb-storage
    done
    # after a reboot libxl's own QEMU serves the guest, and stays with it
    wait_for 60 "no USB in xenstore" eval \
        '! xenstore-ls -f | grep -v device-model | grep usb'
    run ! pgrep -f usb-backend
    [ "$(find /var/lib/libxlx -name usb.json)" = "" ]
}
