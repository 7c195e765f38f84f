"""What an operation costs beside its arithmetic: chains of 200 on three numbers."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import Options, Target, ask_child

LENGTH = 200
#: What takes part, where it is installed.
LIBRARIES = ("lampion", "torch", "dezero", "mygrad", "autograd")


def chain(x: Any, factor: Any, tanh: Callable[[Any], Any]) -> Any:
    """Four kinds of operation, fifty times."""
    y = x
    for _ in range(LENGTH // 4):
        y = tanh(y * factor + x) - x
    return y


def contender(name: str) -> dict[str, Callable[[], Any]]:
    """The chain forwards, recorded; with its gradient; and unrecorded, where there is a switch for that."""
    start, half = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 0.5, 0.5], np.float32)
    if name == "autograd":
        numpy = importlib.import_module("autograd.numpy")
        gradient = importlib.import_module("autograd").grad
        both = gradient(lambda x: chain(x, half, numpy.tanh).sum())
        recorded = importlib.import_module("autograd").make_vjp(lambda x: chain(x, half, numpy.tanh).sum())
        return {"forward": lambda: recorded(start), "there and back": lambda: both(start)}
    if name == "dezero":
        np.int = int  # type: ignore[attr-defined]  # which NumPy 2 has no more, and DeZero asks for
        library, functions = importlib.import_module("dezero"), importlib.import_module("dezero.functions")
        x, factor, tanh, total = (
            library.Variable(start),
            library.Variable(half),
            functions.tanh,
            functions.sum,
        )
    elif name == "mygrad":
        library = importlib.import_module("mygrad")
        x, factor, tanh, total = (
            library.tensor(start),
            library.tensor(half, constant=True),
            library.tanh,
            library.sum,
        )
    else:
        library = importlib.import_module(name)
        if name == "torch":
            library.set_num_threads(1)
        x, factor = library.tensor(start, requires_grad=True), library.tensor(half)
        tanh, total = library.tanh, library.sum

    def forward() -> Any:
        return chain(x, factor, tanh)

    def there_and_back() -> None:
        if hasattr(x, "cleargrad"):
            x.cleargrad()
        elif name != "mygrad":  # which forgets gradients by itself
            x.grad = None
        total(forward()).backward()

    def unrecorded() -> None:
        with library.no_grad():
            forward()

    kinds = {"forward": forward, "there and back": there_and_back}
    return kinds | ({"unrecorded": unrecorded} if name in ("lampion", "torch", "dezero") else {})


def child(name: str, seconds: float) -> dict[str, Any]:
    """Microseconds of one operation: the median over short slices."""
    found = {}
    for what, function in contender(name).items():
        for _ in range(5):
            function()
        slices = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            function()
            slices.append((time.perf_counter() - start) / LENGTH * 1e6)
        found[what] = median(slices)
    return found


def run(options: Options) -> dict[str, Any]:
    present = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in present}
    for number in range(options.rounds):
        for name in present[number % len(present) :] + present[: number % len(present)]:
            options.say(f"overhead: round {number + 1} of {options.rounds}, {name}")
            rounds[name].append(ask_child(__name__, name, str(options.seconds)))
    facts: dict[str, Any] = {"operations in a chain": LENGTH}
    targets = []
    for what in ("unrecorded", "forward", "there and back"):
        us = {name: [r[what] for r in rounds[name]] for name in present if what in rounds[name][0]}
        facts |= {f"{what}, {name}: us an operation": round(median(times), 2) for name, times in us.items()}
        for name in list(us)[1:]:
            ratio = median(a / b for a, b in zip(us["lampion"], us[name], strict=True))
            targets.append(
                Target(f"{what}, against {name}", ratio, "<= 1.5" if name == "torch" else "<= 1", "x")
            )
    return {
        "workload": "overhead",
        "title": f"chains of {LENGTH} operations on three numbers, recorded for a gradient",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], float(sys.argv[2]))))
