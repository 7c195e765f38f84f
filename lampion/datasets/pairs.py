"""Questions and answers, letter by letter, for networks that turn one sequence into another.

No file is read: the pairs are drawn at random, the same in every run.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lampion.errors import OptionError
from lampion.ops import Generator, randint
from lampion.tensor import from_numpy
from lampion.text import Vocab
from lampion.utils.data import TensorDataset

START = "_"  # in front of each answer: what a decoder is given first


class Pairs(TensorDataset):
    """Questions and answers as numbers of letters: what `Addition` and `Dates` share.

    Args:
        pairs: the texts; all answers begin with ``_``.
        widths: of questions and answers: both are filled up with spaces.
        vocab: the letters.
        train: all pairs but the last tenth, or this tenth.
    """

    def __init__(
        self, pairs: list[tuple[str, str]], widths: tuple[int, int], vocab: Vocab, train: bool
    ) -> None:
        border = len(pairs) - len(pairs) // 10
        chosen = pairs[:border] if train else pairs[border:]
        #: The texts, filled up.
        self.questions = [question.ljust(widths[0]) for question, _ in chosen]
        self.answers = [answer.ljust(widths[1]) for _, answer in chosen]
        self.vocab, self.train = vocab, train
        super().__init__(self._rows(self.questions), self._rows(self.answers))

    def _rows(self, texts: list[str]) -> Any:
        """The numbers of the letters, (N, T)."""
        letters = self.vocab.encode("".join(texts)).numpy()
        return from_numpy(letters.reshape(len(texts), -1))

    def text(self, ids: Any) -> str:
        """The letters of these numbers."""
        return "".join(self.vocab.decode(ids))


class Addition(Pairs):
    """Sums of two numbers, as texts: ``16+75`` and ``_91``.

    Args:
        train: the nine tenths to learn from, or the tenth to test on.
        samples: how many there are, all in all.
        digits: how many each number has at most: a number below 10, below 100, ... with equal chance.
        seed: other seeds make other sums.

    A sample is a question, (2 digits + 1,), and its answer, (digits + 2,). No two samples add the same two
    numbers, in whichever order: no question of the test is known from learning.

    Source: "Deep Learning from Scratch 2", section 7.2.2, where the letters are the same; the idea is that of
    W. Zaremba, I. Sutskever: "Learning to execute" (2014).

    >>> import lampion
    >>> data = lampion.datasets.Addition(train=False, samples=1000)
    >>> question, answer = data[0]
    >>> len(data), len(data.vocab), question.shape, answer.shape
    (100, 13, (7,), (5,))
    >>> a, b = data.text(question).split("+")
    >>> data.text(answer).strip() == f"_{int(a) + int(b)}"
    True
    """

    def __init__(self, train: bool = True, samples: int = 50_000, digits: int = 3, seed: int = 0) -> None:
        if digits < 1 or digits > 9:
            raise OptionError("Addition", "no numbers", expected="1 to 9 digits", got=str(digits))
        _check_samples("Addition", samples, 10**digits * (10**digits + 1) // 2)
        generator = Generator().manual_seed(seed)

        def draw(count: int) -> Iterator[tuple[str, str]]:
            lengths = _randint(1, digits + 1, (2, count), generator)
            a, b = _randint(0, 10**digits, (2, count), generator) % 10**lengths
            return ((f"{x}+{y}", f"{START}{x + y}") for x, y in zip(a.tolist(), b.tolist(), strict=True))

        def same(question: str) -> Any:
            return tuple(sorted(question.split("+")))

        vocab = Vocab([*"0123456789", "+", START, " "])
        super().__init__(_distinct(draw, same, samples), (2 * digits + 1, digits + 2), vocab, train)


class Dates(Pairs):
    """Dates as people write them, and in the form of ISO 8601: ``september 27, 1994`` and ``_1994-09-27``.

    Args:
        train: the nine tenths to learn from, or the tenth to test on.
        samples: how many there are, all in all.
        seed: other seeds make other dates.

    A sample is a question, (29,), and its answer, (11,). The days lie between 1970 and 2020; they are written
    as 9/27/94, Sep 27, 1994, September 27, 1994 or Tuesday, September 27, 1994, the words in small letters,
    in capitals or with a capital in front. No two questions are the same.

    Source: "Deep Learning from Scratch 2", section 8.2.1, whose formats these are.

    >>> import lampion
    >>> data = lampion.datasets.Dates(train=False, samples=1000)
    >>> question, answer = data[0]
    >>> len(data), question.shape, answer.shape, data.text(answer)[:2] in ("_1", "_2")
    (100, (29,), (11,), True)
    """

    first, last = datetime.date(1970, 1, 1), datetime.date(2019, 12, 31)

    def __init__(self, train: bool = True, samples: int = 50_000, seed: int = 0) -> None:
        _check_samples("Dates", samples, 100_000)
        generator = Generator().manual_seed(seed)
        days = (self.last - self.first).days + 1

        def draw(count: int) -> Iterator[tuple[str, str]]:
            which = _randint(0, days, (count,), generator).tolist()
            styles = _randint(0, len(_STYLES), (count,), generator).tolist()
            cases = _randint(0, len(_CASES), (count,), generator).tolist()
            for number, style, case in zip(which, styles, cases, strict=True):
                day = self.first + datetime.timedelta(number)
                yield _CASES[case](_STYLES[style](day)), f"{START}{day.isoformat()}"

        super().__init__(_distinct(draw, str, samples), (29, 11), Vocab([" ", *_LETTERS]), train)


# Not strftime: its names depend on the language of the machine.
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _long(day: datetime.date) -> str:
    return f"{_MONTHS[day.month - 1]} {day.day}, {day.year}"


_STYLES: tuple[Callable[[datetime.date], str], ...] = (
    lambda day: f"{day.month}/{day.day}/{day.year % 100:02}",
    lambda day: f"{_MONTHS[day.month - 1][:3]} {day.day}, {day.year}",
    _long,
    lambda day: f"{_WEEKDAYS[day.weekday()]}, {_long(day)}",
)
_CASES: tuple[Callable[[str], str], ...] = (str, str.lower, str.upper)
_WORDS = "".join((*_MONTHS, *_WEEKDAYS))
_LETTERS = sorted({*_WORDS, *_WORDS.lower(), *_WORDS.upper(), *"0123456789,/-", START})


def _randint(low: int, high: int, shape: tuple[int, ...], generator: Generator) -> np.ndarray[Any, Any]:
    numbers: np.ndarray[Any, Any] = randint(low, high, shape, generator=generator).numpy()
    return numbers


def _check_samples(name: str, samples: int, most: int) -> None:
    # Half of all that there are: more could take for ever to be drawn.
    if not 10 <= samples <= most // 2:
        raise OptionError(name, "there are not so many", expected=f"10 to {most // 2} samples",
                          got=str(samples))  # fmt: skip


def _distinct(
    draw: Callable[[int], Iterator[tuple[str, str]]], same: Callable[[str], Any], samples: int
) -> list[tuple[str, str]]:
    """The first so many questions that differ, with their answers."""
    found: dict[Any, tuple[str, str]] = {}
    while len(found) < samples:
        for question, answer in draw(samples):
            found.setdefault(same(question), (question, answer))
    return list(found.values())[:samples]
