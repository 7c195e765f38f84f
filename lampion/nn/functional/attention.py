"""Attention: each query's mean of the values, weighted by how well it fits their keys."""

from __future__ import annotations

import math

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.dtype import bool_
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.mode import mode
from lampion.nn.functional.checks import check_floats
from lampion.nn.functional.dropouts import dropout
from lampion.ops.attention import attention, seen
from lampion.ops.define import cast_to, widened
from lampion.tensor import Tensor

#: Bytes of one query's scores up to which they stay in cache in the fused operation.
_LONGEST = 8192


@by_policy
def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Each query's mean of the values, weighted by the softmax of its products with the keys.

        softmax(query @ key.T * scale + mask) @ value

    Without a mask of its own and without dropout it is one operation, compiled into one kernel that never
    writes the scores to memory (`lampion/ops/attention.py`); otherwise it is composed of products and a
    softmax.

    Args:
        query, key, value: of one floating-point type.
        attn_mask: booleans (True: this query sees this key), or numbers that are added to the scores. A
            query that sees no key at all gets zeros.
        dropout_p: the share of the weights that is set to 0. It is applied always: pass 0.0 in evaluation.
        is_causal: query i sees the keys 0 to i only. Not together with `attn_mask`.
        scale: 1 / sqrt(E), unless given.
        enable_gqa: key and value may have fewer heads (dimension -3), each for a group of query's.

    Shape:
        query (..., L, E), key (..., S, E), value (..., S, Ev); the dimensions in front broadcast.
        attn_mask: broadcasts to (..., L, S). Output: (..., L, Ev).

    Raises:
        ShapeError, DTypeError, OptionError: the arguments do not belong together.

    Source: A. Vaswani et al.: "Attention is all you need" (NeurIPS 2017); Deep Learning from Scratch 2,
    chapter 8.

    >>> import lampion
    >>> q = lampion.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> lampion.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    tensor([[1.0000, 0.0000],
            [0.3302, 0.6698]])
    """
    _check(query, key, value, attn_mask, is_causal)
    if query.dtype.is_half:  # rounded once, at the end
        q, k, v = (widened(x) for x in (query, key, value))
        wide = scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal, scale, enable_gqa)
        rounded: Tensor = cast_to(wide, query.dtype)
        return rounded
    if enable_gqa:
        key, value = _grouped(query, key), _grouped(query, value)
    query, key, value = _broadcast(query, key, value)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    if attn_mask is None and not dropout_p and _fits(query, key, value, is_causal):
        single = query.ndim == 2
        if single:
            query, key, value = (ops.unsqueeze(x, 0) for x in (query, key, value))
        out: Tensor = ops.transpose(attention(query, key, value, bool(is_causal), float(scale)), -2, -3)
        return ops.squeeze(out, 0) if single else out
    scores = ops.matmul(query, ops.transpose(key, -1, -2)) * scale
    if is_causal:
        attn_mask = seen(query, key)
    elif attn_mask is not None:
        _check_mask(attn_mask, scores.shape)
    weights = masked_softmax(scores, attn_mask)
    if dropout_p:
        weights = dropout(weights, dropout_p)
    return ops.matmul(weights, value)


def masked_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """softmax over the keys that the mask leaves; zeros where it leaves none."""
    if mask is None:
        return ops.softmax(scores, -1)
    if mask.dtype is bool_:
        scores = ops.where(mask, scores, -math.inf)
    else:
        scores = scores + mask.to(scores.dtype)
    nothing = ops.all(ops.eq(scores, -math.inf), -1, True) if scores.shape[-1] else None
    weights: Tensor = ops.softmax(scores, -1)
    return weights if nothing is None else ops.where(nothing, 0.0, weights)


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, is_causal: bool) -> None:
    name = "scaled_dot_product_attention"
    for label, x in (("query", query), ("key", key), ("value", value)):
        check_floats(name, x)
        if x.ndim < 2:
            raise ShapeError(name, f"{label} needs at least two dimensions", expected="(..., length, size)",
                             got=str(tuple(x.shape)))  # fmt: skip
    if not (query.dtype is key.dtype is value.dtype):
        raise DTypeError(name, "query, key and value are of different types",
                         got=f"{query.dtype}, {key.dtype}, {value.dtype}")  # fmt: skip
    if query.shape[-1] != key.shape[-1]:
        raise ShapeError(name, "query and key have different sizes", expected=f"key (..., {query.shape[-1]})",
                         got=str(tuple(key.shape)))  # fmt: skip
    if key.shape[-2] != value.shape[-2]:
        raise ShapeError(name, "each key needs a value", expected=f"value (..., {key.shape[-2]}, size)",
                         got=str(tuple(value.shape)))  # fmt: skip
    if mask is not None and is_causal:
        raise OptionError(name, "a mask and is_causal cannot be given together",
                          fix="make the mask causal: mask & lampion.ones(L, S).bool().tril()")  # fmt: skip
    if mask is not None and mask.dtype is not bool_ and not mask.dtype.is_floating_point:
        raise DTypeError(name, "attn_mask is of booleans, or of numbers to add", got=str(mask.dtype))


def _check_mask(mask: Tensor, scores: tuple[int, ...]) -> None:
    """Refuse a mask that does not fit the scores: only in front may they be the ones to broadcast."""
    pairs = list(zip(reversed(mask.shape), reversed(scores), strict=False))
    rows, fronts = pairs[:2], pairs[2:]
    if any(n not in (1, size) for n, size in rows) or any(
        n != size and 1 not in (n, size) for n, size in fronts
    ):
        *_, length, keys = scores
        raise ShapeError(
            "scaled_dot_product_attention", "attn_mask does not broadcast with the scores",
            expected=f"(..., {length}, {keys}), for scores of shape {tuple(scores)}",
            got=f"attn_mask {tuple(mask.shape)}",
            fix="a mask of queries and keys is (L, S), one of keys in a batch (N, 1, 1, S)",
        )  # fmt: skip


def _grouped(query: Tensor, x: Tensor) -> Tensor:
    """Each head of key or value repeated for the heads of its group."""
    if query.ndim < 3 or x.ndim < 3 or query.shape[-3] % x.shape[-3]:
        raise ShapeError("scaled_dot_product_attention", "enable_gqa needs heads in whole groups",
                         expected="query's heads a multiple of key's and value's (dimension -3)",
                         got=f"{tuple(query.shape)} and {tuple(x.shape)}")  # fmt: skip
    out: Tensor = ops.repeat_interleave(x, query.shape[-3] // x.shape[-3], -3)
    return out


def _broadcast(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three with the same dimensions in front."""
    if query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        return query, key, value
    from lampion.ops.shapes import broadcast_shapes

    fronts = [tuple(x.shape[:-2]) for x in (query, key, value)]
    front = broadcast_shapes("scaled_dot_product_attention", fronts)
    query, key, value = (ops.broadcast_to(x, (*front, *x.shape[-2:])) for x in (query, key, value))
    return query, key, value


def _fits(query: Tensor, key: Tensor, value: Tensor, is_causal: bool) -> bool:
    """Whether the fused operation is for these: plain floats, some of everything, rows that stay in cache."""
    if mode.trace is not None and not mode.trace.compiles:
        return False  # transforms of `lampion.func` have rules for the parts
    sizes = (*query.shape, *value.shape)
    return (
        query.dtype.itemsize >= 4
        and not query.dtype.is_complex
        and 0 not in sizes
        and (not is_causal or query.shape[-2] <= key.shape[-2])
        and key.shape[-2] * query.dtype.itemsize <= _LONGEST
    )
