"""Normalisation layers: over the batch, over each sample, over groups of channels, over features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lampion.dtype import int64
from lampion.errors import OptionError, ShapeError
from lampion.nn import functional as F
from lampion.nn import init
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter, new_parameter
from lampion.ops import ones, squeeze, unsqueeze, zeros
from lampion.tensor import Tensor, check_device


class _Norm(Module):
    """What layers with running statistics share; see `BatchNorm1d`."""

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    optional_state = frozenset({"num_batches_tracked"})  # of files from before PyTorch 0.4.1
    #: How many dimensions the input has.
    ndims: tuple[int, ...]

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device(type(self).__name__, device)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", new_parameter(num_features, dtype=dtype) if affine else None)
        self.register_parameter("bias", new_parameter(num_features, dtype=dtype) if affine and bias else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros(dtype=int64) if tracked else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics of the past."""
        if self.running_mean is not None and self.running_var is not None:
            self.running_mean.zero_()
            self.running_var.fill_(1.0)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Factors of 1, addends of 0, no statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check(self, input: Tensor) -> None:
        if input.ndim not in self.ndims:
            raise ShapeError(type(self).__name__, "the input has another number of dimensions",
                             expected=" or ".join(map(str, self.ndims)),
                             got=str(tuple(input.shape)))  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_Norm):
    """Each channel with mean 0 and variance 1 over the batch, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    In training, mean and variance are the batch's, and the running statistics move towards them; in
    evaluation they are the running ones.

    Args:
        num_features: the number of channels, C.
        eps: keeps the square root away from 0.
        momentum: the share of a batch in the running statistics; None for a plain average over all batches.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics; without them the batch's always serve.
        bias: whether there is a bias, where `affine`.

    Shape:
        x: (N, C) or (N, C, L).

    Source: S. Ioffe, C. Szegedy: "Batch normalization" (ICML 2015); Deep Learning from Scratch 1,
    section 6.3.

    >>> import lampion
    >>> layer = lampion.nn.BatchNorm1d(2)
    >>> layer(lampion.tensor([[1.0, 0.0], [3.0, 8.0]])).detach()
    tensor([[-1.0000, -1.0000],
            [ 1.0000,  1.0000]])
    >>> layer.running_mean
    tensor([0.2000, 0.4000])
    """

    ndims: tuple[int, ...] = (2, 3)

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        factor: Any = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None and self.running_mean is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1.0 / self.num_batches_tracked.to(self.running_mean.dtype)
        of_batch = self.training or self.running_mean is None
        kept = not self.training or self.track_running_stats
        return F.batch_norm(
            input, self.running_mean if kept else None, self.running_var if kept else None, self.weight,
            self.bias, of_batch, factor, self.eps,
        )  # fmt: skip


class BatchNorm2d(BatchNorm1d):
    """`BatchNorm1d` for images: (N, C, H, W)."""

    ndims = (4,)


class BatchNorm3d(BatchNorm1d):
    """`BatchNorm1d` for volumes: (N, C, D, H, W)."""

    ndims = (5,)


class InstanceNorm1d(_Norm):
    """Each channel of each sample with mean 0 and variance 1, then perhaps scaled and shifted.

    The arguments are those of `BatchNorm1d`; by default there are no weights and no running statistics.

    Shape:
        x: (N, C, L) or (C, L).

    Source: D. Ulyanov et al.: "Instance normalization" (2016).
    """

    ndims: tuple[int, ...] = (2, 3)

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        self._check(input)
        single = input.ndim == self.ndims[0]
        batch = unsqueeze(input, 0) if single else input
        if batch.shape[1] != self.num_features and self.affine:
            raise ShapeError(type(self).__name__, "the input has another number of channels",
                             expected=str(self.num_features), got=str(tuple(input.shape)))  # fmt: skip
        out = F.instance_norm(
            batch, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum, self.eps,
        )  # fmt: skip
        return squeeze(out, 0) if single else out


class InstanceNorm2d(InstanceNorm1d):
    """`InstanceNorm1d` for images: (N, C, H, W) or (C, H, W)."""

    ndims = (3, 4)


class InstanceNorm3d(InstanceNorm1d):
    """`InstanceNorm1d` for volumes: (N, C, D, H, W) or (C, D, H, W)."""

    ndims = (4, 5)


class GroupNorm(Module):
    """Each group of channels of each sample with mean 0 and variance 1, then scaled and shifted.

    Args:
        num_groups: how many groups the channels fall into.
        num_channels: their number, C.
        eps: keeps the square root away from 0.
        affine: whether there are weight and bias.
        bias: whether there is a bias, where `affine`.

    Shape:
        x: (N, C, ...).

    Source: Y. Wu, K. He: "Group normalization" (ECCV 2018).
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device("GroupNorm", device)
        if num_channels % num_groups:
            raise OptionError("GroupNorm", "the channels do not fall into equal groups",
                              got=f"{num_channels} channels, {num_groups} groups")  # fmt: skip
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.register_parameter("weight", new_parameter(num_channels, dtype=dtype) if affine else None)
        self.register_parameter("bias", new_parameter(num_channels, dtype=dtype) if affine and bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Factors of 1, addends of 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class _FeatureNorm(Module):
    """What `LayerNorm` and `RMSNorm` share."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self, normalized_shape: int | Sequence[int], elementwise_affine: bool, device: Any, dtype: Any
    ) -> None:
        super().__init__()
        check_device(type(self).__name__, device)
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape or math.prod(shape) < 0:
            raise OptionError(type(self).__name__, "normalized_shape has no sizes", got=str(shape))
        self.normalized_shape = shape
        self.elementwise_affine = elementwise_affine
        self.register_parameter("weight", new_parameter(*shape, dtype=dtype) if elementwise_affine else None)

    def reset_parameters(self) -> None:
        """Factors of 1, addends of 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if getattr(self, "bias", None) is not None:
            init.zeros_(self.bias)  # type: ignore[arg-type]  # not None


class LayerNorm(_FeatureNorm):
    """The last dimensions with mean 0 and variance 1, then scaled and shifted.

        y = (x - mean) / sqrt(var + eps) * weight + bias

    Args:
        normalized_shape: the size of the last dimension, or the sizes of several.
        eps: keeps the square root away from 0.
        elementwise_affine: whether there are weight and bias.
        bias: whether there is a bias, where `elementwise_affine`.

    Shape:
        x: (..., *normalized_shape).

    Source: J. Ba et al.: "Layer normalization" (2016).

    >>> import lampion
    >>> lampion.nn.LayerNorm(2)(lampion.tensor([[1.0, 3.0], [0.0, 8.0]])).detach()
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(normalized_shape, elementwise_affine, device, dtype)
        self.eps = eps
        shape = self.normalized_shape
        self.register_parameter(
            "bias", new_parameter(*shape, dtype=dtype) if elementwise_affine and bias else None
        )
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(_FeatureNorm):
    """The last dimensions divided by the root of the mean of their squares, then scaled.

        y = x / sqrt(mean(x**2) + eps) * weight

    Args:
        normalized_shape: the size of the last dimension, or the sizes of several.
        eps: keeps the square root away from 0; by default the distance from 1 to the next number.
        elementwise_affine: whether there is a weight.

    Shape:
        x: (..., *normalized_shape).

    Source: B. Zhang, R. Sennrich: "Root mean square layer normalization" (NeurIPS 2019).
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None,
        elementwise_affine: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(normalized_shape, elementwise_affine, device, dtype)
        self.eps = eps
        self.reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class LocalResponseNorm(Module):
    """Each channel divided by what its neighbours have; see `functional.local_response_norm`."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
