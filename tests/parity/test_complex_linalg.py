"""PyTorch's samples for products, linear algebra and Fourier transforms, in complex128."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="torch.testing._internal needs it: pip install expecttest")

import test_opinfo  # noqa: E402  # the harness, without its tests: they are not in this module

NAMES = [
    "matmul", "einsum", "vdot", "kron", "addmm", "cross", "istft", "fft.fft", "fft.ifft2", "fft.hfft",
    "fft.irfft", "linalg.cholesky", "cholesky_solve", "lu_unpack", "matrix_exp", "linalg.eig",
    "linalg.eigh", "linalg.inv", "linalg.lu", "linalg.lu_solve", "linalg.matrix_norm", "linalg.pinv",
    "linalg.qr", "linalg.slogdet", "linalg.solve", "linalg.solve_triangular", "linalg.svd",
    "linalg.svdvals", "linalg.ldl_factor", "linalg.ldl_solve",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_complex_values_and_gradients(name, monkeypatch):
    monkeypatch.setattr(test_opinfo, "main_dtype", lambda info: torch.complex128)
    test_opinfo.test_values_and_gradients(name)
