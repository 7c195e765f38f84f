"""A PyTorch script runs with its import changed, and prints the same."""

import contextlib
import io
import re
import warnings
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))


def changed(source):
    """The script with the import changed, and nothing else."""
    source = re.sub(r"^import torch$", "import lampion as torch", source, flags=re.M)
    source = re.sub(r"^import torch\.", "import lampion.", source, flags=re.M)
    return re.sub(r"^from torch", "from lampion", source, flags=re.M)


def printed(source, name):
    out = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out):
        warnings.simplefilter("ignore")
        exec(compile(source, name, "exec"), {"__name__": "__main__"})  # noqa: S102  # our own file
    return out.getvalue()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_prints_the_same(path):
    source = path.read_text(encoding="utf-8")
    ours = printed(changed(source), path.name).replace("lampion.", "torch.")  # in the names of types
    assert ours.splitlines() == printed(source, path.name).splitlines()


def test_there_are_scripts():
    assert len(SCRIPTS) >= 4
