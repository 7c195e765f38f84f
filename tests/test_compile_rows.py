"""What normalises along rows, compiled: values, first and second gradients, and what became of it."""

import numpy as np
import pytest

import lampion as lp

pytest.importorskip("llvmlite", reason="without llvmlite nothing is compiled")

from codegen_harness import targets

from lampion.compiler import kernel_ir as ir
from lampion.compiler.passes import optimize
from lampion.errors import IndexRangeError
from lampion.nn import functional as F
from lampion.testing.readings import assert_compiled, read

rng = np.random.default_rng(0)


def numbers(*shape, dtype=np.float32):
    return lp.tensor((2 * rng.standard_normal(shape)).astype(dtype), requires_grad=True)


FUNCTIONS = {
    "softmax": lambda x, w: F.softmax(x, -1),
    "log_softmax": lambda x, w: F.log_softmax(x, -1),
    "logsumexp": lambda x, w: lp.logsumexp(x, -1, keepdim=True) * w,
    "layer_norm": lambda x, w: F.layer_norm(x, (x.shape[-1],), w, w),
    "rms_norm": lambda x, w: F.rms_norm(x, (x.shape[-1],), w),
    "normalize": lambda x, w: F.normalize(x, dim=-1),
    "std": lambda x, w: x / x.std(-1, keepdim=True),
    "var": lambda x, w: x.var(-1, keepdim=True) * w,
    "soft labels": lambda x, w: F.cross_entropy(x, F.softmax(w * x, -1)),
    "residual": lambda x, w: F.layer_norm(x + lp.tanh(x), (x.shape[-1],)) + x,
    "weights of rows": lambda x, w: F.softmax(x, -1) * lp.sigmoid(x.amax(-1, keepdim=True)),
}


def with_gradients(function):
    """A function's result; the gradients of the sum of its squares; and the gradients of theirs."""

    def run(x, w):
        y = function(x, w)
        first = lp.autograd.grad((y * y).sum(), [x, w], create_graph=True, allow_unused=True)
        second = lp.autograd.grad((first[0] * first[0]).sum(), [x])
        return [y.detach(), *(g.detach() for g in (*first, *second) if g is not None)]

    return run


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name):
    x, w = numbers(9, 21), numbers(21)
    assert_compiled(with_gradients(FUNCTIONS[name]), x, w, label=name)


@pytest.mark.parametrize("target", targets("sse2", "avx", "avx2"), ids=lambda target: target.name)
def test_other_processors(target):
    x, w = numbers(6, 65), numbers(65)
    for name in ("log_softmax", "layer_norm"):
        assert_compiled(with_gradients(FUNCTIONS[name]), x, w, target=target, label=name)


@pytest.mark.parametrize("columns", [21, 64])
def test_many_totals_of_each_row(columns):
    """So many that the registers are shared out unevenly among them."""

    def run(x):
        return [x.sum(-1), x.amax(-1), x.argmax(-1), (x * x).sum(-1), x.amin(-1)]

    assert_compiled(run, numbers(9, columns).detach())
    assert_compiled(lambda x: run(x)[:4], numbers(9, columns, dtype=np.float64).detach())


def test_batch_norm_and_group_norm():
    def run(x, w):
        y = F.batch_norm(x, None, None, w, w, training=True) + F.group_norm(x, 3, w, w)
        return [y.detach(), *lp.autograd.grad((y * y).sum(), [x, w])]

    assert_compiled(run, numbers(5, 6, 4, 3), numbers(6))


def losses(x, labels, **options):
    loss = F.cross_entropy(x, labels, **options)
    return [loss.detach(), *lp.autograd.grad(loss.sum(), [x])]


LOSSES = {
    "mean": {},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none"},
    "ignored": {"ignore_index": 3},
    "smooth": {"label_smoothing": 0.1},
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(20, 11), (4, 11, 3, 2)], ids=str)
def test_labels(name, shape):
    labels = lp.tensor(rng.integers(0, 11, (shape[0], *shape[2:])))
    assert_compiled(lambda x, t: losses(x, t, **LOSSES[name]), numbers(*shape), labels, label=name)


def test_weights_of_classes():
    def run(x, labels, weight):
        return losses(x, labels, weight=weight)

    labels, weight = lp.tensor(rng.integers(0, 11, 20)), lp.tensor(rng.random(11).astype(np.float32))
    assert_compiled(run, numbers(20, 11), labels, weight)


def kernels(function, *args):
    compiled = lp.compile(function)
    compiled(*args)
    return [call.kernel for call in compiled.explain().plans[0].kernels]


def test_a_loss_and_its_gradient_read_the_scores_once():
    x, labels = numbers(30, 600), lp.tensor(rng.integers(0, 600, 30))
    large = [k for k in kernels(losses, x, labels) if 600 in getattr(k, "shape", ())]
    assert [type(k) for k in large] == [ir.Rows]
    assert len(large[0].choices) == 1


def test_an_index_out_of_range_is_an_error_and_changes_nothing():
    w = numbers(12, 7)
    optimizer = lp.optim.SGD([w], lr=0.1)

    def step(x, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ w, labels)
        loss.backward()
        optimizer.step()
        return loss

    compiled = lp.compile(step)
    x, labels = numbers(9, 12).detach(), rng.integers(0, 7, 9)
    compiled(x, lp.tensor(labels))
    before, slope = w.detach().numpy().copy(), w.grad.numpy().copy()
    labels[[4, 6]] = -3, 7
    with pytest.raises(IndexRangeError, match="index -3 is out of range") as ours:
        compiled(x, lp.tensor(labels))
    np.testing.assert_array_equal(w.detach().numpy(), before)
    np.testing.assert_array_equal(w.grad.numpy(), slope)
    with pytest.raises(IndexRangeError) as eager:
        F.cross_entropy(x @ w, lp.tensor(labels))
    assert str(ours.value) == str(eager.value)


def test_infinite_scores():
    x = np.zeros((8, 40), np.float32)
    x[0], x[1], x[2, 3], x[3, 5], x[4, :] = -np.inf, np.nan, np.inf, -np.inf, 3e38
    x[5, ::2], x[6, 7] = -np.inf, np.nan
    for function in (
        lambda x: F.softmax(x, -1),
        lambda x: F.log_softmax(x, -1),
        lambda x: lp.logsumexp(x, -1),
    ):
        assert_compiled(lambda x, f=function: [f(x).detach(), *lp.autograd.grad(f(x).sum(), [x])],
                        lp.tensor(x, requires_grad=True))  # fmt: skip


@pytest.mark.parametrize(
    "shape", [(0, 5), (3, 0), (1, 1), (7, 1), (1, 9), (2, 3, 1, 70), (9, 20_001)], ids=str
)
def test_shapes(shape):
    def run(x):
        y = F.softmax(x, -1) if x.numel() else x * 2
        return [(y * x).sum(-1), *lp.autograd.grad((y * y).sum(), [x])]

    assert_compiled(run, numbers(*shape))


@pytest.mark.parametrize("rows", [3, 70])
def test_a_row_that_no_buffer_holds(rows):
    """Exponentials of a row of 270 kB stay out of the row kernel, and few long rows are shared otherwise."""
    x = numbers(rows, 67_000).detach()
    assert_compiled(lambda x: F.softmax(x, -1), x)
    for kernel in kernels(lambda x: F.softmax(x, -1), x):
        assert rows > 3 or not isinstance(kernel, ir.Rows)
        values = [v for v in getattr(kernel, "points", ()) if isinstance(v, ir.Compute)]
        assert "exp" not in [v.primitive.name for v in values]


def test_rows_seen_in_two_shapes_are_one_kernel():
    """The same points as (4, 8, 33) and as (32, 33), and a row's value as (32, 1) and as (4, 8, 1)."""

    def run(x, w):
        y = F.softmax(x.reshape(32, 33) * 2, -1)
        return (y.reshape(4, 8, 33) + w) / y.sum(-1, keepdim=True).reshape(4, 8, 1)

    x, w = numbers(4, 8, 33).detach(), numbers(8, 1).detach()
    assert [type(k) for k in kernels(run, x, w)] == [ir.Rows]
    assert_compiled(run, x, w)


def test_what_lies_between_two_members_keeps_them_apart():
    """The product needs the softmax, and the sum needs the product: they cannot be one kernel."""

    def run(x, w):
        y = F.softmax(x, -1)
        z = (y @ w) + y
        return z - z.sum(-1, keepdim=True)

    x, w = numbers(16, 16).detach(), numbers(16, 16).detach()
    assert [type(k) for k in kernels(run, x, w)] == [ir.Rows, ir.Matmul, ir.Rows]
    assert_compiled(run, x, w)


def test_two_merges_do_not_need_each_other():
    """Each of them would be legal alone: rows of the softmax and its gradients, and the vectors between."""

    def run(x, w):
        y = (F.softmax(x @ w, -1).log().sum(0) * x.sum()).sum()
        first = lp.autograd.grad(y, [x, w], create_graph=True)
        return lp.autograd.grad(sum((g * g).sum() for g in first), [x, w])

    assert_compiled(run, numbers(3, 4), numbers(4, 2))


def test_updates_are_written_in_place():
    w = numbers(1000)
    optimizer = lp.optim.SGD([w], lr=0.1)

    def step(x, y):
        optimizer.zero_grad()
        miss = w * x - y
        loss = (miss * miss).sum()
        loss.backward()
        optimizer.step()
        return loss

    x, y = numbers(1000).detach(), numbers(1000).detach()
    compiled = lp.compile(step)
    compiled(x, y)
    assert not any("write back" in call.label for call in compiled.explain().plans[0].kernels)


def test_a_transposed_row_is_not_walked_along():
    """Its points are far apart in memory; those of its exponentials, once stored, are not."""
    x = numbers(64, 48).detach()
    rows = [k for k in kernels(lambda x: F.softmax(x.T, -1), x) if isinstance(k, ir.Rows)]
    assert all(v.window.strides[-1] in (0, 1) for k in rows for v in k.points if isinstance(v, ir.Load))
    assert_compiled(lambda x: F.softmax(x.T, -1), x)


def test_a_shifted_row_is_another_row():
    """A value of a point is read at that point only: the next one's may not be there yet."""

    def run(x):
        y = lp.exp(x - x.amax(-1, keepdim=True))
        return y[:, 1:] - y[:, :-1], (y[1:].sum(-1) + y.sum(-1)[1:])

    assert_compiled(run, numbers(12, 30).detach())


def test_a_point_elsewhere_is_not_read_in_the_same_kernel():
    def run(x):
        y = F.softmax(x, -1)
        return y + y.T, y * y.flip(0), y - y.amax(-1)

    assert_compiled(run, numbers(20, 20).detach())


def test_bits_do_not_depend_on_threads():
    x, labels = numbers(3000, 130), lp.tensor(rng.integers(0, 130, 3000))
    before, results = lp.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 8):
            lp.set_num_threads(threads)
            results.append([r.numpy() for r in read("compiled", losses, x, labels)])
    finally:
        lp.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_float64_and_short_floats():
    x = numbers(7, 37, dtype=np.float64)
    assert_compiled(lambda x: F.layer_norm(F.softmax(x, -1), (37,)), x.detach())
    assert_compiled(lambda x: F.softmax(x, -1), x.detach().to(lp.bfloat16))


def test_positions_are_counted_where_rows_are_walked():
    """They are written to memory only where a kernel of another kind compares with them."""
    x, labels = numbers(40, 50), lp.tensor(rng.integers(0, 50, 40))
    compiled = lp.compile(losses)
    compiled(x, labels)
    plan = compiled.explain().plans[0]
    assert any(e.primitive.name == "positions" for e in plan.optimized)
    assert not any("positions" in call.label for call in plan.kernels)
    images, classes = numbers(2, 5, 4, 3), lp.tensor(rng.integers(0, 5, (2, 4, 3)))
    compiled(images, classes)
    assert any("positions" in call.label for call in compiled.explain().plans[-1].kernels)


def test_passes_keep_graphs_right():
    from lampion.compiler.function import trace_call
    from lampion.compiler.graph import interpret
    from lampion.compiler.tree import flatten

    x, labels = numbers(6, 9), lp.tensor(rng.integers(0, 9, 6))
    leaves = []
    flatten((x, labels), leaves)
    binding, arrays = trace_call(losses, (x, labels), {}, leaves, guarded=False)
    rewritten = optimize(binding.graph, checking=True)
    assert not any(e.primitive.name == "scatter_add" for e in rewritten)
    assert sum(e.primitive.name == "exp" for e in rewritten) == 1
    for ours, plain in zip(interpret(rewritten, arrays), interpret(binding.graph, arrays), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-6, atol=1e-7)  # e / sum(e) for exp(log(...))
