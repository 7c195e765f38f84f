"""Schedulers that multiply the rate: by a function, in steps, or along a simple curve."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from typing import Any

from lampion.errors import OptionError
from lampion.optim.lr_scheduler.base import HoldsFunctions, LRScheduler
from lampion.optim.optimizer import Optimizer


class LambdaLR(HoldsFunctions):
    r"""lr = initial lr * lr_lambda(epoch).

    Args:
        optimizer: whose learning rates change.
        lr_lambda: a function of the epoch, or a list of one for each group.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.1)
    >>> scheduler = lampion.optim.lr_scheduler.LambdaLR(opt, lambda epoch: 1 / (1 + epoch))
    >>> opt.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.05
    """

    def get_lr(self) -> list[Any]:
        self._check_call()
        return [
            base * function(self.last_epoch)
            for function, base in zip(self.lr_lambdas, self.base_lrs, strict=True)
        ]  # fmt: skip


class MultiplicativeLR(HoldsFunctions):
    r"""lr = lr * lr_lambda(epoch), at each epoch.

    Args:
        optimizer: whose learning rates change.
        lr_lambda: a function of the epoch, or a list of one for each group.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.MultiplicativeLR(opt, lambda epoch: 0.5)
    >>> opt.step(); scheduler.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.125
    """

    def get_lr(self) -> list[Any]:
        self._check_call()
        if self._is_initial:
            return self._present()
        return [
            group["lr"] * function(self.last_epoch)
            for function, group in zip(self.lr_lambdas, self.optimizer.param_groups, strict=True)
        ]


class StepLR(LRScheduler):
    r"""lr = lr * gamma, every `step_size` epochs.

    Args:
        optimizer: whose learning rates change.
        step_size: epochs between two changes.
        gamma: the factor.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.StepLR(opt, step_size=2, gamma=0.5)
    >>> opt.step(); scheduler.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.25
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._check_call()
        if self.last_epoch == 0 or self.last_epoch % self.step_size:
            return self._present()
        return self._times(self.gamma)

    def _get_closed_form_lr(self) -> list[Any]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    r"""lr = lr * gamma, at certain epochs.

    Args:
        optimizer: whose learning rates change.
        milestones: the epochs; one that is listed twice counts twice.
        gamma: the factor.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.MultiStepLR(opt, milestones=[1, 3], gamma=0.5)
    >>> opt.step(); scheduler.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.25
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._check_call()
        if self.last_epoch not in self.milestones:
            return self._present()
        return self._times(self.gamma ** self.milestones[self.last_epoch])

    def _get_closed_form_lr(self) -> list[Any]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * self.gamma**passed for base in self.base_lrs]


class ConstantLR(LRScheduler):
    r"""lr = initial lr * factor, until `total_iters` epochs are over.

    Args:
        optimizer: whose learning rates change.
        factor: between 0 and 1.
        total_iters: epochs with the factor.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.ConstantLR(opt, factor=0.5, total_iters=1)
    >>> first = opt.param_groups[0]["lr"]
    >>> opt.step(); scheduler.step(); first, opt.param_groups[0]["lr"]
    (0.25, 0.5)
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        if not 0 <= factor <= 1.0:
            raise OptionError(
                "ConstantLR",
                "Constant multiplicative factor expected to be between 0 and 1.",
                got=str(factor),
            )
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._check_call()
        if self.last_epoch == 0:
            return self._times(self.factor)
        return self._present() if self.last_epoch != self.total_iters else self._times(1.0 / self.factor)

    def _get_closed_form_lr(self) -> list[Any]:
        factor = self.factor + (self.last_epoch >= self.total_iters) * (1 - self.factor)
        return [base * factor for base in self.base_lrs]


class LinearLR(LRScheduler):
    r"""The factor of the initial rate goes along a line, from `start_factor` to `end_factor`.

    Args:
        optimizer: whose learning rates change.
        start_factor, end_factor: above 0 (from 0 on, the end), up to 1.
        total_iters: epochs until the end.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.LinearLR(opt, start_factor=0.5, total_iters=2)
    >>> opt.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.375
    """

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0,
        total_iters: int = 5, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if not 0 < start_factor <= 1.0:
            raise OptionError(
                "LinearLR",
                "Starting multiplicative factor expected to be greater than 0 and less or equal to 1.",
                got=str(start_factor),
            )
        if not 0 <= end_factor <= 1.0:
            raise OptionError(
                "LinearLR",
                "Ending multiplicative factor expected to be between 0 and 1.",
                got=str(end_factor),
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._check_call()
        if self.last_epoch == 0:
            return self._times(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._present()
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return self._times(1.0 + rise / before)

    def _get_closed_form_lr(self) -> list[Any]:
        rise = self.end_factor - self.start_factor
        factor = self.start_factor + rise * min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * factor for base in self.base_lrs]


class ExponentialLR(LRScheduler):
    r"""lr = lr * gamma, at each epoch.

    Args:
        optimizer: whose learning rates change.
        gamma: the factor.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.ExponentialLR(opt, gamma=0.5)
    >>> opt.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.25
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._check_call()
        return self._present() if self._is_initial else self._times(self.gamma)

    def _get_closed_form_lr(self) -> list[Any]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    r"""lr = initial lr * (1 - epoch / total_iters)**power.

    Args:
        optimizer: whose learning rates change.
        total_iters: epochs until the rate is 0.
        power: 1 is a line.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.PolynomialLR(opt, total_iters=2, power=2.0)
    >>> opt.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.125
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._check_call()
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._present()
        now, before = (1.0 - epoch / self.total_iters for epoch in (self.last_epoch, self.last_epoch - 1))
        return self._times((now / before) ** self.power)

    def _get_closed_form_lr(self) -> list[Any]:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]
