"""Views share memory, in-place operations follow PyTorch's rules, gradients follow both."""

import contextlib

import numpy as np
import programs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lampion as lp
from lampion.compiler.capture import CaptureError
from lampion.errors import InplaceError, OverwrittenError, ShapeError
from lampion.testing import assert_close, assert_compiled, assert_identical, assert_interpreted, gradcheck


def grid(*shape):
    """0, 1, 2, ... as float64."""
    return lp.arange(int(np.prod(shape)), dtype=lp.float64).reshape(shape)


def leaf(*shape):
    return lp.randn(*shape, dtype=lp.float64, requires_grad=True)


# -- views -------------------------------------------------------------------------------------------

VIEWS = {
    "an integer": lambda x: x[1],
    "a slice": lambda x: x[:, 1:3],
    "a step": lambda x: x[::2, ::3],
    "a column": lambda x: x[:, 1],
    "None": lambda x: x[None, :, None],
    "...": lambda x: x[..., 0],
    "permute": lambda x: x.permute(1, 0),
    "transpose": lambda x: x.transpose(0, 1),
    "T": lambda x: x.T,
    "reshape": lambda x: x.reshape(2, 6),
    "view": lambda x: x.view(-1),
    "flatten": lambda x: x.flatten(),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x.unsqueeze(0).squeeze(),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "a view of a view": lambda x: x.T[1:].unsqueeze(0)[..., ::2],
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_writes_into_its_base(name):
    x = grid(3, 4)
    view = VIEWS[name](x)
    same = VIEWS[name](lp.from_numpy(x.numpy()))
    view.fill_(-1.0)
    assert (same == -1.0).all()
    assert (x == -1.0).sum().item() == view.numel()
    x.add_(5.0)
    assert (view == 4.0).all()


@pytest.mark.parametrize("name", VIEWS)
def test_versions_are_shared_by_all_views(name):
    x = grid(3, 4)
    view = VIEWS[name](x)
    before = x._version[0]
    view.mul_(2.0)
    assert x._version[0] == view._version[0] == before + 1


def test_reshape_copies_where_it_must():
    x = grid(3, 4)
    x.T.reshape(12).zero_()
    assert x.numpy()[1, 1] == 5.0


def test_index_tensors_and_expressions_copy():
    x = grid(3, 4)
    x[lp.tensor([0, 1])].zero_()
    (x + 0.0).zero_()
    x.clone().zero_()
    lp.tensor(x).zero_()
    assert x.numpy()[1, 1] == 5.0


def test_from_numpy_shares_memory():
    array = np.arange(4.0)
    x = lp.from_numpy(array[::-1])
    x[0] = 10.0
    assert array[3] == 10.0
    array[0] = 7.0
    assert x[3].item() == 7.0
    assert x.numpy().base is array


def test_writing_into_a_stretched_tensor_is_refused():
    for x in (lp.ones(3).expand(2, 3), lp.ones(1).broadcast_to(4)):
        with pytest.raises(InplaceError, match="clone"):
            x.add_(1.0)


def test_writing_into_a_read_only_array_is_refused():
    array = np.ones(3)
    array.flags.writeable = False
    with pytest.raises(InplaceError, match="clone"):
        lp.from_numpy(array).zero_()


# -- assignment --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [0, -1, slice(1, 3), (slice(None), 1), (0, 2), ..., (slice(None, None, 2), slice(1, None)), (None, 0)],
)
@pytest.mark.parametrize("value", [3, 2.5, True, "row"])
def test_setitem(key, value):
    x, expected = grid(3, 4), np.arange(12.0).reshape(3, 4)
    if value == "row":
        value = np.arange(expected[key].shape[-1] if np.ndim(expected[key]) else 1) + 0.5
        value = value if np.ndim(expected[key]) else value[0]
    x[key] = lp.from_numpy(np.asarray(value)) if isinstance(value, np.ndarray) else value
    expected[key] = value
    assert_identical(x, expected)


def test_setitem_converts_to_the_tensors_type():
    x = lp.zeros(3, dtype=lp.int64)
    x[0] = 2.9
    x[1:] = lp.tensor([1.5, -1.5])
    assert x.tolist() == [2, 1, -1]


def test_setitem_within_one_tensor():
    x = grid(5)
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3]
    x = grid(3, 3)
    x.copy_(x.T)
    assert x.tolist() == grid(3, 3).T.tolist()


def test_inplace_keeps_shape_and_type():
    x = lp.ones(3)
    x.add_(lp.ones(3, dtype=lp.float64))
    assert x.dtype is lp.float32
    with pytest.raises(ShapeError, match="does not fit"):
        x.add_(lp.ones(2, 3))
    assert x.tolist() == [2.0, 2.0, 2.0]


# -- in-place operations and gradients: PyTorch's rules ------------------------------------------------


def test_a_result_takes_over_the_history():
    x = leaf(3)
    y = x * 2
    z = y
    y += x
    assert z is y
    y.sum().backward()
    assert x.grad.tolist() == [3.0] * 3


def test_a_plain_tensor_starts_to_require_a_gradient():
    x, w = leaf(3), lp.zeros(3, dtype=lp.float64)
    w.add_(x * 2)
    assert w.requires_grad
    w.sum().backward()
    assert x.grad.tolist() == [2.0] * 3


def test_a_leaf_may_not_be_changed():
    x = leaf(3)
    writes = (lambda: x.add_(1.0), lambda: x[0].zero_(), lambda: x.T.mul_(2.0), lambda: x.__setitem__(0, 1.0))
    for write in writes:
        before = x.tolist()
        with pytest.raises(InplaceError, match=r"leaf(.|\n)*no_grad"):
            write()
        assert x.tolist() == before
    with lp.no_grad():
        x.add_(1.0)
        x[0] = 5.0
    assert x.is_leaf
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0] * 3


def test_a_view_of_a_detached_leaf_may_not_be_changed():
    x = lp.ones(2).detach().requires_grad_()
    with pytest.raises(InplaceError, match="leaf"):
        x[0].mul_(2)
    assert x.tolist() == [1.0, 1.0]


def test_a_view_made_under_no_grad_may_not_be_changed_later():
    x = leaf(3) * 1
    with lp.no_grad():
        view = x[0]
    with pytest.raises(InplaceError, match="made under no_grad"):
        view.mul_(leaf())


def test_writing_through_a_view_reaches_the_base():
    x = leaf(2, 3)
    y = x * 2
    y[0].mul_(10.0)
    y[:, 1] = 0.0
    y.sum().backward()
    assert x.grad.tolist() == [[20.0, 0.0, 20.0], [2.0, 0.0, 2.0]]


def test_writing_into_the_base_reaches_views():
    x = leaf(2, 3)
    y = x * 2
    row, column = y[0], y.T[1]
    y.mul_(x)
    (row.sum() + column.sum() * 10).backward()
    expected = np.zeros((2, 3))
    expected[0] += 1
    expected[:, 1] += 10
    assert_close(x.grad, expected * 4 * x.detach().numpy())


def test_views_see_each_others_writes():
    def program(x):
        y = x * 1.0
        first, second = y[0], y[:, 1:]
        second.mul_(x[:, 1:])
        first.add_(second[1].sum())
        return first.sin().sum() + second.cos().sum() * y.sum()

    gradcheck(program, leaf(2, 3))


def test_an_old_result_keeps_its_own_gradient():
    x = leaf(3)
    y = x * 2
    before = y + 0.0
    y.zero_()
    (before.sum() + y.sum()).backward()
    assert x.grad.tolist() == [2.0] * 3


def test_copying_cuts_off_what_was_there():
    x, w = leaf(3), leaf(3)
    y = x * 2
    y.copy_(w)
    y.sum().backward()
    assert x.grad is None or x.grad.tolist() == [0.0] * 3
    assert w.grad.tolist() == [1.0] * 3


def test_a_gradient_reaches_a_value_that_is_set():
    x, value = leaf(3), leaf()
    y = x * 1.0
    y[1] = value * 3
    (y * y).sum().backward()
    assert_close(value.grad.item(), 18 * value.item())
    assert x.grad[1].item() == 0.0


def test_an_inplace_operation_may_need_its_own_old_value():
    """As in PyTorch, which then saves a copy: the gradient of y reads the x that is overwritten."""
    x, y = leaf(3), leaf(3)
    before = x.detach().clone()
    z = x * 1.0
    z.mul_(y)
    z.sum().backward()
    assert_close(y.grad, before)
    assert_close(x.grad, y.detach())


def test_a_write_under_no_grad_is_invisible_to_autograd():
    x = leaf(3)
    y = x * 2
    with lp.no_grad():
        y.fill_(7.0)
    y.sum().backward()
    assert x.grad.tolist() == [2.0] * 3


def test_detached_aliases_write_without_history():
    x = leaf(3)
    y = x * 2
    y.detach().fill_(7.0)
    y.sum().backward()
    assert x.grad.tolist() == [2.0] * 3
    assert y.tolist() == [7.0] * 3


# -- overwritten values ------------------------------------------------------------------------------

SAVING = {
    "mul": lambda x, y: x * y,
    "div": lambda x, y: y / x,
    "sin": lambda x, y: x.sin(),
    "pow": lambda x, y: x**2.5,
    "matmul": lambda x, y: x @ y,
    "amax": lambda x, y: x.amax(),
    "where": lambda x, y: lp.where(x > 0, x, y) * x,
}


@pytest.mark.parametrize("name", SAVING)
@pytest.mark.parametrize("through", ["itself", "a view", "a detached alias", "the base", "no_grad"])
def test_overwriting_a_saved_value_is_an_error(name, through):
    base = lp.rand(2, 3, dtype=lp.float64, requires_grad=True) + 0.5
    x, y = base[0], leaf(3)
    out = SAVING[name](x, y).sum()
    if through == "no_grad":
        with lp.no_grad():
            x.zero_()
    else:
        alias = {"itself": x, "a view": x[1:], "a detached alias": x.detach()[:1], "the base": base}[through]
        alias.mul_(2.0)
    with pytest.raises(OverwrittenError, match="was overwritten in place"):
        out.backward()


@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "sqrt", "relu"])
def test_overwriting_a_saved_output_is_an_error(name):
    y = getattr(leaf(3), name)()
    z = y.sum()
    y.add_(1.0)
    with pytest.raises(OverwrittenError):
        z.backward()


def test_overwriting_what_is_not_needed_is_no_error():
    x, c = leaf(3), lp.ones(3, dtype=lp.float64)
    y = x * 3  # a product with a number needs nothing
    z = (y + x).sum()
    y.zero_()
    z.backward()
    assert x.grad.tolist() == [4.0] * 3
    w = leaf(3) * 1.0
    out = (w * c).sum()  # only w's gradient is asked for: it reads c, not w
    w.zero_()
    out.backward()


def test_optimizers_may_overwrite_parameters_after_backward():
    w, x = leaf(3), lp.ones(3, dtype=lp.float64)
    for _ in range(3):
        loss = ((w * x) ** 2).sum()
        w.grad = None
        loss.backward()
        with lp.no_grad():
            w.sub_(w.grad * 0.1)
    loss = (w * w).sum()
    with lp.no_grad():
        w.zero_()
    with pytest.raises(OverwrittenError):
        loss.backward()


# -- random ones -------------------------------------------------------------------------------------


def shapes_that_stretch():
    """Pairs of shapes that broadcast to each other."""

    @st.composite
    def draw_pair(draw):
        full = draw(st.lists(st.integers(0, 3), max_size=4))
        starts = [draw(st.integers(0, len(full))) for _ in range(2)]
        return [tuple(draw(st.sampled_from((1, n))) for n in full[start:]) for start in starts]

    return draw_pair()


def arrays(shape, seed):
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


@given(shapes_that_stretch(), st.randoms(use_true_random=False))
def test_broadcasting(shapes, random):
    xs = [lp.from_numpy(arrays(shape, i)) for i, shape in enumerate(shapes)]
    op = random.choice(["add", "sub", "mul", "div", "pow", "maximum", "where"])
    if op == "where":
        assert_close(lp.where(xs[0] > 1, *xs), np.where(xs[0].numpy() > 1, xs[0].numpy(), xs[1].numpy()))
    else:
        reference = {"sub": "subtract", "mul": "multiply", "div": "true_divide", "pow": "power"}.get(op, op)
        assert_close(getattr(lp, op)(*xs), getattr(np, reference)(*(x.numpy() for x in xs)))
        gradcheck(getattr(lp, op), xs)


@st.composite
def rearrangements(draw):
    """A shape, and a chain of views of it as functions of tensors and of arrays."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    chain, now = [], shape
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["permute", "slice", "new", "reshape"]))
        if kind == "permute":
            order = tuple(draw(st.permutations(range(len(now)))))
            chain.append((lambda x, o=order: x.permute(*o), lambda x, o=order: x.transpose(o)))
        elif kind == "slice" and now:
            bound = [st.integers(-n, n + 1) for n in now]
            key = tuple(slice(draw(b), draw(b), draw(st.integers(1, 3))) for b in bound)
            chain.append((lambda x, k=key: x[k],) * 2)
        elif kind == "new":
            axis = draw(st.integers(0, len(now)))
            chain.append((lambda x, a=axis: x.unsqueeze(a), lambda x, a=axis: np.expand_dims(x, a)))
        elif kind == "reshape":
            chain.append((lambda x: x.reshape(-1, 1) if x.numel() else x.flatten(),
                          lambda x: x.reshape(-1, 1) if x.size else x.reshape(-1)))  # fmt: skip
        array = np.empty(shape)
        for _, change in chain:
            array = change(array)
        now = array.shape
    return shape, chain


@given(rearrangements())
def test_chains_of_views(case):
    shape, chain = case
    base = np.arange(float(np.prod(shape))).reshape(shape)
    x, array = lp.from_numpy(base.copy()), base
    for of_tensor, of_array in chain:
        x, array = of_tensor(x), of_array(array)
    assert_identical(x, array)

    def through(x):
        for change, _ in chain:
            x = change(x)
        return x * x

    gradcheck(through, lp.from_numpy(base + 1))


@given(programs.programs)
def test_programs_compute_what_numpy_computes(program):
    expected = programs.run(program, [programs.Array(a) for a in programs.numbers_for()])
    made = programs.run(program, [lp.from_numpy(a) for a in programs.numbers_for()])
    assert_close([x.detach() for x in made], [np.asarray(x.array) for x in expected], rtol=1e-12, atol=1e-12)


@given(programs.programs)
def test_programs_have_the_right_gradients(program):
    def function(*xs):
        return programs.loss(programs.run(program, xs))

    xs = [lp.from_numpy(a) for a in programs.numbers_for()]
    # Refused is not wrong; which programs are refused is compared with PyTorch in parity/.
    with contextlib.suppress(OverwrittenError):
        gradcheck(function, xs)


@settings(max_examples=20)
@given(programs.programs)
def test_programs_in_all_readings(program):
    def function(*xs):
        made = programs.run(program, xs)
        slopes = lp.autograd.grad(programs.loss(made), xs, allow_unused=True)
        return [x.detach() for x in made], [slope for slope in slopes if slope is not None]

    xs = [lp.from_numpy(a.astype(np.float32)).requires_grad_() for a in programs.numbers_for()]
    # What tracing refuses runs eagerly, with a warning.
    with contextlib.suppress(OverwrittenError, CaptureError):
        assert_interpreted(function, *xs)
        assert_compiled(function, *xs)


def test_view_shares_memory_or_fails():
    x = lp.zeros(2, 3)
    x.view(6).fill_(1)
    assert x.tolist() == [[1.0] * 3] * 2
    with pytest.raises(ShapeError, match=r"view: the elements do not lie in memory.*\n.*\(3, 2\) as \(6,\)"):
        x.t().view(6)


def test_rows_picked_by_a_tensor_can_be_written_to():
    x, rows = lp.zeros(4, 2), lp.tensor([0, 2])
    x[rows] = 1.0
    x[[1, 2]] += 2.0
    assert x.tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [0.0, 0.0]]


def test_written_at_once_where_there_is_no_history():
    """NumPy writes into the tensor's own memory, also where both sides lie in it; the version counts it."""
    x = lp.arange(9.0).reshape(3, 3)
    want, version = (x + x.T).numpy(), x._version[0]
    x += x.T
    np.testing.assert_array_equal(x.numpy(), want)
    assert x._version[0] == version + 1
    row = x[1]
    row *= 2.0
    np.testing.assert_array_equal(x.numpy()[1], want[1] * 2)
    with pytest.raises(ShapeError):
        row += x
    weight = lp.ones(3, requires_grad=True)
    z = (weight * weight).exp()
    with lp.no_grad():
        weight += 1.0
    with pytest.raises(OverwrittenError):
        z.sum().backward()
