"""What is drawn: the numbers of a tensor, and those of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion.errors import DTypeError
from lampion.nn import Module
from lampion.tensor import Tensor


def array_of(operation: str, x: Any) -> Any:
    """The numbers of a tensor, in float32; an error, if it is none."""
    if not isinstance(x, Tensor):
        fix = "lampion.from_numpy(x)" if hasattr(x, "__array__") else "lampion.tensor(x)"
        raise DTypeError(operation, "expected a tensor", got=type(x).__name__,
                         fix="layer.weight" if isinstance(x, Module) else fix)  # fmt: skip
    return x.detach().numpy().astype(np.float32)


def shades_of(operation: str, images: Any) -> Any:
    """The same of images, whose shades lie between 0 and 1: bytes would be white or black throughout."""
    shades = array_of(operation, images)
    if images.dtype.kind in "iu":
        raise DTypeError(operation, "shades lie between 0 and 1", expected="floats", got=str(images.dtype),
                         fix="x.float() / 255 of bytes")  # fmt: skip
    return shades
