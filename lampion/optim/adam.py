"""Adam."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lampion.errors import LampionError
from lampion.optim.optimizer import Optimizer
from lampion.tensor import Tensor


class Adam(Optimizer):
    r"""Adam: each parameter's step is scaled by running averages of its gradient and of its square.

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr / (1 - beta1**t) * m / (sqrt(v) / sqrt(1 - beta2**t) + eps)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: the decay rates of the two averages.
        eps: added to the denominator.
        weight_decay: g = g + weight_decay * p (the L2 penalty, not AdamW's decay).

    Source: D. Kingma, J. Ba: "Adam" (ICLR 2015); Deep Learning from Scratch 1, section 6.1.6.

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.9000], requires_grad=True)
    """

    flags = ("eps", "weight_decay", "betas", "maximize")
    scalar_names = ("step_size", "root", "beta1", "beta2", "gain1", "gain2")

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0.0, *, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
        })  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not all(0.0 <= beta < 1.0 for beta in group["betas"]):
            raise LampionError(
                "Adam", "betas are decay rates", expected="0 <= beta < 1", got=str(group["betas"])
            )

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        from lampion.ops import zeros_like

        return {"exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}

    def scalars(self, group: dict[str, Any], step: int) -> Sequence[float]:
        beta1, beta2 = group["betas"]
        # 1 - beta is formed in double precision here: 1 - 0.999 in float32 is off by 5e-5.
        return (group["lr"] / (1 - beta1**step), math.sqrt(1 - beta2**step),
                beta1, beta2, 1 - beta1, 1 - beta2)  # fmt: skip

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        if group["maximize"]:
            g = -g
        if group["weight_decay"]:
            g = g + p * group["weight_decay"]
        m = state["exp_avg"] = state["exp_avg"] * h["beta1"] + g * h["gain1"]
        v = state["exp_avg_sq"] = state["exp_avg_sq"] * h["beta2"] + g * g * h["gain2"]
        return p - m * h["step_size"] / (v**0.5 / h["root"] + group["eps"])
