"""Map and Reduce as machine code, beside NumPy, for every level of processor that runs here."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import (
    ANY,
    MAX,
    SUM,
    Elementwise,
    assert_same,
    emitter,
    function,
    in_place,
    mapping,
    pairs,
    reducing,
    reference,
    run,
    special,
    strides_of,
    targets,
    window,
)

from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import Compute, Literal, Load, Map, Operand, Reduce, Reduction, Result, Store
from lampion.compiler.schedule import MACHINE_TYPES
from lampion.dtype import ALL as EVERY_TYPE
from lampion.dtype import bool_, float32, float64, int32, int64, uint8, uint32

# The others are called out to NumPy; short floats have a file of their own, test_codegen_halves.
ALL = tuple(dtype for dtype in EVERY_TYPE if dtype in MACHINE_TYPES and not dtype.is_half)
TARGETS = targets()
HOST = targets("host")[0]
each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
rng = np.random.default_rng(0)


def random(size, dtype):
    if dtype.kind == "f":
        return rng.standard_normal(size).astype(dtype.numpy)
    return rng.integers(0, 2 if dtype.kind == "b" else 100, size).astype(dtype.numpy)


def buffers_of(kernel, size):
    return [random(size, operand.dtype) for operand in kernel.operands]


def check(kernel, buffers, target=HOST):
    assert_same(run(kernel, buffers, target), reference(kernel, buffers))


# -- Map: windows -------------------------------------------------------------------------------------

MIX = Elementwise(lambda xp, x, y: xp.sqrt(xp.absolute(x * y + x)) / y - x)
BLEND = Elementwise(lambda xp, x, y: xp.where(x > y, x * 2 + y, xp.maximum(x, 1 - y)))


@each_target
@pytest.mark.parametrize("n", [1, 2, 7, 16, 31, 100])
@pytest.mark.parametrize("dtype", [float32, float64, int32], ids=str)
def test_arithmetic_has_the_bits_of_numpy(target, n, dtype):
    kernel = mapping(MIX if dtype.kind == "f" else BLEND, [dtype, dtype], dtype, (n,))
    buffers = buffers_of(kernel, n + 3)  # what lies behind must stay as it is
    check(kernel, buffers, target)
    check(in_place(kernel, 0), buffers[:2], target)


WINDOWS = {
    "0-d": ((), (), (), ()),
    "scalar input": ((5, 9), (9, 1), (0, 0), (9, 1)),
    "row broadcast": ((5, 40), (40, 1), (0, 1), (40, 1)),
    "column broadcast": ((5, 40), (40, 1), (1, 0), (40, 1)),
    "transposed input": ((37, 70), (1, 37), (70, 1), (70, 1)),
    "transposed both": ((37, 70), (1, 37), (1, 37), (70, 1)),
    "permuted output": ((6, 7, 8), (56, 8, 1), (56, 8, 1), (1, 6, 42)),
    "flipped": ((70,), (-1,), (1,), (1,)),
    "every other": ((30,), (2,), (1,), (2,)),
    "slice of a matrix": ((9, 21), (40, 1), (21, 1), (50, 1)),
    "broadcast between": ((4, 5, 6), (30, 6, 1), (6, 0, 1), (30, 6, 1)),
    "long rows": ((3, 1500), (2000, 1), (0, 1), (1500, 1)),
    "ones": ((1, 3, 1, 1), (7, 1, 5, 3), (0, 1, 0, 0), (3, 1, 1, 1)),
}


@pytest.mark.parametrize("case", WINDOWS)
@pytest.mark.parametrize("target", targets("sse2", "host"), ids=lambda target: target.name)
def test_windows(case, target):
    shape, *strides = WINDOWS[case]
    windows = []
    for n, steps in enumerate(strides):
        behind = sum(-step * (size - 1) for step, size in zip(steps, shape, strict=True) if step < 0)
        windows.append(window(n, shape, steps, offset=behind + 3 * n) if shape else window(n, shape))
    kernel = mapping(MIX, [float32, float32], float32, shape, windows)
    check(kernel, buffers_of(kernel, 7000), target)


LONG = Elementwise(lambda xp, x, y: (((x - y) * 2 + 1) * y - x) / (1 + y * y))


@each_target
@pytest.mark.parametrize("dtype", [float32, float64, uint8, bool_], ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("shape", [(16, 16), (37, 70), (32, 48), (3, 19, 1, 35)])
def test_tiles_that_are_turned(shape, dtype, target):
    turned = strides_of(shape, range(len(shape))[::-1])
    windows = [window(0, shape, turned, 5), window(1, shape), window(2, shape, turned), window(3, shape)]
    pick = Elementwise(lambda xp, x, y, z: xp.where(x == y, z, x))
    kernel = mapping(pick, [dtype] * 3, dtype, shape, windows)
    check(kernel, buffers_of(kernel, 2700), target)


@each_target
@pytest.mark.parametrize("shape", [(16, 16), (37, 70), (5, 37, 70)])
def test_updates_in_place_that_read_across(shape, target):
    # Each point must be updated once: a tile that is computed again would start from what it stored.
    across = strides_of(shape, (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2))
    windows = [window(0, shape), window(1, shape, across), window(0, shape)]
    kernel = mapping(LONG, [float32] * 2, float32, shape, windows)
    kernel = in_place(kernel, 0)
    check(kernel, buffers_of(kernel, 5 * 37 * 70), target)
    chained = replace(kernel, body=(*kernel.body, *(Compute(LONG, (n, 1), float32) for n in range(2, 12))))
    check(chained, buffers_of(kernel, 5 * 37 * 70), target)


@each_target
def test_types_of_different_widths_in_one_kernel(target):
    shape = (5, 23)
    body = (
        Load(window(0, shape), uint8),
        Load(window(1, shape), bool_),
        Load(window(2, shape, (0, 0)), float64),
        Compute(Elementwise(lambda xp, x: x.astype(np.float32) / 255), (0,), float32),
        Compute(Elementwise(lambda xp, rate: xp.sqrt(rate + 1)), (2,), float64),  # once a row, as a scalar
        Compute(Elementwise(lambda xp, x, rate: x * rate), (3, 4), float32),
        Literal(-2.5, float32),
        Compute(function("where"), (1, 5, 6), float32),
        Compute(Elementwise(lambda xp, x: x > 0.3), (7,), bool_),
        Compute(Elementwise(lambda xp, x: x.astype(np.int64) - 7), (0,), int64),
    )
    stores = (Store(window(3, shape), 7), Store(window(4, shape), 8), Store(window(5, shape), 9))
    operands = tuple(map(Operand, (uint8, bool_, float64, float32, bool_, int64)))
    kernel = Map(shape, operands, body, stores)
    check(kernel, buffers_of(kernel, 120), target)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_empty_shapes_do_nothing(shape):
    kernel = mapping(MIX, [float32, float32], float32, shape)
    check(kernel, buffers_of(kernel, 1))
    kernel = reducing([(SUM, float32)], float32, (0, *shape), (1,))
    check(kernel, buffers_of(kernel, 1))


def test_two_outputs_and_updates_in_place():
    # An optimizer's step: momentum and parameter are read and written, the rate is a scalar.
    n = 5000
    body = (
        *(Load(window(i, (n,)), float32) for i in range(3)),
        Load(window(3, (n,), (0,)), float64),
        Compute(Elementwise(lambda xp, m, g: m * 0.9 + g), (1, 2), float32),
        Compute(Elementwise(lambda xp, p, m, rate: p - rate.astype(np.float32) * m), (0, 4, 3), float32),
    )
    stores = (Store(window(0, (n,)), 5), Store(window(1, (n,)), 4))
    operands = (Operand(float32, True), Operand(float32, True), Operand(float32), Operand(float64))
    kernel = Map((n,), operands, body, stores)
    for target in TARGETS:
        check(kernel, buffers_of(kernel, n), target)


def test_lower_wins_over_forward():
    def lower(xp, x):
        return x + 1

    kernel = mapping(Elementwise(None, "special", lower), [int32], int32, (9,))
    x = random(9, int32)
    assert_same(run(kernel, [x, x], HOST)[1:], [x + 1])


# -- Map: what each function means ----------------------------------------------------------------------

FLOATS, INTEGERS = (float32, float64), (int32, int64, uint8, uint32)
UNARY = {
    "negative": FLOATS + INTEGERS, "absolute": ALL, "sign": FLOATS + INTEGERS, "square": FLOATS + INTEGERS,
    "sqrt": (*FLOATS, int64), "reciprocal": FLOATS, "floor": FLOATS + INTEGERS, "ceil": FLOATS,
    "trunc": FLOATS, "rint": FLOATS, "signbit": FLOATS, "isnan": (*FLOATS, int32),
    "isinf": (*FLOATS, int32), "isfinite": FLOATS,
    "logical_not": ALL, "invert": (*INTEGERS, bool_),
}  # fmt: skip
BINARY = {
    **dict.fromkeys(["add", "multiply", "maximum", "minimum"], ALL),
    **dict.fromkeys(["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"], ALL),
    **dict.fromkeys(["subtract", "divide", "true_divide", "floor_divide", "remainder"], FLOATS + INTEGERS),
    **dict.fromkeys(["logical_and", "logical_or", "logical_xor"], (float32, int32, bool_)),
    **dict.fromkeys(["bitwise_and", "bitwise_or", "bitwise_xor"], (*INTEGERS, bool_)),
    **dict.fromkeys(["left_shift", "right_shift"], INTEGERS),
    "copysign": FLOATS,
    "fmod": FLOATS + INTEGERS,
    "fmax": FLOATS + INTEGERS,
    "fmin": FLOATS + INTEGERS,
}


def numpy_dtype(name, *arrays):
    """The type of NumPy's answer, if it is one of ours."""
    with np.errstate(all="ignore"):
        return getattr(np, name)(*(array[:1] for array in arrays)).dtype


def many(cases):
    return [pytest.param(name, dtype, id=f"{name}-{dtype.name}") for name in cases for dtype in cases[name]]


@pytest.mark.parametrize(("name", "dtype"), many(UNARY))
def test_unary(name, dtype):
    x = special(dtype)
    out = next((d for d in ALL if d.numpy == numpy_dtype(name, x)), dtype)
    kernel = mapping(function(name), [dtype], out, x.shape)
    check(kernel, [x, np.zeros(x.shape, out.numpy)])


@pytest.mark.parametrize(("name", "dtype"), many(BINARY))
def test_binary(name, dtype):
    x, y = pairs(special(dtype), special(dtype))
    out = next((d for d in ALL if d.numpy == numpy_dtype(name, x, y)), dtype)
    kernel = mapping(function(name), [dtype, dtype], out, x.shape)
    buffers = [x, y, np.zeros(x.shape, out.numpy)]
    got, want = run(kernel, buffers, HOST), reference(kernel, buffers)
    if name in ("maximum", "minimum", "fmax", "fmin"):  # which zero is the larger is nobody's business
        got, want = ([array + array.dtype.type(0) for array in arrays] for arrays in (got, want))
    assert_same(got, want)


@pytest.mark.parametrize("target", targets("sse2", "avx2", "host"), ids=lambda target: target.name)
@pytest.mark.parametrize("source", ALL, ids=lambda dtype: dtype.name)
def test_casts(source, target):
    x = special(source)
    if source.kind == "f":
        edges = [2.0**k + d for k in (7, 8, 31, 32, 62) for d in (-1, 0, 0.5)]
        x = np.concatenate([x, np.array(edges, x.dtype)])
        x = np.concatenate([x, -x])
        fits = np.isfinite(x) & (np.abs(x) < 2.0**31)  # the rest is C's to choose; see below
    body = [Load(window(0, x.shape), source)]
    stores = []
    for n, dtype in enumerate(ALL):
        body.append(Compute(Elementwise(lambda xp, x, to: x.astype(to)), (0,), dtype, (("to", dtype.numpy),)))
        stores.append(Store(window(n + 1, x.shape), n + 1))
    kernel = Map(x.shape, (Operand(source), *(Operand(d, True) for d in ALL)), tuple(body), tuple(stores))
    buffers = [x, *(np.zeros(x.shape, dtype.numpy) for dtype in ALL)]
    got, want = run(kernel, buffers, target), reference(kernel, buffers)
    for dtype, ours, theirs in zip(ALL, got[1:], want[1:], strict=True):
        keep = fits if source.kind == "f" and dtype.kind in "iu" else slice(None)
        if dtype.kind == "u" and source.kind == "f":
            keep = keep & (x > -1)
        assert_same([ours[keep]], [theirs[keep]])


def test_casts_of_what_does_not_fit_are_defined():
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**31, 2.0**63])
    for dtype in (int32, int64):
        kernel = mapping(Elementwise(lambda xp, x, to=dtype: x.astype(to)), [float64], dtype, x.shape)
        lowest = np.iinfo(dtype.numpy).min
        want = np.where(x == 2.0**31, 2**31, lowest) if dtype is int64 else np.full(x.shape, lowest)
        assert_same(run(kernel, [x, np.zeros(7, dtype.numpy)], HOST)[1:], [want.astype(dtype.numpy)])


@pytest.mark.parametrize(
    "forward",
    [
        lambda xp, x: x + 1, lambda xp, x: 1 - x, lambda xp, x: x * 2.5, lambda xp, x: 2 / x,
        lambda xp, x: x // 3, lambda xp, x: 7 % x, lambda xp, x: x**2, lambda xp, x: x**3,
        lambda xp, x: (x > 1) & (x <= 31), lambda xp, x: abs(-x),
        lambda xp, x: xp.where(x == 3, 0, x), lambda xp, x: xp.minimum(3, x),
        lambda xp, x: xp.maximum(x, np.float64(0.5)), lambda xp, x: x * np.float32(2) + x.astype(np.float64),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [float32, float64, int32, int64], ids=lambda dtype: dtype.name)
def test_python_numbers_take_the_types_that_numpy_gives_them(forward, dtype):
    x = special(dtype)
    with np.errstate(all="ignore"):
        want = forward(np, x)
    out = next(d for d in ALL if d.numpy == want.dtype)
    kernel = mapping(Elementwise(forward), [dtype], out, x.shape)
    got = run(kernel, [x, np.zeros(x.shape, out.numpy)], HOST)[1]
    if forward(np, np.float64(3)) == 27 and dtype.kind == "f":  # x**3 is within an ulp
        np.testing.assert_allclose(got, want, rtol=3e-7 if dtype is float32 else 5e-16)
    else:
        assert_same([got], [want])


def test_integer_powers():
    x, y = pairs(special(int64), np.arange(0, 70, 3))
    kernel = mapping(function("power"), [int64, int64], int64, x.shape)
    check(kernel, [x, y, np.zeros_like(x)])


def test_a_lane_has_no_truth_value():
    kernel = mapping(Elementwise(lambda xp, x: x if x > 0 else -x), [float32], float32, (3,))
    with pytest.raises(TypeError, match="truth value"):
        run(kernel, buffers_of(kernel, 3), HOST)


# -- Reduce -------------------------------------------------------------------------------------------

REDUCTIONS = [
    ((7,), (0,)), ((100,), (0,)), ((1000,), (0,)), ((100, 10), (1,)), ((100, 10), (0,)), ((1, 1), (0,)),
    ((3, 4, 5), (1,)), ((3, 4, 5), (0, 2)), ((8, 3, 9, 9), (0, 2, 3)), ((30, 200), (0,)), ((30, 200), (1,)),
    ((65, 65), (0,)), ((2, 3, 64), (0, 1)), ((4, 3, 2), (0, 1, 2)), ((5,), ()), ((), ()), ((3, 0), (1,)),
    ((0, 3), (0,)), ((0, 3), (0, 1)), ((4, 0, 3), (0, 1)), ((33, 1, 70), (0,)), ((6, 70, 5), (1,)),
]  # fmt: skip


@each_target
@pytest.mark.parametrize(("shape", "axes"), REDUCTIONS)
def test_integer_sums_and_maxima(shape, axes, target):
    kernel = reducing([(SUM, int64), (MAX, int32)], int32, shape, axes)
    check(kernel, buffers_of(kernel, int(np.prod(shape)) + 5), target)


def assert_close_sum(got, x, axes):
    """As good as NumPy's pairwise sum along memory: twice its error, plus 4 ulp."""
    exact = x.astype(np.longdouble).sum(axes)
    theirs = np.abs(x.sum(axes) - exact).max(initial=0)
    ulp = np.spacing(np.abs(exact).max(initial=0).astype(x.dtype))
    assert np.abs(got - exact).max(initial=0) <= 2 * theirs + 4 * ulp


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize(("shape", "axes"), [*REDUCTIONS, ((200_000,), (0,)), ((70_000, 3), (0,))])
def test_float_sums_are_accurate(shape, axes, dtype):
    x = random(int(np.prod(shape)), dtype) + dtype.numpy.type(0.5)
    kernel = reducing([(SUM, dtype)], dtype, shape, axes)
    got = run(kernel, [x, np.zeros(int(np.prod(kernel.kept)), dtype.numpy)], HOST)[1]
    assert_close_sum(got.reshape(kernel.kept), x.reshape(shape), axes)


@pytest.mark.parametrize("target", targets("sse2", "avx", "host"), ids=lambda target: target.name)
@pytest.mark.parametrize("offset", [0, 1])
def test_long_float_sums_are_as_good_as_numpys(target, offset):
    # One sum may be lucky; so the root of the mean square over a number of them, which NumPy adds
    # pairwise, since they lie along memory.
    for shape in [(30, 30_001), (3, 1_000_000)]:
        x = random(shape, float32) + np.float32(offset)
        kernel = reducing([(SUM, float32)], float32, shape, (1,))
        got = run(kernel, [x, np.zeros(shape[0], np.float32)], target)[1]
        exact = x.astype(np.float64).sum(1)
        ours, theirs = (np.sqrt(np.mean((sums - exact) ** 2)) for sums in (got, x.sum(1)))
        assert ours <= 2 * theirs + 4 * np.spacing(np.abs(exact).mean().astype(np.float32))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_permuted_inputs(order, axes):
    shape = (5, 18, 33)
    kernel = reducing([(SUM, int64), (MAX, uint8)], uint8, shape, axes, strides_of(shape, order))
    check(kernel, buffers_of(kernel, 5 * 18 * 33))


def test_columns_of_long_rows():
    kernel = reducing([(SUM, int64)], int64, (70, 4001), (0,))  # more than a cache: rows are fetched ahead
    check(kernel, buffers_of(kernel, 70 * 4001))


def test_max_propagates_nan():
    x = random(100, float32)
    x[50] = np.nan
    for shape, axes in [((100,), (0,)), ((10, 10), (0,)), ((10, 10), (1,))]:
        kernel = reducing([(MAX, float32)], float32, shape, axes)
        check(kernel, [x, np.zeros(10, np.float32)])


@each_target
def test_booleans(target):
    for shape, axes in [((40, 70), (0,)), ((40, 70), (1,)), ((9,), (0,))]:
        kernel = reducing([(ANY, bool_), (SUM, int64)], bool_, shape, axes)
        x = np.random.default_rng(1).random(2800) < 0.03
        check(kernel, [x, np.zeros(70, bool), np.zeros(70, np.int64)], target)


def normalization(shape, axes, broadcast):
    """Sums of x w and of its square, and from them and from a third buffer, updated, two results."""
    kept = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    body = (
        Load(window(0, shape), float64),
        Load(window(1, shape, broadcast), float64),
        Compute(function("multiply"), (0, 1), float64),
        Compute(function("square"), (2,), float64),
    )
    epilogue = (
        Result(0, float64),
        Result(1, float64),
        Load(window(2, kept), float64),
        Compute(Elementwise(lambda xp, s, q, old: xp.sqrt(q) / 7 + 0.5 * old + s), (0, 1, 2), float64),
        Compute(Elementwise(lambda xp, s, old: s > old), (0, 2), bool_),
    )
    stores = (Store(window(2, kept), 3), Store(window(3, kept), 4))
    operands = (Operand(float64), Operand(float64), Operand(float64, True), Operand(bool_, True))
    reductions = (Reduction(SUM, 2, float64), Reduction(SUM, 3, float64))
    return Reduce(shape, axes, operands, body, reductions, epilogue, stores)


@each_target
@pytest.mark.parametrize(
    ("shape", "axes", "broadcast"),
    [((20, 77), (1,), (0, 1)), ((20, 77), (0,), (0, 1)), ((9, 4, 35), (0, 2), (0, 1, 0))],
)
def test_epilogues(shape, axes, broadcast, target):
    kernel = normalization(shape, axes, broadcast)
    eighths = [np.round(8 * b) / 8 if b.dtype.kind == "f" else b for b in buffers_of(kernel, 2000)]
    check(kernel, eighths, target)  # whose sums are exact


# -- Chunks -------------------------------------------------------------------------------------------

MATRIX = (70, 301)
BIG = [
    mapping(MIX, [float32, float32], float32, (30_000,)),
    mapping(
        MIX,
        [float32] * 2,
        float32,
        MATRIX,
        [window(0, MATRIX), window(1, MATRIX, (1, 70)), window(2, MATRIX)],
    ),
    reducing([(SUM, float32)], float32, (300, 201), (1,)),
    reducing([(SUM, float32)], float32, (201, 300), (0,)),
]


@pytest.mark.parametrize("kernel", BIG, ids=["map", "transposed map", "rows", "columns"])
def test_chunks_in_any_grouping_give_the_same_bits(kernel):
    from codegen_harness import compiled

    total = emitter(kernel).chunks(kernel)
    assert total >= 3
    assert {emitter(kernel).chunks(kernel, target) for target in TARGETS} == {total}
    buffers = buffers_of(kernel, 61_000)
    together, apart = ([b.copy() for b in buffers] for _ in range(2))
    call = compiled(kernel, HOST)
    assert call(together, 0, total) == 0
    for lo, hi in [(2, 3), (0, 0), (3, total), (total, total), (0, 2)]:
        assert call(apart, lo, hi) == 0
    assert_same(apart, together)


def test_small_work_is_one_chunk():
    small_map = mapping(MIX, [float32, float32], float32, (4000,))
    for kernel in (small_map, reducing([(SUM, int64)], int64, (90, 90), (0,))):
        assert emitter(kernel).chunks(kernel) == 1


# -- Safety -------------------------------------------------------------------------------------------


def test_undefined_symbols_are_found_in_elf_and_mach_o():
    import llvmlite.binding as llvm

    from lampion.compiler.codegen.symbols import undefined_symbols

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    text = """
        declare double @pow(double, double)
        define double @kernel(double %x) { %y = call double @pow(double %x, double %x) ret double %y }
    """
    for triple in ("x86_64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-apple-darwin"):
        machine = llvm.Target.from_triple(triple).create_target_machine(codemodel="small", reloc="pic")
        module = llvm.parse_assembly(text)
        module.triple = triple
        assert undefined_symbols(machine.emit_object(module)) == {"pow"}
    with pytest.raises(ValueError, match="neither ELF"):
        undefined_symbols(b"MZ")


def test_code_that_calls_unknown_functions_is_refused():
    kernel = mapping(Elementwise(lambda xp, x: xp.libm("system", x)), [float64], float64, (3,))
    with pytest.raises(RuntimeError, match="system"):
        run(kernel, buffers_of(kernel, 3), HOST)


def test_targets():
    with pytest.raises(ValueError, match="expected one of"):
        Target.named("itanium")
    assert Target.host() == HOST
    assert HOST.lanes(float32) == 2 * HOST.lanes(float64) == HOST.vector_bytes // 4
    assert replace(HOST, name="other").key == HOST.key
