"""Samples of distributions, from the generator of `random.py`: also inside of compiled functions.

What can be said with uniform and normal numbers is composed of them. The counts and the gamma
distribution need an unknown number of tries an element: NumPy's samplers make them, from a stream of
their own that 128 bits of the generator select. So these, too, depend on the seed alone (and on the
version of NumPy).
"""

from __future__ import annotations

import math

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.mode import mode
from lampion.numerics import gamma
from lampion.ops.arithmetic import clamp_min
from lampion.ops.conversions import copy_
from lampion.ops.cumulative import running_sum
from lampion.ops.define import METHODS, cast_to, kernel, operation, promote
from lampion.ops.elementwise import add, div, exp, lt, mul, neg
from lampion.ops.exponentials import log1p
from lampion.ops.movement import broadcast_to
from lampion.ops.random import default_generator, rand, randint, randn
from lampion.ops.reduce import sum
from lampion.ops.rounding import ceil
from lampion.ops.shapes import broadcast_shapes, flatten_sizes
from lampion.ops.sorting import places_among, topk
from lampion.ops.trigonometry import tan
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


def _must(name, holds, problem, expected, got):
    """Refuse numbers that are no parameter; of tensors in a trace nothing is known."""
    if isinstance(holds, Tensor):
        holds = mode.trace is not None or bool(holds.all())
    if not holds:
        raise LampionError(name, problem, expected=expected, got=got)


# -- from uniform and normal numbers -----------------------------------------------------------------------


@operation(method=False)
def normal(
    mean, std=1.0, size=None, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):  # fmt: skip
    """Normal numbers of the given mean and standard deviation: a number for each, or tensors.

    With two numbers, `size` is the shape; otherwise the shape is that of the tensors, broadcast.

    >>> import lampion
    >>> lampion.normal(lampion.zeros(2, 1), lampion.ones(3)).shape
    (2, 3)
    """
    tensors = [x for x in (mean, std) if isinstance(x, Tensor)]
    for x in tensors:
        if not x.dtype.is_inexact:
            raise DTypeError("normal", "expected floats", got=str(x.dtype), fix="x.float()")
    spread = std.detach().real if isinstance(std, Tensor) else std
    _must("normal", spread >= 0, "a standard deviation is negative", "0 or more", "less")
    if tensors and size is not None:
        raise LampionError("normal", "the tensors have a shape already", expected="no size", got=str(size))
    if not tensors:
        shape = flatten_sizes((() if size is None else size,))
        out = randn(shape, generator=generator, dtype=dtype, device=device) * std + mean
        return out.requires_grad_() if requires_grad else out
    mean, std = (x.detach() if isinstance(x, Tensor) else x for x in (mean, std))
    shape = broadcast_shapes("normal", [x.shape for x in tensors])
    dtype = promote("normal", *tensors)[0].dtype if len(tensors) == 2 else tensors[0].dtype
    return add(mul(randn(shape, generator=generator, dtype=dtype), std), mean)


@operation
def bernoulli(input, p: float | None = None, *, generator=None):
    """1 with the probability that each element says (or, with `p`, that), otherwise 0; in the input's type.

    >>> import lampion
    >>> lampion.bernoulli(lampion.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    x = as_tensor(input).detach()
    if p is None:
        if not x.dtype.is_floating_point:
            raise DTypeError("bernoulli", "probabilities are floats", got=str(x.dtype), fix="x.float()")
        _must("bernoulli", (x >= 0) & (x <= 1), "an element is no probability", "0 to 1", "other numbers")
        p = x
    return _chosen("bernoulli", x, p, generator)


def _chosen(name, x, p, generator):
    if not isinstance(p, Tensor):
        _must(name, 0 <= p <= 1, "p is no probability", "0 to 1", str(p))
    dtype = p.dtype if isinstance(p, Tensor) and p.dtype is dtypes.float64 else dtypes.float32
    return cast_to(lt(rand(*x.shape, generator=generator, dtype=dtype), p), x.dtype)


@operation
def multinomial(input, num_samples: int, replacement: bool = False, *, generator=None):
    """Indices drawn with probabilities in proportion to the numbers of each row, `num_samples` a row.

    Args:
        replacement: whether an index can be drawn again.

    Without replacement, the largest of the quotients of the weights and exponential numbers are taken: that
    is as if they were drawn one after the other.

    Source: P. Efraimidis, P. Spirakis: "Weighted random sampling with a reservoir" (2006).

    >>> import lampion
    >>> lampion.multinomial(lampion.tensor([0.0, 1.0, 0.0]), 3, replacement=True)
    tensor([1, 1, 1])
    """
    x = as_tensor(input).detach()
    if x.ndim not in (1, 2) or not x.dtype.is_floating_point:
        raise ShapeError("multinomial", "expected floats in one or two dimensions",
                         got=f"{x.dtype}, {tuple(x.shape)}")  # fmt: skip
    n = x.shape[-1]
    if num_samples < 1 or (not replacement and num_samples > n):
        raise LampionError("multinomial", "cannot draw that many", got=f"{num_samples} of {n}",
                           expected="1 or more" if replacement else f"1 to {n}")  # fmt: skip
    enough = 1 if replacement else num_samples
    _must("multinomial", (x >= 0) & (x < math.inf), "a weight is negative or not finite", "0 or more", "less")
    _must("multinomial", sum(x > 0, -1) >= enough, "too few weights are not 0", f"{enough} or more", "fewer")
    weights = cast_to(x, dtypes.float64)
    if replacement:
        shares = running_sum(weights, x.ndim - 1)
        where = rand(*x.shape[:-1], num_samples, generator=generator, dtype=dtypes.float64)
        wanted = where * shares[..., -1:]
        if num_samples == 1:  # the same by counting, which is machine code: the next word of a text
            return sum(shares <= wanted, -1, True)
        return places_among(shares, wanted, True)
    waits = neg(log1p(neg(rand(*x.shape, generator=generator, dtype=dtypes.float64))))
    return topk(div(weights, clamp_min(waits, 1e-300)), num_samples).indices


# -- overwriting a tensor ------------------------------------------------------------------------------------


def _overwriting(function):
    METHODS[function.__name__] = function
    return function


def _uniform_for(self, generator):
    """Uniform numbers for each element, in a floating type."""
    dtype = self.dtype if self.dtype.is_floating_point else dtypes.get_default_dtype()
    return rand(*self.shape, generator=generator, dtype=dtypes.float32 if dtype.is_half else dtype)


def _floats(name, self):
    if not self.dtype.is_inexact:
        raise DTypeError(name, "expected a tensor of floats", got=str(self.dtype), fix="x.float()")


@_overwriting
def uniform_(self, low=0.0, to=1.0, *, generator=None):
    """Overwrite with uniform numbers in [low, to)."""
    _floats("uniform_", self)
    _must("uniform_", low <= to, "the bounds are exchanged", "low <= to", f"{low} and {to}")
    return copy_(self, rand(*self.shape, generator=generator, dtype=self.dtype) * (to - low) + low)


@_overwriting
def normal_(self, mean=0.0, std=1.0, *, generator=None):
    """Overwrite with normal numbers."""
    _floats("normal_", self)
    _must("normal_", std >= 0, "the standard deviation is negative", "0 or more", str(std))
    return copy_(self, randn(*self.shape, generator=generator, dtype=self.dtype) * std + mean)


@_overwriting
def log_normal_(self, mean=1.0, std=2.0, *, generator=None):
    """Overwrite with numbers whose logarithms are normal, of that mean and standard deviation."""
    _floats("log_normal_", self)
    _must("log_normal_", std > 0, "the standard deviation is not positive", "more than 0", str(std))
    return copy_(self, exp(randn(*self.shape, generator=generator, dtype=self.dtype) * std + mean))


@_overwriting
def exponential_(self, lambd=1.0, *, generator=None):
    """Overwrite with positive numbers of the density ``lambd * e**(-lambd x)``."""
    _floats("exponential_", self)
    _must("exponential_", lambd > 0, "the rate is not positive", "more than 0", str(lambd))
    u = _uniform_for(self, generator)
    waits = clamp_min(neg(log1p(neg(u))), float(dtypes.finfo(u.dtype).eps) / 4)  # never 0
    return copy_(self, waits / lambd)


@_overwriting
def cauchy_(self, median=0.0, sigma=1.0, *, generator=None):
    """Overwrite with numbers of the density ``1 / (pi sigma (1 + ((x - median) / sigma)**2))``."""
    _floats("cauchy_", self)
    _must("cauchy_", sigma > 0, "sigma is not positive", "more than 0", str(sigma))
    return copy_(self, tan((_uniform_for(self, generator) - 0.5) * math.pi) * sigma + median)


@_overwriting
def geometric_(self, p, *, generator=None):
    """Overwrite with how many tries it takes until something of probability `p` happens: 1, 2, 3..."""
    _must("geometric_", 0 < p < 1, "p is no probability below 1", "0 < p < 1", str(p))
    tries = ceil(div(log1p(neg(_uniform_for(self, generator))), math.log1p(-p)))
    return copy_(self, clamp_min(tries, 1))


@_overwriting
def bernoulli_(self, p=0.5, *, generator=None):
    """Overwrite with 1 of probability `p` (a number, or a tensor of one for each element), otherwise 0."""
    if isinstance(p, Tensor):
        p = broadcast_to(p.detach(), self.shape)
    return copy_(self, _chosen("bernoulli_", self, p, generator))


@_overwriting
def random_(self, low=None, to=None, *, generator=None):
    """Overwrite with whole numbers: ``random_(to)`` from 0 up to, not including, `to`;
    ``random_(low, to)``; without bounds, all that the type holds exactly, none negative.
    """
    if to is None and low is not None:
        low, to = None, low
    low, high = low or 0, to
    if high is None:
        if self.dtype.is_floating_point:
            largest = round(2 / dtypes.finfo(self.dtype).eps)
        else:
            largest = 1 if self.dtype is dtypes.bool_ else int(self.dtype.max)
        high = largest + 1
    return copy_(self, randint(low, high, tuple(self.shape), generator=generator))


# -- from an unknown number of tries -------------------------------------------------------------------------


@kernel(public=False)
class tried:
    """One of NumPy's samplers, with the stream that four words select."""

    def infer(words, *parameters, sampler):
        return broadcast_shapes(sampler, [x.shape for x in parameters]), parameters[0].dtype

    def forward(xp, words, *parameters, sampler):
        key = words.astype(np.uint64)
        key = key[0::2] << np.uint64(32) | key[1::2]
        stream = np.random.Generator(np.random.Philox(key=key))
        if sampler == "binomial":
            parameters = (parameters[0].astype(np.int64), parameters[1])
        size = np.broadcast_shapes(*(x.shape for x in parameters))
        return getattr(stream, sampler)(*parameters, size=size).astype(np.float64, copy=False)

    def call(sampler, *parameters, generator):
        """Samples with these parameters, floats of one type."""
        words = (generator or default_generator).bits(4)
        wide = [cast_to(x.detach(), dtypes.float64) for x in parameters]
        return cast_to(apply(tried.primitive, words, *wide, sampler=sampler), parameters[0].dtype)


@operation(method=False)
def poisson(input, generator=None):
    """How often something happens that happens as often on average as each element says.

    >>> import lampion
    >>> lampion.poisson(lampion.zeros(2))
    tensor([0., 0.])
    """
    x = as_tensor(input)
    _floats("poisson", x)
    _must("poisson", x.detach() >= 0, "a rate is negative", "0 or more", "less")
    return tried("poisson", x, generator=generator)


@operation(method=False)
def binomial(count, prob: Tensor, generator=None):
    """How often something of probability `prob` happens in `count` tries, both tensors of floats.

    >>> import lampion
    >>> lampion.binomial(lampion.tensor([5.0, 7.0]), lampion.tensor([0.0, 1.0]))
    tensor([0., 7.])
    """
    count, prob = promote("binomial", count, prob)
    _floats("binomial", count)
    _must("binomial", count.detach() >= 0, "a number of tries is negative", "0 or more", "less")
    _must("binomial", (prob.detach() >= 0) & (prob.detach() <= 1), "no probability", "0 to 1", "others")
    return tried("binomial", count, prob, generator=generator)


@kernel(public=False, saves=(0, 1))
class pathwise_gamma:
    """The sample x of a gamma distribution, as a function of its concentration a."""

    def infer(a, x): return x.shape, x.dtype
    def forward(xp, a, x): return x.copy()
    def vjp(g, a, x): return mul(g, gamma_slope(a, x)), None
    def call(a, x): return apply(pathwise_gamma.primitive, a, x)


@kernel(public=False)
class gamma_slope:
    """How a sample x of the gamma distribution moves with the concentration a: -(dP/da) / (dP/dx).

    P(a, x) is the sum of x**(a + n) e**-x / gamma(a + n + 1) over n. Its derivative by a, divided by the
    density, has the terms c[n] (ln x - digamma(a + n + 1)) with c[0] = x / a, c[n] = c[n - 1] x / (a + n).

    Source: M. Figurnov, S. Mohamed, A. Mnih: "Implicit reparameterization gradients" (NeurIPS 2018).
    """

    def infer(a, x): return x.shape, x.dtype

    def forward(xp, a, x):
        dtype = x.dtype
        a, x = a.astype(xp.float64), xp.maximum(x.astype(xp.float64), 1e-300)
        term, psi, n = x / a, gamma.digamma(xp, a + 1), 0
        logarithm, total = xp.log(x), xp.zeros(x.shape)
        while True:
            part = term * (logarithm - psi)
            total += part
            n += 1
            psi = psi + 1 / (a + n)
            term = term * x / (a + n)
            # Behind the largest term they fall faster than a geometric series.
            small = (xp.abs(part) <= 1e-17 * xp.abs(total)) & (a + n > x)
            if small.all() or n > 100_000:
                return (-total).astype(dtype)

    def call(a, x): return apply(gamma_slope.primitive, a, x)


def standard_gamma(input, generator=None):
    """Samples of gamma distributions of scale 1, with the concentration that each element says.

    Differentiable: the gradient says how the samples move with the concentrations.
    """
    a = as_tensor(input)
    _floats("standard_gamma", a)
    _must("standard_gamma", a.detach() > 0, "a concentration is not positive", "more than 0", "others")
    x = clamp_min(tried("standard_gamma", a, generator=generator), float(dtypes.finfo(a.dtype).tiny))
    return pathwise_gamma(a, x) if a.requires_grad else x


def dirichlet(input, generator=None):
    """Samples of Dirichlet distributions: shares that add up to 1 along the last dimension."""
    x = standard_gamma(input, generator)
    return div(x, sum(x, -1, True))
