"""PyTorch's samples for casts, creation, and what the Tensor class has: see test_opinfo.py."""

import lampion as lp

CALLS = {"where": lp.Tensor.where}  # the sample's input comes first, as in the method

RANDOM = {
    "randn", "randn_like", "rand_like", "randint", "empty", "empty_like", "empty_permuted", "empty_strided",
    "new_empty", "new_empty_strided",
}  # fmt: skip
