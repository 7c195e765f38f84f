"""Capture: run a function once, and know everything outside Lampion that its result depends on.

While a function is traced, this package follows the user's code instruction by instruction. Whatever the
code reads becomes a guard, checked before each later call; whatever it does beyond Lampion's own objects
ends the capture with a `CaptureError` that names the line. In reading order: `recorder` (the hooks),
`machine` (the symbolic stack), `opcodes` (the table of instructions), `reads`, `calls`, `operators`,
`rules` (what C functions do), `policy` (what may be believed), `guards`.
"""

from .guards import Guards
from .policy import default_trusted
from .recorder import CaptureError, Recorder, trusted

__all__ = ["CaptureError", "Guards", "Recorder", "default_trusted", "trusted"]
