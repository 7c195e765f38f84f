"""The symbolic stack machine: one `Frame` walks beside each running frame of user code.

An event comes before its instruction runs. The frame first finishes what the last instruction left open
(its result may have come into sight), then plays the new instruction on its own stack. This file has the
instructions that only move values: stack, variables, control flow, iteration, new containers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import CellType, CodeType, FrameType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any

from . import policy
from .opcodes import REFUSED, VERSION, Instruction, decode, handles
from .policy import MISSING
from .values import FRESH, NULL, Made, Unseen, bind, is_known, seen, stand_in

if TYPE_CHECKING:
    from .recorder import Recorder

END = object()  # of an iterator


class Call:
    """A call that is about to be made: how the frame that it starts is recognised and its arguments named."""

    __slots__ = ("args", "cls", "code", "fn", "kwargs", "made", "result")

    def __init__(self, code: CodeType | None, args: list[Any], kwargs: dict[str, Any]) -> None:
        self.code = code
        self.args = args
        self.kwargs = kwargs
        self.fn: FunctionType | None = None
        self.made: Made | None = None
        self.cls: type | None = None  # set where the call makes an instance of this class
        self.result: Unseen | None = None


class Frame:
    """The symbolic double of one running frame."""

    def __init__(self, rec: Recorder, frame: FrameType) -> None:
        self.rec = rec
        self.frame = frame
        self.code = frame.f_code
        self.table = decode(frame.f_code)
        self.stack: list[Any] = []
        self.ins: Instruction = self.table[frame.f_lasti]
        self.after: list[Callable[[int], None]] = []  # what the last instruction left open
        self.returns: list[tuple[CodeType, Any, bool]] = []  # what callees gave: code, value, by a yield
        self.call: Call | None = None
        self.c_name: str | None = None  # the C function that may be called now
        self.keywords: tuple[str, ...] = ()
        self.result: Any = NULL  # what is being returned or yielded
        self.fn: FunctionType | None = None
        self.made: Made | None = None
        self.unwinding = ""  # the last instruction seen while an exception is on its way
        self.tracer = self.trace  # one bound method for the life of the frame

    # ---- events -------------------------------------------------------------------------------------

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The local trace function of the frame."""
        try:
            if event == "opcode":
                self.step()
            elif event == "exception":
                self.raised(arg)
            elif event == "return":
                self.leave(arg)
        except BaseException as error:
            raise self.rec.stop(error, frame) from error.__cause__
        return self.tracer

    def step(self) -> None:
        offset = self.frame.f_lasti
        if self.unwinding:
            self.unwind(offset)
            return
        if self.after:
            todo, self.after = self.after, []
            for finish in todo:
                finish(offset)
        if self.returns:
            self.returns = []
        self.call = self.c_name = None
        ins = self.ins = self.table[offset]
        if ins.handler is None:
            if ins.name == "EXTENDED_ARG":
                return
            what = REFUSED.get(ins.name, f"the instruction {ins.name}")
            self.abort(f"{what} cannot be followed")
        stack, pops = self.stack, ins.pops
        taken: list[Any] = []
        if pops:
            if len(stack) < pops:
                self.lost()
            taken = [seen(item) for item in stack[-pops:]]
            del stack[-pops:]
        put = ins.handler(self, ins, taken)
        if len(put) != ins.pushes:
            self.lost()
        stack.extend(put)

    def raised(self, arg: Any) -> None:
        """An exception has come up in this frame, or passes through it."""
        kind, value, _ = arg
        if kind is StopIteration and self.ins.name in ("FOR_ITER", "SEND") and not self.unwinding:
            return  # how a loop ends
        self.rec.passing(value)
        self.unwinding = self.unwinding or "RAISE"  # what has been run of the handler, so far nothing

    def unwind(self, offset: int) -> None:
        """Follow an exception through handlers; one that is caught ends the capture.

        Clean-up of `with` and `finally` runs undisturbed: aborting there would skip it.
        """
        last, previous, ins = self.unwinding, self.ins, self.table[offset]
        caught = (
            (last == "POP_EXCEPT" and ins.name != "RERAISE")
            or (last == "PUSH_EXC_INFO" and ins.name == "POP_TOP")  # a bare `except:`
            or (last == "MATCH" and offset == previous.next)  # the class matched: the clause begins
            or ins.name == "CHECK_EG_MATCH"
        )
        if caught:
            self.abort("an exception is caught", "let it propagate, or keep the try statement outside")
        if ins.name == "EXTENDED_ARG":
            return
        self.ins = ins
        testing = last == "CHECK_EXC_MATCH" and ins.name.startswith("POP_JUMP")
        self.unwinding = "MATCH" if testing else ins.name

    def leave(self, value: Any) -> None:
        """The frame returns or yields."""
        if self.unwinding:
            self.rec.frames.pop(self.frame, None)
            return
        for finish in self.after:
            finish(-1)
        self.after = []
        if not bind(self.rec, self.result, value):
            self.lost()
        if not self.ins.name.startswith(("YIELD", "RESUME")):
            self.rec.frames.pop(self.frame, None)
            self.stack.clear()

    def received(self, code: CodeType, value: Any, by_yield: bool) -> None:
        """A frame that this one called has returned or yielded."""
        self.returns.append((code, value, by_yield))

    def called_c(self, fn: Any) -> None:
        """A C function is called: it has to be the one that was judged."""
        if not self.unwinding and getattr(fn, "__name__", "") != self.c_name:
            self.lost()

    # ---- help for the handlers ------------------------------------------------------------------------

    def abort(self, reason: str, fix: str = "") -> Any:
        self.rec.abort(reason, fix, self.frame)

    def lost(self) -> Any:
        self.abort(f"capture lost track of the program at {self.ins.name} {self.ins.symbol}".rstrip())

    def local(self, name: str) -> Any:
        """The variable's value now; MISSING if it has none."""
        return self.frame.f_locals.get(name, MISSING)

    def appears(self, item: Any, look: Callable[[], Any]) -> None:
        """At the next event `look()` gives the object whose placeholder this is."""

        def finish(offset: int) -> None:
            obj = look()
            if obj is not MISSING and not bind(self.rec, item, obj):
                self.lost()

        if type(item) is Unseen:
            self.after.append(finish)

    def expect(self, *who: CodeType | str) -> Unseen:
        """The value that a callee (by code or by name) is about to return."""
        item = Unseen()

        def finish(offset: int) -> None:
            for code, value, by_yield in reversed(self.returns):
                if (code in who or code.co_name in who) and value is not NotImplemented:
                    item.obj = value
                    return

        self.after.append(finish)
        return item

    def is_fresh(self, item: Any) -> bool:
        """Whether it was made by this call, so that changing it cannot be noticed from outside."""
        return item.fresh if type(item) is Unseen else id(item) in self.rec.fresh

    def cell(self, name: str) -> Any:
        """The cell of a free variable: FRESH, or the object."""
        index = self.code.co_freevars.index(name)
        if self.made is not None:
            return self.made.closure[index]
        if self.fn is None:
            self.fn = self.rec.function_of(self)
        cell = (self.fn.__closure__ or ())[index]
        return FRESH if id(cell) in self.rec.fresh else cell


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
    cell = FRESH if name in m.code.co_cellvars else m.cell(name)
    return Unseen(CellType, like=cell)


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
    if name not in m.code.co_cellvars and m.cell(name) is not FRESH:
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
            item.obj = gave[-1]

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

