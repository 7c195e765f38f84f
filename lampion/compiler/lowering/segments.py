"""Calls that do the same to tensors of different sizes become one: the updates of all parameters, say.

One call instead of fifty is one barrier and fair shares for the threads; and the code is compiled once,
where every shape would need code of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lampion.compiler import kernel_ir as ir

_Key = tuple[bool, int]  # which buffer: of the arena or not, and its number


@dataclass
class _Bundle:
    """Calls of one flat Map that wait for the last of their kind."""

    map: ir.Map
    calls: list[ir.Call] = field(default_factory=list)
    last: int = 0  # the position of the last one
    touched: set[_Key] = field(default_factory=set)
    written: set[_Key] = field(default_factory=set)

    def add(self, position: int, call: ir.Call) -> None:
        self.calls.append(call)
        self.last = position
        touched, written = _touched(call)
        self.touched |= touched
        self.written |= written

    def conflicts(self, call: ir.Call) -> bool:
        """Whether the call must stay behind those that wait here."""
        touched, written = _touched(call)
        return not (self.written.isdisjoint(touched) and self.touched.isdisjoint(written))

    def call(self) -> ir.Call:
        if len(self.calls) == 1:
            return self.calls[0]
        lengths = tuple(math.prod(call.kernel.shape) for call in self.calls)  # type: ignore[union-attr]  # Maps
        places = tuple(place for call in self.calls for place in call.places)
        label = f"{self.calls[0].label} (of {len(self.calls)} tensors)"
        equations = tuple(equation for call in self.calls for equation in call.equations)
        return ir.Call(ir.Segments(self.map, lengths), places, label, equations)


def merged(calls: Sequence[ir.Call]) -> list[ir.Call]:
    """The calls, with those of one flat Map made one where nothing in between depends on their order.

    A call moves down to the last of its kind, past calls that neither read what it writes nor write what
    it touches. One that writes to the arena does not move: what it writes would have to live for longer.
    """
    at: dict[int, ir.Call] = {}  # what stands at a position
    waiting: dict[ir.Map, _Bundle] = {}

    def settle(bundle: _Bundle) -> None:
        del waiting[bundle.map]
        at[bundle.last] = bundle.call()

    for position, call in enumerate(calls):
        for bundle in [bundle for bundle in waiting.values() if bundle.conflicts(call)]:
            settle(bundle)
        flat = flat_map(call)
        if flat is None:
            at[position] = call
        else:
            waiting.setdefault(flat, _Bundle(flat)).add(position, call)
    for bundle in list(waiting.values()):
        settle(bundle)
    return [at[position] for position in sorted(at)]


def flat_map(call: ir.Call) -> ir.Map | None:
    """What the call does to each element, whatever the length; None if it is more than that, or stays put."""
    kernel = call.kernel
    if not isinstance(kernel, ir.Map) or 0 in kernel.shape:
        return None
    if not all(isinstance(value, ir.Load | ir.Literal | ir.Compute) for value in kernel.body):
        return None  # it may depend on where its point is
    windows = [
        thing.window for thing in (*kernel.body, *kernel.stores) if isinstance(thing, ir.Load | ir.Store)
    ]
    strides = {window: _stride(window) for window in windows}
    written = [call.places[store.window.operand] for store in kernel.stores]
    if any(place.start and not place.arena for place in call.places):
        return None  # its pointers would have to be changed first
    if None in strides.values() or any(place.arena for place in written):
        return None

    def flat(window: ir.Window) -> ir.Window:
        return ir.Window(window.operand, (ir.ANY_LENGTH,), (strides[window] or 0,))

    body = tuple(
        replace(value, window=flat(value.window)) if isinstance(value, ir.Load) else value
        for value in kernel.body
    )
    stores = tuple(replace(store, window=flat(store.window)) for store in kernel.stores)
    return ir.Map((ir.ANY_LENGTH,), kernel.operands, body, stores)


def _stride(window: ir.Window) -> int | None:
    """1 for a window that runs along the whole of memory, 0 for one number, None for another one."""
    if window.offset or not any(window.strides):
        return None if window.offset else 0
    expected = 1
    for size, stride in zip(reversed(window.shape), reversed(window.strides), strict=True):
        if size != 1 and stride != expected:
            return None
        expected *= size
    return 1


def _touched(call: ir.Call) -> tuple[set[_Key], set[_Key]]:
    """The buffers that a call reads or writes, and those that it writes."""
    keys = [(place.arena, place.index) for place in call.places]
    written = {key for key, operand in zip(keys, call.kernel.operands, strict=True) if operand.written}
    return set(keys), written
