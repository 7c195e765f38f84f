"""A loader goes on where it was: order, position, random parts of the samples, any kind of sampler."""

import json

import pytest

import lampion
from lampion.errors import LampionError
from lampion.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)


class Noisy(Dataset):
    """Samples with a random part, as images that are shifted at random."""

    def __len__(self):
        return 11

    def __getitem__(self, index):
        return index, lampion.rand(())


class Stream(IterableDataset):
    def __iter__(self):
        return ((i, lampion.rand(())) for i in range(11))


def own():
    return lampion.Generator().manual_seed(3)


LOADERS = {
    "tensors": lambda: DataLoader(TensorDataset(lampion.arange(11), lampion.arange(11) / 7), 2, shuffle=True),
    "random parts": lambda: DataLoader(Noisy(), 2, shuffle=True),
    "own generator": lambda: DataLoader(Noisy(), 3, shuffle=True, generator=own()),
    "in order": lambda: DataLoader(Noisy(), 4),
    "sampler": lambda: DataLoader(Noisy(), 2, sampler=RandomSampler(range(11), num_samples=25)),
    "subset": lambda: DataLoader(Noisy(), 2, sampler=SubsetRandomSampler([1, 3, 5, 7, 9], own())),
    "weighted": lambda: DataLoader(Noisy(), 2, sampler=WeightedRandomSampler([1.0] * 11, 9)),
    "batch sampler": lambda: DataLoader(
        Noisy(), batch_sampler=BatchSampler(RandomSampler(range(11), generator=own()), 3, True)
    ),
    "no batches": lambda: DataLoader(Noisy(), None, shuffle=True),
    "stream": lambda: DataLoader(Stream(), 3),
}


def events(loader, passes, seen=None, save_at=None):
    """What a training loop would see: batches, and numbers that it draws itself (dropout) meanwhile."""
    seen, saved = [] if seen is None else seen, None
    for _ in range(passes):
        for x, y in loader:
            seen.append((x, y.tolist()) if isinstance(x, int) else (x.tolist(), y.tolist()))
            seen.append(lampion.rand(2).tolist())
            if len(seen) == save_at:
                saved = json.dumps([loader.state_dict(), lampion.get_rng_state().tolist()]), len(seen)
        seen.append("end of the pass")
        if len(seen) == save_at:
            saved = json.dumps([loader.state_dict(), lampion.get_rng_state().tolist()]), len(seen)
    return seen, saved


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS.keys())
def test_a_resumed_loop_sees_what_the_whole_one_saw(make):
    lampion.manual_seed(9)
    whole, _ = events(make(), 3)
    per_pass = len(whole) // 3
    for at in (2, 4, per_pass - 1, per_pass, per_pass + 2):
        lampion.manual_seed(9)
        _, saved = events(make(), 2, save_at=at)
        text, count = saved
        lampion.manual_seed(1)  # another program, which has drawn other numbers
        lampion.rand(100)
        state, random_state = json.loads(text)
        loader = make()
        loader.load_state_dict(state)
        assert loader.state_dict() == state
        lampion.set_rng_state(lampion.tensor(random_state, dtype=lampion.uint64))
        begun = count // per_pass if at % per_pass else at // per_pass
        rest, _ = events(loader, 3 - begun)
        assert rest == whole[count:], f"resumed after {count} events"


def test_after_break_the_state_is_where_the_loop_was_left_and_a_new_loop_is_a_new_pass():
    loader = DataLoader(range(10), 2, shuffle=True)
    for _ in loader:
        break
    state = loader.state_dict()
    assert state["position"] == 1 and state["pass"] == 1
    assert len(list(loader)) == 5
    assert loader.state_dict()["position"] == 0 and loader.state_dict()["pass"] == 2
    loader.load_state_dict(state)
    assert len(list(loader)) == 4


def test_a_pass_that_was_saved_at_its_end_has_nothing_left():
    loader = DataLoader(range(4), 2, shuffle=True)
    states = [loader.state_dict() for _ in loader]
    loader.load_state_dict(states[-1])
    assert list(loader) == [] and len(list(loader)) == 2


def test_resuming_leaves_the_default_generator_alone():
    loader = DataLoader(range(8), 2, shuffle=True)
    next(iter(loader))
    state = loader.state_dict()
    loader.load_state_dict(state)
    before = lampion.get_rng_state().tolist()
    assert len(list(loader)) == 3 and lampion.get_rng_state().tolist() == before


def test_states_that_do_not_fit():
    loader = DataLoader(range(8), 2, shuffle=True)
    for bad in ({}, None, {"pass": 1, "position": -1, "start": [1, 2], "generator": None},
                {"pass": 1, "position": 0, "start": [1], "generator": None}):  # fmt: skip
        with pytest.raises(LampionError, match="not the state of a DataLoader"):
            loader.load_state_dict(bad)
    loader.load_state_dict({"pass": 1, "position": 9, "start": [1, 0], "generator": None})
    with pytest.raises(LampionError, match=r"(?s)shorter than it was.*9 batches or more.*got: 4"):
        list(loader)
