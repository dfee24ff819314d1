# SPDX-License-Identifier: LGPL-2.1-or-later
"""The CPU tables as both check_cpu.py and c_cpu.py look at them."""

REGISTERS = ("eax", "ebx", "ecx", "edx")
DIALECTS = ("qemu", "xen", "libvirt")


def dialect_names(feature):
    """(dialect, name) of all names; the canonical one is also QEMU's, for the
    expression is in QEMU's grammar."""
    yield from (("qemu", n) for n in feature.qemu or [feature.name])
    yield from (("xen", n) for n in feature.xen)
    yield from (("libvirt", n) for n in feature.libvirt)


def fold(name):
    """Names are compared with '-' for '_', as QEMU does."""
    return name.replace("_", "-")


def full_name(model, version):
    return f"{model.name}-v{version.number}"


def names(model, version):
    """Of one version: its full name, and what else means it."""
    out = [full_name(model, version)]
    if version.number == 1:
        out.append(model.name)
    if version.alias:
        out.append(version.alias)
    return out


def versions(model):
    """(version, what it has, its features) for each, changes applied."""
    has = {a: getattr(model, a) for a in
           ("family", "model", "stepping", "level", "xlevel")}
    features = set(model.features)
    for v in model.versions:
        has = {a: n if getattr(v, a) is None else getattr(v, a)
               for a, n in has.items()}
        features = (features - set(v.remove)) | set(v.add)
        yield v, has, features


def of_libvirt(model):
    """(row, model, version, what it has, its features) for libvirt's models;
    a row without such a version is left out."""
    known = {full_name(m, v): (m, v, has, features) for m in model.cpu_models
             for v, has, features in versions(m)}
    for d in model.cpu_libvirt:
        if d.of not in known:
            continue
        m, v, has, features = known[d.of]
        changed = {a: n for a in ("model", "stepping")
                   if (n := getattr(d, a)) is not None}
        yield (d, m, v, has | changed,
               (features - set(d.remove)) | set(d.add))


def libvirt_names(d):
    return [f"libvirt:{name}" for name in d.names]
