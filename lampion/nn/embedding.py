"""Tables of vectors, looked up by number."""

from __future__ import annotations

from typing import Any, TypeVar

from lampion.errors import ShapeError
from lampion.mode import no_grad
from lampion.nn import functional as F
from lampion.nn import init
from lampion.nn.functional.maps import padding_row
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter, new_parameter
from lampion.tensor import Tensor, check_device

E = TypeVar("E", bound="_Table")


class _Table(Module):
    """What the two share: the table, and its options."""

    weight: Parameter

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, max_norm: float | None,
        norm_type: float, scale_grad_by_freq: bool, sparse: bool, weight: Tensor | None, freeze: bool,
        device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_device(name, device)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_row(name, padding_idx, num_embeddings)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if weight is None:
            self.weight = new_parameter(num_embeddings, embedding_dim, dtype=dtype)
            self.reset_parameters()
            self.weight.requires_grad_(not freeze)
        elif tuple(weight.shape) != (num_embeddings, embedding_dim):
            raise ShapeError(name, "the table has another shape", got=str(tuple(weight.shape)),
                             expected=f"({num_embeddings}, {embedding_dim})")  # fmt: skip
        else:
            self.weight = Parameter(weight, requires_grad=not freeze)

    def reset_parameters(self) -> None:
        """Draw the table anew: normal numbers, but 0 in the row of the padding."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    @classmethod
    def from_pretrained(
        cls: type[E], embeddings: Tensor, freeze: bool = True, *args: Any, **kwargs: Any
    ) -> E:
        """A layer of a table that there is already.

        Args:
            embeddings: the table; its memory is shared.
            freeze: whether it is not to learn.
            args, kwargs: the options of the layer, from the third on.
        """
        if embeddings.ndim != 2:
            raise ShapeError("from_pretrained", "a table has rows and features", expected="(rows, features)",
                             got=str(tuple(embeddings.shape)))  # fmt: skip
        make: Any = cls  # one of the two below, whose signatures are not that of this class
        layer: E = make(*embeddings.shape, *args, _weight=embeddings, **kwargs)
        layer.weight.requires_grad_(not freeze)
        return layer


class Embedding(_Table):
    """A vector for each of a number of things, learned.

    Args:
        num_embeddings: how many there are.
        embedding_dim: the length of a vector.
        padding_idx: one that is no thing: its vector is 0, and does not learn.
        max_norm: vectors that are used and longer than this are scaled down to it.
        norm_type: the p of that length.
        scale_grad_by_freq: divide a vector's gradient by how often it was used.
        sparse: let the table's gradient hold only the rows that were used; see `functional.embedding`.

    Shape:
        x: integers of any shape; result: that shape, and embedding_dim.

    >>> import lampion
    >>> layer = lampion.nn.Embedding(10, 3)
    >>> layer(lampion.tensor([[1, 2], [4, 5]])).shape
    (2, 2, 3)
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
        max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        sparse: bool = False, _weight: Tensor | None = None, _freeze: bool = False, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse,
            _weight, _freeze, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq,
            self.sparse,
        )  # fmt: skip

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        return text + _norm_options(self) + (", sparse=True" if self.sparse else "")


class EmbeddingBag(_Table):
    """Sums, means or maxima of bags of vectors; see `functional.embedding_bag`.

    Args:
        num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, sparse: as in `Embedding`.
        mode: "sum", "mean" or "max".
        include_last_offset: whether the last offset is the end of the last bag.
        padding_idx: one that does not count.

    Shape:
        x: (bags, size of each), or (indices,) with offsets (bags,); result: (bags, embedding_dim).
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
        _weight: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse,
            _weight, False, device, dtype,
        )  # fmt: skip
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None
    ) -> Tensor:
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode,
            self.sparse, per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}{_norm_options(self)}, mode={self.mode!r}"
        return text if self.padding_idx is None else f"{text}, padding_idx={self.padding_idx}"


def _norm_options(table: _Table) -> str:
    text = "" if table.max_norm is None else f", max_norm={table.max_norm}"
    if table.norm_type != 2:
        text += f", norm_type={table.norm_type}"
    return text + (f", scale_grad_by_freq={table.scale_grad_by_freq}" if table.scale_grad_by_freq else "")
