"""PyTorch's samples for products and linear algebra: see test_opinfo.py."""

import lampion as lp

CALLS = {
    "einsum": lambda tensors, equation: lp.einsum(equation, tensors),
    "linalg.lstsq grad_oriented": lambda a, b, driver: lp.linalg.lstsq(a, b, driver=driver)[:2],
    "linalg.pinv singular": lambda a, b: lp.linalg.pinv(a @ b.mT),
    "svd_lowrank": lambda a, b, **options: lp.svd_lowrank(a @ b.mT, **options),
    "pca_lowrank": lambda a, b, **options: lp.pca_lowrank(a @ b.mT, **options),
}

# PyTorch computes the exponential in float32, Lampion in float64: about 20 products of errors of 1e-7.
# The greatest result is 8000, and all have errors of the size of its.
SUMS = {"matrix_exp": {"rtol": 1e-5, "atol": 1e-3}}

EXCLUDED = {
    "svd_lowrank": {"of a matrix of higher rank than q, it depends on the random numbers drawn":
                    lambda sample: sample.kwargs.get("M") is not None},
}  # fmt: skip
