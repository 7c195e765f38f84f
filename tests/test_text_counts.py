"""Vocabularies, counts of words, and vectors made of them, against plain loops."""

import json
import math
import sys

import numpy as np
import pytest

import lampion
from lampion.errors import DTypeError, IndexRangeError, LampionError, OptionError, ShapeError
from lampion.text import (
    UnknownWordError,
    Vocab,
    analogy,
    cooccurrence_matrix,
    cosine_similarity,
    most_similar,
    ppmi,
    preprocess,
    truncated_svd,
)  # fmt: skip

TOY = "You say goodbye and I say hello."


def test_lampion_text_is_found():
    assert lampion.text.Vocab is Vocab and "text" in lampion.__all__


def test_vocab_from_tokens():
    tokens = ["b", "a", "c", "a", "c", "c", "d"]
    assert Vocab.from_tokens(tokens).itos == ("b", "a", "c", "d")
    assert Vocab.from_tokens(tokens, order="frequency").itos == ("c", "a", "b", "d")
    assert Vocab.from_tokens(tokens, order="sorted").itos == ("a", "b", "c", "d")
    assert Vocab.from_tokens(tokens, min_freq=2).itos == ("a", "c")
    assert Vocab.from_tokens(tokens, max_size=3, specials=["<pad>"]).itos == ("<pad>", "a", "c")
    assert Vocab.from_tokens(tokens, specials=["a"]).itos == ("a", "b", "c", "d")
    vocab = Vocab.from_tokens(tokens, min_freq=2, specials=["<unk>"], unknown="<unk>")
    assert vocab.encode(tokens).tolist() == [0, 1, 2, 1, 2, 2, 0] and vocab.decode(vocab.encode("abc")) == [
        "a", "<unk>", "c",
    ]  # fmt: skip
    assert list(vocab) == list(vocab.itos) and "b" not in vocab and len(vocab) == 3
    assert vocab.encode([]).shape == (0,) and vocab.encode([]).dtype is lampion.int64


def test_vocab_refuses():
    vocab = Vocab(["hello", "world"])
    with pytest.raises(UnknownWordError, match=r"(?s)'helo' is not in.*try: 'hello'; or Vocab"):
        vocab.encode(["helo"])
    with pytest.raises(KeyError):
        vocab["x"]
    for number in (2, -1):
        with pytest.raises(IndexRangeError, match="expected: 0 to 1"):
            vocab.decode([number])
    with pytest.raises(OptionError, match=r"(?s)twice.*'a'"):
        Vocab(["a", "b", "a"])
    with pytest.raises(OptionError, match="not in the vocabulary"):
        Vocab(["a"], unknown="<unk>")
    with pytest.raises(OptionError, match="not a string"):
        Vocab([1])
    with pytest.raises(LampionError, match="text is empty"):
        Vocab.from_tokens([])
    with pytest.raises(OptionError, match="no such order"):
        Vocab.from_tokens(["a"], order="random")
    for options in ({"min_freq": 0}, {"max_size": 0, "specials": ["x"]}):
        with pytest.raises(OptionError, match="no room"):
            Vocab.from_tokens(["a"], **options)


def test_vocab_files(tmp_path):
    vocab = Vocab(["<unk>", 'quote"', "käse", "\n"], unknown="<unk>")
    vocab.save(tmp_path / "v.json")
    assert Vocab.load(tmp_path / "v.json") == vocab != Vocab(vocab.itos)
    for content in ("[]", "{", '{"format": "x"}', json.dumps({"format": "lampion vocabulary 1", "words": 3})):
        (tmp_path / "v.json").write_text(content)
        with pytest.raises(LampionError, match="is not"):
            Vocab.load(tmp_path / "v.json")


def test_preprocess():
    corpus, word_to_id, id_to_word = preprocess(TOY)
    assert corpus.tolist() == [0, 1, 2, 3, 4, 1, 5, 6] and len(word_to_id) == 7
    assert id_to_word[6] == "." and all(word_to_id[word] == number for number, word in id_to_word.items())
    for text in ("", "  \n"):
        with pytest.raises(LampionError, match="preprocess: the text is empty"):
            preprocess(text)
    with pytest.raises(DTypeError, match=r"preprocess: this is no text\n  expected: a str\n  got: NoneType"):
        preprocess(None)


def counted(ids, size, window):
    counts = np.zeros((size, size), int)
    for i, word in enumerate(ids):
        for j in range(max(0, i - window), min(len(ids), i + window + 1)):
            counts[word, ids[j]] += i != j
    return counts


@pytest.mark.parametrize("window", [1, 2, 5, 100])
@pytest.mark.parametrize("length", [1, 2, 40])
def test_cooccurrence(window, length):
    ids = np.random.default_rng(length).integers(0, 5, length)
    counts = cooccurrence_matrix(ids, 6, window)
    assert counts.dtype is lampion.int32 and counts.tolist() == counted(ids, 6, window).tolist()


def test_cooccurrence_refuses():
    with pytest.raises(IndexRangeError, match=r"(?s)expected: 0 to 2.*got: 3"):
        cooccurrence_matrix([0, 3], 3)
    with pytest.raises(IndexRangeError, match="got: -1"):
        cooccurrence_matrix([0, -1])
    with pytest.raises(LampionError, match="text is empty"):
        cooccurrence_matrix([])
    with pytest.raises(DTypeError, match="integers"):
        cooccurrence_matrix([0.5])
    with pytest.raises(ShapeError, match="one dimension"):
        cooccurrence_matrix([[0]])
    with pytest.raises(OptionError, match="window from 1 on"):
        cooccurrence_matrix([0], window=0)


def test_ppmi(monkeypatch):
    counts = np.random.default_rng(0).integers(0, 4, (9, 7))
    counts[3] = 0  # a word that never occurs
    monkeypatch.setattr("lampion.text.counts._ROWS", 4)
    got = ppmi(counts).numpy()
    total, rows, columns = counts.sum(), counts.sum(1), counts.sum(0)
    for i, j in np.ndindex(*counts.shape):
        expected = max(0.0, math.log2(counts[i, j] * total / (rows[i] * columns[j]))) if counts[i, j] else 0.0
        assert got[i, j] == np.float32(expected)
    with pytest.raises(LampionError, match="negative"):
        ppmi([[-1]])
    with pytest.raises(ShapeError, match="matrix"):
        ppmi([1])


def test_truncated_svd_of_both_kinds_agree():
    pytest.importorskip("sklearn", reason="finds the large singular values")
    random = np.random.default_rng(0)
    matrix = random.standard_normal((40, 3)) @ random.standard_normal((3, 30))
    exact, found = truncated_svd(matrix, 3, "exact"), truncated_svd(matrix, 3, "randomized")
    for a, b in zip(exact, found, strict=True):
        assert np.allclose(a.numpy(), b.numpy(), rtol=0, atol=1e-10)  # of rank 3: nothing is lost
    u, s, v = (x.numpy() for x in exact)
    assert np.allclose(u * s @ v, matrix, rtol=0, atol=1e-12) and (u.max(0) == np.abs(u).max(0)).all()
    again = truncated_svd(matrix, 2, "randomized", seed=0)
    assert again[0].tolist() == truncated_svd(matrix, 2, "randomized", seed=0)[0].tolist()


def test_truncated_svd_refuses(monkeypatch):
    with pytest.raises(OptionError, match="1 to 2 dimensions"):
        truncated_svd(np.ones((2, 3)), 3)
    with pytest.raises(OptionError, match="no such method"):
        truncated_svd(np.ones((2, 3)), 1, "fast")
    with pytest.raises(ShapeError, match="matrix"):
        truncated_svd([1.0], 1)
    monkeypatch.setitem(sys.modules, "sklearn.utils.extmath", None)
    with pytest.raises(LampionError, match=r"(?s)scikit-learn.*pip install.*exact"):
        truncated_svd(np.ones((2, 3)), 1, "randomized")


def test_similar_words():
    corpus, word_to_id, _ = preprocess(TOY)
    counts = cooccurrence_matrix(corpus)
    you, i = counts[word_to_id["you"]], counts[word_to_id["i"]]
    assert cosine_similarity(you, i) == pytest.approx(0.7071067691154799, abs=1e-7)  # the book's figure
    answers = most_similar("you", word_to_id, counts, top=3)
    assert [word for word, _ in answers] == ["goodbye", "i", "hello"]  # the book's too, in its order
    assert [score for _, score in answers] == pytest.approx([0.5**0.5] * 3)
    assert len(most_similar("you", word_to_id, counts, top=99)) == 6
    assert most_similar("a", Vocab("ab"), np.array([[0.0], [1.0]])) == [("b", 0.0)]  # no direction, no NaN
    with pytest.raises(UnknownWordError, match="'goodby'"):
        most_similar("goodby", word_to_id, counts)
    with pytest.raises(ShapeError, match=r"expected: \(7, D\)"):
        most_similar("you", word_to_id, counts[:5])
    with pytest.raises(OptionError, match="gaps"):
        most_similar("a", {"a": 0, "b": 2}, np.ones((2, 2)))
    with pytest.raises(OptionError, match="top"):
        most_similar("you", word_to_id, counts, top=0)
    with pytest.raises(ShapeError, match="two vectors"):
        cosine_similarity([1], [1, 2])


def test_analogies():
    vocab = Vocab(["man", "king", "woman", "queen", "long"])
    vectors = lampion.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 1], [0, 9, 0]])
    assert analogy("man", "king", "woman", vocab, vectors)[0][0] == "queen"
    assert [word for word, _ in analogy("man", "king", "woman", vocab, vectors, unit=False)] == [
        "long",
        "queen",
    ]
    with pytest.raises(UnknownWordError):
        analogy("man", "king", "girl", vocab, vectors)
