"""Look for programs that compiled code gets wrong: random ones, for as long as you like.

    python scripts/fuzz_compile.py --seconds 600 --what worlds
    python scripts/fuzz_compile.py --seed 12345 --what programs --compiled

What is found is made smaller and printed as a call that shows it again.
"""

import argparse
import collections
import os
import random
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests")]
os.environ.setdefault("LAMPION_CACHE_DIR", tempfile.mkdtemp(prefix="lampion-fuzz-"))

import compile_checks as checks  # noqa: E402  # after the path to it is set
import compile_programs as programs  # noqa: E402


def program(seed):
    """The arguments of `check_program` for a seed."""
    r = random.Random(seed)
    inputs = [
        (r.randrange(len(programs.SHAPES)), r.randrange(len(programs.DTYPES)), r.randrange(6))
        for _ in range(r.randint(1, 4))
    ]
    return [inputs, _steps(r, 12)]


def world(seed):
    """The arguments of `check_world` for a seed."""
    r = random.Random(seed)
    places = [(r.randrange(len(programs.SHAPES)), r.randrange(6)) for _ in range(r.randint(2, 5))]
    style = tuple(r.randrange(100) for _ in range(3))
    events = [tuple(r.randrange(100) for _ in range(3)) for _ in range(r.randint(2, 8))]
    return [places, _steps(r, 8), style, events]


def _steps(r, most):
    return [(r.randrange(340), *(r.randrange(100) for _ in range(3))) for _ in range(r.randint(1, most))]


def attempt(what, case, compiled):
    """(outcome, error) of one case."""
    try:
        if what == "worlds":
            return checks.check_world(*case, compiled=compiled), None
        return checks.check_program(*case, ("compiled",) if compiled else ("interpreted",)), None
    except Exception as error:
        return "WRONG", error


def smaller(what, case, compiled):
    """The case without what it can do without, and still goes wrong."""
    shrinking = True
    while shrinking:
        shrinking = False
        for part in case:
            for i in range(len(part) - 1, -1, -1):
                if isinstance(part, list) and len(part) > 1:
                    item = part.pop(i)
                    if attempt(what, case, compiled)[1] is not None:
                        shrinking = True
                    else:
                        part.insert(i, item)
    return case


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", choices=["programs", "worlds"], default="programs")
    parser.add_argument("--compiled", action="store_true", help="run machine code, not the interpreter")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--stop-after", type=int, default=3, help="mistakes to show")
    options = parser.parse_args()
    seen, found, seed = collections.Counter(), 0, options.seed
    end = time.monotonic() + options.seconds
    while time.monotonic() < end and found < options.stop_after:
        case = (world if options.what == "worlds" else program)(seed)
        outcome, error = attempt(options.what, case, options.compiled)
        seen[outcome] += 1
        if error is not None:
            found += 1
            case = smaller(options.what, case, options.compiled)
            print(f"seed {seed}: {type(error).__name__}: {error}\n  {case!r}\n", flush=True)
        seed += 1
    print(
        f"seeds {options.seed} to {seed - 1}: " + ", ".join(f"{n} {name}" for name, n in seen.most_common())
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
