#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # output and status are set by run
#
# Generated command line parsers, on the commands of tests/idl/good/shapes.idl.

bats_require_minimum_version 1.5.0

setup() {
    xl="$top_builddir/tests/unit/command-line"
    unset LIBXLX_XL_OPTS POSIXLY_CORRECT
}

# gives STATUS STDOUT COMMAND... and nothing on stderr
gives() {
    local status_wanted=$1 output_wanted=$2
    shift 2
    run --separate-stderr "$@"
    echo "$*: status $status, said: $output $stderr"
    [ "$status" -eq "$status_wanted" ]
    [ "$output" = "$output_wanted" ]
    [ -z "$stderr" ]
}

# refuses STATUS MESSAGE COMMAND...: first line of stderr, nothing on stdout
refuses() {
    local status_wanted=$1 message=$2
    shift 2
    run --separate-stderr "$@"
    echo "$*: status $status, said: $output $stderr"
    [ "$status" -eq "$status_wanted" ]
    [ -z "$output" ]
    # shellcheck disable=SC2154
    [ "${stderr_lines[0]}" = "$message" ]
}

@test "defaults" {
    gives 0 'place="here" all=0 limit=10 kind=open sort_by="name"' \
        "$xl" shape-find here
}

@test "every kind of option, before and after the arguments" {
    gives 0 'place="here" all=1 limit=3 kind=round sort_by="size" "a" "b"' \
        "$xl" shape-find -a here --limit 3 a --kind=round b --sort-by size
}

@test "options of one letter, joined" {
    gives 0 'place="here" all=1 limit=16 kind=open sort_by="name"' \
        "$xl" shape-find -al0x10 here
}

@test "a word after -- is an argument" {
    gives 0 'place="-a" all=0 limit=10 kind=open sort_by="name"' \
        "$xl" shape-find -- -a
}

@test "an option with a list takes all words up to the next option" {
    local rest='all=0 limit=10 kind=open sort_by="name"'
    gives 0 "place=\"here\" $rest near=\"a\" near=\"b\"" \
        "$xl" shape-find here --near a b
    gives 0 "place=\"here\" $rest \"c\" near=\"a\" near=\"b\" near=\"-\"" \
        "$xl" shape-find --near=a b --limit 10 here --near - -- c
    gives 0 "place=\"--near\" $rest \"a\"" "$xl" shape-find -- --near a
    refuses 2 "xl shape-find: option \`near' requires an argument." \
        "$xl" shape-find here --near --all
    refuses 2 "xl shape-find: option \`near' requires an argument." \
        "$xl" shape-find here --near
    refuses 2 "xl shape-find: option \`nearer' not supported." \
        "$xl" shape-find here --nearer a
}

unset='fill=0 thickness=3 kind=open'        # shape-draw without options

@test "options and arguments that fill a struct" {
    gives 0 'name="a" fill=1 thickness=5 kind=round dry_run=1,1' \
        "$xl" shape-draw --fill -N --thickness 5 -k round a
    refuses 2 "xl shape-draw: --thickness: \"+5\": must be a number" \
        "$xl" shape-draw --thickness +5
    refuses 2 "xl shape-draw: --thickness: \"4294967296\": must be a number" \
        "$xl" shape-draw --thickness 4294967296
}

@test "a command that is bound to a call" {
    gives 0 'place="here" flag=0' "$xl" shape-check here
    gives 0 'place="here" flag=1' "$xl" shape-check --fill here
    gives 0 'json filled' "$xl" shape-check --json --fill here
    gives 1 'failed -23' "$xl" shape-check nowhere
    refuses 2 "'xl shape-check' requires at least 1 argument." \
        "$xl" shape-check
}

@test "optional argument" {
    gives 0 "name=none $unset dry_run=0,0" "$xl" shape-draw
    gives 0 "name=\"x\" $unset dry_run=0,0" "$xl" shape-draw x
}

@test "dry run of the command itself and of xl" {
    gives 0 "name=none $unset dry_run=1,1" "$xl" shape-draw -N
    gives 0 "name=none $unset dry_run=1,1" "$xl" shape-draw --dry-run
    gives 0 "name=none $unset dry_run=1,1" env LIBXLX_XL_OPTS=-N "$xl" shape-draw
    gives 0 "name=none $unset dry_run=1,1" env LIBXLX_XL_OPTS='-v -N' "$xl" shape-draw
    gives 0 "name=none $unset dry_run=0,0" env LIBXLX_XL_OPTS='-v -f' "$xl" shape-draw
}

@test "dry run of a command that changes nothing" {
    refuses 1 \
        'xl shape-find: command does not implement -N (dryrun) option' \
        env LIBXLX_XL_OPTS=-N "$xl" shape-find here
}

@test "help has every option and goes to stdout" {
    run --separate-stderr "$xl" shape-find --help
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
    [ "${lines[0]}" = \
        'Usage: xl shape-find [OPTION]... PLACE [NAME...]' ]
    for o in '-a, --all' '-l, --limit N' '--kind KIND' '--sort-by COLUMN' \
        '-h, --help'; do
        [[ $output == *"  $o"$'\n'* ]]
    done
    [[ $output != *dry-run* ]]
    run "$xl" shape-draw -h
    [ "$status" -eq 0 ]
    [[ $output == *'  -n, -N, --dry-run'* ]]
}

@test "wrong options" {
    refuses 2 "xl shape-find: option \`nowhere' not supported." \
        "$xl" shape-find here --nowhere
    refuses 2 "xl shape-find: option \`x' not supported." \
        "$xl" shape-find -ax here
    refuses 2 "xl shape-find: option \`all=1' not supported." \
        "$xl" shape-find here --all=1
    refuses 2 "xl shape-find: option \`sort-by' requires an argument." \
        "$xl" shape-find here --sort-by
    refuses 2 "xl shape-find: option \`l' requires an argument." \
        "$xl" shape-find here -l
}

@test "wrong values" {
    for v in '' x 1x -1 ' 1' +1 4294967296 99999999999999999999; do
        refuses 2 "xl shape-find: --limit: \"$v\": must be a number" \
            "$xl" shape-find here --limit "$v"
    done
    refuses 2 \
        'xl shape-find: --kind: "square": must be one of round, cornered, open' \
        "$xl" shape-find here --kind square
}

@test "wrong number of arguments" {
    refuses 2 "'xl shape-find' requires at least 1 argument." \
        "$xl" shape-find
    refuses 2 "'xl shape-draw' requires at most 1 argument." \
        "$xl" shape-draw a b
}

@test "by the name it is called by" {
    ln -s "$xl" "$BATS_TEST_TMPDIR/xl-shape-draw"
    gives 0 "name=\"shape-find\" $unset dry_run=0,0" \
        "$BATS_TEST_TMPDIR/xl-shape-draw" shape-find
}

@test "no command" {
    for arguments in '' nothing; do
        # shellcheck disable=SC2086
        run --separate-stderr "$xl" $arguments
        [ "$status" -eq 2 ]
        [[ $stderr == *'shape-draw          draw a shape'* ]]
    done
}

@test "the completion knows the options and the values of an enum" {
    completion=$top_srcdir/tests/idl/good/expected/xl-plugins/gen-completion.bash
    run bash -c ". '$completion'"'
        complete_line() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
            _xl
            echo "${COMPREPLY[*]}"
        }
        complete_line xl shape-find --l
        complete_line xl shape-find --kind r
        complete_line xl shape-draw -'
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = --limit ]
    [ "${lines[1]}" = round ]
    [ "${lines[2]}" = '--fill --thickness --kind -k -n -N --dry-run -h --help' ]
}
