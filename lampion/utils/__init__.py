"""What programs need around a network: reading data (`utils.data`), checkpointing, writing files safely."""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

if _typing.TYPE_CHECKING:
    from lampion.utils import checkpoint, data

__all__ = ["checkpoint", "data"]

if not _typing.TYPE_CHECKING:  # which would believe that the module has every attribute

    def __getattr__(name: str) -> _typing.Any:
        if name not in __all__:
            raise AttributeError(f"module 'lampion.utils' has no attribute {name!r}")
        return _importlib.import_module(f"lampion.utils.{name}")
