"""The command `lampion`: train a recipe, list them, print one, and see what this machine offers.

Mistakes of the user's end in one line on standard error and an exit code (2: the command line; 1: all
else; 130: Ctrl-C), never in a traceback.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import inspect
import math
import os
import pkgutil
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import lampion
from lampion.cli_doctor import doctor, show
from lampion.errors import LampionError

_RECIPES = Path(__file__).parent / "recipes"
# What most recipes' train() takes; other options are given by --set.
_COMMON = ("epochs", "batch_size", "lr", "seed", "out", "resume", "device", "compile")
_MORE = "lampion {} RECIPE --help shows the options that a recipe has, and their defaults."
_EXPLAIN = (
    "Compile one training step of a recipe, and show what became of it. "
    "Without options: its kernels, and whatever could not be compiled."
)


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

    train = commands.add_parser("train", help="train a recipe", add_help=False, epilog=_MORE.format("train"),
                                description="Train a recipe.")  # fmt: skip
    _add_recipe(train)
    _add_training(train)
    train.set_defaults(run=_train)

    commands.add_parser("recipes", help="list the recipes").set_defaults(run=_list)

    recipe = commands.add_parser("recipe", help="print the source of a recipe, to copy and change")
    _add_recipe(recipe)
    recipe.set_defaults(run=_print)

    explain = commands.add_parser(
        "explain", help="show what a recipe's training step is compiled to", add_help=False,
        epilog=_MORE.format("explain"), description=_EXPLAIN,
    )  # fmt: skip
    _add_recipe(explain)
    _add_explaining(explain)
    explain.set_defaults(run=_explain)

    commands.add_parser("doctor", help="show versions, processor, threads, and what is missing").set_defaults(
        run=lambda options: doctor()
    )
    return parser


def _add_recipe(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="RECIPE", choices=recipes(), help=f"one of: {', '.join(recipes())}")


def _add_training(command: argparse.ArgumentParser, own: Mapping[str, Any] | None = None) -> None:
    """The options of `train`: all; or those that a recipe has of its own, with the defaults that it gives."""

    def add(name: str, flag: str, text: str, **how: Any) -> None:
        if own is None or name in own:
            shown = own is not None and own[name] is not None and "action" not in how
            how["help"] = f"{text} (default: {own[name]})" if own and shown else text
            command.add_argument(flag, dest=name, **how)

    add("epochs", "--epochs", "passes over the data", type=_whole(1))
    add("batch_size", "--batch-size", "samples in a step", type=_whole(1))
    add("lr", "--lr", "learning rate", type=_rate)
    add("seed", "--seed", "what the random numbers start from", type=_whole(0, 2**63 - 1))
    add("out", "--out", "where to put the results (default: a new one in runs/)", type=_folder,
        metavar="FOLDER")  # fmt: skip
    add("resume", "--resume", "go on with the run in --out (default: the newest one in runs/)",
        action="store_true", default=None)  # fmt: skip
    add("device", "--device", "where to compute")
    add("compile", "--no-compile", "run operation by operation, without machine code",
        action="store_false", default=None)  # fmt: skip
    _add_settings(command, own)
    command.add_argument("--threads", type=_whole(1),
                         help="threads of compiled code (default: a core each)")  # fmt: skip
    command.add_argument("-h", "--help", action=_Help, add=_add_training)


def _add_explaining(command: argparse.ArgumentParser, own: Mapping[str, Any] | None = None) -> None:
    """The options of `explain`, likewise."""
    if own is None or "batch_size" in own:
        default = "" if own is None else f" (default: {own['batch_size']})"
        command.add_argument("--batch-size", type=_whole(1), help=f"samples in the step{default}")
    _add_settings(command, own)
    command.add_argument("--graph", action="store_true",
                         help="the operations, as recorded and after the passes")  # fmt: skip
    command.add_argument("--loops", action="store_true", help="each kernel as the loops that it is")
    command.add_argument("--ir", action="store_true", help="the LLVM IR")
    command.add_argument("--assembly", action="store_true", help="the machine code, as text")
    command.add_argument("-h", "--help", action=_Help, add=_add_explaining)


def _add_settings(command: argparse.ArgumentParser, own: Mapping[str, Any] | None) -> None:
    further = [] if own is None else [_described(name, own[name]) for name in own if name not in _COMMON]
    if own is None or further:
        text = "a further option of the recipe's train(); once or more often" + ": " * bool(further)
        command.add_argument("--set", metavar="NAME=VALUE", type=_setting, action="append", default=[],
                             help=text + "; ".join(further).replace("%", "%%"))  # fmt: skip


def _described(name: str, default: Any) -> str:
    """An option that --set takes: its name, and its default as one would write it."""
    if isinstance(default, bool):
        return f"{name}={'yes' if default else 'no'} (the default) or {'no' if default else 'yes'}"
    return f"{name} (default: {default})" if default not in (None, "") else f"{name} (default: none)"


class _Help(argparse.Action):
    """--help: of the command; or, where a recipe's name stands before it, of this recipe's own options."""

    def __init__(self, option_strings: Sequence[str], dest: str, add: Callable[..., None]) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS,
                         help="show this text, or that of the recipe, and exit")  # fmt: skip
        self.add = add

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        if name := getattr(namespace, "name", None):
            text = _summary(name)
            recipe = _imported(name)
            own = {key: of.default for key, of in inspect.signature(recipe.train).parameters.items()}
            if self.add is _add_explaining:
                step = inspect.signature(recipe.prepare).parameters if hasattr(recipe, "prepare") else ()
                own = {key: own[key] for key in step if key in own}
                text += f" {_EXPLAIN}" if step else " It has no training step to explain."
            # What stands before a recipe's name is the command: lampion train.
            parser = argparse.ArgumentParser(prog=f"{parser.prog} {name}", description=text, add_help=False)
            self.add(parser, own)
        parser.print_help()
        parser.exit()


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


def _summary(name: str) -> str:
    """What a recipe is, in a line. Read, not imported: a list needs neither scikit-learn nor time."""
    described = ast.get_docstring(ast.parse(source(name))) or ""
    return described.partition("\n\n")[0].replace("\n", " ")


def _imported(name: str) -> ModuleType:
    return importlib.import_module(f"lampion.recipes.{_module(name)}")


def _list(options: argparse.Namespace) -> None:
    width = max(map(len, recipes()))
    for name in recipes():
        show(f"{name:{width}} ", _summary(name))
    print()
    show("", "lampion train NAME runs one, lampion recipe NAME prints it.")


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
    given = {name: getattr(options, name) for name in _COMMON if getattr(options, name) is not None}
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
    return _imported(name)


def _settings_to_resume(options: argparse.Namespace) -> dict[str, Any]:
    """The folder of the run to go on with, and the settings that it began with."""
    from lampion.training.checkpoint import numbered
    from lampion.training.run import newest_run, read_settings

    folder = Path(options.out) if options.out is not None else newest_run(options.name)
    settings = read_settings(folder)
    begun = settings.pop("recipe", None)
    if begun != options.name:
        raise LampionError("train", f"the run in {folder} is of another recipe",
                           expected=options.name, got=str(begun))  # fmt: skip
    if not numbered(folder / "checkpoints"):
        print(f"{folder}{os.sep} has no checkpoint yet: it begins anew", file=sys.stderr)
    else:
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

    recipe = _imported(name)
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


if __name__ == "__main__":
    raise SystemExit(main())
