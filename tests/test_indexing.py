"""``x[key]`` and ``x[key] = value`` against NumPy and PyTorch: every form of key, and random ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lampion as lp
from lampion.errors import InplaceError
from lampion.testing import assert_close, assert_identical

try:
    import torch
except ImportError:  # the comparison with NumPy is made anyway
    torch = None

X = np.arange(24.0).reshape(2, 3, 4)
ROWS, COLUMN = np.array([1, 0, -1]), np.array([[2], [-3]])
MASK = X[0] % 3 == 1  # (3, 4)
KEYS = {
    "integer": 1, "numpy integer": np.int64(-1), "several": (1, -1, 2), "slice": slice(1, None), "...": ...,
    "empty tuple": (), "None": (None, 1, None), "... in between": (0, ..., 1), "step": (slice(None),
    slice(0, 9, 2)),
    "list": [1, 0, 0], "empty list": [], "range": (slice(None), range(2)), "tuple in a tuple": (slice(None),
    (0, 2)),
    "array": ROWS, "two arrays": (ROWS, ROWS), "broadcast": (ROWS, COLUMN), "apart": (ROWS, slice(None),
    ROWS),
    "apart by None": (ROWS, None, ROWS), "behind a slice": (slice(None), ROWS), "last": (..., COLUMN),
    "nested list": [[0, 1], [1, 0]], "0-d array": np.array(1), "0-d beside array": (np.array(1),
    slice(None), ROWS),
    "mask": X > 11, "mask of the last": (..., X[0, 0] > 1), "mask of two": (slice(None), MASK),
    "mask row": X[:, 0, 0] > 5,
    "list of booleans": [True, False], "mask and array": (X[:, 0, 0] > 5, np.array([2])), "True": True,
    "False": False,
    "True and array": (True, slice(None), ROWS), "0-d mask": np.array(True), "all false": X > 99,
    "0 and mask": (0, MASK),
    "mask and None": (slice(None), None, MASK), "int32": ROWS.astype(np.int32), "several apart": (ROWS,
    slice(1), None, ROWS),
}  # fmt: skip
#: PyTorch takes integers first, and leaves the rest to the tensors; NumPy lets them broadcast with arrays.
NOT_NUMPYS = {"0-d beside array"}


def for_lampion(key):
    if isinstance(key, tuple):
        return tuple(map(for_lampion, key))
    return lp.from_numpy(key) if isinstance(key, np.ndarray) else key


def for_torch(key):
    if isinstance(key, tuple):
        return tuple(map(for_torch, key))
    if isinstance(key, range | list):
        return torch.tensor(list(key), dtype=None if len(key) else torch.int64)
    return torch.from_numpy(key) if isinstance(key, np.ndarray) else key


def shares(a, b):
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


@pytest.mark.parametrize("name", KEYS)
def test_reading_as_numpy(name):
    if name in NOT_NUMPYS:
        pytest.skip("NumPy lets integers broadcast with arrays")
    found = lp.from_numpy(X)[for_lampion(KEYS[name])]
    assert_identical(found, np.asarray(X[KEYS[name]]))


@pytest.mark.parametrize("name", KEYS)
def test_writing_as_numpy(name):
    if name in NOT_NUMPYS:
        pytest.skip("NumPy lets integers broadcast with arrays")
    shape = X[KEYS[name]].shape
    for value in (
        7.0,
        np.float64(3),
        -np.arange(1.0, 1 + shape[-1] if shape else 2)[: shape[-1] if shape else 1],
    ):
        expected, x = X.copy(), lp.from_numpy(X.copy())
        expected[KEYS[name]] = value if shape or np.ndim(value) == 0 else value[0]
        x[for_lampion(KEYS[name])] = lp.from_numpy(value) if isinstance(value, np.ndarray) else float(value)
        if name in ("nested list", "list", "array", "broadcast", "int32") and np.ndim(value):
            continue  # an element is named twice: which value stays is not defined
        assert_identical(x, expected)


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("name", KEYS)
def test_as_pytorch(name):
    compare_read(X, KEYS[name])


def compare_read(array, key):
    x, y = lp.from_numpy(array.copy()).requires_grad_(), torch.from_numpy(array.copy()).requires_grad_()
    mine, theirs = x[for_lampion(key)], y[for_torch(key)]
    assert_identical(mine, theirs.detach().numpy())
    assert (mine._base is x) is (shares(theirs, y) and theirs.numel() > 0) or not mine.numel()
    if mine.numel():
        weights = np.cos(np.arange(mine.numel())).reshape(mine.shape)
        (mine * lp.from_numpy(weights)).sum().backward()
        (theirs * torch.from_numpy(weights)).sum().backward()
        assert_close(x.grad, y.grad.numpy())


def compare_write(array, key, value):
    """The result, and the gradients of what was written to and of what was written."""
    results = []
    for library, convert, wrap in ((lp, for_lampion, lp.from_numpy), (torch, for_torch, torch.from_numpy)):
        x, v = wrap(array.copy()).requires_grad_(), wrap(value.copy()).requires_grad_()
        target = x * 1
        target[convert(key)] = v
        weights = wrap(np.cos(np.arange(array.size, dtype=array.dtype)).reshape(array.shape))
        loss = (target * target * weights).sum()
        grads = library.autograd.grad(loss, (x, v), create_graph=True)
        more = library.autograd.grad(
            (grads[0] * grads[0]).sum() + (grads[1] * grads[1]).sum(), (x, v), allow_unused=True
        )
        results.append([target.detach().numpy(), *(g.detach().numpy() for g in grads)])
        results[-1] += [
            np.zeros_like(a) if g is None else g.numpy() for a, g in zip((array, value), more, strict=True)
        ]
        untracked = wrap(array.copy())
        untracked[convert(key)] = v.detach()
        results[-1].append(untracked.numpy())
    for a, b in zip(*results, strict=True):
        assert_close(a, b)


# -- random keys -----------------------------------------------------------------------------------------


@st.composite
def problems(draw, unique=False):
    """An array's shape and a key for it; with `unique`, one that names no element twice."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=0, max_size=4)))
    parts, axis, tensors, exact = [], 0, 0, False  # exact: behind ... all dimensions must be used
    common = draw(st.lists(st.integers(1, 3), min_size=0, max_size=2))  # what index tensors broadcast to
    dots = draw(st.integers(0, len(shape))) if draw(st.booleans()) else None
    while axis < len(shape):
        if dots is not None and axis >= dots:
            parts.append(...)
            axis += draw(st.integers(0, len(shape) - axis))
            dots, exact = None, True
            continue
        n = shape[axis]
        kind = draw(st.sampled_from(["int", "slice", "none", "tensor", "mask", "stop", "list"]))
        if kind == "none" and len(parts) < 6:
            parts.append(None)
            continue
        if kind == "stop" and not exact:
            break
        if kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            bound = st.none() | st.integers(-n - 1, n + 1)
            parts.append(slice(draw(bound), draw(bound), draw(st.none() | st.integers(1, 3))))
        elif kind == "mask" and not tensors:
            size = draw(st.integers(1, len(shape) - axis))
            covered = shape[axis : axis + size]
            truth = draw(
                st.lists(st.booleans(), min_size=int(np.prod(covered)), max_size=int(np.prod(covered)))
            )
            parts.append(np.array(truth).reshape(covered))
            axis += size - 1
            tensors += 9  # others would have to have as many elements as the mask is true
        elif kind == "list" and not tensors and not unique:
            parts.append(draw(st.lists(st.integers(-n, n - 1), min_size=1, max_size=3)))
            tensors += 9
        elif tensors < 9:
            own = [draw(st.sampled_from([1, m])) for m in common]
            own = own[draw(st.integers(0, len(own))) :]
            if unique:
                own = [draw(st.integers(1, n))] if not tensors else []
                at = np.array(
                    draw(st.permutations(range(n)))[: own[0]] if own else draw(st.integers(-n, n - 1))
                )
            else:
                size = int(np.prod(own, dtype=int))
                at = np.array(draw(st.lists(st.integers(-n, n - 1), min_size=size, max_size=size))).reshape(
                    own
                )
            parts.append(at.astype(np.int64))
            tensors += 1
        else:
            parts.append(slice(None))
        axis += 1
    if dots is not None:
        parts.append(...)
    key = parts[0] if len(parts) == 1 and draw(st.booleans()) else tuple(parts)
    return shape, key


def numbers(shape):
    return np.sin(np.arange(1, 1 + np.prod(shape, dtype=int), dtype=np.float64)).reshape(shape)


@pytest.mark.skipif(torch is None, reason="needs torch")
@settings(max_examples=300, deadline=None)
@given(problems())
def test_random_reads(problem):
    shape, key = problem
    compare_read(numbers(shape), key)


@pytest.mark.skipif(torch is None, reason="needs torch")
@settings(max_examples=200, deadline=None)
@given(problems(unique=True), st.data())
def test_random_writes(problem, data):
    shape, key = problem
    array = numbers(shape)
    place = torch.from_numpy(array)[for_torch(key)].shape
    kept = data.draw(st.integers(0, len(place)))
    value = tuple(data.draw(st.sampled_from([1, n])) for n in place[kept:])
    compare_write(array, key, np.asarray(numbers(value) + 2))


@settings(max_examples=40, deadline=None)
@given(problems())
def test_random_reads_compiled(problem):
    """Index tensors are arguments: their values are not known when the function is recorded."""
    shape, key = problem
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts):
        return  # how many elements a mask picks depends on its values
    arrays = [part for part in parts if isinstance(part, np.ndarray)]

    def read(x, *indices):
        given = iter(indices)
        return x[tuple(next(given) if isinstance(part, np.ndarray) else part for part in parts)] * 1

    x, indices = lp.from_numpy(numbers(shape)), [lp.from_numpy(a) for a in arrays]
    expected = read(x, *indices)
    for reading in ("interpreted", "compiled"):
        assert_identical(run_as(reading, read, x, *indices), expected, label=reading)


@settings(max_examples=40, deadline=None)
@given(problems(unique=True))
def test_random_writes_compiled(problem):
    """With the gradients of what is written to, and of what is written."""
    shape, key = problem
    parts = key if isinstance(key, tuple) else (key,)
    if any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts):
        return
    arrays = [part for part in parts if isinstance(part, np.ndarray)]

    def write(x, value, *indices):
        given = iter(indices)
        x, value = x.detach().requires_grad_(), value.detach().requires_grad_()
        target = x * 1
        target[tuple(next(given) if isinstance(part, np.ndarray) else part for part in parts)] = value
        return target.detach(), *lp.autograd.grad((target * target * target).sum(), (x, value))

    indices = [lp.from_numpy(a) for a in arrays]

    def fresh():
        return lp.from_numpy(numbers(shape)), lp.from_numpy(np.array(3.0))

    expected = write(*fresh(), *indices)
    for reading in ("interpreted", "compiled"):
        # Sums of up to 256 gradients, which the two may add up in another order.
        assert_close(run_as(reading, write, *fresh(), *indices), expected, rtol=1e-12, label=reading)


def run_as(reading, function, *args):
    pytest.importorskip("llvmlite")
    from lampion.compiler.function import run_as

    return run_as(reading, function, *args)


# -- what is special ---------------------------------------------------------------------------------------


def test_slices_go_backwards_as_in_numpy():
    x = lp.from_numpy(X.copy())
    view = x[::-1, 2:0:-1, ::-2]
    assert_identical(view, X[::-1, 2:0:-1, ::-2])
    view[0] = 0.0
    expected = X.copy()
    expected[1, 2:0:-1, ::-2] = 0
    assert_identical(x, expected)


def test_a_single_index_tensor_gives_a_view():
    x = lp.zeros(2, 3)
    row = x[lp.tensor(1)]
    row += 1
    assert x.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_while_tracing_such_a_view_is_not_written_to():
    """It would be a copy there."""

    def step(x, i):
        y = x * 1
        row = y[i]
        row += 1
        return y

    x, i = lp.zeros(2, 3), lp.tensor(1)
    with pytest.warns(RuntimeWarning, match="made a copy"):
        assert lp.compile(step)(x, i).tolist() == step(x, i).tolist()


def test_a_number_where_a_mask_is_true_compiles():
    def step(x):
        y = x * 1
        y[x > 1] = -1.0
        y[:, 0][x[:, 0] < 0] = 5
        return y

    x = lp.from_numpy(numbers((4, 3)) * 3)
    for reading in ("interpreted", "compiled"):
        assert_identical(run_as(reading, step, x), step(x))


def test_writing_converts_as_copy_does():
    x = lp.zeros(3, dtype=lp.int64)
    x[lp.tensor([0, 2])] = lp.tensor([1.9, -2.9])
    assert x.tolist() == [1, 0, -2]
    x[1:] = lp.tensor(3.5)
    assert x.tolist() == [1, 3, 3]


def test_value_may_have_leading_dimensions_of_size_1():
    x = lp.zeros(2, 3)
    x[0] = lp.ones(1, 3)
    x[lp.tensor([True, False]), 1:] = lp.full((1, 2), 2.0)
    assert x.tolist() == [[1, 2, 2], [0, 0, 0]]


def test_writing_bumps_the_version_and_respects_leaves():
    x = lp.ones(3, requires_grad=True)
    for key in (0, slice(1), lp.tensor([1]), lp.tensor([True, False, True])):
        with pytest.raises(InplaceError, match=r" leaf (.*)cannot be changed in place|such a leaf cannot"):
            x[key] = 1.0
    y = x * 2
    z = y * y
    y[lp.tensor([0])] = 1.0
    with pytest.raises(lp.errors.OverwrittenError):
        z.sum().backward()
    with lp.no_grad():
        x[lp.tensor([0])] = 5.0
    assert x.tolist() == [5, 1, 1]


def test_an_expanded_tensor_is_not_written_to():
    for key in (0, lp.tensor([0]), lp.tensor([True, False])):
        with pytest.raises(InplaceError, match="share one place"):
            lp.zeros(1, 3).expand(2, 3)[key] = 1.0


def test_tuples_of_several_tensors_name_what_is_wrong():
    x = lp.zeros(3, 4)
    with pytest.raises(IndexError, match=r"index 7 is out of range(.|\n)*-4 to 3 along dim 1"):
        x[lp.tensor([0, 1]), lp.tensor([0, 7])] = 1.0
    with pytest.raises(IndexError, match="may appear only once"):
        x[..., 0, ...]
    with pytest.raises(IndexError, match="put several indices into a tuple"):
        x[[slice(None), 0]]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ["index_select", "index_add", "index_copy", "embedding", "vmap"])
def test_slices_are_not_counted_from_the_end(name, compiled):
    """A label of -1 is a mistake there, as in PyTorch: it does not mean the last row. x[i] may ask for it."""
    x = lp.arange(6.0).reshape(3, 2)
    call = {
        "index_select": lambda i: x.index_select(0, i),
        "index_add": lambda i: x.index_add(0, i, x[:2]),
        "index_copy": lambda i: x.index_copy(0, i, x[:2]),
        "embedding": lambda i: lp.nn.functional.embedding(i, x),
        "vmap": lambda i: lp.vmap(lambda column: column.index_select(0, i), 1)(x),
    }[name]
    call = lp.compile(call) if compiled else call
    call(lp.tensor([0, 2]))
    with pytest.raises(lp.errors.LampionError, match=r"index -1 is out of range.*\n  expected: 0 to 2"):
        call(lp.tensor([0, -1]))
    assert x[lp.tensor([-1])].tolist() == [[4.0, 5.0]]
