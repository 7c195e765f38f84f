"""Every example of the books runs, and shows what it says that it shows."""

import importlib.util
import inspect
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from examples_of_sequences import CASES as OF_SEQUENCES

import lampion

FOLDER = Path(__file__).resolve().parent.parent / "examples"
PNG = b"\x89PNG\r\n\x1a\n"
CASES = dict(OF_SEQUENCES)

for package in ("matplotlib", "sklearn"):
    pytest.importorskip(package, reason="draws the examples' pictures, or brings the digits")


def load(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[file.stem]
    return module


def example(name, pictures=(), **options):
    """The test of an example: what its main() returned, called with these options, is what it is given."""

    def note(check):
        CASES[name] = (check, pictures, options)
        return check

    return note


def test_every_example_has_a_check():
    names = {path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("*/*/*.py")}
    assert names == CASES.keys()


def test_every_example_is_in_the_index():
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in CASES if f"({name}.py)" not in index] == []
    assert index.count(".py)") == len(CASES)


def test_examples_are_short_and_say_what_to_see():
    for name in CASES:
        text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 110, name
        assert text.startswith(('"""Volume ', '"""Grokking')) and "\nSee: " in text, name


def test_options_come_from_main(tmp_path):
    words = ["from_scratch_1/chapter_4/gradient_field", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent), "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-m", "examples"], env=environment, capture_output=True, text=True,
                          cwd=FOLDER.parent, check=True)  # fmt: skip
    assert len(done.stdout.splitlines()) == len(CASES) and words[0] in done.stdout
    subprocess.run([sys.executable, "-m", "examples", *words], env=environment, check=True, cwd=FOLDER.parent)
    assert (tmp_path / "gradient_field.png").exists()


def parameters():
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("*/*/*.py"))


@pytest.mark.parametrize("name", parameters())
def test_example(name, tmp_path, monkeypatch):
    check, pictures, options = CASES[name]
    main = load(FOLDER / f"{name}.py").main
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    if "out" in inspect.signature(main).parameters:
        options = {"out": str(out), **options}
    found = main(**options)
    drawn = {path.name for path in out.iterdir()} if out.exists() else set()
    assert drawn == set(pictures)
    for path in pictures:
        data = (out / path).read_bytes()
        assert len(data) > 200 and (not path.endswith(".png") or data.startswith(PNG)), path
    assert {path.name for path in tmp_path.iterdir()} <= {"out"}  # nothing lies about elsewhere
    check(found)


def close(got, expected, rtol=1e-6, atol=0.0):
    got = got.numpy() if isinstance(got, lampion.Tensor) else got
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


# -- volume 1 --------------------------------------------------------------------------------------------


@example("from_scratch_1/chapter_1/plot_functions", ["sine_and_cosine.png"])
def _(found):
    assert found["stretched"].tolist() == [[10, 40], [30, 80]] and found["large"].tolist() == [3, 4]


@example("from_scratch_1/chapter_2/gates")
def _(found):
    assert found == {"AND": [0, 0, 0, 1], "NAND": [1, 1, 1, 0], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}


@example("from_scratch_1/chapter_3/activation_functions", ["activation_functions.png"])
def _(found):
    assert found["step"] == [0, 1, 1] and found["ReLU"] == [0, 1, 2]
    close(found["sigmoid"], [0.26894142, 0.73105858, 0.88079708])


@example("from_scratch_1/chapter_3/three_layer_inference")
def _(found):
    close(found["one"], [0.31682708, 0.69627909])
    close(found["probabilities"], [0.01821127, 0.24519181, 0.73659691])
    close(found["batch"], found["apart"].numpy(), rtol=1e-6)  # a batch may be added up in another order
    close(found["batch"][0], found["one"].numpy())


@example("from_scratch_1/chapter_3/digits_in_batches", ["digits.png"])
def _(found):
    assert found["accuracy"] > 0.88 and found["different"] == 0


@example("from_scratch_1/chapter_4/loss_functions")
def _(found):
    close(list(found.values()), [0.0975, -math.log(0.6), 0.5975, -math.log(0.1)])


@example("from_scratch_1/chapter_4/numerical_differentiation", ["tangents.png"])
def _(found):
    close([found["slopes"][5.0], found["slopes"][10.0]], [0.2, 0.3], rtol=1e-9)
    close(found["gradient"], [6, 8], rtol=1e-9)


@example("from_scratch_1/chapter_4/gradient_field", ["gradient_field.png"])
def _(found):
    assert found["points"].shape == (289, 2)
    assert (found["downhill"] == -2 * found["points"]).all()


@example("from_scratch_1/chapter_4/gradient_descent", ["gradient_descent.png"])
def _(found):
    close(found["lr 0.1"], [-6.11110793e-10, 8.14814391e-10], rtol=1e-6)
    assert found["lr 10"].abs().min() > 1e100 and found["path"].shape == (21, 2)
    close(found["lr 1e-10"], [-3, 4], rtol=1e-7)


@example("from_scratch_1/chapter_4/train_by_differences", steps=40)
def _(found):
    assert found["losses"][-1] < 0.65 and found["evaluations"] == 40 * 2 * 32


@example("from_scratch_1/chapter_5/apples_and_oranges")
def _(found):
    close(list(found.values()), [715, 2.2, 110, 3.3, 165, 650])


@example("from_scratch_1/chapter_5/gradient_check", hidden=2)
def _(found):
    assert len(found) == 4 and max(found.values()) < 1e-9


@example("from_scratch_1/chapter_5/train_by_backpropagation", ["two_layer_network.png"], epochs=8)
def _(found):
    assert len(found["test"]) == 9 and found["test"][0] < 0.3 < 0.88 < found["test"][-1]


@example("from_scratch_1/chapter_6/optimizer_paths", ["optimizer_paths.png"])
def _(found):
    ends = {name: path[-1] for name, path in found.items()}
    assert set(found) == {"SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"}
    close(ends["SGD"], [-7 * 0.905**30, 2 * 0.9**30], rtol=1e-5)  # x *= 1 - 0.95 / 10, y *= 1 - 0.95 * 2
    assert all(path.shape == (31, 2) and path[-1].norm() < 1.2 for path in found.values())
    turns = {name: int((path[1:, 1] * path[:-1, 1] < 0).sum()) for name, path in found.items()}
    assert turns["SGD"] == 30 and turns["AdaGrad"] == 0  # from one side of the valley to the other


@example("from_scratch_1/chapter_6/optimizer_race", ["optimizer_race.png"], epochs=6)
def _(found):
    ends = {name: np.mean(losses[-5:]) for name, losses in found.items()}
    assert len({losses[0] for losses in found.values()}) == 1  # the same start
    assert max(ends["Momentum"], ends["AdaGrad"], ends["Adam"]) < 1.0 < 2.0 < ends["SGD"]


@example("from_scratch_1/chapter_6/activations_by_initial_weights", ["activations_by_initial_weights.png"])
def _(found):
    assert min(found["sigmoid", "1"]) > 0.4 and max(found["sigmoid", "0.01"]) < 0.03
    assert min(found["sigmoid", "Xavier"]) > 0.08
    assert found["relu", "0.01"][-1] < 1e-4 and found["relu", "Xavier"][-1] < 0.5 * found["relu", "Xavier"][0]
    assert found["relu", "He"][-1] > 0.7 * found["relu", "He"][0]


@example("from_scratch_1/chapter_6/initial_weights_race", ["initial_weights_race.png"], epochs=8)
def _(found):
    small, xavier, he = (found[name][-1] for name in ("0.01", "Xavier", "He"))
    assert abs(small - math.log(10)) < 0.02 and he < 0.8 < xavier < 2.1


@example("from_scratch_1/chapter_6/batch_normalization", ["batch_normalization.png"], epochs=4, sizes=1)
def _(found):
    for curves in found.values():
        assert curves["with"][-1] > 0.93 and curves["without"][-1] < 0.2


@example("from_scratch_1/chapter_6/overfitting", ["overfitting.png"], epochs=120)
def _(found):
    ends = {name: (history["training"][-1], history["test"][-1]) for name, history in found.items()}
    assert ends["neither"][0] > 0.97
    for way in ("weight decay", "dropout"):
        assert ends[way][0] - ends[way][1] < ends["neither"][0] - ends["neither"][1] - 0.1
        assert ends[way][1] > ends["neither"][1]


@example("from_scratch_1/chapter_6/hyperparameter_search", ["hyperparameter_search.png"], trials=8)
def _(found):
    assert len(found) == 8 and found[0][0] > 0.85 and 0.03 < found[0][1] < 1
    assert [score for score, _, _ in found] == sorted((score for score, _, _ in found), reverse=True)
    assert min(score for score, _, _ in found) < 0.5


@example("from_scratch_1/chapter_7/convolution_by_im2col")
def _(found):
    assert found["columns"] == (10, 75, 9) and found["pooling equal"]
    assert max(found["apart"], found["strided apart"]) < 2e-5  # sums of 75 products of float32
    assert found["gradients apart"] < 2e-6


@example("from_scratch_1/chapter_7/filters_on_an_image", ["filters_on_an_image.png"])
def _(found):
    image = found["photograph"].numpy()
    assert found["blurred"].shape == (image.shape[0] - 2, image.shape[1] - 2)
    close(found["blurred"][5, 7], image[5:8, 7:10].mean())
    assert found["sharpened"].std() > found["photograph"].std() > found["blurred"].std()
    close(found["upright edges"][0, 0], image[:3, 0] @ [1, 2, 1] - image[:3, 2] @ [1, 2, 1], atol=1e-6)


@example("from_scratch_1/chapter_7/convnet_on_digits", ["convnet_filters.png", "convnet_maps.png"], epochs=5)
def _(found):
    assert found["right"] and found["accuracy"] > 0.85 and found["moved"] > 0.01


@example("from_scratch_1/chapter_8/half_precision", epochs=4)
def _(found):
    exact, half, brain = found.values()
    assert exact["accuracy"] > 0.85 and half["bytes"] == brain["bytes"] == exact["bytes"] / 2
    assert half["changed"] <= 2 and brain["changed"] <= 5  # of 359: those that were as good as undecided
    assert 0 < half["apart"] < brain["apart"]


# -- volume 3 --------------------------------------------------------------------------------------------


@example("from_scratch_3/steps_01_to_10/manual_backpropagation")
def _(found):
    assert found["by hand"] == 3.297442541400256
    close(found["by difference"], found["by hand"], rtol=1e-7)


@example("from_scratch_3/steps_01_to_10/automatic_backpropagation")
def _(found):
    assert found["gradient"] == 3.297442541400256
    assert found["links"] == ["<MulBackward>", "<ExpBackward>", "<MulBackward>", "None"]
    assert found["right"] and not found["wrong"]


@example("from_scratch_3/steps_11_to_24/reuse_and_order")
def _(found):
    assert list(found.values()) == [4, 6, 2, 5, 32, 64]


@example("from_scratch_3/steps_11_to_24/memory_and_modes")
def _(found):
    assert found["kept for the walk back"] > 0 and found["kept without a result"] == 0
    assert found["asked for"] and not found["kept anyway"] and not found["recorded under no_grad"]


@example("from_scratch_3/steps_11_to_24/operators")
def _(found):
    close(found["2 - x"], (-1, -1))
    close(found["2 / x"], (2 / 3, -2 / 9))
    close(found["2 ** x"], (8, 8 * math.log(2)))
    close(found["x ** x"], (27, 27 * (math.log(3) + 1)))
    close(found["7 % x"], (1, -2))
    close(found["[x, x] @ [x, 1]"], (12, 7))
    assert [found[name] for name in ("x < 4", "4 < x", "x == 3", "x != 3")] == [True, False, True, False]


@example("from_scratch_3/steps_11_to_24/sphere_matyas_goldstein")
def _(found):
    assert found["goldstein_price"] == (-5376, 8064) and found["sphere"] == (2, 2)
    close(found["matyas"], (0.04, 0.04), rtol=1e-14)


@example("from_scratch_3/steps_25_to_36/draw_graph", ["graph_sphere.svg", "graph_goldstein_price.svg",
         "graph_tanh_1.svg", "graph_tanh_2.svg", "graph_tanh_3.svg"])  # fmt: skip
def _(found):
    assert len(found["sphere"].boxes) == 5 and found["sphere"].dot.count("->") == 6
    sizes = [len(found[name].boxes) for name in ("tanh_1", "tanh_2", "tanh_3")]
    assert sizes == sorted(set(sizes))
    assert len(found["goldstein_price"].boxes) == 40  # 38 operations, x and y
    assert "5376" in found["goldstein_price"].svg and "8064" in found["goldstein_price"].svg


@example("from_scratch_3/steps_25_to_36/taylor_sine")
def _(found):
    assert [row["terms"] for row in found.values()] == [3, 4, 6, 8]
    for threshold, row in found.items():
        assert abs(row["y"] - math.sqrt(0.5)) < threshold
        assert (
            abs(row["slope"] - math.sqrt(0.5)) < 10 * threshold
        )  # a term's slope has a factor 2i + 1, over x


@example("from_scratch_3/steps_25_to_36/rosenbrock", ["rosenbrock.png"])
def _(found):
    close(found["descent"][-1], [0.6837118569138317, 0.4659526837427042], rtol=1e-10)
    close(found["newton"][-1], [1, 1], rtol=1e-12)


@example("from_scratch_3/steps_25_to_36/newton")
def _(found):
    for way in found.values():
        assert way[0] == 2.0 and abs(way[6] - 1) > 1e-13 and way[7] == 1.0
    assert found["by hand"] == found["automatic"]


@example("from_scratch_3/steps_25_to_36/derivatives_of_sine_and_tanh", ["derivatives.png"])
def _(found):
    x = found["x"][0].numpy()
    for number, curve in enumerate(found["sin"]):
        close(curve, np.sin(x + number * np.pi / 2), atol=1e-13)
    t = np.tanh(x)
    slope = 1 - t**2
    expected = [t, slope, -2 * t * slope, (6 * t**2 - 2) * slope, (16 * t - 24 * t**3) * slope]
    for curve, right in zip(found["tanh"], expected, strict=True):
        close(curve, right, rtol=1e-7, atol=1e-12)  # 1 - t**2 cancels at the ends


@example("from_scratch_3/steps_25_to_36/gradient_of_gradient")
def _(found):
    assert found["slope"] == 100
    close(found["product"], [51, 78, 121])
    close(found["whole"], [51, 78, 121])


@example("from_scratch_3/steps_37_to_51/tensor_operations")
def _(found):
    assert found["reshape"].tolist() == found["transpose"].tolist() == [[1, 1, 1]] * 2
    assert found["sum of rows"].tolist() == [[1, 10, 100]] * 2
    assert found["row stretched over x"].tolist() == [2, 2, 2]
    assert found["x of x @ weight"].tolist() == [[4, 4, 4]] * 2
    assert found["weight of x @ weight"].tolist() == [[5] * 4, [7] * 4, [9] * 4]
    assert found["batch of x @ batch"].tolist() == [[[5] * 4, [7] * 4, [9] * 4]] * 5


@example("from_scratch_3/steps_37_to_51/linear_regression", ["linear_regression.png"])
def _(found):
    close([found["weight"], found["bias"]], [2, 5.5], atol=0.15)
    close(found["loss"], 1 / 12, atol=0.02)


@example("from_scratch_3/steps_37_to_51/nonlinear_regression", ["nonlinear_regression.png"], steps=500)
def _(found):
    assert set(found) == {"by hand", "layers", "model", "optimizer"}
    close(list(found.values()), found["by hand"], rtol=1e-5)  # 500 steps of float32, added up in other orders
    assert found["by hand"] < 0.35


@example("from_scratch_3/steps_37_to_51/softmax_cross_entropy")
def _(found):
    close(found["probabilities"].sum(1), [1, 1, 1, 1])
    close(found["loss"], found["by hand"].item())
    close(found["gradient"], found["expected"].numpy(), rtol=1e-5, atol=1e-8)


@example("from_scratch_3/steps_37_to_51/spiral", ["spiral.png"], epochs=120)
def _(found):
    assert found["accuracy"] > 0.95 and found["loss"] < 0.25


@example("from_scratch_3/steps_37_to_51/digits_with_relu")
def _(found):
    assert found["ReLU, Adam"] > 0.92 and found["sigmoid, SGD"] < 0.5


@example("from_scratch_3/steps_52_to_54/save_and_load", ["weights.safetensors"])
def _(found):
    assert not found["before"] and found["after"]
    assert "missing: weight, bias" in found["refusal"] and "unexpected: " in found["refusal"]


@example("from_scratch_3/steps_52_to_54/dropout")
def _(found):
    # 10,000 coins: 0.5 with a standard deviation of 0.005.
    assert abs(found["zeros while training"] - 0.5) < 0.025 and found["largest while training"] == 2
    assert abs(found["mean while training"] - 1) < 0.05 and found["changed while testing"] == 0


@example("from_scratch_3/steps_55_to_58/convolution_as_product", ["edges.png"])
def _(found):
    assert list(found["sizes"].values()) == [(2, 4, 5, 7), (2, 4, 7, 9), (2, 4, 4, 5)]
    assert found["largest difference"] < 1e-12 and found["pooling"]


@example("from_scratch_3/steps_55_to_58/trained_networks", model="squeezenet1_1")
def _(found):
    assert tuple(found["x"].shape) == (1, 3, 224, 224) and -2.2 < found["x"].min() < found["x"].max() < 2.7
    shares = [share for _, share in found["answers"]]
    assert shares == sorted(shares, reverse=True) and len({number for number, _ in found["answers"]}) == 5


# -- Grokking --------------------------------------------------------------------------------------------


@example("grokking/chapter_13/creators")
def _(found):
    assert found["f"] == "<SumBackward>" and found["d"] == "<AddBackward>" and found["leaf"]
    assert (
        found["a"].tolist() == [1] * 5 and found["b"].tolist() == [2] * 5 and found["c"].tolist() == [-1] * 5
    )


@example("grokking/chapter_13/train_by_autograd")
def _(found):
    close(found["with_optimizer"], found["by_hand"], rtol=1e-5)
    close(found["with_layers"], found["by_hand"], rtol=1e-5)
    assert found["by_hand"][-1] < 0.01


@example("grokking/chapter_13/embedding")
def _(found):
    assert found["picked"] == [0, 2, 2, 0, 0] and found["answers"] == [0, 1, 0, 1]
    assert found["mean squared error"][-1] < 0.01 and found["cross-entropy"][-1] < 0.05


@example("grokking/chapter_13/next_word")
def _(found):
    assert found["likely"] == found["truth"]
    assert 0.5 < found["losses"][-1] < 0.75  # log 2 = 0.69
