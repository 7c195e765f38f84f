"""Linear maps, and looking up rows of a table."""

from __future__ import annotations

import math

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.compiler.pieces import open_to_plans, planned
from lampion.dtype import float32, float64, int64
from lampion.errors import DTypeError, IndexRangeError, LampionError, OptionError, ShapeError
from lampion.mode import mode, no_grad
from lampion.nn.functional.checks import check_floats
from lampion.nn.functional.distances import p_norm
from lampion.ops.advanced_indexing import used_rows, write_rows
from lampion.ops.composite import affine, scaled_gradient
from lampion.ops.define import cast_to, widened
from lampion.tensor import Tensor

# Results of so many numbers, the scores of all words say, do not fit into caches: a plan makes them, and the
# gradient of the bias, in fewer passes.
_LARGE = 1 << 21
_planned_affine = planned(affine)


@by_policy
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``.

    Shape:
        input: (..., in_features); weight: (out_features, in_features); bias: (out_features,).
    """
    # One product of two matrices is faster than a stack of them with a shared one.
    flat = input if input.ndim <= 2 or weight.ndim != 2 else ops.reshape(
        input, math.prod(input.shape[:-1]), input.shape[-1]
    )  # fmt: skip
    if bias is not None and flat.ndim == weight.ndim == 2 and flat.dtype is weight.dtype is bias.dtype:
        if flat.dtype.is_half:  # rounded once: after the bias
            out: Tensor = cast_to(affine(widened(flat), widened(weight), widened(bias)), flat.dtype)
        else:
            large = flat.shape[0] * weight.shape[0] >= _LARGE and flat.dtype in (float32, float64)
            out = (_planned_affine if large and open_to_plans() else affine)(flat, weight, bias)
    else:
        out = flat @ weight.T
        if bias is not None:
            out = out + bias
    return out if flat is input else ops.reshape(out, *input.shape[:-1], out.shape[-1])


@by_policy
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """For each output o: ``input1 @ weight[o] @ input2 + bias[o]``.

    Shape:
        input1: (..., in1); input2: (..., in2); weight: (out, in1, in2); bias: (out,); result: (..., out).
    """
    outputs, first, second = weight.shape
    places = input1.shape[:-1]
    if input1.shape[-1] != first or input2.shape[-1] != second or input2.shape[:-1] != places:
        raise ShapeError("bilinear", "the shapes do not fit",
                         expected=f"(..., {first}) and (..., {second}), alike in the dots",
                         got=f"{tuple(input1.shape)} and {tuple(input2.shape)}")  # fmt: skip
    count = math.prod(places)
    table = ops.reshape(ops.permute(weight, (1, 0, 2)), first, outputs * second)
    half = ops.reshape(ops.reshape(input1, count, first) @ table, count, outputs, second)
    out = ops.sum(half * ops.reshape(input2, count, 1, second), 2).to(half.dtype)  # (count, out)
    if bias is not None:
        out = out + bias
    return ops.reshape(out, *places, outputs)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """A row for each label, with a 1 at the label's place.

    Args:
        tensor: the labels.
        num_classes: how long a row is; -1 for one more than the largest label.

    >>> import lampion
    >>> lampion.nn.functional.one_hot(lampion.tensor([0, 2]), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    if tensor.dtype.kind not in "iu":
        raise DTypeError("one_hot", "labels are integers", expected="lampion.int64", got=str(tensor.dtype),
                         fix="convert them: tensor.long()")  # fmt: skip
    if num_classes == -1:
        if mode.trace is not None:
            mode.trace.refuse("counts the classes in the labels", "pass num_classes to one_hot")
        if not tensor.numel():
            raise LampionError("one_hot", "no labels, so that the number of classes must be given",
                               fix="pass the number of classes: one_hot(labels, 10)")  # fmt: skip
        num_classes = int(ops.amax(tensor).item()) + 1
    if num_classes < 1:
        raise OptionError(
            "one_hot", "num_classes must be given", expected="an integer from 1 on, or -1",
            got=str(num_classes), fix="pass the number of classes: one_hot(labels, 10)",
        )  # fmt: skip
    index = ops.unsqueeze(ops.cast(tensor, int64), -1)
    zeros = ops.zeros(*tensor.shape, num_classes, dtype=int64)
    return ops.scatter_add(zeros, -1, index, ops.ones(*index.shape, dtype=int64))


# -- tables ----------------------------------------------------------------------------------------------


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Tensor:  # fmt: skip
    """The rows of `weight` that the input names.

    Args:
        input: indices of rows, of any shape.
        weight: the table, (rows, features).
        padding_idx: a row that gets no gradient.
        max_norm: rows that are used and longer than this are first scaled down to it, in the table.
        norm_type: the p of that length.
        scale_grad_by_freq: divide each row's gradient by how often the input names it.
        sparse: let the table's gradient hold only the rows that were used (`autograd.SparseGradient`), for
            `optim.SparseAdam`, `SGD` and `Adagrad`, which then touch no others. For a table that is a leaf;
            the gradient of another one is whole.

    Shape:
        result: the input's shape, and features.

    >>> import lampion
    >>> table = lampion.tensor([[0.0, 0.0], [1.0, 2.0]])
    >>> lampion.nn.functional.embedding(lampion.tensor([1, 0, 1]), table)
    tensor([[1., 2.],
            [0., 0.],
            [1., 2.]])
    """
    if weight.ndim != 2:
        raise ShapeError("embedding", "the table has rows and features", expected="(rows, features)",
                         got=str(tuple(weight.shape)))  # fmt: skip
    indices = _indices("embedding", input)
    padding = padding_row("embedding", padding_idx, weight.shape[0])
    if max_norm is not None:
        shorten(weight, indices, max_norm, norm_type)
    rows = rows_of(weight, indices, sparse and weight.is_leaf)
    if padding is not None or scale_grad_by_freq:
        factor = ops.ones(indices.shape[0], dtype=weight.dtype)
        if scale_grad_by_freq:
            factor = factor / ops.index_select(_uses(weight, indices), 0, indices)
        if padding is not None:
            factor = ops.where(indices == padding, 0.0, factor)
        rows = scaled_gradient(rows, ops.unsqueeze(factor, 1))
    return ops.reshape(rows, *input.shape, weight.shape[1])


def rows_of(weight: Tensor, indices: Tensor, sparse: bool = False) -> Tensor:
    """The rows that are named, or an error that says how many there are."""
    try:
        rows: Tensor = used_rows(weight, indices) if sparse else ops.index_select(weight, 0, indices)
    except IndexRangeError as error:
        size = weight.shape[0]
        raise IndexRangeError(
            "embedding", f"index {error.notes['got']} is out of range: num_embeddings is {size}",
            expected=f"0 to {size - 1}", got=error.notes["got"],
            fix="check the numbers of the words, or make the table larger: Embedding(len(vocab), ...)",
        ) from None  # fmt: skip
    return rows


def padding_row(name: str, padding_idx: int | None, rows: int) -> int | None:
    """The row that `padding_idx` means, which counts from the end where negative."""
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise OptionError(name, "padding_idx is no row of the table", expected=f"{-rows} to {rows - 1}",
                          got=str(padding_idx))  # fmt: skip
    return padding_idx % rows


def _indices(name: str, input: Tensor) -> Tensor:
    if input.dtype.kind not in "iu":
        raise DTypeError(name, "indices are integers", expected="lampion.int64", got=str(input.dtype),
                         fix="convert them: input.long()")  # fmt: skip
    return ops.reshape(ops.cast(input, int64), input.numel())


def _uses(weight: Tensor, indices: Tensor) -> Tensor:
    """How often each row is named."""
    zeros = ops.zeros(weight.shape[0], dtype=weight.dtype)
    return ops.index_add(zeros, 0, indices, ops.ones(indices.shape[0], dtype=weight.dtype))


def shorten(weight: Tensor, indices: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale those rows that are named down to `max_norm`, in place."""
    with no_grad():
        rows = rows_of(weight, indices)
        lengths = p_norm(rows, norm_type, (1,), True)
        # PyTorch's 1e-7, so that the result is not a little above.
        factor = ops.where(lengths > max_norm, max_norm / (lengths + 1e-7), 1.0)
        write_rows(weight, indices, rows * factor)


def embedding_bag(
    input: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None,
    norm_type: float = 2, scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:  # fmt: skip
    """Sums, means or maxima of bags of rows of `weight`.

    Args:
        input: indices of rows: (bags, size of each), or in a row with `offsets`.
        weight: the table, (rows, features).
        offsets: where in a row of indices each bag begins: from 0 on, and never decreasing.
        max_norm, norm_type, scale_grad_by_freq, sparse: as in `embedding`.
        mode: "sum", "mean" or "max". An empty bag gives zeros.
        per_sample_weights: a factor for each index; with "sum" only.
        include_last_offset: whether the last offset is the end of the last bag; indices behind it are in
            no bag.
        padding_idx: a row that does not count.

    Shape:
        result: (bags, features).

    Raises:
        OptionError: offsets do not begin with 0, decrease, or go beyond the input. (In a compiled function an
            IndexRangeError.)

    >>> import lampion
    >>> table, offsets = lampion.ones(10, 1), lampion.tensor([0, 3, 5])
    >>> lampion.nn.functional.embedding_bag(lampion.arange(7), table, offsets, mode="sum")
    tensor([[3.],
            [2.],
            [2.]])
    """
    name = "embedding_bag"
    check_floats(name, weight)
    if mode not in ("sum", "mean", "max"):
        raise OptionError(name, "the mode is not known", expected='"sum", "mean" or "max"', got=repr(mode))
    if per_sample_weights is not None and mode != "sum":
        raise OptionError(name, "per_sample_weights are for sums only", expected='mode="sum"', got=repr(mode))
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        raise ShapeError(name, "per_sample_weights has the shape of the input",
                         expected=str(tuple(input.shape)),
                         got=str(tuple(per_sample_weights.shape)))  # fmt: skip
    if (input.ndim == 2) is (offsets is not None) or input.ndim not in (1, 2):
        raise ShapeError(name, "bags are rows of a matrix, or marked by offsets in a vector",
                         got=f"an input of shape {tuple(input.shape)}, offsets {offsets}")  # fmt: skip
    indices = _indices(name, input)
    count = indices.shape[0]
    if offsets is None:
        bags = input.shape[0]
        bag = ops.arange(count) // max(input.shape[1], 1)
    else:
        starts = _indices(name, offsets)
        _check_offsets(name, offsets, count, include_last_offset)
        bags = starts.shape[0] - bool(include_last_offset)
        bag = _bag_of_each(starts, count)
    padding = padding_row(name, padding_idx, weight.shape[0])
    rows = embedding(indices, weight, padding, max_norm, norm_type, scale_grad_by_freq, sparse)
    counts = ops.ones(count, 1, dtype=rows.dtype)
    if padding is not None:
        counts = ops.cast(ops.unsqueeze(indices != padding, 1), rows.dtype)
    # One bag more for the indices that are behind the end of the last one.
    kept, bags = bags, bags + (offsets is not None and (include_last_offset or not bags))
    empty = ops.zeros(bags, rows.shape[1], dtype=rows.dtype)
    if mode == "max":
        return ops.narrow(_largest(rows, bag, counts, empty), 0, 0, kept)
    if per_sample_weights is not None:
        rows = rows * ops.reshape(per_sample_weights, count, 1)
    if padding is not None:
        rows = rows * counts
    total: Tensor = ops.narrow(ops.index_add(empty, 0, bag, rows), 0, 0, kept)
    if mode == "sum":
        return total
    sizes = ops.index_add(ops.zeros(bags, 1, dtype=rows.dtype), 0, bag, counts)
    return total / ops.clamp_min(ops.narrow(sizes, 0, 0, kept), 1.0)


def _check_offsets(name: str, offsets: Tensor, count: int, include_last: bool) -> None:
    """Refuse offsets that mark no bags; in a compiled function, `_bag_of_each` and the sums refuse them."""
    if offsets.ndim != 1:
        raise ShapeError(name, "offsets is a vector", expected="(bags,)", got=str(tuple(offsets.shape)))
    if include_last and not offsets.shape[0]:
        raise ShapeError(name, "with include_last_offset there is one offset at least",
                         expected="(bags + 1,)", got="(0,)", fix="lampion.tensor([0]): no bags")  # fmt: skip
    if mode.trace is not None or not offsets.shape[0]:
        return
    values = offsets._array
    if values[0] != 0:
        raise OptionError(name, "offsets[0] has to be 0: the first bag starts with the first index",
                          expected="0", got=str(values[0]))  # fmt: skip
    falls = values[1:] < values[:-1]
    if falls.any():
        place = int(falls.argmax())
        raise OptionError(name, "offsets decrease: a bag starts where the one before it ends, or later",
                          expected=f"offsets[{place + 1}] >= {values[place]}",
                          got=str(values[place + 1]))  # fmt: skip
    if values[-1] > count:
        raise OptionError(name, "offsets[-1] cannot be greater than the input's length",
                          expected=f"{count} at most", got=str(values[-1]))  # fmt: skip


def _bag_of_each(starts: Tensor, count: int) -> Tensor:
    """The number of the bag of each of `count` indices: how many have begun up to there, less 1."""
    bags = starts.shape[0]
    if not bags:
        return ops.zeros(count, dtype=int64)
    # A start before the one in front of it becomes -1, which index_add refuses, also where it is compiled.
    falls = ops.narrow(starts, 0, 1, bags - 1) < ops.narrow(starts, 0, 0, bags - 1)
    falls = ops.cat([ops.zeros(1, dtype=falls.dtype), falls])
    begun = ops.index_add(
        ops.zeros(count + 1, dtype=int64), 0, ops.where(falls, -1, starts), ops.ones(bags, dtype=int64)
    )
    bag: Tensor = ops.cumsum(ops.narrow(begun, 0, 0, count), 0) - 1
    return bag


def _largest(rows: Tensor, bag: Tensor, counts: Tensor, empty: Tensor) -> Tensor:
    low = ops.where(counts > 0, rows, float("-inf"))
    index = ops.broadcast_to(ops.unsqueeze(bag, 1), low.shape)
    largest = ops.scatter_reduce(empty + float("-inf"), 0, index, low, "amax")
    return ops.where(largest == float("-inf"), 0.0, largest)
