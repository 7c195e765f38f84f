"""PyTorch's own samples for its modules: with the same arguments and weights.

Same outputs, first and second derivatives, state and printing, in training and in evaluation.
"""

import warnings

import pytest

import lampion as lp
from lampion import nn

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="torch.testing._internal needs it: pip install expecttest")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

from both import array_of, assert_same, assert_same_slopes, leaves, slopes, tensors_in, to_lampion  # noqa: E402

INFOS = {info.name.removeprefix("nn."): info for info in module_db}
#: Entries that are there and disagree, with the reason.
LEFT_OUT = {}
#: PyTorch says that these have second derivatives, and has none.
ONCE = {"CTCLoss", "MultiMarginLoss", "MultiLabelMarginLoss"}
NAMES = [name for name in INFOS if hasattr(nn, name) and name not in LEFT_OUT]


def test_how_many_entries_are_there():
    assert set(LEFT_OUT) <= set(INFOS)
    assert len(NAMES) >= 108, f"{len(NAMES)} entries"


def samples_of(info, training):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return info.module_inputs_func(
            info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
        )


def build(info, sample, training):
    """The module in both libraries, with the weights of PyTorch's."""
    arguments = sample.constructor_input
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both say that size_average is an old name
        theirs = info.module_cls(*arguments.args, **arguments.kwargs).double().train(training)
        made = getattr(nn, name_of(info))
        ours = made(*to_lampion(arguments.args), **to_lampion(arguments.kwargs)).double().train(training)
    if "Lazy" in name_of(info):
        assert repr(ours) == repr(theirs)
        given = sample.forward_input
        with torch.no_grad():
            theirs(*given.args, **given.kwargs)
        ours(*to_lampion(given.args), **to_lampion(given.kwargs))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def name_of(info):
    return info.name.removeprefix("nn.")


def call(module, arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module(*arguments[0], **arguments[1])


def assert_same_state(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert list(ours) == list(theirs)
    assert_same(list(ours.values()), list(theirs.values()))


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NAMES)
def test_module(name, training):
    info = INFOS[name]
    for number, sample in enumerate(samples_of(info, training)):
        twice = "Transformer" not in name or number % 8 == 0  # of large modules, a few second derivatives
        try:
            # PyTorch's fused attention has no second derivatives.
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                check_sample(info, sample, training, twice)
        except Exception as error:
            made = sample.constructor_input
            error.add_note(f"{name}({made.args}, {made.kwargs}) {sample.desc}")
            raise


def check_sample(info, sample, training, twice):
    ours, theirs = build(info, sample, training)
    # In attention there is a Linear under another name, for a quantisation that Lampion has not.
    assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizableLinear", "Linear")
    arguments = leaves(list(sample.forward_input.args)), leaves(dict(sample.forward_input.kwargs))
    mine = to_lampion(arguments)
    out, expected = call(ours, mine), call(theirs, arguments)
    assert_same(out, expected)
    assert_same_state(ours, theirs)
    our_inputs = [*ours.parameters(), *tensors_in(mine, lp.Tensor)]
    their_inputs = [*theirs.parameters(), *tensors_in(arguments, torch.Tensor)]
    pairs = [(a, b) for a, b in zip(our_inputs, their_inputs, strict=True) if b.requires_grad]
    our_inputs, their_inputs = [a for a, _ in pairs], [b for _, b in pairs]
    if not pairs:
        return
    assert all(x.requires_grad for x in our_inputs)
    first, expected_first = slopes(out, expected, our_inputs, their_inputs)
    assert_same_slopes(first, expected_first, our_inputs)
    chunked = sample.constructor_input.kwargs.get("options")  # of LinearCrossEntropyLoss: as in `ONCE`
    if twice and info.supports_gradgrad and name_of(info) not in ONCE and chunked is None:
        assert_same_slopes(*slopes(first, expected_first, our_inputs, their_inputs, seed=1), our_inputs)


WITH_ERRORS = [name for name in NAMES if INFOS[name].module_error_inputs_func is not None]


@pytest.mark.parametrize("name", WITH_ERRORS)
def test_what_pytorch_refuses(name):
    info = INFOS[name]
    for bad in info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=False, training=True
    ):
        made, given = bad.module_error_input.constructor_input, bad.module_error_input.forward_input
        with pytest.raises(lp.errors.LampionError):
            module = getattr(nn, name)(*to_lampion(made.args), **to_lampion(made.kwargs))
            if given is not None:
                module(*to_lampion(given.args), **to_lampion(given.kwargs))


def test_the_comparison_sees_another_slope():
    ours, theirs = nn.LeakyReLU(0.1), torch.nn.LeakyReLU(0.1001)
    x = torch.tensor([-1.0, 1.0])
    with pytest.raises(AssertionError):
        assert_same(ours(to_lampion(x)), theirs(x))
    assert array_of(x).shape == (2,)
