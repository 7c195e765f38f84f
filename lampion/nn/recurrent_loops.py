"""The loop of one recurrent layer in one direction, over padded sequences or packed ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lampion import ops as operations
from lampion.dtype import float32, float64
from lampion.func.loops import scan
from lampion.tensor import Tensor

ops: Any = operations  # the stubs know one name by one type

State = tuple[Tensor, ...]


# Multiply-adds from which on a layer runs as a plan in eager, too: at this size, a step through Python takes
# as long as hundreds of them, and recording takes as long as some ten calls.
_LARGE = 1 << 22


def is_large(x: Tensor, parameters: Sequence[Tensor]) -> bool:
    """Whether machine code pays for a layer over padded sequences (L, N, features)."""
    length, batch = x.shape[:2]
    work: int = length * batch * sum(w.shape[0] * w.shape[1] for w in parameters[:2])
    return length > 1 and work >= _LARGE and x.dtype in (float32, float64)


def over_steps(
    step: Callable[[Tensor, Any], Any], gates: Tensor, state: State, reverse: bool
) -> tuple[Tensor, State]:
    """All steps of sequences of one length.

    Args:
        step: what the input adds to the gates, and the state; gives the next state.
        gates: what the input adds, at each step, (L, N, gates * hidden).
        state: (h,), or (h, c).
        reverse: whether the last step comes first.
    """
    several = len(state) > 1

    def body(state: Any, gates: Tensor) -> tuple[Any, Tensor]:
        state = step(gates, state)
        return state, state[0] if several else state

    end, outputs = scan(body, state if several else state[0], gates, reverse=reverse)
    return outputs, tuple(end) if several else (end,)


def over_packed(
    step: Callable[[Tensor, Any], Any], gates: Tensor, sizes: np.ndarray, state: State, reverse: bool
) -> tuple[Tensor, State]:
    """All steps of packed sequences: a loop for each run of steps with equally many of them.

    Forwards, sequences that have ended leave the batch, and their states stay. Backwards, each joins the
    batch, with its first state, where it ends. (The longest come first.)

    Args:
        gates: (total of all lengths, gates * hidden).
        sizes: how many sequences there are at each step.
    """
    first, outputs, ended = state, [], []
    runs = _runs(sizes)
    now = tuple(x[: runs[-1][2]] for x in first) if reverse else first
    for start, steps, count in reversed(runs) if reverse else runs:
        there = now[0].shape[0]
        if count < there:
            ended.append(tuple(x[count:] for x in now))
            now = tuple(x[:count] for x in now)
        elif count > there:
            now = tuple(ops.cat([x, y[there:count]]) for x, y in zip(now, first, strict=True))
        block = ops.reshape(gates[start : start + steps * count], (steps, count, gates.shape[1]))
        found, now = over_steps(step, block, now, reverse)
        outputs.append(ops.reshape(found, (steps * count, found.shape[2])))
    if reverse:
        outputs.reverse()
    ends = [now, *reversed(ended)]
    last = now if not ended else tuple(ops.cat(list(parts)) for parts in zip(*ends, strict=True))
    return outputs[0] if len(outputs) == 1 else ops.cat(outputs), last


def _runs(sizes: np.ndarray) -> list[tuple[int, int, int]]:
    """Runs of steps with equally many sequences: where its rows start, how many steps, how many sequences."""
    starts = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist()]
    rows = np.concatenate([[0], np.cumsum(sizes)])
    ends = [*starts[1:], len(sizes)]
    return [(int(rows[a]), b - a, int(sizes[a])) for a, b in zip(starts, ends, strict=True)]
