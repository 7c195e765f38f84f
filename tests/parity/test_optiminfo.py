"""PyTorch's OptimizerInfo: every optimizer of theirs with every set of options that their own tests try."""

import warnings

import numpy as np
import pytest

import lampion as lp
from lampion.testing import assert_close

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what PyTorch's test suite says while it is imported
    from torch.testing._internal.common_optimizers import optim_db

from both import array_of, to_lampion  # noqa: E402

#: Optimizers of PyTorch's that Lampion does not have.
LEFT_OUT = {}
#: What PyTorch refuses, and Lampion takes or refuses with other words: why.
OTHER_ERRORS = {
    "lr as a Tensor is not supported for capturable=False and foreach=True": "foreach changes nothing here",
    r"betas\[0\] as a Tensor is not supported for capturable=False and foreach=True": "the same",
    "SparseAdam requires dense parameter tensors": "no tensor is sparse, only gradients are",
}
#: Where float64 agrees to fewer digits: to how many, and why.
LOOSE = {
    "LBFGS": 1e-8,  # differences of gradients that are nearly equal
    "SparseAdam-Tensor_lr": 1e-9,  # PyTorch forms the step's size in lr's float32
    "Muon-Tensor_lr": 1e-6,  # PyTorch forms 1 - lr * weight_decay in lr's float32
}
STEPS = 10

INFOS = [info for info in optim_db if info.optim_cls.__name__ not in LEFT_OUT]
SAMPLES = [
    (info.optim_cls.__name__, sample)
    for info in INFOS for sample in info.optim_inputs_func(device="cpu")
]  # fmt: skip
IDS = [f"{name}-{sample.desc.replace(' ', '_')}" for name, sample in SAMPLES]


def test_every_entry_is_here_or_left_out():
    names = {info.optim_cls.__name__ for info in optim_db}
    assert {name for name in names if not hasattr(lp.optim, name)} == set(LEFT_OUT)
    assert names >= set(LEFT_OUT)


class Problem:
    """The same small network, twice: with PyTorch's optimizer and with Lampion's."""

    def __init__(self, name, kwargs, dtype=np.float64):
        rng = np.random.default_rng(0)
        shapes = [(5, 4), (3, 5)] if name in ("Muon", "SparseAdam") else [(5, 4), (5,), (3, 5), ()]
        start = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
        self.inputs = rng.standard_normal((8, 4)).astype(dtype)
        self.theirs = [torch.tensor(x, requires_grad=True) for x in start]
        self.ours = [lp.tensor(x).requires_grad_() for x in start]
        self.optimizers = (
            getattr(torch.optim, name)(self.theirs, **kwargs),
            getattr(lp.optim, name)(self.ours, **to_lampion(kwargs)),
        )
        self.closures = [
            self.closure(params, optimizer, tensor(self.inputs))
            for params, optimizer, tensor in zip(
                (self.theirs, self.ours), self.optimizers, (torch.tensor, lp.tensor), strict=True
            )
        ]

    @staticmethod
    def closure(params, optimizer, x):
        sparse = type(optimizer).__name__ == "SparseAdam"
        matrices = [p for p in params if p.ndim == 2]
        others = [p for p in params if p.ndim < 2]

        def closure():
            optimizer.zero_grad()
            y = (x @ matrices[0].T + (others[0] if others else 0.0)).tanh()
            y = y @ matrices[1].T + (others[1] if others else 0.0)
            loss = ((y - 0.5) ** 2).mean()
            loss.backward()
            for p in params if sparse else ():
                p.grad = some_rows(p.grad)
            return loss

        return closure

    def step(self):
        return [o.step(closure) for o, closure in zip(self.optimizers, self.closures, strict=True)]

    def assert_same(self, rtol, label):
        """Rounding, which ten steps through tanh and back enlarge."""
        for a, b in zip(self.ours, self.theirs, strict=True):
            assert_close(a.detach(), array_of(b), rtol=rtol, atol=rtol, label=label)


def some_rows(gradient):
    """A sparse gradient of two rows."""
    if isinstance(gradient, torch.Tensor):
        return torch.sparse_coo_tensor([[2, 0]], gradient[[2, 0]], gradient.shape, check_invariants=True)
    index = lp.tensor([2, 0])
    return lp.autograd.SparseGradient(index, gradient[index], gradient.shape)


def tolerance(name, sample):
    return LOOSE.get(f"{name}-{sample.desc.replace(' ', '_')}", LOOSE.get(name, 1e-11))


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=IDS)
def test_ten_steps(name, sample):
    problem = Problem(name, sample.kwargs)
    for number in range(STEPS):
        theirs, ours = problem.step()
        rtol = tolerance(name, sample)
        assert_close(ours.detach(), array_of(theirs), rtol=rtol, label=f"loss {number}")
        problem.assert_same(rtol, f"step {number}")


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=IDS)
def test_ten_steps_in_single_precision(name, sample):
    problem = Problem(name, sample.kwargs, np.float32)
    for number in range(3 if name == "LBFGS" else STEPS):
        problem.step()
        # Steps that go by a quotient of two small numbers show the last bits of both.
        problem.assert_same(2e-3 if name == "LBFGS" else 2e-4, f"step {number}")


@pytest.mark.parametrize(("name", "sample"), SAMPLES, ids=IDS)
def test_state_goes_over_and_back(name, sample):
    """PyTorch's state continues in Lampion, and Lampion's in PyTorch."""
    problem = Problem(name, sample.kwargs)
    for _ in range(3):
        problem.step()
    theirs, ours = problem.optimizers
    assert repr(ours) == repr(theirs)
    saved = theirs.state_dict(), ours.state_dict()
    assert saved[0]["state"].keys() == saved[1]["state"].keys()
    for position, entry in saved[0]["state"].items():
        assert entry.keys() == saved[1]["state"][position].keys()
    ours.load_state_dict(saved[0])
    theirs.load_state_dict(to_torch(saved[1]))
    for number in range(3):
        problem.step()
        problem.assert_same(tolerance(name, sample), f"step {number} after")


def to_torch(thing):
    """Lampion's tensors as PyTorch's, in dicts and lists."""
    if isinstance(thing, lp.Tensor):
        return torch.tensor(thing.numpy())
    if isinstance(thing, dict):
        return {key: to_torch(value) for key, value in thing.items()}
    return [to_torch(item) for item in thing] if isinstance(thing, list) else thing


ERRORS = [
    (info.optim_cls.__name__, sample)
    for info in INFOS for sample in info.optim_error_inputs_func(device="cpu", dtype=torch.float32)
]  # fmt: skip


@pytest.mark.parametrize(("name", "sample"), ERRORS)
def test_bad_options_are_refused_in_the_same_words(name, sample):
    given = sample.optimizer_error_input
    if sample.error_regex in OTHER_ERRORS:
        pytest.skip(OTHER_ERRORS[sample.error_regex])
    # PyTorch warns of a parameter that is named twice; here it is an error, as announced there.
    kind = ValueError if sample.error_type is UserWarning else sample.error_type
    params = converted(given.params or [torch.ones(1, requires_grad=True)], {})
    with pytest.raises(kind, match=sample.error_regex):
        optimizer = getattr(lp.optim, name)(params, **to_lampion(given.kwargs))
        optimizer.param_groups[0]["params"][0].grad = params[0].detach()  # PyTorch's Muon looks when it steps
        optimizer.step()


def converted(thing, memo):
    """Parameters as Lampion's, those that are one still one."""
    if isinstance(thing, torch.Tensor):
        return memo.setdefault(id(thing), to_lampion(thing))
    if isinstance(thing, dict):
        return {key: converted(value, memo) for key, value in thing.items()}
    return type(thing)(converted(item, memo) for item in thing) if type(thing) in (list, tuple) else thing
