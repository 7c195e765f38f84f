"""What of PyTorch's table concerns the resizing of images."""

_ROUNDED = {"uint8": "PyTorch rounds bytes after each dimension, in fixed point: it has its own last bit"}

UNTYPED = {
    "nn.functional.interpolate bilinear": _ROUNDED,
    "nn.functional.interpolate bicubic": _ROUNDED,
    "nn.functional.upsample_bilinear": _ROUNDED,
}

#: Drawn. (With the same numbers drawn, they agree: see test_torch_images.py.)
RANDOM = {"nn.functional.fractional_max_pool2d", "nn.functional.fractional_max_pool3d"}
