"""The instructions that only move values: stack, variables, control flow, iteration, new containers."""

from __future__ import annotations

from collections.abc import Iterator
from types import CellType, GeneratorType
from typing import Any

from . import policy
from .frame import Frame
from .opcodes import VERSION, Instruction, handles
from .policy import MISSING
from .values import FRESH, NULL, Unseen, bind, is_known, stand_in

END = object()  # of an iterator

# ---- the stack --------------------------------------------------------------------------------------


@handles("NOP", "RESUME", "CACHE", "MAKE_CELL", "COPY_FREE_VARS", "JUMP_FORWARD", "JUMP_BACKWARD")
@handles("JUMP_BACKWARD_NO_INTERRUPT", "PRECALL", "POP_TOP", "DELETE_FAST", "SETUP_ANNOTATIONS")
@handles("DELETE_NAME", "RAISE_VARARGS")
def nothing(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return ()


@handles("PUSH_NULL")
def push_null(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (NULL,)


@handles("LOAD_CONST")
def load_const(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (ins.value,)


@handles("COPY")
def copy(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (m.stack[-ins.arg],)


@handles("SWAP")
def swap(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    stack = m.stack
    stack[-1], stack[-ins.arg] = stack[-ins.arg], stack[-1]
    return ()


@handles("LOAD_ASSERTION_ERROR")
def load_assertion_error(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (AssertionError,)


@handles("KW_NAMES")
def kw_names(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    m.keywords = m.code.co_consts[ins.arg]
    return ()


@handles("RETURN_VALUE")
def return_value(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    m.result = taken[0]
    return ()


@handles("RETURN_CONST")
def return_const(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    m.result = ins.value
    return ()


@handles("YIELD_VALUE")
def yield_value(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    m.result = taken[0]
    return (Unseen(),)  # what `send` puts in


# ---- variables --------------------------------------------------------------------------------------


def load(m: Frame, name: str) -> Any:
    if VERSION >= (3, 13) and (name in m.code.co_cellvars or name in m.code.co_freevars):
        return load_cell(m, name)  # 3.13 loads cells for a closure with LOAD_FAST
    value = m.local(name)
    return Unseen() if value is MISSING else value


def load_cell(m: Frame, name: str) -> Unseen:
    cells = [] if name in m.code.co_cellvars else m.cells(name)
    if len(cells) > 1:
        m.abort(f"closure variable `{name}` may be one of several")
    return Unseen(CellType, like=cells[0] if cells else FRESH)


def store(m: Frame, name: str, item: Any) -> None:
    if name in m.code.co_cellvars and type(item) is Unseen and item.kind is None:
        return  # 3.12: a comprehension puts back what its variable shadowed, perhaps a cell

    def finish(offset: int) -> None:
        obj = m.local(name)
        if obj is not MISSING and not bind(m.rec, item, obj):
            m.lost()

    m.after.append(finish)


@handles("LOAD_FAST", "LOAD_FAST_CHECK")
def load_fast(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (load(m, ins.value),)


@handles("LOAD_FAST_LOAD_FAST")
def load_fast_load_fast(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return tuple(load(m, name) for name in ins.value)


@handles("LOAD_FAST_AND_CLEAR")
def load_fast_and_clear(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (Unseen(),)  # put back after an inlined comprehension, not used before


@handles("STORE_FAST")
def store_fast(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    store(m, ins.value, taken[0])
    return ()


@handles("STORE_FAST_LOAD_FAST")
def store_fast_load_fast(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    target, source = ins.value
    store(m, target, taken[0])
    return (taken[0] if source == target else load(m, source),)


@handles("STORE_FAST_STORE_FAST")
def store_fast_store_fast(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    first, second = ins.value
    store(m, first, taken[1])
    store(m, second, taken[0])
    return ()


@handles("LOAD_CLOSURE")
def load_closure(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (load_cell(m, ins.value),)


@handles("STORE_DEREF", "DELETE_DEREF")
def store_deref(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    name = ins.value
    if name not in m.code.co_cellvars and m.cells(name):
        m.abort(f"nonlocal variable `{name}` is assigned", "return the value instead")
    if taken:
        store(m, name, taken[0])
    return ()


@handles("STORE_GLOBAL", "DELETE_GLOBAL")
def store_global(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return m.abort(f"global `{ins.value}` is assigned", "return the value instead")


@handles("STORE_NAME")
def store_name(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    m.appears(taken[0], lambda: m.local(ins.value))  # a class body: its namespace is new
    return ()


# ---- control flow -----------------------------------------------------------------------------------


def truth(m: Frame, item: Any) -> Any:
    """The item as a condition: a bool if it is known, else a placeholder; judges what cannot be judged."""
    value = stand_in(item)
    if policy.is_data(value) or type(value) in policy.CONTAINERS:
        return bool(value)
    m.rec.judge(m, item, "the truth of")
    if is_known(item):
        m.rec.reader.class_reads(m, type(item), "__bool__", "__len__")
    return Unseen(bool)


@handles(*(f"POP_JUMP_IF_{test}" for test in ("TRUE", "FALSE")))
@handles(*(f"POP_JUMP_{way}_IF_{test}" for way in ("FORWARD", "BACKWARD") for test in ("TRUE", "FALSE")))
def pop_jump_if(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    truth(m, taken[0])
    return ()


@handles(*(f"POP_JUMP_IF_{test}" for test in ("NONE", "NOT_NONE")))
@handles(*(f"POP_JUMP_{way}_IF_{test}" for way in ("FORWARD", "BACKWARD") for test in ("NONE", "NOT_NONE")))
def pop_jump_if_none(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return ()


@handles("JUMP_IF_TRUE_OR_POP", "JUMP_IF_FALSE_OR_POP")
def jump_or_pop(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    truth(m, taken[0])

    def finish(offset: int) -> None:
        if offset == ins.next:
            m.stack.pop()

    m.after.append(finish)
    return taken


@handles("TO_BOOL")
def to_bool(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (truth(m, taken[0]),)


@handles("UNARY_NOT")
def unary_not(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    value = truth(m, taken[0])
    return (not value if is_known(value) else Unseen(bool),)


# ---- iteration ----------------------------------------------------------------------------------------


@handles("GET_ITER", "GET_YIELD_FROM_ITER")
def get_iter(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (m.rec.caller.iterate(m, taken[0]),)


@handles("FOR_ITER")
def for_iter(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    item = next_item(m, taken[0])

    def finish(offset: int) -> None:
        ended = offset != ins.next
        if ended:
            del m.stack[-2:]
        if type(item) is not Unseen and ended != (item is END):
            m.lost()

    m.after.append(finish)
    return (taken[0], item)


def next_item(m: Frame, iterator: Any) -> Any:
    """What the iterator is about to give, without touching it."""
    shadow: Iterator[Any] | None = m.rec.shadow(iterator)
    if shadow is not None:
        return next(shadow, END)
    kind = iterator.kind if type(iterator) is Unseen else type(iterator)
    if kind is GeneratorType:
        return yielded(m)
    if kind is not None and (method := policy.python_method(kind, "__next__")) is not None:
        return m.expect(method.__code__)
    return Unseen(tuple if kind in (zip, enumerate, policy.ITEMS_ITERATOR) else None)


def yielded_items(m: Frame) -> list[Any]:
    """What generators gave while the last instruction ran."""
    return [value for _, value, by_yield in m.returns if by_yield]


def yielded(m: Frame) -> Unseen:
    item = Unseen()

    def finish(offset: int) -> None:
        if gave := yielded_items(m):
            item.obj = gave[0]  # a second one is its end, when it is dropped at once

    m.after.append(finish)
    return item


@handles("SEND")
def send(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    item = yielded(m)

    def finish(offset: int) -> None:
        if offset == ins.next:
            return
        item.obj = MISSING  # the value of `yield from` itself
        if VERSION == (3, 11):
            del m.stack[-2]  # later versions leave the receiver to END_SEND

    m.after.append(finish)
    return (taken[0], item)


@handles("END_SEND")
def end_send(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return taken[1:]


# ---- new containers -------------------------------------------------------------------------------------


@handles("BUILD_TUPLE")
def build_tuple(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (as_tuple(taken),)


def as_tuple(items: list[Any] | tuple[Any, ...]) -> Any:
    if all(map(is_known, items)):
        return tuple(items)
    return Unseen(tuple, fresh=True, like=tuple(items))


@handles("BUILD_LIST")
def build_list(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (Unseen(list, fresh=True, like=taken),)


@handles("BUILD_SET")
def build_set(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    known = all(policy.is_data(item) for item in taken)
    return (Unseen(set, fresh=True, like=set(taken) if known else MISSING),)


@handles("BUILD_MAP")
def build_map(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (new_dict(taken[::2], taken[1::2]),)


@handles("BUILD_CONST_KEY_MAP")
def build_const_key_map(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (new_dict(taken[-1], taken[:-1]),)


def new_dict(keys: Any, values: Any) -> Unseen:
    known = all(policy.is_data(key) for key in keys)
    return Unseen(dict, fresh=True, like=dict(zip(keys, values, strict=True)) if known else MISSING)


@handles("BUILD_SLICE")
def build_slice(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return (slice(*taken) if all(map(is_known, taken)) else Unseen(slice),)


@handles("BUILD_STRING")
def build_string(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return ("".join(taken) if all(type(part) is str for part in taken) else Unseen(str),)


@handles("LIST_TO_TUPLE")
def list_to_tuple(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    like = taken[0].like if type(taken[0]) is Unseen else MISSING
    return (Unseen(tuple, fresh=True) if like is MISSING else as_tuple(like),)


@handles("LIST_APPEND", "SET_ADD", "MAP_ADD")
def add_item(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    like = m.stack[-ins.arg].like  # a comprehension's own container: never seen before it is done
    if ins.name == "LIST_APPEND" and like is not MISSING:
        like.append(taken[0])
    elif like is not MISSING and policy.is_data(taken[0]):
        if ins.name == "SET_ADD":
            like.add(taken[0])
        else:
            like[taken[0]] = taken[1]
    else:
        m.stack[-ins.arg].like = MISSING
    return ()


@handles("LIST_EXTEND", "SET_UPDATE")
def add_items(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    target = m.stack[-ins.arg]
    items = m.rec.caller.elements(m, taken[0])
    if target.like is MISSING or items is MISSING:
        target.like = MISSING
    elif ins.name == "LIST_EXTEND":
        target.like.extend(items)
    else:
        target.like = target.like | set(items) if policy.all_data(list(items)) else MISSING
    return ()


@handles("DICT_UPDATE", "DICT_MERGE")
def merge(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    target = m.stack[-ins.arg]
    m.rec.judge(m, taken[0], "the items of")
    table = taken[0].like if type(taken[0]) is Unseen else taken[0]
    if target.like is not MISSING and type(table) is dict and all(map(policy.is_data, table)):
        target.like.update(table)
    else:
        target.like = MISSING
    return ()


@handles("UNPACK_SEQUENCE", "UNPACK_EX")
def unpack(m: Frame, ins: Instruction, taken: list[Any]) -> Any:
    return m.rec.caller.unpack(m, taken[0], ins)
