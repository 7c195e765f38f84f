"""The symbolic double of a running frame of user code.

An event comes before its instruction runs. The double first finishes what the last instruction left open
(its result may have come into sight), then plays the new instruction on a stack of its own. What each
instruction does is in the handlers; here is what they share.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any

from . import scalars
from .cleanup import brinks
from .opcodes import REFUSED, Instruction, decode
from .policy import MISSING, may_catch
from .values import FRESH, NULL, Made, Unseen, bind, seen

if TYPE_CHECKING:
    from .recorder import Recorder

_ENDS = ("FOR_ITER", "SEND", "END_SEND", "END_FOR")  # where a StopIteration is no more than the end of a loop


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
        self.keywords: tuple[str, ...] = ()
        self.result: Any = NULL  # what is being returned or yielded
        self.fn: FunctionType | None = None
        self.made: Made | None = None
        self.unwinding = ""  # the last instruction seen while an exception is on its way
        self.tracer = self.trace  # one bound method for the life of the frame
        known = rec.brinks.get(id(self.code))
        if known is None:
            known = rec.brinks[id(self.code)] = self.code, brinks(rec, self)
        self.brinks = known[1]

    # ---- events -------------------------------------------------------------------------------------

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The local trace function of the frame."""
        try:
            if event == "opcode":
                self.step()
            elif event == "exception":
                self.raised(arg)
            elif event == "return":
                return self.leave(arg)
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
        self.call = None
        ins = self.ins = self.table[offset]
        if offset in self.brinks:
            self.rec.abort(
                "the clean-up of a try statement may act outside Lampion",
                "keep the try statement outside of the compiled function",
                self.frame,
                self.brinks[offset],
            )
        handler = ins.handler
        if handler is None:
            if ins.name != "EXTENDED_ARG":
                what = REFUSED.get(ins.name, f"the instruction {ins.name}")
                self.abort(f"{what} cannot be followed")
            return
        stack, pops = self.stack, ins.pops
        taken: list[Any] = []
        if pops:
            if len(stack) < pops:
                self.lost()
            taken = [seen(item) for item in stack[-pops:]]
            del stack[-pops:]
        derives = bool(self.rec.scalars) and scalars.used(self, ins, taken)
        put = handler(self, ins, taken)
        if derives:
            scalars.derive(self)
        if len(put) != ins.pushes:
            self.lost()
        stack.extend(put)

    def raised(self, arg: Any) -> None:
        """An exception has come up in this frame, or passes through it."""
        kind, value, _ = arg
        if kind is StopIteration and self.ins.name in _ENDS and not self.unwinding:
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
        if caught and not may_catch(self.code):
            self.abort("an exception is caught", "let it propagate, or keep the try statement outside")
        if ins.name == "EXTENDED_ARG":
            return
        self.ins = ins
        testing = last == "CHECK_EXC_MATCH" and ins.name.startswith("POP_JUMP")
        self.unwinding = "MATCH" if testing else ins.name

    def leave(self, value: Any) -> Any:
        """The frame returns or yields; or an exception leaves it."""
        if not self.unwinding:
            for finish in self.after:
                finish(-1)
            self.after = []
            if not bind(self.rec, self.result, value):
                self.lost()
            by_yield = self.ins.name == "YIELD_VALUE"
            self.rec.give(self.frame, value, by_yield)
            if by_yield:
                return self.tracer
        del self.rec.frames[self.frame]
        self.close()
        return None

    def close(self) -> None:
        """The frame is done: let go of what it held, without waiting for the collector."""
        self.frame.f_trace = None
        self.stack, self.after, self.returns, self.result = [], [], [], NULL
        self.call = self.fn = self.made = None
        del self.tracer

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

    def expect(self, *who: CodeType) -> Unseen:
        """The value that one of these callees is about to return."""
        item = Unseen()

        def finish(offset: int) -> None:
            item.obj = self.given(who)

        self.after.append(finish)
        return item

    def given(self, codes: Collection[CodeType]) -> Any:
        """What the last of these callees returned; MISSING if none of them ran."""
        for code, value, _ in reversed(self.returns):
            if value is not NotImplemented and any(code is one for one in codes):
                return value
        return MISSING

    def is_fresh(self, item: Any) -> bool:
        """Whether it was made by this call, so that changing it cannot be noticed from outside."""
        return item.fresh if type(item) is Unseen else id(item) in self.rec.fresh

    def cells(self, name: str) -> list[Any]:
        """The cells from outside that a free variable may be; none where this call has made it."""
        if self.made is None:
            return self.rec.callees.cells(self, name)
        cell = self.made.closure[self.code.co_freevars.index(name)]
        return [] if cell is FRESH else [cell]
