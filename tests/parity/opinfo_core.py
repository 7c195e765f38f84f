"""PyTorch's samples for casts, creation, and what the Tensor class has: see test_opinfo.py."""

import lampion as lp

T = lp.Tensor

CALLS = {
    "__rdiv__": T.__rtruediv__,
    "where": lambda x, condition, other: lp.where(condition, x, other),
    "bmm": lp.matmul, "mv": lp.matmul,
}  # fmt: skip

RANDOM = {
    "randn", "randn_like", "rand_like", "randint", "empty", "empty_like", "empty_permuted", "empty_strided",
    "new_empty", "new_empty_strided",
}  # fmt: skip
