"""Each convolution kernel alone, over many shapes: forward, and the gradients of input and filters.

GFLOP/s against PyTorch's best (either layout, as installed and unlocked) and the peak. Lampion's images lie
with the channels last, as they do inside of a plan; filters and their gradients are in PyTorch's order, and
copying them into the kernel's is counted. (What a plan with nothing but a convolution does to hand out its
images in PyTorch's order is not.) Lampion's time is that of its kernels inside of a plan, PyTorch's that of a
call from Python, some microseconds more. Results are compared element by element (see `tolerance`): the first
library leaves them in a folder, and the others look there.

    python -m benchmarks.workloads.conv_grid lampion --threads 1 --only "depthwise|1x1"
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Options, Target, ask_child
from benchmarks.machine import cores
from benchmarks.unlocked import preload_library

KERNELS = ("forward", "input", "filters")


@dataclass(frozen=True)
class Shape:
    """A convolution of square images and filters."""

    images: int
    before: int
    after: int
    size: int
    taps: int
    stride: int = 1
    padding: int | None = None  # half of the taps, if not said
    dilation: int = 1
    groups: int = 1

    @property
    def pad(self) -> int:
        return self.dilation * (self.taps // 2) if self.padding is None else self.padding

    @property
    def output(self) -> int:
        return (self.size + 2 * self.pad - self.dilation * (self.taps - 1) - 1) // self.stride + 1

    @property
    def gflop(self) -> float:
        each = self.before // self.groups * self.after * self.taps**2
        return 2e-9 * self.images * self.output**2 * each

    def terms(self, kernel: str) -> int:
        """How many products are summed in one number of the result, at most."""
        channels = (self.after if kernel == "input" else self.before) // self.groups
        return self.images * self.output**2 if kernel == "filters" else channels * self.taps**2

    def __str__(self) -> str:
        extra = f" stride {self.stride}" * (self.stride > 1) + f" dilation {self.dilation}" * (
            self.dilation > 1
        )
        if self.groups > 1:
            extra += " depthwise" if self.groups == self.before else f" groups {self.groups}"
        return (
            f"{self.taps}x{self.taps} {self.before}>{self.after} {self.images}x{self.size}x{self.size}{extra}"
        )

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images (N, H, W, C), filters (O, C, R, S), the output's gradient (N, H', W', O)."""
        rng = np.random.default_rng(5)
        return tuple(
            rng.standard_normal(shape, dtype=np.float32)
            for shape in (
                (self.images, self.size, self.size, self.before),
                (self.after, self.before // self.groups, self.taps, self.taps),
                (self.images, self.output, self.output, self.after),
            )
        )  # type: ignore[return-value]  # three


SHAPES = (
    Shape(100, 1, 16, 28, 3), Shape(100, 16, 16, 28, 3), Shape(100, 16, 32, 14, 3), Shape(100, 32, 32, 14, 3),
    Shape(100, 64, 64, 8, 3), Shape(100, 1, 6, 28, 5), Shape(100, 6, 16, 14, 5, padding=0),
    Shape(16, 3, 64, 32, 3), Shape(8, 64, 64, 32, 3), Shape(8, 64, 128, 32, 3), Shape(8, 128, 128, 32, 3),
    Shape(16, 128, 128, 16, 3), Shape(16, 256, 256, 8, 3), Shape(32, 512, 512, 4, 3),
    Shape(16, 64, 128, 32, 3, 2), Shape(16, 128, 256, 16, 3, 2), Shape(32, 256, 512, 8, 3, 2),
    Shape(16, 64, 128, 32, 1), Shape(16, 256, 64, 16, 1), Shape(16, 64, 256, 16, 1),
    Shape(32, 512, 128, 7, 1),
    Shape(16, 64, 128, 32, 1, 2), Shape(4, 3, 64, 64, 7, 2), Shape(8, 16, 16, 32, 7),
    Shape(32, 13, 13, 15, 3), Shape(16, 13, 40, 17, 3, 2), Shape(16, 64, 64, 16, 3, dilation=2),
    Shape(32, 64, 64, 16, 3, groups=4), Shape(16, 128, 128, 16, 3, groups=32),
    Shape(16, 32, 32, 32, 3, groups=32), Shape(16, 96, 96, 32, 3, 2, groups=96),
    Shape(16, 192, 192, 14, 3, groups=192), Shape(16, 64, 64, 14, 5, groups=64),
    Shape(32, 13, 13, 7, 3), Shape(16, 64, 3, 32, 3),
)  # fmt: skip


@dataclass(frozen=True)
class Clocked:
    """Something that can be run, and timed by the clock."""

    call: Callable[[], Any]

    def seconds(self, clock: Callable[[], float]) -> float:
        start = clock()
        self.call()
        return clock() - start


@dataclass(frozen=True)
class Profiled:
    """A compiled function, and the time that its kernels take."""

    function: Any
    arguments: tuple[Any, ...]

    def call(self) -> Any:
        return self.function(*self.arguments)

    def seconds(self, clock: Callable[[], float]) -> float:
        times = self.function.explain().plans[0].profile(5)
        return float(sum(time for label, time in times if label != "write back")) * 1e-9


def lampion_calls(shape: Shape, threads: int) -> dict[str, Clocked | Profiled]:
    import lampion
    from lampion.ops.convolution import convolution, convolution_input, convolution_weight

    lampion.set_num_threads(threads)
    x, w, g = (lampion.from_numpy(array) for array in shape.arrays())
    geometry = ((shape.stride,) * 2, ((shape.pad,) * 2,) * 2, (shape.dilation,) * 2, shape.groups)

    def first(image: Any) -> Any:  # (N, H, W, C) as (N, C, H, W)
        return image.permute(0, 3, 1, 2)

    forward = lampion.compile(lambda x, w: convolution(first(x), w, *geometry))
    onto = lampion.compile(lambda g, w: convolution_input(first(g), w, (shape.size,) * 2, *geometry))
    filters = lampion.compile(
        lambda g, x: convolution_weight(first(g), first(x), (shape.taps,) * 2, *geometry)
    )
    return {
        "forward": Profiled(forward, (x, w)), "input": Profiled(onto, (g, w)),
        "filters": Profiled(filters, (g, x)),
    }  # fmt: skip


def torch_calls(shape: Shape, threads: int, channels_last: bool) -> dict[str, Clocked | Profiled]:
    import torch

    torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, w, g = (torch.from_numpy(array) for array in shape.arrays())
    x, g = (image.permute(0, 3, 1, 2).contiguous(memory_format=layout) for image in (x, g))
    w = w.contiguous(memory_format=layout)
    geometry = ((shape.stride,) * 2, (shape.pad,) * 2, (shape.dilation,) * 2)

    def backward(mask: list[bool]) -> Any:
        found = torch.ops.aten.convolution_backward(
            g, x, w, None, *geometry, False, (0, 0), shape.groups, mask
        )
        return found[mask.index(True)]

    return {
        "forward": Clocked(lambda: torch.conv2d(x, w, None, *geometry, shape.groups)),
        "input": Clocked(lambda: backward([True, False, False])),
        "filters": Clocked(lambda: backward([False, True, False])),
    }


LIBRARIES: dict[str, Callable[[Shape, int], dict[str, Clocked | Profiled]]] = {
    "lampion": lampion_calls,
    "torch": lambda shape, threads: torch_calls(shape, threads, False),
    "torch channels-last": lambda shape, threads: torch_calls(shape, threads, True),
}


def tolerance(shape: Shape, kernel: str, values: np.ndarray) -> np.ndarray:
    """How far two libraries may be apart, for each number.

    While n products of normal numbers are summed one by one, the sum grows to sqrt(n), and each addition
    rounds it by a third of eps, relatively: 0.2 eps n in all, as a standard deviation. Two libraries, and the
    worst of millions of numbers: seven times that. Winograd's way loses up to twice as much. A tap in the
    wrong place makes a difference of one, or more. A sum of few products is rounded by what it is itself.
    """
    eps = float(np.finfo(np.float32).eps)
    return 3 * eps * (shape.terms(kernel) + np.abs(values))  # type: ignore[no-any-return]  # NumPy's


def compare(shape: Shape, kernel: str, values: np.ndarray, folder: Path) -> float:
    """The largest difference from what lies in the folder, in tolerances; 0 for who comes first."""
    place = folder / f"{SHAPES.index(shape)}-{kernel}.npy"
    if not place.exists():
        np.save(place, values)
        return 0.0
    before = np.load(place)
    if before.shape != values.shape:
        raise ArithmeticError(f"{shape}, {kernel}: shapes {before.shape} and {values.shape} differ")
    return float(np.max(np.abs(values - before) / tolerance(shape, kernel, before)))


def measure(
    library: str, only: str, threads: int, seconds: float, folder: Path,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, dict[str, dict[str, float]]]:  # fmt: skip
    """For each shape and kernel: the least microseconds of a call, and how far its result is from that of the
    library before.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for shape in SHAPES:
        if only and not any(part in str(shape) for part in only.split("|")):
            continue
        for kernel, made in LIBRARIES[library](shape, threads).items():
            apart = compare(shape, kernel, made.call().numpy(), folder)
            if not apart <= 1:  # or not a number
                raise ArithmeticError(f"{shape}, {kernel}: {library} is {apart:.3g} tolerances away")
            made.seconds(clock)
            times: list[float] = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end or len(times) < 5:
                times.append(made.seconds(clock))
            found.setdefault(str(shape), {})[kernel] = {"us": min(times) * 1e6, "apart": apart}
    return found


def run(options: Options) -> dict[str, Any]:
    peak = ask_child("benchmarks.peak")["all"]
    passes, seconds = (1, "0.02") if options.quick else (3, "0.15")
    asked = {*options.contenders, "lampion"}
    contenders = []
    for library, end in itertools.product(LIBRARIES, ("", " unlocked")):
        if {library + end, library.replace("torch", "torch eager") + end} & asked:
            preload = {"LD_PRELOAD": str(preload_library())} if end else {}
            contenders.append((library + end, library, preload))
    answers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="lampion-benchmarks-") as folder:
        # In turns: whatever else the machine does meanwhile, it does not do it to one library alone.
        for turn, (label, library, preload) in itertools.product(range(passes), contenders):
            options.say(f"conv-grid: {label}, pass {turn + 1} of {passes}")
            found = ask_child(
                __name__, library, "--seconds", seconds, "--folder", folder, timeout=1800, **preload
            )
            answers[label] = quicker(answers.get(label, found), found)
    return record(answers, peak)


def quicker(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Of two passes, each kernel's quicker time and the larger difference."""
    pick = {"us": min, "apart": max}
    return {
        shape: {
            kernel: {key: pick[key](value, other[shape][kernel][key]) for key, value in facts.items()}
            for kernel, facts in kernels.items()
        }
        for shape, kernels in one.items()
    }


def record(answers: dict[str, Any], peak: float) -> dict[str, Any]:
    """Each shape and kernel, and the least ratio."""
    facts: dict[str, Any] = {}
    ratios = {}
    ours, theirs = answers["lampion"], [label for label in answers if label != "lampion"]
    for shape in SHAPES:
        for kernel in KERNELS:
            own = ours[str(shape)][kernel]
            speed = shape.gflop / own["us"] * 1e6
            line = f"{speed:.0f} GFLOP/s, {speed / peak:.0%} of the peak"
            if theirs:
                best = min(theirs, key=lambda label: answers[label][str(shape)][kernel]["us"])
                ratio = answers[best][str(shape)][kernel]["us"] / own["us"]
                ratios[f"{shape}, {kernel}"] = ratio
                line += f"; {ratio:.2f}x {best}"
            facts[f"{shape}, {kernel}"] = line
    targets = []
    if ratios:
        least = min(ratios, key=ratios.__getitem__)
        targets.append(Target(f"least of all against PyTorch's best ({least})", ratios[least], ">= 0.8", "x"))
        mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
        targets.append(Target("geometric mean against PyTorch's best", mean, None, "x"))
    return {
        "workload": "conv-grid",
        "title": "convolution kernels alone",
        "kind": "facts",
        "facts": {"FMA peak, GFLOP/s": round(peak)} | facts,
        "targets": [target.record() for target in targets],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("--only", default="", help="parts of the names of shapes, with | between them")
    parser.add_argument("--threads", type=int, default=cores(), help="all cores, unless given")
    parser.add_argument("--seconds", type=float, default=0.1, help="for each kernel (0.1)")
    parser.add_argument(
        "--cpu", action="store_true", help="this thread's processor time instead of the clock's"
    )
    parser.add_argument("--folder", type=Path, help="where results are left, or compared with what is there")
    chosen = parser.parse_args()
    clock = time.thread_time if chosen.cpu else time.perf_counter
    with tempfile.TemporaryDirectory(prefix="lampion-benchmarks-") as own:
        folder = chosen.folder or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(chosen.library, chosen.only, chosen.threads, chosen.seconds, folder, clock)))


if __name__ == "__main__":
    main()
