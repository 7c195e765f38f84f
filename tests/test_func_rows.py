"""Every row of the op table in two more readings: a batch (`vmap`) and a direction (`jvp`)."""

import gc
import importlib
from pathlib import Path

import numpy as np
import pytest

import lampion as lp
from lampion.errors import LampionError
from lampion.func import batching, forward, jvp, vjp, vmap
from lampion.primitive import Primitive
from lampion.testing import assert_close
from lampion.testing.compare import flatten
from lampion.testing.rows import arrays_in, with_arrays

ROWS = [
    row
    for path in sorted(Path(__file__).parent.glob("rows_*.py"))
    for row in importlib.import_module(path.stem).ROWS
]
#: What has to look at values, or at memory, to know what to do: refused with a message.
VALUES = "how the result looks depends on values"
MEMORY = "strides are those of a whole tensor in memory"
NOT_IN_DIRECTIONS = dict.fromkeys(["as_strided", "as_strided_scatter", "as_strided_copy"], MEMORY)
NOT_IN_BATCHES = {
    "__getitem__: a mask": VALUES, "__getitem__: masks among others": VALUES, "masked_select": VALUES,
    "__setitem__: a part for each true element": VALUES, "index_put: by a mask": VALUES,
    "masked_scatter": VALUES, "nonzero": VALUES, "nonzero: as a tuple": VALUES, "argwhere": VALUES,
    "where: of a condition": VALUES, "repeat_interleave: by a tensor": VALUES,
    "unique": VALUES, "unique: slices": VALUES, "unique_consecutive": VALUES, "bincount": VALUES,
    "linalg.ldl_factor": VALUES, **NOT_IN_DIRECTIONS,
}  # fmt: skip


def sample_of(row, seed):
    """A call with arrays, the smallest of the first ones that are not empty."""
    calls = [s for s in row.calls(seed=seed)[:4] if any(a.size for a in arrays_in((s.args, s.kwargs)))]
    return calls[0] if calls else None


def run(row, arrays, sample):
    """The results of the row's operation with these tensors for the call's arrays."""
    args, kwargs = with_arrays((sample.args, tuple(sample.kwargs.items())), arrays)
    return tuple(x for x in flatten(row.op(*args, **dict(kwargs))) if isinstance(x, lp.Tensor))


def arrays_of(sample):
    return arrays_in((sample.args, tuple(sample.kwargs.items())))


def refuses(reason, attempt):
    with pytest.raises(LampionError) as caught:
        attempt()
    assert str(caught.value).startswith(("vmap", "jvp"))


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_batch_is_a_loop(row):
    samples = [sample_of(row, seed) for seed in (0, 1)]
    if samples[0] is None:
        pytest.skip("no call with elements")
    examples = [arrays_of(sample) for sample in samples if sample is not None]
    if [a.shape for a in examples[0]] != [a.shape for a in examples[-1]] or str(samples[0]) != str(
        samples[1]
    ):
        examples[1] = examples[0]
    batch = [lp.from_numpy(np.stack([a, b])) for a, b in zip(*examples, strict=True)]

    def attempt():
        return vmap(lambda *xs: run(row, xs, samples[0]))(*batch)

    if row.name in NOT_IN_BATCHES:
        refuses(NOT_IN_BATCHES[row.name], attempt)
        return
    found = attempt()
    singles = [run(row, [lp.from_numpy(a.copy()) for a in arrays], samples[0]) for arrays in examples]
    for result, *ones in zip(found, *singles, strict=True):
        assert result.dtype is ones[0].dtype
        expected = np.stack([one.detach().numpy() for one in ones])
        # BLAS may add in another order where it is handed more rows: some ulps of float64.
        assert_close(result, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("row", [row for row in ROWS if row.orders], ids=str)
def test_a_direction_agrees_with_the_gradient(row):
    """<v, jvp(u)> = <vjp(v), u> for random u and v."""
    sample = sample_of(row, 0)
    if sample is None:
        pytest.skip("no call with elements")
    arrays = arrays_of(sample)
    moving = [i for i, a in enumerate(arrays) if a.dtype.kind in "fc"]
    if not moving:
        pytest.skip("no call with floats")
    rng = np.random.default_rng(0)

    def function(*xs):
        everything = [lp.from_numpy(a.copy()) for a in arrays]
        for i, x in zip(moving, xs, strict=True):
            everything[i] = x
        return tuple(x for x in run(row, everything, sample) if x.dtype.is_inexact)

    primals = tuple(lp.from_numpy(arrays[i].copy()) for i in moving)
    directions = tuple(like(rng, x) for x in primals)
    if row.name in NOT_IN_DIRECTIONS:
        refuses(NOT_IN_DIRECTIONS[row.name], lambda: jvp(function, primals, directions))
        return
    values, moved = jvp(function, primals, directions)
    again, back = vjp(function, *primals)
    for value, other in zip(values, again, strict=True):
        assert_close(value, other.detach(), rtol=1e-12, atol=1e-12, equal_nan=True)
    seeds = tuple(like(rng, x) for x in again)
    slopes = back(seeds)
    left = sum(inner(a, b) for a, b in zip(seeds, moved, strict=True))
    right = sum(inner(a, b) for a, b in zip(slopes, directions, strict=True))
    size = sum(
        abs(inner(abs(a.detach().numpy()), abs(b.numpy()))) for a, b in zip(slopes, directions, strict=True)
    )
    assert left == pytest.approx(right, rel=1e-9, abs=1e-10 * (1 + size))


def test_the_tables_name_what_there_is():
    """A primitive that is renamed would fall back to a loop without anybody noticing."""
    names = {thing.name for thing in gc.get_objects() if type(thing) is Primitive}
    tables = (
        batching.ALIGNED,
        batching.LEADING,
        batching.ALONG,
        batching.RULES,
        batching.MOVES,
        forward.LINEAR,
    )
    assert set().union(*tables) - names == set()


def like(rng, x):
    array = rng.standard_normal(x.shape)
    if x.dtype.is_complex:
        array = array + 1j * rng.standard_normal(x.shape)
    return lp.from_numpy(np.asarray(array).astype(x.dtype.numpy))


def inner(a, b):
    a, b = (x.detach().numpy() if isinstance(x, lp.Tensor) else x for x in (a, b))
    return float(np.sum(np.conj(a) * b).real)
