"""Emits `Sort`: the indices that put rows in order.

Elements become keys first: unsigned integers in the same order, the same for elements that count as equal. So
one code sorts all types, and NaNs and signed zeros are nothing special. Which method follows from the shape:

  short rows   each element's rank is how many come before it: a few comparisons of vectors;
  few wanted   the leading elements so far, in order; most elements are not among them;
  long rows    radix sort: distribute by one byte of the keys after the other, the lowest first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ir

from lampion.compiler.codegen.builder import I64, IRValue, KernelBuilder
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Sort
from lampion.dtype import DType, int32, int64, uint32, uint64

_LEAVES = 256  # values of a byte


def chunks(kernel: Sort, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return kernel.chunks


def emit(module: Any, name: str, kernel: Sort, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if math.prod(kernel.out.shape) > 0:
        {"rank": _Ranks, "select": _Selection, "radix": _Radix}[kernel.method](k, kernel).emit()
    k.finish()


class _Sorter:
    """The walk over the rows; what is done with one is `sort`."""

    def __init__(self, k: KernelBuilder, kernel: Sort) -> None:
        self.k, self.kernel = k, kernel
        self.dtype = k.dtypes[kernel.source.operand]
        self.key = uint64 if self.dtype.itemsize == 8 else uint32
        self.length, self.count = kernel.source.shape[kernel.axis], kernel.out.shape[kernel.axis]

    def emit(self) -> None:
        k, kernel = self.k, self.kernel
        self.prepare()
        others = [axis for axis in range(len(kernel.source.shape)) if axis != kernel.axis]
        shape = [kernel.source.shape[axis] for axis in others]
        with k.loop(k.lo, k.hi) as chunk:
            following = k.affine(1, (chunk.index, 1))
            first, last = (k.share(c, kernel.chunks, math.prod(shape)) for c in (chunk.index, following))
            with k.loop(first, last) as rows:
                at = k.unravel(rows.index, shape)
                self.from_, self.to = (
                    k.affine(window.offset, *zip(at, (window.strides[axis] for axis in others), strict=True))
                    for window in (kernel.source, kernel.out)
                )
                self.sort(chunk.index)

    def prepare(self) -> None:
        """Take memory on the stack, ahead of all loops."""

    def sort(self, chunk: IRValue) -> None:
        """Sort one row."""
        raise NotImplementedError

    def element(self, i: IRValue) -> IRValue:
        """The key of an element of the row."""
        k, source = self.k, self.kernel.source
        at = k.at(source.operand, k.affine(self.from_, (i, source.strides[self.kernel.axis])))
        key = _key(k, k.load(at, self.dtype), self.dtype, self.key)
        return k.ir.not_(key) if self.kernel.descending else key

    def found(self, place: IRValue, i: IRValue) -> None:
        """Say which element comes at a place in the order."""
        k, out = self.k, self.kernel.out
        k.store(i, k.at(out.operand, k.affine(self.to, (place, out.strides[self.kernel.axis]))), int64)


def _key(k: KernelBuilder, value: IRValue, dtype: DType, key: DType) -> IRValue:
    """The unsigned integer that stands for a value."""
    bits = 8 * key.itemsize
    typ = ir.IntType(bits)
    if dtype.kind in "bu":
        return value if value.type == typ else k.ir.zext(value, typ)
    top = ir.Constant(typ, 1 << (bits - 1))
    if dtype.kind == "i":
        return k.ir.xor(value if value.type == typ else k.ir.sext(value, typ), top)
    zero = ir.Constant(value.type, 0.0)
    raw = k.ir.bitcast(k.ir.fadd(value, zero), typ)  # -0.0 is 0.0 now
    flip = k.ir.or_(k.ir.ashr(raw, ir.Constant(typ, bits - 1)), top)  # all bits of a negative number
    return k.ir.select(k.ir.fcmp_unordered("uno", value, zero), ir.Constant(typ, -1), k.ir.xor(raw, flip))


class _Ranks(_Sorter):
    """The place of an element is the number of those that come before it."""

    def prepare(self) -> None:
        k = self.k
        self.lanes = k.target.lanes(self.key)
        self.padded = -(-self.length // self.lanes) * self.lanes
        self.keys, self.ranks = k.room(self.key, self.padded), k.room(self.key, self.padded)
        with k.loop(self.length, self.padded) as loop:  # what no element comes behind is behind them all
            k.store(k.constant(self.key, -1), k.address(self.keys, self.key, loop.index), self.key)

    def sort(self, chunk: IRValue) -> None:
        k, key, lanes = self.k, self.key, self.lanes
        typ = ir.IntType(8 * key.itemsize)
        with k.loop(0, self.length) as loop:
            k.store(self.element(loop.index), k.address(self.keys, key, loop.index), key)
        steps = k.vector([ir.Constant(typ, n) for n in range(lanes)]) if lanes > 1 else ir.Constant(typ, 0)

        def number(i: IRValue) -> IRValue:
            return i if typ == I64 else k.ir.trunc(i, typ)

        with k.loop(0, self.padded, lanes) as block:
            mine = k.load(k.address(self.keys, key, block.index), key, lanes)
            places = k.ir.add(k.splat(number(block.index), lanes), steps)
            none = k.constant(key, 0, lanes)
            with k.loop(0, self.length, carried=[none]) as others:
                other = k.splat(k.load(k.address(self.keys, key, others.index), key), lanes)
                earlier = k.ir.icmp_unsigned("<", k.splat(number(others.index), lanes), places)
                equal = k.ir.and_(k.ir.icmp_unsigned("==", other, mine), earlier)
                before = k.ir.or_(k.ir.icmp_unsigned("<", other, mine), equal)
                others.carry(k.ir.add(others.values[0], k.ir.zext(before, none.type)))
            k.store(others.results[0], k.address(self.ranks, key, block.index), key)
        with k.loop(0, self.length) as loop:
            rank = k.load(k.address(self.ranks, key, loop.index), key)
            rank = rank if typ == I64 else k.ir.zext(rank, I64)
            with k.ir.if_then(k.ir.icmp_unsigned("<", rank, k.i64(self.count))):
                self.found(rank, loop.index)


class _Selection(_Sorter):
    """Keep the leading elements so far. A slot without one has no index yet, and is behind all."""

    def prepare(self) -> None:
        self.keys, self.indices = self.k.room(self.key, self.count), self.k.room(int64, self.count)

    def _slot(self, n: IRValue | int) -> tuple[IRValue, IRValue]:
        return self.k.address(self.keys, self.key, n), self.k.address(self.indices, int64, n)

    def _comes_before(self, key: IRValue, n: IRValue | int) -> IRValue:
        k = self.k
        theirs, index = self._slot(n)
        empty = k.ir.icmp_signed("<", k.load(index, int64), k.i64(0))
        return k.ir.or_(empty, k.ir.icmp_unsigned("<", key, k.load(theirs, self.key)))

    def _put(self, key: IRValue, i: IRValue, n: IRValue | int) -> None:
        at, index = self._slot(n)
        self.k.store(key, at, self.key)
        self.k.store(i, index, int64)

    def sort(self, chunk: IRValue) -> None:
        k, last = self.k, self.count - 1
        with k.loop(0, self.count) as loop:
            k.store(k.i64(-1), self._slot(loop.index)[1], int64)
        with k.loop(0, self.length) as loop:
            key = self.element(loop.index)
            with k.ir.if_then(self._comes_before(key, last), likely=False):
                self._insert(key, loop.index)
        with k.loop(0, self.count) as loop:
            self.found(loop.index, k.load(self._slot(loop.index)[1], int64))

    def _insert(self, key: IRValue, i: IRValue) -> None:
        """Move those that come behind it on by one; it takes the place of the first of them."""
        k = self.k
        with k.loop(0, self.count - 1) as loop:
            n = k.affine(self.count - 1, (loop.index, -1))
            before = k.affine(-1, (n, 1))
            with k.ir.if_else(self._comes_before(key, before)) as (moves, stays):
                with moves:
                    theirs, index = self._slot(before)
                    self._put(k.load(theirs, self.key), k.load(index, int64), n)
                with stays, k.ir.if_then(self._comes_before(key, n)):
                    self._put(key, i, n)
        with k.ir.if_then(self._comes_before(key, 0)):
            self._put(key, i, 0)


class _Radix(_Sorter):
    """Distribute by bytes, from the lowest on. Each pass keeps the order of those with equal bytes."""

    def prepare(self) -> None:
        self.passes = self.key.itemsize
        # How many there are of each byte of each pass; then where they go. One more says where the last ends.
        self.row = _LEAVES + 1
        self.starts = self.k.room(int64, self.passes * self.row)

    def sort(self, chunk: IRValue) -> None:
        k, kernel = self.k, self.kernel
        scratch = k.affine(0, (chunk, kernel.scratch_bytes))
        base = k.ir.gep(k.operands[2], [scratch], source_etype=ir.IntType(8))
        arrays, offset = [], 0
        for dtype in (self.key, int32, self.key, int32):  # keys and indices, from where and to where
            arrays.append(k.ir.gep(base, [k.i64(offset)], source_etype=ir.IntType(8)))
            offset += dtype.itemsize * self.length
        self._count(arrays[0], arrays[1])
        with k.loop(0, self.passes, carried=arrays) as loop:
            loop.carry(*self._pass(loop.index, *loop.values))
        indices = loop.results[1]
        with k.loop(0, self.count) as loop:
            index = k.load(k.address(indices, int32, loop.index), int32)
            self.found(loop.index, k.ir.sext(index, I64))

    def _count(self, keys: IRValue, indices: IRValue) -> None:
        """Write out keys and indices, and find where each byte's elements go."""
        k = self.k
        with k.loop(0, self.passes * self.row) as loop:
            k.store(k.i64(0), k.address(self.starts, int64, loop.index), int64)
        with k.loop(0, self.length) as loop:
            key = self.element(loop.index)
            k.store(key, k.address(keys, self.key, loop.index), self.key)
            k.store(k.ir.trunc(loop.index, ir.IntType(32)), k.address(indices, int32, loop.index), int32)
            for number in range(self.passes):
                at = self._start(k.i64(number), self._byte(key, k.i64(number)))
                k.store(k.affine(1, (k.load(at, int64), 1)), at, int64)
        with k.loop(0, self.passes) as numbers, k.loop(0, self.row, carried=[k.i64(0)]) as loop:
            at = self._start(numbers.index, loop.index)
            count = k.load(at, int64)
            k.store(loop.values[0], at, int64)
            loop.carry(k.ir.add(loop.values[0], count))

    def _byte(self, key: IRValue, number: IRValue) -> IRValue:
        k = self.k
        wide = key if key.type == I64 else k.ir.zext(key, I64)
        return k.ir.and_(k.ir.lshr(wide, k.affine(0, (number, 8))), k.i64(_LEAVES - 1))

    def _start(self, number: IRValue, byte: IRValue) -> IRValue:
        return self.k.address(self.starts, int64, self.k.affine(0, (number, self.row), (byte, 1)))

    def _pass(
        self, number: IRValue, keys: IRValue, indices: IRValue, new_keys: IRValue, new_indices: IRValue
    ) -> Sequence[IRValue]:
        k = self.k
        byte = self._byte(k.load(keys, self.key), number)
        pair = (self._start(number, k.affine(n, (byte, 1))) for n in (0, 1))
        start, end = (k.load(at, int64) for at in pair)
        differ = k.ir.icmp_signed(
            "<", k.ir.sub(end, start), k.i64(self.length)
        )  # else there is nothing to do
        with k.ir.if_then(differ), k.loop(0, self.length) as loop:
            key = k.load(k.address(keys, self.key, loop.index), self.key)
            at = self._start(number, self._byte(key, number))
            to = k.load(at, int64)
            k.store(k.affine(1, (to, 1)), at, int64)
            k.store(key, k.address(new_keys, self.key, to), self.key)
            k.store(
                k.load(k.address(indices, int32, loop.index), int32), k.address(new_indices, int32, to), int32
            )
        pairs = zip(
            (new_keys, new_indices, keys, indices), (keys, indices, new_keys, new_indices), strict=True
        )
        return [k.ir.select(differ, new, old) for new, old in pairs]
