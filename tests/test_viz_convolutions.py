"""Filters, feature maps and heat maps: that the right numbers are drawn at the right places."""

import numpy as np
import pytest

import lampion as lp
from lampion import nn, viz
from lampion.errors import DTypeError, LampionError, OptionError, ShapeError

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _matplotlib():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: it draws the pictures")


def panels(picture):
    return [axes for axes in picture.figure.axes if axes.get_visible()]


def drawn(axes):
    """The small pictures of a panel, from left to right and from top to bottom."""
    return [image.get_array() for image in axes.get_images()]


def titles(picture):
    return [axes.get_title(loc="left") for axes in panels(picture)]


def test_filters(tmp_path):
    before, after = lp.randn(5, 1, 3, 3), lp.zeros(5, 1, 3, 3)
    after[4, 0, 1, 1] = -2.0
    picture = viz.filters({"before": before, "after": after}, tmp_path / "f.png", title="both")
    assert (tmp_path / "f.png").read_bytes().startswith(PNG)
    largest = before.abs().max().item()
    assert titles(picture) == [f"before (±{largest:.2g})", "after (±2)"]
    left, right = panels(picture)
    for image, weight in zip(drawn(left), before, strict=True):
        np.testing.assert_allclose(image, weight[0].numpy() / largest, rtol=1e-6)
    assert drawn(right)[4][1, 1] == -1 and left.get_images()[0].get_clim() == (-1, 1)


def test_filters_of_colours_of_many_channels_and_of_nothing():
    (axes,) = panels(viz.filters(lp.ones(2, 3, 5, 5)))
    assert [image.shape for image in drawn(axes)] == [(5, 5, 3)] * 2 and drawn(axes)[0].max() == 1
    (axes,) = panels(viz.filters(lp.ones(4, 6, 3, 3), limit=10))
    assert len(drawn(axes)) == 10
    assert titles(viz.filters(lp.zeros(1, 1, 3, 3))) == ["all 0"]
    picture = viz.filters(lp.tensor([1.0, -4.0, 0.0]).view(3, 1, 1, 1), alone=True)
    assert titles(picture) == ["up to ±4"] and [float(x[0, 0]) for x in drawn(panels(picture)[0])] == [
        1,
        -1,
        0,
    ]
    with pytest.raises(ShapeError, match=r"(?s)two-dimensional convolution.*\(4, 3\)"):
        viz.filters(lp.zeros(4, 3))
    with pytest.raises(LampionError, match="no weights to show"):
        viz.filters({})
    with pytest.raises(ShapeError, match=r"(?s)two-dimensional convolution.*\(0, 1, 3, 3\)"):
        viz.filters(lp.zeros(0, 1, 3, 3))
    with pytest.raises(DTypeError, match=r"(?s)filters: expected a tensor.*Conv2d.*layer.weight"):
        viz.filters(nn.Conv2d(1, 2, 3))
    with pytest.raises(DTypeError, match=r"(?s)filters: expected a tensor.*ndarray.*from_numpy"):
        viz.filters({"mine": np.zeros((2, 1, 3, 3))})


def test_feature_maps(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2))
    image = lp.rand(1, 8, 8)
    picture = viz.feature_maps(model, image, tmp_path / "m.png", limit=2)
    assert titles(picture) == [
        "input: 8 x 8", "0: Conv2d: 6 x 6, 2 of 3 channels", "1: ReLU: 6 x 6, 2 of 3 channels",
        "2: MaxPool2d: 3 x 3, 2 of 3 channels",
    ]  # fmt: skip
    first, convolution, *_ = panels(picture)
    np.testing.assert_array_equal(drawn(first)[0], stretched(image.numpy()[0]))
    expected = model[0](image.unsqueeze(0)).detach().numpy()[0, 1]
    np.testing.assert_allclose(drawn(convolution)[1], stretched(expected), atol=1e-6)
    assert (tmp_path / "m.png").read_bytes().startswith(PNG)
    assert len(panels(viz.feature_maps(model, image.unsqueeze(0), layers=(nn.ReLU,)))) == 2
    assert titles(viz.feature_maps({"mine": lp.zeros(2, 4, 4)})) == ["mine: 4 x 4"]


def stretched(plane):
    return (plane - plane.min()) / (plane.max() - plane.min())


def test_feature_maps_that_cannot_be():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten())
    with pytest.raises(LampionError, match="needs an image"):
        viz.feature_maps(model)
    with pytest.raises(ShapeError, match=r"(?s)one image is looked at.*\(2, 1, 8, 8\)"):
        viz.feature_maps(model, lp.rand(2, 1, 8, 8))
    with pytest.raises(LampionError, match="no layer puts out maps"):
        viz.feature_maps(model, lp.rand(1, 8, 8), layers=(nn.Flatten,))
    with pytest.raises(LampionError, match=r"(?s)needs an image.*ndarray"):
        viz.feature_maps(model, np.zeros((1, 8, 8), np.float32))
    for nothing, got in (({}, "{}"), (lp.rand(2, 8, 8), "Tensor")):
        with pytest.raises(LampionError, match=f"(?s)no maps to show.*by name.*{got}"):
            viz.feature_maps(nothing)
    for shape in ((8, 8), (0, 8, 8)):
        with pytest.raises(ShapeError, match=r"(?s)'flat' has no maps.*\(channels, height, width\)"):
            viz.feature_maps({"flat": lp.zeros(*shape)})


@pytest.mark.parametrize("channels", [1, 3])
def test_heat_maps(tmp_path, channels):
    images, heat = lp.rand(7, channels, 8, 6), lp.rand(7, 8, 6)
    names = [f"image {i}" for i in range(7)]
    picture = viz.heat_maps(images, heat, tmp_path / "h.png", captions=names, columns=4)
    cells = panels(picture)
    assert len(cells) == 16 and (tmp_path / "h.png").read_bytes().startswith(PNG)
    assert [cells[i].get_title() for i in (0, 3, 8, 10)] == ["image 0", "image 3", "image 4", "image 6"]
    above, below = cells[9], cells[13]  # of image 5, in the second row of images
    np.testing.assert_array_equal(below.get_images()[1].get_array(), heat[5].numpy())
    pixels = images[5, 0].numpy() if channels == 1 else images[5].numpy().transpose(1, 2, 0)
    np.testing.assert_array_equal(above.get_images()[0].get_array(), pixels)
    assert len(cells[11].get_images()) == 0


def test_heat_maps_that_cannot_be():
    images = lp.rand(2, 1, 8, 8)
    with pytest.raises(ShapeError, match="no images"):
        viz.heat_maps(images[0], lp.rand(2, 8, 8))
    with pytest.raises(ShapeError, match=r"(?s)no images.*\(0, 1, 8, 8\)"):
        viz.heat_maps(images[:0], lp.rand(0, 8, 8))
    with pytest.raises(DTypeError, match=r"(?s)between 0 and 1.*uint8.*/ 255"):
        viz.heat_maps((images * 255).to(lp.uint8), lp.rand(2, 8, 8))
    with pytest.raises(DTypeError, match="expected a tensor"):
        viz.heat_maps(images, np.zeros((2, 8, 8)))
    with pytest.raises(ShapeError, match=r"(?s)for each pixel.*\(2, 8, 8\).*\(2, 4, 4\)"):
        viz.heat_maps(images, lp.rand(2, 4, 4))
    with pytest.raises(OptionError, match="one caption for each image"):
        viz.heat_maps(images, lp.rand(2, 8, 8), captions=["one"])


def test_mistakes_in_colours_with_long_names(tmp_path, monkeypatch):
    figures = []
    save = viz.canvas.save
    monkeypatch.setattr(viz.canvas, "save", lambda figure, path: (figures.append(figure), save(figure, path)))
    images, labels = lp.rand(2, 3, 4, 4), lp.tensor([0, 1])
    scores = lp.tensor([[0.0, 9.0], [0.0, 9.0]])
    viz.misclassified(images, labels, scores, tmp_path / "m.png", ["Sandal", "Ankle boot"])
    viz.misclassified(images, labels, scores, tmp_path / "m.png")
    long, short = (figure.axes[0] for figure in figures)
    assert long.get_title() == "is Sandal,\nseen as Ankle boot\n100% sure"
    assert short.get_title() == "is 0, seen as 1\n100% sure"
    np.testing.assert_array_equal(long.get_images()[0].get_array(), images[0].numpy().transpose(1, 2, 0))
