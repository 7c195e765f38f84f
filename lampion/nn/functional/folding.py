"""Images as columns of patches (im2col), and back (col2im)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lampion import ops
from lampion.construct import tensor
from lampion.errors import ShapeError
from lampion.nn.functional.arranging import pad
from lampion.nn.functional.convolution import Sizes, sizes_of
from lampion.ops.define import refuse_bools
from lampion.tensor import Tensor


class _Patches:
    """Where the patches of an image lie."""

    def __init__(
        self, name: str, kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes,
        places: Sequence[int],
    ) -> None:  # fmt: skip
        self.taps = sizes_of(name, "kernel_size", kernel_size, 2, 1)
        self.dilation = sizes_of(name, "dilation", dilation, 2, 1)
        self.around = sizes_of(name, "padding", padding, 2, 0)
        self.stride = sizes_of(name, "stride", stride, 2, 1)
        self.reach = tuple(d * (n - 1) + 1 for d, n in zip(self.dilation, self.taps, strict=True))
        self.padded = tuple(n + 2 * p for n, p in zip(places, self.around, strict=True))
        if any(n < reach for n, reach in zip(self.padded, self.reach, strict=True)):
            raise ShapeError(name, "a patch is larger than the padded image",
                             expected=f"at least {self.reach}", got=str(self.padded),
                             fix="pad more, or use smaller patches")  # fmt: skip
        sides = zip(self.padded, self.reach, self.stride, strict=True)
        self.counts = tuple((n - reach) // s + 1 for n, reach, s in sides)


def unfold(
    input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Tensor:
    """The patches of an image as columns: what turns a convolution into a matrix product ("im2col").

    Args:
        kernel_size: of a patch.
        dilation: how far apart the places of a patch are.
        padding: how many zeros are looked at around the image.
        stride: how far a patch is from the next.

    Shape:
        (N, C, H, W) or (C, H, W) to (N, C * R * S, patches) or (C * R * S, patches).

    Source: Deep Learning from Scratch 1, section 7.4.

    >>> import lampion
    >>> lampion.nn.functional.unfold(lampion.arange(6.0).view(1, 2, 3), (2, 2))
    tensor([[0., 1.],
            [1., 2.],
            [3., 4.],
            [4., 5.]])
    """
    if input.ndim not in (3, 4):
        raise ShapeError("unfold", "the input has another number of dimensions",
                         expected="(N, C, H, W) or (C, H, W)", got=str(tuple(input.shape)))  # fmt: skip
    where = _Patches("unfold", kernel_size, dilation, padding, stride, input.shape[-2:])
    (top, left), (down, right) = where.around, where.dilation
    x = pad(input, (left, left, top, top)) if top or left else input
    x = x.unfold(-2, where.reach[0], where.stride[0])[..., ::down]  # (..., rows, W, R)
    x = x.unfold(-2, where.reach[1], where.stride[1])[..., ::right]  # (..., rows, columns, R, S)
    x = ops.permute(x, (*range(x.ndim - 4), -2, -1, -4, -3))
    rows = input.shape[-3] * math.prod(where.taps)
    return ops.reshape(x, (*input.shape[:-3], rows, math.prod(where.counts)))


def fold(
    input: Tensor, output_size: Any, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:  # fmt: skip
    """Columns of patches added up into an image ("col2im"): the gradient of `unfold`.

    Where patches overlap, they are added; so fold(unfold(x)) is x times how many patches a place is in.

    Args:
        output_size: H and W of the image.
        kernel_size, dilation, padding, stride: as in `unfold`.

    Shape:
        (N, C * R * S, patches) or (C * R * S, patches) to (N, C, H, W) or (C, H, W).

    Source: Deep Learning from Scratch 1, section 7.4.

    >>> import lampion
    >>> lampion.nn.functional.fold(lampion.ones(4, 2), (2, 3), (2, 2))
    tensor([[[1., 2., 1.],
             [1., 2., 1.]]])
    """
    refuse_bools("fold", input)
    size = sizes_of("fold", "output_size", output_size, 2, 1)
    where = _Patches("fold", kernel_size, dilation, padding, stride, size)
    taps, patches = math.prod(where.taps), math.prod(where.counts)
    if input.ndim not in (2, 3) or input.shape[-2] % taps or input.shape[-1] != patches:
        raise ShapeError("fold", "the columns do not fit the image",
                         expected=f"(N, C * {taps}, {patches}), or without N",
                         got=str(tuple(input.shape)))  # fmt: skip
    front = (*input.shape[:-2], input.shape[-2] // taps)
    height, width = where.padded
    sides = zip(where.taps, where.dilation, where.counts, where.stride, strict=True)
    rows, columns = ([[t * d + i * s for i in range(n)] for t in range(k)] for k, d, n, s in sides)
    places = [i * width + j for row in rows for column in columns for i in row for j in column]
    room = ops.zeros(*front, height * width, dtype=input.dtype)
    flat = ops.index_add(room, -1, tensor(places), ops.reshape(input, (*front, taps * patches)))
    image = ops.reshape(flat, (*front, height, width))
    top, left = where.around
    return image[..., top : height - top, left : width - left]
