"""The numbers behind mathlib, for float32 and float64.

The coefficients, lowest power first, are minimax fits (Remez exchange in 50 digits, weighted so as to
bound the relative error of the final function; each coefficient is rounded to the format before the
next ones are fitted again). The bound is noted beside each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lampion.dtype import DType, float32


@dataclass(frozen=True)
class Format:
    """A floating-point format, and the approximations that are good enough for it."""

    mantissa: int  # bits, without the hidden one
    bias: int  # of the exponent
    ln2_high: float  # so few bits that an exponent times this is exact,
    ln2_low: float  # and the rest of log(2)
    exp_range: tuple[float, float]  # e**x rounds to 0 below, and to infinity above
    expm1_low: float  # e**x - 1 rounds to -1 below
    erf_high: float  # erf(x) rounds to 1 above
    expm1: tuple[float, ...]  # (e**r - 1 - r) / r**2 for |r| <= log(2)/2
    log: tuple[float, ...]  # see mathlib: for 1/sqrt(2) <= 1 + f <= sqrt(2)
    erf_small: tuple[float, ...]  # erf(x)/x - 1 in powers of x**2, for |x| <= 1
    erf_large: tuple[float, ...]  # -log(1 - erf(x)) for 1 <= x <= erf_high
    # What only one of the formats has.
    erf_log: tuple[float, ...] = ()  # -log(1 - erf(x))/x - 1 for 0 <= x <= erf_high
    tanh_small: tuple[float, ...] = ()  # (tanh(x)/x - 1)/x**2 in powers of x**2, for |x| <= 0.55

    @property
    def magic(self) -> float:
        """Adding this rounds to an integer, which then stands in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)


def format_of(dtype: DType) -> Format:
    return FLOAT32 if dtype is float32 else FLOAT64


LOG2_E = 1 / math.log(2)

FLOAT32 = Format(
    mantissa=23,
    bias=127,
    ln2_high=45426 / 2**16,
    ln2_low=1.4286068203094173e-06,
    exp_range=(-104.0, 89.0),
    expm1_low=-20.0,
    erf_high=4.0,
    expm1=(  # 2**-26.0
        0.4999999701976776,
        0.16666539013385773,
        0.041667390614748,
        0.008367089554667473,
        0.0013882359489798546,
    ),
    log=(  # 2**-27.3
        0.3333333134651184,
        -0.250008225440979,
        0.20001259446144104,
        -0.16623321175575256,
        0.14200954139232635,
        -0.13159741461277008,
        0.12767422199249268,
        -0.07643301039934158,
    ),
    erf_small=(  # 2**-29.4
        0.12837916612625122,
        -0.3761262595653534,
        0.11283578723669052,
        -0.026853347197175026,
        0.005187162198126316,
        -0.0007997853099368513,
        7.806903886375949e-05,
    ),
    erf_large=(  # 2**-29.8
        0.0003415252431295812,
        1.1270891427993774,
        0.6381449699401855,
        0.10310658812522888,
        -0.021837962791323662,
        0.0029476277995854616,
        -0.00018637550238054246,
    ),
    erf_log=(  # 2**-27.8, of erf itself
        0.12837916612625122,
        0.6366195678710938,
        0.10277630388736725,
        -0.01914782077074051,
        -0.00016951419820543379,
        0.0016756949480623007,
        -0.0006373790674842894,
        0.00011886739230249077,
        -9.388843864144292e-06,
    ),
)

FLOAT64 = Format(
    mantissa=52,
    bias=1023,
    ln2_high=3048493539143 / 2**42,
    ln2_low=5.497923018708371e-14,
    exp_range=(-746.0, 710.0),
    expm1_low=-40.0,
    erf_high=6.0,
    expm1=(  # 2**-58.6
        0.5,
        0.16666666666666677,
        0.041666666666666685,
        0.008333333333321806,
        0.0013888888888897257,
        0.0001984126988419464,
        2.4801587259434917e-05,
        2.7557249064260166e-06,
        2.755736509364752e-07,
        2.510614293746929e-08,
        2.0875419971854334e-09,
    ),
    log=(  # 2**-59.4
        0.6666666666666735,
        0.3999999999940935,
        0.28571428743686206,
        0.22222198429073944,
        0.18183572346022805,
        0.15313832485642198,
        0.14798253822943108,
    ),
    erf_small=(  # 2**-56.0
        0.12837916709551256,
        -0.37612638903183343,
        0.1128379167093695,
        -0.026866170641959137,
        0.005223977596739601,
        -0.0008548325485522634,
        0.00012055280523179606,
        -1.4924466274116741e-05,
        1.6444157794815438e-06,
        -1.6184019836479107e-07,
        1.3616598309019193e-08,
        -7.606990566599428e-10,
    ),
    erf_large=(  # 2**-59.0
        1.7960252637527003e-07,
        1.128377329438121,
        0.636628488122056,
        0.10274725436527662,
        -0.019078159301448367,
        -0.00028048368661296586,
        0.0017689954441238226,
        -0.0006411683612804204,
        4.481960953082847e-05,
        7.036810761224605e-05,
        -4.503797194310407e-05,
        1.6514132338939403e-05,
        -4.3270941060182206e-06,
        8.505859474334932e-07,
        -1.2570706958942766e-07,
        1.3626990986425039e-08,
        -1.0257277174571135e-09,
        4.796190532715406e-11,
        -1.0496611002131584e-12,
    ),
    tanh_small=(  # 2**-60.1
        -0.3333333333333333,
        0.133333333333307,
        -0.05396825396565534,
        0.021869488431560526,
        -0.008863233254178648,
        0.0035920979146568358,
        -0.001455577250364933,
        0.0005885747302714789,
        -0.00023368966358133797,
        8.373042877024864e-05,
        -1.973590557171654e-05,
    ),
)
