"""Capture: run a function once, and know everything outside Lampion that its result depends on.

While a function is traced, this package follows the user's code instruction by instruction. Whatever the
code reads becomes a guard, checked before each later call; whatever it does beyond Lampion's own objects
ends the capture with a `CaptureError` that names the line. In reading order:

  recorder   runs the function under Python's trace hook
  frame      the symbolic double of a running frame
  values     what stands on its stack: objects, and placeholders for those that cannot be seen
  opcodes    the table of instructions: how many values each takes and puts
  machine    the instructions that move values; loads: names and attributes; operators; calls; matching
  reads      what a look-up gives, and the guards that it leaves
  callees    which function a frame runs that was not announced; scalars: floats that are inputs
  rules      how C functions are judged; tables: which ones have a rule
  cleanup    what would run if a capture ended here; away: where nobody need watch
  policy     which objects, files and functions are believed
  guards     the reads, checked before each later call
"""

from .guards import Guards
from .policy import default_trusted
from .recorder import CaptureError, Recorder, trusted

__all__ = ["CaptureError", "Guards", "Recorder", "default_trusted", "trusted"]
