"""Tables of vectors: rows that there are not, rows that are too long, bags, tied weights."""

import numpy as np
import pytest

import lampion as lp
from lampion import nn
from lampion.autograd import SparseGradient
from lampion.nn import functional as F
from lampion.testing import assert_close

W = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)


def test_a_row_that_there_is_not():
    layer = nn.Embedding(6, 3)
    for bad in (6, -1):
        with pytest.raises(IndexError, match=rf"index {bad} is out of range: num_embeddings is 6\n.*0 to 5"):
            layer(lp.tensor([[1, bad]]))
        with pytest.raises(IndexError, match=rf"index {bad} is out of range"):
            lp.compile(layer)(lp.tensor([[1, bad]]))
        with pytest.raises(IndexError, match="num_embeddings is 6"):
            nn.EmbeddingBag(6, 3)(lp.tensor([[1, bad]]))


@pytest.mark.parametrize("run", [lambda f: f, lp.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("norm_type", [1.0, 2.0])
def test_rows_that_are_used_and_too_long_are_shortened(run, norm_type):
    table = lp.tensor(W)

    def looked_up(table, index):
        return F.embedding(index, table, max_norm=0.5, norm_type=norm_type)

    found = run(looked_up)(table, lp.tensor([2, 4, 2]))
    assert_close(lp.linalg.vector_norm(found, norm_type, 1), lp.full((3,), 0.5), rtol=1e-5)
    kept = [0, 1, 3, 5]
    np.testing.assert_array_equal(table.numpy()[kept], W[kept])
    assert_close(table[lp.tensor([2, 4, 2])], found)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_with_sparse_gradients(mode):
    index, offsets = lp.tensor([1, 1, 4, 2, 5]), lp.tensor([0, 2, 2, 5])
    found = []
    for sparse in (True, False):
        bag = nn.EmbeddingBag.from_pretrained(
            lp.tensor(W), False, mode=mode, sparse=sparse, include_last_offset=True, padding_idx=2
        )
        out = bag(index, offsets)
        (out**2).sum().backward()
        found.append((out, bag.weight.grad))
    assert isinstance(found[0][1], SparseGradient) and found[0][0].shape == (3, 3)
    assert not found[0][0][1].any()  # an empty bag
    assert_close(found[0][0], found[1][0])
    assert_close(found[0][1].to_dense(), found[1][1])


def test_from_pretrained_shares_and_freezes():
    values = lp.tensor(W)
    layer = nn.Embedding.from_pretrained(values, padding_idx=-1)
    assert not layer.weight.requires_grad and layer.padding_idx == 5
    values[0] = 7.0
    assert (layer(lp.tensor([0])) == 7).all()


def test_a_tied_table_in_a_compiled_step():
    """One table for the words that are read and for the scores of those that follow."""
    twins = []
    for _ in range(2):
        lp.manual_seed(0)
        table = nn.Embedding(6, 3)
        out = nn.Linear(3, 6)
        out.weight = table.weight
        model = nn.Sequential(table, nn.Tanh(), out)
        optimizer = lp.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        twins.append((model, optimizer))

    def step(model, optimizer, words, following):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(words), following)
        loss.backward()
        optimizer.step()
        return loss

    assert len(list(twins[0][0].parameters())) == 2
    compiled = lp.compile(lambda words, following: step(*twins[0], words, following))
    for number in range(4):
        batch = lp.tensor([1, 4, (2 + number) % 6, 4]), lp.tensor([4, 0, 4, 1])
        # Sums of a few terms in another order, whose difference grows with the steps.
        assert_close(compiled(*batch), step(*twins[1], *batch), rtol=1e-5, atol=1e-6)
        assert twins[0][0][0].weight is twins[0][0][2].weight
        assert_close(twins[0][0].state_dict(), twins[1][0].state_dict(), rtol=1e-5, atol=1e-6)
    assert compiled.traces == 1 and not compiled.refused


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_truncated_back_propagation_in_a_compiled_step(kind):
    """The state goes on from batch to batch; gradients stop where it is detached."""
    twins = []
    for _ in range(2):
        lp.manual_seed(0)
        parts = nn.Embedding(6, 3), getattr(nn, kind)(3, 4, batch_first=True), nn.Linear(4, 6)
        twins.append((parts, lp.optim.SGD([p for part in parts for p in part.parameters()], lr=0.5)))

    def step(twin, words, following, state):
        (table, rnn, out), optimizer = twin
        optimizer.zero_grad()
        hidden, state = rnn(table(words), state)
        loss = F.cross_entropy(out(hidden).flatten(0, 1), following.flatten())
        loss.backward()
        optimizer.step()
        return loss, tuple(x.detach() for x in state) if isinstance(state, tuple) else state.detach()

    compiled = lp.compile(lambda *batch: step(twins[0], *batch))
    state = lp.zeros(1, 2, 4), lp.zeros(1, 2, 4)
    states = [state if kind == "LSTM" else state[0]] * 2
    text = np.random.default_rng(1).integers(0, 6, (2, 22))
    for start in range(0, 20, 5):
        words, following = (lp.tensor(text[:, start + i : start + i + 5]) for i in (0, 1))
        (loss, states[0]), (expected, states[1]) = (
            compiled(words, following, states[0]), step(twins[1], words, following, states[1])
        )  # fmt: skip
        assert_close(loss, expected, rtol=1e-5)
        assert_close(states[0], states[1], rtol=1e-4, atol=1e-6)
    assert compiled.traces == 1 and not compiled.refused
    for ours, theirs in zip(twins[0][0], twins[1][0], strict=True):
        assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-4, atol=1e-6)
