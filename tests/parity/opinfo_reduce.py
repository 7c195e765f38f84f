"""PyTorch's samples for reductions, statistics, sorting, cumulative operations and random numbers."""

import lampion as lp

T = lp.Tensor

CALLS = {
    "uniform": T.uniform_, "normal in_place": T.normal_,
}  # fmt: skip

RANDOM = {"uniform", "normal in_place"}


def values(result):
    return result[0]


# Which of several equal elements PyTorch names depends on how it sorts, unless stable=True is asked for.
SETTLED = {
    "sort": values, "topk": values, "kthvalue": values, "mode": values, "median": values,
    "nanmedian": values, "argsort": lambda result: tuple(result.shape),
}  # fmt: skip
