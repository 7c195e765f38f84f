"""Operators and subscripts: computed beside the program on plain data, else left to the objects' methods."""

from __future__ import annotations

import collections
import operator
from collections.abc import Callable, Iterable
from types import CodeType
from typing import Any

from . import policy
from .frame import Frame
from .machine import as_tuple
from .opcodes import Instruction, handles
from .policy import MISSING, python_method
from .values import Unseen, is_known, stand_in, wrap

BINARY: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "+": (operator.add, "add"),
    "-": (operator.sub, "sub"),
    "*": (operator.mul, "mul"),
    "/": (operator.truediv, "truediv"),
    "//": (operator.floordiv, "floordiv"),
    "%": (operator.mod, "mod"),
    "**": (operator.pow, "pow"),
    "@": (operator.matmul, "matmul"),
    "&": (operator.and_, "and"),
    "|": (operator.or_, "or"),
    "^": (operator.xor, "xor"),
    "<<": (operator.lshift, "lshift"),
    ">>": (operator.rshift, "rshift"),
}
COMPARE: dict[str, tuple[Callable[[Any, Any], Any], tuple[str, str]]] = {
    "<": (operator.lt, ("__lt__", "__gt__")),
    "<=": (operator.le, ("__le__", "__ge__")),
    ">": (operator.gt, ("__gt__", "__lt__")),
    ">=": (operator.ge, ("__ge__", "__le__")),
    "==": (operator.eq, ("__eq__", "__eq__")),
    "!=": (operator.ne, ("__ne__", "__ne__")),
}
UNARY: dict[str, tuple[Callable[[Any], Any], str]] = {
    "UNARY_NEGATIVE": (operator.neg, "__neg__"),
    "UNARY_INVERT": (operator.invert, "__invert__"),
    "UNARY_POSITIVE": (operator.pos, "__pos__"),
    "INTRINSIC_UNARY_POSITIVE": (operator.pos, "__pos__"),
}


def kind_of(item: Any) -> type | None:
    return item.kind if type(item) is Unseen else type(item)


def guard_methods(m: Frame, item: Any, names: Iterable[str]) -> None:
    """The class of an operand or argument may say what is done with it, also later: a read of the class."""
    kind = kind_of(item)
    if kind is not None and not m.rec.is_core_type(kind):
        m.rec.reader.class_reads(m, kind, *names)


Methods = list[tuple[int, str]]


def compute(
    m: Frame, fn: Callable[..., Any], items: list[Any], methods: Methods, result: type | None = None
) -> Any:
    """The operator on plain data here and now; else the special method that runs gives the result.

    `methods` are the candidates: the number of the operand, and the name that is looked up in its class.
    `result` is the type of the result where no Python method is involved.
    """
    values = [stand_in(item) for item in items]
    if all(map(policy.all_data, values)):
        try:
            return wrap(fn(*values))
        except Exception:
            return Unseen()  # the program is about to meet the same
    kinds = [kind_of(item) for item in items]
    for item in items:
        m.rec.judge(m, item, f"`{m.ins.symbol or m.ins.name}` on")
    codes: list[CodeType] = []
    for number, name in methods:
        kind = kinds[number]
        if kind is not None:
            if not m.rec.is_core_type(kind):
                m.rec.reader.class_read(m, kind, name)
            codes += codes_of([kind], [name])
    if codes:
        return m.expect(*codes)
    whole = [item.like if type(item) is Unseen else item for item in items]
    if fn is operator.add and type(whole[0]) is type(whole[1]) and type(whole[0]) in (list, tuple):
        joined = whole[0] + whole[1]
        return as_tuple(joined) if type(joined) is tuple else Unseen(list, fresh=True, like=joined)
    if result is None:
        result = next((kind for kind in kinds if kind in policy.CONTAINERS), None)
    return Unseen(result, fresh=result in policy.MUTABLE)


def codes_of(kinds: Iterable[type | None], names: Iterable[str]) -> list[CodeType]:
    """The code of the Python methods of these names: whichever of them runs last, its value is the result."""
    found = (python_method(kind, name) for kind in kinds if kind is not None for name in names)
    return [method.__code__ for method in found if method is not None]


@handles("BINARY_OP")
def binary_op(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    symbol = ins.symbol
    fn, name = BINARY[symbol.removesuffix("=")]
    methods = [(0, f"__{name}__"), (1, f"__r{name}__")]
    if symbol.endswith("="):
        target = taken[0]
        kind = kind_of(target)
        if kind in policy.MUTABLE and python_method(kind, f"__i{name}__") is None:
            return (extend_in_place(m, target, taken[1], symbol),)
        methods = [(0, f"__i{name}__"), *methods]
    return (compute(m, fn, taken, methods),)


def extend_in_place(m: Frame, target: Any, item: Any, symbol: str) -> Any:
    if not m.is_fresh(target):
        kind = kind_of(target)
        m.abort(
            f"`{symbol}` changes a {policy.say_kind(kind)} that was made outside",
            "make a copy first, or return the new items",
        )
    m.rec.judge(m, item, f"`{symbol}` on")
    if type(target) is Unseen:
        target.like = MISSING
    return target


@handles(*UNARY)
def unary_op(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (unary(m, ins.name, taken[0]),)


def unary(m: Frame, name: str, item: Any) -> Any:
    fn, method = UNARY[name]
    return compute(m, fn, [item], [(0, method)])


@handles("COMPARE_OP")
def compare_op(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    fn, names = COMPARE[ins.value]
    if ins.value == "!=":  # where there is no `__ne__`, it asks `__eq__`
        for operand in taken:
            guard_methods(m, operand, ["__eq__"])
    item = compute(m, fn, taken, [(0, names[0]), (1, names[1])], bool)
    if ins.symbol.startswith("bool("):  # 3.13 folds the test of a condition into the comparison
        return (bool(item) if policy.is_data(item) else Unseen(bool),)
    return (item,)


@handles("IS_OP")
def is_op(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    a, b = taken
    if not any(is_known(x) and (type(x) in policy.SINGLETONS or not policy.is_data(x)) for x in taken):
        m.abort("two plain values are compared with `is`", "use ==")
    if is_known(a) and is_known(b) and (type(a) in policy.SINGLETONS or type(b) in policy.SINGLETONS):
        return ((a is b) != bool(ins.arg),)
    return (Unseen(bool),)


@handles("CONTAINS_OP")
def contains_op(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (contains(m, taken[0], taken[1], bool(ins.arg)),)


_HASHED: tuple[Any, ...] = (dict, set, frozenset, policy.VIEWS[0], policy.VIEWS[3])


def contains(m: Frame, item: Any, container: Any, negated: bool = False, overridden: bool = True) -> Any:
    key, whole = stand_in(item), stand_in(container)
    if id(whole) in m.rec.spaces and type(key) is str:
        return (m.rec.space_entry(m, whole, key) is MISSING) == negated
    replaced = overridden and python_method(type(whole), "__contains__") is not None
    guard_methods(m, whole, ["__contains__", "__iter__", "__getitem__"])
    if isinstance(whole, _HASHED) and is_key(m, key) and not replaced:
        base = next(kind for kind in _HASHED if isinstance(whole, kind))
        return bool(base.__contains__(whole, key)) != negated
    if policy.all_data(key) and policy.all_data(whole):
        try:
            return (key in whole) != negated
        except TypeError:
            return Unseen()
    m.rec.judge(m, item, "`in` on")
    m.rec.judge(m, container, "`in` on")
    return Unseen(bool)


def is_key(m: Frame, key: Any) -> bool:
    """Whether a dict can be asked for it without running code of the user's."""
    if type(key) in (tuple, frozenset):
        return all(is_key(m, part) for part in key)
    kind = type(key)
    if key is not MISSING:
        guard_methods(m, key, ["__hash__", "__eq__"])
    return (
        policy.is_plain(key)
        or (key is not MISSING and m.rec.is_core(key))
        or (
            key is not MISSING
            and is_known(key)
            and not (python_method(kind, "__hash__") or python_method(kind, "__eq__"))
        )
    ) and key.__hash__ is not None


# ---- subscripts -----------------------------------------------------------------------------------------

_SEQUENCES: tuple[Any, ...] = (list, tuple, str, bytes, range, collections.deque)


@handles("BINARY_SUBSCR")
def binary_subscr(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (subscript(m, taken[0], taken[1]),)


@handles("BINARY_SLICE")
def binary_slice(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    known = all(map(is_known, taken[1:]))
    return (subscript(m, taken[0], slice(*taken[1:]) if known else Unseen(slice)),)


def subscript(m: Frame, container: Any, key: Any, overridden: bool = True) -> Any:
    """What `container[key]` gives; with `overridden` False, what the builtin base class makes of it."""
    whole = container.like if type(container) is Unseen else container
    if overridden:
        guard_methods(m, container, ["__getitem__"])
    method = python_method(type(container), "__getitem__") if overridden and is_known(container) else None
    if method is not None:
        return m.rec.caller.python(m, method, [container, key], {})
    if id(whole) in m.rec.spaces and type(key) is str:
        value = m.rec.space_entry(m, whole, key)
        return Unseen() if value is MISSING else value
    if isinstance(whole, _SEQUENCES) and policy.is_data(key):
        try:
            base = next(kind for kind in _SEQUENCES if isinstance(whole, kind))
            value = base.__getitem__(whole, key)
        except Exception:
            return Unseen()
        return wrap(value) if type(key) is slice else value
    if isinstance(whole, dict) and is_key(m, key):
        if dict.__contains__(whole, key):
            return dict.__getitem__(whole, key)
        return _absent(m, container, whole, key)
    m.rec.judge(m, container, "an item of")
    return Unseen()


def _absent(m: Frame, container: Any, whole: Any, key: Any) -> Any:
    if isinstance(whole, collections.defaultdict) and not m.is_fresh(container):
        m.rec.settles(m, container)
        m.abort(f"a new entry {policy.say(key)} is made in a defaultdict", "look it up with .get(key)")
    if (method := python_method(type(whole), "__missing__")) is not None:
        m.rec.reader.class_read(m, type(whole), "__missing__")
        return m.expect(method.__code__)
    return Unseen()


@handles("STORE_SUBSCR")
def store_subscr(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    change_item(m, taken[1], taken[2], taken[0])
    return ()


@handles("STORE_SLICE", "DELETE_SUBSCR")
def other_stores(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    change_item(m, taken[1] if ins.name == "STORE_SLICE" else taken[0], Unseen(), None)
    return ()


def change_item(m: Frame, container: Any, key: Any, item: Any) -> None:
    """Judge `container[key] = item` and its like."""
    kind = kind_of(container)
    if kind is not None and (m.rec.is_core_type(kind) or python_method(kind, "__setitem__") is not None):
        return  # Lampion's own affair, or a Python method that is followed itself
    plain = type(container) is dict and is_known(key) and is_key(m, key)
    if plain and m.rec.is_core(item) and container.get(key, MISSING) is item:
        m.rec.reader.namespace(m, container, key, f"item {key!r} of a dict")
        return  # as after ``table["count"] += 1``, which changed the tensor and puts it back
    if not m.is_fresh(container):
        plain = policy.is_plain(item) or id(item) in m.rec.scalars
        if id(container) in m.rec.spaces and plain and type(key) is str:
            note = m.rec.note(m, f"item {key!r} of a {m.rec.spaces[id(container)][1]}")
            if m.rec.may_store(container, key, item, note):
                return
        if is_known(container) and is_known(key) and is_key(m, key) and key not in container:
            m.rec.settles(m, container)
        m.abort(
            f"an item of a {policy.say_kind(kind)} made outside is set",
            "return the value, or store it outside",
        )
    if type(container) is Unseen:
        container.like = MISSING
    elif isinstance(container, (dict, list)) and is_known(key) and is_key(m, key):
        m.appears(item, lambda: container[key])


# ---- text -----------------------------------------------------------------------------------------------


@handles("FORMAT_VALUE", "FORMAT_SIMPLE", "FORMAT_WITH_SPEC")
def format_value(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    convert = ins.value[0] if ins.name == "FORMAT_VALUE" else None
    spec = taken[1] if len(taken) == 2 else ""
    value = stand_in(taken[0])
    if policy.all_data(value) and type(spec) is str:
        try:
            return (format(convert(value) if convert else value, spec),)
        except Exception:
            return (Unseen(str),)
    m.rec.judge(m, taken[0], "the text of")
    return (Unseen(str),)


@handles("CONVERT_VALUE")
def convert_value(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    value = stand_in(taken[0])
    if policy.all_data(value):
        return (ins.value(value),)
    m.rec.judge(m, taken[0], "the text of")
    return (Unseen(str),)
