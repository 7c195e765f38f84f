"""Memory comes back at once, without the garbage collector: nothing on the tape points in a circle."""

import gc
import os
import sys
import weakref

import numpy as np
import pytest

import lampion as lp
from lampion.autograd.tape import Node
from lampion.nn import functional as F


@pytest.fixture(autouse=True)
def without_the_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def watched(array):
    """A tensor over a copy of the array, and a weak reference to that memory."""
    copy = np.array(array)
    return lp.from_numpy(copy), weakref.ref(copy)


def living(*kinds):
    # type(): isinstance() asks things for their class, and some of other libraries warn when asked anything.
    return sum(issubclass(type(thing), kinds) for thing in gc.get_objects())


def test_a_tensor_is_freed_at_once():
    x, memory = watched([1.0])
    tensor = weakref.ref(x)
    del x
    assert tensor() is None
    assert memory() is None


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_graph_is_freed_with_its_last_result(create_graph):
    x, memory = watched(np.ones((3, 3)))
    w = lp.ones(3, 3, dtype=lp.float64, requires_grad=True)
    nodes = living(Node)
    loss = ((x @ w).tanh() * x).sum()
    loss.backward(create_graph=create_graph, retain_graph=True)
    assert living(Node) > nodes
    del x
    assert memory() is not None  # the graph holds it
    w.grad = None
    del loss
    assert memory() is None
    assert living(Node) == nodes


def test_a_graph_is_freed_without_backward():
    w = lp.ones(3, requires_grad=True)
    nodes, tensors = living(Node), living(lp.Tensor)
    y = ((w * 2).exp() + w[1:].sum()).sum()
    del y
    assert living(Node) == nodes
    assert living(lp.Tensor) == tensors


def test_backward_frees_what_was_saved():
    x, memory = watched(np.ones(3))
    w = lp.ones(3, dtype=lp.float64, requires_grad=True)
    loss = (x * w).sum()
    del x
    assert memory() is not None
    loss.backward()
    assert memory() is None
    assert w.grad.tolist() == [1.0] * 3


def test_an_operation_saves_no_more_than_it_needs():
    """A sum of products with a constant needs the constant, not the variable."""
    w = lp.ones(3, dtype=lp.float64, requires_grad=True)
    c = lp.ones(3, dtype=lp.float64)
    y = w * 1.0
    memory = weakref.ref(y.detach().numpy())
    z = (y * c + y).sum()
    del y
    assert memory() is None
    z.backward()
    assert w.grad.tolist() == [2.0] * 3


def test_views_keep_their_base_alive_and_no_longer():
    x, memory = watched(np.ones((3, 3)))
    view = x[0].reshape(3, 1)
    del x
    assert memory() is not None
    assert view.tolist() == [[1.0]] * 3
    del view
    assert memory() is None


def test_inplace_histories_are_freed():
    w = lp.ones(3, requires_grad=True)
    nodes = living(Node)
    y = w * 2
    view = y[1:]
    for _ in range(5):
        view.mul_(w[0])
        y.add_(view.sum())
    y.sum().backward()
    del y, view
    assert living(Node) == nodes


def test_errors_leave_nothing_behind():
    w = lp.ones(3, requires_grad=True)
    nodes = living(Node)
    for _ in range(3):
        y = (w * w).exp()
        z = y.sum()
        y.zero_()
        try:
            z.backward()
        except RuntimeError:
            pass
        else:
            raise AssertionError("the overwritten value was not noticed")
        del y, z
    assert living(Node) == nodes


def test_higher_derivatives_are_freed():
    nodes = living(Node)
    x = lp.tensor(0.5, requires_grad=True)
    y = x.sin()
    for _ in range(4):
        (y,) = lp.autograd.grad(y, x, create_graph=True)
    del y, x
    assert living(Node) == nodes


def resident():
    """Bytes of memory that this process has in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_memory_stays_flat_over_many_steps():
    """A short form of `benchmarks memory`, which takes 10,000 steps."""
    model = lp.nn.Sequential(lp.nn.Linear(2, 10), lp.nn.Tanh(), lp.nn.Dropout(0.1), lp.nn.Linear(10, 3))
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    x, labels = lp.randn(30, 2), lp.randint(0, 3, (30,))

    def steps(count):
        for _ in range(count):
            loss = F.cross_entropy(model(x), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    steps(200)  # pools fill up
    before, objects = resident(), living(lp.Tensor, Node)
    steps(2000)
    assert living(lp.Tensor, Node) == objects
    assert resident() - before < 2**20  # one kB lost in each step would be twice that
