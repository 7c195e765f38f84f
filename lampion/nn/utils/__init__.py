"""Tools around modules: small gradients, parameters as a vector, weights that are computed."""

from importlib import import_module
from typing import Any

from lampion.nn.utils import parametrizations, parametrize, prune, rnn
from lampion.nn.utils.clipping import (
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from lampion.nn.utils.reweighting import (
    remove_spectral_norm,
    remove_weight_norm,
    spectral_norm,
    weight_norm,
)
from lampion.nn.utils.skipping import skip_init
from lampion.nn.utils.vectors import parameters_to_vector, vector_to_parameters

__all__ = [
    "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm", "parameters_to_vector",
    "parametrizations", "parametrize", "prune", "remove_spectral_norm", "remove_weight_norm", "rnn",
    "skip_init", "spectral_norm", "stateless", "vector_to_parameters", "weight_norm",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """`stateless` needs `lampion.func`, which is only loaded when asked for."""
    if name == "stateless":
        return import_module("lampion.nn.utils.stateless")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
