"""Checkpoints: a run that stopped anywhere goes on with the same bits; what is broken is never believed."""

import json
import os
import random

import numpy as np
import pytest
from training_world import bits, loader, trainer

import lampion as lp
from lampion.errors import LampionError, OptionError
from lampion.training import (
    Checkpoint,
    CheckpointError,
    EarlyStopping,
    LambdaCallback,
    latest,
    read_checkpoint,
    write_checkpoint,
)
from lampion.training.state import decode, encode
from lampion.utils.data import DataLoader


class OwnOrder:
    """A loader that knows nothing of states, with random numbers from Lampion, Python and NumPy."""

    def __iter__(self):
        batches = list(DataLoader(loader().dataset, 5, shuffle=True))
        random.shuffle(batches)
        return (batches[i] for i in np.random.permutation(len(batches)))


def own_generator():
    return loader(generator=lp.Generator().manual_seed(11))


SCHEDULES = {
    "none": None,
    "cosine": lambda opt: lp.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=5),
    "one cycle": lambda opt: lp.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.05, total_steps=18),
    "plateau": lambda opt: lp.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=0, factor=0.5),
    "milestones": lambda opt: lp.optim.lr_scheduler.MultiStepLR(opt, [1, 2], gamma=0.5),
    "lambda": lambda opt: lp.optim.lr_scheduler.LambdaLR(opt, lambda epoch: 0.9**epoch),
    "sequence": lambda opt: lp.optim.lr_scheduler.SequentialLR(
        opt,
        [lp.optim.lr_scheduler.ConstantLR(opt, 0.5, 1), lp.optim.lr_scheduler.ExponentialLR(opt, 0.5)],
        [1],
    ),
}
OPTIMIZERS = {
    "Adam": lambda p: lp.optim.Adam(p, lr=0.01),
    "SGD": lambda p: lp.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
}


def interrupted_at(step, out, batches, **options):
    """A run that raises after this many updates."""

    def stop(t):
        if t.step == step:
            raise KeyboardInterrupt

    made = trainer(
        out=out, callbacks=[Checkpoint(every_steps=1), LambdaCallback(on_step_end=stop)], **options
    )
    made.callbacks[1].order = 200  # after the checkpoint
    with pytest.raises(KeyboardInterrupt):
        made.fit(batches, batches if isinstance(batches, OwnOrder) else loader(9), epochs=3)


def both(tmp_path, step, make_loader, **options):
    """The end of a run that was interrupted and resumed in other circumstances, and of one that was not."""
    random.seed(3)
    np.random.seed(3)
    whole = trainer(out=tmp_path / "whole", callbacks=[Checkpoint(every_steps=1)], **options)
    batches = make_loader()
    whole.fit(batches, batches if isinstance(batches, OwnOrder) else loader(9), epochs=3)
    random.seed(3)
    np.random.seed(3)
    interrupted_at(step, tmp_path / "cut", make_loader(), **options)
    random.seed(4)
    np.random.seed(4)
    resumed = trainer(seed=99, out=tmp_path / "cut", callbacks=[Checkpoint(every_steps=1)], **options)
    batches = make_loader()
    resumed.fit(batches, batches if isinstance(batches, OwnOrder) else loader(9), epochs=3, resume=True)
    return bits(resumed), bits(whole)


@pytest.mark.parametrize("step", [1, 3, 6, 7, 12, 17, 18])
def test_resume_is_bit_equal_at_each_place(step, tmp_path):
    # 6 updates an epoch: in the middle, at the last batch of an epoch, at the very end
    resumed, whole = both(tmp_path, step, loader, schedule=SCHEDULES["cosine"])
    assert resumed == whole


@pytest.mark.parametrize("make_loader", [own_generator, OwnOrder, lambda: loader(shuffle=False)])
def test_resume_with_other_loaders(make_loader, tmp_path):
    resumed, whole = both(tmp_path, 8, make_loader)
    assert resumed == whole


@pytest.mark.parametrize("name", SCHEDULES)
def test_resume_with_each_kind_of_schedule(name, tmp_path):
    resumed, whole = both(tmp_path, 8, loader, schedule=SCHEDULES[name])
    assert resumed == whole


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resume_compiled(name, tmp_path):
    resumed, whole = both(tmp_path, 8, loader, optimizer=OPTIMIZERS[name], compile=True, clip_norm=1.0)
    assert resumed == whole


def test_resume_between_accumulated_batches(tmp_path):
    resumed, whole = both(tmp_path, 4, loader, accumulate=4)
    assert resumed == whole


def test_resume_of_nothing_begins_and_of_everything_ends(tmp_path):
    made = trainer(out=tmp_path, callbacks=[Checkpoint()])
    history = made.fit(loader(), epochs=2, resume=True)
    again = trainer(seed=5, out=tmp_path, callbacks=[Checkpoint()])
    assert again.fit(loader(), epochs=2, resume=True).rows == history.rows and bits(again) == bits(made)
    longer = trainer(seed=5, out=tmp_path, callbacks=[Checkpoint()])
    assert len(longer.fit(loader(), epochs=3, resume=True)) == 3


def test_other_columns_are_refused_at_once(tmp_path):
    trainer(out=tmp_path, callbacks=[Checkpoint()]).fit(loader(), epochs=1)
    for data, options, expected in (
        ((loader(), loader(8)), {}, "without validation data"),
        ((loader(),), {"metrics": []}, "other metrics"),
    ):
        made = trainer(seed=5, out=tmp_path, callbacks=[Checkpoint()], **options)
        before = made.model[0].weight.tolist()
        with pytest.raises(LampionError, match=expected):
            made.fit(*data, epochs=2, resume=True)
        assert made.model[0].weight.tolist() == before


def test_early_stopping_is_resumed(tmp_path):
    def run(out, epochs, seed=0, resume=False):
        made = trainer(
            seed, out=out, callbacks=[EarlyStopping("loss", patience=1, min_delta=0.05), Checkpoint()]
        )
        made.fit(loader(), epochs=epochs, resume=resume)
        return made

    whole = run(tmp_path / "whole", 30)
    assert 2 < whole.epoch < 30 and whole.stop
    run(tmp_path / "cut", 2)
    resumed = run(tmp_path / "cut", 30, seed=7, resume=True)
    assert bits(resumed) == bits(whole)
    for name in ("best", "best_epoch", "waited"):
        assert getattr(resumed.callbacks[0], name) == getattr(whole.callbacks[0], name)


# -- which are kept --------------------------------------------------------------------------------------


def folders(out):
    return sorted(os.listdir(out / "checkpoints"))


def test_the_newest_are_kept(tmp_path):
    trainer(out=tmp_path, callbacks=[Checkpoint(keep=2)]).fit(loader(), epochs=5)
    assert folders(tmp_path) == ["000004", "000005"] and latest(tmp_path).name == "000005"
    assert sorted(os.listdir(tmp_path / "checkpoints" / "000005")) == [
        "checkpoint.json", "model.safetensors", "training.safetensors",
    ]  # fmt: skip


def test_the_best_are_kept_and_the_newest(tmp_path):
    values = iter([3.0, 1.0, 2.0, 5.0, 4.0])
    made = trainer(out=tmp_path, callbacks=[
        LambdaCallback(on_epoch_end=lambda t: t.row.update(loss=next(values))),
        Checkpoint(keep=2, monitor="loss"),
    ])  # fmt: skip
    made.fit(loader(), epochs=5)
    assert folders(tmp_path) == ["000002", "000003", "000005"]
    assert made.callbacks[1].values == {2: 1.0, 3: 2.0, 5: 4.0}


def test_not_each_epoch_but_the_last(tmp_path):
    trainer(out=tmp_path, callbacks=[Checkpoint(every=2)]).fit(loader(), epochs=5)
    epochs = [read_checkpoint(tmp_path / "checkpoints" / n)["counters"]["epoch"] for n in folders(tmp_path)]
    assert epochs == [2, 4, 5]


def test_another_runs_checkpoints_are_not_touched(tmp_path):
    made = trainer(out=tmp_path, callbacks=[Checkpoint()])
    made.fit(loader(), epochs=1)
    made.fit(loader(), epochs=1)  # the same trainer may go on
    with pytest.raises(CheckpointError, match=r"(?s)of another run.*resume=True"):
        trainer(out=tmp_path, callbacks=[Checkpoint()]).fit(loader(), epochs=1)
    assert folders(tmp_path) == ["000001", "000002"]
    with pytest.raises(OptionError, match="checkpoints need a folder"):
        trainer(callbacks=[Checkpoint()]).fit(loader(), epochs=1)
    with pytest.raises(OptionError, match="keep is not positive"):
        Checkpoint(keep=0)


# -- broken ones -------------------------------------------------------------------------------------------


@pytest.fixture
def out(tmp_path):
    trainer(out=tmp_path, callbacks=[Checkpoint()]).fit(loader(), epochs=2)
    return tmp_path


@pytest.mark.parametrize("name", ["model.safetensors", "training.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "flipped", "longer", "empty"])
def test_damage_is_found_and_the_one_before_is_taken(name, damage, out):
    path = out / "checkpoints" / "000002" / name
    old = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = old[: len(old) // 2] + bytes([old[len(old) // 2] ^ 1]) + old[len(old) // 2 + 1 :]
        path.write_bytes({"short": old[:-9], "flipped": flipped, "longer": old + b"!", "empty": b""}[damage])
    with pytest.raises(CheckpointError, match="000002 is not whole"):
        read_checkpoint(path.parent)
    assert latest(out).name == "000001"
    made = trainer(seed=9, out=out, callbacks=[Checkpoint(keep=1)])
    made.fit(loader(), epochs=2, resume=True)
    assert folders(out) == ["000003"] and latest(out).name == "000003"


def test_a_number_that_changed_is_found(out):
    path = out / "checkpoints" / "000002" / "checkpoint.json"
    text = path.read_text()
    assert text.count('"epoch": 2, "step": 12') == 1
    path.write_text(text.replace('"epoch": 2, "step": 12', '"epoch": 2, "step": 13'))
    with pytest.raises(CheckpointError, match=r"(?s)is not whole.*checkpoint.json has another checksum"):
        read_checkpoint(path.parent)


def test_when_none_is_whole_the_run_does_not_begin_anew(out):
    for folder in folders(out):
        (out / "checkpoints" / folder / "model.safetensors").unlink()
    assert latest(out) is None
    with pytest.raises(CheckpointError, match="is not whole"):
        trainer(out=out, callbacks=[Checkpoint()]).fit(loader(), epochs=3, resume=True)
    assert folders(out) == ["000001", "000002"]


def test_an_index_of_anything(out):
    path = out / "checkpoints" / "000002" / "checkpoint.json"
    index = json.loads(path.read_text())
    for text in ("[]", "null", "{}", "[" * 100_000, json.dumps({**index, "files": []}), "\ud800" * 3,
                 json.dumps({**index, "files": {}}), json.dumps({**index, "format": 2})):  # fmt: skip
        path.write_bytes(text.encode(errors="surrogatepass"))
        with pytest.raises(CheckpointError):
            read_checkpoint(path.parent)


def test_another_format_is_named(tmp_path, monkeypatch):
    from lampion.training import checkpoint

    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    path = write_checkpoint(tmp_path, 1, {"model": {}})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"(?s)another Lampion.*format 2"):
        read_checkpoint(path)


# -- disks that fail -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["open", "fsync", "rename", "mkdir"])
def test_the_nth_failure_of_the_disk_loses_nothing(call, out, monkeypatch):
    """Each call that the writing of a checkpoint makes fails once: a full disk, at every place."""
    from lampion.utils import files

    before = {p: p.read_bytes() for p in (out / "checkpoints").rglob("*") if p.is_file()}
    state = trainer().state_dict()
    for n in range(100):
        count = [0]

        def fails(real, n=n, count=count):
            def function(*args, **kwargs):
                count[0] += 1
                if count[0] == n + 1:
                    raise OSError(28, "No space left on device")
                return real(*args, **kwargs)

            return function

        with monkeypatch.context() as patch:
            if call == "open":
                patch.setattr("builtins.open", fails(open))
            elif call == "mkdir":
                patch.setattr(files.Path, "mkdir", fails(files.Path.mkdir))
            else:
                patch.setattr(files.os, call, fails(getattr(os, call)))
            try:
                write_checkpoint(out / "checkpoints", 3, state)
                failed = False
            except CheckpointError as error:
                failed = True
                assert "No space left" in str(error) and "resume=True" in str(error)
        now = {p: p.read_bytes() for p in (out / "checkpoints").rglob("*") if p.is_file()}
        assert before.items() <= now.items() and not any(f.endswith(".tmp") for f in folders(out))
        newest = latest(out)
        read_checkpoint(newest)
        if not failed:
            assert n >= 1 and newest.name == "000003"
            return
        if newest.name == "000003":  # it was whole before the last fsync, of the folder around it, failed
            assert call == "fsync"
            import shutil

            shutil.rmtree(newest)
    raise AssertionError("it never ended")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limits")
def test_a_write_that_ends_early(out):
    """A limit of the size of files, which the system's own write keeps: the nearest to a full disk."""
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(CheckpointError, match=r"(?s)could not be written.*000002 is whole"):
            write_checkpoint(out / "checkpoints", 3, trainer().state_dict())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert folders(out) == ["000001", "000002"]


def test_training_after_a_full_disk(out, monkeypatch):
    from lampion.utils import files

    def full(*args):
        raise OSError(28, "No space left on device")

    made = trainer(seed=3, out=out, callbacks=[Checkpoint(keep=1)])
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(CheckpointError, match="No space left"):
            made.fit(loader(), epochs=4, resume=True)
    assert folders(out) == ["000001", "000002"]  # nothing was removed to make room
    assert len(made.fit(loader(), epochs=4, resume=True)) == 4
    whole = trainer()
    whole.fit(loader(), epochs=4)
    assert bits(made) == bits(whole)


def test_what_a_killed_run_left_is_swept(out):
    (out / "checkpoints" / ".000003.0123456789ab.tmp").mkdir()
    (out / "checkpoints" / "my notes").mkdir()
    trainer(out=out, callbacks=[Checkpoint()]).fit(loader(), epochs=3, resume=True)
    assert folders(out) == ["000001", "000002", "000003", "my notes"]


# -- what a checkpoint can hold ------------------------------------------------------------------------------


def test_encode_and_decode_are_inverse():
    import collections

    value = {
        "plain": [None, True, 3, 0.1, -0.0, "text", 2**80], "tuple": (1, (2.5, [])), "nan": float("nan"),
        "inf": -float("inf"), "complex": 1 + 2j, "$odd": {"$tuple": 1}, "numbers": {1: "a", (2, 3): {}},
        "counter": collections.Counter({3: 2}), "array": np.arange(6, dtype=np.uint32).reshape(2, 3).T,
        "scalar": np.float32(0.5), "tensor": lp.tensor([1.5]), "half": lp.ones(2, dtype=lp.bfloat16),
        "z": lp.tensor([1 + 2j], dtype=lp.complex128), "zero": lp.tensor(7),
    }  # fmt: skip
    tensors = {}
    text = json.dumps(encode(value, tensors), allow_nan=False)
    found = decode(json.loads(text), tensors)
    assert repr(found) == repr({**value, "scalar": 0.5})
    assert type(found["counter"]) is collections.Counter and found["array"].dtype == np.uint32
    assert found["z"].dtype is lp.complex128 and list(found) == list(value)
    with pytest.raises(LampionError, match=r"(?s)callbacks\.a is of a type.*got: function"):
        encode({"callbacks": {"a": lambda: 0}}, {})


def test_a_complex_model_and_a_loss_with_weights(tmp_path):
    state = {
        "model": {"w": lp.tensor([1j], dtype=lp.complex128), "_extra_state": {"a": (1, 2)}, "v": lp.ones(2)}
    }
    found = read_checkpoint(write_checkpoint(tmp_path, 4, state))["model"]
    assert (
        found["w"].tolist() == [1j]
        and found["_extra_state"] == {"a": (1, 2)}
        and found["v"].tolist() == [1, 1]
    )
    with pytest.raises(CheckpointError, match="exists already"):
        write_checkpoint(tmp_path, 4, state)
