"""Large weights of a loop lie in panels: the bits are the same, for any processor and number of threads."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import function, targets
from numpy.lib.stride_tricks import as_strided
from plan_harness import Built, matmul, window
from scan_harness import agree, flat, lstm, randn

import lampion
from lampion import dtype as dtypes
from lampion.compiler import kernel_ir as ir
from lampion.compiler.codegen.blocking import Blocking
from lampion.compiler.function import run_as
from lampion.compiler.lowering import panels
from lampion.func import scan

LEVELS = [pytest.param(target, id=target.name) for target in targets("sse2", "avx2", "host")]
ROUNDS = 9


def product(rows, depth, n, dtype="f4", turned=False):
    """The kernel of `a @ b + c`, and the arrays that it works on."""
    rng = np.random.default_rng(0)
    a, c = (rng.standard_normal(shape).astype(dtype) for shape in ((rows, depth), (rows, n)))
    b = (
        rng.standard_normal((n, depth)).astype(dtype).T
        if turned
        else rng.standard_normal((depth, n)).astype(dtype)
    )
    out = np.zeros((rows, n), dtype)
    kind = dtypes.of(out.dtype)
    add = [ir.Load(window(3, c), kind), ir.Compute(function("add"), (0, 1), kind)]
    return matmul(a, b, out, add, [c]), [a, b, out, c]


def run(kernels, arrays, target, threads):
    """The calls of these kernels, which together write one result."""
    arrays[2][...] = 77
    built = Built()
    for kernel in kernels:
        built.call(kernel, *arrays)
    assert built.compiled(target)(threads) is None
    return arrays[2].copy()


def laid_out(b, found):
    """The matrix as a loop lays it out."""
    parts = [
        as_strided(b.ravel("K")[piece.offset :], piece.shape, [step * b.itemsize for step in piece.strides])
        for piece in found.pieces
    ]
    return np.concatenate([part.ravel() for part in parts])


@pytest.fixture
def any_size(monkeypatch):
    """Small matrices, which are quicker to compile for, count as large."""
    monkeypatch.setattr(panels, "_LEAST", 0)
    monkeypatch.setenv("LAMPION_CACHE", "0")


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize(
    ("rows", "depth", "n", "dtype", "turned"),
    [
        (20, 70, 100, "f4", False),  # columns are left over
        (30, 200, 96, "f4", True),
        (60, 512, 64, "f4", False),  # rows of a that are packed; two blocks of k and more
        (130, 330, 40, "f8", False),
    ],
)
def test_bits_are_those_of_the_matrix_as_it_was(any_size, target, rows, depth, n, dtype, turned):
    kernel, arrays = product(rows, depth, n, dtype, turned)
    plain = run([kernel], arrays, target, 1)
    found = panels.in_panels(kernel, ROUNDS)
    arrays[1] = laid_out(arrays[1], found)
    for threads in (1, 2, 3, 8):
        np.testing.assert_array_equal(run(found.kernels, arrays, target, threads), plain)
    assert len(found.kernels) == 1 + bool(n % panels.columns(kernel.dtype))
    assert Blocking(found.kernels[0]).panel == depth * panels.columns(kernel.dtype)


def test_what_stays_as_it_is(any_size, monkeypatch):
    kernel, _ = product(20, 70, 100)
    assert panels.in_panels(kernel, ROUNDS) is not None
    assert panels.in_panels(kernel, 2) is None  # not worth it
    assert panels.in_panels(product(2, 70, 100)[0], ROUNDS) is None  # read in place, more columns at once
    monkeypatch.setattr(panels, "_LEAST", 4 * 70 * 100 + 1)
    assert panels.in_panels(kernel, ROUNDS) is None  # small


def step_of(lengthwise):
    """An LSTM's loss and gradients; `lengthwise`: the weights of the state are kept transposed."""

    def step(x, w, u, b):
        cell = lstm((w, u.T if lengthwise else u, b))
        zeros = lampion.zeros(x.shape[1], 8)
        (h, c), ys = scan(cell, (zeros, zeros), x)
        loss = (ys * ys).sum() + (h * c).sum()
        return loss.detach(), *lampion.autograd.grad(loss, [w, u, b])

    return step


@pytest.mark.parametrize("lengthwise", [False, True])
def test_a_loop_with_weights_in_panels(any_size, monkeypatch, lengthwise):
    step, x = step_of(lengthwise), randn(ROUNDS, 6, 5)
    weights = [randn(5, 32, seed=1), randn(*((32, 8) if lengthwise else (8, 32)), seed=2), randn(32, seed=3)]
    args = [x, *(w.requires_grad_() for w in weights)]
    agree(step, *args, exact=False)
    compiled = lampion.compile(step)
    found = flat(compiled(*args))
    labels = [call.label for call in compiled.explain().plans[0].kernels]
    assert labels.count("scan: panels") == 2  # forward, a panel; backward, 8 columns, which are less than one
    assert "scan: rows" not in labels  # the panels are written from where the weights are
    monkeypatch.setattr(panels, "_LEAST", 1 << 40)
    for got, want in zip(found, flat(run_as("compiled", step, *args)), strict=True):
        np.testing.assert_array_equal(got, want)


def test_weights_that_are_part_of_a_tensor(any_size):
    """Columns and rows of it, both ways around."""
    whole, x = randn(40, 80, seed=4), randn(ROUNDS, 6, 33)

    def run(x, whole):
        v = whole.T[10:43, 2:35]
        return scan(lambda h, x: ((x + 0.01 * (h @ whole[3:36, 7:40] @ v)).tanh(), h), x[0], x)

    agree(run, x, whole)
