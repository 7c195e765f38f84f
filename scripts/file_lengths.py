"""Fail on a Python file of more than 500 lines: there a newcomer loses the thread. Split it by meaning."""

import sys
from pathlib import Path

LIMIT = 500
FOLDERS = ("lampion", "tests", "benchmarks", "scripts", "examples")


def main() -> int:
    root = Path(__file__).resolve().parent.parent
    lengths = {
        path.relative_to(root): len(path.read_text(encoding="utf-8").splitlines())
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*.py"))
    }
    long = {path: length for path, length in lengths.items() if length > LIMIT}
    for path, length in long.items():
        print(f"{path}: {length} lines, of at most {LIMIT}")
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main())
