"""What is public is what `__all__` says, in every package; and nothing else comes along."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import types

import pytest

import lampion as lp

# The rooms of the compiler are not for its users: they import from each other by full names.
PACKAGES = [
    "lampion",
    *(
        info.name for info in pkgutil.walk_packages(lp.__path__, "lampion.")
        if info.ispkg and not info.name.startswith("lampion.compiler.")
    ),
]  # fmt: skip
MODULES = ["lampion.nn.functional", "lampion.nn.init"]  # with code of their own, and a list
# Names for Lampion's other rooms, which are not for its users.
INTERNAL = {"lampion.ops": {"OPERATIONS"}}


def names_in(module):
    """The names of Lampion's things in a package, but for its own modules."""

    def belongs(name, thing):
        if isinstance(thing, types.ModuleType):
            return name in getattr(module, "__all__", ())
        home = getattr(thing, "__module__", None) or "lampion"
        return name != "annotations" and home.startswith("lampion")

    return {name for name, thing in vars(module).items() if name[0] != "_" and belongs(name, thing)}


@pytest.mark.parametrize("name", PACKAGES)
def test_all_is_what_is_exported(name):
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", [])
    for entry in listed:
        vars(module).setdefault(entry, getattr(module, entry))  # some are loaded only when asked for
    assert len(set(listed)) == len(listed), "a name is listed twice"
    assert names_in(module) - INTERNAL.get(name, set()) == set(listed)


@pytest.mark.parametrize("name", MODULES)
def test_all_is_what_is_defined(name):
    module = importlib.import_module(name)
    own = {n for n, thing in vars(module).items() if getattr(thing, "__module__", "") == name and n[0] != "_"}
    assert {n for n in own if not n.startswith("check_")} <= set(module.__all__)
    assert all(hasattr(module, entry) for entry in module.__all__)


def test_every_public_function_and_class_has_a_docstring():
    missing = []
    for name in [*PACKAGES, *MODULES]:
        module = importlib.import_module(name)
        for entry in getattr(module, "__all__", ()):
            thing = getattr(module, entry)
            if callable(thing) and not isinstance(thing, lp.DType) and not inspect.getdoc(thing):
                missing.append(f"{name}.{entry}")
    assert missing == []


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        lp.nonsense  # noqa: B018  # the access is the test
    with pytest.raises(AttributeError):
        lp.Tensor.nonsense  # noqa: B018


def test_dir_shows_what_is_loaded_later():
    assert set(lp.__all__) <= set(dir(lp))


def loaded_by(statement, names):
    """Which of these modules a fresh interpreter has after the statement."""
    code = f"import sys; {statement}; print([name for name in {names} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout.strip()


HEAVY = ["llvmlite", "matplotlib", "sklearn", "torch", "jax", "cupy", "PIL", "pytest", "hypothesis", "tqdm"]


def test_importing_lampion_imports_little():
    assert loaded_by("import lampion", HEAVY) == "[]"


def test_testing_needs_no_test_runner():
    assert loaded_by("import lampion.testing", ["pytest", "hypothesis", "llvmlite"]) == "[]"
