import ast
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import lampion

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "stubs.py"))


def test_stubs_are_those_of_the_operations_as_they_are():
    stale = [
        str(path.relative_to(ROOT))
        for path, text in SCRIPT["stubs"]().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, f"{', '.join(stale)}: stale. Renew with: python scripts/stubs.py"


def test_stubs_declare_every_operation_and_method():
    operations, methods, special = (ast.parse(text).body for text in SCRIPT["stubs"]().values())
    assert set(lampion.ops.__all__) == _declared(operations) - {"_Ints", "_DType"}
    assert set(lampion.special.__all__) == _declared(special) - {"_Ints", "_DType"}
    (body,) = (node.body for node in methods if isinstance(node, ast.ClassDef))
    hung = {name for name, value in vars(lampion.Tensor).items() if _is_from_ops(value)}
    assert hung and hung == _declared(body) - {"__iter__"}


def _declared(body):
    named = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in body if isinstance(node, named)} | {
        node.target.id for node in body if isinstance(node, ast.AnnAssign)
    }


def _is_from_ops(value):
    function = value.fget if isinstance(value, property) else value
    return getattr(function, "__module__", "").startswith("lampion.ops")


def test_parameter_without_a_known_type_may_be_anything():
    def swirl(x, angle): ...

    assert SCRIPT["declarations"]("swirl", swirl) == ["def swirl(x: Tensor, angle: Any) -> Tensor: ..."]


PROGRAM = """
import lampion
from lampion import Tensor, nn
from lampion.nn import functional as F

x = lampion.tensor([1.0, 2.0], requires_grad=True)
y: lampion.Tensor = lampion.exp(x).sum() + 1
z: Tensor = 2 * x[0:1] - (x**2).mean(dim=0) / 3 @ x.T
values, indices = x.max(0)
chosen: Tensor = lampion.where(values == indices, x.float(), F.relu(-x))
x -= 0.1 * chosen
model = nn.Linear(2, 3)


@lampion.compile
def step(x: Tensor) -> Tensor:
    loss: Tensor = model(x).sum()
    loss.backward()
    return loss


total: Tensor = step(x)
{wrong}
"""

WRONG = {
    "lampion.expp(x)": 'Module has no attribute "expp"',
    "x.foo()": '"Tensor" has no attribute "foo"',
    'lampion.exp("1")': 'incompatible type "str"; expected "Tensor | float"',
    "number: int = x.sum()": 'expression has type "Tensor", variable has type "int"',
    "step(1)": 'incompatible type "int"; expected "Tensor"',
}


@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")
def test_programs_are_checked_by_mypy_as_they_should_be(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(wrong="\n".join(WRONG)), encoding="utf-8")
    # What is found through MYPYPATH counts as the user's own code, so its own errors are left out here.
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nmypy_path = {ROOT}\n\n[mypy-lampion.*]\nignore_errors = true\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", ".cache", "program.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if line.startswith("program.py")]
    assert len(errors) == len(WRONG), done.stdout
    for error, expected in zip(errors, WRONG.values(), strict=True):
        assert expected in error
