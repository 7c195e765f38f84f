"""Errors that users meet: what they say, where they point, and that compiled code says the same."""

import inspect
import pathlib

import numpy as np
import pytest

import lampion as lp
from lampion import errors
from lampion.errors import (
    DTypeError,
    GradientError,
    IndexRangeError,
    InplaceError,
    LampionError,
    OverwrittenError,
    ShapeError,
)  # fmt: skip
from lampion.nn import functional as F


def here(offset=0):
    """``file:line`` of the caller."""
    frame = inspect.currentframe().f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno + offset}"


def parts(error):
    """The labelled lines of a message."""
    head, *rest = str(error.value).split("\n")
    return {"head": head} | {line.split(":")[0].strip(): line.split(":", 1)[1].strip() for line in rest}


# -- the form of messages ------------------------------------------------------------------------------


def test_a_message_says_operation_problem_expected_got_and_what_to_try():
    with pytest.raises(ShapeError) as error:
        lp.ones(2, 3) @ lp.ones(4, 5)
    assert parts(error) == {
        "head": "matmul: the inner sizes differ",
        "expected": "the last size of the first to equal the second-to-last of the second",
        "got": "(2, 3) @ (4, 5): 3 and 4",
        "try": "transpose one of them (x.T), or check the in_features of the layer",
    }
    assert error.value.operation == "matmul"


def test_every_error_is_a_runtime_error_as_in_pytorch():
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    assert len(kinds) >= 7
    for kind in kinds:
        assert issubclass(kind, LampionError)
        assert issubclass(kind, RuntimeError)
        assert inspect.getdoc(kind), f"{kind.__name__} has no docstring"
    assert issubclass(DTypeError, TypeError)
    assert issubclass(IndexRangeError, IndexError)


def test_no_message_names_numpy():
    """What NumPy says about its own functions is no help to somebody who called Lampion's."""
    x, flags = lp.ones(2, 3), lp.tensor([True])
    attempts = [
        lambda: x + lp.ones(4), lambda: x @ x, lambda: -flags, lambda: flags - flags,
        lambda: x.reshape(5), lambda: x.permute(0, 0), lambda: lp.cat([x, lp.ones(4)]),
        lambda: lp.gather(x, 3, lp.tensor([[0]])), lambda: lp.stack([x, lp.ones(1)]), lambda: x.sum(7),
        lambda: x[5], lambda: x[0, 0, 0], lambda: x.item(), lambda: lp.tensor([2]) ** -1,
        lambda: lp.amax(lp.ones(0)), lambda: x.expand(5, 5),
        lambda: x.expand(4, 2, 3).add_(1.0), lambda: lp.tensor([[1, 2], [3]]), lambda: lp.zeros(-1),
        lambda: lp.where(x, x, x), lambda: x.squeeze(4), lambda: x.unsqueeze(4), lambda: x.flatten(1, 0),
    ]  # fmt: skip
    for number, attempt in enumerate(attempts):
        try:
            attempt()
        except LampionError as error:
            message = str(error)
        else:
            raise AssertionError(f"attempt {number} did not fail")
        assert "numpy" not in message.lower(), f"attempt {number}: {message}"
        assert "ufunc" not in message.lower(), f"attempt {number}: {message}"


# -- shapes, types, indices ----------------------------------------------------------------------------


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ShapeError) as error:
        lp.ones(2, 3) * lp.ones(4, 1, 2)
    assert parts(error)["head"] == "mul: the shapes do not broadcast: they differ in dimension -1"
    assert parts(error)["got"] == "(2, 3) and (4, 1, 2)"
    assert "unsqueeze" in parts(error)["try"]


def test_a_layer_with_the_wrong_number_of_features():
    with pytest.raises(ShapeError, match=r"\(2, 4\) @ \(3, 5\): 4 and 3(.|\n)*in_features"):
        lp.nn.Linear(3, 5)(lp.ones(2, 4))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: lp.ones(2) + "3", "unsupported operand|not a number"),
        (lambda: lp.add(lp.ones(2), None), "not a number(.|\n)*NoneType"),
        (lambda: lp.tensor([1, 2], requires_grad=True), "only floating and complex tensors have gradients"),
        (lambda: lp.ones(2) @ 3, "use \\* for numbers"),
        (lambda: lp.from_numpy([1, 2]), "not a NumPy array(.|\n)*lampion.tensor"),
        (lambda: lp.from_numpy(np.ones(2, np.longdouble)), "is not supported; Lampion has bool"),
        (lambda: lp.from_numpy(np.array(["a"])), "is not supported"),
        (lambda: lp.tensor([object()]), "not a rectangular block"),
        (lambda: lp.tensor([1, 2], dtype=lp.uint8) + 300, "300 does not fit into lampion.uint8"),
        (lambda: lp.zeros(2, device="cuda"), "there is no device 'cuda'"),
        (lambda: lp.set_default_dtype(lp.int64), "expected a floating type such as float32"),
        (lambda: F.cross_entropy(lp.ones(2, 3), lp.ones(2)), "labels are integers"),
        (lambda: bool(lp.ones(2)), r"ambiguous(.|\n)*\.any\(\)"),
        (lambda: float(lp.ones(2)), "only a tensor with one element"),
        (lambda: [1, 2][lp.tensor(1.0)], "integer tensor"),
        (lambda: len(lp.tensor(1.0)), "0-d tensor has no length"),
        (lambda: lp.ones(2, requires_grad=True).numpy(), r"bypass autograd(.|\n)*detach"),
        (lambda: np.asarray(lp.ones(2, requires_grad=True) * 2), "bypass autograd"),
    ],
)
def test_wrong_types(wrong, message):
    with pytest.raises((LampionError, TypeError), match=message):
        wrong()


def test_a_label_out_of_range():
    with pytest.raises(IndexRangeError) as error:
        F.cross_entropy(lp.ones(2, 3), lp.tensor([0, 7]))
    assert "index 7 is out of range" in parts(error)["head"]
    assert parts(error)["expected"].startswith("0 to 2")
    assert "labels" in parts(error)["try"]


def test_labels_of_the_wrong_shape():
    with pytest.raises(ShapeError, match=r"target\.argmax\(1\)"):
        F.cross_entropy(lp.ones(2, 3), lp.tensor([[0, 1, 0], [1, 0, 0]]))


# -- gradients -----------------------------------------------------------------------------------------


def test_backward_twice():
    x = lp.ones(3, requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(GradientError, match="has already been made") as error:
        loss.backward()
    assert "retain_graph=True" in parts(error)["try"]
    assert pathlib.Path(__file__).name in parts(error)["got"]


def test_backward_on_a_non_scalar():
    with pytest.raises(GradientError, match="only a scalar") as error:
        (lp.ones(3, requires_grad=True) * 2).backward()
    assert "(3,)" in parts(error)["got"]
    assert "loss.mean()" in parts(error)["try"]


def test_backward_without_history():
    with pytest.raises(GradientError, match=r"nothing was recorded(.|\n)*requires_grad=True"):
        lp.ones(3).sum().backward()
    with lp.no_grad():
        y = lp.ones(3, requires_grad=True).sum()
    with pytest.raises(GradientError, match=r"outside of no_grad\(\)"):
        y.backward()


def test_a_gradient_of_the_wrong_shape():
    with pytest.raises(GradientError) as error:
        (lp.ones(3, requires_grad=True) * 2).backward(lp.ones(2))
    assert (parts(error)["expected"], parts(error)["got"]) == ("(3,)", "(2,)")


def test_an_overwritten_value_names_both_lines():
    x = lp.ones(3, requires_grad=True) * 1
    y = x * x; saved = here()  # noqa: E702  # one line, so that it can be named  # fmt: skip
    x += 1; overwritten = here()  # noqa: E702  # fmt: skip
    with pytest.raises(OverwrittenError) as error:
        y.sum().backward()
    assert parts(error)["head"] == "mul: a value that the gradient needs was overwritten in place"
    assert parts(error)["expected"] == f"the value saved by mul at {saved}"
    assert parts(error)["got"] == f"overwritten at {overwritten}"
    assert "clone()" in parts(error)["try"]


def test_an_overwritten_value_names_the_last_write_through_any_view():
    x = lp.ones(3, requires_grad=True) * 1
    y = x.sin(); saved = here()  # noqa: E702  # fmt: skip
    x.add_(1)
    x.detach()[1:].zero_(); overwritten = here()  # noqa: E702  # fmt: skip
    with pytest.raises(OverwrittenError) as error:
        y.sum().backward()
    assert saved in str(error.value)
    assert overwritten in str(error.value)


def test_lines_inside_the_users_own_functions_are_named():
    def layer(x):
        return x.exp()

    x = lp.ones(3, requires_grad=True)
    y = layer(x); caller = here()  # noqa: E702  # fmt: skip
    y.zero_()
    with pytest.raises(OverwrittenError) as error:
        y.sum().backward()
    assert caller not in str(error.value)
    inside = layer.__code__.co_firstlineno + 1
    assert f"{__file__}:{inside}" in str(error.value)


def test_a_leaf_changed_in_place():
    x = lp.ones(3, requires_grad=True)
    with pytest.raises(InplaceError, match=r"add_: a leaf that requires a gradient(.|\n)*no_grad\(\)"):
        x += 1


# -- compiled: the same ----------------------------------------------------------------------------------


def raised(function, *args):
    with pytest.raises(LampionError) as error:
        function(*args)
    return type(error.value), str(error.value)


def test_shapes_and_types_fail_alike_when_compiled():
    cases = [
        (lambda x, y: x @ y, lp.ones(2, 3), lp.ones(4, 5)),
        (lambda x, y: x + y, lp.ones(2, 3), lp.ones(4)),
        (lambda x, y: lp.cat([x, y]), lp.ones(2, 3), lp.ones(2, 4)),
        (lambda x, y: lp.where(x, x, y), lp.ones(2), lp.ones(2)),
        (lambda x, y: x - y, lp.tensor([True]), lp.tensor([True])),
        (lambda x, y: x.reshape(5), lp.ones(2, 3), lp.ones(1)),
        (lambda x, y: (x * y).backward(), lp.ones(3, requires_grad=True), lp.ones(3)),
    ]
    for function, *args in cases:
        assert raised(lp.compile(function), *args) == raised(function, *args)


def test_a_label_out_of_range_when_compiled():
    w = lp.randn(4, 3, requires_grad=True)

    def step(x, labels):
        loss = F.cross_entropy(x @ w, labels)
        loss.backward()
        return loss

    compiled = lp.compile(step)
    x, good = lp.randn(8, 4), lp.arange(8).float().mul_(0.3).long()
    first = compiled(x, good).item()
    for bad in (3, -1, 2**40, -(2**62)):
        labels = good.clone()
        labels[5] = bad
        w.grad = None
        assert raised(compiled, x, labels) == raised(step, x, labels)
    w.grad = None
    assert compiled(x, good).item() == first  # it still works


def test_an_index_out_of_range_when_compiled():
    table = lp.randn(5, 3)
    pick = lp.compile(lambda at: table[at])
    assert pick(lp.tensor([0, 4])).tolist() == table[lp.tensor([0, 4])].tolist()
    for bad in (5, -6):
        assert raised(pick, lp.tensor([0, bad])) == raised(lambda at: table[at], lp.tensor([0, bad]))


def test_backward_twice_when_compiled():
    w = lp.ones(3, requires_grad=True)

    def step(x):
        loss = (w * w * x).sum()
        loss.backward()
        loss.backward()

    x = lp.ones(3)
    kind, message = raised(lp.compile(step), x)
    assert (kind, message.split("\n")[0]) == (GradientError, raised(step, x)[1].split("\n")[0])


def test_an_overwritten_value_when_compiled():
    w = lp.ones(3, requires_grad=True)

    def step(x):
        y = w * x
        z = y.sin()
        y += 1
        z.sum().backward()

    kind, message = raised(lp.compile(step), lp.ones(3))
    first = step.__code__.co_firstlineno
    assert kind is OverwrittenError
    assert f"{__file__}:{first + 2}" in message
    assert f"{__file__}:{first + 3}" in message
