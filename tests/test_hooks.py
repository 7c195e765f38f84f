"""Hooks on tensors and nodes, saving hooks, gradients for chosen inputs."""

import gc
import weakref

import numpy as np
import pytest

import lampion as lp
from lampion.autograd import graph
from lampion.errors import GradientError, LampionError


def leaf(*values):
    return lp.tensor(values, dtype=lp.float64, requires_grad=True)


# -- on tensors ----------------------------------------------------------------------------------------


def test_hooks_run_in_order_each_on_what_the_last_one_left():
    seen = []
    x = leaf(1.0, 2.0)
    y = x * x
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.register_hook(lambda g: g * 2)
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.sum().backward()
    assert seen == [[1.0, 1.0], [2.0, 2.0]]
    assert x.grad.tolist() == [4.0, 8.0]


def test_a_removed_hook_is_silent():
    x = leaf(1.0)
    handle = x.register_hook(lambda g: g * 5)
    handle.remove()
    handle.remove()
    with x.register_hook(lambda g: g * 7):
        x.sum().backward()
    assert x.grad.tolist() == [7.0]
    x.sum().backward()
    assert x.grad.tolist() == [8.0]


def test_a_hook_on_a_leaf_sees_the_whole_gradient_once():
    seen = []
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 2 + x * 3).sum().backward()
    assert seen == [[5.0, 5.0]]


def test_hooks_see_history_with_create_graph():
    x = leaf(2.0)
    y = x * x
    y.register_hook(lambda g: g * x)  # so the gradient is 2 x^2, and its derivative 4 x
    (first,) = lp.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = lp.autograd.grad(first.sum(), x)
    assert (first.tolist(), second.tolist()) == ([8.0], [8.0])


def test_hooks_run_for_autograd_grad_too_also_on_its_inputs():
    x = leaf(1.0, 2.0)
    y = x * 3
    for tensor in (x, y):
        tensor.register_hook(lambda g: g * 10)
    assert lp.autograd.grad(y.sum(), x)[0].tolist() == [300.0, 300.0]
    y = x * 3
    y.register_hook(lambda g: g * 10)
    assert lp.autograd.grad(y.sum(), y)[0].tolist() == [10.0, 10.0]


def test_post_accumulate_hooks():
    seen = []
    x = leaf(1.0, 2.0)
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    lp.autograd.grad((x * 2).sum(), x)
    assert seen == [[2.0, 2.0], [4.0, 4.0]]


def test_hooks_of_leaves_run_as_soon_as_their_gradients_are_complete():
    seen = []
    a, b, c = leaf(1.0), leaf(2.0), leaf(3.0)
    product = a * b
    for name, tensor in {"product": product, "a": a, "b": b, "c": c}.items():
        tensor.register_hook(lambda g, name=name: seen.append(name))
    a.register_post_accumulate_grad_hook(lambda p: seen.append("after a"))
    (product * b * c).sum().backward()
    assert seen == ["c", "product", "a", "after a", "b"]


def test_a_retained_gradient_is_that_of_the_value_in_the_end():
    x = leaf(1.0, 2.0)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    (y * y).sum().backward()
    assert y.grad.tolist() == [12.0, 24.0]
    assert x.grad.tolist() == [72.0, 144.0]


def test_a_hook_must_return_a_gradient_of_the_same_form():
    x = leaf(1.0, 2.0)
    x.register_hook(lambda g: g.sum())
    with pytest.raises(GradientError, match="another shape"):
        x.sum().backward()
    y = leaf(1.0)
    y.register_hook(lambda g: 3.0)
    with pytest.raises(GradientError, match="no gradient"):
        y.sum().backward()


def test_where_no_hooks_can_be():
    with pytest.raises(GradientError, match="register_hook"):
        lp.ones(2).register_hook(print)
    with pytest.raises(GradientError, match="only a leaf"):
        (leaf(1.0) * 2).register_post_accumulate_grad_hook(print)


def test_retained_gradients_are_those_after_the_hooks():
    x = leaf(1.0, 2.0)
    y = x * x
    y.retain_grad()
    y.register_hook(lambda g: g * 3)
    y.sum().backward()
    assert y.grad.tolist() == [3.0, 3.0]
    assert y.retains_grad
    assert not x.retains_grad


def test_hooks_make_no_cycles():
    gc.disable()
    try:
        x = leaf(1.0)
        y = (x * 2).exp()
        y.register_hook(lambda g: g)
        gone = weakref.ref(y)
        y.sum().backward()
        del y
        assert gone() is None
    finally:
        gc.enable()


# -- on nodes ------------------------------------------------------------------------------------------


def test_node_hooks_before_and_after():
    seen = []
    x = leaf(1.0, 2.0)
    y = x * x
    y.grad_fn.register_prehook(lambda gradients: (gradients[0] * 3,))

    def after(inputs, outputs):
        seen.append(([g.tolist() for g in inputs], [g.tolist() for g in outputs]))
        return inputs[0] + 1, inputs[1]

    y.grad_fn.register_hook(after)
    y.sum().backward()
    assert seen == [([[3.0, 6.0], [3.0, 6.0]], [[3.0, 3.0]])]
    assert x.grad.tolist() == [7.0, 13.0]


def test_a_node_hook_must_return_as_many_gradients():
    y = leaf(1.0) * leaf(2.0)
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0],))
    with pytest.raises(GradientError, match="another number"):
        y.sum().backward()


# -- gradients for chosen inputs -----------------------------------------------------------------------


def test_backward_for_chosen_inputs():
    x, y = leaf(1.0), leaf(2.0)
    z = x * y
    (z * z).sum().backward(inputs=[x, z])
    assert x.grad.tolist() == [8.0]
    assert z.grad.tolist() == [4.0]
    assert y.grad is None
    with pytest.raises(GradientError, match="empty"):
        x.sum().backward(inputs=[])


def test_materialized_gradients():
    x, y = leaf(1.0), leaf(2.0, 3.0)
    found = lp.autograd.grad(x.sum(), (x, y), materialize_grads=True)
    assert [g.tolist() for g in found] == [[1.0], [0.0, 0.0]]


def test_a_batch_of_gradients_in_one_walk():
    x = leaf(1.0, 2.0, 3.0)
    y = x.exp() * x.sum()
    rows = lp.eye(3, dtype=lp.float64)
    (batch,) = lp.autograd.grad(y, x, rows, retain_graph=True, is_grads_batched=True)
    singles = [lp.autograd.grad(y, x, row, retain_graph=True)[0].tolist() for row in rows]
    assert np.allclose(batch.tolist(), singles)


def test_gradient_edges_outlive_tensors():
    x = leaf(1.0, 2.0)
    y = x * x
    edge = graph.get_gradient_edge(y)
    z = y.sum()
    del y
    assert lp.autograd.grad(z, edge)[0].tolist() == [1.0, 1.0]
    start = graph.get_gradient_edge(x * 3)
    assert lp.autograd.grad(start, x, lp.ones(2, dtype=lp.float64))[0].tolist() == [3.0, 3.0]


# -- what the tape saves -------------------------------------------------------------------------------


def test_saving_hooks_see_every_saved_tensor():
    kept = []

    def pack(tensor):
        kept.append(tensor.tolist())
        return len(kept) - 1

    x = leaf(1.0, 2.0)
    with graph.saved_tensors_hooks(pack, lambda i: lp.tensor(kept[i], dtype=lp.float64)):
        y = (x.exp() * x).sum()
    y.backward(create_graph=True)
    assert kept == [np.exp([1.0, 2.0]).tolist(), np.exp([1.0, 2.0]).tolist(), [1.0, 2.0]]
    assert np.allclose(x.grad.tolist(), [2 * np.e, 3 * np.e**2])
    (second,) = lp.autograd.grad(x.grad.sum(), x)
    assert np.allclose(second.tolist(), [3 * np.e, 4 * np.e**2])


def test_saving_hooks_can_be_refused():
    with graph.disable_saved_tensors_hooks("not here"), pytest.raises(GradientError, match="not here"):
        graph.saved_tensors_hooks(lambda x: x, lambda x: x).__enter__()
    x = leaf(2.0)
    with graph.save_on_cpu():
        y = x * x
    y.sum().backward()
    assert x.grad.tolist() == [4.0]


def test_an_unpack_hook_must_return_a_tensor():
    with graph.saved_tensors_hooks(lambda x: 1, lambda x: x):
        y = leaf(1.0).exp()
    with pytest.raises(GradientError, match="unpack"):
        y.sum().backward()


def test_a_raised_version_is_noticed():
    x = leaf(1.0)
    y = x.exp()
    graph.increment_version(y)
    with pytest.raises(LampionError, match="overwritten"):
        y.sum().backward()


# -- in compiled functions -----------------------------------------------------------------------------


def test_hooks_on_computed_tensors_are_part_of_the_plan():
    @lp.compile
    def step(x):
        y = x * 2
        y.register_hook(lambda g: g * 3)
        return lp.autograd.grad((y * y).sum(), x)[0]

    for _ in range(2):
        assert step(lp.ones(2, requires_grad=True)).tolist() == [24.0, 24.0]


def test_a_leaf_with_hooks_makes_the_step_run_eagerly_also_later():
    w = lp.ones(2, requires_grad=True)

    @lp.compile
    def step():
        w.grad = None
        (w * 3).sum().backward()
        return w.grad

    assert step().tolist() == [3.0, 3.0]
    w.register_hook(lambda g: g * 2)
    with pytest.warns(RuntimeWarning, match="hooks"):
        assert step().tolist() == [6.0, 6.0]
