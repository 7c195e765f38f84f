"""`lampion.debug.lint`: each rule finds its mistake, and says nothing where there is none."""

import warnings

import pytest

import lampion as lp
from lampion import debug, nn
from lampion.debug import LintWarning
from lampion.utils.checkpoint import checkpoint

X = lp.linspace(-1, 1, 24).reshape(6, 4)
LABELS = lp.tensor([0, 1, 2, 0, 1, 2])


def rules(check):
    return [finding.rule for finding in check.findings]


def quietly(function):
    """What lint finds, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return rules(function())


def network(*extra):
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3), *extra)


def train(model, optimizer, loss=None, steps=3, clear=True, x=X, target=LABELS):
    loss = loss or nn.CrossEntropyLoss()
    for _ in range(steps):
        if clear:
            optimizer.zero_grad()
        loss(model(x), target).backward()
        optimizer.step()


def test_correct_training_and_evaluation_give_no_warning():
    model = network()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    with debug.lint(model, optimizer=optimizer) as check:  # warnings are errors in these tests
        train(model, optimizer)
        model.eval()
        with lp.no_grad():
            model(X)
        model.train()
        train(model, optimizer)
    assert check.findings == []


def test_stale_gradients():
    model = network()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    with pytest.warns(LintWarning, match="zero_grad") as caught, debug.lint(model) as check:
        train(model, optimizer, clear=False)
    assert rules(check) == ["stale-gradients"]
    assert "test_debug_lint.py:" in check.findings[0].where
    assert len(caught) == 1  # once a line, not once a parameter and step


def test_gradients_that_are_meant_to_add_up():
    model = network()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    def accumulated(passes, allowed, to_none=True):
        optimizer.zero_grad()
        with debug.lint(accumulate=allowed) as check:
            for _ in range(2):
                for _ in range(passes):
                    nn.functional.cross_entropy(model(X), LABELS).backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=to_none)
        return check

    assert quietly(lambda: accumulated(2, 2)) == []
    assert quietly(lambda: accumulated(2, 2, to_none=False)) == []
    assert quietly(lambda: accumulated(3, 2)) == ["stale-gradients"]


def test_gradients_from_before_the_block_are_stale():
    model = network()
    nn.functional.cross_entropy(model(X), LABELS).backward()
    with pytest.warns(LintWarning, match="from before"), debug.lint(model):
        nn.functional.cross_entropy(model(X), LABELS).backward()


@pytest.mark.parametrize("layer", [nn.Dropout(0.5), nn.BatchNorm1d(4)])
def test_evaluated_in_training_mode(layer):
    model = nn.Sequential(layer, nn.Linear(4, 3))
    place = rf"0 \({type(layer).__name__}\).*model.eval"
    with pytest.warns(LintWarning, match=place) as caught, debug.lint(), lp.no_grad():
        model(X)
    assert len(caught) == 1
    with debug.lint() as check, lp.no_grad():
        model.eval()(X)
    assert check.findings == []


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpointed_module_is_no_evaluation(reentrant):
    model = network()
    with debug.lint(model) as check:
        checkpoint(model, X.clone().requires_grad_(), use_reentrant=reentrant).sum().backward()
    assert check.findings == []


def test_trained_in_evaluation_mode():
    model = network().eval()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    text = r"1 \(Dropout\) ran in evaluation mode before SGD"
    with pytest.warns(LintWarning, match=text), debug.lint(model):
        train(model, optimizer, steps=1)


def test_a_frozen_teacher_may_be_in_evaluation_mode():
    teacher, model = network().eval(), network()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    with debug.lint(model) as check:
        train(model, optimizer, lambda scores, _: (scores - teacher(X).detach()).square().mean(), steps=1)
    assert check.findings == []


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sequential(nn.Softmax(1), nn.Flatten())])
def test_softmax_before_cross_entropy(last):
    model = network(last)
    with pytest.warns(LintWarning, match="does the softmax itself"):
        check = debug.lint(model, loss=nn.CrossEntropyLoss(), batch=(X, LABELS))
    assert rules(check) == ["softmax-before-cross-entropy"]


def test_softmax_is_seen_without_a_tape_too():
    with pytest.warns(LintWarning, match="does the softmax itself"), debug.lint(), lp.no_grad():
        nn.functional.cross_entropy(X[:, :3].softmax(1) * 1.0, LABELS)


def test_sigmoid_before_the_loss_that_does_it():
    target = lp.ones(6, 1)
    model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
    with pytest.warns(LintWarning, match="leave out the sigmoid"):
        debug.lint(model, loss=nn.BCEWithLogitsLoss(), batch=(X, target))
    assert quietly(lambda: debug.lint(model, loss=nn.BCELoss(), batch=(X, target))) == []


def test_parameters_without_a_gradient():
    class Forgetful(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = nn.Linear(4, 3)
            self.forgotten = nn.Linear(4, 3)
            self.frozen = nn.Linear(4, 3).requires_grad_(False)

        def forward(self, x):
            return self.used(x)

    with pytest.warns(LintWarning, match=r"arrives at forgotten\.weight, forgotten\.bias:"):
        check = debug.lint(Forgetful(), loss=nn.CrossEntropyLoss(), batch=(X, LABELS))
    assert rules(check) == ["no-gradient"]


def test_a_loss_that_is_cut_off():
    model = nn.Linear(4, 3)
    cut = lambda scores, target: (scores.detach().argmax(1) == target).float().mean()  # noqa: E731
    with pytest.warns(LintWarning, match="arrives at weight, bias"):
        debug.lint(model, loss=cut, batch=(X, LABELS))


def test_parameters_that_no_optimizer_has():
    model = network()
    optimizer = lp.optim.SGD(model[0].parameters(), lr=0.1)
    with pytest.warns(LintWarning, match=r"no optimizer has 2\.weight, 2\.bias:"):
        debug.lint(model, optimizer=optimizer)
    second = lp.optim.Adam(model[2].parameters())
    assert debug.lint(model, optimizer=[optimizer, second]).findings == []


def test_a_loss_that_broadcasts():
    model, target = nn.Linear(4, 1), lp.linspace(0, 1, 6)
    by_hand = lambda y, t: ((y - t) ** 2).mean()  # noqa: E731
    with pytest.warns(LintWarning, match=r"\(6, 1\) against \(6,\) becomes \(6, 6\)"):
        check = debug.lint(model, loss=by_hand, batch=(X, target))
    assert rules(check) == ["broadcast-loss"]
    assert quietly(lambda: debug.lint(model, loss=nn.MSELoss(), batch=(X, target))) == ["broadcast-loss"]
    assert debug.lint(model, loss=by_hand, batch=(X, target.unsqueeze(1))).findings == []


def test_differences_of_all_pairs_inside_of_a_network_are_meant():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(lp.linspace(0, 1, 6))

        def forward(self, x):
            return (self.position - self.position.unsqueeze(1)) @ x

    assert debug.lint(Pairs(), loss=lambda y, t: y.sum(), batch=(X, LABELS)).findings == []


def test_the_check_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = lp.get_rng_state()
    check = debug.lint(model, loss=nn.CrossEntropyLoss(), batch=(X, LABELS))
    assert check.findings == []
    assert all(lp.equal(value, before[name]) for name, value in model.state_dict().items())
    assert lp.equal(lp.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())


def test_a_rule_can_be_left_out_and_an_unknown_one_is_refused():
    model = network(nn.Softmax(1))
    check = debug.lint(
        model, loss=nn.CrossEntropyLoss(), batch=(X, LABELS), ignore=["softmax-before-cross-entropy"]
    )
    assert check.findings == []
    with pytest.raises(lp.errors.LampionError, match="no such rule"):
        debug.lint(ignore=["softmax"])
    with pytest.raises(lp.errors.LampionError, match="needs a model and a loss"):
        debug.lint(batch=(X, LABELS))


def test_compiled_steps_are_looked_into():
    model = network()
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @lp.compile
    def step(x, target):
        loss = nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    assert quietly(lambda: _twice(step)) == ["stale-gradients"]


def _twice(step):
    with debug.lint() as check:
        step(X, LABELS)
        step(X, LABELS)
    return check
