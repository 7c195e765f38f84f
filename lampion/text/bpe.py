"""Pieces of words: byte-pair encoding, by Hugging Face's tokenizers."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lampion.errors import IndexRangeError, LampionError, OptionError
from lampion.tensor import Tensor, as_tensor
from lampion.utils.files import write_file


class BPE:
    """Byte-pair encoding: a text as pieces, frequent words whole and rare ones in parts.

    It starts from the 256 bytes, and joins the pair of pieces that stands side by side most often, again and
    again. No text is unknown to it, and `decode` gives back what `encode` was given. Made by `train` or
    `load`; it needs the package tokenizers (``pip install ".[text]"``).

    Source: R. Sennrich, B. Haddow, A. Birch: "Neural machine translation of rare words with subword units"
    (2016); on bytes: A. Radford et al.: "Language models are unsupervised multitask learners" (2019).

    >>> from lampion.text import BPE
    >>> bpe = BPE.train(["low lower lowest low"] * 9, vocab_size=261)
    >>> len(bpe), bpe.pieces("a lowest")
    (261, ['a', 'Ġlowe', 'st'])
    >>> bpe.decode(bpe.encode("the lowest käse"))
    'the lowest käse'
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, specials: Sequence[str] = ()) -> BPE:
        """Learn the pieces of these texts.

        Args:
            texts: what to learn from.
            vocab_size: how many pieces there may be, with the 256 bytes and the specials.
            specials: texts that are pieces in any case, with the numbers from 0 on.
        """
        least = 256 + len(specials)
        if vocab_size < least:
            raise OptionError("BPE.train", "no room for the bytes and the specials",
                              expected=f"vocab_size from {least} on", got=str(vocab_size))  # fmt: skip
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not any(texts):
            raise LampionError("BPE.train", "the text is empty")
        package = _package()
        tokenizer = package.Tokenizer(package.models.BPE())
        tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = package.decoders.ByteLevel()
        trainer = package.trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=list(specials), show_progress=False,
            initial_alphabet=package.pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    def __len__(self) -> int:
        return int(self.tokenizer.get_vocab_size())

    def encode(self, text: str) -> Tensor:
        """The numbers of the pieces of a text, int64 (N,)."""
        return as_tensor(self.tokenizer.encode(text).ids).long()

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text. A space in front of a word is written as Ġ."""
        return list(self.tokenizer.encode(text).tokens)

    def decode(self, ids: Any) -> str:
        """The text of these numbers, (N,), specials included."""
        numbers = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        if wrong := [number for number in numbers if not 0 <= number < len(self)]:
            raise IndexRangeError("BPE", "no piece has this number", expected=f"0 to {len(self) - 1}",
                                  got=str(wrong[0]))  # fmt: skip
        return str(self.tokenizer.decode(numbers, skip_special_tokens=False))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, in the format of tokenizers."""
        write_file(path, self.tokenizer.to_str())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BPE:
        """Read what `save` wrote, or another file of tokenizers."""
        package = _package()
        text = Path(path).read_text(encoding="utf-8")
        try:
            return cls(package.Tokenizer.from_str(text))
        except Exception as error:  # the package raises nothing more special
            raise LampionError("BPE.load", f"{os.fspath(path)} is not a file of tokenizers",
                               got=str(error)) from None  # fmt: skip


def _package() -> Any:
    try:
        return importlib.import_module("tokenizers")
    except ImportError:
        raise LampionError("BPE", "it needs the package tokenizers, which is not installed",
                           fix='pip install ".[text]"') from None  # fmt: skip
