"""Hooks, Functions, transforms and functional derivatives beside PyTorch: the same program in both."""

import warnings

import numpy as np
import pytest
import torch

import lampion as lp
import lampion.func
from lampion.testing import assert_close

X = np.linspace(-1.0, 1.5, 12).reshape(3, 4)
LIBRARIES = (lp, lampion.func, lp.autograd), (torch, torch.func, torch.autograd)


def tensors(library, *arrays):
    make = lp.from_numpy if library is lp else torch.from_numpy
    return [make(array.copy()) for array in arrays]


def same(ours, theirs, tracked=True):
    """The same values in the same structure; and the same ones belong to a graph."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        ours, theirs = list(ours.values()), list(theirs.values())
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            same(one, other, tracked)
    elif isinstance(theirs, torch.Tensor):
        assert not tracked or ours.requires_grad == theirs.requires_grad
        assert_close(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12, atol=1e-12)
    else:
        assert ours == theirs


def compare(program, *arrays, tracked=True):
    """Run a program of (library, its func, its autograd, tensors) with both."""
    results = []
    for library, func, autograd in LIBRARIES:
        with warnings.catch_warnings():
            if library is torch:
                warnings.simplefilter("ignore")
            results.append(program(library, func, autograd, *tensors(library, *arrays)))
    same(*results, tracked)


# -- transforms ----------------------------------------------------------------------------------------


def wave(t):
    return lambda x: (t.sin(x) * x.exp()).sum()


def changed(x):
    y = x.clone()
    y[1:3].mul_(x[0])
    return y


TRANSFORMS = {
    "grad": lambda t, f, a, x: f.grad(wave(t))(x),
    "grad of grad": lambda t, f, a, x: f.grad(lambda y: f.grad(wave(t))(y).sum())(x),
    "grad of vmap of grad": lambda t, f, a, x: f.grad(lambda y: f.vmap(f.grad(wave(t)))(y).sum())(x),
    "jvp of grad": lambda t, f, a, x: f.jvp(f.grad(wave(t)), (x,), (x * 2,)),
    "grad of jvp": lambda t, f, a, x: f.grad(lambda y: f.jvp(wave(t), (y,), (y * 2,))[1])(x),
    "jvp of jvp": lambda t, f, a, x: f.jvp(lambda y: f.jvp(wave(t), (y,), (y * y,))[1], (x,), (x * 2,)),
    "vmap of jvp": lambda t, f, a, x: f.vmap(lambda y: f.jvp(wave(t), (y,), (y * y,)))(x),
    "jacrev": lambda t, f, a, x: f.jacrev(lambda y: (t.sin(y) * y.sum()).sum(1), chunk_size=2)(x),
    "jacfwd": lambda t, f, a, x: f.jacfwd(lambda y: (t.sin(y) * y.sum()).sum(1))(x),
    "trees": lambda t, f, a, x: f.jacrev(lambda d, z: {"s": d["y"][0] * z, "t": z.sum()}, argnums=(0, 1))(
        {"y": [x[0]]}, x[1]
    ),
    "hessian": lambda t, f, a, x: f.hessian(wave(t))(x),
    "vmap of hessian": lambda t, f, a, x: f.vmap(f.hessian(wave(t)))(x),
    "vjp": lambda t, f, a, x: f.vjp(lambda y: (y.sin(), y.sum()), x)[1]((x, x.sum())),
    "aux": lambda t, f, a, x: f.grad(lambda y: (y.sum() * 2, y * 3), has_aux=True)(x),
    "value": lambda t, f, a, x: f.grad_and_value(lambda y, z: (y * z).sum(), argnums=(0, 1))(x, x * 2),
    "linearize": lambda t, f, a, x: (lambda r: (r[0], r[1](x)))(f.linearize(lambda y: y.sin() * 2, x)),
    "vmap with dims": lambda t, f, a, x: f.vmap(lambda p, q: (p.sum(), q * 2), (1, 0), (0, 1))(x, x.T),
    "vmap in chunks": lambda t, f, a, x: f.vmap(lambda p: p.sum(), chunk_size=2)(x),
    "vmap of indices": lambda t, f, a, x: f.vmap(lambda p, i: p[i])(x, t.tensor([[0, 1], [2, 3], [1, 1]])),
    "vmap in place": lambda t, f, a, x: (f.vmap(lambda p: p.mul_(2))(x), x),
    "a view in place": lambda t, f, a, x: f.vmap(changed)(x),
    "a view in place, forward": lambda t, f, a, x: f.jvp(changed, (x,), (x * 3,)),
    "a view in place, backward": lambda t, f, a, x: f.grad(lambda y: changed(y).sin().sum())(x),
    "with a graph outside": lambda t, f, a, x: f.grad(wave(t))(x.clone().requires_grad_()),
    "vmap with a graph outside": lambda t, f, a, x: f.vmap(t.sin)(x.clone().requires_grad_()),
    "no_grad inside": lambda t, f, a, x: f.grad(lambda y: t.no_grad()(wave(t))(y) + y.sum())(x),
    "no_grad in vmap": lambda t, f, a, x: f.grad(lambda y: f.vmap(t.no_grad()(wave(t)))(y).sum())(x),
    "no_grad outside": lambda t, f, a, x: t.no_grad()(f.grad(wave(t)))(x.clone().requires_grad_()),
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    compare(TRANSFORMS[name], X)


# -- functional ----------------------------------------------------------------------------------------


def product(x, y):
    return (x * y).sin()


def scalar(x, y):
    return ((x * y).sin() * x).sum()


FUNCTIONAL = {
    "vjp": lambda f, x, y, **k: f.vjp(product, (x, y), x * 2, **k),
    "jvp": lambda f, x, y, **k: f.jvp(product, (x, y), (x * 2, y * 3), **k),
    "jacobian": lambda f, x, y, **k: f.jacobian(product, (x, y), **k),
    "jacobian at once": lambda f, x, y, **k: f.jacobian(product, (x, y), vectorize=True, **k),
    "jacobian of several": lambda f, x, y, **k: f.jacobian(lambda a: (a * 2, a.sum()), x, **k),
    "hessian": lambda f, x, y, **k: f.hessian(scalar, (x, y), **k),
    "hessian at once": lambda f, x, y, **k: f.hessian(scalar, (x, y), vectorize=True, **k),
    "hvp": lambda f, x, y, **k: f.hvp(scalar, (x, y), (x * 2, y * 3), **k),
    "vhp": lambda f, x, y, **k: f.vhp(scalar, (x, y), (x * 2, y * 3), **k),
    "of one number": lambda f, x, y, **k: f.vjp(lambda a: a.sum(), x, **k),
}


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", FUNCTIONAL)
def test_functional(name, create_graph, requires_grad):
    def program(t, f, a, x, y):
        x.requires_grad_(requires_grad)
        y.requires_grad_(requires_grad)
        return FUNCTIONAL[name](a.functional, x, y, create_graph=create_graph)

    compare(program, X[:2, :3], X[2, :3])


def test_forward_mode_strategies():
    def program(t, f, a, x, y):
        options = {"vectorize": True, "strategy": "forward-mode"}
        first = a.functional.jacobian(product, (x, y), **options)
        return first, a.functional.hessian(
            scalar, (x, y), vectorize=True, outer_jacobian_strategy="forward-mode"
        )

    compare(program, X[:2, :3], X[2, :3], tracked=False)  # what PyTorch gives there keeps its graph


# -- hooks and Functions -------------------------------------------------------------------------------


def test_hooks():
    def program(t, f, a, values):
        log = []
        x = values.requires_grad_()
        y = x * x
        y.register_hook(lambda g: log.append(("y", g.tolist())))
        handle = y.register_hook(lambda g: g * 2)
        y.retain_grad()
        x.register_hook(lambda g: log.append(("x", g.tolist())))
        x.register_post_accumulate_grad_hook(lambda p: log.append(("after", p.grad.tolist())))
        z = y.sum()
        z.backward(retain_graph=True)
        log.append(y.grad.tolist())
        handle.remove()
        z.backward(retain_graph=True)
        log.append(x.grad.tolist())
        for target in (x, y):
            log.append(a.grad(z, target, retain_graph=True)[0].tolist())
            log.append(y.grad.tolist())
        z.backward(inputs=[y], retain_graph=True)
        z.backward(inputs=[x])
        return [*log, y.grad.tolist(), x.grad.tolist()]

    compare(program, np.array([1.0, 2.0]))


def test_node_hooks():
    def program(t, f, a, values):
        x = values.requires_grad_()
        y = x.exp()
        y.grad_fn.register_prehook(lambda g: (g[0] * 3,))
        y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] + outputs[0],))
        y.sum().backward()
        return x.grad

    compare(program, np.array([1.0, 2.0]))


def functions(t, base):
    """Functions whose gradients are not those of what they compute, so that it shows which is used."""

    class Odd(base):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, k):
            return t.round(x * k), t.sin(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0], output[1])
            ctx.save_for_forward(inputs[0], output[1])
            ctx.k = inputs[1]

        @staticmethod
        def backward(ctx, g, h):
            x, s = ctx.saved_tensors
            return g * ctx.k * x + h * s * s, None

        @staticmethod
        def jvp(ctx, dx, _):
            x, s = ctx.saved_tensors
            return dx * ctx.k * x, dx * s * s

    class Product(base):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, w):
            return x * w

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return g * w * 7, g * x * 5

    def odd(x):
        first, second = Odd.apply(x, 3)
        return (first * second + second).sum()

    return odd, Product


FUNCTIONS = {
    "grad": lambda f, o, p, x: f.grad(o)(x),
    "vmap": lambda f, o, p, x: f.vmap(o)(x),
    "vmap of grad": lambda f, o, p, x: f.vmap(f.grad(o))(x),
    "grad of vmap": lambda f, o, p, x: f.grad(lambda y: f.vmap(o)(y).sum())(x),
    "grad of grad": lambda f, o, p, x: f.grad(lambda y: f.grad(o)(y).sin().sum())(x),
    "grad of vmap of grad": lambda f, o, p, x: f.grad(lambda y: f.vmap(f.grad(o))(y).sin().sum())(x),
    "grad of grad of vmap": lambda f, o, p, x: f.grad(
        lambda z: f.grad(lambda y: f.vmap(o)(y).sum())(z).sin().sum()
    )(x),
    "jvp": lambda f, o, p, x: f.jvp(o, (x,), (x * 2,)),
    "vmap of jvp": lambda f, o, p, x: f.vmap(lambda y: f.jvp(o, (y,), (y * 2,)))(x),
    "jvp of vmap": lambda f, o, p, x: f.jvp(f.vmap(o), (x,), (x * 2,)),
    "jvp of grad": lambda f, o, p, x: f.jvp(f.grad(o), (x,), (x * 2,)),
    "grad of jvp": lambda f, o, p, x: f.grad(lambda y: f.jvp(o, (y,), (y * 2,))[1])(x),
    "jacrev of jacrev": lambda f, o, p, x: f.jacrev(f.jacrev(o))(x[0]),
    "one argument for all": lambda f, o, p, x: f.grad(
        lambda y: f.vmap(lambda a: p.apply(a, y[0]).sin().sum())(y).sum()
    )(x),
    "the other one": lambda f, o, p, x: f.grad(
        lambda y: f.vmap(lambda a: p.apply(y[0], a).sin().sum())(y).sum()
    )(x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_in_transforms(name):
    def program(t, f, a, x):
        return FUNCTIONS[name](f, *functions(t, a.Function), x)

    compare(program, X)


def test_functions_of_the_tape():
    def program(t, f, a, x, y):
        class Pair(a.Function):
            @staticmethod
            def forward(ctx, x, y, n):
                ctx.save_for_backward(x, y)
                ctx.n = n
                return x * y * n, x + y

            @staticmethod
            def backward(ctx, g, h):
                x, y = ctx.saved_tensors
                return g * y * ctx.n + h, g * x * ctx.n + h, None

        class Doubled(a.Function):
            @staticmethod
            def forward(ctx, x):
                x.mul_(2)
                ctx.mark_dirty(x)
                return x

            @staticmethod
            def backward(ctx, g):
                return g * 2

        x.requires_grad_()
        y.requires_grad_()
        p, q = Pair.apply(x, y, 2)
        first = a.grad((p * p * q).sum(), (x, y), create_graph=True)
        second = a.grad((first[0] * first[1]).sum(), (x, y))
        whole = x * 1
        out = Doubled.apply(whole[:1])
        (whole * whole).sum().backward()
        return first, second, whole, out, x.grad

    compare(program, X[0], X[1])
