"""The array API standard, 2024.12: names, signatures, types and values, beside its strict implementation."""

import inspect
import itertools
import math

import numpy as np
import pytest
from array_api_calls import (
    ALL,
    BITS,
    BOOL,
    COMPLEX,
    CREATION,
    FFT,
    INF,
    INTEGERS,
    LINALG,
    LINEAR,
    MANIPULATION,
    NAN,
    NUMERIC,
    ORDERED,
    REALS,
    SEARCHING,
    STATISTICAL,
    SYMMETRIC,
    WIDE,
    data,
)  # fmt: skip

import lampion as lp
from lampion import array_api as xp
from lampion.testing import assert_close

# Only as a reference: where it is not installed, what stands in the standard's text is tested all the same.
strict = pytest.importorskip("array_api_strict")


@pytest.fixture(autouse=True, scope="module")
def version():
    strict.set_array_api_strict_flags(api_version="2024.12")
    yield
    strict.reset_array_api_strict_flags()


def both(thing, module):
    """Arrays as those of one of the two modules; types by name."""
    if isinstance(thing, np.ndarray):
        return module.asarray(thing.copy())
    if isinstance(thing, np.dtype):
        return getattr(module, thing.name)
    if isinstance(thing, tuple | list):
        return type(thing)(both(item, module) for item in thing)
    return thing


def same(ours, theirs, tolerance=0.0):
    if isinstance(theirs, tuple | list):
        assert type(ours) is type(theirs) or type(ours).__name__ == type(theirs).__name__
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, tolerance)
        return
    assert isinstance(ours, lp.Tensor)
    expected = np.asarray(theirs._array)
    assert ours.dtype is lp.dtype.of(expected.dtype), f"{ours.dtype}, expected {expected.dtype}"
    assert ours.shape == expected.shape
    assert_close(ours, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


def check(name, *args, home="", tolerance=None, **kwargs):
    """The same call in both: one type, one shape, and values to a few units in the last place."""
    ours, theirs = (getattr(m, home) if home else m for m in (xp, strict))
    with np.errstate(all="ignore"):
        expected = getattr(theirs, name)(
            *both(args, strict), **{k: both(v, strict) for k, v in kwargs.items()}
        )
    got = getattr(ours, name)(*both(args, xp), **{k: both(v, xp) for k, v in kwargs.items()})
    floats = [x.dtype for x in np_arrays(args) if x.dtype.kind in "fc"]
    digits = min((np.finfo(d).precision for d in floats), default=6)
    same(got, expected, 10.0 ** -(digits - 1) if tolerance is None else tolerance)


def np_arrays(thing):
    if isinstance(thing, np.ndarray):
        return [thing]
    return [x for item in thing for x in np_arrays(item)] if isinstance(thing, tuple | list) else []


# -- names and signatures --------------------------------------------------------------------------------

NEWER = {"broadcast_shapes", "isin", "Device"}  # of 2025.12; and the type of strict's devices


@pytest.mark.parametrize("home", ["", "linalg", "fft"])
def test_names_and_signatures(home):
    ours, theirs = (getattr(m, home) if home else m for m in (xp, strict))
    names = [n for n in theirs.__all__ if "strict" not in n.lower() and n not in NEWER]
    assert [n for n in names if not hasattr(ours, n)] == []
    for name in names:
        function = getattr(theirs, name)
        if not callable(function) or name in ALL:
            continue
        mine = inspect.signature(getattr(ours, name)).parameters.values()
        wanted = inspect.signature(function).parameters.values()
        assert [(p.name, p.kind) for p in mine] == [(p.name, p.kind) for p in wanted], name
        for p, q in zip(mine, wanted, strict=True):
            if "Undef" in repr(q.default) or name == "expand_dims":
                continue
            assert p.default == q.default, f"{name}: {p.name}"


def test_the_tensor_names_its_namespace():
    x = lp.ones(2)
    assert x.__array_namespace__() is x.__array_namespace__(api_version="2024.12") is xp
    with pytest.raises(ValueError, match=r"array API version '1999.1'; Lampion follows 2024.12"):
        x.__array_namespace__(api_version="1999.1")
    assert x.to_device("cpu") is x
    for name in ("dtype", "device", "mT", "ndim", "shape", "size", "T"):
        assert hasattr(lp.ones(2, 2), name)


# -- elementwise -----------------------------------------------------------------------------------------

FLOATING = [*REALS, *COMPLEX]
UNARY = {
    **dict.fromkeys(("abs", "negative", "positive", "sign", "square"), NUMERIC),
    **dict.fromkeys(("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "expm1", "log",
                     "log10", "log1p", "log2", "reciprocal", "sin", "sinh", "sqrt", "tan", "tanh"), FLOATING),
    **dict.fromkeys(("ceil", "floor", "trunc"), ORDERED), "round": NUMERIC,
    **dict.fromkeys(("conj",), FLOATING[2:]), **dict.fromkeys(("real", "imag"), COMPLEX),
    **dict.fromkeys(("isfinite", "isinf", "isnan"), NUMERIC), "signbit": REALS, "logical_not": ["bool"],
    "bitwise_invert": BITS,
}  # fmt: skip
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, -2.5, 3.0, INF, -INF, NAN, 100.0, -100.0]


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    for dtype in UNARY[name]:
        check(name, data(dtype, 2, 3))
        check(name, data(dtype))
        check(name, data(dtype, 0, 2))


REAL_UNARY = [n for n, dtypes in UNARY.items() if "float64" in dtypes]


@pytest.mark.parametrize("name", REAL_UNARY)
def test_special_values(name):
    x = np.array(SPECIAL)
    check(name, x)
    with np.errstate(all="ignore"):
        wanted = getattr(strict, name)(strict.asarray(x))
    if wanted.dtype == strict.float64:
        got, expected = getattr(xp, name)(xp.asarray(x)).numpy(), np.asarray(wanted._array)
        zeros = expected == 0
        assert (np.signbit(got) == np.signbit(expected))[zeros].all(), "the sign of a zero"


BINARY = {
    **dict.fromkeys(("add", "multiply", "subtract"), NUMERIC),
    **dict.fromkeys(("divide",), FLOATING), **dict.fromkeys(("equal", "not_equal"), ALL),
    **dict.fromkeys(("atan2", "copysign", "hypot", "logaddexp", "nextafter"), REALS),
    **dict.fromkeys(("greater", "greater_equal", "less", "less_equal", "maximum", "minimum", "floor_divide",
                     "remainder"), ORDERED),
    **dict.fromkeys(("bitwise_and", "bitwise_or", "bitwise_xor"), BITS),
    **dict.fromkeys(("logical_and", "logical_or", "logical_xor"), BOOL),
    "bitwise_left_shift": INTEGERS, "bitwise_right_shift": INTEGERS, "pow": NUMERIC,
}  # fmt: skip


def operands(name, first, second):
    x, y = data(first, 2, 3), data(second, 3)
    if name == "pow" and np.result_type(x, y).kind in "iu":
        x, y = np.abs(x) % 4, np.abs(y) % 3
    if name in ("floor_divide", "remainder"):
        y = np.where(y == 0, y.dtype.type(3), y)
    if "shift" in name:
        y = np.abs(y) % 5
    return x, y


@pytest.mark.parametrize("name", BINARY)
def test_binary(name):
    dtypes = BINARY[name]
    pairs = {(d, d) for d in dtypes} | set(itertools.pairwise(dtypes))
    for first, second in sorted(pairs):
        try:
            np.result_type(strict.result_type(getattr(strict, first), getattr(strict, second))._np_dtype)
        except TypeError:
            continue  # the standard does not say what they promote to
        x, y = operands(name, first, second)
        check(name, x, y)
        check(name, y, x[0, 0, ...]) if "shift" not in name and name != "pow" else None


@pytest.mark.parametrize(("first", "second"), list(itertools.product(ALL, ALL)))
def test_promotion(first, second):
    one, two = getattr(strict, first), getattr(strict, second)
    try:
        wanted = strict.result_type(one, two)
    except TypeError:
        return
    expected = lp.dtype.of(wanted._np_dtype)
    assert xp.result_type(getattr(xp, first), getattr(xp, second)) is expected
    assert xp.can_cast(getattr(xp, first), getattr(xp, second)) is strict.can_cast(one, two)
    for a, b in itertools.product(((), (2,)), ((), (2,))):  # no dimensions: counts like any other
        x, y = xp.ones(a, dtype=getattr(xp, first)), xp.ones(b, dtype=getattr(xp, second))
        assert xp.result_type(x, y) is expected
        if first != "bool":
            assert xp.multiply(x, y).dtype is expected
        assert xp.concat([xp.reshape(x, (-1,)), xp.reshape(y, (-1,))]).dtype is expected
        assert xp.where(xp.asarray(True), x, y).dtype is expected


def test_numbers_beside_arrays():
    for dtype in ALL:
        x = xp.ones(2, dtype=getattr(xp, dtype))
        for number in (True, 1, 1.5, 1j):
            reference = strict.ones(2, dtype=getattr(strict, dtype))
            try:
                expected = strict.where(strict.asarray([True, False]), reference, number).dtype
            except TypeError:
                with pytest.raises(TypeError, match="does not mix with"):
                    xp.where(xp.asarray([True, False]), x, number)
                continue
            for out in (xp.where(xp.asarray([True, False]), x, number), xp.equal(x, number)):
                assert out.dtype in (lp.dtype.of(expected._np_dtype), lp.bool)
    assert xp.subtract(2, xp.asarray([1.0])).tolist() == [1.0]
    with pytest.raises(TypeError, match="expected arrays"):
        xp.add(1, 2)


@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "divide", "pow", "atan2", "copysign", "hypot", "logaddexp",
             "maximum", "minimum", "less", "equal"],
)  # fmt: skip
def test_special_values_of_pairs(name):
    x, y = (np.array(part) for part in zip(*itertools.product(SPECIAL, SPECIAL), strict=True))
    check(name, x, y)


def test_floor_division_and_remainder_by_the_letter():
    """The standard's cases, of which its strict implementation (NumPy) misses some."""
    cases = [  # x1, x2, x1 // x2, x1 % x2
        (INF, 2.0, INF, NAN), (-INF, 2.0, -INF, NAN), (INF, -2.0, -INF, NAN), (INF, INF, NAN, NAN),
        (1.0, INF, 0.0, 1.0), (1.0, -INF, -1.0, -INF), (-1.0, INF, -1.0, INF), (-1.0, -INF, 0.0, -1.0),
        (1.0, 0.0, INF, NAN), (1.0, -0.0, -INF, NAN), (-1.0, 0.0, -INF, NAN), (0.0, 0.0, NAN, NAN),
        (0.0, 2.0, 0.0, 0.0), (-0.0, 2.0, -0.0, 0.0), (0.0, -2.0, -0.0, -0.0), (-0.0, -2.0, 0.0, -0.0),
        (NAN, 1.0, NAN, NAN), (7.0, -2.0, -4.0, -1.0), (-7.0, 2.0, -4.0, 1.0),
    ]  # fmt: skip
    for x1, x2, quotient, rest in cases:
        for function, expected in ((xp.floor_divide, quotient), (xp.remainder, rest)):
            got = function(xp.asarray(x1), xp.asarray(x2)).item()
            label = f"{function.__name__}({x1}, {x2})"
            assert got == expected or (got != got and expected != expected), f"{label} = {got}"
            assert expected != 0 or math.copysign(1, got) == math.copysign(1, expected), f"{label} = {got}"


def test_clip():
    x = data("float64", 3, 4)
    check("clip", x, -0.5, 0.5)
    check("clip", x, np.array(-0.2), None)
    check("clip", x, None, data("float64", 4))
    check("clip", data("int8", 5), 0, 3)
    check("clip", x)


# -- the tables of array_api_calls.py ---------------------------------------------------------------------


def named(calls):
    return [pytest.param(*c, id=f"{c[0]}-{i}") for i, c in enumerate(calls)]


@pytest.mark.parametrize(
    ("name", "args", "kwargs"), named([*CREATION, *MANIPULATION, *SEARCHING, *STATISTICAL, *LINEAR])
)
def test_functions(name, args, kwargs):
    check(name, *args, **kwargs)


@pytest.mark.parametrize(("name", "args", "kwargs"), named(LINALG))
def test_linear_algebra(name, args, kwargs):
    check(name, *args, home="linalg", **kwargs)


def test_a_matrix_without_elements_has_rank_0():
    assert xp.linalg.matrix_rank(xp.zeros((2, 0, 3))).tolist() == [0, 0]


def test_factorizations():
    for x in (WIDE, np.swapaxes(WIDE, 1, 2), data("complex128", 3, 3)):
        t = xp.asarray(x)
        for mode in ("reduced", "complete"):
            out = xp.linalg.qr(t, mode=mode)
            assert type(out)._fields == ("Q", "R")
            assert_close(out.Q @ out.R, x, rtol=1e-10, atol=1e-12)
        for full_matrices in (True, False):
            out = xp.linalg.svd(t, full_matrices=full_matrices)
            wanted = strict.linalg.svd(strict.asarray(x), full_matrices=full_matrices)
            assert [p.shape for p in out] == [p.shape for p in wanted]
            k = out.S.shape[-1]
            assert_close(
                (out.U[..., :k] * out.S[..., None, :]) @ out.Vh[..., :k, :], x, rtol=1e-10, atol=1e-12
            )
    values, vectors = xp.linalg.eigh(xp.asarray(SYMMETRIC))
    assert_close(vectors * values[..., None, :] @ vectors.mT, SYMMETRIC, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "args", "kwargs"), named(FFT))
def test_fft(name, args, kwargs):
    check(name, *args, home="fft", **kwargs)


# -- types and conversions ---------------------------------------------------------------------------------


def test_namespace_info():
    info, theirs = xp.__array_namespace_info__(), strict.__array_namespace_info__()
    assert info.capabilities()["boolean indexing"] and info.capabilities()["data-dependent shapes"]
    assert info.default_device() == "cpu"
    assert info.devices() == ["cpu"]
    defaults = {"real floating": lp.float32, "complex floating": lp.complex64, "integral": lp.int64,
                "indexing": lp.int64}  # fmt: skip
    assert info.default_dtypes() == defaults
    for kind in (None, "bool", "signed integer", "unsigned integer", "integral", "real floating",
                 "complex floating", "numeric", ("bool", "integral")):  # fmt: skip
        assert info.dtypes(kind=kind).keys() == theirs.dtypes(kind=kind).keys()
    with pytest.raises(ValueError, match="no kind 'float'"):
        xp.isdtype(lp.float32, "float")


def test_limits():
    for name in (*REALS, *COMPLEX):
        ours, theirs = xp.finfo(getattr(xp, name)), strict.finfo(getattr(strict, name))
        assert (ours.bits, ours.eps, ours.max, ours.min) == (theirs.bits, theirs.eps, theirs.max, theirs.min)
        assert ours.dtype is getattr(xp, name).to_real()
    for name in INTEGERS:
        ours, theirs = xp.iinfo(getattr(xp, name)), strict.iinfo(getattr(strict, name))
        assert (ours.bits, ours.max, ours.min) == (theirs.bits, theirs.max, theirs.min)


def test_asarray_and_copies():
    array = np.arange(3.0)
    shared, copied = xp.asarray(array), xp.asarray(array, copy=True)
    array[0] = 5
    assert shared.tolist()[0] == 5 and copied.tolist()[0] == 0
    assert xp.asarray(shared) is shared
    assert xp.asarray(shared, copy=True) is not shared
    with pytest.raises(ValueError, match="cannot be had without a copy"):
        xp.asarray(shared, dtype=xp.float32, copy=False)
    with pytest.raises(ValueError, match="has no memory to share"):
        xp.asarray([1, 2], copy=False)
    assert xp.asarray([1, 2.5]).dtype is lp.float32
    assert xp.asarray([[1, 2j]]).dtype is lp.complex64
    assert xp.asarray(memoryview(bytearray(b"ab"))).tolist() == [97, 98]
    assert xp.astype(shared, xp.float64, copy=False) is shared
    assert xp.astype(shared, xp.float64) is not shared
    assert np.shares_memory(xp.from_dlpack(array).numpy(), array)
    assert not np.shares_memory(xp.from_dlpack(array, copy=True).numpy(), array)
    with pytest.raises(ValueError, match="without a copy"):
        xp.reshape(xp.asarray(np.ones((2, 3)).T), (6,), copy=False)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: xp.concat([xp.ones((2, 3)), xp.ones((2,))]), lp.errors.ShapeError),
        (lambda: xp.squeeze(xp.ones((2, 3)), 0), ValueError), (lambda: xp.nonzero(xp.asarray(1)), ValueError),
        (lambda: xp.sum(xp.ones(2), axis=1), IndexError), (lambda: xp.expand_dims(xp.ones(2), 3), IndexError),
        (lambda: xp.take(xp.ones((2, 2)), xp.asarray([0])), ValueError),
        (lambda: xp.finfo(xp.int8), TypeError),
        (lambda: xp.iinfo(xp.float32), TypeError), (lambda: xp.sin(1.0), TypeError),
        (lambda: xp.cumulative_sum(xp.ones((2, 2))), ValueError),
        (lambda: xp.bitwise_and(xp.ones(2), xp.ones(2)), TypeError),
        (lambda: xp.linalg.qr(xp.ones((2, 2)), mode="r"), ValueError),
        (lambda: xp.meshgrid(xp.ones(2), indexing="yx"), ValueError),
        (lambda: xp.less(xp.asarray(1j), xp.asarray(1j)), TypeError),
        (lambda: xp.result_type(), ValueError), (lambda: xp.result_type(xp.uint64, xp.int8), TypeError),
    ],
)  # fmt: skip
def test_errors(call, error):
    with pytest.raises(error):
        call()


def test_the_namespace_is_recorded_by_autograd():
    x = lp.tensor([1.0, 2.0], requires_grad=True)
    xp.sum(xp.multiply(x, xp.var(x, correction=1))).backward()
    assert_close(x.grad, np.float32([0.5 - 3, 0.5 + 3]))
