"""The kernels that are whole layers of networks: convolution, pooling and attention."""

from __future__ import annotations

from dataclasses import dataclass

from lampion.compiler.kernel_body import Operand, Store, Value, Window
from lampion.dtype import DType


@dataclass(frozen=True)
class Convolution:
    """``acc[n, i..., o] = sum over r..., c of x[n, s i + d r - p..., c] * w[r..., c, o]``; epilogue; stores.

    Channels are the last axis of every window here, and in memory that is best. Outside of x there are zeros.
    Group g of the outputs (O / groups of them) reads group g of the channels. Epilogue and stores run over
    shape (N, *sizes, O); `Result(0)` is the accumulator.

    Attributes:
        x: (N, *sizes of the input, C).
        w: as the kernel reads it: (panels of outputs of all groups, blocks of channels, *taps, channels of
            a block, outputs of a panel). The last panel of a group may be filled in part. Where each channel
            has one filter of its own, all of them are one panel; where there are few outputs, a panel is as
            wide as there are, and the channels of a block are adjacent.
        outputs: O.
        sizes: of the output.
        stride, dilation: for each dimension.
        padding: in front of x, for each dimension; below 0: so much of x is left out.
        transformed: what `WinogradFilters` made of w, where the kernel is to go that way.
    """

    x: Window
    w: Window
    outputs: int
    sizes: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    dtype: DType
    operands: tuple[Operand, ...]
    epilogue: tuple[Value, ...]
    stores: tuple[Store, ...]
    transformed: Window | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.x.shape[0], *self.sizes, self.outputs)

    @property
    def taps(self) -> tuple[int, ...]:
        return self.w.shape[2:-2]


@dataclass(frozen=True)
class WinogradFilters:
    """``out[p, i, j, c, o] = sum over r, s of G[i, r] G[j, s] w[p, 0, r, s, c, o]``: `codegen/winograd.py`.

    Attributes:
        w: filters of 3x3 as `Convolution` reads them, in one block of channels: (panels, 1, 3, 3, C, outputs
            of a panel).
        out: (panels, 4, 4, C, outputs of a panel), no gaps.
        outputs: of all panels; the last one may be filled in part.
    """

    w: Window
    out: Window
    outputs: int
    dtype: DType
    operands: tuple[Operand, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.out.shape


@dataclass(frozen=True)
class ConvolutionWeight:
    """``out[b, r..., c, o] = sum over n in block b and i... of x[n, s i + d r - p..., c] * y[n, i..., o]``.

    The gradient of the filters. The images are cut into blocks whose sums stay apart, for threads to share;
    they are added up later.

    Attributes:
        x: (N, *sizes of the input, C). Outside of it there are zeros.
        y: (N, *sizes, O), channels adjacent.
        out: (blocks, *taps, C / groups, O), outputs adjacent, and no gaps; where there are few outputs,
            channels are adjacent instead.
        images: of a block.
        transformed: whether the kernel is to go Winograd's way (see `codegen/winograd.py`).
    """

    x: Window
    y: Window
    out: Window
    images: int
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    dtype: DType
    operands: tuple[Operand, ...]
    transformed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.out.shape

    @property
    def taps(self) -> tuple[int, ...]:
        return self.out.shape[1:-2]


@dataclass(frozen=True)
class Pool:
    """``out[n, i..., c] = z[n, the first place of x's maximum in window i..., c]``; or, where it `spreads`,
    ``z[n, that place, c] += out[n, i..., c]``, from zeros.

    Channels are the last axis of every window, and adjacent. Places outside of x do not count.

    Attributes:
        x, z: (N, *sizes, C).
        out: (N, *windows, C).
        taps: the sizes of a window.
        stride, padding, dilation: for each dimension; padding in front.
    """

    x: Window
    z: Window
    out: Window
    taps: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    spreads: bool
    operands: tuple[Operand, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.out.shape


@dataclass(frozen=True)
class Attention:
    """``out = softmax(scale * q @ k.T) @ v`` for each head: see `ops/attention.py`.

    The windows have shape (*batch, length, size), the heads in the batch; their innermost stride is 1.
    """

    q: Window
    k: Window
    v: Window
    out: Window
    causal: bool
    scale: float
    operands: tuple[Operand, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.q.shape[:-1], self.k.shape[-2])


@dataclass(frozen=True)
class AttentionSlopes:
    """The gradients of q, k and v, from `g`, the gradient of an `Attention`'s result."""

    g: Window
    q: Window
    k: Window
    v: Window
    dq: Window
    dk: Window
    dv: Window
    causal: bool
    scale: float
    operands: tuple[Operand, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.q.shape[:-1], self.k.shape[-2])
