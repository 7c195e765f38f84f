"""Adafactor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import lampion
from lampion.errors import OptionError
from lampion.optim.groups import number, shown
from lampion.optim.optimizer import Optimizer, zeros
from lampion.tensor import Tensor


class Adafactor(Optimizer):
    r"""Adam without the first average, and with the second as an outer product: little memory.

        a = max(eps2, rms(p)) * min(lr, 1 / sqrt(t)),   b = 1 - t**beta2_decay
        p = p - lr * weight_decay * p
        r = b * r + (1 - b) * mean of g**2 in each row,   c = the same in each column
        v = max(r @ c / max(mean(r), eps1), eps1**2)      (of vectors: v = b * v + (1 - b) * g**2)
        u = g / sqrt(v)
        p = p - a * u / max(1, rms(u) / d)

    Args:
        params: the parameters, or groups of them.
        lr: the decay's rate, and the most that the relative step a may be.
        beta2_decay: the power by which the average forgets less and less.
        eps: (eps1, eps2); eps1 None is the smallest difference of the parameter's type.
        d: above this size u is scaled down.
        weight_decay: a decay apart from the gradient.
        maximize: see `Optimizer`.

    Source: N. Shazeer, M. Stern: "Adafactor: adaptive learning rates with sublinear memory cost" (ICML
    2018), with PyTorch's use of lr and eps1.

    >>> import lampion
    >>> w = lampion.ones(2, 2, requires_grad=True)
    >>> opt = lampion.optim.Adafactor([w], lr=0.1)
    >>> (w * w).sum().backward(); opt.step(); w.detach()
    tensor([[0.9000, 0.9000],
            [0.9000, 0.9000]])
    """

    flags = ("eps", "d", "maximize")
    switches = ("weight_decay",)
    scalar_names = ("most", "new", "shrink")
    elementwise = False

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-2, beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
        foreach: bool | None = None, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "foreach": foreach, "maximize": maximize,
        })  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        first, second = group["eps"]
        super().check({**group, "eps": 0.0})
        for words, value, fine in (
            ("beta2_decay should be <= 0", group["beta2_decay"], group["beta2_decay"] <= 0.0),
            ("epsilon1 should be >= 0", first, first is None or first >= 0.0),
            ("epsilon2 should be >= 0", second, second >= 0.0),
            ("Clipping threshold d should be >= 1", group["d"], group["d"] >= 1.0),
        ):
            if not fine:
                raise OptionError("Adafactor", f"{words} but is: {shown(value)}", got=shown(value))

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if p.dtype.is_complex:
            raise OptionError("Adafactor", "Adafactor does not support complex parameters", got=str(p.dtype))
        if p.ndim < 2:
            return zeros(p, "variance")
        rows, columns = (*p.shape[:-1], 1), (*p.shape[:-2], 1, p.shape[-1])
        return {
            "row_var": lampion.zeros(rows, dtype=p.dtype),
            "col_var": lampion.zeros(columns, dtype=p.dtype),
        }

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        lr = number(group["lr"])
        return min(lr, 1 / math.sqrt(step)), step ** group["beta2_decay"], 1 - lr * group["weight_decay"]

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        first, second = group["eps"]
        if first is None:
            first = lampion.finfo(p.dtype).eps
        if group["maximize"]:
            g = -g
        step = _rms(p).clamp(min=second) * h["most"]
        if group["weight_decay"]:
            p = p * h["shrink"]
        squares = g * g
        if g.ndim > 1:
            r = state["row_var"] = _towards(state["row_var"], squares.mean(-1, keepdim=True), h["new"])
            c = state["col_var"] = _towards(state["col_var"], squares.mean(-2, keepdim=True), h["new"])
            v = (r @ c) / r.mean(-2, keepdim=True).clamp(min=first)
        else:
            v = state["variance"] = _towards(state["variance"], squares, h["new"])
        u = g / v.clamp(min=first * first).sqrt()
        return p - u * (step / (_rms(u) / group["d"]).clamp(min=1.0))


def _rms(x: Tensor) -> Any:
    """The root of the mean of the squares."""
    return (x * x).mean().sqrt()


def _towards(x: Tensor, target: Tensor, part: Any) -> Any:
    return x + (target - x) * part
