"""Pictures of sequences of numbers, and of how alike words are."""

import numpy as np
import pytest

import lampion as lp
from lampion import viz
from lampion.errors import LampionError, ShapeError

pytest.importorskip("matplotlib")


def axes_of(picture):
    return picture.figure.axes[0]


def test_series_are_drawn_as_they_are(tmp_path):
    true, guess = lp.linspace(0, 1, 20), lp.linspace(1, 0, 12)
    path = tmp_path / "lines.png"
    picture = viz.series({"true": true, "guess": guess}, path, "two lines", starts={"guess": 8})
    assert path.read_bytes().startswith(b"\x89PNG")
    first, second = axes_of(picture).lines
    np.testing.assert_array_equal(first.get_ydata(), true.numpy())
    np.testing.assert_array_equal(second.get_ydata(), guess.numpy())
    assert list(second.get_xdata()) == list(range(8, 20)) and first.get_xdata()[0] == 0
    assert [text.get_text() for text in axes_of(picture).get_legend().get_texts()] == ["true", "guess"]


def test_series_say_what_is_wrong():
    with pytest.raises(LampionError, match="there are no lines"):
        viz.series({})
    with pytest.raises(ShapeError, match="the line 'curve' is no sequence"):
        viz.series({"curve": lp.ones(3, 1)})


def test_similarities_are_cosines(tmp_path):
    vectors = lp.tensor([[3.0, 4.0], [6.0, 8.0], [-4.0, 3.0], [0.0, 0.0]])
    path = tmp_path / "words.png"
    picture = viz.similarities(["a", "b", "c", "d"], vectors, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    expected = np.diag([1.0, 1, 1, 0])
    expected[0, 1] = expected[1, 0] = 1
    np.testing.assert_allclose(axes_of(picture).images[0].get_array(), expected, atol=1e-12)
    for axis in (axes_of(picture).xaxis, axes_of(picture).yaxis):
        assert [text.get_text() for text in axis.get_ticklabels()] == ["a", "b", "c", "d"]


def test_similarities_say_what_is_wrong():
    with pytest.raises(LampionError, match="there are no words"):
        viz.similarities([], lp.ones(0, 3))
    with pytest.raises(ShapeError, match="each word has one vector"):
        viz.similarities(["a", "b"], lp.ones(3, 3))
