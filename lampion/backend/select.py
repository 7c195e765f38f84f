"""Choosing the array library, and keeping it quiet about inf and NaN.

A framework computes with infinities and NaNs as a matter of course (PyTorch says nothing about them
either), so NumPy's floating-point warnings are off while an operation runs, and only then: the user's
own NumPy code keeps its settings.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from lampion.mode import mode


class silence:
    """Floating-point warnings off for many operations at once, so that each need not see to it."""

    __slots__ = ("token",)

    def __enter__(self) -> None:
        self.token = None
        if not mode.quiet:
            self.token = quiet()
            mode.quiet = True

    def __exit__(self, *exception: object) -> None:
        if self.token is not None:
            mode.quiet = False
            restore(self.token)


def namespace(array: Any) -> Any:
    """The module whose functions compute on this array: `numpy`, or `cupy` for arrays on a GPU."""
    kind = type(array)
    if kind is np.ndarray or kind.__module__.partition(".")[0] != "cupy":
        return np
    import cupy

    return cupy


try:
    # `np.errstate` builds a new object and enters it in Python: 1.7 us. Setting the same context
    # variable to a state made once costs 0.3 us. The names are private, hence the public fallback.
    from numpy._core.umath import _extobj_contextvar, _make_extobj

    _QUIET = _make_extobj(all="ignore")

    def quiet() -> Any:
        """Switch floating-point warnings off; returns what `restore` needs to switch them back."""
        return _extobj_contextvar.set(_QUIET)

    restore = _extobj_contextvar.reset
except ImportError:

    def quiet() -> Any:
        """Switch floating-point warnings off; returns what `restore` needs to switch them back."""
        return np.seterr(all="ignore")

    def restore(token: Any) -> None:
        """Undo `quiet`."""
        np.seterr(**token)


#: An array held between two bounds. NumPy's `maximum` of an array and a number takes four times as long, and
#: `np.clip` 1 us to get here. The name is private, hence the public fallback.
clip: Any = getattr(sys.modules.get("numpy._core.umath"), "clip", np.clip)
