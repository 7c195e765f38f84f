"""Kernels that differ only in where they begin are one kernel: what they begin with goes into their places.

So a loop that Python unrolled (``for t in range(35): h = cell(x[t], h)``) has the code of one round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from lampion.compiler import kernel_ir as ir

#: Kernels without windows, or whose places are looked up elsewhere than in machine code.
_AS_THEY_ARE = (ir.CallOut, ir.Repeat, ir.Segments, ir.RandomBits)


def based(kernel: Any, places: Sequence[ir.Place]) -> tuple[Any, tuple[ir.Place, ...]]:
    """The kernel with windows that begin at 0, as far as that is possible, and places that make up for it."""
    if isinstance(kernel, _AS_THEY_ARE):
        return kernel, tuple(places)
    least: dict[int, int] = {}
    for window in _windows(kernel):
        low = window.offset + sum(
            min(0, stride * (n - 1)) for n, stride in zip(window.shape, window.strides, strict=True)
        )
        least[window.operand] = min(low, least.get(window.operand, low))
    least = {operand: offset for operand, offset in least.items() if offset > 0}
    if not least:
        return kernel, tuple(places)
    found = list(places)
    for operand, offset in least.items():
        nbytes = offset * kernel.operands[operand].dtype.itemsize
        place = found[operand]
        # Of what is behind a pointer, all counts as used: how far apart its elements lie is not known here.
        left = max(0, place.nbytes - nbytes) if place.arena else place.nbytes
        found[operand] = replace(place, start=place.start + nbytes, nbytes=left)
    return _moved(kernel, least), tuple(found)


def _windows(thing: Any) -> list[ir.Window]:
    if isinstance(thing, ir.Window):
        return [thing]
    if isinstance(thing, tuple):
        return [window for part in thing for window in _windows(part)]
    if is_dataclass(thing) and not isinstance(thing, type):
        return [window for field in fields(thing) for window in _windows(getattr(thing, field.name))]
    return []


def _moved(thing: Any, least: dict[int, int]) -> Any:
    """The same with windows moved towards the beginning of their operands."""
    if isinstance(thing, ir.Window):
        return replace(thing, offset=thing.offset - least.get(thing.operand, 0))
    if isinstance(thing, tuple):
        return tuple(_moved(part, least) for part in thing)
    if is_dataclass(thing) and not isinstance(thing, type) and _windows(thing):
        return replace(thing, **{f.name: _moved(getattr(thing, f.name), least) for f in fields(thing)})
    return thing
