"""Averaged stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer, as_stored, library, zeros
from lampion.tensor import Tensor


class ASGD(Optimizer):
    r"""Gradient descent with a falling step, which also keeps the average of the parameters.

        p = (1 - lambd * eta) * p - eta * g
        a = a + mu * (p - a)
        eta = lr / (1 + lambd * lr * t)**alpha
        mu = 1 / max(1, t - t0)

    The average ``a`` is ``optimizer.state[p]["ax"]``; averaging begins after `t0` steps.

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate at the beginning.
        lambd: the decay of the parameters, and of the rate.
        alpha: the power with which the rate falls.
        t0: the step at which averaging begins.
        weight_decay, maximize: see `Optimizer`.

    Source: B. Polyak, A. Juditsky: "Acceleration of stochastic approximation by averaging" (SIAM J.
    Control Optim. 30, 1992).

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.ASGD([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.8000], requires_grad=True)
    """

    flags = ("maximize",)
    switches = ("weight_decay",)
    scalar_names = ("eta", "shrink", "mu", "decay")
    numbers = ("eta", "mu")

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-2, lambd: float = 1e-4, alpha: float = 0.75,
        t0: float = 1e6, weight_decay: float = 0, foreach: bool | None = None, maximize: bool = False,
        differentiable: bool = False, capturable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        })  # fmt: skip

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"eta": as_stored(number(group["lr"])), "mu": 1.0, **zeros(p, "ax")}

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        eta, mu = numbers
        return eta, 1 - group["lambd"] * eta, mu, group["weight_decay"]

    def advance(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        lr = number(group["lr"])
        eta = lr / (1 + group["lambd"] * lr * step) ** group["alpha"]
        return as_stored(eta), as_stored(1 / max(1, step - group["t0"]))

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        if group["maximize"]:
            g = -g
        if group["weight_decay"]:
            g = g + p * h["decay"]
        p = p * h["shrink"] - g * h["eta"]
        a = state["ax"]
        state["ax"] = library(p).where(h["mu"] == 1.0, p, a + (p - a) * h["mu"])
        return p
