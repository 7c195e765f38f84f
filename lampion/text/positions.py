"""Where a word stands, told to attention, which does not see the order of words by itself.

PyTorch has no such functions, so they are here and not in `nn.functional`. (A table that is learned is an
`nn.Embedding` of the positions.)
"""

from __future__ import annotations

import math

from lampion.errors import LampionError, OptionError, ShapeError
from lampion.ops import arange, cat, exp, index_select, reshape, stack
from lampion.tensor import Tensor


def sinusoidal_positions(length: int, size: int, base: float = 10000.0) -> Tensor:
    r"""A vector for each position, to be added to the vectors of the words.

    .. math:: t_{p, 2i} = \sin(p / base^{2i / size}) \qquad t_{p, 2i + 1} = \cos(p / base^{2i / size})

    Args:
        length: how many positions.
        size: of a vector; an even number.
        base: of the wave lengths, which go from 2 pi to 2 pi base.

    Shape:
        (length, size).

    Raises:
        OptionError: the size is odd, or there are no positions.

    Source: A. Vaswani et al.: "Attention is all you need" (NeurIPS 2017), section 3.5.

    >>> from lampion.text import sinusoidal_positions
    >>> sinusoidal_positions(2, 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    angles = _angles("sinusoidal_positions", length, size, base)
    return reshape(stack([angles.sin(), angles.cos()], -1), length, size)


def rotary_table(length: int, size: int, base: float = 10000.0) -> Tensor:
    """The cosines and sines by which `rotate` turns queries and keys.

    Args:
        length: how many positions.
        size: of a query; an even number.
        base: of the wave lengths, which go from 2 pi to 2 pi base.

    Shape:
        (2, length, size / 2): the cosines, and the sines.

    Raises:
        OptionError: the size is odd, or there are no positions.
    """
    angles = _angles("rotary_table", length, size, base)
    return stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, table: Tensor, at: Tensor | None = None) -> Tensor:
    r"""Queries or keys, turned by angles that grow with their positions.

    With the halves a, b of a vector at position p, and angles t = p / base^(2i / size):

    .. math:: (a \cos t - b \sin t, \; b \cos t + a \sin t)

    The product of a query and a key that are both turned depends on how far they are apart, and not on where
    they are.

    Args:
        x: queries or keys.
        table: `rotary_table`.
        at: the positions, (L,); from 0 on, unless given. With a `KeyValueCache`: its `positions`.

    Shape:
        x and result: (..., L, size).

    Raises:
        LampionError: there are more positions than the table has.
        ShapeError: the table is of another size.

    Source: J. Su et al.: "RoFormer: enhanced transformer with rotary position embedding" (2021).

    >>> import lampion
    >>> from lampion.text import rotary_table, rotate
    >>> rotate(lampion.ones(3, 2), rotary_table(3, 2))
    tensor([[ 1.0000,  1.0000],
            [-0.3012,  1.3818],
            [-1.3254,  0.4932]])
    """
    if x.ndim < 2 or table.ndim != 3 or 2 * table.shape[-1] != x.shape[-1]:
        size = x.shape[-1]
        raise ShapeError("rotate", "the table is of another size",
                         expected=f"(2, length, {size // 2}), from rotary_table(length, {size})",
                         got=f"{tuple(table.shape)} for x of shape {tuple(x.shape)}")  # fmt: skip
    if at is None:
        check_positions("rotate", x.shape[-2], table.shape[1])
        table = table[:, : x.shape[-2]]
    else:
        table = index_select(table, 1, at)
    cos, sin = table[0].to(x.dtype), table[1].to(x.dtype)
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    turned: Tensor = cat([a * cos - b * sin, b * cos + a * sin], -1)
    return turned


def check_positions(operation: str, needed: int, there: int) -> None:
    """Refuse a sequence that is longer than the positions."""
    if needed > there:
        raise LampionError(operation, "the sequence is longer than the positions that there are",
                           expected=f"{there} at most", got=str(needed),
                           fix="cut the sequence, words[:, -length:]; or make more positions")  # fmt: skip


def _angles(operation: str, length: int, size: int, base: float) -> Tensor:
    if length < 1 or size < 2 or size % 2 or base <= 0:
        raise OptionError(operation, "there are no such positions",
                          expected="a length from 1 on, an even size, a positive base",
                          got=f"length {length}, size {size}, base {base}")  # fmt: skip
    speeds = exp(arange(0, size, 2).double() * (-math.log(base) / size))
    angles: Tensor = (arange(length).double()[:, None] * speeds).float()
    return angles
