"""The words of a text, numbered."""

from __future__ import annotations

import difflib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lampion.errors import DTypeError, IndexRangeError, LampionError, OptionError
from lampion.tensor import Tensor, from_numpy
from lampion.utils.files import write_file

_FORMAT = "lampion vocabulary 1"


class UnknownWordError(LampionError, KeyError):
    """A word that a vocabulary does not have, and nothing in it that stands for unknown words.

    >>> from lampion.text import Vocab
    >>> Vocab(["you", "say"])["goodbye"]
    Traceback (most recent call last):
    lampion.text.vocabulary.UnknownWordError: Vocab: 'goodbye' is not in the vocabulary
      expected: one of its 2 words
      try: Vocab.from_tokens(..., specials=["<unk>"], unknown="<unk>") lets a word stand for all others
    """

    __str__ = RuntimeError.__str__  # KeyError's puts quotes around


class Vocab:
    """Words and their numbers: `stoi` says the number of each word, `itos` the word of each number.

    Args:
        words: the words, each once; the first has the number 0.
        unknown: which of them stands for every word that is not there. Without one, such a word is an error.

    >>> from lampion.text import Vocab
    >>> vocab = Vocab(["<unk>", "you", "say", "hello"], unknown="<unk>")
    >>> vocab["say"], vocab["goodbye"], len(vocab), "hello" in vocab
    (2, 0, 4, True)
    >>> vocab.encode(["you", "say", "goodbye"])
    tensor([1, 2, 0])
    >>> vocab.decode([1, 2, 3])
    ['you', 'say', 'hello']
    """

    def __init__(self, words: Iterable[str], unknown: str | None = None) -> None:
        #: The word of each number.
        self.itos: tuple[str, ...] = tuple(words)
        #: The number of each word.
        self.stoi: dict[str, int] = {word: number for number, word in enumerate(self.itos)}
        self.unknown = unknown
        if wrong := [word for word in self.itos if not isinstance(word, str)]:
            raise OptionError("Vocab", "a word is not a string", got=repr(wrong[0]))
        if len(self.stoi) < len(self.itos):
            twice = next(word for word, count in Counter(self.itos).items() if count > 1)
            raise OptionError("Vocab", "a word is there twice", got=repr(twice))
        if unknown is not None and unknown not in self.stoi:
            raise OptionError("Vocab", "the word for unknown words is not in the vocabulary",
                              got=repr(unknown), fix="specials=[...] puts it there")  # fmt: skip

    @classmethod
    def from_tokens(
        cls, tokens: Iterable[str], min_freq: int = 1, max_size: int | None = None,
        specials: Sequence[str] = (), unknown: str | None = None,
        order: Literal["first", "frequency", "sorted"] = "first",
    ) -> Vocab:  # fmt: skip
        """The vocabulary of a text.

        Args:
            tokens: the words of the text, in their order.
            min_freq: words that are rarer are left out.
            max_size: of the vocabulary, with the specials; of the words, the most frequent are kept.
            specials: words that come first, whether the text has them or not.
            unknown: see the class.
            order: of the other words: by their first place in the text, from frequent to rare, or alphabetic.

        >>> from lampion.text import Vocab
        >>> vocab = Vocab.from_tokens("b a a c c c".split(), min_freq=2, specials=["<pad>"])
        >>> vocab.itos
        ('<pad>', 'a', 'c')
        """
        if order not in ("first", "frequency", "sorted"):
            raise OptionError("Vocab.from_tokens", "there is no such order",
                              expected="first, frequency or sorted", got=repr(order))  # fmt: skip
        if min_freq < 1 or (max_size is not None and max_size < len(specials)):
            raise OptionError("Vocab.from_tokens", "no room for words",
                              expected="min_freq from 1 on, max_size from the number of specials on",
                              got=f"{min_freq} and {max_size}")  # fmt: skip
        counts = Counter(tokens)
        if not counts:
            raise LampionError("Vocab.from_tokens", "the text is empty", expected="one token or more")
        words = [word for word, count in counts.items() if count >= min_freq and word not in set(specials)]
        by_frequency = sorted(
            words, key=lambda word: -counts[word]
        )  # stable: the first of equals stays first
        if max_size is not None:
            by_frequency = by_frequency[: max_size - len(specials)]
        if order == "frequency":
            words = by_frequency
        else:
            kept = set(by_frequency)
            words = [word for word in words if word in kept]
            words = sorted(words) if order == "sorted" else words
        return cls([*specials, *words], unknown)

    def __len__(self) -> int:
        return len(self.itos)

    def __iter__(self) -> Iterator[str]:
        return iter(self.itos)

    def __contains__(self, word: object) -> bool:
        return word in self.stoi

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocab) and (self.itos, self.unknown) == (other.itos, other.unknown)

    __hash__ = None  # type: ignore[assignment]  # it holds a dictionary, which callers may read

    def __repr__(self) -> str:
        return f"Vocab({len(self)} words, unknown={self.unknown!r})"

    def __getitem__(self, word: str) -> int:
        """The number of a word."""
        number = self.stoi.get(word)
        if number is not None:
            return number
        if self.unknown is not None:
            return self.stoi[self.unknown]
        near = difflib.get_close_matches(str(word), self.itos, n=3)
        fix = 'Vocab.from_tokens(..., specials=["<unk>"], unknown="<unk>") lets a word stand for all others'
        raise UnknownWordError("Vocab", f"{word!r} is not in the vocabulary",
                               expected=f"one of its {len(self)} words",
                               fix=f"{', '.join(map(repr, near))}; or {fix}" if near else fix)  # fmt: skip

    def encode(self, tokens: Iterable[str]) -> Tensor:
        """The numbers of these words, int64 (N,). A string is a text of characters."""
        return from_numpy(np.fromiter((self[token] for token in tokens), np.int64))

    def decode(self, ids: Any) -> list[str]:
        """The words of these numbers, (N,)."""
        return [self.word(number) for number in (ids.tolist() if hasattr(ids, "tolist") else ids)]

    def word(self, number: int) -> str:
        """The word of a number."""
        if not 0 <= number < len(self):
            raise IndexRangeError("Vocab", "no word has this number", expected=f"0 to {len(self) - 1}",
                                  got=str(number))  # fmt: skip
        return self.itos[number]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, in one go: see `load`."""
        content = {"format": _FORMAT, "unknown": self.unknown, "words": self.itos}
        write_file(path, json.dumps(content, ensure_ascii=False, indent=0))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Vocab:
        """Read what `save` wrote.

        >>> import pathlib, tempfile
        >>> from lampion.text import Vocab
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Vocab(["a", "b"]).save(pathlib.Path(folder, "vocab.json"))
        ...     Vocab.load(pathlib.Path(folder, "vocab.json")).itos
        ('a', 'b')
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise LampionError("Vocab.load", f"{os.fspath(path)} is not JSON", got=str(error)) from None
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise LampionError("Vocab.load", f"{os.fspath(path)} is not a vocabulary",
                               expected=f'"format": "{_FORMAT}"')  # fmt: skip
        words, unknown = content.get("words"), content.get("unknown")
        if not isinstance(words, list) or not (unknown is None or isinstance(unknown, str)):
            raise LampionError("Vocab.load", f"{os.fspath(path)} is not a whole vocabulary",
                               expected="a list of words")  # fmt: skip
        return cls(words, unknown)


def preprocess(text: str) -> tuple[Tensor, dict[str, int], dict[int, str]]:
    """A text as numbers: the corpus, the number of each word, and the word of each number.

    Letters become small, and a full stop is a word of its own.

    Source: "Deep Learning from Scratch 2", section 2.3.1.

    >>> from lampion.text import preprocess
    >>> corpus, word_to_id, id_to_word = preprocess("You say goodbye and I say hello.")
    >>> corpus
    tensor([0, 1, 2, 3, 4, 1, 5, 6])
    >>> word_to_id["goodbye"], id_to_word[5]
    (2, 'hello')
    """
    if not isinstance(text, str):
        raise DTypeError("preprocess", "this is no text", expected="a str", got=type(text).__name__)
    words = text.lower().replace(".", " . ").split()
    if not words:
        raise LampionError("preprocess", "the text is empty", expected="one word or more")
    vocab = Vocab.from_tokens(words)
    return vocab.encode(words), vocab.stoi, dict(enumerate(vocab.itos))
