"""What can be asked of a compiled function's gradient: parts of it, twice, with hooks, of higher order."""

import warnings

import pytest
from twins import Table, X, Y, check, error_of, net, randn, state

import lampion as lp
from lampion import nn
from lampion.autograd import grad
from lampion.nn import functional as F
from lampion.utils.checkpoint import checkpoint

table = Table()


# -- what a backward pass may ask for ------------------------------------------------------------------


@table
def some_of_the_gradients(compile, note):
    a, b, c = (randn(3, 3, seed=i, requires_grad=True) for i in range(3))
    run = compile(lambda: ((a @ b).tanh().sum(), (b @ c).sum()))
    for wanted in ((a,), (b,), (a, c), (a, b, c)):
        first, second = run()
        note(grad(first + second, wanted))
    first, second = run()
    note(grad(first, (a, c), allow_unused=True), grad(second, (b,)))
    note(error_of(grad, run()[0], c), grad(run()[0], c, allow_unused=True, materialize_grads=True))
    run()[0].backward(inputs=[b])
    note(a.grad, b.grad)
    first, second = run()
    lp.autograd.backward([first, second], [lp.tensor(2.0), None])
    note(a.grad, b.grad, c.grad)


@table
def captured_tensors_with_a_graph(compile, note):
    weight = randn(4, requires_grad=True)
    scale, part = weight * 2, weight[1:]
    run = compile(lambda x: (x * scale, part.exp()))
    for _ in range(3):
        a, b = run(X[0])
        (a.sum() + b.sum()).backward(retain_graph=True)
        note(weight.grad, run(X[1]))
    a.sum().backward()
    note(weight.grad)
    scale, part = weight.exp(), weight[:2]
    a, b = run(X[0])
    (a.sum() + b.sum()).backward()
    note(weight.grad, error_of(run(X[1])[0].sum().backward))


@table
def twice_through_one_graph(compile, note):
    x = randn(4, requires_grad=True)
    both = compile(lambda x: ((x * x).sum(), x.exp().sum(), (x + 1).sum()))
    for _ in range(2):
        a, b, c = both(x)
        a.backward(retain_graph=True)
        note(x.grad)
        a.backward()
        note(x.grad, error_of(a.backward))
        b.backward()
        note(x.grad, error_of(b.backward))
        c.backward()
        c.backward()
        note(x.grad, error_of((a + c).backward))


@table
def overwritten_in_between(compile, note):
    weight, bias = randn(4, requires_grad=True), randn(4, seed=1, requires_grad=True)
    run = compile(lambda x: ((x * weight).tanh() + bias, x.exp()))
    x = randn(4, seed=2, requires_grad=True)

    def after(change):
        first, second = run(x)
        with lp.no_grad():
            change(first, second)
        note(error_of((first.sum() + second.sum()).backward))

    for _ in range(2):
        after(lambda first, second: weight.mul_(2))
        after(lambda first, second: x.add_(1))
        after(lambda first, second: second.add_(1))
        first, second = run(x)
        with lp.no_grad():
            bias.add_(1)
            first.add_(1)
        (first.sum() + second.sum()).backward()
        first, second = run(x)
        with lp.no_grad():
            second.add_(1)
        first.sum().backward()
        note(x.grad, weight.grad, bias.grad)


@table
def the_input_is_reused(compile, note):
    """What eager does not save may be overwritten: the plan keeps a copy where it needs one."""
    weight = randn(4, requires_grad=True)
    run = compile(lambda x: (weight * (x * 2 + 1)).sum())
    batch = randn(4, seed=2)
    for seed in (3, 4):
        loss = run(batch)
        batch.copy_(randn(4, seed=seed))
        loss.backward()
        note(weight.grad)


@table
def a_buffer_changes_inside(compile, note):
    weight, scale = randn(4, requires_grad=True), lp.ones(4)

    @compile
    def run(x):
        y = weight * scale.exp() * x
        with lp.no_grad():
            scale.mul_(0.9).add_(x.mean())
        return y * scale

    for seed in range(3):
        run(randn(4, seed=seed)).sum().backward()
        note(weight.grad, scale)


@table
def hooks(compile, note):
    weight = randn(4, requires_grad=True)
    weight.register_hook(lambda g: g * 2)
    seen = []
    weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.sum().item()))
    run = compile(lambda x: (x * weight, x.exp()))
    x = randn(4, seed=2, requires_grad=True)
    for _ in range(3):
        y, z = run(x * 1)
        y.register_hook(lambda g: g * 3)
        z.retain_grad()
        y.grad_fn.register_hook(lambda inputs, outputs: None)
        (y + z).sum().backward()
        note(weight.grad, x.grad, z.grad, seen)
    one = compile(lambda x: x * weight)
    y = one(x)
    y.grad_fn.register_hook(lambda inputs, outputs: tuple(None if g is None else g * 5 for g in inputs))
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] + 1,))
    y.sum().backward()
    note(weight.grad, x.grad)


@table
def random_numbers(compile, note):
    weight = randn(200, requires_grad=True)
    drop = compile(lambda x: F.dropout(x * weight, 0.5))
    for _ in range(2):
        y = drop(randn(200, seed=1))
        lp.rand(3)  # what is drawn in between must not matter
        y.sum().backward()
        note(y, weight.grad)


# -- higher orders -------------------------------------------------------------------------------------


@table(rounded=True)
def higher_orders(compile, note):
    run = compile(lambda x, w: (x @ w).tanh().sum() + (x * x).sum().sin())
    x, w = randn(3, 4, requires_grad=True), randn(4, 2, seed=1, requires_grad=True)
    for _ in range(2):
        gx, gw = grad(run(x, w), (x, w), create_graph=True)
        note(gx, gw)
        hx, hw = grad((gx * gx).sum() + gw.sum(), (x, w), create_graph=True)
        note(hx, hw)
        note(grad(hx.sum() + (hw * hw).sum(), (x, w)))


@table(rounded=True)
def a_gradient_penalty(compile, note):
    model = nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 1))
    critic = compile(model)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)
    for seed in range(3):
        x = randn(5, 4, seed=seed, requires_grad=True)
        score = critic(x)
        (slope,) = grad(score.sum(), x, create_graph=True)
        optimizer.zero_grad()
        (score.mean() + ((slope.square().sum(1) + 1e-6).sqrt() - 1).square().mean()).backward()
        optimizer.step()
        note(slope, x.grad, state(model))


@table
def differentiated_gradients_of_some_results(compile, note):
    x, y = randn(4, requires_grad=True), randn(4, seed=1, requires_grad=True)
    run = compile(lambda x, y: (x.exp() * y, y.square(), 2 * x))
    a, b, c = run(x, y)
    (gx,) = grad(a.sum() + c.sum(), x, create_graph=True)
    note(gx, grad(gx.sum(), (x, y), retain_graph=True))
    v = randn(4, seed=2, requires_grad=True)
    (gy,) = grad(b, y, v, create_graph=True)
    note(gy, grad(gy.sum(), (y, v), retain_graph=True))
    (gc,) = grad(c.sum(), x, create_graph=True)
    note(gc.requires_grad)
    (gc,) = grad(c, x, v, create_graph=True)
    note(grad(gc.square().sum(), v))


@table
def a_graph_left_in_grad(compile, note):
    x = randn(4, requires_grad=True)
    run = compile(lambda x: x.sin().sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(x).backward(create_graph=True)
    note(x.grad)
    slope, x.grad = x.grad, None
    slope.square().sum().backward()
    note(x.grad)


@table
def jacobians_and_hessians(compile, note):
    run = compile(lambda x: (x.sin() * x.sum(), x.exp().sum()))
    x = randn(3)
    note(lp.autograd.functional.jacobian(run, x), lp.autograd.functional.jacobian(run, x, vectorize=True))
    note(lp.autograd.functional.hessian(lambda x: run(x)[1], x))
    x.requires_grad_()
    y, _ = run(x)
    note(grad(y, x, lp.eye(3), is_grads_batched=True))


@table
def transforms(compile, note):
    weight = randn(3, seed=1)
    run = compile(lambda x: (x * weight).tanh().sum())
    compiled, x = run(randn(3)), randn(5, 3)
    note(compiled, lp.func.vmap(run)(x), lp.func.grad(run)(x[0]), lp.func.vmap(lp.func.grad(run))(x))
    note(lp.func.hessian(run)(x[0]), lp.func.jvp(run, (x[0],), (x[1],)), lp.func.grad(lp.func.grad(
        lambda s: run(s * weight)))(lp.tensor(0.5)))  # fmt: skip


@table(rounded=True)
def transforms_of_what_is_trained(compile, note):
    """The derivative is recorded inside of `vmap`, since a captured tensor asks for its gradient too."""
    weight = randn(3, seed=1, requires_grad=True)
    run = compile(lambda x: (x * weight).tanh() * x.sum())
    x = randn(3, seed=2)
    jacobian = lp.func.jacrev(run)(x)
    jacobian.square().sum().backward()
    note(jacobian, weight.grad)
    lp.func.jacfwd(run)(x).square().sum().backward()
    slopes = lp.func.grad(lambda x: run(x).sum())(x)
    slopes.square().sum().backward()
    note(slopes, weight.grad)
    rows = lp.func.vmap(lp.func.grad(lambda x: run(x).sum()))(randn(4, 3, seed=4))
    rows.exp().sum().backward()
    note(rows, weight.grad)
    leaf = randn(3, seed=5, requires_grad=True)
    (batch,) = grad(run(leaf), leaf, lp.eye(3), is_grads_batched=True, create_graph=True)
    batch.square().sum().backward()
    note(batch, weight.grad, leaf.grad)


@table
def a_compiled_function_in_a_compiled_step(compile, note):
    model = net()
    forward = compile(model)
    loss = compile(lambda x: F.cross_entropy(forward(x), Y))
    for _ in range(2):
        loss(X).backward()
        forward(X).sum().backward()
        note(state(model))


# -- gradients of the user's own -----------------------------------------------------------------------


class Cube(lp.autograd.Function):
    """With a gradient that is not the true one, so that nobody can derive it."""

    slope = 5.0

    @staticmethod
    def forward(ctx, x, n):
        ctx.save_for_backward(x)
        ctx.n = n
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x * x * Cube.slope * ctx.n, None


@table
def a_function_of_the_users_own(compile, note):
    weight = randn(4, requires_grad=True)
    run = compile(lambda x: Cube.apply(x * weight, 2) + x)
    x = randn(4, seed=1, requires_grad=True)
    for Cube.slope in (5.0, 5.0, 7.0):
        run(x).sum().backward()
        note(x.grad, weight.grad, grad(run(x).sum(), weight))
        (slope,) = grad(run(x).sum(), x, create_graph=True)
        note(slope, grad(slope.sum(), (x, weight)))
        y = run(x)
        with lp.no_grad():
            x.add_(1)
        note(type(error_of(y.sum().backward)).__name__)
    y = run(x).sum()
    y.backward()
    note(error_of(y.backward))


@table
def a_checkpoint_inside(compile, note):
    """What is kept is the plan's choice anyway."""
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Dropout(0.3))
    run = compile(lambda x: checkpoint(model, x * 2).sin() + checkpoint(lambda x: Cube.apply(x, 1), x).sum())
    x = randn(3, 4, requires_grad=True)
    for _ in range(2):
        run(x).sum().backward()
        note(x.grad, state(model))
    y = run(x)
    with lp.no_grad():
        x.add_(1)
    note(type(error_of(y.sum().backward)).__name__)


# -- what runs eagerly ---------------------------------------------------------------------------------


@table(eager=True)
def a_hook_inside(compile, note):
    @compile
    def run(x):
        y = x * 2  # HERE
        y.register_hook(lambda g: g * 10)
        return y.exp()

    x = randn(4, requires_grad=True)
    for _ in range(2):
        run(x).sum().backward()
        note(x.grad)


@table(eager=True)
def another_way_of_keeping_inside(compile, note):
    @compile
    def run(x):
        with lp.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x):
            return x.exp() * 2  # HERE

    x = randn(4, requires_grad=True)
    for _ in range(2):
        run(x).sum().backward()
        note(x.grad)


@table(eager=True)
def a_loss_from_outside(compile, note):
    weight = randn(4, requires_grad=True)
    loss = (weight * weight).sum()
    run = compile(lambda: loss.backward())  # HERE
    run()
    note(weight.grad, error_of(run))


@table
def values_kept_in_another_way(compile, note):
    """Inside of `saved_tensors_hooks` a call runs eagerly, and without a warning: the next need not."""
    packed = []

    def pack(x):
        packed.append(tuple(x.shape))
        return x

    run = compile(lambda x: x.exp() * x)
    x = randn(4, requires_grad=True)
    run(x).sum().backward()
    for _ in range(2):
        with lp.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            y = run(x)
        y.sum().backward()
        note(x.grad, packed)
    run(x).sum().backward()
    note(x.grad, packed)


@pytest.mark.parametrize("scenario", table.params())
def test_call(scenario):
    check(scenario)
