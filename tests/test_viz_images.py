"""Pictures of many images, and of points of a plane: that each stands where it belongs."""

from statistics import NormalDist

import numpy as np
import pytest

import lampion as lp
from lampion import nn, viz
from lampion.errors import DTypeError, LampionError, OptionError, ShapeError
from lampion.training import History

pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")
PNG = b"\x89PNG\r\n\x1a\n"


def sheet(picture):
    """The one image that all are drawn as: (H, W, 3)."""
    (axes,) = picture.figure.axes
    (image,) = axes.images
    return np.asarray(image.get_array())


def grey(*values, side=4):
    """Small images of one shade each: (N, 1, side, side)."""
    return lp.tensor(values).reshape(-1, 1, 1, 1).expand(len(values), 1, side, side)


def test_image_grid_draws_row_by_row(tmp_path):
    picture = viz.image_grid(grey(0.0, 0.25, 0.5, 1.0, 7.0), tmp_path / "grid.png", columns=3, title="five")
    assert (tmp_path / "grid.png").read_bytes().startswith(PNG)
    pixels = sheet(picture)
    assert pixels.shape == (2 * 5 + 1, 3 * 5 + 1, 3)  # a pixel of space around each
    middles = pixels[3::5, 3::5, 0]
    assert middles.tolist() == [[1.0, 0.75, 0.5], [0.0, 0.0, 1.0]]  # ink on paper; the last place is empty
    assert pixels[0, 0, 0] == pytest.approx(0.93)
    assert [text.get_text() for text in picture.figure.texts] == ["five"]


def test_image_grid_in_light_and_in_colours():
    light = sheet(viz.image_grid(grey(0.25)[:, 0], ink=False))
    assert light[2, 2].tolist() == [0.25] * 3
    colours = lp.tensor([1.0, 0.5, 0.0]).reshape(1, 3, 1, 1).expand(4, 3, 5, 6)
    pixels = sheet(viz.image_grid(colours))
    assert pixels.shape == (2 * 6 + 1, 2 * 7 + 1, 3)  # about a square, unless said
    assert pixels[2, 2].tolist() == [1.0, 0.5, 0.0]


def test_image_rows_have_names():
    picture = viz.image_rows({"one": grey(0.0, 1.0), "two": grey(0.5)}, columns=["left", "right"])
    (axes,) = picture.figure.axes
    assert [text.get_text() for text in axes.texts] == ["one", "two", "left", "right"]
    assert sheet(picture)[3::5, 3::5, 0].tolist() == [[1.0, 0.0], [0.5, 1.0]]
    assert not viz.image_rows([grey(0.5)]).figure.axes[0].texts


def test_manifold_has_the_plane_as_it_lies():
    net = nn.Sequential(nn.Dropout(0.5), nn.Unflatten(1, (1, 1, 2)))  # (N, 2) -> an image of two pixels
    net.train()
    picture = viz.manifold(net, count=4, ink=False, title="plane")
    assert net.training
    seen = []
    viz.manifold(lambda z: seen.append(z) or z[:, None, None, :], count=4)
    points = seen[0].numpy().reshape(4, 4, 2)
    assert (np.diff(points[:, :, 0], axis=1) > 0).all() and (np.diff(points[:, :, 1], axis=0) < 0).all()
    assert np.allclose(points[:, :, 0], -points[:, ::-1, 0], atol=1e-6)
    assert points.max() == pytest.approx(NormalDist().inv_cdf(0.5 + 0.98 * 3 / 8), rel=1e-6)
    expected = net.eval()(seen[0]).numpy().reshape(4, 4, 2).clip(0, 1).reshape(4, 8)
    assert np.array_equal(sheet(picture)[..., 0], expected)
    (axes,) = picture.figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["−1.1", "−0.3", "0.3", "1.1"]


def test_scatter_names_each_class_where_it_lies():
    points = lp.tensor([[0.0, 0.0], [2.0, 2.0], [5.0, 5.0], [5.0, 7.0]])
    picture = viz.scatter(points, lp.tensor([0, 0, 11, 11]), classes=[f"c{i}" for i in range(12)])
    (axes,) = picture.figure.axes
    assert {text.get_text(): text.get_position() for text in axes.texts} == {
        "c0": (1.0, 1.0),
        "c11": (5.0, 6.0),
    }
    assert [len(group.get_offsets()) for group in axes.collections] == [2, 2]
    same = viz.scatter(lp.tensor([[0.0, 0.0], [0.0, 0.0], [10.0, 0.0]]), lp.tensor([0, 1, 2])).figure.axes[0]
    first, second, third = (text.get_position() for text in same.texts)
    assert first[0] - second[0] == pytest.approx(0.55, rel=0.05) and first[1] == second[1] == 0.0
    assert third == (10.0, 0.0)  # names that would cover each other stand beside each other
    few = viz.scatter(points, lp.tensor([0, 0, 1, 1]), limit=3).figure.axes[0]
    assert [text.get_text() for text in few.texts] == ["0", "1"]
    assert sum(len(group.get_offsets()) for group in few.collections) == 3


def test_curves_of_chosen_columns():
    rows = History()
    for epoch in (1, 2):
        rows.add(epoch=epoch, a=epoch, b=2.0, b_accuracy=0.5)
    picture = viz.curves(rows, panels={"Both": ["a", "b"], "Right": ["b_accuracy"]})
    both, right = (axes for axes in picture.figure.axes if axes.get_visible())
    assert [line.get_label() for line in both.lines] == ["a", "b"]
    assert list(both.lines[0].get_ydata()) == [1, 2] and both.get_title(loc="left") == "Both"
    assert right.get_legend() is None
    for panels in ({"Both": ["a", "c"]}, {}, {"None": []}):
        with pytest.raises(LampionError, match="no such columns"):
            viz.curves(rows, panels=panels)


def test_what_is_no_image_is_said():
    for draw in (viz.image_grid, lambda x: viz.image_rows([x]), lambda x: viz.manifold(lambda z: x)):
        for bad in (lp.ones(3, 4), lp.ones(2, 2, 4, 4), lp.ones(0, 1, 4, 4)):
            with pytest.raises(ShapeError, match="these are not images") as raised:
                draw(bad)
            assert f"got: {tuple(bad.shape)}" in str(raised.value)
        with pytest.raises(DTypeError, match=r"(?s)expected a tensor.*ndarray.*from_numpy"):
            draw(np.zeros((4, 1, 4, 4)))
        with pytest.raises(DTypeError, match=r"(?s)between 0 and 1.*uint8.*/ 255"):
            draw(lp.ones(4, 1, 4, 4, dtype=lp.uint8))
    assert sheet(viz.image_grid(grey(0.0, 1.0) > 0.5, columns=2))[3, 3::5, 0].tolist() == [1.0, 0.0]  # masks
    with pytest.raises(OptionError, match="columns is not positive"):
        viz.image_grid(grey(1.0), columns=0)
    with pytest.raises(ShapeError, match="have one size") as raised:
        viz.image_rows([grey(1.0), grey(1.0, side=5)])
    assert "got: 4 x 4, 5 x 5" in str(raised.value)
    with pytest.raises(ShapeError, match="there are no rows"):
        viz.image_rows({})
    with pytest.raises(ShapeError, match="more names than columns"):
        viz.image_rows([grey(1.0)], columns=["a", "b"])
    with pytest.raises(OptionError, match="no such plane"):
        viz.manifold(lambda z: z, spread=1.0)
    with pytest.raises(ShapeError, match="something else than an image of each point"):
        viz.manifold(lambda z: grey(1.0), count=2)
    with pytest.raises(ShapeError, match="must lie in a plane"):
        viz.scatter(lp.ones(2, 3), lp.ones(2))
    with pytest.raises(ShapeError, match="one label for each point"):
        viz.scatter(lp.ones(2, 2), lp.ones(3))
