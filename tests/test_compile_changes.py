"""What changes between calls, or is made by a recording that is given up: eager and compiled tell one story.

(Changes of what a function reads are in footgun_table.py.)
"""

import logging
import warnings

import numpy as np
import pytest
from twins import Table, X, Y, check, net, randn, state, training_step

import lampion as lp
from lampion import nn
from lampion.errors import GradientError, LampionError
from lampion.optim import swa_utils

table = Table()


def squares():
    """A Function of one's own, whose methods can be replaced."""

    class Square(lp.autograd.Function):
        @staticmethod
        def forward(ctx, a):
            ctx.save_for_backward(a)
            return a * a

        @staticmethod
        def backward(ctx, g):
            (a,) = ctx.saved_tensors
            return 2 * a * g

    return Square


def handed_on(ctx, g):
    return g


def five_times(ctx, g):
    (a,) = ctx.saved_tensors
    return g * a * a * 5


# -- hooks ------------------------------------------------------------------------------------------------


@table(eager=True)
def a_hook_on_an_argument(compile, note):
    p = nn.Parameter(lp.ones(3))

    @compile
    def step(a):
        a.grad = None
        (a * a).sum().backward()  # HERE
        return a.grad

    for _ in range(3):
        note(step(p))
    p.register_hook(lambda g: g * 10)
    note(step(p))
    note(step(p))


@table(eager=True)
def a_hook_that_listens_to_the_grad_of_an_argument(compile, note):
    p, heard = nn.Parameter(lp.ones(3)), []

    @compile
    def step(a):
        a.grad = None
        (a * a).sum().backward()  # HERE
        return a.grad

    for _ in range(3):
        note(step(p))
    p.register_post_accumulate_grad_hook(lambda p: heard.append(p.grad.sum().item()))
    note(step(p), heard)
    note(step(p), heard)


@table(traces=2)
def a_hook_on_an_argument_and_gradients_outside(compile, note):
    p = nn.Parameter(lp.ones(3))
    forward = compile(lambda a: (a * a).sum())
    for number in range(4):
        p.grad = None
        forward(p).backward()
        note(p.grad)
        if number == 1:
            p.register_hook(lambda g: g * 10)


# -- Functions of one's own -------------------------------------------------------------------------------


def _a_method_inside(name, method):
    def scenario(compile, note):
        square, w = squares(), nn.Parameter(lp.full((3,), 3.0))

        @compile
        def step(x):
            w.grad = None
            loss = (square.apply(w * x) + 1).sum()
            loss.backward()
            return loss, w.grad

        for number in range(5):
            note(step(randn(3, seed=number)))
            if number == 2:
                setattr(square, name, staticmethod(method))

    scenario.__name__ = f"{name}_is_{method.__name__}_inside"
    table(scenario, traces=2)


def _a_method_outside(name, method, between):
    def scenario(compile, note):
        square, w = squares(), nn.Parameter(lp.full((3,), 3.0))
        forward = compile(lambda x: (square.apply(w * x) + 1).sum())
        for number in range(5):
            w.grad = None
            loss = forward(randn(3, seed=number))
            if number == 2 and between:
                setattr(square, name, staticmethod(method))
            loss.backward()
            note(loss, w.grad)
            if number == 2:
                setattr(square, name, staticmethod(method))

    scenario.__name__ = f"{name}_is_{method.__name__}_outside{'_between' * between}"
    table(scenario, traces=2)


def seven_times(ctx, a):
    ctx.save_for_backward(a)
    return a * 7


for _name, _method in (("backward", handed_on), ("backward", five_times), ("forward", seven_times)):
    _a_method_inside(_name, _method)
    for _between in (False, True):
        _a_method_outside(_name, _method, _between)


@table(traces=1)
def a_loss_whose_graph_a_scan_has_used_up(compile, note):
    w = nn.Parameter(lp.ones(3))

    @compile
    def step(x):
        w.grad = None
        end, between = lp.func.scan(lambda c, a: (c * w + a, c), lp.ones(3), x)
        loss = end.sum() + between.sum()
        loss.backward()
        return loss

    for number in range(3):
        note(step(randn(4, 3, seed=number)), w.grad)


@table(traces=2)
def an_argument_made_in_inference_mode(compile, note):
    w = nn.Parameter(lp.ones(3))
    run = compile(lambda a: (a * 2).sum() if a.is_inference() else (a * w).sum())
    x = randn(3)
    with lp.inference_mode():
        y = x * 1
    for argument in (x, x, y, y):
        note(run(argument))


def test_what_eager_refuses_in_inference_mode():
    w = nn.Parameter(lp.ones(3))
    run = lp.compile(lambda a: a * w)
    x = randn(3)
    run(x), run(x), run(x)
    with lp.inference_mode():
        y = x * 1
    with pytest.raises(GradientError, match="inference mode"):
        run(y)
    np.testing.assert_array_equal(run(x).detach().numpy(), x.numpy())


@table(traces=3)
def a_special_method_of_a_container(compile, note):
    class Items(list):
        pass

    items = Items([1.0, 2.0])
    run = compile(lambda x: x * (items[0] if 2.0 in items else 9.0))
    note(run(X), run(X))
    Items.__getitem__ = lambda self, place: 5.0
    note(run(X), run(X))
    Items.__contains__ = lambda self, item: False
    note(run(X), run(X))


# -- loops over tensors -----------------------------------------------------------------------------------


@table(traces=1)
def rows_with_their_numbers(compile, note):
    @compile
    def run(x):
        total = 0.0
        for i, row in enumerate(x, 1):
            total = total + row * i
        pairs = [a * b for a, b in zip(x, x * 2, strict=True)]
        return total, pairs, {i: row * 2 for i, row in enumerate(x)}

    note(run(randn(3, 4)), run(randn(3, 4, seed=1)))


@table(traces=3)
def an_iterator_of_ones_own_in_enumerate(compile, note):
    class Scales:
        def __init__(self):
            self.items = [1.0, 2.0]

        def __iter__(self):
            return (lp.ones(3) * item for item in self.items)

    scales = Scales()
    run = compile(lambda x: [x * scale + i for i, scale in enumerate(scales)])
    note(run(randn(3)), run(randn(3, seed=1)))
    scales.items.append(5.0)
    note(run(randn(3)), run(randn(3, seed=1)))
    Scales.__iter__ = lambda self: iter([lp.zeros(3)])
    note(run(randn(3)), run(randn(3, seed=1)))


# -- modules that come about ------------------------------------------------------------------------------


@table(traces=2)
def a_part_of_a_list_of_layers(compile, note):
    layers = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
    chain = nn.Sequential(*layers)

    @compile
    def run(x):
        for layer in layers[:2]:
            x = layer(x)
        return chain[1:](nn.Sequential(nn.Tanh(), nn.ReLU())(x)).sum()

    for _ in range(2):
        run(X).backward()
        note(run(X), state(chain))
    layers[1] = nn.Linear(4, 4)
    note(run(X), run(X))


@table(traces=2)
def a_layer_that_takes_its_size_from_the_input(compile, note):
    lazy = nn.LazyLinear(3)
    run = compile(lambda x: lazy(x).tanh())
    for _ in range(3):
        note(run(X), state(lazy))


# -- what warnings say ------------------------------------------------------------------------------------

MODEL = nn.Linear(3, 3)
OPTIMIZER, SCALER = lp.optim.SGD(MODEL.parameters(), lr=0.1), lp.amp.GradScaler(init_scale=8.0)


def scaled(x):
    SCALER.scale(MODEL(x).sum()).backward()
    SCALER.step(OPTIMIZER)
    SCALER.update()
    return x * 1


WARNINGS = {
    "makes a parameter.*make modules": lambda x: nn.Linear(3, 2)(x).detach(),
    "makes a parameter.*make.*parameters outside": lambda x: nn.Parameter(x).detach(),
    "logs a message.*log outside": lambda x: logging.getLogger("changes").debug("x") or x * 2,
    "asks whether a tensor is true.*lampion.where": lambda x: x * 2 if x.sum() > 0 else x,
    r"calls step\(\) of a GradScaler.*update\(\) outside": scaled,
}


@pytest.mark.parametrize("words", WARNINGS)
def test_a_warning_says_what_to_do(words):
    with pytest.warns(RuntimeWarning, match=rf"{words}") as told:
        lp.compile(WARNINGS[words])(lp.ones(3, 3))
    assert len(told) == 1 and "test_compile_changes.py:" in str(told[0].message)


# -- what a recording makes for real ----------------------------------------------------------------------


def test_state_that_was_made_in_vain_goes_again():
    """The state of ASGD begins with the learning rate, which here is another by the time of the step."""

    def train(compile):
        model = net()
        opt = lp.optim.ASGD(model.parameters(), lr=0.1)
        scheduler = lp.optim.lr_scheduler.StepLR(opt, 1, 0.5)
        step = training_step(model, opt)

        def early(x, y):
            scheduler.step()
            return step(x, y)

        run = compile(early)
        return [run(X, Y).item() for _ in range(3)], [e["eta"] for e in opt.state.values()]

    lp.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the order of the steps
        expected = train(lambda step: step)
        lp.manual_seed(0)
        with pytest.warns(RuntimeWarning, match="after its learning-rate scheduler"):
            assert train(lp.compile) == expected


def test_an_error_of_the_users_leaves_no_state():
    w = nn.Parameter(lp.ones(3))
    opt = lp.optim.Adam([w])
    w.grad = lp.ones(3)

    @lp.compile
    def step():
        opt.step()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        step()
    assert not opt.state and w.tolist() == [1.0, 1.0, 1.0]


# -- the log ----------------------------------------------------------------------------------------------


def test_the_log_says_what_changed_since_the_last_call(caplog):
    model, numbers, other = nn.Linear(3, 2), [1.0], [1.0]

    @lp.compile
    def step(x):
        return (model(x) * numbers[0] * other[0]).detach()

    def shall_say(words, size=4):
        caplog.clear()
        step(lp.ones(size, 3))
        assert words in caplog.text

    with caplog.at_level("INFO", "lampion.compile"):
        shall_say("")
        numbers[0] = 2.0
        shall_say("`numbers`[0] changed from 1.0 to 2.0")
        model.weight.requires_grad_(False)
        shall_say("requires_grad of a tensor")
        other[0] = 3.0
        shall_say("`other`[0] changed from 1.0 to 3.0")
        model.weight.requires_grad_(True)
        numbers[0], other[0] = 1.0, 1.0
        shall_say("")  # as at first
        other[0] = 9.0
        shall_say("`other`[0] changed from 1.0 to 9.0")
        shall_say("shape of `x` changed from (4, 3) to (5, 3)", 5)
        shall_say("shape of `x` changed from (5, 3) to (6, 3)", 6)


def test_what_cannot_be_called_cannot_be_compiled():
    with pytest.raises(LampionError, match="a function or a Module"):
        lp.compile(5)


def test_what_is_not_compiled_cannot_be_dumped(tmp_path):
    with pytest.raises(LampionError, match="not a compiled function"):
        lp.compiler.dump(lambda x: x, tmp_path)


# -- averages ---------------------------------------------------------------------------------------------


def _average(name, **options):
    def scenario(compile, note):
        model = net(nn.BatchNorm1d(5))
        average = swa_utils.AveragedModel(model, **options)
        opt = lp.optim.SGD(model.parameters(), lr=0.1)
        step = training_step(model, opt)

        @compile
        def run(x, y):
            loss = step(x, y)
            average.update_parameters(model)
            return loss

        for _ in range(4):
            note(run(X, Y), state(model, opt), [*average.parameters()], [*average.buffers()])

    scenario.__name__ = f"an_average_{name}"
    table(scenario, traces=1)


_average("plain")
_average("by_parameter", avg_fn=swa_utils.get_ema_avg_fn(0.9))
_average("by_lists", multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True)


@pytest.mark.parametrize("scenario", table.params())
def test_twins(scenario):
    check(scenario)
