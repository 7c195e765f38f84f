"""One flat map over several tensors: the machine code, and which calls become one."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import targets
from plan_harness import Built

import lampion
from lampion import nn
from lampion.compiler import kernel_ir as ir
from lampion.compiler.lowering.segments import merged
from lampion.dtype import bool_, float32, float64
from lampion.ops.elementwise import add, gt, mul

LONG = ir.ANY_LENGTH
LENGTHS = (1, 15, 64, 65, 1000, 1, 3000)


def stream(operand, stride=1, length=LONG):
    return ir.Window(operand, (length,), (stride,))


def decay(length=LONG, dtype=float32):
    """p = p * rate + g, in place; operands p, rate, g."""
    operands = (ir.Operand(dtype, True), ir.Operand(dtype), ir.Operand(dtype))
    loads = tuple(ir.Load(stream(n, n != 1, length), dtype) for n in range(3))
    body = (*loads, ir.Compute(mul.primitive, (0, 1), dtype), ir.Compute(add.primitive, (3, 2), dtype))
    return ir.Map((length,), operands, body, (ir.Store(stream(0, 1, length), 4),))


def arrays(dtype=np.float32, lengths=LENGTHS):
    rng = np.random.default_rng(0)
    rate = np.full(1, 0.75, dtype)
    return [
        (rng.standard_normal(n).astype(dtype), rate, rng.standard_normal(n).astype(dtype)) for n in lengths
    ]


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_every_element_of_every_segment(target):
    tensors = arrays()
    expected = [p * rate + g for p, rate, g in tensors]
    kernel = ir.Segments(decay(), LENGTHS)
    built = Built().call(kernel, *(a for tensor in tensors for a in tensor))
    assert built.compiled(target, serial=True)() is None
    for (p, _, _), want in zip(tensors, expected, strict=True):
        np.testing.assert_array_equal(p, want)


def test_any_number_of_threads_and_two_lists_with_one_code():
    lengths = (70_000, 3, 50_001, 129)
    first, second = arrays(lengths=lengths), arrays(lengths=LENGTHS)
    wanted = [p * rate + g for p, rate, g in (*first, *second)]
    starts = [p.copy() for p, _, _ in (*first, *second)]
    built = Built()
    built.call(ir.Segments(decay(), lengths), *(a for tensor in first for a in tensor))
    built.call(ir.Segments(decay(), LENGTHS), *(a for tensor in second for a in tensor))
    runner = built.compiled()
    for threads in (1, 2, 3, 8):
        for (p, _, _), start in zip((*first, *second), starts, strict=True):
            p[...] = start
        assert runner(threads) is None
        for (p, _, _), want in zip((*first, *second), wanted, strict=True):
            np.testing.assert_array_equal(p, want)
    assert runner.compiled.ir.count("define internal i64 @segments") == 1


def test_a_type_smaller_than_another():
    x, out = np.linspace(-1, 1, 100), np.zeros(100, bool)
    more, far = np.linspace(1, -2, 33), np.ones(33, bool)
    body = (ir.Load(stream(0), float64), ir.Literal(0.0, float64), ir.Compute(gt.primitive, (0, 1), bool_))
    kernel = ir.Map((LONG,), (ir.Operand(float64), ir.Operand(bool_, True)), body, (ir.Store(stream(1), 2),))
    assert Built().call(ir.Segments(kernel, (100, 33)), x, out, more, far).compiled(serial=True)() is None
    np.testing.assert_array_equal(out, x > 0)
    np.testing.assert_array_equal(far, more > 0)


# -- which calls become one --------------------------------------------------------------------------------


def call(length, *numbers, arena=()):
    """An update of external numbers[0] by numbers[1:] (those in `arena` are buffers of the arena)."""
    places = tuple(ir.Place(n in arena, n, 4 * length) for n in numbers)
    return ir.Call(decay(length), places)


def kinds(calls):
    return [len(c.kernel.lengths) if isinstance(c.kernel, ir.Segments) else 1 for c in calls]


def test_calls_of_one_kind_become_one_where_the_last_of_them_stood():
    other = ir.Call(ir.RandomBits(4, 0, ()), ())
    found = merged([call(10, 0, 1, 2), other, call(30, 3, 1, 4), other])
    assert kinds(found) == [1, 2, 1]
    assert found[1].kernel.lengths == (10, 30)
    assert [place.index for place in found[1].places] == [0, 1, 2, 3, 1, 4]


def test_what_is_read_in_between_stays_in_order():
    reads = call(5, 9, 1, 0)  # reads what the first one writes
    assert kinds(merged([call(10, 0, 1, 2), reads])) == [1, 1]
    overwrites = call(7, 2, 1, 5)  # writes what the first one reads
    assert kinds(merged([call(10, 0, 1, 2), overwrites])) == [1, 1]


def test_what_stays_in_the_arena_does_not_move():
    assert kinds(merged([call(10, 0, 1, 2, arena=(0,)), call(20, 3, 1, 4, arena=(3,))])) == [1, 1]


def test_an_optimizer_is_one_call_and_has_the_bits_of_eager():
    def make():
        lampion.manual_seed(0)
        ps = [nn.Parameter(lampion.randn(*s)) for s in [(40, 30), (30,), (5, 5, 2), (1,), (), (), (700,)]]
        for p in ps:
            p.grad = lampion.randn(*p.shape)
        return ps, lampion.optim.Adam(ps, lr=0.1)

    ps, opt = make()
    step = lampion.compile(lambda: opt.step())
    qs, eager = make()
    for _ in range(2):
        step()
        eager.step()
    calls = step.explain().plans[0].kernels
    assert sorted(len(c.kernel.lengths) for c in calls) == [2, 5]  # those of no dimension are numbers to code
    for p, q in zip(ps, qs, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
        for name in ("exp_avg", "exp_avg_sq"):
            np.testing.assert_array_equal(opt.state[p][name].numpy(), eager.state[q][name].numpy())
