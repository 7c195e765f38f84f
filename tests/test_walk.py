"""The page that leads from Python to assembly shows what the program on it prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there are no kernels to show")

from lampion.compiler.codegen.target import Target

PAGE = Path(__file__).parent.parent / "docs" / "from-python-to-assembly.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_shows_what_its_program_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "walk"}
    printed = []
    for language, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(text, "walk.py", "exec"), names)  # noqa: S102  # a page of the documentation
            printed.append(re.sub(r" +# walk\.py:\d+", "", out.getvalue()))
        else:
            assert text.strip() in printed[-1], f"the page is not true any more:\n{printed[-1]}"
    assert (tmp_path / "explained" / "plan0.s").exists()


def test_the_instructions_on_the_page_are_those_of_the_kernel():
    host = Target.host()
    if host.vector_bytes != 64:
        pytest.skip("the page shows AVX-512")
    text = PAGE.read_text(encoding="utf-8")
    names = {"__name__": "walk"}
    exec(compile(BLOCK.findall(text)[0][1], "walk.py", "exec"), names)  # noqa: S102  # a page of the documentation
    shown = re.findall(r"^ {8}(v\w+)  ", text, re.MULTILINE)
    instructions = re.findall(r"^\t(v\w+)\t.*(?:zmm|\()", names["plan"].assembly, re.MULTILINE)
    assert len(shown) == 12
    joined = " ".join(instructions)
    assert " ".join(shown) in joined
