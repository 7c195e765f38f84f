"""The picture of attention: a map for each head, with words on both sides."""

import pytest

import lampion as lp
from lampion import viz
from lampion.errors import ShapeError

pytest.importorskip("matplotlib")


def panels_of(picture):
    return [axes for axes in picture.figure.axes if axes.images]


def labels(axes):
    return tuple([text.get_text() for text in side.get_ticklabels()] for side in (axes.xaxis, axes.yaxis))


def test_a_map_for_each_head(tmp_path):
    weights = lp.randn(3, 2, 4).softmax(-1)
    path = tmp_path / "heads.png"
    picture = viz.attention(weights, ["the", "cat", "sat", "."], ["le", "chat"], path, "heads")
    maps = panels_of(picture)
    assert len(maps) == 3 and path.read_bytes().startswith(b"\x89PNG")
    for axes, values in zip(maps, weights, strict=True):
        assert labels(axes) == (["the", "cat", "sat", "."], ["le", "chat"])
        assert (axes.images[0].get_array() == values.numpy()).all()


def test_letters_and_samples_of_their_own():
    maps = panels_of(viz.attention(lp.ones(2, 3) / 3, "abc", "de"))
    assert labels(maps[0]) == (["a", "b", "c"], ["d", "e"])
    maps = panels_of(viz.attention(lp.ones(2, 1, 3) / 3, ["abc", "def"], ["x", "y"]))
    assert [labels(axes) for axes in maps] == [(["a", "b", "c"], ["x"]), (["d", "e", "f"], ["y"])]


def test_labels_that_do_not_fit():
    with pytest.raises(ShapeError, match="sources do not fit"):
        viz.attention(lp.ones(2, 3), ["a", "b"], ["c", "d"])
    with pytest.raises(ShapeError, match="a matrix, or several"):
        viz.attention(lp.ones(3), "abc", "d")
    for sources, count in (("abc", 3), (["a"], 1), (["wxyz"], 1), ("", 0)):
        with pytest.raises(
            ShapeError, match=rf"sources do not fit(?s:.*)expected: 4 of them\n  got: {count}$"
        ):
            viz.attention(lp.ones(3, 4), sources, "xyz")
    with pytest.raises(ShapeError, match=r"targets do not fit(?s:.*)expected: 3 of them\n  got: 2$"):
        viz.attention(lp.ones(3, 4), "abcd", "xy")


@pytest.mark.parametrize("kind", [lambda x: x.numpy(), lambda x: x.tolist()], ids=["array", "lists"])
def test_weights_that_are_no_tensors(kind):
    for weights in (lp.eye(2), lp.ones(3, 2, 2) / 2):
        found, expected = (viz.attention(w, "ab", "cd") for w in (kind(weights), weights))
        assert found._written("png") == expected._written("png")
