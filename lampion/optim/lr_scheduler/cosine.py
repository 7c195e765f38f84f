"""Schedulers along a cosine."""

from __future__ import annotations

import functools
import math
from typing import Any

from lampion.errors import OptionError
from lampion.optim.lr_scheduler.base import LRScheduler
from lampion.optim.optimizer import Optimizer
from lampion.optim.traced import postponed


class CosineAnnealingLR(LRScheduler):
    r"""Half a cosine from the initial rate down to `eta_min`, and up again, and so on.

        lr = eta_min + (initial lr - eta_min) * (1 + cos(pi * epoch / T_max)) / 2

    computed from the rate before, so that other schedulers may act as well.

    Args:
        optimizer: whose learning rates change.
        T_max: epochs from the top to the bottom.
        eta_min: the lowest rate.
        last_epoch: see `LRScheduler`.

    Source: I. Loshchilov, F. Hutter: "SGDR: stochastic gradient descent with warm restarts" (ICLR 2017),
    without the restarts.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=2)
    >>> opt.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.25
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._check_call()
        epoch, half = self.last_epoch, self.T_max
        if self._is_initial:
            return self._present()
        if self._step_count == 1 and epoch > 0:
            return self._get_closed_form_lr()
        groups = self.optimizer.param_groups
        if (epoch - 1 - half) % (2 * half) == 0:  # from the bottom, where the quotient below is 0 / 0
            return [
                group["lr"] + (base - self.eta_min) * (1 - math.cos(math.pi / half)) / 2
                for base, group in zip(self.base_lrs, groups, strict=True)
            ]
        now, before = (1 + math.cos(math.pi * e / half) for e in (epoch, epoch - 1))
        return [now / before * (group["lr"] - self.eta_min) + self.eta_min for group in groups]

    def _get_closed_form_lr(self) -> list[Any]:
        height = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    r"""Half a cosine from the initial rate down to `eta_min`; then again from the top.

        lr = eta_min + (initial lr - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2

    with T_cur epochs since the last restart, and T_i from there to the next.

    Args:
        optimizer: whose learning rates change.
        T_0: epochs until the first restart.
        T_mult: what T_i is multiplied by at each restart.
        eta_min: the lowest rate.
        last_epoch: see `LRScheduler`.

    Source: I. Loshchilov, F. Hutter: "SGDR: stochastic gradient descent with warm restarts" (ICLR 2017).

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.lr_scheduler.CosineAnnealingWarmRestarts(opt, T_0=2)
    >>> opt.step(); scheduler.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        name = "CosineAnnealingWarmRestarts"
        if not isinstance(T_0, int) or T_0 <= 0:
            raise OptionError(name, f"Expected positive integer T_0, but got {T_0}")
        if not isinstance(T_mult, int) or T_mult < 1:
            raise OptionError(name, f"Expected integer T_mult >= 1, but got {T_mult}")
        if not isinstance(eta_min, int | float):
            raise OptionError(name, f"Expected float or int eta_min, but got {eta_min}")
        self.T_0 = T_0
        self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        self._check_call()
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Go to the next epoch, or to any (a fraction, too: ``epoch + batch / batches``)."""
        if postponed(self, functools.partial(CosineAnnealingWarmRestarts.step, self, epoch)):
            return
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise OptionError(type(self).__name__, f"Expected non-negative epoch, but got {epoch}")
        elif epoch < self.T_0:
            self.T_i, self.T_cur = self.T_0, epoch
        elif self.T_mult == 1:
            self.T_cur = epoch % self.T_0
        else:
            n = int(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1, self.T_mult))
            self.T_cur = epoch - self.T_0 * (self.T_mult**n - 1) / (self.T_mult - 1)
            self.T_i = self.T_0 * self.T_mult**n
        self.last_epoch = math.floor(epoch)
        self._write(self.get_lr)
