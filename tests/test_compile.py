"""Calls of compiled functions: what goes in, what comes out, what is written where."""

import collections
import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np
import pytest
from twins import Table, X, Y, check, error_of, net, randn, training_step

import lampion as lp
from lampion import nn

table = Table()
A, B = randn(3, 4, seed=2), randn(3, 4, seed=3)


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Batch:
    x: Any
    scale: float


# -- arguments ------------------------------------------------------------------------------------------


@table(traces=4)
def keyword_arguments(compile, note):
    step = compile(lambda x, *, scale, shift=1.0: x * scale + shift)
    note(step(A, scale=B), step(B, scale=A))
    note(step(x=B, scale=A), step(scale=A, x=B), step(A, shift=2.0, scale=B))


@table
def keywords_and_positions_are_told_apart(compile, note):
    step = compile(lambda *args, **kwargs: args[0] * 2 if kwargs else args[0][0] * 3)
    note(step(A, k=B), step((A,), {"k": B}), step(A, k=B))


@table(traces=4)
def numbers_are_part_of_the_plan(compile, note):
    step = compile(lambda x, n: x * n)
    note(*[step(A, n) for n in (2, 3, 2.0, True, 2, 3)])


@table
def numbers_of_equal_value(compile, note):
    step = compile(lambda x, n: (x * n, 1.0 / n if n else 0.0))
    note(*[step(A, n) for n in (0.0, -0.0, float("nan"), float("nan"), 1, 1.0, True, None or 1)])


@table
def strings_and_none_choose_the_way(compile, note):
    step = compile(lambda x, how=None: x.sum() if how == "sum" else x if how is None else x.mean())
    note(step(A), step(A, "sum"), step(A, "mean"), step(A, how="sum"), step(A, None))


@table
def numpy_scalars(compile, note):
    step = compile(lambda x, n: x * float(n))
    note(*[step(A, np.float32(n)) for n in (1, 2, 3, 2, 1)])


@table
def short_lived_objects_whose_identity_is_used_again(compile, note):
    index = compile(lambda x, part: x[part] * 2)
    repeat = compile(lambda x, numbers: [x * n for n in numbers])
    for n in range(4):
        note(index(A, slice(0, n)), repeat(A, range(n)), repeat(A, frozenset([n])))


@table
def containers_of_all_kinds(compile, note):
    step = compile(lambda d: d["x"] * 2 + d["n"])
    first = compile(lambda items: items[0] * 3)
    queue, ordered = collections.deque([A, B]), collections.OrderedDict(x=A, n=1)
    for n in range(3):
        note(step({"x": A, "n": n}), step(collections.OrderedDict(x=B, n=n)), step(ordered), first(queue))
        note(first([B]), first((A,)), first(Pair(B, n)), first(collections.deque([randn(2, seed=n)])))
        ordered["n"] += 1
        queue.rotate()


@table
def sets_as_arguments(compile, note):
    @compile
    def step(x, numbers):
        for number in sorted(numbers):
            x = x + number
        return x * 1

    numbers = {1, 2}
    note(step(A, numbers))
    numbers.add(5)
    note(step(A, numbers), step(A, {1, 2}), step(A, set()))


@table
def containers_of_a_class_of_their_own(compile, note):
    class Items(list):
        scale = 1.0

    step = compile(lambda items: items[0] * items.scale)
    items = Items([A])
    note(step(items))
    items[0] = B
    note(step(items))
    items.scale = 3.0
    note(step(items), step(Items([A])))


@table
def objects_as_arguments(compile, note):
    step = compile(lambda batch: batch.x * batch.scale)
    for n in range(3):
        note(step(Batch(randn(3, seed=n), float(n))))
    batch = Batch(A, 2.0)
    note(step(batch))
    batch.scale = 5.0
    note(step(batch))
    batch.x = B
    note(step(batch))


@table
def functions_as_arguments(compile, note):
    step = compile(lambda f, x: f(x))
    scale = 2.0
    double = lambda x: x * scale  # noqa: E731
    note(step(double, A), step(lambda x: x + 1, A), step(lp.tanh, A), step(functools.partial(lp.mul, B), A))
    scale = 3.0
    note(step(double, A))


@table
def the_same_tensor_twice(compile, note):
    step = compile(lambda x, y: x * 2 + y)
    note(step(A, A), step(A, B), step(B, B), step(B, A))


@table
def the_same_tensor_twice_with_a_gradient(compile, note):
    @compile
    def step(x, y):
        (x * 2 + y * 3).sum().backward()

    for same in (False, True, False):
        x = randn(3, seed=4, requires_grad=True)
        y = x if same else randn(3, seed=5, requires_grad=True)
        step(x, y)
        note(x.grad, y.grad)


@table
def an_argument_that_is_also_captured(compile, note):
    own = randn(3, 4, seed=6)
    row = own[0]
    step = compile(lambda x: x * 2 + own + row)
    note(step(own), step(A), step(own), step(B))


@table
def an_argument_in_the_optimizer(compile, note):
    p, q = randn(3, requires_grad=True), randn(3, seed=1, requires_grad=True)
    optimizer = lp.optim.SGD([p, q], lr=0.1)

    @compile
    def step(x):
        optimizer.zero_grad()
        (x * p * q).sum().backward()
        optimizer.step()

    for x in (p, q, randn(3, seed=2), p):
        step(x)
        note(p, q, p.grad, q.grad)


@table
def gradients_as_arguments(compile, note):
    p = lp.ones(3, requires_grad=True)

    @compile
    def put(g):
        p.grad = g

    for seed in range(3):
        g = randn(3, seed=seed)
        put(g)
        note(p.grad, p.grad is g)


@table
def shapes_dtypes_and_layouts(compile, note):
    step = compile(lambda x: (x * 2 + 1, x.sum(-1), x.T, x > 3))
    base = np.arange(48.0).reshape(6, 8)
    arrays = [
        base, base.astype("f4"), base.astype("i8"), base.astype("i4"), base > 20, base.T, base[::2, ::-1],
        base[:, :1], np.broadcast_to(base[:1], (6, 8)), base[:0], base[1], np.float32([[3.0]]),
    ]  # fmt: skip
    for array in (*arrays, *arrays):
        note(step(lp.from_numpy(array)))
    scalar = compile(lambda x, y: (x * 2, x + y, x.sum()))
    for value in (1.5, 2, True):
        note(scalar(lp.tensor(value), A), scalar(lp.tensor(value), lp.tensor(2.0)))


@table(interpreted=True)
def elements_that_lie_askew_in_memory(compile, note):
    records = np.zeros(5, np.dtype([("a", "<f4"), ("b", "i1")]))
    records["a"] = np.arange(5)
    inside = lp.from_numpy(records["a"])
    step = compile(lambda x: x * 2 + inside)
    note(step(lp.from_numpy(records["a"])), step(lp.ones(5)))


@table
def read_only_arguments(compile, note):
    array = np.arange(4.0, dtype="f4")
    array.flags.writeable = False
    x = lp.from_numpy(array)
    double, write = compile(lambda x: x * 2), compile(lambda x: x.mul_(2))
    note(double(x), write(lp.ones(4)))
    for _ in range(2):
        note(type(error_of(write, x)).__name__, array.tolist())


@table
def a_leaf_then_a_computed_argument(compile, note):
    square = compile(lambda x: (x * x).sum().backward())
    leaf = randn(3, requires_grad=True)
    square(leaf)
    note(leaf.grad)
    with lp.no_grad():
        step = compile(lambda x: x * 2)
        note(step(leaf), step(leaf * 2), step(leaf[:2]), step(leaf.detach()))


@table(eager=True)
def an_argument_with_a_graph(compile, note):
    leaf = randn(3, requires_grad=True)

    @compile
    def square(x):
        (x * x).sum().backward()  # HERE

    square(leaf * 2)
    square(leaf * 3)
    note(leaf.grad)


# -- results ------------------------------------------------------------------------------------------------


@table
def trees_of_results(compile, note):
    step = compile(lambda x: {"a": (x * 2, [x, None, 1.5]), "b": Pair(x.sum(), "text"), "c": []})
    for x in (A, B):
        result = step(x)
        note(result, result["a"][1][0] is x, type(result["b"]) is Pair)
    note(step(A)["c"] is step(A)["c"])


@table
def nothing_is_returned(compile, note):
    step = compile(lambda x: None)
    note(step(A), step(B))


@table
def arguments_are_returned_as_they_are(compile, note):
    own = randn(3, requires_grad=True)
    step = compile(lambda x: (x, own, x.detach(), own.detach(), x[0], x.T))
    for x in (A.clone(), B.clone()):
        result = step(x)
        note(result, [r is x for r in result], [r is own for r in result])
        result[4].fill_(0.5)
        note(x)


@table
def results_that_share_memory(compile, note):
    @compile
    def step(x):
        y = x * 2
        return y, y, y[0], y.reshape(-1), y.detach()

    for _ in range(2):
        y, same, row, flat, alias = step(A)
        y.add_(1)
        note(y, row, flat, alias, same is y)
        row.zero_()
        note(y, flat, alias)


@table
def results_are_new_each_time(compile, note):
    constant = compile(lambda: (lp.zeros(3), lp.tensor(1.5), lp.arange(4)))
    step = compile(lambda x: x + 1)
    for _ in range(3):
        results = (*constant(), step(A))
        note(results)
        for result in results:
            result.add_(7)
    note(A)


@table
def a_gradient_is_returned(compile, note):
    weight = randn(4, requires_grad=True)

    @compile
    def slope(x):
        weight.grad = None
        (weight * x).sum().backward()
        return weight.grad

    for seed in range(2):
        result = slope(randn(4, seed=seed))
        note(result, result is weight.grad)
        result.add_(1)
        note(weight.grad)


@table
def the_loss_has_been_used_up(compile, note):
    model = net()
    step = compile(training_step(model, lp.optim.SGD(model.parameters(), lr=0.1)))
    loss = step(X, Y)
    note(loss, type(error_of(loss.backward)).__name__, loss.detach())


@table
def constants_made_inside(compile, note):
    @compile
    def step(x):
        total, grid = lp.tensor(0.0), lp.zeros(4)
        for i in range(3):
            total += x[i].sum()
            grid[i] = x[i, 0]
        return total, grid, lp.arange(4) * 2, lp.full((2,), 7), lp.eye(2) if hasattr(lp, "eye") else None

    for x in (A, B, A):
        note(step(x))


# -- what can be compiled ----------------------------------------------------------------------------


@table
def methods_and_callables(compile, note):
    class Scale:
        def __init__(self, k):
            self.k = k

        def __call__(self, x):
            return x * self.k

        def shift(self, x):
            return x + self.k

    first, second = Scale(2.0), Scale(3.0)
    call, bound = compile(first), compile(second.shift)
    Scale.half = compile(lambda self, x: x * self.k / 2)
    for _ in range(2):
        note(call(A), bound(A), first.half(A), second.half(A), Scale(7.0).half(B))
        first.k, second.k = 4.0, 5.0


@table
def modules(compile, note):
    model = net()
    run = compile(model)
    with lp.no_grad():
        note(run(X), run(X[:2]))
        model[0].weight.mul_(2)
        model[2] = nn.Linear(5, 2)
        note(run(X))


@table
def partials_and_operations(compile, note):
    scale = compile(functools.partial(lambda k, x: x * k, 3.0))
    relu = compile(lp.relu)
    note(scale(A), scale(B), relu(A), relu(B))


@table
def compiled_functions_call_each_other(compile, note):
    factor = [2.0]
    inner = compile(lambda x: x * factor[0])
    outer = compile(lambda x: inner(inner(x)) + 1)
    note(outer(A), inner(A))
    factor[0] = 3.0
    note(outer(A), inner(A))


@table
def gradients_on_and_off(compile, note):
    weight = randn(4, requires_grad=True)
    step = compile(lambda x: (weight * x).sum().requires_grad)
    with lp.no_grad():
        note(step(A), step(B))
    note(step(A), step(B))


@table
def the_default_dtype_changes(compile, note):
    step = compile(lambda i: (i / 2, lp.zeros(2) + i.sum()))
    note(step(Y))
    lp.set_default_dtype(lp.float64)
    try:
        note(step(Y))
    finally:
        lp.set_default_dtype(lp.float32)
    note(step(Y))


@pytest.mark.parametrize("scenario", table.params())
def test_call(scenario):
    check(scenario)
