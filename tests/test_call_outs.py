"""What has no machine code is called out to its NumPy forward, between native parts of the plan."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lampion as lp
from lampion.errors import LampionError
from lampion.ops.define import elementwise, kernel
from lampion.primitive import apply


@kernel(public=False)
class ranked:
    """The rows in order."""

    def infer(x):
        return x.shape, x.dtype

    def forward(xp, x):
        return xp.sort(x, -1)

    def call(x):
        return apply(ranked.primitive, x)


@kernel(public=False)
class picky:
    """x, if nothing in it is negative."""

    def infer(x):
        return x.shape, x.dtype

    def forward(xp, x):
        if (x < 0).any():
            raise LampionError("picky", "something is negative")
        return x

    def call(x):
        return apply(picky.primitive, x)


@elementwise(public=False, saves="inputs")
class triple:
    """3 x, which machine code must not see."""

    native = False

    def forward(xp, x):
        return np.multiply(x, 3)

    def vjp(g, x):
        return triple(g)


def both(function, *arguments):
    """The results in eager and, of the second call, compiled; and the compiled function."""
    compiled = lp.compile(function)
    compiled(*arguments)
    return function(*arguments), compiled(*arguments), compiled.explain()


def numbers(*shape, seed=0):
    return lp.tensor(np.random.default_rng(seed).standard_normal(shape))


def test_between_native_parts_with_views_and_broadcasts():
    def function(x):
        a = ranked((x * 2).T) + 1
        b = triple(a[1:]) - triple(x.T[1:])
        return (a[1:] * b).sum(0), b, triple(x.sum(0))

    eager, compiled, told = both(function, numbers(5, 7))
    lp.testing.assert_close(list(compiled), list(eager))
    assert told.callouts == 4
    assert told.fallbacks == 0
    assert "ranked.forward(numpy" in told.plans[0].loops()
    profile = told.plans[0].profile(2)
    assert [label for label, _ in profile if label in ("ranked", "triple")] == ["ranked"] + ["triple"] * 3
    assert "define" in told.plans[0].ir


def test_first_last_only_and_twice_in_a_row():
    for function in (lambda x: ranked(x), lambda x: ranked(x) * 2, lambda x: ranked(x * 2),
                     lambda x: triple(triple(ranked(x)))):  # fmt: skip
        eager, compiled, told = both(function, numbers(3, 4))
        lp.testing.assert_identical(compiled, eager)
        assert told.callouts >= 1


def test_python_numbers_and_constants():
    def function(x):
        return triple(lp.full((2, 3), 1.5)) + triple(lp.arange(3.0)) + x

    eager, compiled, _ = both(function, numbers(2, 3))
    lp.testing.assert_close(compiled, eager)


def test_in_a_training_step():
    x, p = numbers(4, 3), numbers(3, seed=1).requires_grad_()
    q = lp.tensor(p.detach().numpy()).requires_grad_()
    optimizers = [lp.optim.SGD([w], lr=0.1, momentum=0.9) for w in (p, q)]

    def step(w, optimizer):
        optimizer.zero_grad()
        loss = (triple(x * w) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = lp.compile(lambda: step(q, optimizers[1]))
    for _ in range(4):
        lp.testing.assert_close(compiled(), step(p, optimizers[0]))
    lp.testing.assert_close(q.detach(), p.detach())
    assert compiled.explain().callouts == 2


def test_an_error_leaves_the_users_tensors_as_they_were():
    total = lp.zeros(3)

    @lp.compile
    def step(x):
        total.add_(x)
        return picky(x * 2) + total

    step(lp.ones(3))
    step(lp.ones(3))
    with pytest.raises(LampionError, match="something is negative"):
        step(-lp.ones(3))
    assert total.tolist() == [2.0, 2.0, 2.0]


def test_a_wrong_shape_rule_is_told():
    @kernel(public=False)
    class wrong:
        def infer(x):
            return (2,), x.dtype

        def forward(xp, x):
            return x

        def call(x):
            return apply(wrong.primitive, x)

    compiled = lp.compile(lambda x: wrong(x) + 1)
    with pytest.raises(AssertionError, match=r"wrong: forward gave float32\(3,\)"):
        compiled(lp.ones(3))


def test_the_published_list_is_true():
    script = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "call_outs.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), "run python scripts/call_outs.py"


def test_complex_values_between_native_parts():
    eager, compiled, told = both(lambda x: (lp.linalg.eigvals(x).real * 2).sum() + x.sum(), numbers(4, 4))
    lp.testing.assert_close(compiled, eager)
    assert told.callouts > 0
    assert told.fallbacks == 0


def test_sixteen_bits():
    def function(x):
        return (x.bfloat16() * 2 + lp.ones(3, dtype=lp.bfloat16)).float()

    eager, compiled, told = both(function, numbers(3))
    lp.testing.assert_identical(compiled, eager)
    assert told.fallbacks == 0


def test_a_module_that_is_loaded_when_it_is_first_asked_for():
    code = (
        "import lampion, warnings; warnings.simplefilter('error');"
        "f = lampion.compile(lambda x: lampion.special.expit(x)); x = lampion.ones(3);"
        "f(x); f(x); assert f.explain().fallbacks == 0 and f.explain().traces == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
