"""Schedulers made of others."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from lampion.errors import OptionError
from lampion.optim.lr_scheduler.base import LRScheduler, set_value, values_of
from lampion.optim.lr_scheduler.plateau import ReduceLROnPlateau
from lampion.optim.optimizer import Optimizer
from lampion.optim.traced import outside_of_traces, postponed


class _Combined(LRScheduler):
    """A scheduler that holds others, of the same optimizer."""

    _schedulers: Sequence[LRScheduler]

    def _hold(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None) -> None:
        name = type(self).__name__
        if not schedulers:
            raise OptionError(name, "expects at least one scheduler, but got no scheduler.")
        for index, scheduler in enumerate(schedulers):
            if not hasattr(scheduler, "optimizer"):
                raise OptionError(name, f"at index {index} should have `optimizer` as its attribute",
                                  got=type(scheduler).__name__)  # fmt: skip
            optimizer = optimizer or scheduler.optimizer
            if isinstance(scheduler, ReduceLROnPlateau):
                raise OptionError(name, "does not support `ReduceLROnPlateau` scheduler: it needs a value",
                                  got=f"one at index {index}", fix="step it by itself")  # fmt: skip
            if scheduler.optimizer is not optimizer:
                raise OptionError(name, "expects all schedulers to belong to the same optimizer",
                                  got=f"another one at index {index}")  # fmt: skip
        assert optimizer is not None  # there is a scheduler, and it has one
        self._schedulers = schedulers
        self.optimizer = optimizer

    def _update_lr(self, epoch: int | None = None) -> None:
        raise OptionError(type(self).__name__, "cannot begin at a milestone of a SequentialLR",
                          fix="make it the first, or list its parts")  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """All that the scheduler and its parts remember, but for the optimizer."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_schedulers"})
        for scheduler, state in zip(self._schedulers, state_dict["_schedulers"], strict=True):
            scheduler.load_state_dict(state)


class SequentialLR(_Combined):
    """One scheduler after the other; each begins at its own epoch 0.

    Args:
        optimizer: whose learning rates change.
        schedulers: in their order.
        milestones: the epochs at which the second begins, the third, and so on.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> from lampion.optim.lr_scheduler import ConstantLR, ExponentialLR, SequentialLR
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> parts = [ConstantLR(opt, factor=0.5, total_iters=2), ExponentialLR(opt, gamma=0.5)]
    >>> scheduler = SequentialLR(opt, parts, milestones=[2])
    >>> rates = []
    >>> for epoch in range(4):
    ...     rates += scheduler.get_last_lr()
    ...     opt.step(); scheduler.step()
    >>> rates
    [0.25, 0.25, 0.5, 0.25]
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        outside_of_traces("makes a learning-rate scheduler")
        self._hold(schedulers, optimizer)
        if len(milestones) != len(schedulers) - 1:
            raise OptionError(
                "SequentialLR",
                "expects number of schedulers provided to be one more than the number of milestone points",
                got=f"{len(schedulers)} schedulers and {len(milestones)} milestones",
            )  # fmt: skip
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        # Each of them has stepped to its epoch 0 when it was made. Only the first one's counts.
        for group in optimizer.param_groups:
            set_value(group, "lr", group["initial_lr"])
        self.recursive_undo()
        first = self._schedulers[bisect_right(milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def recursive_undo(self, sched: Any = None) -> None:
        """Take back one step of every scheduler in `sched`, this one if not given."""
        sched = self if sched is None else sched
        if hasattr(sched, "_schedulers"):
            for part in sched._schedulers:
                self.recursive_undo(part)
        elif hasattr(sched, "last_epoch"):
            sched.last_epoch -= 1

    def step(self) -> None:  # type: ignore[override]  # as in PyTorch, there is no epoch to name
        """Go to the next epoch."""
        if postponed(self, functools.partial(SequentialLR.step, self)):
            return
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        if index > 0 and self._milestones[index - 1] == self.last_epoch:
            scheduler._update_lr(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()


class ChainedScheduler(_Combined):
    """Several schedulers that all act at each epoch.

    Args:
        schedulers: in their order.
        optimizer: theirs; for the check that it is one and the same.

    >>> import lampion
    >>> from lampion.optim.lr_scheduler import ChainedScheduler, ExponentialLR, StepLR
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = ChainedScheduler([ExponentialLR(opt, gamma=0.5), StepLR(opt, step_size=1, gamma=0.5)])
    >>> opt.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.125
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        outside_of_traces("makes a learning-rate scheduler")
        self._hold(schedulers, optimizer)
        self._last_lr = values_of(self.optimizer, "lr")

    def step(self) -> None:  # type: ignore[override]  # as in PyTorch, there is no epoch to name
        """Go to the next epoch."""
        if postponed(self, functools.partial(ChainedScheduler.step, self)):
            return
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = values_of(self.optimizer, "lr")
