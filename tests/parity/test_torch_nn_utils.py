"""`nn.utils` and `nn.init` beside PyTorch's: clipping, parametrizations, older normalisations, pruning."""

import copy
import importlib

import numpy as np
import pytest

import lampion
from lampion import nn
from lampion.errors import GradientError, LampionError
from lampion.nn.utils import parametrizations, parametrize, prune

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
U = torch.nn.utils
P = importlib.import_module("torch.nn.utils.prune")


def near(ours, theirs, tol=1e-12):
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=tol, atol=tol)


def layers(rows=3, columns=4, bias=True):
    """The same layer in both."""
    theirs = torch.nn.Linear(columns, rows, bias).double()
    ours = nn.Linear(columns, rows, bias).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def inputs(shape=(5, 4), seed=0):
    x = np.random.default_rng(seed).standard_normal(shape)
    return lampion.tensor(x), torch.tensor(x)


def assert_same_state(ours, theirs, tol=1e-12):
    a, b = ours.state_dict(), theirs.state_dict()
    assert list(a) == list(b)
    for name in a:
        near(a[name], b[name], tol)


def backward(pair, x, t):
    (pair[0](x) ** 2).sum().backward()
    (pair[1](t) ** 2).sum().backward()


# -- clipping ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.1, 100.0])
def test_clip_grad_norm(norm_type, max_norm):
    pair = layers()
    backward(pair, *inputs())
    total = nn.utils.clip_grad_norm_(pair[0].parameters(), max_norm, norm_type)
    near(total, U.clip_grad_norm_(pair[1].parameters(), max_norm, norm_type))
    for p, q in zip(pair[0].parameters(), pair[1].parameters(), strict=True):
        near(p.grad, q.grad)


def test_clip_grad_value_and_no_gradients():
    pair = layers()
    backward(pair, *inputs())
    nn.utils.clip_grad_value_(pair[0].weight, 0.05)
    U.clip_grad_value_(pair[1].weight, 0.05)
    near(pair[0].weight.grad, pair[1].weight.grad)
    assert nn.utils.clip_grad_norm_(nn.Linear(1, 1).parameters(), 1.0).item() == 0.0


def test_a_norm_that_is_not_finite():
    p = nn.Parameter(lampion.zeros(2))
    p.grad = lampion.tensor([float("inf"), 1.0])
    with pytest.raises(GradientError, match="not finite"):
        nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    assert p.grad.tolist() == [float("inf"), 1.0]


def test_clipping_in_a_compiled_step():
    def make():
        lampion.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        return model, lampion.optim.SGD(model.parameters(), lr=0.1)

    def step(model, optimizer, x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss, norm

    eager, compiled = make(), make()
    fast = lampion.compile(step)
    for seed in range(3):
        x = inputs((6, 4), seed)[0].float()
        for a, b in zip(step(*eager, x), fast(*compiled, x), strict=True):
            near(a, b, 1e-5)
    for a, b in zip(eager[0].parameters(), compiled[0].parameters(), strict=True):
        near(a, b, 1e-5)


# -- vectors -------------------------------------------------------------------------------------------


def test_vectors():
    ours, theirs = layers()
    vector = nn.utils.parameters_to_vector(ours.parameters())
    near(vector, U.parameters_to_vector(theirs.parameters()))
    nn.utils.vector_to_parameters(vector * 2, ours.parameters())
    U.vector_to_parameters(U.parameters_to_vector(theirs.parameters()) * 2, theirs.parameters())
    assert_same_state(ours, theirs)
    with pytest.raises(LampionError, match=r"(?s)another length.*\(15,\)"):
        nn.utils.vector_to_parameters(vector[1:], ours.parameters())


# -- parametrizations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, -1, None])
def test_weight_norm(dim):
    ours, theirs = layers()
    parametrizations.weight_norm(ours, dim=dim)
    U.parametrizations.weight_norm(theirs, dim=dim)
    assert_same_state(ours, theirs)
    backward((ours, theirs), *inputs())
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        near(p.grad, q.grad)
    parametrize.remove_parametrizations(ours, "weight")
    U.parametrize.remove_parametrizations(theirs, "weight")
    assert_same_state(ours, theirs)


def test_older_weight_norm():
    ours, theirs = layers()
    with pytest.warns(FutureWarning):
        theirs = U.weight_norm(theirs)
    nn.utils.weight_norm(ours)
    assert_same_state(ours, theirs)
    backward((ours, theirs), *inputs())
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        near(p.grad, q.grad)
    nn.utils.remove_weight_norm(ours)
    U.remove_weight_norm(theirs)
    assert set(ours.state_dict()) == set(theirs.state_dict())
    near(ours.weight, theirs.weight)
    with pytest.raises(LampionError, match="no such normalisation"):
        nn.utils.remove_weight_norm(ours)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("old", [False, True])
def test_spectral_norm(dim, old):
    ours, theirs = layers()
    if old:
        nn.utils.spectral_norm(ours, dim=dim)
        U.spectral_norm(theirs, dim=dim)
    else:
        parametrizations.spectral_norm(ours, dim=dim)
        U.parametrizations.spectral_norm(theirs, dim=dim)
    ours.load_state_dict(theirs.state_dict())  # the vectors begin at random
    for seed in range(3):
        x, t = inputs(seed=seed)
        near(ours(x), theirs(t))
    assert_same_state(ours, theirs)
    ours.eval()
    theirs.eval()
    backward((ours, theirs), *inputs())
    assert_same_state(ours, theirs)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        near(p.grad, q.grad)
    largest = np.linalg.svd(ours.weight.detach().numpy())[1][0]
    assert abs(largest - 1) < 0.2


@pytest.mark.parametrize("map", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("sizes", [(4, 4), (3, 5), (5, 3)])
@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal(map, sizes, trivial):
    ours, theirs = layers(*sizes, bias=False)
    parametrizations.orthogonal(ours, orthogonal_map=map, use_trivialization=trivial)
    U.parametrizations.orthogonal(theirs, orthogonal_map=map, use_trivialization=trivial)
    ours.load_state_dict(
        {k: v for k, v in theirs.state_dict().items() if not k.endswith("base")}, strict=False
    )
    if trivial:
        chain, other = ours.parametrizations.weight[0], theirs.parametrizations.weight[0]
        assert chain.base.shape == other.base.shape
        chain.base = lampion.from_numpy(other.base.numpy().copy())
    for module in (ours, theirs):  # away from the beginning, where gradients are simple
        with lampion.no_grad(), torch.no_grad():
            original = module.parametrizations.weight.original
            noise = np.random.default_rng(1).standard_normal(sizes) * (1 - np.eye(*sizes)) * 0.1
            original += lampion.tensor(noise) if module is ours else torch.tensor(noise)
    near(ours.weight, theirs.weight, 1e-10)
    w = ours.weight.detach().numpy()
    np.testing.assert_allclose(w @ w.T if sizes[0] <= sizes[1] else w.T @ w, np.eye(min(sizes)), atol=1e-10)
    backward((ours, theirs), *inputs((5, sizes[1])))
    near(ours.parametrizations.weight.original.grad, theirs.parametrizations.weight.original.grad, 1e-9)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).T

    def right_inverse(self, x):
        return x.triu()


def test_parametrize():
    layer = nn.Linear(3, 3)
    symmetric = layer.weight.detach() + layer.weight.detach().T
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert parametrize.is_parametrized(layer, "weight") and not parametrize.is_parametrized(layer, "bias")
    assert isinstance(layer, nn.Linear) and type(layer).__name__ == "ParametrizedLinear"
    layer.weight = symmetric
    near(layer.weight, symmetric, 1e-7)
    with parametrize.cached():
        assert layer.weight is layer.weight
    assert layer.weight is not layer.weight
    optimizer = lampion.optim.SGD(layer.parameters(), lr=0.1)
    layer(lampion.ones(2, 3)).sum().backward()
    optimizer.step()
    assert (layer.weight == layer.weight.T).all()
    twin = copy.deepcopy(layer)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and (layer.weight == layer.weight.T).all()
    assert parametrize.is_parametrized(twin) and (twin.weight == layer.weight).all()
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias"}


def test_parametrize_two_tensors_and_two_functions():
    class Double(nn.Module):
        def forward(self, x):
            return x * 2

    layer = nn.Linear(2, 2)
    for name in ("weight", "bias", "weight"):
        parametrize.register_parametrization(layer, name, Double())
    assert list(layer.state_dict()) == ["parametrizations.weight.original", "parametrizations.bias.original"]
    assert (layer.weight == layer.parametrizations.weight.original * 4).all()
    parametrize.remove_parametrizations(layer, "weight")
    assert list(layer.state_dict()) == ["weight", "parametrizations.bias.original"]
    assert (layer.bias == layer.parametrizations.bias.original * 2).all()
    with pytest.raises(LampionError, match="changes the shape"):
        parametrize.register_parametrization(layer, "weight", nn.Flatten(0))
    with pytest.raises(LampionError, match="no right_inverse"):
        layer.bias = lampion.zeros(2)


def test_a_parametrized_layer_in_a_compiled_step():
    def make():
        lampion.manual_seed(0)
        return parametrizations.weight_norm(nn.Linear(4, 3))

    def step(layer, x):
        loss = (layer(x) ** 2).sum()
        loss.backward()
        return loss

    eager, compiled = make(), make()
    fast = lampion.compile(step)
    for seed in range(2):
        x = inputs((6, 4), seed)[0].float()
        near(step(eager, x), fast(compiled, x), 1e-5)
    for p, q in zip(eager.parameters(), compiled.parameters(), strict=True):
        near(p.grad, q.grad, 1e-4)


# -- pruning -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [0.3, 5])
def test_l1_pruning(amount):
    ours, theirs = layers()
    for _ in range(2):
        prune.l1_unstructured(ours, "weight", amount)
        P.l1_unstructured(theirs, "weight", amount)
        assert_same_state(ours, theirs)
    prune.ln_structured(ours, "weight", 1, 2, 1)
    P.ln_structured(theirs, "weight", 1, 2, 1)
    backward((ours, theirs), *inputs())
    near(ours.weight_orig.grad, theirs.weight_orig.grad)
    assert prune.is_pruned(ours)
    prune.remove(ours, "weight")
    P.remove(theirs, "weight")
    near(ours.weight, theirs.weight)
    assert not prune.is_pruned(ours)


def test_global_and_random_pruning():
    ours, theirs = layers()
    prune.global_unstructured([(ours, "weight"), (ours, "bias")], prune.l1_unstructured, 0.4)
    P.global_unstructured([(theirs, "weight"), (theirs, "bias")], P.L1Unstructured, amount=0.4)
    near(ours.weight, theirs.weight)
    near(ours.bias, theirs.bias)
    layer = prune.random_unstructured(nn.Linear(10, 10), "weight", 0.25)
    assert (layer.weight == 0).sum().item() == 25
    layer = prune.random_structured(nn.Linear(10, 10), "weight", 3, 0)
    assert (layer.weight == 0).all(1).sum().item() == 3


# -- first values --------------------------------------------------------------------------------------


def test_init_of_structure():
    for make in (
        lambda init, L: init.eye_(L.zeros(3, 4)),
        lambda init, L: init.dirac_(L.ones(4, 2, 3, 3), 2),
        lambda init, L: init.dirac_(L.ones(2, 3, 5)),
    ):  # fmt: skip
        near(make(nn.init, lampion), make(torch.nn.init, torch))


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 2, 2)])
def test_orthogonal_init(shape):
    x = nn.init.orthogonal_(lampion.zeros(*shape, dtype=lampion.float64), gain=2.0)
    matrix = x.numpy().reshape(shape[0], -1)
    gram = matrix @ matrix.T if shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)


def test_sparse_and_truncated_init():
    x = nn.init.sparse_(lampion.zeros(20, 30), 0.25)
    assert ((x == 0).sum(0) == 5).all()
    lampion.manual_seed(0)
    x = nn.init.trunc_normal_(lampion.zeros(20_000), 1.0, 2.0, -1.0, 2.0).numpy()
    torch.manual_seed(0)
    y = torch.nn.init.trunc_normal_(torch.zeros(20_000), 1.0, 2.0, -1.0, 2.0).numpy()
    assert x.min() >= -1 and x.max() <= 2
    grid = np.linspace(0.05, 0.95, 10)  # the standard error of a quantile here is below 0.015
    np.testing.assert_allclose(np.quantile(x, grid), np.quantile(y, grid), atol=0.06)


def test_skip_init():
    layer = nn.utils.skip_init(nn.Linear, 3, 2)
    assert type(layer) is nn.Linear and (layer.weight == 0).all()


def test_functional_call():
    ours, theirs = layers()
    x, t = inputs()
    doubled = {name: p * 2 for name, p in ours.named_parameters()}
    expected = torch.func.functional_call(theirs, {n: p * 2 for n, p in theirs.named_parameters()}, (t,))
    near(nn.utils.stateless.functional_call(ours, doubled, (x,)), expected)
