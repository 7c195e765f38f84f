"""Other shapes of the same elements; joining and repeating."""

from __future__ import annotations

from collections.abc import Sequence

from lampion.array_api._rules import Tensor, axes_of, common, op
from lampion.errors import ShapeError
from lampion.ops.shapes import broadcast_shapes as _broadcast_shapes

__all__ = [
    "broadcast_arrays", "broadcast_to", "concat", "expand_dims", "flip", "moveaxis", "permute_dims", "repeat",
    "reshape", "roll", "squeeze", "stack", "tile", "unstack",
]  # fmt: skip


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """The arrays, stretched to one shape."""
    shape = _broadcast_shapes("broadcast_arrays", [x.shape for x in arrays])
    return [op["broadcast_to"](x, shape) for x in arrays]


def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """The array stretched to a shape."""
    out: Tensor = op["broadcast_to"](x, shape)
    return out


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """The arrays joined along an axis that they have; flattened before, where `axis` is None."""
    parts = common(arrays)
    if axis is None:
        parts, axis = [x.reshape(-1) for x in parts], 0
    if parts:
        axes_of("concat", axis, parts[0].ndim)
        if any(x.ndim != parts[0].ndim for x in parts):
            raise ShapeError("concat", "the arrays have different numbers of dimensions",
                             got=", ".join(str(x.shape) for x in parts))  # fmt: skip
    out: Tensor = op["cat"](parts, axis)
    return out


def expand_dims(x: Tensor, /, axis: int = 0) -> Tensor:
    """With a new axis of size 1."""
    return x.unsqueeze(axis)


def flip(x: Tensor, /, *, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """The elements in reverse order along the axes (default: all)."""
    axes = axes_of("flip", axis, x.ndim)
    return x.flip(axes) if axes else x.clone()


def moveaxis(x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...], /) -> Tensor:
    """The axes `source` at the places `destination`; the others keep their order."""
    first, second = axes_of("moveaxis", source, x.ndim), axes_of("moveaxis", destination, x.ndim)
    if len(first) != len(second):
        raise ShapeError("moveaxis", "source and destination have different lengths",
                         got=f"{source} and {destination}")  # fmt: skip
    rest = iter(axis for axis in range(x.ndim) if axis not in first)
    moved = dict(zip(second, first, strict=True))
    return x.permute([moved[axis] if axis in moved else next(rest) for axis in range(x.ndim)])


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """The axes in another order."""
    return x.permute(tuple(axes))


def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Tensor:
    """Each element several times, one after the other; flattened before, where `axis` is None."""
    if axis is None:
        x, axis = x.reshape(-1), 0
    out: Tensor = op["repeat_interleave"](x, repeats, axis)
    return out


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """The same elements in another shape; `copy` says whether it may, must or must not share memory."""
    out: Tensor = x.reshape(tuple(shape))
    if copy is True:
        return out.clone()
    if copy is False and out is not x and out._base is None:
        raise ValueError("reshape: that shape cannot be had without a copy")
    return out


def roll(x: Tensor, /, shift: int | tuple[int, ...], *, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """The elements moved on by `shift` places; what falls off the end comes in at the beginning."""
    out: Tensor = op["roll"](x, shift) if axis is None else op["roll"](x, shift, axis)
    return out


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """Without axes of size 1, each of them named."""
    axes = axes_of("squeeze", axis, x.ndim)
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"squeeze: an axis has another size than 1: shape {x.shape}, axis {axis}")
    return x.reshape([n for a, n in enumerate(x.shape) if a not in axes])


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """The arrays joined along a new axis."""
    out: Tensor = op["stack"](common(arrays), axis)
    return out


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """The array several times, side by side."""
    out: Tensor = op["tile"](x, tuple(repetitions))
    return out


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis."""
    (place,) = axes_of("unstack", axis, x.ndim)
    return tuple(x[(slice(None),) * place + (i,)] for i in range(x.shape[place]))
