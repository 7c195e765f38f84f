"""python -m benchmarks [names] [--quick] [--json] [--only NAMES] [--without NAMES] [--out FOLDER]"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchmarks import machine, report, workloads
from benchmarks.contenders import CONTENDERS
from benchmarks.harness import Options


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="workload", help=f"of {', '.join(workloads.MODULES)}; all unless given"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few short rounds: to see that it works, not to quote"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of text")
    parser.add_argument(
        "--only", default="", help="contenders with one of these words in their names, e.g. lampion,jax"
    )
    parser.add_argument(
        "--without", default="", help="leave out contenders with one of these words in their names"
    )
    parser.add_argument(
        "--out", type=Path, help="where records go; unless given, results/ after a run that is not quick"
    )
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in workloads.MODULES]:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(workloads.MODULES)}")
    return chosen


def contenders(only: str, without: str) -> tuple[str, ...]:
    wanted, unwanted = only.split(",") if only else [""], without.split(",") if without else []
    return tuple(
        name
        for name in CONTENDERS
        if any(word in name for word in wanted) and not any(word in name for word in unwanted)
    )


def main() -> int:
    if "OPENBLAS_CORETYPE" in os.environ:
        # It can hold NumPy to half its speed, and OpenBLAS reads it once, when it is loaded: start afresh.
        del os.environ["OPENBLAS_CORETYPE"]
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]])

    chosen = parse(sys.argv[1:])
    options = Options(quick=chosen.quick, contenders=contenders(chosen.only, chosen.without))
    facts = machine.describe()
    if not chosen.json:
        print(report.header(facts))
    records = []
    for name in chosen.names or workloads.MODULES:
        record = workloads.load(name).run(options) | {"machine": facts, "quick": chosen.quick}
        records.append(record)
        if not chosen.json:
            print(report.text(record), flush=True)
        if chosen.out or not chosen.quick:
            report.save(record, chosen.out or report.folder())
    if chosen.json:
        print(json.dumps(records, indent=1))
    return 0 if all(report.good(record) for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
