"""Capture's footguns, first half: whatever a captured run has read is noticed when it changes.

Each row is an expression that is captured once, a statement that then changes one thing, and words of
what `guards.check()` must say. Names are those of `capture_world.py`; each row has a copy of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from capture_core import Tensor
from capture_harness import World, guarded, holds, true_stacks

X = Tensor(2, 3)


@pytest.fixture(autouse=True)
def compared() -> Iterator[Any]:
    with true_stacks() as count:
        yield count


CHANGES = [
    # attributes
    ("x * net.scale", "net.scale = 3.0", "attribute `scale` of Net changed from 2.0 to 3.0 (row.py:2)"),
    ("x * net.scale", "net.scale = 2", "changed from 2.0 to 2"),
    ("x * 2 if net.mode == 'train' else x", "net.mode = 'eval'", "'train' to 'eval'"),
    ("net.training", "net.training = False", "`training` of Net"),
    ("net.scale", "del net.scale", "from 2.0 to nothing"),
    ("getattr(net, 'bonus', 1)", "net.bonus = 2", "from nothing to 2"),
    ("hasattr(net, 'bonus')", "net.bonus = 2", "`bonus`"),
    ("net.helper(x)", "net.__dict__['helper'] = other", "attribute `helper` of Net"),
    ("config.width", "config.__dict__ = {'width': 9}", "class of a Config"),
    ("config.width", "config.__class__ = type('C', (Config,), {})", "class of a Config"),
    ("isinstance(config, Config)", "config.__class__ = Plain", "class of a Config"),
    ("type(config) is Config", "config.__class__ = Plain", "class of a Config"),
    ("plain.other.k", "plain.other.k = 2", "`k` of Plain"),
    ("[o.k for o in [plain.other]]", "plain.other.k = 2", "`k` of Plain"),
    ("list(map(lambda o: o.k, [plain.other]))", "plain.other.k = 2", "`k` of Plain"),
    ("[layer(x) for layer in sorted(net.layers, key=lambda v: v.rank)]", "net.layers[0].rank = 9", "`rank`"),
    ("vars(net)['scale']", "net.scale = 9.0", "`scale` of Net"),
    ("net.__dict__.get('missing', 1)", "net.missing = 9.0", "`missing` of Net"),
    ("len(vars(plain))", "plain.new = 1", "the attributes of a Plain (length)"),
    ("object.__getattribute__(plain, 'k')", "plain.k = 2", "`k` of Plain"),
    ("plain.__getattribute__('k')", "plain.k = 2", "`k` of Plain"),
    ("slotted.a + slotted.b", "slotted.b = 3", "attribute `b` of Slotted changed from 2 to 3"),
    ("slotted.a", "del slotted.a", "no longer there"),
    ("dynamic.k", "dynamic.table['k'] = 2", "['k'] changed from 1 to 2"),
    ("dynamic.k", "dynamic.k = 2", "`k` of Dynamic"),
    ("watched.k", "watched.k = 2", "`k` of Watched"),
    ("SPACE.k", "SPACE.k = 2", "`k` of SimpleNamespace"),
    ("scaled.factor", "Scaled.factor = 3.0", "`Scaled.factor`"),
    ("scaled.note", "scaled.note = 'b'", "`note` of Scaled"),
    ("scaled.extra['a']", "scaled.extra['a'] = 2", "['a'] changed from 1 to 2"),
    ("scaled.scaled()", "Scaled.factor = 3.0", "`Scaled.factor`"),
    # globals, closures, modules
    ("x * SCALE", "SCALE = 3.0", "global `SCALE` changed from 2.0 to 3.0"),
    ("FLAG", "FLAG = 1", "changed from True to 1"),
    ("x * ZERO", "ZERO = -0.0", "from 0.0 to -0.0"),
    ("x * SCALAR", "SCALAR = np.float64(1.5)", "`SCALAR`"),
    ("len([x])", "len = lambda v: 7", "global `len`"),
    ("read(x)", "write(3.0)", "closure variable `k` changed from 2.0 to 3.0"),
    ("local_class(x)", "write(3.0)", "closure variable `k`"),
    ("(lambda v: v * SCALE)(x)", "SCALE = 3.0", "global `SCALE`"),
    ("wrapped(x)", "wrapped.__closure__[0].cell_contents = helper", "closure variable `fn`"),
    ("core.apply(lambda v: v * SCALE, x)", "SCALE = 9.0", "global `SCALE`"),
    ("sys.argv[0]", "sys.argv = ['changed']", "`sys.argv`"),
    ("'no_such' in sys.modules", "sys.modules = dict(sys.modules, no_such=1)", "`sys.modules`"),
    ("helper.__name__", "helper.__name__ = 'h'", "`__name__` of function"),
    ("other.note if hasattr(other, 'note') else 1", "other.note = 2", "`note`"),
    # containers
    ("net.config['a']['b'][0]", "net.config['a']['b'][0] = 5", "Net['a']['b'][0] changed from 1 to 5"),
    ("len(net.config)", "net.config['n'] = 1", "length"),
    ("net.config['t'][1][0]", "net.config['t'] = (1, (2, 4))", "['t']"),
    ("len(net.config['l'][0])", "net.config['l'][0].append(2)", "['l'][0] (length) changed from 1 to 2"),
    ("[v(x) for v in net.layers]", "net.layers.append(Linear())", "of Net (length) changed from 2 to 3"),
    ("[v(x) for v in net.layers]", "net.layers[0] = Linear()", "[0] was replaced"),
    ("[v(x) for v in net.layers]", "net.layers.reverse()", "[0] was replaced"),
    ("[v(x) for v in net.layers]", "net.layers[1].bias = Parameter(3)", "bias"),
    ("LIST[1][1]['k']", "LIST[1][1]['k'] = 4", "['k'] changed from 3 to 4"),
    ("(lambda a, b: a)(*LIST)", "LIST[0] = 4", "[0] changed from 1 to 4"),
    ("len(list(enumerate(LIST)))", "LIST.append(1)", "`LIST` (length)"),
    ("LIST[0:1]", "LIST[0] = 7", "`LIST`[0]"),
    ("'x' in net.names", "net.names.discard('x')", "`names`"),
    ("net.names & {'x'}", "net.names.add('z')", "`names`"),
    ("net.queue[0]", "net.queue.rotate(1)", "`queue`"),
    ("list(ordered)", "ordered.move_to_end('a')", "`ordered`"),
    ("default['a']", "default['a'].append(2)", "['a'] (length)"),
    ("attributes.k", "attributes['k'] = 2", "`attributes`['k']"),
    ("doubling['k']", "doubling['k'] = 2", "`doubling`['k']"),
    ("chained['a']", "chained.maps[0]['a'] = 2", "['a'] changed from 1 to 2"),
    ("user_list[0]", "user_list[0] = 2", "[0] changed from 1 to 2"),
    ("point.b[0]", "point.b[0] = 2", "[0] changed from 1 to 2"),
    ("SPACE.k, {**net.shared}", "Net.shared['b'] = 2", "(length)"),
    ("(lambda **kw: kw)(**net.shared)", "Net.shared['a'] = 2", "['a'] changed from 1 to 2"),
    ("dict(net.shared)", "Net.shared['a'] = 2", "['a'] changed from 1 to 2"),
    ("net.shared | {'z': 1}", "Net.shared['a'] = 2", "['a'] changed from 1 to 2"),
    ("net.shared == {'a': 1}", "Net.shared['a'] = 2", "['a'] changed from 1 to 2"),
    ("copy.copy(net.shared)", "Net.shared['a'] = 2", "['a'] changed from 1 to 2"),
    ("net.shared.get('q', 5)", "Net.shared['q'] = 2", "(length)"),
    ("net.look('a')", "Net.shared['a'] = 5", "['a'] changed from 1 to 5"),
    ("'%(a)s' % net.shared", "Net.shared['a'] = 2", "['a'] changed from 1 to 2"),
    ("core.stack([t * x for t in tensors])", "tensors.pop()", "`tensors` (length)"),
    ("net(x)", "net.linear.weight = Parameter(3, 3)", "['weight'] was replaced"),
    # classes
    ("net.rate", "Net.rate = 0.7", "`Net.rate` changed from 0.5 to 0.7"),
    ("net.rate", "net.rate = 9", "`rate` of Net"),
    ("Net.shared['a']", "Net.shared['a'] = 2", "['a'] changed from 1 to 2"),
    ("WithMeta.level", "WithMeta.depth = 2", "`WithMeta.depth`"),
    ("WithMeta.anything", "WithMeta.depth = 2", "`WithMeta.depth`"),
    ("WithMeta[0], list(WithMeta), len(WithMeta)", "WithMeta.depth = 2", "`WithMeta.depth`"),
    ("net.helper(x)", "Net.helper = other", "`Net.helper` changed from `Net.helper` to `other`"),
    ("net(x)", "Net.__call__ = other", "`Net.__call__`"),
    ("net.twice", "Net.twice = 1", "`Net.twice`"),
    ("net.twice", "net.scale = 9.0", "`scale`"),
    ("net.klass(x)", "Net.klass = classmethod(other)", "`Net.klass`"),
    ("net.static(x)", "Net.static = staticmethod(helper)", "`Net.static`"),
    ("type(plain).__name__", "Plain.__name__ = 'Q'", "`Plain.__name__`"),
    ("callable(plain)", "Plain.__call__ = other", "`Plain.__call__`"),
    ("plain == 3", "Plain.__eq__ = other", "`Plain.__eq__`"),
    ("1 if plain else 2", "Plain.__bool__ = other", "`Plain.__bool__`"),
    ("getattr(Plain, 'zzz', None)", "Plain.zzz = 1", "`Plain.zzz`"),
    ("described.value", "SCALE = 3.0", "global `SCALE`"),
    ("Color.RED.scaled, point.scaled", "SCALE = 3.0", "global `SCALE`"),
    ("Config().deep['k'][0]", "SCALE = 3.0", "global `SCALE`"),
    ("dataclasses.replace(config, deep={}).width", "config.width = 8", "`width` of Config"),
    ("config == Config(deep={})", "config.width = 8", "`width` of Config"),
    # functions
    ("helper(x)", "helper = other", "global `helper` changed from `helper` to `other`"),
    ("helper(x)", "helper.__code__ = (lambda x, k=1, *, scale=1.0, options=None: x).__code__", "`helper`"),
    ("helper(x)", "helper.__defaults__ = (2,)", "function `helper`"),
    ("helper(x)", "helper.__kwdefaults__['scale'] = 2.0", "['scale'] changed from 1.0 to 2.0"),
    ("helper(x)", "helper.__kwdefaults__['options']['z'][0] = 2", "['options']['z'][0] changed from 1 to 2"),
    ("list(map(helper, [x]))", "helper.__defaults__ = (2,)", "function `helper`"),
    ("core.apply(helper, x)", "helper.__defaults__ = (2,)", "function `helper`"),
    ("FUNCTIONS['f'](x)", "FUNCTIONS['f'] = other", "['f']"),
    ("net.act(x)", "net.act = other", "`act` of Net"),
    ("net.bound(x)", "net.bound = Net().helper", "`bound`"),
    ("net.part(x)", "net.part = functools.partial(helper)", "`part`"),
    ("net.part(x)", "net.part.keywords['k'] = 9", "['k'] changed from 2 to 9"),
    ("helper(x, *[1], **{'scale': net.scale})", "net.scale = 9.0", "`scale`"),
    # generators and context managers
    ("with managed(1.0) as factor:\n    return x * factor", "SCALE = 9.0", "global `SCALE`"),
    ("with reading as k:\n    return x * k", "reading.k = 2", "`k` of Reading"),
    *(
        (expression, "SCALE = 9.0", "global `SCALE`")
        for expression in (
            "next(numbers())", "list(numbers())", "[*numbers()]", "sum(numbers())", "max(numbers())",
            "core.stack(numbers())", "{v for v in numbers()}",
            "(lambda: (yield from numbers()))().__next__()", "tuple(map(lambda v: v, numbers()))",
            "any(v for v in numbers())", "dict(a=next(numbers()))",
        )
        if "__next__" not in expression
    ),
    # special methods, called by operators and by C
    *(
        (expression, "reading.k = 2", "`k` of Reading")
        for expression in (
            "f'{reading}'", "f'{reading!r}'", "str(reading)", "repr(reading)", "'%s' % reading",
            "hash(reading)", "{reading: 1}", "reading in [1]", "[5, 6, 7][reading]",
            "sorted([reading, reading])", "min(reading, reading)", "reading()", "not reading", "[*reading]",
            "dict(a=[*reading])", "(lambda a: a)(*reading)", "3 in reading", "any([reading])",
            "list(filter(None, [reading]))", "range(reading)", "bool(reading)", "reading == 1",
            "reading != 1", "reading < 1", "{reading} | {1}", "'a' * reading", "[1] * reading",
            "'abc'[reading:]", "next(iter(reading))", "[v for v in reading]", "list(zip(reading))",
            "x if reading and True else None", "tuple(reading)", "len(reading)",
            "'-'.join(map(str, reading))", "int(reading)", "float(reading)", "abs(reading)", "-reading",
            "reading[0]", "reading + 1", "1 + reading", "sum([reading])", "round(reading)",
            "math.floor(reading)", "'{}'.format(reading)", "max([1, 2], key=lambda v: reading.k)",
            "1 if reading else 2", "functools.reduce(lambda a, b: reading.k, [1, 2])", "reading * 2",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("run", "change", "words"), CHANGES, ids=[f"{row[0]} | {row[1]}" for row in CHANGES])
def test_a_change_is_noticed(run: str, change: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("argv", "modules"):
        monkeypatch.setattr(sys, name, getattr(sys, name))  # what a row assigns is put back
    world = World()
    guards = guarded(world.function(run), X)
    assert holds(guards)
    world.change(change)
    said = guards.check()
    assert said is not None and not holds(guards)
    assert words in said


# These change what all share, so they are put back.
SHARED = [
    ("x.relu()", "capture_core.Tensor.relu", "`Tensor.relu`"),
    ("core.relu(x)", "capture_core.relu", "`capture_core.relu`"),
    ("net(x)", "capture_harness.Module.__call__", "`Net.__call__`"),
    ("len([x])", "builtins.len", "builtin `len`"),
    ("x * math.tau", "math.tau", "`math.tau`"),
    ("import math\nreturn x * math.tau", "math.tau", "`math.tau`"),
    ("from math import tau\nreturn x * tau", "math.tau", "`math.tau`"),
]


@pytest.mark.parametrize(("run", "name", "words"), SHARED, ids=[row[0] for row in SHARED])
def test_a_change_of_a_library_is_noticed(
    run: str, name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = guarded(World().function(run), X)
    assert holds(guards)
    with monkeypatch.context() as patch:
        patch.setattr(name, lambda *args: None)
        said = guards.check()
        assert not holds(guards)
    assert said is not None
    assert words in said
    assert guards.check() is None


def test_the_environment_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    guards = guarded(World().function("x if os.environ['HOME'] else None"), X)
    monkeypatch.setenv("HOME", "")
    assert "HOME" in str(guards.check())


KEPT = [
    ("net.scale", "net.scale = float('2.0')"),
    ("net.mode", "net.mode = ''.join(['tr', 'ain'])"),
    ("net.config['t']", "net.config['t'] = (1, (2, 3))"),
    ("x * NAN", "NAN = float('nan')"),
    ("net.scale", "net.mode = 'eval'"),
    ("net.scale", "net.extra = 1"),
    ("net(x)", "net.linear.weight.grad = x"),
    ("net.bound(x)", "net.bound = net.helper"),
]


@pytest.mark.parametrize(("run", "change"), KEPT, ids=[f"{row[0]} | {row[1]}" for row in KEPT])
def test_what_stays_the_same_is_no_change(run: str, change: str) -> None:
    world = World()
    world.space["x"] = X
    guards = guarded(world.function(run), X)
    world.change(change)
    assert guards.check() is None and holds(guards)
