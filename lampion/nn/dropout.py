"""Dropout."""

from __future__ import annotations

from lampion.errors import LampionError
from lampion.nn import functional as F
from lampion.nn.module import Module
from lampion.tensor import Tensor


class Dropout(Module):
    """In training: zero each element with probability `p`, and scale the others by 1 / (1 - p).

    In evaluation mode (after ``model.eval()``) it does nothing.

    Args:
        p: the probability.

    Source: N. Srivastava et al.: "Dropout" (JMLR 2014); Deep Learning from Scratch 1, section 6.4.3
    (whose version scales when testing instead).

    >>> import lampion
    >>> layer = lampion.nn.Dropout(0.5)
    >>> layer.eval()(lampion.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise LampionError("Dropout", "p is a probability", expected="0 <= p <= 1", got=str(p))
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
