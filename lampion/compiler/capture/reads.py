"""Reads: what attribute and variable look-ups give, worked out without running any of the user's code.

Each look-up follows Python's own rules over namespaces (`__dict__`, slots, the method resolution order)
and leaves a guard at every place it looked. Where a look-up runs Python code (a property, `__getattr__`),
that code is a frame of its own and is followed there; its return value is the result.
"""

from __future__ import annotations

import enum
import functools
import sys
import types
from collections import namedtuple
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import policy
from .frame import Frame
from .guards import Note
from .operators import codes_of
from .policy import MISSING, find, python_method
from .values import Bound, Unseen, is_known

if TYPE_CHECKING:
    from .recorder import Recorder

_SETTABLE = frozenset({"grad", "data", "requires_grad"})  # of a Tensor: its own setters tell the tracer
_FUNCTION_READS = frozenset({"__name__", "__qualname__", "__module__", "__doc__", "__call__", "__get__"})
_CLASS_READS = frozenset({"__name__", "__qualname__", "__module__", "__doc__", "__mro__", "__bases__"})
_ARRAY_READS = frozenset({"shape", "ndim", "dtype", "size"})  # guarded by the caller, with the argument
_HIDING = (*policy.VIEWS, types.MappingProxyType, types.CellType, super)  # windows onto something else
_TUPLE_FIELD = type(vars(namedtuple("_", "field"))["field"])  # the type has no other name


class Reader:
    """Look-ups on behalf of a Recorder, and the guards that they leave."""

    def __init__(self, rec: Recorder) -> None:
        self.rec = rec
        self.guards = rec.guards
        self._read: dict[tuple[int, str], type] = {}  # what classes were asked for

    # ---- what a value brings with it --------------------------------------------------------------------

    def contents(self, m: Frame, value: Any, note: Note) -> None:
        """Guard what is inside a value that was read, since later instructions look into it freely."""
        rec, kind = self.rec, type(value)
        if policy.is_plain(value) or id(value) in rec.fresh or id(value) in rec.roots:
            return
        if policy.made_in_python(kind) and not rec.is_core(value):
            self._class_of(value, note)
        if rec.is_accounted(value):
            return
        rec.seen[id(value)] = value
        if isinstance(value, np.ndarray):
            m.abort(
                f"{note.what} is a NumPy array", "make it a Tensor, or pass it to the function as an argument"
            )
        elif isinstance(value, policy.CONTAINERS):
            self._container(m, value, note)
        elif type(value) is FunctionType:
            self.function(m, value, note)
        elif type(value) is MethodType:
            self.contents(m, value.__func__, note)
            self.contents(m, value.__self__, note)
        elif type(value) is functools.partial:
            for part in (value.func, value.args, value.keywords):
                self.contents(m, part, note)
        elif isinstance(value, policy.C_CALLABLES):
            owner = getattr(value, "__self__", None)  # `table.get`, kept under another name
            self.contents(m, owner, note._replace(what=f"the object behind {note.what}"))
        elif isinstance(value, _HIDING):
            m.abort(
                f"{note.what} is a {type(value).__name__}: a window onto something that capture cannot see"
            )

    def _class_of(self, obj: Any, note: Note) -> None:
        """Guard that an object keeps its class, and the namespace that its attributes are read from."""
        kind = type(obj)
        plain = (
            python_method(kind, "__getattribute__") is None
        )  # else looking at it would run the user's code
        note = note._replace(what=f"the class of a {kind.__name__}")
        self.guards.object(obj, namespace_of(obj) if plain else None, note)

    def _container(self, m: Frame, value: Any, note: Note) -> None:
        if len(value) > policy.MAX_ITEMS:
            m.abort(f"{note.what} holds more than {policy.MAX_ITEMS} items")
        walks = ("__iter__", "__len__", *(("values", "items") if isinstance(value, dict) else ()))
        if any(python_method(type(value), name) for name in walks):
            m.abort(f"{note.what} is a {type(value).__name__}, which hides its items")
        if isinstance(value, dict):
            self.guards.dict(value, note)
            items: Any = value.items()
        else:
            if isinstance(value, policy.MUTABLE):
                self.guards.sequence(value, note)
            items = enumerate(value)
        for key, item in items:
            if not policy.is_plain(item):
                self.contents(m, item, note._replace(what=f"{note.what}[{policy.say(key)}]"))

    def function(self, m: Frame, fn: FunctionType, note: Note | None = None) -> None:
        """Guard what calling the function means: its code and its defaults (but for Lampion's own)."""
        code = fn.__code__
        if (
            id(fn) in self.rec.fresh
            or policy.is_lampions_file(code.co_filename)
            or self.rec.is_untraced(code)
        ):
            return
        note = note or self.rec.note(m, "function")
        note = note._replace(what=f"function `{fn.__qualname__}`")
        if self.guards.function(fn, note):
            defaults = note._replace(what=f"a default argument of `{fn.__qualname__}`")
            self.contents(m, fn.__defaults__, defaults)
            self.contents(m, fn.__kwdefaults__, defaults)

    def class_reads(self, m: Frame, cls: type, *names: str) -> None:
        for name in names:
            self.class_read(m, cls, name)

    def core_class_reads(self, cls: type, *names: str) -> None:
        """The same where it is not user code that asks, but the core on its behalf."""
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None and frame not in self.rec.frames:
            frame = frame.f_back
        assert frame is not None  # there is the one that `run` itself stands for
        self.class_reads(self.rec.frames[frame], cls, *names)

    def class_read(self, m: Frame, cls: type, name: str) -> None:
        """Guard what the class and its bases say about a name (also: that they say nothing)."""
        if id(cls) in self.rec.fresh or (id(cls), name) in self._read:
            return
        self._read[id(cls), name] = cls  # once is enough: in the end it is looked whether that still holds
        if not any(map(policy.made_in_python, cls.__mro__)):
            return
        raw, owner = find(cls, name)
        if isinstance(raw, types.GetSetDescriptorType):
            return  # `__dict__`, `__class__`: Python's own
        note = self.rec.note(m, f"`{cls.__name__}.{name}`")
        meta = type(cls)
        runs_code = (  # asking the class itself would
            isinstance(find(type(raw), "__get__")[0], FunctionType)
            or python_method(meta, "__getattribute__") is not None
            or isinstance(raw, (types.ClassMethodDescriptorType, enum.Enum))
            or (isinstance(raw, classmethod) and type(raw.__func__) is not FunctionType)
            or (owner is None and find(meta, name)[1] is not None)
            or (owner is None and python_method(meta, "__getattr__") is not None)
        )
        if runs_code:
            self._bases_read(cls.__mro__, name, raw, owner, note)
        else:
            self.guards.type(cls, name, getattr(cls, name, MISSING), note)

    def _bases_read(self, bases: Any, name: str, raw: Any, owner: type | None, note: Note) -> None:
        """The same, namespace by namespace."""
        for base in bases:
            if policy.made_in_python(base) and id(base) not in self.rec.fresh:
                self.guards.entry(vars(base).get, base, name, raw if base is owner else MISSING, note)
            if base is owner:
                break

    # ---- variables --------------------------------------------------------------------------------------

    def namespace(self, m: Frame, space: dict[str, Any], name: str, what: str) -> Any:
        value = space.get(name, MISSING)
        if id(space) not in self.rec.fresh and (id(space), name) not in self.rec.stored:
            note = self.rec.note(m, what)
            self.guards.entry(space.get, space, name, value, note)
            self.contents(m, value, note)
        return value

    def variable(self, m: Frame, name: str) -> Any:
        value = self.namespace(m, m.frame.f_globals, name, f"global `{name}`")
        if value is MISSING:
            value = self.namespace(m, m.frame.f_builtins, name, f"builtin `{name}`")
        return Unseen() if value is MISSING else value

    def cell(self, m: Frame, name: str) -> Any:
        value = m.local(name)
        cells = [] if name in m.code.co_cellvars else m.cells(name)
        for cell in cells:
            try:
                value = cell.cell_contents  # a class body does not show it among its local variables
            except ValueError:
                return Unseen()  # NameError is next
            note = self.rec.note(m, f"closure variable `{name}`")
            self.guards.cell(cell, value, note)
            self.contents(m, value, note)
        return Unseen() if value is MISSING else value

    # ---- attributes -------------------------------------------------------------------------------------

    def attribute(self, m: Frame, obj: Any, name: str) -> Any:
        """What `obj.name` gives."""
        if not is_known(obj):
            return self._unseen(m, obj, name)
        cls = type(obj)
        if isinstance(obj, ModuleType):
            return self._module(m, obj, name)
        if isinstance(obj, type):
            return self._class(m, obj, name)
        if cls is super:
            return self.super(m, obj.__thisclass__, obj.__self__, name)
        if cls is FunctionType:
            return self._function(m, obj, name)
        if cls is np.ndarray and name in _ARRAY_READS and id(obj) in self.rec.roots:
            return getattr(obj, name)
        if cls is MethodType and name not in ("__func__", "__self__"):
            return self.attribute(m, obj.__func__, name)
        if (cls in policy.SOLID and not cls.__dictoffset__) or policy.is_data(obj):
            return getattr(obj, name, Unseen())  # builtin: methods, or parts that cannot change
        if id(obj) in self.rec.fresh and policy.is_iterator(cls) and not policy.made_in_python(cls):
            return getattr(obj, name, Unseen())
        return self._instance(m, obj, name)

    def _unseen(self, m: Frame, item: Any, name: str) -> Any:
        kind = item.kind if type(item) is Unseen else None
        if kind is not None:
            raw, _ = find(kind, name)
            if isinstance(raw, (FunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)):
                self.class_read(m, kind, name)
                return Bound(raw, item)
            if name == "__class__":
                return kind
            if isinstance(raw, (classmethod, staticmethod)):
                return self.bind(m, raw, None, kind, name)
        return m.abort(
            f"attribute `{name}` is read from a value that capture cannot see",
            "give the value a name first (`value = ...` on a line of its own)",
        )

    def _module(self, m: Frame, module: ModuleType, name: str) -> Any:
        space = module.__dict__
        if name not in space and module.__name__.startswith("lampion") and name in space.get("__all__", ()):
            getattr(module, name)  # loads it: the same from here on, whenever that happens
        value = self.namespace(m, space, name, f"`{module.__name__}.{name}`")
        if value is not MISSING:
            return value
        if type(space.get("__getattr__")) is FunctionType:
            return m.expect(space["__getattr__"].__code__)
        if type(module) is not ModuleType or name == "__dict__":
            m.abort(f"`{module.__name__}.{name}` cannot be guarded")
        return Unseen()

    def _function(self, m: Frame, fn: FunctionType, name: str) -> Any:
        what = f"attribute `{name}` of function `{fn.__qualname__}`"
        if not hasattr(FunctionType, name):
            value = self.namespace(m, fn.__dict__, name, what)
            return Unseen() if value is MISSING else value
        if name not in _FUNCTION_READS:
            m.abort(f"{what} cannot be guarded")
        value = getattr(fn, name)
        if type(value) is str:
            self.guards.type(fn, name, value, self.rec.note(m, what))  # getattr works on any object
        return value

    def _class(self, m: Frame, cls: type, name: str) -> Any:
        meta = type(cls)
        if (getter := python_method(meta, "__getattribute__")) is not None:
            return m.expect(getter.__code__, *codes_of([meta], ["__getattr__"]))
        if isinstance(cls, enum.EnumMeta) and name in cls._member_map_:
            return cls._member_map_[name]  # members are there for good
        above, _ = find(meta, name)
        if isinstance(above, property) and type(above.fget) is FunctionType:
            self.class_read(m, meta, name)
            return m.expect(above.fget.__code__)
        if name in _CLASS_READS:
            note = self.rec.note(m, f"`{cls.__name__}.{name}`")
            self.guards.type(cls, name, getattr(cls, name), note)
            return getattr(cls, name)
        raw, _ = find(cls, name)
        if isinstance(above, types.GetSetDescriptorType) and raw is not MISSING and name == "__dict__":
            m.abort(f"the namespace of class `{cls.__name__}` cannot be guarded")
        self.class_read(m, cls, name)
        if raw is not MISSING:
            return self.bind(m, raw, None, cls, name)
        if above is not MISSING:
            self.class_read(m, meta, name)
            return self.bind(m, above, cls, meta, name)
        if (fallback := python_method(meta, "__getattr__")) is not None:
            return m.expect(fallback.__code__)
        return Unseen()

    def super(self, m: Frame, cls: type, obj: Any, name: str) -> Any:
        start = obj if isinstance(obj, type) else type(obj)
        raw, owner = find(start, name, after=cls)
        note = self.rec.note(m, f"`super().{name}`")
        self._bases_read(start.__mro__[start.__mro__.index(cls) + 1 :], name, raw, owner, note)
        if raw is MISSING:
            return Unseen()
        return self.bind(m, raw, None if isinstance(obj, type) else obj, start, name)

    def _instance(self, m: Frame, obj: Any, name: str) -> Any:
        cls = type(obj)
        getter = find(cls, "__getattribute__")[0]
        if isinstance(getter, FunctionType):
            self.class_read(m, cls, "__getattribute__")
            return m.expect(getter.__code__, *codes_of([cls], ["__getattr__"]))
        return self.plain_attribute(m, obj, name)

    def plain_attribute(self, m: Frame, obj: Any, name: str) -> Any:
        """`object.__getattribute__`, and `__getattr__` after it."""
        rec, cls = self.rec, type(obj)
        core = rec.is_core(obj)
        getter = find(cls, "__getattribute__")[0]
        if not (isinstance(getter, FunctionType) or getter in policy.USUAL_LOOKUP) or not (
            core or policy.is_solid(cls)
        ):
            if core:
                return getattr(obj, name, Unseen())
            m.abort(f"attribute `{name}` of a {cls.__name__} cannot be guarded")
        raw, owner = find(cls, name)
        core = (
            core and owner is not None and rec.trust.defines(owner)
        )  # the user's own attributes are guarded
        if rec.is_core(obj) and type(raw) is not FunctionType:
            rec.own_read(obj, name)
        if not core or type(raw) is FunctionType:
            self.class_read(m, cls, name)
        if raw is not MISSING and _overrides(raw):
            return self.bind(m, raw, obj, cls, name)
        space = namespace_of(obj)
        if space is not None and not core and id(obj) not in rec.fresh:
            self._class_of(obj, rec.note(m, ""))
            value = self.namespace(m, space, name, f"attribute `{name}` of {cls.__name__}")
        else:
            value = MISSING if space is None else space.get(name, MISSING)
        if value is not MISSING:
            return value
        if raw is not MISSING:
            return self.bind(m, raw, obj, cls, name)
        if not core:
            self.class_read(m, cls, "__getattr__")  # there may be one later
        if (fallback := python_method(cls, "__getattr__")) is not None:
            return m.expect(fallback.__code__)
        return Unseen()  # AttributeError is next

    def bind(self, m: Frame, raw: Any, obj: Any, cls: type, name: str) -> Any:
        """What a class attribute gives when it is read through an instance (or the class, `obj` None)."""
        kind = type(raw)
        note = self.rec.note(m, f"`{cls.__name__}.{name}`")
        if kind is FunctionType:
            self.function(m, raw, note)
            return raw if obj is None else MethodType(raw, obj)
        if kind is staticmethod:
            self.contents(m, raw.__func__, note)
            return raw.__func__
        if kind is classmethod and type(raw.__func__) is FunctionType:
            self.function(m, raw.__func__, note)
            return MethodType(raw.__func__, cls)
        if kind is property:
            if obj is None:
                return raw
            if type(raw.fget) is FunctionType:
                self.function(m, raw.fget, note)
                return m.expect(raw.fget.__code__, *codes_of([cls], ["__getattr__"]))
        elif kind is types.MemberDescriptorType:
            return raw if obj is None else self._slot(m, raw, obj, name)
        elif kind is types.GetSetDescriptorType:
            if name == "__class__":
                return type(obj)
            if name == "__dict__" and obj is not None:
                return self._whole_namespace(m, obj)
        elif isinstance(raw, (*policy.C_DESCRIPTORS, _TUPLE_FIELD)):
            return raw if obj is None and not hasattr(raw, "__get__") else raw.__get__(obj, cls)
        elif kind is not functools.cached_property:
            get = find(kind, "__get__")[0]
            if get is MISSING or isinstance(raw, type):
                self.contents(m, raw, note)
                return raw
            if isinstance(get, FunctionType):
                self.class_read(m, kind, "__get__")
                return m.expect(get.__code__)
        return m.abort(f"`{cls.__name__}.{name}`, a {kind.__name__}, cannot be followed")

    def _slot(self, m: Frame, raw: Any, obj: Any, name: str) -> Any:
        value = getattr(obj, name, MISSING)
        if value is MISSING:
            return Unseen()
        if id(obj) not in self.rec.fresh and not self.rec.trust.defines(raw.__objclass__):
            note = self.rec.note(m, f"attribute `{name}` of {type(obj).__name__}")
            self.guards.object(obj, None, note)
            self.guards.entry(raw.__get__, raw, obj, value, note)
            self.contents(m, value, note)
        return value

    def _whole_namespace(self, m: Frame, obj: Any) -> Any:
        space = namespace_of(obj)
        if id(obj) in self.rec.fresh:
            self.rec.fresh[id(space)] = space
        elif (
            space is not None
        ):  # looked up by key, mostly: guarded entry by entry where it is (`calls.subscript`)
            self._class_of(obj, self.rec.note(m, ""))
            self.rec.spaces[id(space)] = (space, type(obj).__name__)
        return space

    # ---- stores -----------------------------------------------------------------------------------------

    def store(self, m: Frame, obj: Any, name: str, item: Any, direct: bool = False) -> None:
        """Judge `obj.name = item` (or its deletion: NULL); with `direct`, whatever `__setattr__` there is."""
        if not m.is_fresh(obj):
            if not is_known(obj):
                m.abort(f"attribute `{name}` of a value that capture cannot see is set")
            raw, _ = find(type(obj), name)
            setter = isinstance(raw, property) and raw.fset is not None
            if self.rec.is_core(obj) and (setter or name in _SETTABLE):
                return
            if not setter and self._is_there(m, obj, name, item):
                return  # as after ``self.count += 1``, which changed the tensor and puts it back
            if not setter and self.rec.on_store and self._plain_store(m, obj, name, item, raw, direct):
                return
            owner = obj.__name__ if isinstance(obj, (type, ModuleType)) else type(obj).__name__
            m.abort(
                f"attribute `{name}` of {owner} is set",
                "only Tensors, and objects that the function makes, can change in compiled code: "
                "return the value, or set it outside",
            )
        if is_known(obj) and not isinstance(obj, type) and not python_method(type(obj), "__setattr__"):
            m.appears(item, lambda: self._peek(obj, name))

    def _plain_store(self, m: Frame, obj: Any, name: str, item: Any, raw: Any, direct: bool) -> bool:
        """Whether it is plain data that is stored into an object of the user's: later calls do that, too."""
        space, cls = namespace_of(obj), type(obj)
        if space is None or self.rec.is_core(obj) or isinstance(obj, ModuleType) or not policy.is_solid(cls):
            return False
        if not (policy.is_plain(item) or (type(item) is tuple and policy.all_data(item))) or _overrides(raw):
            return False
        note = self.rec.note(m, f"attribute `{name}` of {cls.__name__}")
        self._class_of(obj, note)
        self.class_reads(m, cls, name, "__setattr__")
        if not direct and python_method(cls, "__setattr__") is not None:
            return True  # it is followed, and what it stores is looked at there
        return self.rec.may_store(space, name, item, note)

    def _is_there(self, m: Frame, obj: Any, name: str, item: Any) -> bool:
        """Whether a tensor is what the attribute is already (a module keeps it in a table); then that is
        guarded, and setting it changes nothing.
        """
        space = namespace_of(obj)
        if space is None or not self.rec.is_core(item):
            return False
        for table in (space, space.get("_buffers"), space.get("_parameters")):
            if type(table) is dict and table.get(name) is item:
                self._class_of(obj, self.rec.note(m, ""))
                self.namespace(m, table, name, f"attribute `{name}` of {type(obj).__name__}")
                return True
        return False

    @staticmethod
    def _peek(obj: Any, name: str) -> Any:
        space = namespace_of(obj)
        raw, _ = find(type(obj), name)
        if space is not None and name in space and not _overrides(raw):
            return space[name]
        return getattr(obj, name, MISSING) if isinstance(raw, types.MemberDescriptorType) else MISSING


def _overrides(raw: Any) -> bool:
    """Whether a class attribute comes before the instance's own (a data descriptor)."""
    kind = type(raw)
    return find(kind, "__set__")[1] is not None or find(kind, "__delete__")[1] is not None


def namespace_of(obj: Any) -> dict[str, Any] | None:
    """The instance's own `__dict__`, even where a class attribute of that name hides it."""
    if isinstance(obj, type) or not type(obj).__dictoffset__:
        return None
    space: dict[str, Any] = object.__getattribute__(obj, "__dict__")
    return space
