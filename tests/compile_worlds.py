"""Random worlds around a compiled function: parameters, buffers, arguments, an optimizer, and what happens to
them between calls. A world is made of numbers, so that it can be made twice.
"""

import functools

import numpy as np
from compile_programs import SHAPES, Program, make_inputs
from hypothesis import strategies as st

import lampion as lp
from lampion.ops.random import default_generator

numbers = st.integers(0, 99)
events = st.lists(st.tuples(numbers, numbers, numbers), min_size=2, max_size=7)
#: (shape, kind): parameters, buffers and arguments.
places = st.lists(st.tuples(st.integers(0, len(SHAPES) - 1), st.integers(0, 5)), min_size=2, max_size=5)
styles = st.tuples(numbers, numbers, numbers)


_OPTIMIZERS = [
    lambda ps, b: lp.optim.SGD(ps, lr=0.01, momentum=0.5 * (b % 2)),
    lambda ps, b: lp.optim.SGD(ps, lr=0.01, momentum=0.5, dampening=0.1 * (b % 2), weight_decay=0.1),
    lambda ps, b: lp.optim.Adam(ps, lr=0.01, amsgrad=b % 2 > 0),
    lambda ps, b: lp.optim.AdamW(ps, lr=0.01),
    lambda ps, b: lp.optim.NAdam(ps, lr=0.01),
    lambda ps, b: lp.optim.RAdam(ps, lr=0.01, decoupled_weight_decay=b % 2 > 0),
    lambda ps, b: lp.optim.ASGD(ps, lr=0.01, t0=2),
    lambda ps, b: lp.optim.Adagrad(ps, lr=0.01, lr_decay=0.1 * (b % 2)),
]


class World:
    """The objects of one run.

    Args:
        compile: what to make the step with.
        places: what there is, as (shape, kind).
        program: the steps of the function.
        style: how it treats gradients and optimizer.
    """

    def __init__(self, compile, places, program, style):
        self.parameters, self.buffers, self.arguments = [], [], []
        rng = np.random.default_rng(1)
        for shape, kind in places:
            x = lp.tensor(np.asarray(rng.uniform(-1, 1, SHAPES[shape])).astype("f4"))
            if kind < 2:
                self.parameters.append(x.requires_grad_())
            elif kind == 2:
                self.buffers.append(x)
            else:
                self.arguments.append(x)
        if not self.parameters:
            self.parameters.append(lp.ones(3, requires_grad=True))
        self.shapes = [x.shape for x in self.arguments]
        self.program, self.style = program, style
        a, b, _ = style
        self.optimizer = _OPTIMIZERS[a % len(_OPTIMIZERS)](self.parameters, b)
        # Nobody watches what the step reads, so it is told: these are looked at before each call.
        known = (*self.parameters, *self.buffers)
        self.step = compile(functools.partial(self._step, known, self.optimizer))
        self.seen, self.over = [], False

    def _step(self, known, optimizer, *arguments):
        _, b, c = self.style
        if b % 3 == 0:
            optimizer.zero_grad(set_to_none=c % 2 == 0)
        # Parameters are written by the optimizer alone; the others by the program, too.
        made = Program(self.program, (*known, *arguments)).made
        total = None
        for number, x in enumerate(made):
            if x.requires_grad:
                part = (x * (0.3 * number + 1)).sin().sum().float()
                total = part if total is None else total + part
        if total is not None and c % 5:
            total.backward()
            if c % 7 == 0:
                total = total.detach()
        if c % 3:
            optimizer.step()
        return [
            x.detach() for x in made[len(self.parameters) :]
        ], None if total is None else total.detach() * 1

    def happen(self, kind, a, b):
        """One thing between calls, or a call."""
        default_generator.seed_value, default_generator.offset = 5, 0
        p = self.parameters[a % len(self.parameters)]
        rng = np.random.default_rng(a)

        def fresh(x):
            return lp.tensor(np.asarray(rng.uniform(-1, 1, x.shape)).astype("f4"))

        kind = kind % 20
        if kind < 9:
            self.call(a, b)
        elif kind == 9:
            p.grad = None
        elif kind == 10:
            p.grad = fresh(p)
        elif kind == 11:
            p.requires_grad_(not p.requires_grad)
        elif kind == 12:
            p.data = fresh(p)
        elif kind == 13:
            self.optimizer.param_groups[0]["lr"] *= 0.5
        elif kind == 14 and self.buffers:
            self.buffers[b % len(self.buffers)].data = fresh(self.buffers[b % len(self.buffers)])
        elif kind == 15:
            saved = self.optimizer.state_dict()
            self.optimizer.load_state_dict(saved)
        elif kind == 16:
            with lp.no_grad():
                p.add_(0.125)
        elif kind == 17:
            q = self.parameters[b % len(self.parameters)]
            if q.shape == p.shape and q.grad is not None:
                p.grad = q.grad
        elif kind == 18:
            self.optimizer.param_groups[0]["weight_decay" if b % 2 else "maximize"] = b % 4 > 1
        elif kind == 19 and self.buffers:
            x = self.buffers[b % len(self.buffers)]
            flat = np.zeros(x.numel() + 1, "f4")
            x.data = lp.from_numpy(flat[b % 2 : b % 2 + x.numel()].reshape(x.shape))
            same = [p for p in self.parameters if p.shape == x.shape]
            if same and b % 3:
                same[0].data = lp.from_numpy(flat[: x.numel()].reshape(x.shape))

    def call(self, a, b):
        rng = np.random.default_rng(a)
        arguments = []
        for number, shape in enumerate(self.shapes):
            x = (
                self.arguments[number]
                if b % 3
                else lp.tensor(np.asarray(rng.uniform(-1, 1, shape)).astype("f4"))
            )
            others = [*self.parameters, *self.buffers, *arguments, *(p.grad for p in self.parameters)]
            fits = [y for y in others if y is not None and y.shape == shape]
            if (a + number) % 4 == 0 and fits:
                x = fits[b % len(fits)]  # an argument that is known by another name
            arguments.append(x)
        try:
            result = self.step(*arguments)
        except Exception as error:
            self.seen.append(type(error).__name__)
            self.over = True  # eager stopped half-way, a recording changed nothing: from here they differ
            return
        self.note(result, arguments)

    def note(self, *things):
        """Keep a picture of everything."""
        grads = [p.grad for p in self.parameters]
        everything = [*self.parameters, *self.buffers, *self.arguments, *grads]
        flat = []
        for thing in (*things, everything):
            _flatten(thing, flat)
        self.seen.append([
            None if x is None else (np.array(x.detach().numpy()), x.requires_grad, x._version[0])
            for x in flat
        ])  # fmt: skip
        aliases = [[x is y for y in everything] for x in flat if x is not None]
        shared = [
            [np.shares_memory(x._array, y._array) for y in flat if y is not None]
            for x in flat
            if x is not None
        ]
        self.seen.append((aliases, shared, [s["step"] for s in self.optimizer.state.values()]))


def _flatten(thing, flat):
    if isinstance(thing, list | tuple):
        for item in thing:
            _flatten(item, flat)
    else:
        flat.append(thing)


def assert_same_story(actual, expected, tolerance):
    """Compare what two worlds have seen."""
    assert len(actual) == len(expected)
    for number, (a, e) in enumerate(zip(actual, expected, strict=True)):
        if not isinstance(e, list):
            assert a == e, f"call {number // 2}: {a}, not {e}"
            continue
        for i, (x, y) in enumerate(zip(a, e, strict=True)):
            where = f"call {number // 2}, tensor {i}"
            assert (x is None) == (y is None), f"{where}: {x}, not {y}"
            if y is None:
                continue
            assert x[1:] == y[1:], f"{where}: requires_grad, version {x[1:]}, not {y[1:]}"
            assert x[0].dtype == y[0].dtype and x[0].shape == y[0].shape, where
            np.testing.assert_allclose(x[0], y[0], tolerance, tolerance, equal_nan=True, err_msg=where)


def make(compile, places, program, style, events):
    """Make a world and let everything happen."""
    default_generator.seed_value, default_generator.offset = 5, 0
    world = World(compile, places, program, style)
    for event in events:
        if not world.over:
            world.happen(*event)
    return world


__all__ = ["assert_same_story", "events", "make", "make_inputs", "places", "styles"]
