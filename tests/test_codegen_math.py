"""How far the generated exp, log, tanh... are from the truth, and that they are right where it is special."""

import math

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import Elementwise, assert_same, function, in_place, mapping, run, special, targets

from lampion.dtype import bool_, float32, float64, int8, int32, int64, uint8

TARGETS = targets("sse2", "avx2", "host")  # without fma, with it, and with vscalef where there is AVX-512
HOST = targets("host")[0]
each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
each_dtype = pytest.mark.parametrize("dtype", [float32, float64], ids=lambda dtype: dtype.name)
rng = np.random.default_rng(0)


def compute(name, x, target=HOST):
    dtype = float32 if x.dtype == np.float32 else float64
    return run(mapping(function(name), [dtype], dtype, x.shape), [x, np.zeros_like(x)], target)[1]


def truth(name, x):
    """The function with more digits than x has (for float64, where long double has more)."""
    wide = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
    with np.errstate(all="ignore"):
        if name == "erf":  # within an ulp of float64
            return np.array([math.erf(v) for v in x])
        return getattr(np, name)(wide)


def ulps(got, exact):
    """The largest error, in units of the last place of the exact value."""
    return float(np.max(np.abs(got - exact) / np.spacing(np.abs(exact).astype(got.dtype))))


def line(low, high, dtype, n=20_000):
    return np.linspace(low, high, n).astype(dtype.numpy)


def sizes(dtype, low, high, n=20_000):
    """Numbers of all sizes from 10**low to 10**high."""
    return (10.0 ** rng.uniform(low, high, n)).astype(dtype.numpy)


def spread(x):
    return np.concatenate([x, -x])


def near_quarters(dtype):
    """The numbers of that type nearest to multiples of pi / 2, where a sine or a cosine is 0."""
    return spread((np.arange(1, 5000) * (np.pi / 2)).astype(dtype.numpy))


# name -> (the largest errors allowed, for float32 and float64; arguments)
FUNCTIONS = {
    "exp": (1.1, 1.1, lambda d: [line(-87, 88, d) * (1 if d is float32 else 8), line(-1, 1, d)]),
    "expm1": (2, 2.5, lambda d: [line(-30, 88, d), line(-1, 1, d), spread(sizes(d, -30, 0))]),
    "tanh": (2.5, 1.5, lambda d: [line(-20, 20, d), line(-1, 1, d), spread(sizes(d, -35, 1))]),
    "log": (1, 1, lambda d: [line(0.4, 2.5, d), sizes(d, -37, 38)]),
    "log1p": (1.5, 1.5, lambda d: [line(-0.99, 3, d), spread(sizes(d, -35, -0.1)), sizes(d, 0, 38)]),
    "erf": (2, 1.5, lambda d: [line(-7, 7, d), spread(sizes(d, -35, 1))]),
    "sin": (1, 1, lambda d: [line(-100, 100, d), spread(sizes(d, -30, 12)), near_quarters(d)]),
    "cos": (1, 1, lambda d: [line(-100, 100, d), spread(sizes(d, -30, 12)), near_quarters(d)]),
    "tan": (1.5, 3, lambda d: [line(-100, 100, d), spread(sizes(d, -30, 12)), near_quarters(d)]),
    "arcsin": (1, 2.5, lambda d: [line(-1, 1, d), spread(sizes(d, -30, 0))]),
    "arccos": (1, 2, lambda d: [line(-1, 1, d), spread(sizes(d, -30, 0)), 1 - sizes(d, -7, -1)]),
    "log2": (2, 2, lambda d: [line(0.4, 2.5, d), sizes(d, -37, 38)]),
    "sinh": (3.5, 3.5, lambda d: [line(-88, 88, d), line(-1, 1, d), spread(sizes(d, -35, 0))]),
    "cosh": (3.5, 3.5, lambda d: [line(-88, 88, d), line(-1, 1, d)]),
    "arcsinh": (3.5, 3.5, lambda d: [line(-3, 3, d), spread(sizes(d, -35, 38))]),
    "arccosh": (3.5, 3.5, lambda d: [1 + sizes(d, -6, 1), sizes(d, 0, 38)]),
    "arctanh": (3.5, 3.5, lambda d: [line(-0.999, 0.999, d), spread(sizes(d, -35, -1))]),
    "log10": (1, 1, lambda d: [sizes(d, -37, 38), line(0.4, 2.5, d)]),
    "exp2": (1.5, 1.5, lambda d: [line(-125, 127, d) * (1 if d is float32 else 8), line(-1, 1, d)]),
    "arctan": (1, 2.5, lambda d: [line(-3, 3, d), spread(sizes(d, -30, 30))]),
}


@each_target
@each_dtype
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error(name, dtype, target):
    single, double, arguments = FUNCTIONS[name]
    x = np.concatenate(arguments(dtype))
    if dtype is float64 and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("nothing here is more precise than float64")
    assert ulps(compute(name, x, target), truth(name, x)) <= (single if dtype is float32 else double)


@each_target
@each_dtype
def test_subnormal_numbers(dtype, target):
    info = np.finfo(dtype.numpy)
    low, high = math.log(float(info.smallest_subnormal)) - 2, math.log(float(info.tiny)) + 1
    x = line(low, high, dtype)
    assert ulps(compute("exp", x, target), truth("exp", x)) <= 1  # the results are subnormal,
    x = info.smallest_subnormal * np.arange(1, 2000, dtype=dtype.numpy)
    assert ulps(compute("log", x, target), truth("log", x)) <= 1  # and here the arguments
    for name in ("expm1", "log1p", "tanh"):
        assert_same([compute(name, x, target)], [x])
    assert ulps(compute("erf", x, target), truth("erf", x.astype(np.float64)).astype(x.dtype)) <= 1


@each_target
@each_dtype
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name, dtype, target):
    info = np.finfo(dtype.numpy)
    x = special(dtype)
    logs = [math.log(size) for size in (info.max, info.tiny, info.smallest_subnormal)]
    edges = [*logs, 1.0, -1.0, 0.29, 0.41]  # where the range ends, and where formulas meet
    edges = np.array([e * (1 + d) for e in edges for d in (-1e-6, 0, 1e-6)], dtype.numpy)
    x = np.concatenate([x, edges, np.nextafter(edges, np.inf, dtype=x.dtype)])
    if name in ("sin", "cos"):  # of the largest float, libraries differ
        x = x[~(np.abs(x) > 1e6) | ~np.isfinite(x)]
    got, want = compute(name, x, target), truth(name, x)
    with np.errstate(over="ignore"):
        rounded = want.astype(x.dtype)
    exact = ~np.isfinite(rounded) | (rounded == 0)
    assert_same([got[exact]], [rounded[exact]])  # infinities, zeros with their signs, NaN
    assert np.isfinite(got[~exact]).all()
    assert ulps(got[~exact], want[~exact]) <= 4


@each_target
@each_dtype
@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_lane_has_the_bits_of_many(name, dtype, target):
    n = target.lanes(dtype)
    x = (rng.standard_normal(n) * 3).astype(dtype.numpy)
    kernel = mapping(function(name), [dtype], dtype, (n - 1,))
    # An update in place does what is left after whole vectors one by one.
    one_by_one = run(in_place(kernel, 0), [x.copy()], target)[0]
    assert_same([compute(name, x, target)[:-1]], [one_by_one[:-1]])


@each_dtype
def test_exact_points(dtype):
    x = np.array([0, 1, -1, np.inf], dtype.numpy)
    assert_same([compute("exp", x[:1])], [x[1:2]])
    assert_same([compute("log", x[1:2])], [x[:1]])
    assert_same([compute("tanh", 100 * x[1:3])], [x[1:3]])
    assert_same([compute("erf", 100 * x[1:3])], [x[1:3]])
    whole = np.arange(-20, 20).astype(dtype.numpy)
    assert_same([compute("log2", 2**whole)], [whole])
    assert_same([compute("exp2", whole)], [2**whole])
    assert_same([compute("log10", 10 ** whole[20:])], [whole[20:]])


@each_dtype
def test_power(dtype):
    x, y = sizes(dtype, -3, 3, 1000), line(-4, 4, dtype, 1000)
    kernel = mapping(function("power"), [dtype, dtype], dtype, x.shape)
    got = run(kernel, [x, y, np.zeros_like(x)], HOST)[2]
    wide = np.float64 if dtype is float32 else np.longdouble
    assert ulps(got, x.astype(wide) ** y.astype(wide)) <= 1
    for exponent in (-1, 0.5, 1, 2, 3, 4, -0.5):
        kernel = mapping(Elementwise(lambda xp, x, e=exponent: xp.power(x, e)), [dtype], dtype, x.shape)
        got = run(kernel, [x, np.zeros_like(x)], HOST)[1]
        assert ulps(got, x.astype(wide) ** exponent) <= 2


# name -> (the largest error, in units of the last place; pairs of arguments)
PAIRS = {
    "hypot": (2.5, lambda d: [(spread(sizes(d, -30, 30)), spread(sizes(d, -30, 30)))]),
    "logaddexp": (4, lambda d: [(line(0, 50, d), line(40, 3, d))]),
    "logaddexp2": (4, lambda d: [(line(0, 50, d), line(40, 3, d))]),
    "arctan2": (3, lambda d: [(spread(sizes(d, -3, 3)), np.roll(spread(sizes(d, -3, 3)), 7))]),
    "fmod": (0, lambda d: [(line(-9, 9, d, 999), line(-2, 3, d, 999)), far_apart(d)]),
    "remainder": (1, lambda d: [(line(-9, 9, d, 999), line(-2, 3, d, 999))]),
    "power": (1, lambda d: [(spread(sizes(d, -3, 3)), np.arange(40_000).astype(d.numpy) % 11 - 5)]),
    "fmax": (0, lambda d: [(line(-9, 9, d, 999), line(2, -3, d, 999))]),
    "fmin": (0, lambda d: [(line(-9, 9, d, 999), line(2, -3, d, 999))]),
}


def far_apart(dtype):
    """Quotients just below powers of two, which may be rounded up to them."""
    y = sizes(dtype, -10, 5, 10_000)
    return np.nextafter(y * (2.0 ** rng.integers(0, 40, y.size)).astype(y.dtype), 0, dtype=y.dtype), y


def compute_pair(name, x, y):
    dtype = float32 if x.dtype == np.float32 else float64
    kernel = mapping(function(name), [dtype, dtype], dtype, x.shape)
    return run(kernel, [x, y, np.zeros_like(x)], HOST)[2]


@each_dtype
@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_arguments(name, dtype):
    most, arguments = PAIRS[name]
    wide = np.float64 if dtype is float32 else np.longdouble
    for x, y in arguments(dtype):
        exact = getattr(np, name)(x.astype(wide), y.astype(wide))
        assert ulps(compute_pair(name, x, y), exact) <= most
    x, y = (grid.ravel() for grid in np.meshgrid(special(dtype), special(dtype)))
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x, y)
    np.testing.assert_allclose(compute_pair(name, x, y), want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [int8, int32, int64, uint8], ids=lambda dtype: dtype.name)
def test_fmod_of_integers(dtype):
    info = np.iinfo(dtype.numpy)
    values = np.array([0, 1, 2, 3, 7, info.max, info.min, info.min + 1], dtype.numpy)
    values = np.concatenate([values, -values])
    x, y = (grid.ravel() for grid in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        want = np.fmod(x, y)
    kernel = mapping(function("fmod"), [dtype, dtype], dtype, x.shape)
    assert_same([run(kernel, [x, y, np.zeros_like(x)], HOST)[2]], [want])


@each_dtype
def test_signbit(dtype):
    x = np.concatenate([special(dtype), -special(dtype)])
    kernel = mapping(function("signbit"), [dtype], bool_, x.shape)
    assert_same([run(kernel, [x, np.zeros(x.shape, bool)], HOST)[1]], [np.signbit(x)])


@each_dtype
def test_powers_of_special_values(dtype):
    x = special(dtype)
    for exponent in (-1, 0.5, 1, 2, 3, 4, 0):
        forward = Elementwise(lambda xp, x, e=exponent: xp.power(x, e))
        got = run(mapping(forward, [dtype], dtype, x.shape), [x, np.zeros_like(x)], HOST)[1]
        with np.errstate(all="ignore"):
            want = np.power(x, dtype.numpy.type(exponent))
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=0)
        assert_same([np.signbit(got[~np.isnan(want)])], [np.signbit(want[~np.isnan(want)])])


def test_composites_that_networks_use():
    # sigmoid, softplus, GELU (both forms): as accurate as NumPy's float32, compared in float64.
    composites = [
        lambda xp, x: 1 / (1 + xp.exp(-x)),
        lambda xp, x: xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x))),
        lambda xp, x: 0.5 * x * (1 + xp.tanh(0.7978845608 * (x + 0.044715 * x**3))),
    ]
    x = line(-10, 10, float32)
    for forward in composites:
        got = run(mapping(Elementwise(forward), [float32], float32, x.shape), [x, np.zeros_like(x)], HOST)[1]
        exact = forward(np, x.astype(np.float64))
        theirs = np.abs(forward(np, x) - exact).max()
        assert (np.abs(got - exact) <= 2 * theirs + 4 * np.spacing(np.abs(exact).astype(np.float32))).all()
