"""Gradients that hold only the rows that were used, and optimizers that touch no others."""

import copy
import re

import numpy as np
import pytest

import lampion as lp
from lampion import nn
from lampion.autograd import SparseGradient
from lampion.errors import LampionError, OptionError
from lampion.nn import functional as F
from lampion.testing import assert_close

ROWS, WIDTH = 12, 3
W = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(np.float32)
OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
    ("SparseAdam", {"lr": 0.1}),
    ("SparseAdam", {"lr": 0.1, "maximize": True}),
]
IDS = [f"{name}-{'-'.join(options)}" for name, options in OPTIMIZERS]


def table(sparse=True, dtype=lp.float32, **options):
    return nn.Embedding.from_pretrained(lp.tensor(W, dtype=dtype), freeze=False, sparse=sparse, **options)


def both(loss, **options):
    """The gradient of a loss by the table: sparse, and whole."""
    layers = table(True, **options), table(False, **options)
    for layer in layers:
        loss(layer).backward()
    return tuple(layer.weight.grad for layer in layers)


BATCH = lp.tensor([[2, 5, 2], [7, 2, 5]])


@pytest.mark.parametrize("options", [{}, {"padding_idx": 5}, {"scale_grad_by_freq": True}], ids=str)
def test_it_is_the_whole_gradient(options):
    sparse, whole = both(lambda layer: (layer(BATCH) ** 2).sum(), **options)
    assert isinstance(sparse, SparseGradient) and sparse.is_sparse and not whole.is_sparse
    assert sparse._indices().shape == (1, 6) and sparse._values().shape == (6, WIDTH) and sparse._nnz() == 6
    assert sparse.shape == sparse.size() == (ROWS, WIDTH) and (sparse.sparse_dim(), sparse.dense_dim()) == (
        1,
        1,
    )
    assert_close(sparse.to_dense(), whole)


def test_coalescing():
    sparse, whole = both(lambda layer: (layer(BATCH) ** 2).sum())
    with pytest.raises(LampionError, match="uncoalesced"):
        sparse.values()
    once = sparse.coalesce()
    assert once.is_coalesced() and once.indices().tolist() == [[2, 5, 7]]
    assert_close(once.values(), whole[lp.tensor([2, 5, 7])])
    assert_close(once.to_dense(), whole)
    assert once.coalesce() is once


def test_sums_of_gradients():
    def used_twice(layer):
        return (layer(BATCH) ** 2).sum() + layer(lp.tensor([1, 2])).sum()

    sparse, whole = both(used_twice)
    assert sparse._nnz() == 8
    assert_close(sparse.to_dense(), whole)
    mixed, whole = both(lambda layer: layer(BATCH).sum() + (layer.weight * 2).sum())  # tied to something else
    assert isinstance(mixed, lp.Tensor)
    assert_close(mixed, whole)


def test_accumulating_into_grad():
    layer, other = table(), table(False)
    for number in range(3):
        for one in (layer, other):
            (one(BATCH + number) ** 2).sum().backward()
    assert layer.weight.grad._nnz() == 18
    assert_close(layer.weight.grad.to_dense(), other.weight.grad)
    for one in (layer, other):
        one.weight.square().sum().backward()
    assert isinstance(layer.weight.grad, lp.Tensor)
    assert_close(layer.weight.grad, other.weight.grad)
    layer.weight.grad = None
    layer(BATCH).sum().backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad._nnz() == 0 and not layer.weight.grad.to_dense().any()


def test_the_batch_may_be_written_to_afterwards():
    layer, batch = table(), BATCH.clone()
    layer(batch).sum().backward()
    batch.zero_()
    assert set(layer.weight.grad._indices()[0].tolist()) == {2, 5, 7}


def test_second_derivatives_go_by_whole_gradients():
    layer = table(dtype=lp.float64)
    (g,) = lp.autograd.grad((layer(BATCH) ** 3).sum(), [layer.weight], create_graph=True)
    (g**2).sum().backward()
    second = layer.weight.grad.to_dense()
    assert isinstance(g, lp.Tensor) and second[2].all() and not second[0].any()


@pytest.mark.parametrize("norm_type", [1.0, 2.0, float("inf")])
def test_clipping(norm_type):
    layers = table(), table(False)
    norms = []
    for layer in layers:
        (layer(BATCH) ** 2).sum().backward()
        norms.append(nn.utils.clip_grad_norm_(layer.parameters(), 0.5, norm_type))
    assert_close(*norms)
    assert_close(layers[0].weight.grad.to_dense(), layers[1].weight.grad)
    for layer in layers:
        nn.utils.clip_grad_value_(layer.parameters(), 0.1)
    assert_close(layers[0].weight.grad.to_dense(), layers[1].weight.grad)


def test_what_it_has_not_says_what_to_use():
    sparse, _ = both(lambda layer: layer(BATCH).sum())
    with pytest.raises(AttributeError, match=r"no `sin`; .to_dense\(\)"):
        sparse.sin()
    with pytest.raises(LampionError, match=r"call \.to_dense"):
        lp.sin(sparse)
    with pytest.raises(LampionError, match=r"call \.to_dense"):
        np.asarray(sparse)
    assert re.match(r"SparseGradient\(indices=.*nnz=6\)$", repr(sparse), re.DOTALL)


def test_copies_and_types():
    layer = table()
    layer(BATCH).sum().backward()
    twin = copy.deepcopy(layer)
    assert twin.weight.grad is not layer.weight.grad
    assert_close(twin.weight.grad.to_dense(), layer.weight.grad.to_dense())
    assert twin.double().weight.grad.dtype is lp.float64


# -- optimizers --------------------------------------------------------------------------------------------


def problem(name, options, sparse=True, dtype=lp.float64):
    layer = table(sparse, dtype=dtype, padding_idx=4)
    optimizer = getattr(lp.optim, name)(layer.parameters(), **options)

    def step(batch):
        optimizer.zero_grad()
        loss = (layer(batch).sum(1) ** 2).sum().sqrt()
        loss.backward()
        optimizer.step()
        return loss

    return layer, optimizer, step


BATCHES = [lp.tensor(b) for b in np.random.default_rng(1).integers(0, 8, (5, 2, 4))]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=IDS)
def test_a_compiled_step_is_the_eager_one(name, options):
    here, there = (problem(name, options) for _ in range(2))
    compiled = lp.compile(there[2])
    for number, batch in enumerate(BATCHES):
        for _, optimizer, _ in (here, there):
            optimizer.param_groups[0]["lr"] *= 0.9
        # Sums in another order, whose difference grows with the steps.
        assert_close(compiled(batch), here[2](batch), rtol=1e-10, label=f"loss {number}")
        assert_close(there[0].weight, here[0].weight, rtol=1e-10, atol=1e-12, label=f"step {number}")
        grads = [which[0].weight.grad for which in (there, here)]
        assert all(isinstance(g, SparseGradient) for g in grads)
        assert_close(grads[0].to_dense(), grads[1].to_dense(), rtol=1e-10, atol=1e-12)
    assert compiled.traces == 1 and not compiled.refused
    saved, expected = (part[1].state_dict()["state"] for part in (there, here))
    assert_close(saved, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "options"), [case for case in OPTIMIZERS if "momentum" not in case[1]])
def test_no_pass_over_the_table_remains(name, options):
    layers = [nn.Embedding(2000, 8, sparse=True) for _ in range(2)]
    optimizer = getattr(lp.optim, name)([layer.weight for layer in layers], **options)

    @lp.compile
    def step(i, j):
        optimizer.zero_grad()
        loss = (layers[0](i) * layers[1](j)).sum()
        loss.backward()
        optimizer.step()
        return loss

    before = [layer.weight.detach().clone() for layer in layers]
    i, j = lp.tensor([1, 7, 1]), lp.tensor([3, 3, 1999])
    step(i, j)
    assert not re.search(r"2000x8|[^,\d]16,?000 ", str(step.explain())), step.explain()
    for layer, old, used in zip(layers, before, ([1, 7], [3, 1999]), strict=True):
        assert (layer.weight != old).any(1).nonzero().flatten().tolist() == used


@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_without_memory_of_other_steps_it_is_the_step_of_the_whole_gradient(name):
    here, there = problem(name, {"lr": 0.1}), problem(name, {"lr": 0.1}, sparse=False)
    for batch in BATCHES:
        assert_close(here[2](batch), there[2](batch), rtol=1e-12)
    assert_close(here[0].weight, there[0].weight, rtol=1e-12)


def test_sparse_adam_is_adam_where_all_rows_are_used():
    options = {"lr": 0.1, "eps": 1e-12}  # which stands elsewhere
    here, there = problem("SparseAdam", options), problem("Adam", options, sparse=False)
    everything = lp.arange(ROWS).reshape(2, -1)
    for _ in range(4):
        here[2](everything)
        there[2](everything)
    assert_close(here[0].weight, there[0].weight, rtol=1e-8)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "SparseAdam"])
def test_entries_of_one_row_count_as_their_sum(name):
    layers = table(dtype=lp.float64), table(dtype=lp.float64)
    optimizers = [getattr(lp.optim, name)(layer.parameters(), lr=0.1) for layer in layers]
    for batch in BATCHES:
        for layer in layers:
            layer.zero_grad()
            (layer(batch) ** 2).sum().backward()
        layers[1].weight.grad = layers[1].weight.grad.coalesce()
        for optimizer in optimizers:
            optimizer.step()
        assert_close(layers[0].weight, layers[1].weight, rtol=1e-12)


def test_rows_that_are_not_used_stay_as_they_are():
    layer, optimizer, step = problem("SparseAdam", {"lr": 0.1})
    step(lp.tensor([[1, 2]]))
    kept = {key: value.clone() for key, value in optimizer.state[layer.weight].items() if key != "step"}
    before = layer.weight.detach().clone()
    step(lp.tensor([[2, 3]]))
    moved = (layer.weight != before).any(1).nonzero().flatten().tolist()
    assert moved == [2, 3]
    for key, old in kept.items():
        assert (optimizer.state[layer.weight][key] != old).any(1).nonzero().flatten().tolist() == [2, 3]


def test_a_sparse_grad_from_before_is_not_compiled_into_a_step():
    layer, optimizer, _ = problem("SGD", {"lr": 0.1})
    twin, other, _ = problem("SGD", {"lr": 0.1})

    def accumulating(layer, optimizer):
        layer(BATCH).sum().backward()
        optimizer.step()

    layer(BATCH).sum().backward()
    twin(BATCH).sum().backward()
    compiled = lp.compile(lambda: accumulating(layer, optimizer))
    with pytest.warns(RuntimeWarning, match="sparse .grad"):
        compiled()
    accumulating(twin, other)
    assert_close(layer.weight, twin.weight)


def test_what_optimizers_refuse():
    layer = table()
    layer(BATCH).sum().backward()
    for name, options, message in [
        ("Adam", {}, "does not support sparse gradients, please consider SparseAdam"),
        ("SGD", {"weight_decay": 0.1}, "weight_decay option is not compatible with sparse gradients"),
        ("Adagrad", {"weight_decay": 0.1}, "weight_decay option is not compatible with sparse gradients"),
    ]:
        with pytest.raises(OptionError, match=message):
            getattr(lp.optim, name)(layer.parameters(), **options).step()
    layer.weight.grad = layer.weight.grad.to_dense()
    with pytest.raises(
        OptionError, match="SparseAdam does not support dense gradients, please consider Adam"
    ):
        lp.optim.SparseAdam(layer.parameters()).step()
    for options, message in [({"lr": 0.0}, "learning rate"), ({"eps": 0.0}, "epsilon")]:
        with pytest.raises(OptionError, match=message):
            lp.optim.SparseAdam(layer.parameters(), **options)


def test_functional_embedding_of_what_is_no_leaf():
    weight = lp.tensor(W, requires_grad=True)
    F.embedding(BATCH, weight * 2, sparse=True).sum().backward()
    assert isinstance(weight.grad, lp.Tensor)


# -- other ways to it ----------------------------------------------------------------------------------------


def test_hooks_hear_it_and_may_change_it():
    layer, heard = table(), []
    layer.weight.register_hook(lambda g: (heard.append(g), g * 2)[1])
    layer.weight.register_post_accumulate_grad_hook(lambda p: heard.append(p.grad))
    layer(BATCH).sum().backward()
    assert [type(g) for g in heard] == [SparseGradient] * 2 and heard[1] is layer.weight.grad
    assert_close(heard[1].to_dense(), heard[0].to_dense() * 2)


def test_where_only_the_forward_pass_is_compiled_it_is_whole():
    layer, other = table(), table()
    compiled = lp.compile(lambda batch: layer(batch) ** 2)
    for _ in range(2):
        layer.zero_grad()
        compiled(BATCH).sum().backward()
    (other(BATCH) ** 2).sum().backward()
    assert isinstance(layer.weight.grad, lp.Tensor)
    assert_close(layer.weight.grad, other.weight.grad.to_dense())


def test_compiled_steps_clip_accumulate_and_return_it():
    layer = table()

    def step(batch):
        layer.zero_grad()
        layer(batch).sum().backward()
        (layer(batch + 1) ** 2).sum().backward()
        norm = nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
        return norm, layer.weight.grad

    compiled = lp.compile(step)
    for _ in range(3):  # the third takes the short way
        norm, g = compiled(BATCH)
        assert isinstance(g, SparseGradient) and g._nnz() == 12
    expected, whole = step(BATCH)
    assert compiled.traces == 1 and not compiled.refused
    assert_close(norm, expected, rtol=1e-5)
    assert_close(g.to_dense(), whole.to_dense(), rtol=1e-5, atol=1e-7)


def test_a_scaler_for_gradients():
    layer, other = table(), table()
    for one, scale in ((layer, 8.0), (other, None)):
        optimizer = lp.optim.SGD(one.parameters(), lr=0.5)
        scaler = lp.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
        scaler.scale((one(BATCH) ** 2).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert_close(layer.weight, other.weight, rtol=1e-6)


def test_a_rule_of_the_users_own_in_a_compiled_step():
    layer, other = table(), table()

    def step(layer, batch):
        layer.weight.grad = None
        (layer(batch) ** 2).sum().backward()
        with lp.no_grad():
            g = layer.weight.grad
            if g.is_sparse:
                layer.weight.index_add_(0, g._indices()[0], g._values() * -0.1)
        return batch

    compiled = lp.compile(lambda batch: step(layer, batch))
    for _ in range(3):
        compiled(BATCH)
        step(other, BATCH)
    assert compiled.traces == 1 and not compiled.refused
    assert_close(layer.weight, other.weight, rtol=1e-5)
