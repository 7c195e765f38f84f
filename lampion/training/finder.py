"""A search for the learning rate, that leaves no trace."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from lampion.errors import OptionError
from lampion.training import steps
from lampion.training.position import random_state, set_random_state

if TYPE_CHECKING:
    from lampion.training.trainer import Trainer

__all__ = ["RateSearch", "find_lr"]


class RateSearch(NamedTuple):
    """What `find_lr` found: the rates that were tried, the losses at them (smoothed), and the one to take."""

    rates: list[float]
    losses: list[float]
    suggestion: float


def find_lr(
    trainer: Trainer, loader: Iterable[Any], *, lowest: float = 1e-6, highest: float = 10.0,
    updates: int = 100, smoothing: float = 0.9, divergence: float = 4.0,
) -> RateSearch:  # fmt: skip
    """Train with a rate that grows with each update, and see where the loss falls fastest.

    The rate grows by one factor from `lowest` to `highest`; the search ends before, where the loss is
    `divergence` times its best. Afterwards everything is as it was: weights, buffers, gradients, optimizer,
    random numbers, the loader's position.

    Args:
        trainer: before `fit`; its model, loss and optimizer are used.
        loader: of training batches; read again from its beginning where `updates` needs more than it has.
        lowest, highest: the range of rates. With several parameter groups, of the first one; the others keep
            their ratio to it.
        smoothing: how much of the mean of losses is kept at each update.
        divergence: see above.

    Returns: rates, losses, and a suggestion: the rate where the loss fell fastest per factor of the rate
    (NaN, with a warning, where it never fell).

    Source: L. Smith: "Cyclical learning rates for training neural networks" (WACV 2017), section 3.3; in this
    form from fast.ai.

    >>> import lampion
    >>> from lampion.training import Trainer, find_lr
    >>> _ = lampion.manual_seed(0)
    >>> x = lampion.randn(64, 3)
    >>> model = lampion.nn.Linear(3, 1)
    >>> optimizer = lampion.optim.SGD(model.parameters(), lr=0.1)
    >>> trainer = Trainer(model, lampion.nn.MSELoss(), optimizer, compile=False)
    >>> found = find_lr(trainer, [(x, x.sum(1, keepdim=True))])
    >>> 1e-3 < found.suggestion < 1, optimizer.param_groups[0]["lr"]
    (True, 0.1)
    """
    if not 0 < lowest < highest or updates < 3:
        raise OptionError("find_lr", "there is no range to search",
                          got=f"{lowest} to {highest}, {updates} updates",
                          expected="0 < lowest < highest, and 3 updates or more")  # fmt: skip
    groups = trainer.optimizer.param_groups
    if any(not isinstance(group.get("lr"), float | int) for group in groups):
        raise OptionError("find_lr", "the optimizer has no learning rate that is a number",
                          fix="lr=0.1 instead of a Tensor")  # fmt: skip
    ratios = [group["lr"] / groups[0]["lr"] if groups[0]["lr"] else 1.0 for group in groups]
    factor = (highest / lowest) ** (1 / (updates - 1))
    step = trainer._function((True, True, 1.0), trainer._training_step)
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    with _Untouched(trainer, loader):
        trainer.model.train()
        batches = _again_and_again(loader)
        for number in range(updates):
            rate = lowest * factor**number
            for group, ratio in zip(groups, ratios, strict=True):
                group["lr"] = rate * ratio
            batch = next(batches, None)
            if batch is None:
                break
            loss = step(*steps.parts_of(batch))[0].item()
            mean = smoothing * mean + (1 - smoothing) * loss
            smooth = mean / (1 - smoothing ** (number + 1))  # as Adam's means: not drawn to the zero at first
            if not math.isfinite(loss) or (losses and smooth > divergence * min(losses)):
                break
            rates.append(rate)
            losses.append(smooth)
    return RateSearch(rates, losses, _steepest(rates, losses, smoothing))


def _steepest(rates: list[float], losses: list[float], smoothing: float) -> float:
    """The rate at which the loss falls fastest, before its least value.

    The mean of the losses tells of what happened s / (1 - s) updates before, and so does its slope.
    """
    if len(rates) < 3:
        raise OptionError("find_lr", "the loss diverged at once", expected="3 updates or more",
                          got=f"{len(rates)} before it did", fix="a lower `lowest`")  # fmt: skip
    late = round(smoothing / (1 - smoothing)) if smoothing < 1 else 0
    first = late if len(losses) > 2 * late + 3 else 0  # before, the mean is one of a few losses
    slopes = [after - before for before, after in zip(losses, losses[2:], strict=False)]
    if min(slopes) > -1e-6 * abs(losses[0]):
        warnings.warn("find_lr: the loss fell at no rate, so there is nothing to suggest", stacklevel=3)
        return math.nan
    end = first + losses[first:].index(min(losses[first:]))
    falling = slopes[first : max(end - 1, first + 1)]
    if min(falling) >= 0:  # its least value is where it began: the network has been trained before
        first, falling = 0, slopes
    return rates[max(first + 1 + falling.index(min(falling)) - late, 0)]


def _again_and_again(loader: Iterable[Any]) -> Iterator[Any]:
    empty = False
    while not empty:
        empty = True
        for batch in loader:
            empty = False
            yield batch


class _Untouched:
    """Everything that training changes, put back at the end, after an exception too."""

    def __init__(self, trainer: Trainer, loader: Any) -> None:
        self.trainer, self.loader = trainer, loader
        self.modules: list[Any] = [m for m in (trainer.model, trainer.loss) if hasattr(m, "parameters")]

    def _tensors(self) -> Iterator[Any]:
        for module in self.modules:
            yield from module.parameters()
            yield from module.buffers()  # those that no state_dict holds, too
        for group in self.trainer.optimizer.param_groups:
            yield from group["params"]

    def __enter__(self) -> None:
        self.values = {id(t): (t, t.detach().clone(), _copy(t.grad)) for t in self._tensors()}
        self.flags = [(part, part.training) for module in self.modules for part in module.modules()]
        self.optimizer = self.trainer.optimizer.state_dict()
        self.steps = self.trainer.optimizer._calls.steps
        own: Any = getattr(self.loader, "generator", None)
        self.generator = own.get_state() if hasattr(own, "get_state") else None
        self.position = self.loader.state_dict() if hasattr(self.loader, "load_state_dict") else None
        self.random = random_state()

    def __exit__(self, *exception: object) -> None:
        from lampion import no_grad

        with no_grad():
            for tensor, value, gradient in self.values.values():
                tensor.copy_(value)
                tensor.grad = gradient
        for part, training in self.flags:
            part.training = training
        self.trainer.optimizer.load_state_dict(self.optimizer)
        self.trainer.optimizer._calls.steps = self.steps
        if self.generator is not None:
            self.loader.generator.set_state(self.generator)
        if self.position is not None:
            self.loader.load_state_dict(self.position)
        set_random_state(self.random)


def _copy(gradient: Any) -> Any:
    return None if gradient is None else gradient.detach().clone()
