"""Rows of points: values of different shapes, seen in one loop nest."""

from __future__ import annotations

import functools
import itertools
import math

from lampion.compiler.graph import Equation
from lampion.compiler.schedule import Layout
from lampion.compiler.strides import contiguous_strides


class RowSpace:
    """Rows of points: how values of different shapes are seen in one loop nest.

    Attributes:
        outer, inner: the axes of that nest: those that count rows, and those along a row.
        single: whether positions along a row are asked for, so that it must have one axis.
    """

    def __init__(self, outer: tuple[int, ...], inner: tuple[int, ...]) -> None:
        self.outer, self.inner = outer, inner
        self.rows, self.length = math.prod(outer), math.prod(inner)
        self.single = False

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.outer, *self.inner)

    @property
    def size(self) -> int:
        return self.rows * self.length

    def refined(self, shape: tuple[int, ...]) -> RowSpace | None:
        """The space in which values of that shape (of all points, or of all rows) can be seen too."""
        factor = self.length if math.prod(shape) == self.rows else 1
        cuts = {self.length, *_cuts(self.shape), *(factor * cut for cut in _cuts(shape))}
        sizes = sorted(cuts)
        if any(b % a for a, b in itertools.pairwise(sizes)):
            return None
        steps = [b // a for a, b in itertools.pairwise(sizes)][::-1]
        count = sum(size > self.length for size in sizes)
        space = RowSpace(tuple(steps[:count]), tuple(steps[count:]))
        space.single = self.single
        return None if space.single and len(space.inner) > 1 else space

    def of_point(self, layout: Layout, shape: tuple[int, ...]) -> Layout | None:
        """A layout, read at each point of a shape that has as many elements, as seen from the nest."""
        return _split(layout.broadcast(shape), self.shape)

    def of_row(self, layout: Layout, shape: tuple[int, ...]) -> Layout | None:
        """The same for a shape that has as many elements as there are rows."""
        return _split(layout.broadcast(shape), self.outer)

    def is_point(self, seen: Layout) -> bool:
        """Whether a point finds its own element there."""
        return not seen.offset and seen.strides == contiguous_strides(self.shape, 1)

    def is_row(self, seen: Layout) -> bool:
        """Whether a point, or a row, finds the row's own element there."""
        plain = contiguous_strides(self.outer, 1)
        return not seen.offset and seen.strides in (plain, plain + (0,) * len(self.inner))

    def is_position(self, seen: Layout) -> bool:
        """Whether a point finds the element there that has the number of the point in its row."""
        one = len(self.inner) == 1
        return one and not seen.offset and seen.strides == (0,) * len(self.outer) + (1,)


def row_space(equation: Equation) -> RowSpace | None:
    """The rows that a reduction goes along: its axes must be the last ones."""
    shape, axes = equation.inputs[0].shape, equation.params["axis"]
    real = [(n, axis in axes) for axis, n in enumerate(shape) if n != 1]
    outer = [n for n, reduced in real if not reduced]
    inner = [n for n, reduced in real if reduced]
    if (
        0 in shape
        or not inner
        or [reduced for _, reduced in real] != [False] * len(outer) + [True] * len(inner)
    ):
        return None
    return RowSpace(tuple(outer), tuple(inner))


def points_of(equation: Equation) -> tuple[int, ...]:
    """The shape over whose points an equation is evaluated."""
    primitive = equation.primitive
    at = (
        equation.inputs[0] if primitive.kind == "reduction" or primitive.name == "gather" else equation.output
    )
    shape: tuple[int, ...] = at.shape
    return shape


@functools.cache
def _cuts(shape: tuple[int, ...]) -> frozenset[int]:
    """The numbers of points that the last axes have, for each number of these."""
    return frozenset(math.prod(shape[axis:]) for axis in range(len(shape) + 1))


def _split(layout: Layout, shape: tuple[int, ...]) -> Layout | None:
    """A layout as seen from a shape whose axes are parts of its own."""
    axes = [(n, s) for n, s in zip(layout.shape, layout.strides, strict=True) if n != 1]
    strides = []
    for n in reversed(shape):
        size, stride = axes.pop() if axes else (1, 0)
        if size % n:
            return None
        strides.append(stride)
        if size > n:
            axes.append((size // n, stride * n))
    return None if axes else Layout(layout.root, shape, tuple(reversed(strides)), layout.offset)
