"""Random programs for the compiler: a list of steps, each a few numbers that choose among what is possible.

What is possible depends on shapes and dtypes alone, so that every reading of the program goes the same way.
All numbers stay small and away from poles, and only numbers that no reading rounds (inputs, and what is
picked out of them) are compared or converted to integers: so rounding does not decide anything.
"""

from __future__ import annotations

import numpy as np
from compile_actions import Actions, broadcasts, fitted, small_index, stretches
from hypothesis import strategies as st

import lampion as lp
from lampion import autograd
from lampion.nn import functional as F
from lampion.ops.random import default_generator

SHAPES = ((2, 3), (3,), (4, 1), (), (2, 1, 3), (3, 2), (0, 3), (1, 5), (8, 17))
DTYPES = (lp.float32, lp.float32, lp.float64, lp.int64, lp.bool, lp.int32)
LIMIT = 400  # elements: larger results are left out

numbers = st.integers(0, 99)
steps = st.lists(st.tuples(st.integers(0, 339), numbers, numbers, numbers), min_size=1, max_size=12)
kinds = st.tuples(st.integers(0, len(SHAPES) - 1), st.integers(0, len(DTYPES) - 1), st.integers(0, 5))
inputs = st.lists(kinds, min_size=1, max_size=4)


def make_inputs(specs, seed=0):
    """Tensors of the given shapes, dtypes and layouts in memory."""
    rng = np.random.default_rng(seed)
    made = []
    for shape, dtype, layout in specs:
        shape, dtype = SHAPES[shape], DTYPES[dtype]
        array = _array(rng, _stored(shape, layout), dtype)
        if layout == 1:
            array = array.T
        elif layout == 2:
            array = array[tuple(slice(None, None, 2) for _ in shape)]
        elif layout == 3:
            array = array[tuple(slice(None, None, -1) for _ in shape)]
        elif layout == 4 and shape:
            array = np.broadcast_to(array[:1], shape)
        x = lp.from_numpy(np.asarray(array))
        made.append(x.requires_grad_() if layout == 5 and dtype.is_floating_point else x)
    return made


def _stored(shape, layout):
    if layout == 1:
        return shape[::-1]
    return tuple(2 * n for n in shape) if layout == 2 else shape


def _array(rng, shape, dtype):
    if dtype is lp.bool:
        return rng.random(shape) < 0.5
    if dtype.kind == "i":
        return rng.integers(-3, 4, shape).astype(dtype.numpy)
    return np.asarray(rng.uniform(-1.5, 1.5, shape)).astype(dtype.numpy)


class Program(Actions):
    """Runs steps; `made` holds the tensors so far, inputs first."""

    def __init__(self, program, inputs, writes=True):
        self.made = list(inputs)
        self.writes = writes  # whether steps may write in place
        self.number = lp.tensor(2)
        self.exact = list(inputs)  # the tensors that are the same in every reading, to the last bit
        for kind, a, b, c in program:
            self.step(kind, a, b, c)

    def pick(self, a, kinds="fib", exact=False):
        """A tensor of one of these kinds: f, i, b (bool); converted if there is none."""
        fits = [x for x in self.made if x.dtype.kind in kinds and (not exact or self.is_exact(x))]
        if fits:
            return fits[a % len(fits)]
        x = self.number if "i" in kinds else self.made[0]
        return x.float() if "f" in kinds else x

    def is_exact(self, x):
        for y in self.exact:  # noqa: SIM110  # the compiler follows this, and does not know `any`'s generator
            if y is x:
                return True
        return False

    def keep(self, x, *sources):
        """Add a result; it is as exact as its sources, if they are given."""
        if x.numel() <= LIMIT and x.ndim <= 4:
            self.made.append(x)
            if x.dtype.kind != "f" or (sources and all([self.is_exact(source) for source in sources])):  # noqa: C419  # followed, too
                self.exact.append(x)

    def step(self, kind, a, b, c):
        actions = (
            self.unary, self.unary, self.binary, self.binary, self.binary, self.compare, self.choose,
            self.convert, self.reduce, self.reduce, self.move, self.move, self.move, self.multiply,
            self.gather, self.join, self.with_number, self.write, self.write, self.write, self.random,
            self.composed, self.pieces, self.scatter, self.order, self.steps_along, self.statistics,
            self.whole, self.three, self.look, self.look, self.products, self.places, self.write_at,
        )  # fmt: skip
        actions[kind % len(actions)](kind // len(actions), a, b, c)

    # -- elementwise ---------------------------------------------------------------------------------------

    def unary(self, kind, a, b, c):
        x = self.pick(a, "f")
        functions = (
            lp.tanh, lp.sigmoid, lp.relu, lp.neg, lp.sin, lp.cos, lambda x: lp.exp(lp.tanh(x)),
            lambda x: lp.sqrt(x * x + 1), lambda x: lp.log(x * x + 1), lambda x: x.clone(),
            lambda x: x.detach(), lambda x: (x * x + 0.5) ** 1.5, lambda x: x**2,
            lambda x: lp.expm1(lp.sin(x)),
        )  # fmt: skip
        self.keep(functions[b % len(functions)](x))

    def binary(self, kind, a, b, c):
        x, y = self.pick(a), self.pick(b)
        y = fitted(y, x.shape) if b % 3 else y
        if not broadcasts(x, y):
            y = fitted(y, x.shape)
        name = ("add", "sub", "mul", "maximum", "minimum", "div", "add", "mul")[c % 8]
        if name == "div":
            y = y.float() * y.float() + 1.0
        if x.dtype is lp.bool and y.dtype is lp.bool and name in ("sub", "div"):
            name = "mul"
        if x.dtype.kind == "i" and y.dtype.kind != "f" and name == "mul":
            x, y = lp.minimum(lp.maximum(x, -9), 9), y
        self.keep(getattr(lp, name)(x, y))

    def with_number(self, kind, a, b, c):
        choice = c % 8
        x = self.pick(a, exact=choice > 5)
        n = (2, -1, 0.5, 1, 0, -0.0, True, 1e-3, 3)[b % 9]
        operations = (
            lambda: x + n, lambda: n - x, lambda: x * n, lambda: x / 2.5, lambda: lp.maximum(x, n),
            lambda: n + x, lambda: x > n, lambda: x == n,
        )  # fmt: skip
        if x.dtype is lp.bool:
            x = x.long()
        self.keep(operations[choice]())

    def compare(self, kind, a, b, c):
        x, y = self.pick(a, exact=True), self.pick(b, exact=True)
        y = y if stretches(y, x.shape) else fitted(self.pick(b, "ib"), x.shape)
        self.keep(getattr(lp, ("eq", "ne", "lt", "le", "gt", "ge")[c % 6])(x, y))

    def choose(self, kind, a, b, c):
        x = self.pick(a)
        y, condition = fitted(self.pick(b), x.shape), fitted(self.pick(c, "ib"), x.shape) > 0
        self.keep(lp.where(condition, x, y) if c % 4 else lp.where(condition, x, 0.25))

    def convert(self, kind, a, b, c):
        x = self.pick(a, exact=b % 4 > 1)
        to = (lp.float32, lp.float64, lp.int64, lp.bool)[b % 4]
        y = (x * 2 if x.dtype.kind == "f" and b % 4 > 1 else x).to(to)
        self.keep(y.clone() if y is x else y)  # in float64 throughout, other casts are no casts

    # -- shapes ----------------------------------------------------------------------------------------------

    def reduce(self, kind, a, b, c):
        x = self.pick(a, "f" if b % 3 else "fib")
        dim = None if c % 4 == 0 or not x.ndim else c % x.ndim
        keepdim = bool(b % 2)
        empty = x.numel() == 0
        name = ("sum", "mean", "amax", "amin", "argmax", "sum", "max")[b % 7]
        if empty and name != "sum":
            name = "sum"
        if name == "argmax":
            x = self.pick(a, exact=True)
            if x.numel():
                self.keep(x.float().reshape(-1, 1).argmax(0))
        elif name == "max":
            x = self.pick(a, "ib" if a % 2 else "fib", exact=True)
            if 0 in x.shape:
                return
            values, indices = lp.max(x.float() if x.ndim else x.float().reshape(1), 0)
            self.keep(values)
            self.keep(indices)
        elif name == "mean":
            self.keep(x.float().mean(dim, keepdim))
        else:
            self.keep(getattr(x, name)(dim, keepdim))

    def move(self, kind, a, b, c):
        x = self.pick(a)
        axis = b % x.ndim if x.ndim else 0
        choice = c % 8
        if choice == 0 and x.ndim:
            order = list(range(x.ndim))
            self.keep(x.permute(*order[axis:], *order[:axis]), x)
        elif choice == 1 and x.ndim and x.shape[axis]:
            self.keep(x[(slice(None),) * axis + (b % x.shape[axis],)], x)
        elif choice == 2 and x.ndim:
            self.keep(x[(slice(None),) * axis + (slice(b % 2, None, 1 + c % 3),)], x)
        elif choice == 3:
            self.keep(x.unsqueeze(b % (x.ndim + 1)), x)
        elif choice == 4:
            self.keep(x.reshape(-1), x)
        elif choice == 5 and x.ndim > 1:
            self.keep(x.T.reshape(x.shape), x)
        elif choice == 6:
            self.keep(lp.broadcast_to(x, (2, *x.shape)), x)
        elif choice == 7 and x.ndim:
            self.keep(x.flip(axis), x)

    def pieces(self, kind, a, b, c):
        x = self.pick(a)
        if x.ndim and 1 < x.shape[0] < 5:
            parts = [x[i] for i in range(x.shape[0])]
            self.keep(lp.stack(parts[::-1], b % (parts[0].ndim + 1)))

    def join(self, kind, a, b, c):
        x = self.pick(a)
        if x.ndim:
            y = fitted(self.pick(b), x.shape)
            self.keep(lp.cat([x, y, x], c % x.ndim))

    def multiply(self, kind, a, b, c):
        x, y = self.pick(a, "f").float(), self.pick(b, "f").float()
        x = x if x.ndim > 1 else x.reshape(1, -1)
        y = y if y.ndim > 1 else y.reshape(-1, 1)
        if c % 2:
            y = x.mT
        if x.shape[-1] != y.shape[-2] or (x.ndim > 2 and y.ndim > 2 and x.shape[:-2] != y.shape[:-2]):
            y = x.mT
        self.keep(x @ y)

    def gather(self, kind, a, b, c):
        x = self.pick(a)
        if not x.ndim or not x.numel():
            return
        dim = c % x.ndim
        index = small_index(self.pick(b, "ib"), x.shape[dim])
        if c % 3:
            self.keep(x.index_select(dim, index.reshape(-1)[:4]))
        elif dim == 0:
            self.keep(x[index])

    def scatter(self, kind, a, b, c):
        x = self.pick(a)
        if x.ndim and x.numel() and x.dtype is not lp.bool:
            dim = c % x.ndim
            index = small_index(fitted(self.pick(b, "ib"), x.shape), x.shape[dim])
            self.keep(x.scatter_add(dim, index, x * 2))
            self.keep(x.gather(dim, index))

    # -- the rest ------------------------------------------------------------------------------------

    def random(self, kind, a, b, c):
        x = self.pick(a, "f")
        choice = c % 4
        if choice == 0:
            self.keep(F.dropout(x, 0.3))
        elif choice == 1:
            self.keep(lp.rand(*x.shape, dtype=lp.float32) + x.detach())  # (float64 would be other numbers)
        elif choice == 2:
            self.keep(lp.randint(-3, 4, x.shape))
        else:
            lp.rand(b % 5)

    def composed(self, kind, a, b, c):
        x = self.pick(a, "f")
        if not x.ndim or not x.numel():
            return
        if b % 3 == 0:
            self.keep(F.softmax(x, c % x.ndim))
        elif b % 3 == 1:
            self.keep(x.log_softmax(c % x.ndim))
        elif x.ndim == 2:
            labels = small_index(self.pick(c, "ib"), x.shape[1]).reshape(-1)[: x.shape[0]]
            if labels.shape[0] == x.shape[0]:
                self.keep(F.cross_entropy(x, labels))

    def write(self, kind, a, b, c):
        """In place: into something that the program made, or (if it may) into an input."""
        if not self.writes:
            return
        candidates = [x for x in self.made if x.numel() and not x.requires_grad]
        if not candidates:
            return
        x = candidates[a % len(candidates)]
        with lp.no_grad():
            value = fitted(self.pick(b, "fib" if x.dtype.kind == "f" else "ib"), x.shape).detach().to(x.dtype)
            if x.dtype.kind == "f":  # what is written may be rounded, and any float may be a view of x
                self.exact = [x for x in self.made if x.dtype.kind != "f"]
            choice = c % 7
            if choice == 0:
                x.copy_(value)
            elif choice == 1 and x.dtype is not lp.bool:
                x.add_(value)
            elif choice == 2 and x.dtype.kind == "f":
                x.mul_(0.5)
            elif choice == 3 and x.ndim and x.shape[0]:
                x[b % x.shape[0]] = value[0] if value.ndim else value
            elif choice == 4:
                x.zero_()
            elif choice == 5 and x.ndim:
                x[: 1 + b % 2].copy_(value[: 1 + b % 2])
            elif choice == 6 and x.dtype.kind == "f":
                x.sub_(value * 0.25)


def function_of(program, writes=True, gradients=True):
    """The program as a function of its inputs: all that it made, and the gradients of the input leaves."""

    def run(*inputs):
        default_generator.seed_value, default_generator.offset = 7, 0  # the same numbers in every reading
        made = Program(program, inputs, writes).made
        leaves = [x for x in inputs if x.requires_grad]
        slopes = []
        if gradients and leaves:
            total = None
            for number, x in enumerate(made):
                if x.requires_grad:
                    part = (x * (0.3 * number + 1)).sin().sum().double()
                    total = part if total is None else total + part
            slopes = [s for s in autograd.grad(total, leaves, allow_unused=True) if s is not None]
        return tuple(x.detach() * 1 if x.dtype is not lp.bool else x.detach() == True for x in made), slopes  # noqa: E712

    return run
