# SPDX-License-Identifier: LGPL-2.1-or-later
"""lib/cpu/gen-cpu.[ch]: the CPU tables, constant and without a pointer, so that
they need no relocation.  All names are in one text and stand in the tables as
offsets; a feature is the number of its bit, 32 * word + bit.  Nothing comes
out when no table is declared."""

from c_names import c_integer
from cpu import (DIALECTS, REGISTERS, dialect_names, fold, full_name,
                 libvirt_names, names, of_libvirt, versions)
from text import c_header, c_string, wrap

NONE = 0xFFFF


class Text:
    """The text that all names are in, each once and with its NUL."""

    def __init__(self):
        self.offsets = {}
        self.size = 0

    def add(self, name):
        if name not in self.offsets:
            self.offsets[name] = self.size
            self.size += len(name) + 1
        return self.offsets[name]

    def lines(self):
        """A literal each: after a NUL a digit would be part of it."""
        literals = " ".join(f'"{name}\\0"' for name in self.offsets)
        return ["const char xlx__cpu_text[] =",
                *wrap(literals + ";", 79, " " * 4)]


def generate(model):
    if not model.cpu_words:
        return {}
    return {"lib/cpu/gen-cpu.h": header(model),
            "lib/cpu/gen-cpu.c": source(model)}


def bits(model):
    """name -> number of its bit"""
    numbers = {w.name: i for i, w in enumerate(model.cpu_words)}
    return {f.name: 32 * numbers[f.word] + f.bit for f in model.cpu_features}


def identifier(name):
    return "XLX__CPU_" + name.upper().replace("-", "_").replace(".", "_")


def header(model):
    bit_of = bits(model)
    models = [v for m in model.cpu_models for v in m.versions]
    out = c_header("The CPU tables; cpu-table.h says what is in them.")
    out += ["#ifndef XLX_GEN_CPU_H", "#define XLX_GEN_CPU_H", "",
            f"#define XLX__CPU_WORDS {len(model.cpu_words)}",
            f"#define XLX__CPU_NAMES {len(name_rows(model))}",
            f"#define XLX__CPU_RELEASES {len(model.cpu_releases)}",
            f"#define XLX__CPU_NEEDS {len(need_rows(model))}",
            f"#define XLX__CPU_MODELS {len(models)}",
            "/* Those of libvirt come after QEMU's. */",
            f"#define XLX__CPU_ALL_MODELS {len(models) + len(model.cpu_libvirt)}",
            f"#define XLX__CPU_MODEL_NAMES {len(model_name_rows(model))}",
            f"#define XLX__CPU_SILICON {len(silicon_rows(model))}", "",
            "/* The features, each by the number of its bit. */",
            "enum xlx__cpu_bit {"]
    out += [f"    {identifier(name)} = {bit}," for name, bit in bit_of.items()]
    return out + ["};", "", "#endif"]


def name_rows(model):
    """(folded name, bit, dialects as a mask), in order of the names."""
    bit_of = bits(model)
    rows = {}
    for f in model.cpu_features:
        for dialect, name in dialect_names(f):
            key = fold(name), bit_of[f.name]
            rows[key] = rows.get(key, 0) | 1 << DIALECTS.index(dialect)
    return [(*key, mask) for key, mask in sorted(rows.items())]


def need_rows(model):
    """(bit, a bit that it needs), in order"""
    bit_of = bits(model)
    return sorted((bit_of[f.name], bit_of[n]) for f in model.cpu_features
                  for n in f.needs)


def model_name_rows(model):
    """(name, index of the version), in order of the names"""
    rows, i = [], 0
    for m in model.cpu_models:
        for v in m.versions:
            rows += [(name, i) for name in names(m, v)]
            i += 1
    for d, *_ in of_libvirt(model):
        rows += [(name, i) for name in libvirt_names(d)]
        i += 1
    return sorted(rows)


def silicon_rows(model):
    """(index of the first version, family, model or -1, first, last)"""
    rows, i = [], 0
    for m in model.cpu_models:
        for s in m.silicon:
            rows += [(i, s.family, n, s.first, s.last)
                     for n in s.models or [-1]]
        i += len(m.versions)
    return rows


def release_rows(model, bit_of, text):
    """(name, what guests get, the most they can get), each for HVM and PV"""
    words = len(model.cpu_words)
    for i, release in enumerate(model.cpu_releases):
        def given(letters, at=i):
            found = (f.name for f in model.cpu_features if f.gives and
                     (f.gives * (at + 1))[at] in letters)
            return "{ { " + mask(found, bit_of, words) + " } }"
        yield (text.add(release.name),
               "{ " + given("ASH") + ", " + given("A") + " }",
               "{ " + given("ASHash") + ", " + given("Aa") + " }")


def mask(features, bit_of, words):
    out = [0] * words
    for name in features:
        out[bit_of[name] // 32] |= 1 << bit_of[name] % 32
    while len(out) > 1 and not out[-1]:
        out.pop()
    return ", ".join(hex(w) for w in out)


def table(declaration, rows):
    yield ""
    yield f"const {declaration} = {{"
    for row in rows:
        line = "{ " + ", ".join(map(str, row)) + " },"
        yield from [f"    {line}"] if '"' in line else \
            wrap(line, 79, " " * 4, " " * 6)
    yield "};"


def word_row(w, bit_of, text):
    index = w.msr if w.leaf is None else w.leaf
    return (c_integer(index) + ("u" if index >= 2**31 else ""),
            NONE if w.subleaf is None else w.subleaf,
            REGISTERS.index(w.register), int(w.leaf is None),
            NONE if w.needs is None else bit_of[w.needs], text.add(w.name))


def source(model):
    text = Text()
    bit_of = bits(model)
    words = len(model.cpu_words)
    rows = {f.name: f for f in model.cpu_features}
    canonical = [NONE] * (32 * words)
    for name, bit in bit_of.items():
        canonical[bit] = text.add(name)
    out = c_header("The CPU tables.")
    out += ['#include "cpu/cpu-table.h"']
    body = [*table("struct xlx__cpu_word xlx__cpu_words[XLX__CPU_WORDS]",
                   (word_row(w, bit_of, text) for w in model.cpu_words)),
            *table("struct xlx__cpu_name xlx__cpu_names[XLX__CPU_NAMES]",
                   ((text.add(n), bit, hex(who))
                    for n, bit, who in name_rows(model))),
            *table("struct xlx__cpu_release "
                   "xlx__cpu_releases[XLX__CPU_RELEASES]",
                   release_rows(model, bit_of, text)),
            *table("struct xlx__cpu_need xlx__cpu_needs[XLX__CPU_NEEDS]",
                   need_rows(model)),
            *table("struct xlx__cpu_model "
                   "xlx__cpu_models[XLX__CPU_ALL_MODELS]",
                   model_rows(model, bit_of, text)),
            *table("struct xlx__cpu_model_name "
                   "xlx__cpu_model_names[XLX__CPU_MODEL_NAMES]",
                   ((text.add(n), i) for n, i in model_name_rows(model))),
            *table("struct xlx__cpu_silicon "
                   "xlx__cpu_silicon[XLX__CPU_SILICON]",
                   silicon_rows(model))]
    body += ["", "const uint16_t xlx__cpu_canonical[32 * XLX__CPU_WORDS] = {",
             *wrap(", ".join(map(str, canonical)), 79, " " * 4), "};"]
    for kind in ("accumulate", "mitigation", "fixed"):
        marked = (n for n, f in rows.items() if getattr(f, kind))
        body += ["", f"const struct xlx__cpu_set xlx__cpu_{kind} = {{",
                 *wrap("{ " + mask(marked, bit_of, words) + " }", 79, " " * 4),
                 "};"]
    collisions = [(bit_of[f.name], c_string(f.collides))
                  for f in model.cpu_features if f.collides]
    body += table("struct xlx__cpu_collision xlx__cpu_collisions[]",
                  collisions + [(NONE, "NULL")])
    return out + [""] + text.lines() + body


def model_rows(model, bit_of, text):
    def row(name, m, v, alias, has, features):
        return (text.add(name), text.add(m.name),
                NONE if not alias else text.add(alias), text.add(m.vendor),
                has["family"], has["model"], has["stepping"], v.number,
                *(c_integer(has[a]) + ("u" if has[a] >= 2**31 else "")
                  for a in ("level", "xlevel")),
                "{ { " + mask(features, bit_of, len(model.cpu_words))
                + " } }")

    for m in model.cpu_models:
        for v, has, features in versions(m):
            yield row(full_name(m, v), m, v, v.alias, has, features)
    for d, m, v, has, features in of_libvirt(model):
        yield row(libvirt_names(d)[0], m, v, None, has, features)
