"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer, library, zeros
from lampion.tensor import Tensor


class Adamax(Optimizer):
    r"""Adam with the largest gradient, slowly forgotten, in the place of the average of its square.

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        p = p - lr / (1 - beta1**t) * m / u

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: the decay rates of m and u.
        eps: added to |g|, so that u is not zero.
        weight_decay, maximize: see `Optimizer`.

    Source: D. Kingma, J. Ba: "Adam" (ICLR 2015), section 7.1.

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.Adamax([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.9000], requires_grad=True)
    """

    flags = ("eps", "maximize")
    switches = ("weight_decay",)
    scalar_names = ("step_size", "beta1", "beta2", "gain1", "decay")

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *, maximize: bool = False,
        differentiable: bool = False, capturable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach,
            "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
        })  # fmt: skip

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return zeros(p, "exp_avg", "exp_inf")

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        beta1, beta2 = map(number, group["betas"])
        return number(group["lr"]) / (1 - beta1**step), beta1, beta2, 1 - beta1, group["weight_decay"]

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        xp = library(p)
        if group["maximize"]:
            g = -g
        if group["weight_decay"]:
            g = g + p * h["decay"]
        m = state["exp_avg"] = state["exp_avg"] * h["beta1"] + g * h["gain1"]
        u = state["exp_inf"] = xp.maximum(state["exp_inf"] * h["beta2"], xp.abs(g) + group["eps"])
        return p - m * h["step_size"] / u
