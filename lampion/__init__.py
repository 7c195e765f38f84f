"""Lampion: a torch you can see through."""

from lampion import autograd, datasets, errors, nn, ops, optim, utils
from lampion.dtype import (
    DType, float32, float64, get_default_dtype, int8, int16, int32, int64, set_default_dtype, uint8,
)  # fmt: skip
from lampion.dtype import bool_ as bool
from lampion.mode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from lampion.ops import *  # noqa: F403  # ops.__all__ is the list of public operations
from lampion.serialization import load, save
from lampion.tensor import Tensor, as_tensor, from_numpy, tensor

float = float32
double = float64
long = int64
__version__ = "0.1.0.dev0"
