"""Modules without first values."""

from __future__ import annotations

from typing import Any

from lampion.nn.module import Module


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """A module whose parameters are about to be overwritten: ``skip_init(nn.Linear, 10, 5)``.

    Its parameters hold zeros, which cost nothing; its `reset_parameters` is not called.
    """

    def reset_parameters(self: Module) -> None:
        """Leave the parameters as they are."""

    quiet = type(module_cls.__name__, (module_cls,), {"reset_parameters": reset_parameters})
    module: Module = quiet(*args, **kwargs)
    object.__setattr__(module, "__class__", module_cls)
    return module
