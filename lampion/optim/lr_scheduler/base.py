"""What all schedulers share: counting epochs, and writing the learning rates."""

from __future__ import annotations

import functools
import types
import warnings
from collections.abc import Callable
from typing import Any

from lampion.errors import OptionError
from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer
from lampion.optim.traced import outside_of_traces, postponed
from lampion.tensor import Tensor


class LRScheduler:
    """Base class of the schedulers. A scheduler of one's own defines `get_lr`.

    Making one takes a first step, to epoch 0. Most schedulers compute the next rate from the present one,
    so that several of them, and changes by hand, act together.

    Args:
        optimizer: whose learning rates change.
        last_epoch: the epoch that was the last one, where training goes on; -1 at its beginning.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        outside_of_traces("makes a learning-rate scheduler")
        self.optimizer = check_optimizer(optimizer)
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", copied(group["lr"]))
        for index, group in enumerate(optimizer.param_groups):
            if "initial_lr" not in group:
                raise InitialRateError(
                    type(self).__name__,
                    f"param 'initial_lr' is not specified in param_groups[{index}] when resuming scheduler "
                    "with last_epoch >= 0",
                    fix="load the state of the optimizer before, or leave last_epoch at -1",
                )  # fmt: skip
        self.base_lrs: list[Any] = values_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        if optimizer._calls.scheduled is None:
            optimizer._calls.scheduled = optimizer._calls.steps
        self._initial_step()

    def _initial_step(self) -> None:
        """Go to epoch 0."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[Any]:
        """The rate of each group in the epoch `last_epoch`: called by `step`."""
        raise NotImplementedError  # abstract

    def get_last_lr(self) -> list[Any]:
        """The rate of each group, as the last `step` left it."""
        return self._last_lr

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch.

        Args:
            epoch: go to this one instead; deprecated, as in PyTorch.
        """
        if postponed(self, functools.partial(LRScheduler.step, self, epoch)):
            return
        if self._step_count == 1:
            self._check_order()
        self._step_count += 1
        if epoch is not None:
            warn_of_epoch()
        self._update_lr(epoch)

    def _check_order(self) -> None:
        calls = self.optimizer._calls
        if "step" in vars(self.optimizer):
            warnings.warn(
                "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
                "initialization. Please, make sure to call `optimizer.step()` before `lr_scheduler.step()`.",
                UserWarning, stacklevel=3,
            )  # fmt: skip
        elif calls.steps <= (calls.scheduled or 0):
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`: the first value of the "
                "schedule is skipped. Call `optimizer.step()` before `lr_scheduler.step()`.",
                UserWarning, stacklevel=3,
            )  # fmt: skip

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        compute: Callable[[], list[Any]] = self.get_lr
        if epoch is not None:
            compute = getattr(self, "_get_closed_form_lr", compute)
        self._write(compute)

    def _write(self, compute: Callable[[], list[Any]]) -> None:
        self._get_lr_called_within_step = True
        try:
            values = compute()
        finally:
            self._get_lr_called_within_step = False
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            set_value(group, "lr", lr)
        self._last_lr = values_of(self.optimizer, "lr")

    def _present(self) -> list[Any]:
        """The rates as they are: what `get_lr` of an epoch without a change returns."""
        return values_of(self.optimizer, "lr")

    def _times(self, factor: float) -> list[Any]:
        """The present rates times a factor."""
        return [group["lr"] * factor for group in self.optimizer.param_groups]

    def _check_call(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use `get_last_lr()`.",
                UserWarning, stacklevel=3,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """All that the scheduler remembers, but for the optimizer."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        vars(self).update(state_dict)


class InitialRateError(OptionError, KeyError):
    """A scheduler is to go on, but the groups do not say where their rates began."""

    __str__ = OptionError.__str__  # KeyError shows the representation of its message


def check_optimizer(optimizer: Any) -> Optimizer:
    """The optimizer, if it is one."""
    if not isinstance(optimizer, Optimizer):
        raise OptionError("lr_scheduler", f"{type(optimizer).__name__} is not an Optimizer",
                          expected="an optimizer of lampion.optim")  # fmt: skip
    return optimizer


def values_of(optimizer: Optimizer, key: str) -> list[Any]:
    """An option of each group; Tensors as copies."""
    return [copied(group[key]) for group in optimizer.param_groups]


def copied(value: Any) -> Any:
    """A number, or a copy of a Tensor."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def set_value(group: dict[str, Any], key: str, value: Any) -> None:
    """Write an option; into a Tensor, where it is one."""
    if isinstance(group[key], Tensor):
        group[key].fill_(number(value))
    else:
        group[key] = value


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group: what was given, if it is a list."""
    count = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [copied(value) for _ in range(count)]
    if len(value) != count:
        raise OptionError("lr_scheduler", f"{name} must have the same length as optimizer.param_groups",
                          expected=f"{count} values", got=f"{len(value)}")  # fmt: skip
    return [copied(item) for item in value]


def warn_of_epoch() -> None:
    """Say that `step` goes to the next epoch by itself."""
    warnings.warn(
        "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. "
        "Please use `scheduler.step()` to step the scheduler.", UserWarning, stacklevel=3,
    )  # fmt: skip


def saved_function(function: Any) -> Any:
    """What is saved of a function: the attributes of an object that can be called; nothing of others."""
    return None if function is None or isinstance(function, types.FunctionType) else vars(function).copy()


class HoldsFunctions(LRScheduler):
    """A scheduler with one function for each group, in `lr_lambdas`."""

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        count = len(check_optimizer(optimizer).param_groups)
        functions = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * count
        if len(functions) != count:
            raise OptionError(type(self).__name__, f"Expected {count} lr_lambdas, but got {len(functions)}")
        for function in functions:
            if not callable(function):
                raise OptionError(type(self).__name__, "lr_lambda should be a function",
                                  got=type(function).__name__)  # fmt: skip
        self.lr_lambdas: list[Callable[[int], float]] = functions
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """What is remembered. Functions are not, but for the attributes of objects that can be called."""
        return {**super().state_dict(), "lr_lambdas": [saved_function(f) for f in self.lr_lambdas]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict({k: v for k, v in state_dict.items() if k != "lr_lambdas"})
        for function, attributes in zip(self.lr_lambdas, state_dict["lr_lambdas"], strict=True):
            if attributes is not None:
                vars(function).update(attributes)
