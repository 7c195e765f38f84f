"""The same arguments for PyTorch and for Lampion, and comparing what the two make of them."""

import numpy as np
import torch

import lampion as lp
from lampion.testing import assert_close
from lampion.testing.compare import flatten

NAMES = (
    "float64", "float32", "float16", "bfloat16", "complex64", "complex128", "int64", "int32", "int16", "int8",
    "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip
TYPES = {getattr(torch, name): getattr(lp, name) for name in NAMES if hasattr(lp, name)}


def to_lampion(thing):
    """PyTorch's tensors and types as Lampion's, in nested lists, tuples and dicts."""
    if isinstance(thing, torch.Tensor):
        tensor = lp.from_numpy(array_of(thing).copy())
        return tensor.requires_grad_() if thing.requires_grad else tensor
    if isinstance(thing, dict):
        return {name: to_lampion(value) for name, value in thing.items()}
    if isinstance(thing, torch.Size):
        return tuple(thing)
    if isinstance(thing, tuple | list):
        return type(thing)(to_lampion(item) for item in thing)
    if isinstance(thing, torch.memory_format):
        return getattr(lp, str(thing).removeprefix("torch."))
    if isinstance(thing, torch.device):
        return str(thing)
    if isinstance(thing, torch.nn.TransformerEncoderLayer):
        return _encoder_layer(thing)
    if callable(thing) and thing is getattr(torch.nn.functional, getattr(thing, "__name__", ""), None):
        return getattr(lp.nn.functional, thing.__name__)
    return TYPES[thing] if isinstance(thing, torch.dtype) else thing


def _encoder_layer(theirs):
    """The layer that PyTorch's encoders are copies of, as one of Lampion's."""
    attention = theirs.self_attn
    return lp.nn.TransformerEncoderLayer(
        attention.embed_dim,
        attention.num_heads,
        theirs.linear1.out_features,
        theirs.dropout.p,
        to_lampion(theirs.activation),
        theirs.norm1.eps,
        attention.batch_first,
        theirs.norm_first,
        theirs.linear1.bias is not None,
    )


def array_of(tensor):
    """The values of a tensor of PyTorch as NumPy has them."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.dtype is torch.bfloat16:
        return tensor.float().numpy().astype(lp.bfloat16.numpy)
    return tensor.numpy(force=True)  # also of the zeros that PyTorch keeps as a note


def tensors_in(thing, kind):
    """All tensors of nested lists, tuples and dicts, in order."""
    return [x for x in flatten(thing) if isinstance(x, kind)]


def leaves(thing):
    """PyTorch's tensors as leaves of their own, with the layout that they have."""
    if isinstance(thing, torch.Tensor):
        return thing.detach().requires_grad_(thing.requires_grad)
    if isinstance(thing, dict):
        return {name: leaves(value) for name, value in thing.items()}
    return type(thing)(leaves(item) for item in thing) if type(thing) in (tuple, list) else thing


def assert_same(ours, theirs, values=True, **tolerances):
    """Values, shapes and types; numbers, too."""
    ours, theirs = flat_results(ours, lp.Tensor), flat_results(theirs, torch.Tensor)
    assert len(ours) == len(theirs), f"{len(ours)} results, PyTorch has {len(theirs)}"
    for a, b in zip(ours, theirs, strict=True):
        if isinstance(b, torch.Tensor):
            assert isinstance(a, lp.Tensor), f"{type(a)}, PyTorch has a tensor"
            assert a.dtype is TYPES[b.dtype], f"{a.dtype}, PyTorch has {b.dtype}"
            if values:
                assert_close(a, array_of(b), equal_nan=True, **tolerances)
            else:
                assert tuple(a.shape) == tuple(b.shape)
        else:
            assert not values or a == b or (a != a and b != b), f"{a}, PyTorch has {b}"


def flat_results(results, kind):
    """Tensors and numbers of nested results, in order."""
    return [x for x in flatten(results) if isinstance(x, kind | bool | int | float | complex)]


def slopes(ours, theirs, our_inputs, their_inputs, seed=0):
    """The gradients of all results in both, recorded; None for an input where there is none.

    What one of them does not record has, for both, a gradient of zero.
    """
    rng = np.random.default_rng(seed)
    pairs = [
        (a, b, seed_for(rng, b))
        for a, b in zip(flat(ours), flat(theirs), strict=True) if a is not None and b is not None
    ]  # fmt: skip
    found = []
    for library, inputs, number, convert in (
        (lp.autograd, our_inputs, 0, lp.from_numpy), (torch.autograd, their_inputs, 1, torch.from_numpy)
    ):  # fmt: skip
        chosen = [pair for pair in pairs if pair[number].requires_grad]
        roots, seeds = [pair[number] for pair in chosen], [convert(pair[2]) for pair in chosen]
        nothing = [None] * len(inputs)
        options = {"create_graph": True, "allow_unused": True}
        found.append(library.grad(roots, inputs, seeds, **options) if roots else nothing)
    return found


def seed_for(rng, result):
    """Random numbers of the shape (and kind) of a result of PyTorch's."""
    values = np.asarray(rng.standard_normal(tuple(result.shape)))
    return np.asarray(values + 1j * rng.standard_normal(values.shape)) if result.is_complex() else values


def flat(results):
    """The parts of a result, however nested, None among them."""
    return [x for part in results for x in flat(part)] if isinstance(results, tuple | list) else [results]


def assert_same_slopes(ours, theirs, inputs, **tolerances):
    """No gradient and a gradient of zeros are the same."""
    for a, b, x in zip(ours, theirs, inputs, strict=True):
        zeros = np.zeros(tuple(x.shape), array_of(x).dtype if isinstance(x, torch.Tensor) else x.dtype.numpy)
        first = zeros if a is None else a.detach().numpy()
        second = zeros if b is None else array_of(b)
        assert_close(first, second, equal_nan=True, **tolerances)
