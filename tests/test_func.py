"""lampion.func: derivatives of functions, nested in any order."""

import numpy as np
import pytest

import lampion as lp
from lampion.errors import GradientError, LampionError
from lampion.func import (
    functional_call,
    grad,
    grad_and_value,
    hessian,
    hvp,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)
from lampion.testing import assert_close

X = np.linspace(-1.0, 1.5, 12).reshape(3, 4)


def points():
    return lp.from_numpy(X.copy())


def wave(x):
    """sum(sin(x) e^x): its gradient and the diagonal of its Hessian are known."""
    return (x.sin() * x.exp()).sum()


SLOPE = np.exp(X) * (np.sin(X) + np.cos(X))
CURVE = 2 * np.exp(X) * np.cos(X)

#: The same first derivative by different ways.
FIRST = {
    "grad": lambda x: grad(wave)(x),
    "vmap of grad": lambda x: vmap(grad(wave))(x),
    "grad of vmap": lambda x: grad(lambda x: vmap(wave)(x).sum())(x),
    "jacrev": lambda x: jacrev(wave)(x),
    "jacfwd": lambda x: jacfwd(wave)(x),
    "jacrev in chunks": lambda x: jacrev(lambda x: x.sin() * x.exp(), chunk_size=5)(x).sum((0, 1)),
    "vjp": lambda x: vjp(wave, x)[1](lp.ones((), dtype=lp.float64))[0],
    "jvp along each direction": lambda x: vmap(lambda u: jvp(wave, (x,), (u,))[1])(
        lp.eye(12, dtype=lp.float64).reshape(12, 3, 4)
    ).reshape(3, 4),
    "linearize": lambda x: vmap(linearize(wave, x)[1])(
        lp.eye(12, dtype=lp.float64).reshape(12, 3, 4)
    ).reshape(3, 4),
    "jvp of vmap": lambda x: jvp(vmap(vmap(wave)), (x,), (lp.ones_like(x),))[1],
    "vmap of jvp": lambda x: vmap(vmap(lambda a: jvp(wave, (a,), (lp.ones_like(a),))[1]))(x),
    "vmap of vmap of grad": lambda x: vmap(vmap(grad(wave)), in_dims=1, out_dims=1)(x),
}
#: The diagonal of the second derivative, which is all there is of it.
SECOND = {
    "grad of grad": lambda x: grad(lambda x: grad(wave)(x).sum())(x),
    "hvp": lambda x: hvp(wave, (x,), (lp.ones_like(x),)),
    "jvp of grad": lambda x: jvp(grad(wave), (x,), (lp.ones_like(x),))[1],
    "grad of jvp": lambda x: grad(lambda x: jvp(wave, (x,), (lp.ones_like(x),))[1])(x),
    "grad of vmap of grad": lambda x: grad(lambda x: vmap(grad(wave))(x).sum())(x),
    "vmap of grad of grad": lambda x: vmap(grad(lambda x: grad(wave)(x).sum()))(x),
    "jvp of vmap of grad": lambda x: jvp(vmap(grad(wave)), (x,), (lp.ones_like(x),))[1],
    "jvp of jvp": lambda x: vmap(
        vmap(lambda a: jvp(lambda b: jvp(wave, (b,), (lp.ones_like(b),))[1], (a,), (lp.ones_like(a),))[1])
    )(x),
    "hessian": lambda x: hessian(wave)(x).sum((2, 3)),
    "vmap of hessian": lambda x: vmap(hessian(wave))(x).sum(2),
    "jacfwd of jacfwd": lambda x: jacfwd(jacfwd(wave))(x).sum((0, 1)),
    "jacrev of jacfwd": lambda x: jacrev(jacfwd(wave))(x).sum((0, 1)),
    "jacrev of jacrev": lambda x: jacrev(jacrev(wave))(x).sum((0, 1)),
    "jacfwd of jacrev": lambda x: jacfwd(jacrev(wave))(x).sum((0, 1)),
}


@pytest.mark.parametrize("way", FIRST)
def test_first_derivatives_agree(way):
    found = FIRST[way](points())
    assert not found.requires_grad
    assert_close(found, SLOPE, rtol=1e-12)


@pytest.mark.parametrize("way", SECOND)
def test_second_derivatives_agree(way):
    found = SECOND[way](points())
    assert not found.requires_grad
    assert_close(found, CURVE, rtol=1e-11)


@pytest.mark.parametrize("way", [*FIRST, *SECOND])
def test_the_tape_goes_through_transforms(way):
    """A derivative with respect to a tensor outside, of a derivative."""
    function = (FIRST | SECOND)[way]
    x = points().requires_grad_()
    found = function(x)
    assert found.requires_grad
    (slope,) = lp.autograd.grad(found.sum(), x)
    third = 2 * np.exp(X) * (np.cos(X) - np.sin(X))
    assert_close(slope, CURVE if way in FIRST else third, rtol=1e-11)


def test_perturbations_are_not_confused():
    one = lp.tensor(1.0)
    assert grad(lambda a: a * grad(lambda b: a + b)(one))(one).item() == 1.0
    assert jvp(lambda a: a * jvp(lambda b: a + b, (one,), (one,))[1], (one,), (one,))[1].item() == 1.0
    assert grad(lambda a: a * jvp(lambda b: a * b, (one,), (one,))[1])(one).item() == 2.0
    assert jvp(lambda a: a * grad(lambda b: a * b)(one), (one,), (one,))[1].item() == 2.0


def test_trees_of_arguments_and_results():
    def model(weights, x):
        return {"out": x @ weights["w"] + weights["b"][0]}

    weights = {"w": lp.ones(4, 2, dtype=lp.float64), "b": [lp.zeros(2, dtype=lp.float64)]}
    slopes, (value, extra) = grad_and_value(
        lambda weights, x: (model(weights, x)["out"].sum(), "aux"), has_aux=True
    )(weights, points())
    assert (slopes["w"].shape, slopes["b"][0].tolist(), extra) == ((4, 2), [3.0, 3.0], "aux")
    assert value.item() == pytest.approx(2 * X.sum())
    jacobian = jacrev(model)(weights, points())
    assert jacobian["out"]["w"].shape == (3, 2, 4, 2)
    forward = jacfwd(model)(weights, points())
    assert_close(forward["out"]["w"], jacobian["out"]["w"])
    assert_close(forward["out"]["b"][0], jacobian["out"]["b"][0])
    both = jacfwd(lambda a, b: (a * b, a.sum()), argnums=(0, 1))(points(), points() * 2)
    assert [[x.shape for x in row] for row in both] == [[(3, 4, 3, 4)] * 2, [(3, 4)] * 2]
    value, back = vjp(lambda t: (t["a"] * 2, t["b"].sum()), {"a": points(), "b": points()})
    (slopes,) = back((points(), lp.ones((), dtype=lp.float64)))
    assert_close(slopes["a"], 2 * X)
    assert_close(slopes["b"], np.ones((3, 4)))


def test_what_does_not_depend_has_derivative_zero():
    assert grad(lambda x: lp.tensor(3.0))(lp.ones(2)).tolist() == [0.0, 0.0]
    assert jvp(lambda x: lp.ones(3), (lp.ones(2),), (lp.ones(2),))[1].tolist() == [0.0] * 3
    with pytest.raises(GradientError, match="does not depend"):
        jvp(lambda x: lp.ones(3), (lp.ones(2),), (lp.ones(2),), strict=True)


def test_closures_over_tensors_with_gradients():
    w = lp.from_numpy(X.copy()).requires_grad_()
    slope = grad(lambda x: (x * w).sin().sum())(points())
    assert slope.requires_grad
    with lp.no_grad():
        assert not grad(lambda x: (x * w).sin().sum())(points()).requires_grad
    inside = grad(lambda x: lp.no_grad()(wave)(x) + x.sum())(points())
    assert_close(inside, np.ones((3, 4)))  # no_grad holds for the derivative that is taken around it


def test_no_grad_inside_of_vmap_holds_outside_too():
    slope = grad(lambda x: vmap(lp.no_grad()(wave))(x).sum() + x.sum())(points())
    assert_close(slope, np.ones((3, 4)))


def test_in_place_operations_inside():
    def changed(x):
        y = x.clone()
        y[1:3].mul_(x[0])
        y += 1
        return y

    def unchanged(x):
        return lp.cat([x[:1], x[1:3] * x[0], x[3:]]) + 1

    for transform in (vmap, lambda f: lambda x: vmap(jacrev(f))(x), lambda f: lambda x: vmap(jacfwd(f))(x)):
        assert_close(transform(changed)(points()), transform(unchanged)(points()))
    x = points()
    out = vmap(lambda row: row.mul_(2))(x)
    assert_close(out, 2 * X)
    assert_close(x, 2 * X)  # the argument itself was changed
    total = lp.zeros(4, dtype=lp.float64)
    with pytest.raises(LampionError, match="a value for each example"):
        vmap(lambda row: total.add_(row))(points())
    assert total.tolist() == [0.0] * 4
    vmap(lambda row: total.add_(1) + row)(points())
    assert total.tolist() == [1.0] * 4


def test_backward_inside_reaches_what_was_made_inside_only():
    def slopes(x):
        y = x.detach().requires_grad_()
        wave(y).backward()
        return y.grad

    assert_close(vmap(slopes)(points()), SLOPE)
    w = lp.ones(4, dtype=lp.float64, requires_grad=True)
    with pytest.raises(LampionError, match=r"\.grad of a tensor made outside"):
        vmap(lambda x: (x * w).sum().backward())(points())


def test_wrong_calls():
    x = lp.ones(2)
    cases = [
        (lambda: grad(lambda x: x * 2)(x), "must return a scalar"),
        (lambda: grad(lambda x: x.sum())(lp.ones(2, dtype=lp.int64)), "only floating"),
        (lambda: grad(lambda x: x.sum(), argnums=1)(x), "argument 1, of 1"),
        (lambda: grad(lambda x: x.sum(), has_aux=True)(x), "must return a pair"),
        (lambda: jvp(lambda x: x, (x,), (lp.ones(3),)), "another shape"),
        (lambda: jvp(lambda x: x, x, x), "tuples"),
        (lambda: vjp(lambda x: x, x)[1](lp.ones(3)), "another shape"),
        (lambda: jvp(lambda x: 3, (x,), (x,)), "made of tensors"),
    ]
    for attempt, message in cases:
        with pytest.raises(LampionError, match=message):
            attempt()


def test_values_can_be_read_in_forward_mode():
    def branch(x):
        return x * 2 if x.sum().item() > 0 else x * 3

    assert jvp(branch, (lp.ones(2),), (lp.ones(2),))[1].tolist() == [2.0, 2.0]
    assert jvp(lambda x: x[x > 0], (lp.tensor([-1.0, 2.0]),), (lp.ones(2),))[1].tolist() == [1.0]


def test_complex_derivatives_in_both_modes():
    rng = np.random.default_rng(0)
    z, dz, g = (lp.from_numpy(rng.standard_normal(4) + 1j * rng.standard_normal(4)) for _ in range(3))
    for function in (lambda z: z * z.conj() * z, lambda z: z.abs() * z, lambda z: z.exp() / (z + 3)):
        value, moved = jvp(function, (z,), (dz,))
        _, back = vjp(function, z)
        left = np.vdot(g.numpy(), moved.numpy()).real
        assert left == pytest.approx(np.vdot(back(g)[0].numpy(), dz.numpy()).real, rel=1e-12)
        assert value.dtype is lp.complex128


# -- modules -------------------------------------------------------------------------------------------


def test_functional_call():
    layer = lp.nn.Linear(4, 2)
    before = layer.weight
    weights = {"weight": lp.ones(2, 4), "bias": lp.zeros(2)}
    assert functional_call(layer, weights, (lp.ones(4),)).tolist() == [4.0, 4.0]
    assert layer.weight is before
    assert (
        functional_call(layer, [{"weight": lp.zeros(2, 4)}, {}], lp.ones(4)).tolist() == layer.bias.tolist()
    )
    slopes = grad(lambda w: functional_call(layer, w, lp.ones(4)).sum())(weights)
    assert slopes["weight"].tolist() == [[1.0] * 4] * 2
    with pytest.raises(LampionError, match="no such parameter"):
        functional_call(layer, {"wieght": lp.ones(2, 4)}, lp.ones(4))
    with pytest.raises(LampionError, match="missing"):
        functional_call(layer, {"bias": lp.ones(2)}, lp.ones(4), strict=True)
    with pytest.raises(ValueError, match="several"):
        functional_call(layer, [weights, weights], lp.ones(4))


def test_tied_weights_are_replaced_together():
    class Tied(lp.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = lp.nn.Parameter(lp.ones(2))
            self.b = self.a

        def forward(self, x):
            return x * self.a + self.b

    given = {"a": lp.zeros(2)}
    assert functional_call(Tied(), given, lp.ones(2)).tolist() == [0.0, 0.0]
    assert functional_call(Tied(), given, lp.ones(2), tie_weights=False).tolist() == [1.0, 1.0]


def test_an_ensemble():
    models = [lp.nn.Linear(4, 2) for _ in range(3)]
    parameters, buffers = stack_module_state(models)
    assert buffers == {}
    assert parameters["weight"].is_leaf
    out = vmap(lambda w, x: functional_call(models[0], w, x), in_dims=(0, None))(parameters, lp.ones(5, 4))
    for model, one in zip(models, out, strict=True):
        assert_close(one, model(lp.ones(5, 4)))


# -- compiled ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "way", ["vmap of grad", "hessian", "jvp of grad", "linearize", "grad of vmap of grad"]
)
def test_transforms_are_part_of_plans(way):
    function = (FIRST | SECOND)[way]
    compiled = lp.compile(lambda x: function(x))
    for _ in range(2):
        assert_close(compiled(points()), function(points()), rtol=1e-12)


def test_planted_faults_are_seen(monkeypatch):
    """If a rule were wrong, the agreement above would fail."""
    from lampion.func import forward

    monkeypatch.setitem(forward.LINEAR, "sin", None)
    with pytest.raises(AssertionError):
        assert_close(SECOND["jvp of grad"](points()), CURVE)
