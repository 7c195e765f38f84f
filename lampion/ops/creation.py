"""Tensors out of nothing: zeros, ones, full, arange... While tracing they become constants of the graph."""

from __future__ import annotations

import math

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.mode import mode
from lampion.ops.define import kernel, operation
from lampion.ops.shapes import flatten_sizes
from lampion.primitive import apply
from lampion.tensor import Tensor, check_device, wrap


@kernel
class full:
    """A tensor of the given shape, filled with one number."""

    def infer(shape, value, dtype): return shape, dtype.numpy

    def forward(xp, shape, value, dtype):
        if type(value) is int and not value:  # memory that the system hands out is zero already
            return xp.zeros(shape, dtype.numpy)
        return xp.full(shape, value, dtype.numpy)

    def call(
        size, fill_value, dtype=None, device=None, requires_grad=False, *, layout=None, pin_memory=False
    ):
        """A tensor of the given shape, filled with one number, in whose type it is unless one is given."""
        check_device("full", device)
        size = flatten_sizes((size,) if isinstance(size, int) else tuple(size))
        if any(n < 0 for n in size):
            raise LampionError("full", "a size is negative", got=str(size))
        if isinstance(fill_value, Tensor):
            from lampion.ops.movement import broadcast_to

            source = fill_value.detach().to(dtypes.of(dtype or fill_value.dtype))
            return _finished(broadcast_to(source.reshape(()), size).clone(), requires_grad)
        dtype = dtypes.of(dtype or type(fill_value))
        if isinstance(fill_value, complex) and not dtype.is_complex:
            raise DTypeError("full", f"a complex number does not fit into {dtype}", got=str(fill_value))
        if dtype.kind in "iu" and not (isinstance(fill_value, float) or dtype.min <= fill_value <= dtype.max):
            raise DTypeError("full", f"the number {fill_value} does not fit into {dtype}",
                             expected=f"{dtype.min} to {dtype.max}")  # fmt: skip
        return _finished(apply(full.primitive, shape=size, value=fill_value, dtype=dtype), requires_grad)


def _filled(name, size, value, dtype, device, requires_grad):
    """`full` of a number that every type has."""
    if device is not None:
        check_device(name, device)
    size = flatten_sizes(size)
    if size and min(size) < 0:
        raise LampionError(name, "a size is negative", got=str(size))
    dtype = dtypes.of(dtype or dtypes.get_default_dtype())
    return _finished(apply(full.primitive, shape=size, value=value, dtype=dtype), requires_grad)


def _finished(out, requires_grad):
    return out.requires_grad_() if requires_grad else out


def _made(name, array, dtype, device, requires_grad):
    """A tensor of an array that was made here, in the type that was asked for."""
    check_device(name, device)
    array = array.astype(dtypes.of(dtype).numpy, copy=False)
    return _finished(wrap(array) if mode.trace is None else wrap(mode.trace.constant(array)), requires_grad)


# -- of a given shape --------------------------------------------------------------------------------


@operation(method=False)
def zeros(
    *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, memory_format=None
):
    """A tensor of zeros."""
    return _filled("zeros", size, 0, dtype, device, requires_grad)


@operation(method=False)
def ones(
    *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, memory_format=None
):
    """A tensor of ones."""
    return _filled("ones", size, 1, dtype, device, requires_grad)


@operation(method=False)
def empty(
    *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, memory_format=None
):
    """A tensor to be filled later. Lampion fills it with zeros: every run is the same."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


@operation(method=False)
def empty_strided(
    size, stride: tuple[int, ...], *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """A tensor to be filled later, whose elements lie so far apart in memory (in elements)."""
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride) or any(step < 0 for step in stride):
        raise ShapeError("empty_strided", "each size needs a step that is not negative",
                         got=f"sizes {size}, strides {stride}")  # fmt: skip
    if mode.trace is not None:
        mode.trace.refuse("makes a tensor of given strides", "use lampion.empty")
    dtype = dtypes.of(dtype or dtypes.get_default_dtype()).numpy
    reach = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if math.prod(size) else 0
    steps = tuple(step * dtype.itemsize for step in stride)
    array = np.lib.stride_tricks.as_strided(np.zeros(reach, dtype), size, steps)
    return _made("empty_strided", array, dtype, device, requires_grad)


@operation(method=False)
def empty_permuted(
    size, physical_layout: tuple[int, ...], *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """A tensor to be filled later, whose dimensions lie in memory in the order `physical_layout`."""
    order = tuple(physical_layout)
    if sorted(order) != list(range(len(tuple(size)))):
        raise ShapeError("empty_permuted", "every dimension must be named once",
                         expected=f"the numbers 0 to {len(tuple(size)) - 1}", got=str(order))  # fmt: skip
    laid = zeros([tuple(size)[d] for d in order], dtype=dtype, device=device)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return _finished(laid.permute(inverse).detach(), requires_grad)


@operation(method=False)
def zeros_like(
    x, dtype=None, device=None, requires_grad=False, *, layout=None, pin_memory=False, memory_format=None
):
    """A tensor of zeros with the shape (and dtype) of `x`."""
    return _filled("zeros_like", x.shape, 0, dtype or x.dtype, device, requires_grad)


@operation(method=False)
def ones_like(
    x, dtype=None, device=None, requires_grad=False, *, layout=None, pin_memory=False, memory_format=None
):
    """A tensor of ones with the shape (and dtype) of `x`."""
    return _filled("ones_like", x.shape, 1, dtype or x.dtype, device, requires_grad)


@operation(method=False)
def full_like(
    x, fill_value, dtype=None, device=None, requires_grad=False, *, layout=None, pin_memory=False,
    memory_format=None,
):
    """A tensor filled with one number, with the shape (and dtype) of `x`."""
    return full(x.shape, fill_value, dtype or x.dtype, device, requires_grad)


@operation(method=False)
def empty_like(
    x, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False, memory_format=None
):
    """A tensor to be filled later, with the shape (and dtype) of `x`. Lampion fills it with zeros."""
    return _filled("zeros_like", x.shape, 0, dtype or x.dtype, device, requires_grad)


@operation(method=False)
def scalar_tensor(value, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """A 0-d tensor of one number: of the default dtype, whatever the number is."""
    return full((), value, dtype or dtypes.get_default_dtype(), device, requires_grad)


@operation(method=False)
def eye(
    n, m: int | None = None, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """The identity matrix: ones on the diagonal, zeros elsewhere; n x n, or n x m."""
    if n < 0 or (m is not None and m < 0):
        raise LampionError("eye", "a size is negative", got=f"{n}, {m}")
    return _made("eye", np.eye(n, m), dtype or dtypes.get_default_dtype(), device, requires_grad)


# -- sequences ---------------------------------------------------------------------------------------


@operation(method=False)
def arange(
    start, end=None, step=1, dtype=None, *, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """The numbers start, start + step, ... up to, not including, `end`.

    Whole numbers give int64, others the default dtype. ``ceil((end - start) / step)`` of them.
    """
    if end is None:
        start, end = 0, start
    start, end, step = (_number("arange", bound) for bound in (start, end, step))
    if dtype is None:
        whole = all(isinstance(bound, int) for bound in (start, end, step))
        dtype = dtypes.int64 if whole else dtypes.get_default_dtype()
    if not step or not all(math.isfinite(bound) for bound in (start, end, step)):
        raise LampionError("arange", "the step must not be 0, and the bounds finite",
                           got=f"start={start}, end={end}, step={step}")  # fmt: skip
    if (end - start) * step < 0:
        raise LampionError("arange", "the step leads away from the end",
                           got=f"start={start}, end={end}, step={step}",
                           fix="change the sign of step")  # fmt: skip
    whole = dtypes.of(dtype).kind in "iu"
    if whole and dtypes.of(dtype) is dtypes.int64:
        start, end, step = int(start), int(end), int(step)
    count = _count(start, end, step)
    if whole:
        start, step = int(start), int(step)
    array = start + np.arange(count) * step
    return _made("arange", array, dtype, device, requires_grad)


def _count(start, end, step):
    """How many steps lead from the start to just before the end."""
    if all(isinstance(bound, int) for bound in (start, end, step)):
        return max(0, -((start - end) // step)) if step else 0
    return math.ceil((end - start) / step)


@operation(method=False)
def linspace(
    start, end, steps: int, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """`steps` numbers from `start` to `end`, both included, evenly spaced.

    >>> import lampion
    >>> lampion.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    array, dtype = _line("linspace", start, end, steps, dtype)
    if dtypes.of(dtype).kind in "iu":
        array = np.trunc(array)
    return _made("linspace", array, dtype, device, requires_grad)


@operation(method=False)
def logspace(
    start, end, steps: int, base: float = 10.0, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """`steps` numbers from ``base**start`` to ``base**end``, both included, with evenly spaced logarithms."""
    array, dtype = _line("logspace", start, end, steps, dtype)
    with np.errstate(all="ignore"):
        if base < 0 and not dtypes.of(dtype).is_complex:
            array = np.power(complex(base) if not dtypes.of(dtype).is_complex else base, array)
            array = np.where(array.imag == 0, array.real, np.nan)
        else:
            array = np.power(float(base), array)
        return _made("logspace", array, dtype, device, requires_grad)


def _line(name, start, end, steps, dtype):
    """Evenly spaced numbers, from either end inwards, so that both ends are exact."""
    start, end = _number(name, start), _number(name, end)
    if steps < 0:
        raise LampionError(name, "the number of steps is negative", got=str(steps))
    is_complex = isinstance(start, complex) or isinstance(end, complex)
    if dtype is None:
        dtype = dtypes.get_default_dtype()
        dtype = dtype.to_complex() if is_complex else dtype
    if is_complex and not dtypes.of(dtype).is_complex:
        raise DTypeError(name, "complex ends need a complex type", got=str(dtypes.of(dtype)))
    if dtypes.of(dtype).kind in "iu":
        start, end = int(start), int(end)  # as in PyTorch: before the line is divided
    count = np.arange(steps)
    step = (end - start) / (steps - 1) if steps > 1 else 0.0
    line = np.where(count < steps / 2, start + step * count, end - step * (steps - 1 - count))
    if steps == 1:
        line = np.array([start])
    return line, dtype


def _number(name, bound):
    """A Python number; of a 0-d tensor, its value."""
    if isinstance(bound, Tensor):
        if bound.ndim:
            raise LampionError(name, "the bounds are numbers or 0-d tensors", got=str(tuple(bound.shape)))
        return bound.item()
    return bound


# -- like a tensor that is there: methods ------------------------------------------------------------


def new_tensor(
    self, data: object, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False
):
    """A new tensor with a copy of `data`, of this tensor's type unless another is given."""
    from lampion.tensor import tensor

    return tensor(data, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)


def new_full(
    self, size, fill_value, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False
):
    """A tensor of that shape, filled with one number, of this tensor's type unless another is given."""
    return full(size, fill_value, dtype or self.dtype, device, requires_grad)


def new_zeros(self, *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False):
    """Zeros, of this tensor's type unless another is given."""
    return _filled("new_zeros", size, 0, dtype or self.dtype, device, requires_grad)


def new_ones(self, *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False):
    """Ones, of this tensor's type unless another is given."""
    return _filled("new_ones", size, 1, dtype or self.dtype, device, requires_grad)


def new_empty(self, *size, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False):
    """A tensor to be filled later, of this tensor's type unless another is given."""
    return _filled("new_zeros", size, 0, dtype or self.dtype, device, requires_grad)


def new_empty_strided(
    self, size, stride: tuple[int, ...], *, dtype=None, device=None, requires_grad=False, layout=None,
    pin_memory=False,
):
    """`empty_strided`, of this tensor's type unless another is given."""
    return empty_strided(size, stride, dtype=dtype or self.dtype, device=device, requires_grad=requires_grad)
