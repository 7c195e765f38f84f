"""Random numbers, from a counter: Philox4x32-10.

The n-th number depends on the seed and on n alone. So the same draw gives the same bits in every
backend, compiled or not, whatever the number of threads; and the whole state is two integers.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import LampionError
from lampion.forks import wait_for
from lampion.mode import mode
from lampion.ops.complex_numbers import complex
from lampion.ops.define import cast_to, kernel, operation
from lampion.ops.elementwise import cos, log, lt, shift_right, sqrt, where
from lampion.ops.movement import reshape
from lampion.ops.shapes import flatten_sizes
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor, check_device, wrap


@kernel(public=False)
class random_bits:
    """32 random bits an element. Element i is lane i % 4 of the block with counter offset + delta + i // 4.

    `state` is uint64[2]: the seed, which is Philox's key, and the offset.
    """

    def infer(state, size, delta): return (size,), np.dtype(np.uint32)

    def forward(xp, state, size, delta):
        blocks, (seed, offset) = -(-size // 4), (int(n) for n in state)
        half, word = xp.uint64(32), xp.uint64(0xFFFFFFFF)
        c1 = xp.arange(blocks, dtype=xp.uint64)
        c1 += xp.uint64((offset + delta) % 2**64)
        c0 = c1 & word
        c1 >>= half
        c2, c3 = xp.zeros((2, blocks), xp.uint64)
        for step in range(10):  # all in place: half of the time would go into new memory
            c0 *= xp.uint64(0xD2511F53)
            c2 *= xp.uint64(0xCD9E8D57)
            c1 ^= xp.uint64((seed + step * 0x9E3779B9) & 0xFFFFFFFF)
            c3 ^= xp.uint64(((seed >> 32) + step * 0xBB67AE85) & 0xFFFFFFFF)
            c1 ^= c2 >> half
            c3 ^= c0 >> half
            c2 &= word
            c0 &= word
            c0, c1, c2, c3 = c1, c2, c3, c0
        lanes = xp.empty((blocks, 4), xp.uint32)
        lanes[:, 0], lanes[:, 1], lanes[:, 2], lanes[:, 3] = c0, c1, c2, c3
        return lanes.reshape(-1)[:size]

    def call(state, size, delta): return apply(random_bits.primitive, state, size=size, delta=delta)


_drawing = threading.Lock()
wait_for(_drawing.acquire, _drawing.release)
#: Draws of up to so many blocks come from a store of so many.
_FEW, _STORED = 64, 512


class Generator:
    """A source of random numbers: a seed, and how many blocks of four have been drawn.

    >>> import lampion
    >>> a, b = lampion.Generator().manual_seed(1), lampion.Generator().manual_seed(1)
    >>> bool((lampion.rand(3, generator=a) == lampion.rand(3, generator=b)).all())
    True
    """

    device: str
    seed_value: int
    offset: int
    _store: tuple[int, int, np.ndarray[Any, Any]] = -1, 0, np.empty(0, np.uint32)  # see `_few`

    def __init__(self, device: str = "cpu") -> None:
        _outside_of_traces("makes a generator")
        check_device("Generator", device)
        self.device = "cpu"
        self.seed_value = int.from_bytes(os.urandom(7), "little")
        self.offset = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start again from this seed."""
        _outside_of_traces("seeds a generator")
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise LampionError("manual_seed", "the seed does not fit into 64 bits", got=str(seed))
        self.seed_value, self.offset = seed % 2**64, 0
        return self

    def initial_seed(self) -> int:
        """The seed that the numbers start from."""
        _outside_of_traces("reads the seed of a generator")
        return self.seed_value

    def seed(self) -> int:
        """Start again from a seed that nobody knows beforehand; it is returned."""
        return self.manual_seed(int.from_bytes(os.urandom(7), "little")).seed_value

    def get_state(self) -> Tensor:
        """The whole state, as a tensor of two integers."""
        _outside_of_traces("reads the state of a generator")
        return wrap(self.array())

    def set_state(self, state: Tensor) -> None:
        """Go on from a state that `get_state` returned."""
        _outside_of_traces("sets the state of a generator")
        self.seed_value, self.offset = (int(n) for n in state._array)

    def array(self) -> np.ndarray[Any, Any]:
        """The state as the primitive takes it."""
        return np.array([self.seed_value, self.offset], np.uint64)

    def bits(self, size: int) -> Tensor:
        """The next `size` words of 32 bits."""
        blocks = -(-size // 4)
        if mode.trace is not None:
            state, delta = mode.trace.draw(self, blocks)
            return random_bits(state, size, delta)
        with _drawing:  # two threads never get the same numbers
            if blocks <= _FEW:
                return wrap(self._few(blocks)[:size])
            state = self.array()
            self.offset += blocks
        return random_bits(wrap(state), size, 0)

    def _few(self, blocks: int) -> np.ndarray[Any, Any]:
        """The words of the next few blocks: from a store, since computing 2 or 2000 takes the same time."""
        seed, first, words = self._store
        start = 4 * (self.offset - first)
        if seed != self.seed_value or not 0 <= start <= len(words) - 4 * blocks:
            state, start = self.array(), 0
            words = random_bits.primitive.forward(np, state, 4 * _STORED, 0)
            self._store = self.seed_value, self.offset, words
        self.offset += blocks
        return words[start : start + 4 * blocks].copy()  # type: ignore[no-any-return]


def _outside_of_traces(what: str) -> None:
    """A compiled step draws from the generators that it finds; changing them is not part of it."""
    if mode.trace is not None:
        mode.trace.refuse(what, "do that outside of the compiled function")


default_generator = Generator()


def manual_seed(seed) -> Generator:
    """Seed the default generator: from here on, everything random is the same in every run."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator with a number that nobody knows beforehand; it is returned."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state():
    """The state of the default generator, as a tensor."""
    return default_generator.get_state()


def set_rng_state(state) -> None:
    """Go on from a state that `get_rng_state` returned."""
    default_generator.set_state(state)


def _finished(name, out, device, requires_grad):
    check_device(name, device)
    out = out._released()
    return out.requires_grad_() if requires_grad else out


def _sizes(sizes, size):
    """``f(2, 3)``, ``f((2, 3))`` and ``f(size=(2, 3))`` alike."""
    return flatten_sizes(sizes if size is None else (tuple(size),))


@operation(method=False)
def rand(
    *sizes, size=None, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Uniform numbers in [0, 1): the top 24 (float64: 53) of the random bits, scaled.

    Of a complex type, both parts are uniform.
    """
    shape = _sizes(sizes, size)
    dtype = dtypes.of(dtype or dtypes.get_default_dtype())
    out = _uniform(math.prod(shape), generator or default_generator, dtype)
    return _finished("rand", reshape(out, shape), device, requires_grad)


#: How many bits the numbers have that are drawn as 32 bits: as many as fit, so that none is rounded to 1.
_BITS = {dtypes.float32: 24, dtypes.float16: 11, dtypes.bfloat16: 8}


def _uniform(count, generator, dtype):
    if dtype.is_complex:
        part = dtype.to_real()
        return complex(_uniform(count, generator, part), _uniform(count, generator, part))
    if dtype in _BITS:
        bits = shift_right(generator.bits(count), 32 - _BITS[dtype])
        return cast_to(cast_to(bits, dtypes.float32) * 2.0 ** -_BITS[dtype], dtype)
    if dtype is not dtypes.float64:
        raise LampionError("rand", "uniform numbers are floats", expected="a floating or complex type",
                           got=str(dtype))  # fmt: skip
    words = reshape(generator.bits(2 * count), count, 2)
    high, low = shift_right(words[:, 0], 5), shift_right(words[:, 1], 6)
    return (cast_to(high, dtype) * 2.0**26 + cast_to(low, dtype)) * 2.0**-53


@operation(method=False)
def randn(
    *sizes, size=None, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):
    """Normal numbers with mean 0 and variance 1 (Box-Muller: sqrt(-2 ln u) cos(2 pi v)).

    Of a complex type, each part has variance 1 / 2.
    """
    shape = _sizes(sizes, size)
    dtype = dtypes.of(dtype or dtypes.get_default_dtype())
    out = _normal(math.prod(shape), generator or default_generator, dtype)
    return _finished("randn", reshape(out, shape), device, requires_grad)


def _normal(count, generator, dtype):
    if dtype.is_complex:
        part = dtype.to_real()
        return complex(_normal(count, generator, part), _normal(count, generator, part)) * math.sqrt(0.5)
    if dtype.is_half:
        return cast_to(_normal(count, generator, dtypes.float32), dtype)
    radius = sqrt(log(1.0 - _uniform(count, generator, dtype)) * -2.0)
    return radius * cos(_uniform(count, generator, dtype) * (2 * math.pi))


@kernel(public=False)
class wide_integers:
    """Whole numbers from `low` on, `count` different ones, from 64 bits each (two words)."""

    def infer(words, low, count): return (words.size // 2,), np.dtype(np.int64)

    def forward(xp, words, low, count):
        wide = words[0::2].astype(xp.uint64) << xp.uint64(32) | words[1::2]
        if count < 2**64:
            wide %= xp.uint64(count)  # the bias is below 2**-64 times the range
        return (wide + xp.uint64(low % 2**64)).view(xp.int64)

    def call(words, low, count): return apply(wide_integers.primitive, words, low=low, count=count)


@operation(method=False)
def randint(
    low=0, high=None, size: tuple[int, ...] | list[int] = (), *, generator=None, dtype=None, layout=None,
    device=None, requires_grad=False, pin_memory=False,
):
    """Integers from `low` up to, not including, `high`.

    ``randint(high, size)`` or ``randint(low, high, size)``.

    >>> import lampion
    >>> lampion.randint(1, (3,))
    tensor([0, 0, 0])
    """
    if isinstance(high, tuple | list):
        high, size = None, high
    if high is None:
        low, high = 0, low
    size = flatten_sizes((size,))
    if not low < high <= low + 2**64:
        raise LampionError("randint", "the range is empty or too wide", expected="low < high <= low + 2**64",
                           got=f"{low} to {high}")  # fmt: skip
    generator = generator or default_generator
    if high - low <= 2**32:
        # Multiply and take the upper word: no division, and the bias is below 2**-32 times the range.
        wide = shift_right(cast_to(generator.bits(math.prod(size)), dtypes.uint64) * (high - low), 32)
        numbers = cast_to(wide, dtypes.int64) + low
    else:
        numbers = wide_integers(generator.bits(2 * math.prod(size)), low, high - low)
    out = cast_to(reshape(numbers, size), dtypes.of(dtype or dtypes.int64))
    return _finished("randint", out, device, requires_grad)


@kernel(public=False)
class shuffled:
    """The numbers 0 to n - 1 in the order of 64 random bits each."""

    def infer(bits): return (bits.size // 2,), np.dtype(np.int64)

    def forward(xp, bits):
        n = bits.size // 2
        return xp.argsort(bits[:n].astype(xp.uint64) << xp.uint64(32) | bits[n:], kind="stable")

    def call(bits): return apply(shuffled.primitive, bits)


@operation(method=False)
def randperm(
    n, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """The numbers 0 to n - 1 in random order."""
    if n < 0:
        raise LampionError("randperm", "the number is negative", expected="n >= 0", got=str(n))
    out = cast_to(shuffled((generator or default_generator).bits(2 * n)), dtypes.of(dtype or dtypes.int64))
    return _finished("randperm", out, device, requires_grad)


@operation(method=False)
def rand_like(
    x, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
    memory_format=None,
):
    """Uniform numbers in [0, 1) with the shape and dtype of `x`."""
    dtype = dtype or x.dtype
    return rand(*x.shape, generator=generator, dtype=dtype, device=device, requires_grad=requires_grad)


@operation(method=False)
def randn_like(
    x, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False,
    memory_format=None,
):
    """Normal numbers with the shape and dtype of `x`."""
    dtype = dtype or x.dtype
    return randn(*x.shape, generator=generator, dtype=dtype, device=device, requires_grad=requires_grad)


@operation(method=False)
def randint_like(
    x, low=0, high=None, *, generator=None, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False, memory_format=None,
):
    """Integers from `low` up to, not including, `high`, with the shape and dtype of `x`.

    ``randint_like(x, high)`` or ``randint_like(x, low, high)``.
    """
    low, high = (0, low) if high is None else (low, high)
    return randint(
        low, high, tuple(x.shape), generator=generator, dtype=dtype or x.dtype, device=device,
        requires_grad=requires_grad,
    )


def bernoulli_mask(shape, probability, generator=None):
    """True with the given probability, from 32 bits an element."""
    bits = (generator or default_generator).bits(math.prod(shape))
    threshold = min(round(probability * 2**32), 2**32)
    if threshold == 2**32:
        return reshape(bits >= 0, shape)
    return reshape(lt(bits, threshold), shape)


def dropout(x, p=0.5, training=True):
    """Zero each element with probability `p`, and scale the others by 1 / (1 - p), so that means stay.

    Source: N. Srivastava et al.: "Dropout" (JMLR 2014); Deep Learning from Scratch 1, section 6.4.3
    (whose version scales when testing instead).
    """
    x = x if isinstance(x, Tensor) else as_tensor(x)
    if not 0.0 <= p <= 1.0:
        raise LampionError("dropout", "p is a probability", expected="0 <= p <= 1", got=str(p))
    if not training or p == 0.0:
        return x
    if p == 1.0:
        return x * 0.0
    return where(bernoulli_mask(x.shape, 1.0 - p), x * (1.0 / (1.0 - p)), 0.0)
