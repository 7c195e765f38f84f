"""The next word from logits, and texts word by word: greedy, sampled, and by beam search."""

import itertools
import math
from typing import NamedTuple

import numpy as np
import pytest

import lampion
from lampion import nn
from lampion.errors import DTypeError, IndexRangeError, LampionError, OptionError, ShapeError
from lampion.text import (
    Vocab,
    beam_search,
    generate,
    greedy,
    keep_top_k,
    keep_top_p,
    sample,
    skip_ids,
    write_samples,
)

INF = math.inf


def seeded(seed=0):
    return lampion.Generator().manual_seed(seed)


def test_filters():
    x = lampion.tensor([[1.0, 4.0, 2.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    assert keep_top_k(x, 1).tolist() == [[-INF, 4, -INF, -INF], [0, -INF, -INF, -INF]]  # of equals, the first
    assert keep_top_k(x, 3).tolist() == [[-INF, 4, 2, 4], [0, 0, 0, -INF]]
    assert keep_top_k(x, 4).tolist() == x.tolist()
    assert skip_ids(x, [1, 1, 0])[0].tolist() == [-INF, -INF, 2, 4] and skip_ids(x, []).tolist() == x.tolist()
    p = lampion.tensor([[0.5, 0.125, 0.25, 0.125], [0.0, 0.0, 1.0, 0.0]]).log()
    for share, kept in ((0.5, [0]), (0.6, [0, 2]), (0.75, [0, 2]), (0.8, [0, 1, 2]), (1.0, [0, 1, 2, 3])):
        assert np.flatnonzero(keep_top_p(p, share)[0].isfinite().numpy()).tolist() == kept
        assert keep_top_p(p, share)[1].tolist() == [-INF, -INF, 0, -INF]
    assert keep_top_p(p, 1e-9)[0].tolist()[1:] == [-INF] * 3
    assert keep_top_p(p[0].half(), 0.5).dtype is lampion.float16


def test_greedy():
    assert greedy([1.0, 3.0, 3.0]).tolist() == 1 and greedy([1.0, 3.0, 2.0], skip=[1]).tolist() == 2
    x = lampion.randn(2, 3, 5, generator=seeded())
    assert greedy(x).tolist() == sample(x, temperature=0).tolist() == x.argmax(-1).tolist()


@pytest.mark.parametrize(
    ("options", "chances"),
    [({}, [0.1, 0.2, 0.3, 0.4]), ({"temperature": 0.5}, [1 / 30, 4 / 30, 9 / 30, 16 / 30]),
     ({"top_k": 2}, [0, 0, 3 / 7, 4 / 7]), ({"top_p": 0.8}, [0, 2 / 9, 3 / 9, 4 / 9]),
     ({"skip": [3]}, [1 / 6, 2 / 6, 3 / 6, 0]), ({"skip": [3], "top_k": 3, "top_p": 0.7}, [0, 0.4, 0.6, 0]),
     ({"temperature": 0.5, "top_k": 3, "top_p": 0.8}, [0, 0, 9 / 25, 16 / 25])],
)  # fmt: skip
def test_samples_have_the_right_frequencies(options, chances):
    logits = lampion.tensor([0.1, 0.2, 0.3, 0.4]).log().expand(2, 5000, 4)
    words = sample(logits, generator=seeded(), **options)
    assert words.shape == (2, 5000) and words.dtype is lampion.int64
    seen = np.bincount(words.numpy().ravel(), minlength=4)
    chances = np.array(chances)
    assert (np.abs(seen - 10_000 * chances) <= 5 * np.sqrt(10_000 * chances * (1 - chances))).all()
    assert words.tolist() == sample(logits, generator=seeded(), **options).tolist()


def test_sampling_compiles():
    x = lampion.randn(6, 9, generator=seeded())

    def draw(logits):
        return sample(logits, temperature=0.7, top_k=6, top_p=0.9, skip=[2])

    lampion.manual_seed(3)
    expected = [draw(x).tolist() for _ in range(3)]
    compiled = lampion.compile(draw)
    lampion.manual_seed(3)
    assert [compiled(x).tolist() for _ in range(3)] == expected


def test_bad_logits_and_options():
    x = [0.0, 1.0]
    for call, error, message in [
        (lambda: keep_top_k(x, 3), OptionError, "1 to 2"), (lambda: keep_top_p(x, 0), OptionError, "above 0"),
        (lambda: skip_ids(x, [2]), IndexRangeError, "0 to 1"), (lambda: greedy([1, 2]), DTypeError, "floats"),
        (lambda: skip_ids(x, [0, 1, 0]), LampionError, "all words are skipped"),
        (lambda: sample(x, temperature=-1.0), OptionError, "no temperature"),
        (lambda: sample(lampion.ones(2, 0)), ShapeError, "no words"),
        (lambda: sample([math.nan, 1.0]), LampionError, "sample: the scores hold NaN"),
        (lambda: sample([math.nan, 1.0], top_p=0.5), LampionError, "sample: the scores hold NaN"),
        (lambda: sample([[0.0, 1.0], [-INF, -INF]]), LampionError, r"leave no word to draw\n.*\n.*all are"),
        (lambda: sample([-INF, 1.0], skip=[1], top_k=1), LampionError, "leave no word to draw"),
        (lambda: sample([0.0, INF]), LampionError, "a score, divided by the temperature, is infinite"),
        (lambda: generate(chain, "ab", 3), DTypeError, r"integers, \(T,\) or \(B, T\)\n  got: str 'ab'"),
        (lambda: beam_search(chain, ["a"], 3), DTypeError, r"got: list \['a'\]\n  try: vocab.encode"),
        (lambda: generate(chain, [], 1), LampionError, "no prompt"),
        (lambda: generate(chain, [0.5], 1), DTypeError, "integers"),
        (lambda: generate(chain, [0], 0), OptionError, "length from 1"),
        (lambda: generate(lambda w, s: (w[0].float(), s), [0, 1], 1), ShapeError, r"expected: \(1, V\)"),
        (lambda: beam_search(chain, [[0]], 1), OptionError, r"a prompt \(T,\)"),
        (lambda: beam_search(lambda w, s: (lampion.full((1, 2), math.nan), s), [0], 1), LampionError, "NaN"),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            call()


# -- whole texts -----------------------------------------------------------------------------------------

TABLE = lampion.randn(4, 4, generator=seeded(1)) * 2


def chain(words, state):
    """The next word depends on the last one alone."""
    return TABLE[words[:, -1]], state


def test_generation():
    word, expected = 2, []
    for _ in range(6):
        word = TABLE[word].argmax().item()
        expected.append(word)
    assert generate(chain, [1, 2], 6).tolist() == expected
    both = generate(chain, [[1, 2], [2, 0]], 6)
    assert both[0].tolist() == expected and both[1].tolist() == generate(chain, [0], 6).tolist()


def test_sampled_texts_are_the_same_from_the_same_seed():
    def draw(seed):
        generator = seeded(seed)
        return generate(chain, [0], 20, lambda x: sample(x, generator=generator)).tolist()

    assert draw(5) == draw(5) != draw(6)


def test_generation_ends():
    def counting(words, state):
        return nn.functional.one_hot((words[:, -1] + 1).clamp(max=8), 9).float(), state

    assert generate(counting, [[1], [3]], 9, end=4).tolist() == [[2, 3, 4], [4, 4, 4]]
    assert generate(counting, [5], 9, end=5).tolist() == [6, 7, *[8] * 7]


def test_generation_with_the_state_of_an_lstm_is_as_without():
    lampion.manual_seed(0)
    embed, lstm, out = nn.Embedding(7, 5), nn.LSTM(5, 6, 2, batch_first=True), nn.Linear(6, 7)

    def step(words, state):
        h, state = lstm(embed(words), state)
        return out(h[:, -1]), state

    text = [3, 1]
    for _ in range(8):
        text.append(step(lampion.tensor([text]), None)[0].argmax().item())
    assert generate(step, [3, 1], 8).tolist() == text[2:]
    (best, _), *others = beam_search(step, [3, 1], 8, beams=1)
    assert best == text[2:] and not others
    for found, score in beam_search(step, [3, 1], 5, beams=3):  # states follow their texts
        logits, _ = lstm(embed(lampion.tensor([[3, 1, *found]])))
        chances = lampion.log_softmax(out(logits)[0], -1)
        again = sum(chances[1 + i, word].item() for i, word in enumerate(found))
        assert score == pytest.approx(again, abs=1e-5)  # float32


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_generation_with_a_compiled_model_and_its_state(kind):
    lampion.manual_seed(0)
    embed, out = nn.Embedding(7, 5), nn.Linear(6, 7)
    recurrent = getattr(nn, kind)(5, 6, 2, batch_first=True)

    def step(words, state):
        h, state = recurrent(embed(words), state)
        return out(h[:, -1]), state

    with lampion.no_grad():
        compiled = lampion.compile(step)
        for prompt in ([3, 1], [4, 2]):
            assert generate(compiled, prompt, 8).equal(generate(step, prompt, 8))
    # The prompt without a state, and then one word at a time: one plan for all of these.
    assert compiled.traces == 2 and not compiled.refused
    sampled = []
    for one in (step, compiled):
        lampion.manual_seed(1)
        sampled.append(generate(one, [3, 1], 12, lambda x: sample(x, 0.7, top_k=4, top_p=0.9)))
    assert sampled[0].equal(sampled[1])


def ranked(first, length, end=None, penalty=0.0):
    """All texts with their scores, best first."""
    chances = lampion.log_softmax(TABLE.double(), -1).numpy()
    found = {}
    for text in itertools.product(range(4), repeat=length):
        cut = text[: text.index(end) + 1] if end in text else text
        found[cut] = sum(chances[a, b] for a, b in itertools.pairwise((first, *cut))) / len(cut) ** penalty
    return sorted(found.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("options", [{}, {"end": 1}, {"end": 1, "length_penalty": 1.0}])
def test_a_beam_search_that_keeps_everything_finds_the_best(options):
    best = ranked(2, 4, options.get("end"), options.get("length_penalty", 0.0))
    found = beam_search(chain, [0, 2], 4, beams=256, **options)
    assert [score for _, score in found] == pytest.approx([score for _, score in best], abs=1e-12)
    assert {tuple(text): score for text, score in found} == pytest.approx(dict(best), abs=1e-12)


def test_beam_search_skips_and_carries_any_state():
    class State(NamedTuple):
        last: lampion.Tensor
        count: int

    def step(words, state):
        at = lampion.zeros(len(words), dtype=lampion.int64) if state is None else state["deep"][0].last
        assert state is None or (words[:, 0] == (at + 1) % 4).all() or at.shape == (len(words),)
        return TABLE[words[:, -1]], {"deep": [State(words[:, -1], 1)], "none": None}

    texts = beam_search(step, [0], 5, beams=3, skip=[3], state_dim=0)
    assert len(texts) == 3 and all(3 not in text for text, _ in texts)
    first = beam_search(chain, [0], 5, beams=3, skip=[3])
    assert texts == first


@pytest.mark.parametrize("skip", [[], ["b"], ["a", "b"]])
def test_samples_of_a_small_vocabulary(skip, tmp_path):
    class Next(nn.Module):
        def forward(self, words, state):
            return nn.functional.one_hot((words + 1) % 3, 3).float(), state

    written = write_samples(tmp_path / "text.txt", Next(), Vocab("abc"), "a", 5, skip=skip, separator="")
    assert (tmp_path / "text.txt").read_text("utf-8") == written
    texts = written.splitlines()[1::3]
    assert len(texts) == 3 and all(len(text) == 6 and not set(text[1:]) & set(skip) for text in texts)
