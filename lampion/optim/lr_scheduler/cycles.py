"""Schedulers in cycles, up and down, with the momentum the other way round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lampion.errors import OptionError
from lampion.optim.lr_scheduler.base import (
    LRScheduler,
    check_optimizer,
    per_group,
    saved_function,
    set_value,
)
from lampion.optim.optimizer import Optimizer


class _Cycles(LRScheduler):
    """What the two share: the momentum, which is the first of the betas in some optimizers."""

    cycle_momentum: bool

    def _begin_momentum(self, base: Any, largest: Any, fresh: bool) -> tuple[list[Any], list[Any]]:
        """The lowest and the largest momentum of each group; written into the groups, too."""
        optimizer = self.optimizer
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise OptionError(
                type(self).__name__,
                "optimizer must support momentum or beta1 with `cycle_momentum` option enabled",
                fix="cycle_momentum=False",
            )
        self.use_beta1 = "betas" in optimizer.defaults
        low, high = per_group("base_momentum", optimizer, base), per_group("max_momentum", optimizer, largest)
        if fresh:
            for group, least, most in zip(optimizer.param_groups, low, high, strict=True):
                self._set_momentum(group, most)
                group["max_momentum"] = most
                group["base_momentum"] = least
        return low, high

    def _set_momentum(self, group: dict[str, Any], value: Any) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class CyclicLR(_Cycles):
    r"""From `base_lr` along a line up to `max_lr` and down again, and so on. To be stepped at each batch.

        lr = base_lr + (max_lr - base_lr) * height * scale

    where height goes from 0 to 1 and back, and scale makes the peaks lower.

    Args:
        optimizer: whose learning rates (and momenta) change.
        base_lr, max_lr: the lowest and the highest rate; lists of one for each group.
        step_size_up, step_size_down: batches on the way up, and down (the same, if not given).
        mode: of the scale: ``"triangular"`` 1, ``"triangular2"`` halves in each cycle, ``"exp_range"``
            gamma**batch.
        gamma: see there.
        scale_fn, scale_mode: a scale of one's own, of the number of the ``"cycle"`` or of the batch
            (``"iterations"``); then `mode` does not count.
        cycle_momentum: whether the momentum falls from `max_momentum` to `base_momentum` where the rate
            rises.
        base_momentum, max_momentum: numbers, or lists of one for each group.
        last_epoch: see `LRScheduler`.

    Source: L. Smith: "Cyclical learning rates for training neural networks" (WACV 2017).

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.1, momentum=0.9)
    >>> scheduler = lampion.optim.lr_scheduler.CyclicLR(opt, base_lr=0.25, max_lr=0.75, step_size_up=2)
    >>> opt.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: float | list[float], max_lr: float | list[float],
        step_size_up: int = 2000, step_size_down: int | None = None, mode: str = "triangular",
        gamma: float = 1.0, scale_fn: Callable[[float], float] | None = None, scale_mode: str = "cycle",
        cycle_momentum: bool = True, base_momentum: float | list[float] = 0.8,
        max_momentum: float | list[float] = 0.9, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        self.optimizer = check_optimizer(optimizer)
        base_lrs = per_group("base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for lr, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_value(group, "lr", lr)
        self.max_lrs = per_group("max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise OptionError("CyclicLR", "mode is invalid and scale_fn is None", got=repr(mode))
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        if scale_fn is None:
            self.scale_mode = "iterations" if mode == "exp_range" else "cycle"
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.base_momentums, self.max_momentums = self._begin_momentum(
                base_momentum, max_momentum, last_epoch == -1
            )
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """The scale of a cycle, or of a batch."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular":
            return 1.0
        return 1 / (2.0 ** (x - 1)) if self.mode == "triangular2" else float(self.gamma**x)

    def get_lr(self) -> list[Any]:
        self._check_call()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            ranges = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, ranges, strict=True):
                self._set_momentum(group, high - (high - low) * height * scale)
        return [
            low + (high - low) * height * scale
            for low, high in zip(self.base_lrs, self.max_lrs, strict=True)
        ]  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """What is remembered. A function is not, but for the attributes of an object that can be called."""
        return {**super().state_dict(), "_scale_fn_custom": saved_function(self._scale_fn_custom)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "_scale_fn_custom"})
        if (attributes := state_dict["_scale_fn_custom"]) is not None:
            vars(self._scale_fn_custom).update(attributes)


class OneCycleLR(_Cycles):
    r"""One way up to `max_lr`, and one down to almost nothing. To be stepped at each batch.

    From max_lr / div_factor to max_lr, then to max_lr / div_factor / final_div_factor.

    Args:
        optimizer: whose learning rates (and momenta) change.
        max_lr: the highest rate, or a list of one for each group.
        total_steps: batches in the cycle; or, instead:
        epochs, steps_per_epoch: whose product it is.
        pct_start: the part of the cycle that goes up.
        anneal_strategy: ``"cos"`` along a cosine, ``"linear"`` along a line.
        cycle_momentum, base_momentum, max_momentum: as in `CyclicLR`.
        div_factor, final_div_factor: see above.
        three_phase: first back to the rate of the beginning, as fast as up, and then down.
        last_epoch: see `LRScheduler`.

    Source: L. Smith, N. Topin: "Super-convergence" (arXiv:1708.07120).

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.1, momentum=0.9)
    >>> scheduler = lampion.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.5, total_steps=10)
    >>> for _ in range(2):
    ...     opt.step(); scheduler.step()
    >>> opt.param_groups[0]["lr"]
    0.5
    """

    def __init__(
        self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None,
        epochs: int | None = None, steps_per_epoch: int | None = None, pct_start: float = 0.3,
        anneal_strategy: str = "cos", cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85, max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        self.optimizer = check_optimizer(optimizer)
        if total_steps is not None:
            self.total_steps = _positive("total_steps", total_steps)
        elif epochs is not None and steps_per_epoch is not None:
            self.total_steps = _positive("epochs", epochs) * _positive("steps_per_epoch", steps_per_epoch)
        else:
            raise OptionError(
                "OneCycleLR", "You must define either total_steps OR (epochs AND steps_per_epoch)"
            )
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise OptionError("OneCycleLR", f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError("OneCycleLR", "anneal_strategy must be one of 'cos' or 'linear'",
                              got=repr(anneal_strategy))  # fmt: skip
        top, last = float(pct_start * self.total_steps) - 1, self.total_steps - 1
        phases = [(top, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
        if three_phase:
            back = float(2 * pct_start * self.total_steps) - 2
            phases += [(back, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
                       (last, "initial_lr", "min_lr", "max_momentum", "max_momentum")]  # fmt: skip
        else:
            phases += [(last, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        names = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
        self._schedule_phases: list[dict[str, Any]] = [dict(zip(names, p, strict=True)) for p in phases]
        self._anneal_func_type = anneal_strategy
        if last_epoch == -1:
            for group, highest in zip(
                optimizer.param_groups, per_group("max_lr", optimizer, max_lr), strict=True
            ):
                group["initial_lr"] = highest / div_factor
                group["max_lr"] = highest
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self._begin_momentum(base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def _between(self, start: Any, end: Any, part: float) -> Any:
        if self._anneal_func_type == "linear":
            return (end - start) * part + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * part) + 1)

    def get_lr(self) -> list[Any]:
        self._check_call()
        step = self.last_epoch
        if step > self.total_steps:
            raise OptionError(
                "OneCycleLR",
                f"Tried to step {step} times. The specified number of total steps is {self.total_steps}",
            )
        begin = 0.0
        for phase in self._schedule_phases:
            if step <= phase["end_step"]:
                break
            begin = phase["end_step"] if phase is not self._schedule_phases[-1] else begin
        part = (step - begin) / (phase["end_step"] - begin)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(self._between(group[phase["start_lr"]], group[phase["end_lr"]], part))
            if self.cycle_momentum:
                start, end = group[phase["start_momentum"]], group[phase["end_momentum"]]
                self._set_momentum(group, self._between(start, end, part))
        return rates


def _positive(name: str, value: Any) -> int:
    if not isinstance(value, int) or value <= 0:
        raise OptionError("OneCycleLR", f"Expected positive integer {name}, but got {value}")
    return value
