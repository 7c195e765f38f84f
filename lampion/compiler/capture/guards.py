"""Guards: what a captured function read from the outside, as flat lists of things to look at again.

Each list holds one kind of look-up, as tuples, and `check` walks them in plain loops. An identity test
settles nearly every row; only when it fails are two values compared by type and value. Rows keep the
containers that they look into alive, so an identity can not be reused by another object.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from operator import is_
from types import CellType, CodeType, FunctionType
from typing import Any, NamedTuple

from .policy import MISSING, same, say


class Note(NamedTuple):
    """What a row is about, and the line that read it: only looked at when the guard fails."""

    what: str
    filename: str
    lineno: int

    def changed(self, old: Any, new: Any) -> str:
        before, after = say(old), say(new)
        how = "was replaced" if before == after else f"changed from {before} to {after}"
        return f"{self.what} {how} ({self.filename}:{self.lineno})"


_SMALL = 16  # entries of a dict


class Guards:
    """The reads of one capture. `check()` says whether they would all give the same again."""

    def __init__(self) -> None:
        self.entries: list[tuple[Callable[..., Any], Any, Any]] = []  # get(key, MISSING) is want
        self.types: list[tuple[Any, str, Any]] = []  # getattr(cls, name, MISSING) is want
        self.objects: list[tuple[Any, type, dict[str, Any] | None]] = []  # same class, same __dict__
        self.functions: list[tuple[FunctionType, CodeType, Any, Any]] = []  # code, defaults, kwdefaults
        self.cells: list[tuple[CellType, Any]] = []
        self.sequences: list[tuple[Collection[Any], tuple[Any, ...]]] = []  # lists, sets, deques, in order
        self.names: list[tuple[dict[str, Any], list[str]]] = []  # of small dicts; their values are entries
        self.dicts: list[tuple[dict[Any, Any], tuple[Any, ...], tuple[Any, ...]]] = []
        self._notes: dict[int, Note] = {}  # by the identity of the row
        self._known: set[tuple[Any, ...]] = set()

    def __len__(self) -> int:
        return len(self._notes)

    # ---- recording: each returns whether the read is a new one --------------------------------------

    def entry(self, get: Callable[..., Any], owner: Any, key: Any, want: Any, note: Note) -> bool:
        """A look-up in a namespace: `get(key, MISSING)` gave `want` (MISSING: it was absent)."""
        name = key if type(key) is str else id(key)
        return self._add(self.entries, ("entry", id(owner), name), (get, key, want), note)

    def type(self, cls: Any, name: str, want: Any, note: Note) -> bool:
        """A look-up through a class and its bases."""
        return self._add(self.types, ("type", id(cls), name), (cls, name, want), note)

    def object(self, obj: Any, space: dict[str, Any] | None, note: Note) -> bool:
        """That an object still has the class and the namespace that its attributes were read from."""
        return self._add(self.objects, ("object", id(obj)), (obj, type(obj), space), note)

    def function(self, fn: FunctionType, note: Note) -> bool:
        """What a call to the function means, beside its identity."""
        row = (fn, fn.__code__, fn.__defaults__, fn.__kwdefaults__)
        return self._add(self.functions, ("function", id(fn)), row, note)

    def cell(self, cell: CellType, want: Any, note: Note) -> bool:
        """The contents of a closure variable."""
        return self._add(self.cells, ("cell", id(cell)), (cell, want), note)

    def sequence(self, items: Collection[Any], note: Note) -> bool:
        """The items of a list, set or deque."""
        return self._add(self.sequences, ("contents", id(items)), (items, tuple(items)), note)

    def dict(self, items: dict[Any, Any], note: Note) -> bool:
        """The keys and values of a dict."""
        keys, values = list(items), tuple(items.values())
        named = type(items).get is dict.get and all(type(key) is str for key in keys)
        if not named or len(keys) > _SMALL:
            return self._add(self.dicts, ("contents", id(items)), (items, tuple(keys), values), note)
        for key, value in items.items():  # half the price of a look at all the values
            self.entry(items.get, items, key, value, note._replace(what=f"{note.what}[{key!r}]"))
        return self._add(self.names, ("contents", id(items)), (items, keys), note)

    def _add(self, rows: list[Any], key: tuple[Any, ...], row: tuple[Any, ...], note: Note) -> bool:
        if key in self._known:
            return False
        self._known.add(key)
        self._notes[id(row)] = note
        rows.append(row)
        return True

    # ---- checking -----------------------------------------------------------------------------------

    def check(self) -> str | None:
        """None when every read would give the same again; else what changed, in a sentence."""
        try:
            return self._check()
        except (AttributeError, ValueError, RuntimeError) as gone:  # a slot or cell emptied, a dict resized
            return f"something that was read is no longer there: {gone}"

    def _check(self) -> str | None:
        # The loops are written out, and unpack in their heads: a call a row would double their cost.
        missing = MISSING
        for get, key, want in self.entries:
            if (got := get(key, missing)) is not want and not same(got, want):
                return self._changed(self.entries, lambda row: row[0](row[1], missing))
        for cls, name, want in self.types:
            if (got := getattr(cls, name, missing)) is not want and not same(got, want):
                return self._changed(self.types, lambda row: getattr(row[0], row[1], missing))
        for cell, want in self.cells:
            if (got := cell.cell_contents) is not want and not same(got, want):
                return self._changed(self.cells, lambda row: row[0].cell_contents)
        for row in self.objects:
            obj, kind, space = row
            if type(obj) is not kind or (space is not None and obj.__dict__ is not space):
                return self._notes[id(row)].changed(kind, type(obj))
        for frow in self.functions:
            fn, code, defaults, kwdefaults = frow
            if fn.__code__ is not code or fn.__defaults__ is not defaults:
                return self._notes[id(frow)].changed(defaults, fn.__defaults__)
            if fn.__kwdefaults__ is not kwdefaults:
                return self._notes[id(frow)].changed(kwdefaults, fn.__kwdefaults__)
        for srow in self.sequences:
            items, values = srow
            if len(items) == len(values) and all(map(is_, items, values)):
                continue
            if change := _difference(items, values, range(len(values))):
                return self._inside(srow, change)
        for nrow in self.names:
            names, order = nrow
            if [*names] != order and (change := _difference(names, tuple(order), order, "keys")):
                return self._inside(nrow, change)
        for drow in self.dicts:
            table, keys, values = drow
            if len(table) == len(keys) and all(map(is_, table, keys)):
                if all(map(is_, table.values(), values)):
                    continue
            elif change := _difference(table, keys, keys, "keys"):
                return self._inside(drow, change)
            if change := _difference(table.values(), values, keys):
                return self._inside(drow, change)
        return None

    def _changed(self, rows: list[Any], look: Callable[[Any], Any]) -> str:
        """Find the row again, to name it."""
        for row in rows:
            old, new = row[-1], look(row)
            if not same(new, old):
                return self._notes[id(row)].changed(old, new)
        return "a value that was read is changing all the time"

    def _inside(self, row: tuple[Any, ...], change: tuple[str, Any, Any]) -> str:
        where, old, new = change
        note = self._notes[id(row)]
        return note._replace(what=note.what + where).changed(old, new)

    def explain(self) -> list[str]:
        """One line a guard, in the order in which they were read."""
        return [f"{note.what} ({note.filename}:{note.lineno})" for note in self._notes.values()]


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
