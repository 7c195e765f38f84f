"""Write the list of the operations that have no machine code: docs/call-outs.md.

python scripts/call_outs.py
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tree, not an installed copy

import lampion  # noqa: E402
from lampion.compiler.lowering import KERNELS  # noqa: E402
from lampion.compiler.schedule import MACHINE_TYPES  # noqa: E402
from lampion.primitive import PRIMITIVES, Primitive  # noqa: E402

HOMES = ("lampion.ops.", "lampion.nn.", "lampion.linalg", "lampion.fft", "lampion.special")
PAGE = ROOT / "docs" / "call-outs.md"
OTHER_TYPES = ", ".join(dtype.name for dtype in lampion.dtype.ALL if dtype not in MACHINE_TYPES)
HEAD = f"""\
# What compiled code calls out for

<!-- Written by `python scripts/call_outs.py`; run it again after a change to the operations. -->

A compiled function is machine code, but for the primitives below: there the plan stops, calls the primitive's
NumPy `forward` on its own memory, and goes on. The results are the same; the time is NumPy's. `explain()`
counts such calls (`callouts`), and the benchmarks require that there are none.

Whatever the primitive, a value of one of these types is computed by NumPy too: {OTHER_TYPES}.

| primitive | what it is | defined in |
|---|---|---|
"""


def has_no_machine_code(primitive: Primitive) -> bool:
    """Whether plans always call out for it."""
    if primitive.kind in ("composite", "movement"):
        return False  # made of others; index arithmetic
    if primitive.kind == "kernel":
        return primitive.name not in KERNELS or not primitive.native
    return not primitive.native or (primitive.kind == "reduction" and primitive.combine is None)


def page() -> str:
    """What the page should say."""
    for module in pkgutil.walk_packages(lampion.__path__, "lampion."):
        if module.name.startswith(HOMES):
            importlib.import_module(module.name)
    rows = []
    for (home, name), primitive in PRIMITIVES.items():
        if home.startswith("lampion.") and has_no_machine_code(primitive):
            said = (inspect.cleandoc(primitive.doc) or "").partition("\n")[0].replace("|", "\\|")
            path = home.replace(".", "/") + ".py"
            rows.append(f"| `{name}` | {said} | [{path}](../{path}) |")
    return HEAD + "\n".join(sorted(rows)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
