"""The instructions that read and store names and attributes; what they find is worked out in `reads.py`."""

from __future__ import annotations

import builtins
import importlib.util
import sys
from types import ModuleType
from typing import Any

from .frame import Frame
from .opcodes import VERSION, Instruction, handles
from .policy import MISSING
from .values import NULL, Unseen, is_known


def with_null(value: Any, wanted: bool) -> Any:
    """The value as one item, or as the pair that a following call expects."""
    if not wanted:
        return (value,)
    return (value, NULL) if VERSION >= (3, 13) else (NULL, value)


@handles("LOAD_GLOBAL")
def load_global(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return with_null(m.rec.reader.variable(m, ins.value), ins.pushes == 2)


@handles("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
def load_name(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    value = m.local(ins.value)
    return (m.rec.reader.variable(m, ins.value) if value is MISSING else value,)


@handles("LOAD_LOCALS")
def load_locals(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (Unseen(),)


@handles("LOAD_DEREF")
def load_deref(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (m.rec.reader.cell(m, ins.value),)


@handles("LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
def load_class_deref(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (m.rec.reader.cell(m, ins.value),)


@handles("LOAD_ATTR", "LOAD_METHOD")
def load_attr(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return with_null(m.rec.reader.attribute(m, taken[0], ins.value), ins.pushes == 2)


@handles("LOAD_SUPER_ATTR")
def load_super_attr(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    if taken[0] is not builtins.super or not all(map(is_known, taken)):
        m.abort("`super` is not Python's own")
    return with_null(m.rec.reader.super(m, taken[1], taken[2], ins.value), ins.pushes == 2)


@handles("STORE_ATTR")
def store_attr(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    m.rec.reader.store(m, taken[1], ins.value, taken[0])
    return ()


@handles("DELETE_ATTR")
def delete_attr(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    m.rec.reader.store(m, taken[0], ins.value, NULL)
    return ()


@handles("IMPORT_NAME")
def import_name(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    level, names = taken
    if m.frame.f_builtins.get("__import__") is not builtins.__import__:
        m.abort("`__import__` is not Python's own")
    package = m.frame.f_globals.get("__package__") or ""
    full = importlib.util.resolve_name("." * level + ins.value, package) if level else ins.value
    item = Unseen(ModuleType)

    def finish(offset: int) -> None:
        name = full if names else full.partition(".")[0]
        item.obj = sys.modules.get(name, MISSING)
        m.rec.guards.entry(sys.modules.get, sys.modules, name, item.obj, m.rec.note(m, f"module `{name}`"))

    m.after.append(finish)
    return (item,)


@handles("IMPORT_FROM")
def import_from(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    module = m.stack[-1].obj if type(m.stack[-1]) is Unseen else m.stack[-1]
    name = ins.value
    if isinstance(module, ModuleType) and name not in module.__dict__:
        inner = sys.modules.get(f"{module.__name__}.{name}")
        if inner is not None:
            return (inner,)
    return (m.rec.reader.attribute(m, module, name),)
