"""An image looked at through a grid of places: turned, scaled, bent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.ops.define import refuse_bools, refuse_complex
from lampion.tensor import Tensor

_MODES = ("bilinear", "nearest", "bicubic")
_OUTSIDE = ("zeros", "border", "reflection")


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The grid for `grid_sample` that turns, scales and shifts an image.

        grid[n, y, x] = theta[n] @ (x, y, 1)

    Args:
        theta: for each image a matrix of 2 rows and 3 columns; of 3 and 4, for volumes.
        size: the shape that the image shall have: (N, C, H, W) or (N, C, D, H, W).
        align_corners: whether -1 and 1 are the centres of the first and last places, instead of their edges.

    Shape:
        (N, 2, 3) to (N, H, W, 2), or (N, 3, 4) to (N, D, H, W, 3).

    Source: M. Jaderberg et al.: "Spatial transformer networks" (NeurIPS 2015).

    >>> import lampion
    >>> turn = lampion.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])
    >>> lampion.nn.functional.affine_grid(turn, (1, 1, 1, 2), align_corners=True)
    tensor([[[[ 0., -1.],
              [ 0.,  1.]]]])
    """
    count = len(size) - 2
    if count not in (2, 3) or theta.ndim != 3 or tuple(theta.shape) != (size[0], count, count + 1):
        raise ShapeError("affine_grid", "theta has a matrix for each image",
                         expected="theta (N, 2, 3) for (N, C, H, W), or (N, 3, 4) for (N, C, D, H, W)",
                         got=f"{tuple(theta.shape)} for {tuple(size)}")  # fmt: skip
    if not theta.dtype.is_floating_point:
        raise DTypeError("affine_grid", "theta has floats", got=str(theta.dtype), fix="theta.float()")
    if min(size) < 1:
        raise ShapeError("affine_grid", "sizes are positive", expected="from 1 on", got=str(tuple(size)))
    sides = []
    for n in size[2:]:
        side = ops.linspace(-1, 1, n, dtype=theta.dtype) if n > 1 else ops.zeros(1, dtype=theta.dtype)
        sides.append(side if align_corners else side * ((n - 1) / n))
    axes = ops.meshgrid(*sides, indexing="ij")
    points = ops.stack([*reversed(axes), ops.ones_like(axes[0])], -1)  # x first
    flat = ops.reshape(points, (-1, count + 1))
    return ops.reshape(flat @ ops.transpose(theta, 1, 2), (size[0], *size[2:], count))


@by_policy
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:  # fmt: skip
    """The input at the places of a grid, interpolated.

    Args:
        input: images, or volumes.
        grid: for each place of the output, where in the input it looks: x, y (and z) from -1, the left or
            upper end, to 1.
        mode: "bilinear" (straight lines; for volumes too), "nearest", or "bicubic" (images only).
        padding_mode: what is outside: "zeros", "border" (the nearest place) or "reflection".
        align_corners: whether -1 and 1 are the centres of the first and last places, instead of their edges.

    Shape:
        input (N, C, H, W), grid (N, H', W', 2) to (N, C, H', W'); and with a third dimension.

    Source: M. Jaderberg et al.: "Spatial transformer networks" (NeurIPS 2015).

    >>> import lampion
    >>> x, middle = lampion.tensor([[[[1.0, 2.0, 3.0, 4.0]]]]), lampion.zeros(1, 1, 1, 2)
    >>> lampion.nn.functional.grid_sample(x, middle)
    tensor([[[[2.5000]]]])
    """
    count = input.ndim - 2
    _check(input, grid, count, mode, padding_mode)
    corners = bool(align_corners)
    places = tuple(input.shape[2:])
    front, where = tuple(input.shape[:2]), tuple(grid.shape[1:-1])
    points = ops.reshape(grid, (grid.shape[0], math.prod(where), count))
    # The grid has x first, the image has it last.
    at = [_unscaled(points[..., count - 1 - axis], n, corners) for axis, n in enumerate(places)]
    if count == 3:
        at = [_known(x, n, padding_mode) for x, n in zip(at, places, strict=True)]
    if mode != "bicubic":
        at = [_folded(x, n, padding_mode, corners) for x, n in zip(at, places, strict=True)]
    if mode == "nearest":
        taps = [[(ops.round(x), None)] for x in at]
    elif mode == "bilinear":
        taps = [_lines(x) for x in at]
    else:
        taps = [_curves(x) for x in at]
        taps = [
            [(_folded(x, n, padding_mode, corners), weight) for x, weight in side]
            for side, n in zip(taps, places, strict=True)
        ]
    flat = ops.reshape(input, (*front, math.prod(places)))
    total: Any = None
    for neighbour in itertools.product(*taps):
        part = _seen(flat, places, neighbour)
        total = part if total is None else total + part
    if mode == "nearest":
        total = total + ops.sum(points[:, :0])  # nothing: its gradient is 0 there, but it has one
    return ops.reshape(total, (*front, *where))


def _check(input: Tensor, grid: Tensor, count: int, mode: str, padding_mode: str) -> None:
    for option, value, known in (("mode", mode, _MODES), ("padding_mode", padding_mode, _OUTSIDE)):
        if value not in known:
            raise OptionError("grid_sample", f"the {option} is not known",
                              expected=", ".join(map(repr, known)), got=repr(value))  # fmt: skip
    fits = count in (2, 3) and grid.ndim == input.ndim and grid.shape[-1] == count
    if not fits or grid.shape[0] != input.shape[0]:
        raise ShapeError("grid_sample", "the grid does not fit the input",
                         expected="(N, C, H, W) and (N, H', W', 2); or five dimensions and (N, ..., 3)",
                         got=f"{tuple(input.shape)} and {tuple(grid.shape)}")  # fmt: skip
    if mode == "bicubic" and count != 2:
        raise OptionError("grid_sample", 'mode="bicubic" is for images', expected="4 dimensions",
                          got=str(input.ndim))  # fmt: skip
    if 0 in input.shape[1:]:
        raise ShapeError("grid_sample", "there is nothing to look at", expected="at least one place",
                         got=str(tuple(input.shape)))  # fmt: skip
    if input.dtype is not grid.dtype or not input.dtype.is_floating_point:
        refuse_bools("grid_sample", input)
        refuse_complex("grid_sample", input)
        raise DTypeError("grid_sample", "input and grid are floats of one type",
                         got=f"{input.dtype} and {grid.dtype}", fix="convert one of them")  # fmt: skip


def _unscaled(x: Tensor, n: int, corners: bool) -> Tensor:
    """From -1 ... 1 to places."""
    return (x + 1) / 2 * (n - 1) if corners else ((x + 1) * n - 1) / 2


def _known(x: Tensor, n: int, padding_mode: str) -> Tensor:
    """Places in volumes, with PyTorch's for those that are infinite or NaN; in images it has no others."""
    if padding_mode == "border":  # which brings what is infinite to an end
        return ops.where(ops.isnan(x), ops.full_like(x, n - 1), x)
    away = -100 if padding_mode == "zeros" else n - 1
    return ops.where(ops.isfinite(x), x, ops.full_like(x, away))


def _folded(x: Tensor, n: int, padding_mode: str, corners: bool) -> Tensor:
    """Places outside of the image as places inside of it."""
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        low, span = (0.0, n - 1.0) if corners else (-0.5, float(n))
        if span == 0:
            return ops.zeros_like(x)
        away = ops.abs(x - low)
        flips = ops.floor(away / span).detach()
        rest = away - flips * span
        x = ops.where(ops.remainder(flips, 2) == 0, rest, span - rest) + low
    inner = ops.where(x < n - 1, x, ops.full_like(x, n - 1))  # no gradient at the edges, as in PyTorch
    return ops.where(x > 0, inner, ops.zeros_like(x))


def _lines(x: Tensor) -> list[tuple[Tensor, Any]]:
    low = ops.floor(x).detach()
    share = x - low
    return [(low, 1 - share), (low + 1, share)]


def _curves(x: Tensor, a: float = -0.75) -> list[tuple[Tensor, Any]]:
    """The four neighbours of cubic convolution, with their weights."""
    first = ops.floor(x).detach()
    t = x - first

    def near(t: Tensor) -> Tensor:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: Tensor) -> Tensor:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    return [(first - 1, far(t + 1)), (first, near(t)), (first + 1, near(1 - t)), (first + 2, far(2 - t))]


def _seen(flat: Tensor, places: Sequence[int], neighbour: Sequence[tuple[Tensor, Any]]) -> Tensor:
    """What lies at one neighbour of each place of the grid, times its weight; 0 if that is outside."""
    inside: Any = None
    number: Any = 0
    weight: Any = None
    for n, (x, share) in zip(places, neighbour, strict=True):
        within = (x >= 0) & (x <= n - 1)
        step = ops.where(within, x.detach(), ops.zeros_like(x)).long()
        number = number * n + step
        inside = within if inside is None else inside & within
        if share is not None:
            weight = share if weight is None else weight * share
    shape = (flat.shape[0], flat.shape[1], number.shape[-1])
    value = ops.gather(flat, -1, ops.broadcast_to(number.unsqueeze(1), shape))
    value = ops.where(inside.unsqueeze(1), value, ops.zeros((), dtype=value.dtype))
    return value if weight is None else value * weight.unsqueeze(1)
