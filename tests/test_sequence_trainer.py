"""SequenceTrainer: the state is carried and detached, each word counts once, resuming keeps the bits."""

import math

import numpy as np
import pytest

import lampion
from lampion import nn
from lampion.errors import LampionError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.optim import SGD
from lampion.text import EveryWord, RandomPieces, SequentialBatches
from lampion.training import Callback, Checkpoint, SequenceTrainer

TEXT = [int(word) for word in np.random.default_rng(0).integers(0, 7, 121)]


class Rnnlm(nn.Module):
    def __init__(self, layer=nn.LSTM, dropout=0.0, price=0.0):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(7, 5), layer(5, 6, batch_first=True)
        self.dropout, self.output, self.price = nn.Dropout(dropout), nn.Linear(6, 7), price

    def forward(self, words, state=None):
        h, state = self.rnn(self.dropout(self.embedding(words)), state)
        scores = self.output(h)
        if self.price and self.training:
            return scores, state, self.price * h.square().mean()
        return scores, state


def trainer(model=None, lr=0.5, seed=3, **options):
    lampion.manual_seed(seed)
    model = Rnnlm() if model is None else model()
    options = {"compile": False, **options}
    return SequenceTrainer(model, SGD(model.parameters(), lr=lr), **options)


def bits(made):
    return {name: value.numpy().tobytes() for name, value in made.model.state_dict().items()}


def test_every_word_is_a_target_once():
    for size, batch, time in ((121, 3, 7), (12, 4, 5), (9, 8, 1), (30, 1, 64)):
        words = lampion.arange(size)
        seen = []
        batches = list(EveryWord(words, batch, time))
        assert len(batches) == len(EveryWord(words, batch, time))
        for x, y in batches:
            assert x.shape == y.shape == (batch, time)
            there = y.numpy() >= 0
            assert (y.numpy()[there] == x.numpy()[there] + 1).all()
            seen += y.numpy()[there].tolist()
        assert sorted(seen) == list(range(1, size))
    with pytest.raises(LampionError, match="the text is empty"):
        EveryWord([], 1, 1)
    with pytest.raises(LampionError, match=r"(?s)too short.*expected: 5 words"):
        EveryWord([1, 2, 3, 4], 4, 1)
    with pytest.raises(OptionError, match="empty batches"):
        EveryWord([1, 2, 3], 0, 1)


def test_passes_that_start_elsewhere():
    batches = SequentialBatches(lampion.arange(31), 2, 4, shift=True)
    lampion.manual_seed(0)
    first, second = ([x.tolist() for x, _ in batches] for _ in range(2))
    assert first != second and len(first) == len(second) == len(batches)
    read = np.concatenate(first, axis=1)
    assert ((read[:, 1:] - read[:, :-1]) % 30 == 1).all()  # in order, and from the start after the end
    with pytest.raises(OptionError, match="carry and shift"):
        SequentialBatches(lampion.arange(31), 2, 4, carry=True, shift=True)


def test_random_pieces():
    lampion.manual_seed(0)
    pieces = RandomPieces(lampion.arange(6), 50, 4, batches=3)
    found = list(pieces)
    assert len(found) == len(pieces) == 3
    starts = {row[0] for x, _ in found for row in x.tolist()}
    assert starts == {0, 1}  # all places, and none beyond the end
    assert all(((y - x) == 1).all() and (x[:, 1:] - x[:, :-1] == 1).all() for x, y in found)
    with pytest.raises(LampionError, match=r"(?s)too short.*expected: 7 words"):
        RandomPieces([1, 2, 3], 2, 6, 1)
    with pytest.raises(OptionError, match="empty batches"):
        RandomPieces([1, 2, 3], 2, 1, 0)


@pytest.mark.parametrize("layer", [nn.RNN, nn.LSTM, nn.GRU])
def test_the_perplexity_is_that_of_the_whole_text_read_at_once(layer):
    made = trainer(lambda: Rnnlm(layer))
    scores, _ = made.model(lampion.tensor([TEXT[:-1]]))
    loss = F.cross_entropy(scores[0], lampion.tensor(TEXT[1:])).item()
    for time in (7, 120, 200):  # pieces, each with the state that the piece before it ended with
        found = made.evaluate(EveryWord(TEXT, 1, time))
        assert found["loss"] == pytest.approx(loss, rel=1e-5)  # sums in another order
        assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    # Three parts: each begins without what was before it.
    parts = [F.cross_entropy(made.model(lampion.tensor([TEXT[i : i + 40]]))[0][0],
                             lampion.tensor(TEXT[i + 1 : i + 41])).item() for i in (0, 40, 80)]  # fmt: skip
    assert made.evaluate(EveryWord(TEXT, 3, 9))["loss"] == pytest.approx(sum(parts) / 3, rel=1e-5)


def test_truncated_back_propagation_by_hand():
    made = trainer(clip_norm=0.3)
    twin = Rnnlm()
    twin.load_state_dict(made.model.state_dict())
    history = made.fit(SequentialBatches(TEXT, 4, 6), epochs=2)
    optimizer = SGD(twin.parameters(), lr=0.5)
    for epoch in range(2):
        state, losses = None, []
        for words, targets in SequentialBatches(TEXT, 4, 6):
            scores, state = twin(words, state)
            state = tuple(part.detach() for part in state)
            loss = F.cross_entropy(scores.flatten(0, 1), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(twin.parameters(), 0.3)
            optimizer.step()
            losses.append(loss.item())
        assert history["loss"][epoch] == pytest.approx(sum(losses) / len(losses), rel=1e-6)
        assert history["perplexity"][epoch] == pytest.approx(math.exp(history["loss"][epoch]))
    for name, value in twin.state_dict().items():
        assert np.array_equal(value.numpy(), made.model.state_dict()[name].numpy()), name


def test_a_price_is_minimised_but_not_told():
    plain, priced = trainer(), trainer(lambda: Rnnlm(price=50.0))
    batches = SequentialBatches(TEXT, 4, 6)
    losses = [one.fit(batches, EveryWord(TEXT, 2, 8), epochs=3) for one in (plain, priced)]
    assert all(0.5 < loss < 3 for history in losses for loss in history["loss"])

    def size(one):
        return one.model.rnn(one.model.embedding(lampion.tensor([TEXT])))[0].square().mean().item()

    assert size(priced) < size(plain) / 4


def test_compiled_it_learns_the_same_and_is_compiled_once():
    eager, compiled = trainer(clip_norm=1.0), trainer(clip_norm=1.0, compile=True)
    for made in (eager, compiled):
        made.fit(SequentialBatches(TEXT, 4, 6), EveryWord(TEXT, 2, 8), epochs=2)
    for name in ("loss", "validation_perplexity"):
        assert compiled.history[name] == pytest.approx(eager.history[name], rel=1e-4)  # 10 steps of float32
    step, measure = compiled.explain()
    assert len(step.plans) == len(measure.plans) == 1 and not step.fallbacks and not measure.fallbacks


class Stop(Callback):
    order = 200  # after the checkpoint

    def on_step_end(self, trainer):
        if trainer.step == 7:  # in the second epoch
            raise KeyboardInterrupt


def test_a_run_that_is_resumed_within_an_epoch_has_the_same_bits(tmp_path):
    def fit(folder, *callbacks, resume=False, seed=3):
        made = trainer(lambda: Rnnlm(dropout=0.3), out=folder, seed=seed,
                       callbacks=[Checkpoint(every_steps=1, keep=2), *callbacks])  # fmt: skip
        made.fit(SequentialBatches(TEXT, 4, 6, shift=True), EveryWord(TEXT, 2, 8), epochs=3, resume=resume)
        return made

    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "stopped", Stop())
    resumed = fit(tmp_path / "stopped", resume=True, seed=11)
    assert bits(resumed) == bits(whole) and resumed.history.rows == whole.history.rows


def test_what_does_not_fit():
    class Flat(Rnnlm):
        def forward(self, words, state=None):
            scores, state = super().forward(words, state)
            return scores.flatten(0, 1), state

    with pytest.raises(ShapeError, match=r"(?s)scores do not fit the targets.*\(4, 6, V\).*\(24, 7\)"):
        trainer(Flat).fit(SequentialBatches(TEXT, 4, 6), epochs=1)
    made = trainer()
    with pytest.raises(LampionError, match="the text is empty"):
        made.evaluate([])
    with pytest.raises(ShapeError, match="state does not fit"):
        made.model(lampion.tensor([[1], [2]]), (lampion.zeros(1, 3, 6), lampion.zeros(1, 3, 6)))
    with pytest.raises(LampionError, match="0 to 6"):
        made.evaluate(EveryWord([1, 2, 7, 1], 1, 2))


def test_the_model_is_left_as_it_was():
    made = trainer(lambda: Rnnlm(dropout=0.5))
    before = lampion.get_rng_state()
    made.evaluate(EveryWord(TEXT, 2, 8))
    assert made.model.training
    assert (lampion.get_rng_state() == before).all()
