"""PyTorch's own samples for its operations: values, gradients, gradients of gradients, in float64.

Every entry of PyTorch's table whose name Lampion has is called with the same arguments. What needs adapting,
or is left out, stands in the files `opinfo_*.py` beside this one, a family of operations in each:

    CALLS     name: the function to call instead of the one of that name
    EXCLUDED  name: {reason: predicate}, samples left out; a reason that excludes none is an error
    LEFT_OUT  name: reason, for entries that are there under that name and do something else
    CLOSE     name: {"rtol": ..., "atol": ...}, with a comment that says why
    RANDOM    names whose values are drawn (or undefined): shapes and types are compared
    ONCE      names whose second derivatives PyTorch promises and lacks
    UNTYPED   name: {type: reason}, types that PyTorch's function takes and Lampion's refuses
    SETTLED   name: function(result), the part that is defined where elements are equal, as integers often are
"""

import importlib
import warnings
from pathlib import Path

import pytest

import lampion as lp
from lampion.testing.compare import flatten

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="torch.testing._internal needs it: pip install expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

from both import assert_same, assert_same_slopes, leaves, slopes, tensors_in, to_lampion  # noqa: E402

FAMILIES = [importlib.import_module(path.stem) for path in sorted(Path(__file__).parent.glob("opinfo_*.py"))]


def gathered(what):
    return {name: value for family in FAMILIES for name, value in getattr(family, what, {}).items()}


CALLS, EXCLUDED, LEFT_OUT = map(gathered, ("CALLS", "EXCLUDED", "LEFT_OUT"))
CLOSE, SINGLE = map(gathered, ("CLOSE", "SINGLE"))
SETTLED, UNTYPED = gathered("SETTLED"), gathered("UNTYPED")
RANDOM = {name for family in FAMILIES for name in getattr(family, "RANDOM", ())}
ONCE = {name for family in FAMILIES for name in getattr(family, "ONCE", ())}
#: Homes of operations, as PyTorch names them.
HOMES = {
    f"{home}.": f"lampion.{home}"
    for home in ("nn.functional", "linalg", "fft", "special", "masked", "signal.windows")
}


def resolve(info):
    """Lampion's function of that name; None where it has none."""
    for home, module in HOMES.items():
        if info.name.startswith(home):
            try:
                return getattr(importlib.import_module(module), info.name.removeprefix(home), None)
            except ModuleNotFoundError:
                return None
    found = lp.ops.OPERATIONS.get(info.name) or getattr(lp.Tensor, info.name, None)
    if isinstance(found, property):
        return found.fget
    return found or (getattr(lp, info.name, None) if info.name in lp.__all__ else None)


INFOS = {f"{info.name} {info.variant_test_name}".strip(): info for info in op_db}
FOUND = {name: CALLS.get(name) or resolve(info) for name, info in INFOS.items() if name not in LEFT_OUT}
OPERATIONS = {name: function for name, function in FOUND.items() if function is not None}


def test_lists_name_entries_of_the_table():
    assert {*CALLS, *EXCLUDED, *LEFT_OUT, *CLOSE, *SINGLE, *RANDOM, *UNTYPED} - set(INFOS) == set()


def test_how_many_entries_agree_on_every_sample():
    """380 was asked for; an entry counts if none of its samples is left out."""
    whole = [name for name in OPERATIONS if name not in EXCLUDED and name not in RANDOM]
    assert len(whole) >= 380, f"{len(whole)} entries"


def excluded(name, sample):
    for reason, applies in EXCLUDED.get(name, {}).items():
        if applies(sample):
            return reason
    return None


#: Instead of float64, for what PyTorch does with integers only.
OTHERWISE = ("float64", "float32", "int64", "bool", "complex128")


def main_dtype(info):
    return next(getattr(torch, name) for name in OTHERWISE if getattr(torch, name) in info.dtypes)


def samples_of(name, dtype, requires_grad):
    info = INFOS[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(info.sample_inputs("cpu", dtype, requires_grad=requires_grad))


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_gradients(name):
    info, ours = INFOS[name], OPERATIONS[name]
    dtype = main_dtype(info)
    differentiable = info.supports_autograd and (dtype.is_floating_point or dtype.is_complex)
    samples = samples_of(name, dtype, differentiable)
    reasons = [excluded(name, sample) for sample in samples]
    assert set(EXCLUDED.get(name, {})) <= set(reasons), "a reason to exclude samples that excludes none"
    assert None in reasons, "all samples are excluded"
    for sample, reason in zip(samples, reasons, strict=True):
        if reason is not None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call = leaves([sample.input, *sample.args]), leaves(sample.kwargs)
            # What is left of a result that is not unique (a sign, a phase) is for the sample to say.
            theirs = sample.output_process_fn_grad(info.op(*call[0], **call[1]))
        mine = to_lampion(call[0]), to_lampion(call[1])
        try:
            out = sample.output_process_fn_grad(ours(*mine[0], **mine[1]))
            assert_same(out, theirs, name not in RANDOM, **CLOSE.get(name, {}))
            if differentiable and name not in RANDOM:
                inputs = tensors_in(mine, lp.Tensor), tensors_in(call, torch.Tensor)
                twice = info.supports_gradgrad and name not in ONCE
                check_slopes(out, theirs, *inputs, twice, CLOSE.get(name, {}))
        except Exception as error:
            error.add_note(f"{name}: {sample.summary()}")
            raise


def check_slopes(out, theirs, our_inputs, their_inputs, twice, close):
    pairs = [(a, b) for a, b in zip(our_inputs, their_inputs, strict=True) if b.requires_grad]
    our_inputs, their_inputs = [a for a, _ in pairs], [b for _, b in pairs]
    if not pairs:
        return
    recorded, expected = (
        [x.requires_grad for x in flatten(part) if hasattr(x, "requires_grad")] for part in (out, theirs)
    )
    assert recorded == expected, f"which results require a gradient: {recorded}, PyTorch has {expected}"
    if any(recorded):
        first, expected = slopes(out, theirs, our_inputs, their_inputs)
        assert_same_slopes(first, expected, our_inputs, **close)
        if twice:
            assert_same_slopes(
                *slopes(first, expected, our_inputs, their_inputs, seed=1), our_inputs, **close
            )


# Sums of some products of two numbers up to 9, in another order: 1e-7 of the sum of their sizes.
_SUMS = ("histogram", "matmul", "__rmatmul__", "mm", "bmm", "nn.functional.linear")
SUMS = {name: {"rtol": 1e-5, "atol": 1e-4} for name in _SUMS} | gathered("SUMS")


def fills_with_less_than_0(name, sample):
    """A negative number for uint8: an error here, another number in PyTorch."""
    numbers = [x for x in (sample.input, *sample.args) if isinstance(x, int | float)]
    return name in ("full_like", "scalar_tensor") and any(x < 0 for x in numbers)


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_values_of_other_types(name, dtype):
    info, ours = INFOS[name], OPERATIONS[name]
    if getattr(torch, dtype) not in info.dtypes:
        pytest.skip("PyTorch refuses this type")
    if name in ("any", "all") and dtype == "uint8":
        pytest.skip("PyTorch's result is uint8 here, from the time before it had booleans")
    if dtype in UNTYPED.get(name, {}):
        sample = samples_of(name, getattr(torch, dtype), False)[0]
        with pytest.raises(lp.errors.DTypeError):
            ours(*to_lampion([sample.input, *sample.args]), **to_lampion(sample.kwargs))
        return
    for sample in samples_of(name, getattr(torch, dtype), False):
        if excluded(name, sample) is not None or (dtype == "uint8" and fills_with_less_than_0(name, sample)):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = sample.output_process_fn_grad(info.op(sample.input, *sample.args, **sample.kwargs))
        args, kwargs = to_lampion([sample.input, *sample.args]), to_lampion(sample.kwargs)
        try:
            tolerances = SUMS.get(name, {}) if dtype == "float32" else {}
            tolerances = SINGLE.get(name, tolerances) if dtype == "float32" else tolerances
            out = sample.output_process_fn_grad(ours(*args, **kwargs))
            settle = SETTLED.get(name, lambda result: result)
            assert_same(settle(out), settle(theirs), name not in RANDOM, **tolerances)
        except Exception as error:
            error.add_note(f"{name}: {sample.summary()}")
            raise
