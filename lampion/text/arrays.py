"""Texts as arrays of numbers: what all functions of the package take, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from lampion.errors import DTypeError, IndexRangeError, LampionError, OptionError, ShapeError
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
    return _known(operation, ids, vocab_size)


def to_words(operation: str, words: Any, called: str, vocab_size: int) -> np.ndarray[Any, Any]:
    """Words that are no text, (N,): one or more, from 0 to below vocab_size; and what they are called."""
    return _known(operation, _integers(operation, words, called), vocab_size)


def to_counts(operation: str, counts: Any, called: str) -> np.ndarray[Any, Any]:
    """Numbers of things, (N,): one or more, none of them below 0; and what they are called."""
    found = _integers(operation, counts, called)
    if found.min() < 0:
        raise OptionError(
            operation, f"some of the {called} are negative", expected="0 or more", got=str(found.min())
        )
    return found.astype(np.int64, copy=False)


def _integers(operation: str, numbers: Any, called: str) -> np.ndarray[Any, Any]:
    found = to_array(numbers)
    if found.ndim != 1:
        raise ShapeError(operation, f"the {called} have one dimension", got=str(found.shape))
    if not len(found):
        raise LampionError(operation, f"there are no {called}", expected="one or more")
    if found.dtype.kind not in "iu":
        raise DTypeError(operation, f"the {called} are integers", got=str(found.dtype))
    return found


def _known(operation: str, ids: np.ndarray[Any, Any], vocab_size: int | None) -> np.ndarray[Any, Any]:
    """The numbers of words as int64, none of them outside of the vocabulary."""
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or (vocab_size is not None and high >= vocab_size):
        raise IndexRangeError(
            operation, "a word is outside of the vocabulary",
            expected=f"0 to {vocab_size - 1}" if vocab_size is not None else "0 or more",
            got=str(low if low < 0 else high),
        )  # fmt: skip
    return ids.astype(np.int64, copy=False)
