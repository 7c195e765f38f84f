"""What would run if a capture ended here: `finally` clauses, and `__exit__` methods.

When a capture is given up, the exception leaves through the program's own handlers, unwatched, and then
the function is called again without capture. A handler that acts on the outside would act twice. So code
that such a handler protects is not entered: the capture ends before it, while nothing has to be cleaned up.
"""

from __future__ import annotations

import dis
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from . import policy
from .opcodes import Instruction, decode
from .policy import MISSING

if TYPE_CHECKING:
    from .frame import Frame
    from .recorder import Recorder

_STORES = frozenset(
    {"STORE_ATTR", "STORE_SUBSCR", "STORE_SLICE", "STORE_GLOBAL", "DELETE_ATTR", "DELETE_SUBSCR"}
    | {"DELETE_GLOBAL", "BEFORE_WITH", "IMPORT_NAME", "FOR_ITER", "SEND"}
)
_CALLS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX"})
_ENDS = frozenset({"RERAISE", "RAISE_VARARGS", "RETURN_VALUE", "RETURN_CONST"})


def brinks(rec: Recorder, m: Frame) -> dict[int, int]:
    """Where control is about to enter what must not be entered: the offset, and the line of its start."""
    code, table = m.code, decode(m.code)
    if policy.is_lampions_file(code.co_filename) or policy.is_context_library(code.co_filename):
        return {}  # they clean up what is their own
    entries = getattr(dis.Bytecode(code), "exception_entries", ())
    entries = [entry for entry in entries if not _is_plumbing(table[entry.target])]
    regions = [(entry.start, entry.end) for entry in entries if _acts(rec, m, table[entry.target])]
    if not regions:
        return {}
    inside = {offset for offset in table if any(start <= offset < end for start, end in regions)}
    covered = {offset for offset in table if any(entry.start <= offset < entry.end for entry in entries)}
    gates = _leading_to(table, inside)
    # The instruction of the `try` itself does nothing, and is the one that no handler covers: an exception
    # there would skip the clean-up of an outer `with`. Then the one before it has to do.
    for nop in [offset for offset in gates if table[offset].name == "NOP" and offset not in covered]:
        before = _leading_to(table, {nop})
        if any(offset in covered for offset in before):
            before = dict.fromkeys(before, gates.pop(nop))
            gates.update((offset, start) for offset, start in before.items() if offset not in inside)
    lines = sorted((start, line) for start, _, line in code.co_lines() if line is not None)
    return {gate: [line for start, line in lines if start <= entered][-1] for gate, entered in gates.items()}


def _leading_to(table: dict[int, Instruction], inside: set[int]) -> dict[int, int]:
    """The instructions outside of a region that lead into it, and to where."""
    found = {}
    for offset, ins in table.items():
        for to in _successors(ins):
            if to in inside and offset not in inside:
                found[offset] = to
    return found


def _is_plumbing(handler: Instruction) -> bool:
    # A StopIteration in a generator becomes a RuntimeError; `yield from` passes an exception on.
    return handler.name in ("CALL_INTRINSIC_1", "CLEANUP_THROW")


def exit_acts(rec: Recorder, leave: FunctionType, fresh: bool) -> bool:
    """Whether an `__exit__` method may do more than change its own, new object."""
    code = leave.__code__
    if (
        rec.is_untraced(code)
        or policy.is_context_library(code.co_filename)
        or policy.is_lampions_file(code.co_filename)
    ):
        return False
    own = code.co_varnames[0] if fresh and code.co_argcount else None
    return _walk(rec, leave.__globals__, code, next(iter(decode(code).values())), own)


def _acts(rec: Recorder, m: Frame, handler: Instruction) -> bool:
    return _walk(rec, m.frame.f_globals, m.code, handler, None)


def _walk(rec: Recorder, names: dict[str, Any], code: CodeType, first: Instruction, own: str | None) -> bool:
    """Follow all paths that a CaptureError may take from an instruction: does one of them act?"""
    table = decode(code)
    todo, seen = [first], {id(first)}
    while todo:
        ins: Instruction | None = todo.pop()
        recent: list[Any] = []  # what a straight line of loads has put on the stack, as far as it is known
        previous: Instruction | None = None
        while ins is not None:
            name = ins.name
            following = table.get(ins.next)
            if name == "WITH_EXCEPT_START":
                break  # judged when the `with` statement was entered
            if name in _STORES and not (name == "STORE_ATTR" and own is not None and _loads(previous, own)):
                return True
            if name == "STORE_DEREF" and ins.value in code.co_freevars:
                return True
            if name == "BINARY_OP" and ins.symbol.endswith("="):
                return True
            if name in _CALLS and not _harmless(rec, recent):
                return True
            if name == "CHECK_EXC_MATCH" and following is not None and not _may_match(recent):
                # The clause is for other exceptions: go on where the test that follows jumps to.
                following = None if following.target is None else table.get(following.target)
            elif ins.target is not None and (other := table.get(ins.target)) and id(other) not in seen:
                seen.add(id(other))
                todo.append(other)
            _track(recent, ins, names)
            if name in _ENDS or (name.startswith("JUMP") and "OR_POP" not in name):
                break
            previous, ins = ins, following
            if ins is not None and id(ins) in seen:
                break
            if ins is not None:
                seen.add(id(ins))
    return False


def _successors(ins: Instruction) -> list[int]:
    jumps = [] if ins.target is None else [ins.target]
    unconditional = ins.name in _ENDS or (ins.name.startswith("JUMP") and "OR_POP" not in ins.name)
    return jumps if unconditional else [ins.next, *jumps]


def _loads(ins: Instruction | None, name: str) -> bool:
    return ins is not None and ins.name.startswith("LOAD_FAST") and ins.value == name


def _track(recent: list[Any], ins: Instruction, names: dict[str, Any]) -> None:
    """Names of modules, and their attributes, are worked out; anything else is not known."""
    if ins.name in ("LOAD_GLOBAL", "LOAD_NAME"):
        builtin = vars(__builtins__) if isinstance(__builtins__, ModuleType) else __builtins__
        recent.append(names.get(ins.value, builtin.get(ins.value, MISSING)))
    elif ins.name in ("LOAD_ATTR", "LOAD_METHOD") and recent and isinstance(recent[-1], ModuleType):
        recent.append(vars(recent.pop()).get(ins.value, MISSING))
    elif ins.name == "BUILD_TUPLE":
        recent[len(recent) - ins.arg :] = [tuple(recent[len(recent) - ins.arg :])]
    elif ins.name in ("LOAD_ATTR", "LOAD_METHOD"):
        recent.append(MISSING)
    elif ins.name == "POP_TOP" or ins.name.startswith("STORE"):
        recent.clear()


def _harmless(rec: Recorder, recent: list[Any]) -> bool:
    """Whether the function that a straight line of loads begins with belongs to the core."""
    fn = recent[0] if recent else MISSING
    return (isinstance(fn, FunctionType) and rec.is_untraced(fn.__code__)) or (
        isinstance(fn, type) and rec.is_core_type(fn)
    )


def _may_match(recent: list[Any]) -> bool:
    kinds = recent[-1] if recent else MISSING
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    return not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds)
