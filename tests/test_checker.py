"""The checker is tested with planted bugs: each must be caught, by the check that is there for it."""

import numpy as np
import pytest
import test_op_table

import lampion as lp
from lampion.autograd import walk
from lampion.errors import DTypeError, ShapeError
from lampion.ops.define import OPERATIONS, cast_to, elementwise, kernel, reduction
from lampion.primitive import apply
from lampion.testing import (
    At,
    Bad,
    GradientMismatch,
    Row,
    assert_close,
    assert_identical,
    call,
    check_op,
    checks_of,
    gradcheck,
    gradgradcheck,
    numerical_grad,
)  # fmt: skip

rng = np.random.default_rng(0)


def f64(*shape):
    return lp.from_numpy(rng.standard_normal(shape))


def caught(row):
    """The names of the checks that fail."""
    failed, checks = {}, checks_of(row)
    for name, check in checks.items():
        try:
            check(row)
        except Exception as error:
            failed[name] = error
    first = next(iter(failed), "nothing failed")
    with pytest.raises(AssertionError, match=f"^{row.name}: {first}: "):
        check_op(row, skip=tuple(name for name in checks if name != first))
    return failed


# -- a faultless one, to begin with ------------------------------------------------------------------


@elementwise(saves="inputs", inputs="float", public=False)
class square:
    def forward(xp, x): return xp.multiply(x, x)
    def vjp(g, x): return g * (x * 2)


def test_a_right_operation_passes():
    check_op(Row("square", square, lambda x: x * x * 1.0, points=[At(0.0, value=0.0, grad=0.0)]))


# -- wrong gradients ---------------------------------------------------------------------------------


@elementwise(inputs="float", public=False)
class slightly_steep:
    def forward(xp, x): return xp.multiply(x, 2.0)
    def vjp(g): return g * 2.001


def test_a_gradient_of_2_001_where_2_is_right():
    failed = caught(Row("steep", slightly_steep, lambda x: x * 2.0))
    assert {"gradient"} <= set(failed)
    assert "1.0005 times it" in str(failed["gradient"])
    # Its own derivative is consistent, and so are the readings: no other check is to blame.
    assert not {"values", "layouts", "special_values", "interpreted", "compiled"} & set(failed)


@elementwise(saves="inputs", inputs="float", public=False)
class wrong_slope_of_three_squares:
    def forward(xp, x): return x * x * 3.0
    def vjp(g, x): return g * x * 6.01


@elementwise(saves="inputs", inputs="float", public=False)
class cube:
    def forward(xp, x): return x * x * x
    def vjp(g, x): return g * wrong_slope_of_three_squares(x)


def test_a_wrong_second_derivative_with_the_right_first():
    failed = caught(Row("cube", cube, lambda x: x * 1.0 * x * x))
    assert set(failed) == {"double_gradient"}


@elementwise(saves="inputs", inputs="float", public=False)
class forgets_history:
    def forward(xp, x): return xp.sin(x)
    def vjp(g, x): return g * lp.cos(x.detach())


def test_a_gradient_that_is_cut_off_from_its_input():
    failed = caught(Row("sin", forgets_history, np.sin))
    assert set(failed) == {"double_gradient"}


@elementwise(saves="inputs", public=False)
class mixed_up:
    def forward(xp, x, y): return xp.multiply(x, y)
    def vjp(g, x, y): return g * x, g * y


def test_gradients_of_two_inputs_exchanged():
    assert {"gradient", "broadcasting"} <= set(caught(Row("mixed_up", mixed_up, np.multiply)))


@elementwise(inputs="float", public=False)
class one_gradient_missing:
    def forward(xp, x, y): return xp.add(x, y)
    def vjp(g): return g, None


def test_a_missing_gradient():
    failed = caught(Row("half", one_gradient_missing, lambda x, y: x * 1.0 + y))
    assert "input 1" in str(failed["gradient"])
    assert "autograd's slope is 0" in str(failed["gradient"])


@elementwise(inputs="float", public=False)
class gradient_in_float64:
    def forward(xp, x): return xp.multiply(x, 2.0)
    def vjp(g): return cast_to(g, lp.float64) * 2.0


def test_a_gradient_of_the_wrong_dtype():
    failed = caught(Row("wide", gradient_in_float64, lambda x: x * 2.0))
    assert "float32_gradient" in failed
    assert not {"values", "gradient", "double_gradient"} & set(failed)


@elementwise(inputs="float", public=False)
class gradient_of_the_wrong_shape:
    def forward(xp, x): return xp.multiply(x, 1.0)
    def vjp(g): return g.T


def test_a_gradient_of_the_wrong_shape():
    assert "gradient" in caught(Row("turned", gradient_of_the_wrong_shape, lambda x: x * 1.0))


def first_of_each(gradient, shape):
    """A wrong way to undo broadcasting: takes one of the stretched elements where all should be added."""
    have = gradient.shape
    key = tuple(0 for _ in range(len(have) - len(shape)))
    key += tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)
    return gradient[key] if key else gradient


def test_broadcasting_that_is_not_summed_over(monkeypatch):
    monkeypatch.setattr(walk, "fit", first_of_each)
    failed = caught(Row("add", lp.add, np.add))
    assert "broadcasting" in failed
    assert "gradient" not in failed  # shapes that are equal never get there


@reduction(public=False)
class forgets_a_factor:
    def forward(xp, x, axis, keepdims): return xp.mean(x, axis=axis, keepdims=keepdims)
    def combine(xp, a, b): return xp.add(a, b)
    def identity(dtype): return 0
    def vjp(g, axis): return g


def test_a_mean_with_the_gradient_of_a_sum():
    row = Row("mean", forgets_a_factor, lambda x: x.mean(), samples=lambda draw: [call(draw(3, 4))])
    assert "gradient" in caught(row)


def test_a_wrong_slope_at_a_kink():
    row = Row("relu", lambda x: lp.maximum(x, 0.0), lambda x: np.maximum(x, 0.0), avoid=(0.0,),
              points=[At(0.0, value=0.0, grad=0.0)])  # fmt: skip
    assert set(caught(row)) == {"points"}  # maximum gives half of the gradient there


# -- wrong values, types and shapes ------------------------------------------------------------------


@elementwise(inputs="float", public=False)
class always_float64:
    def forward(xp, x): return xp.multiply(x, 2.0).astype(np.float64)
    def vjp(g): return g * 2.0


def test_a_result_of_the_wrong_dtype():
    failed = caught(Row("wide", always_float64, lambda x: x * 2.0))
    assert {"values", "dtypes"} <= set(failed)
    assert "the result has lampion.float64, expected lampion.float32" in str(failed["values"])


@elementwise(inputs="float", public=False)
class one_dimension_more:
    def forward(xp, x): return xp.multiply(x, 2.0)[None]
    def vjp(g): return g * 2.0


def test_a_result_of_the_wrong_shape():
    failed = caught(Row("deep", one_dimension_more, lambda x: x * 2.0))
    assert "the shapes differ: (1, 3, 4), expected (3, 4)" in str(failed["values"])


@elementwise(inputs="float", public=False)
class reads_memory_in_order:
    def forward(xp, x): return xp.multiply(x.ravel(order="K").reshape(x.shape), 2.0)
    def vjp(g): return g * 2.0


def test_an_operation_that_ignores_strides():
    failed = caught(Row("dense", reads_memory_in_order, lambda x: x * 2.0))
    assert "layouts" in failed
    assert not {"values", "gradient"} & set(failed)


@elementwise(inputs="float", public=False)
class overwrites_its_input:
    def forward(xp, x): return xp.add(x, 1.0, out=x)
    def vjp(g): return g


def test_an_operation_that_changes_its_argument():
    failed = caught(Row("greedy", overwrites_its_input, lambda x: x + 1.0))
    assert "arguments afterwards" in str(failed["values"])


@elementwise(saves="inputs", inputs="float", public=False)
class loses_nan:
    def forward(xp, x): return xp.where(x == x, x * 2.0, 0.0)
    def vjp(g, x): return g * 2.0


def test_a_nan_that_gets_lost():
    failed = caught(Row("tidy", loses_nan, lambda x: x * 2.0))
    assert set(failed) == {"special_values"}


@elementwise(inputs="float", public=False)
class needs_an_element:
    def forward(xp, x): return xp.multiply(x, 2.0) + 0 * x.flat[0]
    def vjp(g): return g * 2.0


def test_an_operation_that_fails_on_empty_tensors():
    failed = caught(Row("hungry", needs_an_element, lambda x: x * 2.0))
    assert "float32[0, 3]" in failed["values"].__notes__[0]


@kernel(public=False)
class takes_the_first_type:
    def infer(x, y): return np.broadcast_shapes(x.shape, y.shape), x.dtype
    def forward(xp, x, y): return xp.add(x, y).astype(x.dtype)
    def vjp(g): return g, g

    def call(x, y):
        x = lp.as_tensor(x)
        return apply(takes_the_first_type.primitive, x, lp.as_tensor(y))


def test_a_wrong_promotion():
    failed = caught(Row("first", takes_the_first_type, np.add))
    assert {"mixed_dtypes", "python_numbers"} <= set(failed)
    assert "values" not in failed


def test_python_numbers_that_change_the_type():
    def multiply(x, y):
        return lp.mul(x, lp.as_tensor(y, lp.float64).reshape(1) if isinstance(y, float) else y)

    assert set(caught(Row("wide", multiply, np.multiply))) == {"python_numbers"}


def test_an_operation_that_takes_what_it_should_refuse():
    failed = caught(Row("lax", lp.exp, np.exp, dtypes=(lp.float32, lp.float64)))
    assert "lampion.bool are taken, but not among the row's dtypes" in str(failed["dtypes"])


# -- wrong errors ------------------------------------------------------------------------------------


def refusing(error):
    def op(x):
        if x.dtype is lp.bool:
            raise error
        return x * 2.0

    return op


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (Bad(ShapeError, np.array([True]), match="booleans"), "expected ShapeError, got DTypeError"),
        (Bad(DTypeError, np.array([True]), match="boolean tensors"), "no 'boolean tensors' in the message"),
        (Bad(DTypeError, np.float32([1]), match="booleans"), "no error; expected DTypeError"),
    ],
)
def test_wrong_errors(bad, complaint):
    op = refusing(DTypeError("op", "booleans"))
    row = Row("op", op, lambda x: x * 2.0, dtypes=(lp.float32, lp.float64), errors=[bad])
    assert complaint in str(caught(row)["errors"])


def test_a_bare_error_is_not_enough():
    row = Row("op", refusing(KeyError("booleans")), lambda x: x * 2.0, dtypes=(lp.float32, lp.float64))
    assert "refused with a bare KeyError" in str(caught(row)["dtypes"])


# -- wrong readings ----------------------------------------------------------------------------------


@elementwise(inputs="float", public=False)
class lowered_wrongly:
    def forward(xp, x): return xp.multiply(x, 2.0)
    def lower(k, x): return x * 2.00001
    def vjp(g): return g * 2.0


def test_machine_code_that_computes_something_else():
    failed = caught(Row("odd", lowered_wrongly, lambda x: x * 2.0))
    assert set(failed) == {"compiled"}
    assert "further from the float64 value than eager allows" in str(failed["compiled"])


def test_a_value_that_tracing_remembers():
    calls = []

    def op(x):
        calls.append(0)
        return x + float(len(calls))  # another number in each call

    with pytest.raises(AssertionError, match="interpreted"):
        checks_of(Row("count", op, np.copy))["interpreted"](Row("count", op, np.copy, orders=0))


# -- the table itself --------------------------------------------------------------------------------


def test_a_public_operation_without_a_row(monkeypatch):
    monkeypatch.setitem(OPERATIONS, "cubed_root", square)
    with pytest.raises(AssertionError, match="need a row"):
        test_op_table.test_every_public_operation_has_a_row()


# -- gradcheck ---------------------------------------------------------------------------------------


def test_gradcheck_passes_and_fails():
    x = f64(3, 4)
    assert gradcheck(lambda x: (x * x).sum(0), x)
    assert gradcheck(lambda x, n: (x**n, x.exp()), [x, 3])
    assert gradgradcheck(lambda x: x**4, x)
    assert gradcheck(slightly_steep, x, raise_exception=False) is False
    with pytest.raises(GradientMismatch, match=r"input 0: .* the finite difference"):
        gradcheck(slightly_steep, x)


def test_gradcheck_names_the_element_when_asked():
    def wrong_at_one_place(x):
        factor = np.ones(5)
        factor[3] = 1.001
        exact = x * x
        return exact.detach() + (exact - exact.detach()) * lp.from_numpy(factor)

    with pytest.raises(GradientMismatch):
        gradcheck(wrong_at_one_place, f64(5))
    with pytest.raises(GradientMismatch, match=r"element \[3\]"):
        gradcheck(wrong_at_one_place, f64(5), exhaustive=True)


def test_gradcheck_sees_a_function_that_is_not_one():
    draws = np.random.default_rng(0)
    with pytest.raises(GradientMismatch, match="different results"):
        gradcheck(lambda x: x * draws.random(), f64(3))
    with pytest.raises(GradientMismatch, match="changes its input 0"), lp.no_grad():
        gradcheck(lambda x: x.detach().mul_(2.0), f64(3))


def test_gradcheck_needs_float64():
    with pytest.raises(ValueError, match="no input is a float64 tensor"):
        gradcheck(lp.exp, lp.ones(3))


def test_gradcheck_leaves_its_inputs_alone():
    x = f64(3).requires_grad_()
    before = x.tolist()
    gradcheck(lp.exp, x)
    assert x.tolist() == before
    assert x.grad is None


def test_gradcheck_sees_a_detached_result():
    with pytest.raises(GradientMismatch, match="autograd's slope is 0"):
        gradcheck(lambda x: x.detach() * 2.0, f64(3))


def test_gradcheck_of_large_and_small_functions():
    x = f64(50)
    assert gradcheck(lambda x: x * 1e12, x)
    assert gradcheck(lambda x: x * 1e-12, x)
    with pytest.raises(GradientMismatch):
        gradcheck(lambda x: slightly_steep(x) * 1e12, x)


def test_numerical_grad():
    x, y = f64(2, 3), f64(3)
    dx, dy = numerical_grad(lambda x, y: x * y, [x, y])
    assert_close(dx, np.broadcast_to(y.numpy(), (2, 3)), rtol=1e-8, atol=1e-8)
    assert_close(dy, x.numpy().sum(0), rtol=1e-8, atol=1e-8)


# -- comparing ---------------------------------------------------------------------------------------


def test_assert_close():
    assert_close(lp.tensor([1.0, 2.0]), lp.tensor([1.0, 2.000001]))
    assert_close([lp.tensor(1), 2.0, {"a": np.ones(2)}], [lp.tensor(1), 2.0, {"a": np.ones(2)}])
    assert_close(np.inf, np.inf)
    assert_close(lp.tensor(np.nan), lp.tensor(np.nan), equal_nan=True)
    assert_close(lp.zeros(0, 3), lp.zeros(0, 3))


@pytest.mark.parametrize(
    ("actual", "expected", "complaint"),
    [
        (lp.tensor([1.0, 2.0]), lp.tensor([1.0, 2.5]), r"1 of 2 .*=1.3e-06.*\n.*0.5 at \[1\]: 2.0, exp"),
        (lp.ones(2), lp.ones(3), r"shapes differ: \(2,\), expected \(3,\)"),
        (lp.ones(2), lp.ones(2, dtype=lp.float64), "dtypes differ: float32, expected float64"),
        (lp.tensor(np.nan), lp.tensor(np.nan), "nan"),
        (lp.tensor([2**53]), lp.tensor([2**53 + 1]), "1 of 1"),
        (lp.tensor([True]), lp.tensor([False]), "True, expected False"),
        (np.inf, -np.inf, "inf"),
        (1.0, np.inf, "inf"),
        (np.inf, 1.0, "inf"),
        ([1.0], [1.0, 2.0], "lengths differ: 1, expected 2"),
        ({"a": 1.0}, {"b": 1.0}, r"keys differ: \['a'\], expected \['b'\]"),
        ([lp.ones(1), lp.ones(1)], [lp.ones(1), lp.zeros(1)], r"^\[1\]: 1 of 1"),
    ],
)
def test_assert_close_fails(actual, expected, complaint):
    with pytest.raises(AssertionError, match=complaint):
        assert_close(actual, expected)


def test_assert_identical():
    assert_identical(np.float32([np.nan, 0.0]), np.float32([-np.nan, 0.0]))
    with pytest.raises(AssertionError, match="not the same bits"):
        assert_identical(np.float32([0.0]), np.float32([-0.0]))
    with pytest.raises(AssertionError, match="not the same bits"):
        assert_identical(np.float32([1.0]), np.nextafter(np.float32([1.0]), 2))
    with pytest.raises(AssertionError, match="dtypes differ"):
        assert_identical(np.float32([1.0]), np.float64([1.0]))
