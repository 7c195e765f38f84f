"""Transforms that draw how bright and how colourful an image is."""

from __future__ import annotations

from typing import Any

from lampion import nn
from lampion.vision.transforms import colour
from lampion.vision.transforms.drawing import happens, order_of, probability, uniform
from lampion.vision.transforms.image import channels_of, interval, size_of, span

Range = float | tuple[float, float]


class ColorJitter(nn.Module):
    """Brightness, contrast, saturation and hue of the image changed, in any order.

    Args:
        brightness, contrast, saturation: the least and the largest factor; one number d for 1 - d, but at
            least 0, to 1 + d. By default, they stay.
        hue: the least and the largest part of the circle of hues, from -0.5 to 0.5; one number d for -d to d.

    Shape:
        (..., 1 or 3, H, W) to the same; floats from 0 to 1.

    >>> import lampion
    >>> transform = lampion.vision.transforms.ColorJitter(brightness=0.2, hue=(-0.1, 0.1))
    >>> transform
    ColorJitter(brightness=(0.8, 1.2), contrast=None, saturation=None, hue=(-0.1, 0.1))
    >>> transform(lampion.rand(3, 4, 4)).shape
    (3, 4, 4)
    """

    def __init__(
        self, brightness: Range = 0, contrast: Range = 0, saturation: Range = 0, hue: Range = 0
    ) -> None:
        super().__init__()
        self.brightness = _factors("brightness", brightness)
        self.contrast = _factors("contrast", contrast)
        self.saturation = _factors("saturation", saturation)
        self.hue = _factors("hue", hue, 0.0, -0.5, 0.5)

    def forward(self, image: Any) -> Any:
        size_of("ColorJitter", image)
        kinds = ("brightness", "contrast", "saturation", "hue")
        order = order_of(len(kinds))
        ranges = [getattr(self, kind) for kind in kinds]
        factors = [None if limits is None else uniform(*limits) for limits in ranges]
        for number in order:
            if (factor := factors[number]) is not None:
                image = getattr(colour, f"adjust_{kinds[number]}")(image, factor)
        return image

    def extra_repr(self) -> str:
        return (
            f"brightness={self.brightness}, contrast={self.contrast}, saturation={self.saturation}, "
            f"hue={self.hue}"
        )


def _factors(
    option: str, value: Range, centre: float = 1.0, low: float = 0.0, high: float = float("inf")
) -> tuple[float, float] | None:
    """The range of a factor; None, where nothing changes."""
    least, largest = span("ColorJitter", option, value, centre)
    if not isinstance(value, tuple | list) and low == 0.0:
        least = max(least, 0.0)
    interval("ColorJitter", option, (least, largest), low, high)
    return None if least == largest == centre else (least, largest)


class RandomGrayscale(nn.Module):
    """The image, or one without colours with as many channels.

    Args:
        p: the probability of the latter.

    Shape:
        (..., 1 or 3, H, W) to the same.
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = probability("RandomGrayscale", p)

    def forward(self, image: Any) -> Any:
        count = channels_of("RandomGrayscale", image, 1, 3)
        return colour.rgb_to_grayscale(image, count) if happens(self.p) else image

    def extra_repr(self) -> str:
        return f"p={self.p}"
