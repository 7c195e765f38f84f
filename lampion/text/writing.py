"""Texts that a language model goes on with: words, where `generation` is about their numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from lampion.errors import LampionError
from lampion.tensor import Tensor
from lampion.text.generation import generate, greedy, sample
from lampion.text.vocabulary import Vocab
from lampion.utils.files import write_file

#: Ways to choose the next word, by what they are called in a file of samples. (Of fewer than ten words, all.)
WAYS: dict[str, dict[str, Any]] = {
    "always the likeliest": {"temperature": 0.0},
    "at temperature 0.8": {"temperature": 0.8},
    "one of the ten likeliest": {"top_k": 10},
}


def continue_text(
    model: Any, vocab: Vocab, beginning: Sequence[str], length: int,
    choose: Callable[[Tensor], Tensor] = greedy,
) -> list[str]:  # fmt: skip
    """A text, and what a language model goes on with.

    Args:
        model: ``model(words, state)`` with words (B, T) gives the scores of the words that follow, (B, T, V),
            and the state after them; None is the state at the beginning. It runs as in evaluation.
        vocab: the words that it knows.
        beginning: a list of words; or a string, if the words are characters.
        length: how many words to add.
        choose: as for `generate`.

    Raises:
        UnknownWordError: a word of the beginning is not in the vocabulary.

    >>> import lampion
    >>> from lampion.text import Vocab, continue_text
    >>> class Next(lampion.nn.Module):
    ...     def forward(self, words, state):
    ...         return lampion.nn.functional.one_hot((words + 1) % 3, 3).float(), state
    >>> continue_text(Next(), Vocab("abc"), "a", 4)
    ['a', 'b', 'c', 'a', 'b']
    """
    if not len(beginning):
        raise LampionError("continue_text", "there is nothing to go on from", expected="one word or more",
                           got="an empty text")  # fmt: skip

    def step(words: Tensor, state: Any) -> tuple[Tensor, Any]:
        scores, state = model(words, state)
        return scores[:, -1], state

    words = vocab.encode(beginning)
    was_training = model.training
    model.eval()
    try:
        found = generate(step, words.unsqueeze(0), length, choose)
    finally:
        model.train(was_training)
    return [*beginning, *vocab.decode(found[0])]


def write_samples(
    path: str | os.PathLike[str], model: Any, vocab: Vocab, beginning: Sequence[str], length: int,
    skip: Sequence[str] = (), separator: str = " ",
) -> str:  # fmt: skip
    """Write a file of texts that a model goes on with, chosen in three ways; returns what is in it.

    Args:
        path: the file.
        model, vocab, beginning, length: see `continue_text`.
        skip: words that are not to be written: ``<unk>``, say.
        separator: what stands between words: nothing, if they are characters.

    ``<eos>`` is written as the end of a line.
    """
    skipped = [vocab[word] for word in skip if word in vocab]
    parts = []
    for name, options in WAYS.items():

        def choose(scores: Tensor, options: dict[str, Any] = options) -> Tensor:
            if "top_k" in options:
                options = {**options, "top_k": min(options["top_k"], scores.shape[-1])}
            return sample(scores, skip=skipped, **options)

        text = separator.join(continue_text(model, vocab, beginning, length, choose))
        parts.append(f"-- {name} --\n{text}\n".replace(" <eos>", "\n").replace("\n ", "\n"))
    content = "\n".join(parts)
    write_file(path, content)
    return content
