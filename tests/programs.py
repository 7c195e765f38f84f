"""Random small programs of views and in-place writes, that NumPy, PyTorch and Lampion can all run.

A program is a list of steps; each step is a few numbers, which choose among what is possible at that
point. What is possible depends on shapes alone, so every library takes the same way.
"""

import numpy as np
from hypothesis import strategies as st

SHAPES = ((2, 3), (3,), (2, 1, 2))
numbers = st.integers(0, 63)
programs = st.lists(st.tuples(st.integers(0, 14), numbers, numbers, numbers), min_size=1, max_size=10)


class Array:
    """A NumPy array with the methods that tensors have, as far as the programs use them."""

    def __init__(self, array):
        self.array = array

    shape = property(lambda self: self.array.shape)

    def clone(self):
        return Array(self.array.copy())

    def permute(self, *dims):
        return Array(self.array.transpose(dims))

    def reshape(self, *shape):
        return Array(self.array.reshape(shape))

    def unsqueeze(self, dim):
        return Array(np.expand_dims(self.array, dim))

    def __getitem__(self, key):
        return Array(self.array[key])

    def __setitem__(self, key, value):
        self.array[key] = value.array

    def sin(self):
        return Array(np.sin(self.array))

    def sum(self):
        return Array(np.sum(self.array))

    def __add__(self, other):
        return Array(self.array + getattr(other, "array", other))

    def __mul__(self, other):
        return Array(self.array * getattr(other, "array", other))

    def add_(self, other):
        self.array[...] += other.array

    def sub_(self, other):
        self.array[...] -= other.array

    def mul_(self, other):
        self.array[...] *= other.array

    def div_(self, other):
        self.array[...] /= other.array

    def copy_(self, other):
        self.array[...] = other.array

    def fill_(self, value):
        self.array.fill(value)

    def zero_(self):
        self.array.fill(0)


def run(program, inputs):
    """Run a program on tensors of any of the libraries; returns all that it made."""
    made = [x.clone() for x in inputs]
    for kind, a, b, c in program:
        x = made[a % len(made)]
        step(made, kind, x, made[b % len(made)], b, c)
    return made


def step(made, kind, x, y, b, c):
    shape = tuple(x.shape)
    ndim = len(shape)
    if kind == 0:
        order = list(range(ndim))
        made.append(x.permute(*order[b % ndim :], *order[: b % ndim]) if ndim else x.reshape(1))
    elif kind == 1 and ndim:
        axis = b % ndim
        if shape[axis]:
            made.append(x[(slice(None),) * axis + (c % shape[axis],)])
    elif kind == 2 and ndim:
        axis = b % ndim
        made.append(x[(slice(None),) * axis + (slice(c % 2, None, 1 + c % 3),)])
    elif kind == 3:
        made.append(x.unsqueeze(b % (ndim + 1)))
    elif kind == 4:
        made.append(x.reshape(-1))
    elif kind == 5:
        made.append(x.sin())
    elif kind == 6:
        made.append(x + small(y, shape))
    elif kind == 7:
        x.add_(small(y, shape))
    elif kind == 8:
        x.mul_(small(y, shape))
    elif kind == 9:
        x.copy_(small(y, shape))
    elif kind == 10:
        x.fill_(0.5) if b % 2 else x.zero_()
    elif kind == 11 and ndim:
        x[: 1 + b % 2] = small(y, ())
    elif kind == 12:
        x.sub_(small(y, shape))
    elif kind == 13:
        x.div_(small(y, shape) + 2.0)
    elif kind == 14:
        made.append(x * small(y, shape))


def small(y, shape):
    """Something fresh, between -1 and 1, made of y, that stretches to the shape."""
    have = tuple(y.shape)
    fits = len(have) <= len(shape) and all(n in (1, m) for n, m in zip(have[::-1], shape[::-1], strict=False))
    return (y if fits else y.sum()).sin()


def loss(made):
    """One number that every element of every tensor has a part in."""
    total = 0.0
    for number, x in enumerate(made):
        total = (x * (0.1 * number + 1)).sin().sum() + total
    return total


def numbers_for(seed=0):
    """Arrays to start from."""
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, shape) for shape in SHAPES]
