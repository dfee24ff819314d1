#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt-snapshot.py DOMAIN: libvirt's Python binding on the snapshots of a
domain.  Random creations and deletions, and after each all calls that list or
find snapshots must agree with one another and with a model of what was done.
"""

import os
import random
import sys
import xml.etree.ElementTree as ET

import libvirt

FEW = "60" if os.environ.get("SLOW") else "2"
ROUNDS = int(os.environ.get("XLX_RUNS", FEW))
SEED = int(os.environ.get("XLX_SEED", "4"))


def names(snapshots):
    return [s.getName() for s in snapshots]


def parents(dom):
    """name -> name of the parent, by getParent()"""
    found = {}
    for snapshot in dom.listAllSnapshots():
        try:
            found[snapshot.getName()] = snapshot.getParent().getName()
        except libvirt.libvirtError as e:
            assert e.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT
            found[snapshot.getName()] = None
    return found


def below(tree, name):
    direct = {n for n, parent in tree.items() if parent == name}
    return direct.union(*(below(tree, n) for n in direct))


def check_one(snapshot, tree):
    name = snapshot.getName()
    children = {n for n, parent in tree.items() if parent == name}
    assert set(snapshot.listChildrenNames()) == children
    assert set(names(snapshot.listAllChildren())) == children
    assert snapshot.numChildren() == len(children)
    every = libvirt.VIR_DOMAIN_SNAPSHOT_LIST_DESCENDANTS
    assert set(snapshot.listChildrenNames(every)) == below(tree, name)
    assert snapshot.numChildren(every) == len(below(tree, name))
    assert snapshot.hasMetadata() == 1
    root = ET.fromstring(snapshot.getXMLDesc())
    assert root.tag == "domainsnapshot" and root.findtext("name") == name
    assert root.findtext("parent/name") == tree[name]
    assert root.findtext("domain/uuid") == snapshot.getDomain().UUIDString()


def check(dom, model):
    tree = parents(dom)
    assert tree == model, (tree, model)
    listed = names(dom.listAllSnapshots())
    assert sorted(listed) == sorted(dom.snapshotListNames()) == sorted(model)
    assert dom.snapshotNum() == len(model)
    ordered = names(dom.listAllSnapshots(
        libvirt.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL))
    for i, name in enumerate(ordered):
        assert tree[name] is None or tree[name] in ordered[:i]
    roots = {n for n, parent in tree.items() if parent is None}
    assert set(dom.snapshotListNames(
        libvirt.VIR_DOMAIN_SNAPSHOT_LIST_ROOTS)) == roots
    leaves = {n for n in tree if n not in tree.values()}
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_LIST_LEAVES
    assert set(dom.snapshotListNames(flags)) == leaves
    assert dom.snapshotNum(libvirt.VIR_DOMAIN_SNAPSHOT_LIST_NO_LEAVES) == \
        len(tree) - len(leaves)
    assert dom.snapshotNum(libvirt.VIR_DOMAIN_SNAPSHOT_LIST_NO_METADATA) == 0
    for name in listed:
        check_one(dom.snapshotLookupByName(name), tree)
    if dom.hasCurrentSnapshot():
        current = dom.snapshotCurrent()
        assert [s.getName() for s in dom.listAllSnapshots()
                if s.isCurrent()] == [current.getName()]
    else:
        assert not any(s.isCurrent() for s in dom.listAllSnapshots())


def create(dom, model, number):
    name = f"s{number} <&'\">é"
    current = dom.snapshotCurrent().getName() \
        if dom.hasCurrentSnapshot() else None
    root = ET.Element("domainsnapshot")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "description").text = "a & b\nsecond line"
    made = dom.snapshotCreateXML(ET.tostring(root, encoding="unicode"), 0)
    assert made.getName() == name
    assert ET.fromstring(made.getXMLDesc()).findtext("description") == \
        "a & b\nsecond line"
    model[name] = current


def delete(dom, model, name):
    dom.snapshotLookupByName(name).delete()
    for other, parent in model.items():
        if parent == name:
            model[other] = model[name]
    del model[name]


def main():
    dom = libvirt.open("xen:///system").lookupByName(sys.argv[1])
    rng = random.Random(SEED)
    model = parents(dom)
    for number in range(ROUNDS):
        if model and rng.random() < .4:
            delete(dom, model, rng.choice(sorted(model)))
        else:
            create(dom, model, number)
        check(dom, model)
    for name in sorted(model):
        delete(dom, model, name)
    check(dom, model)
    print(f"{ROUNDS} changes, seed {SEED}")


if __name__ == "__main__":
    libvirt.registerErrorHandler(lambda *_: None, None)
    main()
