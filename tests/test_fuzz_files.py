"""The search for files that do harm, in short: `scripts/fuzz_files.py` is the long one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "fuzz_files.py"


def test_damaged_files_are_refused_or_load():
    result = subprocess.run(
        [sys.executable, SCRIPT, "--count", "700", "--seed", "1", "--seconds", "60"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 failures" in result.stdout


def test_the_search_finds_what_it_is_for(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("fuzz_files", SCRIPT)
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    monkeypatch.setattr(fuzz, "limit_memory", lambda more: None)  # this process has more to do

    def planted(kind, path):
        if path.stat().st_size % 3 == 0:
            raise ValueError("not an error of Lampion's own")
        return len(bytearray(2_000_000 if path.stat().st_size % 3 == 1 else 10))

    good = fuzz.load
    loads = iter([good] * len(fuzz.KINDS))
    monkeypatch.setattr(fuzz, "load", lambda kind, path: next(loads, planted)(kind, path))
    fuzz.child(0, 60, 0, 1e12)
    import tracemalloc

    tracemalloc.stop()
    lines = capsys.readouterr().out
    assert "FAILED ValueError" in lines and "FAILED it took 2" in lines and "loaded" in lines
    assert fuzz.case(5, 0) == fuzz.case(5, 0) != fuzz.case(6, 0)
