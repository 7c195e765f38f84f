"""A scheduler that looks at how training goes."""

from __future__ import annotations

import math
from typing import Any

from lampion.errors import OptionError
from lampion.optim.lr_scheduler.base import LRScheduler, check_optimizer, set_value, values_of, warn_of_epoch
from lampion.optim.optimizer import Optimizer
from lampion.optim.traced import outside_of_traces


class ReduceLROnPlateau(LRScheduler):
    r"""lr = lr * factor, when a measured value has not become better for a while.

    Args:
        optimizer: whose learning rates change.
        mode: ``"min"`` where smaller is better, ``"max"`` where larger is.
        factor: below 1.
        patience: epochs without anything better that are let pass.
        threshold, threshold_mode: how much better counts: by a part of the best (``"rel"``), or in itself
            (``"abs"``).
        cooldown: epochs after a change in which nothing is counted.
        min_lr: the lowest rate, or a list of one for each group.
        eps: a change by less than this is not made.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=1)
    >>> for loss in (1.0, 1.0, 1.0):
    ...     opt.step(); scheduler.step(loss)
    >>> opt.param_groups[0]["lr"]
    0.25
    """

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
        min_lr: list[float] | float = 0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        name = "ReduceLROnPlateau"
        if factor >= 1.0:
            raise OptionError(name, "Factor should be < 1.0.", got=str(factor))
        self.factor = factor
        self.optimizer = check_optimizer(optimizer)
        count = len(optimizer.param_groups)
        if isinstance(min_lr, list | tuple):
            if len(min_lr) != count:
                raise OptionError(name, f"expected {count} min_lrs, got {len(min_lr)}")
            self.default_min_lr = None
            self.min_lrs = list(min_lr)
        else:
            self.default_min_lr = min_lr
            self.min_lrs = [min_lr] * count
        if mode not in ("min", "max"):
            raise OptionError(name, f"mode {mode} is unknown!", expected="'min' or 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise OptionError(name, f"threshold mode {threshold_mode} is unknown!", expected="'rel' or 'abs'")
        self.patience = patience
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self._last_lr = values_of(optimizer, "lr")
        self.mode_worse = math.inf if mode == "min" else -math.inf
        self.mode = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.best = self.mode_worse
        self.cooldown_counter = 0
        self.num_bad_epochs = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Go to the next epoch, with the value measured in the last one."""
        outside_of_traces("steps a learning-rate scheduler")
        current = float(metrics)
        if epoch is not None:
            warn_of_epoch()
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = values_of(self.optimizer, "lr")

    def _reduce_lr(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):  # a group has come since
            if self.default_min_lr is None:
                raise OptionError("ReduceLROnPlateau", "a group was added to the optimizer",
                                  expected=f"{len(self.min_lrs)} groups", got=f"{len(groups)}",
                                  fix="append to scheduler.min_lrs")  # fmt: skip
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, least)
            if old - new > self.eps:
                set_value(group, "lr", new)

    @property
    def in_cooldown(self) -> bool:
        """Whether the last change is so recent that nothing is counted."""
        return self.cooldown_counter > 0

    def _is_better(self, value: float, best: float) -> bool:
        sign = 1.0 if self.mode == "max" else -1.0
        if self.threshold_mode == "rel":
            return sign * value > sign * (best * (1.0 + sign * self.threshold))
        return sign * value > sign * (best + sign * self.threshold)
