"""The recurrent workloads: Lampion trains what PyTorch and JAX train."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.training import Training
from benchmarks.workloads import generation, recurrent, rnnlm_better, seq2seq_attention
from benchmarks.workloads.recurrent import Language


def losses(contender: str, training: Training, **options: Any) -> list[float]:
    """Those of two steps."""
    module = pytest.importorskip(f"benchmarks.contenders.{contender}_", exc_type=ImportError)
    session = module.build(training, training.weights(), **options)
    return [session.value(session.step(*session.prepare(training.batch_number(number)))) for number in (1, 2)]


def small(monkeypatch: pytest.MonkeyPatch, name: str) -> Training:
    """A workload with a small vocabulary, and without dropout, which each contender draws for itself."""
    monkeypatch.setattr(recurrent, "WORDS", 50)
    module = workloads.load(name)
    of: Language = replace(module.MODEL, width=8, dropout=0.0)
    training = module.TRAINING
    return of.training(training.name, training.title, training.optimizer, training.clip)


@pytest.mark.parametrize("name", ["rnnlm", "gru", "bi-lstm", "rnnlm-better"])
def test_language_models_agree(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    training = small(monkeypatch, name)
    ours = losses("lampion", training, compiled=True)
    assert ours[0] != ours[1]
    assert losses("lampion", training, compiled=False) == pytest.approx(ours, rel=1e-6)
    assert losses("torch", training, mode="eager") == pytest.approx(ours, rel=1e-6)
    assert losses("jax", training) == pytest.approx(ours, rel=1e-6)


def test_translators_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seq2seq_attention, "BATCH", 4)
    training = seq2seq_attention.TRAINING
    ours = losses("lampion", training, compiled=True)
    assert losses("torch", training, mode="eager") == pytest.approx(ours, rel=1e-5)
    assert losses("jax", training) == pytest.approx(ours, rel=1e-5)


def test_the_better_model_drops_and_clips() -> None:
    training = rnnlm_better.TRAINING
    assert training.random
    assert training.clip == 0.25
    assert rnnlm_better.MODEL.products == pytest.approx(55.7e9, rel=1e-2)


def test_common_words_are_common() -> None:
    text, following = recurrent.batch(np.random.default_rng(0))
    assert text.shape == following.shape == (35, 20)
    assert 0 <= text.min() <= text.max() < recurrent.WORDS
    assert (text < 100).mean() > 0.2


@pytest.mark.parametrize("form", [generation.STEP, generation.TEXT, "torch, eager", "jax, jitted text"])
def test_texts_are_written(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    package, how = generation.FORMS[form]
    pytest.importorskip(package)
    monkeypatch.setattr(generation, "LENGTH", 40)
    write = generation.with_jax(how) if package == "jax" else generation.with_modules(package, how)
    text = write()
    assert len(text) == 40
    assert 5 < len(set(text)) <= max(text) + 1 <= generation.CHARACTERS
