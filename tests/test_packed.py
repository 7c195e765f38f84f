"""Sequences of different lengths: padding, packing, and recurrent layers over packed ones."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import lampion
from lampion import nn
from lampion.errors import LampionError
from lampion.nn.utils import rnn

RNG = np.random.default_rng(0)
LENGTHS = [4, 2, 4, 1]


def sequences(lengths: list[int], features: int = 3) -> list[np.ndarray]:
    return [RNG.standard_normal((length, features)).astype(np.float32) for length in lengths]


def both(arrays: list[np.ndarray]) -> tuple[list[Any], list[Any]]:
    torch = pytest.importorskip("torch")
    return [lampion.tensor(a) for a in arrays], [torch.tensor(a) for a in arrays]


def torch_rnn() -> Any:
    pytest.importorskip("torch")
    import torch.nn.utils.rnn

    return torch.nn.utils.rnn


def equal(ours: Any, theirs: Any) -> None:
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert str(ours.dtype).removeprefix("lampion.") == str(theirs.dtype).removeprefix("torch.")
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


def all_equal(ours: rnn.PackedSequence, theirs: Any) -> None:
    for name in ("data", "batch_sizes", "sorted_indices", "unsorted_indices"):
        equal(getattr(ours, name), getattr(theirs, name))


# -- packing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths, ordered", [([4, 2, 2, 1], True), (LENGTHS, False), ([3], True)])
@pytest.mark.parametrize("batch_first", [False, True])
def test_packs_as_pytorch_does(lengths: list[int], ordered: bool, batch_first: bool) -> None:
    theirs_rnn = torch_rnn()
    ours, theirs = both(sequences(lengths))
    x = rnn.pad_sequence(ours, batch_first, -1.0)
    equal(x, theirs_rnn.pad_sequence(theirs, batch_first, -1.0))
    y = theirs_rnn.pad_sequence(theirs, batch_first, -1.0)
    packed = rnn.pack_padded_sequence(x, lengths, batch_first, ordered)
    other = theirs_rnn.pack_padded_sequence(y, lengths, batch_first, ordered)
    # Of equally long sequences PyTorch may take either first; the sort here is stable.
    np.testing.assert_array_equal(packed.batch_sizes.numpy(), other.batch_sizes.numpy())
    for total in (None, 6):
        back, lengths_back = rnn.pad_packed_sequence(packed, batch_first, 7.0, total)
        wanted, wanted_lengths = theirs_rnn.pad_packed_sequence(other, batch_first, 7.0, total)
        equal(back, wanted)
        equal(lengths_back, wanted_lengths)
    for a, b in zip(rnn.unpack_sequence(packed), theirs, strict=True):
        equal(a, b)
    for a, b in zip(rnn.unpad_sequence(x, lampion.tensor(lengths), batch_first), theirs, strict=True):
        equal(a, b)


def test_pack_sequence_and_left_padding() -> None:
    theirs_rnn = torch_rnn()
    ours, theirs = both(sequences([1, 5, 3]))
    all_equal(rnn.pack_sequence(ours, False), theirs_rnn.pack_sequence(theirs, False))
    equal(rnn.pad_sequence(ours, padding_side="left"), theirs_rnn.pad_sequence(theirs, padding_side="left"))


def test_gradients_reach_the_sequences() -> None:
    torch = pytest.importorskip("torch")
    arrays = sequences(LENGTHS)
    ours, theirs = both(arrays)
    for x in (*ours, *theirs):
        x.requires_grad_()
    padded, _ = rnn.pad_packed_sequence(rnn.pack_sequence(ours, False))
    other, _ = torch_rnn().pad_packed_sequence(torch_rnn().pack_sequence(theirs, False))
    weights = RNG.standard_normal(tuple(padded.shape)).astype(np.float32)
    (padded * lampion.tensor(weights)).sum().backward()
    (other * torch.tensor(weights)).sum().backward()
    for x, y in zip(ours, theirs, strict=True):
        equal(x.grad, y.grad)


def test_a_packed_sequence_is_a_tuple() -> None:
    packed = rnn.pack_sequence([lampion.tensor([1.0, 2.0]), lampion.tensor([3.0])])
    data, sizes, order, back = packed
    assert (order, back) == (None, None)
    assert packed.double().data.dtype is lampion.float64
    assert packed.to(lampion.float32) is packed
    assert packed.long().batch_sizes is sizes
    assert not packed.is_cuda and not packed.is_pinned() and packed.cpu() is packed
    assert rnn.PackedSequence((data, sizes)).data is data
    again = pickle.loads(pickle.dumps(packed))
    assert isinstance(again, rnn.PackedSequence)
    assert again.data.tolist() == data.tolist()
    turned = rnn.PackedSequence(data, sizes, lampion.tensor([1, 0]))
    assert turned.unsorted_indices is not None
    assert turned.unsorted_indices.tolist() == [1, 0]


# -- layers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM", "projected"])
@pytest.mark.parametrize("layers, bidirectional", [(1, False), (1, True), (2, True)])
@pytest.mark.parametrize("given", [False, True])
def test_layers_over_packed_sequences(kind: str, layers: int, bidirectional: bool, given: bool) -> None:
    torch = pytest.importorskip("torch")
    options: dict[str, Any] = {"num_layers": layers, "bidirectional": bidirectional}
    if kind == "projected":
        kind, options["proj_size"] = "LSTM", 2
    model, other = getattr(nn, kind)(3, 5, **options), getattr(torch.nn, kind)(3, 5, **options)
    model.load_state_dict({name: lampion.tensor(x.numpy()) for name, x in other.state_dict().items()})
    arrays = sequences([2, 5, 1, 5])
    ours, theirs = both(arrays)
    for x in (*ours, *theirs):
        x.requires_grad_()
    count = layers * (2 if bidirectional else 1)
    sizes = [options.get("proj_size", 5), *([5] if kind == "LSTM" else [])]
    states = [RNG.standard_normal((count, 4, n)).astype(np.float32) for n in sizes]
    first, other_first = both(states)
    state = None if not given else tuple(first) if kind == "LSTM" else first[0]
    other_state = None if not given else tuple(other_first) if kind == "LSTM" else other_first[0]
    output, last = model(rnn.pack_sequence(ours, False), state)
    wanted, wanted_last = other(torch_rnn().pack_sequence(theirs, False), other_state)
    all_equal(output, wanted)
    ends = zip(last, wanted_last, strict=True) if kind == "LSTM" else [(last, wanted_last)]
    total, wanted_total = (output.data**2).sum(), (wanted.data**2).sum()
    for a, b in ends:
        equal(a, b)
        total, wanted_total = total + (a**3).sum(), wanted_total + (b**3).sum()
    total.backward()
    wanted_total.backward()
    for x, y in zip([*ours, *model.parameters()], [*theirs, *other.parameters()], strict=True):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_packed_is_padded_without_padding() -> None:
    """Of sequences of one length, the very same bits."""
    layer = nn.LSTM(3, 4, 2, bidirectional=True)
    x = lampion.randn(5, 2, 3)
    output, (h, c) = layer(x)
    packed, (other_h, other_c) = layer(rnn.pack_padded_sequence(x, [5, 5]))
    assert (packed.data.reshape(5, 2, 8) == output).all()
    assert (other_h == h).all() and (other_c == c).all()


# -- bad input --------------------------------------------------------------------------------------------

X = lampion.ones(4, 2, 3)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: rnn.pack_padded_sequence(X, [2, 4]), "enforce_sorted=False"),
        (lambda: rnn.pack_padded_sequence(X, [4]), "one length for each sequence"),
        (lambda: rnn.pack_padded_sequence(X, [4, 0]), "1 to 4"),
        (lambda: rnn.pack_padded_sequence(X, [5, 4]), "1 to 4"),
        (lambda: rnn.pack_padded_sequence(X, lampion.tensor([4.0, 2.0])), "must be integers"),
        (lambda: rnn.pack_padded_sequence(lampion.ones(3), [3]), "no batch"),
        (lambda: rnn.pack_sequence([]), "no sequences"),
        (lambda: rnn.pad_sequence([lampion.ones(2, 3), lampion.ones(2, 4)]), "sequence 1"),
        (lambda: rnn.pad_sequence([lampion.ones(2)], padding_side="up"), "'left' or 'right'"),
        (lambda: rnn.pad_packed_sequence(X), "pack_padded_sequence"),  # type: ignore[arg-type]
        (lambda: rnn.pad_packed_sequence(rnn.pack_padded_sequence(X, [4, 2]), total_length=3), "4 or more"),
        (lambda: rnn.pad_packed_sequence(rnn.PackedSequence(lampion.ones(3), lampion.tensor([1, 2]))),
         "none larger"),
        (lambda: rnn.pad_packed_sequence(rnn.PackedSequence(lampion.ones(4), lampion.tensor([2, 1]))),
         "do not fit the data"),
        (lambda: rnn.PackedSequence(lampion.ones(4)), "batch_sizes is missing"),
        (lambda: nn.GRU(5, 4)(rnn.pack_padded_sequence(X, [4, 2])), "(steps, 5)"),
        (lambda: nn.GRU(3, 4)(rnn.pack_padded_sequence(X, [4, 2]), lampion.ones(1, 3, 4)), "(1, 2, 4)"),
        (lambda: nn.GRU(3, 4)(rnn.pack_padded_sequence(X, [4, 2]).double()), "another type"),
        (lambda: nn.GRU(3, 4)(X, lampion.ones(1, 3, 4)), "batches of one size"),
        (lambda: nn.GRU(3, 4)(X, (lampion.ones(1, 2, 4),)), "got: tuple"),
        (lambda: nn.GRU(3, 4)([1.0]), "got: list"),
        (lambda: nn.LSTM(3, 4)(X, lampion.ones(1, 2, 4)), "a pair"),
        (lambda: nn.LSTM(3, 4)(X, (lampion.ones(1, 2, 4), lampion.ones(1, 3, 4))), "(1, 2, 4)"),
        (lambda: nn.LSTM(3, 4)(X[0], (lampion.ones(2, 4), lampion.ones(1, 4))), "the input has no batch"),
    ],
)  # fmt: skip
def test_bad_input(call: Any, says: str) -> None:
    with pytest.raises(LampionError) as caught:
        call()
    assert says in str(caught.value)
