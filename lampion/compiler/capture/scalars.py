"""Floats that differ from call to call: while a function is recorded, traced scalars stand in for them.

A stand-in is a Tensor, and a program can tell it from a float: by `isinstance`, by printing it, by passing
it to a function that wants a number. Only uses that come out the same are let through: being named, kept and
handed on; arithmetic with tensors; + - * with numbers, and division by a number, which double precision
does alike everywhere. Any other use ends the capture. (`function.py` then records with the float as it is.)
"""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn

from .values import Unseen, is_known, seen

if TYPE_CHECKING:
    from .frame import Frame
    from .opcodes import Instruction
    from .recorder import Recorder

_KEPT = frozenset(
    {"STORE_FAST", "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "STORE_DEREF", "STORE_NAME", "POP_TOP"}
    | {"RETURN_VALUE", "YIELD_VALUE", "BUILD_TUPLE", "BUILD_LIST", "BUILD_MAP", "BUILD_CONST_KEY_MAP"}
    | {"LIST_APPEND", "MAP_ADD", "POP_JUMP_IF_NONE", "POP_JUMP_IF_NOT_NONE"}
    | {f"POP_JUMP_{way}_IF_{test}" for way in ("FORWARD", "BACKWARD") for test in ("NONE", "NOT_NONE")}
)
_CALLS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX", "PRECALL"})  # `called` looks at the arguments
_WITH_FACTOR = frozenset({"add", "add_", "sub", "sub_"})  # of Tensors: `alpha` is a factor
_LARGEST = 2**53  # up to which whole numbers are doubles


def used(m: Frame, ins: Instruction, taken: list[Any]) -> bool:
    """An instruction takes these values, some of which may be stand-ins: abort if it could tell.

    Returns whether what it gives is a stand-in, too.
    """
    scalars = m.rec.scalars
    if not any(id(item) in scalars for item in taken) or ins.name in _KEPT or ins.name in _CALLS:
        return False
    if ins.name == "BINARY_OP":
        return _binary(m, ins, *taken)
    if ins.name == "IS_OP" and any(item is None for item in taken):
        return False
    if ins.name == "STORE_SUBSCR" and id(taken[0]) in scalars and id(taken[2]) not in scalars:
        return False  # `operators.change_item` looks at what it is stored into
    if ins.name == "STORE_ATTR" and m.is_fresh(taken[1]) and not m.rec.is_core(taken[1]):
        return False
    return True if ins.name == "UNARY_NEGATIVE" else _tells(m)


def derive(m: Frame) -> None:
    """The value that the last instruction put is a stand-in."""

    def finish(offset: int) -> None:
        result = seen(m.stack[-1])
        if not is_known(result):
            m.lost()
        m.rec.derived(result)

    m.after.append(finish)


def _tells(m: Frame) -> NoReturn:
    m.abort("a number that differs from call to call is used as more than a factor or a term")
    raise AssertionError  # it has raised


def _binary(m: Frame, ins: Instruction, left: Any, right: Any) -> bool:
    scalars, symbol = m.rec.scalars, ins.symbol.removesuffix("=")
    if id(left) in scalars and symbol != ins.symbol:
        _tells(m)  # it would change the stand-in itself
    other = right if id(left) in scalars else left
    if id(other) in scalars:
        fits = derives = symbol in ("+", "-", "*")
    elif type(other) in (int, float):
        fits = symbol in ("+", "-", "*") or (symbol == "/" and other is right and other != 0)
        fits = derives = fits and (type(other) is float or abs(other) < _LARGEST)
    else:
        fits = symbol in ("+", "-", "*", "/") and is_known(other) and m.rec.is_core(other)
        fits, derives = fits and not _is_short(other), False
    return derives if fits else _tells(m)


def _is_short(tensor: Any) -> bool:
    """Whether its elements have 16 bits: what it takes from a Python float is rounded once, at the end."""
    dtype = getattr(tensor, "dtype", None)
    return getattr(dtype, "itemsize", 8) < 4 and bool(getattr(dtype, "is_floating_point", True))


def called(rec: Recorder, m: Frame, fn: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """A call is about to be made: to code that is not followed, no stand-in may go (but as a factor)."""
    followed = type(fn) is FunctionType and not rec.is_untraced(fn.__code__)
    if "alpha" in kwargs and type(fn) is FunctionType and not followed and fn.__name__ in _WITH_FACTOR:
        tensors = all(is_known(item) and rec.is_core(item) and not _is_short(item) for item in args or ())
        if tensors and all(item.dtype.is_floating_point for item in args):
            kwargs = {name: item for name, item in kwargs.items() if name != "alpha"}
    if not followed and any(holds(rec, item) for item in (*(args or ()), *kwargs.values())):
        _tells(m)


def holds(rec: Recorder, item: Any, depth: int = 4) -> bool:
    """Whether a value is a stand-in, or has one in it."""
    item = seen(item)
    if id(item) in rec.scalars:
        return True
    if type(item) is Unseen:
        item = item.like
    if not isinstance(item, list | tuple | dict | set | frozenset) or not (depth and len(item) < 1000):
        return False
    return any(holds(rec, part, depth - 1) for part in (item.values() if isinstance(item, dict) else item))
