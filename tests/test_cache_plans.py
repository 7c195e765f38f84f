"""Whole plans in the cache: found by the recorded graph, run without passes, lowering or code generation."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import lampion
from lampion.compiler import cache, entries
from lampion.compiler.function import trace_call
from lampion.compiler.strides import contiguous_strides
from lampion.compiler.tree import flatten

pytest.importorskip("llvmlite", reason="there is no machine code without it")
posix = pytest.mark.skipif(sys.platform == "win32", reason="about POSIX permissions")


@pytest.fixture
def folder(monkeypatch, tmp_path):
    path = tmp_path / "kernels"
    monkeypatch.setenv("LAMPION_CACHE_DIR", str(path))
    monkeypatch.delenv("LAMPION_CACHE", raising=False)
    return path


def step(x, y):
    return (x @ y).tanh().sum(1) + x.mean()


def arguments():
    rng = np.random.default_rng(4)
    return [lampion.from_numpy(rng.standard_normal((6, 6)).astype("f4")) for _ in range(2)]


def compiled(function=step):
    """A compiled function that knows nothing of earlier ones: what a new process has."""
    return lampion.compile(function)


def name(function, *args, target=None, strides=None):
    """The key of what is recorded of a call."""
    from lampion.compiler.codegen.target import Target

    leaves = []
    flatten(args, leaves)
    binding, arrays = trace_call(function, args, {}, leaves)
    graph = binding.graph
    lie = {
        v: tuple(s // v.dtype.itemsize for s in a.strides) for v, a in zip(graph.inputs, arrays, strict=True)
    }
    lie |= {value: contiguous_strides(value.shape, 1) for value in graph.constants}
    return entries.name_of(graph, lie, binding.targets, target or Target.host())


def refuse(monkeypatch):
    """From here on nothing can be lowered."""
    import lampion.compiler.lowering
    import lampion.compiler.passes

    for module, what in ((lampion.compiler.lowering, "lower"), (lampion.compiler.passes, "optimize")):
        monkeypatch.setattr(module, what, lambda *args: pytest.fail("compiled again"))


def test_a_hit_runs_no_pass_and_no_code_generator(folder, monkeypatch):
    expected = compiled()(*arguments())
    with monkeypatch.context() as inside:
        refuse(inside)
        found = compiled()
        again = found(*arguments())
        assert again.tolist() == expected.tolist()  # the same code
    explained = found.explain()  # which asks for the plan, now
    assert explained.plans[0].kernels
    assert "matmul" in str(explained)
    assert explained.plans[0].profile(1)


def test_a_process_that_finds_everything_imports_no_code_generator(folder, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, lampion\n"
        "f = lampion.compile(lambda x: (x @ x).exp().sum(0))\n"
        "print(f(lampion.full((50, 50), 0.01)).sum().item())\n"
        "heavy = ('lampion.compiler.lowering', 'lampion.compiler.codegen.builder')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    root = os.path.dirname(os.path.dirname(lampion.__file__))
    runs = [
        subprocess.run(
            [sys.executable, str(program)],
            env={**os.environ, "PYTHONPATH": root, "LAMPION_NUM_THREADS": "2"},
            capture_output=True, text=True, check=True,
        ).stdout.splitlines()
        for _ in range(2)
    ]  # fmt: skip
    assert runs[0][0] == runs[1][0]
    assert runs[0][1] != "[]"
    assert runs[1][1] == "[]"


def test_the_error_of_a_kernel_is_the_same_from_the_cache(folder, monkeypatch):
    def pick(x, index):
        return x.index_select(0, index) * 2

    x, right, wrong = lampion.ones(5, 3), lampion.tensor([0, 4]), lampion.tensor([1, 9])
    messages = []
    for _ in range(2):
        function = compiled(pick)
        function(x, right)
        with pytest.raises(Exception, match="9") as error:
            function(x, wrong)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    with pytest.raises(type(error.value), match="9"):
        pick(x, wrong)


def test_calls_out_are_kept_by_their_parts(folder, monkeypatch):
    def solve(x, y):
        return lampion.linalg.eigvalsh(x @ x.T + 1) * y.sum()

    first = compiled(solve)
    expected = first(*arguments())
    assert first.explain().callouts
    import lampion.compiler.codegen.plan as plans

    monkeypatch.setattr(plans._Emitter, "emit", lambda self: pytest.fail("compiled again"))
    assert compiled(solve)(*arguments()).tolist() == expected.tolist()


# What an entry may be worth nothing for --------------------------------------------------------------------


def files(folder):
    return sorted(folder.glob("*.o"))


def rewritten(change):
    """A way to spoil an entry's contents, with a checksum that is right."""

    def spoil(path):
        key = path.stem
        head, data = 72, bytearray(path.read_bytes())
        body = bytearray(data[head:])
        change(body)
        cache.store(key, bytes(body))

    return spoil


def cut(size):
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def flip(at):
    def spoil(path):
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return spoil


SPOILED = {
    "a bit of the code": flip(-40),
    "a bit of the head": flip(80),
    "cut in the head": cut(90),
    "cut in the code": cut(400),
    "empty": cut(0),
    "another mark": rewritten(lambda body: body.__setitem__(7, 9)),
    "more shared calls than calls": rewritten(lambda body: body.__setitem__(24, 250)),
    "no way of sharing": rewritten(lambda body: body.__setitem__(32, 3)),
    "only a head": rewritten(lambda body: body.__delitem__(slice(40, None))),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_a_spoiled_entry_is_compiled_anew(folder, spoil):
    expected = compiled()(*arguments())
    paths = files(folder)
    kept = {path: path.read_bytes() for path in paths}
    for path in paths:
        spoil(path)
    assert compiled()(*arguments()).tolist() == expected.tolist()
    assert {path: path.read_bytes() for path in files(folder)} == kept


@posix
@pytest.mark.parametrize("spoil", ["mode", "owner"])
def test_an_entry_that_is_not_the_users_own_is_compiled_anew(folder, monkeypatch, spoil):
    compiled()(*arguments())
    if spoil == "mode":
        for path in files(folder):
            path.chmod(0o666)
    else:
        me = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    refuse(monkeypatch)
    with (
        pytest.raises(pytest.fail.Exception, match="compiled again"),
        pytest.warns(RuntimeWarning) if (spoil == "owner") else lampion.no_grad(),
    ):
        compiled()(*arguments())


def test_other_sources_and_other_processors_have_entries_of_their_own(monkeypatch):
    from lampion.compiler.codegen.target import Target

    x, y = arguments()
    before = name(step, x, y)
    assert before == name(step, x, y)
    others = {name(step, x, y, target=Target.named(level)) for level in ("sse2", "avx2")} if (
        Target.host().on_x86
    ) else set()  # fmt: skip
    monkeypatch.setattr(cache, "sources", lambda: "other")
    others.add(name(step, x, y))
    assert before not in others


def test_writers_at_the_same_time_do_no_harm(folder):
    """Each of several threads compiles the same function, or reads what another has just written."""
    expected = step(*arguments())
    found, functions = [], [compiled() for _ in range(4)]
    threads = [threading.Thread(target=lambda f=f: found.append(f(*arguments()).tolist())) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for values in found:
        np.testing.assert_allclose(values, expected.numpy(), rtol=1e-5, atol=1e-6)
    assert not list(folder.glob("*.tmp"))


# What the key tells apart ----------------------------------------------------------------------------------


def test_the_key_does_not_depend_on_names_places_or_the_process():
    x, y = arguments()

    def another(a, b):  # the same at other lines
        return (a @ b).tanh().sum(1) + a.mean()

    assert name(step, x, y) == name(another, y, x)


X = arguments()[0]
VARIANTS = {
    "the function": lambda x: x.exp(),
    "a number": lambda x: x * 2.0,
    "another number": lambda x: x * 3.0,
    "its sign": lambda x: x * -0.0,
    "of nothing": lambda x: x * 0.0,
    "an axis": lambda x: x.sum(0),
    "another axis": lambda x: x.sum(1),
    "a slice": lambda x: x[1:3],
    "another slice": lambda x: x[1:4],
    "a type": lambda x: x.double(),
    "another type": lambda x: x.int(),
    "two results": lambda x: (x.exp(), x.log()),
    "the other way round": lambda x: (x.log(), x.exp()),
    "written in place": lambda x: x.mul_(2.0),
    "a constant": lambda x: x + lampion.tensor([1.0, 2, 3, 4, 5, 6]),
    "another constant": lambda x: x + lampion.tensor([1.0, 2, 3, 4, 5, 7]),
}


def test_the_key_tells_apart_what_is_different():
    names = [name(function, X.clone()) for function in VARIANTS.values()]
    names += [name(VARIANTS["a number"], x) for x in (X.double(), X[:5], X.t(), X[:, :5])]
    assert None not in names
    assert len(set(names)) == len(names)


def test_the_body_of_a_loop_is_in_the_key():
    def loop(factor, length):
        def run(x):
            return lampion.func.scan(lambda carry, row: (carry * factor + row, carry), x[0], x[:length])[0]

        return run

    names = [name(loop(factor, length), X) for factor, length in ((2.0, 6), (3.0, 6), (2.0, 5), (2.0, 6))]
    assert names[0] == names[3]
    assert len(set(names)) == 3


def test_a_primitive_from_elsewhere_has_no_key():
    from lampion.ops.define import elementwise

    @elementwise(public=False, method=False)
    class twice:
        """Twice the number."""

        def forward(xp, x):
            return xp.add(x, x)

    assert name(lambda x: twice(x), X) is None
    np.testing.assert_array_equal(compiled(lambda x: twice(x))(X).numpy(), 2 * X.numpy())
