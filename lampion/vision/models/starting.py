"""What networks for images share: the weights that they start with, and what they look at."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from lampion import nn
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn import init
from lampion.serialization import load
from lampion.tensor import Tensor

#: Where weights come from: a safetensors file, tensors by name, or nowhere.
Weights = str | os.PathLike[str] | Mapping[str, Tensor] | None
#: Makes a layer that normalises so many channels.
Norm = Callable[[int], nn.Module]

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


def check_images(model: nn.Module, first: nn.Module, input: Any) -> None:
    """Refuse what is no batch of images, before a layer deep inside takes one size for another.

    Args:
        model: who asks, in the message.
        first: what sees the images first; its channels are theirs, if it is a convolution.
    """
    if not isinstance(input, Tensor):
        return  # the first layer says so
    while isinstance(first, nn.Sequential) and len(first):
        first = first[0]
    channels = (first.in_channels if isinstance(first, nn.Conv2d) else 0) or None  # 0: not known yet
    shape = tuple(input.shape)
    fits = channels is None or (len(shape) == 4 and shape[1] == channels)
    if len(shape) == 4 and fits:
        return
    problem = "a batch of images is expected"
    got, fix = str(shape), ""
    if len(shape) == 4:
        problem = "the images have another number of channels"
        if shape[3] == channels:
            fix = "x.permute(0, 3, 1, 2), if the channels stand last"
        elif shape[1] == 1:
            fix = f"x.expand(-1, {channels}, -1, -1), for grey images"
        else:
            fix = f"images with {channels} channel(s), or another first convolution"
    elif len(shape) == 3 and channels in (None, shape[0]):
        got, fix = f"a single image (C, H, W): {shape}", "x.unsqueeze(0), or x[None]"
    elif len(shape) == 3 and shape[2] == channels:
        got, fix = f"a single image (H, W, C): {shape}", "x.permute(2, 0, 1).unsqueeze(0)"
    elif len(shape) == 3 and channels == 1:
        got, fix = f"{shape}, which has no channels", "x.unsqueeze(1), for grey images (N, H, W)"
    elif len(shape) == 2 and channels == 1:
        got, fix = f"a single image (H, W): {shape}", "x[None, None]"
    raise ShapeError(
        type(model).__name__, problem, expected=f"(N, {channels or 'C'}, H, W)", got=got, fix=fix
    )
