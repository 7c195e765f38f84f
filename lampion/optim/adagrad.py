"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer, filled, library
from lampion.optim.rows import incompatible, update_rows
from lampion.tensor import Tensor


class Adagrad(Optimizer):
    r"""Each element's step is divided by the root of the sum of all its squared gradients.

        s = s + g**2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        lr_decay: how fast it falls with the number of steps.
        initial_accumulator_value: where the sum s starts.
        eps: added to the denominator.
        weight_decay, maximize: see `Optimizer`.

    Source: J. Duchi, E. Hazan, Y. Singer: "Adaptive subgradient methods" (JMLR 12, 2011); Deep Learning
    from Scratch 1, section 6.1.5.

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.9000], requires_grad=True)
    """

    flags = ("eps", "maximize")
    switches = ("weight_decay",)
    scalar_names = ("lr", "decay")

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "fused": fused,
        })  # fmt: skip

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        # As in PyTorch, what the optimizer was made with counts, not what the group says.
        return {"sum": filled(p, self.defaults["initial_accumulator_value"])}

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        return number(group["lr"]) / (1 + (step - 1) * group["lr_decay"]), group["weight_decay"]

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        if group["maximize"]:
            g = -g
        if group["weight_decay"]:
            g = g + p * h["decay"]
        s = state["sum"] = state["sum"] + g * g
        return p - g * h["lr"] / (library(p).sqrt(s) + group["eps"])

    def update_sparse(self, p: Tensor, gradient: Any, h: dict[str, Any], group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            raise incompatible("Adagrad", "weight_decay")
        update_rows(self, p, gradient, h, group)
