"""Tensors out of nothing, and out of Python and NumPy: values, shapes, types."""

import numpy as np
import pytest

import lampion as lp
from lampion.errors import LampionError
from lampion.testing import assert_identical


@pytest.mark.parametrize("function", ["zeros", "ones", "empty"])
def test_filled(function):
    make, value = getattr(lp, function), 1 if function == "ones" else 0
    for shape in ((), (3,), (2, 0), (2, 3)):
        assert_identical(make(*shape), np.full(shape, value, np.float32))
        assert_identical(make(shape), np.full(shape, value, np.float32))
        assert_identical(make(list(shape), dtype=lp.int64), np.full(shape, value))
    assert make(2, requires_grad=True).requires_grad
    assert not make(2).requires_grad


@pytest.mark.parametrize(
    ("args", "dtype"),
    [((5,), "i8"), ((2, 7), "i8"), ((7, 2, -2), "i8"), ((5.0,), "f4"), ((0, 1, 0.25), "f4"), ((3, 3), "i8")],
)
def test_arange(args, dtype):
    assert_identical(lp.arange(*args), np.arange(*args).astype(dtype))
    assert lp.arange(*args, dtype=lp.float64).dtype is lp.float64


def test_full():
    assert_identical(lp.full((2, 3), 2.5), np.full((2, 3), 2.5, np.float32))
    assert_identical(lp.full(3, 7), np.full(3, 7))
    assert_identical(lp.full((), True), np.array(True))
    assert_identical(lp.full_like(lp.ones(2, dtype=lp.int32), 3), np.full(2, 3, np.int32))
    with pytest.raises(LampionError, match="negative"):
        lp.full((2, -1), 0)


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, "i8"), (1.5, "f4"), (True, "?"), ([1, 2], "i8"), ([1, 2.5], "f4"), ([[True], [False]], "?"),
        ([], "f4"), ([[], []], "f4"), (np.float64(1.5), "f8"), (np.ones(2), "f8"), (np.int32([1]), "i4"),
        ((1, (2)), "i8"), (range(3), "i8"), ([np.float32(1), np.float32(2)], "f4"),
    ],
)  # fmt: skip
def test_tensor(data, dtype):
    expected = np.array(data).astype(dtype)
    assert_identical(lp.tensor(data), expected)
    assert_identical(lp.tensor(data, dtype=lp.float64), expected.astype("f8"))


def test_tensor_of_tensors():
    assert_identical(lp.tensor([lp.tensor(1.0), lp.tensor(2.0)]), np.float32([1, 2]))
    x = lp.ones(2, requires_grad=True)
    y = lp.tensor(x)
    assert not y.requires_grad
    y.zero_()
    assert x.tolist() == [1.0, 1.0]


def test_tensor_copies_and_from_numpy_shares():
    array = np.zeros(2)
    copied, shared, as_is = lp.tensor(array), lp.from_numpy(array), lp.as_tensor(array)
    array[0] = 1.0
    assert copied.tolist() == [0.0, 0.0]
    assert shared.tolist() == as_is.tolist() == [1.0, 0.0]
    assert lp.as_tensor(shared) is shared
    assert lp.as_tensor([1, 2]).dtype is lp.int64
    assert lp.as_tensor(array, lp.float32).dtype is lp.float32


def test_the_default_dtype():
    lp.set_default_dtype(lp.float64)
    try:
        made = [lp.tensor(1.5), lp.zeros(1), lp.rand(1), lp.full((), 0.5), lp.tensor([1]) / 2]
        made += [lp.tensor([1]).sin(), lp.tensor([True]) * 0.5, lp.arange(0.5)]
    finally:
        lp.set_default_dtype(lp.float32)
    assert {x.dtype for x in made} == {lp.float64}


def test_nothing_becomes_float64_by_itself():
    x = lp.ones(3)
    results = [
        x * 2, x * 2.5, 2 / x, x**2, x**2.5, x.mean(), x.sum(), x.sin(), lp.tensor([1, 2]) * 1.5, x > 0.5,
        lp.where(x > 0, x, 0.0), lp.tensor([1, 2]).mean(), lp.rand(3), lp.randn(3), x * True, x / 3,
        lp.maximum(x, 0.3), x.amax(), x * lp.tensor(2.0, dtype=lp.float64),
    ]  # fmt: skip
    assert all(y.dtype in (lp.float32, lp.bool) for y in results)
    assert (x * lp.ones(3, dtype=lp.float64)).dtype is lp.float64


def test_out_of_lampion():
    x = lp.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert np.asarray(x).base is None or np.shares_memory(np.asarray(x), x.numpy())
    assert isinstance(x[0, 0].item(), float)
    assert isinstance(lp.tensor(3).item(), int)
    assert [row.tolist() for row in x] == x.tolist()
    assert float(x[0, 1]) == 2.0
    assert int(x[1, 0]) == 3
    assert [10, 20, 30][lp.tensor(1)] == 20
    assert f"{x[0, 1]:.2f}" == "2.00"
    assert np.sum(x.numpy()) == 10.0


def test_attributes():
    x = lp.zeros(2, 3, dtype=lp.float64)
    assert (x.shape, x.ndim, x.dim(), x.numel(), len(x)) == ((2, 3), 2, 2, 6, 2)
    assert (x.size(), x.size(-1), x.dtype, x.device) == ((2, 3), 3, lp.float64, "cpu")
    assert x.is_contiguous()
    assert not x.T.is_contiguous()
    assert x.T.contiguous().is_contiguous()
    assert x.contiguous() is x
