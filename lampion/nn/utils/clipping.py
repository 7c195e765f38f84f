"""Keeping gradients small. All of it works inside a compiled step: nothing looks at values."""

from __future__ import annotations

from collections.abc import Iterable

from lampion import ops
from lampion.errors import GradientError
from lampion.mode import mode, no_grad
from lampion.nn.functional.distances import p_norm
from lampion.tensor import Tensor


def _listed(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """The norm of all elements of some tensors, as if they were one vector.

    Args:
        tensors: the tensors.
        norm_type: the p of the norm; ``float("inf")`` for the largest size.
        error_if_nonfinite: raise an error if the norm is NaN or infinite.
        foreach: PyTorch's; there is nothing here that it could choose between.
    """
    norm_type = float(norm_type)
    with no_grad():
        norms = [_norm(x, norm_type) for x in _listed(tensors)]
        total = p_norm(ops.stack(norms), norm_type, (0,)) if norms else ops.zeros(())
    if error_if_nonfinite:
        if mode.trace is not None:
            mode.trace.refuse("looks whether a norm is finite", "leave out error_if_nonfinite")
        if not ops.isfinite(total).item():
            raise GradientError(
                "clip_grad_norm_", "the norm of the gradients is not finite", got=str(total.item()),
                fix="look for an overflow; or pass error_if_nonfinite=False to go on",
            )  # fmt: skip
    return total


def _norm(x: Tensor, norm_type: float) -> Tensor:
    """The norm of one tensor; of a sparse gradient too, which knows how."""
    return p_norm(x, norm_type, tuple(range(x.ndim))) if isinstance(x, Tensor) else x.norm(norm_type)


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale the gradients so that a norm which they have, `total_norm`, becomes at most `max_norm`."""
    with no_grad():
        # PyTorch's 1e-6, by which no more is divided than there is; and it scales by 1 rather than choose.
        factor = ops.clamp_max(float(max_norm) / (total_norm + 1e-6), 1.0)
        for p in _listed(parameters):
            if p.grad is not None:
                p.grad.mul_(factor)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, norm_type: float = 2.0,
    error_if_nonfinite: bool = False, foreach: bool | None = None,
) -> Tensor:  # fmt: skip
    """Scale all gradients so that their norm, taken together, is at most `max_norm`.

    Args:
        parameters: those whose `.grad` is scaled, in place.
        max_norm: the largest norm.
        norm_type: the p of the norm; ``float("inf")`` for the largest size.
        error_if_nonfinite: raise an error if the norm is NaN or infinite.
        foreach: PyTorch's; there is nothing here that it could choose between.

    Returns: the norm that they had.

    Source: R. Pascanu et al.: "On the difficulty of training recurrent neural networks" (ICML 2013); Deep
    Learning from Scratch 2, section 6.1.4.

    >>> import lampion
    >>> p = lampion.nn.Parameter(lampion.zeros(2))
    >>> p.grad = lampion.tensor([3.0, 4.0])
    >>> lampion.nn.utils.clip_grad_norm_([p], 1.0)
    tensor(5.)
    >>> p.grad
    tensor([0.6000, 0.8000])
    """
    parameters = _listed(parameters)
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = get_total_norm(gradients, norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Hold every element of the gradients between -clip_value and clip_value, in place."""
    limit = float(clip_value)
    with no_grad():
        for p in _listed(parameters):
            if p.grad is not None:
                p.grad.clamp_(-limit, limit)
