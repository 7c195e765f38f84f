"""Attention as one operation: its scores never lie in memory as a whole.

    scores = scale * q @ k.T        (a causal mask hides the keys behind the query)
    out = softmax(scores) @ v

Composed of products and a softmax, the scores of all heads are written to memory and read again, several
times over: as many numbers as there are pairs of positions. The kernel of this operation works through a head
in blocks of queries whose scores stay in the first cache, does not compute what the mask hides, and its
gradient computes the scores anew rather than keep them. (docs/design/12-attention.md has the measurement.)

Inputs are (..., heads, length, size). Results are laid out (..., length, heads, size): so they lie in memory
as the projection behind every attention layer wants them.

Source: T. Dao et al.: "FlashAttention" (NeurIPS 2022), for the idea of never storing the scores.
"""

from __future__ import annotations

from lampion.ops.composite import softmax
from lampion.ops.creation import arange
from lampion.ops.define import kernel
from lampion.ops.elementwise import add, mul, sub, where
from lampion.ops.matrix import matmul
from lampion.ops.movement import permute, reshape, slice_
from lampion.ops.reduce import sum as sum_
from lampion.primitive import apply


@kernel(public=False, saves="inputs")
class attention:
    """softmax(scale * q @ k.T) @ v, a head at a time.

    Args:
        q: (..., H, L, D).
        k: (..., H, S, D).
        v: (..., H, S, E).
        causal: whether query i sees the keys 0 to i only.
        scale: what the scores are multiplied with.

    Shape:
        Output: (..., L, H, E).
    """

    def infer(q, k, v, causal, scale):
        *batch, heads, length, _ = q.shape
        return (*batch, length, heads, v.shape[-1]), q.dtype

    def forward(xp, q, k, v, causal, scale):
        out = xp.matmul(_weights(xp, q, k, causal, scale), v)
        if causal and not xp.isfinite(v).all():
            # What the mask hides counts for nothing: 0 * inf would make NaN of it.
            out = _row_by_row(xp, q, k, v, scale)
        return xp.ascontiguousarray(xp.swapaxes(out, -2, -3))

    def vjp(g, q, k, v, causal, scale):
        return _gradients(g, q, k, v, causal, scale)

    def call(q, k, v, causal, scale):
        return apply(attention.primitive, q, k, v, causal=causal, scale=scale)


@kernel(public=False, saves="inputs")
class attention_slopes:
    """The gradients of q, k and v, packed: each laid out (..., length, heads, size), one after the other.

    Where all three have one shape (self-attention), they lie side by side instead: (..., length, 3, heads,
    size). So they are, as they stand, the gradient of the one projection that mostly makes all three.

    With P = softmax(scores) and g the gradient of the output:
        dv = P.T @ g;  dP = g @ v.T;  dS = P * (dP - sum of P * dP)
        dq = scale * dS @ k;  dk = scale * dS.T @ q
    """

    def infer(g, q, k, v, causal, scale):
        *batch, heads, length, size = q.shape
        keys, width = v.shape[-2:]
        return (*batch, heads * (length * size + keys * (size + width))), q.dtype

    def forward(xp, g, q, k, v, causal, scale):
        g = xp.swapaxes(g, -2, -3)
        if causal and not all(xp.isfinite(x).all() for x in (g, q, k, v)):
            parts = _slopes_row_by_row(xp, g, q, k, v, scale)
        else:
            parts = _slopes(xp, g, q, k, v, causal, scale)
        parts = [xp.swapaxes(part, -2, -3) for part in parts]
        if side_by_side(q, v):
            return xp.stack(parts, axis=-3).reshape(*q.shape[:-3], -1)
        return xp.concatenate([part.reshape(*q.shape[:-3], -1) for part in parts], axis=-1)

    def vjp(c, g, q, k, v, causal, scale):
        return _second(c, g, q, k, v, causal, scale)

    def call(g, q, k, v, causal, scale):
        return apply(attention_slopes.primitive, g, q, k, v, causal=causal, scale=scale)


def _hidden(xp, q, k):
    """Which pairs of query and key the causal mask hides."""
    return xp.arange(k.shape[-2]) > xp.arange(q.shape[-2])[:, None]


def _weights(xp, q, k, causal, scale):
    """softmax(scale * q @ k.T)."""
    scores = xp.matmul(q, xp.swapaxes(k, -1, -2)) * q.dtype.type(scale)
    if causal:
        scores[..., _hidden(xp, q, k)] = -xp.inf
    scores -= scores.max(-1, keepdims=True)
    xp.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    return scores


def _row_by_row(xp, q, k, v, scale):
    """Causal attention, each query with the keys that it sees."""
    rows = []
    for i in range(q.shape[-2]):
        seen = slice(0, i + 1)
        weights = _weights(xp, q[..., i : i + 1, :], k[..., seen, :], False, scale)
        rows.append(xp.matmul(weights, v[..., seen, :]))
    return xp.concatenate(rows, axis=-2)


def _slopes(xp, g, q, k, v, causal, scale):
    """The gradients of q, k and v."""
    weights = _weights(xp, q, k, causal, scale)
    slopes = xp.matmul(g, xp.swapaxes(v, -1, -2))
    slopes = weights * (slopes - (weights * slopes).sum(-1, keepdims=True))
    slopes *= q.dtype.type(scale)
    to_k, to_v = xp.matmul(xp.swapaxes(slopes, -1, -2), q), xp.matmul(xp.swapaxes(weights, -1, -2), g)
    return xp.matmul(slopes, k), to_k, to_v


def _slopes_row_by_row(xp, g, q, k, v, scale):
    """The same under a causal mask, each query with the keys that it sees."""
    to_q, to_k, to_v = xp.empty_like(q), xp.zeros_like(k), xp.zeros_like(v)
    for i in range(q.shape[-2]):
        one, seen = (..., slice(i, i + 1), slice(None)), (..., slice(0, i + 1), slice(None))
        found = _slopes(xp, g[one], q[one], k[seen], v[seen], False, scale)
        to_q[one] = found[0]
        to_k[seen] += found[1]
        to_v[seen] += found[2]
    return to_q, to_k, to_v


# -- gradients, in Tensor operations -----------------------------------------------------------------------


def _swap(x, a=-1, b=-2):
    axes = list(range(x.ndim))
    axes[a], axes[b] = axes[b], axes[a]
    return permute(x, axes)


def side_by_side(q, v):
    """Whether the gradients are packed position by position."""
    return q.shape == v.shape


def _apart(flat, q, k, v):
    """The three parts of `attention_slopes`, each (..., heads, length, size)."""
    *batch, heads, length, size = q.shape
    keys, width = v.shape[-2:]
    parts, start = [], 0
    if side_by_side(q, v):
        flat = reshape(flat, (*batch, length, 3 * heads * size))
        shapes, front = [(length, size)] * 3, (*batch, length)
        sizes = [heads * size] * 3
    else:
        shapes, front = [(length, size), (keys, size), (keys, width)], batch
        sizes = [heads * n * m for n, m in shapes]
    for (n, m), count in zip(shapes, sizes, strict=True):
        bounds = (*((0, b, 1) for b in front), (start, start + count, 1))
        parts.append(_swap(reshape(slice_(flat, bounds), (*batch, n, heads, m)), -2, -3))
        start += count
    return parts


def _gradients(g, q, k, v, causal, scale):
    return tuple(_apart(attention_slopes(g, q, k, v, causal, scale), q, k, v))


def _second(c, g, q, k, v, causal, scale):
    """The gradients of `attention_slopes`, whose parts' gradients are a (of dq), b (of dk) and e (of dv)."""
    a, b, e = _apart(c, q, k, v)
    g = _swap(g, -2, -3)
    scores = mul(matmul(q, _swap(k)), scale)
    weights = softmax(where(seen(q, k), scores, -float("inf")) if causal else scores, -1)
    slopes = matmul(g, _swap(v))  # dP
    centred = sub(slopes, sum_(mul(weights, slopes), -1, True))
    inner = mul(mul(weights, centred), scale)  # dS, with the scale
    outer = mul(add(matmul(a, _swap(k)), matmul(q, _swap(b))), scale)  # what dS / scale gets
    mean = sum_(mul(weights, outer), -1, True)
    to_slopes = mul(weights, sub(outer, mean))
    to_weights = add(sub(mul(outer, centred), mul(mean, slopes)), matmul(g, _swap(e)))
    to_scores = mul(mul(weights, sub(to_weights, sum_(mul(weights, to_weights), -1, True))), scale)
    to_g = add(matmul(to_slopes, v), matmul(weights, e))
    to_q = add(matmul(inner, b), matmul(to_scores, k))
    to_k = add(matmul(_swap(inner), a), matmul(_swap(to_scores), q))
    to_v = matmul(_swap(to_slopes), g)
    return _swap(to_g, -2, -3), to_q, to_k, to_v


def seen(q, k):
    """Which pairs of query and key the causal mask leaves."""
    return arange(k.shape[-2]) <= reshape(arange(q.shape[-2]), (q.shape[-2], 1))
