"""Plots and notebook representations: that they are drawn of the right numbers, and that nothing leaks."""

import subprocess
import sys
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest

import lampion as lp
from lampion import nn, optim, viz
from lampion.errors import LampionError, ShapeError
from lampion.training import History

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib")


def history(epochs=12, **columns):
    result = History()
    for i in range(epochs):
        result.add(epoch=i + 1, **{name: function(i) for name, function in columns.items()})
    return result


def net():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def panels(picture):
    return [axes for axes in picture.figure.axes if axes.get_visible()]


def test_viz_needs_matplotlib_only_to_plot():
    code = (
        "import sys, lampion; from lampion import viz; x = lampion.ones(2, requires_grad=True);"
        "viz.graph(x.sum()).svg; x._repr_html_(); lampion.nn.Linear(1, 1)._repr_html_();"
        "viz.image(lampion.eye(3))._repr_html_(); assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# -- curves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix, label", [("validation_", "validation"), ("test_", "test")])
def test_curves(matplotlib, tmp_path, prefix, label):
    rows = history(
        loss=lambda i: 2 / (i + 1), accuracy=lambda i: i / 20, lr=lambda i: 0.1,
        **{prefix + "loss": lambda i: 3 / (i + 1), prefix + "accuracy": lambda i: i / 25},
    )  # fmt: skip
    picture = viz.curves(rows, tmp_path / "c.png", "title")
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)
    loss, accuracy = panels(picture)
    assert [axes.get_title(loc="left") for axes in (loss, accuracy)] == ["Loss", "Accuracy"]
    assert list(loss.lines[0].get_ydata()) == rows["loss"]
    assert list(loss.lines[1].get_ydata()) == rows[prefix + "loss"]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", label]
    assert loss.get_yscale() == "log"


def test_curves_of_little(matplotlib):
    (loss,) = panels(viz.curves(history(3, loss=lambda i: -i)))
    assert loss.get_legend() is None and loss.get_yscale() == "linear"
    mixed = history(3, loss=lambda i: i, error=lambda i: i, validation_error=lambda i: i)
    assert len(panels(viz.curves(mixed))) == 2
    with pytest.raises(LampionError, match="the history is empty"):
        viz.curves(History())
    with pytest.raises(LampionError, match="no curve"):
        viz.curves(history(2, lr=lambda i: i))


# -- planes ----------------------------------------------------------------------------------------------


def test_decision_boundary(matplotlib, tmp_path):
    x = lp.tensor([[-1.0, 0.0], [1.0, 0.0], [2.0, 1.0], [0.5, 1.0]])
    y = lp.tensor([0, 1, 1, 0])
    picture = viz.decision_boundary(
        lambda p: lp.stack([-p[:, 0], p[:, 0]], 1),
        x,
        y,
        tmp_path / "b.png",
        resolution=40,
        classes=["a", "b"],
    )
    (axes,) = panels(picture)
    assert axes.get_title(loc="left") == "75.0% of 4 points right"
    shades = axes.images[0].get_array()
    blue, orange = shades[20, 2], shades[20, -2]  # left and right of the border at x = 0
    assert blue[2] > blue[0] and orange[0] > orange[2]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert (tmp_path / "b.png").read_bytes().startswith(PNG)


def test_decision_boundary_of_one_score_and_of_a_model_in_training(matplotlib):
    x, y = lp.randn(20, 2), lp.arange(20) % 2
    model = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1)).train()
    first, second = (viz.decision_boundary(model, x, y, resolution=30) for _ in range(2))
    assert model.training
    pictures = [panels(p)[0].images[0].get_array() for p in (first, second)]
    np.testing.assert_array_equal(*pictures)  # dropout was off
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(ShapeError, match="in a plane"):
        viz.decision_boundary(model, lp.randn(3, 4), y)


def test_optimizer_paths(matplotlib):
    picture = viz.optimizer_paths(
        lambda x, y: x**2 / 20 + y**2, (-7.0, 2.0),
        {"SGD": lambda p: optim.SGD(p, lr=0.95), "Adam": lambda p: optim.Adam(p, lr=0.3)}, steps=10,
    )  # fmt: skip
    sgd, adam = panels(picture)
    assert sgd.get_title(loc="left") == "SGD" and adam.get_title(loc="left") == "Adam"
    xs, ys = sgd.lines[0].get_data()
    np.testing.assert_allclose(xs, -7 * (1 - 0.095) ** np.arange(11), rtol=1e-5)  # x -= 0.95 * x / 10
    np.testing.assert_allclose(ys, 2 * (1 - 1.9) ** np.arange(11), rtol=1e-5)  # y -= 0.95 * 2 y


# -- layers ----------------------------------------------------------------------------------------------


def test_activations(matplotlib):
    model = net()
    picture = viz.activations(model, lp.randn(50, 2))
    titles = [axes.get_title(loc="left") for axes in panels(picture)]
    assert titles == ["0: Linear", "1: ReLU", "2: Dropout", "3: Linear"]
    notes = panels(picture)[1].texts[0].get_text()
    assert "% zero" in notes
    assert all(not module._hooks or not module._hooks.after for module in model.modules())
    only = viz.activations(model, lp.randn(5, 2), layers=(nn.ReLU,))
    assert len(panels(only)) == 1
    given = panels(viz.activations({"a": lp.ones(4), "b": lp.tensor([1.0, float("nan")])}))
    assert "mean 1, std 0" in given[0].texts[0].get_text() and "1 not finite" in given[1].texts[0].get_text()
    with pytest.raises(LampionError, match="no layer to show"):
        viz.activations(model, lp.randn(5, 2), layers=(nn.GRU if hasattr(nn, "GRU") else nn.Tanh,))


def test_weights_and_gradient_flow(matplotlib, tmp_path):
    model = net()
    names = [name for name, _ in model.named_parameters()]
    assert [axes.get_title(loc="left") for axes in panels(viz.weights(model))] == names
    with pytest.raises(LampionError, match="no parameter has a gradient"):
        viz.gradient_flow(model)
    model[3].bias.requires_grad_(False)
    model(lp.randn(9, 2)).square().sum().backward()
    (axes,) = panels(viz.gradient_flow(model, tmp_path / "g.png"))
    assert [label.get_text() for label in axes.get_yticklabels()] == names
    means = [bar.get_width() for bar in axes.containers[1]][:3]
    expected = [p.grad.abs().mean().item() for _, p in list(model.named_parameters())[:3]]
    assert means == pytest.approx(expected)
    assert [text.get_text() for text in axes.texts] == ["no gradient"]


def test_pictures_are_the_same_each_time(matplotlib, tmp_path):
    def written(name):
        lp.manual_seed(0)
        viz.weights(net(), tmp_path / name)
        return (tmp_path / name).read_bytes()

    assert written("a.png") == written("b.png")
    assert written("a.svg") == written("b.svg")
    picture = viz.weights(net())
    assert picture._repr_png_().startswith(PNG)
    with pytest.raises(LampionError, match="PNG, SVG or PDF"):
        picture.save(tmp_path / "a.bmp")


# -- notebooks -------------------------------------------------------------------------------------------


def well_formed(html):
    assert "<script" not in html and "http" not in html
    return ET.fromstring(f"<div>{html.replace('<details open', '<details').replace(' open>', '>')}</div>")


def cells(html):
    return ["".join(cell.itertext()) for cell in well_formed(html).iter("td")]


@pytest.mark.parametrize("x", [
    lp.zeros(0, 3), lp.tensor(3.5), lp.tensor([True, False]), lp.tensor([1 + 2j]), lp.randn(2, 3, 4),
    lp.ones(2, dtype=lp.bfloat16), lp.randn(30, 30, requires_grad=True) * 2, lp.tensor([float("nan"), 1.0]),
], ids=str)  # fmt: skip
def test_every_tensor_has_a_table(x):
    well_formed(x._repr_html_())
    assert x._repr_markdown_().startswith("**Tensor**")


def test_tensor_html():
    assert cells(lp.tensor([[1.5, 2.0], [3.0, 4.0]])._repr_html_()) == ["1.5", "2", "3", "4"]
    large = cells(lp.arange(400).reshape(20, 20)._repr_html_())
    assert len(large) == 81 and large[0] == "0" and large[-1] == "399"
    text = "".join(
        well_formed(lp.tensor([1.0, float("nan"), 3.0], requires_grad=True)._repr_html_()).itertext()
    )
    for part in ("shape 3", "float32", "range 1 … 3", "mean 2", "NaN 1", "gradient wanted"):
        assert part in text


def test_module_html():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def extra_repr(self):
            return "<script>&"

    html = nn.Sequential(Odd(), nn.BatchNorm1d(2))._repr_html_()
    text = "".join(well_formed(html).itertext())
    for part in ("Sequential 12 parameters", "weight: 2 × 3", "Odd(<script>&)", "running_mean: 2 (buffer)"):
        assert part in text
    markdown = Odd()._repr_markdown_().splitlines()
    assert markdown[-1] == "| layer | Linear | weight 2 × 3; bias 2 | 8 |"


def test_history_html():
    rows = history(30, loss=lambda i: abs(i - 2) + 0.5)
    html = rows._repr_html_()
    assert cells(html)[:4] == ["1", "2.5", "2", "1.5"]
    assert [b.text for b in well_formed(html).iter("b")] == ["History", "0.5"]
    assert len(rows._repr_markdown_().splitlines()) == 2 + 9
    well_formed(History()._repr_html_())
    well_formed(history(2, **{"<b>&": lambda i: "<i>"})._repr_html_())


def test_image(tmp_path):
    picture = viz.image(lp.tensor([[0.0, 1.0], [2.0, 4.0]]), scale=1)
    data = picture.png
    assert data.startswith(PNG)
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at], "big")
    assert zlib.decompress(data[at + 4 : at + 4 + size]) == bytes([0, 0, 64, 0, 128, 255])
    grid = viz.image(lp.rand(5, 3, 4, 4), columns=3, scale=2)
    assert grid.pixels.shape == (9, 14, 3)
    grid.save(tmp_path / "i.png")
    viz.image(lp.tensor([[float("nan"), float("inf")]]))
    assert ET.fromstring(picture._repr_html_().replace('">', '"/>')).tag == "img"
    with pytest.raises(ShapeError, match="no picture"):
        viz.image(lp.zeros(2, 4, 4))


def test_image_can_be_read_by_others(tmp_path):
    pil = pytest.importorskip("PIL.Image")
    pixels = (np.arange(2 * 3 * 3) * 13 % 256).astype(np.uint8).reshape(3, 2, 3)
    viz.image(lp.tensor(pixels), scale=1).save(tmp_path / "i.png")
    with pil.open(tmp_path / "i.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels.transpose(1, 2, 0))
