"""Worker processes: the same batches in the same order; errors and deaths that can be read; an end."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import lampion
from lampion.errors import LampionError, OptionError, ShapeError
from lampion.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")


class Noisy(Dataset):
    """Images with random parts, and everything else that a sample may hold."""

    def __len__(self):
        return 13

    def __getitem__(self, index):
        return {"i": index, "x": lampion.rand(2, 3) + index, "a": np.full(2, index), "name": f"n{index}"}


class Parts(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        assert info is None or isinstance(info.dataset, Parts)
        return iter(range(first, 9, step))


class Bad(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 3:
            raise KeyError("sample three is broken")
        return index


class Unsendable(Exception):
    def __init__(self, a, b):
        super().__init__("two arguments")


class Awkward(Bad):
    def __getitem__(self, index):
        raise Unsendable(1, 2)


class Lampions(Bad):
    def __getitem__(self, index):
        return lampion.ones(2) + lampion.ones(3)


class Slow(Bad):
    def __getitem__(self, index):
        time.sleep(60 if index else 0)
        return os.getpid()


class Deadly(Bad):
    """Worker 1 kills itself, while worker 0 sleeps: its death must not wait for its turn."""

    def __getitem__(self, index):
        if get_worker_info().id == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


class Who(Bad):
    def __getitem__(self, index):
        return os.getpid(), FIRST.get("id", -1)


FIRST = {}


def note_number(number):
    FIRST["id"] = number


def fail_at_start(number):
    raise ValueError(f"worker {number} does not want to")


def plain(batch):
    if isinstance(batch, dict):
        return {key: plain(value) for key, value in batch.items()}
    return batch.tolist() if isinstance(batch, lampion.Tensor) else batch


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # one that has ended and waits to be noticed is not alive
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until_gone(pids, seconds=5.0):
    end = time.monotonic() + seconds
    while any(alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.02)
    return [pid for pid in pids if alive(pid)]


def test_the_same_batches_whatever_the_number_of_workers():
    def batches(workers):
        lampion.manual_seed(4)
        loader = DataLoader(Noisy(), 2, shuffle=True, num_workers=workers, persistent_workers=workers > 1)
        return [[plain(batch) for batch in loader] for _ in range(2)], lampion.rand(2).tolist()

    alone = batches(0)
    assert batches(2) == alone
    assert alone[0][0] != alone[0][1] and len(alone[0][0]) == 7


def test_batches_of_workers_can_be_written_to_and_tensors_are_sent_whole():
    data = TensorDataset(lampion.arange(6.0).reshape(6, 1), lampion.zeros(6, 0))
    for x, empty in DataLoader(data, 4, num_workers=1):
        assert empty.shape == (len(x), 0)
        x.add_(1.0)


def test_iterable_datasets_are_shared_out():
    loader = DataLoader(Parts(), 2, num_workers=2)
    assert [x.tolist() for x in loader] == [[0, 2], [1, 3], [4, 6], [5, 7], [8]]
    assert [x.tolist() for x in DataLoader(Parts(), 4, drop_last=True)] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_resuming_with_workers():
    def rest(workers, state=None):
        lampion.manual_seed(0)
        loader = DataLoader(Noisy(), 2, shuffle=True, num_workers=workers)
        if state:
            loader.load_state_dict(state)
            return [plain(batch) for batch in loader]
        batches = iter(loader)
        for _ in range(3):
            next(batches)
        return loader.state_dict(), [plain(batch) for batch in batches]

    state, expected = rest(1)
    assert state["position"] == 3  # what was handed out, not what was read ahead
    assert rest(1, state) == rest(0, state) == expected


def test_an_error_in_a_worker_is_the_same_error_here():
    loader = DataLoader(Bad(), 2, num_workers=1)
    seen = []
    with pytest.raises(KeyError, match="sample three is broken") as caught:
        seen.extend(batch.tolist() for batch in loader)
    assert seen == [[0, 1]]
    note = "\n".join(caught.value.__notes__)
    assert "Raised in worker 0 (process" in note and 'raise KeyError("sample three is broken")' in note
    with pytest.raises(LampionError, match=r"Unsendable\('two arguments'\) in a worker process") as caught:
        list(DataLoader(Awkward(), num_workers=1))
    assert "raise Unsendable(1, 2)" in "\n".join(caught.value.__notes__)
    with pytest.raises(ShapeError, match="add") as caught:
        list(DataLoader(Lampions(), num_workers=1))
    assert caught.value.operation == "add"
    with pytest.raises(ValueError, match="worker 0 does not want to"):
        list(DataLoader(Bad(), num_workers=1, worker_init_fn=fail_at_start))


def test_a_killed_worker_is_an_error_within_seconds():
    start = time.monotonic()
    with pytest.raises(LampionError, match=r"(?s)worker 1 \(process \d+\) ended.*SIGKILL.*memory may have"):
        list(DataLoader(Deadly(), num_workers=2))
    assert time.monotonic() - start < 15  # the start of two processes included
    batches = iter(DataLoader(Slow(), num_workers=2, prefetch_factor=1))
    os.kill(next(batches).item(), signal.SIGKILL)
    killed = time.monotonic()
    with pytest.raises(LampionError, match=r"worker 0 .* ended before its work was done"):
        next(batches)
    assert time.monotonic() - killed < 5


def test_a_worker_that_takes_too_long():
    batches = iter(DataLoader(Slow(), num_workers=1, timeout=0.3))
    with pytest.raises(LampionError, match=r"(?s)worker 0 has not sent a batch in time.*timeout=0.3"):
        for _ in range(2):
            next(batches)


def test_workers_end_with_the_loop_or_live_on_with_the_loader():
    loader = DataLoader(Who(), 2, num_workers=2, worker_init_fn=note_number)
    batches = iter(loader)
    pids, numbers = next(batches)
    assert numbers.tolist() == [0, 0] and pids[0].item() != os.getpid()
    first = pids[0].item()
    assert alive(first)
    del batches
    assert wait_until_gone([first]) == []
    loader = DataLoader(Who(), 3, num_workers=2, persistent_workers=True)
    seen = [{pid for pids, _ in loader for pid in pids.tolist()} for _ in range(2)]
    for _ in loader:
        break  # what was read ahead for this loop is not mistaken for the next one's
    assert seen[0] == seen[1] == {pid for pids, _ in loader for pid in pids.tolist()} and len(seen[0]) == 2
    del loader
    assert wait_until_gone(seen[0]) == []


PROGRAM = """
import os, sys, time
import lampion
from lampion.utils.data import DataLoader, Dataset

class Endless(Dataset):
    def __len__(self):
        return 10**9
    def __getitem__(self, index):
        return os.getpid()

{guard}
    for batch in DataLoader(Endless(), 2, num_workers=2):
        print(batch[0].item(), flush=True)
        time.sleep(0.01)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_workers_end_with_the_program(how, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM.format(guard='if __name__ == "__main__":'))
    program = subprocess.Popen(
        [sys.executable, tmp_path / "program.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, start_new_session=True,
    )  # fmt: skip
    pids = {int(program.stdout.readline()) for _ in range(4)}
    assert len(pids) == 2
    if how is signal.SIGINT:
        os.killpg(program.pid, how)  # as a terminal does: to everybody in the group
    else:
        program.kill()
    _, errors = program.communicate(timeout=10)
    assert wait_until_gone(pids) == []
    if how is signal.SIGINT:
        assert errors.count("Traceback") == 1 and "KeyboardInterrupt" in errors  # the program's own


def test_a_program_without_a_guard_is_told_so(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM.format(guard="if True:"))
    ended = subprocess.run(
        [sys.executable, tmp_path / "program.py"], capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert ended.returncode == 1
    assert 'needs if __name__ == "__main__":' in ended.stderr


def test_what_cannot_be_sent_is_said_before_anything_starts():
    with pytest.raises(LampionError, match=r"(?s)cannot be sent to a worker process.*top level of a file"):
        list(DataLoader(Bad(), num_workers=1, collate_fn=lambda batch: batch))


def test_options():
    for kwargs, message in [
        ({"num_workers": -1}, "number of processes"), ({"timeout": -1}, "timeout is negative"),
        ({"prefetch_factor": 2}, "are for workers"), ({"persistent_workers": True}, "are for workers"),
        ({"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor is not"),
        ({"batch_size": None, "drop_last": True}, "no last batch"),
    ]:  # fmt: skip
        with pytest.raises(OptionError, match=message):
            DataLoader(Bad(), **kwargs)
    with pytest.raises(OptionError, match="have no numbers"):
        DataLoader(Parts(), shuffle=True)
    with pytest.raises(OptionError, match=r"(?s)cannot start in this way.*'fork'"):
        list(DataLoader(Bad(), num_workers=1, multiprocessing_context="fork"))
    assert get_worker_info() is None
