"""Arguments and results as trees: containers of tensors and plain values, flattened and put together."""

from __future__ import annotations

from typing import Any

from lampion.tensor import Tensor


def flatten(thing: Any, leaves: list[Any]) -> Any:
    """Append the leaves of nested tuples, lists and dicts to `leaves`; the shape of the tree, hashable."""
    kind = type(thing)
    if kind in (tuple, list):
        return (kind, tuple(flatten(item, leaves) for item in thing))
    if kind is dict:
        return (kind, tuple((key, flatten(item, leaves)) for key, item in thing.items()))
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return (kind, tuple(flatten(item, leaves) for item in thing))
    leaves.append(thing)
    return None


def unflatten(shape: Any, leaves: Any) -> Any:
    """The tree of a shape, with its leaves taken from an iterator."""
    if shape is None:
        return next(leaves)
    kind, parts = shape
    if kind is dict:
        return {key: unflatten(part, leaves) for key, part in parts}
    items = [unflatten(part, leaves) for part in parts]
    return kind(items) if kind in (tuple, list) else kind(*items)


def signature(leaf: Any) -> Any:
    """What must be equal at a later call for the same plan to serve: a key."""
    if isinstance(leaf, Tensor):
        array = leaf._array
        return (array.shape, array.dtype, array.strides, leaf._requires_grad)
    if leaf is None or isinstance(leaf, bool | int | float | str | bytes | complex):
        return (type(leaf), repr(leaf))  # repr tells 0.0 from -0.0, and is equal for two NaNs
    return (type(leaf), id(leaf))
