"""How long everyday operations take, run eagerly, beside PyTorch: a table of ratios.

    python -m benchmarks.operations [--only "argmax|softmax"] [--seconds 0.1] [--json FILE]

Both libraries run in one process and take turns, slice by slice, so that what else the machine is doing
falls on both; of the slices the medians are compared. A ratio of 2 means: Lampion takes twice as long.
Small is 8 x 8, with PyTorch held to one thread; large is 512 x 1024, with as many threads as PyTorch would
take, or with ``--threads`` of them: on a machine that others use its threads wait for each other, up to
10 ms a time, and ratios of 0.01 speak of that alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

Call = Callable[..., Any]
#: For each operation and way of running it: microseconds here, and in PyTorch.
Times = dict[str, dict[str, tuple[float, float]]]
SIZES = {"small": (8, 8), "large": (512, 1024)}


class Library:
    """Lampion or PyTorch, and the tensors of one size that operations are tried on."""

    def __init__(self, name: str, shape: tuple[int, int]) -> None:
        self.name = name
        self.lib = importlib.import_module(name)
        self.functional = importlib.import_module(f"{name}.nn.functional")
        draw = np.random.default_rng(0)
        rows, columns = shape
        self.rows, self.columns = rows, columns

        def tensor(array: Any) -> Any:
            return self.lib.tensor(np.asarray(array))

        self.x = tensor(draw.normal(size=shape).astype(np.float32))
        self.y = tensor(draw.normal(size=shape).astype(np.float32))
        self.positive = tensor(draw.uniform(0.5, 1.5, shape).astype(np.float32))
        self.mask = tensor(draw.random(shape) < 0.5)
        self.labels = tensor(draw.integers(0, columns, rows))
        self.index = tensor(draw.integers(0, rows, rows))
        self.other = tensor(draw.integers(0, columns, rows))
        self.places = tensor(draw.integers(0, rows, shape))
        self.weight = tensor((draw.normal(size=(columns, columns)) / columns**0.5).astype(np.float32))
        self.bias = tensor(draw.normal(size=columns).astype(np.float32))
        batch = (4, rows // 4, columns)
        self.batch = tensor(draw.normal(size=batch).astype(np.float32))
        self.batch_t = self.batch.transpose(1, 2).contiguous()
        self.vector = tensor(draw.normal(size=columns).astype(np.float32))
        self.written = self.x.clone()


@dataclass(frozen=True)
class Operation:
    """One line of the table.

    Attributes:
        call: what is timed, of a `Library` and the tensors named by `inputs`.
        gradient: whether it is also timed forwards and backwards, as ``call(...).sum().backward()``.
    """

    name: str
    call: Call
    inputs: str = "x"
    gradient: bool = True


def _rows() -> list[Operation]:
    def op(name: str, call: Call, inputs: str = "x", gradient: bool = True) -> Operation:
        return Operation(name, call, inputs, gradient)

    def write(index: Call, value: Any = 1.0) -> Call:
        def call(L: Library, x: Any) -> None:
            x[index(L)] = value

        return call

    return [
        op("x + y", lambda L, x, y: x + y, "x y"),
        op("x * 2.0", lambda L, x: x * 2.0),
        op("x / y", lambda L, x, y: x / y, "x positive"),
        op("x ** 2", lambda L, x: x**2),
        op("x += y", lambda L, x, y: x.add_(y), "written y", False),
        op("x > 0", lambda L, x: x > 0, "x", False),
        op("x == y", lambda L, x, y: x == y, "x y", False),
        op("where", lambda L, x, y: L.lib.where(L.mask, x, y), "x y"),
        op("clamp", lambda L, x: x.clamp(-1.0, 1.0)),
        op("abs", lambda L, x: x.abs()),
        op("exp", lambda L, x: x.exp()),
        op("log", lambda L, x: x.log(), "positive"),
        op("sqrt", lambda L, x: x.sqrt(), "positive"),
        op("tanh", lambda L, x: x.tanh()),
        op("sigmoid", lambda L, x: x.sigmoid()),
        op("erf", lambda L, x: L.lib.erf(x)),
        op("sum()", lambda L, x: x.sum()),
        op("sum(0)", lambda L, x: x.sum(0)),
        op("sum(1)", lambda L, x: x.sum(1)),
        op("mean(1)", lambda L, x: x.mean(1)),
        op("var(1)", lambda L, x: x.var(1)),
        op("std()", lambda L, x: x.std()),
        op("max()", lambda L, x: x.max()),
        op("max(1)", lambda L, x: x.max(1)[0]),
        op("amax(0)", lambda L, x: x.amax(0)),
        op("argmax(1)", lambda L, x: x.argmax(1), "x", False),
        op("argmax(0)", lambda L, x: x.argmax(0), "x", False),
        op("any(1)", lambda L, x: x.any(1), "mask", False),
        op("median(1)", lambda L, x: x.median(1)[0]),
        op("norm", lambda L, x: x.norm()),
        op("softmax", lambda L, x: x.softmax(-1)),
        op("log_softmax", lambda L, x: x.log_softmax(-1)),
        op("logsumexp", lambda L, x: x.logsumexp(-1)),
        op("layer_norm", lambda L, x: L.functional.layer_norm(x, (L.columns,))),
        op("batch_norm", lambda L, x: L.functional.batch_norm(x, None, None, training=True)),
        op("gelu", lambda L, x: L.functional.gelu(x)),
        op("gelu, tanh", lambda L, x: L.functional.gelu(x, approximate="tanh")),
        op("silu", lambda L, x: L.functional.silu(x)),
        op("relu", lambda L, x: L.functional.relu(x)),
        op("dropout", lambda L, x: L.functional.dropout(x, 0.5)),
        op("cross_entropy", lambda L, x: L.functional.cross_entropy(x, L.labels)),
        op("mse_loss", lambda L, x, y: L.functional.mse_loss(x, y), "x y"),
        op("embedding", lambda L, x: L.functional.embedding(L.index, x)),
        op("linear", lambda L, x, w, b: L.functional.linear(x, w, b), "x weight bias"),
        op("matmul", lambda L, x, y: x @ y, "x weight"),
        op("bmm", lambda L, x, y: L.lib.bmm(x, y), "batch batch_t"),
        op("einsum", lambda L, x, y: L.lib.einsum("ij,kj->ik", x, y), "x weight"),
        op("transpose, contiguous", lambda L, x: x.transpose(0, 1).contiguous()),
        op("reshape", lambda L, x: x.reshape(-1)),
        op("permute", lambda L, x: x.permute(2, 0, 1), "batch"),
        op("cat", lambda L, x, y: L.lib.cat([x, y]), "x y"),
        op("stack", lambda L, x, y: L.lib.stack([x, y]), "x y"),
        op("split", lambda L, x: x.split(2)[1] if L.rows < 9 else x.split(128)[1]),
        op("chunk", lambda L, x: x.chunk(4)[1]),
        op("x[3]", lambda L, x: x[3]),
        op("x[:, 2:5]", lambda L, x: x[:, 2:5]),
        op("x[3, 4]", lambda L, x: x[3, 4]),
        op("x[mask]", lambda L, x: x[L.mask]),
        op("x[i]", lambda L, x: x[L.index]),
        op("x[i, j]", lambda L, x: x[L.index, L.other]),
        op("x[3] = 1", write(lambda L: 3), "written", False),
        op("x[:, 2:5] = 1", write(lambda L: (slice(None), slice(2, 5))), "written", False),
        op("x[mask] = 1", write(lambda L: L.mask), "written", False),
        op("x[i, j] = 1", write(lambda L: (L.index, L.other)), "written", False),
        op("masked_fill", lambda L, x: x.masked_fill(L.mask, 0.0)),
        op("gather", lambda L, x: x.gather(0, L.places)),
        op("scatter_add", lambda L, x, y: x.scatter_add(0, L.places, y), "x y"),
        op("index_add", lambda L, x, y: x.index_add(0, L.index, y), "x y"),
        op("one_hot", lambda L: L.functional.one_hot(L.labels, L.columns), "", False),
        op("cumsum", lambda L, x: x.cumsum(1)),
        op("cummax", lambda L, x: x.cummax(1)[0]),
        op("sort", lambda L, x: x.sort()[0]),
        op("topk", lambda L, x: x.topk(3)[0]),
        op("outer", lambda L, x: L.lib.outer(x, x), "vector"),
        op("pad", lambda L, x: L.functional.pad(x, (1, 1))),
        op("repeat", lambda L, x: x.repeat(2, 1)),
        op("roll", lambda L, x: x.roll(1, 0)),
        op("flip", lambda L, x: x.flip(0)),
        op("tril", lambda L, x: x.tril()),
        op("item", lambda L, x: x[0, 0].item(), "x", False),
        op("zeros", lambda L: L.lib.zeros(L.rows, L.columns), "", False),
        op("ones", lambda L: L.lib.ones(L.rows, L.columns), "", False),
        op("randn", lambda L: L.lib.randn(L.rows, L.columns), "", False),
        op("arange", lambda L: L.lib.arange(L.rows * L.columns), "", False),
        op("to(float64)", lambda L, x: x.to(L.lib.float64)),
        op("to(int64)", lambda L, x: x.to(L.lib.int64), "x", False),
        op("clone", lambda L, x: x.clone()),
        op("detach", lambda L, x: x.detach(), "x", False),
    ]


def prepared(L: Library, row: Operation, gradient: bool) -> Callable[[], Any]:
    """The call to be timed, without arguments."""
    inputs = [getattr(L, name) for name in row.inputs.split()]
    if not gradient:
        no_grad = L.lib.no_grad
        with no_grad():
            row.call(L, *inputs)
        return lambda: row.call(L, *inputs)
    inputs = [x.detach().clone().requires_grad_() for x in inputs]

    def there_and_back() -> None:
        for x in inputs:
            x.grad = None
        row.call(L, *inputs).sum().backward()

    there_and_back()
    return there_and_back


def adam(L: Library) -> Callable[[], Any]:
    """One step of Adam for four matrices."""
    parameters = [L.x.detach().clone().requires_grad_() for _ in range(4)]
    for p in parameters:
        p.grad = L.y.clone()
    return L.lib.optim.Adam(parameters).step  # type: ignore[no-any-return]


def compare(ours: Call, theirs: Call, seconds: float) -> tuple[float, float]:
    """Microseconds of each, the medians of slices taken in turns."""
    repeats = []
    for call in (ours, theirs):
        call()
        start = time.perf_counter()
        call()
        repeats.append(max(1, int(2e-4 / (time.perf_counter() - start))))
    slices: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(slices[0]) < 7:
        for call, count, found in zip((ours, theirs), repeats, slices, strict=True):
            start = time.perf_counter()
            for _ in range(count):
                call()
            found.append((time.perf_counter() - start) / count * 1e6)
    return median(slices[0]), median(slices[1])


def measure(
    only: list[str], seconds: float, threads: int | None = None
) -> dict[str, dict[str, tuple[float, float]]]:
    """The whole table, or the lines whose names hold one of `only`."""
    torch = importlib.import_module("torch")
    threads = threads or torch.get_num_threads()
    found: Times = {}
    for size, shape in SIZES.items():
        torch.set_num_threads(1 if size == "small" else threads)
        here, there = Library("lampion", shape), Library("torch", shape)
        for row in _rows():
            if only and not any(part in row.name for part in only):
                continue
            for gradient in (False, True) if row.gradient else (False,):
                column = f"{size}, gradient" if gradient else size
                pair = prepared(here, row, gradient), prepared(there, row, gradient)
                found.setdefault(row.name, {})[column] = compare(*pair, seconds)
        if not only or "Adam" in only:
            found.setdefault("Adam", {})[size] = compare(adam(here), adam(there), seconds)
    return found


def table(found: Times) -> str:
    """The ratios, with the times here in microseconds."""
    columns = [f"{size}{way}" for size in SIZES for way in ("", ", gradient")]
    lines = ["| operation | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, times in found.items():
        cells = [f"{a / b:.2f} ({a:.3g} us)" if (a, b) != (0, 0) else ""
                 for a, b in (times.get(c, (0, 0)) for c in columns)]  # fmt: skip
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    means = []
    for column in columns:
        ratios = [a / b for times in found.values() if column in times for a, b in [times[column]]]
        means.append(f"{geometric_mean(ratios):.2f}" if ratios else "")
    lines.append("| geometric mean | " + " | ".join(means) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="parts of the names of operations, with | between them")
    parser.add_argument("--seconds", type=float, default=0.1, help="for each pair (0.1)")
    parser.add_argument("--threads", type=int, help="how many PyTorch may use on large arrays")
    parser.add_argument("--json", type=Path, help="where to put the times")
    options = parser.parse_args()
    only = [part for part in options.only.split("|") if part]
    found = measure(only, options.seconds, options.threads)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
