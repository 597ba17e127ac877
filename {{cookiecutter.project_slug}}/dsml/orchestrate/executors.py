"""How the steps of a run are started: in the run's own process, or each in a worker process."""

from __future__ import annotations

import multiprocessing
import tempfile

from dagster import (
    Executor,
    ExecutorDefinition,
    Field,
    InitExecutorContext,
    Int,
    Noneable,
    in_process_executor,
    multiprocess_executor,
)

from dsml.contract.project import Project
from dsml.orchestrate.threads import thread_executor
from dsml.orchestrate.warm import warm_up

# What a worker needs, imported once in the process that all workers are forked from.
PRELOADED = ["dsml.orchestrate.preload"]
# 104 bytes for a socket on macOS, the shortest limit there is, less what multiprocessing appends.
_LONGEST_TEMPORARY = 104 - len("/pymp-12345678/listener-12345678") - 1


def executor_of(project: Project, name: str, workers: int | None) -> ExecutorDefinition:
    """The executor of a pipeline; ``workers`` limits how many steps run at once.

    A run may set another limit: ``execution: {config: {max_concurrent: 1}}``. What it executes
    leaves a record and a trace.
    """
    plain = _executor(name, workers)

    def create(init: InitExecutorContext) -> Executor:
        from dsml.orchestrate.recorded import Recorded  # only a run needs it

        make = plain.executor_creation_fn
        if make is None:
            raise ValueError(f"the executor {plain.name} cannot be made")
        return Recorded(project, make(init), lambda: warm_up(project, name))

    return ExecutorDefinition(
        name=plain.name,
        config_schema=plain.config_schema,  # type: ignore[arg-type]  # it takes what it gives
        requirements=plain.get_requirements,
        executor_creation_fn=create,
        description=plain.description,
    )


def _executor(name: str, workers: int | None) -> ExecutorDefinition:
    if name == "in_process":
        return in_process_executor
    if name == "threads":
        return thread_executor(workers)
    schema = {
        "max_concurrent": Field(
            Noneable(Int),
            default_value=workers,
            is_required=False,
            description="how many steps run at once; null means one for each core",
        )
    }

    def configured(config: dict[str, int | None]) -> dict[str, object]:
        return {
            **({"max_concurrent": config["max_concurrent"]} if config["max_concurrent"] else {}),
            "start_method": _start_method(),
        }

    return multiprocess_executor.configured(configured, name="multiprocess", config_schema=schema)


def _start_method() -> dict[str, object]:
    # the forkserver listens on a socket in the temporary folder, whose path has to be short
    is_short = len(tempfile.gettempdir()) <= _LONGEST_TEMPORARY
    if is_short and "forkserver" in multiprocessing.get_all_start_methods():
        return {"forkserver": {"preload_modules": PRELOADED}}
    return {"spawn": {}}
