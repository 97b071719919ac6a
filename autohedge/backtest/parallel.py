"""Trials on the cores of this machine or on a cluster, by joblib: one option chooses where, and the outcomes are the same.

Promise: each task's outcome comes back as soon as it is there, in any order; the objective travels to each worker once, not
with each task; workers run one thread each, so that together they do not ask for more cores than they were given. Tasks are
taken from the caller as workers become free, so a caller that ends its tasks still gets what is under way, and nothing is lost.

An `AutoHedgeError` of an objective is an outcome: that trial failed. What says nothing about the parameters (a disk that is
full, a program that contradicts itself, any other exception) comes back as a `Crash`, and the caller decides.
"""

from __future__ import annotations

import mmap
import os
import pickle
import shutil
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from autohedge.backtest.trials import Params, TrialOutcome, Window
from autohedge.errors import AutoHedgeError, ConfigError, InvariantBroken, StorageError

if TYPE_CHECKING:
    from autohedge.backtest.cluster import Cluster

MAX_WORKERS = 4_096
CHUNK_PER_WORKER = 4
ONE_THREAD = dict.fromkeys(
    ("MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)
"""Environment of a worker: the libraries that would start a thread per core start one."""

_ALIGNMENT = 64
_SCRATCH = "autohedge-workers-"


class Task(NamedTuple):
    """One trial to make; without a window, on the whole of the objective's data."""

    key: str
    params: Params
    window: Window | None


@dataclass(frozen=True, slots=True)
class Crash:
    """An exception that is no outcome: what it was in one line, and its traceback as text."""

    what: str
    trace: str


Finished = TrialOutcome | Crash


class CrashTrace(Exception):
    """The traceback of a crash in a worker, as the cause of the error that stops a search."""


def attempt(objective: Callable[..., TrialOutcome], task: Task) -> tuple[str, Finished]:
    """Call the objective once; every `Exception` becomes part of the answer."""
    try:
        outcome = objective(dict(task.params), *(task.window or ()))
        if not isinstance(outcome, TrialOutcome):
            raise TypeError(f"expected the objective to return a TrialOutcome, found {type(outcome).__name__}")
    except (InvariantBroken, StorageError) as error:
        return task.key, _crash(error)
    except AutoHedgeError as error:
        return task.key, TrialOutcome(None, f"{type(error).__name__}: {error}")
    except Exception as error:  # whatever it is, it is told by the one who waits, not lost in a worker
        return task.key, _crash(error)
    return task.key, outcome


def _crash(error: Exception) -> Crash:
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}:{last.lineno} in {last.name}"
    return Crash(f"{type(error).__name__}: {error} ({where})", "".join(traceback.format_exception(error)))


# ---------------------------------------------------------------- workers


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Whoever makes the trials: this process, processes beside it, or a cluster. A context manager; starts at its first task.

    `n_jobs` counts processes on this machine (1: this one); None is one per usable core. With `cluster` the cluster decides how
    many. `scratch_dir` is where the objective is put for them while they work (None: the system's place for such files); what
    a kill left there is removed. Raises `ConfigError` for a number below 1, for an engine that is not installed, and for a
    scheduler that does not answer.
    """

    def __init__(
        self,
        objective: Callable[..., TrialOutcome],
        *,
        n_jobs: int | None = 1,
        cluster: Cluster | None = None,
        scratch_dir: Path | None = None,
    ) -> None:
        jobs = usable_cores() if n_jobs is None else n_jobs
        if not 1 <= jobs <= MAX_WORKERS:
            raise ConfigError(f"expected 1 to {MAX_WORKERS} parallel jobs, found {jobs}")
        if cluster is not None or jobs > 1:
            required("joblib", "parallel search", "backtest")
        self._objective = objective
        self._jobs = jobs
        self._cluster = cluster
        self._scratch_dir = scratch_dir
        self._stack = ExitStack()
        self._engine: Engine | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._engine = None
        self._stack.close()

    def run(self, tasks: Iterable[Task]) -> Generator[tuple[str, Finished]]:
        """Each task's key with how it ended, as it ends."""
        if self._cluster is None and self._jobs == 1:
            for task in tasks:
                yield attempt(self._objective, task)
            return
        feed = _Peeked(tasks)
        if feed.is_empty:
            return
        if self._engine is None:
            self._engine = self._started()
        try:
            yield from _streamed(self._engine, feed) if self._engine.streams else _in_chunks(self._engine, feed)
        except self._engine.broken as error:
            raise AutoHedgeError(
                f"the workers are gone ({type(error).__name__}), most often for want of memory; what is finished is kept, and "
                "the same search goes on from there, perhaps with fewer jobs"
            ) from error

    def _started(self) -> Engine:
        if self._cluster is None:
            path = _shared(self._objective, self._stack.enter_context(_scratch(self._scratch_dir)))
            backend = joblib_backend("loky", inner_max_num_threads=1, initializer=_settle, initargs=(os.getpid(),))
            return Engine(backend, self._jobs, _attempt_with_file, str(path), (BrokenExecutor,))
        from autohedge.backtest.cluster import cluster_engine

        return self._stack.enter_context(cluster_engine(self._cluster, self._objective))


class Engine(NamedTuple):
    """A joblib backend with its number of jobs, what to call with which handle of the objective, what it raises when a worker
    has died, and whether it gives outcomes one by one."""

    backend: Any
    n_jobs: int
    call: Callable[[Any, Task], tuple[str, Finished]]
    handle: Any
    broken: tuple[type[Exception], ...]
    streams: bool = True


def _streamed(engine: Engine, feed: Iterable[Task]) -> Generator[tuple[str, Finished]]:
    """Outcomes one by one, in the order in which they are there."""
    from joblib import Parallel, delayed

    parallel = Parallel(backend=engine.backend, n_jobs=engine.n_jobs, return_as="generator_unordered")
    outcomes = parallel(delayed(engine.call)(engine.handle, task) for task in feed)
    try:
        for each in outcomes:  # noqa: UP028 - `yield from` would close them itself, and joblib then warns
            yield each
    finally:
        with warnings.catch_warnings():  # a caller that leaves early knows that it does
            warnings.simplefilter("ignore")
            outcomes.close()


def _in_chunks(engine: Engine, feed: Iterable[Task]) -> Generator[tuple[str, Finished]]:
    """Outcomes by the handful, for backends that can give no others."""
    from joblib import Parallel, delayed

    with Parallel(backend=engine.backend, n_jobs=engine.n_jobs) as parallel:
        tasks = iter(feed)
        while chunk := list(islice(tasks, CHUNK_PER_WORKER * engine.n_jobs)):
            yield from parallel(delayed(engine.call)(engine.handle, task) for task in chunk)


def joblib_backend(name: str, **parameters: Any) -> Any:
    """A joblib backend that can be given to many `Parallel` calls, so that what it holds (scattered data) is made once."""
    from joblib import parallel_config

    with parallel_config(backend=name, **parameters) as made:
        return made["backend"]


class _Peeked:
    """Tasks of which the first was looked at; handed out one at a time, whichever thread asks."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = iter(tasks)
        self._lock = threading.Lock()
        self._first = next(self._tasks, None)
        self.is_empty = self._first is None

    def __iter__(self) -> Iterator[Task]:
        return self

    def __next__(self) -> Task:
        with self._lock:
            if self._first is not None:
                first, self._first = self._first, None
                return first
            return next(self._tasks)


# ---------------------------------------------------------------- processes on this machine


@contextmanager
def _scratch(beside: Path | None) -> Iterator[Path]:
    """A new folder that goes at the end; `beside` belongs to us alone, so its older ones are what a kill left."""
    for left in beside.glob(f"{_SCRATCH}*") if beside is not None else ():
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(prefix=_SCRATCH, dir=beside) as name:
        yield Path(name).resolve()  # workers that live on may stand in another folder


def _shared(objective: object, folder: Path) -> Path:
    """The objective in one file: its pickle, and behind it the memory of its arrays, which all workers map and none copies."""
    cloudpickle = required("cloudpickle", "parallel search", "backtest")
    buffers: list[pickle.PickleBuffer] = []
    path = folder / "objective"
    try:
        head = cloudpickle.dumps(objective, protocol=5, buffer_callback=buffers.append)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(f"the objective cannot be sent to other processes: {error}; search with one job") from error
    raws = [buffer.raw() for buffer in buffers]
    try:
        with path.open("wb") as file:
            file.write(pickle.dumps((len(head), [raw.nbytes for raw in raws])).ljust(_head_bytes(len(raws)), b"\0"))
            for block in (head, *raws):
                file.write(b"\0" * (-file.tell() % _ALIGNMENT))
                file.write(block)
    except OSError as error:
        raise StorageError(f"cannot write the objective for other processes to {path}: {error.strerror}") from error
    return path


def _head_bytes(blocks: int) -> int:
    """Room for the table of contents of so many blocks."""
    return 4_096 + 16 * blocks


@lru_cache(maxsize=1)
def _loaded(path: str) -> Callable[..., TrialOutcome]:
    """The objective of `_shared`, in a worker. Its arrays are private views: as writable as before, and what one writes no
    other sees."""
    with Path(path).open("rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    head_bytes, sizes = pickle.loads(whole)
    blocks: list[memoryview] = []
    at = _head_bytes(len(sizes))
    for size in (head_bytes, *sizes):
        at += -at % _ALIGNMENT
        blocks.append(whole[at : at + size])
        at += size
    objective: Callable[..., TrialOutcome] = pickle.loads(blocks[0], buffers=blocks[1:])
    return objective


def _settle(parent_pid: int) -> None:
    """What a new worker does first: one thread per library, deaf to Ctrl-C, and gone when its parent is."""
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the parent, which ends its workers
    threading.Thread(target=_end_with, args=(parent_pid,), name="end-with-parent", daemon=True).start()


def _end_with(parent_pid: int) -> None:
    """A killed parent cannot end its workers; they would work on for nobody, and then wait."""
    while os.getppid() == parent_pid:
        time.sleep(1.0)
    os._exit(1)


def _attempt_with_file(path: str, task: Task) -> tuple[str, Finished]:
    try:
        objective = _loaded(path)
    except Exception as error:  # an objective that this worker cannot build is told like one that breaks
        return task.key, _crash(error)
    return attempt(objective, task)


def required(module: str, purpose: str, extra: str | None) -> ModuleType:
    """The module; `ConfigError` with what to install where it is missing."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        install = f"'autohedge[{extra}]'" if extra else module
        raise ConfigError(f"{purpose} needs {module}, which is not installed: run  pip install {install}") from error
