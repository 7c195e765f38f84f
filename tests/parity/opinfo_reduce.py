"""PyTorch's samples for reductions, statistics, sorting, cumulative operations and random numbers."""

import lampion as lp

T = lp.Tensor

CALLS = {
    "uniform": T.uniform_, "normal in_place": T.normal_, "cauchy": T.cauchy_, "exponential": T.exponential_,
    "geometric": T.geometric_, "log_normal": T.log_normal_,
}  # fmt: skip

RANDOM = {
    *CALLS, "multinomial", "normal", "normal number_mean", "bernoulli", "randint_like",
}  # fmt: skip


def values(result):
    return result[0] if isinstance(result, tuple) else result


# Which of several equal elements PyTorch names depends on how it sorts, unless stable=True is asked for.
SETTLED = {
    "sort": values, "topk": values, "kthvalue": values, "mode": values, "median": values,
    "nanmedian": values, "argsort": lambda result: tuple(result.shape),
}  # fmt: skip

EXCLUDED = {
    "masked.logaddexp": {
        "PyTorch's second derivative is NaN (infinity / infinity) where one of the two is masked; ours is 0":
            lambda sample: sample.kwargs.get("input_mask") is not None,
    },
}  # fmt: skip
