"""Pruning: parameters of which some elements are held at 0.

``weight`` becomes ``weight_orig``, which learns, and a buffer ``weight_mask`` of ones and zeros; their
product is set as ``weight`` before each forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from lampion import ops
from lampion.errors import LampionError, OptionError
from lampion.nn.functional.distances import p_norm
from lampion.nn.module import Module
from lampion.ops.shapes import normalize_dim
from lampion.tensor import Tensor, as_tensor

__all__ = [
    "custom_from_mask", "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured",
    "random_structured", "random_unstructured", "remove",
]  # fmt: skip

M = TypeVar("M", bound=Module)


class _Masked:
    """The hook: weight = weight_orig * weight_mask."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: Module, args: Any) -> None:
        original, mask = getattr(module, f"{self.name}_orig"), getattr(module, f"{self.name}_mask")
        setattr(module, self.name, original * mask)


def _count(name: str, amount: float, size: int) -> int:
    """How many of `size` the amount means: a share, or a number."""
    if isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0:
        raise OptionError(name, "amount is a share or a number", got=repr(amount))
    count = round(amount * size) if isinstance(amount, float) else amount
    if (isinstance(amount, float) and amount > 1.0) or count > size:
        raise OptionError(name, "more is to be pruned than there is", expected=f"at most 1.0, or {size}",
                          got=str(amount))  # fmt: skip
    return count


def _smallest(scores: Tensor, count: int) -> Tensor:
    """A mask with 0 for the `count` smallest scores of a vector."""
    order = ops.argsort(scores)
    return ops.scatter(ops.ones_like(scores), 0, ops.narrow(order, 0, 0, count), value=0.0)


def _apply(module: M, name: str, choose: Callable[[Tensor, Tensor], Tensor]) -> M:
    """Prune what `choose` says: it is given the tensor and the mask so far, and gives the new mask."""
    hooks = module._hooks
    pruned = hooks is not None and any(
        isinstance(hook, _Masked) and hook.name == name for hook, _ in hooks.before.values()
    )
    if not pruned:
        parameter = module._parameters.get(name)
        if parameter is None:
            raise LampionError("prune", f"there is no parameter {name!r}", got=type(module).__name__)
        del module._parameters[name]
        module.register_parameter(f"{name}_orig", parameter)
        module.register_buffer(f"{name}_mask", ops.ones_like(parameter.detach()))
        module.register_forward_pre_hook(_Masked(name))
    original, mask = getattr(module, f"{name}_orig"), getattr(module, f"{name}_mask")
    module._buffers[f"{name}_mask"] = mask * choose(original.detach(), mask)
    _Masked(name)(module, ())
    return module


def _unstructured(
    name: str, module: M, tensor_name: str, amount: float, score: Callable[[Tensor], Tensor]
) -> M:
    """Prune the elements of the smallest scores, among those that are left."""

    def choose(tensor: Tensor, mask: Tensor) -> Tensor:
        left = int(ops.sum(mask).item())
        scores = ops.where(mask.reshape(-1) == 0, float("inf"), score(tensor).reshape(-1))
        return _smallest(scores, _count(name, amount, left)).reshape(mask.shape).to(mask.dtype)

    return _apply(module, tensor_name, choose)


def _structured(
    function: str, module: M, name: str, amount: float, dim: int, score: Callable[[Tensor], Tensor]
) -> M:
    """Prune the slices along `dim` of the smallest scores, among those that are left."""

    def choose(tensor: Tensor, mask: Tensor) -> Tensor:
        axis = normalize_dim(function, dim, tensor.ndim)
        others = tuple(a for a in range(tensor.ndim) if a != axis)
        gone = ops.sum(mask, others) == 0
        left = tensor.shape[axis] - int(ops.sum(gone).item())
        scores = ops.where(gone, float("inf"), score(ops.flatten(ops.movedim(tensor * mask, axis, 0), 1)))
        kept = _smallest(scores, _count(function, amount, left)).to(mask.dtype)
        return ops.reshape(kept, [-1 if a == axis else 1 for a in range(tensor.ndim)])

    return _apply(module, name, choose)


def identity(module: M, name: str) -> M:
    """Prune nothing: mask and hook are there, for what comes."""
    return _apply(module, name, lambda tensor, mask: mask)


def random_unstructured(module: M, name: str, amount: float) -> M:
    """Prune elements at random.

    Args:
        module: the layer.
        name: which of its parameters.
        amount: the share of what is left to prune, as a float; or the number, as an int.
    """
    return _unstructured("random_unstructured", module, name, amount, ops.rand_like)


def l1_unstructured(module: M, name: str, amount: float, importance_scores: Tensor | None = None) -> M:
    """Prune the smallest elements (or those of the smallest scores).

    >>> import lampion
    >>> from lampion.nn.utils import prune
    >>> layer = lampion.nn.Linear(2, 2, bias=False)
    >>> _ = layer.load_state_dict({"weight": lampion.tensor([[1.0, -0.1], [0.2, -3.0]])})
    >>> prune.l1_unstructured(layer, "weight", 0.5).weight.detach()
    tensor([[ 1., -0.],
            [ 0., -3.]])
    """

    def score(tensor: Tensor) -> Tensor:
        return ops.abs(tensor) if importance_scores is None else importance_scores

    return _unstructured("l1_unstructured", module, name, amount, score)


def random_structured(module: M, name: str, amount: float, dim: int) -> M:
    """Prune whole slices along `dim`, at random."""
    return _structured("random_structured", module, name, amount, dim, lambda x: ops.rand(x.shape[0]))


def ln_structured(module: M, name: str, amount: float, n: float, dim: int) -> M:
    """Prune the slices along `dim` whose norm (with p = n) is smallest."""
    return _structured("ln_structured", module, name, amount, dim, lambda x: p_norm(x, float(n), (1,)))


def global_unstructured(parameters: Iterable[tuple[Module, str]], pruning_method: Any, amount: float) -> None:
    """Prune the smallest (or random) elements of several parameters, taken together.

    Args:
        parameters: pairs of a module and the name of one of its parameters.
        pruning_method: `l1_unstructured` or `random_unstructured`.
        amount: the share of all that is left, as a float; or the number, as an int.
    """
    pairs = [(module, name) for module, name in parameters]
    if pruning_method not in (l1_unstructured, random_unstructured):
        raise OptionError("global_unstructured", "the method is not one of those that prune elements",
                          expected="prune.l1_unstructured or prune.random_unstructured",
                          got=repr(pruning_method))  # fmt: skip
    for module, name in pairs:
        identity(module, name)
    masks = [getattr(module, f"{name}_mask") for module, name in pairs]
    tensors = [getattr(module, f"{name}_orig").detach() for module, name in pairs]
    scores = [ops.abs(x) if pruning_method is l1_unstructured else ops.rand_like(x) for x in tensors]
    flat = ops.cat([
        ops.where(m.reshape(-1) == 0, float("inf"), s.reshape(-1)) for m, s in zip(masks, scores, strict=True)
    ])  # fmt: skip
    left = sum(int(ops.sum(mask).item()) for mask in masks)
    kept = _smallest(flat, _count("global_unstructured", amount, left))
    start = 0
    for (module, name), mask in zip(pairs, masks, strict=True):
        custom_from_mask(module, name, kept[start : start + mask.numel()].reshape(mask.shape))
        start += mask.numel()


def custom_from_mask(module: M, name: str, mask: Tensor) -> M:
    """Prune the elements for which a mask has 0."""
    return _apply(module, name, lambda tensor, before: as_tensor(mask).to(before.dtype))


def remove(module: M, name: str) -> M:
    """Make a pruned parameter an ordinary one again, in which the pruned elements are 0."""
    hooks = module._hooks
    for number, (hook, _) in list(hooks.before.items()) if hooks is not None else []:
        if isinstance(hook, _Masked) and hook.name == name:
            assert hooks is not None
            del hooks.before[number]
            original, mask = getattr(module, f"{name}_orig"), getattr(module, f"{name}_mask")
            delattr(module, name)
            del module._parameters[f"{name}_orig"], module._buffers[f"{name}_mask"]
            original.data = (original * mask).detach()
            module.register_parameter(name, original)
            return module
    raise LampionError("prune.remove", f"{name!r} is not pruned", got=type(module).__name__)


def is_pruned(module: Module) -> bool:
    """Whether a parameter of the module, or of one below it, is pruned."""
    return any(
        isinstance(hook, _Masked)
        for part in module.modules()
        if part._hooks is not None
        for hook, _ in part._hooks.before.values()
    )
