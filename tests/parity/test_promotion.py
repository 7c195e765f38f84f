"""Which type comes out: all pairs of types, with and without dimensions, and Python numbers."""

import itertools
import warnings

import pytest

import lampion as lp
from lampion import dtype as dtypes
from lampion.testing.rows import SWEEP, promoted

torch = pytest.importorskip("torch")

from both import TYPES  # noqa: E402

PAIRS = list(itertools.combinations_with_replacement(TYPES, 2))
BINARY = ["add", "mul", "div", "maximum", "eq", "lt"]


def ones(dtype, ndim):
    return torch.ones((2,) * ndim, dtype=dtype)


def ours(tensor):
    return lp.from_numpy(tensor.numpy())


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=lambda dtype: str(dtype).partition(".")[2])
def test_pairs_of_types(first, second):
    assert dtypes.promote(TYPES[first], TYPES[second]) is TYPES[torch.promote_types(first, second)]
    for left, right in itertools.product((0, 1), (0, 1)):
        for x, y in ((ones(first, left), ones(second, right)), (ones(second, left), ones(first, right))):
            for name in BINARY:
                expected = TYPES[getattr(torch, name)(x, y).dtype]
                assert getattr(lp, name)(ours(x), ours(y)).dtype is expected, f"{name}({x.dtype}, {y.dtype})"


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: str(dtype).partition(".")[2])
@pytest.mark.parametrize("number", [True, 2, 0.5])
@pytest.mark.parametrize("ndim", [0, 1])
def test_numbers(dtype, number, ndim):
    x = ones(dtype, ndim)
    for name in ("add", "mul", "div", "eq", "lt"):
        expected = TYPES[getattr(torch, name)(x, number).dtype]
        assert getattr(lp, name)(ours(x), number).dtype is expected
        assert getattr(lp, name)(number, ours(x)).dtype is expected
    if dtype is not torch.bool or not isinstance(number, bool):
        assert lp.pow(ours(x), number).dtype is TYPES[torch.pow(x, number).dtype]
    if dtype is not torch.bool and not isinstance(number, bool):
        assert lp.sub(ours(x), number).dtype is TYPES[torch.sub(x, number).dtype]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert lp.where(ours(x > 0), ours(x), number).dtype is TYPES[torch.where(x > 0, x, number).dtype]


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "argmax", "exp", "sqrt", "neg", "relu", "sigmoid"])
def test_one_argument(name):
    for theirs, dtype in TYPES.items():
        try:
            expected = TYPES[getattr(torch, name)(ones(theirs, 1)).dtype]
        except RuntimeError:
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
