"""PyTorch's samples for casts, creation, and what the Tensor class has: see test_opinfo.py."""

import lampion as lp

CALLS = {
    "where": lp.Tensor.where,  # the sample's input comes first, as in the method
    "zero_": lambda x: x.clone().zero_(),  # a leaf cannot be written to; PyTorch's entry works on a copy too
}

RANDOM = {
    "randn", "randn_like", "rand_like", "randint", "empty", "empty_like", "empty_permuted", "empty_strided",
    "new_empty", "new_empty_strided",
}  # fmt: skip
