#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck disable=SC2154  # output is set by bats' run
#
# The texts for people agree with the program: each command has its
# page, its line in README.md, its section in docs/commands.md and a --help
# with the same options; each variable that the sources read is explained; no
# link leads nowhere.

bats_require_minimum_version 1.5.0

setup() {
    : "${top_builddir:?is not set: run by make check}" "${top_srcdir:?}"
    docs=$top_srcdir/docs
    pods=("$docs"/gen/man?/*.pod "$docs"/*.pod)
    tmp=$BATS_TEST_TMPDIR
}

commands() { cut -f1 "$top_srcdir/xl-plugins/gen-commands.list"; }

# Options as their first words: "--kind", "-N, --dry-run"
page_options() {
    sed -n '/^=head1 OPTIONS/,/^=head1 [^O]/s/^=item B<\(-[^>]*\)>/\1/p' \
        "$docs/gen/man1/xl-$1.pod"
}
help_options() {
    # no Xen, no QEMU, no records
    env -i PATH=/usr/bin:/bin LIBXLX_STATE_DIR=/nonexistent \
        "${san[@]}" "$top_builddir/run" "xl-$1" --help |
        sed -n '/^Options:/,$s/^  \(-.*\)/\1/p'
}

# Commands that share a line in README.md, whose text is its own.
readme_groups() {
    grep '^| `[a-z-]*`, `' "$top_srcdir/README.md" | cut -d'|' -f2 |
        grep -o '[a-z-]*[a-z]'
}

# The line about each other one, as NAME<tab>TEXT.
readme_commands() {
    sed -n 's/^| `\([a-z-]*\)` | \(.*\) |$/\1\t\2/p' "$top_srcdir/README.md"
}

@test "each command has a man page, and a place in xlx(7)" {
    [ "$(commands | wc -l)" -ge 6 ]
    for command in $(commands); do
        [ -s "$docs/gen/man1/xl-$command.pod" ] || {
            echo "$command: no man page"; false; }
        grep -q "L<xl-$command(1)>" "$docs/xlx.pod" || {
            echo "$command: not in SEE ALSO of xlx.pod"; false; }
    done
}

@test "the table in README.md says of each command what its --help says" {
    diff <(cut -f1,3 "$top_srcdir/xl-plugins/gen-commands.list" |
        awk -F'\t' 'NR == FNR { shares[$1]; next } !($1 in shares)' \
            <(readme_groups) - | sort) <(readme_commands | sort)
    diff <(cut -f1 "$top_srcdir/xl-plugins/gen-commands.list" | sort) \
        <({ readme_groups; readme_commands | cut -f1; } | sort)
}

@test "docs/commands.md has a section on each command, and no other" {
    run -0 sed -n 's/^### xl \([a-z]*-[a-z-]*\)$/\1/p' "$docs/commands.md"
    [ "$(sort <<< "$output")" = "$(commands | sort)" ]
}

@test "SYNOPSIS of xlx(7) has each command with its arguments, and no other" {
    local command
    for command in $(commands); do
        sed -n '/^=head1 SYNOPSIS/,/^=head1 DESC/s/^B<xl .*/&/p' \
            "$docs/gen/man1/xl-$command.pod"
    done | sort > "$tmp/pages"
    sed -n '/^=head1 SYNOPSIS/,/^=head1 DESC/s/^B<xl .*-.*/&/p' \
        "$docs/xlx.pod" | sort | diff "$tmp/pages" -
}

@test "commands and options that the pages show exist" {
    local name option status=0
    san=(ASAN_OPTIONS="${ASAN_OPTIONS:-}")
    # each "xl NAME --OPTION ..." in code, as lines NAME OPTION
    cat "$top_srcdir"/README.md "$docs"/*.md |
        sed -n 's/^    *\(# \)\{0,1\}xl/xl/p; s/`\(xl [^`]*\)`/\n\1\n/gp' |
        sed -n 's/^xl \([a-z]*-[a-z-]*\)/\1/p' |
        awk '$1 !~ /:$/ { print $1; for (i = 2; i <= NF; i++)
               if ($i ~ /^--[a-z]/) print $1, $i }' | sort -u > "$tmp/shown"
    [ "$(wc -l < "$tmp/shown")" -ge 40 ]
    while read -r name option; do
        commands | grep -qx -e "$name" || {
            grep -q "\"$name\"" "$top_srcdir/xl-plugins/stock-commands.inc" &&
                continue
            echo "$name: there is no such command"; status=1; continue; }
        [ -z "$option" ] ||
            help_options "$name" | grep -qw -e "${option%%[=,.]*}" || {
            echo "xl $name $option: there is no such option"; status=1; }
    done < "$tmp/shown"
    [ $status = 0 ]
}

@test "--help works without Xen and has the options of the page" {
    san=(ASAN_OPTIONS="${ASAN_OPTIONS:-}")
    for command in $(commands); do
        page_options "$command" > "$tmp/page"
        help_options "$command" > "$tmp/help"
        grep -q '^-h, --help$' "$tmp/page"
        diff "$tmp/page" "$tmp/help" || {
            echo "$command: --help (>) and page (<) differ"; false; }
    done
}

@test "each variable that the sources read is in xlx(7), and no other" {
    (cd "$top_srcdir" && cat lib/*.c lib/*/*.c xl-plugins/*.c) |
        grep -o '"LIBXLX_[A-Z_]*"' | tr -d '"' | sort -u > "$tmp/read"
    sed -n 's/^=item B<\(LIBXLX_[A-Z_]*\)>.*/\1/p' "$docs/xlx.pod" |
        sort > "$tmp/told"
    [ "$(wc -l < "$tmp/read")" -ge 8 ]
    diff "$tmp/read" "$tmp/told"
}

# Pages of Xen, QEMU and man-pages, at which we only point.
others='xl(1) xl.cfg(5) qemu-img(1) xen-vbd-interface(7) virsh(1) libvirtd(8)'

@test "links between man pages lead somewhere" {
    local page file status=0
    cat "${pods[@]}" | grep -oE '[a-zA-Z][a-zA-Z0-9_.-]*\([1-8]\)' | sort -u |
        grep -Ev '^(free|malloc)\(3\)$' > "$tmp/links"
    [ "$(wc -l < "$tmp/links")" -ge 15 ]
    while read -r page; do
        [[ " $others " != *" $page "* ]] || continue
        file=${page%(*}.pod
        compgen -G "$docs/gen/man?/$file" > /dev/null ||
            [ -e "$docs/$file" ] || {
            echo "$page: there is no such page"; status=1; }
    done < "$tmp/links"
    [ $status = 0 ]
}

@test "links between the pages in Markdown lead somewhere" {
    local from to status=0
    for from in "$top_srcdir"/*.md "$docs"/*.md; do
        grep -oE '\]\([^)#:]+\)' "$from" | tr -d '()]' > "$tmp/to" || continue
        while read -r to; do
            [ -e "$(dirname "$from")/$to" ] || {
                echo "$from: $to is not there"; status=1; }
        done < "$tmp/to"
    done
    [ $status = 0 ]
}

@test "podchecker has nothing to say" {
    command -v podchecker > /dev/null || skip "no podchecker"
    podchecker -warnings "${pods[@]}" > "$tmp/said" 2>&1 || {
        cat "$tmp/said"; false; }
    # the same member in several structs is not a fault
    run ! grep -E 'WARNING|ERROR' \
        <(grep -v 'multiple occurrences' "$tmp/said")
}

@test "man has nothing to say" {
    command -v groff > /dev/null || skip "no groff"
    local page
    for page in "$top_builddir"/docs/*.[1378]; do
        groff -mandoc -Tutf8 -ww -rLL=100n "$page" 2>&1 > /dev/null |
            sed "s|^|${page##*/}: |"
    done > "$tmp/said"
    cat "$tmp/said"
    [ ! -s "$tmp/said" ]
}

@test "each example in C is in a man page, as a whole" {
    local file pages page
    for file in "$top_srcdir"/examples/*.c; do
        pages=$(grep -lrF "This is F<examples/${file##*/}>." \
            "$docs/gen/man3") || { echo "${file##*/}: in no page"; false; }
        sed 's/^/    /; s/ *$//' "$file" > "$tmp/file"
        while read -r page; do
            sed -n '/^This is F<examples/,/^=head1/p' "$page" |
                sed '1,2d; /^=head1/d; s/ *$//' | sed '$d' > "$tmp/shown"
            diff "$tmp/file" "$tmp/shown"
        done <<< "$pages"
    done
}

# too_wide FILE...: lines of prose that are wider than 79 columns.  Tables,
# code and a single long word cannot be broken.
too_wide() {
    awk 'FNR == 1 { code = 0 }
         /^```/ { code = !code; next }
         code || /^\|/ || /^    / || /^[^ ]*$/ { next }
         length > 79 { print FILENAME ":" FNR ": " length " columns" }' "$@"
}

@test "the pages in Markdown are wrapped at 79 columns" {
    local word=0123456789
    printf '%s %s\n' "$word$word$word$word" "$word$word$word$word" > "$tmp/a.md"
    printf '| %s |\n    %s\n' "$(cat "$tmp/a.md")" "$(cat "$tmp/a.md")" \
        > "$tmp/b.md"
    [ "$(too_wide "$tmp/a.md" "$tmp/b.md")" = "$tmp/a.md:1: 81 columns" ]
    run too_wide "$top_srcdir"/*.md "$docs"/*.md "$top_srcdir"/idl/*.md \
        "$top_srcdir"/bench/*.md "$top_srcdir"/tests/*/*.md
    echo "$output"
    [ -z "$output" ]
}

@test "README.md is a front page: at most 130 lines" {
    [ "$(wc -l < "$top_srcdir/README.md")" -le 130 ]
}
