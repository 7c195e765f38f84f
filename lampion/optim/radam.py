"""RAdam."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer, library, zeros
from lampion.tensor import Tensor


class RAdam(Optimizer):
    r"""Adam that waits with dividing by the average of the squares until that average is worth something.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        n = 2 / (1 - beta2) - 1,   n_t = n - 2 * t * beta2**t / (1 - beta2**t)
        r = sqrt((n_t - 4) * (n_t - 2) * n / ((n - 4) * (n - 2) * n_t))
        p = p - lr / (1 - beta1**t) * m * r * sqrt(1 - beta2**t) / (sqrt(v) + eps)        (n_t > 5)
        p = p - lr / (1 - beta1**t) * m                                                   (before)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: the decay rates of the two averages.
        eps: added to the denominator.
        decoupled_weight_decay: decay as AdamW does.
        weight_decay, maximize: see `Optimizer`.

    Source: L. Liu et al.: "On the variance of the adaptive learning rate and beyond" (ICLR 2020).

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.RAdam([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.8000], requires_grad=True)
    """

    flags = ("eps", "maximize", "decoupled_weight_decay")
    switches = ("weight_decay",)
    scalar_names = ("step_size", "rectified", "beta1", "beta2", "gain1", "gain2", "shrink", "decay")

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, decoupled_weight_decay: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False,
        differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
            "foreach": foreach, "capturable": capturable, "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        })  # fmt: skip

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return zeros(p, "exp_avg", "exp_avg_sq")

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        lr, beta1, beta2 = map(number, (group["lr"], *group["betas"]))
        left = 1 - beta2**step
        most = 2 / (1 - beta2) - 1
        length = most - 2 * step * beta2**step / left
        rectified = 0.0  # which says: not yet
        if length > 5.0:
            rectified = math.sqrt(
                left * (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
            )
        return (lr / (1 - beta1**step), rectified, beta1, beta2, 1 - beta1, 1 - beta2,
                1 - lr * group["weight_decay"], group["weight_decay"])  # fmt: skip

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        xp = library(p)
        if group["maximize"]:
            g = -g
        if group["weight_decay"] and group["decoupled_weight_decay"]:
            p = p * h["shrink"]
        elif group["weight_decay"]:
            g = g + p * h["decay"]
        m = state["exp_avg"] = state["exp_avg"] * h["beta1"] + g * h["gain1"]
        v = state["exp_avg_sq"] = state["exp_avg_sq"] * h["beta2"] + g * g * h["gain2"]
        m = m * h["step_size"]
        return p - xp.where(h["rectified"] > 0.0, m / (xp.sqrt(v) + group["eps"]) * h["rectified"], m)
