"""Floats that are different at each call, constants made of numbers, match statements.

A float argument is an input from its second value on, where no use of it could tell; else there is a plan
for each value.
"""

import math

import numpy as np
import pytest
from twins import Table, X, Y, check, error_of, net, randn, state

import lampion as lp
from lampion import nn
from lampion.nn import functional as F

table = Table()
A = randn(4, seed=2)


# -- floats that become inputs: two recordings, however many values ----------------------------------------


@table(traces=2)
def a_temperature(compile, note):
    step = compile(lambda x, t: F.softmax(x / t, dim=-1) * t + t / (x * x + 1) - t)
    for t in (1.0, 0.5, 0.25, 0.125, 1.0, -0.0, math.nan, math.inf):
        note(step(X, t))


@table(traces=3)  # another one where it is passed by name
def a_learning_rate(compile, note):
    model = net()

    @compile
    def step(x, y, lr, decay=0.5):
        model.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        with lp.no_grad():
            for p in model.parameters():
                p -= lr * (p.grad + decay * p)
        return loss

    for k in range(5):
        note(step(X, Y, 0.1 / (k + 1)), state(model))
    note(step(X, Y, lr=0.3))


@table(traces=3)
def numpy_s_doubles(compile, note):
    step = compile(lambda x, a: (x * a + (2 * a - 1), a))
    for a in (*np.linspace(0, 1, 4), 0.5, 0.75):
        result, same = step(A, a)
        note(result, float(same), type(same).__name__)


@table(traces=2)
def arithmetic_of_floats(compile, note):
    @compile
    def step(x, a, b):
        c = 2 * a - b * 0.5 + (-a) / 3
        return x * c, x * (a * b), x - a / 4.0, b + x

    for k in range(4):
        note(step(A, 0.1 * k, 1.0 - k))


@table(traces=2)
def all_kinds_of_tensors(compile, note):
    step = compile(lambda xs, a: [x * a for x in xs] + [a + x for x in xs] + [x.sum() / a for x in xs])
    kinds = (lp.float32, lp.float64, lp.int64, lp.int8, lp.bool)
    xs = [lp.arange(4).to(kind) for kind in kinds]
    for a in (0.3, 1e-3, 7.0):
        note(step(xs, a))


@table(traces=2)
def handed_around(compile, note):
    def scaled(x, *, by=None):
        return x if by is None else x * by

    @compile
    def step(x, a):
        pair = [a, {"a": a}]
        first, second = pair
        keep = (lambda: x * a)()
        return scaled(x, by=first) + second["a"] + keep, a

    for a in (0.5, 1.5, 2.5):
        note(step(A, a))


@table(traces=2)
def a_factor_in_place(compile, note):
    p = randn(4, seed=7)

    @compile
    def step(g, lr):
        p.add_(g, alpha=-lr).sub_(p, alpha=lr * 0.5)
        return lp.add(p, g, alpha=lr)

    for lr in (0.5, 0.25, 1.0):
        note(step(A, lr), p)


@table(traces=3)
def an_int_in_between(compile, note):
    step = compile(lambda x, a: x * a)
    for a in (0.5, 1.5, 2, 2.5, 2):
        note(step(A, a))


@table
def gradients_through_a_float(compile, note):
    w = randn(4, seed=5, requires_grad=True)
    step = compile(lambda x, a: (w * x / a + a * w).sum())
    for a in (0.5, 1.5, 2.5):
        loss = step(A, a)
        loss.backward()
        note(loss, w.grad)


# -- uses that could tell a float from a scalar tensor: a plan for each value ----------------------------


class Config:
    def __init__(self, k):
        self.k = k


TELLING = {
    "branch": lambda x, a: x * a if a > 1 else x,
    "truth": lambda x, a: x + a if a else x,
    "isinstance": lambda x, a: x * 2 if isinstance(a, float) else x,
    "type": lambda x, a: x * 2 if type(a) is float else x,
    "text": lambda x, a: x + len(f"{a:.3f}") + len(str(a)),
    "math": lambda x, a: x * math.sqrt(a) + round(a),
    "power": lambda x, a: x.abs() ** a,
    "root": lambda x, a: x * a**0.5,
    "floor": lambda x, a: x // a,
    "reciprocal": lambda x, a: x * (1 / a),
    "key": lambda x, a: x * {1.5: 2.0}.get(a, 3.0),
    "search": lambda x, a: x * [0.5, 1.5].count(a),
    "sum": lambda x, a: x * sum([a, 1.0]),
    "max": lambda x, a: x * max(a, 1.0),
    "tensor": lambda x, a: x * lp.tensor([a, a, a, a]) + lp.tensor(a),
    "full": lambda x, a: x + lp.full((4,), a),
    "clamp": lambda x, a: x.clamp(max=a),
    "alpha": lambda x, a: lp.addmm(x, lp.ones(1, 4), lp.ones(4, 4), alpha=a),
    "half": lambda x, a: x.half() * a,  # rounded once
    "object": lambda x, a: x * Config(a).k,
    "result": lambda x, a: (x, a * 2),
    "is": lambda x, a: x if a is True else x * a.real,
    "method": lambda x, a: x * a.hex().count("8"),
}


@table
def in_place(compile, note):
    @compile
    def step(x, a):
        before = a
        a *= 0.5
        a += 1
        return x * a + before

    for a in (0.5, 1.5, 2.5):
        note(step(A, a))


@table
def dropout_by_a_float(compile, note):
    step = compile(lambda x, p: F.dropout(x, p))
    for p in (0.25, 0.5, 0.75):
        note(step(X, p))
    note(error_of(step, X, 1.5))


@table
def no_division_by_zero(compile, note):
    step = compile(lambda x, a: x * (1.0 / a))
    note(step(A, 2.0), step(A, 4.0), error_of(step, A, 0.0), step(A, 8.0))


@table
def floats_inside_of_arguments(compile, note):
    step = compile(lambda x, options: x * options["k"])
    for k in (0.5, 1.5, 2.5):
        note(step(A, {"k": k}))


# -- constants, match statements ----------------------------------------------------------------------------


@table(traces=1)
def constants(compile, note):
    weights = [0.5, 0.25]

    @compile
    def step(x):
        local = [1.0, *weights]
        local.append(2.0)
        mask = lp.tensor([[True, False], [False, True]])
        return (
            x * lp.tensor(local), lp.as_tensor((1, 2)) + mask, x.new_tensor([1, 2.5]), lp.asarray([[1]]),
            lp.tensor([]), lp.tensor(range(3)), lp.tensor([1 + 2j]), lp.tensor([1, 2], dtype=lp.int8),
        )  # fmt: skip

    note(*step(A)), note(*step(A))


@table(traces=2)
def constants_from_outside(compile, note):
    weights = [0.5, 0.25, 1.0, 2.0]
    step = compile(lambda x: x * lp.tensor(weights))
    note(step(A))
    weights[1] = 7.0
    note(step(A)), note(step(A))


@table
def a_constant_is_not_shared(compile, note):
    step = compile(lambda: lp.tensor([1.0, 2.0]))
    first = step()
    first += 1
    note(first, step())


class Point:
    __match_args__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y


@table
def match_statements(compile, note):
    point, options = Point(1, 2.0), {"mode": "train", "k": 2.0}

    @compile
    def step(x, what):
        match what:
            case "a" | "b":
                x = x + 1
            case {"k": k, **rest}:
                x = x * k + len(rest)
            case [first, *others] if len(others) > 1:
                x = x * first + sum(others)
            case (a, b):
                x = x * a - b
            case bool(flag):
                x = x if flag else -x
            case int(n) | float(n):
                x = x * n
            case None:
                x = x * 0
        match point:
            case Point(1, y):
                x = x + y
            case Point(x=n, y=_):
                x = x * n
        match options:
            case {"mode": "train", "k": k}:
                return x * k
        return x

    calls = ("a", {"k": 2.0, "l": 1}, [2, 3, 4], (5, 6), True, 3, 0.5, None, {1: 2}, "c", [])
    note(*[step(A, what) for what in calls])
    point.x = 3
    note(step(A, "a"))
    options["mode"] = "eval"
    note(step(A, "a"))


@pytest.mark.parametrize("scenario", table.params())
def test_call(scenario):
    check(scenario)


@pytest.mark.parametrize("name", list(TELLING))
def test_uses_that_could_tell_a_float_from_a_scalar_have_a_plan_for_each(name):
    step = lp.compile(TELLING[name])
    for a in (0.5, 1.5, 2.5):
        lp.testing.assert_close(step(A, a), TELLING[name](A, a))
    assert step.refused is None and step.traces == 3


def test_a_float_that_is_a_module_s_input():
    model = lp.compile(nn.Hardtanh())
    for x in (0.5, 2.0):
        assert model(lp.tensor([x])).item() == min(x, 1.0)
