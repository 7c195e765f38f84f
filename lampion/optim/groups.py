"""Reading what a user hands to an optimizer: parameters with and without names, and options."""

from __future__ import annotations

from typing import Any

from lampion.errors import OptionError
from lampion.tensor import Tensor

#: Options that are never negative, with the words that PyTorch has for them.
_NOT_NEGATIVE = {
    "lr": "learning rate",
    "eps": "epsilon value",
    "weight_decay": "weight_decay value",
    "momentum": "momentum value",
    "lr_decay": "lr_decay value",
    "momentum_decay": "momentum_decay value",
    "initial_accumulator_value": "initial_accumulator_value value",
}


def read_parameters(name: str, given: Any) -> tuple[list[Tensor], list[str]]:
    """The parameters of one group, and their names: none, or one for each."""
    if isinstance(given, set | frozenset):
        raise OptionError(
            name, "optimizer parameters need to be organized in ordered collections",
            got="a set, whose order is another one in each run", fix="a list",
        )  # fmt: skip
    entries = [given] if isinstance(given, Tensor) else list(given)
    names = [entry[0] for entry in entries if isinstance(entry, tuple)]
    params = [entry[1] if isinstance(entry, tuple) else entry for entry in entries]
    if names and len(names) != len(params):
        raise OptionError(
            name, "all optimizer params should be with/without names. Some param names are missing",
            expected="model.named_parameters(), or model.parameters()",
        )  # fmt: skip
    for p in params:
        if not isinstance(p, Tensor):
            raise OptionError(name, "optimizer can only optimize Tensors", got=type(p).__name__,
                              fix="pass model.parameters()")  # fmt: skip
        if not p.is_leaf:
            raise OptionError(name, "can't optimize a non-leaf Tensor: a parameter must be a leaf",
                              got=repr(p)[:60], fix="pass model.parameters()")  # fmt: skip
    if len({id(p) for p in params}) != len(params):
        # PyTorch warns, then makes two steps with it, and says that this will be an error.
        raise OptionError(name, "a parameter group with duplicate parameters", fix="name each one once")
    return params, names


def check_options(name: str, group: dict[str, Any]) -> None:
    """Refuse what makes no sense for any optimizer; `Optimizer.check` adds what is its own."""
    lr = group.get("lr", 0.0)
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise OptionError(name, "Tensor lr must be 1-element", got=f"one of shape {tuple(lr.shape)}")
    for option, words in _NOT_NEGATIVE.items():
        value = group.get(option, 0.0)
        if not number(value) >= 0.0:  # nan neither
            raise refused(name, words, value, f"{option} >= 0")
    for index, beta in enumerate(group.get("betas", ())):
        if not 0.0 <= number(beta) < 1.0:
            raise refused(name, f"beta parameter at index {index}", beta, "0 <= beta < 1")
    if len({isinstance(beta, Tensor) for beta in group.get("betas", ())}) > 1:
        raise OptionError(name, "betas must be either both floats or both Tensors")
    if group.get("differentiable"):
        raise OptionError(
            name, "differentiable=True is not available: a step is written into the parameters unrecorded",
            fix="write the step in Tensor operations: new = p - lr * g",
        )  # fmt: skip
    if group.get("fused") and group.get("foreach"):
        raise OptionError(name, "`fused` and `foreach` cannot be `True` together.")


def refused(name: str, words: str, value: Any, expected: str) -> OptionError:
    """The error about an option outside of its range."""
    return OptionError(name, f"Invalid {words}: {shown(value)}", expected=expected, got=shown(value))


def shown(value: Any) -> str:
    """A number as it was given."""
    return str(number(value)) if isinstance(value, Tensor) else str(value)


def number(value: Any) -> float:
    """An option as a number: it may be a Tensor of one element."""
    if type(value) is float:  # in nearly every step
        return value
    if isinstance(value, Tensor):
        return float(value.item())
    return value if isinstance(value, float | int) else float(value)
