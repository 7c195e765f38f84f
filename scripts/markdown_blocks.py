"""Run the Python blocks of Markdown pages, or show a page's n-th block of a language.

python scripts/markdown_blocks.py run README.md docs    each page's blocks, in order, as one program
python scripts/markdown_blocks.py show README.md bash 1  what the first ```bash block says

A block that is not a whole program says so, and why, on its first line: ```python not-run: a sketch
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^(```+)(\w+)([^\n]*)\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[tuple[int, str, str]]:
    """(line number, words after the language, text) of each fenced block in that language."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start()) + 1, found[3].strip(), found[4])
        for found in BLOCK.finditer(text)
        if found[2] == language
    ]


def program(page: Path) -> str:
    """The page's runnable blocks, each at its own line number, so that a traceback points into the page."""
    lines: list[str] = []
    for line, words, text in blocks(page, "python"):
        if words.startswith("not-run:") and words != "not-run:":
            continue
        if words:
            raise SystemExit(f"{page}:{line}: expected ```python or ```python not-run: reason, got {words!r}")
        lines += [""] * (line - len(lines)) + text.splitlines()
    return "\n".join(lines) + "\n" if lines else ""


def run(pages: list[Path]) -> int:
    """Run each page's program in a folder of its own, warnings as errors. The number of pages that failed."""
    failed = 0
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    for page in pages:
        source = program(page)
        if not source:
            continue
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{page.stem}.py"
            file.write_text(source, encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "-W", "error", file], cwd=folder, env=environment, check=False
            )
        print(f"{page}: {'passed' if done.returncode == 0 else 'FAILED'}")
        failed += done.returncode != 0
    return failed


def main(verb: str, *words: str) -> int:
    if verb == "show":
        page, language, number = words
        print(blocks(Path(page), language)[int(number) - 1][2], end="")
        return 0
    pages = [
        path
        for word in words
        for path in (sorted(Path(word).rglob("*.md")) if Path(word).is_dir() else [Path(word)])
    ]
    return min(run(pages), 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
