"""Views share memory as in PyTorch: reading, writing through them, gradients, shapes changed in place."""

import numpy as np
import pytest

import lampion as lp
from lampion.errors import GradientError, InplaceError, LampionError, OverwrittenError, ShapeError
from lampion.testing import assert_close, assert_identical

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="needs torch")

X = np.arange(24.0).reshape(2, 3, 4)
#: name: what to do with a (2, 3, 4) tensor; in both libraries, since the names are the same.
VIEWS = {
    "view": lambda x: x.view(4, 6), "view -1": lambda x: x.view(-1, 2), "reshape": lambda x: x.reshape(6, 4),
    "view_as": lambda x: x.view_as(x.transpose(0, 1).contiguous()), "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(2, (2, 2)), "ravel": lambda x: x.ravel(),
    "squeeze": lambda x: x[:1].squeeze(0),
    "squeeze several": lambda x: x[:1, :1].squeeze((0, 1)), "unsqueeze": lambda x: x.unsqueeze(1),
    "transpose": lambda x: x.transpose(0, 2), "swapaxes": lambda x: x.swapaxes(0, 1),
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, -1), "mT": lambda x: x.mT, "T": lambda x: x[0].T,
    "t": lambda x: x[1].t(),
    "narrow": lambda x: x.narrow(1, 1, 2), "select": lambda x: x.select(2, -1), "slice": lambda x: x[:, ::2,
    1:],
    "None and integer": lambda x: x[None, :, 1], "unbind": lambda x: x.unbind(1)[2],
    "split": lambda x: x.split(2, 1)[1],
    "split sizes": lambda x: x.split([1, 2], 1)[1], "chunk": lambda x: x.chunk(2, 2)[1],
    "tensor_split": lambda x: x.tensor_split((1,), 1)[1], "hsplit": lambda x: x.hsplit(3)[1],
    "vsplit": lambda x: x.vsplit(2)[1], "dsplit": lambda x: x.dsplit((1, 3))[1],
    "diagonal": lambda x: x.diagonal(0, 1, 2),
    "diagonal below": lambda x: x.diagonal(-1, 0, 1), "unfold": lambda x: x.unfold(2, 2, 2),
    "as_strided": lambda x: x.as_strided((3, 2), (4, 1), 5),
    "as_strided of a view": lambda x: x[1].as_strided((2, 2), (1, 3)),
    "expand to its own shape": lambda x: x.expand(2, 3, 4), "expand by 1": lambda x: x.expand(1, 2, -1, 4),
    "atleast_3d": lambda x: lib(x).atleast_3d(x[0]),
    "broadcast_tensors": lambda x: lib(x).broadcast_tensors(x, x[0])[0],
    "a view of a view": lambda x: x.permute(1, 0, 2)[1:].diagonal(1, 0, 2), "detach": lambda x: x.detach(),
    "unsafe_split": lambda x: x.unsafe_split(2, 1)[1], "0-d": lambda x: x[1, 2, 3],
}  # fmt: skip


ONE_OF_SEVERAL = {
    "unbind": lambda x: x[:, 2], "split": lambda x: x[:, 2:], "split sizes": lambda x: x[:, 1:],
    "chunk": lambda x: x[..., 2:], "unsafe_split": lambda x: x[:, 2:],
}  # fmt: skip


def lib(x):
    return lp if isinstance(x, lp.Tensor) else torch


def pair(array=X, requires_grad=False):
    return (
        lp.from_numpy(array.copy()).requires_grad_(requires_grad),
        torch.from_numpy(array.copy()).requires_grad_(requires_grad),
    )


@needs_torch
@pytest.mark.parametrize("name", VIEWS)
def test_writing_through_a_view(name):
    x, y = pair()
    mine, theirs = VIEWS[name](x), VIEWS[name](y)
    assert_identical(mine, theirs.numpy())
    assert mine is x or mine._base is x
    mine.mul_(2).add_(1)
    theirs.mul_(2).add_(1)
    assert_identical(x, y.numpy(), label="the base, after a write to the view")
    x.zero_()
    assert not np.any(mine.numpy()), "the view, after a write to the base"


@needs_torch
@pytest.mark.parametrize("name", set(VIEWS) - {"detach"})
def test_gradients_of_writing_through_a_view(name):
    """First and second derivatives of what reads base and view, after both were written to."""
    found = []
    for x in pair(requires_grad=True):
        base = x * 1.5
        # PyTorch refuses to write to one of several views made by one call; Lampion does not.
        view = ONE_OF_SEVERAL.get(name, VIEWS[name])(base) if lib(x) is torch else VIEWS[name](base)
        view.mul_(view.detach() * 0 + 3).add_(1)
        base.mul_(2)
        loss = (base * base * base).sum() + (view * view).sum()
        (slope,) = lib(x).autograd.grad(loss, x, create_graph=True)
        (second,) = lib(x).autograd.grad((slope * slope).sum(), x)
        found.append([slope.detach().numpy(), second.numpy()])
    for a, b in zip(*found, strict=True):
        assert_close(a, b)


@needs_torch
@pytest.mark.parametrize("name", set(VIEWS) - {"detach", "unsafe_split"})
def test_overlapping_writes_compiled(name):
    """The same program, interpreted and compiled."""
    pytest.importorskip("llvmlite")
    from lampion.compiler.function import run_as

    def program(x):
        base = x * 1.5
        view = VIEWS[name](base)
        view.add_(1)
        base.mul_(2)
        return base, view * 1

    x = lp.from_numpy(X.copy())
    expected = program(x)
    for reading in ("interpreted", "compiled"):
        assert_identical(run_as(reading, program, x), expected, label=reading)


@pytest.mark.parametrize("view", [
    lambda x: x.expand(3, 2), lambda x: x[0].unfold(0, 1, 1).expand(2, 2),
    lambda x: x.as_strided((2, 2), (0, 1)),
    lambda x: x.as_strided((2, 1), (1, 1))[None].expand(2, 2, 1),
    lambda x: lp.cat([x, x]).reshape(-1).unfold(0, 3, 1),
])  # fmt: skip
def test_elements_that_share_a_place_are_not_written_to(view):
    x = lp.zeros(1, 2)
    with pytest.raises(InplaceError, match="share one place"):
        view(x).add_(1)
    pytest.importorskip("llvmlite")
    from lampion.compiler.function import run_as

    with pytest.raises(InplaceError, match="share one place"):
        run_as("interpreted", lambda x: view(x * 1).add_(1), x)


def test_copies_share_nothing():
    x = lp.zeros(2, 2)
    for copy in (x.repeat(1, 1), x.tile(1), x.flip(0), x.roll(0, 0), x.rot90(0), lp.diagonal_copy(x),
    lp.view_copy(x, 4),
                 lp.cat([x]), lp.squeeze_copy(x), x.narrow_copy(0, 0, 2), lp.atleast_1d(x).clone(),
                 x.repeat_interleave(1, 0),
                 x.tril(), x.index_select(0, lp.tensor([0, 1])), lp.diag(x), x.masked_fill(x > 1, 0),
                 x[lp.tensor([0])]):  # fmt: skip
        copy += 1
        assert not np.any(x.numpy())


def test_a_view_that_would_copy_is_an_error():
    x = lp.zeros(2, 3)
    with pytest.raises(ShapeError, match="contiguous"):
        x.T.view(6)
    assert x.T.reshape(6)._base is not x


# -- other types ---------------------------------------------------------------------------------------


@needs_torch
@pytest.mark.parametrize(
    ("old", "new"), [("float32", "int32"), ("float64", "int32"), ("uint8", "int16"), ("int64", "float64")]
)
def test_the_same_bytes_as_another_type(old, new):
    x, y = pair(np.arange(8).reshape(2, 4).astype(old))
    mine, theirs = x.view(getattr(lp, new)), y.view(getattr(torch, new))
    assert_identical(mine, theirs.numpy())
    mine.zero_()
    assert not np.any(x.numpy())


def test_bytes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"cannot be read as lampion.float64"):
        lp.zeros(2, 3).view(lp.float64)
    with pytest.raises(ShapeError, match="contiguous elements"):
        lp.zeros(2, 4).T.view(lp.float64)


# -- shapes changed in place ---------------------------------------------------------------------------


CHANGES = {
    "as_strided_": lambda x: x.as_strided_((2, 3), (1, 4)), "t_": lambda x: x[0].t_(),
    "transpose_": lambda x: x.transpose_(0, 2),
    "swapaxes_": lambda x: x.swapaxes_(0, 1),
    "swapdims_": lambda x: x.swapdims_(0, 1), "squeeze_": lambda x: x[:1].squeeze_(0),
    "unsqueeze_": lambda x: x.unsqueeze_(1),
}  # fmt: skip


@needs_torch
@pytest.mark.parametrize("name", CHANGES)
def test_a_shape_changed_in_place(name):
    x, y = pair()
    mine, theirs = CHANGES[name](x), CHANGES[name](y)
    assert_identical(mine, theirs.numpy())
    mine[0] = 9.0
    theirs[0] = 9.0
    assert_identical(x, y.numpy())


@needs_torch
def test_gradients_through_a_shape_changed_in_place():
    found = []
    for x in pair(requires_grad=True):
        base = x * x
        assert base.transpose_(0, 1) is base
        base[0] *= 2.0
        base.unsqueeze_(0)
        weights = (x.detach() + 1).reshape(base.shape)
        (base * base * weights).sum().backward()
        found.append(x.grad.numpy())
    assert_close(*found)


def test_a_view_of_what_was_changed_in_place():
    base = lp.ones(2, 3, requires_grad=True) * 2
    view = base[0]
    base.t_()
    base += 1
    assert view.tolist() == [3, 3, 3]
    with pytest.raises(InplaceError, match="another shape in place"):
        view.sum().backward()
    with pytest.raises(InplaceError, match="another shape in place"):
        view += 1


def test_leaves_keep_their_shape():
    with pytest.raises(InplaceError, match="leaf"):
        lp.ones(2, 3, requires_grad=True).t_()


def test_compiled_programs_change_only_their_own_shapes():
    pytest.importorskip("llvmlite")
    from lampion.compiler.function import run_as

    def program(x):
        y = x * 2
        y.t_()
        y[0] = 0.0
        return y.unsqueeze_(0)

    x = lp.from_numpy(X[0].copy())
    assert_identical(run_as("compiled", program, x), program(x))
    with pytest.warns(RuntimeWarning, match="changes the shape of a tensor in place"):
        lp.compile(lambda x: x.t_() + 1)(x)


@needs_torch
@pytest.mark.parametrize(
    ("shape", "wrap"), [((3, 4), False), ((7, 2), True), ((7, 2), False), ((3, 3, 3), False), ((2, 0), True)]
)
def test_fill_diagonal(shape, wrap):
    x, y = pair(np.zeros(shape))
    assert x.fill_diagonal_(5, wrap) is x
    assert_identical(x, y.fill_diagonal_(5, wrap).numpy())


def test_fill_diagonal_wants_equal_sizes():
    with pytest.raises(ShapeError, match="of one size"):
        lp.zeros(2, 3, 2).fill_diagonal_(1)


def test_resize():
    x = lp.arange(6)
    assert x.resize_(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    part = x[0]
    assert x.resize_(2).tolist() == [0, 1]
    x[0] = 7
    assert part.tolist() == [7, 1, 2]
    assert x.resize_((2, 2)).tolist() == [[7, 1], [0, 0]]
    assert x.resize_as_(lp.zeros(1, 3)).shape == (1, 3)
    with pytest.raises(GradientError, match="requires a gradient"):
        lp.ones(2, requires_grad=True).resize_(3)
    with pytest.raises(LampionError, match="a view cannot become larger"):
        lp.zeros(2, 3)[0].resize_(7)


# -- as_strided ------------------------------------------------------------------------------------------


@needs_torch
@pytest.mark.parametrize("call", [
    lambda x: x.as_strided((2, 2), (1, 2)), lambda x: x.as_strided((3, 3), (2, 1), 4),
    lambda x: x.as_strided((4,), (0,), 3), lambda x: x[1].as_strided((2, 2), (4, 1)),
    lambda x: x.transpose(0, 2).as_strided((3, 2), (1, 8), 2),
    lambda x: x[:, 1].as_strided((), (), 7), lambda x: (x.mT * 2).as_strided((2, 3), (12, 4)),
])  # fmt: skip
def test_as_strided(call):
    """Values, first and second derivatives; also where windows overlap."""
    found = []
    for x in pair(requires_grad=True):
        part = call(x * 1)
        loss = (part * part * part).sum() + x.sum()
        (slope,) = lib(x).autograd.grad(loss, x, create_graph=True)
        (second,) = lib(x).autograd.grad((slope * slope).sum(), x)
        found.append([part.detach().numpy(), slope.detach().numpy(), second.numpy()])
    for a, b in zip(*found, strict=True):
        assert_close(a, b)


def test_as_strided_stays_in_its_memory():
    buffer = np.arange(10.0)
    x = lp.from_numpy(buffer[2:6])
    with pytest.raises(ShapeError, match="outside of the tensor's memory"):
        x.as_strided((5,), (1,))
    assert x[1:].as_strided((4,), (1,), 0).tolist() == [2, 3, 4, 5]
    assert x.as_strided((2, 0), (1, 1)).shape == (2, 0)


def test_as_strided_of_a_view_reaches_the_rest_of_its_base():
    """And so do gradients. (PyTorch's stop at the elements of the view.)"""
    x = lp.arange(4.0).requires_grad_()
    base = x * 1
    base[2:].as_strided((2,), (1,), 0).sum().backward()
    assert x.grad.tolist() == [1, 1, 0, 0]


# -- functions of no tensor ------------------------------------------------------------------------------


def test_sizes_by_name():
    x = lp.arange(4)
    found = [
        lp.reshape(x, shape=(2, 2)), x.view(size=(2, 2)), lp.permute(x[None], dims=(1, 0)),
        lp.broadcast_to(x, size=(2, 4)),
        x.expand(size=(2, 4)), lp.tile(x, dims=(2, 1)), x.repeat(repeats=(2, 1)), x.sum_to_size(size=(1,)),
    ]  # fmt: skip
    assert [y.shape for y in found] == [(2, 2), (2, 2), (4, 1), (2, 4), (2, 4), (2, 4), (2, 4), (1,)]


def test_broadcast_shapes():
    assert lp.broadcast_shapes((2, 1), (3,), 1, ()) == (2, 3)
    with pytest.raises(ShapeError, match="do not broadcast"):
        lp.broadcast_shapes((2,), (3,))
    with pytest.raises(ShapeError, match="negative"):
        lp.broadcast_shapes((-1,))


@pytest.mark.parametrize("k", [-2, 0, 1, 5])
def test_indices_of_triangles(k):
    assert_identical(lp.tril_indices(3, 4, k), np.stack(np.tril_indices(3, k, 4)))
    assert_identical(lp.triu_indices(3, 4, offset=k), np.stack(np.triu_indices(3, k, 4)))
    assert lp.tril_indices(2, 2, dtype=lp.int32).dtype is lp.int32


def test_a_view_overwritten_after_it_was_saved():
    x = lp.ones(2, 3, requires_grad=True)
    y = x * 2
    z = y.diagonal() ** 2
    y.unfold(1, 1, 1).zero_()
    with pytest.raises(OverwrittenError):
        z.sum().backward()
