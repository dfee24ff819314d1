# SPDX-License-Identifier: LGPL-2.1-or-later
"""The generated Python binding, on the calls of tests/idl/good (shapes.c)."""

import gc
import resource
import unittest

import libxlx
from libxlx import Point, Shape, ShapeKind, XlxError

UUID = "01234567-89ab-cdef-0123-456789abcdef"


class Binding(unittest.TestCase):
    def setUp(self):
        self.ctx = libxlx.Context()
        self.addCleanup(self.ctx.close)

    def find(self, name="round", **kw):
        return self.ctx.shape_find(name, ShapeKind.CORNERED, UUID, 5, **kw)

    def test_defaults(self):
        shape = Shape()
        self.assertEqual((shape.version, shape.flag, shape.number),
                         (2, True, 7))
        self.assertEqual((shape.offset, shape.size), (-5, 2**64 - 1))
        self.assertIsNone(shape.domid)
        self.assertIs(shape.kind, ShapeKind.OPEN)
        self.assertEqual(shape.centre, Point(x=-1, y=0, z=0))

    def test_results(self):
        shape, where, steps = self.find(hint="links \u20ac",
                                        near=Point(x=2**63 - 1, y=-2**63))
        self.assertEqual(shape.name, "round")
        self.assertIs(shape.kind, ShapeKind.CORNERED)
        self.assertEqual((shape.uuid, shape.domid), (UUID, 5))
        self.assertEqual(shape.words, ["links \u20ac", ""])
        self.assertEqual(shape.centre, Point(x=2**63 - 1, y=-2**63, z=0))
        self.assertEqual((where.y, steps), (4, 3))

    def test_no_domain(self):
        shape, _, _ = self.ctx.shape_find("round", ShapeKind.ROUND, UUID, None)
        self.assertIsNone(shape.domid)

    def test_error(self):
        with self.assertRaises(XlxError) as e:
            self.find("nothing")
        self.assertEqual((e.exception.rc, e.exception.name),
                         (-23, "NOTFOUND"))
        self.assertEqual(str(e.exception), 'name: "nothing": no such shape')

    def test_callback(self):
        seen = []
        self.find(watch=lambda shape, point: seen.append((shape, point)))
        (shape, point), = seen
        self.assertEqual((shape.name, point.y), ("round", 4))

    def test_callback_cancels(self):
        with self.assertRaises(XlxError) as e:
            self.find(watch=lambda shape, point: True)
        self.assertEqual(e.exception.name, "ABORTED")

    def test_callback_raises(self):
        def watch(shape, point):
            raise KeyError("mine")
        with self.assertRaises(KeyError):
            self.find(watch=watch)

    def test_wrong_values(self):
        for near in (Point(x=2**63), Point(y="1"), Point(z=None)):
            with self.assertRaises(XlxError) as e:
                self.find(near=near)
            self.assertEqual(e.exception.name, "INVAL")
        with self.assertRaises(TypeError):
            self.find(near=Shape())
        with self.assertRaises(ValueError):
            self.ctx.shape_find("round", ShapeKind.ROUND, "no uuid", 5)

    def test_dicts(self):
        shape, _, _ = self.find(hint="x")
        shape.corners = [Point(1, 2, 3)]
        shape.kinds = [ShapeKind.OPEN]
        self.assertEqual(Shape.from_dict(shape.to_dict()), shape)

    def test_no_leak(self):
        """5000 calls with 10 kB in and out: 50 MB if either stayed."""
        def peak():
            gc.collect()
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.find(hint="x" * 10000)
        before = peak()
        for _ in range(5000):
            self.find(hint="x" * 10000)
        self.assertLess(peak() - before, 16 * 1024)


if __name__ == "__main__":
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Binding)
    tests = list(suite)
    print(f"1..{len(tests)}")
    for number, test in enumerate(tests, 1):
        result = unittest.TestResult()
        test.run(result)
        bad = result.failures + result.errors
        print("not ok" if bad else "ok", number, "-", test.id().split(".")[-1])
        for _, trace in bad:
            print("\n".join("# " + line for line in trace.split("\n")))
