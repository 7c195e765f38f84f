"""Attention with several heads, each with projections of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from lampion import ops
from lampion.dtype import bool_
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn.functional.attention import masked_softmax, scaled_dot_product_attention
from lampion.nn.functional.dropouts import dropout
from lampion.nn.functional.maps import linear
from lampion.tensor import Tensor

_NAME = "multi_head_attention_forward"


@dataclass(frozen=True)
class Projections:
    """The maps in front of the heads: one weight for all three, or one for each."""

    heads: int
    weight: Tensor | None = None  # (3 E, E)
    separate: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None)
    bias: Tensor | None = None  # (3 E,)
    bias_k: Tensor | None = None  # one key more, (1, 1, E), and its value
    bias_v: Tensor | None = None
    zero: bool = False  # and one more of zeros


@dataclass(frozen=True)
class Masks:
    """What is hidden: True where it is, or numbers that are added to the scores."""

    attention: Tensor | None = None  # (L, S) or (N * H, L, S)
    padding: Tensor | None = None  # (N, S)
    causal: bool = False


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None,
    add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor, out_proj_bias: Tensor | None,
    training: bool = True, key_padding_mask: Tensor | None = None, need_weights: bool = True,
    attn_mask: Tensor | None = None, use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None, static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    r"""What `nn.MultiheadAttention` computes; see there.

    .. math:: [head_1, \ldots, head_h] W^O, \quad
        head_i = attention(Q W_i^Q, K W_i^K, V W_i^V)

    Args:
        query, key, value: what attends, and what is attended to.
        embed_dim_to_check: E, the size of a query.
        num_heads: H.
        in_proj_weight, in_proj_bias: of the three projections, one below the other.
        bias_k, bias_v: a key and a value, (1, 1, E), that every sequence has at its end.
        add_zero_attn: whether there is another one of zeros behind that.
        dropout_p, training: the share of the weights that is set to 0, in training.
        out_proj_weight, out_proj_bias: of the projection behind.
        key_padding_mask, attn_mask, is_causal, need_weights, average_attn_weights: see
            `nn.MultiheadAttention`.
        use_separate_proj_weight, q_proj_weight, k_proj_weight, v_proj_weight: instead of `in_proj_weight`.
        static_k, static_v: keys and values of all heads, (N * H, S, E / H), in place of projected ones.

    Shape:
        query: (L, N, E) or (L, E); key, value: (S, N, .) or (S, .). Output: as query; weights: (N, L, S), or
        (N, H, L, S) of each head; without N where the query has none.

    Raises:
        ShapeError, DTypeError, OptionError: the arguments do not belong together.
    """
    separate = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else (None,) * 3
    weight = None if use_separate_proj_weight else in_proj_weight
    _check_width("query", query, embed_dim_to_check)
    projections = Projections(num_heads, weight, separate, in_proj_bias, bias_k, bias_v, add_zero_attn)
    return attend(
        (query, key, value), projections, Masks(attn_mask, key_padding_mask, is_causal),
        (out_proj_weight, out_proj_bias), dropout_p if training else 0.0, need_weights, average_attn_weights,
        static=(static_k, static_v),
    )  # fmt: skip


def attend(
    inputs: tuple[Tensor, Tensor, Tensor], projections: Projections, masks: Masks,
    out: tuple[Tensor, Tensor | None], dropout_p: float, need_weights: bool, average: bool,
    batch_first: bool = False, static: tuple[Tensor | None, Tensor | None] = (None, None),
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """`multi_head_attention_forward`, for either order of length and batch."""
    query, key, value = inputs
    heads, size = projections.heads, query.shape[-1]
    _check(query, key, value, projections, masks)
    batched = query.ndim == 3
    if not batched:
        same, alike = key is query, value is key
        query = ops.unsqueeze(query, int(not batch_first))
        key = query if same else ops.unsqueeze(key, int(not batch_first))
        value = key if alike else ops.unsqueeze(value, int(not batch_first))
    q, k, v = _projected(query, key, value, projections, batch_first)  # each (N, H, length, E / H)
    batch, _, length, width = q.shape
    k, v = (
        x if given is None else ops.reshape(given, batch, heads, -1, width)
        for x, given in zip((k, v), static, strict=True)
    )  # fmt: skip
    keys = k.shape[2]
    k, v, added = _with_more(k, v, projections)
    causal = masks.causal and not need_weights and masks.padding is None and not added
    if masks.causal and not causal and masks.attention is None:
        masks = replace(masks, attention=ops.ones(length, keys, dtype=bool_).triu(1))
    mask = None if causal else _hidden(masks, batch, heads, (length, keys + added), added, q)
    weights = None
    if need_weights:
        weights = masked_softmax(ops.matmul(q, ops.transpose(k, -1, -2)) * (1 / math.sqrt(width)), mask)
        if dropout_p:
            weights = dropout(weights, dropout_p)
        heard = ops.matmul(weights, v)
        weights = ops.mean(weights, 1) if average else weights
        weights = weights if batched else ops.squeeze(weights, 0)
    else:
        heard = scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal=causal)
    order = (0, 2, 1, 3) if batch_first else (2, 0, 1, 3)
    joined = ops.permute(heard, order)
    result: Tensor = linear(ops.reshape(joined, *joined.shape[:2], size), *out)
    return (result if batched else ops.squeeze(result, int(not batch_first))), weights


def _projected(
    query: Tensor, key: Tensor, value: Tensor, projections: Projections, batch_first: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of all heads, (N, H, length, E / H); in one product where that can be."""
    heads, size, bias = projections.heads, query.shape[-1], projections.bias
    to_heads = (0, 2, 1, 3) if batch_first else (1, 2, 0, 3)
    weight = projections.weight
    if weight is not None and query is key and key is value:
        all_three = ops.reshape(
            linear(query, weight, bias), *query.shape[:2], 3, heads, size // heads
        )  # the same, with "which of the three" in front
        three = ops.permute(all_three, (2, 0, 3, 1, 4) if batch_first else (2, 1, 3, 0, 4))
        return three[0], three[1], three[2]
    weights = projections.separate if weight is None else tuple(ops.chunk(weight, 3))
    biases = (None,) * 3 if bias is None else tuple(ops.chunk(bias, 3))
    found = []
    for x, one, own in zip((query, key, value), weights, biases, strict=True):
        assert one is not None  # `_check` looked
        y = linear(x, one, own)
        found.append(ops.permute(ops.reshape(y, *y.shape[:2], heads, size // heads), to_heads))
    return found[0], found[1], found[2]


def _with_more(k: Tensor, v: Tensor, projections: Projections) -> tuple[Tensor, Tensor, int]:
    """Keys and values with those behind the sequence; and how many these are."""
    batch, heads, _, width = k.shape
    added = 0
    if projections.bias_k is not None and projections.bias_v is not None:
        more = [
            ops.broadcast_to(ops.reshape(x, 1, heads, 1, width), (batch, heads, 1, width))
            for x in (projections.bias_k, projections.bias_v)
        ]
        k, v, added = ops.cat([k, more[0]], 2), ops.cat([v, more[1]], 2), 1
    if projections.zero:
        nothing = ops.zeros(batch, heads, 1, width, dtype=k.dtype)
        k, v, added = ops.cat([k, nothing], 2), ops.cat([v, nothing], 2), added + 1
    return k, v, added


def _hidden(
    masks: Masks, batch: int, heads: int, sizes: tuple[int, int], added: int, like: Tensor
) -> Tensor | None:
    """Both masks as one for `scaled_dot_product_attention`: True where a key is seen, or numbers to add."""
    length, keys = sizes
    found = []
    if (mask := masks.attention) is not None:
        flat, full = (length, keys - added), (batch * heads, length, keys - added)
        if tuple(mask.shape) not in (flat, full):
            raise ShapeError(_NAME, "attn_mask has another shape", expected=f"{flat} or {full}",
                             got=str(tuple(mask.shape)))  # fmt: skip
        mask = _extended(mask, added)
        found.append(mask if mask.ndim == 2 else ops.reshape(mask, batch, heads, *mask.shape[1:]))
    if (mask := masks.padding) is not None:
        rows = (keys - added,) if mask.ndim == 1 else (batch, keys - added)
        if tuple(mask.shape) != rows or (mask.ndim == 1 and batch > 1):
            raise ShapeError(_NAME, "key_padding_mask has another shape", expected=str((batch, keys - added)),
                             got=str(tuple(mask.shape)))  # fmt: skip
        found.append(ops.reshape(_extended(mask, added), batch, 1, 1, keys))
    seen = [ops.logical_not(mask) if mask.dtype is bool_ else mask for mask in found]
    if not seen:
        return None
    return seen[0] if len(seen) == 1 else _both(seen[0], seen[1], like)


def _extended(mask: Tensor, added: int) -> Tensor:
    """A mask that hides nothing of what was added behind the keys."""
    if not added:
        return mask
    more: Tensor = ops.cat([mask, ops.zeros(*mask.shape[:-1], added, dtype=mask.dtype)], -1)
    return more


def _both(a: Tensor, b: Tensor | None, like: Tensor) -> Tensor:
    """Two masks for `scaled_dot_product_attention` as one."""
    if b is None:
        return a
    if a.dtype is bool_ and b.dtype is bool_:
        both: Tensor = ops.logical_and(a, b)
        return both
    a, b = (
        ops.where(m, ops.zeros(1, dtype=like.dtype), -math.inf) if m.dtype is bool_ else m for m in (a, b)
    )
    return a + b


def _check_width(label: str, x: Tensor, size: int) -> None:
    """Refuse what its projection is not for, by PyTorch's words."""
    if x.shape[-1] != size:
        of = "" if label == "query" else f" of {label}"
        raise ShapeError(_NAME, f"was expecting embedding dimension{of} of {size}, got {x.shape[-1]}",
                         expected=f"{label} (..., {size})", got=str(tuple(x.shape)),
                         fix="set embed_dim, kdim or vdim of the layer")  # fmt: skip


def _check(query: Tensor, key: Tensor, value: Tensor, projections: Projections, masks: Masks) -> None:
    if query.ndim not in (2, 3) or key.ndim != query.ndim or value.ndim != query.ndim:
        raise ShapeError(_NAME, "query, key and value are sequences, or batches of them, all three",
                         expected="2 dimensions each, or 3",
                         got=f"{query.ndim}, {key.ndim} and {value.ndim}")  # fmt: skip
    separate = projections.weight is None
    weights = projections.separate if separate else (projections.weight,) * 3
    for label, x, weight in zip(("query", "key", "value"), (query, key, value), weights, strict=True):
        if weight is not None:
            _check_width(label, x, weight.shape[-1])
    if key.shape[:-1] != value.shape[:-1] or (not separate and key.shape != value.shape):
        raise ShapeError(_NAME, "each key needs a value", expected=f"value {tuple(key.shape)}",
                         got=str(tuple(value.shape)))  # fmt: skip
    if query.shape[-1] % projections.heads:
        raise ShapeError(_NAME, "the size of a query is not divisible by the number of heads",
                         expected=f"a multiple of {projections.heads}",
                         got=str(query.shape[-1]))  # fmt: skip
    if separate and None in [x if x is None else 0 for x in projections.separate]:
        wanted = "in_proj_weight, or use_separate_proj_weight=True and all three"
        raise OptionError(_NAME, "there are no projections", expected=wanted)
    if (projections.bias_k is None) is not (projections.bias_v is None):
        raise OptionError(_NAME, "bias_k and bias_v belong together")
    for name, mask in (("attn_mask", masks.attention), ("key_padding_mask", masks.padding)):
        if mask is not None and mask.dtype is not bool_ and not mask.dtype.is_floating_point:
            raise DTypeError(_NAME, f"only bool and floating types of {name} are supported",
                             expected="True where a key is hidden, or numbers to add", got=str(mask.dtype),
                             fix=f"{name}.bool()")  # fmt: skip
    if masks.padding is not None and masks.padding.ndim != query.ndim - 1:
        raise ShapeError(_NAME, "key_padding_mask has one number for each key",
                         expected="(N, S)" if query.ndim == 3 else "(S,)",
                         got=str(tuple(masks.padding.shape)))  # fmt: skip
