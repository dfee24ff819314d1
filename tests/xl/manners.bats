#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154 # bats and rig.bash assign
# The common manners of all our commands: messages, tables, progress, signals.

bats_require_minimum_version 1.5.0

setup() {
    manners=$top_builddir/tests/xl/manners
    export LIBXLX_STATE_DIR=$BATS_TEST_TMPDIR/state
}

# Begins a command in the background with the signals as a shell gives them to
# a command of its own, and waits until it works: begin ARGS...
begin() {
    mkfifo "$BATS_TEST_TMPDIR/fifo"
    perl -e '$SIG{$_} = "DEFAULT" for qw(INT TERM HUP); exec @ARGV' \
        "$manners" "$@" > "$BATS_TEST_TMPDIR/fifo" \
        2> "$BATS_TEST_TMPDIR/err" 3>&- &
    pid=$!
    read -r line < "$BATS_TEST_TMPDIR/fifo"
    [ "$line" = begun ]
}

# Is there a handler of signal 2, the second lowest bit of the mask?
catches_int() { grep -q '^SigCgt:.*[2367abef]$' "/proc/$pid/status"; }

# The exit code of what was begun, within 10 seconds
ended() {
    local code=0 end=$((SECONDS + 10))
    # no watchdog process: bats takes the end of a subshell for the test's
    while kill -0 "$pid" 2> /dev/null; do
        [ $SECONDS -lt $end ] || kill -KILL "$pid"
        sleep 0.05
    done
    wait "$pid" || code=$?
    echo "$code"
    [ "$code" = "$1" ]
}

@test "messages: one line each, with the name of the command" {
    run --separate-stderr "$manners" fail
    [ "$status" = 1 ]
    [ -z "$output" ]
    [ "$stderr" = $'xl fail: careful: 1\nxl fail: a?b ?[31mred? ä' ]
}

@test "a failed call prints the message of the library" {
    mkdir -p "$LIBXLX_STATE_DIR/5e1f2b1c-7d1e-4c5a-9a43-0d5d4f5e6a01"
    echo nonsense \
        > "$LIBXLX_STATE_DIR/5e1f2b1c-7d1e-4c5a-9a43-0d5d4f5e6a01/guest.json"
    run --separate-stderr "$manners" library
    [ "$status" = 1 ]
    [ -z "$output" ]
    [ "${#stderr_lines[@]}" = 1 ]
    [[ $stderr = 'xl library: '*guest.json* ]]
}

@test "JSON goes to standard output, debug messages to standard error" {
    run --separate-stderr "$manners" library
    [ "$status" = 0 ]
    [ -z "$stderr" ]
    jq -e '.guests == []' <<< "$output"
    LIBXLX_XL_OPTS=-vvvT run --separate-stderr "$manners" library
    [ "$status" = 0 ]
    [ -n "$stderr" ]
    jq -e '.guests == []' <<< "$output"
}

@test "tables are as wide as they need to be" {
    run "$manners" table
    [ "$status" = 0 ]
    diff <(echo "$output") - <<'EOF'
Name Size      Text
abc  0b        x
äö   1023b     x
abc  1.0k      a?b
abc  9.9k      x
abc  10k       x
abc  1.0m      x
abc  5.0t      x
abc  16777216t x
EOF
}

@test "output that cannot be written is a failure" {
    run --separate-stderr bash -c '"$1" table > /dev/full' - "$manners"
    [ "$status" = 1 ]
    [ "$stderr" = 'xl table: standard output: No space left on device' ]
}

@test "progress: rewritten with -t, else not before ten seconds" {
    LIBXLX_XL_OPTS=-t run --separate-stderr "$manners" work
    [ "$status" = 0 ]
    [ "$output" = begun ]
    [ "${#stderr_lines[@]}" = 1 ]
    tr '\r' '\n' <<< "$stderr" | sed 's/ *$//' > "$BATS_TEST_TMPDIR/shown"
    [ "$(sed -n 2p "$BATS_TEST_TMPDIR/shown")" = \
      'merging xvda: 0% (0b of 10m)' ]
    [ "$(tail -1 "$BATS_TEST_TMPDIR/shown")" = \
      'merging xvda: 100% (10m of 10m)' ]
    run --separate-stderr "$manners" work
    [ -z "$stderr" ]
}

@test "a signal cancels the call: 128 and its number" {
    for signal in INT:130 TERM:143 HUP:129; do
        begin work
        kill "-${signal%:*}" "$pid"
        ended "${signal#*:}"
        grep '^xl work: ' "$BATS_TEST_TMPDIR/err"
        rm "$BATS_TEST_TMPDIR/fifo"
    done
}

@test "a second signal ends a call that cannot be cancelled" {
    begin work stubborn
    catches_int
    kill -INT "$pid"
    while catches_int; do sleep 0.02; done      # the handler is for one only
    kill -INT "$pid"
    ended 130
    [ ! -s "$BATS_TEST_TMPDIR/err" ]
}

@test "an ignored signal stays ignored, as under nohup" {
    run perl -e '$SIG{HUP} = "IGNORE"; exec @ARGV' \
        bash -c '"$1" work & kill -HUP $!; wait $!' - "$manners"
    [ "$status" = 0 ]
}
