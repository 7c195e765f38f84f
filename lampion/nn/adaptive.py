"""Losses that have weights of their own: over many classes, and after a linear layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from lampion import ops
from lampion.errors import OptionError, ShapeError
from lampion.nn import functional as F
from lampion.nn.container import ModuleList, Sequential
from lampion.nn.functional.checks import check_reduction
from lampion.nn.linear import Linear
from lampion.nn.module import Module
from lampion.tensor import Tensor


class ASMOutput(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` gives: the log-probability of each label, and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of very many classes, of which few are frequent.

    The frequent classes stand in the head, beside one place for each cluster of rarer ones, whose own
    layers are the narrower the rarer they are.

    Args:
        in_features: the size of the last dimension of the input.
        n_classes: how many classes there are, the most frequent first.
        cutoffs: where the clusters begin.
        div_value: by how much each cluster is narrower than the one before.
        head_bias: whether the head has a bias.

    Shape:
        input: (N, in_features) or (in_features,); target: (N,) or ().

    Source: E. Grave et al.: "Efficient softmax approximation for GPUs" (ICML 2017).
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
        head_bias: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs or cutoffs != sorted({int(c) for c in cutoffs if 0 < c < n_classes}):
            raise OptionError("AdaptiveLogSoftmaxWithLoss", "the cutoffs do not part the classes",
                              expected=f"different integers from 1 to {n_classes - 1}, in order",
                              got=str(cutoffs))  # fmt: skip
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        options = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **options)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            width = int(in_features // (div_value ** (i + 1)))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **options),
                    Linear(width, size, bias=False, **options),
                )
            )

    def reset_parameters(self) -> None:
        """Draw new random weights."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> ASMOutput:
        if target.ndim > 1 or input.ndim != target.ndim + 1 or input.shape[:-1] != target.shape:
            raise ShapeError("AdaptiveLogSoftmaxWithLoss", "input and target do not belong together",
                             expected="(N, in_features) and (N,), or (in_features,) and ()",
                             got=f"{tuple(input.shape)} and {tuple(target.shape)}")  # fmt: skip
        log_p = self.log_prob(input.reshape(-1, self.in_features))
        output = ops.gather(log_p, 1, target.reshape(-1, 1)).reshape(target.shape)
        return ASMOutput(output, -ops.mean(output))

    def log_prob(self, input: Tensor) -> Tensor:
        """The logarithms of the probabilities of all classes: (N, n_classes)."""
        head = F.log_softmax(self.head(input), 1)
        parts = [ops.narrow(head, 1, 0, self.shortlist_size)]
        for i, layers in enumerate(self.tail):
            of_cluster = ops.narrow(head, 1, self.shortlist_size + i, 1)
            parts.append(F.log_softmax(layers(input), 1) + of_cluster)
        return ops.cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each sample: (N,)."""
        return ops.argmax(self.log_prob(input), 1)


class LinearCrossEntropyLoss(Module):
    """A linear layer, and the cross entropy of what it gives; see `functional.linear_cross_entropy`.

    Args:
        in_features: the size of the last dimension of the input.
        num_classes: the number of classes.
        out_features: sizes of further dimensions of the scores.
        bias: whether the layer has a bias.
        reduction, weight, ignore_index, label_smoothing: see `functional.cross_entropy`.
        options: PyTorch's, about memory; no result depends on it, and it is not read.
    """

    weight: Tensor | None

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False,
        device: Any = None, dtype: Any = None, reduction: str = "mean", weight: Tensor | None = None,
        ignore_index: int | None = None, label_smoothing: float = 0.0, options: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_reduction("LinearCrossEntropyLoss", reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise OptionError("LinearCrossEntropyLoss", "label_smoothing is a share", expected="0 to 1",
                              got=str(label_smoothing))  # fmt: skip
        self.register_buffer("weight", weight)
        self.reduction = reduction
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.options = options
        self.linear = Linear(in_features, math.prod(out_features) * num_classes, bias, device, dtype)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        shape = (self.num_classes, *self.out_features)
        bias = self.linear.bias
        return F.linear_cross_entropy(
            input, ops.reshape(self.linear.weight, *shape, self.linear.in_features), target,
            linear_bias=None if bias is None else ops.reshape(bias, shape), weight=self.weight,
            reduction=self.reduction, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
