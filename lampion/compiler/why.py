"""In words: why the arguments of a call fit no plan that there is."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from lampion.compiler.tree import flatten_arguments

_FACTS = (
    "class",
    "shape",
    "dtype",
    "strides",
    "requires_grad",
    "being a leaf",
    "having no .grad",
    "having no hooks",
    "being of inference mode",
)
_SETTINGS = ("the default dtype", "the type of autocast", "the default type of autocast")


def different(function: Callable[..., Any], args: Any, kwargs: Any, key: Any, known: Iterable[Any]) -> str:
    """What is different in the arguments, compared with those of the plan that is nearest.

    Args:
        key: what `CompiledFunction` looks plans up by: whether there are keywords, the nesting, settings,
            which tensors are the same, and a signature for each leaf.
        known: the keys of the plans; of several that are equally near the first one counts.
    """
    known = [*known]
    if not known:
        return "its plans were dropped"
    alike = [other for other in known if other[:2] == key[:2] and len(other) == len(key)]
    if not alike:
        return "the arguments are nested in another way, or there are others"
    old = min(alike, key=lambda other: sum(a != b for a, b in zip(other, key, strict=True)))
    changes = [
        f"{what} changed from {before} to {now}"
        for what, before, now in zip(_SETTINGS, old[2], key[2], strict=True) if before is not now
    ]  # fmt: skip
    if old[3] != key[3]:
        changes.append("other arguments than before are one and the same tensor")
    names = leaf_names(function, args, kwargs)
    changes += [
        _change(name, before, now)
        for name, before, now in zip(names, old[4:], key[4:], strict=True) if before != now
    ]  # fmt: skip
    return "; ".join(changes[:3]) or "an argument was replaced"


def _change(name: str, old: Any, new: Any) -> str:
    if isinstance(old, tuple) and isinstance(new, tuple):
        if len(old) == len(new) == len(_FACTS):
            facts = zip(_FACTS, old, new, strict=True)
            return ", ".join(f"{fact} of {name} changed from {a} to {b}" for fact, a, b in facts if a != b)
        if len(old) == len(new) == 2 and isinstance(old[1], str) and isinstance(new[1], str):
            return f"{name} changed from {old[1]} to {new[1]}"
    return f"{name} was replaced by something else"


def leaf_names(function: Callable[..., Any], args: Any, kwargs: Any) -> list[str]:
    """What the leaves of the arguments may be called: `x`, `batch[1]`, `options['lr']`."""
    names: list[str] = []
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        parameters = ()  # type: ignore[assignment]
    places = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    for i, item in enumerate(args):
        _walk(item, places[i] if i < len(places) else f"argument {i}", names)
    for name, item in kwargs.items():
        _walk(item, name, names)
    return names


def _walk(item: Any, name: str, names: list[str]) -> None:
    kind = type(item)
    if kind in (tuple, list):
        parts: Any = enumerate(item)
    elif kind is dict and all(type(key) is str for key in item):
        parts = item.items()
    else:  # one leaf, or several in a container of another kind
        leaves: list[Any] = []
        flatten_arguments(item, leaves)
        names += [f"`{name}`" if len(leaves) == 1 else f"a part of `{name}`"] * len(leaves)
        return
    for key, part in parts:
        _walk(part, f"{name}[{key!r}]", names)
