"""Trials on a cluster: dask, on this machine or by the address of its scheduler, or ray; both by joblib's backends.

Promise: one option chooses it, and the outcomes are those of this machine. Workers started here listen on loopback only, have
no dashboard, and end with the search. The objective is sent to each worker once. A cluster elsewhere needs the same version
of AutoHedge, and whatever the objective names by path, on each of its workers.

ray gives outcomes by the handful and not one by one, so a kill loses up to a handful.
"""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from autohedge.backtest.parallel import (
    MAX_WORKERS,
    ONE_THREAD,
    Engine,
    Finished,
    Task,
    attempt,
    joblib_backend,
    required,
    usable_cores,
)
from autohedge.backtest.trials import TrialOutcome
from autohedge.errors import ConfigError

CONNECT_TIMEOUT_S = 10
_LOCAL = re.compile(r"local(?::(\d{1,4}))?", re.ASCII)
_ADDRESS = re.compile(r"(?:(?:tcp|tls|ws|wss|ucx)://)?[^\s/:]+:\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which engine runs the trials: `kind` dask or ray; for dask `address` of a scheduler, or `workers` to start here."""

    kind: str
    address: str | None = None
    workers: int | None = None


def parse_cluster(text: str) -> Cluster:
    """`local` or `local:N` (dask workers on this machine), `HOST:PORT` or `tcp://HOST:PORT` (a dask scheduler), or `ray`."""
    local = _LOCAL.fullmatch(text)
    if local:
        workers = int(local[1]) if local[1] else usable_cores()
        if not 1 <= workers <= MAX_WORKERS:
            raise ConfigError(f"expected 1 to {MAX_WORKERS} local workers, found {workers}")
        return Cluster("dask", workers=workers)
    if text == "ray":
        return Cluster("ray")
    if _ADDRESS.fullmatch(text):
        return Cluster("dask", address=text if "://" in text else f"tcp://{text}")
    raise ConfigError(f"expected a cluster as local, local:N, HOST:PORT, tcp://HOST:PORT or ray, found {text[:80]!r}")


def cluster_engine(cluster: Cluster, objective: Callable[..., TrialOutcome]) -> AbstractContextManager[Engine]:
    """The engine of a cluster, which has the objective; `ConfigError` if it is not installed or does not answer."""
    return _ray(objective) if cluster.kind == "ray" else _dask(cluster, objective)


@contextmanager
def _dask(cluster: Cluster, objective: Callable[..., TrialOutcome]) -> Iterator[Engine]:
    """The objective scattered to every worker of a dask cluster, where it stays. joblib itself does the work of a cluster of
    one core, in this process."""
    distributed = required("distributed", "a dask cluster", "cluster")
    callbacks = logging.getLogger("tornado.application")
    with ExitStack() as stack:
        stack.callback(callbacks.setLevel, callbacks.level)
        client = _connected(distributed, cluster, stack)
        backend = joblib_backend("dask", client=client, scatter=[objective])
        died = (distributed.KilledWorker, distributed.client.FutureCancelledError)
        try:
            yield Engine(backend, -1, attempt, objective, died)
        except BaseException:
            callbacks.setLevel(logging.CRITICAL)  # what is cut off in the middle would tell of it at length
            raise


def _connected(distributed: ModuleType, cluster: Cluster, stack: ExitStack) -> Any:
    """A client of the named scheduler, or of workers started here, which end with it and listen on loopback only."""
    if cluster.address is None:
        with _deaf_to_ctrl_c():
            here = distributed.LocalCluster(
                n_workers=cluster.workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # where dask's own HTTP pages are; without it they take port 8787
                scheduler_kwargs={"dashboard": False},
                memory_limit=0,  # no limit: dask would stop a worker in the middle of a trial
                silence_logs=logging.ERROR,
                env=ONE_THREAD,
            )
        stack.enter_context(here)
        return stack.enter_context(distributed.Client(here, set_as_default=False))
    try:
        client = distributed.Client(cluster.address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no dask scheduler answers at {cluster.address} within {CONNECT_TIMEOUT_S} s; start one, or use local:N"
        ) from error
    stack.enter_context(client)
    if not client.scheduler_info()["workers"]:
        raise ConfigError(f"the dask scheduler at {cluster.address} has no workers; start some, or use local:N")
    return client


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """So are all processes that start inside: it is for their parent, which ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _ray(objective: Callable[..., TrialOutcome]) -> Iterator[Engine]:
    """The ray cluster of the environment (RAY_ADDRESS), or one on this machine."""
    ray = required("ray", "a ray cluster", None)
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
        try:
            yield _ray_engine(ray, objective)
        finally:
            ray.shutdown()
        return
    yield _ray_engine(ray, objective)


def _ray_engine(ray: ModuleType, objective: Callable[..., TrialOutcome]) -> Engine:
    died = ray.exceptions.RayActorError
    required("ray.util.joblib", "a ray cluster", None).register_ray()
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    return Engine(joblib_backend("ray"), workers, _attempt_with_ref, [ray.put(objective)], (died,), streams=False)


def _attempt_with_ref(handle: list[Any], task: Task) -> tuple[str, Finished]:
    return attempt(required("ray", "a ray cluster", None).get(handle[0]), task)
