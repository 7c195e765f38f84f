"""What compiled functions write: in place, in whose memory, and to the random state."""

import numpy as np
import pytest
from twins import Table, check, error_of, randn

import lampion as lp
from lampion.nn import functional as F

table = Table()
A, B = randn(3, 4, seed=2), randn(3, 4, seed=3)


# -- writing -----------------------------------------------------------------------------------------


@table(traces=1)
def arguments_are_written_to(compile, note):
    @compile
    def step(x, y):
        x.mul_(2).add_(y)
        x[0] = 7
        x[:, 1:3] *= y[:, 1:3]
        return x.sum()

    for seed in range(3):
        x, y = randn(3, 4, seed=seed), randn(3, 4, seed=seed + 9)
        note(step(x, y), x, y)


@table
def captured_tensors_are_written_to(compile, note):
    counts, rows = lp.zeros(3, dtype=lp.int64), lp.zeros(3, 4)

    @compile
    def step(x, i):
        counts.add_(1)
        rows[1:].copy_(x[1:])
        rows[0] = rows[0] + x.sum(0)
        return rows * 1, counts.sum()

    for seed in range(3):
        note(step(randn(3, 4, seed=seed), seed), counts, rows)


@table
def written_memory_that_others_share(compile, note):
    array = np.arange(10.0, dtype="f4")
    whole, left, right = lp.from_numpy(array), lp.from_numpy(array[:6]), lp.from_numpy(array[4:])

    @compile
    def move(x, y):
        x.copy_(y[:6] * 2)
        return x * 1, y * 1

    pairs = [
        (lp.ones(6), right),
        (left, lp.ones(6)),
        (left, right),
        (right, left),
        (left, whole),
        (left, left),
    ]
    for x, y in pairs:
        note(move(x, y), whole)


@table
def views_are_written_to(compile, note):
    base = lp.arange(10).float()

    @compile
    def move(x, y):
        x.copy_(y * 2)
        return x * 1

    for x, y in ((base[:6], base[4:]), (base[2:8], base[:6]), (lp.ones(6), base[:6])):
        note(move(x, y), base, x)


@table
def written_memory_that_is_captured(compile, note):
    own = lp.arange(6).float()

    @compile
    def step(x):
        own.add_(x)
        return own * 2, x * 3

    array = own.numpy()
    for x in (lp.ones(6), lp.from_numpy(array), lp.from_numpy(array[::-1]), lp.ones(6)):
        note(step(x), own)


@table
def a_captured_tensor_and_its_alias(compile, note):
    own = lp.arange(6).float()

    @compile
    def step(x):
        own.add_(x)
        return own * 2, x * 3

    for x in (lp.ones(6), own.detach(), own):
        note(step(x), own)


@table
def captured_tensors_move_into_one_memory(compile, note):
    p, q = lp.ones(4), lp.ones(4)

    @compile
    def step(x):
        p.copy_(p + x)
        q.copy_(p * 2 + q)
        return q * 1

    note(step(lp.ones(4)), p, q)
    base = lp.arange(5).float()
    p.data, q.data = base[0:4], base[1:5]
    for _ in range(3):
        note(step(lp.ones(4)), base)
    p.data, q.data = lp.ones(4), lp.zeros(4)
    note(step(lp.ones(4)), p, q, base)


@table
def captured_tensors_change_and_change_back(compile, note):
    p, q = randn(4, requires_grad=True), randn(4, seed=1)
    step = compile(lambda x: (x * p.detach() * q, p.requires_grad))
    x = lp.ones(4)
    old = q.detach()
    for change in (
        lambda: setattr(q, "data", randn(4, seed=2)),
        lambda: setattr(q, "data", randn(4, seed=3).double()),
        lambda: (setattr(q, "data", randn(4, seed=4)), p.requires_grad_(False)),
        lambda: setattr(q, "data", randn(1, seed=5)),
        lambda: setattr(q, "data", old),
        lambda: (setattr(p, "data", q * 2), p.requires_grad_(True)),
        lambda: setattr(q, "data", lp.from_numpy(np.arange(8.0, dtype="f4")[::2])),
    ):
        note(step(x))
        change()
        note(step(x), step(x))


@table
def versions_count_writes(compile, note):
    own, buffer = lp.ones(3, requires_grad=True), lp.zeros(3)
    saved = (own * own).sum()

    @compile
    def step(x):
        buffer.add_(x).mul_(2)
        with lp.no_grad():
            own.add_(x)

    step(lp.ones(3))
    step(lp.ones(3))
    note(own, buffer, type(error_of(saved.backward)).__name__)


# -- random numbers ----------------------------------------------------------------------------------


@table
def random_numbers_are_the_same(compile, note):
    step = compile(
        lambda x: (F.dropout(x, 0.3), lp.rand(3), lp.randint(0, 100, (4,)), F.dropout(x, 0.7), lp.randn(5))
    )
    note(step(A), lp.rand(2), step(A))
    lp.manual_seed(5)
    note(step(A), lp.rand(2))
    kept = lp.get_rng_state()
    note(step(B), lp.rand(2))
    lp.set_rng_state(kept)
    note(step(B), lp.rand(2))


@table
def random_numbers_nobody_needs(compile, note):
    @compile
    def step(x):
        F.dropout(x)
        return lp.rand(2)

    note(step(A), step(A), lp.rand(1))


@table
def generators_of_their_own(compile, note):
    mine = lp.Generator().manual_seed(3)
    step = compile(lambda x, g: (x + lp.rand(4, generator=g), lp.rand(1)))
    other = lp.Generator().manual_seed(4)
    note(step(A, mine), step(A, other), step(A, mine))
    note(lp.rand(3, generator=mine), lp.rand(3, generator=other))
    mine.manual_seed(3)
    note(step(A, mine))


@pytest.mark.parametrize("scenario", table.params())
def test_effect(scenario):
    check(scenario)


class Counting(lp.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", lp.zeros(()))
        self.total = lp.zeros(2)

    def forward(self, x):
        self.count += 1
        self.total += x
        return x * self.count


def test_tensors_of_a_module_are_changed_by_augmented_assignment():
    """``self.count += 1`` also stores the tensor where it is already: no reason to run eagerly."""
    model, memory = Counting(), {"sum": lp.zeros(2)}

    @lp.compile
    def step(x):
        memory["sum"] += x
        return model(x)

    for number in range(1, 4):
        assert step(lp.ones(2)).tolist() == [number, number]
        assert model.count.item() == number
        assert model.total.tolist() == memory["sum"].tolist() == [number, number]
    model.count = lp.zeros(())
    memory["sum"] = lp.ones(2)
    assert step(lp.ones(2)).tolist() == [1, 1]
    assert (model.count.item(), memory["sum"].tolist()) == (1, [2, 2])


def test_a_tensor_stored_where_it_is_by_chance():
    """Both names stood for one tensor when the function was read; later they do not."""
    model = Counting()
    model.other = model.total

    @lp.compile
    def step(x):
        model.other = model.total
        return x + model.total

    step(lp.ones(2))
    model.other = lp.ones(2)
    with pytest.warns(RuntimeWarning, match="attribute `other` of Counting is set"):
        step(lp.ones(2))
    assert model.other is model.total
