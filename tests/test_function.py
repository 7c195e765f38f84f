"""autograd.Function: operations with gradients of the user's own."""

import gc
import weakref

import pytest

import lampion as lp
from lampion.autograd import Function
from lampion.autograd.function import once_differentiable
from lampion.errors import GradientError, InplaceError, LampionError, OverwrittenError
from lampion.testing import gradcheck, gradgradcheck


def leaf(*values):
    return lp.tensor(values, dtype=lp.float64, requires_grad=True)


class Product(Function):
    """Two outputs, an argument that is no tensor."""

    @staticmethod
    def forward(ctx, a, b, n):
        ctx.save_for_backward(a, b)
        ctx.n = n
        return a * b * n, a + b

    @staticmethod
    def backward(ctx, g, h):
        a, b = ctx.saved_tensors
        return g * b * ctx.n + h, g * a * ctx.n + h, None


class Exponential(Function):
    """Saves its output, in the form with `setup_context`."""

    @staticmethod
    def forward(x):
        return x.exp()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y


def test_gradients_of_any_order():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    for function in (lambda a, b: Product.apply(a, b, 2), lambda a, b: Exponential.apply(a * b)):
        assert gradcheck(function, (a, b))
        assert gradgradcheck(function, (a, b))
    y = Exponential.apply(leaf(0.5))
    assert y.grad_fn.name() == "ExponentialBackward"


def test_an_output_that_nobody_uses():
    a, b = leaf(1.0), leaf(3.0)
    Product.apply(a, b, 2)[1].backward()
    assert (a.grad.tolist(), b.grad.tolist()) == ([1.0], [1.0])


def test_gradients_that_are_not_made_up():
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, h):
            seen.append((g, h is None))
            return g * 2

    Two.apply(leaf(1.0))[0].backward()
    assert seen[0][1]


def test_needs_input_grad():
    seen = []

    class Look(Function):
        @staticmethod
        def forward(ctx, a, b, n):
            return a + b

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            return g, g, None

    Look.apply(leaf(1.0), leaf(1.0).detach(), 3).backward()
    assert seen == [(True, False, False)]


def test_outputs_without_gradient():
    class Order(Function):
        @staticmethod
        def forward(ctx, x):
            order = x.argsort()
            fixed = x * 0
            ctx.mark_non_differentiable(fixed)
            ctx.save_for_backward(order)
            return x[order], order, fixed

        @staticmethod
        def backward(ctx, g, none, zeros):
            (order,) = ctx.saved_tensors
            assert zeros.tolist() == [0.0, 0.0, 0.0]
            return lp.zeros_like(g).scatter_add(0, order, g)

    x = leaf(3.0, 1.0, 2.0)
    values, order, fixed = Order.apply(x)
    assert not order.requires_grad
    assert not fixed.requires_grad
    (values * lp.tensor([1.0, 2.0, 3.0], dtype=lp.float64)).sum().backward()
    assert x.grad.tolist() == [3.0, 1.0, 2.0]


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_changing_an_input_in_place():
    x = leaf(1.0, 2.0)
    whole = x * 1
    out = Doubled.apply(whole)
    assert out is whole
    (whole * whole).sum().backward()
    assert x.grad.tolist() == [8.0, 16.0]


def test_changing_a_view_in_place():
    x = leaf(1.0, 2.0)
    whole = x * 1
    Doubled.apply(whole[:1])
    (whole * whole).sum().backward()
    assert (whole.tolist(), x.grad.tolist()) == ([2.0, 2.0], [8.0, 4.0])


def test_what_may_not_be_changed_in_place():
    with pytest.raises(InplaceError):
        Doubled.apply(leaf(1.0))

    class Forgets(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x * 2

    with pytest.raises(LampionError, match="not returned"):
        Forgets.apply(leaf(1.0) * 1)


def test_an_input_that_is_handed_on():
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 3

    x = leaf(1.0)
    y = Identity.apply(x)
    assert y is not x
    y.sum().backward()
    assert x.grad.tolist() == [3.0]


def test_wrong_backwards_are_told():
    def made(result):
        class Wrong(Function):
            @staticmethod
            def forward(ctx, x, n):
                return x * n

            @staticmethod
            def backward(ctx, g):
                return result(g)

        return Wrong.apply(leaf(1.0, 2.0), 3)

    cases = {
        "wrong number": lambda g: g,
        "another shape": lambda g: (lp.ones(3, dtype=lp.float64), None),
        "which has none": lambda g: (g, g),
    }
    for message, result in cases.items():
        with pytest.raises(GradientError, match=message):
            made(result).sum().backward()
    made(lambda g: (g, None, None)).sum().backward()  # more than enough


def test_a_smaller_gradient_broadcasts():
    class Sum(Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf(1.0, 2.0)
    Sum.apply(x).backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_saved_tensors_are_checked_and_freed():
    a, b = leaf(1.0), leaf(2.0)
    y = Product.apply(a * 1, b, 1)[0]
    y.backward()
    with pytest.raises(GradientError, match="already been made"):
        y.backward()
    middle = a * 1
    y = Product.apply(middle, b, 1)[0]
    middle.add_(1)
    with pytest.raises(OverwrittenError, match="saved by Product"):
        y.backward()
    with pytest.raises(LampionError, match="only tensors"):

        class Saves(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(3)

        Saves.apply(a)


def test_once_differentiable():
    class Once(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return lp.from_numpy(g.numpy() * 2 * x.detach().numpy())

    x = leaf(3.0)
    Once.apply(x).backward()
    assert x.grad.tolist() == [6.0]
    (slope,) = lp.autograd.grad(Once.apply(x).sum(), x, create_graph=True)
    with pytest.raises(GradientError, match="differentiated twice"):
        slope.sum().backward()


def test_no_cycles_and_no_instances():
    gc.disable()
    try:
        x = leaf(1.0)
        y, z = Product.apply(x, x, 1)
        e = Exponential.apply(y)
        gone = [weakref.ref(t) for t in (y, z, e)]
        nodes = weakref.ref(e.grad_fn)
        del y, z, e
        assert [ref() for ref in (*gone, nodes)] == [None] * 4
    finally:
        gc.enable()
    with pytest.raises(TypeError, match="apply"):
        Exponential()


def test_without_recording_forward_alone_runs():
    with lp.no_grad():
        assert not Exponential.apply(leaf(0.0)).requires_grad
    assert not Exponential.apply(lp.zeros(1)).requires_grad


def test_saving_hooks_apply():
    x = leaf(0.5)
    with lp.autograd.graph.saved_tensors_hooks(
        lambda t: t.tolist(), lambda v: lp.tensor(v, dtype=lp.float64)
    ):
        y = Exponential.apply(x)
    (first,) = lp.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = lp.autograd.grad(first.sum(), x)
    assert first.tolist() == pytest.approx(second.tolist())


class Rounded(Function):
    """Straight through: the gradient is not that of what `forward` does."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, g):
        return g * 5


def test_transforms_use_the_gradient_that_was_written():
    from lampion.func import grad, jvp, vmap

    x = lp.tensor([0.3, 1.7], dtype=lp.float64)
    assert grad(lambda x: Rounded.apply(x).sum())(x).tolist() == [5.0, 5.0]
    assert vmap(grad(Rounded.apply))(x).tolist() == [5.0, 5.0]
    assert grad(lambda x: vmap(Rounded.apply)(x).sum())(x).tolist() == [5.0, 5.0]
    value, slope = jvp(Rounded.apply, (x,), (x,))
    assert (value.tolist(), slope.tolist()) == ([0.0, 2.0], [1.5, 8.5])


def test_a_vmap_rule_of_its_own():
    class Sorted(Function):
        @staticmethod
        def forward(x):
            return lp.tensor(sorted(x.tolist()))

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def vmap(info, in_dims, x):
            assert info.batch_size == 2
            assert in_dims == (0,)
            return lp.tensor([sorted(row) for row in x.tolist()]), 0

    rows = lp.tensor([[3.0, 1.0], [2.0, 4.0]])
    assert lp.vmap(Sorted.apply)(rows).tolist() == [[1.0, 3.0], [2.0, 4.0]]


@pytest.mark.parametrize("with_context", [False, True])
def test_gradients_under_a_vmap_rule(with_context):
    """The rule gives the values; the gradient is still `backward`'s: three times the true one, here."""

    class Exponential(Function):
        if with_context:

            @staticmethod
            def forward(ctx, x):
                y = x.exp()
                ctx.save_for_backward(y)
                return y
        else:

            @staticmethod
            def forward(x):
                return x.exp()

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, gradient):
            return 3 * gradient * ctx.saved_tensors[0]

        @staticmethod
        def vmap(info, in_dims, x):
            return Exponential.apply(x), in_dims[0]

    from lampion.func import grad, vmap

    x = lp.tensor([0.5, 1.0])
    three = (3 * x.exp()).tolist()
    assert vmap(grad(Exponential.apply))(x).tolist() == three
    assert grad(lambda x: vmap(Exponential.apply)(x).sum())(x).tolist() == three
    nine = vmap(grad(grad(Exponential.apply)))(x)
    lp.testing.assert_close(nine, 9 * x.exp())
    outer = grad(lambda x: vmap(grad(Exponential.apply))(x).sum())(x)
    lp.testing.assert_close(outer, 9 * x.exp())


def test_in_a_compiled_function():
    @lp.compile
    def step(x):
        return lp.autograd.grad((Product.apply(x, x, 3)[0] + Rounded.apply(x)).sum(), x)[0]

    for _ in range(2):
        assert step(lp.tensor([1.0, 2.0], requires_grad=True)).tolist() == [11.0, 17.0]
