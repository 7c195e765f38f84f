"""How the transforms draw: from Lampion's generator, the same numbers whatever kind the image is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lampion import ops
from lampion.errors import OptionError
from lampion.random import default_generator


def uniform(low: float, high: float) -> float:
    """A number from low to high."""
    return low + (high - low) * _share()


def _share() -> float:
    """A number from 0 on, below 1: of 53 bits, from two words of the generator (a third of `rand`'s time)."""
    upper, lower = default_generator.bits(2).tolist()
    return float((upper << 21 | lower >> 11) / 2**53)


def log_uniform(low: float, high: float) -> float:
    """A number from low to high, whose logarithm is uniform: half is as probable as double."""
    return math.exp(uniform(math.log(low), math.log(high)))


def number_below(count: int) -> int:
    """One of 0 ... count - 1."""
    return int(_share() * count)


def happens(p: float) -> bool:
    """True, with probability p."""
    return uniform(0, 1) < p


def order_of(count: int) -> list[int]:
    """0 ... count - 1 in any order."""
    numbers: list[int] = ops.randperm(count).tolist()
    return numbers


def chosen(shares: Sequence[float]) -> int:
    """The number of one of them, each as probable as its share of the sum."""
    place = uniform(0, sum(shares))
    for number, share in enumerate(shares):
        place -= share
        if place < 0:
            return number
    return len(shares) - 1


def probability(name: str, p: float) -> float:
    """p, checked."""
    if not 0 <= p <= 1:
        raise OptionError(name, "p is a probability", expected="from 0 to 1", got=str(p))
    return p
