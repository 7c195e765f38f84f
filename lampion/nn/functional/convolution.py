"""Convolutions, and their transposes, in one, two and three dimensions."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn.functional.checks import check_tensors
from lampion.ops.convolution import convolution, convolution_input
from lampion.ops.define import refuse_bools
from lampion.tensor import Tensor

Sizes = int | Sequence[int]


@by_policy
def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes | str = 0,
    dilation: Sizes = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Filters that slide along one dimension; see `conv2d`.

    Shape:
        input: (N, C, L) or (C, L); weight: (O, C / groups, taps); bias: (O,); output: (N, O, L') or (O, L').

    >>> import lampion
    >>> x, edge = lampion.tensor([[1.0, 1.0, 5.0, 5.0]]), lampion.tensor([[[-1.0, 1.0]]])
    >>> lampion.nn.functional.conv1d(x, edge)
    tensor([[0., 4., 0.]])
    """
    return _convolved("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@by_policy
def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes | str = 0,
    dilation: Sizes = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Filters that slide over an image: at each place, the sum of what a filter's taps see, times the taps.

        out[n, o, y, x] = bias[o] + sum over c, r, s of
                          weight[o, c, r, s] * input[n, c, stride * y + dilation * r - padding, ...]

    Args:
        input: outside of it there are zeros.
        weight: the filters.
        stride: how far a filter moves from one place to the next.
        padding: how many zeros are looked at around the input; "valid": none; "same": so many that the
            output is as large as the input (with stride 1).
        dilation: how far apart the taps of a filter are.
        groups: into how many groups the channels are cut, each with filters of its own.

    Shape:
        input: (N, C, H, W) or (C, H, W); weight: (O, C / groups, R, S); bias: (O,); output: (N, O, H', W') or
        (O, H', W') with H' = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1.

    Raises:
        ShapeError: channels that do not fit, or filters larger than the padded input.
        OptionError: a stride below 1, "same" with a stride...

    Source: Deep Learning from Scratch 1, chapter 7.

    >>> import lampion
    >>> x = lampion.ones(1, 1, 3, 3)
    >>> lampion.nn.functional.conv2d(x, lampion.ones(1, 1, 2, 2), padding="same")
    tensor([[[[4., 4., 2.],
              [4., 4., 2.],
              [2., 2., 1.]]]])
    """
    return _convolved("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@by_policy
def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes | str = 0,
    dilation: Sizes = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Filters that slide through a volume; see `conv2d`.

    Shape:
        input: (N, C, D, H, W) or (C, D, H, W); weight: (O, C / groups, T, R, S); bias: (O,).
    """
    return _convolved("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


@by_policy
def conv_transpose1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes = 0,
    output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """The transpose of `conv1d`; see `conv_transpose2d`.

    Shape:
        input: (N, C, L) or (C, L); weight: (C, O / groups, taps); bias: (O,).
    """
    return _spread(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@by_policy
def conv_transpose2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes = 0,
    output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """Each number of the input spreads a filter over the output: what the gradient of `conv2d`'s input is.

    Args:
        stride: how far apart the filters of neighbours lie.
        padding: how many places are cut off around the output.
        output_padding: how many are added at its ends: of the sizes that `conv2d` would turn into the
            input's, which one is meant.
        dilation, groups: as in `conv2d`.

    Shape:
        input: (N, C, H, W) or (C, H, W); weight: (C, O / groups, R, S); bias: (O,); output: (N, O, H', W') or
        (O, H', W') with H' = (H - 1) * stride - 2 * padding + dilation * (R - 1) + output_padding + 1.

    Source: Deep Learning from Scratch 3, steps 55-57 ("deconvolution"); M. Zeiler et al. (CVPR 2010).

    >>> import lampion
    >>> x = lampion.tensor([[[1.0, 2.0]]])
    >>> lampion.nn.functional.conv_transpose2d(x, lampion.ones(1, 1, 1, 2), stride=2)
    tensor([[[1., 1., 2., 2.]]])
    """
    return _spread(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@by_policy
def conv_transpose3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Sizes = 1, padding: Sizes = 0,
    output_padding: Sizes = 0, groups: int = 1, dilation: Sizes = 1,
) -> Tensor:  # fmt: skip
    """The transpose of `conv3d`; see `conv_transpose2d`.

    Shape:
        input: (N, C, D, H, W) or (C, D, H, W); weight: (C, O / groups, T, R, S); bias: (O,).
    """
    return _spread(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


def _convolved(
    name: str, count: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes,
    padding: Sizes | str, dilation: Sizes, groups: int,
) -> Tensor:  # fmt: skip
    batched = _check(name, count, input, weight, groups)
    strides = sizes_of(name, "stride", stride, count, 1)
    dilations = sizes_of(name, "dilation", dilation, count, 1)
    if weight.shape[0] % groups:
        raise ShapeError(name, "the filters do not fall into equal groups",
                         expected=f"a multiple of {groups}", got=f"{weight.shape[0]} filters")  # fmt: skip
    channels = weight.shape[1] * groups
    x = input if batched else ops.unsqueeze(input, 0)
    if x.shape[1] != channels:
        raise ShapeError(name, "the filters are for another number of channels",
                         expected=f"{channels} channels: weight is {tuple(weight.shape)}, groups={groups}",
                         got=f"{x.shape[1]}: input is {tuple(input.shape)}",
                         fix="check in_channels of the layer, or the order of the dimensions")  # fmt: skip
    pairs = paddings(name, padding, tuple(weight.shape[2:]), strides, dilations)
    _check_reach(name, x, weight, pairs, dilations)
    out = convolution(x, weight, strides, pairs, dilations, groups)
    return _with_bias(name, out, bias, batched)


def _spread(
    name: str, count: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Sizes, padding: Sizes,
    output_padding: Sizes, groups: int, dilation: Sizes,
) -> Tensor:  # fmt: skip
    batched = _check(name, count, input, weight, groups)
    strides = sizes_of(name, "stride", stride, count, 1)
    dilations = sizes_of(name, "dilation", dilation, count, 1)
    more = sizes_of(name, "output_padding", output_padding, count, 0)
    x = input if batched else ops.unsqueeze(input, 0)
    if x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise ShapeError(name, "the filters are for another number of channels",
                         expected=f"{weight.shape[0]} channels, in {groups} group(s)",
                         got=f"{x.shape[1]}: input is {tuple(input.shape)}",
                         fix="check in_channels of the layer, or the order of the dimensions")  # fmt: skip
    pairs = tuple((p, p) for p in sizes_of(name, "padding", padding, count, 0))
    sizes = []
    for n, s, (before, after), d, taps, extra in zip(
        x.shape[2:], strides, pairs, dilations, weight.shape[2:], more, strict=True
    ):
        if extra >= max(s, d):
            raise OptionError(name, "output_padding must be smaller than stride or dilation",
                              expected=f"below {max(s, d)}", got=str(extra))  # fmt: skip
        sizes.append((n - 1) * s - before - after + d * (taps - 1) + extra + 1)
    if min(sizes) < 1:
        raise ShapeError(name, "nothing is left of the output", expected="sizes of at least 1",
                         got=str(tuple(sizes)), fix="pad less")  # fmt: skip
    out = convolution_input(x, weight, tuple(sizes), strides, pairs, dilations, groups)
    return _with_bias(name, out, bias, batched)


def _check(name: str, count: int, input: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether the input has a batch."""
    check_tensors(name, input, weight)
    if input.ndim not in (count + 1, count + 2) or weight.ndim != count + 2:
        places = ", ".join("DHW"[3 - count :])
        raise ShapeError(name, "an argument has another number of dimensions",
                         expected=f"input (N, C, {places}) or (C, {places}), weight of {count + 2}",
                         got=f"{tuple(input.shape)} and {tuple(weight.shape)}",
                         fix="x.unsqueeze(0) adds a dimension in front")  # fmt: skip
    if input.dtype is not weight.dtype:
        bytes_ = input.dtype.name == "uint8"
        raise DTypeError(name, "input and weight are of different types",
                         got=f"{input.dtype} and {weight.dtype}",
                         fix="images of bytes: x.float() / 255" if bytes_ else "convert one of them",
                         )  # fmt: skip
    refuse_bools(name, input)
    if not isinstance(groups, int) or groups < 1:
        raise OptionError(name, "groups is a count", expected="an integer from 1 on", got=repr(groups))
    return input.ndim == count + 2


def _check_reach(
    name: str, x: Tensor, weight: Tensor, pairs: Sequence[tuple[int, int]], dilations: Sequence[int]
) -> None:
    reach = [d * (taps - 1) + 1 for d, taps in zip(dilations, weight.shape[2:], strict=True)]
    have = [n + before + after for n, (before, after) in zip(x.shape[2:], pairs, strict=True)]
    if any(r > n for r, n in zip(reach, have, strict=True)):
        raise ShapeError(name, "the filter is larger than the padded input",
                         expected=f"at least {tuple(reach)}", got=str(tuple(have)),
                         fix="pad more, or use a smaller filter")  # fmt: skip


def _with_bias(name: str, out: Tensor, bias: Tensor | None, batched: bool) -> Tensor:
    if bias is not None:
        if tuple(bias.shape) != (out.shape[1],):
            raise ShapeError(name, "the bias has one number for each filter",
                             expected=f"({out.shape[1]},)", got=str(tuple(bias.shape)))  # fmt: skip
        out = out + ops.reshape(bias, (-1, *(1,) * (out.ndim - 2)))
    return out if batched else ops.squeeze(out, 0)


def sizes_of(name: str, option: str, value: Any, count: int, least: int) -> tuple[int, ...]:
    """An option that is one integer (of Python's or NumPy's), or one for each dimension."""
    try:
        given = (value,) if hasattr(value, "__index__") else tuple(value)
        sizes = tuple(map(operator.index, given))
    except TypeError:  # a float, None, a text
        sizes = ()
    if len(sizes) == 1:
        sizes *= count
    if len(sizes) != count or min(sizes, default=least) < least:
        raise OptionError(name, f"{option} is not right",
                          expected=f"an integer from {least} on, or {count} of them",
                          got=repr(value))  # fmt: skip
    return sizes


def paddings(
    name: str, padding: Sizes | str, taps: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[tuple[int, int], ...]:
    """How many zeros before and after, in each dimension."""
    if padding == "valid":
        return ((0, 0),) * len(taps)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise OptionError(name, 'padding="same" is for stride 1', got=f"stride {tuple(stride)}",
                              fix="give the padding in numbers")  # fmt: skip
        totals = [d * (n - 1) for d, n in zip(dilation, taps, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        raise OptionError(name, "the padding is not known", expected='numbers, "same" or "valid"',
                          got=repr(padding))  # fmt: skip
    return tuple((p, p) for p in sizes_of(name, "padding", padding, len(taps), 0))
