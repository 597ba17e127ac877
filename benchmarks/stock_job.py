"""Notebooks as a job of stock dagstermill: `dagster job execute -f stock_job.py -j stock`.

`BENCH_STOCK` holds the notebooks, their shape, the executor and its limit, as JSON.
"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

from dagster import (
    BetaWarning,
    DependencyDefinition,
    ExecutorDefinition,
    GraphDefinition,
    In,
    JobDefinition,
    Nothing,
    OpDefinition,
    in_process_executor,
    multiprocess_executor,
)

warnings.simplefilter("ignore", BetaWarning)
from dagstermill import ConfigurableLocalOutputNotebookIOManager, define_dagstermill_op  # noqa: E402 - quiet

_OUT = "executed_notebook"


def _op(file: str, after: str | None) -> OpDefinition:
    op: OpDefinition = define_dagstermill_op(
        name=Path(file).stem,
        notebook_path=file,
        ins={"after": In(Nothing)} if after else {},
        output_notebook_name=_OUT,
        io_manager_key="output_notebook_io_manager",
    )
    return op


def _executor(name: str, limit: int | None) -> ExecutorDefinition:
    if name == "in_process":
        return in_process_executor
    config: dict[str, Any] = {"max_concurrent": limit} if limit else {}
    return multiprocess_executor.configured(config, name="multiprocess")


def _job(files: list[str], chain: bool, executor: str, limit: int | None) -> JobDefinition:
    before = [None, *files[:-1]] if chain else [None] * len(files)
    graph = GraphDefinition(
        name="stock",
        node_defs=[_op(file, after) for file, after in zip(files, before, strict=True)],
        dependencies={
            Path(file).stem: {"after": DependencyDefinition(Path(after).stem, _OUT)}
            for file, after in zip(files, before, strict=True)
            if after
        },
    )
    return graph.to_job(
        executor_def=_executor(executor, limit),
        resource_defs={"output_notebook_io_manager": ConfigurableLocalOutputNotebookIOManager()},
    )


stock = _job(**json.loads(os.environ["BENCH_STOCK"]))
