"""vmap: where batches go, random numbers, chunks, errors."""

import numpy as np
import pytest

import lampion as lp
from lampion.errors import LampionError, ShapeError
from lampion.func import batching, vmap
from lampion.testing import assert_close

X = np.arange(24.0).reshape(2, 3, 4)


def points():
    return lp.from_numpy(X.copy())


def test_in_dims_and_out_dims():
    x = points()
    assert_close(vmap(lambda a: a * 2, in_dims=1, out_dims=1)(x), 2 * X)
    assert_close(vmap(lambda a: a * 2, in_dims=-1, out_dims=-1)(x), 2 * X)
    assert_close(vmap(lambda a: a * 2, in_dims=2)(x), 2 * np.moveaxis(X, 2, 0))
    a, b = vmap(lambda a, b: (a + b, a.sum()), in_dims=(1, None), out_dims=(2, 0))(x, x[:, 0])
    assert_close(a, np.moveaxis(np.moveaxis(X, 1, 0) + X[:, 0], 0, 2))
    assert_close(b, X.sum((0, 2)))


def test_trees():
    def f(thing, scale):
        return {"a": thing["x"] * scale, "b": [thing["y"][0].sum()]}

    x = points()
    out = vmap(f, in_dims=({"x": 0, "y": (1,)}, None), out_dims={"a": 1, "b": [0]})(
        {"x": x, "y": (x.transpose(0, 1),)}, 3.0
    )
    assert_close(out["a"], np.moveaxis(3 * X, 0, 1))
    assert_close(out["b"][0], X.sum((1, 2)))


def test_what_is_the_same_for_all():
    assert_close(vmap(lambda a: lp.ones(2))(points()), np.ones((2, 2), np.float32))
    assert vmap(lambda a: lp.ones(2), out_dims=None)(points()).shape == (2,)
    with pytest.raises(LampionError, match="differs between the examples"):
        vmap(lambda a: a, out_dims=None)(points())


def test_keyword_arguments_are_shared():
    assert_close(vmap(lambda a, *, by: a * by)(points(), by=lp.tensor(2.0, dtype=lp.float64)), 2 * X)


def test_nested():
    x = points()
    outer = vmap(vmap(lambda a, b: (a * b).sum(), in_dims=(0, None)), in_dims=(None, 0))
    assert_close(outer(x[0], x[1]), X[1] @ X[0].T)


def test_chunks_give_the_same():
    x = points()
    for size in (1, 2, 3, 7):
        a, b = vmap(lambda a: (a.sum(), a * 2), in_dims=1, out_dims=(0, -1), chunk_size=size)(x)
        assert_close(a, X.sum((0, 2)))
        assert_close(b, np.moveaxis(2 * X, 1, -1))


def test_empty_batches():
    assert vmap(lambda a: a.sum())(lp.ones(0, 3)).shape == (0,)
    assert vmap(lambda a: lp.linalg.matrix_exp(a))(lp.ones(0, 3, 3)).shape == (0, 3, 3)


def test_random_numbers():
    x = lp.zeros(3, 5)

    def noisy(row):
        return row + lp.rand(5)

    with pytest.raises(LampionError, match="random"):
        vmap(noisy)(x)
    same = vmap(noisy, randomness="same")(x)
    assert (same[0] == same[1]).all()
    lp.manual_seed(0)
    different = vmap(noisy, randomness="different")(x)
    assert len(set(different.reshape(-1).tolist())) == 15
    lp.manual_seed(0)
    assert (different == vmap(noisy, randomness="different")(x)).all()
    nested = vmap(vmap(lambda v: v + lp.rand(2), randomness="different"), randomness="different")(x)
    assert len(set(nested.reshape(-1).tolist())) == 30
    lp.manual_seed(0)
    one = lp.rand(5)
    lp.manual_seed(0)
    assert (vmap(noisy, randomness="same")(x)[0] == one).all()
    with pytest.raises(ValueError, match="randomness"):
        vmap(noisy, randomness="other")


def test_dropout_differs_between_examples():
    lp.manual_seed(3)
    out = vmap(lp.nn.functional.dropout, randomness="different")(lp.ones(4, 64))
    assert len({tuple(row) for row in out.tolist()}) == 4


def test_indices_of_each_example():
    rng = np.random.default_rng(0)
    x = lp.from_numpy(rng.standard_normal((5, 3, 4, 2)))
    at = lp.from_numpy(rng.integers(0, 2, (5, 6)))
    fixed = at[0]
    cases = [
        lambda a, i: a[i],
        lambda a, i: a[:, i],
        lambda a, i: a[i, i],
        lambda a, i: a[i, :, i],
        lambda a, i: a[:, i, i],
        lambda a, i: a[fixed],
        lambda a, i: a[fixed, :, fixed],
        lambda a, i: x[0][i],
        lambda a, i: x[0][:, i, i],
        lambda a, i: x[0][i, :, i],
        lambda a, i: a.index_put((i, i), a[0, 0]),
        lambda a, i: a.index_put((lp.arange(2), lp.arange(2)), a[0, :2] * 2),
        lambda a, i: a.index_add(1, i, a[:, :1].expand(3, 6, 2)),
        lambda a, i: a.index_select(1, i),
    ]
    for number, function in enumerate(cases):
        loop = lp.stack([function(a, i) for a, i in zip(x, at, strict=True)])
        assert_close(vmap(function)(x, at), loop, label=str(number))


def test_an_unknown_kernel_runs_one_by_one(monkeypatch):
    """What has no rule is right all the same."""
    monkeypatch.setattr(batching, "RULES", {})
    monkeypatch.setattr(batching, "LEADING", frozenset())
    monkeypatch.setattr(batching, "ALONG", frozenset())
    monkeypatch.setattr(batching, "MOVES", {})
    x = points()
    at = lp.tensor([[0, 1], [2, 2]])
    out = vmap(lambda a, i: (a[i] @ a.T + a.T.reshape(-1)[:3]).flip(0))(x, at)
    loop = lp.stack([(a[i] @ a.T + a.T.reshape(-1)[:3]).flip(0) for a, i in zip(x, at, strict=True)])
    assert_close(out, loop)


def test_errors():
    x = points()
    with pytest.raises(ShapeError, match="different numbers of examples"):
        vmap(lambda a, b: a)(x, x[0])
    with pytest.raises(LampionError, match="nothing to map over"):
        vmap(lambda a: a, in_dims=None)(x)
    with pytest.raises(LampionError, match="only tensors"):
        vmap(lambda a, b: a)(x, 3)
    with pytest.raises(LampionError, match="differ in number"):
        vmap(lambda a: a, in_dims=(0, 0))(x)
    with pytest.raises(LampionError, match="made of tensors"):
        vmap(lambda a: 3)(x)
    with pytest.raises(LampionError, match="does not fit"):
        vmap(lambda a: a["x"], in_dims=({"y": 0},))({"x": x})
    with pytest.raises(LampionError, match="reads the value"):
        vmap(lambda a: a * a.sum().item())(x)
    with pytest.raises(ShapeError, match="0-d"):
        vmap(lambda a: a)(lp.tensor(1.0))


def test_a_tensor_that_got_out():
    kept = []
    vmap(lambda a: kept.append(a) or a)(points())
    with pytest.raises(LampionError, match="used outside"):
        kept[0] + 1


def test_printing_inside():
    texts = []
    vmap(lambda a: texts.append(repr(a)) or a)(lp.ones(2, 1))
    assert texts[0].startswith("Batched(")
    assert "tensor([[1.]," in texts[0]
