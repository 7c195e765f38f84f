"""Which C functions may be called, and what they give.

A C function cannot be followed, so only those in these tables are let through: they have no effect but
on their arguments, and what they return depends on nothing else. On plain data a function is simply
computed here as well; where it calls back into Python (`__len__`, a sort key), that is a frame of its
own. A function that changes its object may do so only to an object that this call has made.
"""

from __future__ import annotations

import abc
import builtins
import collections
import enum
import functools
import itertools
import math
import operator
import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import policy
from .frame import Call, Frame
from .machine import END, as_tuple, next_item, truth, yielded_items
from .operators import change_item, codes_of, contains, is_key, kind_of, subscript
from .policy import MISSING, find, name_of, python_method
from .values import Bound, Made, Plain, Unseen, is_known, stand_in, wrap

if TYPE_CHECKING:
    from .recorder import Recorder

Args = list[Any]
Named = dict[str, Any]
Rule = Callable[[Frame, Any, Args, Named], Any]

FUNCTIONS: dict[Any, Rule] = {}  # by the function, or the class, itself
METHODS: dict[tuple[type, str], Rule] = {}  # by type and name; the object comes as the first argument
STATIC: dict[tuple[type, str], Rule] = {}  # class methods and static methods of C types


# ---- kinds of rules -----------------------------------------------------------------------------------


def judge_all(m: Frame, fn: Any, args: Args, kwargs: Named) -> None:
    for item in (*args, *kwargs.values()):
        m.rec.judge(m, item, f"`{name_of(fn)}` on")


def pure(kind: type | None = None, *methods: str) -> Rule:
    """Computed on plain data; else one of the special methods gives the result, or it is of this kind."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        values = [stand_in(item) for item in args]
        named = {key: stand_in(item) for key, item in kwargs.items()}
        if policy.all_data([*values, *named.values()]):
            try:
                return wrap(fn(*values, **named))
            except Exception:
                return Unseen()  # the program is about to meet the same
        judge_all(m, fn, args, kwargs)
        for item in args[:1]:
            _reads(m, item, methods)
        if codes := codes_of(map(kind_of, args), methods):
            return m.expect(*codes)
        return Unseen(kind, fresh=kind in policy.MUTABLE)

    return rule


def folding(kind: type | None, *methods: str) -> Rule:
    """Walks one iterable to its end (sum, any, min, join): a generator's items come into sight as it runs."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        callback(m, fn, kwargs.get("key"))
        front, walked = ([], args[0]) if not isinstance(fn, types.MethodDescriptorType) else (args[:1], args[1])
        rest = args[len(front) + 1 :]
        items = m.rec.caller.elements(m, walked)
        judge_all(m, fn, rest, kwargs)
        extra = [stand_in(item) for item in (*front, *rest)]
        plain = policy.all_data(extra) and not kwargs
        codes = codes_of((kind_of(item) for item in items), methods) if items is not MISSING else ()
        result = m.expect(*methods, *codes) if methods else Unseen(kind)

        def settle(found: list[Any]) -> None:
            values = [stand_in(item) for item in found]
            if plain and policy.all_data(values):
                try:
                    result.obj = fn(*extra[: len(front)], values, *extra[len(front) :])
                except Exception:
                    return

        if items is not MISSING:
            settle(items)
        else:
            m.after.append(lambda offset: settle(yielded_items(m)) if _is_generator(walked) else None)
        return result

    return rule


def _smallest(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if len(args) == 1:
        return folding(None)(m, fn, args, kwargs)
    callback(m, fn, kwargs.get("key"))
    values = [stand_in(item) for item in args]
    if all(map(policy.is_data, values)) and not kwargs:
        return pure()(m, fn, args, kwargs)
    judge_all(m, fn, args, kwargs)
    return Unseen()


def gathering(kind: type) -> Rule:
    """Puts the items of an iterable into a new container of this kind."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        if kwargs:
            callback(m, fn, kwargs.get("key"))
        result = Unseen(kind, fresh=True)
        walked = args[0] if args else ()
        items = m.rec.caller.elements(m, walked)

        def settle(found: list[Any]) -> None:
            values = [stand_in(item) for item in found]
            if fn is sorted:
                result.like = sorted(values) if policy.all_data(values) and not kwargs else MISSING
            elif kind in (set, frozenset):
                result.like = kind(values) if policy.all_data(values) else MISSING
            else:
                result.like = kind(found)

        if items is not MISSING:
            settle(items)
        elif _is_generator(walked):
            m.after.append(lambda offset: settle(yielded_items(m)))
        if kind is tuple and type(result.like) is tuple:
            return as_tuple(result.like)
        return result

    return rule


def lazy(walk: Callable[..., Iterable[Any]] | None = None, callbacks: int = 0) -> Rule:
    """An iterator over iterables; `walk` makes one that gives the same items, beside it."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        for item in args[:callbacks]:
            callback(m, fn, item)
        judge_all(m, fn, args[callbacks:], kwargs)
        parts = [m.rec.beside(item) for item in args]
        named = {key: stand_in(item) for key, item in kwargs.items()}
        kind = fn if isinstance(fn, type) and fn is not reversed else None  # reversed() gives many types
        if walk is None or any(part is MISSING for part in (*parts, *named.values())):
            for item in args:
                m.rec.forget(item)
            return Unseen(kind, fresh=True)
        try:
            walker = iter(walk(*parts, **named))
        except Exception:
            return Unseen()
        return Unseen(kind, fresh=True, like=walker)

    return rule


def changing(peek: Callable[..., Any] | None = None, callbacks: str = "") -> Rule:
    """Changes its object. `peek` says beforehand what it will return."""

    def rule(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        target = args[0]
        if not m.is_fresh(target):
            kind = kind_of(target)
            m.abort(
                f"`{name_of(fn)}` changes a {kind.__name__ if kind else 'value'} that was made outside",
                "return the value, or keep it outside",
            )
        if callbacks:
            callback(m, fn, kwargs.get(callbacks))
        for item in args[1:]:
            kind = kind_of(item)
            if kind is not None and policy.is_iterator(kind):
                m.rec.judge(m, item, f"`{name_of(fn)}` on")
                m.rec.forget(item)
        if type(target) is Unseen:
            target.like = MISSING
            return Unseen() if peek is not None else None
        if peek is None:
            return None
        return peek(m, target, *args[1:])

    return rule


def refuse(reason: str, fix: str) -> Rule:
    return lambda m, fn, args, kwargs: m.abort(f"`{name_of(fn)}` is called, which {reason}", fix)


def callback(m: Frame, fn: Any, item: Any) -> None:
    """A C function will call this: it has to be Python code, or as harmless as the caller."""
    if item is None or type(item) in (types.FunctionType, types.MethodType):
        return
    if type(item) is Unseen and isinstance(item.made, Made):
        return
    if type(item) is functools.partial:
        return callback(m, fn, item.func)
    if is_known(item) and (m.rec.rules.is_harmless(item) or python_method(type(item), "__call__")):
        return None
    m.abort(f"`{name_of(fn)}` calls {policy.say(item) if is_known(item) else 'a function'} unseen")
    return None


def _is_generator(item: Any) -> bool:
    return kind_of(item) is types.GeneratorType


def _reads(m: Frame, item: Any, names: tuple[str, ...]) -> None:
    kind = kind_of(item)
    if kind is not None and not m.rec.is_core_type(kind):
        m.rec.reader.class_reads(m, kind, *names)


# ---- functions that look at objects -------------------------------------------------------------------


def _len(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    whole = args[0].like if type(args[0]) is Unseen else args[0]
    m.rec.judge(m, args[0], "`len` of")
    if isinstance(whole, (*policy.CONTAINERS, str, bytes, range, *policy.VIEWS)):
        if python_method(type(whole), "__len__") is None:
            return len(whole)
    _reads(m, args[0], ("__len__",))
    item = m.expect(*codes_of([kind_of(args[0])], ["__len__"]))
    item.kind = int
    return item


def _isinstance(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    item, classes = args
    options = classes if type(classes) is tuple else (classes,)
    kind = kind_of(item)
    metas = {type(c) for c in options}
    if is_known(classes) and kind not in (None, Plain, Bound) and metas <= {type, abc.ABCMeta, enum.EnumMeta, types.UnionType}:
        if is_known(item):
            return fn(item, classes)
        return issubclass(kind or object, classes)
    return Unseen(bool)


def _callable(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    _reads(m, args[0], ("__call__",))
    return callable(args[0]) if is_known(args[0]) else Unseen(bool)


def _getattr(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    obj, name = args[:2]
    if type(name) is not str:
        m.abort("an attribute is read whose name capture cannot see")
    value = m.rec.reader.attribute(m, obj, name)
    if len(args) == 2 or is_known(value):
        return value
    return _or_default(m, value, args[2]) if m.after else args[2]  # nothing runs: it is absent


def _or_default(m: Frame, item: Unseen, default: Any) -> Any:
    m.after.append(lambda offset: setattr(item, "obj", default) if item.obj is MISSING else None)
    return item


def _hasattr(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if type(args[1]) is not str:
        m.abort("an attribute is read whose name capture cannot see")
    value = m.rec.reader.attribute(m, args[0], args[1])
    if is_known(value):
        return True
    return Unseen(bool) if m.after else False


def _setattr(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    obj, name, item = args if len(args) == 3 else (*args, None)
    if type(name) is not str:
        m.abort("an attribute is set whose name capture cannot see")
    m.rec.reader.store(m, obj, name, item)


def _vars(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if not args or not is_known(args[0]):
        m.abort("`vars` is called on the local variables")
    return m.rec.reader.attribute(m, args[0], "__dict__")


def _type(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if len(args) != 1:
        return m.abort("`type` makes a class")
    kind = kind_of(args[0])
    return kind if kind not in (None, Plain, Bound) else m.abort("`type` of a value that capture cannot see")


def _super(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if not args:
        args = [m.local("__class__"), m.local(m.code.co_varnames[0])]
    if len(args) != 2 or not all(map(is_known, args)) or MISSING in args:
        m.abort("`super` is called on something that capture cannot see")
    return super(*args)


def _iter(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if len(args) != 1:
        callback(m, fn, args[0])
        return Unseen(type(iter(int, 1)), fresh=True)
    return m.rec.caller.iterate(m, args[0])


def _next(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    m.rec.judge(m, args[0], "`next` on")
    item = next_item(m, args[0])
    if type(item) is not Unseen:
        return item if item is not END else (args[1] if len(args) == 2 else Unseen())
    return _or_default(m, item, args[1]) if len(args) == 2 and kind_of(args[0]) is types.GeneratorType else item


def _dict(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    like: Any = {}
    if args:
        table = args[0].like if type(args[0]) is Unseen else args[0]
        if isinstance(table, dict) and python_method(type(table), "keys") is None:
            m.rec.judge(m, args[0], "the items of")
            like = dict(table) if all(is_key(m, key) for key in table) else MISSING
        else:
            pairs = m.rec.caller.elements(m, args[0])
            pairs = MISSING if pairs is MISSING else [stand_in(pair) for pair in pairs]
            known = pairs is not MISSING and all(
                isinstance(pair, (tuple, list)) and len(pair) == 2 and policy.is_plain(pair[0]) for pair in pairs
            )
            like = dict(pairs) if known else MISSING
    if like is not MISSING:
        like.update(kwargs)
    return Unseen(dict, fresh=True, like=like)


def _partial(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if not all(map(is_known, (*args, *kwargs.values()))):
        return Unseen(functools.partial, fresh=True)
    return functools.partial(*args, **kwargs)


def _reduce(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    callback(m, fn, args[0])
    m.rec.judge(m, args[1], "`reduce` on")
    m.rec.forget(args[1])
    code = getattr(args[0], "__code__", None)
    return m.expect(code) if code is not None else Unseen()


def _build_class(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    body = args[0]
    m.call = call = Call(body.made.code, [], {})
    call.made = body.made
    return Unseen(None, fresh=True)


def _new(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    cls = args[0]
    if not isinstance(cls, type) or not policy.is_solid(cls):
        m.abort("`__new__` is called for a type that capture does not know")
    return Unseen(cls if not issubclass(cls, type) else None, fresh=True)


def _object(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    return Unseen(object, fresh=True)


def _property(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    return Unseen(property, fresh=True)


def _deque(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    for item in args:
        m.rec.judge(m, item, f"`{name_of(fn)}` on")
        m.rec.forget(item)
    if fn is collections.defaultdict and args:
        callback(m, fn, args[0])
    return Unseen(fn, fresh=True)


# ---- methods of containers ------------------------------------------------------------------------------


def _get(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    table, key, default = args[0], args[1], args[2] if len(args) > 2 else None
    whole = table.like if type(table) is Unseen else table
    if id(whole) in m.rec.spaces and type(key) is str:
        value = m.rec.space_entry(m, whole, key)
        return default if value is MISSING else value
    if isinstance(whole, dict) and is_key(m, key):
        return whole.get(key, default)
    judge_all(m, fn, args, kwargs)
    return Unseen()


def _view(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    table = args[0]
    m.rec.judge(m, table, "the items of")
    if is_known(table):
        return fn(table)
    kind = type(getattr({}, fn.__name__)())
    if table.like is MISSING:
        return Unseen(kind, fresh=True)
    items = list(getattr(table.like, fn.__name__)())
    return Unseen(kind, fresh=True, like=[as_tuple(x) for x in items] if fn.__name__ == "items" else items)


def _copy(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    whole = args[0].like if type(args[0]) is Unseen else args[0]
    m.rec.judge(m, args[0], "a copy of")
    kind = kind_of(args[0])
    return Unseen(kind, fresh=True, like=whole.copy() if type(whole) in (list, dict, set) else MISSING)


def _append(m: Frame, target: Any, *items: Any) -> None:
    m.appears(items[-1], lambda: target[-1])


def _pop(m: Frame, target: Any, *where: Any) -> Any:
    if isinstance(target, dict):
        if is_known(where[0]) and is_key(m, where[0]):
            return target.get(where[0], where[1] if len(where) > 1 else Unseen())
        return Unseen()
    try:
        return target[where[0] if where else -1] if isinstance(target, list) else Unseen()
    except (IndexError, TypeError):
        return Unseen()


def _setdefault(m: Frame, target: Any, key: Any, value: Any = None) -> Any:
    if not (is_known(key) and is_key(m, key)):
        return Unseen()
    return target[key] if key in target else value


def _set_item(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if not m.is_fresh(args[0]):  # reached from a Python method of a subclass
        changing()(m, fn, args, kwargs)
    if fn.__name__ == "__setitem__":
        change_item(m, args[0], args[1], args[2])


def _nothing(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    return None


def _raw_getattribute(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    return m.rec.reader.plain_attribute(m, args[0], args[1])


# ---- the tables -------------------------------------------------------------------------------------------

_EFFECT = "Lampion cannot replay it: move it out of the compiled function"
FUNCTIONS.update(
    {
        len: _len, isinstance: _isinstance, issubclass: _isinstance, callable: _callable,
        getattr: _getattr, hasattr: _hasattr, setattr: _setattr, delattr: _setattr, vars: _vars,
        iter: _iter, next: _next, type: _type, super: _super, dict: _dict, object: _object,
        sum: folding(None, "__add__", "__radd__"), any: folding(bool), all: folding(bool),
        min: _smallest, max: _smallest, math.fsum: folding(float), math.prod: folding(None, "__mul__", "__rmul__"),
        abs: pure(None, "__abs__"), round: pure(None, "__round__"), divmod: pure(None, "__divmod__", "__rdivmod__"),
        pow: pure(None, "__pow__", "__rpow__"), hash: pure(int, "__hash__"), ord: pure(int), chr: pure(str),
        hex: pure(str), bin: pure(str), oct: pure(str), format: pure(str, "__format__"), repr: pure(str, "__repr__"),
        ascii: pure(str, "__repr__"),
        int: pure(int, "__int__", "__index__", "__trunc__"), float: pure(float, "__float__", "__index__"),
        complex: pure(complex), bool: lambda m, fn, args, kwargs: truth(m, args[0]) if args else False,
        str: pure(str), bytes: pure(bytes), range: pure(range, "__index__"), slice: pure(slice),
        list: gathering(list), tuple: gathering(tuple), set: gathering(set), frozenset: gathering(frozenset),
        sorted: gathering(list), zip: lazy(lambda *parts, **how: map(as_tuple, zip(*parts, **how))),
        enumerate: lazy(lambda *parts, **how: map(as_tuple, enumerate(*parts, **how))), reversed: lazy(reversed),
        map: lazy(None, 1), filter: lazy(None, 1), property: _property, staticmethod: _deque, classmethod: _deque,
        functools.partial: _partial, functools.reduce: _reduce, builtins.__build_class__: _build_class,
        collections.deque: _deque, collections.OrderedDict: _deque, collections.defaultdict: _deque,
        itertools.chain: lazy(itertools.chain), itertools.product: lazy(), itertools.repeat: lazy(),
        itertools.islice: lazy(itertools.islice), itertools.count: lazy(), itertools.zip_longest: lazy(),
        itertools.accumulate: lazy(), itertools.combinations: lazy(), itertools.permutations: lazy(),
        itertools.pairwise: lazy(), itertools.starmap: lazy(None, 1), itertools.cycle: lazy(),
        functools._lru_cache_wrapper: refuse("keeps results", "call the plain function"),
    }
)  # fmt: skip
for _fn in (builtins.print, builtins.input, builtins.open, builtins.exec, builtins.eval):
    FUNCTIONS[_fn] = refuse("acts outside Lampion", _EFFECT)
for _name, _fn in vars(math).items():
    if isinstance(_fn, types.BuiltinFunctionType) and _fn not in FUNCTIONS:
        FUNCTIONS[_fn] = pure(None, f"__{_name}__")
for _name in (
    "add sub mul truediv floordiv mod pow matmul neg pos abs invert lt le eq ne gt ge and_ or_ xor not_ truth index"
).split():
    _word = _name.strip("_")
    FUNCTIONS[getattr(operator, _name)] = pure(None, f"__{_word}__", f"__r{_word}__")
FUNCTIONS[operator.getitem] = lambda m, fn, args, kwargs: subscript(m, args[0], args[1])
FUNCTIONS[operator.contains] = lambda m, fn, args, kwargs: contains(m, args[1], args[0])

_PURE_TYPES = (str, bytes, int, float, complex, range, slice, tuple, frozenset, type(None), bool)
for _type_ in _PURE_TYPES:
    for _name, _fn in vars(_type_).items():
        if isinstance(_fn, policy.C_CALLABLES) and _name not in ("__getattribute__", "__setattr__", "__new__"):
            METHODS[_type_, _name] = pure()
        if isinstance(_fn, (staticmethod, types.ClassMethodDescriptorType)):
            STATIC[_type_, _name] = pure()
for _type_ in (object, *_PURE_TYPES, list, dict, set, collections.OrderedDict, collections.deque, BaseException):
    STATIC[_type_, "__new__"] = _new
METHODS[str, "format"] = METHODS[str, "__mod__"] = pure(str)
METHODS[str, "join"] = METHODS[bytes, "join"] = folding(str)
METHODS.update(
    {
        (list, "append"): changing(_append), (list, "copy"): _copy, (list, "pop"): changing(_pop),
        (list, "sort"): changing(callbacks="key"), (list, "count"): pure(int), (list, "index"): pure(int),
        (dict, "get"): _get, (dict, "copy"): _copy, (dict, "pop"): changing(_pop),
        (dict, "setdefault"): changing(_setdefault), (dict, "popitem"): changing(lambda m, target, *_: Unseen()),
        (set, "copy"): _copy, (set, "pop"): changing(lambda m, target, *_: Unseen()),
        (object, "__init__"): _nothing, (object, "__setattr__"): _setattr, (object, "__delattr__"): _setattr,
        (object, "__getattribute__"): _raw_getattribute, (object, "__eq__"): pure(bool),
        (object, "__ne__"): pure(bool), (object, "__hash__"): pure(int), (object, "__repr__"): pure(str),
        (object, "__str__"): pure(str), (object, "__format__"): pure(str),
        (BaseException, "__init__"): _nothing, (type, "__init__"): _nothing,
        (type, "__setattr__"): _setattr, (type, "__instancecheck__"): pure(bool), (type, "mro"): pure(list),
        (type, "__call__"): lambda m, fn, args, kwargs: m.rec.caller.construct(m, args[0], args[1:], kwargs),
        (property, "setter"): _property, (property, "getter"): _property, (property, "deleter"): _property,
    }
)  # fmt: skip
STATIC[type, "__new__"] = _new
STATIC[object, "__init_subclass__"] = STATIC[object, "__subclasshook__"] = _nothing
STATIC[dict, "fromkeys"] = pure(dict)
STATIC[itertools.chain, "from_iterable"] = lazy()
for _type_, _names in {
    list: "extend insert remove clear reverse __init__ __iadd__",
    dict: "update clear __init__ __ior__",
    set: "add discard remove clear update difference_update intersection_update symmetric_difference_update __init__",
    collections.deque: "append appendleft extend extendleft clear remove reverse rotate insert __init__",
    collections.OrderedDict: "move_to_end update clear __init__",
    collections.defaultdict: "__init__",
}.items():
    METHODS.update({(_type_, _name): changing() for _name in _names.split()})
for _type_ in (list, dict, collections.deque, collections.OrderedDict):
    METHODS[_type_, "__setitem__"] = METHODS[_type_, "__delitem__"] = _set_item
    METHODS[_type_, "__getitem__"] = lambda m, fn, args, kwargs: subscript(m, args[0], args[1])
    METHODS[_type_, "__contains__"] = lambda m, fn, args, kwargs: contains(m, args[1], args[0])
    METHODS[_type_, "__len__"] = _len
    METHODS[_type_, "__iter__"] = _iter
for _type_ in (dict, collections.OrderedDict, types.MappingProxyType):
    for _name in ("keys", "values", "items"):
        METHODS[_type_, _name] = _view
for _name in ("union", "intersection", "difference", "symmetric_difference"):
    METHODS[set, _name] = pure(set)
for _name in ("issubset", "issuperset", "isdisjoint", "__contains__"):
    METHODS[set, _name] = pure(bool)
METHODS[set, "__len__"], METHODS[set, "__iter__"] = _len, _iter
METHODS[collections.deque, "pop"] = METHODS[collections.deque, "popleft"] = changing(lambda m, t, *_: Unseen())
METHODS[collections.deque, "copy"] = METHODS[collections.OrderedDict, "copy"] = _copy
METHODS[collections.deque, "count"] = METHODS[collections.deque, "index"] = pure(int)


class Rules:
    """The tables, as a Recorder asks them."""

    def __init__(self, rec: Recorder) -> None:
        self.rec = rec

    def for_class(self, cls: type) -> Rule | None:
        if issubclass(cls, (np.generic, np.dtype)):
            return _numpy_scalar
        return FUNCTIONS.get(cls)

    def is_harmless(self, fn: Any) -> bool:
        """As a callback of another C function: a conversion or a calculation, nothing that changes things."""
        return isinstance(fn, (type, types.BuiltinFunctionType, types.MethodDescriptorType)) and (
            fn in _HARMLESS or (getattr(fn, "__objclass__", None) in _PURE_TYPES)
        )

    def judge(self, m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        owner = getattr(fn, "__self__", None)
        rule: Rule | None = FUNCTIONS.get(fn) if fn.__hash__ is not None else None
        if rule is None and isinstance(owner, type) and isinstance(fn, types.BuiltinFunctionType):
            rule = _inherited(STATIC, owner, fn.__name__)
        if rule is None and owner is not None and not isinstance(owner, types.ModuleType):
            rule = _inherited(METHODS, type(owner), fn.__name__)
            if rule is not None:
                unbound, _ = find(type(owner), fn.__name__)
                if isinstance(unbound, policy.C_CALLABLES):
                    fn, args = unbound, [owner, *args]
                else:
                    args = [owner, *args]
        if rule is None and (base := getattr(fn, "__objclass__", None)) is not None:
            rule = METHODS.get((base, fn.__name__))
        if rule is None and isinstance(owner, np.generic):
            rule = pure()
        if rule is None:
            m.abort(f"`{name_of(fn)}` is called, and its effects cannot be seen", _EFFECT)
            raise AssertionError
        return rule(m, fn, args, kwargs)


_HARMLESS = frozenset(fn for fn in FUNCTIONS if fn in (
    len, isinstance, abs, round, hash, ord, chr, repr, format, sum, any, all, min, max, sorted, callable, bool,
    int, float, str, complex, bytes, range, list, tuple, set, frozenset, dict, zip, enumerate, reversed,
) or getattr(fn, "__module__", "") in ("math", "_operator"))  # fmt: skip


def _inherited(table: dict[tuple[type, str], Rule], cls: type, name: str) -> Rule | None:
    return next((table[base, name] for base in cls.__mro__ if (base, name) in table), None)


def _numpy_scalar(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    result = pure()(m, fn, args, kwargs)
    return result if policy.is_data(result) else m.abort(f"NumPy's `{name_of(fn)}` is called on a value unseen")

