"""Layers that learn the size of their input from their first one, and then are ordinary layers.

Each is made of its ordinary layer and `Lazy`: it starts with parameters that have no shape yet.
"""

from __future__ import annotations

from typing import Any, ClassVar

from lampion.errors import ShapeError
from lampion.mode import mode
from lampion.nn.conv import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    _Conv,
    _Sliding,
    _Spreading,
    check_channels,
)  # fmt: skip
from lampion.nn.functional.convolution import Sizes
from lampion.nn.linear import Linear
from lampion.nn.module import Module
from lampion.nn.norm import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    _Norm,
)  # fmt: skip
from lampion.nn.parameter import Uninitialized, UninitializedBuffer, UninitializedParameter, is_lazy
from lampion.ops import zeros
from lampion.tensor import Tensor


class Lazy(Module):
    """What all of them share.

    Until the first input there are parameters without a shape: run one through the network before they are
    counted, saved to a file or compiled. An optimizer may be made before.
    """

    #: The ordinary layer that it turns into.
    cls_to_become: ClassVar[type[Module]]

    def reset_parameters(self) -> None:
        """Draw new random weights, if there are any yet."""
        if not self.has_uninitialized_params():
            super().reset_parameters()  # type: ignore[misc]  # the ordinary layer's

    def has_uninitialized_params(self) -> bool:
        """Whether parameters or buffers have no shape yet."""
        return any(map(is_lazy, [*self._parameters.values(), *self._buffers.values()]))

    def initialize_parameters(self, input: Tensor) -> None:
        """Give the parameters their shapes, and their first values."""
        if self.has_uninitialized_params():
            for name, shape in self._shapes_for(input).items():
                if isinstance(lazy := getattr(self, name), Uninitialized):
                    lazy.materialize(shape)
            self.reset_parameters()

    def _shapes_for(self, input: Tensor) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter and buffer, given this input; notes the size of the input."""
        raise NotImplementedError

    def forward(self, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        if mode.trace is not None:
            mode.trace.refuse(
                "initialises a lazy layer", "run one input through the network before compiling", once=True
            )
        shapes = self._shapes_for(input)
        self.initialize_parameters(input)
        self._check_shapes(shapes, input)
        object.__setattr__(self, "__class__", self.cls_to_become)
        return self.forward(input, *args, **kwargs)

    def _check_shapes(self, shapes: dict[str, tuple[int, ...]], input: Tensor) -> None:
        """Parameters that were loaded before the first input may be for another one."""
        for name, shape in shapes.items():
            have = getattr(self, name)
            if have is not None and tuple(have.shape) != shape:
                raise ShapeError(type(self).__name__, f"{name} was loaded for another input",
                                 expected=f"an input for {name} of shape {tuple(have.shape)}",
                                 got=str(tuple(input.shape)))  # fmt: skip


class LazyLinear(Lazy, Linear):
    """A `Linear` that learns its `in_features` from its first input, and then is one; see `LazyConv2d`.

    >>> import lampion
    >>> layer = lampion.nn.LazyLinear(2)
    >>> layer(lampion.ones(5, 3)).shape
    (5, 2)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None) -> None:
        super().__init__(0, 0, False, device, dtype)
        self.out_features = out_features
        self.weight = UninitializedParameter(dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(dtype=dtype)

    def _shapes_for(self, input: Tensor) -> dict[str, tuple[int, ...]]:
        if not input.ndim:
            raise ShapeError("LazyLinear", "the input has no features", expected="(..., features)", got="()")
        self.in_features = input.shape[-1]
        return {"weight": (self.out_features, self.in_features), "bias": (self.out_features,)}


class _LazyConv(Lazy, _Conv):
    """LazyConv1d ... LazyConvTranspose3d."""

    def _wait(self, out_channels: int, bias: bool, dtype: Any) -> None:
        """Parameters without a shape, in place of the empty ones that the ordinary layer has made."""
        check_channels(type(self).__name__, "out_channels", out_channels, self.groups)
        self.out_channels = out_channels
        self.weight = UninitializedParameter(dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(dtype=dtype)

    def _shapes_for(self, input: Tensor) -> dict[str, tuple[int, ...]]:
        name = type(self).__name__
        if input.ndim not in (self.count + 1, self.count + 2):
            places = ", ".join("DHW"[3 - self.count :])
            raise ShapeError(name, "the input has another number of dimensions",
                             expected=f"(N, C, {places}) or (C, {places})",
                             got=str(tuple(input.shape)))  # fmt: skip
        channels = input.shape[-self.count - 1]
        check_channels(name, "in_channels", channels, self.groups)
        self.in_channels = channels
        first, second = channels, self.out_channels
        if not self.transposed:
            first, second = second, first
        return {"weight": (first, second // self.groups, *self.kernel_size), "bias": (self.out_channels,)}


class _LazySliding(_LazyConv, _Sliding):
    """LazyConv1d, LazyConv2d, LazyConv3d."""

    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes | str = 0,
        dilation: Sizes = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype
        )
        self._wait(out_channels, bias, dtype)


class LazyConv1d(_LazySliding, Conv1d):
    """A `Conv1d` that learns its `in_channels` from its first input, and then is one; see `LazyConv2d`."""

    cls_to_become = Conv1d


class LazyConv2d(_LazySliding, Conv2d):
    """A `Conv2d` that learns its `in_channels` from its first input, and then is one.

    Until then it has parameters without a shape: run an input through the network before they are counted,
    saved to a file or compiled.

    Args:
        out_channels: of the output.
        kernel_size, stride, padding, dilation, groups, bias, padding_mode: see `Conv2d`.

    Shape:
        as those of `Conv2d`.

    >>> import lampion
    >>> layer = lampion.nn.LazyConv2d(8, 3)
    >>> layer(lampion.ones(1, 3, 5, 5)).shape
    (1, 8, 3, 3)
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazySliding, Conv3d):
    """A `Conv3d` that learns its `in_channels` from its first input, and then is one; see `LazyConv2d`."""

    cls_to_become = Conv3d


class _LazySpreading(_LazyConv, _Spreading):
    """LazyConvTranspose1d, LazyConvTranspose2d, LazyConvTranspose3d."""

    def __init__(
        self, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
        output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode, device,
            dtype,
        )  # fmt: skip
        self._wait(out_channels, bias, dtype)


class LazyConvTranspose1d(_LazySpreading, ConvTranspose1d):
    """A `ConvTranspose1d` that learns its `in_channels` from its first input; see `LazyConv2d`."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazySpreading, ConvTranspose2d):
    """A `ConvTranspose2d` that learns its `in_channels` from its first input; see `LazyConv2d`."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazySpreading, ConvTranspose3d):
    """A `ConvTranspose3d` that learns its `in_channels` from its first input; see `LazyConv2d`."""

    cls_to_become = ConvTranspose3d


class _LazyNorm(Lazy, _Norm):
    """LazyBatchNorm1d ... LazyInstanceNorm3d.

    The defaults are PyTorch's: those of instance normalisation too have weights and running statistics.

    Args:
        eps, momentum, affine, track_running_stats, bias: see `BatchNorm1d`.
    """

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        _Norm.__init__(self, 0, eps, momentum, False, False, device, dtype)  # without any tensors
        self.affine, self.track_running_stats = affine, track_running_stats
        if affine:
            self.weight = UninitializedParameter(dtype=dtype)
            self.bias = UninitializedParameter(dtype=dtype) if bias else None
        if track_running_stats:
            self.running_mean = UninitializedBuffer(dtype=dtype)
            self.running_var = UninitializedBuffer(dtype=dtype)
            self.num_batches_tracked = zeros(dtype="int64")

    def _shapes_for(self, input: Tensor) -> dict[str, tuple[int, ...]]:
        self._check(input)
        unbatched = isinstance(self, InstanceNorm1d) and input.ndim == self.ndims[0]
        self.num_features = input.shape[0 if unbatched else 1]
        shape = (self.num_features,)
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), shape)


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """A `BatchNorm1d` that learns its `num_features` from its first input, and then is one."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """A `BatchNorm2d` that learns its `num_features` from its first input, and then is one.

    >>> import lampion
    >>> layer = lampion.nn.LazyBatchNorm2d()
    >>> layer(lampion.ones(2, 3, 4, 4)).shape, layer.running_mean.shape
    ((2, 3, 4, 4), (3,))
    """

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNorm, BatchNorm3d):
    """A `BatchNorm3d` that learns its `num_features` from its first input, and then is one."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """An `InstanceNorm1d` that learns its `num_features` from its first input, and then is one."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """An `InstanceNorm2d` that learns its `num_features` from its first input, and then is one."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNorm, InstanceNorm3d):
    """An `InstanceNorm3d` that learns its `num_features` from its first input, and then is one."""

    cls_to_become = InstanceNorm3d
