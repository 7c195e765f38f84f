"""What the examples about words and sequences show: see test_examples."""

import itertools
import math

import numpy as np

CASES = {}


def example(name, pictures=(), **options):
    """The test of an example: what its main() returned, called with these options, is what it is given."""

    def note(check):
        CASES[name] = (check, pictures, options)
        return check

    return note


@example("from_scratch_2/chapter_2/words_by_counting", ["words_by_counting.png"])
def _(found):
    words = found["words"]
    assert found["counts"][words.index("say")].tolist() == [1, 0, 1, 0, 1, 1, 0]
    meet = found["ppmi"][words.index("you"), words.index("say")].item()
    assert math.isclose(meet, math.log2(1 * 14 / (1 * 4)), rel_tol=1e-6)
    assert {word for word, _ in found["like hello"]} <= {"you", "goodbye", "i"}


@example("from_scratch_2/chapter_3/simple_word2vec")
def _(found):
    assert found["guessed"] == "say goodbye and goodbye say hello" and found["vectors"].shape == (7, 5)
    # Two of six words have the same neighbours: half a bit each.
    assert abs(found["losses"]["SimpleCBOW"][-1] - math.log(2) / 3) < 0.02
    assert 1 < found["losses"]["SimpleSkipGram"][-1] < found["losses"]["SimpleSkipGram"][0]


@example("from_scratch_2/chapter_4/negative_sampling")
def _(found):
    chances = found["probabilities"].numpy()
    np.testing.assert_allclose(chances, np.array([900, 90, 9, 1]) ** 0.75 / 185.6, rtol=0.1)
    expected = np.where(np.arange(4) > 0, chances, 0) / chances[1:].sum()
    np.testing.assert_allclose(found["shares"].numpy(), expected, atol=0.015)  # 20,000 draws
    assert found["rows"] == [1, 2, 3, 4, 5, 7]
    np.testing.assert_allclose(found["gradient"].numpy(), found["by hand"].numpy(), rtol=1e-5, atol=1e-7)


@example("from_scratch_2/chapter_5/truncated_backpropagation")
def _(found):
    assert found["carried"][-1] < 1.05 < 1.3 < found["thrown away"][-1]


@example("from_scratch_2/chapter_6/exploding_gradients", ["exploding_gradients.png"])
def _(found):
    for scale, lengths in found["norms"].items():
        assert (lengths[-1] > lengths[0]) == (found["largest"][scale] > 1)
    np.testing.assert_allclose(found["clipped"], [3, 4], rtol=1e-5)


@example("from_scratch_2/chapter_6/gates")
def _(found):
    assert set(found) == {"LSTM", "LSTM: gradient", "GRU", "GRU: gradient"} and max(found.values()) < 1e-6


@example("from_scratch_2/chapter_7/writing")
def _(found):
    for text in found["texts"].values():  # no word follows another that never did
        words = text.split()
        assert set(itertools.pairwise(words)) <= found["seen"]
    assert len(set(found["texts"].values())) == 5 and found["score"] < 0


@example("from_scratch_2/chapter_8/attention_by_hand", ["attention.png"])
def _(found):
    assert found["weights"].argmax(1).tolist() == [5, 4, 3, 2, 1, 0]
    np.testing.assert_allclose(found["weights"].sum(1).numpy(), 1, rtol=1e-6)
    np.testing.assert_allclose(found["found"].numpy(), found["expected"].numpy(), rtol=1e-5, atol=1e-6)
    assert found["gradient"].norm() > 0


@example("from_scratch_3/steps_59_to_60/recurrent_sine", ["recurrent_sine.png"], epochs=10)
def _(found):
    for losses in found.values():
        assert losses[-1] < 0.03 < losses[0]


@example("grokking/chapter_15/secure_aggregation")
def _(found):
    assert found["accuracy"] > 0.95 and found["seen"] > 1000 and found["difference"] == 0
