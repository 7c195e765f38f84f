"""Transformers: layers of attention and of small networks, with a way around each."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

from lampion import ops
from lampion.errors import OptionError, ShapeError
from lampion.nn import functional as F
from lampion.nn import init
from lampion.nn.attention import MultiheadAttention
from lampion.nn.container import ModuleList
from lampion.nn.dropout import Dropout
from lampion.nn.linear import Linear
from lampion.nn.module import Module
from lampion.nn.norm import LayerNorm
from lampion.tensor import Tensor

#: A function of each element, or its name.
Activation = str | Callable[[Tensor], Tensor]


class _Layer(Module):
    """What the two kinds of layers share: self-attention, a network of two maps, normalisation, dropout."""

    #: How many parts there are, each with a way around it.
    parts = 2

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int, dropout: float, activation: Activation,
        layer_norm_eps: float, batch_first: bool, norm_first: bool, bias: bool, device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        options = {"bias": bias, "device": device, "dtype": dtype}

        def attention() -> MultiheadAttention:
            return MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=batch_first, **options)

        self.self_attn = attention()
        if self.parts == 3:
            self.multihead_attn = attention()
        self.linear1 = Linear(d_model, dim_feedforward, **options)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **options)
        self.norm_first = norm_first
        for number in range(1, self.parts + 1):
            self.add_module(f"norm{number}", LayerNorm(d_model, eps=layer_norm_eps, **options))
        for number in range(1, self.parts + 1):
            self.add_module(f"dropout{number}", Dropout(dropout))
        self.activation = _activation(type(self).__name__, activation)

    def _around(self, number: int, x: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
        """x and what a part makes of it, normalised before or behind."""
        norm, drop = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            result: Tensor = x + drop(part(norm(x)))
        else:
            result = norm(x + drop(part(x)))
        return result

    def _attended(
        self, attention: MultiheadAttention, x: Tensor, memory: Tensor, mask: Tensor | None,
        padding: Tensor | None, causal: bool,
    ) -> Tensor:  # fmt: skip
        heard: Tensor = attention(
            x, memory, memory, attn_mask=mask, key_padding_mask=padding, need_weights=False, is_causal=causal
        )[0]
        return heard

    def _network(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear2(self.dropout(self.activation(self.linear1(x))))
        return result


class TransformerEncoderLayer(_Layer):
    r"""Self-attention, then a network for each position, each with a way around it.

        x = norm1(x + attention(x))            with norm_first: x + attention(norm1(x))
        x = norm2(x + network(x))                               x + network(norm2(x))

    Args:
        d_model: E, the size at each position.
        nhead: how many heads.
        dim_feedforward: how wide the network is inside.
        dropout: the share of zeros in training: of attention's weights, inside of the network, and behind
            both.
        activation: inside of the network: "relu", "gelu", or a function.
        layer_norm_eps: of the normalisations.
        batch_first: (N, L, E) instead of (L, N, E).
        norm_first: normalise in front of the parts.
        bias: whether maps and normalisations have one.

    Shape:
        src and result: (L, N, E), (N, L, E) with `batch_first`, or (L, E).

    Raises:
        OptionError: no such activation, or E is not divisible by the number of heads.

    Source: A. Vaswani et al.: "Attention is all you need" (NeurIPS 2017); norm_first: R. Xiong et al.: "On
    layer normalization in the transformer architecture" (ICML 2020).

    >>> import lampion
    >>> layer = lampion.nn.TransformerEncoderLayer(d_model=8, nhead=2, batch_first=True)
    >>> layer(lampion.randn(3, 5, 8)).shape
    (3, 5, 8)
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
            bias, device, dtype,
        )  # fmt: skip

    def forward(
        self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Encode. The masks are those of `MultiheadAttention`."""

        def attention(x: Tensor) -> Tensor:
            return self._attended(self.self_attn, x, x, src_mask, src_key_padding_mask, is_causal)

        return self._around(2, self._around(1, src, attention), self._network)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to what an encoder made (`memory`), then a network for each position.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias:
            as in `TransformerEncoderLayer`.

    Shape:
        tgt and result: (L, N, E), (N, L, E) with `batch_first`, or (L, E); memory: alike, with S.

    Raises:
        OptionError: no such activation, or E is not divisible by the number of heads.

    Source: A. Vaswani et al.: "Attention is all you need" (NeurIPS 2017).
    """

    parts = 3

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = F.relu, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
            bias, device, dtype,
        )  # fmt: skip

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Decode. The masks are those of `MultiheadAttention`, to itself and to the memory."""

        def to_itself(x: Tensor) -> Tensor:
            return self._attended(self.self_attn, x, x, tgt_mask, tgt_key_padding_mask, tgt_is_causal)

        def to_memory(x: Tensor) -> Tensor:
            return self._attended(
                self.multihead_attn, x, memory, memory_mask, memory_key_padding_mask, memory_is_causal
            )

        x = self._around(2, self._around(1, tgt, to_itself), to_memory)
        return self._around(3, x, self._network)


class TransformerEncoder(Module):
    """Several encoder layers, one after the other.

    Args:
        encoder_layer: what they are copies of.
        num_layers: how many.
        norm: a normalisation behind the last.
        enable_nested_tensor, mask_check: PyTorch's hints about speed; nothing depends on them.

    >>> import lampion
    >>> layer = lampion.nn.TransformerEncoderLayer(d_model=8, nhead=2)
    >>> lampion.nn.TransformerEncoder(layer, num_layers=2)(lampion.randn(5, 3, 8)).shape
    (5, 3, 8)
    """

    def __init__(
        self, encoder_layer: Module, num_layers: int, norm: Module | None = None,
        enable_nested_tensor: bool = True, mask_check: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(encoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:  # fmt: skip
        """Encode.

        Args:
            src, mask, src_key_padding_mask: as for each layer.
            is_causal: whether the mask is the causal one: then it is not read, and attention is faster.
                None is False, as nobody looks at what is in the mask.
        """
        for layer in self.layers:
            src = layer(
                src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=bool(is_causal)
            )
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Several decoder layers, one after the other, which all attend to the same memory.

    Args:
        decoder_layer: what they are copies of.
        num_layers: how many.
        norm: a normalisation behind the last.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = ModuleList([copy.deepcopy(decoder_layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Decode; the arguments are those of each layer. (`tgt_is_causal` None is False.)"""
        for layer in self.layers:
            tgt = layer(
                tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask, memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=bool(tgt_is_causal), memory_is_causal=memory_is_causal,
            )  # fmt: skip
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """An encoder and a decoder.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias:
            as in `TransformerEncoderLayer`.
        num_encoder_layers, num_decoder_layers: how many layers there are.
        custom_encoder, custom_decoder: modules to have instead.

    Shape:
        src: (S, N, E), tgt and result: (T, N, E); (N, S, E) and (N, T, E) with `batch_first`; or without N.

    Raises:
        ShapeError: src and tgt are not of one batch, or not of size E.

    Source: A. Vaswani et al.: "Attention is all you need" (NeurIPS 2017).

    >>> import lampion
    >>> model = lampion.nn.Transformer(8, 2, 1, 1, dim_feedforward=16)
    >>> mask = model.generate_square_subsequent_mask(4)
    >>> model(lampion.randn(6, 3, 8), lampion.randn(4, 3, 8), tgt_mask=mask, tgt_is_causal=True).shape
    (4, 3, 8)
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6,
        dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu,
        custom_encoder: Module | None = None, custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        options = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first,
            bias, device, dtype,
        )  # fmt: skip

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, bias=bias, device=device, dtype=dtype)

        if custom_encoder is None:
            encoder = TransformerEncoderLayer(*options)
            custom_encoder = TransformerEncoder(encoder, num_encoder_layers, norm())
        self.encoder = custom_encoder
        if custom_decoder is None:
            decoder = TransformerDecoderLayer(*options)
            custom_decoder = TransformerDecoder(decoder, num_decoder_layers, norm())
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def _reset_parameters(self) -> None:
        for p in self.parameters():
            if p.ndim > 1:
                init.xavier_uniform_(p)

    def forward(
        self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None, tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        """Encode src, and decode tgt with what came out. The masks are those of encoder and decoder."""
        batch = 0 if self.batch_first else 1
        if src.ndim != tgt.ndim or (src.ndim == 3 and src.shape[batch] != tgt.shape[batch]):
            raise ShapeError("Transformer", "the batch number of src and tgt must be equal",
                             got=f"{tuple(src.shape)} and {tuple(tgt.shape)}")  # fmt: skip
        if src.shape[-1] != self.d_model or tgt.shape[-1] != self.d_model:
            raise ShapeError("Transformer", "the feature number of src and tgt must be equal to d_model",
                             expected=f"(..., {self.d_model})",
                             got=f"{tuple(src.shape)} and {tuple(tgt.shape)}")  # fmt: skip
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        result: Tensor = self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask, memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal,
        )  # fmt: skip
        return result

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """The causal mask of a sequence: minus infinity above the diagonal, and 0 elsewhere.

        >>> import lampion
        >>> lampion.nn.Transformer.generate_square_subsequent_mask(2)
        tensor([[0., -inf],
                [0., 0.]])
        """
        mask: Tensor = ops.full((sz, sz), -math.inf, dtype=dtype).triu(1)
        return mask


def _activation(name: str, activation: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise OptionError(name, "the activation is not known", expected='"relu", "gelu", or a function',
                          got=repr(activation))  # fmt: skip
    chosen: Callable[[Tensor], Tensor] = getattr(F, activation)
    return chosen
