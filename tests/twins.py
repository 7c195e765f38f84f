"""Scenarios for `lampion.compile`: a small program that is run three times from the same seed: as it is,
compiled, and with its recorded graphs interpreted. All runs must tell the same story: results, everything
that the program can see afterwards, errors; interpreted to the last bit. The comment ``# HERE`` marks the
line that the warning must name where a program runs eagerly.
"""

import contextlib
import dataclasses
import inspect
import re
import warnings
from unittest import mock

import numpy as np

import lampion as lp
from lampion import nn
from lampion.compiler import bind, engine, function
from lampion.compiler.engine import Interpreted, Native
from lampion.nn import functional as F

#: Compiled and eager round differently: a few units in the last place an operation (2**-24 = 6e-8 each),
#: through some thirty operations a step and a handful of steps.
RTOL, ATOL = 3e-5, 3e-6


@dataclasses.dataclass
class Scenario:
    """Args:
    run: called with the compiler and with `note`, which keeps a picture of what it is handed.
    eager: whether the function must run eagerly, with one warning.
    traces: how often the first function is recorded; None: any number.
    interpreted: whether a part without machine code is expected.
    rounded: whether interpreted gradients may differ by roundings: where several compiled nodes meet on a
        tape, eager adds up their contributions one operation further on.
    """

    run: object
    eager: bool = False
    traces: int | None = None
    interpreted: bool = False
    rounded: bool = False

    @property
    def name(self):
        return self.run.__name__


class Table(list):
    """A list of scenarios, and the decorator that fills it."""

    def __call__(self, run=None, **options):
        if run is None:
            return lambda run: self(run, **options)
        self.append(Scenario(run, **options))
        return run

    def params(self):
        import pytest

        return [pytest.param(scenario, id=scenario.name) for scenario in self]


class Compiler:
    """What a scenario is handed as `compile`: the real one, or one that does nothing."""

    def __init__(self, really):
        self.really = really
        self.made = []

    def __call__(self, fn):
        if not self.really:
            return fn
        self.made.append(lp.compile(fn))
        return self.made[-1]


@dataclasses.dataclass
class Picture:
    """What can be seen of a tensor."""

    array: object
    requires_grad: bool
    is_leaf: bool
    made_by: str | None
    version: int


def picture(thing):
    """A copy of everything in a tree, as it is now."""
    if isinstance(thing, lp.Tensor):
        made_by = None if thing.grad_fn is None else thing.grad_fn.name()
        if made_by == "CompiledFunctionBackward":  # the one node of a whole function
            made_by = mock.ANY
        array = np.array(thing.detach().numpy())
        return Picture(array, thing.requires_grad, thing.is_leaf, made_by, thing._version[0])
    if isinstance(thing, dict):
        return type(thing).__name__, [(key, picture(value)) for key, value in thing.items()]
    if isinstance(thing, list | tuple):
        return type(thing).__name__, [picture(item) for item in thing]
    if isinstance(thing, BaseException):
        return type(thing).__name__, str(thing)
    return thing


def run(scenario, really):
    """(pictures, warnings, compiled functions) of one run."""
    compiler, notes = Compiler(really), []
    lp.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scenario.run(compiler, lambda *things: notes.append([picture(thing) for thing in things]))
    notes.append(["random state", picture(lp.get_rng_state())])
    return notes, caught, compiler.made


def interpreted(graph, arrays, targets, target=None, strict=False):
    """In place of `make_engine`: no machine code, so that all differences from eager are mistakes."""
    return Interpreted(graph, targets, "asked for by a test")


def check(scenario):
    """Run all twins and compare."""
    expected, quiet, _ = run(scenario, really=False)
    assert not quiet, [str(w.message) for w in quiet]
    with patched(bind, "SHORTEN_AFTER", 1):  # so that it is tried in the few calls that there are
        actual, told, made = run(scenario, really=True)
    assert made, "nothing was compiled"
    words = [str(w.message) for w in told]
    if scenario.eager:
        assert [w.category for w in told] == [RuntimeWarning], words
        _check_line(scenario, words[0])
    else:
        assert not words, words
        for compiled in made:
            engines = [plan.engine for plans in compiled.plans.values() for plan in plans]
            assert engines, "the function has no plan"
            assert scenario.interpreted or all(isinstance(e, Native) for e in engines), engines
    if scenario.traces is not None:
        assert made[0].traces == scenario.traces
    compare(actual, expected, "compiled", exact=scenario.eager)
    if not scenario.eager:
        with patched(function, "make_engine", interpreted), patched(engine, "make_engine", interpreted):
            actual, told, _ = run(scenario, really=True)
        assert not told, [str(w.message) for w in told]
        compare(actual, expected, "interpreted", exact=not scenario.rounded)


def compare(actual, expected, label, exact):
    assert len(actual) == len(expected)
    for number, (a, e) in enumerate(zip(actual, expected, strict=True)):
        same(a, e, f"{label}, note {number}", exact)


def _check_line(scenario, words):
    found = re.search(r"\((.+?):(\d+)\)", words)
    assert found, words
    lines, start = inspect.getsourcelines(scenario.run)
    marked = [start + i for i, line in enumerate(lines) if "# HERE" in line]
    assert found[1] == inspect.getsourcefile(scenario.run) and int(found[2]) in marked, (words, marked)


def same(actual, expected, where, exact):
    """Compare two pictures."""
    if isinstance(expected, Picture):
        assert isinstance(actual, Picture), f"{where}: {actual} instead of a tensor"
        for name in ("requires_grad", "is_leaf", "made_by", "version"):
            a, e = getattr(actual, name), getattr(expected, name)
            assert a == e, f"{where}: {name} is {a}, eager has {e}"
        a, e = actual.array, expected.array
        assert (a.shape, a.dtype) == (e.shape, e.dtype), (
            f"{where}: {a.dtype}{a.shape}, eager {e.dtype}{e.shape}"
        )
        if exact or e.dtype.kind != "f":
            np.testing.assert_array_equal(a, e, err_msg=where)
        else:
            np.testing.assert_allclose(a, e, RTOL, ATOL, equal_nan=True, err_msg=where)
    elif isinstance(expected, list | tuple):
        assert type(actual) is type(expected) and len(actual) == len(expected), (
            f"{where}: {actual}, not {expected}"
        )
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            same(a, e, f"{where}[{i}]", exact)
    elif type(expected) is float:
        assert type(actual) is float
        np.testing.assert_allclose(
            actual, expected, 0 if exact else RTOL, 0 if exact else ATOL, err_msg=where
        )
    else:
        assert type(actual) is type(expected) and actual == expected, (
            f"{where}: {actual!r}, eager has {expected!r}"
        )


# -- what scenarios are made of ------------------------------------------------------------------------


def error_of(fn, *args, **kwargs):
    """The exception that a call raises."""
    try:
        fn(*args, **kwargs)
    except Exception as error:
        return error
    raise AssertionError("no error")


def randn(*shape, seed=0, **options):
    """Numbers that do not come from Lampion's own generator."""
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return lp.tensor(array, **options)


X, Y = randn(6, 4, seed=1), lp.tensor([0, 1, 2, 0, 1, 2])


def net(*extra):
    """A small classifier: 4 numbers, 3 classes."""
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), *extra, nn.Linear(5, 3))


def state(model, *optimizers):
    """All that training changes, with the counters."""
    parameters = {name: [p, p.grad, p.requires_grad, p._version[0]] for name, p in model.named_parameters()}
    return [parameters, dict(model.named_buffers()), *[o.state_dict() for o in optimizers]]


def training_step(model, optimizer):
    """The usual step."""

    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


@contextlib.contextmanager
def patched(owner, name, value):
    """`owner.name` is another value for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
