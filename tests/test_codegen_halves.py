"""float16 and bfloat16 in machine code: every number of them, against NumPy and ml_dtypes."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import (
    SUM,
    Elementwise,
    assert_same,
    mapping,
    reducing,
    reference,
    run,
    targets,
    window,
)

import lampion
from lampion.compiler.kernel_ir import Compute, Load, Map, Operand, Store
from lampion.dtype import bfloat16, bool_, float16, float32, float64, int8, int32, int64, uint16

# Without F16C, with and without AVX; with it; and with AVX-512 where there is that.
each_target = pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
each_half = pytest.mark.parametrize("half", [float16, bfloat16], ids=lambda dtype: dtype.name)
rng = np.random.default_rng(0)


def every(half):
    """All numbers of the type."""
    return np.arange(1 << 16, dtype=np.uint16).view(half.numpy)


def widened(array):
    """For comparisons: NumPy's testing functions do not know bfloat16."""
    return array.astype(np.float32) if array.dtype.kind in "fV" else array


@each_target
@each_half
def test_arithmetic_is_rounded_once_an_operation(half, target):
    x, y = every(half), rng.permutation(every(half))
    names = ("add", "subtract", "multiply", "divide", "maximum", "sqrt", "floor")
    arity = {"sqrt": 1, "floor": 1}
    body = [Load(window(n, x.shape), half) for n in (0, 1)]
    for name in names:
        forward = Elementwise(lambda xp, *args, name=name: getattr(xp, name)(*args))
        body.append(Compute(forward, (0, 1)[: arity.get(name, 2)], half))
    stores = tuple(Store(window(n, x.shape), n) for n in range(2, len(body)))
    kernel = Map(x.shape, tuple(Operand(half, n > 1) for n in range(len(body))), tuple(body), stores)
    with np.errstate(all="ignore"):
        wanted = [getattr(np, name)(*(x, y)[: arity.get(name, 2)]) for name in names]
    got = run(kernel, [x, y, *(np.zeros_like(x) for _ in names)], target)[2:]
    assert_same(map(widened, got), map(widened, wanted))


def numbers_between(half, dtype):
    """Numbers of a wider type: those of the short one, halfway between them, and next to halfway."""
    short = np.sort(every(half)[np.isfinite(every(half).astype(np.float32))].astype(dtype.numpy))
    middle = (short[1:] + short[:-1]) / 2
    around = [np.nextafter(middle, dtype.numpy.type(side)) for side in (np.inf, -np.inf)]
    edges = np.array([np.inf, np.nan, np.finfo(dtype.numpy).max, 65519.996, 65520], dtype.numpy)
    return np.concatenate([every(half).astype(dtype.numpy), middle, *around, edges, -edges])


@each_target
@each_half
@pytest.mark.parametrize("other", [float32, float64, int64, int32, int8, uint16, bool_], ids=lambda d: d.name)
def test_conversions(half, other, target):
    same = Elementwise(lambda xp, x: x)
    with np.errstate(all="ignore"):
        if other.kind == "f":
            wide = numbers_between(half, other)
        else:
            wide = every(half)[np.abs(every(half).astype(np.float32)) < (1 << 15)].astype(other.numpy)
        narrow = wide.astype(half.numpy)
    kernel = mapping(same, [other], half, wide.shape)
    got = run(kernel, [wide, np.zeros_like(narrow)], target)
    assert_same([widened(got[1])], [widened(narrow)])
    # Back: what does not fit into an integer is another matter.
    back = narrow if other.kind == "f" else narrow[np.abs(narrow.astype(np.float32)) < 120]
    with np.errstate(invalid="ignore"):
        wanted = back.astype(other.numpy)
    got = run(mapping(same, [half], other, back.shape), [back, np.zeros_like(wanted)], target)
    assert_same([got[1]], [wanted])


@each_target
@each_half
def test_sums_in_float32_and_strided_access(half, target):
    x = rng.standard_normal(37 * 45).astype(half.numpy)
    kernel = reducing([(SUM, float32)], half, (37, 45), (0,), strides=(1, 37))
    got, wanted = (
        run(kernel, [x, np.zeros(45, "f4")], target)[1],
        reference(kernel, [x, np.zeros(45, "f4")])[1],
    )
    np.testing.assert_allclose(got, wanted, rtol=0, atol=37 * 2**-23)  # sums of 37 numbers of size 1


STEPS = {
    "arithmetic": lambda x, y: (x * y + x / y - 2.5) * 3,
    "functions": lambda x, y: lampion.exp(x) + lampion.nn.functional.gelu(y),
    "rows": lambda x, y: (x.softmax(-1), y.sum(0), y.mean(1), x.amax()),
    "moves": lambda x, y: (lampion.cat([x, y.T.reshape(6, 20)]), x[1:, ::3] + 0, x.T.contiguous()),
    "casts": lambda x, y: (x.double(), y.bfloat16() + 1, x.half() * 2, (y * 9).int()),
    "indices": lambda x, y: (x[(y > 0).long()[0]], x.scatter_add(0, (y > 0).long(), y)),
    "choice": lambda x, y: (lampion.where(x > y, x, 0.1), x.clamp(-0.3, 0.3), lampion.full_like(x, 1 / 3)),
}


@each_half
@pytest.mark.parametrize("name", STEPS)
def test_compiled_is_eager(half, name):
    x, y = (lampion.randn(6, 20).to(half) for _ in range(2))
    step = lampion.compile(STEPS[name])
    wanted, got = STEPS[name](x, y), step(x, y)
    assert step.explain().callouts == 0
    pairs = zip(got, wanted, strict=True) if isinstance(got, tuple) else [(got, wanted)]
    for ours, theirs in pairs:
        assert ours.dtype is theirs.dtype
        # The bits are eager's, but where exp or a sum differs in its last place before it is rounded.
        slack = lampion.finfo(half).eps if name in ("functions", "rows") else 0
        np.testing.assert_allclose(ours.double().numpy(), theirs.double().numpy(), rtol=slack, atol=0)


@each_half
def test_a_training_step_in_a_short_type(half):
    model = lampion.nn.Linear(8, 3).to(half)
    twin = lampion.nn.Linear(8, 3).to(half)
    twin.load_state_dict(model.state_dict())
    x, labels = lampion.randn(5, 8).to(half), lampion.randint(0, 3, (5,))

    def step(model, opt):
        opt.zero_grad()
        loss = lampion.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        opt.step()
        return loss

    opts = [lampion.optim.SGD(m.parameters(), lr=0.1, momentum=0.9) for m in (model, twin)]
    compiled = lampion.compile(lambda: step(model, opts[0]))
    for _ in range(3):
        ours, theirs = compiled(), step(twin, opts[1])
    assert compiled.explain().callouts == 0
    assert abs(ours.item() - theirs.item()) <= 4 * lampion.finfo(half).eps * abs(theirs.item())
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert p.dtype is half and p.grad.dtype is half
        # A sum that is rounded the other way moves what follows it by one place.
        np.testing.assert_allclose(p.detach().float().numpy(), q.detach().float().numpy(),
                                   rtol=0, atol=4 * lampion.finfo(half).eps)  # fmt: skip


@each_half
def test_arm_needs_no_library(half):
    """Arm has no machine code that runs here, but its object code must call nothing that is not there."""
    from codegen_harness import arm, map_kernels
    from llvmlite import ir as llvm_ir

    from lampion.compiler.codegen.builder import optimize
    from lampion.compiler.codegen.symbols import undefined_symbols

    target, machine = arm()
    module = llvm_ir.Module()
    for source in (float32, float64, int64):
        kernel = mapping(Elementwise(lambda xp, x: x), [source], half, (37,))
        map_kernels.emit(module, f"from_{source.name}", kernel, target)
        kernel = mapping(Elementwise(lambda xp, x: x), [half], source, (37,))
        map_kernels.emit(module, f"to_{source.name}", kernel, target)
    assert undefined_symbols(machine.emit_object(optimize(module, target, machine))) == set()
