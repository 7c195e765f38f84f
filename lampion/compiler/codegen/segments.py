"""Emits `Segments`: one flat Map over several tensors, with the code emitted once.

    i64 name(ptr listing, ptr table, ptr arena, i64 lo, i64 hi)

The lengths and the places of the tensors are not in the code but in a constant listing, so that all calls
that do the same share one function. The segments lie end to end, each from a multiple of `_ALIGN` elements
on, and a chunk is `unit` elements of all that: chunks are equally large, however small some tensors are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ir

from lampion.compiler.codegen.body import Row
from lampion.compiler.codegen.builder import I64, POINTER, IRValue, KernelBuilder
from lampion.compiler.codegen.nest import chunk_count, vector_dtype
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Operand, Place, Segments
from lampion.dtype import int64

_ALIGN = 64  # elements: whole vectors of any processor
_HEADER = 2  # words ahead of the segments: how many there are, and the elements of a chunk
_FIXED = 2  # words of a segment ahead of its operands: where it starts, and its length


def chunks(kernel: Segments, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return -(-_total(kernel) // _unit(kernel))


def _padded(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN


def _total(kernel: Segments) -> int:
    return sum(map(_padded, kernel.lengths))


def _unit(kernel: Segments) -> int:
    """The elements of a chunk."""
    total = _total(kernel)
    return _padded(-(-total // chunk_count(total, kernel.map.body, max(1, total // _ALIGN)))) or _ALIGN


def listing(module: ir.Module, name: str, kernel: Segments, places: Sequence[Place]) -> ir.GlobalVariable:
    """The constant that tells the code of one call about its segments.

    A place in the arena is its offset, and an external pointer the complement of its number.
    """
    if name in module.globals:
        return module.globals[name]
    words, start, count = [len(kernel.lengths), _unit(kernel)], 0, len(kernel.map.operands)
    for number, length in enumerate(kernel.lengths):
        words += [start, length]
        words += [p.index if p.arena else ~p.index for p in places[number * count : (number + 1) * count]]
        start += _padded(length)
    constant = ir.GlobalVariable(module, ir.ArrayType(I64, len(words)), name)
    constant.linkage, constant.global_constant = "internal", True
    constant.initializer = ir.Constant(constant.value_type, words)
    return constant


def emit(module: Any, name: str, kernel: Segments, target: Target) -> None:
    """Add the function that all kernels with this `map` share."""
    k = KernelBuilder(module, name, (Operand(int64),) * 3, target)
    words, table, arena = k.operands
    k.dtypes = [operand.dtype for operand in kernel.map.operands]

    def word(number: IRValue | int) -> IRValue:
        return k.load(k.address(words, int64, number), int64)

    unit = word(1)
    lo, hi = (k.ir.mul(chunk, unit) for chunk in (k.lo, k.hi))
    with k.loop(0, word(0)) as segments:
        at = k.affine(_HEADER, (segments.index, _FIXED + len(k.dtypes)))
        start, length = word(at), word(k.affine(1, (at, 1)))
        first = k.larger(k.ir.sub(lo, start), 0)
        last = k.smaller(k.ir.sub(hi, start), length)
        with k.ir.if_then(k.ir.icmp_signed("<", first, last)):
            k.operands = [
                _pointer(k, word(k.affine(_FIXED + n, (at, 1))), table, arena) for n in range(len(k.dtypes))
            ]
            _emit_range(k, kernel, first, last)
    k.finish()


def _pointer(k: KernelBuilder, place: IRValue, table: IRValue, arena: IRValue) -> IRValue:
    """Where an operand is, from its place in the listing."""
    # What is read for an arena's place is thrown away: any word of the table will do.
    outside = k.ir.icmp_signed("<", place, k.i64(0))
    number = k.ir.select(outside, k.ir.not_(place), k.i64(0))
    external = k.ir.load(k.address(table, int64, number), typ=POINTER, align=8)
    inside = k.ir.gep(arena, [place], source_etype=ir.IntType(8))
    return k.ir.select(outside, external, inside)


def _emit_range(k: KernelBuilder, kernel: Segments, first: IRValue, last: IRValue) -> None:
    body, stores = kernel.map.body, kernel.map.stores
    dtypes = [value.dtype for value in body] + [k.dtypes[store.window.operand] for store in stores]
    lanes = k.target.lanes(vector_dtype(dtypes))
    row = Row(k, body, (), stores)

    def points(start: IRValue, stop: IRValue, lanes: int) -> None:
        with k.loop(start, stop, lanes) as loop:
            row.store(row.values(loop.index, lanes), loop.index, lanes)

    whole = k.affine(0, (first, 1), (k.ir.and_(k.ir.sub(last, first), k.i64(-lanes)), 1))
    points(first, whole, lanes)
    points(whole, last, 1)
