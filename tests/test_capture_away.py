"""A recording looks away while the core works by itself; whatever is the user's is still watched."""

import sys
import warnings

import pytest

import lampion
from lampion.compiler.capture.away import Away

pytest.importorskip("llvmlite", reason="eager functions are never recorded")

SCALE = 2.0


@pytest.fixture(autouse=True)
def scale():
    global SCALE
    SCALE = 2.0
    yield
    SCALE = 2.0


class Scaled(lampion.autograd.Function):
    """y = x, and as its gradient SCALE times the gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * SCALE


class Follow(lampion.optim.SGD):
    """Steps by SCALE times the gradient."""

    def update(self, p, g, state, h, group):
        return p - g * SCALE


def by_function(w, x):
    (gradient,) = lampion.autograd.grad((Scaled.apply(w) * x).sum(), w)
    return gradient


def by_hook(w, x):
    y = w * x
    y.register_hook(lambda g: g * SCALE)
    (gradient,) = lampion.autograd.grad(y.sum(), w)
    return gradient


def by_saving(w, x):
    with lampion.autograd.graph.saved_tensors_hooks(lambda t: t * SCALE, lambda t: t):
        y = w * x
    (gradient,) = lampion.autograd.grad(y.sum(), w)
    return gradient


def by_unpacking(w, x):
    with lampion.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t * SCALE):
        y = w * x
    (gradient,) = lampion.autograd.grad(y.sum(), w)
    return gradient


def by_transform(w, x):
    return lampion.func.grad(lambda w: (w * x * SCALE).sum())(w.detach())


@pytest.mark.parametrize("function", [by_function, by_hook, by_saving, by_unpacking, by_transform])
def test_what_the_users_code_reads_inside_of_the_core_is_guarded(function):
    global SCALE
    w, x = lampion.tensor([1.0, 2.0], requires_grad=True), lampion.tensor([3.0, 4.0])
    compiled = lampion.compile(function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # to run as it is is right too
        for SCALE in (2.0, 5.0, 2.0):
            assert compiled(w, x).tolist() == function(w, x).tolist() == [3 * SCALE, 4 * SCALE]


def test_an_optimizer_of_the_users_own_is_watched():
    global SCALE
    w, x = lampion.zeros(2, requires_grad=True), lampion.tensor([3.0, 4.0])
    optimizer = Follow([w], lr=1.0)

    @lampion.compile
    def step():
        optimizer.zero_grad()
        (w * x).sum().backward()
        optimizer.step()

    expected = [0.0, 0.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for SCALE in (2.0, 5.0, 2.0):
            step()
            expected = [a - b * SCALE for a, b in zip(expected, x.tolist(), strict=True)]
            assert w.tolist() == expected


def test_a_primitive_of_the_users_own_is_watched():
    from lampion.ops.define import elementwise

    seen = []

    @elementwise(public=False, method=False)
    class twice:
        """Twice the number."""

        def infer(x):
            seen.append(sys.gettrace() is not None)
            return x.shape, x.dtype

        def forward(xp, x):
            return xp.add(x, x)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # it changes a list
        compiled = lampion.compile(lambda x: twice(x))
        assert compiled(lampion.ones(2)).tolist() == [2.0, 2.0]
    assert compiled.explain().fallbacks  # what it does to the list was seen


def test_the_hook_is_as_it_was_after_an_error_inside():
    def hook(frame, event, argument):
        return None

    previous = sys.gettrace()
    try:
        sys.settrace(hook)
        with pytest.raises(ZeroDivisionError), Away(hook):
            inside = sys.gettrace()
            with Away(hook):  # is off already, and stays so
                pass
            between = sys.gettrace()
            raise ZeroDivisionError
        after = sys.gettrace()
        with Away(None):
            nobody = sys.gettrace()
        with Away(print):  # another hook, a debugger's: not ours to switch off
            other = sys.gettrace()
    finally:
        sys.settrace(previous)
    assert (inside, between, after, nobody, other) == (None, None, hook, hook, hook)
