"""Weights of a loop, laid out once in the order in which its products read them.

A product reads its right-hand matrix some columns at a time. Where rows are long, each row of such a panel
is on another page of memory, or is packed first: in a loop, in each round. So a large matrix that is the same
in all rounds becomes panels before the loop, row after row of `columns(...)` columns, and nothing in between.
The product becomes one of a batch, the same rows times each panel; columns that are left over become another
product. What is added to what, and in which order, stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lampion.compiler import kernel_ir as ir
from lampion.compiler.codegen import dot
from lampion.compiler.codegen.blocking import BLOCK, WIDE_ROWS, Blocking, outer_windows, with_windows
from lampion.compiler.graph import Value
from lampion.compiler.schedule import Layout
from lampion.compiler.strides import contiguous_strides

if TYPE_CHECKING:
    from lampion.compiler.lowering.plan import Lowering
    from lampion.dtype import DType

_LEAST = 512 << 10  # bytes of a matrix that is worth it: smaller ones stay in a cache, wherever rows are
_ROUNDS = 8  # of a loop that is worth it


@dataclass(frozen=True)
class Panels:
    """A product, cut up: by whole panels, and what is left.

    Attributes:
        kernels: the products. Where they read the matrix, it lies in panels.
        pieces: windows onto the matrix as it was, one for each of the products.
    """

    kernels: tuple[ir.Matmul, ...]
    pieces: tuple[ir.Window, ...]

    @property
    def matrix(self) -> int:
        """The number of the operand that is laid out anew."""
        return self.kernels[0].b.operand

    @property
    def dtype(self) -> DType:
        return self.kernels[0].dtype


def columns(dtype: DType) -> int:
    """How many columns a panel has: as many as the product divides them by."""
    return BLOCK // dtype.itemsize


def in_panels(kernel: ir.Kernel, length: int) -> Panels | None:
    """The product with its right-hand matrix in panels, for a loop of that many rounds; None if it is better,
    or easier, to leave it as it is.
    """
    if not isinstance(kernel, ir.Matmul) or kernel.dtype.kind != "f" or length < _ROUNDS:
        return None
    types = {kernel.operands[window.operand].dtype for window in (kernel.a, kernel.b)}
    if types != {kernel.dtype} or kernel.dtype.itemsize < 4 or math.prod(kernel.shape) == 0:
        return None
    kernel = Blocking(kernel).kernel  # or its transpose
    if len(kernel.a.shape) != 2 or kernel.a.shape[0] <= WIDE_ROWS or dot.suits(kernel):
        return None
    windows = [kernel.a, kernel.b, *outer_windows(kernel)]
    users = sum(window.operand == kernel.b.operand for window in windows)
    if (
        users != 1
        or any(len(window.shape) != 2 for window in windows)
        or kernel.b.size * kernel.dtype.itemsize < _LEAST
    ):
        return None
    return _cut(kernel)


def _cut(kernel: ir.Matmul) -> Panels:
    (depth, n), width = kernel.b.shape, columns(kernel.dtype)
    count, rest = divmod(n, width)
    kernels: list[ir.Matmul] = []
    pieces: list[ir.Window] = []

    def add(count: int, width: int, first: int) -> None:
        """The product with `count` panels, from that column on."""

        def part(window: ir.Window) -> ir.Window:
            rows, along = window.strides
            return replace(
                window, shape=(count, window.shape[0], width), strides=(width * along, rows, along),
                offset=window.offset + first * along,
            )  # fmt: skip

        a = replace(kernel.a, shape=(count, *kernel.a.shape), strides=(0, *kernel.a.strides))
        packed = replace(
            kernel.b, shape=(count, depth, width), strides=(depth * width, width, 1), offset=first * depth
        )
        kernels.append(with_windows(kernel, part, a, packed))
        pieces.append(part(kernel.b))

    if count:
        add(count, width, 0)
    if rest:
        add(1, rest, count * width)
    return Panels(tuple(kernels), tuple(pieces))


def lay_out(lowering: Lowering, panels: Panels, pieces: Sequence[Layout]) -> Layout:
    """Write a matrix in panels, before the loop: where it is then. `pieces` says where each piece is now."""
    packed = Value(-1, (sum(piece.size for piece in panels.pieces),), panels.dtype)
    for kernel, piece in zip(panels.kernels, pieces, strict=True):
        part = Value(-1, piece.shape, panels.dtype)
        lowering.layouts[part] = piece
        to = Layout(packed, piece.shape, contiguous_strides(piece.shape, 1), kernel.b.offset)
        lowering.copy(part, to, "scan: panels")
    return Layout(packed, packed.shape, (1,))
