"""Bags of rows: where offsets say that they begin and end, and offsets that mark no bags."""

import resource

import numpy as np
import pytest

import lampion as lp
from lampion.errors import IndexRangeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import assert_close

W = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
INDEX = [1, 2, 3, 4, 5, 6, 7]
RUNS = pytest.mark.parametrize("run", [lambda f: f, lp.compile], ids=["eager", "compiled"])
MODES = {"sum": np.sum, "mean": np.mean, "max": np.max}


def one_by_one(index, offsets, mode, last):
    """The definition: a slice of the indices for each bag."""
    ends = offsets[1:] if last else [*offsets[1:], len(index)]
    rows = [W[index[start:end]] for start, end in zip(offsets, ends, strict=False)]
    return np.array([MODES[mode](r, 0) if len(r) else np.zeros(3) for r in rows]).reshape(-1, 3)


@RUNS
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "offsets", [[0, 3, 5], [0, 3, 7], [0, 0, 4, 4, 4], [0], [0, 7, 7], [0, 0], [0, 2, 2, 5]], ids=str
)
def test_bags_are_slices(run, mode, last, offsets):
    table = lp.tensor(W).requires_grad_()

    def bags(table, index, offsets):
        out = F.embedding_bag(index, table, offsets, mode=mode, include_last_offset=last)
        return out, *lp.autograd.grad(out.sum(), [table])

    function = run(bags)
    out, slope = function(table, lp.tensor(INDEX), lp.tensor(offsets))
    assert out.shape == (len(offsets) - last, 3)
    assert_close(out, lp.tensor(one_by_one(INDEX, offsets, mode, last).astype(np.float32)), rtol=1e-6)
    used = INDEX[: offsets[-1]] if last else INDEX
    unused = [row for row in range(10) if row not in used]
    assert not slope[lp.tensor(unused)].any()  # indices behind the last end are in no bag
    assert run is not lp.compile or not function.refused


@RUNS
def test_no_bags_and_no_indices(run):
    table = lp.tensor(W)
    bag = run(lambda index, offsets: F.embedding_bag(index, table, offsets, mode="sum"))
    assert bag(lp.tensor(INDEX), lp.zeros(0, dtype=lp.int64)).shape == (0, 3)
    assert bag(lp.zeros(0, dtype=lp.int64), lp.tensor([0, 0])).tolist() == [[0.0] * 3] * 2


@RUNS
def test_many_bags_take_no_table_of_bags_and_indices(run):
    """That table has 2**28 entries here."""
    index = np.random.default_rng(1).integers(0, 10, 1 << 16)
    offsets, table = lp.arange(4096) * 16, lp.tensor(W)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = run(lambda i, o: F.embedding_bag(i, table, o, mode="sum"))(lp.tensor(index), offsets)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert_close(out, lp.tensor(W[index].reshape(4096, 16, 3).sum(1)), rtol=1e-4, atol=1e-5)
    assert grown < 200_000  # KiB


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        ([1, 3], r"offsets\[0\] has to be 0(.|\n)*got: 1"),
        ([-1, 3], r"offsets\[0\] has to be 0(.|\n)*got: -1"),
        ([0, 5, 3], r"offsets decrease(.|\n)*offsets\[2\] >= 5\n  got: 3"),
        ([0, -1], r"offsets decrease(.|\n)*got: -1"),
        ([0, 3, 9], r"greater than the input's length\n.*7 at most\n  got: 9"),
    ],
)
def test_offsets_that_mark_no_bags(mode, last, offsets, message):
    table = lp.tensor(W)

    def bags(index, offsets):
        return F.embedding_bag(index, table, offsets, mode=mode, include_last_offset=last)

    with pytest.raises(OptionError, match=message):
        bags(lp.tensor(INDEX), lp.tensor(offsets))
    compiled = lp.compile(bags)
    assert compiled(lp.tensor(INDEX), lp.arange(len(offsets))).shape == (len(offsets) - last, 3)
    with pytest.raises(IndexRangeError, match="out of range"):
        compiled(lp.tensor(INDEX), lp.tensor(offsets))
    assert compiled.traces == 1 and not compiled.refused


def test_shapes_of_offsets():
    index, table = lp.tensor(INDEX), lp.tensor(W)
    with pytest.raises(ShapeError, match="offsets is a vector"):
        F.embedding_bag(index, table, lp.tensor([[0, 3]]))
    with pytest.raises(ShapeError, match="one offset at least"):
        F.embedding_bag(index, table, lp.zeros(0, dtype=lp.int64), include_last_offset=True)
