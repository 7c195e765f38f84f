"""Write the type stubs of lampion.ops, from the signatures that the operations have.

    python scripts/stubs.py

An operation is a class body that a decorator replaces by a function, and a method is hung on Tensor by a
table: type checkers follow neither. They read `lampion/ops/__init__.pyi` and `lampion/ops/methods.pyi`.

A parameter's type is its annotation where it has one; otherwise its name says it, since a name means one
thing in all of Lampion (`TYPES` below). A result that is not a Tensor is annotated, or has overloads.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tree, not an installed copy

from lampion import ops, special  # noqa: E402
from lampion.ops import methods  # noqa: E402
from lampion.ops.define import METHODS  # noqa: E402
from lampion.tensor import Tensor  # noqa: E402

WIDTH = 110

TYPES = {
    "x": "Tensor", "y": "Tensor", "input": "Tensor", "condition": "Tensor", "index": "Tensor",
    "source": "Tensor", "state": "Tensor", "self": "Tensor", "tensors": "Iterable[Tensor]",
    "dim": "int", "dim0": "int", "dim1": "int", "start_dim": "int", "end_dim": "int",
    "dims": "_Ints", "shape": "_Ints", "size": "_Ints", "sizes": "_Ints",
    "dtype": "_DType", "device": "str", "generator": "Generator", "seed": "int",
    "value": "float", "fill_value": "float", "start": "float", "end": "float", "step": "float",
    "n": "int", "low": "int", "high": "int", "key": "_Index",
}  # fmt: skip

#: Parameters of elementwise operations, which may be numbers too.
OPERANDS = ("x", "y", "input", "other", "exponent", "min", "max", "values", "n")

#: The comment and the docstring that each file begins with.
HEAD = '''\
# Written by `python scripts/stubs.py`; run it again after a change to the operations.
"""{}"""

'''

OPERATIONS_HEAD = """\
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, overload

import numpy as np

from lampion import dtype as dtypes
from lampion.ops.results import Extremes, Found, Histogram, HistogramDD
from lampion.tensor import Tensor

"""

METHODS_HEAD = """\
from builtins import bool as _bool
from builtins import float as _float
from builtins import int as _int
from collections.abc import Iterator
from types import EllipsisType
from typing import Any, Self, TypeAlias, overload, type_check_only

import numpy as np

from lampion import dtype as dtypes
from lampion.layouts import MemoryFormat
from lampion.ops import Generator
from lampion.ops.results import Extremes, Found, Histogram
from lampion.tensor import Tensor

_Place: TypeAlias = int | slice | EllipsisType | Tensor | None
_Index: TypeAlias = _Place | list[Any] | tuple[_Place, ...]
"""

SPECIAL_HEAD = """\
from typing import Any, TypeAlias

import numpy as np

from lampion import dtype as dtypes
from lampion.tensor import Tensor

"""

ALIASES = """\
_Ints: TypeAlias = int | tuple[int, ...] | list[int]
_DType: TypeAlias = dtypes.DType | str | type | np.dtype[Any]
"""

#: Python iterates over anything that has `__getitem__`; type checkers want to see a method.
ITERATION = "def __iter__(self) -> Iterator[Tensor]: ..."

#: Names of types that inside of the class are names of methods: ``x.float()``.
SHADOWED = re.compile(r"(?<!def )\b(bool|float|int)\b")


def stubs() -> dict[Path, str]:
    """What both files should say."""
    folder = ROOT / "lampion" / "ops"
    return {
        folder / "__init__.pyi": operations_stub(),
        folder / "methods.pyi": methods_stub(),
        ROOT / "lampion" / "special" / "__init__.pyi": special_stub(),
    }


def operations_stub() -> str:
    """The public operations, under the file that defines each."""
    by_file: dict[str, list[str]] = {}
    for name in ops.__all__:
        value = getattr(ops, name)
        if inspect.isfunction(value):
            lines, home = declarations(name, value), value.__module__
        elif inspect.isclass(value):
            lines, home = class_lines(name, value), value.__module__
        else:
            lines, home = [f"{name}: {type(value).__name__}"], type(value).__module__
        by_file.setdefault(home, []).extend(lines)
    parts = [
        HEAD.format("The public operations, as type checkers see them.") + OPERATIONS_HEAD + ALIASES,
        "__all__ = [\n" + filled([f'"{name}"' for name in ops.__all__]) + "\n]\n",
    ]
    for module in sorted(by_file):
        parts.append(f"# -- {module.replace('.', '/')}.py\n\n" + "\n".join(by_file[module]) + "\n")
    return "\n".join(parts)


def special_stub() -> str:
    """`lampion.special`, most of which is made by decorators too."""
    head = HEAD.format("Special functions, as type checkers see them.")
    imports = SPECIAL_HEAD + ALIASES
    names = "__all__ = [\n" + filled([f'"{name}"' for name in special.__all__]) + "\n]\n"
    lines = [line for name in special.__all__ for line in declarations(name, getattr(special, name))]
    return "\n".join([head + imports, names, "\n".join(lines) + "\n"])


def methods_stub() -> str:
    """The class from which, to type checkers, Tensor inherits what `ops/methods.py` hangs on it."""
    named, operators, functions = [], [], []
    for name, value in vars(Tensor).items():
        if isinstance(value, property) and value.fget.__module__.startswith("lampion.ops"):
            named += ["@property", f"def {name}(self) -> Tensor: ..."]
    for name, function in METHODS.items():
        (operators if name.startswith("__") else named).extend(declarations(name, function, is_method=True))
    for name, function in inspect.getmembers(methods, inspect.isfunction):
        if function.__module__ == methods.__name__ and not name.startswith("_"):
            functions += declarations(name, function)
    body = textwrap.indent("\n".join([*named, "", *operators, ITERATION]), "    ")
    title = HEAD.format("What lampion/ops/methods.py hangs on Tensor, as type checkers see it.")
    return "\n".join([
        title + METHODS_HEAD + ALIASES,
        "@type_check_only\nclass TensorMethods:\n" + SHADOWED.sub(r"_\1", body) + "\n",
        "\n".join(functions) + "\n",
    ])  # fmt: skip


def class_lines(name: str, value: type) -> list[str]:
    """A plain class: the attributes that are annotated, and the public methods."""
    lines = [f"{attribute}: {annotation}" for attribute, annotation in value.__annotations__.items()]
    for method, function in vars(value).items():
        if inspect.isfunction(function) and (method == "__init__" or not method.startswith("_")):
            lines += declarations(method, function, is_method=True)
    return [f"class {name}:", *(f"    {line}" for line in lines)]


def declarations(name: str, function: Callable[..., Any], is_method: bool = False) -> list[str]:
    """What declares one function or method; several declarations where it has overloads."""
    # Operators and in-place forms are wrappers; the operation inside is what knows its parameters.
    function = inspect.getclosurevars(function).nonlocals.get("operation", function)
    overloads = typing.get_overloads(function)
    lines = []
    for form in overloads or [function]:
        signature = inspect.signature(form)
        parameters = [parameter_text(name, function, p) for p in signature.parameters.values()]
        if is_method:
            parameters[0] = "self"
            if name.startswith("__"):
                parameters = [re.sub("^y:", "other:", text) for text in parameters]
        returns = signature.return_annotation
        if returns is inspect.Signature.empty:
            returns = "Self" if is_method and re.fullmatch(r"[a-z]+_|__i\w+__", name) else "Tensor"
        line = wrapped(f"def {name}(", parameters, f") -> {returns}: ...")
        if name in ("__eq__", "__ne__"):
            line += "  # type: ignore[override]  # element by element, not one answer"
        lines += ["@overload", line] if overloads else [line]
    return lines


def parameter_text(name: str, function: Callable[..., Any], parameter: inspect.Parameter) -> str:
    """A parameter as it is declared: ``dim: int = 0``."""
    default, kind = parameter.default, parameter.annotation
    if kind is parameter.empty:
        primitive = getattr(function, "primitive", None)
        if parameter.name in OPERANDS and primitive is not None and primitive.kind == "elementwise":
            kind = "Tensor | float"
        elif type(default) in (bool, float):
            kind = type(default).__name__
        elif parameter.name == "dim" and default is None:
            kind = "_Ints"
        elif parameter.name in TYPES:
            kind = TYPES[parameter.name]
        else:
            kind = "Any"
        if default is None:
            kind += " | None"
    star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
    text = f"{star}{parameter.name}: {kind}"
    if default is parameter.empty:
        return text
    is_plain = default is None or isinstance(default, bool | int | float | str | tuple)
    said = repr(default) if is_plain else "..."
    return f"{text} = {said}".replace("'", '"')


def wrapped(before: str, items: list[str], after: str) -> str:
    """On one line, or the items on lines of their own."""
    text = ", ".join(items)
    if len(before + text + after) <= WIDTH - 4:  # it may be indented yet
        return before + text + after
    return f"{before}\n{filled(items)}\n{after}"


def filled(items: list[str]) -> str:
    """Items on as few lines as they need."""
    lines = [""]
    for item in items:
        if len(lines[-1] + item) > WIDTH - 8:
            lines.append("")
        lines[-1] += f"{item}, "
    return textwrap.indent("\n".join(line.strip() for line in lines), "    ").removesuffix(",")


if __name__ == "__main__":
    for path, text in stubs().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
