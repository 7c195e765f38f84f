"""Which functions autocast runs in a short type, which in float32, and which in the widest type given.

The one definition: every function whose name stands here goes through `by_policy`, and is otherwise
written as if there were no autocast. The lists are PyTorch's for the CPU; a name that is not in them takes
its tensors as they come, and types mix by promotion.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from lampion import dtype as dtypes
from lampion.dtype import DType
from lampion.mode import mode
from lampion.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

#: Matrix products: quick in a short type, and their sums are float32 inside.
SHORT = frozenset({
    "addbmm", "addmm", "baddbmm", "bmm", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "linear", "matmul", "mm", "prelu", "scaled_dot_product_attention", "vecdot",
})  # fmt: skip
#: Sums of many small numbers, differences of close ones, factorisations: where digits are lost.
SINGLE = frozenset({
    "adaptive_avg_pool3d", "adaptive_max_pool3d", "avg_pool3d", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "cdist", "cholesky", "cholesky_ex", "cholesky_inverse",
    "cholesky_solve", "cond", "cosine_embedding_loss", "cross_entropy", "ctc_loss", "eig", "eigh",
    "eigvals", "eigvalsh", "fft", "fft2", "fftn", "geqrf", "grid_sample", "hfft", "hinge_embedding_loss",
    "householder_product", "huber_loss", "ifft", "ifft2", "ifftn", "ihfft", "inv", "inv_ex", "inverse",
    "irfft", "irfft2", "irfftn", "kl_div", "l1_loss", "lstsq", "lu_solve", "margin_ranking_loss",
    "matrix_rank", "max_pool3d", "max_unpool1d", "max_unpool2d", "max_unpool3d", "mse_loss",
    "multi_margin_loss", "multilabel_margin_loss", "nanquantile", "nll_loss", "orgqr", "ormqr",
    "pinverse", "poisson_nll_loss", "polar", "prod", "qr", "quantile", "rfft", "rfft2", "rfftn",
    "smooth_l1_loss", "soft_margin_loss", "solve", "stft", "svd", "svdvals", "tensorinv", "tensorsolve",
    "trace", "triangular_solve", "triplet_margin_loss", "view_as_complex",
})  # fmt: skip
#: What joins tensors of several types.
WIDEST = frozenset({"cat", "index_copy", "stack"})
#: Made of matrix products here, but not in PyTorch: they run as if there were no autocast.
AS_GIVEN = frozenset({"addmv", "addr", "bilinear", "dot", "matrix_exp", "mv", "pdist", "vdot"})


def by_policy(function: F, name: str | None = None) -> F:
    """The function under its policy, which it looks up once, by name; itself, where it has none."""
    target = _rule(name or function.__name__)
    if target is None:
        return function

    @functools.wraps(function)
    def policed(*args: Any, **kwargs: Any) -> Any:
        short = mode.autocast
        if short is None:
            return function(*args, **kwargs)
        dtype = target([*args, *kwargs.values()], short)
        if dtype is not None:
            args, kwargs = _converted(args, dtype), _converted(kwargs, dtype)
        mode.autocast = None  # what the function is made of is its own business
        try:
            return function(*args, **kwargs)
        finally:
            mode.autocast = short

    return policed  # type: ignore[return-value]  # the same signature


def _rule(name: str) -> Callable[[list[Any], DType], DType | None] | None:
    """What gives the type to convert to, from the arguments and autocast's type; None: as they are."""
    if name in SHORT:
        return lambda args, short: short
    if name in SINGLE:
        return lambda args, short: dtypes.float32
    if name in WIDEST:
        return _widest
    return (lambda args, short: None) if name in AS_GIVEN else None


def _widest(args: Any, short: DType) -> DType | None:
    """The widest type among the tensors that autocast converts."""
    found: DType | None = None
    for x in args:
        dtype = _widest(x, short) if isinstance(x, list | tuple) else x.dtype if _takes_part(x) else None
        if dtype is not None:
            found = dtype if found is None else dtypes.promote(found, dtype)
    return found


def _converted(x: Any, dtype: DType) -> Any:
    """Arguments with the tensors that take part as that type. A recorded operation."""
    if _takes_part(x):
        return x if x.dtype is dtype else x.to(dtype)
    if type(x) in (list, tuple):
        return type(x)(_converted(part, dtype) for part in x)
    return {key: _converted(part, dtype) for key, part in x.items()} if type(x) is dict else x


def _takes_part(x: Any) -> bool:
    """Autocast converts floats, but for float64, which somebody asked for."""
    return isinstance(x, Tensor) and x.dtype.is_floating_point and x.dtype is not dtypes.float64
