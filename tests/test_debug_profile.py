"""`lampion.debug.profile`: what is counted, that the times add up, and the trace file."""

import json

import pytest

import lampion as lp
from lampion import debug, nn, primitive
from lampion.compiler import eager
from lampion.errors import AnomalyError


def rows(table):
    return {row.name: row for row in table}


def profiled(steps=3):
    model = nn.Sequential(nn.Linear(8, 16), nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Linear(16, 2))
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    x = lp.ones(4, 8)
    with debug.profile() as p:
        for _ in range(steps):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    return p


def test_operations_are_counted_by_pass():
    found = {(row.name, row.phase): row for row in profiled().by_operation()}
    assert found["tanh", "forward"].count == 3
    assert found["tanh", "forward"].nbytes == 3 * 4 * 16 * 4
    # Of two Linears: the gradients of both weights, and of the second one's input (the first's is data).
    assert found["matmul", "forward"].count == 6
    assert found["matmul", "backward"].count == 9
    assert all(row.total >= row.own > 0 for row in found.values())


def test_modules_have_their_own_time_and_that_of_those_inside():
    p = profiled()
    found = rows(p.by_module())
    assert set(found) == {
        "Sequential",
        "0 (Linear)",
        "1 (Sequential)",
        "1.0 (ReLU)",
        "1.1 (Tanh)",
        "2 (Linear)",
    }
    assert all(row.count == 3 for row in found.values())
    inner = found["1.0 (ReLU)"].total + found["1.1 (Tanh)"].total
    assert found["1 (Sequential)"].own == found["1 (Sequential)"].total - inner
    outer = sum(found[name].total for name in ("0 (Linear)", "1 (Sequential)", "2 (Linear)"))
    assert found["Sequential"].own == found["Sequential"].total - outer > 0
    operations = [e for e in p.events if e.kind == "operation" and e.module == "1.1 (Tanh)"]
    assert {e.phase for e in operations} == {"forward", "backward"}  # a gradient belongs to its module
    assert found["1.1 (Tanh)"].nbytes == 3 * 4 * 16 * 4


def test_backward_and_optimizer_are_events():
    kinds = [(e.kind, e.name) for e in profiled(2).events if e.kind in ("backward", "optimizer")]
    assert kinds == [("backward", "backward"), ("optimizer", "SGD.step")] * 2


def test_memory_is_what_is_alive_at_one_time():
    kib = 1024
    x = lp.zeros(256)  # made before: not counted
    with debug.profile() as p:
        for _ in range(5):
            y = x + 1  # 1 KiB; the one before it is alive until this is done
        a = y * 2
        view = a.reshape(16, 16)
        del a
        b = view * 3
        del y, view, b
    found = rows(p.by_operation())
    assert found["add"].nbytes == 5 * kib
    assert (found["reshape"].nbytes, found["reshape"].count) == (0, 1)
    assert p.peak_bytes == 3 * kib  # y, what the view looks into, b
    assert (found["add"].peak, found["mul"].peak) == (kib, 2 * kib)
    assert p._ledger.live == 0


def test_memory_of_modules_at_the_peak():
    model, x = nn.Sequential(nn.Tanh(), nn.ReLU()), lp.zeros(256, requires_grad=True)
    with debug.profile() as p:
        y = model(x)
    found = rows(p.by_module())
    assert found["0 (Tanh)"].peak == 1024
    assert found["Sequential"].nbytes == sum(e.nbytes for e in p.events if e.kind == "operation")
    assert y.shape == (256,)


def test_compiled_functions_are_one_event_and_their_kernels_a_table():
    @lp.compile
    def step(x):
        return (x @ x).exp().sum()

    with debug.profile() as p:
        for _ in range(4):
            step(lp.ones(8, 8))
    assert [e.name for e in p.events if e.kind == "compiled"] == ["step"] * 4
    assert step.traces == 1 and step.explain().eager is None  # it was compiled, not run eagerly
    plan = step.explain().plans[0]
    assert [label for _, label, _, _ in p.kernels] == [call.label for call in plan.kernels]
    assert all((name, calls) == ("step", 4) and each > 0 for name, _, calls, each in p.kernels)
    assert "matmul" in p.table("kernel")
    assert "step" in p.table() and "matmul" in p.table()


def test_a_plan_made_under_the_profiler_holds_nothing_of_it():
    step = lp.compile(lambda x: lp.fft.fft(x).real)  # called out to NumPy: the plan keeps the function itself
    with debug.profile():
        step(lp.ones(4))
    kept = [k.kernel.forward for k in step.explain().plans[0].kernels if hasattr(k.kernel, "forward")]
    assert kept and all("debug" not in f.__code__.co_filename for f in kept)


def test_heavy_operations_are_counted_where_they_run_as_plans_too(monkeypatch):
    pytest.importorskip("llvmlite")
    monkeypatch.setattr(primitive, "HEAVY", 1)
    monkeypatch.setattr(eager, "_plans", {})
    conv, x = nn.Conv2d(2, 3, 3), lp.ones(1, 2, 8, 8)
    with debug.profile() as p:
        for _ in range(2):
            conv(x).sum().backward()
    assert all(plan is not None for plan in eager._plans.values()) and len(eager._plans) == 2
    found = {(row.name, row.phase): row for row in p.by_operation()}
    assert found["convolution", "forward"].count == found["convolution_weight", "backward"].count == 2
    assert found["convolution", "forward"].nbytes == 2 * 3 * 6 * 6 * 4
    (event,) = {(e.module, e.shape) for e in p.events if e.name == "convolution"}
    assert event == ("Conv2d", (1, 3, 6, 6))


def test_pieces_that_run_as_plans_are_compiled_functions(monkeypatch):
    """A loss over many words is one event, or many operations for who looks at each."""
    pytest.importorskip("llvmlite")
    monkeypatch.setattr(nn.functional.classification, "_LARGE", 1)
    scores, target = lp.zeros(4, 3), lp.zeros(4, dtype=lp.int64)
    with debug.profile() as p:
        nn.functional.cross_entropy(scores, target)
    assert [e.name for e in p.events if e.kind == "compiled"] == ["_mean"]
    with pytest.raises(AnomalyError, match=r"^sub: .* 12 NaN"), debug.anomaly():
        nn.functional.cross_entropy(scores - lp.inf, target)


def test_what_an_operation_does_within_is_not_an_event():
    with debug.profile() as p:
        lp.arange(4.0).topk(3)  # `leading` sorts by calling the forward of `order`
    names = [e.name for e in p.events]
    assert "leading" in names and "order" not in names


def test_the_trace_is_what_chrome_loads(tmp_path):
    path = tmp_path / "trace.json"
    p = profiled(1)
    p.chrome_trace(path)
    trace = json.loads(path.read_text())
    assert set(trace) == {"traceEvents", "displayTimeUnit"} and trace["displayTimeUnit"] in ("ms", "ns")
    meta, *events = trace["traceEvents"]
    assert (meta["ph"], meta["name"], meta["args"]) == ("M", "process_name", {"name": "lampion"})
    assert len(events) == len(p.events)
    for event in events:
        assert event["ph"] == "X" and event["name"] and event["cat"]
        assert event["ts"] >= 0 and event["dur"] >= 0
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
    # Complete events of one thread must nest: each ends before the one around it.
    stack = []
    for event in events:
        began, ended = event["ts"], event["ts"] + event["dur"]
        while stack and stack[-1] <= began:
            stack.pop()
        assert not stack or ended <= stack[-1] + 1e-6
        stack.append(ended)
    (tanh,) = [e for e in events if e["name"] == "tanh" and e["args"]["phase"] == "forward"]
    assert tanh["args"] == {
        "phase": "forward", "bytes": 256, "module": "1.1 (Tanh)", "shape": [4, 16]
    }  # fmt: skip


def test_the_table_is_sorted_and_cut():
    p = profiled()
    lines = p.table("operation", limit=2).splitlines()
    assert lines[0].split() == ["operation", "count", "total", "self", "memory", "at", "peak"]
    assert lines[3].startswith("... and ") and lines[3].endswith(" more")
    own = [row.own for row in p.by_operation()]
    assert own == sorted(own, reverse=True)
    assert "backward" in p.table() and "SGD.step" in str(p)
    with pytest.raises(lp.errors.OptionError, match="no such table"):
        p.table("line")


def test_an_error_inside_leaves_a_readable_profile():
    model = nn.Sequential(nn.Tanh(), nn.Linear(3, 2))
    with pytest.raises(lp.errors.ShapeError), debug.profile() as p:
        model(lp.ones(2, 4))
    assert [e.name for e in p.events if e.kind == "module"] == ["0 (Tanh)", "1 (Linear)", "Sequential"]
