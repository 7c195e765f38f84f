"""Guards: what a captured function read from the outside, to be looked at again before each later call.

Each kind of look-up is a class, which says one thing twice, side by side: `test` as a piece of Python that
is true as long as the look-up gives the same (`callpath.py` strings these together into one straight-line
function for each plan), and `changed` as a sentence for the log when it does not. An identity test settles
nearly every guard; only when it fails are two values compared by type and value. Guards keep the containers
that they look into alive, so an identity can not be reused by another object.
"""

from __future__ import annotations

import keyword
from collections.abc import Callable, Collection, Iterable
from operator import is_
from types import CellType, FunctionType, MappingProxyType, MethodType
from typing import Any, NamedTuple

import numpy as np

from . import policy
from .policy import MISSING, same, say


class Note(NamedTuple):
    """What a guard is about, and the line that read it: only looked at when the guard fails."""

    what: str
    filename: str
    lineno: int

    def changed(self, old: Any, new: Any) -> str:
        before, after = say(old), say(new)
        how = "was replaced" if before == after else f"changed from {before} to {after}"
        return f"{self.what} {how} ({self.filename}:{self.lineno})"


class Names:
    """The objects that generated code speaks of, and the names by which it does.

    Attributes:
        space: the code's global variables.
    """

    def __init__(self, **space: Any) -> None:
        self.space: dict[str, Any] = {"same": same, "MISSING": MISSING, "is_": is_, **space}
        self._names: dict[int, str] = {}
        self._tests: set[str] = set()
        self._namespaces: dict[int, str] = {}  # by id of the class: `vars` makes another object each time

    def __call__(self, thing: Any, hint: str = "value") -> str:
        """The name of an object."""
        if thing is None or thing is True or thing is False:
            return repr(thing)
        name = self._names.get(id(thing))
        if name is None:
            name = self._names[id(thing)] = f"{hint}{len(self._names)}"
            self.space[name] = thing  # which keeps it alive, so that no other gets its id
        return name

    def once(self, test: str) -> list[str]:
        """The test, unless this was asked before."""
        new = test not in self._tests
        self._tests.add(test)
        return [test] if new else []

    def namespace(self, cls: type) -> str:
        """The name of a class's namespace."""
        if id(cls) not in self._namespaces:
            self._namespaces[id(cls)] = self(vars(cls), "space")
        return self._namespaces[id(cls)]

    def same(self, expression: str, want: Any) -> str:
        """A test: the expression gives this object, or plain data of the same type and value (`same`)."""
        name = self(want)
        test = f"{expression} is {name}"
        return f"({test} or same({expression}, {name}))" if isinstance(want, _BY_VALUE) else test

    def items(self, expression: str, values: Collection[Any], *, count: bool = True) -> list[str]:
        """Tests: a sequence holds these very objects, in this order."""
        tests = [f"len({expression}) == {len(values)}"] if count else []
        if len(values) > _FEW:
            return [*tests, f"all(map(is_, {expression}, {self(tuple(values))}))"]
        return [*tests, *(f"{expression}[{i}] is {self(value)}" for i, value in enumerate(values))]


_FEW = 12  # items of a sequence that are compared one by one
#: Where an object that is not the same may be as good as the same; see `policy.same`.
_BY_VALUE = (
    int, float, complex, str, bytes, tuple, frozenset, slice, range, MethodType, np.generic, np.dtype,
)  # fmt: skip
_SMALL = 16  # entries of a dict
_DICTS = (dict, MappingProxyType)


class Guard:
    """One look-up. See the classes below."""

    __slots__ = ("note",)
    note: Note

    def test(self, names: Names) -> str:
        """A Python expression that is true while the guard holds; false, or an error of `GONE`, if not."""
        raise NotImplementedError  # abstract

    def changed(self) -> str | None:
        """What is different now, as a sentence; None if nothing is."""
        raise NotImplementedError  # abstract

    def reached(self) -> Any:
        """The objects through which the function may have got hold of more."""
        return ()


#: What a test raises where something is no longer there: a slot or cell emptied, a dict resized.
GONE = (AttributeError, KeyError, ValueError, RuntimeError)


class Entry(Guard):
    """A look-up in a namespace: `get(key, MISSING)` gave `want` (MISSING: it was absent)."""

    __slots__ = ("get", "key", "want")

    def __init__(self, get: Callable[..., Any], key: Any, want: Any, note: Note) -> None:
        self.get, self.key, self.want, self.note = get, key, want, note

    def test(self, names: Names) -> str:
        space = getattr(self.get, "__self__", None)
        if type(space) not in _DICTS or type(self.key) is not str:
            return names.same(f"{names(self.get, 'get')}({names(self.key)}, MISSING)", self.want)
        if self.want is MISSING:
            return f"{self.key!r} not in {names(space, 'space')}"
        return names.same(f"{names(space, 'space')}[{self.key!r}]", self.want)

    def changed(self) -> str | None:
        now = self.get(self.key, MISSING)
        return None if same(now, self.want) else self.note.changed(self.want, now)

    def reached(self) -> Any:
        return (self.want,)


class Attribute(Guard):
    """A look-up through a class and its bases: `getattr(cls, name)`."""

    __slots__ = ("cls", "name", "want")

    def __init__(self, cls: Any, name: str, want: Any, note: Note) -> None:
        self.cls, self.name, self.want, self.note = cls, name, want, note

    def test(self, names: Names) -> str:
        cls = names(self.cls, "cls")
        if self.want is MISSING and type(self.cls) is type:  # three times as fast as `getattr`
            spaces = [names.namespace(base) for base in self.cls.__mro__ if base.__flags__ & policy.HEAP_TYPE]
            bases = names.once(f"{cls}.__mro__ is {names(self.cls.__mro__, 'mro')}")
            return " and ".join(bases + [f"{self.name!r} not in {space}" for space in spaces]) or "True"
        if self.want is MISSING or not self.name.isidentifier() or keyword.iskeyword(self.name):
            return names.same(f"getattr({cls}, {self.name!r}, MISSING)", self.want)
        return names.same(f"{cls}.{self.name}", self.want)

    def changed(self) -> str | None:
        now = getattr(self.cls, self.name, MISSING)
        return None if same(now, self.want) else self.note.changed(self.want, now)

    def reached(self) -> Any:
        return (self.want,)


class Class(Guard):
    """That an object still has the class and the namespace that its attributes were read from."""

    __slots__ = ("kind", "obj", "space")

    def __init__(self, obj: Any, space: dict[str, Any] | None, note: Note) -> None:
        self.obj, self.kind, self.space, self.note = obj, type(obj), space, note

    def test(self, names: Names) -> str:
        obj = names(self.obj, "obj")
        test = f"type({obj}) is {names(self.kind, 'cls')}"
        return test if self.space is None else f"{test} and {obj}.__dict__ is {names(self.space, 'space')}"

    def changed(self) -> str | None:
        kind = type(self.obj)
        if kind is self.kind and (self.space is None or self.obj.__dict__ is self.space):
            return None
        return self.note.changed(self.kind, kind)

    def reached(self) -> Any:
        return (self.obj,)


class Function(Guard):
    """What a call to a function means, beside its identity: code and defaults."""

    __slots__ = ("code", "defaults", "fn", "kwdefaults")

    def __init__(self, fn: FunctionType, note: Note) -> None:
        self.fn, self.note = fn, note
        self.code, self.defaults, self.kwdefaults = fn.__code__, fn.__defaults__, fn.__kwdefaults__

    def test(self, names: Names) -> str:
        fn = names(self.fn, "fn")
        parts = {"code": self.code, "defaults": self.defaults, "kwdefaults": self.kwdefaults}
        return " and ".join(f"{fn}.__{part}__ is {names(value)}" for part, value in parts.items())

    def changed(self) -> str | None:
        fn = self.fn
        if fn.__kwdefaults__ is not self.kwdefaults:
            return self.note.changed(self.kwdefaults, fn.__kwdefaults__)
        if fn.__code__ is not self.code or fn.__defaults__ is not self.defaults:
            return self.note.changed(self.defaults, fn.__defaults__)
        return None

    def reached(self) -> Any:
        return (self.defaults, self.kwdefaults)


class Cell(Guard):
    """The contents of a closure variable."""

    __slots__ = ("cell", "want")

    def __init__(self, cell: CellType, want: Any, note: Note) -> None:
        self.cell, self.want, self.note = cell, want, note

    def test(self, names: Names) -> str:
        return names.same(f"{names(self.cell, 'cell')}.cell_contents", self.want)

    def changed(self) -> str | None:
        now = self.cell.cell_contents
        return None if same(now, self.want) else self.note.changed(self.want, now)

    def reached(self) -> Any:
        return (self.want,)


class Items(Guard):
    """The items of a list, set or deque."""

    __slots__ = ("items", "values")

    def __init__(self, items: Collection[Any], note: Note) -> None:
        self.items, self.values, self.note = items, tuple(items), note

    def test(self, names: Names) -> str:
        items = names(self.items, "items")
        if type(self.items) is list:
            test = " and ".join(names.items(items, self.values))
        else:
            test = f"len({items}) == {len(self.values)} and all(map(is_, {items}, {names(self.values)}))"
        return f"({test} or {names(self.changed, 'changed')}() is None)"  # equal ones may have come

    def changed(self) -> str | None:
        return _inside(self.note, _difference(self.items, self.values, range(len(self.values))))

    def reached(self) -> Any:
        return (self.items,)


class Keys(Guard):
    """The keys of a small dict, in order; there are guards for its values."""

    __slots__ = ("keys", "table")

    def __init__(self, table: dict[str, Any], note: Note) -> None:
        self.table, self.keys, self.note = table, list(table), note

    def test(self, names: Names) -> str:
        return f"[*{names(self.table, 'table')}] == {names(self.keys)}"

    def changed(self) -> str | None:
        return _inside(self.note, _difference(self.table, tuple(self.keys), self.keys, "keys"))


class Table(Guard):
    """The keys and values of any other dict."""

    __slots__ = ("keys", "table", "values")

    def __init__(self, table: dict[Any, Any], note: Note) -> None:
        self.table, self.keys, self.values, self.note = table, tuple(table), tuple(table.values()), note

    def test(self, names: Names) -> str:
        table = names(self.table, "table")
        test = (
            f"len({table}) == {len(self.keys)} and all(map(is_, {table}, {names(self.keys)}))"
            f" and all(map(is_, {table}.values(), {names(self.values)}))"
        )
        return f"({test} or {names(self.changed, 'changed')}() is None)"  # equal ones may have come

    def changed(self) -> str | None:
        change = _difference(self.table, self.keys, self.keys, "keys")
        return _inside(self.note, change or _difference(self.table.values(), self.values, self.keys))

    def reached(self) -> Any:
        return (self.table,)


class Guards:
    """The reads of one capture, in the order in which they were made.

    The methods named after the kinds record a read; each returns whether it is a new one.
    """

    def __init__(self) -> None:
        self.rows: list[Guard] = []
        self._known: set[tuple[Any, ...]] = set()

    def __len__(self) -> int:
        return len(self.rows)

    def entry(self, get: Callable[..., Any], owner: Any, key: Any, want: Any, note: Note) -> bool:
        """A look-up in the namespace of `owner`."""
        name = key if type(key) is str else id(key)
        return self._add(("entry", id(owner), name), Entry, get, key, want, note)

    def type(self, cls: Any, name: str, want: Any, note: Note) -> bool:
        """A look-up through a class and its bases."""
        return self._add(("type", id(cls), name), Attribute, cls, name, want, note)

    def object(self, obj: Any, space: dict[str, Any] | None, note: Note) -> bool:
        """That an object keeps its class."""
        return self._add(("object", id(obj)), Class, obj, space, note)

    def function(self, fn: FunctionType, note: Note) -> bool:
        """What a call to the function means."""
        return self._add(("function", id(fn)), Function, fn, note)

    def cell(self, cell: CellType, want: Any, note: Note) -> bool:
        """The contents of a closure variable."""
        return self._add(("cell", id(cell)), Cell, cell, want, note)

    def sequence(self, items: Collection[Any], note: Note) -> bool:
        """The items of a list, set or deque."""
        return self._add(("contents", id(items)), Items, items, note)

    def dict(self, items: dict[Any, Any], note: Note) -> bool:
        """The keys and values of a dict."""
        named = type(items).get is dict.get and all(type(key) is str for key in items)
        if not named or len(items) > _SMALL:
            return self._add(("contents", id(items)), Table, items, note)
        for key, value in items.items():  # half the price of a look at all the values
            self.entry(items.get, items, key, value, note._replace(what=f"{note.what}[{key!r}]"))
        return self._add(("contents", id(items)), Keys, items, note)

    def _add(self, key: tuple[Any, ...], kind: Callable[..., Guard], *what: Any) -> bool:
        if key in self._known:
            return False
        self._known.add(key)
        self.rows.append(kind(*what))
        return True

    def check(self) -> str | None:
        """None when every read would give the same again; else what changed, in a sentence."""
        try:
            for row in self.rows:
                if (change := row.changed()) is not None:
                    return change
        except GONE as gone:
            return f"something that was read is no longer there: {gone}"
        return None

    def looks_into(self, tables: Collection[int], but: Collection[str] = ()) -> Note | None:
        """What was found in one of these dicts (known by their ids), but for these keys, if anything."""
        for row in self.rows:
            if isinstance(row, Entry):
                there = row.want is not MISSING and row.key not in but
                if there and id(getattr(row.get, "__self__", None)) in tables:
                    return row.note
            elif isinstance(row, Keys | Table) and id(row.table) in tables:
                return row.note
        return None

    def looking_at(self, table: int, key: str) -> Entry | None:
        """The guard of this entry of a dict, which is known by its id."""
        for row in self.rows:
            if isinstance(row, Entry) and row.key == key and id(getattr(row.get, "__self__", None)) == table:
                return row
        return None

    def explain(self) -> list[str]:
        """One line a guard, in the order in which they were read."""
        return [f"{row.note.what} ({row.note.filename}:{row.note.lineno})" for row in self.rows]


def _inside(note: Note, change: tuple[str, Any, Any] | None) -> str | None:
    if change is None:
        return None
    where, old, new = change
    return note._replace(what=note.what + where).changed(old, new)


def _difference(
    now: Collection[Any], then: tuple[Any, ...], names: Iterable[Any], part: str = ""
) -> tuple[str, Any, Any] | None:
    """The first element that is not the same, as (where, old, new); None where equal ones have come."""
    for name, a, b in zip(names, now, then, strict=False):
        if not same(a, b):
            return f" ({part})" if part else f"[{name!r}]", b, a
    if len(now) != len(then):
        return " (length)", len(then), len(now)
    return None
