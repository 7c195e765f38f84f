"""Tools around modules: small gradients, parameters as a vector, weights that are computed."""

from lampion.nn.utils import parametrizations, parametrize, prune
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
    "parametrizations", "parametrize", "prune", "remove_spectral_norm", "remove_weight_norm", "skip_init",
    "spectral_norm", "vector_to_parameters", "weight_norm",
]  # fmt: skip
