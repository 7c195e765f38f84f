"""Adam and AdamW."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer, library, zeros
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
        amsgrad: divide by the largest v so far, so that steps never grow again (Reddi et al., "On the
            convergence of Adam and beyond", ICLR 2018).
        maximize: climb instead of descending.
        decoupled_weight_decay: decay as AdamW does.

    Source: D. Kingma, J. Ba: "Adam" (ICLR 2015); Deep Learning from Scratch 1, section 6.1.6.

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.9000], requires_grad=True)
    """

    flags = ("eps", "maximize", "amsgrad", "decoupled_weight_decay")
    switches = ("weight_decay",)
    scalar_names = ("step_size", "root", "beta1", "beta2", "gain1", "gain2", "shrink", "decay")

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, amsgrad: bool = False, *, foreach: bool | None = None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False,
        fused: bool | None = None, decoupled_weight_decay: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        })  # fmt: skip

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
        return zeros(p, *names[: 3 if group["amsgrad"] else 2])

    def is_incomplete(self, state: dict[str, Any], group: dict[str, Any]) -> bool:
        return group["amsgrad"] and "max_exp_avg_sq" not in state

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        lr, beta1, beta2 = map(number, (group["lr"], *group["betas"]))
        # 1 - beta is formed in double precision here: 1 - 0.999 in float32 is off by 5e-5.
        return (lr / (1 - beta1**step), math.sqrt(1 - beta2**step), beta1, beta2, 1 - beta1, 1 - beta2,
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
        if group["amsgrad"]:
            v = state["max_exp_avg_sq"] = xp.maximum(state["max_exp_avg_sq"], v)
        return p - m * h["step_size"] / (xp.sqrt(v) / h["root"] + group["eps"])


class AdamW(Adam):
    r"""Adam with the decay of the weights apart from the gradient.

        p = p - lr * weight_decay * p        (then Adam's step)

    Args:
        params, lr, betas, eps, amsgrad, maximize: as in `Adam`.
        weight_decay: the rate of the decay, which no average sees.

    Source: I. Loshchilov, F. Hutter: "Decoupled weight decay regularization" (ICLR 2019).

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.AdamW([w], lr=0.1, weight_decay=0.5)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.8500], requires_grad=True)
    """

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False,
        foreach: bool | None = None, capturable: bool = False, differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip
