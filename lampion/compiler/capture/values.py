"""What stands on the symbolic stack: the very objects, or a placeholder for one that cannot be seen.

An object made by an instruction (a new list, a function, the result of a C call) is on the real stack,
where Python does not let us look. It comes into sight a little later: when it is stored in a variable,
passed to a Python function or returned from one. Until then an `Unseen` holds its place and says what is
known of it.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Sequence
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from .policy import MISSING, VIEWS, is_plain, same

if TYPE_CHECKING:
    from .recorder import Recorder

NULL: Final = type("Null", (), {"__repr__": lambda self: "NULL", "__slots__": ()})()
FRESH: Final = type("Fresh", (), {"__repr__": lambda self: "a cell of this call", "__slots__": ()})()


class Made:
    """A function that was made during the trace: its code, and its cells (FRESH, or one from outside)."""

    __slots__ = ("closure", "code")

    def __init__(self, code: CodeType, closure: Sequence[Any] = ()) -> None:
        self.code = code
        self.closure = tuple(closure)


class Unseen:
    """The place of a value that is not visible yet.

    Attributes:
        kind: its type, where that is certain.
        fresh: whether it was made by this call, so that nobody else can know it.
        like: a stand-in with equal contents (for an iterator: one that gives the same items).
        made: what a function, or the generator that it returned, was made from.
        obj: the object itself, once it has been seen.
    """

    __slots__ = ("fresh", "kind", "like", "made", "obj")

    def __init__(
        self, kind: type | None = None, *, fresh: bool = False, like: Any = MISSING, made: Any = None
    ) -> None:
        self.kind = kind
        self.fresh = fresh
        self.like = like
        self.made = made
        self.obj: Any = MISSING

    def __repr__(self) -> str:
        return f"<unseen {self.kind.__name__ if self.kind else '?'}{' fresh' if self.fresh else ''}>"


class Bound:
    """A method of an object that cannot be seen yet."""

    __slots__ = ("function", "owner")

    def __init__(self, function: Any, owner: Unseen) -> None:
        self.function = function
        self.owner = owner


def seen(item: Any) -> Any:
    """The object, where it has come into sight since."""
    return item.obj if type(item) is Unseen and item.obj is not MISSING else item


def is_known(item: Any) -> bool:
    return type(item) is not Unseen and type(item) is not Bound and item is not NULL


def stand_in(item: Any) -> Any:
    """Something to compute with in the value's place; MISSING if some part of it cannot be seen."""
    item = seen(item)
    if type(item) is Unseen:
        item = item.like
        kind = type(item)
        if kind in (list, tuple):
            parts = [stand_in(part) for part in item]
            return MISSING if any(part is MISSING for part in parts) else kind(parts)
        if kind is dict:
            table = {key: stand_in(value) for key, value in item.items()}
            return MISSING if any(value is MISSING for value in table.values()) else table
    return MISSING if type(item) is Bound else item


def wrap(value: Any) -> Any:
    """A result that was worked out beside the program: what is immutable can stand for the real one."""
    if type(value) in (list, dict, set) or hasattr(type(value), "__next__"):
        return Unseen(type(value), fresh=True, like=value)
    return value


# Objects that Python makes anew at each look: equal ones are as good as identical.
_REMADE = (
    types.BuiltinFunctionType, types.MethodWrapperType, types.MethodType, types.GenericAlias, types.UnionType,
    super, *VIEWS, types.MappingProxyType, CellType,
    functools.partial,
)  # fmt: skip


def matches(item: Any, obj: Any) -> bool:
    """Whether the object that came into sight is the one that the symbolic stack held."""
    if item is obj or same(item, obj):
        return True
    if type(item) is tuple and type(obj) is tuple:
        return len(item) == len(obj) and all(map(matches, item, obj))
    if type(item) is Unseen:
        return item.kind is None or item.kind is type(obj)
    if type(item) is Bound:
        return True
    return type(item) is type(obj) and (isinstance(item, _REMADE) or (is_plain(item) and item == obj))


def bind(rec: Recorder, item: Any, obj: Any) -> bool:
    """An object comes into sight: say so to its placeholder, and to those inside it.

    Returns False if it is not what the placeholder promised: the symbolic stack has lost its way.
    """
    if type(item) is Unseen and item.obj is not MISSING:
        item = item.obj
    if type(item) is not Unseen:
        return matches(item, obj)
    if not matches(item, obj):
        return False
    item.obj = obj
    if item.fresh:
        rec.fresh[id(obj)] = obj
        if isinstance(item.made, Made) and type(obj) is FunctionType:
            for name, cell in zip(item.made.closure, obj.__closure__ or (), strict=False):
                if name is FRESH:
                    rec.fresh[id(cell)] = cell
    like = item.like
    if like is MISSING:
        return True
    if type(like) in (list, tuple) and len(like) == len(obj):
        return all(bind(rec, part, real) for part, real in zip(like, obj, strict=True))
    if type(like) is dict and len(like) == len(obj):
        return all(bind(rec, part, real) for part, real in zip(like.values(), obj.values(), strict=True))
    if hasattr(type(like), "__next__"):
        rec.shadows[id(obj)] = (obj, like)
    return type(like) not in (list, tuple, dict)
