"""The functions that the Trainer runs for each batch, and compiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lampion.errors import LampionError
from lampion.mode import no_grad
from lampion.nn.utils import clip_grad_norm_, clip_grad_value_
from lampion.tensor import Tensor


def training_step(
    model: Any, loss_function: Any, optimizer: Any, clip_norm: float | None, clip_value: float | None,
    first: bool, last: bool, share: float,
) -> Callable[..., tuple[Tensor, Tensor]]:  # fmt: skip
    """Forward, backward, and (`last`) the update.

    Args:
        first: whether the gradients begin anew: the first of the batches that make one update.
        last: whether to update afterwards.
        share: this batch's part of the samples of the update. The mean over all of them is the sum of the
            batches' means, each times its share: so accumulating is the same as one large batch.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step(*batch: Tensor) -> tuple[Tensor, Tensor]:
        prediction = model(*batch[:-1])
        loss = loss_function(prediction, batch[-1])
        if first:
            optimizer.zero_grad()
        if share == 1.0:
            loss.backward()
        else:
            (loss * share).backward()
        if last:
            if clip_norm is not None:
                clip_grad_norm_(parameters, clip_norm)
            if clip_value is not None:
                clip_grad_value_(parameters, clip_value)
            optimizer.step()
        return loss.detach(), prediction.detach()

    return step


def evaluation_step(model: Any, loss_function: Any) -> Callable[..., tuple[Tensor, Tensor]]:
    """Forward and loss, without a gradient."""

    def evaluate(*batch: Tensor) -> tuple[Tensor, Tensor]:
        with no_grad():
            prediction = model(*batch[:-1])
            return loss_function(prediction, batch[-1]), prediction

    return evaluate


def prediction_step(model: Any) -> Callable[..., Tensor]:
    """Forward, without a gradient."""

    def predict(*inputs: Any) -> Tensor:
        with no_grad():
            return model(*inputs)  # type: ignore[no-any-return]  # as the model

    return predict


def parts_of(batch: Any) -> tuple[Any, ...]:
    """A batch as (inputs..., target)."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        got = (
            f"{type(batch).__name__} of {len(batch)}"
            if isinstance(batch, tuple | list)
            else type(batch).__name__
        )
        raise LampionError("Trainer", "a batch is not (input, target)", got=got,
                           expected="a tuple or list: one or more inputs, then the target",
                           fix="have the dataset return (input, target)")  # fmt: skip
    return tuple(batch)


def inputs_of(batch: Any) -> tuple[Any, ...]:
    """The inputs of a batch, which may come with or without a target."""
    if isinstance(batch, tuple | list):
        return tuple(batch[:-1]) if len(batch) > 1 else tuple(batch)
    return (batch,)


def size_of(parts: tuple[Any, ...]) -> int:
    """How many samples a batch has."""
    shape: tuple[int, ...] = getattr(parts[0], "shape", ())
    return int(shape[0]) if len(shape) else 1


def grouped(batches: Iterable[Any], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """The batches in lists of `size`, the last of which may be shorter."""
    group: list[tuple[Any, ...]] = []
    for batch in batches:
        group.append(parts_of(batch))
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
