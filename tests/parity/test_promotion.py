"""Which type comes out: all pairs of types, with and without dimensions, and Python numbers."""

import itertools
import warnings

import numpy as np
import pytest

import lampion as lp
from lampion import dtype as dtypes
from lampion.errors import DTypeError
from lampion.testing.rows import SWEEP, promoted

torch = pytest.importorskip("torch")

from both import TYPES, to_lampion  # noqa: E402

PAIRS = list(itertools.combinations_with_replacement(TYPES, 2))
BINARY = ["add", "mul", "div", "maximum", "eq", "lt"]


def ones(dtype, ndim):
    return torch.ones((2,) * ndim, dtype=dtype)


def ours(tensor):
    return to_lampion(tensor)


def result_type(first, second):
    """PyTorch's answer; where it has none, the integer type that holds both (None: there is none)."""
    try:
        return TYPES[torch.promote_types(first, second)]
    except RuntimeError:
        pair = {TYPES[first], TYPES[second]}
        if any(dtype.is_complex for dtype in pair):
            return next(dtype for dtype in pair if dtype.is_complex)
        if lp.uint64 in pair and any(dtype.kind == "i" for dtype in pair):
            return None
        return dtypes.of(np.promote_types(*(dtype.numpy for dtype in pair)))


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda dtype: str(dtype).partition(".")[2])
def test_pairs_of_types(first, second):
    both = result_type(first, second)
    if both is None:
        with pytest.raises(DTypeError, match="no integer type holds the values of both"):
            lp.promote_types(TYPES[first], TYPES[second])
        return
    assert lp.promote_types(TYPES[first], TYPES[second]) is both
    for left, right in itertools.product((0, 1), (0, 1)):
        for x, y in ((ones(first, left), ones(second, right)), (ones(second, left), ones(first, right))):
            for name in BINARY:
                try:
                    expected = TYPES.get(getattr(torch, name)(x, y).dtype, lp.complex64)  # for complex32
                except (RuntimeError, NotImplementedError):
                    continue  # an order of complex numbers; types that PyTorch's kernels lack
                assert getattr(lp, name)(ours(x), ours(y)).dtype is expected, f"{name}({x.dtype}, {y.dtype})"


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: str(dtype).partition(".")[2])
@pytest.mark.parametrize("number", [True, 2, 0.5, 1j])
@pytest.mark.parametrize("ndim", [0, 1])
def test_numbers(dtype, number, ndim):
    x = ones(dtype, ndim)
    if dtype in (torch.uint16, torch.uint32, torch.uint64) or (dtype is torch.float16 and number == 1j):
        return  # PyTorch refuses nearly all of it
    for name in ("add", "mul", "div", "eq", "lt"):
        if name == "lt" and (dtype.is_complex or isinstance(number, complex)):
            continue
        expected = TYPES.get(getattr(torch, name)(x, number).dtype, lp.complex64)  # for complex32
        assert getattr(lp, name)(ours(x), number).dtype is expected
        assert getattr(lp, name)(number, ours(x)).dtype is expected
    if dtype is not torch.bool or not isinstance(number, bool):
        assert lp.pow(ours(x), number).dtype is TYPES.get(torch.pow(x, number).dtype, lp.complex64)
    if dtype is not torch.bool and not isinstance(number, bool):
        assert lp.sub(ours(x), number).dtype is TYPES.get(torch.sub(x, number).dtype, lp.complex64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = torch.where(x != 0, x, number).dtype
        assert lp.where(ours(x != 0), ours(x), number).dtype is TYPES.get(theirs, lp.complex64)


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "argmax", "exp", "sqrt", "neg", "relu", "sigmoid"])
def test_one_argument(name):
    for theirs, dtype in TYPES.items():
        try:
            expected = TYPES[getattr(torch, name)(ones(theirs, 1)).dtype]
        except (RuntimeError, NotImplementedError):
            continue  # PyTorch refuses; Lampion may do more (the mean of integers)
        assert getattr(lp, name)(lp.ones(2, dtype=dtype)).dtype is expected


def test_the_rule_that_the_op_table_expects_is_pytorchs():
    """`lampion.testing` states the rule once more, independently of `lampion.dtype`: it must be right too."""
    known = {ours: theirs for theirs, ours in TYPES.items()}
    for first, second, left, right in itertools.product(SWEEP, SWEEP, (0, 1), (0, 1)):
        x, y = ones(known[first], left), ones(known[second], right)
        assert promoted(ours(x), ours(y)) is TYPES[torch.result_type(x, y)]
    for first, number, left in itertools.product(SWEEP, (True, 2, 0.5), (0, 1)):
        x = ones(known[first], left)
        assert promoted(ours(x), number) is TYPES[torch.result_type(x, number)]
