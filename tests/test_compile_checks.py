"""Which kernels can fail, and that nothing a user sees is written before the last of them."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

import lampion as lp
import lampion.nn.functional as F
from lampion import nn
from lampion.errors import IndexRangeError


def labels(step):
    return [call.label for call in step.explain().plans[0].kernels]


def embedding_step():
    lp.manual_seed(0)
    table, head = nn.Embedding(7, 4), nn.Linear(4, 5)
    opt = lp.optim.Adam([*table.parameters(), *head.parameters()], lr=0.1)

    @lp.compile
    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(head(table(x)), y)
        loss.backward()
        opt.step()
        return loss

    return step, table, head


def test_updates_behind_an_embedding_are_written_in_place():
    step, _, _ = embedding_step()
    step(lp.tensor([1, 6, 1]), lp.tensor([0, 4, 2]))
    assert not any("write back" in label for label in labels(step))


@pytest.mark.parametrize(("x", "y"), [([1, 7, 1], [0, 4, 2]), ([1, 6, 1], [0, 5, 2])], ids=["text", "label"])
def test_after_an_index_out_of_range_all_is_as_it_was(x, y):
    step, table, head = embedding_step()
    step(lp.tensor([1, 6, 1]), lp.tensor([0, 4, 2]))
    before = [p.detach().numpy().copy() for p in (*table.parameters(), *head.parameters())]
    with pytest.raises(IndexRangeError):
        step(lp.tensor(x), lp.tensor(y))
    after = [p.detach().numpy() for p in (*table.parameters(), *head.parameters())]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_an_index_that_is_in_range_for_one_tensor_may_not_be_for_another():
    """A scatter into fewer places than were read from can fail, so nothing is written before it."""
    total = lp.zeros(6)

    @lp.compile
    def step(x, index):
        total.add_(x.gather(0, index).sum())
        return lp.zeros(3).scatter_add(0, index, x[: index.shape[0]])

    x = lp.arange(6.0)
    step(x, lp.tensor([0, 2]))
    np.testing.assert_array_equal(total.numpy(), np.full(6, 2.0))
    with pytest.raises(IndexRangeError):
        step(x, lp.tensor([0, 5]))
    np.testing.assert_array_equal(total.numpy(), np.full(6, 2.0))


def test_no_points_are_no_check():
    """Where a gather has no points, it has not looked at its index."""

    @lp.compile
    def step(x, index, out):
        rows = x[index]  # (2, 0)
        out.add_(rows.sum())
        return lp.zeros(3).index_put((index,), lp.ones(2))

    out = lp.zeros(1)
    with pytest.raises(IndexRangeError):
        step(lp.zeros(3, 0), lp.tensor([0, 5]), out)
    np.testing.assert_array_equal(out.numpy(), [0.0])
