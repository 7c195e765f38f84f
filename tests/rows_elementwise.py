"""Rows for elementwise operations beyond arithmetic: rounding, bits, angles, logarithms, error functions."""

from __future__ import annotations

import math

import numpy as np
from rows_core import INF, NAN, NO_BOOL, NO_NUMBER, UNLIKE, index, ones

import lampion as lp
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.ops.aliases import ALIASES
from lampion.testing import At, Bad, Row, call
from lampion.testing.rows import FLOATS, INTEGERS, NUMBERS

BITS = (lp.bool, *INTEGERS)
HALVES = tuple(n / 2 for n in range(-8, 9))
NOT_BOOL = Bad(DTypeError, np.array([True]), match="boolean tensor")
NO_COMPLEX = Bad(DTypeError, np.array([1j]), match=["complex numbers have no such operation", "x.real"])
UNLIKE_INTS = Bad(ShapeError, index([1, 2, 3]), index(1, 2), match=["do not broadcast", "(1, 3) and (2,)"])
NO_BITS = Bad(DTypeError, ones(2), ones(2), match=["only integers and booleans have bits", "x.long()"])


def kept(function):
    """A NumPy function of floats that leaves integers as they are."""
    return lambda x, *more: function(x, *more) if x.dtype.kind == "f" else x


def flat_at(*points):
    return [At(point, value=value, grad=0.0) for point, value in points]


ROUNDING = [
    Row("floor", lp.floor, kept(np.floor), dtypes=NUMBERS, avoid=HALVES, errors=[NOT_BOOL, NO_COMPLEX],
        points=flat_at((1.0, 1.0), (-0.5, -1.0), (INF, INF))),
    Row("ceil", lp.ceil, kept(np.ceil), dtypes=NUMBERS, avoid=HALVES, errors=[NOT_BOOL],
        points=flat_at((1.0, 1.0), (-1.5, -1.0))),
    Row("trunc", lp.trunc, kept(np.trunc), dtypes=NUMBERS, avoid=HALVES, errors=[NOT_BOOL],
        points=flat_at((1.5, 1.0), (-1.5, -1.0))),
    Row("round", lp.round, kept(np.rint), dtypes=NUMBERS, avoid=HALVES,
        points=flat_at((0.5, 0.0), (1.5, 2.0), (-2.5, -2.0))),
    Row("round: decimals", lp.round, lambda x, decimals: np.round(x, decimals), dtypes=FLOATS,
        domain=(-200.0, 200.0), samples=lambda d: [call(d(3, 4), decimals=2), call(d(5), decimals=-1)],
        errors=[Bad(DTypeError, index(12), decimals=-1, match="only floats have decimals")]),
    Row("frac", lp.frac, lambda x: x - np.trunc(x), dtypes=FLOATS, avoid=HALVES,
        points=[At(-1.25, value=-0.25, grad=1.0)]),
    Row("floor_divide", lp.floor_divide, np.floor_divide, dtypes=NUMBERS, domain=((0.3, 5.7), (1.37, 1.39)),
        avoid=tuple(1.38 * n for n in range(5)), errors=[UNLIKE, NO_NUMBER, NO_BOOL],
        points=[At(1.0, 0.0, value=INF), At(-7.0, 2.0, value=-4.0, grad=(0.0, 0.0))]),
    Row("div: rounded", lambda x, y, rounding_mode: lp.div(x, y, rounding_mode=rounding_mode),
        lambda x, y, rounding_mode: np.floor_divide(x, y) if rounding_mode == "floor" else
        np.trunc(x / np.where(y == 0, 1, y)).astype(x.dtype) * (y != 0),
        dtypes=NUMBERS, domain=((0.3, 5.7), (1.37, 1.39)), avoid=tuple(1.38 * n for n in range(5)),
        samples=lambda d: [call(d(3, 4), d(3, 4), "trunc"), call(d(3, 4), d(4), "floor")],
        errors=[Bad(LampionError, ones(2), ones(2), "up", match=["no such rounding_mode", "'up'"])]),
    Row("remainder", lp.remainder, np.remainder, dtypes=NUMBERS, domain=((0.3, 5.7), (1.37, 1.39)),
        avoid=tuple(1.38 * n for n in range(5)), errors=[UNLIKE, NO_NUMBER, NO_BOOL],
        points=[At(-7.0, 2.0, value=1.0, grad=(1.0, 4.0)), At(1.0, 0.0, value=NAN)]),
    Row("fmod", lp.fmod, np.fmod, dtypes=NUMBERS, domain=((0.3, 5.7), (1.37, 1.39)),
        avoid=tuple(1.38 * n for n in range(5)), errors=[UNLIKE, NO_BOOL],
        points=[At(-7.0, 2.0, value=-1.0, grad=(1.0, 3.0))]),
]  # fmt: skip


def torch_sign(x):
    return (x > 0).astype(x.dtype) - (x < 0).astype(x.dtype) if x.dtype.kind != "b" else x


def bounded(x, low=None, high=None):
    return np.clip(x, low, high)


SIZES = [
    Row("abs", lp.abs, np.absolute, dtypes=NUMBERS, avoid=(0.0,), errors=[NOT_BOOL],
        points=[At(0.0, value=0.0, grad=0.0), At(-INF, value=INF, grad=-1.0)]),
    Row("sign", lp.sign, torch_sign, avoid=(0.0,), errors=[NO_COMPLEX],
        points=flat_at((NAN, 0.0), (-0.0, 0.0))),
    Row("sgn", lp.sgn, torch_sign, avoid=(0.0,)),
    Row("positive", lp.positive, lambda x: x, dtypes=NUMBERS, errors=[NOT_BOOL]),
    Row("signbit", lp.signbit, lambda x: np.signbit(x) if x.dtype.kind == "f" else x < 0, orders=0),
    Row("copysign", lp.copysign, np.copysign, avoid=(0.0,), errors=[UNLIKE, NO_NUMBER],
        points=[At(0.0, -1.0, value=-0.0, grad=(0.0, 0.0)), At(2.0, -0.0, value=-2.0, grad=(-1.0, 0.0))]),
    Row("square", lp.square, lambda x: x * x if x.dtype.kind != "b" else x.astype(np.int64)),
    Row("reciprocal", lp.reciprocal, lambda x: 1 / x, domain=(0.3, 2),
        points=[At(0.0, value=INF, grad=-INF)]),
    Row("rsqrt", lp.rsqrt, lambda x: 1 / np.sqrt(x), domain=(0.3, 2), points=[At(0.0, value=INF, grad=-INF)]),
    Row("rsub", lp.rsub, lambda x, y: y - x, dtypes=NUMBERS, errors=[NO_BOOL]),
    Row("clamp_min", lp.clamp_min, np.maximum, errors=[UNLIKE],
        points=[At(1.0, 1.0, value=1.0, grad=(1.0, 0.0)), At(NAN, 1.0, value=NAN, grad=(0.0, 0.0))]),
    Row("clamp_max", lp.clamp_max, np.minimum, errors=[UNLIKE],
        points=[At(1.0, 1.0, value=1.0, grad=(1.0, 0.0))]),
    Row("clamp", lp.clamp, bounded, dtypes=NUMBERS, samples=lambda d: [
            call(d(3, 4), d(3, 4) if d.dtype.kind == "f" else np.array(1, d.dtype.numpy), None),
            call(d(3, 4), 1, 3), call(d(3, 4), None, 1)],
        errors=[Bad(LampionError, ones(2), match=["clamp: there is no bound", "min, max or both"])],
        points=[At([-2.0, 0.5, 3.0], -1, 1, value=[-1.0, 0.5, 1.0]), At(2.0, 3.0, 1.0, value=1.0)]),
    Row("fmax", lp.fmax, np.fmax, errors=[UNLIKE],
        points=[At(1.0, 1.0, value=1.0, grad=(1.0, 0.0)), At(NAN, 1.0, value=1.0, grad=(0.0, 1.0))]),
    Row("fmin", lp.fmin, np.fmin, errors=[UNLIKE],
        points=[At(1.0, 1.0, value=1.0, grad=(1.0, 0.0)), At(1.0, NAN, value=1.0, grad=(1.0, 0.0))]),
    Row("nan_to_num", lp.nan_to_num, kept(np.nan_to_num),
        points=[At(NAN, value=0.0, grad=0.0), At(INF, 1.0, 2.0, 3.0, value=2.0)]),
    Row("lerp", lp.lerp, lambda x, end, weight: x + weight * (end - x), dtypes=FLOATS,
        samples=lambda d: [call(d(3, 4), d(3, 4), 0.3), call(d(3, 4), d(4), d(3, 1)), call(d(3), d(3), 0.8)],
        errors=[Bad(DTypeError, ones(2), np.ones(2), 0.5, match="both ends must be of one floating type")]),
    Row("addcmul", lp.addcmul, lambda x, a, b, value=1: x + value * a * b, dtypes=NUMBERS,
        samples=lambda d: [call(d(3, 4), d(3, 4), d(4)), call(d(3), d(3), d(), value=2)]),
    Row("addcdiv", lp.addcdiv, lambda x, a, b, value=1: x + value * a / b, dtypes=FLOATS, domain=(0.5, 2),
        samples=lambda d: [call(d(3, 4), d(3, 4), d(4)), call(d(3), d(3), d(), value=2)],
        errors=[Bad(DTypeError, index(1), index(1), index(1), match="integers are not divided")]),
    Row("add: alpha", lp.add, lambda x, y, alpha: x + alpha * y, dtypes=NUMBERS,
        samples=lambda d: [call(d(3, 4), d(4), alpha=3)],
        errors=[Bad(DTypeError, index(1), index(1), alpha=0.5, match="alpha of integer tensors")]),
    Row("sub: alpha", lp.sub, lambda x, y, alpha: x - np.asarray(alpha * y, y.dtype), dtypes=NUMBERS,
        samples=lambda d: [call(d(3, 4), d(4), alpha=3)]),
    Row("gcd", lp.gcd, np.gcd, dtypes=INTEGERS, orders=0, errors=[NO_BITS, NO_BOOL]),
    Row("lcm", lp.lcm, np.lcm, dtypes=INTEGERS, orders=0, errors=[NO_BITS]),
    Row("nextafter", lp.nextafter, np.nextafter),  # to the bit: tests/test_elementwise.py
    Row("ldexp", lp.ldexp, lambda x, y: x * 2.0**y,
        samples=lambda d: [call(d(3, 4), d(4)), call(d(3), index(-3, 0, 2))]),
    Row("frexp", lambda x: lp.frexp(x)[0], lambda x: np.frexp(x)[0], dtypes=FLOATS,
        samples=lambda d: [call(d(3, 4)), call(d())], avoid=(-1.0, -0.5, 0.0, 0.5, 1.0),
        errors=[Bad(DTypeError, index(1), match="only floats have a mantissa")]),
    Row("frexp: exponent", lambda x: lp.frexp(x)[1].long(), lambda x: np.frexp(x)[1].astype(np.int64),
        dtypes=FLOATS, orders=0, samples=lambda d: [call(d(3, 4)), call(d())]),
    Row("heaviside", lp.heaviside, lambda x, y: np.where(x == 0, y, x > 0).astype(np.result_type(x, y)),
        orders=0, errors=[UNLIKE]),
    Row("float_power", lp.float_power, lambda x, y: x.astype("f8") ** y.astype("f8"), result=lp.float64,
        domain=((0.3, 2), (-2, 2)), samples=lambda d: [call(d(3, 4), d(4))]),
]  # fmt: skip

TRUTH = [
    Row("logical_and", lp.logical_and, np.logical_and, orders=0, errors=[UNLIKE, NO_NUMBER]),
    Row("logical_or", lp.logical_or, np.logical_or, orders=0),
    Row("logical_xor", lp.logical_xor, np.logical_xor, orders=0),
    Row("logical_not", lp.logical_not, np.logical_not, orders=0),
    Row("bitwise_and", lp.bitwise_and, np.bitwise_and, dtypes=BITS, orders=0, errors=[NO_BITS, UNLIKE_INTS]),
    Row("bitwise_or", lp.bitwise_or, np.bitwise_or, dtypes=BITS, orders=0, errors=[NO_BITS]),
    Row("bitwise_xor", lp.bitwise_xor, np.bitwise_xor, dtypes=BITS, orders=0, errors=[NO_BITS]),
    Row("bitwise_not", lp.bitwise_not, np.invert, dtypes=BITS, orders=0,
        errors=[Bad(DTypeError, ones(2), match="have bits")]),
    Row("bitwise_left_shift", lp.bitwise_left_shift, np.left_shift, dtypes=INTEGERS, integers=(-70, 70),
        orders=0, errors=[NO_BITS, NO_BOOL]),
    Row("bitwise_right_shift", lp.bitwise_right_shift, np.right_shift, dtypes=INTEGERS, integers=(-70, 70),
        orders=0, errors=[NO_BITS, NO_BOOL]),
    Row("isnan", lp.isnan, np.isnan, orders=0),
    Row("isinf", lp.isinf, np.isinf, orders=0),
    Row("isfinite", lp.isfinite, np.isfinite, orders=0),
    Row("isposinf", lp.isposinf, lambda x: x == np.inf, orders=0,
        errors=[Bad(DTypeError, np.array([1j]), match="have no order")]),
    Row("isneginf", lp.isneginf, lambda x: x == -np.inf, orders=0),
    Row("isreal", lp.isreal, np.isreal, orders=0),
    Row("isclose", lp.isclose, np.isclose, orders=0,
        samples=lambda d: [call(d(3, 4), d(3, 4)), call(d(3, 4), d(3, 4), 0.5, 1.0),
                           call(*(np.array([NAN, INF, -INF]).astype(d.dtype.numpy) for _ in "ab"),
                                equal_nan=True) if d.dtype.kind == "f" else call(d(2), d(2))],
        errors=[Bad(DTypeError, ones(2), index(1, 1), match="must have one type"),
                Bad(LampionError, ones(2), ones(2), -1.0, match="a tolerance is negative")]),
]  # fmt: skip

ANGLES = [
    Row("tan", lp.tan, np.tan, domain=(-1.2, 1.2), points=[At(INF, value=NAN)]),
    Row("asin", lp.asin, np.arcsin, domain=(-0.95, 0.95),
        points=[At(1.0, value=math.pi / 2, grad=INF), At(1.5, value=NAN)]),
    Row("acos", lp.acos, np.arccos, domain=(-0.95, 0.95), points=[At(1.0, value=0.0, grad=-INF)]),
    Row("atan", lp.atan, np.arctan, points=[At(INF, value=math.pi / 2, grad=0.0)]),
    Row("atan2", lp.atan2, np.arctan2, errors=[UNLIKE, NO_NUMBER], domain=(0.3, 2.0),
        points=[At(0.0, 0.0, value=0.0, grad=(0.0, 0.0)), At(1.0, -1.0, value=0.75 * math.pi,
                                                             grad=(-0.5, -0.5))]),
    Row("sinh", lp.sinh, np.sinh, points=[At(INF, value=INF, grad=INF)]),
    Row("cosh", lp.cosh, np.cosh),
    Row("asinh", lp.asinh, np.arcsinh, points=[At(-INF, value=-INF, grad=0.0)]),
    Row("acosh", lp.acosh, np.arccosh, domain=(1.2, 3), integers=(1, 4), points=[At(1.0, value=0.0, grad=INF),
                                                                                 At(0.5, value=NAN)]),
    Row("atanh", lp.atanh, np.arctanh, domain=(-0.9, 0.9), points=[At(1.0, value=INF, grad=INF)]),
    Row("hypot", lp.hypot, np.hypot, domain=(0.3, 2), errors=[UNLIKE], points=[At(INF, NAN, value=INF)]),
    Row("sinc", lp.sinc, np.sinc, avoid=(0.0,), ulps=64,  # sin(pi x) near its zeros
        points=[At(0.0, value=1.0, grad=0.0), At([0.5], value=[2 / math.pi], grad=[-4 / math.pi])]),
    Row("deg2rad", lp.deg2rad, np.deg2rad, points=[At(180.0, value=math.pi, grad=math.pi / 180)]),
    Row("rad2deg", lp.rad2deg, np.rad2deg, points=[At(math.pi, value=180.0, grad=180 / math.pi)]),
    Row("angle", lp.angle, lambda x: np.where(np.isnan(x), x, np.where(x < 0, np.pi, 0.0)), avoid=(0.0,)),
]  # fmt: skip


def xlogy(x, y):
    return np.where((x == 0) & ~np.isnan(y), 0.0, x * np.log(y))


def clipped_logit(x, eps):
    x = np.clip(x, eps, 1 - eps)
    return np.log(x / (1 - x))


LOGARITHMS = [
    Row("log2", lp.log2, np.log2, domain=(0.1, 3),
        points=[At(8.0, value=3.0), At(0.0, value=-INF, grad=INF)]),
    Row("log10", lp.log10, np.log10, domain=(0.1, 3), points=[At(1000.0, value=3.0)]),
    Row("log1p", lp.log1p, np.log1p, domain=(-0.9, 3), integers=(0, 4),
        points=[At(-1.0, value=-INF, grad=INF), At(1e-20, value=1e-20, grad=1.0)]),
    Row("exp2", lp.exp2, np.exp2, points=[At(3.0, value=8.0), At(-INF, value=0.0, grad=0.0)]),
    Row("logaddexp", lp.logaddexp, np.logaddexp, errors=[UNLIKE, NO_NUMBER],
        points=[At(-INF, -INF, value=-INF, grad=(0.5, 0.5)), At(INF, 0.0, value=INF, grad=(1.0, 0.0))]),
    Row("logaddexp2", lp.logaddexp2, np.logaddexp2, points=[At(1e4, 1e4, value=1e4 + 1, grad=(0.5, 0.5))]),
    Row("xlogy", lp.xlogy, xlogy, domain=((-2, 2), (0.2, 3)), errors=[UNLIKE, NO_NUMBER],
        points=[At(0.0, 0.0, value=0.0, grad=(0.0, NAN)), At(0.0, NAN, value=NAN)]),
    Row("logit", lp.logit, lambda x, eps=None: np.log(x / (1 - x)), domain=(0.1, 0.9), integers=(0, 0),
        points=[At(0.0, value=-INF, grad=INF), At(1.5, value=NAN)]),
    Row("logit: eps", lp.logit, clipped_logit,
        domain=(0.0, 1.0), avoid=(0.25, 0.75), integers=(0, 1), samples=lambda d: [call(d(3, 4), eps=0.25)]),
    Row("erf", lp.erf, lambda x: np.vectorize(math.erf, otypes=["f8"])(x),
        points=[At(INF, value=1.0, grad=0.0), At(0.0, value=0.0, grad=2 / math.sqrt(math.pi))]),
]  # fmt: skip

ROWS = [*ROUNDING, *SIZES, *TRUTH, *ANGLES, *LOGARITHMS]
ELSEWHERE = {
    "tests/test_elementwise.py: second names of the same functions": {
        name for second in ALIASES for name in (second, f"{second}_")
    },
    "tests/test_elementwise.py: Python numbers as results, and operators": {
        "allclose", "equal", "__abs__", "__and__", "__floordiv__", "__iand__", "__ifloordiv__", "__ilshift__",
        "__imod__", "__invert__", "__ior__", "__ipow__", "__irshift__", "__ixor__", "__lshift__", "__mod__",
        "__or__", "__rand__", "__rfloordiv__", "__rlshift__", "__rmod__", "__ror__", "__rrshift__",
        "__rshift__", "__rxor__", "__xor__",
    },
}  # fmt: skip
