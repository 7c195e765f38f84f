"""What the transforms do, as functions, by torchvision's names: nothing is drawn here."""

from lampion.vision.transforms.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    invert,
    rgb_to_grayscale,
    to_grayscale,
)  # fmt: skip
from lampion.vision.transforms.conversion import (
    convert_image_dtype,
    normalize,
    pil_to_tensor,
    to_pil_image,
    to_tensor,
)  # fmt: skip
from lampion.vision.transforms.geometry import (
    affine,
    center_crop,
    crop,
    erase,
    hflip,
    pad,
    resize,
    resized_crop,
    rotate,
    vflip,
)  # fmt: skip

__all__ = [
    "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation", "affine",
    "center_crop", "convert_image_dtype", "crop", "erase", "hflip", "invert", "normalize", "pad",
    "pil_to_tensor", "resize", "resized_crop", "rgb_to_grayscale", "rotate", "to_grayscale", "to_pil_image",
    "to_tensor", "vflip",
]  # fmt: skip
