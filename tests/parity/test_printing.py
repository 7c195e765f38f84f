"""Tensors print as PyTorch's do, to the character (but for the names of gradient functions)."""

import re

import numpy as np
import pytest

import lampion as lp

torch = pytest.importorskip("torch")

from both import to_lampion  # noqa: E402

RNG = np.random.default_rng(0)
NAN, INF = float("nan"), float("inf")


def arrays():
    normal = RNG.standard_normal
    yield from (
        np.float32(1.5),
        np.float32(2),
        np.float32(NAN),
        np.float32(-INF),
        np.int64(7),
        np.bool_(True),
    )
    yield from (np.float64(1e-9), np.float32(1e9), np.float32(12345.678), np.complex64(1 - 2j), np.float32(0))
    yield from (
        [1.0, 2.0],
        [1.0, NAN, INF],
        [0.5, -2],
        [0.0, 0.0],
        [1, 1000, 1001.0],
        [1e-5, 1],
        [1e8, 1.5e8],
    )
    yield from (
        [1e9, 1.0],
        [-1.0, 10, 100],
        [True, False],
        [1, -20, 300],
        [0.001, 1.0],
        [0.01, 11.0],
        [NAN, NAN],
    )
    yield from ([INF, 1.5], [-0.0, 1.0], [123456.0, 7.0], [1.0, 999.0], [99999999.0], [1e-4], [9.9e-5])
    for shape in (
        (3, 4),
        (2, 3, 4),
        (2, 1, 2, 2),
        (0,),
        (0, 3),
        (2, 0, 3),
        (1, 1),
        (5, 50),
        (1000,),
        (1001,),
    ):
        yield normal(shape)
        yield (normal(shape) * 100).astype(np.int64)
        yield normal(shape) > 0
    for shape in ((1001, 2), (8, 200), (3, 4, 100), (20, 20, 20), (2000,), (7, 7, 30)):
        yield normal(shape).astype(np.float32)
        yield np.arange(np.prod(shape)).reshape(shape)
    yield normal(20) * 10.0 ** RNG.integers(-8, 8, 20)
    yield normal((3, 2)) + 1j * normal((3, 2))
    yield np.array([1 + 2j, 3 - 4j, NAN + 1j], np.complex64)
    yield normal(9) + 1000j * normal(9)
    yield np.array([1, 2], np.uint8)
    yield np.array([1.5, 70000], np.float64)
    yield np.array([1.5, 2.25], np.float16)


CASES = [np.asarray(a) for a in arrays()]
TYPES = {"default": torch.float32, "float64": torch.float64}


def same(ours, theirs):
    expected = re.sub(r"torch\.", "lampion.", repr(theirs))
    assert repr(ours) == expected, f"\n{ours!r}\nPyTorch:\n{expected}"


@pytest.mark.parametrize("number", range(len(CASES)))
def test_as_pytorch_prints(number):
    theirs = torch.from_numpy(CASES[number].copy())
    same(to_lampion(theirs), theirs)
    if CASES[number].dtype == np.float64:
        same(to_lampion(theirs.float()), theirs.float())
        same(to_lampion(theirs.bfloat16()), theirs.bfloat16())
        same(to_lampion(theirs.requires_grad_()), theirs)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": 2}, {"threshold": 5}, {"threshold": 5, "edgeitems": 1}, {"linewidth": 40},
        {"sci_mode": True}, {"sci_mode": False}, {"profile": "short"}, {"profile": "full"},
    ],
    ids=str,
)  # fmt: skip
def test_options(options):
    torch.set_printoptions(**options)
    lp.set_printoptions(**options)
    try:
        for case in (c for c in CASES if c.dtype in (np.float32, np.int64, np.bool_)):
            theirs = torch.from_numpy(case.copy())
            same(to_lampion(theirs), theirs)
    finally:
        torch.set_printoptions(profile="default")
        lp.set_printoptions(profile="default")


def test_formats():
    for value in (1.5, 3):
        assert f"{lp.tensor(value):.2f}" == f"{torch.tensor(value):.2f}"
        assert f"{lp.tensor([value])}" == f"{torch.tensor([value])}"
        assert str(lp.tensor(value)) == str(torch.tensor(value))
