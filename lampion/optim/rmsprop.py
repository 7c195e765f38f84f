"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lampion.optim.groups import number, refused
from lampion.optim.optimizer import Optimizer, library, zeros
from lampion.tensor import Tensor


class RMSprop(Optimizer):
    r"""Each element's step is divided by the root of a running average of its squared gradient.

        v = alpha * v + (1 - alpha) * g**2
        a = alpha * a + (1 - alpha) * g               (centered: the variance is v - a**2)
        b = momentum * b + g / (sqrt(v - a**2) + eps)
        p = p - lr * b

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        alpha: the decay rate of the averages.
        eps: added to the denominator, outside of the root.
        momentum: the part of the last step that is repeated.
        centered: divide by the standard deviation of the gradient, not by its size (Graves,
            arXiv:1308.0850).
        weight_decay, maximize: see `Optimizer`.

    Source: T. Tieleman, G. Hinton: "Lecture 6.5: RMSprop" (Coursera, 2012).

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.RMSprop([w], lr=0.01)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.9000], requires_grad=True)
    """

    flags = ("eps", "centered", "maximize")
    switches = ("weight_decay", "momentum")
    scalar_names = ("lr", "alpha", "gain", "momentum", "decay")

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0, momentum: float = 0, centered: bool = False, capturable: bool = False,
        foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
            "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable,
        })  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not group["alpha"] >= 0.0:
            raise refused("RMSprop", "alpha value", group["alpha"], "alpha >= 0")

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return zeros(p, "square_avg", *_wanted(group))

    def is_incomplete(self, state: dict[str, Any], group: dict[str, Any]) -> bool:
        return any(name not in state for name in _wanted(group))

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        alpha = group["alpha"]
        return number(group["lr"]), alpha, 1 - alpha, group["momentum"], group["weight_decay"]

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        xp = library(p)
        if group["maximize"]:
            g = -g
        if group["weight_decay"]:
            g = g + p * h["decay"]
        v = state["square_avg"] = state["square_avg"] * h["alpha"] + g * g * h["gain"]
        if group["centered"]:
            # a + (g - a) * gain, not a * alpha + g * gain: the next line takes a difference of two numbers
            # that are nearly equal, and shows the last bit of both.
            a = state["grad_avg"] = state["grad_avg"] + (g - state["grad_avg"]) * h["gain"]
            v = v - a * a
        b = g / (xp.sqrt(v) + group["eps"])
        if group["momentum"] > 0:
            b = state["momentum_buffer"] = state["momentum_buffer"] * h["momentum"] + b
        return p - b * h["lr"]


def _wanted(group: dict[str, Any]) -> list[str]:
    """The names of the state beside the average of the squares."""
    return ["momentum_buffer"] * (group["momentum"] > 0) + ["grad_avg"] * bool(group["centered"])
