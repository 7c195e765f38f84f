"""Mixed precision: `autocast` runs products in a short type, `GradScaler` keeps gradients in its range.

Read `policy.py` for which functions run in which type.
"""

import typing as _typing

from lampion.amp.context import autocast, is_autocast_available

if _typing.TYPE_CHECKING:
    from lampion.amp.scaler import GradScaler

__all__ = ["GradScaler", "autocast", "is_autocast_available"]


def __getattr__(name: str) -> _typing.Any:
    if name != "GradScaler":  # which needs the optimizers, which need the operations, which need the policy
        raise AttributeError(f"module 'lampion.amp' has no attribute {name!r}")
    from lampion.amp.scaler import GradScaler

    globals()[name] = GradScaler
    return GradScaler
