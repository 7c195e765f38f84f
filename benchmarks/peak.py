"""The processor's floating-point peak, of one core and of all, as a program of its own.

Run: python -m benchmarks.peak
"""

from __future__ import annotations

import json

from benchmarks.machine import cores
from lampion.compiler.explain.peak import Peak, native_machine


def main() -> None:
    peak = Peak()
    print(
        json.dumps(
            {"lanes": peak.lanes, "threads": cores(), "one": peak.gflops(1), "all": peak.gflops(cores())}
        )
    )


if __name__ == "__main__":
    main()

__all__ = ["Peak", "native_machine"]
