"""Capture: the table of instructions, and the programs that it follows, compared with the true stack."""

from __future__ import annotations

import contextlib
import dataclasses
import dis
import enum
import functools
import math
import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import capture_core as core
import pytest
from capture_core import Tensor
from capture_harness import Linear, Module, capture, true_stacks

from lampion.compiler.capture.opcodes import EFFECTS, HANDLERS, REFUSED, SKIPPED, UNWINDING, VERSION

X = Tensor(2, 3)


@pytest.fixture(autouse=True)
def compared() -> Iterator[Any]:
    """Every instruction of every test: the symbolic stack is the interpreter's own."""
    with true_stacks() as count:
        yield count


# ---- the table of instructions ------------------------------------------------------------------------


def test_every_instruction_of_this_python_is_in_the_table() -> None:
    names = {
        name for name, number in dis.opmap.items() if number < 256 and not name.startswith("INSTRUMENTED")
    }
    known = {*EFFECTS, *UNWINDING, *REFUSED, *SKIPPED}
    assert names <= known, sorted(names - known)
    assert not set(REFUSED) & (set(EFFECTS) | UNWINDING)


def test_every_instruction_of_the_table_has_a_handler() -> None:
    without = {"EXTENDED_ARG", "RETURN_GENERATOR"}  # a prefix, and what runs before the first event
    assert {name for name in EFFECTS if name in dis.opmap} - set(HANDLERS) == without


# Where dis counts otherwise: PRECALL and CALL share their effect out; an argument that never occurs.
_ARGUMENTS = {"BUILD_SLICE": (2, 3), "FORMAT_VALUE": (0, 1, 4, 5), "MAKE_FUNCTION": range(16), "COPY": (1, 2)}


@pytest.mark.parametrize("name", sorted(name for name in EFFECTS if name in dis.opmap))
def test_effects_are_those_of_dis(name: str) -> None:
    number = dis.opmap[name]
    pops, pushes = EFFECTS[name]
    jumps = name in ("FOR_ITER", "SEND") and VERSION == (3, 11)
    for arg in _ARGUMENTS.get(name, range(7)) if number >= dis.HAVE_ARGUMENT else (None,):
        given = arg or 0
        net = (pushes if isinstance(pushes, int) else pushes(given)) - (
            pops if isinstance(pops, int) else pops(given)
        )
        expected = dis.stack_effect(number, arg, jump=name.startswith("JUMP_IF") and not jumps)
        if VERSION == (3, 11) and name == "CALL":
            expected += dis.stack_effect(dis.opmap["PRECALL"], arg)
        if name != "PRECALL":
            assert net == expected, f"{name} {arg}"


# ---- what is followed: each of these runs to its end, compared with the true stack ------------------------


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Config:
    width: int = 3
    names: list[str] = dataclasses.field(default_factory=lambda: ["a", "b"])
    slots: tuple[int, ...] = (1, 2)


@dataclasses.dataclass(frozen=True)
class Frozen:
    rate: float


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


class Base:
    factor = 2.0
    table: dict[str, float] = {"k": 1.0}  # noqa: RUF012

    def __init__(self, start: float = 1.0) -> None:
        self.start = start
        self.items: list[Any] = []

    @property
    def double(self) -> float:
        return self.start * 2

    @classmethod
    def make(cls, start: float) -> Base:
        return cls(start)

    @staticmethod
    def twice(x: Any) -> Any:
        return x + x

    def run(self, x: Any) -> Any:
        return x * self.factor

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> float:
        return self.start + i

    def __add__(self, other: float) -> float:
        return self.start + other

    def __contains__(self, item: Any) -> bool:
        return bool(item == self.start)

    def __iter__(self) -> Iterator[float]:
        yield self.start
        yield self.factor


class Derived(Base):
    def __init__(self, start: float = 5.0) -> None:
        super().__init__(start)
        self.extra = [1]
        self.extra.append(2)

    def run(self, x: Any) -> Any:
        return super().run(x) + 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("lazy_"):
            return len(name)
        raise AttributeError(name)


class Net(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Linear(), Linear()
        self.activation = core.relu
        self.scale = 2.0
        self.config = {"a": {"b": [1, 2]}}
        self.layers = [self.first, self.second]

    def forward(self, x: Tensor) -> Tensor:
        h = self.activation(self.first(x))
        if self.training:
            h = h * self.scale
        for layer in self.layers:
            h = layer(h)
        return h.sum() * self.config["a"]["b"][0]


BASE, DERIVED, CONFIG, FROZEN, SLOTTED, NET = Base(), Derived(), Config(), Frozen(0.1), Slotted(1, [2]), Net()
SCALE = 2.0
NUMBERS = [3, 1, 2]


def plain(x: Any, y: Any = 1, *rest: Any, flag: bool = True, **more: Any) -> Any:
    return x + y if flag else rest


def decorated(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


@decorated
def decorated_function(x: Any) -> Any:
    return x * SCALE


@contextlib.contextmanager
def managed(value: Any) -> Iterator[Any]:
    yield value + 1


def arithmetic(x: Any) -> Any:
    a = 3
    b = -a + 2 * a**2 // 4 % 5 - (a << 1 | 1 & 3 ^ 2) / 2
    c = not a
    d = ~a
    a += 1
    chained = 1 < a < 10
    return x * b + d if chained and not c else x


def containers(x: Any) -> Any:
    items = [x, 1, 2.0]
    items.append([])
    items[-1].append(x)
    items += [4]
    table = {"x": x, "n": 1, **{"m": 2}}
    table["new"] = {}
    table["new"]["deep"] = 1
    table.update(z=3)
    group = {1, 2, 3}
    group.add(4)
    first, *middle, last = [1, 2, 3, 4]
    (p, q), r = (1, 2), 3
    del items[0], table["m"]
    pair = (x, [x])
    pair[1].append(1)
    copied = items[1:]
    copied.append(1)
    merged = [*items, *middle, *pair]
    both = {**table, "last": last}
    return len(merged), p + q + r + first, sorted(group), both["n"], table.pop("z"), items.pop(), copied


def comprehensions(x: Any) -> Any:
    a = [x * i for i in range(3)]
    b = {i: v for i, v in enumerate(NUMBERS) if v > 1}
    c = {v % 2 for v in NUMBERS}
    d = tuple(v + SCALE for v in NUMBERS)
    e = [[x for _ in range(j)] for j in range(2)]
    e[1].append(x)
    f = sum(v for v in b.values())
    g = [lambda k=k: k for k in range(2)]
    return a, b, c, d, e, f, [h() for h in g]


def calls(x: Any) -> Any:
    args, kwargs = (x, 2), {"flag": False}
    a = plain(*args, 3, **kwargs, extra=1)
    b = plain(x, y=2)
    c = plain(*args)
    d = (lambda p, q=1: p + q)(1)
    e = functools.partial(plain, x, flag=True)(3)
    f = (
        max(NUMBERS),
        min(1, 2),
        sum(NUMBERS),
        abs(-1),
        round(2.5),
        divmod(7, 2),
        math.sqrt(4.0),
        operator.add(1, 2),
    )
    g = sorted(NUMBERS, key=lambda v: -v), list(map(str, NUMBERS)), list(filter(None, NUMBERS))
    h = (
        list(zip(NUMBERS, "abc", strict=True)),
        dict(zip("ab", NUMBERS, strict=False)),
        list(reversed(NUMBERS)),
    )
    i = (
        isinstance(x, Tensor),
        callable(plain),
        getattr(BASE, "start"),
        getattr(BASE, "no", 5),
        hasattr(BASE, "no"),
    )
    j = decorated_function(x)
    k = sum([x, x]), sum(x for _ in range(2)), functools.reduce(lambda p, q: p + q, [x, x])
    k[0].backward()
    return a, b, c, d, e, f, g, h, i, j, k


def text(x: Any) -> Any:
    a = f"{SCALE:.2f} {'a'!r:>5} {1}{SCALE}"
    b = "%d %s" % (1, "x") + " ".join(["a", "b"]) + "{} {}".format(1, 2)
    c = "-".join(str(v) for v in NUMBERS).upper().split("-")
    return a, b, c, "a" in b


def objects(x: Any) -> Any:
    fresh = Derived(3.0)
    fresh.items.append(x)
    fresh.start += 1
    fresh.note = "n"
    pair = Pair(x, [])
    pair.right.append(1)
    config = Config(width=4)
    config.names.append("c")
    return (
        fresh.run(x), fresh.lazy_one, Base.make(2.0).double, Base.twice(x), DERIVED.run(x), BASE.double,
        len(BASE), BASE[1], BASE + 1.0, 1.0 in BASE, list(BASE), pair.left, config.width, CONFIG.width,
        FROZEN.rate, SLOTTED.a, SLOTTED.b[0], type(fresh).factor, fresh.__class__ is Derived, Color.RED,
        Color(2), Color.RED.value,
        Base.table["k"], dataclasses.replace(CONFIG, width=7).width, [v for v in fresh], Frozen(0.5),
    )  # fmt: skip


def closures(x: Any) -> Any:
    total = 0

    def add(n: int) -> Any:
        nonlocal total
        total += n
        return x * total

    def nested() -> Any:
        def deeper() -> Any:
            return add(1) + total

        return deeper()

    return add(1), nested(), total


def generators(x: Any) -> Any:
    def count(n: int) -> Iterator[int]:
        for i in range(n):
            yield i
        yield from NUMBERS

    def echo() -> Iterator[Any]:
        got = yield x
        yield got

    total = 0
    for v in count(2):
        total += v
    first = next(count(1))
    it = iter(NUMBERS)
    rest = next(it), list(it), next(it, None)
    return total, first, rest, [*count(1)], tuple(echo()), max(count(2)), dict(enumerate(count(1)))


def contexts(x: Any) -> Any:
    with core.no_grad(), managed(1) as one, contextlib.nullcontext(x) as y:
        z = y * one
    try:
        z = z + 1
    finally:
        z = z + 2
    return z


def loops(x: Any) -> Any:
    n = 0
    while n < 3:
        n += 1
        if n == 1:
            continue
        if n == 2 and x is not None:
            break
    else:
        n = 100
    for i in range(3):
        for j in [1, 2]:
            if j == 2:
                break
        else:
            n += 1
        n += i
    return n or x, (n and x), x if n else None


def recursion(x: Any, depth: int = 20) -> Any:
    return x if depth == 0 else recursion(x, depth - 1) + depth


def local_class(x: Any) -> Any:
    class Local(Base):
        size = 3

        def forward(self) -> Any:
            return super().run(x) * self.size

        @property
        def area(self) -> int:
            return self.size**2

    local = Local()
    local.size = 4
    return local.forward(), local.area


def imports(x: Any) -> Any:
    import math as m
    import os.path
    from collections import OrderedDict

    table = OrderedDict(a=1)
    table["b"] = 2
    return m.pi, os.path.sep, list(table.items())


def modules(x: Any) -> Any:
    fresh = Linear()
    for parameter in NET.parameters():
        parameter.grad = None
    a, b = x.chunk(2)
    x[0] = a
    x += b
    rows = [row.relu() for row in x.rows()]
    return (
        NET(x),
        fresh(x),
        x.shape[1:],
        x.shape[0] * 2,
        len(x),
        rows,
        core.stack(x for _ in range(2)),
        x.size(1),
    )


_SOURCE = "def many_names(x):\n" + "".join(f"    a{i} = {i}.5\n" for i in range(300))
_SPACE: dict[str, Any] = {"__name__": __name__}
exec(_SOURCE + "    for i in (a1, a2):\n        a299 += i\n    return x * a299 if a299 > 1 else a298", _SPACE)  # noqa: S102
many_names = _SPACE["many_names"]

FOLLOWED = [
    arithmetic, containers, comprehensions, calls, text, objects, closures, generators, contexts, loops,
    recursion, local_class, imports, modules, many_names,
]  # fmt: skip


def comparable(value: Any) -> Any:
    """Results of two runs, with objects reduced to their types."""
    if isinstance(value, (list, tuple)):
        return [comparable(item) for item in value]
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    return value if isinstance(value, (int, float, str, set, type(None))) else type(value)


@pytest.mark.parametrize("fn", FOLLOWED, ids=lambda fn: fn.__name__)
def test_followed(fn: Any, compared: list[int]) -> None:
    expected = fn(X)
    result, guards = capture(fn, X)
    assert comparable(result) == comparable(expected)
    assert compared[0] > 5
    assert guards.check() is None
