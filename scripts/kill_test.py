"""Kill a training at random moments, and see that nothing is ever lost.

    python scripts/kill_test.py --kills 100

trains a small network, with dropout, shuffling and a checkpoint after each update, once to its end. Then it
trains it again and kills that process (SIGKILL) at a random moment, again and again. After each kill, the
newest checkpoint must be whole, must not be older than one that was seen before, and nothing but whole
checkpoints may lie beside it (folders with a hidden name are what was being written). The run is resumed;
whenever one comes to its end, its weights, optimizer and history must have the bits of the run that was never
killed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import lampion as lp
from lampion.training import Callback, Checkpoint, EarlyStopping, Trainer, latest, read_checkpoint
from lampion.training.metrics import Accuracy
from lampion.training.state import encode
from lampion.utils.data import DataLoader, TensorDataset


class Say(Callback):
    """Tell the parent when the first update is done: the training runs."""

    order = -100

    def __init__(self) -> None:
        self.said = False

    def on_step_end(self, trainer: Trainer) -> None:
        if not self.said:
            print("running", flush=True)
            self.said = True


def child(out: str, epochs: int, compile: bool) -> None:
    """One run, that goes on from what it finds; prints a digest of how it ended."""
    random.seed(0)
    np.random.seed(0)
    lp.manual_seed(1)
    x = lp.randn(40, 16)
    data = TensorDataset(x, (x[:, :4].sum(1) > 0).long())
    lp.manual_seed(2)
    model = lp.nn.Sequential(lp.nn.Linear(16, 64), lp.nn.ReLU(), lp.nn.Dropout(0.3), lp.nn.Linear(64, 2))
    optimizer = lp.optim.Adam(model.parameters(), lr=0.003)
    trainer = Trainer(
        model, lp.nn.CrossEntropyLoss(), optimizer, metrics=[Accuracy()], compile=compile, out=out,
        scheduler=lp.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        callbacks=[Say(), EarlyStopping("loss", patience=epochs), Checkpoint(every_steps=1)],
    )  # fmt: skip
    trainer.fit(DataLoader(data, batch_size=16, shuffle=True), epochs=epochs, resume=True)
    print("end", digest(trainer.state_dict()), flush=True)


def digest(state: dict[str, Any]) -> str:
    """A checksum of the whole state."""
    tensors: dict[str, lp.Tensor] = {}
    found = hashlib.sha256(repr(encode(state, tensors)).encode())
    for name, tensor in tensors.items():
        found.update(name.encode() + tensor.numpy().tobytes())
    return found.hexdigest()


def start(out: Path, epochs: int, compile: bool) -> subprocess.Popen[str]:
    """A run, in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--child",
        str(out),
        "--epochs",
        str(epochs),
        *["--compile"] * compile,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def step_of(out: Path) -> int:
    """How far the newest whole checkpoint is; every other one must be whole too."""
    folder = out / "checkpoints"
    names = sorted(p.name for p in folder.iterdir() if p.name[0] != ".") if folder.is_dir() else []
    steps = [
        read_checkpoint(folder / name)["counters"]["step"] for name in names
    ]  # raises if it is not whole
    if not names:
        return 0
    newest = latest(out)
    assert newest is not None and newest.name == names[-1], f"latest() found {newest}, there is {names}"
    return int(steps[-1])


def kill_test(kills: int, epochs: int, seed: int, compile: bool = False) -> dict[str, int]:
    """Kill a run at this many moments; what happened, counted. Raises AssertionError if anything was lost."""
    chance = random.Random(seed)
    counts = {"kills": 0, "left unfinished": 0, "ends with the same bits": 0}
    with tempfile.TemporaryDirectory(prefix="lampion-kill-") as place:
        begun = time.monotonic()
        whole = start(Path(place, "whole"), epochs, compile)
        assert whole.stdout is not None and whole.stdout.readline() == "running\n"
        running = time.monotonic()
        wanted = whole.stdout.readline()
        assert whole.wait() == 0 and wanted.startswith("end")
        length = time.monotonic() - running
        print(f"a whole run: {running - begun:.1f} s to start, {length:.1f} s to train", file=sys.stderr)
        number, out, before = 0, Path(place, "0"), 0
        while (
            counts["kills"] < kills or before or not counts["ends with the same bits"]
        ):  # the last run is brought to its end
            process = start(out, epochs, compile)
            assert process.stdout is not None
            last = counts["kills"] >= kills
            line = process.stdout.readline()
            if not last and line == "running\n":
                time.sleep(chance.uniform(0, length / 4))
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)
            rest = line if line.startswith("end") else process.stdout.read()
            code = process.wait()
            process.stdout.close()
            assert code in (0, -signal.SIGKILL), f"the run failed: {code}"
            if code:
                counts["kills"] += 1
                hidden = [p for p in (out / "checkpoints").iterdir() if p.name[0] == "."]
                counts["left unfinished"] += bool(hidden)
                now = step_of(out)
                assert now >= before, (
                    f"the newest checkpoint is of update {now}, an earlier one was of {before}"
                )
                before = now or 1
            if rest:
                assert rest.strip() == wanted.strip(), "a resumed run ended with other bits"
                counts["ends with the same bits"] += 1
                number, before = number + 1, 0
                out = Path(place, str(number))
        whole.stdout.close()
    return counts


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2), "little"))
    parser.add_argument(
        "--compile", action="store_true", help="compiled steps (each start compiles them anew)"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.child, options.epochs, options.compile)
        return
    begun = time.monotonic()
    counts = kill_test(options.kills, options.epochs, options.seed, options.compile)
    print(", ".join(f"{name}: {count}" for name, count in counts.items()), f"(seed {options.seed}, "
          f"{time.monotonic() - begun:.0f} s)")  # fmt: skip


if __name__ == "__main__":
    main()
