"""Worker processes that read batches ahead.

Each worker has one pipe to the program. Down it go tasks, up it come batches, in the order of the tasks;
task k is worker k's, modulo their number, so the order of the batches needs no bookkeeping. Nothing is
shared: no lock that a killed worker could hold. A worker listens and sends in threads of its own, so neither
side ever waits for the other to read. The end of the pipe is the end of the worker.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import random
import signal
import threading
import time
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from lampion.errors import LampionError, OptionError
from lampion.utils.data.info import WorkerInfo, become
from lampion.utils.data.reading import End, Reader

# -- in the program ------------------------------------------------------------------------------------------


def check_context(context: Any) -> Any:
    """The way in which processes start."""
    if context is None:
        context = "spawn"
    name = context if isinstance(context, str) else context.get_start_method()
    if name not in ("spawn", "forkserver"):
        raise OptionError("DataLoader", "workers cannot start in this way",
                          expected='"spawn" or "forkserver"', got=repr(name),
                          fix="a fork of a process that has computed can hang")  # fmt: skip
    return multiprocessing.get_context(context) if isinstance(context, str) else context


class _Worker:
    """A process and the pipe to it."""

    def __init__(self, number: int, process: Any, pipe: Connection) -> None:
        self.number, self.process, self.pipe = number, process, pipe
        self.ended = False  # its part of an iterable dataset has no more samples


class Pool:
    """Worker processes, until `close`, or until nobody holds the pool any more."""

    def __init__(
        self, count: int, reader: Reader, init: Callable[[int], Any] | None, context: Any, seed: int
    ) -> None:
        try:
            job = pickle.dumps((reader, init), protocol=5)
        except Exception as error:  # a class's own __reduce__ may raise anything
            raise LampionError(
                "DataLoader", "the dataset, collate_fn or worker_init_fn cannot be sent to a worker process",
                got=f"{type(error).__name__}: {error}",
                fix="define them at the top level of a file (no lambda, no open file), or use num_workers=0",
            ) from None  # fmt: skip
        self._workers: list[_Worker] = []
        self._pass = 0
        self._end = weakref.finalize(self, _close, self._workers)
        with _interrupts_wait():
            for number in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_work, args=(theirs, job, number, count, seed), daemon=True,
                    name=f"lampion-data-{number}",
                )  # fmt: skip
                self._workers.append(_Worker(number, process, ours))
                process.start()
                theirs.close()  # or the end of the worker would not be the end of the pipe

    def close(self) -> None:
        """End the workers."""
        self._end()

    def run(self, tasks: Iterator[tuple[int, Any, int]], ahead: int, timeout: float) -> Iterator[Any]:
        """The batches of a pass, in order."""
        self._pass += 1
        pending: deque[_Worker] = deque()

        def hand_out(worker: _Worker) -> None:
            if not worker.ended and (task := next(tasks, None)) is not None:
                self._send(worker, (self._pass, *task[1:]))
                pending.append(worker)

        for worker in self._workers:
            worker.ended = False
            self._send(worker, (self._pass,))
        for _ in range(ahead):
            for worker in self._workers:
                hand_out(worker)
        while pending:
            worker = pending.popleft()
            batch = self._receive(worker, timeout)
            if batch is End:
                worker.ended = True
                continue
            hand_out(worker)
            yield batch

    def _send(self, worker: _Worker, message: Any) -> None:
        try:
            worker.pipe.send(message)
        except OSError:
            self._lost(worker)

    def _receive(self, worker: _Worker, timeout: float) -> Any:
        deadline = time.monotonic() + timeout if timeout else None
        while True:
            self._wait(worker, deadline, timeout)
            try:
                number, result, failure = _read(worker.pipe)
            except (EOFError, OSError):
                self._lost(worker)
            if number != self._pass:
                continue  # it was under way when an earlier loop was left
            if failure is not None:
                raise _as_raised(failure, worker)
            return result

    def _wait(self, worker: _Worker, deadline: float | None, timeout: float) -> None:
        """Wait for a message; a worker that dies is noticed at once, whichever it is."""
        if worker.pipe.poll():
            return
        ends = {other.process.sentinel: other for other in self._workers}
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = wait([worker.pipe, *ends], left)
        if not ready:
            raise LampionError("DataLoader", f"worker {worker.number} has not sent a batch in time",
                               expected=f"one within timeout={timeout} seconds",
                               fix="a longer timeout, more workers, or a faster dataset")  # fmt: skip
        if worker.pipe not in ready:
            self._lost(next(ends[end] for end in ready if isinstance(end, int)))

    def _lost(self, worker: _Worker) -> Any:
        worker.process.join(1.0)
        code = worker.process.exitcode
        if code is not None and code < 0:
            how = f"killed by signal {-code} ({signal.Signals(-code).name})"
            fix = "if nobody ended it, memory may have run out: use fewer workers or smaller batches"
        else:
            how = "it ended its pipe" if code is None else f"exit code {code}"
            fix = 'see what it wrote; a main program with workers needs if __name__ == "__main__":'
        who = f"worker {worker.number} (process {worker.process.pid})"
        raise LampionError("DataLoader", f"{who} ended before its work was done", got=how, fix=fix)


def _close(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.pipe.close()
    started = [worker.process for worker in workers if worker.process.pid is not None]
    for attempt in ("is_alive", "terminate", "kill"):  # from asking to telling
        deadline = time.monotonic() + 0.5
        for process in started:
            if process.is_alive():
                getattr(process, attempt)()
        for process in started:
            process.join(max(0.0, deadline - time.monotonic()))
    for process in started:
        if not process.is_alive():
            process.close()
    workers.clear()


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Processes that start here never see Ctrl-C, not even while they start: ending them is the program's."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)


def _read(pipe: Connection) -> Any:
    message = pipe.recv_bytes()
    sizes = np.frombuffer(pipe.recv_bytes(), np.int64)
    buffers = [bytearray(int(size)) for size in sizes]
    for buffer in buffers:
        if buffer:
            pipe.recv_bytes_into(buffer)
    return pickle.loads(message, buffers=buffers)  # noqa: S301  # from a process that this one started


def _as_raised(failure: tuple[bytes | None, str, str], worker: _Worker) -> BaseException:
    """The worker's exception, as if raised here, with the lines that led to it there as a note."""
    pickled, name, lines = failure
    error: BaseException | None = None
    if pickled is not None:
        with contextlib.suppress(Exception):  # some exceptions can be written and not be read
            error = pickle.loads(pickled)  # noqa: S301  # from a process that this one started
    if not isinstance(error, Exception):
        error = LampionError("DataLoader", f"{name} in a worker process")
    who = f"worker {worker.number} (process {worker.process.pid})"
    error.add_note(f"\nRaised in {who} of a DataLoader:\n{lines}")
    return error


# -- in the worker -------------------------------------------------------------------------------------------


def _work(pipe: Connection, job: bytes, number: int, count: int, seed: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    frames: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    newest = [0]
    threading.Thread(target=_listen, args=(pipe, tasks, newest), daemon=True).start()
    threading.Thread(target=_send_all, args=(pipe, frames), daemon=True).start()
    reader: Reader | None = None
    broken: Exception | None = None
    try:
        reader = _begin(job, number, count, seed)
    except Exception as error:
        broken = error
    while (task := tasks.get()) is not None:
        if task[0] != newest[0]:
            continue  # of a pass that was left
        if len(task) == 1:
            if reader is not None:
                reader.begin()
            continue
        now, indices, batch_seed = task
        try:
            if broken is not None or reader is None:
                raise broken or AssertionError("no reader")
            random.seed(batch_seed)
            np.random.seed(batch_seed % 2**32)
            frames.put(_message((now, reader.read(indices, batch_seed), None)))
        except Exception as error:
            frames.put(_message((now, None, _described(error))))


def _begin(job: bytes, number: int, count: int, seed: int) -> Reader:
    from lampion.compiler.runtime import set_num_threads

    set_num_threads(1)  # the workers are the parallelism
    try:
        reader, init = pickle.loads(job)  # noqa: S301  # from the process that started this one
    except AttributeError as error:
        error.add_note("What a worker needs is defined at the top level of a file, not in a notebook.")
        raise
    become(WorkerInfo(number, count, seed + number, reader.dataset))
    random.seed(seed + number)
    np.random.seed((seed + number) % 2**32)
    from lampion.random import manual_seed

    manual_seed(seed + number)
    if init is not None:
        init(number)
    assert isinstance(reader, Reader)
    return reader


def _listen(pipe: Connection, tasks: queue.SimpleQueue[Any], newest: list[int]) -> None:
    try:
        while True:
            task = pipe.recv()
            newest[0] = task[0]
            tasks.put(task)
    except (EOFError, OSError):  # the program has closed the pipe, or is no more
        tasks.put(None)
        time.sleep(5)
        os._exit(1)  # what is being read takes too long: nobody waits for it


def _send_all(pipe: Connection, frames: queue.SimpleQueue[list[Any]]) -> None:
    try:
        while True:
            for frame in frames.get():
                pipe.send_bytes(frame)
    except OSError:
        os._exit(1)  # nobody reads any more


def _message(content: Any) -> list[Any]:
    """What goes through the pipe: the objects, the sizes of their arrays, the arrays' bytes as they lie."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    sizes = np.array([view.nbytes for view in raw], np.int64)
    return [head, sizes.tobytes(), *(view for view in raw if view.nbytes)]


def _described(error: Exception) -> tuple[bytes | None, str, str]:
    lines = "".join(traceback.format_exception(error))
    try:
        return pickle.dumps(error), repr(error), lines
    except Exception:  # an exception may hold anything
        return None, repr(error), lines
