"""Epochs of MNIST's size with the input pipeline included: shuffled batches of 100, a new order each epoch.

Lampion compiled against PyTorch eager, each with its own DataLoader (no workers) over its own TensorDataset
of the same float32 arrays: the fastest of PyTorch's ways that uses its DataLoader. The images are noise.
"""

from __future__ import annotations

import json
import sys
import time
from statistics import median
from typing import Any

import numpy as np

from benchmarks.harness import Options, Target, ask_child

SAMPLES, PIXELS, BATCH, CLASSES = 60_000, 784, 100, 10
HIDDEN = (50, 1000)  # the network of "Deep Learning from Scratch" 1, and that of the mlp workload


def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((SAMPLES, PIXELS), np.float32), rng.integers(0, CLASSES, SAMPLES)


def child(library: str, hidden: int, epochs: int) -> dict[str, Any]:
    """Seconds of each epoch: of the batches alone, and of the training."""
    if library == "torch":
        import torch as lib
        import torch.nn.functional as functional
        from torch.utils.data import DataLoader, TensorDataset
    else:
        import lampion as lib
        import lampion.nn.functional as functional
        from lampion.utils.data import DataLoader, TensorDataset
    x, y = arrays()
    loader = DataLoader(TensorDataset(lib.from_numpy(x), lib.from_numpy(y)), batch_size=BATCH, shuffle=True)
    model = lib.nn.Sequential(lib.nn.Linear(PIXELS, hidden), lib.nn.ReLU(), lib.nn.Linear(hidden, CLASSES))
    optimizer = lib.optim.Adam(model.parameters())

    def step(images: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = step if library == "torch" else lib.compile(step)
    run(*next(iter(loader)))  # compilation is not part of an epoch
    alone, training = [], []
    for _ in range(epochs):
        start = time.perf_counter()
        for _ in loader:
            pass
        alone.append(time.perf_counter() - start)
        start = time.perf_counter()
        for images, labels in loader:
            run(images, labels)
        training.append(time.perf_counter() - start)
    return {"alone": alone, "training": training}


def run(options: Options) -> dict[str, Any]:
    rounds, epochs = (1, 2) if options.quick else (3, 3)
    facts: dict[str, Any] = {"samples": SAMPLES, "batch": BATCH}
    targets = []
    for hidden in HIDDEN:
        options.say(f"loading: {PIXELS}-{hidden}-{CLASSES}")
        seconds: dict[str, dict[str, list[float]]] = {
            name: {"alone": [], "training": []} for name in ("lampion", "torch")
        }
        for _ in range(rounds):
            for name, found in seconds.items():
                answer = ask_child(__name__, name, str(hidden), str(epochs))
                for what, times in answer.items():
                    found[what] += times
        middle = {name: {w: median(t) for w, t in found.items()} for name, found in seconds.items()}
        for name, found in middle.items():
            facts[f"{name}, {hidden} hidden: epochs/s"] = round(1 / found["training"], 3)
            facts[f"{name}: batches alone (s an epoch)"] = round(found["alone"], 4)
        ratio = middle["torch"]["training"] / middle["lampion"]["training"]
        bound = ">= 4" if hidden == HIDDEN[0] else None  # beyond, matrix products are most of both
        targets.append(Target(f"epochs/s against torch, {hidden} hidden units", ratio, bound, "x"))
        share = middle["lampion"]["alone"] / middle["lampion"]["training"]
        targets.append(Target(f"share of the batches in an epoch, {hidden} hidden units", share, None))
    return {
        "workload": "loading",
        "title": "epochs of MNIST's size, DataLoader included",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
