"""Writing text one character at a time: an LSTM of 256 units, which carries its state, and a random choice.

What is timed is a character: the network's step from one character and a state to scores and the next state,
and drawing the next character from their softmax. PyTorch's forms are a step in a loop, eager and compiled,
under `inference_mode`; Lampion's, a compiled step in a loop, and a whole text as one compiled call, in which
the steps are a `lampion.func.scan`; JAX's, a jitted step, and a text as a `lax.scan`.
"""

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
from benchmarks.unlocked import preload_library
from benchmarks.workloads.recurrent import layer_shapes

CHARACTERS, EMBEDDED, WIDTH, LENGTH = 65, 64, 256, 200
STEP, TEXT = "lampion, compiled step", "lampion, compiled text"
#: Who takes part: the package, and how the text is made.
FORMS = {
    STEP: ("lampion", "step"),
    TEXT: ("lampion", "text"),
    "lampion, eager": ("lampion", "eager"),
    "torch, eager": ("torch", "eager"),
    "torch, compiled step": ("torch", "step"),
    "torch, eager, unlocked": ("torch", "eager"),
    "torch, compiled step, unlocked": ("torch", "step"),
    "jax, jitted step": ("jax", "step"),
    "jax, jitted text": ("jax", "text"),
}


def weights() -> dict[str, np.ndarray]:
    """Small random ones, the same in every form."""
    rng = np.random.default_rng(7)
    shapes = {
        "characters.weight": (CHARACTERS, EMBEDDED),
        "scores.weight": (CHARACTERS, WIDTH),
        "scores.bias": (CHARACTERS,),
        **layer_shapes("layer.{}_l0", "LSTM", EMBEDDED, WIDTH),
    }
    return {
        name: (rng.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)
        for name, shape in shapes.items()
    }


def with_modules(package: str, how: str) -> Callable[[], Any]:
    """Writes a text with Lampion or PyTorch, which say it in the same words."""
    library = importlib.import_module(package)
    nn = importlib.import_module(f"{package}.nn")

    class Model(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.characters = nn.Embedding(CHARACTERS, EMBEDDED)
            self.layer, self.scores = nn.LSTM(EMBEDDED, WIDTH), nn.Linear(WIDTH, CHARACTERS)

        def forward(self, character: Any, h: Any, c: Any) -> Any:  # (1, 1), and states (1, 1, width)
            output, (h, c) = self.layer(self.characters(character), (h, c))
            chances = self.scores(output[0]).softmax(-1)
            return library.multinomial(chances, 1), h, c

    model = Model()
    tensors = {name: library.from_numpy(value) for name, value in weights().items()}
    model.load_state_dict(tensors)
    model.eval()
    start = [library.zeros(1, 1, dtype=library.int64), *(library.zeros(1, 1, WIDTH) for _ in range(2))]
    if how == "text":

        def advance(carry: Any, _: Any) -> Any:
            carry = model(*carry)
            return carry, carry[0]

        rounds = library.arange(LENGTH)
        whole = library.compile(lambda *start: library.func.scan(advance, start, rounds)[1])
        return _without_gradients(library, lambda: whole(*start).flatten().tolist())
    step = library.compile(model) if how == "step" else model

    def write() -> Any:
        carry, text = start, []
        for _ in range(LENGTH):
            carry = step(*carry)
            text.append(int(carry[0]))
        return text

    return _without_gradients(library, write)


def _without_gradients(library: Any, function: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with library.inference_mode():
            return function()

    return run


def with_jax(how: str) -> Callable[[], Any]:
    """The same in JAX."""
    jax = importlib.import_module("jax")
    jnp, w = jax.numpy, {name: jax.numpy.array(value) for name, value in weights().items()}

    def step(carry: Any, _: Any = None) -> Any:
        character, h, c, key = carry
        x = w["characters.weight"][character]
        gates = x @ w["layer.weight_ih_l0"].T + w["layer.bias_ih_l0"]
        gates = gates + h @ w["layer.weight_hh_l0"].T + w["layer.bias_hh_l0"]
        i, f, g, o = jnp.split(gates, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        key, own = jax.random.split(key)
        character = jax.random.categorical(own, h @ w["scores.weight"].T + w["scores.bias"])
        return (character, h, c, key), character

    zeros = jnp.zeros((1, WIDTH), jnp.float32)
    start = (jnp.zeros(1, jnp.int32), zeros, zeros, jax.random.key(0))
    if how == "text":
        whole = jax.jit(lambda start: jax.lax.scan(step, start, None, LENGTH)[1])
        return lambda: np.asarray(whole(start)).ravel().tolist()
    single = jax.jit(step)

    def write() -> Any:
        carry, text = start, []
        for _ in range(LENGTH):
            carry, character = single(carry)
            text.append(int(character[0]))
        return text

    return write


def child(form: str, seconds: float) -> dict[str, Any]:
    """Microseconds of a character: the median over texts; and how many different ones were written."""
    package, how = FORMS[form]
    write = with_jax(how) if package == "jax" else with_modules(package, how)
    text = write()
    write()
    slices = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(slices) < 3:
        begin = time.perf_counter()
        write()
        slices.append((time.perf_counter() - begin) / LENGTH * 1e6)
    return {"us": median(slices), "different": len(set(text))}


def run(options: Options) -> dict[str, Any]:
    present = [form for form, (package, _) in FORMS.items() if importlib.util.find_spec(package) is not None]
    if sys.platform != "linux":
        present = [form for form in present if "unlocked" not in form]
    rounds: dict[str, list[float]] = {form: [] for form in present}
    for number in range(2 if options.quick else 4):
        for form in present[number % len(present) :] + present[: number % len(present)]:
            options.say(f"generation: round {number + 1}, {form}")
            extra = {"LD_PRELOAD": str(preload_library())} if "unlocked" in form else {}
            rounds[form].append(ask_child(__name__, form, str(options.seconds), **extra)["us"])
    us = {form: median(times) for form, times in rounds.items()}
    facts = {f"{form}: us a character": round(time, 1) for form, time in us.items()}
    theirs = [form for form in us if form.startswith("torch")]
    targets = []
    if theirs:
        best = min(theirs, key=us.__getitem__)
        for form, bound in ((STEP, ">= 5"), (TEXT, None)):
            ratio = median(a / b for a, b in zip(rounds[best], rounds[form], strict=True))
            targets.append(Target(f"{form} against {best}", ratio, bound, "x"))
    return {
        "workload": "generation",
        "title": f"a text of {LENGTH} characters, one at a time: LSTM of {WIDTH}, softmax, a random choice",
        "kind": "facts",
        "facts": facts,
        "targets": [target.record() for target in targets],
    }


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], float(sys.argv[2]))))
