"""Forward mode by hand: tensors that carry a tangent, inside of a block.

`lampion.func.jvp` is the same as one call.

>>> import lampion
>>> from lampion.autograd import forward_ad
>>> with forward_ad.dual_level():
...     x = forward_ad.make_dual(lampion.zeros(2), lampion.tensor([1.0, 2.0]))
...     value, tangent = forward_ad.unpack_dual(x.sin())
>>> tangent
tensor([1., 2.])
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lampion.errors import LampionError
from lampion.mode import mode
from lampion.tensor import Tensor, wrap

__all__ = [
    "UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual",
]  # fmt: skip


class UnpackedDualTensor(NamedTuple):
    """A value and its tangent, or None where it has none; both are ordinary tensors."""

    primal: Tensor
    tangent: Tensor | None


def enter_dual_level() -> Any:
    """Begin a block in which tensors may carry tangents; `exit_dual_level` ends it."""
    from lampion.func.forward import DualLevel

    if isinstance(mode.trace, DualLevel):
        raise LampionError("forward_ad", "dual levels do not nest", fix="nest lampion.func.jvp instead")
    return DualLevel().__enter__()


def exit_dual_level(*, level: Any = None) -> None:
    """End the block that `enter_dual_level` began."""
    _level().__exit__()


class dual_level:
    """A ``with`` block in which tensors may carry tangents. What is made inside stays inside: unpack it."""

    def __enter__(self) -> Any:
        self.level = enter_dual_level()
        return self.level

    def __exit__(self, *exception: object) -> None:
        self.level.__exit__()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: Any = None) -> Tensor:
    """The tensor, moving along `tangent`."""
    from lampion.func.forward import Dual

    here = _level()
    if not tensor.dtype.is_inexact:
        raise LampionError(
            "make_dual", "only floating and complex tensors have tangents", got=str(tensor.dtype)
        )
    if tuple(tensor.shape) != tuple(tangent.shape) or tensor.dtype is not tangent.dtype:
        raise LampionError("make_dual", "the tangent must have the shape and type of the tensor",
                           expected=f"{tuple(tensor.shape)}, {tensor.dtype}",
                           got=f"{tuple(tangent.shape)}, {tangent.dtype}")  # fmt: skip
    return wrap(Dual(here, here.read(tensor).primal, here.read(tangent).primal))


def unpack_dual(tensor: Tensor, *, level: Any = None) -> UnpackedDualTensor:
    """The value of a tensor and its tangent, as ordinary tensors."""
    lifted = _level().read(tensor)
    return UnpackedDualTensor(lifted.primal, lifted.tangent)


def _level() -> Any:
    from lampion.func.forward import DualLevel

    level: Any = mode.trace
    if not isinstance(level, DualLevel):
        raise LampionError("forward_ad", "there is no dual level here",
                           fix="work inside of `with forward_ad.dual_level():`")  # fmt: skip
    return level
