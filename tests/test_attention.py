"""Attention as one operation: its kernels on every level of processor, and what the mask hides."""

import numpy as np
import pytest

import lampion as lp
from lampion.compiler.function import run_as
from lampion.errors import ShapeError
from lampion.nn.functional import linear
from lampion.nn.functional import scaled_dot_product_attention as attend


def step(q, k, v, g, causal):
    """The result and the gradients of all three."""
    q, k, v = (x.detach().requires_grad_() for x in (q, k, v))
    out = attend(q, k, v, is_causal=causal)
    return (out.detach(), *lp.autograd.grad(out, (q, k, v), g))


def inputs(front, length, keys, size, width, dtype="f4", seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((length, size), (keys, size), (keys, width), (length, width))
    return [rng.standard_normal((*front, *shape)).astype(dtype) for shape in shapes]


def both(arrays, causal, target=None):
    tensors = [lp.tensor(x) for x in arrays]
    eager = step(*tensors, causal)
    compiled = run_as("compiled", lambda *xs: step(*xs, causal), *tensors, target=target)
    return [x.numpy() for x in eager], [x.numpy() for x in compiled]


# (heads in front), queries, keys, size, width of the values: on both sides of tiles, vectors and blocks.
SHAPES = [
    ((2, 3), 5, 7, 4, 6), ((2,), 64, 64, 32, 32), ((2,), 67, 71, 33, 17), ((1,), 32, 33, 1, 1),
    ((1, 1), 1, 1, 8, 8), ((1,), 40, 900, 8, 40),
]  # fmt: skip


def targets():
    pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")
    from codegen_harness import targets

    return [pytest.param(target, id=target.name) for target in targets("sse2", "avx2", "host")]


@pytest.mark.parametrize("target", targets())
@pytest.mark.parametrize("causal", [False, True])
def test_kernels(target, causal):
    for shape in SHAPES if target.name == "host" else SHAPES[2:3]:
        for dtype in ("f4", "f8"):
            arrays = inputs(*shape, dtype)
            exact = step(*(lp.tensor(x.astype("f8")) for x in arrays), causal)
            eager, compiled = both(arrays, causal, target)
            for reference, a, b in zip(exact, eager, compiled, strict=True):
                # Each is some hundred products that are added up; the sums are in another order than NumPy's.
                least = 64 * np.finfo(dtype).eps * np.abs(reference.numpy()).max()
                error = np.abs(a - reference.numpy()).max()
                assert np.abs(b - reference.numpy()).max() <= 2 * error + least, (shape, dtype)


@pytest.mark.parametrize("where", ["q", "k", "v", "g"])
def test_what_the_mask_hides_counts_for_nothing(where):
    """NaN and infinities reach the pairs that see them, and no others, in eager and compiled alike."""
    for position, value in ((40, np.nan), (3, np.inf), (44, -np.inf)):
        arrays = inputs((2,), 45, 50, 4, 4)
        arrays["qkvg".index(where)][0, position, 1] = value
        eager, compiled = both(arrays, True)
        for a, b in zip(eager, compiled, strict=True):
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
            np.testing.assert_array_equal(np.isinf(a), np.isinf(b))
        if where != "g" and position == 40:
            out = eager[0]
            assert np.isfinite(out[0, : position if where != "q" else 1]).all()
            assert not np.isfinite(out[0, position]).all()
            assert np.isfinite(out[1]).all()


def test_threads_do_not_change_bits():
    arrays = [lp.tensor(x) for x in inputs((4, 8), 128, 128, 32, 32)]
    compiled = lp.compile(lambda *xs: step(*xs, True))
    before = lp.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            lp.set_num_threads(threads)
            results.append([x.numpy().copy() for x in compiled(*arrays)])
    finally:
        lp.set_num_threads(before)
    assert compiled.explain().callouts == 0
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_second_derivatives():
    for causal in (False, True):
        q, k, v, _ = (lp.tensor(x, requires_grad=True) for x in inputs((2,), 3, 4, 2, 3, "f8"))
        lp.autograd.gradgradcheck(lambda *xs, c=causal: attend(*xs, is_causal=c), (q, k, v))


def test_one_projection_needs_no_copies():
    """q, k and v are windows of what made them, and their gradients lie as that needs them."""

    def layer(x, weight):
        q, k, v = (t.view(2, 8, 2, 4).transpose(1, 2) for t in linear(x, weight).split(8, 2))
        out = attend(q, k, v, is_causal=True).transpose(1, 2).reshape(2, 8, 8)
        return out.detach(), lp.autograd.grad(out, weight, x)[0]

    compiled = lp.compile(layer)
    x, weight = lp.randn(2, 8, 8), lp.randn(24, 8, requires_grad=True)
    for a, b in zip(compiled(x, weight), layer(x, weight), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # sums in another order
    kinds = [type(call.kernel).__name__ for call in compiled.explain().plans[0].kernels]
    assert kinds == ["Matmul", "Attention", "AttentionSlopes", "Matmul"]


def test_long_sequences_are_composed():
    """Where the scores of a block would not stay in cache, and where there are fewer keys than queries."""
    for length, keys, causal in ((3, 2100, False), (9, 4, True)):
        arrays = inputs((1,), length, keys, 2, 2)
        eager, compiled = both(arrays, causal)
        for a, b in zip(eager, compiled, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)  # sums of up to 2100 products, reordered


def test_dropout_and_transforms():
    lp.manual_seed(1)
    q, k, v, _ = (lp.tensor(x) for x in inputs((2,), 6, 6, 4, 4))
    assert attend(q, k, v, dropout_p=1.0).abs().sum().item() == 0
    one_by_one = lp.stack([attend(*xs, is_causal=True) for xs in zip(q, k, v, strict=True)])
    together = lp.func.vmap(lambda *xs: attend(*xs, is_causal=True))(q, k, v)
    np.testing.assert_allclose(
        together, one_by_one, rtol=1e-5, atol=1e-6
    )  # one is composed, the other is not
    _, moved = lp.func.jvp(lambda q: attend(q, k, v), (q,), (lp.ones_like(q),))
    assert moved.shape == q.shape


def test_sums_of_pieces_become_one():
    """The gradients of pieces of a tensor, added up, are the pieces side by side: no zeros in between."""

    def pieces(x):
        parts = [x[t] * (t + 1.0) for t in range(3)]
        return lp.autograd.grad((parts[0] * parts[1] * parts[2]).sum(), x)[0]

    x = lp.randn(3, 4, requires_grad=True)
    compiled = lp.compile(pieces)
    np.testing.assert_allclose(compiled(x), pieces(x), rtol=1e-5)  # a product of three, in another order
    names = [equation.primitive.name for equation in compiled.explain().plans[0].optimized]
    assert "put" not in names and names.count("cat") == 1

    def overlapping(x):
        return lp.autograd.grad((x[0:2] * x[1:3]).sum(), x)[0]

    compiled = lp.compile(overlapping)
    np.testing.assert_array_equal(compiled(x), overlapping(x))


@pytest.mark.parametrize("dtype", [lp.float32, lp.float16])
@pytest.mark.parametrize("run", [lambda f: f, lp.compile], ids=["eager", "compiled"])
def test_a_mask_that_does_not_fit(run, dtype):
    masked = run(lambda q, k, mask: attend(q, k, k, mask))
    q, k = lp.ones(2, 4, 3, 6, dtype=dtype), lp.ones(2, 4, 5, 6, dtype=dtype)
    for shape in ((3, 4), (5, 3), (2, 3, 5), (3, 4, 3, 5), (2, 4), (2,)):
        for kind in (lp.bool, lp.float32):
            with pytest.raises(ShapeError) as error:
                masked(q, k, lp.ones(*shape, dtype=kind))
            assert str(error.value).startswith("scaled_dot_product_attention: attn_mask does not broadcast")
            assert "expected: (..., 3, 5), for scores of shape (2, 4, 3, 5)" in str(error.value)
            assert f"got: attn_mask {shape}\n" in str(error.value)
    with pytest.raises(ShapeError, match="attn_mask"):  # it would make one query three
        masked(q[:, :, :1], k, lp.ones(3, 5, dtype=lp.bool))
    for shape in ((3, 5), (1, 5), (5,), (2, 1, 1, 5), (4, 3, 1), (7, 1, 1, 1, 1)):
        assert masked(q, k, lp.ones(*shape, dtype=lp.bool)).shape[-4:] == q.shape
