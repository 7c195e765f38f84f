"""Check the run folder that `lampion train digits` left: python scripts/check_digits_run.py FILE

Looks under runs/ at the one run that is newer than FILE: all its files are there, and it learned.
"""

import json
import sys
from pathlib import Path

FILES = ("metrics.json", "history.csv", "model.safetensors", "curves.png", "misclassified.png")


def main(before: str) -> None:
    since = Path(before).stat().st_mtime
    runs = [path.parent for path in Path("runs").rglob("metrics.json") if path.stat().st_mtime >= since]
    if len(runs) != 1:
        raise SystemExit(f"expected one new run under runs/, found {len(runs)}")
    (run,) = runs
    if missing := [name for name in FILES if not (run / name).is_file() or not (run / name).stat().st_size]:
        raise SystemExit(f"{run}: missing or empty: {', '.join(missing)}")
    metrics = json.loads((run / "metrics.json").read_text())
    print(f"{run}: {metrics}")
    if metrics["seed"] != 0 or metrics["test_accuracy"] < 0.97 or metrics["seconds"] > 60:
        raise SystemExit("expected seed 0, a test accuracy of at least 0.97, and at most 60 seconds")


if __name__ == "__main__":
    main(sys.argv[1])
