"""The recorder: runs a function once, watches it instruction by instruction, and keeps its guards.

Python's trace hook is set for the time of the run and put back after it, whatever happens. User code
(and the parts of Lampion that are written like it) is followed by a symbolic `Frame` for each running
frame; trusted code runs unwatched, but what it returns to user code is seen. The first thing that
cannot be guarded or replayed raises `CaptureError`, and from then on nothing is watched.
"""

from __future__ import annotations

import dis
import gc
import inspect
import sys
from collections.abc import Callable, Sequence
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, NoReturn

import numpy as np

from . import loads, matching, policy  # noqa: F401  # loads, matching: for the handlers they register
from .callees import Callees, method_owner
from .calls import Caller
from .frame import Call, Frame
from .guards import Guards, Note
from .opcodes import SUPPORTED, VERSION
from .policy import MISSING, Trust, python_method
from .reads import Reader
from .tables import Rules
from .values import Bound, Unseen, bind, is_known

_trusted_code: set[CodeType] = set()


def trusted(fn: FunctionType) -> FunctionType:
    """Mark a function of Lampion as part of the core: it runs unwatched, and answers for its own effects."""
    _trusted_code.add(fn.__code__)
    return fn


class CaptureError(BaseException):
    """A function cannot be captured. Not an `Exception`, lest an `except Exception` of the user's hide it.

    Attributes:
        reason: what was found.
        filename, lineno: the user's line.
        fix: what to do about it; may be empty.
        once: whether the next call may do without: what was to be made will be there.
    """

    def __init__(self, reason: str, filename: str, lineno: int, fix: str = "", once: bool = False) -> None:
        super().__init__(reason, filename, lineno, fix)
        self.once = once
        self.reason = reason
        self.filename = filename
        self.lineno = lineno
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.reason} ({self.filename}:{self.lineno})" + (f"; {self.fix}" if self.fix else "")


class Recorder:
    """Runs one function while guarding what it reads and refusing what it must not do.

    Args:
        is_own: tells Lampion's objects (Tensor, Module, ...): guarded by identity, not by contents.
        trusted: files and folders of the core, which run unwatched (see `policy.Trust`).
        roots: values that the caller guards itself, beside the arguments.
        on_own_read: called as (object, name) when an attribute of a core object is read.
        on_store: called as (table, key, value) when an item of a dict made outside is set: whether it may.
        on_derived: called with the result where a stand-in for a float was reckoned with: see scalars.py.
    """

    def __init__(
        self,
        is_own: Callable[[Any], bool] | None = None,
        trusted: Sequence[str] | None = None,
        roots: Sequence[Any] = (),
        on_own_read: Callable[[Any, str], object] | None = None,
        on_store: Callable[[Any, str, Any], bool] | None = None,
        on_derived: Callable[[Any], object] | None = None,
    ) -> None:
        self.is_own = is_own or policy.is_lampions
        self.trust = Trust(policy.default_trusted() if trusted is None else trusted)
        self.on_own_read = on_own_read
        self.on_store, self.on_derived = on_store, on_derived
        self.guards = Guards()
        self.error: CaptureError | None = None
        # Objects by identity, kept alive so that no identity is used twice.
        self.fresh: dict[int, Any] = {}  # made by this call
        self.roots: dict[int, Any] = {}  # containers of the arguments
        self.seen: dict[int, Any] = {}  # contents already guarded
        self.spaces: dict[int, tuple[Any, str]] = {}  # an instance's `__dict__`, and its class
        self.shadows: dict[int, tuple[Any, Any]] = {}  # an iterator, and one that walks beside it
        self.scalars: dict[int, Any] = {}  # stand-ins for floats: see scalars.py
        self.settling: dict[int, Any] = {}  # tables that fill up in the first calls
        self.stored: dict[tuple[int, str], Note] = {}  # entries of dicts from outside that were set
        self.generators: dict[int, list[Call]] = {}  # by the identity of their code; not all started yet
        self.frames: dict[FrameType, Frame] = {}
        self.brinks: dict[
            int, tuple[CodeType, dict[int, int]]
        ] = {}  # see cleanup.py; by identity of the code
        self.importing: FrameType | None = None  # the outermost frame of an import that is under way
        self._unwatched: dict[int, bool] = {}  # by the identity of the code
        self._codes: list[CodeType] = []  # those codes
        self._watcher = self._watch  # one bound method for all frames of the core
        self._failing: FrameType | None = None
        self._active = False
        self.callees = Callees(self.fresh)
        self.reader = Reader(self)
        self.caller = Caller(self)
        self.rules = Rules(self)
        for root in roots:
            self._add_root(root)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for state in (self.fresh, self.roots, self.seen, self.spaces, self.shadows, self.generators):
            state.clear()
        self.scalars.clear()
        self.frames.clear()

    # ---- the run ------------------------------------------------------------------------------------------

    def run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `fn(*args, **kwargs)` and record it. Raises CaptureError if it cannot be replayed."""
        here = sys._getframe()
        if VERSION not in SUPPORTED or sys.implementation.name != "cpython":
            self.abort(f"capture does not know Python {sys.version.split()[0]}", "", here)
        if self._active:
            self.abort("a capture is already running", "", here)
        start = _Start(self, here)
        for argument in (*args, *kwargs.values()):
            self._add_root(argument, start)
        self.caller.call(start, fn, list(args), kwargs)
        tracer, profiler, collecting = sys.gettrace(), sys.getprofile(), gc.isenabled()
        self._active = True
        gc.disable()  # a finalizer of somebody else's must not run in the middle
        here.f_trace_opcodes = True  # 3.12 asks for it before the hook is set
        try:
            sys.setprofile(None)  # beside a profiler, 3.12 and 3.13 lose events of the trace hook
            sys.settrace(self._enter)
            result = fn(*args, **kwargs)
        finally:
            sys.settrace(None)
            here.f_trace_opcodes = False
            self._active = False
            self._release(start)
            if collecting:
                gc.enable()
            sys.setprofile(profiler)
            sys.settrace(tracer)
        if self.error is not None:  # caught by a bare `except:` on its way
            raise self.error
        if (changed := self.guards.check()) is not None:
            self._changed_itself()
            self.abort(f"the function changes what it reads: {changed}", "", here)
        return result

    def _release(self, start: Frame) -> None:
        for frame in (*self.frames, start.frame):
            if frame.f_trace is not None and frame is not start.frame:
                frame.f_trace_opcodes = False
                frame.f_trace = None
        self.frames.clear()

    # ---- events -------------------------------------------------------------------------------------------

    @property
    def hook(self) -> Callable[..., Any]:
        """What is set as Python's trace hook, for those who switch it off for a while: see away.py."""
        return self._enter

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The global trace function: a frame starts, or a generator goes on."""
        if self.importing is not None:
            return None
        code = frame.f_code
        unwatched = self._unwatched.get(id(code))
        if unwatched is None:
            unwatched = self.is_untraced(code)
        if unwatched:
            if frame.f_back in self.frames:
                frame.f_trace_lines = False
                return self._watcher  # called by user code, which goes on with what it returns
            if code.co_filename.startswith("<frozen importlib"):
                return self._import(frame)
            return None
        if code.co_name == "<module>":
            return self._import(frame)
        known = self.frames.get(frame)
        if known is not None:
            return known.tracer
        back = frame.f_back
        parent = self.frames.get(back) if back is not None else None
        if parent is None and policy.is_plumbing(code.co_filename):
            return None  # called by the core, for its own ends; user code that it calls back is watched
        try:
            state = Frame(self, frame)
            self.frames[frame] = state
            frame.f_trace = state.tracer  # 3.13 looks at it when f_trace_opcodes is set
            frame.f_trace_lines = False
            frame.f_trace_opcodes = True
            self._start(state, parent)
        except BaseException as error:
            raise self.stop(error, frame) from error.__cause__
        return state.tracer

    def _start(self, state: Frame, parent: Frame | None) -> None:
        """Find the function that a new frame runs, and name the arguments that were placeholders."""
        code, call = state.code, parent.call if parent is not None else None
        if state.frame.f_lasti in state.brinks:
            state.step()  # says so
        if state.ins.name != "RESUME" or state.ins.arg & 3:
            self.abort("a generator that was started outside goes on", "", state.frame.f_back or state.frame)
        if call is None or call.code is not code:
            call = self._waiting(state, parent) if code.co_flags & inspect.CO_GENERATOR else None
        if code.co_flags & inspect.CO_VARKEYWORDS:
            names = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
            table = state.local(code.co_varnames[names])
            self.fresh[id(table)] = table
        if call is not None:
            state.fn, state.made = call.fn, call.made
            self._name_arguments(state, call)
        else:
            self._unannounced(state, parent)

    def _waiting(self, state: Frame, parent: Frame | None) -> Call | None:
        """The call that made the generator which starts to run."""
        waiting = self.generators.get(id(state.code))
        if waiting is None:
            back = state.frame.f_back
            by_c = parent is not None and method_owner(state) is not None  # C asked for its `__iter__`
            if not by_c:
                self.abort("a generator that was made outside runs", "", back or state.frame)
            return None
        if len(waiting) == 1:
            del self.generators[id(state.code)]
            return waiting[0]
        if all(call.fn is waiting[0].fn and call.made is waiting[0].made for call in waiting):
            call = Call(state.code, [], {})  # which of them it is does not matter, but for the arguments
            call.fn, call.made = waiting[0].fn, waiting[0].made
            waiting.pop()
            return call
        return None

    def _name_arguments(self, state: Frame, call: Call) -> None:
        code = state.code
        names = code.co_varnames
        for i, item in enumerate(call.args):
            if is_known(item):
                continue
            if i < code.co_argcount:
                obj = state.local(names[i])
            else:
                rest = state.local(names[code.co_argcount + code.co_kwonlyargcount])
                obj = rest[i - code.co_argcount]
            if obj is not MISSING and not bind(self, item, obj):
                state.lost()
        for name, item in call.kwargs.items():
            if not is_known(item):
                obj = state.local(name)
                if obj is not MISSING and not bind(self, item, obj):
                    state.lost()

    def _unannounced(self, state: Frame, parent: Frame | None) -> None:
        """A frame started by an operator, by C or by the core: guard what brought it here."""
        if (owner := method_owner(state)) is not None:
            cls, state.fn = owner
            self.reader.class_read(state, cls, state.code.co_name)
            self.reader.function(state, state.fn)
            return
        if parent is None:  # called by the core: it may be any of the functions that run this code
            for fn in self.callees.candidates(state):
                self.reader.function(state, fn)

    def _import(self, frame: FrameType) -> Any:
        """A module's code runs once in the life of a program: unwatched, with all that it calls."""
        self.importing = frame
        frame.f_trace_lines = False
        return self._imported

    def _imported(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "return":
            self.importing = None
        return self._imported

    def _watch(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The local trace function of core code that user code has called: only its end matters."""
        if event == "exception":
            self._failing = frame
        elif event == "return":
            code = frame.f_code
            operation = code.co_code[frame.f_lasti]
            if operation in _RETURNS:
                self.give(frame, arg, False)
            elif operation in _YIELDS and (arg is not None or self._failing is not frame):
                self.give(frame, arg, True)  # (None after an exception may be the generator's end)
            self._failing = None
        return self._watcher

    def give(self, frame: FrameType, value: Any, by_yield: bool) -> None:
        """A frame has returned or yielded a value to the one that called it."""
        parent = self.frames.get(frame.f_back) if frame.f_back is not None else None
        if parent is None:
            return
        code = frame.f_code
        parent.returns.append((code, value, by_yield))
        call = parent.call
        if call is not None and call.cls is not None and call.code is code:  # an `__init__`
            bind(self, call.args[0], frame.f_locals.get(code.co_varnames[0], MISSING))

    def passing(self, error: BaseException) -> None:
        """An exception is on its way through a watched frame."""
        if isinstance(error, CaptureError) and self.error is None:
            self.error = error

    def stop(self, error: BaseException, frame: FrameType) -> BaseException:
        """Watch nothing from here on; gives back the error to raise."""
        sys.settrace(None)
        if isinstance(error, Exception):  # a mistake of capture's own must not pass for the user's
            where, line = self._user_line(frame)
            cause = error
            error = CaptureError(f"capture failed: {type(cause).__name__}: {cause}", where, line)
            error.__cause__ = cause
        if isinstance(error, CaptureError) and self.error is None:
            self.error = error
        return error

    def abort(self, reason: str, fix: str, frame: FrameType, at: int | None = None) -> NoReturn:
        filename, line = self._user_line(frame)
        if filename != frame.f_code.co_filename:
            reason, fix = policy.in_words(frame) or (f"{reason}, in {frame.f_code.co_qualname}", fix)
            at = None
        raise CaptureError(reason, filename, line if at is None else at, fix)

    def note(self, m: Frame, what: str) -> Note:
        return Note(what, *self._user_line(m.frame))

    def _user_line(self, frame: FrameType) -> tuple[str, int]:
        """The innermost line that is the user's own; failing that, the innermost line."""
        walk: FrameType | None = frame
        while walk is not None:
            name = walk.f_code.co_filename
            if not (policy.is_library(name) or self.trust.file(name)):
                return name, walk.f_lineno
            walk = walk.f_back
        return frame.f_code.co_filename, frame.f_lineno

    # ---- what is known of objects -------------------------------------------------------------------------

    def is_untraced(self, code: CodeType) -> bool:
        known = self._unwatched.get(id(code))
        if known is None:
            self._codes.append(code)
            known = self._unwatched[id(code)] = (
                code in _trusted_code or self.trust.file(code.co_filename) or policy.is_transparent(code)
            )
        return known

    def is_core_type(self, cls: type) -> bool:
        return self.trust.derives(cls)

    def is_core(self, obj: Any) -> bool:
        """An object of the core: its attributes are the tracer's affair."""
        return self.trust.derives(type(obj))

    def own_read(self, obj: Any, name: str) -> None:
        if self.on_own_read is not None and self.is_own(obj):
            self.on_own_read(obj, name)

    def by_entry(self, table: dict[str, Any], what: str) -> None:
        """Guard of this dict only the entries that are read, not all of it."""
        if id(table) not in self.spaces:
            self.seen[id(table)] = table
            self.spaces[id(table)] = (table, what)

    def settles(self, m: Frame, table: Any) -> None:
        """An entry of a table that fills up in the first calls is about to be made: leave that to eager."""
        if id(table) in self.settling:
            try:
                self.abort("an optimizer makes its state", "", m.frame)
            except CaptureError as error:
                error.once = True
                raise

    def may_store(self, table: Any, key: Any, value: Any, note: Note) -> bool:
        """Whether an item of a dict made outside may be set: who allows it does so at later calls, too."""
        if self.on_store is None or not self.on_store(table, key, value):
            return False
        self.stored.setdefault((id(table), key), note)
        return True

    def _changed_itself(self) -> None:
        """Abort where the function has changed what it reads: a counter, for one."""
        for place, note in self.stored.items():
            guard = self.guards.looking_at(*place)
            if guard is not None and guard.changed() is not None:
                error = CaptureError(f"{note.what} is set, and read before", note[1], note[2], _COUNT)
                error.once = type(guard.get(guard.key, MISSING)) is bool  # a flag for the first call
                raise error

    def derived(self, result: Any) -> None:
        """The result of arithmetic with a stand-in is one, too."""
        self.scalars[id(result)] = result
        if self.on_derived is not None:
            self.on_derived(result)

    def is_accounted(self, obj: Any) -> bool:
        """Whether its contents need no guard, or have one."""
        key = id(obj)
        return key in self.seen or key in self.fresh or key in self.roots or self.is_own(obj)

    def _add_root(self, value: Any, start: Frame | None = None) -> None:
        """A tree of lists, tuples and dicts is guarded by the caller; another container by its contents."""
        kind = type(value)
        tree = kind in (list, tuple, dict) or (isinstance(value, tuple) and hasattr(value, "_fields"))
        if (tree or kind is np.ndarray) and id(value) not in self.roots:
            self.roots[id(value)] = value
            if tree:
                for item in value.values() if kind is dict else value:
                    self._add_root(item, start)
        elif isinstance(value, policy.CONTAINERS) and start is not None:
            self.reader.contents(start, value, self.note(start, f"an argument, a {kind.__name__},"))

    def shadow(self, item: Any) -> Any:
        """The iterator that walks beside this one, if there is one."""
        if type(item) is Unseen:
            return item.like if hasattr(type(item.like), "__next__") else None
        known = self.shadows.get(id(item))
        return None if known is None else known[1]

    def beside(self, item: Any) -> Any:
        """What to iterate over in place of the item; MISSING if nothing will do."""
        if (shadow := self.shadow(item)) is not None:
            return shadow
        if type(item) is Unseen:
            return item.like
        runs_code = python_method(type(item), "__iter__") is not None  # gives other items at each look
        return MISSING if runs_code or policy.is_iterator(type(item)) else item

    def forget(self, item: Any) -> None:
        """Somebody may take items from this iterator unwatched: nothing walks beside it any more."""
        if type(item) is Unseen:
            if hasattr(type(item.like), "__next__"):
                item.like = MISSING
        else:
            self.shadows.pop(id(item), None)

    def space_entry(self, m: Frame, space: dict[str, Any], key: str) -> Any:
        """A look-up in an instance's `__dict__`, or another dict whose entries are guarded one by one."""
        if (id(space), key) in self.stored:
            return space.get(key, MISSING)  # set by this call
        return self.reader.namespace(m, space, key, f"attribute `{key}` of {self.spaces[id(space)][1]}")

    def judge(self, m: Frame, item: Any, doing: str) -> None:
        """Whether an operation may look into this value: abort if it may hide state, or run out."""
        if type(item) is Bound:
            return
        if type(item) is Unseen:
            if item.kind is None and not item.fresh:
                m.abort(f"{doing} a value that capture cannot see", "give the value a name first")
            if item.kind is not None and not (item.fresh or policy.is_solid(item.kind)):
                m.abort(f"{doing} a {item.kind.__name__}, which may hide state")
            return
        if policy.is_data(item) or id(item) in self.fresh or isinstance(item, type) or self.is_own(item):
            return
        kind = type(item)
        if id(item) in self.spaces:
            self.seen.pop(id(item), None)
            note = self.note(m, f"the attributes of a {self.spaces.pop(id(item))[1]}")
            self.reader.contents(m, item, note)
        elif policy.is_iterator(kind) and python_method(kind, "__next__") is None:
            m.abort(f"{doing} an iterator that was made outside", "make it inside, or pass in its items")
        elif not (policy.is_solid(kind) or self.is_core_type(kind)):
            what = "NumPy array" if kind is np.ndarray else f"{kind.__name__}, which may hide state"
            m.abort(f"{doing} a {what}", "make it a Tensor first" if kind is np.ndarray else "")
        elif id(item) in self.roots and len(item) <= policy.MAX_ITEMS:
            for part in item.values() if isinstance(item, dict) else item:
                self.judge(m, part, doing)


_COUNT = "keep it in a Tensor, or outside of the compiled function"
_RETURNS = frozenset(dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap)
_YIELDS = frozenset(dis.opmap[name] for name in ("YIELD_VALUE", "RESUME"))  # 3.13 stands behind the yield


class _Start(Frame):
    """Stands for the frame of `run` itself, which announces the first call."""

    def __init__(self, rec: Recorder, frame: FrameType) -> None:
        super().__init__(rec, frame)
        rec.frames[frame] = self
