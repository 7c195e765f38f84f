"""`scan`: a loop with a carry, read in every way: as it stands, interpreted, compiled; its graph."""

import numpy as np
import pytest
from scan_harness import CLOSE, H, N, T, agree, cell_and_weights, looped, randn, recorded

import lampion
from lampion.compiler import kernel_ir as ir
from lampion.compiler.capture import CaptureError
from lampion.compiler.function import run_as, trace_call
from lampion.compiler.graph import check, interpret
from lampion.compiler.lowering.bases import based
from lampion.compiler.passes import optimize
from lampion.errors import LampionError, ShapeError
from lampion.func import grad, jvp, scan, vmap

# -- forward ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_is_the_loop(dim, reverse):
    x, h = randn(T, T, T), randn(T, T, seed=1)

    def cell(h, x):
        h = (h * 0.5 + x).tanh()
        return h, h * x

    got = agree(lambda x, h: scan(cell, h, x, dim=dim, reverse=reverse), x, h)
    parts = x.unbind(dim)
    last, ys = looped(cell, h, parts[::-1] if reverse else parts)
    np.testing.assert_array_equal(got[0], last.numpy())
    np.testing.assert_array_equal(got[1], (ys.flip(0) if reverse else ys).movedim(0, dim).numpy())


def test_trees_and_integer_carries():
    x = {"a": randn(T, N), "b": lampion.arange(T)}

    def body(carry, x):
        count, (total, seen) = carry
        total = total + x["a"]
        return (count + x["b"], [total, seen | (x["a"] > 0)]), {"sum": total, "n": (count * 2,)}

    def run(a, b):
        init = (lampion.tensor(1), [lampion.zeros(N), lampion.zeros(N, dtype=lampion.bool)])
        return scan(body, init, {"a": a, "b": b})

    carry, ys = run(x["a"], x["b"])
    assert isinstance(carry[1], list) and set(ys) == {"sum", "n"} and ys["n"][0].dtype is lampion.int64
    agree(run, x["a"], x["b"])


@pytest.mark.parametrize("length", [0, 1])
def test_few_rounds(length):
    x, h, w = randn(length, N), randn(N, seed=1), randn(N, seed=2, requires_grad=True)

    def run(x, h):
        last, ys = scan(lambda h, x: (h * w + x, (h.exp(), h > 0)), h, x)
        (g,) = lampion.autograd.grad((last * w).sum() + ys[0].sum(), [w])
        return last.detach(), ys[0].detach(), ys[1], g

    last, ys, _, g = agree(run, x, h)
    assert ys.shape == (length, N)
    if not length:
        np.testing.assert_array_equal(last, h.numpy())
        np.testing.assert_array_equal(g, h.numpy())


def test_one_round_is_no_loop():
    x, h = randn(1, N), randn(N)
    binding, _ = recorded(lambda x, h: scan(lambda h, x: (h * x, h), h, x), x, h)
    assert not [equation for equation in binding.graph if equation.primitive.name == "scan"]


def test_carries_that_stand_still_or_change_places():
    x, a, b = randn(T, N), randn(N, seed=1), randn(N, seed=2)

    def body(carry, x):
        a, b, c = carry
        return (b, a + x, c), (a, b, x)

    agree(lambda x, a, b: scan(body, (a, b, b), x), x, a, b)


def test_the_last_carry_is_nobody_elses():
    h = lampion.zeros(2)
    last, _ = scan(lambda h, x: (h, x), h, lampion.ones(3))
    last += 1
    assert h.tolist() == [0, 0]


def test_nested():
    x, h = randn(T, 4, N), randn(N, seed=1)
    w = randn(N, N, seed=2, requires_grad=True)

    def outer(h, x):
        h, ys = scan(lambda h, x: ((h @ w + x).tanh(), h.sum()), h, x, reverse=True)
        return h * 0.5, ys

    def run(x, h):
        h, ys = scan(outer, h, x)
        (g,) = lampion.autograd.grad(h.sum() + (ys * ys).sum(), [w])
        return h.detach(), ys.detach(), g

    agree(run, x, h, exact=False)


def test_a_body_without_machine_code_is_written_out():
    x, a = randn(T, N, N), randn(N, N, seed=1)
    w = randn(N, N, seed=2, requires_grad=True)

    def run(x, a):
        def body(a, x):
            a = (lampion.linalg.inv(a * 0.1 + lampion.eye(N)) @ w + x).tanh()
            return a, a.sum()

        a, ys = scan(body, a, x)
        (g,) = lampion.autograd.grad(a.sum() + ys.sum(), [w])
        return a.detach(), ys.detach(), g

    agree(run, x, a, exact=False)
    step = lampion.compile(lambda x, a: scan(lambda a, x: (lampion.linalg.inv(a + 9 * x), x), a, x)[0])
    step(x, a)
    assert step.explain().plans[0].callouts == T


def test_a_body_may_write_to_its_own_tensors():
    x, h = randn(T, 2, N), randn(2, N, seed=1)
    w = randn(N, requires_grad=True)

    def body(h, x):
        y = h * w
        y[:, 1:] += x[:, :2] * h[:, :2]
        y.mul_(0.5)
        return y.tanh(), y

    def run(x, h):
        h, ys = scan(body, h, x)
        return h.detach(), ys.detach(), lampion.autograd.grad((ys * h).sum(), [w])

    agree(run, x, h, exact=False)


# -- the graph -------------------------------------------------------------------------------------


def test_the_graph_prints_and_is_checked():
    cell, weights = cell_and_weights()

    def run(x):
        h, ys = scan(cell, lampion.zeros(2, H), x)
        return lampion.autograd.grad((ys * ys).sum() + h.sum(), weights)

    x = randn(T, 2, N)
    binding, arrays = recorded(run, x)
    text = str(binding.graph)
    assert f"for each of range({T}):" in text and f"for each of reversed(range({T})):" in text
    assert "    carry %" in text and "    next %" in text and "    stack %" in text
    check(binding.graph)
    small = optimize(binding.graph, checking=True)
    for got, want in zip(interpret(small, arrays), interpret(binding.graph, arrays), strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)


def test_the_checker_finds_a_wrong_body():
    binding, _ = recorded(lambda x: scan(lambda h, x: (h + x, h), lampion.zeros(N), x)[1], randn(T, N))
    loop = next(e.params["loop"] for e in binding.graph if "loop" in e.params)
    loop.body.outputs[0] = loop.body.value((7,), np.float32)
    with pytest.raises(LampionError, match=r"carry 0 of loop_.* changes its type"):
        check(binding.graph)


def test_what_nobody_uses_is_dropped_inside_too():
    def run(x):
        (a, _), (y, _) = scan(lambda c, x: ((c[0] + x, c[1].exp()), (c[0] * x, c[1].sin())),
                              (lampion.zeros(N), lampion.zeros(N)), x)  # fmt: skip
        return a, y

    binding, _ = recorded(run, randn(T, N))
    text = str(optimize(binding.graph))
    assert "exp" not in text and "sin" not in text and "mul" in text


def test_kernels_that_begin_elsewhere_are_one():
    x, w = randn(6, 4, 4), randn(4, 4, seed=1)

    def run(x, h):
        for now in x:
            h = h @ w + now
        return h

    agree(run, x, x[0])
    step = lampion.compile(run)
    step(x, x[0])
    calls = step.explain().plans[0].kernels
    assert len(calls) == 6 and len({call.kernel for call in calls}) == 1


def test_a_place_begins_where_its_first_element_is():
    buffer, back = ir.Place(True, 0, 400), ir.Window(0, (4,), (-1,), 50)
    operand = ir.Operand(lampion.float32)
    body = (ir.Load(back, lampion.float32),)
    kernel, (place,) = based(ir.Map((4,), (operand,), body, ()), [buffer])
    assert (place.start, place.nbytes) == (47 * 4, 400 - 47 * 4)
    assert kernel.body[0].window.offset == 3


# -- other transforms ------------------------------------------------------------------------------


def test_under_transforms():
    u = cell_and_weights()[1][1]
    x, h = randn(T, 2, N), randn(2, H, seed=1)

    def last(u, h, x):
        return scan(lambda h, x: ((h @ u).tanh() + x.sum(), h), h, x)[0]

    each = vmap(lambda h, x: last(u, h, x), in_dims=(0, 1))(h, x)
    for i in range(2):
        np.testing.assert_allclose(each[i].detach().numpy(), last(u, h[i], x[:, i]).detach().numpy(), **CLOSE)
    direction = randn(H, H, seed=9)
    _, along = jvp(lambda u: last(u, h, x).sum(), (u.detach(),), (direction,))
    slope = grad(lambda u: last(u, h, x).sum())(u.detach())
    np.testing.assert_allclose(along.item(), (slope * direction).sum().item(), rtol=1e-4)
    agree(lambda h, x: vmap(lambda h, x: last(u.detach(), h, x), in_dims=(0, 1))(h, x), h, x)
    agree(lambda h, x: grad(lambda u: last(u, h, x).sum())(u.detach()), h, x, exact=False)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["eager", "compiled"])
def test_errors(reading):
    x, h = randn(T, N), lampion.zeros(N)

    def refused(error, words, function, init=h, xs=x, **options):
        with pytest.raises(error) as caught:
            run_as(reading, lambda: scan(function, init, xs, **options))
        for word in words:
            assert word in str(caught.value)

    refused(LampionError, ["leaf 1 of 2", "shape (3,), lampion.float32", "shape (1,), lampion.float32"],
            lambda c, x: ((c[0], c[1].sum(0, keepdim=True)), x), (h, h))  # fmt: skip
    refused(LampionError, ["shape or type", "lampion.int64"], lambda h, x: (h.long(), x))
    refused(LampionError, ["structure", "(*, *)", "[*, *]"], lambda c, x: (list(c), x), (h, h))
    refused(LampionError, ["two things"], lambda h, x: h)
    refused(LampionError, ["made of tensors", "float"], lambda h, x: (h, x), 0.0)
    refused(LampionError, ["made of tensors"], lambda h, x: (h, 1))
    refused(LampionError, ["in place"], lambda h, x: (h.add_(x), x))
    refused(LampionError, ["in place"], lambda h, x: (h + x.mul_(2), x))
    refused(LampionError, ["no tensors"], lambda h, x: (h, h), xs=())
    refused(ShapeError, ["differ in length", "5, 2"], lambda h, x: (h, h), xs=(x, x[:2]))
    refused(ShapeError, ["no dimension 2"], lambda h, x: (h, h), dim=2)


def test_what_a_body_must_not_do_makes_the_function_run_eagerly():
    outside = lampion.zeros(N)
    w = randn(N, requires_grad=True)

    def writes(h, x):
        outside.add_(x)
        return h + outside, x

    def steps(h, x):
        (h * w).sum().backward()
        return h, x

    for body in (writes, steps):
        step = lampion.compile(lambda x, body=body: scan(body, lampion.zeros(N), x)[0])
        with pytest.warns(RuntimeWarning, match="runs eagerly"):
            step(randn(T, N))
    assert outside.abs().sum() > 0


def test_a_tensor_of_the_body_stays_inside():
    kept = []

    def run(x):
        h, _ = scan(lambda h, x: (kept.append(h * 2) or h + x, x), lampion.zeros(N), x)
        return h + kept[0]

    with pytest.raises(CaptureError, match="outside of it"):
        trace_call(run, (randn(T, N),), {}, [randn(T, N)], guarded=False)
