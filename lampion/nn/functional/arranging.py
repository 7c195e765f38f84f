"""Padding, and moving elements between channels and places."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lampion import ops
from lampion.errors import OptionError, ShapeError
from lampion.ops.arranging import pad_to
from lampion.tensor import Tensor


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """The input with more elements before and after it along its last dimensions.

    Args:
        input: any tensor.
        pad: how many before and after: of the last dimension first, then of the one before it, and so on.
            Negative numbers cut elements off.
        mode: what to add: "constant" (`value`), "reflect" (the mirror image, without the edge itself),
            "replicate" (the edge) or "circular" (from the other end).
        value: the constant; 0 by default.

    >>> import lampion
    >>> lampion.nn.functional.pad(lampion.tensor([1, 2, 3]), (1, 2))
    tensor([0, 1, 2, 3, 0, 0])
    """
    if not all(hasattr(n, "__index__") for n in pad):
        raise OptionError("pad", "pad says how many elements are added", expected="integers", got=repr(pad))
    if mode == "circular" and min(pad, default=0) < 0:  # what is cut off does not come back at the other end
        input, pad = pad_to(input, [min(n, 0) for n in pad]), [max(n, 0) for n in pad]
    out: Tensor = pad_to(input, pad, mode, value)
    return out


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels into places: (..., C * r**2, H, W) becomes (..., C, H * r, W * r).

    Source: W. Shi et al.: "Real-time single image and video super-resolution" (CVPR 2016).
    """
    r = upscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-3] % (r * r):
        raise ShapeError("pixel_shuffle", "the channels cannot be spread",
                         expected=f"(..., C * {r}**2, H, W)", got=str(tuple(input.shape)))  # fmt: skip
    *batch, channels, height, width = input.shape
    out = channels // (r * r)
    x = ops.reshape(input, math.prod(batch), out, r, r, height, width)
    return ops.reshape(ops.permute(x, (0, 1, 4, 2, 5, 3)), *batch, out, height * r, width * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Places into channels, the reverse of `pixel_shuffle`."""
    r = downscale_factor
    if input.ndim < 3 or r < 1 or input.shape[-1] % r or input.shape[-2] % r:
        raise ShapeError("pixel_unshuffle", "height and width cannot be divided",
                         expected=f"multiples of {r}", got=str(tuple(input.shape)))  # fmt: skip
    *batch, channels, height, width = input.shape
    x = ops.reshape(input, math.prod(batch), channels, height // r, r, width // r, r)
    x = ops.permute(x, (0, 1, 3, 5, 2, 4))
    return ops.reshape(x, *batch, channels * r * r, height // r, width // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of several groups in turn: those of (N, C, ...) that were (groups, C / groups).

    Source: X. Zhang et al.: "ShuffleNet" (CVPR 2018).
    """
    if input.ndim < 3 or groups < 1 or input.shape[1] % groups:
        raise ShapeError("channel_shuffle", "the channels do not fall into equal groups",
                         expected=f"(N, C, ...) where C is a multiple of {groups}",
                         got=str(tuple(input.shape)))  # fmt: skip
    count, channels = input.shape[:2]
    x = ops.reshape(input, count, groups, channels // groups, math.prod(input.shape[2:]))
    return ops.reshape(ops.permute(x, (0, 2, 1, 3)), input.shape)
