"""Random programs, and random worlds around them: every reading tells the same story.

More of both: `python scripts/fuzz_compile.py`.
"""

import compile_programs as programs
import compile_worlds as worlds
from compile_checks import check_program, check_world
from hypothesis import given, settings


@settings(max_examples=400)
@given(programs.inputs, programs.steps)
def test_interpreted_programs(inputs, steps):
    check_program(inputs, steps, ("interpreted",))


@settings(max_examples=60)
@given(programs.inputs, programs.steps)
def test_compiled_programs(inputs, steps):
    check_program(inputs, steps, ("compiled",))


@settings(max_examples=200)
@given(worlds.places, programs.steps, worlds.styles, worlds.events)
def test_interpreted_worlds(places, steps, style, events):
    check_world(places, steps[:6], style, events, compiled=False)


@settings(max_examples=25)
@given(worlds.places, programs.steps, worlds.styles, worlds.events)
def test_compiled_worlds(places, steps, style, events):
    check_world(places, steps[:4], style, events, compiled=True)
