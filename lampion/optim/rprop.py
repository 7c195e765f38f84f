"""Rprop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lampion.errors import OptionError
from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer, filled, library, zeros
from lampion.tensor import Tensor


class Rprop(Optimizer):
    r"""Only the sign of the gradient counts; each element's step grows while the sign stays.

        s = s * eta_plus     where g has the sign of the gradient before
        s = s * eta_minus    where it has the other sign; there g = 0 once
        s = min(max(s, smallest), largest)
        p = p - sign(g) * s

    For gradients over the whole data: those of small batches change their signs at random.

    Args:
        params: the parameters, or groups of them.
        lr: the size of the first step.
        etas: (eta_minus, eta_plus).
        step_sizes: (smallest, largest) step.
        maximize: see `Optimizer`.

    Source: M. Riedmiller, H. Braun: "A direct adaptive method for faster backpropagation learning: the
    RPROP algorithm" (ICNN 1993).

    >>> import lampion
    >>> w = lampion.tensor([1.0], requires_grad=True)
    >>> opt = lampion.optim.Rprop([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w
    tensor([0.9000], requires_grad=True)
    """

    flags = ("etas", "step_sizes", "maximize")
    scalar_names = ()

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-2, etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50), *, capturable: bool = False,
        foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        })  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        minus, plus = group["etas"]
        if not 0.0 < minus < 1.0 < plus:
            raise OptionError("Rprop", f"Invalid eta values: {minus}, {plus}",
                              expected="0 < eta_minus < 1 < eta_plus", got=f"{minus}, {plus}")  # fmt: skip

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        return {**zeros(p, "prev"), "step_size": filled(p, number(group["lr"]))}

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        return ()

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        xp = library(p)
        if group["maximize"]:
            g = -g
        (minus, plus), (smallest, largest) = group["etas"], group["step_sizes"]
        same = g * state["prev"]
        s = state["step_size"]
        s = xp.where(same > 0.0, s * plus, xp.where(same < 0.0, s * minus, s))
        s = state["step_size"] = xp.clip(s, smallest, largest)
        g = state["prev"] = xp.where(same < 0.0, g * 0.0, g)
        return p - xp.sign(g) * s
