"""Stochastic gradient descent, with momentum and Nesterov's variant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lampion.errors import OptionError
from lampion.ops.advanced_indexing import write_rows
from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer, zeros
from lampion.optim.rows import incompatible
from lampion.tensor import Tensor


class SGD(Optimizer):
    r"""Stochastic gradient descent.

        g = g + weight_decay * p
        v = momentum * v + (1 - dampening) * g        (v = g at the first step)
        p = p - lr * v                                (nesterov: p - lr * (g + momentum * v))

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        momentum, dampening, weight_decay, nesterov, maximize: as in PyTorch.

    Source: Deep Learning from Scratch 1, sections 6.1.2 and 6.1.4; Sutskever et al. (ICML 2013).

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.8000], requires_grad=True)
    """

    flags = ("nesterov", "maximize")
    switches = ("momentum", "weight_decay")
    scalar_names = ("lr", "momentum", "first", "decay")
    saves_step = False

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float | Tensor = 0, nesterov: bool = False, *, maximize: bool = False,
        foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach, "differentiable": differentiable,
            "fused": fused,
        })  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            given = f"momentum {group['momentum']}, dampening {group['dampening']}"
            raise OptionError("SGD", "Nesterov momentum requires a momentum and zero dampening", got=given)

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return zeros(p, "momentum_buffer") if group["momentum"] else {}

    def is_incomplete(self, state: dict[str, Any], group: dict[str, Any]) -> bool:
        return bool(group["momentum"]) and "momentum_buffer" not in state

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        # The buffer starts as the first gradient itself: no dampening there, and 0 of the old buffer.
        gain = 1.0 if step == 1 else 1.0 - group["dampening"]
        return number(group["lr"]), group["momentum"], gain, number(group["weight_decay"])

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        if group["maximize"]:
            g = -g
        if group["weight_decay"]:
            g = g + p * h["decay"]
        if group["momentum"]:
            v = state["momentum_buffer"] = state["momentum_buffer"] * h["momentum"] + g * h["first"]
            g = g + v * h["momentum"] if group["nesterov"] else v
        return p - g * h["lr"]

    def update_sparse(self, p: Tensor, gradient: Any, h: dict[str, Any], group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            raise incompatible("SGD", "weight_decay")
        if group["momentum"]:  # which moves all rows that were ever used
            self._update_tensor(p, gradient.to_dense(), h, group)
            return
        rate = h["lr"] if group["maximize"] else -h["lr"]
        write_rows(p, gradient.index, gradient.rows * rate, accumulate=True)
