"""The vector functions over the whole range of their arguments: every exponent and both signs.

What is claimed: within 4 units of the last place in float32, and 2 in float64 unless noted below. Run with
``-s`` to see the largest errors that were found.
"""

import math

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import function, mapping, run, targets
from test_codegen_math import compute, compute_pair

from lampion.dtype import float32, float64
from lampion.ops import OPERATIONS

TARGETS = targets("sse2", "avx2", "host")  # without fma, with it, and with vscalef where there is AVX-512
each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
has_long_double = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="nothing is more precise")
rng = np.random.default_rng(0)
COUNT = {float32: 800_000, float64: 150_000}

# Where a result is near 0 or a formula ends: numbers around these are tried too.
HARD = [
    0.0,
    1e-3,
    0.25,
    0.29,
    0.41,
    0.5,
    math.sqrt(0.5),
    1.0,
    math.sqrt(2),
    2.0,
    math.e,
    10.0,
    100.0,
    88.7,
    709.7,
]
HARD += [math.pi / 2 * n for n in (1, 2, 3, 4, 5, 100, 1001, 10**5)]

#: Nothing less is claimed of these in float64.
MORE = {"sinh": 4.0, "cosh": 3.0, "arccosh": 2.5, "arctan": 2.5}
FUNCTIONS = (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sin", "cos", "tan", "arcsin", "arccos",
    "arctan", "sinh", "cosh", "arcsinh", "arccosh", "arctanh", "sqrt", "erf",
)  # fmt: skip


def whole_range(dtype, count):
    """Numbers whose bits are spread over all that there are; numbers of common sizes; some next to each hard
    point.
    """
    bits = np.uint32 if dtype is float32 else np.uint64
    step = (1 << 8 * dtype.itemsize) // count | 1  # odd: not the same last digits each time
    x = (np.arange(count, dtype=np.uint64) * np.uint64(step)).astype(bits).view(dtype.numpy)
    common = (rng.choice([-1, 1], count // 4) * 2 ** rng.uniform(-9, 7, count // 4)).astype(dtype.numpy)
    points = np.array(HARD, dtype.numpy)
    places = np.concatenate([np.arange(-300, 300), rng.integers(-(1 << 20), 1 << 20, 1000)])
    near = np.abs((points.view(bits).astype(np.int64)[:, None] + places).ravel())
    near = near.astype(bits).view(dtype.numpy)
    return np.concatenate([x, common, near, -near])


def exact(name, x):
    """The function with more digits than x has."""
    with np.errstate(all="ignore"):
        wide = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
        if name == "sigmoid":
            return 1 / (1 + np.exp(-wide))
        if name == "rsqrt":
            return 1 / np.sqrt(wide)
        if name in ("erf", "erfc"):
            return np.array([getattr(math, name)(v) for v in wide.tolist()])
        return getattr(np, name)(wide)


def worst(got, wanted):
    """The largest error in units of the last place, and where; NaN, infinities and zeros must be the same."""
    with np.errstate(all="ignore"):
        rounded = wanted.astype(got.dtype)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
        # Where the exact value is within an ulp of overflow, either is right.
        finite = np.isfinite(got) & np.isfinite(rounded)
        edge = np.abs(wanted) >= np.finfo(got.dtype).max * (1 - np.finfo(got.dtype).eps)
        assert (finite | edge | (got == rounded) | np.isnan(got)).all()
        assert (np.signbit(got) == np.signbit(rounded))[finite].all()
        error = np.abs(got[finite] - wanted[finite]) / np.spacing(np.abs(rounded[finite]))
    at = int(np.argmax(error))
    return float(error[at]), np.flatnonzero(finite)[at]


def report(name, dtype, target, found, x):
    error, at = found
    print(f"{name:9s} {dtype.name} {target.name:5s} {error:6.3f} ulp at {x[at]!r}")
    return error


@each_target
@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32(name, target):
    x = whole_range(float32, COUNT[float32] if name != "erf" else COUNT[float32] // 8)
    assert report(name, float32, target, worst(compute(name, x, target), exact(name, x)), x) <= 4


@has_long_double
@each_target
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "erf"])
def test_float64(name, target):
    x = whole_range(float64, COUNT[float64])
    found = report(name, float64, target, worst(compute(name, x, target), exact(name, x)), x)
    assert found <= MORE.get(name, 2)


def of_primitive(name, x, target):
    dtype = float32 if x.dtype == np.float32 else float64
    kernel = mapping(OPERATIONS[name].primitive, [dtype], dtype, x.shape)
    return run(kernel, [x, np.zeros_like(x)], target)[1]


@each_target
@pytest.mark.parametrize("name", ["sigmoid", "rsqrt", "erfc"])
def test_primitives_in_float32(name, target):
    x = whole_range(float32, COUNT[float32] // 8)
    if name == "sigmoid":  # as in eager, e**-x is infinite below
        x = x[~(x < -87.3)]
    assert report(name, float32, target, worst(of_primitive(name, x, target), exact(name, x)), x) <= 4


@pytest.mark.parametrize("target", [TARGETS[0], TARGETS[-1]], ids=lambda target: target.name)
def test_erf_of_float64(target):
    mpmath = pytest.importorskip("mpmath", reason="nothing else here is more precise")
    x = np.concatenate([rng.uniform(0, 6, 1500), rng.uniform(0.9, 1.6, 1500), 2.0 ** -np.arange(1, 1000)])
    with mpmath.workprec(100):
        wanted = np.array([np.longdouble(mpmath.nstr(mpmath.erf(v), 25)) for v in x.tolist()])
    x, wanted = np.concatenate([x, -x]), np.concatenate([wanted, -wanted])
    assert report("erf", float64, target, worst(compute("erf", x, target), wanted), x) <= 2


def bases_and_exponents(dtype, count):
    """Pairs of all sizes whose power is a number of the type, up to its ends."""
    ends = math.log2(np.finfo(dtype.numpy).max), math.log2(np.finfo(dtype.numpy).smallest_subnormal)
    x = (2.0 ** rng.uniform(ends[1], ends[0], count)).astype(dtype.numpy)
    x[: count // 2] = 1.0 + rng.uniform(-0.7, 1, count // 2) * 2.0 ** -rng.integers(1, 20, count // 2)
    logs = np.log2(x.astype(np.float64))
    logs[logs == 0] = 1
    return x, (rng.uniform(ends[1], ends[0], count) / logs).clip(-1e30, 1e30).astype(dtype.numpy)


@each_target
@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda dtype: dtype.name)
def test_power(dtype, target):
    wide = np.float64 if dtype is float32 else np.longdouble
    if np.finfo(wide).nmant < np.finfo(dtype.numpy).nmant + 8:
        pytest.skip("nothing is more precise")
    x, y = bases_and_exponents(dtype, COUNT[dtype] // 4)
    kernel = mapping(function("power"), [dtype, dtype], dtype, x.shape)
    got = run(kernel, [x, y, np.zeros_like(x)], target)[2]
    with np.errstate(all="ignore"):
        found = worst(got, x.astype(wide) ** y.astype(wide))
    assert report("power", dtype, target, found, x) <= (1 if dtype is float32 else 2)


@pytest.mark.parametrize("dtype", [float32, float64], ids=lambda dtype: dtype.name)
def test_fmod_is_exact(dtype):
    x, y = whole_range(dtype, 100_000), np.roll(whole_range(dtype, 100_000), 12345)
    with np.errstate(all="ignore"):
        wanted = np.fmod(x, y)
    np.testing.assert_array_equal(compute_pair("fmod", x, y), wanted)
