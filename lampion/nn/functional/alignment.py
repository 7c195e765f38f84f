"""CTC: a loss for sequences of labels of which nobody knows where in the input they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lampion import ops
from lampion.amp.policy import by_policy
from lampion.dtype import int64
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.func.loops import scan
from lampion.mode import known, mode
from lampion.nn.functional.checks import check_floats, reduction_of
from lampion.ops.composite import scaled_gradient
from lampion.ops.define import widened
from lampion.tensor import Tensor, tensor

_NAME = "ctc_loss"
#: The logarithm of nothing: finite, so that sums of several, and their slopes, are no NaN.
_NEVER = -1e30
#: What is beyond it cannot be.
_LEAST = -1e29

Lengths = Tensor | Sequence[int]


@by_policy
def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    r"""How unlikely the labels are, over all ways in which they can be spread over the input.

    A way names a label or a blank at each step; it spells the target if that remains after dropping repeats
    and then blanks. The loss is the logarithm of the probability of all such ways together:

    .. math:: -\log \sum_{\pi \text{ spells } y} \prod_t p_t(\pi_t)

    by the recursion over t for ``y`` with blanks between and around its labels, in logarithms.

    As in PyTorch, the gradient by `log_probs` is the one that fits a `log_softmax` in front: probability
    minus expected use of each label, which adds up to zero at each step. (For numbers that are no logarithms
    of probabilities, it is not the derivative.) There are derivatives of any order.

    Args:
        log_probs: the logarithms of the probabilities, from `log_softmax`.
        targets: the labels, padded with anything, or one target behind the other.
        input_lengths, target_lengths: how many steps and labels each sequence has.
        blank: the number of the blank.
        reduction: "mean" (each loss is divided by the length of its target, at least 1), "sum" or "none".
        zero_infinity: whether an impossible target (one longer than the input, say) counts as 0, without a
            gradient, instead of as infinite, with NaN as gradient.

    Shape:
        log_probs: (T, N, C), or (T, C); targets: (N, S), or (sum of target_lengths,); lengths: (N,).

    Raises:
        ShapeError, DTypeError, OptionError: the arguments do not belong together.
        IndexRangeError: a label is not in 0 to C - 1.

    Source: A. Graves et al.: "Connectionist temporal classification" (ICML 2006).

    >>> import lampion
    >>> even = lampion.full((2, 1, 2), 0.5).log()
    >>> loss = lampion.nn.functional.ctc_loss(even, lampion.tensor([[1]]), [2], [1])
    >>> loss.exp()  # three of four ways: "1", "1-" and "-1"
    tensor(1.3333)
    """
    reduction_of(_NAME, reduction, None, None)
    check_floats(_NAME, log_probs)
    if log_probs.ndim not in (2, 3):
        raise ShapeError(_NAME, "log_probs has a dimension of steps, one of sequences and one of labels",
                         expected="(T, N, C) or (T, C)", got=str(tuple(log_probs.shape)))  # fmt: skip
    single = log_probs.ndim == 2
    log_probs = ops.unsqueeze(log_probs, 1) if single else log_probs
    log_probs = widened(log_probs)
    steps, count, labels = log_probs.shape
    if not 0 <= blank < labels:
        raise OptionError(_NAME, "blank must be in label range", expected=f"0 to {labels - 1}",
                          got=str(blank))  # fmt: skip
    given, steps_known = _lengths("input_lengths", input_lengths, count)
    wanted, labels_known = _lengths("target_lengths", target_lengths, count)
    _check("input_lengths", steps_known, steps, "the steps of log_probs, (T, N, C)")
    targets = _padded(targets, wanted, labels_known, count)
    log_p = _log_likelihood(log_probs, targets, given, wanted, blank)
    possible = log_p > _LEAST
    slope = _slope_of_softmax(log_probs, given)
    losses = ops.where(possible, -log_p + slope, 0.0)
    if not zero_infinity:  # an infinite loss has no slope: NaN at each step that was given, as in PyTorch
        losses = ops.where(possible, losses, slope + float("inf"))
        factor = ops.where(possible, ops.ones(1, dtype=losses.dtype), float("nan"))
        losses = scaled_gradient(losses, factor)
    if reduction == "none":
        return ops.squeeze(losses, 0) if single else losses
    if reduction == "sum":
        total: Tensor = ops.sum(losses)
        return total
    mean: Tensor = ops.mean(losses / ops.clamp_min(wanted, 1).to(losses.dtype))
    return mean


def _log_likelihood(log_probs: Tensor, targets: Tensor, given: Tensor, wanted: Tensor, blank: int) -> Tensor:
    """The logarithm of the probability of each target, (N,)."""
    steps, count, _ = log_probs.shape
    length = targets.shape[1]
    is_label = ops.arange(length) < ops.unsqueeze(wanted, 1)
    targets = ops.where(is_label, targets, blank)
    # - a - b - c -: at the even places blanks, so that there is one more of them.
    blanks = ops.full((count, length + 1, 1), blank, dtype=int64)
    padded = ops.unsqueeze(ops.cat([targets, ops.full((count, 1), blank, dtype=int64)], 1), 2)
    spelled = ops.reshape(ops.cat([blanks, padded], 2), count, -1)[:, : 2 * length + 1]
    places = 2 * length + 1
    index = ops.broadcast_to(ops.unsqueeze(spelled, 0), (steps, count, places))
    there = ops.gather(log_probs, 2, index)  # (T, N, places)
    # A blank may be left out between different labels.
    two_before = ops.cat([ops.full((count, min(2, places)), blank, dtype=int64), spelled[:, :-2]], 1)
    skips = ops.logical_and(ops.ne(spelled, blank), ops.ne(spelled, two_before))

    def behind(alpha: Tensor, by: int) -> Tensor:
        never = ops.full((count, by), _NEVER, dtype=alpha.dtype)
        moved: Tensor = ops.cat([never, alpha], 1)[:, :places]
        return moved

    def step(alpha: Tensor, now: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        log_p, going = now
        skipped = ops.where(skips, behind(alpha, 2), _NEVER)
        ways = ops.logaddexp(ops.logaddexp(alpha, behind(alpha, 1)), skipped)
        after = ops.where(going, ops.clamp_min(ways, _NEVER) + log_p, alpha)
        return after, after[:1, :1]

    # Before the first step all are at the first blank, from where both beginnings are one step away.
    first = ops.where(ops.arange(places) == 0, ops.zeros(count, places, dtype=log_probs.dtype), _NEVER)
    going = ops.unsqueeze(ops.unsqueeze(ops.arange(steps), 1) < given, 2)  # (T, N, 1)
    alpha, _ = scan(step, first, (there, going)) if steps else (first, None)
    end = ops.unsqueeze(2 * wanted, 1)
    at_blank = ops.gather(alpha, 1, end)
    at_label = ops.where(end > 0, ops.gather(alpha, 1, ops.clamp_min(end - 1, 0)), _NEVER)
    total: Tensor = ops.squeeze(ops.logaddexp(at_blank, at_label), 1)
    return total


def _slope_of_softmax(log_probs: Tensor, given: Tensor) -> Tensor:
    """Zeros, (N,), whose gradient is the probabilities: see `ctc_loss`."""
    going = ops.unsqueeze(ops.arange(log_probs.shape[0]), 1) < given  # (T, N)
    mass = ops.sum(ops.where(going, ops.sum(ops.exp(log_probs), 2), 0.0), 0)
    return mass - mass.detach()


def _lengths(name: str, lengths: Any, count: int) -> tuple[Tensor, list[int] | None]:
    """Lengths as a tensor (N,), and as numbers, where they are known."""
    values: list[int] | None
    if isinstance(lengths, Tensor):
        if lengths.dtype.kind not in "iu":
            raise DTypeError(_NAME, f"{name} must be integral", got=str(lengths.dtype),
                             fix=f"{name}.long()")  # fmt: skip
        found = ops.cast(ops.reshape(lengths, -1), int64)
        values = None if mode.trace is not None else found.tolist()
    else:
        values = [int(n) for n in lengths]
        found = tensor(values, dtype=int64)
    if found.shape != (count,):
        raise ShapeError(_NAME, f"{name} must be of size batch_size", expected=f"({count},)",
                         got=str(tuple(found.shape)))  # fmt: skip
    return found, values


def _check(name: str, values: list[int] | None, most: int, what: str) -> None:
    """Refuse lengths that cannot be, where they are known."""
    wrong = [n for n in values or () if not 0 <= n <= most]
    if wrong:
        raise OptionError(_NAME, f"{name} does not fit", expected=f"0 to {most}, {what}", got=str(wrong[0]))


def _padded(targets: Tensor, wanted: Tensor, values: list[int] | None, count: int) -> Tensor:
    """Targets as (N, S)."""
    if targets.dtype.kind not in "iu":
        raise DTypeError(_NAME, "targets must be integral", got=str(targets.dtype), fix="targets.long()")
    targets = ops.cast(targets, int64)
    if targets.ndim == 1 and count == 1:
        targets = ops.unsqueeze(targets, 0)
    if targets.ndim == 2:
        if targets.shape[0] != count:
            raise ShapeError(_NAME, "there is a target for each sequence", expected=f"({count}, S)",
                             got=str(tuple(targets.shape)))  # fmt: skip
        _check("target_lengths", values, targets.shape[1], "the labels of targets, (N, S)")
        return targets
    if targets.ndim != 1:
        raise ShapeError(_NAME, "targets has one dimension or two", expected=f"({count}, S), or (sum,)",
                         got=str(tuple(targets.shape)))  # fmt: skip
    if values is None:
        values = known(wanted, f"{_NAME}: how long the longest target is", "pad the targets: (N, S)").tolist()
    if sum(values) != targets.shape[0]:
        raise ShapeError(_NAME, "targets has all labels of all targets", expected=f"({sum(values)},)",
                         got=str(tuple(targets.shape)))  # fmt: skip
    length, rows, start = max(values, default=0), [], 0
    for n in values:  # behind its end a target has any label at all
        rows.append([min(start + i, targets.shape[0] - 1) for i in range(length)])
        start += n
    places = tensor(rows, dtype=int64)
    found: Tensor = ops.reshape(ops.index_select(targets, 0, ops.reshape(places, -1)), places.shape)
    return found
