"""The instructions of match statements, on values whose type and contents are known."""

from __future__ import annotations

from typing import Any

from . import policy
from .frame import Frame
from .machine import as_tuple
from .opcodes import Instruction, handles
from .operators import contains, kind_of, subscript
from .policy import MISSING, python_method
from .values import Unseen, is_known, seen

_FLAGS = {"MATCH_SEQUENCE": 1 << 5, "MATCH_MAPPING": 1 << 6}  # Py_TPFLAGS_SEQUENCE, Py_TPFLAGS_MAPPING
#: Where the one positional pattern is about the value itself.
_WHOLE = (bool, bytearray, bytes, dict, float, frozenset, int, list, set, str, tuple)


def _kind(m: Frame, item: Any) -> type:
    kind = kind_of(item)
    if kind is None or not isinstance(kind, type):
        m.abort("a match statement looks at a value that capture cannot see", "give the value a name first")
        raise AssertionError  # it has raised
    return kind


@handles("MATCH_SEQUENCE", "MATCH_MAPPING")
def match_kind(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (bool(_kind(m, seen(m.stack[-1])).__flags__ & _FLAGS[ins.name]),)


@handles("GET_LEN")
def get_len(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    item = seen(m.stack[-1])
    m.rec.judge(m, item, "the length of")
    whole = item.like if type(item) is Unseen else item
    if isinstance(whole, policy.CONTAINERS) and python_method(type(whole), "__len__") is None:
        return (len(whole),)
    return (Unseen(int),)


@handles("MATCH_KEYS")
def match_keys(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    subject, keys = (seen(item) for item in m.stack[-2:])
    if python_method(_kind(m, subject), "get") is not None or not is_known(keys):
        m.abort("a match statement looks into a mapping with a method `get` of its own")
    there = [contains(m, key, subject) for key in keys]
    if not all(is_known(answer) for answer in there):
        m.abort("a match statement looks into a value that capture cannot see", "give the value a name first")
    return (as_tuple([subscript(m, subject, key) for key in keys]) if all(there) else None,)


@handles("MATCH_CLASS")
def match_class(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    subject, cls, named = taken
    kind = _kind(m, subject)
    if type(cls) is not type:
        m.abort("a match statement names a class with a metaclass, or one that capture cannot see")
    if not issubclass(kind, cls):
        return (None,)
    if ins.arg == 1 and cls in _WHOLE:
        return (as_tuple([subject]),)
    names = list(named)
    if ins.arg:
        places = m.rec.reader.attribute(m, cls, "__match_args__")
        if type(places) is not tuple or len(places) < ins.arg:
            return (Unseen(),)  # an error is next
        names = [*places[: ins.arg], *names]
    values = [_attribute(m, subject, name) for name in names]
    return (None if any(value is MISSING for value in values) else as_tuple(values),)


def _attribute(m: Frame, subject: Any, name: str) -> Any:
    before = len(m.after)
    value = m.rec.reader.attribute(m, subject, name)
    if len(m.after) > before:
        m.abort(f"a match statement reads the property `{name}`", "read it before, and match the value")
    return value if is_known(value) else MISSING
