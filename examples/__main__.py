"""Run an example of the books, with options; without a name, list them all.

    python -m examples
    python -m examples from_scratch_1/chapter_6/optimizer_paths --out pictures

An example is also a program of its own: `python examples/from_scratch_1/chapter_2/gates.py`. The options are
the arguments of its main().
"""

import argparse
import ast
import inspect
import runpy
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def examples() -> list[str]:
    """The names of all examples: their paths, without .py."""
    return [path.relative_to(FOLDER).with_suffix("").as_posix() for path in sorted(FOLDER.glob("*/*/*.py"))]


def run(name: str, words: list[str]):
    """Run one example's main() with options such as ``--epochs 3``; returns what it returns."""
    if name not in examples():
        raise SystemExit(f"there is no example {name!r}; `python -m examples` lists them")
    main = runpy.run_path(str(FOLDER / f"{name}.py"))["main"]
    parser = argparse.ArgumentParser(prog=f"python -m examples {name}", description=inspect.getdoc(main))
    for option in inspect.signature(main).parameters.values():
        parser.add_argument(f"--{option.name}", type=type(option.default), default=option.default)
    return main(**vars(parser.parse_args(words)))


def list_examples() -> None:
    for name in examples():
        docstring = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8")))
        print(f"{name:64} {docstring.splitlines()[0]}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(sys.argv[1], sys.argv[2:])
    else:
        list_examples()
