# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must be true: guests, and the content of each of their states.

A content is None when somebody else destroyed the state: nothing is demanded
of it any more.
"""

from .qcow2 import BLOCK

BLOCKS = 64                     # of a new disk


def blank(blocks=BLOCKS):
    return bytes(blocks)


def write(content, first, count, byte):
    return content[:first] + bytes([byte]) * count + content[first + count:]


class State:
    """A snapshot: what each of its disks held"""

    def __init__(self, disks, uncertain=False):
        self.disks = disks
        self.may_go = uncertain     # a command that was cut short makes or
        self.may_merge = False      # deletes it
        self.merging = False        # it is known to be half deleted


class Guest:
    """A configuration, and what was made with it"""

    def __init__(self, name, uuid, config, disks):
        self.name, self.uuid, self.config = name, uuid, config
        self.disks = disks              # vdev -> (path, format): the config
        self.original = dict(disks)
        self.states = {}                # name -> State
        self.parents = {}               # name -> name, as last listed
        # what the disks may hold now: one, unless a command was cut short
        self.candidates = [{v: blank() for v in disks}]
        # the candidate that is a state of its own if the last one is true
        self.left = None
        self.took_last = False          # it is true
        self.discarded = False
        self.swapped = False            # the disks have changed places
        self.unsettled = False          # nobody has looked since a kill

    @property
    def present(self):
        assert len(self.candidates) == 1
        return self.candidates[0]

    def settle(self, contents):
        """The disks hold this: which candidate is that?  None: none is."""
        for one in reversed(self.candidates):
            if all(one[v] is None or one[v] == contents.get(v)
                   for v in one):
                taken = {v: contents.get(v, one[v]) for v in one}
                last = one is self.candidates[-1]
                self.candidates = [taken]
                return last
        return None

    def bottom(self, vdev, disks):
        """The image that a disk began with, where the configuration (disks)
        names one that is gone; disks may have changed places."""
        others = [place for v, place in disks.items() if v != vdev]
        return next(place for place in (self.original[vdev],
                                        *self.original.values())
                    if place not in others)

    def written(self, vdev, first, count, byte):
        content = self.present[vdev]
        if content is not None:
            self.present[vdev] = write(content, first, count, byte)

    def children(self, name):
        """It, and all that is based on it"""
        found = [name]
        for one in found:
            found += [n for n, parent in self.parents.items()
                      if parent == one and n not in found]
        return found


class Clone:
    """Somebody else's image, on top of one of ours"""

    def __init__(self, path, content, base, known):
        self.path, self.content, self.base = path, content, base
        self.known = known      # it lies where libxlx looks
        self.holder = None      # the program that has it open
