"""Evaluates the body of a loop nest at points of its iteration space, and stores the results.

A point is given by its indices. The innermost axis is the one that runs across the lanes of a vector;
all outer indices together make a `Row`. What does not vary along the row (a scalar input, the bias of
a channel, all that is computed from such) is evaluated once a row, as scalars.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lampion.compiler.codegen.builder import IRValue, KernelBuilder
from lampion.compiler.codegen.emitter import Emitter
from lampion.compiler.codegen.lanes import Lanes
from lampion.compiler.kernel_ir import Compute, Literal, Load, Position, Result, Store, Value, Window
from lampion.dtype import DType


def evaluate(
    k: KernelBuilder,
    body: Sequence[Value],
    at: Sequence[IRValue | int],
    lanes: int = 1,
    *,
    results: Sequence[Lanes] = (),
    mask: IRValue | None = None,
) -> list[Lanes]:
    """The values of the body at `lanes` consecutive points, the first of them at the indices `at`.

    `results` are what `Result(0)`, `Result(1)`... stand for. Values that are the same in all lanes may
    come as one lane; `Lanes.spread(lanes)` gives a vector.
    """
    return Row(k, body, at[:-1]).values(at[-1] if at else 0, lanes, results=results, mask=mask)


class Row:
    """A body along one row: the outer indices are fixed here, the innermost one is given later."""

    def __init__(
        self,
        k: KernelBuilder,
        body: Sequence[Value],
        outer: Sequence[IRValue | int],
        stores: Sequence[Store] = (),
        *,
        lazily: bool = False,
    ) -> None:
        """With `lazily`, only `enter` evaluates anything."""
        self.k = k
        self.xp = Emitter(k)
        self.body = body
        self.stores = stores
        # Where each window has the row's first point. Emitted here, ahead of all that will need it.
        self._starts: dict[Window, IRValue] = {}
        for thing in (*body, *stores):
            if isinstance(thing, Load | Store):
                window = thing.window
                terms = zip(outer, window.strides, strict=False)  # the innermost stride is left over
                self._starts[window] = k.affine(window.offset, *terms)
        self._uniform: dict[int, Lanes] = {}
        for n, value in enumerate(() if lazily else body):
            if _is_uniform(value, self._uniform):
                self._uniform[n] = self._evaluate(value, self._uniform, 0, 1)

    def values(
        self,
        inner: IRValue | int,
        lanes: int = 1,
        *,
        results: Sequence[Lanes] = (),
        mask: IRValue | None = None,
        loaded: Mapping[Window, IRValue] | None = None,
    ) -> list[Lanes]:
        """All values of the body at `lanes` points from `inner` on. Where the mask is off, windows are
        not read (those of stride 0 or 1; others must not be masked) and values are arbitrary. Windows
        that were `loaded` already are not loaded again.
        """
        known = dict(self._uniform)
        for n, value in enumerate(self.body):
            if isinstance(value, Result):
                known[n] = results[value.index].astype(value.dtype)
            elif loaded and isinstance(value, Load) and value.window in loaded:
                known[n] = Lanes(self.xp, loaded[value.window], value.dtype)
            elif n not in known:
                known[n] = self._evaluate(value, known, inner, lanes, mask)
        return [known[n] for n in range(len(self.body))]

    def enter(
        self,
        wanted: Iterable[int],
        known: dict[int, Lanes],
        inner: IRValue | int,
        lanes: int,
        results: Mapping[int, Lanes],
    ) -> None:
        """Evaluate these values at `lanes` points from `inner` on, and what they need, as far as that is not
        known yet. All of it is entered into `known`.
        """
        for n in wanted:
            if n in known:
                continue
            value = self.body[n]
            if isinstance(value, Result):
                known[n] = results[value.index].astype(value.dtype)
                continue
            if isinstance(value, Compute):
                self.enter(value.args, known, inner, lanes, results)
            known[n] = self._evaluate(value, known, inner, lanes)

    def store(
        self,
        values: Sequence[Lanes] | Mapping[int, Lanes],
        inner: IRValue | int,
        lanes: int = 1,
        *,
        mask: IRValue | None = None,
    ) -> None:
        """Write the values at `lanes` points from `inner` on (only where the mask is on)."""
        for store in self.stores:
            window = store.window
            dtype = self.k.dtypes[window.operand]
            value = values[store.value].astype(dtype).spread(lanes).value
            if lanes == 1 or inner_stride(window) == 1:
                self.k.store(value, self._pointer(window, inner), dtype, mask, is_rounded=True)
                continue
            if mask is not None:
                raise ValueError("a masked store needs a window of stride 1")
            for n in range(lanes):
                self.k.store(self.k.lane(value, n), self._pointer(window, inner, n), dtype, is_rounded=True)

    def prefetch(self, inner: IRValue | int, lanes: int) -> None:
        """Have the caches fetch what the loads along the row will need at these points."""
        for window in self._starts:
            if inner_stride(window) == 1:
                size = self.k.dtypes[window.operand].itemsize
                self.k.prefetch(self._pointer(window, inner), lanes * size)

    def _evaluate(
        self,
        value: Value,
        known: Mapping[int, Lanes],
        inner: IRValue | int,
        lanes: int,
        mask: IRValue | None = None,
    ) -> Lanes:
        if isinstance(value, Literal):
            return self.xp.literal(value.value, value.dtype)
        if isinstance(value, Load):
            return Lanes(self.xp, self._load(value.window, value.dtype, inner, lanes, mask), value.dtype)
        if isinstance(value, Compute):
            return self.xp.apply(value.primitive, [known[n] for n in value.args], value.dtype, value.params)
        if isinstance(value, Position):
            return Lanes(self.xp, self.k.count_from(inner, value.dtype, lanes), value.dtype)
        raise TypeError(f"not a value of a kernel's body: {value!r}")

    def _load(
        self, window: Window, dtype: DType, inner: IRValue | int, lanes: int, mask: IRValue | None
    ) -> IRValue:
        k = self.k
        stride = inner_stride(window)
        if stride == 0:
            return k.load(self._pointer(window, inner), dtype)
        if stride == 1 or lanes == 1:
            return k.load(self._pointer(window, inner), dtype, lanes, mask)
        if mask is not None:
            raise ValueError("a masked load needs a window of stride 0 or 1")
        return k.vector([k.load(self._pointer(window, inner, n), dtype) for n in range(lanes)])

    def _pointer(self, window: Window, inner: IRValue | int, lane: int = 0) -> IRValue:
        """Where the window has the point that is `lane` after `inner`."""
        stride = inner_stride(window)
        offset = self.k.affine(self._starts[window], (inner, stride), (lane, stride))
        return self.k.at(window.operand, offset)


def inner_stride(window: Window) -> int:
    """The stride of the innermost axis. Along an axis of one point, any stride will do."""
    if not window.shape or window.shape[-1] == 1:
        return 0
    return window.strides[-1]


def _is_uniform(value: Value, uniform: Mapping[int, Lanes]) -> bool:
    """Whether a value is the same all along a row."""
    if isinstance(value, Load):
        return inner_stride(value.window) == 0
    if isinstance(value, Compute):
        return all(n in uniform for n in value.args)
    return isinstance(value, Literal)
