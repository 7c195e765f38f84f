"""Every row of docs/compile.md, "What is noticed": compiled and eager tell the same story after a change."""

import os
import pathlib
import warnings

import numpy as np
import pytest
from footgun_table import AGAIN, ASIDE, EAGER, INPUT, SECTIONS, WORLD, Row, page
from twins import patched

import lampion as lp
from lampion import nn
from lampion.compiler import bind

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "compile.md"


def story(row: Row, really: bool):
    """What three calls gave, with what they left behind; and the compiled function."""
    space = {"__name__": "world"}
    exec(compile(WORLD, "footguns.py", "exec"), space)  # noqa: S102
    body = row.program if "return" in row.program else f"return {row.program}"
    source = f"def step(x, *args):\n    {body}"
    exec(compile(source, "footguns.py", "exec"), space)  # noqa: S102
    step = lp.compile(space["step"]) if really else space["step"]
    told = []
    for number, arguments in enumerate((row.call, row.then, row.then)):
        if number == 1 and row.change:
            exec(row.change, space)  # noqa: S102
        result = step(*eval(f"({arguments},)", space))  # noqa: S307
        told += [result, *space["net"].parameters(), *space["model"].parameters(), *space["norm"].buffers()]
        told += [p.grad for p in (space["w"], *space["model"].parameters())]
        told += [len(space["numbers"]), space["obj"].k, space["table"], space["x"], space["y"]]
        told = [t.detach().numpy().copy() if isinstance(t, lp.Tensor) else t for t in told]
    return told, step


@pytest.fixture(autouse=True)
def put_back(monkeypatch):
    """What rows change that all tests share."""
    monkeypatch.delenv("FOOTGUN", raising=False)
    forward, grad, dtype = nn.ReLU.forward, lp.is_grad_enabled(), lp.get_default_dtype()
    yield
    nn.ReLU.forward = forward
    lp.set_grad_enabled(grad)
    lp.set_default_dtype(dtype)
    os.environ.pop("FOOTGUN", None)


ROWS = [pytest.param(row, id=f"{title}: {row.what}") for title, rows in SECTIONS.items() for row in rows]


@pytest.mark.parametrize("row", ROWS)
def test_a_row(row, put_back, monkeypatch):
    runs = []
    for really in (False, True):
        np.random.seed(0)
        __import__("random").seed(0)
        forward = nn.ReLU.forward
        with warnings.catch_warnings(record=True) as caught, patched(bind, "SHORTEN_AFTER", 1):
            warnings.simplefilter("always")
            runs.append(story(row, really))
        nn.ReLU.forward = forward
        os.environ.pop("FOOTGUN", None)
        lp.set_grad_enabled(True)
        lp.set_default_dtype(lp.float32)
    (expected, _), (actual, step) = runs
    for a, e in zip(actual, expected, strict=True):
        if isinstance(e, np.ndarray):
            assert isinstance(a, np.ndarray) and (a.dtype, a.shape) == (e.dtype, e.shape)
            np.testing.assert_allclose(a, e, 2e-6, 2e-6, equal_nan=True)  # a few roundings of float32
        else:
            assert type(a) is type(e) and a == e
    told = [str(w.message) for w in caught if w.category is RuntimeWarning]
    if row.outcome == EAGER:
        assert step.refused is not None and len(told) == 1
        assert step.refused.filename == "footguns.py"
        return
    assert step.refused is None and not told, step.refused
    assert step.traces == {INPUT: 1, AGAIN: 2, ASIDE: 1}[row.outcome]


def test_the_page_is_true():
    """To write it anew: python -c 'import footgun_table; print(footgun_table.page())' in tests/."""
    assert page() in PAGE.read_text(encoding="utf-8")
