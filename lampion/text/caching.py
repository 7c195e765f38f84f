"""Writing with attention, a word at a time, without computing the words before it again."""

from __future__ import annotations

from typing import Any

from lampion.errors import LampionError, OptionError, ShapeError
from lampion.mode import mode
from lampion.nn.functional import scaled_dot_product_attention
from lampion.ops import arange, index_select, ones, zeros
from lampion.ops.advanced_indexing import write_rows
from lampion.tensor import Tensor
from lampion.text.positions import check_positions


class KeyValueCache:
    r"""The keys and values of all words so far, for each layer of attention of a model.

    It has room for a fixed number of words, and the next ones are written in place. So nothing changes its
    shape while a text grows, and a compiled step has one plan for all positions, which writes the new rows
    and copies nothing else.

    A model that has a cache asks it where the new words stand (`positions`, once a call), and lets it attend
    in place of `scaled_dot_product_attention` (`attend`, once in each layer):

        def forward(self, words, cache=None):                 # (B, T)
            at = arange(words.shape[1]) if cache is None else cache.positions(words.shape[1])
            x = self.words(words) + self.places(at)
            for number, block in enumerate(self.blocks):
                ...
                if cache is None:
                    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
                else:
                    y = cache.attend(number, q, k, v, at)

    (It is for writing: no gradient goes through what is kept.) A text is then written by

        cache = KeyValueCache(layers=4, batch_size=1, heads=4, length=64, size=32)
        step = lampion.compile(lambda words: model(words, cache)[:, -1])
        generate(lambda words, state: (step(words), state), prompt, 63)

    after which `reset` makes it ready for another one. It is quicker to have the choice in the plan, too:

        @lampion.compile
        def following(words):
            return sample(model(words, cache)[:, -1], top_k=10).reshape(-1, 1)

    Args:
        layers: how many layers of attention the model has.
        batch_size: how many texts, B.
        heads: of each layer, H (of keys, where several queries share one).
        length: how many words there is room for, S.
        size: of a key, and of a value, E.
        dtype: of these.

    Raises:
        OptionError: a number is not positive.

    >>> import lampion
    >>> from lampion.text import KeyValueCache
    >>> cache = KeyValueCache(layers=1, batch_size=1, heads=1, length=4, size=2)
    >>> x = lampion.randn(1, 1, 3, 2)
    >>> whole = lampion.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)
    >>> for i in range(3):
    ...     new = x[:, :, i : i + 1]
    ...     last = cache.attend(0, new, new, new, cache.positions(1))
    >>> lampion.allclose(last[:, :, 0], whole[:, :, 2], atol=1e-6)
    True
    """

    def __init__(
        self, layers: int, batch_size: int, heads: int, length: int, size: int, dtype: Any = None
    ) -> None:
        if min(layers, batch_size, heads, length, size) < 1:
            raise OptionError("KeyValueCache", "there is nothing to keep", expected="all numbers from 1 on",
                              got=f"{layers}, {batch_size}, {heads}, {length}, {size}")  # fmt: skip
        shape = (batch_size, heads, length, size)
        self.keys = [zeros(*shape, dtype=dtype) for _ in range(layers)]
        self.values = [zeros(*shape, dtype=dtype) for _ in range(layers)]
        #: How many words there are so far, int64 (1,).
        self.position = zeros(1).long()
        #: Which words (a row for each) see which.
        self._seen = ones(length, length).bool().tril()

    @property
    def length(self) -> int:
        """How many words there is room for."""
        return int(self._seen.shape[0])

    def __len__(self) -> int:
        """How many words there are."""
        return int(self.position.item())

    def reset(self) -> KeyValueCache:
        """Begin a new text."""
        self.position.zero_()
        return self

    def positions(self, count: int) -> Tensor:
        """Where the next words stand, int64 (count,); from then on they count as written.

        Raises:
            LampionError: there is no room for them. (In a compiled function, `attend` tells.)
        """
        check_positions("KeyValueCache", count + (0 if mode.trace is not None else len(self)), self.length)
        at: Tensor = self.position + arange(count)
        self.position.add_(count)
        return at

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, at: Tensor) -> Tensor:
        """Keep the keys and values of new words; the attention of these to all words up to themselves.

        Args:
            layer: which one of the model's, from 0 on.
            query, key, value: of the new words.
            at: their `positions`.

        Shape:
            query: (B, heads, T, E), where a head of the cache may serve several; key, value: (B, H, T, E).
            Result: as query.

        Raises:
            ShapeError: keys or values do not fit into the cache. The words at these positions no longer count
                as written, so that the step can be taken again.
        """
        if mode.trace is not None:  # a compiled step that is refused has written nothing
            return self._attend(layer, query, key, value, at)
        try:
            return self._attend(layer, query, key, value, at)
        except LampionError:
            # Rows of keys and values beyond the position are never seen.
            if at.shape[0] and len(self) == int(at[-1].item()) + 1:
                self.position.copy_(at[:1])
            raise

    def _attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, at: Tensor) -> Tensor:
        keys, values = self.keys[layer], self.values[layer]
        batch, heads, _, size = keys.shape
        for name, x in (("key", key), ("value", value)):
            if tuple(x.shape) != (batch, heads, at.shape[0], size):
                raise ShapeError("KeyValueCache", f"{name} does not fit into the cache",
                                 expected=f"({batch}, {heads}, {at.shape[0]}, {size})",
                                 got=str(tuple(x.shape)))  # fmt: skip
        # This is what finds out, before anything is written, that there is no room.
        seen = index_select(self._seen, 0, at)
        write_rows(keys, at, key.detach(), dim=2)
        write_rows(values, at, value.detach(), dim=2)
        grouped = query.shape[1] != heads
        return scaled_dot_product_attention(query, keys, values, attn_mask=seen, enable_gqa=grouped)

    def select(self, rows: Tensor) -> KeyValueCache:
        """A cache of these texts, which may be more or fewer, and some of them several times: for beams."""
        other = KeyValueCache.__new__(KeyValueCache)
        other.keys = [index_select(keys, 0, rows) for keys in self.keys]
        other.values = [index_select(values, 0, rows) for values in self.values]
        other.position, other._seen = self.position.clone(), self._seen
        return other
