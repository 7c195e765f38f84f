"""Emits `RandomBits`: Philox4x32-10, a block a lane.

A block's four words are the state: c0 and c1 the two halves of the counter, c2 = c3 = 0. The words are held
in 64-bit lanes, since a round multiplies two of them to 64 bits; what is in the upper halves does not matter.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ir

from lampion.compiler.codegen.builder import I32, I64, POINTER, IRValue, KernelBuilder
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import RandomBits
from lampion.dtype import uint32, uint64

_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85  # what is added to the two halves of the key after each round
_ROUNDS = 10
_CHUNK = 4096  # elements


def chunks(kernel: RandomBits, target: Target | None = None) -> int:
    """The number of chunks, which no processor changes."""
    return -(-kernel.size // _CHUNK)


def emit(module: Any, name: str, kernel: RandomBits, target: Target) -> None:
    """Add the kernel's function to the module."""
    k = KernelBuilder(module, name, kernel.operands, target)
    if kernel.size:
        _emit(k, kernel)
    k.finish()


def _emit(k: KernelBuilder, kernel: RandomBits) -> None:
    blocks = max(2, k.target.lanes(uint64))
    step = 4 * blocks
    seed = k.load(k.at(0, 0), uint64)
    offset = k.ir.add(k.load(k.at(0, 1), uint64), k.constant(uint64, kernel.delta))
    keys = [k.splat(half, blocks) for half in (seed, k.ir.lshr(seed, k.i64(32)))]
    numbers = k.ir.add(k.splat(offset, blocks), ir.Constant(ir.VectorType(I64, blocks), list(range(blocks))))

    def words(first: IRValue) -> IRValue:
        """The elements of `blocks` blocks, of which the first has element `first`."""
        block = k.ir.lshr(first, k.i64(2))
        counter = k.ir.add(numbers, k.splat(block, blocks))
        return _interleaved(k, philox(k, counter, keys), blocks)

    start = k.affine(0, (k.lo, _CHUNK))
    stop = k.smaller(k.affine(0, (k.hi, _CHUNK)), kernel.size)
    whole = k.affine(0, (k.ir.udiv(stop, k.i64(step)), step))
    with k.loop(start, whole, step) as loop:
        k.store(words(loop.index), k.at(1, loop.index), uint32)
    if kernel.size % step == 0:
        return
    with k.ir.if_then(k.ir.icmp_signed("<", whole, stop)):
        spare = k.ir.alloca(ir.ArrayType(I32, step))
        spare.type = POINTER  # llvmlite would keep the type of what it points to
        k.store(words(whole), spare, uint32)
        with k.loop(whole, stop) as loop:
            place = k.address(spare, uint32, k.affine(0, (loop.index, 1), (whole, -1)))
            k.store(k.load(place, uint32), k.at(1, loop.index), uint32)


def philox(k: KernelBuilder, counter: IRValue, keys: list[IRValue]) -> list[IRValue]:
    """The four words of each block, in the lower halves of 64-bit lanes."""
    b, lanes = k.ir, counter.type.count
    low, half = k.constant(uint64, 0xFFFFFFFF, lanes), k.constant(uint64, 32, lanes)
    c0, c1 = counter, b.lshr(counter, half)
    c2 = c3 = k.constant(uint64, 0, lanes)
    k0, k1 = keys
    for _ in range(_ROUNDS):
        p0, p1 = (
            b.mul(b.and_(word, low), k.constant(uint64, multiplier, lanes))
            for word, multiplier in zip((c0, c2), _MULTIPLIERS, strict=True)
        )
        c0, c1 = b.xor(b.xor(b.lshr(p1, half), c1), k0), p1
        c2, c3 = b.xor(b.xor(b.lshr(p0, half), c3), k1), p0
        k0, k1 = (b.add(key, k.constant(uint64, w, lanes)) for key, w in zip((k0, k1), _WEYL, strict=True))
    return [c0, c1, c2, c3]


def _interleaved(k: KernelBuilder, words: list[IRValue], lanes: int) -> IRValue:
    """Block after block, each as its four words of 32 bits."""
    narrow = [k.ir.trunc(word, ir.VectorType(I32, lanes)) for word in words]
    first, last = (k.shuffle(x, y, range(2 * lanes)) for x, y in (narrow[:2], narrow[2:]))
    return k.shuffle(first, last, [word * lanes + block for block in range(lanes) for word in range(4)])
