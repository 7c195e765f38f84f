"""Switching recording on and off, in all forms; inference mode."""

import pytest

import lampion as lp
from lampion.errors import GradientError

X = lp.ones(2, requires_grad=True)


def records():
    return (X * 2).requires_grad


def test_set_grad_enabled_as_statement_block_and_decorator():
    lp.set_grad_enabled(False)
    try:
        assert not records()
        with lp.set_grad_enabled(True):
            assert records()
        assert not records()
    finally:
        lp.set_grad_enabled(True)

    @lp.set_grad_enabled(False)
    def function():
        return records()

    assert records()
    assert not function()
    assert records()


def test_one_object_can_be_entered_again():
    switch = lp.set_grad_enabled(False)
    with switch:
        assert not records()
        with switch:
            assert not records()
        assert not records()
    assert records()
    scope = lp.no_grad()
    with scope, lp.enable_grad(), scope:
        assert not records()
    assert records()


def test_decorators_without_parentheses():
    @lp.no_grad
    def function():
        return records(), inner()

    @lp.enable_grad
    def inner():
        return records()

    assert function() == (False, True)
    assert function.__name__ == "function"


def test_generators_are_inside_while_they_run():
    @lp.no_grad()
    def numbers():
        got = yield records()
        assert got == "sent"
        try:
            yield records()
        except KeyError:
            yield records()
        return records()

    steps = numbers()
    assert next(steps) is False
    assert records()
    assert steps.send("sent") is False
    assert steps.throw(KeyError()) is False
    assert records()
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value is False
    assert records()


def test_a_closed_generator_cleans_up_inside():
    seen = []

    @lp.no_grad()
    def numbers():
        try:
            yield 1
        finally:
            seen.append(records())

    steps = numbers()
    next(steps)
    steps.close()
    assert seen == [False]


def test_a_class_is_decorated_in_its_init():
    with pytest.warns(FutureWarning, match="__init__"):

        @lp.no_grad()
        class Thing:
            def __init__(self):
                self.inside = records()

    assert not Thing().inside


def test_inference_tensors():
    with lp.inference_mode():
        assert lp.is_inference_mode_enabled()
        y = lp.ones(2) * 3
        view = X.reshape(2, 1)
        z = lp.tensor([1.0])
        y.add_(1)
    assert not lp.is_inference_mode_enabled()
    assert y.is_inference()
    assert z.is_inference()
    assert not view.is_inference()  # of an ordinary tensor
    assert not y.clone().is_inference()
    assert (X + y).requires_grad  # keeps nothing of y
    assert (y * 2).tolist() == [8.0, 8.0]
    for attempt in (lambda: X * y, lambda: y.requires_grad_(), lambda: y.add_(1)):
        with pytest.raises(GradientError, match="made in inference mode"):
            attempt()
    assert (X * y.clone()).requires_grad


def test_inference_mode_nests_and_decorates():
    with lp.inference_mode(), lp.inference_mode(False):
        assert records()
        assert not lp.ones(1).is_inference()

    @lp.inference_mode
    def plain():
        return lp.ones(1)

    @lp.inference_mode()
    def called():
        return lp.ones(1)

    assert plain().is_inference()
    assert called().is_inference()


def test_a_compiled_function_in_inference_mode():
    @lp.compile
    def double(x):
        return x * 2

    assert not double(lp.ones(2)).is_inference()
    with lp.inference_mode():
        assert double(lp.ones(2)).is_inference()
