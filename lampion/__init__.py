"""Lampion: a torch you can see through.

The names are PyTorch's. A tour in reading order: `tensor`, `primitive` (the one door), `ops`, `autograd`,
`nn`, `optim`, `compiler`.
"""

from __future__ import annotations

import importlib as _importlib
import math as _math
import typing as _typing

from lampion import amp, autograd, errors, ops
from lampion.amp.context import (
    autocast, get_autocast_dtype, is_autocast_enabled, set_autocast_dtype, set_autocast_enabled,
)  # fmt: skip
from lampion.dtype import (
    DType, bfloat16, can_cast, complex64, complex128, finfo, float16, float32, float64, get_default_dtype,
    iinfo, int8, int16, int32, int64, promote_types, set_default_dtype, uint8, uint16, uint32, uint64,
)  # fmt: skip
from lampion.contents import Device as device
from lampion.dtype import bool_ as bool
from lampion.mode import (
    enable_grad, inference_mode, is_grad_enabled, is_inference_mode_enabled, no_grad, set_grad_enabled,
)  # fmt: skip
from lampion.ops import *  # noqa: F403  # ops.__all__ is the list of public operations
from lampion.serialization import load, save
from lampion.layouts import channels_last, channels_last_3d, contiguous_format, preserve_format, strided
from lampion.printing import set_printoptions
from lampion.tensor import Tensor, as_tensor, asarray, from_dlpack, from_numpy, frombuffer, tensor

pi, e, inf, nan, newaxis = _math.pi, _math.e, _math.inf, _math.nan, None
float = float32
double = float64
int = int32
long = int64
short = int16
half = float16
cfloat = complex64
cdouble = complex128
Size: type[tuple[_typing.Any, ...]] = tuple  # a shape is a plain tuple
__version__ = "0.1.0.dev0"

# Imported when first asked for: whoever only reads a tensor should not wait for a compiler.
_LAZY = {
    "CompiledFunction": "lampion.compiler.function",
    "array_api": "lampion.array_api",
    "compile": "lampion.compiler.function",
    "compiler": "lampion.compiler",
    "debug": "lampion.debug",
    "func": "lampion.func",
    "cuda": "lampion.cuda",
    "datasets": "lampion.datasets",
    "distributions": "lampion.distributions",
    "fft": "lampion.fft",
    "get_num_threads": "lampion.compiler.runtime",
    "linalg": "lampion.linalg",
    "nn": "lampion.nn",
    "optim": "lampion.optim",
    "masked": "lampion.masked",
    "random": "lampion.random",
    "set_num_threads": "lampion.compiler.runtime",
    "signal": "lampion.signal",
    "special": "lampion.special",
    "summary": "lampion.training.summary",
    "testing": "lampion.testing",
    "text": "lampion.text",
    "training": "lampion.training",
    "utils": "lampion.utils",
    "vision": "lampion.vision",
    "viz": "lampion.viz",
    "vmap": "lampion.func.mapping",
}
if _typing.TYPE_CHECKING:
    from lampion import (
        array_api, compiler, cuda, datasets, distributions, fft, func, linalg, masked, nn, optim, random,
        signal, special, testing, text, training, utils, vision, viz,
    )  # fmt: skip
    from lampion.compiler.function import CompiledFunction, compile
    from lampion.compiler.runtime import get_num_threads, set_num_threads
    from lampion.func.mapping import vmap
    from lampion.training.summary import summary

__all__ = [
    "CompiledFunction",
    "DType",
    "Tensor",
    "amp",
    "array_api",
    "as_tensor",
    "asarray",
    "autocast",
    "autograd",
    "bfloat16",
    "bool",
    "can_cast",
    "cdouble",
    "cfloat",
    "channels_last",
    "channels_last_3d",
    "compile",
    "compiler",
    "complex64",
    "complex128",
    "contiguous_format",
    "cuda",
    "datasets",
    "device",
    "distributions",
    "double",
    "e",
    "enable_grad",
    "errors",
    "fft",
    "finfo",
    "float",
    "float16",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "frombuffer",
    "func",
    "get_autocast_dtype",
    "get_default_dtype",
    "get_num_threads",
    "half",
    "iinfo",
    "inf",
    "inference_mode",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_autocast_enabled",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "linalg",
    "load",
    "long",
    "masked",
    "nan",
    "newaxis",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "pi",
    "preserve_format",
    "promote_types",
    "random",
    "save",
    "set_autocast_dtype",
    "set_autocast_enabled",
    "set_default_dtype",
    "set_grad_enabled",
    "set_num_threads",
    "set_printoptions",
    "short",
    "signal",
    "special",
    "strided",
    "summary",
    "tensor",
    "testing",
    "text",
    "training",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "utils",
    "vision",
    "viz",
    "vmap",
]  # fmt: skip
__all__ += ops.__all__


if not _typing.TYPE_CHECKING:  # which would believe that lampion has every attribute

    def __getattr__(name: str) -> _typing.Any:
        home = _LAZY.get(name)
        if home is None:
            from lampion.absent import missing_function

            raise AttributeError(missing_function(name), name=name)
        module = _importlib.import_module(home)
        value = module if home == f"lampion.{name}" else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
