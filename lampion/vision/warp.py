"""Images turned, shifted, stretched, slanted and bent, each of a batch by numbers of its own."""

from __future__ import annotations

import math

from lampion import nn, ops
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.tensor import Tensor

#: Into how many fields, along each side, the net is divided whose knots are moved to bend an image.
_NET = 3


class RandomWarp(nn.Module):
    r"""Images turned, shifted, stretched, slanted and bent, each of a batch by numbers of its own.

    A layer for the front of a network: while it trains, it sees other images in each epoch; in evaluation,
    the images as they are. What is written at the place p is read at :math:`A p + t + d(p)`, between four
    pixels by their weighted mean: A turns, stretches and slants, t shifts, and d is the displacement of a
    coarse net's knots, drawn from the normal distribution. All of that is tensor operations, so in a
    compiled step whole batches are warped by machine code.

    Args:
        degrees: how far an image is turned at most, either way.
        translate: how far it is shifted at most, as a share of its size, along each axis.
        scale: how much longer or shorter each axis gets at most, as a share.
        shear: how far it is slanted at most: the shift from the middle to the edge, as a share of that way.
        bend: the standard deviation of the knots' displacement, as a share of half the size.
        flip: how probable the mirror image is.

    Shape:
        (N, C, H, W) to the same. Outside of an image there are zeros.

    Source: P. Simard, D. Steinkraus, J. Platt: "Best practices for convolutional neural networks applied to
    visual document analysis" (ICDAR 2003).

    >>> import lampion
    >>> warp = lampion.vision.RandomWarp(degrees=10, translate=0.1)
    >>> images = lampion.rand(8, 1, 28, 28)
    >>> warp(images).shape, warp.eval()(images) is images
    ((8, 1, 28, 28), True)
    """

    def __init__(
        self, degrees: float = 0.0, translate: float = 0.0, scale: float = 0.0, shear: float = 0.0,
        bend: float = 0.0, flip: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        limits = {"degrees": degrees, "translate": translate, "scale": scale, "shear": shear, "bend": bend}
        for name, limit in limits.items():
            if not 0 <= limit < math.inf:
                raise OptionError("RandomWarp", f"{name} says how much at most", expected="0 or more",
                                  got=str(limit))  # fmt: skip
        if scale >= 1:
            raise OptionError("RandomWarp", "an image of no size cannot be read", expected="scale below 1",
                              got=str(scale))  # fmt: skip
        if not 0 <= flip <= 1:
            raise OptionError("RandomWarp", "flip is a probability", expected="from 0 to 1", got=str(flip))
        self.degrees, self.translate, self.scale = degrees, translate, scale
        self.shear, self.bend, self.flip = shear, bend, flip

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim != 4:
            raise ShapeError("RandomWarp", "the input is not a batch of images", expected="(N, C, H, W)",
                             got=str(tuple(input.shape)), fix="unsqueeze(0) for a single image")  # fmt: skip
        if not input.dtype.is_floating_point:
            raise DTypeError("RandomWarp", "expected floats", got=str(input.dtype),
                             fix="image.float() / 255")  # fmt: skip
        if not self.training or not len(input):
            return input
        count, height, width = input.shape[0], input.shape[2], input.shape[3]
        places = F.affine_grid(
            self._matrices(count, height / width), [count, 1, height, width], align_corners=False
        )
        if self.bend:
            knots = ops.randn(count, 2, _NET + 1, _NET + 1) * self.bend
            moved = F.interpolate(knots, (height, width), mode="bilinear", align_corners=True)
            places = places + ops.permute(moved, (0, 2, 3, 1))
        return F.grid_sample(input, places.to(input.dtype), align_corners=False)

    def _matrices(self, count: int, form: float) -> Tensor:
        """(count, 2, 3): A and t of each image. The middle is 0, the edges are at -1 and 1.

        Args:
            form: the images' height in widths: a turn is one of pixels, not of shares of the size.
        """
        turn = _drawn(count, math.radians(self.degrees))
        cos, sin, slant = ops.cos(turn), ops.sin(turn), _drawn(count, self.shear)
        wide, high = (1 + _drawn(count, self.scale) for _ in range(2))
        right, down = (_drawn(count, 2 * self.translate) for _ in range(2))
        if self.flip:
            wide = wide * ops.where(ops.rand(count) < self.flip, -1.0, 1.0)
        rows = [[wide * cos, slant - high * sin * form, right], [wide * sin / form, high * cos, down]]
        return ops.stack([ops.stack(row, 1) for row in rows], 1)

    def extra_repr(self) -> str:
        return (
            f"degrees={self.degrees}, translate={self.translate}, scale={self.scale}, shear={self.shear}, "
            f"bend={self.bend}, flip={self.flip}"
        )


def _drawn(count: int, limit: float) -> Tensor:
    """A number for each image, between -limit and limit."""
    return (2 * ops.rand(count) - 1) * limit
