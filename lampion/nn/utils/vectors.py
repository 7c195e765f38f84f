"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from lampion import ops
from lampion.errors import ShapeError
from lampion.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other.

    >>> import lampion
    >>> layer = lampion.nn.Linear(3, 2)
    >>> lampion.nn.utils.parameters_to_vector(layer.parameters()).shape
    (8,)
    """
    return ops.cat([ops.reshape(p, -1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Overwrite the parameters with the parts of a vector, as `parameters_to_vector` made it."""
    parameters = list(parameters)
    total = sum(p.numel() for p in parameters)
    if vec.ndim != 1 or vec.shape[0] != total:
        raise ShapeError("vector_to_parameters", "the vector has another length", expected=f"({total},)",
                         got=str(tuple(vec.shape)))  # fmt: skip
    start = 0
    for p in parameters:
        # A copy: parameters that share a vector's memory could not be written to apart from each other.
        p.data = ops.reshape(vec.detach()[start : start + p.numel()], p.shape).clone()
        start += p.numel()
