"""Where the steps of a run are executed: the names of executors, and which one is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsml.contract.catalog import Catalog, Pipeline

EXECUTORS = ("threads", "multiprocess", "in_process", "dask", "ray", "k8s")
# Of dagstermill's steps: it starts its kernels as if it had the process for itself, and they hand
# on values through files of the machine.
STOCK_EXECUTORS = ("multiprocess", "in_process")
STOCK = "dagstermill"


@dataclass(frozen=True)
class Package:
    """The package that an executor needs; it comes with the ``extra`` of this project."""

    name: str
    extra: str


# Those that execute steps elsewhere than on this machine.
REMOTE: Mapping[str, Package] = {
    "dask": Package("distributed", "dask"),
    "ray": Package("ray", "ray"),
    "k8s": Package("dagster_k8s", "k8s"),
}


def executors_for(pipeline: Pipeline) -> tuple[str, ...]:
    """The executors that a pipeline may be given."""
    return STOCK_EXECUTORS if pipeline.engine == STOCK else EXECUTORS


def executor_name(catalog: Catalog, pipeline: Pipeline) -> str:
    """The executor of a pipeline where a run doesn't say otherwise.

    That of the environment goes before the pipeline's own: it knows what machines there are.

    Raises:
        ProjectError: there is no environment of the name that ``DSML_ENV`` has.
    """
    able = executors_for(pipeline)
    asked = (catalog.environment().executor, pipeline.executor)
    return next((name for name in asked if name in able), able[0])


def workers_of(catalog: Catalog, pipeline: Pipeline) -> int | None:
    """How many steps of a pipeline run at once: as many as it says, and the environment allows.

    Raises:
        ProjectError: there is no environment of the name that ``DSML_ENV`` has.
    """
    both = (catalog.environment().workers, pipeline.workers)
    return min((number for number in both if number is not None), default=None)
