"""Writing with a cache of keys and values, and positions: the same numbers as without."""

import math
import re

import numpy as np
import pytest

import lampion as lp
from lampion import nn
from lampion.errors import LampionError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import assert_close
from lampion.text import (
    KeyValueCache,
    beam_search,
    generate,
    rotary_table,
    rotate,
    sample,
    sinusoidal_positions,
)

HEADS, SIZE, LENGTH, WORDS = 2, 4, 8, 11


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        width = HEADS * SIZE
        self.norm, self.all, self.out = (
            nn.LayerNorm(width),
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )

    def forward(self, x, attend):
        b, t, width = x.shape
        q, k, v = self.all(self.norm(x)).reshape(b, t, 3, HEADS, SIZE).permute(2, 0, 3, 1, 4)
        return x + self.out(attend(q, k, v).transpose(1, 2).reshape(b, t, width)).tanh()


class Model(nn.Module):
    def __init__(self, rotary=False):
        super().__init__()
        width = HEADS * SIZE
        self.words, self.places = nn.Embedding(WORDS, width), nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.table = rotary_table(LENGTH, SIZE) if rotary else None

    def forward(self, words, cache=None):
        at = lp.arange(words.shape[1]) if cache is None else cache.positions(words.shape[1])
        x = self.words(words)
        if self.table is None:
            x = x + self.places(at)
        for number, block in enumerate(self.blocks):

            def attend(q, k, v, number=number):
                if self.table is not None:
                    q, k = rotate(q, self.table, at), rotate(k, self.table, at)
                if cache is None:
                    return F.scaled_dot_product_attention(q, k, v, is_causal=True)
                return cache.attend(number, q, k, v, at)

            x = block(x, attend)
        return x @ self.words.weight.T


def setup(rotary=False, batch=1):
    lp.manual_seed(0)
    return Model(rotary).eval(), KeyValueCache(2, batch, HEADS, LENGTH, SIZE)


TEXT = lp.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("pieces", [[8], [1] * 8, [3, 1, 1, 3]], ids=str)
def test_word_by_word_is_all_at_once(rotary, pieces):
    model, cache = setup(rotary, batch=2)
    expected, found, start = model(TEXT), [], 0
    for count in pieces:
        found.append(model(TEXT[:, start : start + count], cache))
        start += count
    assert_close(lp.cat(found, 1), expected, rtol=1e-5, atol=1e-6)  # other shapes: other sums
    assert len(cache) == LENGTH
    assert_close(model(TEXT[:, :3], cache.reset()), expected[:, :3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rotary", [False, True])
def test_one_plan_for_all_positions_that_copies_no_cache(rotary):
    model, cache = setup(rotary)
    expected = model(TEXT[:1])
    with lp.no_grad():
        step = lp.compile(lambda words: model(words, cache)[:, -1])
        for _ in range(2):
            cache.reset()
            for i in range(LENGTH):
                assert_close(step(TEXT[:1, i : i + 1]), expected[:, i], rtol=1e-5, atol=1e-6)
    assert step.traces == 1 and not step.refused
    report = str(step.explain())
    assert "index_put: base" not in report, report
    copies = re.findall(r"^.*write back.*$", report, re.MULTILINE)
    assert all(re.search(r"\s1\s", line) for line in copies), copies  # of the position alone


def test_the_choice_of_the_next_word_in_the_same_plan():
    model, cache = setup()

    def following(words):
        return sample(model(words, cache)[:, -1], 0.8, top_k=5).reshape(-1, 1)

    texts = []
    with lp.no_grad():
        compiled = lp.compile(following)
        for step in (following, compiled):
            lp.manual_seed(3)
            cache.reset()
            words = [lp.tensor([[1]])]
            for _ in range(LENGTH):
                words.append(step(words[-1]))
            texts.append(lp.cat(words, 1).tolist())
    assert texts[0] == texts[1] and compiled.traces == 1
    report = str(compiled.explain())
    # The logits that are not kept are written anew, and the position: nothing of the cache.
    assert "index_put: base" not in report and "call-outs 0" in report, report


def test_a_written_text_is_the_one_without_a_cache():
    model, cache = setup()
    prompt = [3, 1, 4]
    words = list(prompt)
    for _ in range(5):
        words.append(int(model(lp.tensor([words]))[0, -1].argmax()))
    written = generate(lambda words, state: (model(words, cache)[:, -1], state), prompt, 5)
    assert written.tolist() == words[3:]


def test_beams_keep_their_own_caches():
    model, cache = setup()

    def with_cache(words, state):
        return model(words, state)[:, -1], state

    def without(words, state):
        words = words if state is None else lp.cat([state, words], 1)
        return model(words)[:, -1], words

    found = beam_search(with_cache, [3, 1], 4, beams=3, state=cache)
    expected = beam_search(without, [3, 1], 4, beams=3, state_dim=0)
    assert [text for text, _ in found] == [text for text, _ in expected]
    assert_close([score for _, score in found], [score for _, score in expected], rtol=1e-5)


def test_several_queries_share_a_key():
    cache = KeyValueCache(1, 1, 1, 4, 2)
    q, k = lp.randn(1, 3, 4, 2), lp.randn(1, 1, 4, 2)
    got = cache.attend(0, q, k, k, cache.positions(4))
    assert_close(got, F.scaled_dot_product_attention(q, k, k, is_causal=True, enable_gqa=True))


def test_no_room():
    model, cache = setup()
    model(TEXT[:1], cache)
    with pytest.raises(LampionError, match=r"longer than the positions.*\n.*expected: 8 at most.*\n.*got: 9"):
        model(TEXT[:1, :1], cache)
    step = lp.compile(lambda words: model(words, cache)[:, -1])
    cache.reset()
    for _ in range(LENGTH):
        step(TEXT[:1, :1])
    before = [keys.clone() for keys in cache.keys]
    with pytest.raises(LampionError, match="index 8 is out of range"):
        step(TEXT[:1, :1])
    assert_close(cache.keys, before)
    with pytest.raises(ShapeError, match="key does not fit into the cache"):
        cache.attend(0, lp.ones(1, 2, 1, 4), lp.ones(1, 1, 1, 4), lp.ones(1, 2, 1, 4), lp.tensor([0]))
    with pytest.raises(OptionError, match="nothing to keep"):
        KeyValueCache(0, 1, 1, 1, 1)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_that_failed_does_not_count(compiled):
    model, cache = setup()
    with lp.no_grad():
        expected = model(TEXT[:1])
        step = lp.compile(lambda words: model(words, cache)) if compiled else lambda w: model(w, cache)
        step(TEXT[:1, :2])
        for _ in range(2):
            with pytest.raises(
                ShapeError, match=r"key does not fit into the cache\n  expected: \(1, 2, 3, 4\)"
            ):
                step(TEXT[:, 2:5])
            assert len(cache) == 2
        with pytest.raises(LampionError):  # the query, after keys and values were written
            x = lp.ones(1, HEADS, 1, SIZE)
            cache.attend(0, x[..., :2], x, x, cache.positions(1))
        assert len(cache) == 2
        assert_close(step(TEXT[:1, 2:5]), expected[:, 2:5], rtol=1e-5, atol=1e-6)


# -- positions ---------------------------------------------------------------------------------------------


def test_sinusoidal_positions():
    table = sinusoidal_positions(50, 6)
    for p, i in [(0, 0), (49, 1), (7, 2)]:
        angle = p / 10000 ** (2 * i / 6)
        np.testing.assert_allclose(table[p, 2 * i : 2 * i + 2], [math.sin(angle), math.cos(angle)], rtol=1e-6)


def test_rotation_keeps_lengths_and_sees_only_distances():
    table, x, y = rotary_table(20, 8), lp.randn(1, 8), lp.randn(1, 8)
    turned = rotate(lp.ones(2, 20, 8), table)
    assert_close((turned**2).sum(-1), lp.full((2, 20), 8.0), rtol=1e-6)
    products = [
        (rotate(x, table, lp.tensor([p])) * rotate(y, table, lp.tensor([p + 3]))).sum() for p in (0, 5, 16)
    ]
    assert_close(lp.stack(products), products[0].expand(3), rtol=1e-4, atol=1e-5)
    assert_close(rotate(x, table[:, 4:5]), rotate(x, table, lp.tensor([4])))


def test_bad_positions():
    with pytest.raises(LampionError, match="longer than the positions"):
        rotate(lp.ones(5, 4), rotary_table(4, 4))
    with pytest.raises(LampionError, match="index 4 is out of range"):
        rotate(lp.ones(1, 4), rotary_table(4, 4), lp.tensor([4]))
    with pytest.raises(ShapeError, match="the table is of another size"):
        rotate(lp.ones(5, 6), rotary_table(4, 4))
    with pytest.raises(OptionError, match="an even size"):
        sinusoidal_positions(4, 3)
