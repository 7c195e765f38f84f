"""Matrix products one by one, as a share of the processor's peak: the compiler's, and other libraries'.

    python -m benchmarks.products [--only "2048x|heads"] [--threads N] [--without torch,jax] [--json FILE]

Each shape runs in the form in which a layer asks for it: NN is a @ b, NT is a @ b.T, TN is a.T @ b (with the
transposed one stored as it is written). Operands stay where they are from round to round, so that small ones
are in cache; inside of a training step they often are not, for which see ``step.explain()`` and its profile.

Libraries run in processes of their own, one after the other. The peak is measured between products, and the
best of all counts. PyTorch's MKL is unlocked where that is possible.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import cores, describe
from benchmarks.peak import Peak

#: (m, k, n) and the forms in which they occur. Forward, gradient of the input, gradient of the weight.
SHAPES: tuple[tuple[str, tuple[int, int, int], str], ...] = (
    ("MLP, batch 500", (500, 1000, 1000), "NT NN"),
    ("MLP, batch 500", (1000, 500, 1000), "TN"),
    ("MLP, batch 100", (100, 784, 1000), "NT"),
    ("MLP, batch 100", (784, 100, 1000), "TN"),
    ("GPT, qkv", (2048, 128, 384), "NT"),
    ("GPT, qkv", (2048, 384, 128), "NN"),
    ("GPT, qkv", (384, 2048, 128), "TN"),
    ("GPT, projection", (2048, 128, 128), "NT NN"),
    ("GPT, projection", (128, 2048, 128), "TN"),
    ("GPT, up", (2048, 128, 512), "NT"),
    ("GPT, up", (2048, 512, 128), "NN"),
    ("GPT, up", (512, 2048, 128), "TN"),
    ("GPT, down", (2048, 512, 128), "NT"),
    ("GPT, down", (2048, 128, 512), "NN"),
    ("GPT, down", (128, 2048, 512), "TN"),
    ("GPT, head", (2048, 128, 65), "NT"),
    ("LSTM, batch 20", (20, 650, 2600), "NT NN"),
    ("RNN, small", (20, 100, 400), "NT"),
    ("RNN, words", (700, 100, 10000), "NT"),
    ("RNN, words", (700, 10000, 100), "NN"),
    ("RNN, words", (10000, 700, 100), "TN"),
    ("matrix and vector", (1, 1000, 1000), "NT NN"),
    ("square", (256, 256, 256), "NN NT TN"),
    ("square", (1024, 1024, 1024), "NN NT TN"),
)
#: Attention: a batch of heads.
HEADS: tuple[tuple[str, tuple[int, int, int], str], ...] = (
    ("q k^T", (128, 32, 128), "NT"),
    ("p v", (128, 128, 32), "NN"),
    ("p^T do", (128, 128, 32), "TN"),
)
BATCH = 64


def cases() -> Iterator[tuple[str, tuple[int, ...], tuple[int, int, int], str]]:
    """Name, batch, sizes and form of each product."""
    for batch, rows in (((), SHAPES), ((BATCH,), HEADS)):
        for title, sizes, forms in rows:
            for form in forms.split():
                times = f"{BATCH} heads " if batch else ""
                yield f"{times}{'x'.join(map(str, sizes))} {form} ({title})", batch, sizes, form


def operands(batch: tuple[int, ...], sizes: tuple[int, int, int], form: str) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays as they are stored; where the form says T, the product takes their transposes."""
    (m, k, n), draw = sizes, np.random.default_rng(0)
    shapes = [(k, m) if form[0] == "T" else (m, k), (n, k) if form[1] == "T" else (k, n)]
    a, b = (draw.standard_normal((*batch, *shape)).astype(np.float32) for shape in shapes)
    return a, b


def turned(x: Any, letter: str) -> Any:
    """The operand itself: a view."""
    return x.swapaxes(-1, -2) if letter == "T" else x


def lampion(a: np.ndarray, b: np.ndarray, form: str, threads: int) -> Callable[[], Any]:
    """The compiler's code for one product, without the Python around it."""
    from lampion.compiler import kernel_ir as ir
    from lampion.compiler.codegen.plan import compile_plan
    from lampion.dtype import float32

    a, b = turned(a, form[0]), turned(b, form[1])
    out = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
    windows = [
        ir.Window(n, x.shape, tuple(s // x.itemsize for s in x.strides)) for n, x in enumerate((a, b, out))
    ]
    kinds = (ir.Operand(float32), ir.Operand(float32), ir.Operand(float32, True))
    result, store = (ir.Result(0, float32),), (ir.Store(windows[2], 0),)
    kernel = ir.Matmul(windows[0], windows[1], float32, kinds, result, store)
    places = tuple(ir.Place(False, n, x.nbytes) for n, x in enumerate((a, b, out)))
    plan = compile_plan(ir.Plan((ir.Call(kernel, places),), 0, 3), serial=threads == 1)
    table = (ctypes.c_void_p * 3)(*(x.ctypes.data for x in (a, b, out)))
    address = ctypes.addressof(table)

    def run(kept: Any = (a, b, table)) -> np.ndarray:
        plan.run(address, 0, threads)
        return out

    return run


def numpy(a: np.ndarray, b: np.ndarray, form: str, threads: int) -> Callable[[], Any]:
    a, b = turned(a, form[0]), turned(b, form[1])
    out = np.matmul(a, b)
    return lambda: np.matmul(a, b, out=out)


def torch(a: np.ndarray, b: np.ndarray, form: str, threads: int) -> Callable[[], Any]:
    import torch as library

    library.set_num_threads(threads)
    x, y = (turned(library.tensor(array), letter) for array, letter in zip((a, b), form, strict=True))
    out = library.matmul(x, y)
    return lambda: library.matmul(x, y, out=out)


def jax(a: np.ndarray, b: np.ndarray, form: str, threads: int) -> Callable[[], Any]:
    import jax as library

    x, y = library.numpy.array(a), library.numpy.array(b)
    product = library.jit(lambda x, y: turned(x, form[0]) @ turned(y, form[1]))
    return lambda: product(x, y).block_until_ready()


LIBRARIES = {"lampion": lampion, "numpy": numpy, "torch": torch, "jax": jax}


def seconds(call: Callable[[], Any], budget: float) -> float:
    """The least time of a call, among those that fit into the budget (and five at least)."""
    call()
    best, end, rounds = math.inf, time.perf_counter() + budget, 0
    while rounds < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        rounds += 1
    return best


def measure(library: str, only: list[str], threads: int, budget: float) -> dict[str, Any]:
    """For each product: microseconds and GFLOP/s; and the peak on as many threads, measured in between."""
    peak = Peak()
    fastest = peak.gflops(threads)
    found: dict[str, Any] = {}
    for name, batch, sizes, form in cases():
        if only and not any(word in name for word in only):
            continue
        call = LIBRARIES[library](*operands(batch, sizes, form), form, threads)
        best = seconds(call, budget)
        rate = 2 * math.prod((*batch, *sizes)) / best / 1e9
        found[name] = {"us": best * 1e6, "gflops": rate}
        fastest = max(fastest, peak.gflops(threads, 5))
    return {"library": library, "threads": threads, "peak": fastest, "products": found}


def elsewhere(library: str, arguments: list[str], threads: int) -> dict[str, Any]:
    """The same in a process of its own, held to as many cores as threads (JAX has no other way)."""
    from benchmarks import unlocked

    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    if library == "torch" and sys.platform == "linux":
        environment["LD_PRELOAD"] = str(unlocked.preload_library())
    held: Callable[[], Any] | None = None
    if sys.platform == "linux":
        chosen = sorted(os.sched_getaffinity(0))[:threads]
        held = lambda: os.sched_setaffinity(0, chosen)  # noqa: E731
    command = [sys.executable, "-m", "benchmarks.products", "--library", library, *arguments]
    done = subprocess.run(
        command, env=environment, preexec_fn=held, check=True, capture_output=True, text=True
    )
    record: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return record


def table(records: list[dict[str, Any]], peak: float) -> str:
    """A line for each product: the share of the peak, in every library."""
    names = [record["library"] for record in records]
    lines = ["| product | us | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for product, row in records[0]["products"].items():
        shares = [f"{record['products'][product]['gflops'] / peak:.0%}" for record in records]
        lines.append(f"| {product} | {row['us']:.1f} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="parts of the names of products, with | between them")
    parser.add_argument("--threads", type=int, default=cores(), help="all cores, unless given")
    parser.add_argument("--seconds", type=float, default=0.1, help="for each product and library (0.1)")
    parser.add_argument("--without", default="", help="leave out libraries: torch,jax")
    parser.add_argument("--json", type=Path, help="where to put the record")
    parser.add_argument("--library", choices=LIBRARIES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.library:
        only = [word for word in chosen.only.split("|") if word]
        print(json.dumps(measure(chosen.library, only, chosen.threads, chosen.seconds)))
        return
    arguments = ["--only", chosen.only, "--threads", str(chosen.threads), "--seconds", str(chosen.seconds)]
    wanted = [name for name in LIBRARIES if name not in chosen.without.split(",")]
    records = [elsewhere(name, arguments, chosen.threads) for name in wanted]
    peak = max(record["peak"] for record in records)  # some may have been measured while others computed
    print(f"{chosen.threads} threads; peak {peak:.0f} GFLOP/s")
    print(table(records, peak))
    if chosen.json:
        chosen.json.write_text(json.dumps({"machine": describe(), "records": records}, indent=1))


if __name__ == "__main__":
    main()
