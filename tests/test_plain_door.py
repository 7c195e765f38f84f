"""The door for common visitors leaves what the whole door leaves: results, errors, fields of the tape."""

import inspect

import numpy as np
import pytest

import lampion as lp
from lampion.errors import LampionError
from lampion.primitive import PRIMITIVES, apply, apply_plain

PLAIN = [
    primitive for (home, _), primitive in PRIMITIVES.items()
    if home.startswith("lampion.") and primitive.direct is not None and primitive.saves_only is None
]  # fmt: skip
UNARY = [p for p in PLAIN if len(inspect.signature(p.forward).parameters) == 2]
BINARY = [p for p in PLAIN if len(inspect.signature(p.forward).parameters) == 3]


def fields(result):
    """What a result is, and what is on the tape behind it, in a form that can be compared."""
    node = result._node
    if node is None:
        return result.requires_grad, None
    saved = [id(x) if isinstance(x, np.ndarray) and x is not result._array else type(x) for x in node.saved]
    versions = [None if v is None else (v[0] == result._version or id(v[0]), v[1]) for v in node.versions]
    return (
        result.requires_grad, node.primitive, list(map(id, node.edges)), list(node.shapes), saved,
        versions, node.params, node.output_shape, node.released, node.hooks,
    )  # fmt: skip


def same(primitive, *inputs):
    try:
        whole = apply(primitive, *inputs)
    except (LampionError, TypeError) as error:
        with pytest.raises(type(error)):
            apply_plain(primitive, *inputs)
        return
    plain = apply_plain(primitive, *inputs)
    np.testing.assert_array_equal(plain._array, whole._array)
    assert plain.dtype is whole.dtype
    assert fields(plain) == fields(whole)
    if whole._node is not None:
        assert plain._node.where.line > 0


def visitors():
    """Leaves, computed tensors and views, with and without a gradient."""
    leaf = lp.tensor([0.25, 0.5, 0.75], requires_grad=True)
    yield leaf
    yield lp.tensor([0.75, 0.5, 0.25])
    yield leaf * 0.5
    yield (leaf * 0.5)[:]
    yield lp.tensor(0.5, requires_grad=True)


@pytest.mark.parametrize("primitive", UNARY, ids=lambda p: p.name)
def test_one(primitive):
    for x in visitors():
        same(primitive, x)
        with lp.no_grad():
            same(primitive, x)


@pytest.mark.parametrize("primitive", BINARY, ids=lambda p: p.name)
def test_two(primitive):
    for x in visitors():
        same(primitive, x, 0.5)
        for y in visitors():
            same(primitive, x, y)


def test_there_are_such_primitives():
    assert {"exp", "tanh", "neg"} <= {p.name for p in UNARY}
    assert {"add", "sub", "mul", "div", "maximum"} <= {p.name for p in BINARY}
    assert "pow" not in {p.name for p in PLAIN}, "it is more than one call of NumPy"


def test_shapes_that_do_not_fit_are_explained():
    with pytest.raises(LampionError, match="add: the shapes do not broadcast"):
        lp.ones(3) + lp.ones(4)


def test_inference_tensors_are_refused_and_made():
    with lp.inference_mode():
        x = lp.ones(3) * 2.0
        assert (x + x).is_inference()
    with pytest.raises(LampionError, match="mul"):
        lp.ones(3, requires_grad=True) * x
    (lp.ones(3, requires_grad=True) + x).sum().backward()  # it keeps nothing


def test_numpys_warnings_stay_off_and_come_back():
    np.multiply(np.float32(1), 1)
    assert lp.tensor(1e30).mul(1e30).item() == float("inf")
    with pytest.warns(RuntimeWarning):
        np.multiply(np.array([1e30], np.float32), np.array([1e30], np.float32))
