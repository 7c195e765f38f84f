"""A worker: one contender with one workload in a process of its own, doing what it is told in turns.

The parent writes one JSON line at a time and gets one back:

    {"do": "check", "steps": [1, 10, 200]}  train from the start; the losses at these steps, the seconds of
                                            the first call (where compilation happens), the contender's facts
    {"do": "turn", "number": 3, "seconds": 0.5}  train for about that long; the time of a step in each slice
    {"do": "quit"}

Run by harness.py: python -m benchmarks.worker "torch eager" mlp
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any

import numpy as np

from benchmarks import workloads
from benchmarks.contenders import CONTENDERS, Session
from benchmarks.training import Training

SLICE_SECONDS = 0.008  # long enough for the clock and for asynchronous dispatch, short against disturbances


class Worker:
    def __init__(self, contender: str, workload: str) -> None:
        chosen = CONTENDERS[contender]
        self.training: Training = workloads.load(workload).TRAINING
        self.compared = chosen.compared
        build = importlib.import_module(f"benchmarks.contenders.{chosen.module}").build
        self.session: Session = build(self.training, self.training.weights(), **chosen.options)
        self.cpu_mark = time.process_time()

    def check(self, steps: list[int]) -> dict[str, Any]:
        losses, first = {}, 0.0
        for number in range(1, max(steps) + 1):
            batch = self.session.prepare(self.training.batch_number(number))
            start = time.perf_counter()
            loss = self.session.step(*batch)
            if number == 1 or number in steps:
                value = self.session.value(loss)
                if number == 1:
                    first = time.perf_counter() - start
                if number in (steps if self.compared is None else self.compared):
                    losses[str(number)] = value * self._norm(loss)
        self.cpu_mark = time.process_time()
        return {"losses": losses, "first_seconds": first, "facts": self.session.facts(), "cpu": self.cpu_mark}

    def _norm(self, result: Any) -> float:
        """Of the gradient where a step returns one: losses are multiplied by it, so both are compared."""
        if self.training.step != "gradient":
            return 1.0
        return float(np.linalg.norm(np.asarray(result[1]).astype(np.float64)))

    def turn(self, number: int, seconds: float) -> dict[str, Any]:
        # A waiting worker should use no processor time: its threads would be stealing from the others' turns.
        idle_cpu = time.process_time() - self.cpu_mark
        first = (number + 1) * 1000  # batches that the check did not see, and new ones for each turn
        pool = [
            self.session.prepare(self.training.batch_number(first + i)) for i in range(self.training.pool)
        ]

        # Threads are parked and caches belong to someone else: not counted.
        length = 4 if self._slice(pool, 3) < seconds else 1
        while (taken := self._slice(pool, length)) < SLICE_SECONDS and taken * length < seconds / 4:
            length *= 2
        microseconds = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(microseconds) < 3:
            microseconds.append(self._slice(pool, length) / length * 1e6)
        self.cpu_mark = time.process_time()
        return {"us": microseconds, "steps_in_slice": length, "idle_cpu": idle_cpu, "cpu": self.cpu_mark}

    def _slice(self, pool: list[Any], length: int) -> float:
        """Seconds for `length` steps, waiting only at the end, as a training loop would."""
        session, size = self.session, len(pool)
        start = time.perf_counter()
        for i in range(length):
            loss = session.step(*pool[i % size])
        session.value(loss)
        return time.perf_counter() - start


def main(contender: str, workload: str) -> None:
    # Libraries print to stdout at times: the parent's pipe is kept apart, and descriptor 1 joins stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(contender, workload)
    for line in sys.stdin:
        order = json.loads(line)
        kind = order.pop("do")
        if kind == "quit":
            break
        answer = worker.check(**order) if kind == "check" else worker.turn(**order)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
