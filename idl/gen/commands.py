# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of each command: xl-plugins/gen-commands.h with the parsed
arguments, one gen-STEM.c a concept that parses them, the list for the
dispatcher and the completion for bash.  usage() and option_rows() also make
the man pages, so that those and --help cannot differ."""

from c_names import enum_value
from c_types import function
from model import stem
from text import (c_doc, c_header, c_signature, c_string, hash_header, plain,
                  sentence, wrap)


def generate(model):
    files = {"xl-plugins/gen-commands.h": header(model),
             "xl-plugins/gen-commands.list": listing(model),
             "xl-plugins/gen-completion.bash": completion(model)}
    for concept in command_stems(model):
        files[f"xl-plugins/gen-{concept}.c"] = source(model, concept)
    return files


def command_stems(model):
    return list(dict.fromkeys(stem(c) for c in model.commands))


def member(name):
    return name.lower().replace("-", "_")


def target(part):
    """Where in the parsed arguments an option or argument is: "kind", or, when
    it fills a field of a struct, "snapshot_spec.kind"."""
    return part.field or member(part.name)


def structs(c):
    """The structs that the command line fills fields of, by name."""
    return list(dict.fromkeys(part.field.split(".")[0]
                              for part in c.args + c.options if part.field))


def c_name(command):
    return "xl_" + member(command.name)


# ---- what people read ------------------------------------------------------

def is_list(o):
    """Whether the option takes all words up to the next option."""
    return o.type.kind == "array"


def usage(c):
    """DOMAIN [NAME], options first."""
    words = ["[OPTION]..."]
    for a in c.args:
        word = a.name + ("..." if a.variadic else "")
        words.append(f"[{word}]" if a.optional else word)
    return " ".join(["xl", c.name] + words)


def option_rows(c):
    """(how it is written, what it does) of every option, the standard ones
    last."""
    for o in c.options:
        forms = f"--{o.name}" if o.type.kind == "bool" else \
            f"--{o.name} {o.metavar}" + ("..." if is_list(o) else "")
        yield (f"-{o.short}, " if o.short else "") + forms, o.doc
    if c.changes:
        yield "-n, -N, --dry-run", "only print what would be done"
    yield "-h, --help", "print this help and do nothing else"


def help_lines(c):
    def table(rows):
        for left, right in rows:
            yield f"  {left}"
            yield from wrap(plain(right), 71, " " * 8)

    out = [f"Usage: {usage(c)}", "", sentence(plain(c.shortdoc)) + ".", ""]
    if c.args:
        out += ["Arguments:", *table((a.name, a.doc) for a in c.args), ""]
    return out + ["Options:", *table(option_rows(c))]


# ---- C ---------------------------------------------------------------------

def header(model):
    out = c_header("The commands and their parsed arguments.")
    out += ["#ifndef XL_GEN_COMMANDS_H", "#define XL_GEN_COMMANDS_H", "",
            '#include "command.h"', '#include "libxlx.h"', "",
            *c_doc("xl_X_parse(): -1 when the command is to run, otherwise "
                   "the exit status: 0 after --help, 2 after a wrong command "
                   "line (reported on stderr). Strings belong to argv, "
                   "also those in structs, which nobody disposes of. "
                   "xl_X_main() is written by hand, in the file of the "
                   "concept; that of a command that the IDL binds to a call "
                   "is generated, and xl_X_print() by hand shows the result "
                   "unless --json is given.")]
    for c in model.commands:
        out += ["", *c_doc(f"xl {c.name}: {c.shortdoc}"),
                f"struct {c_name(c)}_args {{"]
        out += [f"    {m};" for m in members(c)] + ["};"]
        out += c_signature("int", f"{c_name(c)}_parse",
                           ["int argc", "char **argv",
                            f"struct {c_name(c)}_args *args"])
        out += c_signature("int", f"{c_name(c)}_main",
                           ["int argc", "char **argv"])
        if c.call:
            out += c_signature("void", f"{c_name(c)}_print",
                               print_params(c, model))
    out += ["", "/* One table a program; it ends with a NULL name. */"]
    for concept in command_stems(model):
        out.append(f"extern const struct xl_command xl_{concept}_commands[];")
    return out + ["", "#endif"]


def members(c):
    for struct in structs(c):
        yield f"xlx_{struct} {struct}"
    for a in c.args:
        if a.field:
            continue
        if a.variadic:
            yield f"char **{member(a.name)}"
            yield f"int num_{member(a.name)}"
        else:
            yield f"const char *{member(a.name)}"
    for o in c.options:
        if o.field:
            continue
        yield {"bool": "bool ", "string": "const char *",
               "uint32": "uint32_t ", "array": "char **"}.get(
                   o.type.kind, f"xlx_{o.type.name} ") + member(o.name)
        if is_list(o):
            yield f"int num_{member(o.name)}"
    if c.changes:
        yield "bool dry_run"


def source(model, concept):
    commands = [c for c in model.commands if stem(c) == concept]
    out = c_header(f"Command lines of the {concept} commands.")
    out += ["#include <getopt.h>", "#include <stdio.h>", "#include <string.h>",
            "", '#include "core/number.h"', '#include "gen-commands.h"']
    if any(c.call and [a for a in model.find_call(c.call).args
                       if a.type.kind == "callback"] for c in commands):
        out.append('#include "plugin.h"')
    for c in commands:
        out += ["", *help_constant(c), "", *parser(c, model)]
        if c.call:
            out += ["", *bound_main(c, model)]
    out += ["", f"const struct xl_command xl_{concept}_commands[] = {{"]
    for c in commands:
        out += [f'    {{ "{c.name}", "{concept}",',
                f"      {c_string(plain(c.shortdoc))},",
                f"      {c_name(c)}_main, {str(c.changes).lower()} }},"]
    return out + ["    { NULL, NULL, NULL, NULL, false }", "};"]


def help_constant(c):
    lines = [f"static const char {member(c.name)}_help[] ="]
    lines += ["    " + c_string(text + "\n") for text in help_lines(c)]
    lines[-1] += ";"
    return lines


def letters(c):
    """What getopt_long() returns for each option: its letter or a number."""
    return {o.name: f"'{o.short}'" if o.short else str(256 + i)
            for i, o in enumerate(c.options)}


def parser(c, model):
    code = letters(c)
    plain_options = [o for o in c.options if not is_list(o)]
    table = ["static const struct option options[] = {"]
    for o in plain_options:
        has = "no" if o.type.kind == "bool" else "required"
        table.append(f'    {{ "{o.name}", {has}_argument, NULL, '
                     f'{code[o.name]} }},')
    if c.changes:
        table.append('    { "dry-run", no_argument, NULL, \'N\' },')
    table += ['    { "help", no_argument, NULL, \'h\' },',
              "    { NULL, 0, NULL, 0 }", "};"]
    short = ":" + "".join(o.short + ("" if o.type.kind == "bool" else ":")
                          for o in plain_options if o.short)
    short += ("nN" if c.changes else "") + "h"
    body = [*table, f'static const char name[] = "{c.name}";',
            f"static const char usage[] = {c_string(usage(c))};",
            "int letter;", "", "memset(args, 0, sizeof(*args));"]
    body += [f"xlx_{s}_init(&args->{s});" for s in structs(c)]
    body += [f"args->{target(o)} = {start};"
             for o in c.options if not o.field and (start := initial(o))]
    if c.changes:
        body.append("args->dry_run = xl_dry_run_asked();")
    else:
        body += ["if (xl_dry_run_asked())",
                 "    return xl_refuse_dry_run(name);"]
    for o in c.options:
        if is_list(o):
            to = f"args->{member(o.name)}"
            body += [f'if (!xl_take_list(name, usage, "{o.name}", &argc, '
                     f"argv, &{to},",
                     f"                  &args->num_{member(o.name)}))",
                     "    return 2;"]
    body += ["opterr = 0;", "optind = 0;",
             f'while ((letter = getopt_long(argc, argv, "{short}", options, '
             "NULL)) != -1) {", "    switch (letter) {"]
    for o in plain_options:
        body += [f"    case {code[o.name]}:",
                 *["        " + x for x in store(o)], "        break;"]
    if c.changes:
        body += ["    case 'n':", "    case 'N':",
                 "        args->dry_run = true;", "        break;"]
    body += ["    case 'h':", f"        fputs({member(c.name)}_help, stdout);",
             "        return 0;", "    default:",
             "        return xl_bad_option(name, usage, letter, argv);",
             "    }", "}", *positional(c), *dry_runs(c, model),
             "return -1;"]
    return function("int", f"{c_name(c)}_parse",
                    ["int argc", "char **argv",
                     f"struct {c_name(c)}_args *args"], body)


def of_guest(call):
    return any(a.type.name == "guest" for a in call.args)


def print_params(c, model):
    call = model.find_call(c.call)
    return ([f"const struct {c_name(c)}_args *args"]
            + (["const xlx_guest *guest"] if of_guest(call) else [])
            + [f"const xlx_{o.type.name} *{o.name}" for o in call.out])


def given(c, call, a):
    """What a command gives for an argument of the call it is bound to: the
    guest, a struct that its options fill, progress on the terminal, or, for
    strings, its arguments in order; None when there is nothing."""
    if a.type.name == "guest":
        return "&guest" if [x for x in c.args if x.name == "DOMAIN"] else None
    if a.type.name in structs(c):
        return f"&args.{a.type.name}"
    if a.type.name == "progress":
        return "xl_progress()"
    if a.type.kind == "string":
        texts = [x for x in c.args if x.name != "DOMAIN" and not x.field
                 and not x.variadic]
        turn = [x for x in call.args if x.type.kind == "string"].index(a)
        return f"args.{member(texts[turn].name)}" if turn < len(texts) \
            else None
    return "NULL" if a.optional else None


def bound_main(c, model):
    """Parse, find the guest, call, print."""
    call = model.find_call(c.call)
    result = call.out[0] if call.out else None
    guest = of_guest(call)
    json = [o for o in c.options if o.name == "json"]
    config = [o for o in c.options if o.name == "config"]
    body = [f"struct {c_name(c)}_args args;"]
    body += [f"xlx_{result.type.name} {result.name};"] if result else []
    body += ["xlx_guest guest;"] if guest else []
    body += ["int rc, r;", "", f"r = {c_name(c)}_parse(argc, argv, &args);",
             "if (r >= 0)", "    return r;"]
    body += [f"xlx_{result.type.name}_init(&{result.name});"] if result else []
    make = c_signature("rc =", f"xlx_{call.name}",
                       ["xl_ctx()"] + [given(c, call, a) for a in call.args]
                       + ([f"&{result.name}"] if result else []), width=71)
    if guest:
        body += ["xlx_guest_init(&guest);"]
        body += c_signature("rc =", "xlx_guest_find", [
            "xl_ctx()", "args.domain", "args.config" if config else "NULL",
            "&guest"], width=75)
        body += ["if (!rc) {"] + ["    " + m for m in make] + ["}"]
    else:
        body += make
    shown = ["&args"] + (["&guest"] if guest else []) + (
        [f"&{result.name}"] if result else [])
    body += ["r = 0;", "if (rc)", "    r = xl_failed(rc);"]
    if json:
        text = c_signature("", f"xlx_{result.type.name}_to_json",
                           ["xl_ctx()", f"&{result.name}"], "", width=50)
        body += ["else if (args.json)",
                 "    r = xl_print_json(" + text[0].lstrip()
                 + "".join(" " + t.lstrip() for t in text[1:]) + ");"]
    body += ["else"] + ["   " + p for p in c_signature(
        "", f"{c_name(c)}_print", shown, width=72)]
    body += [f"xlx_{result.type.name}_dispose(&{result.name});"] \
        if result else []
    body += ["xlx_guest_dispose(&guest);"] if guest else []
    body += ["return r;"]
    return function("int", f"{c_name(c)}_main",
                    ["int argc", "char **argv"], body)


def dry_runs(c, model):
    """A struct that the command fills and that can say so, says so."""
    return [f"args->{s}.dry_run = args->dry_run;" for s in structs(c)
            if c.changes and model.find_field(f"{s}.dry_run")]


def initial(o):
    if o.type.kind == "enum":
        values = o.type.decl.values
        return enum_value(o.type.decl, o.default or values[0].name)
    if o.default is None:
        return None
    return c_string(o.default) if o.type.kind == "string" else str(o.default)


def store(o):
    to = f"args->{target(o)}"
    if o.type.kind == "bool":
        return [f"{to} = true;"]
    if o.type.kind == "string":
        return [f"{to} = optarg;"]
    if o.type.kind == "uint32":
        return [f"if (!xlx__parse_c(optarg, UINT32_MAX, &{to}))",
                f'    return xl_bad_value(name, "{o.name}", optarg,',
                '                        "must be a number");']
    return [f"if (xlx_{o.type.name}_from_string(optarg, &{to}))",
            f'    return xl_bad_value(name, "{o.name}", NULL,',
            "                        xlx_error_get());"]


def positional(c):
    least = sum(not a.optional for a in c.args)
    most = -1 if any(a.variadic for a in c.args) else len(c.args)
    out = [f"if (!xl_argument_count(name, usage, argc - optind, {least}, "
           f"{most}))", "    return 2;"]
    for a in c.args:
        if a.variadic:
            out += [f"args->{member(a.name)} = argv + optind;",
                    f"args->num_{member(a.name)} = argc - optind;"]
        elif a.optional:
            out += ["if (optind < argc)",
                    f"    args->{target(a)} = argv[optind++];"]
        else:
            out += [f"args->{target(a)} = argv[optind++];"]
    return out


# ---- lists -----------------------------------------------------------------

def listing(model):
    return [f"{c.name}\t{stem(c)}\t{plain(c.shortdoc)}"
            for c in model.commands]


def completion(model):
    out = hash_header("Completion for bash: the options of our commands; "
                      "the names of all commands come from xl help.")
    out += ["# shellcheck shell=bash", "", "_xl_options() {",
            '    case "$1" in']
    for c in model.commands:
        words = []
        for o in c.options:
            words += [f"--{o.name}"] + ([f"-{o.short}"] if o.short else [])
        words += ["-n", "-N", "--dry-run"] if c.changes else []
        words += ["-h", "--help"]
        out.append(f"    {c.name}) echo \"{' '.join(words)}\" ;;")
    # stock xl's, with the options that the guard takes off
    out += ["    create | restore) echo \"--no-devices\" ;;",
            "    save) echo \"--detach\" ;;",
            "    migrate) echo \"--detach --copy-disks"
            " $(_xl_options disk-migrate)\" ;;"]
    out += ["    esac", "}", "", "_xl_values() {", '    case "$1 $2" in']
    for c in model.commands:
        for o in c.options:
            if o.type.kind == "enum":
                words = [v.name.lower() for v in o.type.decl.values]
                out.append(f'    "{c.name} --{o.name}") '
                           f"echo \"{' '.join(words)}\" ;;")
    return out + r"""    esac
}

_xl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local words

    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words=$(xl help 2>/dev/null | sed 1,4d | awk '/^ [^ ]/ {print $1}')
    else
        words=$(_xl_values "${COMP_WORDS[1]}" "$prev")
        if [ -z "$words" ] && [[ $cur == -* ]]; then
            words=$(_xl_options "${COMP_WORDS[1]}")
        fi
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _xl -o default xl""".split("\n")
