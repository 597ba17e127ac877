"""Workers of Dask: those of a scheduler that is there, or of one that a run starts for itself."""

from __future__ import annotations

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dsml.contract.needs import Needs
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.orchestrate.remote import worker
from dsml.orchestrate.remote.executor import Cluster, Done
from dsml.orchestrate.remote.worker import Request, end_on_dask, on_dask, stop_on_dask

if TYPE_CHECKING:
    from distributed import Client, Future

VARIABLE = "DASK_SCHEDULER_ADDRESS"  # Dask's own
_CONNECT_TIMEOUT = 10  # seconds


@contextmanager
def connect_dask(address: str | None, workers: int | None) -> Iterator[Cluster]:
    """The workers of the scheduler at an address, or of one that is started here.

    Without an address that of Dask's own configuration is taken. Of a cluster that is started here
    ``workers`` is the number of its processes; None: one for each core.

    Raises:
        ProjectError: nobody answers at the address.
    """
    import cloudpickle
    import dask
    from distributed import Client

    cloudpickle.register_pickle_by_value(worker)
    address = address or dask.config.get("scheduler-address", None)
    if address is None:
        count = workers or os.cpu_count() or 1
        with _local(count) as cluster, Client(cluster, set_as_default=False) as client:
            yield _Dask(client, f"Dask, {count} workers of this machine", count)
        return
    try:
        client = Client(address, timeout=_CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, ValueError) as error:
        what = f"no scheduler of Dask answers at {address}: {error}"
        fix = (
            f"start it, or name another: {VARIABLE}=tcp://host:8786; without one a run has its own"
        )
        raise ProjectError([Problem(Where(VARIABLE), what, fix, "no-cluster")]) from None
    with client:
        yield _Dask(client, f"Dask, {address}", None)


@contextmanager
def _local(workers: int) -> Iterator[Any]:
    """A cluster of this machine, which nobody else reaches."""
    from distributed import LocalCluster

    with _signals_ignored():
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            memory_limit=0,  # of the worker alone, and not of the step that it has started
            silence_logs="CRITICAL",
        )
    with cluster:
        yield cluster


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Have what is started here outlive a Ctrl-C, which a terminal sends to all processes.

    It is the run that tells the workers to stop, so that their steps keep what they have.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    saved = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in saved.items():
            signal.signal(number, handler)


class _Dask:
    """Hands steps to the workers of a scheduler; it tries those of lost workers again itself."""

    def __init__(self, client: Client, where: str, limit: int | None) -> None:
        self.where = where
        self.limit = limit
        self._client = client
        self._futures: list[Future] = []  # one that nobody keeps is not computed

    def submit(self, request: Request, name: str, needs: Needs, done: Done) -> None:
        future = self._client.submit(
            on_dask,
            request,
            key=f"{name}-{uuid.uuid4().hex}",
            pure=False,
            resources=self._resources(needs),
        )
        self._futures.append(future)
        future.add_done_callback(lambda over: done(over.result))

    def stop(self, run_id: str) -> None:
        """Have the steps of a run end; those that no worker has begun end as soon as one does."""
        self._client.run(stop_on_dask, run_id)

    def end(self, run_id: str) -> None:
        """Have workers that go on forget the run."""
        if self.limit is None:
            self._client.run(end_on_dask, run_id)

    def _resources(self, needs: Needs) -> dict[str, float]:
        """What is asked of a worker: cores and memory only where workers tell what they have.

        A step that needs a graphics processor waits for a worker that has one. Of a cluster that
        was started here nothing is asked: all its workers are this machine.
        """
        if self.limit is not None:
            return {}
        told = self._client.scheduler_info(n_workers=-1)["workers"].values()
        known = {name for each in told for name in each.get("resources", {})}
        asked = {"CPU": needs.cpu, "MEMORY": needs.memory, "GPU": needs.gpu}
        return {n: v for n, v in asked.items() if v and (n in known or n == "GPU")}
