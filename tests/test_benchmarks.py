"""The benchmarks' workloads: each loads, and trains in Lampion what it trains in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.contenders import CONTENDERS, TORCH_OPTIM
from benchmarks.harness import Times

TRAININGS = [name for name in workloads.MODULES if hasattr(workloads.load(name), "TRAINING")]
#: The losses of correct contenders lie some 1e-7 apart; a step that does other work is far beyond this.
TOLERANCE = {1: 2e-6, 2: 1e-5, 10: 2e-5}


@pytest.mark.parametrize("name", workloads.MODULES)
def test_workload_loads(name: str) -> None:
    workload = workloads.load(name)
    assert callable(workload.run)
    if name in TRAININGS:
        training = workload.TRAINING
        assert training.name == name
        assert set(training.checked) <= set(training.tolerance)
        assert any(contender.takes(training) for contender in CONTENDERS.values())


@pytest.mark.parametrize("name", TRAININGS)
def test_targets_name_the_contenders(name: str) -> None:
    """Each workload reads its targets from whoever took part."""
    training = workloads.load(name).TRAINING
    targets = getattr(workloads.load(name), "targets", None)
    if targets is None:  # another workload's
        return
    takers = [contender for contender, how in CONTENDERS.items() if how.takes(training)]
    assert targets(Times({contender: [100.0, 110.0] for contender in takers}), 400.0)
    assert targets(Times({}), 400.0) == []
    assert "torch one-graph" not in TORCH_OPTIM


@pytest.mark.parametrize(
    "name, steps",
    [
        ("spiral", 10), ("mlp", 10), ("mlp-deep", 2), ("chargpt", 2), ("chargpt-written", 1), ("adam", 1),
        ("adam-many", 2), ("cross-entropy", 1),
        ("deepconvnet", 1), ("lenet", 2), ("conv-bn-relu", 1),
    ],
)  # fmt: skip
def test_lampion_trains_what_pytorch_trains(name: str, steps: int) -> None:
    pytest.importorskip("torch")
    from benchmarks.worker import Worker

    checked = [1, steps] if steps > 1 else [1]
    ours = Worker("lampion eager", name).check(checked)["losses"]
    theirs = Worker("torch eager", name).check(checked)["losses"]
    for step in checked:
        assert ours[str(step)] == pytest.approx(theirs[str(step)], rel=TOLERANCE[step]), step


@pytest.mark.parametrize("name", ["lenet", "conv-bn-relu"])
def test_jax_learns_from_the_same_targets(name: str) -> None:
    """Labels become JAX's integers; targets that are fractions must stay so."""
    pytest.importorskip("jax")
    from benchmarks.contenders.jax_ import JaxSession

    x, y = workloads.load(name).TRAINING.batch_number(0)
    prepared = JaxSession.prepare(None, (x, y))  # type: ignore[arg-type]  # it looks at the arrays alone
    for ours, theirs in zip((x, y), prepared, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "model"), [("deepconvnet", "DeepConvNet"), ("lenet", "LeNet"), ("resnet18", "resnet18")]
)
def test_networks_for_images_are_those_of_vision(name: str, model: str) -> None:
    """The same layers in the same order, but for the first of ResNet-18, which is for small images."""
    import lampion

    ours = list(workloads.load(name).TRAINING.shapes.values())
    found = getattr(lampion.vision.models, model)(num_classes=10)
    theirs = [tuple(p.shape) for p in found.parameters()]
    start = 1 if name == "resnet18" else 0
    assert ours[start:] == theirs[start:]
    written = workloads.load(name).TRAINING.network(lampion.nn)
    assert [tuple(p.shape) for p in written.parameters()] == ours


def test_convolutions_of_the_grid(tmp_path: Path) -> None:
    """Names are unique, and libraries compute the same: taps in another order are noticed."""
    pytest.importorskip("torch")
    from benchmarks.workloads import conv_grid

    assert len(set(map(str, conv_grid.SHAPES))) == len(conv_grid.SHAPES)
    name = "3x3 13>40 16x17x17 stride 2"
    ours, theirs = (
        conv_grid.measure(library, name, 1, 0.001, tmp_path)[name] for library in ("lampion", "torch")
    )
    for kernel in conv_grid.KERNELS:
        assert ours[kernel]["us"] > 0
        assert ours[kernel]["apart"] == 0
        assert theirs[kernel]["apart"] <= 1
    (shape,) = (shape for shape in conv_grid.SHAPES if str(shape) == name)
    place = tmp_path / f"{conv_grid.SHAPES.index(shape)}-filters.npy"
    np.save(place, np.load(place).transpose(0, 1, 3, 2))
    with pytest.raises(ArithmeticError, match=r"13>40.*filters: torch is .* tolerances away"):
        conv_grid.measure("torch", name, 1, 0.001, tmp_path)
