"""Muon."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lampion.errors import OptionError
from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer, zeros
from lampion.tensor import Tensor


class Muon(Optimizer):
    r"""Momentum whose steps are made orthogonal: all directions of a matrix move alike.

        b = momentum * b + (1 - momentum) * g
        u = momentum * b + (1 - momentum) * g             (b itself without nesterov)
        X = u / max(|u|, eps); ns_steps times:  A = X Xᵀ,  X = a X + (b A + c A A) X
        p = p - lr * weight_decay * p - lr * adjusted * X

    For the matrices inside of a network; biases, embeddings and the last layer are for another optimizer.
    X is computed in bfloat16, which is enough for a direction.

    Args:
        params: the parameters, or groups of them: matrices.
        lr: the learning rate.
        weight_decay: a decay apart from the gradient.
        momentum: the decay rate of the average b.
        nesterov: look ahead by one step.
        ns_coefficients: (a, b, c) above.
        eps: the least that u is divided by.
        ns_steps: iterations of Newton and Schulz.
        adjust_lr_fn: for a matrix of (n, m): None or ``"original"`` is a factor of sqrt(max(1, n / m)),
            ``"match_rms_adamw"`` one of 0.2 * sqrt(max(n, m)).

    Source: K. Jordan et al.: "Muon: an optimizer for hidden layers in neural networks" (2024); J. Liu et
    al.: "Muon is scalable for LLM training" (arXiv:2502.16982).

    >>> import lampion
    >>> w = lampion.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> opt = lampion.optim.Muon([w], lr=0.1, weight_decay=0.0)
    >>> (w * w).sum().backward(); opt.step(); bool((w < 0.95).all())
    True
    """

    flags = ("nesterov", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn")
    scalar_names = ("lr", "momentum", "gain", "shrink")
    elementwise = False
    saves_step = False

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
        nesterov: bool = True, ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(params, {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        })  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        name = group["adjust_lr_fn"]
        if name not in (None, "original", "match_rms_adamw"):
            raise OptionError("Muon", f"Adjust learning rate function {name} is not supported",
                              expected="None, 'original' or 'match_rms_adamw'")  # fmt: skip
        if group["ns_steps"] >= 100 or len(group["ns_coefficients"]) != 3:
            raise OptionError("Muon", "less than 100 steps, and three coefficients, are needed",
                              got=f"{group['ns_steps']}, {group['ns_coefficients']}")  # fmt: skip
        for p in group.get("params", ()):
            if p.ndim != 2:
                raise OptionError("Muon", "Muon only supports 2D parameters",
                                  got=f"a parameter of shape {tuple(p.shape)}",
                                  fix="give the others to AdamW")  # fmt: skip

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if p.dtype.is_complex:
            raise OptionError("Muon", "Muon does not support complex parameters", got=str(p.dtype))
        return zeros(p, "momentum_buffer")

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        lr, momentum = number(group["lr"]), group["momentum"]
        return lr, momentum, 1 - momentum, 1 - lr * group["weight_decay"]

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        b = state["momentum_buffer"] = state["momentum_buffer"] * h["momentum"] + g * h["gain"]
        u = g * h["gain"] + b * h["momentum"] if group["nesterov"] else b
        n, m = p.shape
        factor = math.sqrt(max(1, n / m))
        if group["adjust_lr_fn"] == "match_rms_adamw":
            factor = 0.2 * math.sqrt(max(n, m))
        return p * h["shrink"] - orthogonal(u, group).to(p.dtype) * (h["lr"] * factor)


def orthogonal(u: Tensor, group: dict[str, Any]) -> Any:
    """The matrix whose singular vectors are those of `u`, and whose singular values are near 1."""
    a, b, c = group["ns_coefficients"]
    tall = u.shape[0] > u.shape[1]
    x = _rounded(u.T if tall else u)
    x = _rounded(x / _rounded((x * x).sum().sqrt()).clamp(min=group["eps"]))
    for _ in range(group["ns_steps"]):
        gram = _rounded(x @ x.T)
        gram = _rounded(gram * b + (gram @ gram) * c)
        x = _rounded(x * a + (gram @ x))
    return x.T if tall else x


def _rounded(x: Tensor) -> Any:
    """The nearest numbers of bfloat16, kept as float32 so that sums are not rounded on their way."""
    return x.bfloat16().float()
