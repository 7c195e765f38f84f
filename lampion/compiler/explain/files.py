"""Everything about a compiled function as text files, to read, compare and search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lampion.errors import LampionError


def dump(compiled: Any, folder: Any) -> list[str]:
    """Write what became of a compiled function to a folder.

    For each plan N: planN.txt (the kernels and where they come from), planN-recorded.txt and
    planN-optimized.txt (the graph before and after the passes), planN-loops.txt, planN.ll (LLVM IR) and
    planN.s (assembly). The plans of its gradients, where these were asked for outside, are planN-gradientM.

    Args:
        compiled: what `lampion.compile` returned, called at least once.
        folder: made if it is not there; files of those names in it are replaced.

    Returns:
        The paths of the files.

    Raises:
        LampionError: it is no compiled function, nothing was compiled yet, or the function runs eagerly.

    >>> import lampion, tempfile
    >>> double = lampion.compile(lambda x: x + x)
    >>> _ = double(lampion.ones(3))
    >>> [path.rpartition("/")[2] for path in lampion.compiler.dump(double, tempfile.mkdtemp())][-2:]
    ['plan0.ll', 'plan0.s']
    """
    if not hasattr(compiled, "explain"):
        raise LampionError(
            "dump", "this is not a compiled function", got=type(compiled).__name__,
            expected="what lampion.compile returned", fix="f = lampion.compile(f); f(x); dump(f, folder)",
        )  # fmt: skip
    explanation = compiled.explain()
    if explanation.eager is not None:
        raise LampionError("dump", f"the function runs eagerly: {explanation.eager}")
    if not explanation.plans:
        raise LampionError("dump", "nothing was compiled yet", fix="call the function once")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    named = []
    for number, plan in enumerate(explanation.plans):
        named.append((f"plan{number}", f"plan {number}", plan))
        for i, gradient in enumerate(plan.gradients):
            named.append((f"plan{number}-gradient{i}", f"{gradient.title} of plan {number}", gradient))
    for name, title, plan in named:
        texts = {
            f"{name}.txt": f"{explanation.name}, {title}: {plan}\n\n{plan.fused()}",
            f"{name}-recorded.txt": str(plan.recorded),
            f"{name}-optimized.txt": str(plan.optimized),
        }
        if plan.native:
            texts |= {f"{name}-loops.txt": plan.loops(), f"{name}.ll": plan.ir, f"{name}.s": plan.assembly}
        for file, text in texts.items():
            (target / file).write_text(text + "\n", encoding="utf-8")
            written.append(str(target / file))
    return written
