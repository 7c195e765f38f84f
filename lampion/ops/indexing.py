"""Reading and writing parts of a tensor: ``x[...]`` and ``x[...] = value``.

A key is taken apart in two steps, as PyTorch does it: integers, slices, None and ... make a view; then index
tensors and masks pick from that view.
"""

from __future__ import annotations

import operator

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import IndexRangeError, ShapeError, unwritable
from lampion.mode import mode
from lampion.ops.advanced_indexing import (
    check_indices,
    check_values,
    expand_masks,
    index_,
    index_put_,
    pick,
    places_of,
    write,
)  # fmt: skip
from lampion.ops.creation import full
from lampion.ops.define import cast_to
from lampion.ops.elementwise import second, where
from lampion.ops.joining import stack
from lampion.ops.movement import broadcast_to, reshape, slice_
from lampion.ops.shapes import broadcast_shapes
from lampion.ops.views import movedim, squeeze_dim
from lampion.origin import where as here
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


def getitem(x, key):
    """``x[key]``: integers, slices, ``...`` and None give views; index tensors and masks pick copies.

    As in PyTorch, and as in NumPy where PyTorch gives an error: the step of a slice may be negative. A mask
    covers as many dimensions as it has.

    >>> import lampion
    >>> x = lampion.arange(6).reshape(2, 3)
    >>> x[:, lampion.tensor([2, 0])]
    tensor([[2, 0],
            [5, 3]])
    >>> x[x > 3]
    tensor([4, 5])
    """
    if type(key) is Tensor:
        at = key._array
        if at.shape and x._array.shape:  # one tensor, as for the rows of an embedding: common cases
            if at.dtype.char in "ilq":
                return apply(index_.primitive, x, key, dims=(0,))
            if at.dtype.char == "?" and at.shape == x._array.shape[: len(at.shape)]:
                return index_(x, *places_of("index", key), dims=tuple(range(len(at.shape))))
    bounds = _plain_bounds(x, key)
    if bounds is not None:
        return apply(slice_.primitive, x, bounds=bounds)
    if _all_indices(x, key):
        return apply(index_.primitive, x, *key, dims=tuple(range(len(key))))
    view, single, pairs = _taken_apart(x, key)
    for dim, at in reversed(single):
        view = _at_unknown_place(view, dim, at)
    if pairs:
        pairs = [(dim - sum(gone < dim for gone, _ in single), at) for dim, at in pairs]
        pairs = expand_masks("index", view, pairs)
        view = index_(view, *[at for _, at in pairs], dims=tuple(dim for dim, _ in pairs))
    return view


def setitem(x, key, value) -> None:
    """``x[key] = value``, in place: `value` is a number, or broadcasts to the shape of ``x[key]``.

    >>> import lampion
    >>> x = lampion.zeros(2, 3)
    >>> x[:, [0, 2]] = lampion.tensor([1.0, 2.0])
    >>> x[x == 0] = 5
    >>> x
    tensor([[1., 5., 2.],
            [1., 5., 2.]])
    """
    if mode.trace is None and not (mode.grad and (x.requires_grad or _requires_grad(value))):
        _write_now(x, key, value)
        return
    bounds = _plain_bounds(x, key)
    if bounds is not None:
        view = apply(slice_.primitive, x, bounds=bounds)
        view._assign(second(view, _fitting(value, x.dtype, view.shape)), "setitem")
        return
    view, single, pairs = _taken_apart(x, key)
    if single:
        pairs, value = _joined(view, single, pairs, value)
    if len(pairs) == 1 and mode.trace is not None and _is_mask(pairs[0][1]):
        result = _masked(view, *pairs[0], value)
    elif pairs:
        result = _put(view, pairs, value)
    else:
        result = second(view, _fitting(value, x.dtype, view.shape))
    view._assign(result, "setitem")


def _requires_grad(value):
    return isinstance(value, Tensor) and value.requires_grad


def _write_now(x, key, value):
    """Write into the array: nothing is being recorded."""
    array = x._array
    if not array.flags.writeable:
        raise unwritable(x.shape)
    if type(key) is Tensor and type(value) is float and array.dtype.char in "fd" and _is_plain_mask(x, key):
        array[key._array] = value
        x._version[0] += 1
        x._version[1] = here()
        return
    bounds = _plain_bounds(x, key)
    if bounds is not None:
        place, pairs = slice_.primitive.forward(None, array, bounds), ()
    elif _all_indices(x, key):
        view, place, pairs = x, array, list(enumerate(key))
    else:
        view, _, pairs = _taken_apart(x, key)
        place = view._array
    if not pairs:
        if type(value) is float and array.dtype.char in "fd":
            place[...] = value
        else:
            place[...] = _fitting(value, x.dtype, place.shape)._array
    else:
        pairs, value = expand_masks("setitem", view, pairs), _fitting(value, x.dtype, None)
        dims, tensors = tuple(dim for dim, _ in pairs), [at for _, at in pairs]
        check_values("setitem", view, value, tensors, dims)
        write(np, place, value._array, [at._array for at in tensors], dims, False)
    x._version[0] += 1
    x._version[1] = here()


def _all_indices(x, key):
    """Whether a key is index tensors for the first dimensions of x, as in ``x[i, j]``, and nothing else."""
    return (
        type(key) is tuple
        and 0 < len(key) <= len(x._array.shape)
        and all(type(at) is Tensor and at._array.dtype.char == "l" and at._array.shape for at in key)
    )


def _is_plain_mask(x, key):
    """Whether a key is a mask over the first dimensions of x, about which there is nothing to say."""
    mask = key._array
    return mask.dtype.char == "?" and bool(mask.shape) and mask.shape == x._array.shape[: len(mask.shape)]


def _fitting(value, dtype, shape):
    """A value as a tensor of the given type, without the leading 1s that its place does not have."""
    if isinstance(value, Tensor):
        if value._array.shape == shape and value.dtype is dtype:
            return value
        value = cast_to(value, dtype)
    elif isinstance(value, bool | int | float | complex):
        return full((), value, dtype)
    else:
        value = cast_to(as_tensor(value), dtype)
    extra = 0 if shape is None else value.ndim - len(shape)
    if shape is None or not value.ndim:
        return value
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        value = reshape(value, value.shape[extra:])
    sizes = zip(value.shape[::-1], shape[::-1], strict=False)
    if value.ndim > len(shape) or any(n not in (1, m) for n, m in sizes):
        raise ShapeError("setitem", "the shapes do not broadcast: value and place",
                         expected=f"one that broadcasts to {tuple(shape)}",
                         got=str(tuple(value.shape)))  # fmt: skip
    return value


def _put(view, pairs, value):
    """The view with the value put at the places of index tensors and masks."""
    pairs = expand_masks("setitem", view, pairs)
    dims, tensors = tuple(dim for dim, _ in pairs), [at for _, at in pairs]
    value = _fitting(value, view.dtype, None)
    check_values("setitem", view, value, tensors, dims)
    return index_put_(view, value, *tensors, dims=dims, accumulate=False)


def _masked(view, dim, mask, value):
    """The view with one value where a mask is true, whatever the mask's values: so it can be compiled.

    A value that has a part for each true element depends on how many there are: `_put` refuses that.
    """
    rest = view.shape[dim + mask.ndim :]
    value = _fitting(value, view.dtype, None)
    if value.ndim > len(rest) and value.numel() != 1:
        return _put(view, [(dim, mask)], value)
    if mask.shape != view.shape[dim : dim + mask.ndim]:
        return _put(view, [(dim, mask)], value)  # which raises the error about that
    mask = reshape(cast_to(mask, dtypes.bool_), (*mask.shape, *[1] * len(rest)))
    return where(mask, _fitting(value, view.dtype, rest), view)


def _is_mask(at):
    return at.dtype.kind == "b" or at.dtype is dtypes.uint8


def _joined(view, single, pairs, value):
    """The index tensors of a write with the single indices, whose values are not known while tracing.

    These add nothing to the broadcast of the others. But they may move its dimensions to the front, which
    they do not in eager, where they are numbers: so the dimensions of the value are moved too.
    """
    joined = sorted([*single, *pairs], key=operator.itemgetter(0))
    gone = [dim for dim, _ in single]
    before = _place([dim - sum(d < dim for d in gone) for dim, _ in pairs]) if pairs else 0
    after = _place([dim for dim, _ in joined])
    masked = any(_is_mask(at) for _, at in pairs)  # which is refused later
    if not pairs or masked or after == before + sum(d < after for d in gone):
        return joined, value
    shape = broadcast_shapes("setitem", [at.shape for _, at in pairs])
    rest = [n for dim, n in enumerate(view.shape) if dim not in {d for d, _ in joined}]
    value = _fitting(value, view.dtype, (*rest[:before], *shape, *rest[before:]))
    value = broadcast_to(value, (*rest[:before], *shape, *rest[before:]))
    return joined, movedim(value, tuple(range(before, before + len(shape))), tuple(range(len(shape))))


def _place(dims):
    """Where the dimensions of index tensors stand in the result."""
    return dims[0] if dims[-1] - dims[0] == len(dims) - 1 else 0


# -- keys ----------------------------------------------------------------------------------------------


def _plain_bounds(x, key):
    """What `slice_` is to be asked for; None where the key holds index tensors, masks or lists."""
    shape = x._array.shape
    if type(key) is int:  # the common case
        if not shape:
            raise _too_many(1, shape)
        return (_position(key, 0, shape[0]),)
    keys = key if type(key) is tuple else (key,)
    bounds, axis = [], 0
    for number, k in enumerate(keys):
        kind = type(k)
        if kind is slice:
            if axis >= len(shape):
                raise _too_many(_used(keys), shape)
            bounds.append(_bounds_of(k, shape[axis]))
            axis += 1
        elif kind is int:
            if axis >= len(shape):
                raise _too_many(_used(keys), shape)
            bounds.append(_position(k, axis, shape[axis]))
            axis += 1
        elif k is None:
            bounds.append(None)
        elif k is Ellipsis:
            used = _used(keys[number + 1 :])
            if used is None:
                return None
            if any(other is Ellipsis for other in keys[number + 1 :]):
                raise IndexRangeError("index", "... may appear only once", got=repr(keys))
            if axis + used > len(shape):
                raise _too_many(axis + used, shape)
            while axis < len(shape) - used:
                bounds.append((0, shape[axis], 1))
                axis += 1
        else:
            return None
    return tuple(bounds)


def _used(keys):
    """How many dimensions plain keys use; None if some of them are not plain."""
    count = 0
    for k in keys:
        if type(k) is int or type(k) is slice:
            count += 1
        elif k is not None and k is not Ellipsis:
            return None
    return count


def _too_many(used, shape):
    if used is None:
        used = "more"
    return IndexRangeError("index", "there are more indices than dimensions",
                           got=f"{used} for shape {tuple(shape)}")  # fmt: skip


def _bounds_of(key, size):
    if type(key.step) is int and key.step == 0:
        raise IndexRangeError("index", "the step of a slice may not be zero", got=f"{key}")
    start, stop, step = key.indices(size)
    if step > 0:
        return start, max(start, stop), step
    return (start, None if stop < 0 else stop, step) if stop < start else (0, 0, 1)


def _position(position, axis, size):
    if not -size <= position < size:
        raise IndexRangeError("index", f"index {position} is out of range for dimension {axis}",
                              expected=f"{-size} to {size - 1}", got=str(position))  # fmt: skip
    return position + size if position < 0 else position


def _taken_apart(x, key):
    """The view that the plain parts of a key make, and what is left to do on it.

    Returns:
        the view; pairs (dim, tensor) of single indices whose values are not known (while tracing);
        pairs (dim, tensor) of index tensors and masks.
    """
    keys = [_normal(k) for k in (key if type(key) is tuple else (key,))]
    used = sum(_dims_of(k) for k in keys)
    if used > x.ndim:
        raise _too_many(used, x.shape)
    if sum(k is Ellipsis for k in keys) > 1:
        raise IndexRangeError("index", "... may appear only once")
    at = next((i for i, k in enumerate(keys) if k is Ellipsis), len(keys))
    keys[at : at + 1] = [slice(None)] * (x.ndim - used)
    bounds, single, pairs, axis, dim = [], [], [], 0, 0  # axis of x, dimension of the view
    for k in keys:
        if isinstance(k, Tensor):
            if not k.ndim and _is_mask(k):
                k = reshape(k, 1)  # one truth value masks a dimension of its own
                bounds.append(None)
                pairs.append((dim, k))
                dim += 1
                continue
            (pairs if k.ndim else single).append((dim, k))
            bounds += [(0, n, 1) for n in x.shape[axis : axis + _dims_of(k)]]
            axis, dim = axis + _dims_of(k), dim + _dims_of(k)
        elif k is None:
            bounds.append(None)
            dim += 1
        elif isinstance(k, slice):
            bounds.append(_bounds_of(k, x.shape[axis]))
            axis, dim = axis + 1, dim + 1
        else:
            bounds.append(_position(k, axis, x.shape[axis]))
            axis += 1
    whole = all(b == (0, n, 1) for b, n in zip(bounds, x.shape, strict=False)) and len(bounds) == x.ndim
    view = x if whole else apply(slice_.primitive, x, bounds=tuple(bounds))
    return view, single, pairs


def _normal(key):
    """One part of a key as an int, a slice, None, ... or a Tensor."""
    if key is None or key is Ellipsis or isinstance(key, slice):
        return key
    if isinstance(key, bool | np.bool_):
        return full((), bool(key), dtypes.bool_)
    if not isinstance(key, Tensor):
        if not isinstance(key, list | tuple | range | np.ndarray):
            try:
                return operator.index(key)
            except TypeError:
                raise IndexRangeError(
                    "index", "an index is an integer, a slice, ..., None, a mask or an integer tensor",
                    got=type(key).__name__,
                ) from None  # fmt: skip
        key = _index_of(key)
    if key.dtype.kind == "b" or key.dtype in (dtypes.int64, dtypes.int32, dtypes.uint8):
        if not key.ndim and key.dtype.kind == "i" and mode.trace is None:
            return int(key._array)
        return key
    check_indices("index", None, [key], (0,))
    return key


def _index_of(key):
    """A list of integers or booleans as a tensor; it holds the same numbers at every call."""
    if isinstance(key, np.ndarray) and mode.trace is None:
        return as_tensor(key)
    if any(isinstance(k, Tensor) for k in key):
        return stack([k if isinstance(k, Tensor) else _index_of(k) for k in key])
    try:
        array = np.array(key)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "biu" and array.size:
        raise IndexRangeError("index", "a list of indices holds integers or booleans", got=repr(key)[:80],
                              fix="put several indices into a tuple: x[i, j]")  # fmt: skip
    if array.dtype.kind != "b":
        array = array.astype(np.int64)
    if mode.trace is None or isinstance(key, np.ndarray):
        return as_tensor(array)
    from lampion.tensor import wrap

    return wrap(mode.trace.constant(array))


def _dims_of(key):
    """How many dimensions a part of a key uses."""
    if key is None or key is Ellipsis:
        return 0
    return key.ndim if isinstance(key, Tensor) and _is_mask(key) else 1


def _at_unknown_place(view, dim, at):
    """``view[:, i]`` for a 0-d index tensor while tracing.

    Eager's result is a view of the place that i names; this is a copy, so it must not be written to, and nor
    must what it was taken from: the trace refuses that.
    """
    picked = pick(view, dim, reshape(at, 1))
    source, copy = mode.trace.read(view), mode.trace.read(picked)
    copy.base, copy.doubt, source.doubt[0] = source, source.doubt, True
    return squeeze_dim(picked, dim)
