"""Arguments and results as trees: containers of tensors and plain values, flattened and put together."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from lampion.tensor import Tensor

#: Values that say all about themselves: two of one type and one text are as good as the same.
PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis)})
_STANDARD = (dict, set, frozenset, collections.deque, collections.OrderedDict, collections.defaultdict)


def flatten(thing: Any, leaves: list[Any]) -> Any:
    """Append the leaves of nested tuples, lists and dicts to `leaves`; the shape of the tree, hashable."""
    kind = type(thing)
    if kind in (tuple, list):
        return (kind, tuple([flatten(item, leaves) for item in thing]))
    if kind is dict:
        return (kind, tuple([(key, flatten(item, leaves)) for key, item in thing.items()]))
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        return (kind, tuple([flatten(item, leaves) for item in thing]))
    leaves.append(thing)
    return None


def flatten_arguments(thing: Any, leaves: list[Any]) -> Any:
    """`flatten`, which looks into every other container too: what is inside of it decides what a call does.

    The tree is not to be put together again. A container of a class of its own is a leaf beside its contents,
    since it may have attributes.
    """
    kind = type(thing)
    if isinstance(thing, Tensor) or kind in PLAIN:
        leaves.append(thing)
        return None
    if kind is tuple or kind is list:
        return (kind, tuple([flatten_arguments(item, leaves) for item in thing]))
    # Other keys are leaves: 1, 1.0 and True are equal. A list is faster here than a generator.
    if kind is dict and all([type(key) is str for key in thing]):  # noqa: C419
        return (kind, tuple([(key, flatten_arguments(item, leaves)) for key, item in thing.items()]))
    if kind is slice:
        thing = (thing.start, thing.stop, thing.step)
        return (kind, tuple([flatten_arguments(item, leaves) for item in thing]))
    if isinstance(thing, dict | list | tuple | set | frozenset | collections.deque):
        standard = kind in _STANDARD or (isinstance(thing, tuple) and hasattr(thing, "_fields"))
        if not standard or getattr(thing, "__dict__", None):
            leaves.append(thing)
        items = list(thing.items()) if isinstance(thing, dict) else thing
        extra = [getattr(thing, name, None) for name in ("default_factory", "maxlen")]
        return (kind, tuple([flatten_arguments(item, leaves) for item in (*items, *extra)]))
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
        requires_grad = leaf._requires_grad if leaf._follows is None else leaf.requires_grad
        return (
            leaf.__class__, array.shape, array.dtype, array.strides, requires_grad, leaf._node is None,
            leaf._grad is None, leaf._hooks is None, leaf._inference,
        )  # fmt: skip
    kind = type(leaf)
    if kind in PLAIN:
        return (kind, repr(leaf))  # repr tells 0.0 from -0.0, and is equal for two NaNs
    if isinstance(leaf, np.generic):
        return (kind, leaf.dtype, leaf.tobytes())
    if kind is np.ndarray:
        return (kind, leaf.shape, leaf.dtype)  # of an array, a function that is captured sees no more
    return (kind, id(leaf))


def is_known_by_name(leaf: Any) -> bool:
    """Whether `signature` knows this leaf only by its identity, which holds only as long as it lives."""
    return not isinstance(leaf, Tensor | np.generic | np.ndarray) and type(leaf) not in PLAIN
