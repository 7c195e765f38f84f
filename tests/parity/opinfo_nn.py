"""What of PyTorch's table concerns `nn.functional`, softmax and normalisation."""

import functools
import warnings

from lampion import nn
from lampion.nn import functional as F


def quiet(function):
    """The function without its warnings, which PyTorch has too."""

    @functools.wraps(function)
    def called(*args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return function(*args, **kwargs)

    return called


def triplet_with_distance(*args, distance_function=None, **kwargs):
    """PyTorch's samples bring one of its modules along."""
    if type(distance_function).__name__ == "PairwiseDistance":
        distance_function = nn.PairwiseDistance()
    return F.triplet_margin_with_distance_loss(*args, distance_function=distance_function, **kwargs)


CALLS = {
    # The table has the arguments of these two exchanged.
    "nn.functional.embedding": lambda weight, index, **kwargs: F.embedding(index, weight, **kwargs),
    "nn.functional.embedding_bag": lambda weight, index, **kwargs: F.embedding_bag(index, weight, **kwargs),
    "nn.functional.triplet_margin_with_distance_loss": triplet_with_distance,
    "nn.functional.kl_div": quiet(F.kl_div),
    "nn.functional.dropout2d": quiet(F.dropout2d),
    "nn.functional.dropout3d": quiet(F.dropout3d),
}

EXCLUDED = {"nn.functional.rrelu": {"the slopes are drawn": lambda sample: sample.kwargs.get("training")}}

LEFT_OUT = {
    "nn.functional.linear_cross_entropy chunked": "PyTorch's has no second derivative there; Lampion's has",
    "nn.functional.linear_cross_entropy chunked_none": "the same",
    "nn.functional.batch_norm without_cudnn": "an entry for GPUs: it has no types on the CPU",
}

#: Drawn.
RANDOM = {
    "nn.functional.dropout", "nn.functional.dropout2d", "nn.functional.dropout3d",
    "nn.functional.alpha_dropout", "nn.functional.feature_alpha_dropout with_train",
}  # fmt: skip
