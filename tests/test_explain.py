"""What `explain()` and `compiler.dump` say of a compiled step."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is nothing to explain")

import lampion as lp
from lampion.compiler import kernel_ir as ir
from lampion.compiler.explain import work
from lampion.errors import LampionError


def trained(width=8, rows=6):
    """A compiled step of a small network, called twice."""
    lp.manual_seed(0)
    net = lp.nn.Sequential(lp.nn.Linear(4, width), lp.nn.ReLU(), lp.nn.Linear(width, 3))
    opt = lp.optim.SGD(net.parameters(), lr=0.1)

    @lp.compile
    def step(x, y):
        loss = lp.nn.functional.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    x, y = lp.randn(rows, 4), lp.randint(0, 3, (rows,))
    step(x, y)
    step(x, y)
    return step, (x, y), net


def test_every_operation_is_in_one_kernel_with_its_line():
    step, _, _ = trained()
    (plan,) = step.explain().plans
    text = plan.fused()
    computed = [equation for equation in plan.optimized if equation.primitive.kind != "movement"]
    written = {f"%{equation.output.name}" for equation in computed}
    found = re.findall(r"^    (%\d+): ", text, re.MULTILINE)
    assert set(found) <= written and len(found) == len(set(found))
    # What is not in a kernel is a number that kernels hold themselves, or where another lies already.
    left = written - set(found)
    names = {e.primitive.name for e in plan.optimized if f"%{e.output.name}" in left}
    assert names <= {"full", "cast", "cat", "positions"}, names
    assert "relu(" in text and f"# {os.path.basename(__file__)}:" in text


def test_profile_adds_times_and_shares_and_changes_nothing():
    step, (x, y), net = trained()
    before = {name: p.detach().numpy().copy() for name, p in net.named_parameters()}
    static, timed = step.explain(), step.explain(profile=True)
    assert "roofline" not in str(static) and "roofline" in str(timed) and "GB/s from memory" in str(timed)
    (plan,) = timed.plans
    assert len(plan.times) == len(plan.kernels) and all(time >= 0 for time in plan.times)
    for name, p in net.named_parameters():
        np.testing.assert_array_equal(p.detach().numpy(), before[name])
    assert plan.machine.gflops > 0.1 and plan.machine.gbytes > 0.1
    step(x, y)  # and it goes on


def test_notebooks_show_the_same():
    step, _, _ = trained()
    page = step.explain()._repr_html_()
    assert page.count("<table") == 1 and "graph after the passes" in page and "<script" not in page
    assert "matmul(" in page and "&lt;" not in re.sub(r"<pre.*?</pre>", "", page, flags=re.DOTALL)


def test_dump_writes_all_readings(tmp_path):
    step, _, _ = trained()
    paths = lp.compiler.dump(step, tmp_path / "new" / "folder")
    texts = {os.path.basename(path): Path(path).read_text(encoding="utf-8") for path in paths}
    assert set(texts) == {
        "plan0.txt", "plan0-recorded.txt", "plan0-optimized.txt", "plan0-loops.txt", "plan0.ll", "plan0.s",
    }  # fmt: skip
    assert "graph(" in texts["plan0-recorded.txt"] and "for i in range(6):" in texts["plan0-loops.txt"]
    assert "define" in texts["plan0.ll"] and "ret" in texts["plan0.s"]


def test_dump_of_what_is_not_compiled():
    with pytest.raises(LampionError, match="nothing was compiled yet"):
        lp.compiler.dump(lp.compile(lambda x: x), "unused")
    seen = []
    eager = lp.compile(lambda x: seen.append(1))
    with pytest.warns(RuntimeWarning, match="runs eagerly"):
        eager(lp.ones(1))
    with pytest.raises(LampionError, match="runs eagerly"):
        lp.compiler.dump(eager, "unused")
    assert not os.path.exists("unused")


def kernels_of(fn, *args):
    compiled = lp.compile(fn)
    compiled(*args)
    return compiled.explain().plans[0].kernels


def test_work_is_counted_by_hand():
    a, b = lp.randn(5, 7), lp.randn(7, 11)
    (product,) = kernels_of(lambda a, b: (a @ b).relu(), a, b)
    assert work.products(product.kernel) == 2 * 5 * 7 * 11
    assert work.operations(product.kernel) == 2 * 5 * 7 * 11 + 5 * 11
    assert work.moved(product) == 4 * (5 * 7 + 7 * 11 + 5 * 11)

    (sums,) = kernels_of(lambda a: (a * a).sum(0), a)
    assert work.operations(sums.kernel) == 2 * 35 and work.moved(sums) == 4 * (35 + 7)

    (picked,) = kernels_of(lambda a, i: a[i], lp.randn(1000, 3), lp.tensor([1, 2]))
    assert work.moved(picked) <= 4 * (6 + 6) + 8 * 6  # of the source only what is read

    q = lp.randn(1, 6, 2)
    attend = lp.nn.functional.scaled_dot_product_attention
    (whole,) = kernels_of(lambda q: attend(q, q, q), q)
    (half,) = kernels_of(lambda q: attend(q, q, q, is_causal=True), q)
    assert isinstance(whole.kernel, ir.Attention)
    assert work.products(whole.kernel) == 2 * 36 * 4 and work.products(half.kernel) == 2 * 21 * 4
