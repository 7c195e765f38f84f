"""Texts as arrays of numbers: what all functions of the package take, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
from lampion.tensor import Tensor


def to_array(x: Any) -> np.ndarray[Any, Any]:
    """The array of a Tensor, array or list."""
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


def to_corpus(
    operation: str, corpus: Any, vocab_size: int | None = None, least: int = 1
) -> np.ndarray[Any, Any]:
    """A corpus, (N,) with integers from 0 to below vocab_size, and at least so many of them."""
    ids = to_array(corpus)
    if ids.ndim != 1:
        raise ShapeError(operation, "a corpus has one dimension", got=str(ids.shape))
    if len(ids) < least:
        raise LampionError(operation, "the text is empty" if not len(ids) else "the text is too short",
                           expected=f"{least} words or more", got=str(len(ids)))  # fmt: skip
    if ids.dtype.kind not in "iu":
        raise DTypeError(operation, "the words of a corpus are integers", got=str(ids.dtype))
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or (vocab_size is not None and high >= vocab_size):
        raise IndexRangeError(
            operation, "a word is outside of the vocabulary",
            expected=f"0 to {vocab_size - 1}" if vocab_size is not None else "0 or more",
            got=str(low if low < 0 else high),
        )  # fmt: skip
    return ids.astype(np.int64, copy=False)
