"""Which C functions have a rule: by the function itself, by type and method, by type and class method."""

from __future__ import annotations

import abc
import builtins
import enum
import functools
import itertools
import math
import operator
import string
import types
from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any

import numpy as np

from . import policy
from .frame import Call, Frame
from .machine import END, as_tuple, next_item, truth
from .operators import change_item, codes_of, contains, guard_methods, is_key, kind_of, subscript
from .policy import MISSING, find, name_of, python_method
from .rules import (
    Args,
    Named,
    Rule,
    callback,
    changing,
    code_of,
    folding,
    gathering,
    judge_all,
    lazy,
    making,
    nothing,
    ordering,
    pure,
    refuse,
)  # fmt: skip
from .values import NULL, Bound, Made, Unseen, is_known

if TYPE_CHECKING:
    from .recorder import Recorder

# ---- functions that look at objects -------------------------------------------------------------------


def parts(item: Any) -> Any:
    """A container, or the stand-in whose items may still be placeholders."""
    return item.like if type(item) is Unseen else item


_SIZED: tuple[Any, ...] = (*policy.CONTAINERS, str, bytes, range, *policy.VIEWS)


def _len(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    whole = parts(args[0])
    m.rec.judge(m, args[0], "`len` of")
    if isinstance(whole, _SIZED) and python_method(type(whole), "__len__") is None:
        return len(whole)
    guard_methods(m, args[0], ("__len__",))
    item = m.expect(*codes_of([kind_of(args[0])], ["__len__"]))
    item.kind = int
    return item


_METAS = {type, abc.ABCMeta, enum.EnumMeta, types.UnionType}


def _registered(key: str, default: Any) -> Any:
    """How many classes were registered with abstract base classes so far."""
    return abc.get_cache_token()


def _isinstance(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    item, classes = args
    options = classes if type(classes) is tuple else (classes,)
    if not is_known(classes) or not {type(option) for option in options} <= _METAS:
        return Unseen(bool)
    if any(type(option) is abc.ABCMeta for option in options):  # another class may come to count as one
        note = m.rec.note(m, "what counts as an abstract class")
        m.rec.guards.entry(_registered, abc, "classes", abc.get_cache_token(), note)
    if is_known(item):
        return fn(item, classes)
    kind = kind_of(item)
    return Unseen(bool) if kind is None or kind is Bound else issubclass(kind, classes)


def _callable(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    guard_methods(m, args[0], ("__call__",))
    return callable(args[0]) if is_known(args[0]) else Unseen(bool)


def _getattr(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    obj, name = args[:2]
    value = m.rec.reader.attribute(m, obj, _attribute_name(m, name))
    if len(args) == 2 or is_known(value):
        return value
    return _or_default(m, value, args[2]) if m.after else args[2]  # nothing runs: it is absent


def _attribute_name(m: Frame, name: Any) -> str:
    return name if type(name) is str else m.abort("an attribute is named by a value that capture cannot see")


def _or_default(m: Frame, item: Unseen, default: Any) -> Any:
    m.after.append(lambda offset: setattr(item, "obj", default) if item.obj is MISSING else None)
    return item


def _hasattr(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    value = m.rec.reader.attribute(m, args[0], _attribute_name(m, args[1]))
    return True if is_known(value) else Unseen(bool) if m.after else False


def _setattr(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    name, item = _attribute_name(m, args[1]), args[2] if len(args) == 3 else NULL
    m.rec.reader.store(m, args[0], name, item, direct=fn is not setattr and fn is not delattr)


def _getattribute(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    return m.rec.reader.plain_attribute(m, args[0], _attribute_name(m, args[1]))


def _vars(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if not args or not is_known(args[0]):
        m.abort("`vars` is called on the local variables")
    return m.rec.reader.attribute(m, args[0], "__dict__")


def _type(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if len(args) != 1:
        return m.abort("`type` makes a class")
    kind = kind_of(args[0])
    return kind if kind not in (None, Bound) else m.abort("`type` of a value that capture cannot see")


def _super(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if not args:
        args = [m.local("__class__"), m.local(m.code.co_varnames[0])]
    if len(args) != 2 or not all(is_known(item) and item is not MISSING for item in args):
        m.abort("`super` is called on something that capture cannot see")
    return super(*args)


def _iter(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if len(args) == 1:
        return m.rec.caller.iterate(m, args[0])
    callback(m, fn, args[0])
    return Unseen(type(iter(int, 1)), fresh=True)


def _next(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    m.rec.judge(m, args[0], "`next` on")
    item = next_item(m, args[0])
    if type(item) is not Unseen:
        return item if item is not END else (args[1] if len(args) == 2 else Unseen())
    return (
        _or_default(m, item, args[1]) if len(args) == 2 and kind_of(args[0]) is types.GeneratorType else item
    )


def _dict(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    like: dict[Any, Any] | Any = {}
    if args:
        table = parts(args[0])
        if isinstance(table, dict) and python_method(type(table), "keys") is None:
            m.rec.judge(m, args[0], "the items of")
            like = dict(table) if all(is_key(m, key) for key in table) else MISSING
        else:
            pairs: Any = m.rec.caller.elements(m, args[0])
            pairs = MISSING if pairs is MISSING else [parts(pair) for pair in pairs]
            known = pairs is not MISSING and all(
                type(pair) in (tuple, list) and len(pair) == 2 and policy.is_plain(pair[0]) for pair in pairs
            )
            like = dict(pairs) if known else MISSING
    if like is not MISSING:
        like.update(kwargs)
    return Unseen(dict, fresh=True, like=like)


def _partial(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if not all(map(is_known, (*args, *kwargs.values()))):
        return Unseen(functools.partial, fresh=True)
    return fn(*args, **kwargs)  # a second one, as good as the program's own


def _reduce(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    callback(m, fn, args[0])
    m.rec.judge(m, args[1], "`reduce` on")
    m.rec.forget(args[1])
    code = code_of(args[0])
    return Unseen() if code is None else m.expect(code)


def _build_class(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    body = args[0]
    if type(body) is not Unseen or not isinstance(body.made, Made):
        return m.abort("a class is made of something that capture cannot see")
    m.call = call = Call(body.made.code, [], {})
    call.made = body.made
    return Unseen(None, fresh=True)


def _new(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    cls = args[0]
    if not isinstance(cls, type) or not policy.is_solid(cls):
        return m.abort("`__new__` is called for a type that capture does not know")
    return Unseen(None if issubclass(cls, type) else cls, fresh=True)


def _defaultdict(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    if args:
        callback(m, fn, args[0])
    return making(defaultdict)(m, fn, args[1:], kwargs)


def _make(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    return m.rec.caller.construct(m, args[0], args[1:], kwargs)


def _format(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    """`str.format` looks up attributes and items of its own accord."""
    text = pure(str)(m, fn, args, kwargs)
    if is_known(text):
        return text
    template = args[0]
    if type(template) is str and fn.__name__ == "format":
        names = [name or "" for _, name, _, _ in string.Formatter().parse(template)]
        if not any("." in name or "[" in name for name in names):
            return text
    return m.abort(f"`{name_of(fn)}` looks into objects", "use an f-string")


# ---- methods of containers ------------------------------------------------------------------------------


def _get(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    key, default = args[1], args[2] if len(args) > 2 else None
    whole = parts(args[0])
    if id(whole) in m.rec.spaces and type(key) is str:
        value = m.rec.space_entry(m, whole, key)
        return default if value is MISSING else value
    if isinstance(whole, dict) and is_key(m, key):
        return dict.get(whole, key, default)
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
    whole = parts(args[0])
    m.rec.judge(m, args[0], "a copy of")
    like = whole.copy() if type(whole) in (list, dict, set) else MISSING
    return Unseen(kind_of(args[0]), fresh=True, like=like)


def _append(m: Frame, target: Any, item: Any) -> None:
    m.appears(item, lambda: target[-1])


def _pop(m: Frame, target: Any, *where: Any) -> Any:
    if isinstance(target, dict):
        default = where[1] if len(where) > 1 else Unseen()
        return dict.get(target, where[0], default) if is_known(where[0]) and is_key(m, where[0]) else Unseen()
    try:
        return target[where[0] if where else -1] if type(target) is list else Unseen()
    except (IndexError, TypeError):
        return Unseen()


def _setdefault(m: Frame, target: Any, key: Any, value: Any = None) -> Any:
    return dict.get(target, key, value) if is_known(key) and is_key(m, key) else Unseen()


def _unknown(m: Frame, target: Any, *args: Any) -> Any:
    return Unseen()


def _set_item(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    changing()(m, fn, args, kwargs)
    if fn.__name__ == "__setitem__" and is_known(args[0]):
        change_item(m, args[0], args[1], args[2])


def _get_item(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    return subscript(m, args[0], args[1], overridden=False)


def _has_item(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    return contains(m, args[1], args[0], overridden=False)


# ---- the tables ---------------------------------------------------------------------------------------

_ACTS = refuse("acts outside Lampion", "it cannot be replayed: move it out of the compiled function")
FUNCTIONS: dict[Any, Rule] = {
    # objects and attributes
    len: _len, isinstance: _isinstance, issubclass: _isinstance, callable: _callable, type: _type,
    super: _super, getattr: _getattr, hasattr: _hasattr, setattr: _setattr, delattr: _setattr, vars: _vars,
    object: making(object), property: making(property), staticmethod: making(staticmethod),
    classmethod: making(classmethod), builtins.__build_class__: _build_class,
    # numbers and text
    abs: pure(None, "__abs__"), round: pure(None, "__round__"), ord: pure(int), chr: pure(str),
    hash: pure(int), divmod: pure(None, "__divmod__", "__rdivmod__"), pow: pure(None, "__pow__", "__rpow__"),
    hex: pure(str), bin: pure(str), oct: pure(str), ascii: pure(str), repr: pure(str, "__repr__"),
    str: pure(str), format: pure(str, "__format__"), bytes: pure(bytes), int: pure(int), float: pure(float),
    complex: pure(complex), bool: lambda m, fn, args, kwargs: truth(m, args[0]) if args else False,
    range: pure(range), slice: pure(slice), operator.index: pure(int, "__index__"),
    # iteration
    iter: _iter, next: _next, sum: folding(None, "__add__", "__radd__"), any: folding(bool),
    all: folding(bool), math.fsum: folding(float), math.prod: folding(None, "__mul__", "__rmul__"),
    min: ordering(None), max: ordering(None), sorted: ordering(list),
    zip: lazy(lambda *parts, **how: map(as_tuple, zip(*parts, **how))),  # noqa: B905  # `how` says it
    enumerate: lazy(lambda *parts, **how: map(as_tuple, enumerate(*parts, **how))),
    reversed: lazy(reversed), map: lazy(None, 1), filter: lazy(None, 1), itertools.count: lazy(),
    itertools.chain: lazy(itertools.chain), itertools.islice: lazy(itertools.islice),
    itertools.product: lazy(), itertools.repeat: lazy(), itertools.cycle: lazy(), itertools.pairwise: lazy(),
    itertools.zip_longest: lazy(), itertools.accumulate: lazy(), itertools.combinations: lazy(),
    itertools.permutations: lazy(), itertools.starmap: lazy(None, 1), itertools.takewhile: lazy(None, 1),
    functools.reduce: _reduce, functools.partial: _partial,
    # containers
    list: gathering(list), tuple: gathering(tuple), set: gathering(set), frozenset: gathering(frozenset),
    dict: _dict, deque: making(deque), OrderedDict: making(OrderedDict), defaultdict: _defaultdict,
    operator.getitem: lambda m, fn, args, kwargs: subscript(m, args[0], args[1]),
    operator.contains: lambda m, fn, args, kwargs: contains(m, args[1], args[0]),
    # no
    **dict.fromkeys((print, input, open, exec, eval), _ACTS),
    functools._lru_cache_wrapper: refuse("keeps results", "call the plain function"),
}  # fmt: skip
for _name, _fn in vars(math).items():
    if isinstance(_fn, types.BuiltinFunctionType):
        FUNCTIONS.setdefault(_fn, pure(None, f"__{_name}__"))
_OPERATORS = (
    "add sub mul truediv floordiv mod pow matmul neg pos abs invert lt le eq ne gt ge and_ or_ xor not_"
)
for _name in _OPERATORS.split():
    _word = _name.strip("_")
    FUNCTIONS[getattr(operator, _name)] = pure(None, f"__{_word}__", f"__r{_word}__")

# Types whose objects never change: every method of theirs is harmless.
CONSTANT = (str, bytes, int, float, complex, bool, range, slice, tuple, frozenset, type(None))
_NOT_HERE = ("__getattribute__", "__setattr__", "__delattr__", "__new__", "__iter__", "__getitem__")
METHODS: dict[tuple[type, str], Rule] = {
    (cls, name): pure()
    for cls in CONSTANT
    for name, method in vars(cls).items()
    if isinstance(method, policy.C_CALLABLES) and name not in _NOT_HERE
}
STATIC: dict[tuple[type, str], Rule] = {
    (cls, name): pure()
    for cls in CONSTANT
    for name, method in vars(cls).items()
    if isinstance(method, (staticmethod, types.ClassMethodDescriptorType))
}
_INSTANCES = (object, *CONSTANT, list, dict, set, OrderedDict, defaultdict, deque, BaseException, type)
STATIC.update({(cls, "__new__"): _new for cls in _INSTANCES})
STATIC.update(
    {
        (object, "__init_subclass__"): nothing, (object, "__subclasshook__"): nothing,
        (dict, "fromkeys"): pure(dict), (itertools.chain, "from_iterable"): lazy(),
    }
)  # fmt: skip
_CHANGING: dict[type, str] = {
    list: "extend insert remove clear reverse __init__ __iadd__",
    dict: "update clear __init__ __ior__",
    set: "add discard remove clear update difference_update intersection_update symmetric_difference_update "
    "__init__",
    deque: "append appendleft extend extendleft clear remove reverse rotate insert __init__",
    OrderedDict: "move_to_end update clear __init__",
    defaultdict: "__init__",
}
for _cls, _names in _CHANGING.items():
    METHODS.update({(_cls, name): changing() for name in _names.split()})
for _cls in (list, dict, deque, OrderedDict, tuple):
    METHODS[_cls, "__getitem__"], METHODS[_cls, "__contains__"] = _get_item, _has_item
    METHODS[_cls, "__len__"] = _len
    if _cls is not tuple:
        METHODS[_cls, "__setitem__"] = METHODS[_cls, "__delitem__"] = _set_item
for _cls in (dict, OrderedDict):
    METHODS.update({(_cls, name): _view for name in ("keys", "values", "items")})
for _name in ("union", "intersection", "difference", "symmetric_difference"):
    METHODS[set, _name] = pure(set)
METHODS.update(
    {
        (str, "format"): _format, (str, "format_map"): _format, (str, "__mod__"): pure(str),
        (str, "join"): folding(str),
        (bytes, "join"): folding(bytes), (list, "append"): changing(_append), (list, "pop"): changing(_pop),
        (list, "sort"): changing(callbacks="key"), (list, "copy"): _copy, (list, "count"): pure(int),
        (list, "index"): pure(int), (dict, "get"): _get, (dict, "copy"): _copy, (dict, "pop"): changing(_pop),
        (dict, "setdefault"): changing(_setdefault), (dict, "popitem"): changing(_unknown),
        (set, "copy"): _copy, (set, "pop"): changing(_unknown), (set, "issubset"): pure(bool),
        (set, "issuperset"): pure(bool), (set, "isdisjoint"): pure(bool), (set, "__contains__"): pure(bool),
        (deque, "pop"): changing(_unknown), (deque, "popleft"): changing(_unknown), (deque, "copy"): _copy,
        (deque, "count"): pure(int), (deque, "index"): pure(int), (OrderedDict, "copy"): _copy,
        (object, "__init__"): nothing, (object, "__setattr__"): _setattr, (object, "__delattr__"): _setattr,
        (object, "__getattribute__"): _getattribute, (object, "__eq__"): pure(bool),
        (object, "__ne__"): pure(bool), (object, "__hash__"): pure(int), (object, "__repr__"): pure(str),
        (object, "__str__"): pure(str), (object, "__format__"): pure(str), (type, "__call__"): _make,
        (type, "__init__"): nothing, (type, "__setattr__"): _setattr, (type, "__instancecheck__"): pure(bool),
        (type, "mro"): pure(list), (BaseException, "__init__"): nothing,
        (types.GeneratorType, "throw"): changing(_unknown), (types.GeneratorType, "close"): changing(),
        (property, "setter"): making(property), (property, "getter"): making(property),
        (property, "deleter"): making(property),
    }
)  # fmt: skip

# As a callback of another C function: conversions and calculations.
_HARMLESS = {
    len, isinstance, abs, round, hash, ord, chr, repr, format, sum, any, all, min, max, sorted, callable,
    bool, int, float, str, complex, bytes, range, list, tuple, set, frozenset, dict, zip, enumerate, reversed,
    *(f for f in FUNCTIONS if getattr(f, "__module__", None) in ("math", "_operator")),
}  # fmt: skip


class Rules:
    """The tables, as a Recorder asks them."""

    def __init__(self, rec: Recorder) -> None:
        self.rec = rec

    def for_class(self, cls: type) -> Rule | None:
        return _numpy_scalar if issubclass(cls, (np.generic, np.dtype)) else FUNCTIONS.get(cls)

    def is_harmless(self, fn: Any) -> bool:
        if isinstance(fn, types.MethodDescriptorType):
            return fn.__objclass__ in CONSTANT
        return isinstance(fn, (type, types.BuiltinFunctionType)) and fn in _HARMLESS

    def callback(self, m: Frame, fn: Any, item: Any) -> None:
        callback(m, fn, item)

    def judge(self, m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
        """Find the rule for a C function, and apply it."""
        owner = getattr(fn, "__self__", None)
        rule = FUNCTIONS.get(fn)
        if rule is None and isinstance(owner, type) and isinstance(fn, types.BuiltinFunctionType):
            rule = _inherited(STATIC, owner, fn.__name__)
        elif rule is None and owner is not None and not isinstance(owner, types.ModuleType):
            rule = _inherited(METHODS, type(owner), fn.__name__) or (
                pure() if policy.is_data(owner) else None
            )
            unbound, _ = find(type(owner), fn.__name__)
            fn, args = unbound if isinstance(unbound, policy.C_CALLABLES) else fn, [owner, *args]
        elif rule is None and (base := getattr(fn, "__objclass__", None)) is not None:
            rule = METHODS.get((base, fn.__name__))
        if rule is None:
            return m.abort(
                f"`{name_of(fn)}` is called, and its effects cannot be seen",
                "it cannot be replayed: move it out of the compiled function",
            )
        return rule(m, fn, args, kwargs)


def _inherited(table: dict[tuple[type, str], Rule], cls: type, name: str) -> Rule | None:
    return next((table[base, name] for base in cls.__mro__ if (base, name) in table), None)


def _numpy_scalar(m: Frame, fn: Any, args: Args, kwargs: Named) -> Any:
    result = pure()(m, fn, args, kwargs)
    return (
        result if policy.is_data(result) else m.abort(f"NumPy's `{name_of(fn)}` is called on a value unseen")
    )
