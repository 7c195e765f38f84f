"""Losses as modules: each calls the function of the same name in `functional`."""

from __future__ import annotations

from lampion.nn import functional as F
from lampion.nn.module import Module
from lampion.tensor import Tensor


class CrossEntropyLoss(Module):
    """How far scores are from labels; see `functional.cross_entropy`.

    >>> import lampion
    >>> loss = lampion.nn.CrossEntropyLoss()
    >>> loss(lampion.zeros(4, 10), lampion.tensor([0, 1, 2, 3]))
    tensor(2.3026)
    """

    weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        F.check_reduction("CrossEntropyLoss", reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )  # fmt: skip


class NLLLoss(Module):
    """The negative logarithm of the probability of the label; see `functional.nll_loss`."""

    weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__()
        F.check_reduction("NLLLoss", reduction)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class MSELoss(Module):
    """The mean of the squared differences; see `functional.mse_loss`.

    >>> import lampion
    >>> lampion.nn.MSELoss()(lampion.tensor([1.0, 2.0]), lampion.tensor([1.0, 4.0]))
    tensor(2.)
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        F.check_reduction("MSELoss", reduction)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, self.reduction)
