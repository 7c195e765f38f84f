"""Every bytecode instruction that capture knows: how many values it takes from the stack, how many it puts.

One table, with a column of differences for each Python version. What an instruction *means* is in the
handlers (`machine.py`, `reads.py`, `calls.py`), which register themselves here by name. An instruction
that is not in the table ends the capture; a test compares the table with `dis.stack_effect`.
"""

from __future__ import annotations

import dis
import sys
import weakref
from collections.abc import Callable, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from .frame import Frame

VERSION = sys.version_info[:2]
SUPPORTED = ((3, 11), (3, 12), (3, 13))

Count = int | Callable[[int], int]  # of values; a function of the instruction's argument
Effect = tuple[Count, Count]  # values taken, values put


def n(arg: int) -> int:
    return arg


def flag(arg: int) -> int:
    """One value, and a second (NULL or `self`) where the lowest bit asks for it."""
    return 1 + (arg & 1)


EFFECTS: dict[str, Effect] = {
    # no values
    **dict.fromkeys(("NOP", "RESUME", "CACHE", "EXTENDED_ARG", "SETUP_ANNOTATIONS"), (0, 0)),
    **dict.fromkeys(("MAKE_CELL", "COPY_FREE_VARS", "SWAP"), (0, 0)),
    **dict.fromkeys(("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT"), (0, 0)),
    **dict.fromkeys(("DELETE_FAST", "DELETE_DEREF", "DELETE_GLOBAL", "DELETE_NAME"), (0, 0)),
    # one value comes or goes
    **dict.fromkeys(("LOAD_FAST", "LOAD_CONST", "LOAD_NAME", "LOAD_DEREF", "COPY", "PUSH_NULL"), (0, 1)),
    **dict.fromkeys(("LOAD_BUILD_CLASS", "LOAD_ASSERTION_ERROR", "IMPORT_FROM"), (0, 1)),
    **dict.fromkeys(("STORE_FAST", "STORE_DEREF", "STORE_GLOBAL", "STORE_NAME", "POP_TOP"), (1, 0)),
    "LOAD_GLOBAL": (0, flag),
    # attributes, items
    "LOAD_ATTR": (1, flag),
    "STORE_ATTR": (2, 0),
    "DELETE_ATTR": (1, 0),
    "BINARY_SUBSCR": (2, 1),
    "STORE_SUBSCR": (3, 0),
    "DELETE_SUBSCR": (2, 0),
    # operators
    **dict.fromkeys(("UNARY_NEGATIVE", "UNARY_INVERT", "UNARY_NOT"), (1, 1)),
    **dict.fromkeys(("BINARY_OP", "COMPARE_OP", "IS_OP", "CONTAINS_OP"), (2, 1)),
    # containers
    **dict.fromkeys(("BUILD_TUPLE", "BUILD_LIST", "BUILD_SET", "BUILD_STRING"), (n, 1)),
    "BUILD_MAP": (lambda arg: 2 * arg, 1),
    "BUILD_CONST_KEY_MAP": (lambda arg: arg + 1, 1),
    "BUILD_SLICE": (lambda arg: 3 if arg == 3 else 2, 1),
    **dict.fromkeys(("LIST_APPEND", "SET_ADD"), (1, 0)),  # the container stays, `arg` below
    **dict.fromkeys(("LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE", "DICT_MERGE"), (1, 0)),
    "MAP_ADD": (2, 0),
    "UNPACK_SEQUENCE": (1, n),
    "UNPACK_EX": (1, lambda arg: (arg & 0xFF) + 1 + (arg >> 8)),
    # loops, generators, functions
    "GET_ITER": (1, 1),
    "FOR_ITER": (1, 2),  # when there is a next item
    "GET_YIELD_FROM_ITER": (1, 1),
    "SEND": (2, 2),  # when the inner generator yields
    "YIELD_VALUE": (1, 1),
    "RETURN_VALUE": (1, 0),
    "RETURN_GENERATOR": (0, 0),  # before the first event of a frame: never seen
    "MAKE_FUNCTION": (lambda arg: 1 + (arg & 15).bit_count(), 1),
    "CALL": (lambda arg: arg + 2, 1),
    "CALL_FUNCTION_EX": (lambda arg: 3 + (arg & 1), 1),
    "BEFORE_WITH": (1, 2),
    **dict.fromkeys(("MATCH_SEQUENCE", "MATCH_MAPPING", "MATCH_KEYS", "GET_LEN"), (0, 1)),  # looks, leaves
    "MATCH_CLASS": (3, 1),
    "IMPORT_NAME": (2, 1),
    "RAISE_VARARGS": (n, 0),
}

POP_JUMPS = ("TRUE", "FALSE", "NONE", "NOT_NONE")
EFFECTS_BY_VERSION: dict[tuple[int, int], dict[str, Effect]] = {
    (3, 11): {
        "LOAD_ATTR": (1, 1),
        "LOAD_METHOD": (1, 2),
        **{f"POP_JUMP_{way}_IF_{test}": (1, 0) for way in ("FORWARD", "BACKWARD") for test in POP_JUMPS},
        **dict.fromkeys(("JUMP_IF_TRUE_OR_POP", "JUMP_IF_FALSE_OR_POP"), (1, 1)),  # when it jumps
        **dict.fromkeys(("PRECALL", "KW_NAMES"), (0, 0)),  # PRECALL: dis counts part of CALL here
        **dict.fromkeys(("LOAD_CLOSURE", "LOAD_CLASSDEREF"), (0, 1)),
        **dict.fromkeys(("LIST_TO_TUPLE", "UNARY_POSITIVE"), (1, 1)),
        "FORMAT_VALUE": (lambda arg: 2 if arg & 4 else 1, 1),
    },
    (3, 12): {
        **{f"POP_JUMP_IF_{test}": (1, 0) for test in POP_JUMPS},
        **dict.fromkeys(("LOAD_CLOSURE", "LOAD_FAST_AND_CLEAR", "LOAD_FAST_CHECK", "LOAD_LOCALS"), (0, 1)),
        **dict.fromkeys(("LOAD_FROM_DICT_OR_DEREF", "LOAD_FROM_DICT_OR_GLOBALS"), (1, 1)),
        "CALL_INTRINSIC_1": (1, 1),
        **dict.fromkeys(("KW_NAMES", "RETURN_CONST"), (0, 0)),
        "FORMAT_VALUE": (lambda arg: 2 if arg & 4 else 1, 1),
        "BINARY_SLICE": (3, 1),
        "STORE_SLICE": (4, 0),
        "LOAD_SUPER_ATTR": (3, flag),
        "END_SEND": (2, 1),
    },
    (3, 13): {
        **{f"POP_JUMP_IF_{test}": (1, 0) for test in POP_JUMPS},
        **dict.fromkeys(("LOAD_FAST_AND_CLEAR", "LOAD_FAST_CHECK", "LOAD_LOCALS"), (0, 1)),
        **dict.fromkeys(("LOAD_FROM_DICT_OR_DEREF", "LOAD_FROM_DICT_OR_GLOBALS"), (1, 1)),
        "CALL_INTRINSIC_1": (1, 1),
        **dict.fromkeys(("CONVERT_VALUE", "FORMAT_SIMPLE", "TO_BOOL", "MAKE_FUNCTION"), (1, 1)),
        "RETURN_CONST": (0, 0),
        "RETURN_GENERATOR": (0, 1),
        "FORMAT_WITH_SPEC": (2, 1),
        "SET_FUNCTION_ATTRIBUTE": (2, 1),
        "LOAD_FAST_LOAD_FAST": (0, 2),
        "STORE_FAST_LOAD_FAST": (1, 1),
        "STORE_FAST_STORE_FAST": (2, 0),
        "CALL_KW": (lambda arg: arg + 3, 1),
        "BINARY_SLICE": (3, 1),
        "STORE_SLICE": (4, 0),
        "LOAD_SUPER_ATTR": (3, flag),
        "END_SEND": (2, 1),
    },
}
EFFECTS.update(EFFECTS_BY_VERSION.get(VERSION, {}))

# Only run while an exception is on its way; `Frame.unwind` follows them without values.
UNWINDING = frozenset(
    {"PUSH_EXC_INFO", "CHECK_EXC_MATCH", "CHECK_EG_MATCH", "WITH_EXCEPT_START", "POP_EXCEPT", "RERAISE"}
    | {"PREP_RERAISE_STAR", "CLEANUP_THROW", "CALL_INTRINSIC_2"}
)
# Loops jump past these when they end, so they are never run.
SKIPPED = frozenset({"END_FOR"})
_ASYNC = "asynchronous code"
REFUSED: dict[str, str] = {
    **dict.fromkeys(("GET_AITER", "GET_ANEXT", "GET_AWAITABLE", "END_ASYNC_FOR"), _ASYNC),
    **dict.fromkeys(("ASYNC_GEN_WRAP", "BEFORE_ASYNC_WITH"), _ASYNC),
    **dict.fromkeys(("PRINT_EXPR", "IMPORT_STAR"), "code that only an interactive module can hold"),
    **dict.fromkeys(
        ("INTERPRETER_EXIT", "ENTER_EXECUTOR", "EXIT_INIT_CHECK", "RESERVED"), "an internal step"
    ),
}


class Instruction:
    """One decoded instruction: what it takes and puts, its handler, and where control may go next."""

    __slots__ = ("arg", "handler", "name", "next", "pops", "pushes", "symbol", "target", "value")

    def __init__(self, raw: dis.Instruction, following: int) -> None:
        self.name = raw.opname
        self.arg = raw.arg or 0
        self.value = raw.argval
        self.symbol = raw.argrepr
        self.next = following
        self.target = raw.argval if raw.opcode in dis.hasjrel or raw.opcode in dis.hasjabs else None
        self.handler = HANDLERS.get(raw.opname)
        pops, pushes = EFFECTS.get(raw.opname, (0, 0))
        self.pops = pops if isinstance(pops, int) else pops(self.arg)
        self.pushes = pushes if isinstance(pushes, int) else pushes(self.arg)


Handler = Callable[["Frame", Instruction, list[Any]], Sequence[Any]]
HANDLERS: dict[str, Handler] = {}
H = TypeVar("H", bound=Handler)


def handles(*names: str) -> Callable[[H], H]:
    """Register a handler: it is given the values taken and answers with the values put."""

    def register(handler: H) -> H:
        for name in names:
            HANDLERS[name] = handler
        return handler

    return register


# By identity: two codes that are equal have constants that are not the same objects.
_decoded: dict[int, tuple[weakref.ref[CodeType], dict[int, Instruction]]] = {}


def decode(code: CodeType) -> dict[int, Instruction]:
    """The instructions of a code object by the offset at which their event comes."""
    key = id(code)
    known = _decoded.get(key)
    if known is not None and known[0]() is code:
        return known[1]
    table, everything = _decode(code), _decoded

    def forget(_: object) -> None:
        everything.pop(key, None)  # not by its global name, which is gone first when the interpreter ends

    _decoded[key] = weakref.ref(code, forget), table
    return table


def _decode(code: CodeType) -> dict[int, Instruction]:
    table = {}
    start = None  # of the prefixes of the instruction, if it has any
    raws = list(dis.get_instructions(code))
    ends = [raw.offset for raw in raws[1:]] + [len(code.co_code)]
    for raw, end in zip(raws, ends, strict=True):
        if raw.opname == "EXTENDED_ARG":
            start = raw.offset if start is None else start
            if VERSION > (3, 11):
                table[raw.offset] = Instruction(raw, end)
            continue
        table[raw.offset] = instruction = Instruction(raw, end)
        if start is not None and VERSION == (3, 11):
            table[start] = instruction  # 3.11 has one event for both, at the first prefix
        start = None
    return table
