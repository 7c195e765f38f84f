"""Averages of a model's parameters over the time of training: SWA and EMA."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import lampion
from lampion.dtype import DType, get_default_dtype
from lampion.errors import OptionError
from lampion.mode import no_grad
from lampion.nn.module import Module
from lampion.optim.lr_scheduler.base import LRScheduler, check_optimizer, per_group
from lampion.optim.optimizer import Optimizer
from lampion.optim.traced import count_writes, is_traced, outside_of_traces
from lampion.tensor import Tensor

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip


def get_ema_avg_fn(decay: float = 0.999) -> Callable[..., Tensor]:
    """The rule of the exponential average: averaged = decay * averaged + (1 - decay) * current.

    >>> import lampion
    >>> rule = lampion.optim.swa_utils.get_ema_avg_fn(0.5)
    >>> rule(lampion.tensor(1.0), lampion.tensor(2.0), 3)
    tensor(1.5000)
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param: Tensor, current_param: Tensor, num_averaged: Any) -> Tensor:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., None]:
    """The same for lists of Tensors, the first of which is written into."""
    _check_decay(decay)

    @no_grad()
    def ema_update(
        ema_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], num_averaged: Any
    ) -> None:
        _towards(ema_param_list, current_param_list, 1 - decay)

    return ema_update


def get_swa_avg_fn() -> Callable[..., Tensor]:
    """The rule of the plain average: averaged = averaged + (current - averaged) / (n + 1).

    >>> import lampion
    >>> rule = lampion.optim.swa_utils.get_swa_avg_fn()
    >>> rule(lampion.tensor(1.0), lampion.tensor(2.0), 3)
    tensor(1.2500)
    """

    @no_grad()
    def swa_update(averaged_param: Tensor, current_param: Tensor, num_averaged: Any) -> Any:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def get_swa_multi_avg_fn() -> Callable[..., None]:
    """The same for lists of Tensors, the first of which is written into."""

    @no_grad()
    def swa_update(
        averaged_param_list: Sequence[Tensor], current_param_list: Sequence[Tensor], num_averaged: Any
    ) -> None:
        number = num_averaged.double() if is_traced() else float(num_averaged)
        _towards(averaged_param_list, current_param_list, 1 / (number + 1))

    return swa_update


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise OptionError(
            "get_ema_avg_fn", f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def _towards(averaged: Sequence[Tensor], current: Sequence[Tensor], part: Any) -> None:
    """Move each average by a part of the way; integers are rounded down."""
    for a, c in zip(averaged, current, strict=True):
        if a.dtype.is_inexact:
            a.add_((c - a) * _rounded(part, a.dtype))
        else:
            real = get_default_dtype()
            a.copy_(a * _rounded(1 - part, real) + c * _rounded(part, real))


def _rounded(part: Any, dtype: DType) -> Any:
    """A number as arithmetic with tensors of a type takes it, also where it is a traced Tensor."""
    return part.to(dtype) if isinstance(part, Tensor) else part


class AveragedModel(Module):
    r"""A copy of a model whose parameters are averages of the model's.

    Call `update_parameters` after steps of training; use the average like the model itself. Afterwards
    `update_bn` gives batch normalisation the statistics that fit to it.

    Args:
        model: what is averaged; it is copied.
        device: of the copy.
        avg_fn: ``avg_fn(averaged, current, number)`` returns the new average of one parameter. Without any
            rule: `get_swa_avg_fn`.
        multi_avg_fn: the same for lists, which it writes into; see `get_ema_multi_avg_fn`.
        use_buffers: average buffers, too; otherwise they are copied from the model.

    Source: P. Izmailov et al.: "Averaging weights leads to wider optima and better generalization" (UAI
    2018).

    >>> import lampion
    >>> from lampion.optim.swa_utils import AveragedModel
    >>> model = lampion.nn.Linear(1, 1, bias=False)
    >>> average = AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     with lampion.no_grad():
    ...         _ = model.weight.fill_(value)
    ...     average.update_parameters(model)
    >>> average.module.weight.item()
    3.0
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Callable[..., Tensor] | None = None,
        multi_avg_fn: Callable[..., None] | None = None, use_buffers: bool = False,
    ) -> None:  # fmt: skip
        outside_of_traces("makes an average of a model")
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise OptionError(
                "AveragedModel", "Only one of avg_fn and multi_avg_fn should be provided", fix="leave one out"
            )
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", lampion.tensor(0, dtype=lampion.int64))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the averaged model makes of it."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take the model, as it is now, into the average."""
        averaged = [p.detach() for p in _averaged(self.module, self.use_buffers)]
        current = [p.detach() for p in _averaged(model, self.use_buffers)]
        with no_grad():
            if is_traced():
                self._average_traced(averaged, current)
            elif int(self.n_averaged) == 0:
                _copy(averaged, current)
            elif self.avg_fn is not None:
                _copy(averaged, [
                    self.avg_fn(a, c, self.n_averaged) for a, c in zip(averaged, current, strict=True)
                ])  # fmt: skip
            else:
                self._average_lists(averaged, current)
            if not self.use_buffers:
                _copy(list(self.module.buffers()), list(model.buffers()))
            self.n_averaged.add_(1)

    def _average_traced(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        """The same where the number is not known: the first model is copied, whatever the rule says."""
        first = self.n_averaged == 0
        if self.avg_fn is not None:
            new = [self.avg_fn(a, c, self.n_averaged) for a, c in zip(averaged, current, strict=True)]
        else:
            new = [a.clone() for a in averaged]
            self._average_lists(new, current)
        _copy(averaged, [lampion.where(first, c, a) for a, c in zip(new, current, strict=True)])
        count_writes(averaged, new)

    def _average_lists(self, averaged: list[Tensor], current: list[Tensor]) -> None:
        rule = self.multi_avg_fn or get_swa_multi_avg_fn()
        for dtype in dict.fromkeys(p.dtype for p in averaged):
            pairs = [(a, c) for a, c in zip(averaged, current, strict=True) if a.dtype is dtype]
            rule([a for a, _ in pairs], [c for _, c in pairs], self.n_averaged)


def _averaged(model: Module, use_buffers: bool) -> list[Tensor]:
    return [*model.parameters(), *(model.buffers() if use_buffers else ())]


def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.detach().copy_(source)


def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of batch normalisation anew, as the plain average over some batches.

    Args:
        loader: batches; of tuples and lists, the first part.
        model: goes through the batches in training mode, and is then in the mode that it was in.
        device: where the batches go.
    """
    outside_of_traces("updates running statistics")
    from lampion.nn import BatchNorm1d  # and its relatives of more dimensions

    layers: list[Any] = [m for m in model.modules() if isinstance(m, BatchNorm1d)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    was_training = model.training
    model.train()
    try:
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # which means: average over all batches
        with no_grad():
            for batch in loader:
                x = batch[0] if isinstance(batch, list | tuple) else batch
                model(x if device is None else x.to(device))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        model.train(was_training)


class SWALR(LRScheduler):
    r"""From the present rate to `swa_lr` in `anneal_epochs` epochs, and then constant.

    Args:
        optimizer: whose learning rates change.
        swa_lr: the rate at the end, or a list of one for each group.
        anneal_epochs: epochs on the way.
        anneal_strategy: ``"cos"`` along a cosine, ``"linear"`` along a line.
        last_epoch: see `LRScheduler`.

    >>> import lampion
    >>> opt = lampion.optim.SGD([lampion.ones(1, requires_grad=True)], lr=0.5)
    >>> scheduler = lampion.optim.swa_utils.SWALR(opt, 0.25, anneal_epochs=2, anneal_strategy="linear")
    >>> opt.step(); scheduler.step(); opt.param_groups[0]["lr"]
    0.375
    """

    def __init__(
        self, optimizer: Optimizer, swa_lr: float | list[float], anneal_epochs: int = 10,
        anneal_strategy: str = "cos", last_epoch: int = -1,
    ) -> None:  # fmt: skip
        values = per_group("swa_lr", check_optimizer(optimizer), swa_lr)
        if anneal_strategy not in ("cos", "linear"):
            raise OptionError(
                "SWALR", "anneal_strategy must be one of 'cos' or 'linear'", got=repr(anneal_strategy)
            )
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise OptionError("SWALR", f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        for value, group in zip(values, optimizer.param_groups, strict=True):
            group["swa_lr"] = value
        self._anneal_strategy = anneal_strategy
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _part(self, step: int) -> float:
        """How much of the way is done after a number of steps."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Any]:
        self._check_call()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._part(step - 1), self._part(step)
        rates = []
        for group in self.optimizer.param_groups:
            lr, end = group["lr"], group["swa_lr"]
            start = end if before == 1 else (lr - before * end) / (1 - before)
            rates.append(end * now + start * (1 - now))
        return rates
