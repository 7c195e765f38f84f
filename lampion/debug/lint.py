"""Mistakes that raise no error: the network trains, but badly, or measures what nobody meant.

Each rule is a method of `lint` that looks at one thing; `RULES` says what each is about.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lampion.autograd.tape import Node
from lampion.debug.places import local_of, path_of, running
from lampion.debug.watch import Watcher
from lampion.errors import LampionError
from lampion.mode import mode
from lampion.nn import functional as F
from lampion.nn import loss as loss_modules
from lampion.nn.dropout import _Dropout
from lampion.nn.module import Module
from lampion.nn.norm import BatchNorm1d
from lampion.ops.random import default_generator
from lampion.optim.optimizer import Optimizer
from lampion.origin import where
from lampion.tensor import Tensor

#: The rules by name.
RULES = {
    "stale-gradients": "a gradient is added to one that was there from before",
    "evaluated-in-training-mode": "Dropout or BatchNorm in training mode, where no gradients are recorded",
    "trained-in-evaluation-mode": "Dropout or BatchNorm in evaluation mode, where an optimizer steps",
    "softmax-before-cross-entropy": "a loss that takes scores is given probabilities",
    "no-gradient": "a parameter that no gradient arrives at",
    "not-optimized": "a parameter that no optimizer knows",
    "broadcast-loss": "(N,) against (N, 1) becomes (N, N)",
}


class LintWarning(UserWarning):
    """What `lampion.debug.lint` warns with."""


@dataclass(frozen=True)
class Finding:
    """One mistake: which rule says so, what is wrong and how to mend it, and the line of the program."""

    rule: str
    message: str
    where: str

    def __str__(self) -> str:
        return (
            f"[{self.rule}] {self.where}: {self.message}" if self.where else f"[{self.rule}] {self.message}"
        )


class lint(Watcher):
    """Look for mistakes that raise no error. A ``with`` block around training; or, given a batch, a check.

    Each mistake is warned about once (a `LintWarning`), with the line of the program, and is in `findings`.
    Compiled functions run eagerly inside. Rules: see `lampion.debug.RULES`.

    Args:
        model: what to look for unused parameters in.
        loss: ``loss(prediction, target)``: for the check with a batch.
        optimizer: one or several, which together should know all parameters of the model.
        batch: ``(input, target)``, or several inputs and a target. One step forward and backward is made with
            it at once, on a copy of the model: nothing of yours is changed, the random numbers neither.
        accumulate: how many backward passes are meant to add up before the gradients are cleared.
        ignore: rules to leave out.

    >>> import warnings, lampion
    >>> model = lampion.nn.Sequential(lampion.nn.Linear(4, 3), lampion.nn.Softmax(1))
    >>> batch = lampion.randn(8, 4), lampion.zeros(8, dtype=lampion.int64)
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     check = lampion.debug.lint(model, loss=lampion.nn.CrossEntropyLoss(), batch=batch)
    >>> [finding.rule for finding in check.findings]
    ['softmax-before-cross-entropy']
    """

    eager = True

    def __init__(
        self, model: Module | None = None, *, loss: Callable[..., Tensor] | None = None,
        optimizer: Optimizer | Sequence[Optimizer] | None = None, batch: Sequence[Tensor] | None = None,
        accumulate: int = 1, ignore: Sequence[str] = (),
    ) -> None:  # fmt: skip
        unknown = set(ignore) - set(RULES)
        if unknown:
            raise LampionError("lint", "there is no such rule", expected=", ".join(RULES),
                               got=", ".join(sorted(unknown)))  # fmt: skip
        self.model = model
        self.accumulate = accumulate
        self.ignore = frozenset(ignore)
        self.findings: list[Finding] = []
        self._told: set[tuple[str, str]] = set()
        self._arrived: dict[int, tuple[Tensor, int]] = {}  # by id: how many gradients since they were cleared
        self._severed = False  # a loss came out that depends on no parameter at all
        self._in_evaluation: tuple[Module, str, str] | None = None  # outermost module, the one, and where
        if model is not None and optimizer is not None:
            self._look_for_unoptimized(
                model, [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
            )
        if batch is not None:
            if model is None or loss is None:
                raise LampionError("lint", "a batch needs a model and a loss to go through",
                                   fix="lint(model, loss=..., batch=(input, target))")  # fmt: skip
            self._try(model, loss, batch)

    def _try(self, model: Module, loss: Callable[..., Tensor], batch: Sequence[Tensor]) -> None:
        """A step with a copy of the model."""
        twin = copy.deepcopy(model)
        for parameter in twin.parameters():
            parameter.grad = None
        state = default_generator.get_state()
        self.model, original = twin, model
        try:
            with self:
                *inputs, target = batch
                value = loss(twin(*inputs), target)
                self._severed = not value.requires_grad
                if value.requires_grad:
                    value.backward()
        finally:
            self.model = original
            default_generator.set_state(state)
        self._arrived.clear()
        self._severed, self._in_evaluation = False, None

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        if self.model is not None and (self._arrived or self._severed) and not any(exception):
            self._look_for_untouched(self.model)

    def _warn(self, rule: str, message: str, place: str | None = None) -> None:
        at = str(where(2) or "") if place is None else place
        if rule in self.ignore or (rule, at or message) in self._told:
            return
        self._told.add((rule, at or message))
        finding = Finding(rule, message, at)
        self.findings.append(finding)
        warnings.warn(str(finding), LintWarning, stacklevel=2)

    # -- gradients ---------------------------------------------------------------------------------------

    def gathering(self, leaf: Tensor, gradient: Tensor) -> None:
        if leaf._node is not None:
            return  # retain_grad
        before = leaf.grad
        cleared = before is None or not np.any(before._array)
        count = 1 if cleared else self._arrived.get(id(leaf), (leaf, self.accumulate))[1] + 1
        self._arrived[id(leaf)] = leaf, count  # with the leaf, so that no other gets its id
        if count > self.accumulate:
            self._warn(
                "stale-gradients",
                f"backward() adds to a gradient that is there from before (shape {tuple(leaf.shape)}): call "
                "optimizer.zero_grad() before backward(), or, where several passes are meant to add up, "
                "pass accumulate= to lint",
            )

    def _look_for_untouched(self, model: Module) -> None:
        missing = [
            name for name, p in model.named_parameters() if p.requires_grad and id(p) not in self._arrived
        ]
        if missing:
            self._warn(
                "no-gradient",
                f"no gradient arrives at {_listed(missing)}: forward() does not use it, or what it made is "
                "cut off (detach(), no_grad(), argmax, .data)",
                "",
            )

    def _look_for_unoptimized(self, model: Module, optimizers: list[Optimizer]) -> None:
        known = {id(p) for o in optimizers for group in o.param_groups for p in group["params"]}
        missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in known]
        if missing:
            self._warn(
                "not-optimized",
                f"no optimizer has {_listed(missing)}: make the optimizer after the model is complete, with "
                "model.parameters(); or freeze what is not to be learned, with requires_grad_(False)",
                "",
            )

    # -- modes ---------------------------------------------------------------------------------------------

    def entering(self, module: Module, args: tuple[Any, ...]) -> None:
        if not isinstance(module, _Dropout | BatchNorm1d) or (isinstance(module, _Dropout) and not module.p):
            return
        chain = (*running()[0], module)
        path = path_of(chain)
        if module.training and not mode.grad:
            self._warn(
                "evaluated-in-training-mode",
                f"{path} is in training mode, but no gradients are recorded: this looks like an evaluation; "
                "call model.eval() before it, and model.train() after it",
            )
        elif not module.training and mode.grad and self._in_evaluation is None:
            self._in_evaluation = chain[0], path, str(where(2) or "")

    def stepped(self, optimizer: Optimizer, began: int, ended: int) -> None:
        if self._in_evaluation is None:
            return
        root, path, at = self._in_evaluation
        own = set(map(id, root.parameters()))
        if any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
            self._warn(
                "trained-in-evaluation-mode",
                f"{path} ran in evaluation mode before {type(optimizer).__name__}.step(): call model.train() "
                "before training",
                at,
            )
            self._in_evaluation = None

    # -- losses ----------------------------------------------------------------------------------------------

    def computed(self, primitive: Any, arrays: Any, params: Any, out: Any, began: int, ended: int) -> None:
        chain, node = running()
        if node is not None:
            return  # a gradient
        # What a network does inside is its own affair: differences of all pairs, perhaps.
        in_network = any(type(module).__module__ != loss_modules.__name__ for module in chain)
        if primitive.kind == "elementwise" and len(arrays) == 2 and not in_network:
            self._look_at_broadcast(arrays, out)
        scores = local_of(F.cross_entropy, "input")
        if scores is not None and _are_probabilities(scores):
            self._warn(
                "softmax-before-cross-entropy",
                "cross_entropy is given probabilities, but takes scores: it does the softmax itself; leave "
                "out the softmax before it",
            )
        scores = local_of(F.binary_cross_entropy_with_logits, "input")
        if scores is not None and _made_by(scores, "sigmoid"):
            self._warn(
                "softmax-before-cross-entropy",
                "binary_cross_entropy_with_logits is given what sigmoid made, but does that itself: leave "
                "out the sigmoid before it, or use binary_cross_entropy",
            )

    def _look_at_broadcast(self, arrays: Any, out: Any) -> None:
        shapes = [getattr(array, "shape", ()) for array in arrays]
        first, second = sorted(shapes, key=len)
        # (..., N) against (..., N, 1): what a network gives against what the data has.
        if len(second) == len(first) + 1 and first and second == (*first, 1) and first[-1] > 1:
            self._warn(
                "broadcast-loss",
                f"{shapes[0]} against {shapes[1]} becomes {tuple(out.shape)}: every element meets every "
                "other one; bring them to one shape, prediction.squeeze(-1) or target.unsqueeze(-1)",
            )


def _are_probabilities(scores: Tensor) -> bool:
    """Whether the classes are in dimension 1 and each row is a distribution."""
    values = scores._array
    if scores.ndim < 2 or not values.size or scores.shape[1] < 2 or values.dtype.kind != "f":
        return False
    if _made_by(scores, "softmax"):
        return True
    return bool((values >= 0).all()) and bool(np.allclose(values.sum(1), 1.0, rtol=0, atol=1e-3))


def _made_by(tensor: Tensor, name: str) -> bool:
    """Whether an operation made the tensor, but for movements (reshape, transpose) after it."""
    edge: Any = tensor._edge()
    while isinstance(edge, Node) and edge.primitive.is_movement:
        edge = edge.edges[0]
    return isinstance(edge, Node) and edge.primitive.name == name


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
