"""Dropout as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from lampion.nn import functional as F
from lampion.nn.functional.checks import check_probability
from lampion.nn.module import Module
from lampion.tensor import Tensor


class _Dropout(Module):
    """What all of them share: a probability, `inplace`, and the function that does it."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(type(self).__name__, p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """In training: zero each element with probability `p`, and scale the others by 1 / (1 - p).

    In evaluation mode (after ``model.eval()``) it does nothing.

    Args:
        p: the probability.
        inplace: overwrite the input.

    Source: N. Srivastava et al.: "Dropout" (JMLR 2014); Deep Learning from Scratch 1, section 6.4.3
    (whose version scales when testing instead).

    >>> import lampion
    >>> layer = lampion.nn.Dropout(0.5)
    >>> layer.eval()(lampion.ones(3))
    tensor([1., 1., 1.])
    """

    function = staticmethod(F.dropout)


class Dropout1d(_Dropout):
    """`Dropout` of whole channels of (N, C, L) or (C, L)."""

    function = staticmethod(F.dropout1d)


class Dropout2d(_Dropout):
    """`Dropout` of whole channels of (N, C, H, W).

    Source: J. Tompson et al.: "Efficient object localization using convolutional networks" (CVPR 2015).
    """

    function = staticmethod(F.dropout2d)


class Dropout3d(_Dropout):
    """`Dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W)."""

    function = staticmethod(F.dropout3d)


class AlphaDropout(_Dropout):
    """Dropout for `SELU`, which keeps mean and variance; see `functional.alpha_dropout`."""

    function = staticmethod(F.alpha_dropout)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels of (N, C, ...)."""

    function = staticmethod(F.feature_alpha_dropout)
