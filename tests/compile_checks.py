"""What must hold for a random program, and for a random world: used by the tests and by the fuzzer."""

import warnings

import compile_programs as programs
import compile_worlds as worlds
from twins import interpreted, patched

from lampion.compiler import function
from lampion.compiler.capture import CaptureError
from lampion.errors import LampionError
from lampion.testing import assert_close, assert_compiled
from lampion.testing.compare import flatten
from lampion.testing.readings import read, twin


def check_program(inputs, steps, readings):
    """The readings of a program agree with eager; "refused" or "an error" where nothing can be compared."""
    xs, run = programs.make_inputs(inputs), programs.function_of(steps)
    eager = twin(xs)
    try:
        expected = run(*eager)
    except LampionError as error:
        return type(error).__name__
    try:
        if "interpreted" in readings:
            mine = twin(xs)
            actual = read("interpreted", run, *mine)
            # To the last bit, but for sums over what was written in place in another layout: eager keeps the
            # layout, the graph makes a new array, and NumPy adds up in the order of memory.
            tolerance = 0.0 if all(x.is_contiguous() for x in xs) else 2e-6
            assert_close(flatten(actual), flatten(expected), rtol=tolerance, atol=tolerance, equal_nan=True)
            assert_close(
                mine, eager, rtol=tolerance, atol=tolerance, equal_nan=True, label="arguments afterwards"
            )
        if "compiled" in readings:
            assert_compiled(run, *xs)
    except CaptureError:
        return "refused"
    return "agrees"


def check_world(places, steps, style, events, compiled):
    """A world with a compiled step has the same history as one with an eager step."""
    made = []

    def compile(step):
        # Followed by nobody: the opcodes of the program itself would take longest.
        made.append(function.CompiledFunction(step, guarded=False))
        return made[-1]

    expected = worlds.make(lambda step: step, places, steps, style, events)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if compiled:
            actual = worlds.make(compile, places, steps, style, events)
        else:
            with patched(function, "make_engine", interpreted):
                actual = worlds.make(compile, places, steps, style, events)
    # Interpreted: see above. Compiled: some steps of an optimizer, through tens of operations each.
    worlds.assert_same_story(actual.seen, expected.seen, 5e-4 if compiled else 1e-5)
    return "refused" if made[0].refused else "agrees" if made[0].plans else "not called"
