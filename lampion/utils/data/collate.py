"""Joining the samples of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lampion.errors import DTypeError, ShapeError
from lampion.ops import stack
from lampion.tensor import Tensor, from_numpy, tensor


def default_convert(sample: Any) -> Any:
    """A sample as it is, but for NumPy arrays, which become Tensors: what a loader without batches does.

    >>> import numpy
    >>> from lampion.utils.data import default_convert
    >>> default_convert({"x": numpy.zeros(2), "name": "a"})
    {'x': tensor([0., 0.], dtype=lampion.float64), 'name': 'a'}
    """
    if isinstance(sample, np.ndarray | np.generic) and sample.dtype.kind in "biufc":
        return from_numpy(np.array(sample))
    if isinstance(sample, Mapping):
        return {key: default_convert(value) for key, value in sample.items()}
    if isinstance(sample, tuple | list):
        parts = [default_convert(part) for part in sample]
        return type(sample)(*parts) if hasattr(sample, "_fields") else type(sample)(parts)
    return sample


def default_collate(batch: Sequence[Any]) -> Any:
    """Join samples: Tensors, arrays and numbers along a new first dimension; in dicts and tuples, each part.

    Python floats become the default dtype (PyTorch makes them float64), texts stay a list.

    >>> from lampion.utils.data import default_collate
    >>> default_collate([(1.0, 3), (2.0, 4)])
    [tensor([1., 2.]), tensor([3, 4])]
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(batch)
    if isinstance(first, np.ndarray | np.generic):
        shapes = {np.shape(sample) for sample in batch}
        if len(shapes) > 1:
            raise ShapeError(
                "default_collate",
                "the samples of a batch have different shapes",
                got=", ".join(map(str, sorted(shapes))),
                fix="pass a collate_fn that pads them",
            )
        return from_numpy(np.stack(batch))
    if isinstance(first, bool | int | float):
        return tensor(list(batch))
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([sample[key] for sample in batch]) for key in first}
    if isinstance(first, tuple | list):
        if len({len(sample) for sample in batch}) > 1:
            raise ShapeError("default_collate", "the samples of a batch have different lengths",
                             got=", ".join(str(len(sample)) for sample in batch[:8]),
                             fix="pass a collate_fn that pads them")  # fmt: skip
        parts = [default_collate(column) for column in zip(*batch, strict=True)]
        # A named tuple is made of its fields one by one.
        return type(first)(*parts) if hasattr(first, "_fields") else parts
    raise DTypeError("default_collate", "samples of this type cannot be joined",
                     expected="Tensors, arrays, numbers, texts, and dicts, tuples or lists of them",
                     got=type(first).__name__, fix="pass a collate_fn of your own")  # fmt: skip
