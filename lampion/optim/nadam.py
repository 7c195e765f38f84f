"""NAdam."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer, as_stored, library, zeros
from lampion.tensor import Tensor


class NAdam(Optimizer):
    r"""Adam with Nesterov's momentum: the step looks ahead by one step of the average.

        mu_t = beta1 * (1 - 0.96**(t * momentum_decay) / 2)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        n = (1 - mu_t) / (1 - mu_1...mu_t) * g + mu_{t+1} / (1 - mu_1...mu_{t+1}) * m
        p = p - lr * n / (sqrt(v / (1 - beta2**t)) + eps)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: the decay rates of the two averages.
        eps: added to the denominator.
        momentum_decay: how fast the momentum mu_t grows towards beta1.
        decoupled_weight_decay: decay as AdamW does.
        weight_decay, maximize: see `Optimizer`.

    Source: T. Dozat: "Incorporating Nesterov momentum into Adam" (ICLR 2016 workshop).

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.NAdam([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.8944], requires_grad=True)
    """

    flags = ("eps", "maximize", "decoupled_weight_decay")
    switches = ("weight_decay",)
    scalar_names = ("of_g", "of_m", "correction", "beta1", "beta2", "gain1", "gain2", "shrink", "decay")
    numbers = ("mu_product",)

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, weight_decay: float = 0, momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False, *, foreach: bool | None = None, maximize: bool = False,
        capturable: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable,
        })  # fmt: skip

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {"mu_product": 1.0, **zeros(p, "exp_avg", "exp_avg_sq")}

    def advance(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        return (as_stored(numbers[0] * as_stored(_momentum(group, step))),)

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        lr, beta1, beta2 = map(number, (group["lr"], *group["betas"]))
        (product,) = self.advance(group, step, *numbers)
        mu, following = _momentum(group, step), _momentum(group, step + 1)
        return (
            lr * (1 - mu) / (1 - product), lr * following / (1 - product * following), 1 - beta2**step,
            beta1, beta2, 1 - beta1, 1 - beta2, 1 - lr * group["weight_decay"], group["weight_decay"],
        )  # fmt: skip

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        if group["maximize"]:
            g = -g
        if group["weight_decay"] and group["decoupled_weight_decay"]:
            p = p * h["shrink"]
        elif group["weight_decay"]:
            g = g + p * h["decay"]
        m = state["exp_avg"] = state["exp_avg"] * h["beta1"] + g * h["gain1"]
        v = state["exp_avg_sq"] = state["exp_avg_sq"] * h["beta2"] + g * g * h["gain2"]
        size = library(p).sqrt(v / h["correction"]) + group["eps"]
        return p - g * h["of_g"] / size - m * h["of_m"] / size


def _momentum(group: dict[str, Any], step: int) -> float:
    return number(group["betas"][0]) * (1.0 - 0.5 * float(0.96 ** (step * group["momentum_decay"])))
