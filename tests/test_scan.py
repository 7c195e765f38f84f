"""`scan`: a loop with a carry, read in every way: as it stands, interpreted, compiled, differentiated."""

import numpy as np
import pytest
from codegen_harness import targets

import lampion
from lampion.compiler import kernel_ir as ir
from lampion.compiler.capture import CaptureError
from lampion.compiler.function import run_as, trace_call
from lampion.compiler.graph import check, interpret
from lampion.compiler.lowering.bases import based
from lampion.compiler.passes import optimize
from lampion.errors import LampionError, ShapeError
from lampion.func import grad, jvp, scan, vmap
from lampion.nn import functional as F
from lampion.testing import gradcheck, gradgradcheck

T, N, H = 5, 3, 4
#: Sums in another order, and vector functions within 4 ulp, over a few rounds of a bounded map.
CLOSE = {"rtol": 3e-5, "atol": 3e-6}


def randn(*shape, seed=0, **options):
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return lampion.tensor(values.astype(np.float32), **options)


def flat(result):
    if isinstance(result, lampion.Tensor):
        return [result.detach().numpy()]
    parts = result.values() if isinstance(result, dict) else result
    return [array for part in parts for array in flat(part)]


def agree(function, *args, exact=True, **options):
    """Interpreted is eager's bits, compiled is close to them."""
    eager = flat(run_as("eager", function, *args))
    for reading in ("interpreted", "compiled"):
        found = flat(run_as(reading, function, *args))
        assert len(found) == len(eager)
        for got, want in zip(found, eager, strict=True):
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            if want.dtype.kind != "f" or (exact and reading == "interpreted"):
                np.testing.assert_array_equal(got, want)
            else:
                np.testing.assert_allclose(got, want, **(options or CLOSE))
    return eager


def looped(function, carry, xs):
    """The loop that a scan stands for."""
    ys = []
    for x in xs:
        carry, y = function(carry, x)
        ys.append(y)
    return carry, lampion.stack(ys)


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


# -- gradients -------------------------------------------------------------------------------------


def cell_and_weights():
    w, u = randn(N, H, seed=3, requires_grad=True), randn(H, H, seed=4, requires_grad=True)
    b = randn(H, seed=5, requires_grad=True)

    def cell(h, x):
        h = (x @ w + h @ u + b).tanh()
        return h, h * 2

    return cell, [w, u, b]


@pytest.mark.parametrize("reverse", [False, True])
def test_gradient(reverse):
    cell, weights = cell_and_weights()
    x, h = randn(T, 2, N, requires_grad=True), randn(2, H, seed=1, requires_grad=True)

    def run(x, h):
        last, ys = scan(cell, h, x, reverse=reverse)
        loss = (ys * ys).sum() + last.sum()
        return loss.detach(), lampion.autograd.grad(loss, [x, h, *weights])

    agree(run, x, h, exact=False, rtol=3e-5, atol=3e-5)  # sums of numbers of about 10, which may cancel


def test_second_gradient():
    cell, weights = cell_and_weights()
    x, h = randn(T, 2, N, seed=1, requires_grad=True), lampion.zeros(2, H)

    def run(x, h):
        last, ys = scan(cell, h, x)
        first = lampion.autograd.grad((ys * ys).sum() + last.sum(), [x, *weights], create_graph=True)
        return first[0].detach(), lampion.autograd.grad(sum((g * g).sum() for g in first), [x, *weights])

    agree(run, x, h, exact=False, rtol=3e-4, atol=1e-2)


def test_gradcheck():
    rng = np.random.default_rng(0)
    x, h, w = (
        lampion.tensor(rng.standard_normal(shape), dtype=lampion.float64, requires_grad=True)
        for shape in ((3, 2), (2,), (2, 2))
    )

    def run(x, h, w):
        last, ys = scan(lambda h, x: ((h @ w + x).sin(), h * x), h, x)
        return last, ys

    assert gradcheck(run, (x, h, w)) and gradgradcheck(run, (x, h, w))
    for function in (gradcheck, gradgradcheck):
        assert function(lambda *args: run_as("eager", run, *args), (x, h, w))


def test_a_derivative_of_any_order_of_the_recorded_loop():
    h = lampion.tensor(0.5)
    xs = lampion.tensor([1.0, 2.0, 3.0])

    def value(h):
        return scan(lambda h, x: (h * h * x, h), h, xs)[0]

    def third(h):
        h = h.detach().requires_grad_()
        g = value(h)
        for _ in range(3):
            (g,) = lampion.autograd.grad(g, [h], create_graph=True)
        return g.detach()

    # h8 = x1**4 x2**2 x3 h**8 = 12 h**8
    want = 12 * 8 * 7 * 6 * 0.5**5
    for reading in ("eager", "interpreted", "compiled"):
        assert run_as(reading, third, h).item() == pytest.approx(want, rel=1e-5)


def test_only_what_needs_a_gradient_gets_one():
    w, v = randn(N, requires_grad=True), randn(N, seed=1)
    x = randn(T, N, seed=2)

    def run(x):
        (a, b), (y, z) = scan(lambda c, x: ((c[0] * w + x, c[1] + v), (c[0].detach() * w, c[1] * x)),
                              (v, v), x)  # fmt: skip
        assert a.requires_grad and y.requires_grad and not b.requires_grad and not z.requires_grad
        return b, z, *lampion.autograd.grad(a.sum() + y.sum(), [w])

    agree(run, x, exact=False)


def test_tied_and_transposed_weights():
    w = randn(N, N, requires_grad=True)
    x = randn(T, 2, N, seed=1)

    def run(x):
        turned = w.t()

        def body(h, x):
            return ((h @ w + x) @ turned).tanh(), (h @ w.t()).sum()

        h, ys = scan(body, lampion.zeros(2, N), x)
        return lampion.autograd.grad(h.sum() + ys.sum(), [w])

    agree(run, x, exact=False)


def test_all_products_with_a_weight_leave_the_loop():
    w = randn(N, N, requires_grad=True)

    def run(x):
        h, _ = scan(lambda h, x: (((h @ w + x) @ w).tanh(), x), lampion.zeros(2, N), x)
        return lampion.autograd.grad((h * h).sum(), [w])

    x = randn(T, 2, N, seed=1)
    agree(run, x, exact=False)
    step = lampion.compile(run)
    step(x)
    *_, back = [c.kernel for c in step.explain().plans[0].kernels if type(c.kernel).__name__ == "Repeat"]
    products = [call.kernel for call in back.calls if type(call.kernel).__name__ == "Matmul"]
    assert [kernel.shape for kernel in products] == [(2, N), (2, N)]


def test_second_gradient_through_a_transposed_weight():
    w, h = randn(N, N, requires_grad=True), randn(2, N, seed=3, requires_grad=True)

    def run(x, h):
        h1, ys = scan(lambda h, x: ((h @ w.t() + x).sigmoid(), h * x), h, x)
        first = lampion.autograd.grad(h1.sum() + (ys * ys).sum(), [w, h], create_graph=True)
        return lampion.autograd.grad(sum((g * g).sum() for g in first), [w, h])

    agree(run, randn(T, 2, N, seed=2), h, exact=False, rtol=1e-4, atol=1e-4)


def test_whether_a_gradient_is_needed_follows_the_rounds():
    w, x = randn(N, requires_grad=True), randn(T, N, seed=1)

    def run(x):
        zeros = lampion.zeros(N)  # what comes from w moves on by one carry a round, and falls off
        (a, b, c), ys = scan(lambda c, x: ((c[1], c[2], x), c[0]), (zeros, zeros, w), x)
        assert not (a.requires_grad or b.requires_grad or c.requires_grad) and ys.requires_grad
        return a, lampion.autograd.grad((ys * ys).sum(), [w])

    agree(run, x, exact=False)


def test_a_loop_that_a_later_one_no_longer_reads_is_dropped():
    def run(x):
        zeros = lampion.zeros(N)
        _, (used, unused) = scan(lambda h, x: (h + x, (h, h.exp())), zeros, x)
        last, _ = scan(lambda h, x: (h + x[0], x[1].sin()), zeros, (used, unused))
        return last

    binding, _ = recorded(run, randn(T, N))
    assert "exp" not in str(optimize(binding.graph))
    agree(run, randn(T, N))


def test_backward_outside_of_the_compiled_function():
    cell, weights = cell_and_weights()
    x, h = randn(T, 2, N), lampion.zeros(2, H)
    found = []
    for function in (lambda x, h: scan(cell, h, x), lampion.compile(lambda x, h: scan(cell, h, x))):
        last, ys = function(x, h)
        first = lampion.autograd.grad((ys * ys).sum() + last.sum(), weights, create_graph=True)
        second = lampion.autograd.grad(sum((g * g).sum() for g in first), weights)
        found.append(flat([last, ys, *first, *second]))
    for got, want in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(got, want, rtol=3e-4, atol=3e-4 * abs(want).max())


def test_backward_twice_is_refused_as_in_eager():
    w = randn(N, requires_grad=True)

    def run(x):
        h, _ = scan(lambda h, x: ((h * w).exp(), x), lampion.zeros(N), x)
        h.sum().backward()
        h.sum().backward()

    for reading in ("eager", "compiled"):
        with pytest.raises(lampion.errors.GradientError, match="already been made"):
            run_as(reading, run, randn(T, N))
        w.grad = None


# -- in compiled steps -----------------------------------------------------------------------------


def training(step_of):
    """Two runs of three steps: eager, compiled. The parameters after each."""
    found = []
    for wrap in (lambda f: f, lampion.compile):
        lampion.manual_seed(3)
        weights = [randn(N, 4 * H, seed=1), randn(H, 4 * H, seed=2), randn(4 * H, seed=3)]
        weights = [(w * 0.3).requires_grad_() for w in weights]
        optimizer = lampion.optim.Adam(weights, lr=0.01)
        step = wrap(step_of(weights, optimizer))
        losses = [step(randn(T, 2, N, seed=7 + i)).item() for i in range(3)]
        found.append([losses, *(w.detach().numpy().copy() for w in weights)])
        if wrap is lampion.compile:
            assert not step.refused
            assert [c for c in step.explain().plans[0].kernels if type(c.kernel).__name__ == "Repeat"]
    return found


def lstm(weights):
    w, u, b = weights

    def cell(carry, x):
        h, c = carry
        i, f, g, o = (x @ w + h @ u + b).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h, c), h

    return cell


def test_an_lstm_trains():
    def step_of(weights, optimizer):
        cell = lstm(weights)

        def step(x):
            zeros = lampion.zeros(2, H)
            _, ys = scan(cell, (zeros, zeros), x)
            loss = ((ys - 1) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return step

    for eager, compiled in zip(*training(step_of), strict=True):
        np.testing.assert_allclose(compiled, eager, **CLOSE)


def test_an_lstm_makes_two_calls_a_round():
    weights = [randn(N, 4 * H, seed=1), randn(H, 4 * H, seed=2), randn(4 * H, seed=3)]
    for w in weights:
        w.requires_grad_()
    cell = lstm(weights)

    def step(x):
        zeros = lampion.zeros(2, H)
        _, ys = scan(cell, (zeros, zeros), x)
        return lampion.autograd.grad((ys * ys).sum(), weights)

    step = lampion.compile(step)
    step(randn(T, 2, N))
    rounds = [c.kernel for c in step.explain().plans[0].kernels if type(c.kernel).__name__ == "Repeat"]
    kinds = [[type(call.kernel).__name__ for call in loop.calls] for loop in rounds]
    assert kinds == [["Matmul", "Map"], ["Map", "Matmul"]]


def test_dropout_draws_what_the_loop_draws():
    w = randn(N, N, requires_grad=True)

    def run(x):
        lampion.rand(3)

        def body(h, x):
            return F.dropout(h @ w + x).tanh(), F.dropout(h)

        h, ys = scan(body, lampion.ones(2, N), x, reverse=True)
        (g,) = lampion.autograd.grad(h.sum() + ys.sum(), [w])
        return h.detach(), ys.detach(), g, lampion.rand(2)

    x = randn(T, 2, N, seed=1)
    found = []
    for reading in ("eager", "interpreted", "compiled"):
        lampion.manual_seed(5)
        found.append(flat(run_as(reading, run, x)))
        found[-1].append(lampion.rand(2).numpy())
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            np.testing.assert_allclose(got, want, **CLOSE)
            np.testing.assert_array_equal(got == 0, want == 0)
        np.testing.assert_array_equal(other[-1], found[0][-1])
        np.testing.assert_array_equal(other[-2], found[0][-2])


def test_the_same_bits_on_any_number_of_threads():
    # Rounds of some 10 us, which threads share; the table's rows are looked up in each of them.
    w, u = randn(64, 96, seed=3, requires_grad=True), randn(96, 96, seed=4, requires_grad=True)
    table = randn(9, 96, seed=5, requires_grad=True)

    def run(x, index):
        def cell(h, now):
            x, i = now
            h = ((x @ w + h @ u) * 0.1 + table[i]).tanh()
            return h, h * 2

        h, ys = scan(cell, lampion.zeros(40, 96), (x, index))
        return h.detach(), *lampion.autograd.grad((ys * ys).sum(), [w, u, table])

    x, index, found = randn(T, 40, 64, seed=1), (lampion.arange(T * 40) % 9).reshape(T, 40), []
    wrong = index.clone()
    wrong[3, 7] = 9
    step, before = lampion.compile(run), lampion.get_num_threads()
    try:
        for threads in (1, 2, 3, 8):
            lampion.set_num_threads(threads)
            found.append(flat(step(x, index)))
            with pytest.raises(IndexError, match="index 9"):
                step(x, wrong)
    finally:
        lampion.set_num_threads(before)
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, want)
    for got, want in zip(found[0], flat(run(x, index)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)  # sums of 200 products


@pytest.mark.parametrize("target", targets(), ids=str)
def test_on_each_processor(target):
    cell, weights = cell_and_weights()

    def run(x):
        h, ys = scan(cell, lampion.zeros(2, H), x)
        return h.detach(), *lampion.autograd.grad((ys * ys).sum(), weights)

    x = randn(T, 2, N)
    found = flat(run_as("compiled", run, x, target=target))
    for got, want in zip(found, flat(run(x)), strict=True):
        np.testing.assert_allclose(got, want, rtol=3e-5, atol=3e-5)  # sums of numbers of about 10


def test_state_outside_is_written_once():
    state = lampion.zeros(N)

    def run(x):
        h, ys = scan(lambda h, x: (h + x, h), state, x)
        state.copy_(h)
        return ys

    step, x = lampion.compile(run), randn(T, N)
    total = np.zeros(N, np.float32)
    for _ in range(2):
        step(x)
        for row in x.numpy():
            total = total + row
        np.testing.assert_array_equal(state.numpy(), total)


def test_an_index_out_of_range_in_a_round():
    table, state = randn(6, N), lampion.zeros(2)

    def run(index):
        h, _ = scan(lambda h, i: (h + table[i], i), lampion.zeros(2, N), index)
        state.add_(1)
        return h

    step = lampion.compile(run)
    step(lampion.tensor([[0, 1], [2, 3]]))
    bad = lampion.tensor([[0, 1], [2, 6], [1, 1]])
    with pytest.raises(IndexError) as eager:
        run(bad)
    step(lampion.tensor([[0, 1], [2, 3], [1, 1]]))
    before = state.tolist()
    with pytest.raises(IndexError) as compiled:
        step(bad)
    assert str(compiled.value) == str(eager.value) and state.tolist() == before


# -- the graph -------------------------------------------------------------------------------------


def recorded(function, *args):
    return trace_call(function, args, {}, list(args), guarded=False)


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
