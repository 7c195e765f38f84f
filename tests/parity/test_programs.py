"""Random programs of views and in-place writes: the same values, gradients and refusals as PyTorch."""

import warnings

import programs
import pytest
from hypothesis import given, settings

import lampion as lp
from lampion.errors import OverwrittenError
from lampion.testing import assert_close

torch = pytest.importorskip("torch")


def differentiated(library, inputs):
    def run(program):
        made = programs.run(program, inputs)
        slopes = library.autograd.grad(programs.loss(made), inputs, allow_unused=True)
        return [x.detach().numpy() for x in made], [None if s is None else s.numpy() for s in slopes]

    return run


@settings(max_examples=300)
@given(programs.programs)
def test_programs(program):
    arrays = programs.numbers_for()
    ours = differentiated(lp, [lp.from_numpy(a.copy()).requires_grad_() for a in arrays])
    theirs = differentiated(torch, [torch.from_numpy(a.copy()).requires_grad_() for a in arrays])
    try:
        values, expected = theirs(program)
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
        # Lampion may be able to do it (then test_views_inplace.py checks that it is right).
        return
    try:
        made, slopes = ours(program)
    except OverwrittenError as error:
        raise AssertionError("PyTorch can differentiate this, Lampion refuses") from error
    assert_close(made, values, rtol=1e-10, atol=1e-10)
    for mine, right, array in zip(slopes, expected, arrays, strict=True):
        pair = [0 * array if slope is None else slope for slope in (mine, right)]
        assert_close(*pair, rtol=1e-9, atol=1e-9)


RULES = {
    "a leaf": lambda x, w: x.add_(1.0),
    "a view of a leaf": lambda x, w: x[0].zero_(),
    "a leaf from another": lambda x, w: x.copy_(w),
    "a result": lambda x, w: (x * 1).add_(1.0),
    "a view of a result": lambda x, w: (x * 1)[0].add_(w[0]),
    "a detached leaf": lambda x, w: x.detach().add_(1.0),
    "a view of a detached leaf that requires a gradient": lambda x, w: x.detach().requires_grad_()[0].mul_(2),
    "data": lambda x, w: x.data.zero_(),
    "a stretched tensor": lambda x, w: x.detach().expand(2, 3).add_(1.0),
    "an item": lambda x, w: x.__setitem__(0, 1.0),
    "a larger value": lambda x, w: x.detach().add_(x.detach().reshape(3, 1)),
    "an integer from floats": lambda x, w: x.detach().long().mul_(1.5),
}


@pytest.mark.parametrize("name", RULES)
def test_what_may_be_written_to(name):
    outcomes = []
    for library in (lp, torch):
        x, w = (library.ones(3, requires_grad=True) for _ in range(2))
        try:
            RULES[name](x, w)
            outcomes.append("allowed")
        except RuntimeError:
            outcomes.append("refused")
    assert outcomes[0] == outcomes[1]


def view_under_no_grad(library):
    x = library.ones(3, requires_grad=True) * 1
    with library.no_grad():
        view = x[0]
    view.mul_(library.ones((), requires_grad=True))


def test_a_view_made_under_no_grad():
    for library in (lp, torch):
        with pytest.raises(RuntimeError, match="no_grad"):
            view_under_no_grad(library)


ACCUMULATION = {
    "twice": lambda x, lib: [(x * 2).sum().backward(), (x * 3).sum().backward()],
    "create_graph": lambda x, lib: [(x**3).sum().backward(create_graph=True), (x * 2).sum().backward()],
    "retain_graph": lambda x, lib: [(y := (x * x).sum()).backward(retain_graph=True), y.backward()],
    "nothing saved, twice": lambda x, lib: [(y := (x + x).sum()).backward(), y.backward()],
    "several roots": lambda x, lib: lib.autograd.backward([x.sum(), (x * x).sum()]),
    "integers between": lambda x, lib: (x * x.long()).sum().backward(),
    "a seed": lambda x, lib: (x * x).backward(lib.ones(3, dtype=lib.float64) * 2),
}


@pytest.mark.parametrize("name", ACCUMULATION)
def test_accumulation(name):
    found = []
    for library in (lp, torch):
        x = library.tensor([1.0, 2.0, 3.0], requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch warns of the circle that create_graph makes
            ACCUMULATION[name](x, library)
        found.append(x.grad.detach().numpy())
    assert_close(*found)
