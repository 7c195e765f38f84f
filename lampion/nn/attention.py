"""Multi-head attention as a layer."""

from __future__ import annotations

from typing import Any

from lampion.errors import OptionError
from lampion.nn import init
from lampion.nn.functional.multihead import Masks, Projections, attend
from lampion.nn.linear import Linear
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter, new_parameter
from lampion.tensor import Tensor, check_device


class MultiheadAttention(Module):
    r"""Attention in several heads side by side, each with projections of its own.

    .. math:: [head_1, \ldots, head_h] W^O, \quad
        head_i = softmax(Q W_i^Q (K W_i^K)^T / \sqrt{d}) \, V W_i^V

    With ``need_weights=False`` it is `functional.scaled_dot_product_attention`, which never writes the
    weights to memory. A query that sees no key at all gets zeros (in PyTorch: NaN, where weights are asked
    for).

    Args:
        embed_dim: E, the size of a query and of the result.
        num_heads: H; each is E / H wide.
        dropout: the share of the weights that is set to 0, in training.
        bias: whether the projections have one.
        add_bias_kv: whether every sequence has a key and a value at its end that are learned.
        add_zero_attn: whether it has another one of zeros.
        kdim, vdim: the sizes of key and value, where they are not E.
        batch_first: whether the batch comes first: (N, L, E) instead of (L, N, E).

    Shape:
        query: (L, N, E), (N, L, E) with `batch_first`, or (L, E); key, value: alike, with S and `kdim`,
        `vdim`. Output: as query. Weights: (N, L, S), or (N, H, L, S) of each head.

    Raises:
        OptionError: the sizes are not positive, or E is not divisible by H.
        ShapeError, DTypeError: in `forward`, the arguments do not belong together.

    Source: A. Vaswani et al.: "Attention is all you need" (NeurIPS 2017).

    >>> import lampion
    >>> layer = lampion.nn.MultiheadAttention(8, 2, batch_first=True)
    >>> x = lampion.randn(3, 5, 8)
    >>> out, weights = layer(x, x, x)
    >>> out.shape, weights.shape
    ((3, 5, 8), (3, 5, 5))
    """

    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True,
        add_bias_kv: bool = False, add_zero_attn: bool = False, kdim: int | None = None,
        vdim: int | None = None, batch_first: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device("MultiheadAttention", device)
        if embed_dim <= 0 or num_heads <= 0 or embed_dim % num_heads:
            raise OptionError(
                "MultiheadAttention",
                "embed_dim and num_heads must be greater than 0, and embed_dim divisible by num_heads",
                got=f"embed_dim={embed_dim} and num_heads={num_heads}",
            )
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads, self.head_dim = num_heads, embed_dim // num_heads
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        together = self.kdim == self.vdim == embed_dim
        names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
        for name, size in zip(names, (embed_dim, self.kdim, self.vdim), strict=True):
            weight = None if together else new_parameter(embed_dim, size, dtype=dtype)
            self.register_parameter(name, weight)
        packed = new_parameter(3 * embed_dim, embed_dim, dtype=dtype) if together else None
        self.register_parameter("in_proj_weight", packed)
        self.register_parameter("in_proj_bias", new_parameter(3 * embed_dim, dtype=dtype) if bias else None)
        self.out_proj = Linear(embed_dim, embed_dim, bias=bias, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            more = new_parameter(1, 1, embed_dim, dtype=dtype) if add_bias_kv else None
            self.register_parameter(name, more)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None and self.out_proj.bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for more in (self.bias_k, self.bias_v):
            if more is not None:
                init.xavier_normal_(more)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
        need_weights: bool = True, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Attend.

        Args:
            query, key, value: what attends, and what is attended to.
            key_padding_mask: (N, S), or (S,): True for keys that are padding, or numbers added to the scores.
            need_weights: whether the weights are returned, too; otherwise None is.
            attn_mask: (L, S), or (N * H, L, S): True for keys that a query must not see, or numbers.
            average_attn_weights: whether the weights are the mean of those of the heads.
            is_causal: that query i sees the keys 0 to i only. With an `attn_mask`, a hint that this is what
                it says; where that makes it faster, the mask is not read.
        """
        projections = Projections(
            self.num_heads, self.in_proj_weight,
            (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight),
            self.in_proj_bias, self.bias_k, self.bias_v, self.add_zero_attn,
        )  # fmt: skip
        return attend(
            (query, key, value), projections, Masks(attn_mask, key_padding_mask, is_causal),
            (self.out_proj.weight, self.out_proj.bias), self.dropout if self.training else 0.0, need_weights,
            average_attn_weights, self.batch_first,
        )  # fmt: skip
