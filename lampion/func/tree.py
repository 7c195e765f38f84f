"""Arguments and results as trees of tuples, lists and dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lampion.compiler.tree import flatten, unflatten
from lampion.errors import LampionError
from lampion.tensor import Tensor

__all__ = ["flatten", "map_tree", "spread", "tensors_of", "unflatten"]


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with every leaf replaced."""
    leaves: list[Any] = []
    shape = flatten(tree, leaves)
    return unflatten(shape, iter([function(leaf) for leaf in leaves]))


def tensors_of(name: str, tree: Any, what: str) -> tuple[list[Tensor], Any]:
    """The leaves of a tree, all of which must be tensors, and its shape."""
    leaves: list[Any] = []
    shape = flatten(tree, leaves)
    for leaf in leaves:
        if not isinstance(leaf, Tensor):
            raise LampionError(name, f"{what} must be made of tensors", got=type(leaf).__name__)
    return leaves, shape


def spread(name: str, given: Any, tree: Any, what: str) -> list[Any]:
    """A value for each leaf of `tree`: `given` has its structure, or that of an upper part of it."""
    found: list[Any] = []

    def walk(value: Any, part: Any) -> None:
        container = type(part) in (tuple, list, dict) or (
            isinstance(part, tuple) and hasattr(part, "_fields")
        )
        if not container:
            if value is not None and type(value) is not int:
                raise LampionError(name, f"{what} does not fit the arguments' structure",
                                   expected="an integer, or None", got=repr(value)[:60])  # fmt: skip
            found.append(value)
        elif value is None or type(value) is int:
            for item in part.values() if isinstance(part, dict) else part:
                walk(value, item)
        elif isinstance(part, dict):
            if not isinstance(value, dict) or set(value) != set(part):
                raise LampionError(name, f"{what} does not fit the arguments' structure",
                                   expected=f"keys {list(part)}", got=repr(value)[:60])  # fmt: skip
            for key, item in part.items():
                walk(value[key], item)
        else:
            if not isinstance(value, tuple | list) or len(value) != len(part):
                raise LampionError(name, f"{what} does not fit the arguments' structure",
                                   expected=f"{len(part)} entries", got=repr(value)[:60])  # fmt: skip
            for one, item in zip(value, part, strict=True):
                walk(one, item)

    walk(given, tree)
    return found
