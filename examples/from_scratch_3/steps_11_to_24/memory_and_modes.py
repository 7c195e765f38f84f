"""Volume 3, steps 17-18: memory that comes back at once, and computing without a tape.

See: a graph is gone with its result, with Python's collector of cycles switched off too; inner results
keep their gradients only where `retain_grad()` asks for it; under `no_grad()` nothing is recorded.
"""

import gc
import weakref

import lampion


class Kept:
    """What an operation keeps for its gradient, in a box that can be watched."""

    def __init__(self, tensor):
        self.tensor = tensor


def main() -> dict[str, object]:
    found: dict[str, object] = {}
    x = lampion.ones(1000, requires_grad=True)
    kept: weakref.WeakSet[Kept] = weakref.WeakSet()  # forgets what nobody else holds

    def pack(tensor):
        kept.add(box := Kept(tensor))
        return box

    was_on = gc.isenabled()
    gc.disable()
    try:
        with lampion.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
            y = (x.exp() * x.sin()).sum()
        found["kept for the walk back"] = len(kept)
        del y
        found["kept without a result"] = len(kept)
    finally:
        if was_on:
            gc.enable()

    a = x * 2
    b = a * 3
    a.retain_grad()
    b.sum().backward()
    found["asked for"] = a.grad is not None
    found["kept anyway"] = b.is_leaf or b.retains_grad

    with lampion.no_grad():
        found["recorded under no_grad"] = (x * 2).requires_grad
    for name, value in found.items():
        print(f"{name}: {value}")
    return found


if __name__ == "__main__":
    main()
