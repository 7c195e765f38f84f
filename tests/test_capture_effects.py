"""Capture's footguns, second half: what cannot be replayed ends the capture, before it happens.

Each row is code that does something outside Lampion; names are those of `capture_world.py`. The error
names the line, nothing has changed, and (where given) the message says these words.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from capture_core import Tensor, no_grad
from capture_harness import World, refused, true_stacks

X = Tensor(2, 3)


@pytest.fixture(autouse=True)
def compared() -> Iterator[Any]:
    with true_stacks() as count:
        yield count


EFFECTS: dict[str, list[str]] = {
    "attribute `k` of Plain is set": [
        "plain.k = 2", "plain.k += 1", "setattr(plain, 'k', 2)", "del plain.k", "plain.bump()",
        "Plain.bump(plain)", "object.__setattr__(plain, 'k', 2)", "Plain.__setattr__(plain, 'k', 2)",
        "core.apply(plain.bump)", "super(Plain, plain).__setattr__('k', 2)", "Plain.__init__(plain)",
        "[o.bump() for o in [plain]]", "list(map(Plain.bump, [plain]))",
        "sorted([1], key=lambda v: plain.bump())", "delattr(plain, 'k')",
    ],
    "attribute `k` of Writing is set": [
        "writing()", "[*writing]", "list(writing)", "len(writing)",
        "bool(writing)", "1 if writing else 2", "not writing", "writing == 3", "writing.prop",
        "hash(writing)", "writing[0]", "str(writing)", "f'{writing}'", "f'{writing!r}'", "repr(writing)",
        "'%s' % writing", "-writing", "writing + 1", "abs(writing)", "round(writing)", "[1, 2][writing]",
        "{writing: 1}", "{1: 2}.get(writing)", "writing in [1, 2]", "[1, 2].index(writing)",
        "for v in writing:\n    pass", "a, = writing", "y = writing\ny += 1", "any([writing])",
        "'{}'.format(writing)", "range(writing)", "print if writing else x", "writing[0] = 1",
        "del writing[0]", "max([1], key=lambda v: len(writing))", "tuple(writing)", "dict([writing])",
    ],
    " is set": [
        "net.h = x.relu()", "net.training = False", "plain.__class__ = Net", "plain.__dict__ = {}",
        "plain.new = 1", "writing.prop = 3", "Plain.total = 1", "Plain.count()", "plain.count()",
        "other.note = 1", "core.extra = 1", "other.__defaults__ = ()", "x.note = 1", "x._shape = (1,)",
        "del x._shape", "SPACE.k = 2", "point.c = 3", "plain.__dict__['k'] = 2", "CELL[0] += 1",
        "LIST[1][0] = 2", "LIST[:] = []", "del LIST[0]", "filling.name", "net.config['a']['b'][0] = 2",
        "net.config['new'] = 1", "del net.config['a']", "ordered['c'] = 1", "counter['q'] = 1", "memo['new']",
        "chained['b'] = 1", "bytes_[0] = 1", "doubles[0] = 5.0", "window[0] = 3", "sys.modules['zz'] = core",
        "doubling['z'] = 1", "importlib.reload(json)", "slotted.a = 3", "for plain.k in [1]:\n    pass",
        "SPACE.k += 1",
    ],
    " is assigned": ["global N; N = 1", "global N; N += 1", "global N; del N", "write(3.0)"],
    " made outside": [
        "LOG.append(x)", "f = LOG.append; f(1)", "append(1)", "partial_append()",
        "[LOG.append(i) for i in [1]]", "any(LOG.append(i) for i in [1])", "(lambda: LOG.append(1))()",
        "getattr(LOG, 'append')(1)", "LIST.sort()", "list.append(LOG, 1)", "LOG.__iadd__([1])",
        "y = LOG\ny += [1]", "LIST[1].clear()", "net.config['a']['b'].append(2)",
        "net.config['l'][0].append(2)", "net.names.add('z')", "heap.reverse()", "y = net.names\ny |= {'z'}",
        "y = net.config\ny |= {'z': 1}", "net.config.update(z=1)", "heap.insert(0, 1)",
        "net.config.setdefault('z', 1)", "net.config.pop('a')", "net.config.popitem()",
        "ordered.move_to_end('a')", "net.queue.append(1)", "net.queue.rotate(1)", "user_list.append(1)",
        "vars(plain).update(k=2)", "y = heap\ny *= 2", "plain.__dict__.update(k=2)",
        "dict.__setitem__(net.config, 'z', 2)", "counting(x)", "core.apply(counting, x)",
        "net.config.__setitem__('z', 1)", "assert LOG.append(1) is None", "x if LOG.append(1) else x",
        "f'{LOG.append(1)}'", "not LOG.append(1)", "while LOG.append(1):\n    pass",
        "try:\n    LOG.append(1)\nfinally:\n    pass", "exits.callback(other, 1)", "x[0] = LOG.append(x)",
        "functools.reduce(lambda a, b: LOG.append(b), [1, 2])",
        "with contextlib.ExitStack() as s:\n    LOG.append(1)", "next(generator)", "next(cycle)",
        "next(iterator)", "next(counts)", "list(lazy)", "[*iterator]", "a, b, c = iterator",
        "for v in generator:\n    break", "for v in started:\n    break", "list(zip([1, 2], iterator))",
        "sum(iterator)", "dict(zip('ab', iterator))", "core.stack(iterator)", "core.stack(started)",
        "core.stack([generator][0])", "mine = [1]\nmine.extend(iterator)", "tuple(map(str, iterator))",
        "1 in iterator", "max(generator)", "functools.wraps(other)(helper)",
    ],
    "a new entry 'new' is made in a defaultdict": ["default['new']", "default['new'] += [1]"],
    # outside containers that went through something new
    "`list.append` changes a list": [
        f"{code}.append(1)"
        for code in (
            "[LOG][0]", "(LOG, 1)[0]", "[*[LOG]][0]", "list([LOG])[0]", "([LOG] + [])[0]", "([LOG] * 2)[0]",
            "[LOG][:][0]", "[v for v in [LOG]][0]", "{'a': LOG}['a']", "{'a': LOG}.get('a')",
            "dict(a=LOG)['a']", "{**{'a': LOG}}['a']", "{'a': LOG}.copy()['a']", "dict(zip('a', [LOG]))['a']",
            "[LOG].copy()[0]", "next(iter([LOG]))", "next(zip([LOG]))[0]", "next(enumerate([LOG]))[1]",
            "(lambda: LOG)()", "(lambda v=LOG: v)()", "(LOG or LOG)", "(LOG if x is not None else 0)",
            "(lambda *a: a[0])(LOG)", "(lambda **k: k['a'])(a=LOG)", "(lambda *a: a[0])(*[LOG])",
            "(lambda a: a)(**{'a': LOG})", "functools.reduce(lambda a, b: a, [LOG, LOG])", "(y := LOG)",
            "next(v for v in [LOG])", "(lambda: (LOG,))()[0]", "core.apply(lambda: LOG)",
            "list(reversed([LOG]))[0]", "tuple([LOG])[0]",
        )
    ] + [
        "a, *b = [LOG, 1]\na.append(1)", "a = b = LOG; b.append(1)", "for v in (LOG, CELL): v.append(1)",
        "for k, v in {'a': LOG}.items(): v.append(1)", "for v in itertools.chain([LOG]): v.append(1)",
        "mine = [[1]]; mine[0].append(2); mine.append(LOG); mine[1].append(1)",
        "o = Plain(); o.v = LOG; o.v.append(1)", "o = Point(LOG, 1); o.a.append(1)",
        "d = {}; d['a'] = LOG; d['a'].append(1)", "d = {}; d.setdefault('a', LOG).append(1)",
        "m = max([LOG]); m.append(1)", "m = min([LOG], key=len); m.append(1)",
        "m = sorted([LOG])[0]; m.append(1)",
    ],
    "calls a builtin_function_or_method unseen": [
        "list(map(print, [1]))", "sorted([1, 2], key=print)", "max([1, 2], key=append)",
        "list(filter(append, [1]))", "functools.reduce(print, [1, 2])", "core.apply(print, 1)",
        "core.apply(append, 1)", "list(map(partial_append, [1]))", "collections.defaultdict(time.time)['a']",
        "iter(time.time, 1)",
    ],
    # what would happen again when a capture is given up
    "may act outside Lampion": [
        "with writing:\n    pass", "try:\n    x = x.relu()\nfinally:\n    LOG.append(1)",
        "try:\n    x = x.relu()\nexcept:\n    LOG.append(1)",
        "try:\n    x.item()\nfinally:\n    plain.k += 1",
        "for i in [1]:\n    try:\n        x.item()\n    except BaseException:\n        CELL[0] = 1",
        "with core.no_grad():\n    try:\n        x.item()\n    finally:\n        LOG.append(1)",
        "try:\n    x.item()\nexcept (TypeError, BaseException):\n    LOG.append(1)",
        "def inner():\n    try:\n        yield x\n    finally:\n        LOG.append(1)\nnext(inner())",
    ],
    "has a finalizer": ["Noisy()", "y = Noisy(); del y"],
    # input and output, clocks, chance, processes
    "": [
        "print('a')", "print('a', file=stream)", "functools.partial(print, 'a')()", "input()",
        "open('/dev/null')", "sys.stdout.write('')", "stream.write('a')",
        "with open('/dev/null') as f:\n    pass", "tempfile.mkdtemp()", "logging.warning('a')",
        "warnings.warn('a')", "json.dumps({'a': 1})", "pickle.dumps([1])", "struct.pack('i', 1)",
        "random.random()", "random.seed(0)", "random.shuffle(heap)", "rng.randint(1, 5)", "np.random.rand()",
        "np.random.default_rng(0)", "numpy_rng.random()", "secrets.token_hex()", "uuid.uuid4()",
        "time.time()", "now = time.perf_counter; now()", "time.sleep(0)", "datetime.datetime.now()",
        "os.getcwd()", "os.getpid()", "os.environ['QQ'] = '1'", "subprocess.run(['true'])",
        "sys.setrecursionlimit(1000)", "sys.path.append('a')", "eval('1')", "exec('N = 2')",
        "compile('1', 'a', 'eval')", "globals()", "locals()", "vars()", "dir()", "breakpoint()",
        "__import__('math')", "sys._getframe()", "sys.settrace(None)", "sys.exit()", "gc.collect()",
        "id(plain)", "threading.Thread(target=other).start()", "threading.get_ident()", "local.k",
        "local.k = 2", "context.get()", "context.set(2)", "with net.lock:\n    pass", "jobs.put(1)",
        "reference()", "weak_set.add(plain)", "weak_keys[net]", "weakref.ref(plain)", "remembered(1)",
        "dispatched(1)", "dispatched.register(int, other)", "writing.cached", "copy.deepcopy(net.config)",
        "heapq.heapify(heap)", "bisect.insort(heap, 2)", "counter.update('c')", "operator.iadd(LOG, [1])",
        "operator.setitem(net.config, 'z', 1)", "operator.methodcaller('append', 1)(LOG)",
        "operator.attrgetter('k')(plain)", "'{0.k}'.format(plain)", "bytes_.extend(b'c')",
        "doubles.append(1.0)", "re.compile('a').match('a')", "net.view", "sum(net.view)", "net.proxy['a']",
        "type('T', (), {})", "exits.enter_context(contextlib.nullcontext())", "N is 1000000", "vars(Plain)",
        "contextlib.redirect_stdout(stream).__enter__()", "next(filter(None, [plain])).k",
        "functools.update_wrapper(other, helper)", "Plain.__dict__",
        # arrays
        "x * net.array", "x * ARRAY", "ARRAY.sum()", "np.zeros(3)", "np.add(ARRAY, 1)", "np.asarray(x)",
    ],
}  # fmt: skip
ROWS = [(code, words) for words, codes in EFFECTS.items() for code in codes]


@pytest.mark.parametrize(("code", "words"), ROWS, ids=[row[0] for row in ROWS])
@pytest.mark.filterwarnings("ignore:.*is. with:SyntaxWarning")
def test_an_effect_ends_the_capture(code: str, words: str) -> None:
    world = World()
    row = world.function(code)
    before = world.state()
    error = refused(row, X, line=2 if "\n" not in code else None)
    if "Noisy" in code:
        gc.collect()
    assert words in str(error)
    assert world.state() == before
    assert no_grad.entered == 0
