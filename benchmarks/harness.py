"""Races: contenders train the same thing in one run, taking short turns on an otherwise idle machine.

The rules, and why:

- One process each, started beforehand: no contender's threads, allocator or import hooks touch another's.
- Turns of half a second in rounds, in rotating order: when the machine slows down, it does so for all.
  A ratio is taken within a round, and the median over the rounds is reported.
- The same weights to start from and the same batches; losses are compared at steps 1, 10 and 200 (the large
  workloads stop earlier), so that nobody is fast by leaving work out. Each call gets another batch as its
  argument.
- Before a turn the others settle. OpenMP's threads spin for some milliseconds after their last work and
  then sleep, so a pause ends what would be stolen from the next turn. OMP_WAIT_POLICY=passive would end it
  too, but also slow each of PyTorch's parallel regions by a wake-up; it stays unset. Workers report the
  processor time that they used while waiting, and the result shows the largest.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.contenders import CONTENDERS
from benchmarks.training import Training
from benchmarks.unlocked import preload_library

BASE = "lampion compiled"  # ratios are against this one, where it takes part


@dataclass(frozen=True)
class Options:
    """How thorough a run is, and who takes part."""

    quick: bool = False
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    say: Callable[[str], None] = field(default=lambda text: print(text, file=sys.stderr, flush=True))

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 12

    @property
    def seconds(self) -> float:
        return 0.1 if self.quick else 0.5

    @property
    def settle(self) -> float:
        return 0.05 if self.quick else 0.25


@dataclass(frozen=True)
class Target:
    """A number that was promised, and what was measured. `bound` None: for information."""

    text: str
    value: float
    bound: str | None  # "<= 25", ">= 6"
    unit: str = ""

    @property
    def met(self) -> bool | None:
        if self.bound is None:
            return None
        sign, limit = self.bound.split()
        return self.value <= float(limit) if sign == "<=" else self.value >= float(limit)

    def record(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "value": self.value,
            "bound": self.bound,
            "unit": self.unit,
            "met": self.met,
        }


@dataclass
class Times:
    """Median microseconds of a step, per contender and round: what a workload's targets are read from."""

    rounds: dict[str, list[float]]

    def __contains__(self, name: str) -> bool:
        return name in self.rounds

    def us(self, name: str) -> float:
        return median(self.rounds[name])

    def ratio(self, name: str, base: str) -> float:
        """How many times as long `name` takes as `base`: the median of the rounds' ratios."""
        return median(a / b for a, b in zip(self.rounds[name], self.rounds[base], strict=True))

    def best(self, names: tuple[str, ...]) -> str | None:
        """The quickest of those that took part."""
        return min((name for name in names if name in self.rounds), key=self.us, default=None)


class WorkerFailedError(RuntimeError):
    """A worker died or took too long; the message holds the end of what it printed."""


class WorkerProcess:
    """The parent's end of one worker."""

    def __init__(self, contender: str, workload: str) -> None:
        environment = worker_environment()
        if CONTENDERS[contender].unlocked:
            environment["LD_PRELOAD"] = str(preload_library())
        self.contender = contender
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker, not with a block
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", contender, workload],
            cwd=machine.ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def ask(self, timeout: float, **order: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        alarm = threading.Timer(timeout, self.process.kill)
        alarm.start()
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            alarm.cancel()
        if not line:
            code = self.process.wait()
            self.errors.seek(0)
            tail = "".join(self.errors.readlines()[-12:])
            raise WorkerFailedError(f"{self.contender}: worker ended with code {code}\n{tail}".rstrip())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ask the worker to end, so that its own helpers (torch.compile keeps some) end too; or force it."""
        if self.process.poll() is None:
            try:
                self.process.communicate('{"do": "quit"}\n', timeout=10)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                stream.close()


def worker_environment() -> dict[str, str]:
    """This process's environment, with the source tree importable."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(machine.ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    )
    return environment


def ask_child(module: str, *arguments: str, timeout: float = 600, **variables: str) -> dict[str, Any]:
    """Run `python -m module arguments` to its end and return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=machine.ROOT,
        env=worker_environment() | variables,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise WorkerFailedError(
            f"{module} {' '.join(arguments)} ended with code {done.returncode}\n{done.stderr}"
        )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def race(
    training: Training, options: Options, targets: Callable[[Times, float], list[Target]]
) -> dict[str, Any]:
    """Run one training workload; `targets(times, peak in GFLOP/s)` says what its numbers should be."""
    absent, workers, checks = {}, {}, {}
    peak_before = ask_child("benchmarks.peak")
    try:
        for name in options.contenders:
            if not CONTENDERS[name].takes(training):
                continue
            if reason := CONTENDERS[name].missing():
                absent[name] = reason
                continue
            options.say(f"{training.name}: starting {name}")
            worker = WorkerProcess(name, training.name)
            try:
                checks[name] = worker.ask(600, do="check", steps=list(training.checked))
                workers[name] = worker
            except WorkerFailedError as failure:
                worker.close()
                absent[name] = str(failure)
        turns = take_turns(workers, checks, training.name, options)
    finally:
        for worker in workers.values():
            worker.close()
    peak_after = ask_child("benchmarks.peak")
    peak = max(peak_before["all"], peak_after["all"])

    times = Times({name: [median(part) for part in parts] for name, parts in turns.slices.items()})
    return {
        "workload": training.name,
        "title": training.title,
        "checked": list(training.checked),
        "kind": "race",
        "rounds": options.rounds,
        "others_cpu": turns.others_cpu,
        "peak_gflops": {
            "before": peak_before["all"],
            "after": peak_after["all"],
            "one_core": peak_before["one"],
        },
        "gflop": training.gflop,
        "floor_us": training.gflop / peak * 1e6 if training.gflop else None,
        "contenders": {
            name: summary(name, times, turns, checks[name], training.gflop, peak) for name in times.rounds
        },
        "absent": absent,
        "agreement": agreement({name: checks[name]["losses"] for name in times.rounds}, training),
        "targets": [target.record() for target in targets(times, peak)],
    }


@dataclass
class Turns:
    """What the rounds gave."""

    slices: dict[str, list[list[float]]]  # microseconds of a step, for each slice of each round
    idle_cpu: dict[str, float]  # the most processor time that a worker used between two of its turns
    others_cpu: float | None = None  # the share of the processor that other programs had, where known


def take_turns(
    workers: dict[str, WorkerProcess], checks: dict[str, Any], workload: str, options: Options
) -> Turns:
    """Let each worker run once a round, in rotating order."""
    names = list(workers)
    turns = Turns({name: [] for name in names}, dict.fromkeys(names, 0.0))
    cpu = {name: checks[name]["cpu"] for name in names}
    own = -sum(cpu.values()) - time.process_time()
    busy, began = -machine.busy_seconds(), time.perf_counter()
    for number in range(options.rounds):
        start = number % max(len(names), 1)
        for name in names[start:] + names[:start]:
            time.sleep(options.settle)
            answer = workers[name].ask(300, do="turn", number=number, seconds=options.seconds)
            turns.slices[name].append(answer["us"])
            turns.idle_cpu[name] = max(turns.idle_cpu[name], answer["idle_cpu"])
            cpu[name] = answer["cpu"]
        options.say(f"{workload}: round {number + 1} of {options.rounds}")
    own += sum(cpu.values()) + time.process_time()
    busy += machine.busy_seconds()
    if not math.isnan(busy):
        turns.others_cpu = max(0.0, busy - own) / ((time.perf_counter() - began) * machine.cores())
    return turns


def summary(
    name: str, times: Times, turns: Turns, check: dict[str, Any], gflop: float | None, peak: float
) -> dict[str, Any]:
    """What is recorded of one contender."""
    us = times.us(name)
    return {
        "us": us,
        "us_by_round": times.rounds[name],
        "us_quickest_slice": min(min(part) for part in turns.slices[name]),
        "times_base": times.ratio(name, BASE) if BASE in times else None,
        "share_of_peak": gflop / peak / (us * 1e-6) if gflop else None,
        "first_call_seconds": check["first_seconds"],
        "losses": check["losses"],
        "idle_cpu_seconds": turns.idle_cpu[name],
        "facts": check["facts"],
    }


def agreement(losses: dict[str, dict[str, float]], training: Training) -> dict[str, Any]:
    """How far the contenders' losses lie apart at each checked step, relative to their mean."""
    found: dict[str, Any] = {}
    for step in training.checked:
        values = [loss[str(step)] for loss in losses.values() if str(step) in loss]
        if values:
            spread = (max(values) - min(values)) / abs(sum(values) / len(values))
            found[str(step)] = {
                "spread": spread,
                "allowed": training.tolerance[step],
                "agree": spread <= training.tolerance[step],
            }
    return found
