"""Writing: the next word from the scores of all words, and whole texts word by word.

Scores are logits, (..., V): what a language model gives, before a softmax.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lampion.dtype import int64
from lampion.errors import DTypeError, IndexRangeError, LampionError, OptionError, ShapeError
from lampion.mode import mode, no_grad
from lampion.ops import Generator, cat, full, isnan, multinomial, softmax, sort, where, zeros_like
from lampion.tensor import Tensor, as_tensor, tensor

#: A model, one step on: words (B, T) and a state give the logits of the word that follows, (B, V), and the
#: state after it. The state may be anything; that before the first word is what the caller hands in.
Step = Callable[[Tensor, Any], tuple[Tensor, Any]]


def skip_ids(logits: Any, ids: Sequence[int]) -> Tensor:
    """The logits, with minus infinity for words that are never to be written.

    Source: "Deep Learning from Scratch 2", section 7.1.2, where ``<unk>`` and ``N`` are skipped.

    >>> from lampion.text import skip_ids
    >>> skip_ids([1.0, 2.0, 3.0], [2]).tolist()
    [1.0, 2.0, -inf]
    """
    x = _logits("skip_ids", logits)
    if not len(ids):
        return x
    size = x.shape[-1]
    wrong = [word for word in ids if not 0 <= word < size]
    if wrong:
        raise IndexRangeError("skip_ids", "a word is outside of the vocabulary", expected=f"0 to {size - 1}",
                              got=str(wrong[0]))  # fmt: skip
    if len(set(ids)) == size:
        raise LampionError("skip_ids", "all words are skipped", got=f"{size} of {size}")
    return x.index_fill(-1, tensor(ids, dtype=int64), -math.inf)


def keep_top_k(logits: Any, k: int) -> Tensor:
    """The k largest logits, and minus infinity for all others. Of equal ones, the first stay.

    Source: A. Fan, M. Lewis, Y. Dauphin: "Hierarchical neural story generation" (2018).

    >>> from lampion.text import keep_top_k
    >>> keep_top_k([1.0, 3.0, 2.0], 2).tolist()
    [-inf, 3.0, 2.0]
    """
    x = _logits("keep_top_k", logits)
    if not 1 <= k <= x.shape[-1]:
        raise OptionError("keep_top_k", "there are not so many words", expected=f"1 to {x.shape[-1]}",
                          got=str(k))  # fmt: skip
    found = sort(x, -1, descending=True, stable=True)
    best, places = found.values[..., :k], found.indices[..., :k]
    return full(x.shape, -math.inf, dtype=x.dtype).scatter(-1, places, best)


def keep_top_p(logits: Any, p: float) -> Tensor:
    """The fewest words that have together the probability p or more; minus infinity for all others.

    At least one word stays. It is also called nucleus sampling.

    Source: A. Holtzman et al.: "The curious case of neural text degeneration" (2020).

    >>> import lampion
    >>> from lampion.text import keep_top_p
    >>> keep_top_p(lampion.tensor([0.5, 0.2, 0.3]).log(), 0.7).isfinite().tolist()
    [True, False, True]
    """
    x = _logits("keep_top_p", logits)
    if not 0 < p <= 1:
        raise OptionError("keep_top_p", "it is a probability", expected="above 0, up to 1", got=str(p))
    found = sort(x, -1, descending=True, stable=True)
    chances = softmax(found.values, -1)
    before = chances.cumsum(-1) - chances  # of the more likely words together; of the first: 0
    kept = where(before < p, found.values, -math.inf)
    return zeros_like(x).scatter(-1, found.indices, kept)


def greedy(logits: Any, skip: Sequence[int] = ()) -> Tensor:
    """The most likely word of each row, int64 (...). Of equal ones, the first.

    >>> from lampion.text import greedy
    >>> greedy([[1.0, 2.0], [4.0, 3.0]])
    tensor([1, 0])
    """
    return skip_ids(logits, skip).argmax(-1)


def sample(
    logits: Any, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
    skip: Sequence[int] = (), generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    r"""A word of each row, drawn at random: word i with the probability :math:`softmax(x / T)_i`.

    Args:
        logits: x, (..., V).
        temperature: T. Below 1, likely words come still more often; above, less often; 0 is `greedy`.
        top_k, top_p: see `keep_top_k` and `keep_top_p`: first the one, then the other, after the temperature.
        skip: words that are never drawn.
        generator: where the random numbers come from, if not from the default generator.

    Shape:
        int64 (...).

    >>> from lampion.text import sample
    >>> sample([0.0, 9.0, 1.0], top_k=1)
    tensor(1)
    """
    if not 0 <= temperature < math.inf:
        raise OptionError("sample", "it is no temperature", expected="0 or more, and finite",
                          got=str(temperature))  # fmt: skip
    x = skip_ids(logits, skip)
    if temperature == 0:
        return x.argmax(-1)
    if not x.shape[-1]:
        raise ShapeError("sample", "there are no words", got=str(tuple(x.shape)))
    x = x / temperature
    if top_k is not None:
        x = keep_top_k(x, top_k)
    if top_p is not None:
        x = keep_top_p(x, top_p)
    chances = softmax(x, -1).reshape(-1, x.shape[-1])
    if mode.trace is None and math.isnan(chances.sum().item()):
        raise _no_chances(skip_ids(logits, skip))
    return multinomial(chances, 1, replacement=True, generator=generator).reshape(x.shape[:-1])


def generate(
    step: Step, prompt: Any, length: int, choose: Callable[[Tensor], Tensor] = greedy, state: Any = None,
    end: int | None = None,
) -> Tensor:  # fmt: skip
    """A text that goes on from a prompt, word by word.

    Args:
        step: the model: see `Step`. It is given the whole prompt first, then one word at a time.
        prompt: the words to begin with, (T,) or, for several texts at once, (B, T).
        length: how many words to write.
        choose: the next words, (B,), from their logits, (B, V): `greedy`, or `sample` with its options.
        state: handed to the first step.
        end: the word that ends a text. What comes after it in a row is `end` too, and when all rows have
            ended, no more is written.

    Shape:
        The new words, int64 (length,) or (B, length); fewer if all texts end before.

    >>> import lampion
    >>> from lampion.text import generate
    >>> def counting(words, state):
    ...     return lampion.nn.functional.one_hot((words[:, -1] + 1) % 5, 5).float(), state
    >>> generate(counting, [1, 2], 4)
    tensor([3, 4, 0, 1])
    """
    words = to_prompt("generate", prompt, length)
    single, written = words.ndim == 1, []
    words = words.reshape(1, -1) if single else words
    ended = full((words.shape[0],), False)
    with no_grad():
        for _ in range(length):
            logits, state = step(words, state)
            check_rows("generate", logits, words.shape[0])
            chosen = choose(logits)
            if end is not None:
                chosen = where(ended, end, chosen)
                ended = chosen == end
            written.append(chosen)
            if end is not None and bool(ended.all()):
                break
            words = chosen.reshape(-1, 1)
    result = cat([word.reshape(-1, 1) for word in written], 1)
    return result[0] if single else result


def _no_chances(scores: Tensor) -> LampionError:
    """Why the softmax of these is NaN."""
    if isnan(scores).any():
        problem, got = "the scores hold NaN", "NaN"
    elif (scores == -math.inf).all(-1).any():
        problem, got = "the scores leave no word to draw", "a row in which all are -inf"
    else:
        problem, got = "a score, divided by the temperature, is infinite", "inf"
    return LampionError("sample", problem, got=got,
                        expected="numbers, and -inf for words never drawn, but not for all")  # fmt: skip


def _logits(operation: str, logits: Any) -> Tensor:
    x = as_tensor(logits).detach()
    if x.ndim < 1 or not x.dtype.is_floating_point:
        raise DTypeError(operation, "logits are floats in one dimension or more",
                         got=f"{x.dtype}, {tuple(x.shape)}")  # fmt: skip
    return x


def to_prompt(operation: str, prompt: Any, length: int) -> Tensor:
    try:
        words = as_tensor(prompt)
    except (TypeError, ValueError):  # a text, or rows of several lengths
        raise DTypeError(operation, "the prompt is not made of the numbers of words",
                         expected="integers, (T,) or (B, T)", got=f"{type(prompt).__name__} {prompt!r:.60}",
                         fix="vocab.encode(prompt)") from None  # fmt: skip
    if words.ndim not in (1, 2) or not words.numel():
        raise LampionError(operation, "there is no prompt", expected="one word or more, (T,) or (B, T)",
                           got=str(tuple(words.shape)))  # fmt: skip
    if words.dtype.is_floating_point or words.dtype.is_complex:
        raise DTypeError(operation, "words are integers", got=str(words.dtype))
    if length < 1:
        raise OptionError(operation, "nothing to write", expected="length from 1 on", got=str(length))
    return words.to(int64)


def check_rows(operation: str, logits: Tensor, rows: int) -> None:
    if logits.ndim != 2 or logits.shape[0] != rows:
        raise ShapeError(operation, "step() gives the logits of the next word of each text",
                         expected=f"({rows}, V)", got=str(tuple(logits.shape)))  # fmt: skip
