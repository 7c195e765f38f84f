"""Types beyond float32, float64 and the old integers: halves, unsigned, complex."""

import numpy as np
import pytest

import lampion as lp
from lampion.errors import DTypeError, GradientError
from lampion.testing import assert_close

HALVES = [lp.float16, lp.bfloat16]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_are_kept_short_and_computed_long(dtype):
    x = lp.tensor([1.0, 2.0, 3.0], dtype=dtype)
    for out in (
        x + x,
        x * 2,
        2.0 / x,
        x.exp(),
        x.sum(),
        x.mean(),
        x @ x,
        x.sigmoid(),
        x**2.5,
        lp.where(x > 1, x, 0.5),
    ):
        assert out.dtype is dtype
    assert (x > 1).tolist() == [False, True, True]
    assert (x + lp.ones(3)).dtype is lp.float32 and (x + lp.ones(3, dtype=lp.int64)).dtype is dtype
    # One rounding at the end: 4096 ones add up, where adding in the short type would stop at 256 or 2048.
    assert lp.ones(4096, dtype=dtype).sum().item() == 4096
    assert (lp.ones(4096, dtype=dtype) @ lp.ones(4096, dtype=dtype)).item() == 4096
    wide = lp.tensor([-12.0])
    assert wide.to(dtype).sigmoid().item() == wide.sigmoid().to(dtype).item()  # e**12 is beyond float16


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_have_gradients(dtype):
    x = lp.tensor([1.0, 2.0], dtype=dtype, requires_grad=True)
    (x * x).sum().backward()
    assert x.grad.dtype is dtype and x.grad.tolist() == [2.0, 4.0]
    y = x.detach().clone()
    y += 1
    y[0] = 7.5
    assert y.dtype is dtype and y.tolist() == [7.5, 3.0]
    assert lp.stack([y, y]).reshape(-1)[1:3].tolist() == [3.0, 7.5]


def test_bfloat16_is_numpys_stranger():
    x = lp.tensor([1.0, 1 / 3], dtype=lp.bfloat16)
    assert x.numpy().dtype.name == "bfloat16" and lp.from_numpy(x.numpy()).dtype is lp.bfloat16
    assert lp.dtype.of("bfloat16") is lp.bfloat16 and x.element_size() == 2
    assert repr(x) == "tensor([1.0000, 0.3340], dtype=lampion.bfloat16)"
    assert lp.promote_types(lp.float16, lp.bfloat16) is lp.float32


@pytest.mark.parametrize("dtype", [lp.uint16, lp.uint32, lp.uint64], ids=str)
def test_unsigned(dtype):
    x = lp.tensor([0, 1, 5], dtype=dtype)
    assert (x + x).dtype is (x * 3).dtype is dtype and (x / 2).dtype is lp.float32
    assert x.sum().tolist() == 6 and (x > 1).tolist() == [False, False, True]
    assert (x + lp.tensor([1, 2, 3], dtype=lp.uint8)).dtype is dtype
    with pytest.raises(DTypeError, match="does not fit"):
        x + (-1)
    if dtype is lp.uint64:
        with pytest.raises(DTypeError, match="no integer type holds the values of both"):
            x + lp.tensor([1, 2, 3])


def test_complex_numbers():
    z = lp.tensor([3 + 4j, -1j])
    assert z.dtype is lp.complex64 and z.is_complex() and not z.is_floating_point()
    assert (z * 2).dtype is (z + 1.5).dtype is (z * lp.ones(2)).dtype is lp.complex64
    assert (z * lp.ones(2, dtype=lp.float64)).dtype is lp.complex128
    assert (lp.ones(2) * 1j).dtype is (lp.tensor([1, 2]) + 1j).dtype is lp.complex64
    assert (
        z.real.tolist() == [3.0, 0.0] and z.imag.tolist() == [4.0, -1.0] and z.conj().tolist() == [3 - 4j, 1j]
    )
    assert z.conj().is_conj() is z.is_neg() is False
    assert z.to(lp.float32).tolist() == [3.0, 0.0] and z.bool().tolist() == [True, True]
    for call in (lambda: z < 1, lambda: z.relu(), lambda: lp.maximum(z, z), lambda: z.amax()):
        with pytest.raises(DTypeError, match="complex numbers have no such operation"):
            call()
    with pytest.raises(DTypeError, match="have an imaginary part"):
        lp.imag(lp.ones(2))
    with pytest.raises(DTypeError, match=r"cannot be written into lampion\.float32"):
        lp.ones(2).mul_(1j)


def test_the_parts_are_views():
    z = lp.zeros(2, 2, dtype=lp.complex64)
    z.real[0] = 1.0
    z.imag = lp.full((2, 2), 5.0)
    assert z.tolist() == [[1 + 5j, 1 + 5j], [5j, 5j]]
    pairs = lp.view_as_real(z.T)
    pairs[0, 1, 0] = -3.0
    assert z[1, 0].item() == -3 + 5j
    assert np.shares_memory(lp.view_as_complex(pairs).numpy(), z.numpy())


def test_complex_gradients():
    """dL/da + i dL/db: uphill in the plane (PyTorch's convention)."""
    z = lp.tensor([3 + 4j], requires_grad=True)
    z.abs().sum().backward()
    assert_close(z.grad, np.complex64([0.6 + 0.8j]), rtol=1e-6)
    w = lp.tensor([1 + 2j], requires_grad=True)
    (w * w).imag.sum().backward()  # 2ab: (2b, 2a)
    assert w.grad.tolist() == [4 + 2j]
    x = lp.tensor([2.0], requires_grad=True)  # real: its gradient is
    (x * (1 + 2j)).imag.sum().backward()
    assert x.grad.tolist() == [2.0] and x.grad.dtype is lp.float32
    with pytest.raises(GradientError, match="real tensor with one element"):
        (z * 2).sum().backward()


def test_a_complex_gradient_is_what_small_steps_say():
    rng = np.random.default_rng(0)
    start = rng.standard_normal((2, 2)) + 1j * rng.standard_normal((2, 2))

    def loss(z):
        return ((lp.exp(z) @ z.mH / (z + 3)).sum() * z.conj().sum()).real

    z = lp.tensor(start, requires_grad=True)
    loss(z).backward()
    eps, found = 1e-6, np.zeros_like(start)
    for place in np.ndindex(2, 2):
        for direction in (1.0, 1j):
            step = np.zeros_like(start)
            step[place] = eps * direction
            rise = (loss(lp.tensor(start + step)) - loss(lp.tensor(start - step))).item() / (2 * eps)
            found[place] += rise * direction
    assert_close(z.grad, found, rtol=1e-6, atol=1e-8)


def test_the_default_type_decides_for_complex_too():
    lp.set_default_dtype(lp.float64)
    try:
        assert lp.tensor([1j]).dtype is (lp.tensor([1]) * 1j).dtype is lp.complex128
    finally:
        lp.set_default_dtype(lp.float32)
    with pytest.raises(TypeError, match="expected a floating type"):
        lp.set_default_dtype(lp.int32)


def test_compiled_functions_take_every_type():
    """Machine code does floats and integers; around it, NumPy does the rest: same results."""
    z = lp.tensor([1 + 2j, 3 - 1j])

    def parts(z):
        out = z * 1
        out.real.mul_(2)
        out.imag[0] = 7
        return out * 1j, (z * z.conj()).real.sqrt().sum()

    for a, b in zip(lp.compile(parts)(z), parts(z), strict=True):
        assert_close(a, b)
    x = lp.tensor([1.0, -2.0, 0.3], dtype=lp.bfloat16)

    def mixed(x):
        return (x * 2 + 1).exp().sum(), x.float().tanh(), x.half() @ x.half()

    for a, b in zip(lp.compile(mixed)(x), mixed(x), strict=True):
        assert a.dtype is b.dtype
        assert_close(a.float(), b.float())
