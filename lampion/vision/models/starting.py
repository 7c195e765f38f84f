"""The weights that a network starts with: drawn, or from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

from lampion import nn
from lampion.errors import DTypeError, OptionError
from lampion.nn import init
from lampion.serialization import load
from lampion.tensor import Tensor

#: Where weights come from: a safetensors file, tensors by name, or nowhere.
Weights = str | os.PathLike[str] | Mapping[str, Tensor] | None

M = TypeVar("M", bound=nn.Module)


def draw(model: nn.Module, *, linear: float | None = 0.01) -> None:
    """He's initialisation by the numbers that filters send; what is added starts at 0.

    Args:
        linear: the standard deviation in linear layers; None leaves those as they are.

    Source: K. He et al.: "Delving deep into rectifiers" (ICCV 2015).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Linear) and linear is not None:
            init.normal_(module.weight, 0.0, linear)
            if module.bias is not None:
                init.zeros_(module.bias)


def start(model: M, weights: Weights) -> M:
    """The network with these weights, all of them, if there are any."""
    if weights is not None:
        model.load_state_dict(weights if isinstance(weights, Mapping) else read(model, weights))
    return model


def read(model: nn.Module, path: Any) -> Mapping[str, Tensor]:
    """The tensors of a file."""
    name = type(model).__name__
    fix = "torchvision's: safetensors.torch.save_file(model.state_dict(), path)"
    if not isinstance(path, str | os.PathLike):
        raise DTypeError(name, "weights is a file, or tensors by name", got=repr(path), fix=fix)
    if not os.path.isfile(path):
        raise OptionError(name, "there is no such file of weights: Lampion brings none of its own",
                          expected="a safetensors file", got=repr(os.fspath(path)), fix=fix)  # fmt: skip
    return load(path)
