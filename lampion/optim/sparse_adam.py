"""SparseAdam: Adam for tables of which a step uses few rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lampion.errors import OptionError
from lampion.optim.groups import number, refused
from lampion.optim.optimizer import Optimizer, library, zeros
from lampion.optim.rows import update_rows
from lampion.tensor import Tensor


class SparseAdam(Optimizer):
    r"""Adam for sparse gradients: the averages of a row move only in steps that use the row.

    For each row that is used, with its gradient g:

        m = m + (1 - beta1) * (g - m)
        v = v + (1 - beta2) * (g**2 - v)
        p = p - lr * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + eps)

    All other rows, of the parameter and of its averages, are neither read nor written. (Adam would go on
    moving them by what is left of their averages.)

    Args:
        params: tables whose gradients are sparse: `Embedding` and `EmbeddingBag` with ``sparse=True``.
        lr: the learning rate.
        betas: the decay rates of the two averages.
        eps: added to the denominator.
        maximize: climb instead of descending.

    Raises:
        OptionError: a gradient is not sparse.

    Source: D. Kingma, J. Ba: "Adam" (ICLR 2015); PyTorch's rule for rows.

    >>> import lampion
    >>> layer = lampion.nn.Embedding(1000, 2, sparse=True)
    >>> before = layer.weight.detach().clone()
    >>> opt = lampion.optim.SparseAdam(layer.parameters(), lr=0.1)
    >>> layer(lampion.tensor([3, 5, 3])).sum().backward(); opt.step()
    >>> (layer.weight != before).any(1).nonzero().squeeze(1)
    tensor([3, 5])
    """

    flags = ("eps", "maximize")
    scalar_names = ("step_size", "gain1", "gain2")
    elementwise = False

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8, maximize: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if not number(group["lr"]) > 0.0:
            raise refused("SparseAdam", "learning rate", group["lr"], "lr > 0")
        if not group["eps"] > 0.0:
            raise refused("SparseAdam", "epsilon value", group["eps"], "eps > 0")

    def init_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        if p.dtype.is_complex:
            raise OptionError("SparseAdam", "SparseAdam does not support complex parameters",
                              got=str(p.dtype))  # fmt: skip
        return zeros(p, "exp_avg", "exp_avg_sq")

    def scalars(self, group: dict[str, Any], step: int, *numbers: float) -> Sequence[float]:
        beta1, beta2 = group["betas"]
        root = math.sqrt(1 - beta2**step)
        return number(group["lr"]) * root / (1 - beta1**step), 1 - beta1, 1 - beta2

    def update(self, p: Any, g: Any, state: dict[str, Any], h: dict[str, Any], group: dict[str, Any]) -> Any:
        if group["maximize"]:
            g = -g
        m, v = state["exp_avg"], state["exp_avg_sq"]
        m = state["exp_avg"] = m + (g - m) * h["gain1"]
        v = state["exp_avg_sq"] = v + (g * g - v) * h["gain2"]
        return p - m / (library(p).sqrt(v) + group["eps"]) * h["step_size"]

    def update_sparse(self, p: Tensor, gradient: Any, h: dict[str, Any], group: dict[str, Any]) -> None:
        update_rows(self, p, gradient, h, group)

    def _packed(self, entry: dict[str, Any]) -> dict[str, Any]:
        return {**super()._packed(entry), "step": entry["step"]}  # a plain number, as in PyTorch

    def _update_tensors(self, params: list[Tensor], h: dict[str, Any], group: dict[str, Any]) -> None:
        for p in params:
            if isinstance(p.grad, Tensor):
                raise OptionError(
                    "SparseAdam", "SparseAdam does not support dense gradients, please consider Adam instead",
                    got=f"the gradient of a parameter of shape {tuple(p.shape)}",
                    fix="Embedding(..., sparse=True), used for nothing else; where it is compiled: the whole "
                    "step, backward() included",
                )  # fmt: skip
        super()._update_tensors(params, h, group)
