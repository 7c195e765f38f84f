"""The same arguments for PyTorch and for Lampion, and comparing what the two make of them."""

import numpy as np
import torch

import lampion as lp
from lampion.testing import assert_close
from lampion.testing.compare import flatten

TYPES = {
    torch.float64: lp.float64, torch.float32: lp.float32, torch.int64: lp.int64, torch.int32: lp.int32,
    torch.int16: lp.int16, torch.int8: lp.int8, torch.uint8: lp.uint8, torch.bool: lp.bool,
}  # fmt: skip


def to_lampion(thing):
    """PyTorch's tensors and types as Lampion's, in nested lists, tuples and dicts."""
    if isinstance(thing, torch.Tensor):
        tensor = lp.from_numpy(thing.detach().numpy().copy())
        return tensor.requires_grad_() if thing.requires_grad else tensor
    if isinstance(thing, dict):
        return {name: to_lampion(value) for name, value in thing.items()}
    if isinstance(thing, torch.Size):
        return tuple(thing)
    if isinstance(thing, tuple | list):
        return type(thing)(to_lampion(item) for item in thing)
    return TYPES.get(thing, thing) if isinstance(thing, torch.dtype) else thing


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


def assert_same(ours, theirs, **tolerances):
    """Values, shapes and types."""
    ours, theirs = tensors_in(ours, lp.Tensor), tensors_in(theirs, torch.Tensor)
    assert len(ours) == len(theirs), f"{len(ours)} results, PyTorch has {len(theirs)}"
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype is TYPES[b.dtype], f"{a.dtype}, PyTorch has {b.dtype}"
        assert_close(a, b.detach().resolve_conj().numpy(), equal_nan=True, **tolerances)


def slopes(ours, theirs, our_inputs, their_inputs, seed=0):
    """The gradients of all results in both, recorded; None for an input where there is none.

    What one of them does not record has, for both, a gradient of zero.
    """
    rng = np.random.default_rng(seed)
    pairs = [
        (a, b, rng.standard_normal(tuple(a.shape)))
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


def flat(results):
    """The parts of a result, None among them."""
    return list(results) if isinstance(results, tuple | list) else [results]


def assert_same_slopes(ours, theirs, inputs, **tolerances):
    """No gradient and a gradient of zeros are the same."""
    for a, b, x in zip(ours, theirs, inputs, strict=True):
        zeros = np.zeros(tuple(x.shape))
        first = zeros if a is None else a.detach().numpy()
        second = zeros if b is None else b.detach().numpy()
        assert_close(first, second, equal_nan=True, **tolerances)
