"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lampion.optim.groups import number, refused
from lampion.optim.optimizer import Optimizer, library, zeros
from lampion.tensor import Tensor


class Adadelta(Optimizer):
    r"""The step has the size of recent steps, relative to the size of recent gradients.

        v = rho * v + (1 - rho) * g**2
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d**2
        p = p - lr * d

    Args:
        params: the parameters, or groups of them.
        lr: a factor of the step; 1 in the paper.
        rho: the decay rate of the averages u and v.
        eps: under both roots; it sets the size of the first step.
        weight_decay, maximize: see `Optimizer`.

    Source: M. Zeiler: "ADADELTA: an adaptive learning rate method" (arXiv:1212.5701).

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.Adadelta([w], eps=1e-2)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.6877], requires_grad=True)
    """

    flags = ("eps", "maximize")
    switches = ("weight_decay",)
    scalar_names = ("lr", "rho", "gain", "decay")

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1.0, rho: float = 0.9, eps: float = 1e-6,
        weight_decay: float = 0, foreach: bool | None = None, *, capturable: bool = False,
        maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "capturable": capturable, "foreach": foreach, "differentiable": differentiable,
        })  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not 0.0 <= group["rho"] <= 1.0:
            raise refused("Adadelta", "rho value", group["rho"], "0 <= rho <= 1")

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return zeros(p, "square_avg", "acc_delta")

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        return number(group["lr"]), group["rho"], 1 - group["rho"], group["weight_decay"]

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        xp = library(p)
        if group["maximize"]:
            g = -g
        if group["weight_decay"]:
            g = g + p * h["decay"]
        v = state["square_avg"] = state["square_avg"] * h["rho"] + g * g * h["gain"]
        u = state["acc_delta"]
        d = xp.sqrt(u + group["eps"]) / xp.sqrt(v + group["eps"]) * g
        state["acc_delta"] = u * h["rho"] + d * d * h["gain"]
        return p - d * h["lr"]
