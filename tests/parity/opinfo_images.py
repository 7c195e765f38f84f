"""What of PyTorch's table concerns the resizing of images."""

_ROUNDED = {"uint8": "PyTorch rounds bytes after each dimension, in fixed point: it has its own last bit"}

UNTYPED = {
    "nn.functional.interpolate bilinear": _ROUNDED,
    "nn.functional.interpolate bicubic": _ROUNDED,
    "nn.functional.upsample_bilinear": _ROUNDED,
}
