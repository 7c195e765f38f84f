"""The command `lampion`: train a recipe, list them, print one, and see what this machine offers.

Mistakes of the user's end in one line on standard error and an exit code (2: the command line; 1: all
else; 130: Ctrl-C), never in a traceback.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import math
import os
import pkgutil
import platform
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import lampion
from lampion.errors import LampionError

_RECIPES = Path(__file__).parent / "recipes"
# Environment variables that change how fast NumPy or Lampion runs: the first thing to look at.
_VARIABLES = (
    "LAMPION_NUM_THREADS", "LAMPION_CACHE", "LAMPION_CACHE_DIR", "LAMPION_EAGER_PLANS", "LAMPION_WINOGRAD",
    "LAMPION_DATA", "LAMPION_HOME", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE",
    "MKL_NUM_THREADS",
)  # fmt: skip
# What is not needed to train: the package, what it is for, and the extra that brings it.
_EXTRAS = (
    ("scikit-learn", "the digits", "recipes"), ("matplotlib", "pictures", "recipes"),
    ("Pillow", "pictures as data", "data"), ("tokenizers", "pieces of words", "text"),
    ("tensorboardX", "TensorBoard's logs", "tensorboard"),
    ("onnx", "ONNX files", "onnx"), ("mpi4py", "training on several machines", "distributed"),
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt as interrupt:
        _complain("\nlampion: interrupted", interrupt)
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. What Python flushes at its end must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (LampionError, OSError) as error:
        _complain(f"lampion: error: {error}", error)
        return 1


def _complain(message: str, error: BaseException) -> None:
    print(message, *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lampion", description="Lampion: a torch you can see through.")
    parser.add_argument("--version", action="version", version=f"lampion {lampion.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    train = commands.add_parser("train", help="train a recipe", description="Train a recipe.")
    _add_recipe(train)
    train.add_argument("--epochs", type=_whole(1), help="passes over the data")
    train.add_argument("--batch-size", type=_whole(1), help="samples in a step")
    train.add_argument("--lr", type=_rate, help="learning rate")
    train.add_argument("--seed", type=_whole(0, 2**63 - 1), help="what the random numbers start from")
    train.add_argument("--out", metavar="FOLDER", type=_folder,
                       help="where to put the results (default: a new one in runs/)")  # fmt: skip
    train.add_argument("--resume", action="store_true", default=None,
                       help="go on with the run in --out (default: the newest one in runs/)")  # fmt: skip
    train.add_argument("--device", help="where to compute (default: cpu)")
    train.add_argument("--no-compile", dest="compile", action="store_false", default=None,
                       help="run operation by operation, without machine code")  # fmt: skip
    _add_settings(train)
    train.add_argument("--threads", type=_whole(1), help="threads of compiled code (default: a core each)")
    train.set_defaults(run=_train)

    commands.add_parser("recipes", help="list the recipes").set_defaults(run=_list)

    recipe = commands.add_parser("recipe", help="print the source of a recipe, to copy and change")
    _add_recipe(recipe)
    recipe.set_defaults(run=_print)

    explain = commands.add_parser(
        "explain", help="show what a recipe's training step is compiled to",
        description="Compile one training step of a recipe, and show what became of it. "
                    "Without options: its kernels, and whatever could not be compiled.",
    )  # fmt: skip
    _add_recipe(explain)
    explain.add_argument("--batch-size", type=_whole(1), help="samples in the step")
    _add_settings(explain)
    explain.add_argument(
        "--graph", action="store_true", help="the operations, as recorded and after the passes"
    )
    explain.add_argument("--loops", action="store_true", help="each kernel as the loops that it is")
    explain.add_argument("--ir", action="store_true", help="the LLVM IR")
    explain.add_argument("--assembly", action="store_true", help="the machine code, as text")
    explain.set_defaults(run=_explain)

    doctor = commands.add_parser("doctor", help="show versions, processor, threads, and what is missing")
    doctor.set_defaults(run=_doctor)
    return parser


def _add_recipe(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="RECIPE", choices=recipes(), help=f"one of: {', '.join(recipes())}")


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--set", metavar="NAME=VALUE", type=_setting, action="append", default=[],
                         help="a further option of the recipe's train(); once or more often")  # fmt: skip


def _whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """An argument type: a whole number in a range."""
    wanted = f"from {low} on" if high is None else f"from {low} to {high}"

    def whole(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a whole number {wanted}, got {text!r}") from None
        if number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"expected a whole number {wanted}, got {number}")
        return number

    return whole


def _rate(text: str) -> float:
    """An argument type: a positive number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
    return number


def _folder(text: str) -> str:
    """An argument type: the name of a folder. An empty one is a variable of the shell that was not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected the name of a folder, got {text!r}")
    return text


def _setting(text: str) -> tuple[str, str]:
    """An argument type: NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


# -- recipes -------------------------------------------------------------------------------------------


def recipes() -> list[str]:
    """The names of the recipes: the modules of `lampion.recipes`, with hyphens for underscores."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules([str(_RECIPES)]))


def _module(name: str) -> str:
    return name.replace("-", "_")


def source(name: str) -> str:
    """A recipe's program text."""
    return (_RECIPES / f"{_module(name)}.py").read_text(encoding="utf-8")


def _list(options: argparse.Namespace) -> None:
    width = max(map(len, recipes()))
    for name in recipes():
        # Read, not imported: a list needs neither scikit-learn nor time.
        described = ast.get_docstring(ast.parse(source(name))) or ""
        _show(f"{name:{width}} ", described.partition("\n\n")[0].replace("\n", " "))
    print()
    _show("", "lampion train NAME runs one, lampion recipe NAME prints it.")


def _print(options: argparse.Namespace) -> None:
    print(source(options.name), end="")


def _train(options: argparse.Namespace) -> None:
    from lampion.training import CheckpointError

    recipe = _recipe(options.name)
    try:
        lampion.set_num_threads(options.threads or lampion.get_num_threads())
    except ValueError as error:  # LAMPION_NUM_THREADS is not a number
        raise LampionError("train", str(error)) from None
    accepted = inspect.signature(recipe.train).parameters
    names = ("epochs", "batch_size", "lr", "seed", "out", "resume", "device", "compile")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    given |= {name: _of_the_kind(accepted.get(name), name, value) for name, value in options.set}
    unknown = [name for name in given if name not in accepted]
    if unknown:
        raise LampionError("train", f"the recipe {options.name} has no option {', '.join(unknown)}",
                           expected=", ".join(accepted))  # fmt: skip
    if options.resume:
        given = _settings_to_resume(options) | given
    try:
        recipe.train(**given)
    except (KeyboardInterrupt, CheckpointError, OSError) as error:  # Ctrl-C, or the disk is full
        if line := _how_to_resume(options):
            error.add_note(line)
        raise


def _of_the_kind(parameter: inspect.Parameter | None, name: str, text: str) -> Any:
    """The value of an option, of the type that its default has."""
    default = None if parameter is None else parameter.default
    words = {"yes": True, "true": True, "no": False, "false": False}
    if not isinstance(default, bool | int | float):
        return text
    try:
        return words[text.lower()] if isinstance(default, bool) else type(default)(text)
    except (KeyError, ValueError):
        expected = "yes or no" if isinstance(default, bool) else f"{type(default).__name__}, as {default}"
        raise LampionError("train", f"--set {name}={text} is of another kind", expected=expected) from None


def _recipe(name: str) -> ModuleType:
    """A recipe's module, when what recipes need is there."""
    missing = [name for module, name in (("sklearn", "scikit-learn"), ("matplotlib", "matplotlib"))
               if importlib.util.find_spec(module) is None]  # fmt: skip
    if missing:  # now, rather than when the training is done and the pictures are to be drawn
        raise LampionError("train", f"recipes need {' and '.join(missing)}, not installed here",
                           fix='pip install ".[recipes]"')  # fmt: skip
    return importlib.import_module(f"lampion.recipes.{_module(name)}")


def _settings_to_resume(options: argparse.Namespace) -> dict[str, Any]:
    """The folder of the run to go on with, and the settings that it began with."""
    from lampion.training.run import newest_run, read_settings

    folder = Path(options.out) if options.out is not None else newest_run(options.name)
    settings = read_settings(folder)
    begun = settings.pop("recipe", None)
    if begun != options.name:
        raise LampionError("train", f"the run in {folder} is of another recipe",
                           expected=options.name, got=str(begun))  # fmt: skip
    print(f"going on with {folder}{os.sep}", file=sys.stderr)
    return {**settings, "out": str(folder)}


def _how_to_resume(options: argparse.Namespace) -> str:
    """What to say when a training was interrupted: nothing, unless it wrote a checkpoint."""
    from lampion.training import latest
    from lampion.training.run import newest_run

    try:
        folder = Path(options.out) if options.out is not None else newest_run(options.name)
        if latest(folder) is None:
            return ""
    except (LampionError, OSError):
        return ""
    line = f"lampion train {options.name} --resume --out {shlex.quote(str(folder))}"
    return f"to go on from its last checkpoint: {line}"


# -- explain -------------------------------------------------------------------------------------------


def _explain(options: argparse.Namespace) -> None:
    explanation = explain(options.name, options.batch_size, **dict(options.set))
    wanted = [name for name in ("graph", "loops", "ir", "assembly") if getattr(options, name)]
    if not wanted or not explanation.plans:
        print(explanation)
    for name in wanted:
        for plan in explanation.plans:
            print(_part(plan, name))


def _part(plan: Any, name: str) -> str:
    if name == "graph":
        return f"# as recorded\n{plan.recorded}\n\n# after the passes\n{plan.optimized}"
    if not plan.native:
        raise LampionError("explain", f"there is no machine code: {plan.reason}")
    return str(plan.loops() if name == "loops" else getattr(plan, name))


def explain(name: str, batch_size: int | None = None, **settings: str) -> Any:
    """Train a recipe for one step, and return the `Explanation` of that compiled step.

    Args:
        name: of the recipe.
        batch_size: samples in the step.
        settings: further options of the recipe, as they are written on the command line.
    """
    from lampion.training import LambdaCallback

    recipe = importlib.import_module(f"lampion.recipes.{_module(name)}")
    if not hasattr(recipe, "prepare"):
        raise LampionError("explain", f"the recipe {name} has no training step")
    defaults = inspect.signature(recipe.train).parameters
    names = [name for name in inspect.signature(recipe.prepare).parameters if name in defaults]
    options = {name: defaults[name].default for name in names}
    chosen = {option: _of_the_kind(defaults.get(option), option, text) for option, text in settings.items()}
    if batch_size is not None:
        chosen["batch_size"] = batch_size
    if unknown := [option for option in chosen if option not in options]:
        raise LampionError("explain", f"the step of {name} does not depend on {', '.join(unknown)}",
                           expected=", ".join(options))  # fmt: skip
    trainer, batches, _ = recipe.prepare(**options | chosen)
    trainer.callbacks = [LambdaCallback(on_step_end=_stop)]  # without the recipe's: no bar, no checkpoint
    trainer.fit(batches, epochs=1)
    (explanation,) = trainer.explain()
    return explanation


def _stop(trainer: Any) -> None:
    trainer.stop_now = True


# -- doctor --------------------------------------------------------------------------------------------


def _doctor(options: argparse.Namespace) -> None:
    lines = [
        ("lampion", f"{lampion.__version__}  ({Path(__file__).parent})"),
        ("python", f"{platform.python_version()} {platform.python_implementation()}, {platform.platform()}"),
        *((name, _version(name)) for name in ("numpy", "ml_dtypes", "safetensors", "tqdm")),
        ("llvmlite", _llvmlite()),
        ("processor", _processor()),
        ("threads", _threads()),
        ("cupy (GPU)", _cupy()),
        *((name, _version(name, f'for {use}: pip install ".[{extra}]"')) for name, use, extra in _EXTRAS),
        ("data", _data()),
        ("environment", ", ".join(f"{v}={os.environ[v]}" for v in _VARIABLES if v in os.environ) or "-"),
    ]  # fmt: skip
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        _show(f"{name:{width}}  ", text)
    if "OPENBLAS_CORETYPE" in os.environ:
        print()
        _show("", "OPENBLAS_CORETYPE names the processor that NumPy's matrix products are made for: "
                  "unset it, and NumPy finds out itself.")  # fmt: skip


def _show(head: str, text: str) -> None:
    """Print a line; on a terminal, broken at its edge, with `text` as a column of its own."""
    if not sys.stdout.isatty():
        print(head + text)
        return
    width = max(shutil.get_terminal_size().columns - 1, len(head) + 20)
    print(textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head)))


def _version(name: str, remedy: str = "") -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed" + (f"; {remedy}" if remedy else "")


def _why_not(module: str) -> str:
    """Import a module, and say in a line why that failed; an empty text where it did not."""
    try:
        importlib.import_module(module)
    except Exception as error:  # a broken installation may raise anything, and the doctor is there to say so
        first = (str(error).strip().splitlines() or [""])[0]
        return f"{type(error).__name__}: {first}"
    return ""


def _llvmlite() -> str:
    if importlib.util.find_spec("llvmlite") is None:
        return "not installed: compiled functions run through the interpreter, correctly but slowly"
    reason = _why_not("llvmlite.binding")
    if reason:
        return f"{_version('llvmlite')}, cannot be loaded ({reason})"
    from llvmlite.binding import llvm_version_info

    return f"{_version('llvmlite')} (LLVM {'.'.join(map(str, llvm_version_info))}): functions are compiled"


def _processor() -> str:
    name = _cpu_name()
    if importlib.util.find_spec("llvmlite") is None or _why_not("llvmlite.binding"):
        return name
    from lampion.compiler.codegen.target import Target

    target = Target.host()
    fma = "with" if target.fma else "without"
    return f"{name}; LLVM: {target.cpu}, {8 * target.vector_bytes}-bit vectors, {fma} fused multiply-add"


def _cpu_name() -> str:
    """The name that is printed on the processor, where the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _threads() -> str:
    try:
        return f"{lampion.get_num_threads()} for compiled functions; {os.cpu_count()} logical processors"
    except ValueError as error:  # LAMPION_NUM_THREADS is not a number
        return str(error)


def _data() -> str:
    from lampion.datasets.fetch import cache_folder

    fetched = f"fetched into {cache_folder()} when they are first used"
    folder = os.environ.get("LAMPION_DATA", "").strip()
    if not folder:
        return f"datasets are {fetched}; LAMPION_DATA=FOLDER would be read first"
    try:
        found = sorted(path.name for path in Path(folder).expanduser().iterdir())
    except OSError as error:
        return f"LAMPION_DATA={folder} cannot be read ({error.strerror}); datasets are {fetched}"
    return f"LAMPION_DATA={folder} is read first ({', '.join(found) or 'it is empty'}); others are {fetched}"


def _cupy() -> str:
    if importlib.util.find_spec("cupy") is None:
        return 'not installed; for an NVIDIA GPU: pip install ".[gpu]"'
    reason = _why_not("cupy")
    if reason:
        return f"cannot be loaded ({reason})"
    import cupy

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # cupy's errors are its own classes, which differ between versions
        return f"{cupy.__version__}, but no GPU answers ({error})"
    return f"{cupy.__version__}, {count} GPU{'s' if count != 1 else ''}"


if __name__ == "__main__":
    raise SystemExit(main())
