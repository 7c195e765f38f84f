"""PyTorch's own samples for its operations: values, gradients, gradients of gradients, in float64."""

import warnings

import pytest

import lampion as lp
from lampion.nn import functional as F
from lampion.testing.compare import flatten

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="torch.testing._internal needs it: pip install expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

from both import assert_same, assert_same_slopes, leaves, slopes, tensors_in, to_lampion  # noqa: E402

T = lp.Tensor

# PyTorch's name (and variant): Lampion's function of the sample's input, arguments and keywords.
OPERATIONS = {
    "add": lp.add, "sub": lp.sub, "mul": lp.mul, "div no_rounding_mode": lp.div, "neg": lp.neg, "pow": lp.pow,
    "exp": lp.exp, "expm1": lp.expm1, "log": lp.log, "sqrt": lp.sqrt, "tanh": lp.tanh, "sigmoid": lp.sigmoid,
    "sin": lp.sin, "cos": lp.cos, "maximum": lp.maximum, "minimum": lp.minimum,
    "eq": lp.eq, "ne": lp.ne, "lt": lp.lt, "le": lp.le, "gt": lp.gt, "ge": lp.ge,
    "__radd__": T.__radd__, "__rsub__": T.__rsub__, "__rmul__": T.__rmul__, "__rdiv__": T.__rtruediv__,
    "__rpow__": T.__rpow__, "__rmatmul__": T.__rmatmul__, "__getitem__": T.__getitem__,
    "where": lambda x, condition, other: lp.where(condition, x, other),
    "sum": lp.sum, "mean": lp.mean, "amax": lp.amax, "amin": lp.amin, "argmax": lp.argmax,
    "max reduction_no_dim": lp.max, "max reduction_with_dim": lp.max, "max binary": lp.max,
    "any": T.any, "all": T.all,
    "reshape": lp.reshape, "view": T.view, "permute": lp.permute, "transpose": lp.transpose, "t": T.t,
    "T": lambda x: x.T, "mT": lambda x: x.mT, "squeeze": lp.squeeze, "squeeze multiple": lp.squeeze,
    "unsqueeze": lp.unsqueeze, "flatten": lp.flatten, "expand": T.expand, "broadcast_to": lp.broadcast_to,
    "narrow": lp.narrow, "flip": lambda x, dims: lp.flip(x, dims),
    "gather": lp.gather, "scatter_add": lp.scatter_add, "index_select": lp.index_select,
    "cat": lp.cat, "stack": lp.stack,
    "matmul": lp.matmul, "mm": T.mm, "bmm": lp.matmul, "mv": lp.matmul,
    "clone": T.clone, "contiguous": T.contiguous,
    "float": T.float, "double": T.double, "long": T.long, "int": T.int, "bool": T.bool,
    "zeros_like": lp.zeros_like, "ones_like": lp.ones_like, "full_like": lp.full_like,
    "softmax": F.softmax, "log_softmax": F.log_softmax,
    "nn.functional.relu": F.relu, "nn.functional.leaky_relu": F.leaky_relu, "nn.functional.silu": F.silu,
    "nn.functional.gelu": F.gelu, "nn.functional.linear": F.linear, "nn.functional.mse_loss": F.mse_loss,
    "nn.functional.cross_entropy": F.cross_entropy, "nn.functional.nll_loss": F.nll_loss,
}  # fmt: skip


def has(*names):
    return lambda sample: any(name in sample.kwargs for name in names)


def is_0d(sample):
    return any(x.ndim == 0 for x in tensors_in([sample.input, *sample.args], torch.Tensor))


def picks_by_several(sample):
    key = sample.args[0]
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(p, bool | list) or (isinstance(p, torch.Tensor) and p.ndim) for p in parts)


NO_MEMORY_FORMAT = {"memory_format is PyTorch's own": has("memory_format")}
ZERO_D = {"a 0-d tensor has no dimension to index along": is_0d}
BYTES = {"an index is int64 or int32": lambda sample: sample.args[1].dtype == torch.uint8}

# What Lampion leaves out, and why. A reason that no sample needs any longer fails the test.
EXCLUDED = {
    "add": {"alpha is a product, written as one": has("alpha")},
    "sub": {"alpha is a product, written as one": has("alpha")},
    "__getitem__": {"boolean masks and several index tensors are refused": picks_by_several},
    "gather": ZERO_D | BYTES,
    "scatter_add": ZERO_D,
    "index_select": ZERO_D,
    "cat": {"an empty 1-d tensor fits nowhere": lambda sample: len({x.ndim for x in sample.input}) > 1},
    "float": NO_MEMORY_FORMAT, "double": NO_MEMORY_FORMAT, "long": NO_MEMORY_FORMAT, "int": NO_MEMORY_FORMAT,
    "bool": NO_MEMORY_FORMAT,
    "nn.functional.gelu": {"erf does not exist yet": lambda sample: sample.kwargs["approximate"] == "none"},
}  # fmt: skip

INFOS = {f"{info.name} {info.variant_test_name}".strip(): info for info in op_db}


def excluded(name, sample):
    for reason, applies in EXCLUDED.get(name, {}).items():
        if applies(sample):
            return reason
    return None


def samples_of(name, dtype, requires_grad):
    info = INFOS[name]
    torch.manual_seed(0)
    return list(info.sample_inputs("cpu", dtype, requires_grad=requires_grad))


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_gradients(name):
    info, ours = INFOS[name], OPERATIONS[name]
    samples = samples_of(name, torch.float64, info.supports_autograd)
    reasons = [excluded(name, sample) for sample in samples]
    assert set(EXCLUDED.get(name, {})) <= set(reasons), "a reason to exclude samples that excludes none"
    assert None in reasons, "all samples are excluded"
    for sample, reason in zip(samples, reasons, strict=True):
        if reason is not None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call = leaves([sample.input, *sample.args]), leaves(sample.kwargs)
            theirs = info.op(*call[0], **call[1])
        mine = to_lampion(call[0]), to_lampion(call[1])
        try:
            out = ours(*mine[0], **mine[1])
            assert_same(out, theirs)
            if info.supports_autograd:
                check_slopes(out, theirs, tensors_in(mine, T), tensors_in(call, torch.Tensor))
        except Exception as error:
            error.add_note(f"{name}: {sample.summary()}")
            raise


def check_slopes(out, theirs, our_inputs, their_inputs):
    pairs = [(a, b) for a, b in zip(our_inputs, their_inputs, strict=True) if b.requires_grad]
    our_inputs, their_inputs = [a for a, _ in pairs], [b for _, b in pairs]
    if not pairs:
        return
    recorded, expected = ([x.requires_grad for x in flatten(part)] for part in (out, theirs))
    assert recorded == expected, f"which results require a gradient: {recorded}, PyTorch has {expected}"
    if any(recorded):
        first, expected = slopes(out, theirs, our_inputs, their_inputs)
        assert_same_slopes(first, expected, our_inputs)
        assert_same_slopes(*slopes(first, expected, our_inputs, their_inputs, seed=1), our_inputs)


# Sums of some products of two numbers up to 9, in another order: 1e-7 of the sum of their sizes.
SUMS = {"matmul", "__rmatmul__", "mm", "bmm", "nn.functional.linear"}


def does_not_fit(name, sample):
    """A negative number for uint8: an error here, another number in PyTorch."""
    return name == "full_like" and sample.input.dtype is torch.uint8 and sample.args[0] < 0


@pytest.mark.parametrize("dtype", ["float32", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_values_of_other_types(name, dtype):
    info, ours = INFOS[name], OPERATIONS[name]
    if getattr(torch, dtype) not in info.dtypes:
        pytest.skip("PyTorch refuses this type")
    if name in ("any", "all") and dtype == "uint8":
        pytest.skip("PyTorch's result is uint8 here, from the time before it had booleans")
    for sample in samples_of(name, getattr(torch, dtype), False):
        if excluded(name, sample) is not None or does_not_fit(name, sample):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = info.op(sample.input, *sample.args, **sample.kwargs)
        args, kwargs = to_lampion([sample.input, *sample.args]), to_lampion(sample.kwargs)
        try:
            tolerances = {"rtol": 1e-5, "atol": 1e-4} if name in SUMS and dtype == "float32" else {}
            assert_same(ours(*args, **kwargs), theirs, **tolerances)
        except Exception as error:
            error.add_note(f"{name}: {sample.summary()}")
            raise
