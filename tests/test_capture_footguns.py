"""Capture's footguns: a value that changes after the first call is noticed, an effect ends the capture.

Two tables. In the first each row runs once, changes one thing that the run had read, and expects
`guards.check()` to name it. In the second the comment ``# HERE`` marks the line that the error must name.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import dataclasses
import datetime
import functools
import itertools
import os
import random
import sys
import threading
import time
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import capture_core as core
import numpy as np
import pytest
from capture_core import Tensor, no_grad
from capture_harness import Linear, Module, Parameter, capture, guarded, recorder, refused, true_stacks

from lampion.compiler.capture import CaptureError

X = Tensor(2, 3)


@pytest.fixture(autouse=True)
def compared() -> Iterator[Any]:
    with true_stacks() as count:
        yield count


# ---- what changes after the first call ----------------------------------------------------------------


class Net(Module):
    rate = 0.5
    shared: dict[str, Any] = {"a": 1}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.linear = Linear()
        self.scale = 2.0
        self.config: dict[str, Any] = {"a": {"b": [1, 2]}, "t": (1, (2, 3))}
        self.layers = [Linear(), Linear()]
        self.names = {"x", "y"}
        self.queue = collections.deque([1, 2])
        self.mode = "train"
        self.nothing = None
        self.act = core.relu
        self.bound = self.helper
        self.look = self.shared.get
        self.part = functools.partial(helper, k=2)

    def helper(self, x: Any) -> Any:
        return x

    @property
    def twice(self) -> float:
        return self.scale * 2

    @classmethod
    def klass(cls, x: Any) -> Any:
        return x * cls.rate

    @staticmethod
    def static(x: Any) -> Any:
        return x

    def forward(self, x: Any) -> Any:
        return self.linear(x) * self.scale


class Meta(type):
    @property
    def level(cls) -> int:
        return cls.depth  # type: ignore[attr-defined, no-any-return]


class WithMeta(metaclass=Meta):
    depth = 1


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: Any) -> None:
        self.a = a


class Dynamic:
    def __getattr__(self, name: str) -> Any:
        return self.table[name]

    def __init__(self) -> None:
        self.table = {"k": 1}


class Watched:
    def __init__(self) -> None:
        self.k = 1

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)


class Callme:
    def __init__(self) -> None:
        self.n = 1

    def __call__(self, x: Any) -> Any:
        return x * self.n


class Scaled(Tensor):
    """A user's own kind of Tensor: its own attributes are not the core's affair."""

    factor = 2.0

    def __init__(self) -> None:
        super().__init__(2)
        self.note = "a"

    def scaled(self) -> Any:
        return self * self.factor


@dataclasses.dataclass
class Config:
    width: int = 3
    deep: dict[str, Any] = dataclasses.field(default_factory=lambda: {"k": [1]})


class AttrDict(dict):  # type: ignore[type-arg]
    def __getattr__(self, name: str) -> Any:
        return self[name]


def helper(x: Any, k: int = 1, *, scale: float = 1.0, options: Any = {"z": [1]}) -> Any:  # noqa: B006
    return x * k * scale * options["z"][0]


def other(x: Any, k: int = 1, *, scale: float = 1.0) -> Any:
    return x


def decorated(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


SCALE = 2.0
FLAG: Any = True
ZERO = 0.0
NAN = float("nan")
LIST: list[Any] = [1, [2, {"k": 3}]]
SCALAR = np.float32(1.5)
FUNCTIONS: dict[str, Any] = {"f": helper, "g": other}
SPACE = types.SimpleNamespace(k=1)
wrapped = decorated(other)


@contextlib.contextmanager
def scaled(factor: float) -> Iterator[float]:
    yield factor * SCALE


def make_closure(k: float) -> tuple[Callable[..., Any], Callable[[float], None]]:
    def read(x: Any) -> Any:
        return (lambda v: v * k)(x)

    def write(value: float) -> None:
        nonlocal k
        k = value

    return read, write


class World:
    """Everything a row may read and change; a new one for each row."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.net = Net()
        self.read, self.write = make_closure(2.0)
        self.slotted, self.dynamic, self.watched, self.call = Slotted(1), Dynamic(), Watched(), Callme()
        self.config, self.attributes = Config(), AttrDict(k=1)
        self.default = collections.defaultdict(list, a=[1])
        self.ordered = collections.OrderedDict(a=1, b=2)
        self.tensors = [Parameter(2), Parameter(2)]
        self.scaled = Scaled()
        self.make, self.write_size = make_class(3)
        for rank, layer in enumerate(self.net.layers):
            layer.rank = rank

    def set(self, name: str, value: Any) -> None:
        self.patch.setitem(globals(), name, value)


Run = Callable[[World, Any], Any]
Change = Callable[[World], Any]


def branch(w: World, x: Any) -> Any:
    return x * 2 if w.net.mode == "train" else x


def nested(w: World, x: Any) -> Any:
    def inner(v: Any) -> Any:
        return v * SCALE

    return inner(x)


def loop(w: World, x: Any) -> Any:
    for layer in w.net.layers:
        x = layer(x)
    return x


def unpacked(w: World, x: Any) -> Any:
    first, (second, rest) = LIST
    return x * first * second


def with_manager(w: World, x: Any) -> Any:
    with scaled(1.0) as factor:
        return x * factor


def starred(w: World, x: Any) -> Any:
    return helper(x, *[1], **{"scale": w.net.scale})


def grouped(w: World, x: Any) -> Any:
    return core.stack([t * x for t in w.tensors])


def through_core(w: World, x: Any) -> Any:
    def inner(v: Any) -> Any:
        return v * SCALE

    return core.apply(inner, x)


def mapped(w: World, x: Any) -> Any:
    return list(map(helper, [x]))


def imported(w: World, x: Any) -> Any:
    import math

    return x * math.tau


def class_from_closure(w: World, x: Any) -> Any:
    return w.make(x)


def make_class(size: int) -> tuple[Callable[..., Any], Callable[[int], None]]:
    def make(x: Any) -> Any:
        class Local:
            width = size

        return x * Local.width

    def write(value: int) -> None:
        nonlocal size
        size = value

    return make, write


def sort_by(w: World, x: Any) -> Any:
    return [layer(x) for layer in sorted(w.net.layers, key=lambda layer: layer.rank)]


def vars_read(w: World, x: Any) -> Any:
    return x * vars(w.net)["scale"] * w.net.__dict__.get("missing", 1)


def environment(w: World, x: Any) -> Any:
    return x if os.environ["HOME"] else None


CHANGES: list[tuple[str, Run, Change, str]] = [
    ("attribute", lambda w, x: x * w.net.scale, lambda w: setattr(w.net, "scale", 3.0), "`scale` of Net changed from 2.0 to 3.0"),
    ("attribute type", lambda w, x: x * w.net.scale, lambda w: setattr(w.net, "scale", 2), "changed from 2.0 to 2"),
    ("attribute by branch", branch, lambda w: setattr(w.net, "mode", "eval"), "'train' to 'eval'"),
    ("training", lambda w, x: w.net.training, lambda w: setattr(w.net, "training", False), "`training`"),
    ("attribute deleted", lambda w, x: w.net.scale, lambda w: delattr(w.net, "scale"), "to nothing"),
    ("attribute appears", lambda w, x: getattr(w.net, "bonus", 1), lambda w: setattr(w.net, "bonus", 2), "from nothing to 2"),
    ("hasattr", lambda w, x: hasattr(w.net, "bonus"), lambda w: setattr(w.net, "bonus", 2), "`bonus`"),
    ("shadowed method", lambda w, x: w.net.helper(x), lambda w: w.net.__dict__.update(helper=abs), "`helper` of Net"),
    ("namespace replaced", lambda w, x: w.config.width, lambda w: setattr(w.config, "__dict__", {"width": 9}), "class of a Config"),
    ("class of object", lambda w, x: w.config.width, lambda w: setattr(w.config, "__class__", type("C", (Config,), {})), "class of"),
    ("global", lambda w, x: x * SCALE, lambda w: w.set("SCALE", 3.0), "global `SCALE` changed from 2.0 to 3.0"),
    ("global bool as int", lambda w, x: FLAG, lambda w: w.set("FLAG", 1), "changed from True to 1"),
    ("minus zero", lambda w, x: x * ZERO, lambda w: w.set("ZERO", -0.0), "from 0.0 to -0.0"),
    ("numpy scalar", lambda w, x: x * SCALAR, lambda w: w.set("SCALAR", np.float64(1.5)), "`SCALAR`"),
    ("global shadows builtin", lambda w, x: len([x]), lambda w: w.set("len", lambda v: 7), "global `len`"),
    ("builtin replaced", lambda w, x: len([x]), lambda w: w.patch.setattr("builtins.len", lambda v: 7), "builtin `len`"),
    ("closure", lambda w, x: w.read(x), lambda w: w.write(3.0), "closure variable `k` changed from 2.0 to 3.0"),
    ("nested function's global", nested, lambda w: w.set("SCALE", 3.0), "global `SCALE`"),
    ("nested dict and list", lambda w, x: w.net.config["a"]["b"][0], lambda w: w.net.config["a"]["b"].__setitem__(0, 5), "`config` of Net['a']['b'][0] changed from 1 to 5"),
    ("dict entry added", lambda w, x: len(w.net.config), lambda w: w.net.config.update(n=1), "length"),
    ("tuple replaced", lambda w, x: w.net.config["t"][1][0], lambda w: w.net.config.update(t=(1, (2, 4))), "['t']"),
    ("list grows", loop, lambda w: w.net.layers.append(Linear()), "`layers` of Net (length) changed from 2 to 3"),
    ("list item replaced", loop, lambda w: w.net.layers.__setitem__(0, Linear()), "[0] was replaced"),
    ("list reordered", loop, lambda w: w.net.layers.reverse(), "[0] was replaced"),
    ("inner attribute", loop, lambda w: setattr(w.net.layers[1], "bias", Parameter(3)), "bias"),
    ("global list, deep", unpacked, lambda w: w.patch.setitem(LIST[1][1], "k", 4), "['k'] changed from 3 to 4"),
    ("set", lambda w, x: "x" in w.net.names, lambda w: w.net.names.discard("x"), "`names`"),
    ("deque", lambda w, x: w.net.queue[0], lambda w: w.net.queue.rotate(1), "`queue`"),
    ("dict order", lambda w, x: list(w.ordered), lambda w: w.ordered.move_to_end("a"), "`ordered`"),
    ("defaultdict", lambda w, x: w.default["a"], lambda w: w.default["a"].append(2), "['a'] (length)"),
    ("dict subclass", lambda w, x: w.attributes.k, lambda w: w.attributes.update(k=2), "`attributes` of World['k']"),
    ("parameter replaced", lambda w, x: w.net(x), lambda w: setattr(w.net.linear, "weight", Parameter(3, 3)), "['weight'] was replaced"),
    ("tensor in list", grouped, lambda w: w.tensors.pop(), "`tensors` of World (length)"),
    ("class attribute", lambda w, x: w.net.rate, lambda w: w.patch.setattr(Net, "rate", 0.7), "`Net.rate` changed from 0.5 to 0.7"),
    ("class attribute, deep", lambda w, x: Net.shared["a"], lambda w: w.patch.setitem(Net.shared, "a", 2), "['a'] changed from 1 to 2"),
    ("class attribute hidden by instance", lambda w, x: w.net.rate, lambda w: setattr(w.net, "rate", 9), "`rate` of Net"),
    ("metaclass property", lambda w, x: WithMeta.level, lambda w: w.patch.setattr(WithMeta, "depth", 2), "`WithMeta.depth`"),
    ("monkeypatched method", lambda w, x: w.net.helper(x), lambda w: w.patch.setattr(Net, "helper", other), "`Net.helper`"),
    ("monkeypatched base", lambda w, x: w.net(x), lambda w: w.patch.setattr(Module, "__call__", other), "`Net.__call__`"),
    ("method added below", lambda w, x: w.net(x), lambda w: w.patch.setattr(Net, "__call__", other, raising=False), "`Net.__call__`"),
    ("core method", lambda w, x: x.relu(), lambda w: w.patch.setattr(Tensor, "relu", other), "`Tensor.relu`"),
    ("core function", lambda w, x: core.relu(x), lambda w: w.patch.setattr(core, "relu", other), "`capture_core.relu`"),
    ("property replaced", lambda w, x: w.net.twice, lambda w: w.patch.setattr(Net, "twice", 1), "`Net.twice`"),
    ("property's read", lambda w, x: w.net.twice, lambda w: setattr(w.net, "scale", 9.0), "`scale`"),
    ("operator added", lambda w, x: w.call == w.net, lambda w: w.patch.setattr(Callme, "__eq__", other), "`Callme.__eq__`"),
    ("truth added", lambda w, x: 1 if w.call else 2, lambda w: w.patch.setattr(Callme, "__bool__", other, raising=False), "`Callme.__bool__`"),
    ("classmethod", lambda w, x: w.net.klass(x), lambda w: w.patch.setattr(Net, "klass", classmethod(other)), "`Net.klass`"),
    ("staticmethod", lambda w, x: w.net.static(x), lambda w: w.patch.setattr(Net, "static", staticmethod(helper)), "`Net.static`"),
    ("callable object", lambda w, x: w.call(x), lambda w: w.patch.setattr(Callme, "__call__", other), "`Callme.__call__`"),
    ("callable's attribute", lambda w, x: w.call(x), lambda w: setattr(w.call, "n", 2), "`n` of Callme"),
    ("function replaced", lambda w, x: helper(x), lambda w: w.set("helper", other), "global `helper` changed from `helper` to `other`"),
    ("function code", lambda w, x: helper(x), lambda w: w.patch.setattr(helper, "__code__", (lambda x, k=1, *, scale=1.0, options=None: x).__code__), "function `helper`"),
    ("default argument", lambda w, x: helper(x), lambda w: w.patch.setattr(helper, "__defaults__", (2,)), "function `helper`"),
    ("keyword default", lambda w, x: helper(x), lambda w: w.patch.setitem(helper.__kwdefaults__, "scale", 2.0), "['scale'] changed from 1.0 to 2.0"),
    ("mutable default", lambda w, x: helper(x), lambda w: w.patch.setitem(helper.__kwdefaults__["options"], "z", [2]), "['z']"),
    ("default through map", mapped, lambda w: w.patch.setattr(helper, "__defaults__", (2,)), "function `helper`"),
    ("function in dict", lambda w, x: FUNCTIONS["f"](x), lambda w: w.patch.setitem(FUNCTIONS, "f", other), "['f']"),
    ("function in attribute", lambda w, x: w.net.act(x), lambda w: setattr(w.net, "act", other), "`act` of Net"),
    ("bound method in attribute", lambda w, x: w.net.bound(x), lambda w: setattr(w.net, "bound", Net().helper), "`bound`"),
    ("partial in attribute", lambda w, x: w.net.part(x), lambda w: setattr(w.net, "part", functools.partial(helper)), "`part`"),
    ("kept method of a dict", lambda w, x: w.net.look("a"), lambda w: w.net.shared.update(a=5), "['a'] changed from 1 to 5"),
    ("partial's keywords", lambda w, x: w.net.part(x), lambda w: w.net.part.keywords.update(k=9), "['k'] changed from 2 to 9"),
    ("decorated", lambda w, x: wrapped(x), lambda w: setattr(wrapped.__closure__[0], "cell_contents", helper), "closure variable `fn`"),
    ("context manager's global", with_manager, lambda w: w.set("SCALE", 9.0), "global `SCALE`"),
    ("keyword arguments", starred, lambda w: setattr(w.net, "scale", 9.0), "`scale`"),
    ("called by the core", through_core, lambda w: w.set("SCALE", 9.0), "global `SCALE`"),
    ("slot", lambda w, x: w.slotted.a, lambda w: setattr(w.slotted, "a", 2), "`a` of Slotted changed from 1 to 2"),
    ("slot emptied", lambda w, x: w.slotted.a, lambda w: delattr(w.slotted, "a"), "no longer there"),
    ("__getattr__", lambda w, x: w.dynamic.k, lambda w: w.dynamic.table.update(k=2), "['k'] changed from 1 to 2"),
    ("__getattr__ overtaken", lambda w, x: w.dynamic.k, lambda w: setattr(w.dynamic, "k", 2), "`k` of Dynamic"),
    ("__getattribute__", lambda w, x: w.watched.k, lambda w: setattr(w.watched, "k", 2), "`k` of Watched"),
    ("dataclass", lambda w, x: w.config.deep["k"][0], lambda w: w.config.deep["k"].append(1), "`deep` of Config['k']"),
    ("namespace object", lambda w, x: SPACE.k, lambda w: w.patch.setattr(SPACE, "k", 2), "`k` of SimpleNamespace"),
    ("module attribute", imported, lambda w: w.patch.setattr("math.tau", 6.0), "`math.tau`"),
    ("vars", vars_read, lambda w: setattr(w.net, "scale", 9.0), "`scale` of Net"),
    ("__dict__.get", vars_read, lambda w: setattr(w.net, "missing", 9.0), "`missing` of Net"),
    ("environment", environment, lambda w: w.patch.setenv("HOME", ""), "HOME"),
    ("class made of a closure", class_from_closure, lambda w: w.write_size(4), "closure variable `size` changed from 3 to 4"),
    ("own Tensor's class attribute", lambda w, x: w.scaled.factor, lambda w: w.patch.setattr(Scaled, "factor", 3.0), "`Scaled.factor`"),
    ("own Tensor's attribute", lambda w, x: w.scaled.note, lambda w: setattr(w.scaled, "note", "b"), "`note` of Scaled"),
    ("own Tensor's method", lambda w, x: w.scaled.scaled(), lambda w: w.patch.setattr(Scaled, "factor", 3.0), "`Scaled.factor`"),
    ("sort key's read", sort_by, lambda w: setattr(w.net.layers[0], "rank", 9), "`rank` of Linear"),
    ("function's name", lambda w, x: helper.__name__, lambda w: w.patch.setattr(helper, "__name__", "h"), "`__name__`"),
]  # fmt: skip


@pytest.mark.parametrize(("run", "change", "words"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
def test_change_is_noticed(run: Run, change: Change, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    try:
        guards = guarded(run, world, X)
    except CaptureError as error:
        pytest.fail(f"refused: {error}")
    assert guards.check() is None
    change(world)
    said = guards.check()
    assert said is not None
    assert words in said


KEEPS: list[tuple[str, Run, Change]] = [
    ("equal scalar", lambda w, x: w.net.scale, lambda w: setattr(w.net, "scale", float("2.0"))),
    ("equal string", lambda w, x: w.net.mode, lambda w: setattr(w.net, "mode", "".join(["tr", "ain"]))),
    ("equal tuple", lambda w, x: w.net.config["t"], lambda w: w.net.config.update(t=(1, (2, 3)))),
    ("nan", lambda w, x: x * NAN, lambda w: w.set("NAN", float("nan"))),
    ("attribute not read", lambda w, x: w.net.scale, lambda w: setattr(w.net, "mode", "eval")),
    ("new attribute", lambda w, x: w.net.scale, lambda w: setattr(w.net, "extra", 1)),
    ("gradient", lambda w, x: w.net(x), lambda w: setattr(w.net.linear.weight, "grad", X)),
    ("same bound method", lambda w, x: w.net.bound(x), lambda w: setattr(w.net, "bound", w.net.helper)),
]


@pytest.mark.parametrize(("run", "change"), [row[1:] for row in KEEPS], ids=[row[0] for row in KEEPS])
def test_no_change_is_noticed(run: Run, change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    guards = guarded(run, world, X)
    change(world)
    assert guards.check() is None


# ---- what ends a capture ------------------------------------------------------------------------------


class Counter(Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = 0
        self.state: Any = None
        self.log: list[Any] = []
        self.best = {"loss": 1.0}
        self.array = np.zeros(3)
        self.data = iter([1, 2, 3])
        self.lock = threading.Lock()
        self.values = self.best.values()
        self.proxy = types.MappingProxyType(self.best)
        self.add = self.log.append

    @functools.cached_property
    def cached(self) -> int:
        return 3

    @property
    def fresh_count(self) -> int:
        return self.n

    @fresh_count.setter
    def fresh_count(self, value: int) -> None:
        self.n = value


COUNTER = Counter()
TOTAL = 0
ARRAY = np.ones(3)
HISTORY: list[Any] = []
RNG = random.Random(0)
GENERATOR = (i for i in range(10))
ITERATOR = iter([1, 2, 3])
STARTED = (i for i in range(10))
next(STARTED)
CELL = [0]
COUNTS = itertools.count()
DEFAULT: dict[str, list[Any]] = collections.defaultdict(list)
REFERENCE = weakref.ref(COUNTER)
STREAM = sys.stdout
LOCAL = threading.local()
LOCAL.k = 1


@functools.lru_cache
def remembered(k: int) -> int:
    return k


def attribute_counter(x: Any) -> Any:
    COUNTER.n += 1  # HERE
    return x


def attribute_state(x: Any) -> Any:
    COUNTER.state = x.relu()  # HERE
    return x


def attribute_by_setattr(x: Any) -> Any:
    setattr(COUNTER, "n", 1)  # noqa: B010 # HERE


def attribute_deleted(x: Any) -> Any:
    del COUNTER.n  # HERE


def property_set(x: Any) -> Any:
    COUNTER.fresh_count = 3  # HERE


def class_attribute_set(x: Any) -> Any:
    Counter.total = 1  # type: ignore[attr-defined] # HERE


def function_attribute_set(x: Any) -> Any:
    attribute_counter.calls = 1  # type: ignore[attr-defined] # HERE


def module_attribute_set(x: Any) -> Any:
    core.extra = 1  # type: ignore[attr-defined] # HERE


def tensor_attribute_set(x: Any) -> Any:
    x.note = 1  # HERE


def namespace_set(x: Any) -> Any:
    COUNTER.__dict__["n"] = 1  # HERE


def namespace_updated(x: Any) -> Any:
    vars(COUNTER).update(n=1)  # HERE


def global_set(x: Any) -> Any:
    global TOTAL
    TOTAL = 1  # HERE


def make_writer() -> Any:
    kept = 0

    def writer(x: Any) -> Any:
        nonlocal kept
        kept += 1  # HERE
        return x * kept

    return writer


def list_append(x: Any) -> Any:
    HISTORY.append(x)  # HERE


def list_append_by_alias(x: Any) -> Any:
    log = COUNTER.log
    add = log.append
    add(1)  # HERE


def list_extended(x: Any) -> Any:
    log = COUNTER.log
    log += [1]  # HERE


def list_item(x: Any) -> Any:
    CELL[0] += 1  # HERE


def list_sorted(x: Any) -> Any:
    CELL.sort()  # HERE


def argument_list(x: Any, batch: Any) -> Any:
    batch.append(1)  # HERE


def argument_dict(x: Any, batch: Any) -> Any:
    batch["mask"] = x  # HERE


def dict_store(x: Any) -> Any:
    COUNTER.best["loss"] = 0.5  # HERE


def dict_update(x: Any) -> Any:
    COUNTER.best.update(loss=2)  # HERE


def dict_setdefault(x: Any) -> Any:
    COUNTER.best.setdefault("acc", 0)  # HERE


def dict_delete(x: Any) -> Any:
    del COUNTER.best["loss"]  # HERE


def default_dict_entry(x: Any) -> Any:
    return DEFAULT["new"]  # HERE


def fresh_holds_outside(x: Any) -> Any:
    mine = {"log": HISTORY}
    mine["log"].append(x)  # HERE


def outside_from_fresh_tuple(x: Any) -> Any:
    for items in (HISTORY, CELL):
        items.clear()  # HERE


def outside_by_copy(x: Any) -> Any:
    copied = list(COUNTER.best.items())
    copied.append(("a", HISTORY))
    copied[-1][1].append(1)  # HERE


def mutable_default(x: Any, seen: Any = []) -> Any:  # noqa: B006
    seen.append(1)  # HERE


def printing(x: Any) -> Any:
    print("step")  # noqa: T201 # HERE


def print_by_map(x: Any) -> Any:
    return list(map(print, [1]))  # HERE


def print_as_key(x: Any) -> Any:
    return sorted([1, 2], key=print)  # type: ignore[arg-type] # HERE


def print_by_partial(x: Any) -> Any:
    functools.partial(print, "a")()  # HERE


def stream_written(x: Any) -> Any:
    STREAM.write("a")  # HERE


def file_opened(x: Any) -> Any:
    with open("/dev/null") as file:  # HERE
        return file.read()


def warned(x: Any) -> Any:
    warnings.warn("careful", stacklevel=1)  # HERE


def random_number(x: Any) -> Any:
    return x * random.random()  # HERE


def random_object(x: Any) -> Any:
    return x * RNG.randint(1, 5)  # HERE


def numpy_random(x: Any) -> Any:
    return x * np.random.rand()  # noqa: NPY002 # HERE


def numpy_generator(x: Any) -> Any:
    return x * np.random.default_rng().random()  # HERE


def clock(x: Any) -> Any:
    return time.time()  # HERE


def clock_by_name(x: Any) -> Any:
    now = time.perf_counter
    return now()  # HERE


def date(x: Any) -> Any:
    return datetime.datetime.now()  # HERE


def directory(x: Any) -> Any:
    return os.getcwd()  # HERE


def identity(x: Any) -> Any:
    return id(x)  # HERE


def evaluated(x: Any) -> Any:
    return eval("1 + 1")  # noqa: S307 # HERE


def globals_read(x: Any) -> Any:
    return globals()["TOTAL"]  # HERE


def locals_read(x: Any) -> Any:
    return locals()  # HERE


def array_attribute(x: Any) -> Any:
    return x * COUNTER.array  # HERE


def array_global(x: Any) -> Any:
    return x * ARRAY  # HERE


def array_made(x: Any) -> Any:
    return x * np.zeros(3)  # HERE


def array_argument_used(x: Any, array: Any) -> Any:
    return array + 1  # HERE


def array_argument_tested(x: Any, array: Any) -> Any:
    if array.shape[0] == 3 and array[0] > 0:  # HERE
        return x


def array_argument_converted(x: Any, array: Any) -> Any:
    return x * float(array)  # HERE


def array_in_argument(x: Any, arrays: Any) -> Any:
    return x * sum(arrays)  # HERE


def generator_consumed(x: Any) -> Any:
    return x * next(GENERATOR)  # HERE


def generator_iterated(x: Any) -> Any:
    for k in GENERATOR:  # HERE
        return k


def generator_started(x: Any) -> Any:
    return core.stack([STARTED] and core.apply(lambda: STARTED))  # HERE


def iterator_consumed(x: Any) -> Any:
    return list(ITERATOR)  # HERE


def iterator_attribute(x: Any) -> Any:
    return x * next(COUNTER.data)  # HERE


def iterator_zipped(x: Any) -> Any:
    return list(zip([1, 2], ITERATOR, strict=False))  # HERE


def iterator_in_list(x: Any) -> Any:
    a, b = [ITERATOR, 1]
    first, *rest = a  # HERE


def iterator_extends(x: Any) -> Any:
    mine = [1]
    mine.extend(ITERATOR)  # HERE


def counted(x: Any) -> Any:
    return x * next(COUNTS)  # HERE


def cached_function(x: Any) -> Any:
    return remembered(3)  # HERE


def cached_attribute(x: Any) -> Any:
    return COUNTER.cached  # HERE


def weak_reference(x: Any) -> Any:
    return REFERENCE()  # HERE


def thread_local(x: Any) -> Any:
    return LOCAL.k  # HERE


def lock_taken(x: Any) -> Any:
    with COUNTER.lock:  # HERE
        return x


def thread_started(x: Any) -> Any:
    threading.Thread(target=lambda: None).start()  # HERE


def exception_caught(x: Any) -> Any:
    try:
        {}["a"]
    except KeyError:  # HERE
        HISTORY.append("not run")


def exception_caught_by_name(x: Any) -> Any:
    try:
        raise ValueError("a")
    except (TypeError, ValueError) as error:  # HERE
        return error


def exception_caught_bare(x: Any) -> Any:
    try:
        return int("a")
    except:  # noqa: E722 # HERE
        return 1


def exception_suppressed(x: Any) -> Any:
    with contextlib.suppress(KeyError):  # HERE
        {}["a"]
    return x


def exception_caught_in_callee(x: Any) -> Any:
    def careful() -> int:
        try:
            return int("a")
        except ValueError:  # HERE
            return 3

    return x * careful()


def match_statement(x: Any) -> Any:
    match TOTAL:
        case [1, *_]:  # HERE
            return x


def coroutine(x: Any) -> Any:
    async def later() -> int:
        return 1

    return later()  # HERE


def copied_deeply(x: Any) -> Any:
    return copy.deepcopy(COUNTER.best)  # HERE


def counter_outside(x: Any) -> Any:
    words = collections.Counter("abc")  # HERE
    return words


def hidden_value(x: Any) -> Any:
    return next(filter(None, [SPACE])).k  # HERE


def view_kept(x: Any) -> Any:
    return x * sum(COUNTER.values)  # HERE


def proxy_read(x: Any) -> Any:
    return COUNTER.proxy["loss"]  # HERE


def kept_method(x: Any) -> Any:
    COUNTER.add(x)  # HERE


def plain_identity(x: Any) -> Any:
    return COUNTER.n is TOTAL  # HERE


REFUSED: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (attribute_counter, (), "attribute `n` of Counter is set"),
    (attribute_state, (), "attribute `state` of Counter is set"),
    (attribute_by_setattr, (), "attribute `n` of Counter is set"),
    (attribute_deleted, (), "attribute `n` of Counter is set"),
    (property_set, (), "attribute `fresh_count` of Counter is set"),
    (class_attribute_set, (), "attribute `total` of Counter is set"),
    (function_attribute_set, (), "attribute `calls` of function is set"),
    (module_attribute_set, (), "attribute `extra` of capture_core is set"),
    (tensor_attribute_set, (), "attribute `note` of Tensor is set"),
    (namespace_set, (), "an item of a dict made outside is set"),
    (namespace_updated, (), "`dict.update` changes a dict"),
    (global_set, (), "global `TOTAL` is assigned"),
    (list_append, (), "`list.append` changes a list that was made outside"),
    (list_append_by_alias, (), "`list.append` changes a list that was made outside"),
    (list_extended, (), "`+=` changes a list that was made outside"),
    (list_item, (), "an item of a list made outside is set"),
    (list_sorted, (), "`list.sort` changes"),
    (argument_list, ([1],), "`list.append` changes"),
    (argument_dict, ({"x": 1},), "an item of a dict made outside is set"),
    (dict_store, (), "an item of a dict made outside is set"),
    (dict_update, (), "`dict.update` changes"),
    (dict_setdefault, (), "`dict.setdefault` changes"),
    (dict_delete, (), "an item of a dict made outside is set"),
    (default_dict_entry, (), "a new entry 'new' is made in a defaultdict"),
    (fresh_holds_outside, (), "`list.append` changes"),
    (outside_from_fresh_tuple, (), "`list.clear` changes"),
    (outside_by_copy, (), "`list.append` changes"),
    (mutable_default, (), "`list.append` changes"),
    (printing, (), "`print` is called"),
    (print_by_map, (), "`map` calls"),
    (print_as_key, (), "`sorted` calls"),
    (print_by_partial, (), "`print` is called"),
    (stream_written, (), "cannot be guarded"),
    (file_opened, (), "`open` is called"),
    (warned, (), "`warnings.warn` is called"),
    (random_number, (), "random"),
    (random_object, (), "Random"),
    (numpy_random, (), "rand"),
    (numpy_generator, (), "default_rng"),
    (clock, (), "`time.time` is called"),
    (clock_by_name, (), "`time.perf_counter` is called"),
    (date, (), "now"),
    (directory, (), "getcwd"),
    (identity, (), "`id` is called"),
    (evaluated, (), "`eval` is called"),
    (globals_read, (), "`globals` is called"),
    (locals_read, (), "`locals` is called"),
    (array_attribute, (), "attribute `array` of Counter is a NumPy array"),
    (array_global, (), "global `ARRAY` is a NumPy array"),
    (array_made, (), "zeros"),
    (array_argument_used, (np.ones(3),), "a NumPy array"),
    (array_argument_tested, (np.ones(3),), "a NumPy array"),
    (array_argument_converted, (np.ones(1),), "a NumPy array"),
    (array_in_argument, ([np.ones(1)],), "a NumPy array"),
    (generator_consumed, (), "an iterator that was made outside"),
    (generator_iterated, (), "an iterator that was made outside"),
    (generator_started, (), "an iterator that was made outside"),
    (iterator_consumed, (), "an iterator that was made outside"),
    (iterator_attribute, (), "an iterator that was made outside"),
    (iterator_zipped, (), "an iterator that was made outside"),
    (iterator_in_list, (), "an iterator that was made outside"),
    (iterator_extends, (), "an iterator that was made outside"),
    (counted, (), "an iterator that was made outside"),
    (cached_function, (), "remembered"),
    (cached_attribute, (), "cached"),
    (weak_reference, (), "is called"),
    (thread_local, (), "attribute `k` of a _local"),
    (lock_taken, (), "a `with` statement"),
    (thread_started, (), "in _newname"),
    (exception_caught, (), "an exception is caught"),
    (exception_caught_by_name, (), "an exception is caught"),
    (exception_caught_bare, (), "an exception is caught"),
    (exception_suppressed, (), "an exception is caught"),
    (exception_caught_in_callee, (), "an exception is caught"),
    (match_statement, (), "a match statement"),
    (coroutine, (), "is asynchronous"),
    (copied_deeply, (), "in "),
    (counter_outside, (), ""),
    (hidden_value, (), "a value that capture cannot see"),
    (view_kept, (), "a window onto something"),
    (proxy_read, (), "a window onto something"),
    (kept_method, (), "`list.append` changes"),
    (plain_identity, (), "compared with `is`"),
]


@pytest.mark.parametrize(("fn", "args", "words"), REFUSED, ids=[row[0].__name__ for row in REFUSED])
def test_refused(fn: Callable[..., Any], args: tuple[Any, ...], words: str) -> None:
    before = (COUNTER.n, list(HISTORY), list(CELL), dict(COUNTER.best), TOTAL, no_grad.entered)
    error = refused(fn, X, *args)
    assert words in str(error)
    assert (COUNTER.n, list(HISTORY), list(CELL), dict(COUNTER.best), TOTAL, no_grad.entered) == before
    assert sys.gettrace() is None


def test_closure_assigned() -> None:
    writer = make_writer()
    error = refused(writer, X)
    assert "nonlocal variable `kept` is assigned" in str(error)
    assert writer(X) is not None


def test_error_says_what_where_and_what_to_do() -> None:
    error = refused(attribute_counter, X)
    place = f"({error.filename}:{error.lineno})"
    assert str(error).startswith(f"attribute `n` of Counter is set {place}; only Tensors")
    assert error.reason == "attribute `n` of Counter is set"


def swallowing(x: Any) -> Any:
    try:
        print("never")  # noqa: T201 # HERE
    except Exception:
        HISTORY.append("swallowed")
    return x


def swallowing_all(x: Any) -> Any:
    try:
        COUNTER.n = 1  # HERE
    except:  # noqa: E722
        pass
    return x


def in_managers(x: Any) -> Any:
    with no_grad(), contextlib.nullcontext():
        try:
            with no_grad():
                print("never")  # noqa: T201 # HERE
        finally:
            x.backward()


@pytest.mark.parametrize("fn", [swallowing, swallowing_all, in_managers])
def test_a_refusal_cannot_be_swallowed_and_cleans_up(fn: Callable[..., Any]) -> None:
    refused(fn, X)
    assert HISTORY == []
    assert no_grad.entered == 0


class Boom(Exception):
    pass


def explodes(x: Any) -> Any:
    with no_grad():
        for _ in [1]:
            try:
                raise Boom("a")
            finally:
                x.backward()


def explodes_below(x: Any) -> Any:
    return [v for v in map(lambda i: explodes(x), [1])]  # noqa: C416, C417


def asks_value(x: Any) -> Any:
    with no_grad():
        return x if x.sum() > 0 else None


@pytest.mark.parametrize(
    ("fn", "kind"), [(explodes, Boom), (explodes_below, Boom), (asks_value, core.Refused), (float, core.Refused)]
)
def test_exceptions_pass_unchanged(fn: Callable[..., Any], kind: type[Exception]) -> None:
    def tracer(frame: Any, event: str, arg: Any) -> Any:
        return None

    previous = sys.gettrace(), sys.getprofile()
    sys.settrace(tracer)
    sys.setprofile(tracer)
    try:
        with pytest.raises(kind) as caught, recorder() as rec:
            rec.run(lambda x: fn(x), X)
        assert (sys.gettrace(), sys.getprofile()) == (tracer, tracer)
    finally:
        sys.settrace(previous[0])
        sys.setprofile(previous[1])
    assert type(caught.value) is kind
    assert no_grad.entered == 0


def test_hooks_are_restored_after_success() -> None:
    events: list[str] = []

    def tracer(frame: Any, event: str, arg: Any) -> Any:
        events.append(frame.f_code.co_name)
        return None

    previous = sys.gettrace()
    sys.settrace(tracer)
    try:
        capture(helper, X)
        assert sys.gettrace() is tracer
        other(X)
    finally:
        sys.settrace(previous)
    assert "other" in events
    assert "helper" not in events


def test_what_a_function_changes_itself_is_noticed() -> None:
    state = {"k": 1}

    def change() -> None:
        state["k"] += 1

    core_change = types.FunctionType(
        compile("def f(change): change.__closure__[0].cell_contents['k'] += 1", core.__file__, "exec").co_consts[0],
        {"__builtins__": __builtins__},
    )
    with pytest.raises(CaptureError, match="changes what it reads"), recorder() as rec:
        rec.run(lambda x: (state["k"], core_change(change)), X)


def test_other_threads_go_on_unwatched() -> None:
    stop, log = threading.Event(), [0]

    def work() -> None:
        while not stop.is_set():
            log[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            capture(helper, X)
    finally:
        stop.set()
        thread.join()
    assert log[0] > 0
