"""Tensors out of nothing: zeros, ones, full, arange. While tracing they become constants of the graph."""

from __future__ import annotations

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import DTypeError, LampionError
from lampion.mode import mode
from lampion.ops.define import kernel, operation
from lampion.ops.shapes import flatten_sizes
from lampion.primitive import apply
from lampion.tensor import Tensor, check_device, wrap


@kernel
class full:
    """A tensor of the given shape, filled with one number."""

    def infer(shape, value, dtype): return shape, dtype.numpy
    def forward(xp, shape, value, dtype): return xp.full(shape, value, dtype.numpy)

    def call(size, fill_value, dtype=None, device=None, requires_grad=False):
        """A tensor of the given shape, filled with one number."""
        check_device("full", device)
        size = flatten_sizes((size,) if isinstance(size, int) else tuple(size))
        if any(n < 0 for n in size):
            raise LampionError("full", "a size is negative", got=str(size))
        dtype = dtypes.of(dtype or type(fill_value))
        if dtype.kind in "iu" and not dtype.min <= fill_value <= dtype.max:
            raise DTypeError("full", f"the number {fill_value} does not fit into {dtype}",
                             expected=f"{dtype.min} to {dtype.max}")  # fmt: skip
        out = apply(full.primitive, shape=size, value=fill_value, dtype=dtype)
        return out.requires_grad_() if requires_grad else out


@operation(method=False)
def zeros(*size, dtype=None, device=None, requires_grad=False):
    """A tensor of zeros."""
    return full(flatten_sizes(size), 0, dtype or dtypes.get_default_dtype(), device, requires_grad)


@operation(method=False)
def ones(*size, dtype=None, device=None, requires_grad=False):
    """A tensor of ones."""
    return full(flatten_sizes(size), 1, dtype or dtypes.get_default_dtype(), device, requires_grad)


@operation(method=False)
def empty(*size, dtype=None, device=None, requires_grad=False):
    """A tensor to be filled later. Lampion fills it with zeros: every run is the same."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


@operation(method=False)
def zeros_like(x, dtype=None, device=None, requires_grad=False):
    """A tensor of zeros with the shape (and dtype) of `x`."""
    return full(x.shape, 0, dtype or x.dtype, device, requires_grad)


@operation(method=False)
def ones_like(x, dtype=None, device=None, requires_grad=False):
    """A tensor of ones with the shape (and dtype) of `x`."""
    return full(x.shape, 1, dtype or x.dtype, device, requires_grad)


@operation(method=False)
def full_like(x, fill_value, dtype=None, device=None, requires_grad=False):
    """A tensor filled with one number, with the shape (and dtype) of `x`."""
    return full(x.shape, fill_value, dtype or x.dtype, device, requires_grad)


@operation(method=False)
def arange(start, end=None, step=1, dtype=None):
    """The numbers from `start` up to, not including, `end`."""
    if end is None:
        start, end = 0, start
    for bound in (start, end, step):
        if isinstance(bound, Tensor):
            raise LampionError("arange", "the bounds are Python numbers", got="a Tensor", fix="use x.item()")
    if dtype is None:
        whole = all(isinstance(bound, int) for bound in (start, end, step))
        dtype = dtypes.int64 if whole else dtypes.get_default_dtype()
    array = np.arange(start, end, step).astype(dtypes.of(dtype).numpy)
    return wrap(array) if mode.trace is None else wrap(mode.trace.constant(array))
