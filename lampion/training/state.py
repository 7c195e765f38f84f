"""Everything that a training depends on, as one nested dict; and the same as JSON and tensors by name."""

from __future__ import annotations

import collections
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import LampionError
from lampion.nn import Module
from lampion.ops import view_as_complex, view_as_real
from lampion.tensor import Tensor, from_numpy
from lampion.training.position import random_state, set_random_state

if TYPE_CHECKING:
    from lampion.training.callbacks import Callback
    from lampion.training.trainer import Trainer

#: The trainer's own numbers.
_COUNTERS = (
    "epoch", "step", "batch", "stop", "row", "step_loss", "step_samples", "_loss", "_samples",
)  # fmt: skip


def state_of(trainer: Trainer) -> dict[str, Any]:
    """All that decides how the training goes on: model, optimizer, schedule, random numbers, position.

    The model's tensors are the model's own, not copies.
    """
    readings = {"train": trainer.reading, "validation": trainer.validation_reading}
    return {
        "model": trainer.model.state_dict(),
        "loss": trainer.loss.state_dict() if isinstance(trainer.loss, Module) else {},
        "optimizer": trainer.optimizer.state_dict(),
        "optimizer_kind": type(trainer.optimizer).__name__,
        "counters": {name: getattr(trainer, name) for name in _COUNTERS},
        "history": trainer.history.rows,
        "metrics": {name: metric.state_dict() for name, metric in trainer.metrics.items()},
        "callbacks": {name: callback.state_dict() for name, callback in _callbacks(trainer)},
        "loaders": {name: r.state_dict() for name, r in readings.items() if r is not None},
        "random": random_state(),
    }


def load_state(trainer: Trainer, state: dict[str, Any]) -> None:
    """Set everything to what `state_of` returned."""
    _check_columns(trainer, state)
    kind = type(trainer.optimizer).__name__
    if state.get("optimizer_kind", kind) != kind:
        raise LampionError("Trainer.fit", "the run that is resumed has another optimizer",
                           expected=state["optimizer_kind"], got=kind)  # fmt: skip
    trainer.model.load_state_dict(state["model"])
    if isinstance(trainer.loss, Module):
        trainer.loss.load_state_dict(state["loss"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.optimizer._calls.steps += state["counters"]["step"]  # so that schedulers do not miss them
    for name in _COUNTERS:
        setattr(trainer, name, state["counters"][name])
    trainer.history.rows[:] = [dict(row) for row in state["history"]]
    for name, metric in trainer.metrics.items():
        if name in state["metrics"]:
            metric.load_state_dict(state["metrics"][name])
    for name, callback in _callbacks(trainer):
        if name in state["callbacks"]:
            callback.load_state_dict(state["callbacks"][name])
    for name, reading in (("train", trainer.reading), ("validation", trainer.validation_reading)):
        if reading is not None and name in state["loaders"]:
            reading.load_state_dict(state["loaders"][name])
    set_random_state(state["random"])  # the last: what is above may draw


def _check_columns(trainer: Trainer, state: dict[str, Any]) -> None:
    """A history has the same columns in all rows: better said now than at the end of an epoch."""
    begun = bool(state["history"]) or state["counters"]["batch"]
    if begun and list(state["metrics"]) != list(trainer.metrics):
        raise LampionError("Trainer.fit", "the run that is resumed has other metrics",
                           expected=", ".join(state["metrics"]) or "none",
                           got=", ".join(trainer.metrics) or "none")  # fmt: skip
    had = any(name.startswith("validation_") for row in state["history"] for name in row)
    has = trainer.validation_reading is not None
    if state["history"] and had != has and trainer.reading is not None:
        words = {True: "with validation data", False: "without validation data"}
        raise LampionError("Trainer.fit", "the run that is resumed has other columns in its history",
                           expected=words[had], got=words[has])  # fmt: skip


def _callbacks(trainer: Trainer) -> Iterator[tuple[str, Callback]]:
    """The callbacks by a name that is the same in the next run: the class, and the how manieth of it."""
    seen: collections.Counter[str] = collections.Counter()
    for callback in trainer._all_callbacks():
        kind = type(callback).__name__
        yield f"{kind}.{seen[kind]}", callback
        seen[kind] += 1


# -- as JSON -----------------------------------------------------------------------------------------------


def encode(value: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """A value as JSON, from which `decode` makes the same again; its tensors go into `tensors`.

    What JSON has not is a dict with one key that begins with ``$``. Nothing in a file can name code to run.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return encode(np.asarray(value), tensors, name) if value.ndim else encode(value.item(), tensors, name)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):  # written so that reading gives the same bits
        return float(value) if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, complex):
        return {"$complex": [encode(part, tensors) for part in (value.real, value.imag)]}
    if isinstance(value, Tensor | np.ndarray):
        kind = "$tensor" if isinstance(value, Tensor) else "$array"
        tensor = value.detach() if isinstance(value, Tensor) else from_numpy(np.ascontiguousarray(value))
        if tensor.dtype is dtypes.complex128:  # which the format has not
            kind, tensor = kind + "_complex128", view_as_real(tensor)
        tensors[name] = tensor
        return {kind: name}
    if isinstance(value, tuple):
        return {"$tuple": _encode_all(value, tensors, name)}
    if isinstance(value, list):
        return _encode_all(value, tensors, name)
    if isinstance(value, dict):
        plain = all(isinstance(key, str) and not key.startswith("$") for key in value)
        inner = [encode(item, tensors, f"{name}.{key}" if name else str(key)) for key, item in value.items()]
        if plain and type(value) is not collections.Counter:
            return dict(zip(value, inner, strict=True))
        keys = [encode(key, tensors, f"{name}.key{i}") for i, key in enumerate(value)]
        kind = "$counter" if type(value) is collections.Counter else "$pairs"
        return {kind: [list(pair) for pair in zip(keys, inner, strict=True)]}
    raise LampionError(
        "checkpoint", f"{name or 'the state'} is of a type that a checkpoint cannot hold",
        expected="None, bool, int, float, str, Tensor, array, and lists, tuples and dicts of these",
        got=type(value).__name__, fix="return such values from state_dict()",
    )  # fmt: skip


def _encode_all(items: Any, tensors: dict[str, Tensor], name: str) -> list[Any]:
    return [encode(item, tensors, f"{name}.{i}") for i, item in enumerate(items)]


def decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What `encode` made JSON of."""
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        kind, inner = next(iter(value.items()))
        if kind in _READERS:
            return _READERS[kind](inner, tensors)
    return {key: decode(item, tensors) for key, item in value.items()}


def _pairs(inner: Any, tensors: dict[str, Tensor]) -> dict[Any, Any]:
    return {decode(key, tensors): decode(item, tensors) for key, item in inner}


_READERS: dict[str, Any] = {
    "$float": lambda inner, tensors: float(inner),
    "$complex": lambda inner, tensors: complex(*decode(inner, tensors)),
    "$tensor": lambda inner, tensors: tensors[inner],
    "$array": lambda inner, tensors: tensors[inner].numpy(),
    "$tensor_complex128": lambda inner, tensors: view_as_complex(tensors[inner]),
    "$array_complex128": lambda inner, tensors: view_as_complex(tensors[inner]).numpy(),
    "$tuple": lambda inner, tensors: tuple(decode(inner, tensors)),
    "$pairs": _pairs,
    "$counter": lambda inner, tensors: collections.Counter(_pairs(inner, tensors)),
}
