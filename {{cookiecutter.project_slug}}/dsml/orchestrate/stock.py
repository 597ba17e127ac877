"""The same notebooks as ops of dagstermill's own engine, for those who have pipelines of them.

``define_dagstermill_op(**get_dagstermill_op_params("stages/train/fit.ipynb"))`` makes one op;
``engine: dagstermill`` in the catalog makes a job of a pipeline's steps, joined by catalog path.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagster import (
    BetaWarning,
    DependencyDefinition,
    GraphDefinition,
    In,
    JobDefinition,
    NodeInvocation,
    Nothing,
    OpDefinition,
    Out,
)

from dsml.contract.catalog import Pipeline
from dsml.contract.cells import read_notebook
from dsml.contract.engine_problems import stock_problems
from dsml.contract.modules import Modules
from dsml.contract.pair import is_text_notebook
from dsml.contract.percent import SUFFIX
from dsml.contract.problem import Problem, ProjectError, errors
from dsml.contract.project import Project, find_root
from dsml.contract.selection import steps_of
from dsml.contract.spec import Function, StepSpec, read_spec, step_name
from dsml.orchestrate.config import config_schema, op_name
from dsml.orchestrate.executors import executor_of
from dsml.orchestrate.partitions import pipeline_config
from dsml.step.stock import NOTEBOOK_TAG

_NOTEBOOK_OUT = "executed_notebook"
_NOTEBOOK_MANAGER = "output_notebook_io_manager"


def get_dagstermill_op_params(path: str | Path) -> dict[str, Any]:
    """What ``dagstermill.define_dagstermill_op`` takes to make an op of a notebook.

    Every in is the path of an artefact as text; one that is not connected is found in the store.
    A notebook that is mapped is run for one value, the parameter's own.

    Raises:
        ProjectError: the notebook doesn't keep the contract, or lies in no project.
    """
    file = Path(path).resolve()
    root = find_root(file.parent)
    relative = file.relative_to(root).as_posix()
    problems: list[Problem] = []
    if file.suffix == SUFFIX and not is_text_notebook(file):
        problems += stock_problems(StepSpec(*step_name(relative), relative, function=Function(1)))
        raise ProjectError(problems)
    notebook = read_notebook(file, relative)
    spec = read_spec(notebook, problems, Modules(root))
    if spec is None or errors(problems):
        raise ProjectError(problems)
    return _op_params(root, spec)


def _op_params(root: Path, spec: StepSpec) -> dict[str, Any]:
    refused = list(stock_problems(spec))
    if refused:
        raise ProjectError(refused)
    file = str(root / spec.path)
    return {
        "name": op_name(spec.name),
        "notebook_path": file,
        "ins": {name: In(str, default_value="") for name in spec.ins},
        "outs": {name: Out(str, is_required=name not in spec.optional) for name in spec.outs},
        "config_schema": config_schema(replace(spec, map={})),
        "description": spec.description or None,
        "tags": {**spec.tags, NOTEBOOK_TAG: file},
    }


def stock_job(project: Project, pipeline: Pipeline) -> JobDefinition:
    """The job of a pipeline whose engine is dagstermill."""
    chosen = steps_of(pipeline, project.registered)
    steps = {name: step for name, step in project.registered.items() if name in chosen}
    # dagstermill is in beta since its beginning
    with warnings.catch_warnings(action="ignore", category=BetaWarning):
        from dagstermill import ConfigurableLocalOutputNotebookIOManager

        graph = GraphDefinition(
            name=pipeline.name,
            description=pipeline.description or None,
            node_defs=[_op(project.root, step) for step in steps.values()],
            dependencies={
                NodeInvocation(op_name(name)): _dependencies(step, steps)
                for name, step in steps.items()
            },
        )
        return graph.to_job(
            config=pipeline_config(project, pipeline, steps),
            executor_def=executor_of(project, pipeline),
            resource_defs={_NOTEBOOK_MANAGER: ConfigurableLocalOutputNotebookIOManager()},
        )


def _op(root: Path, step: StepSpec) -> OpDefinition:
    from dagstermill import define_dagstermill_op

    params = _op_params(root, step)
    order = {_after(name): In(Nothing) for name in step.after}
    params["ins"] = {**params["ins"], **order}
    op: OpDefinition = define_dagstermill_op(
        **params, output_notebook_name=_NOTEBOOK_OUT, io_manager_key=_NOTEBOOK_MANAGER
    )
    return op


def _dependencies(step: StepSpec, steps: Mapping[str, StepSpec]) -> dict[str, DependencyDefinition]:
    """What the ins of an op are connected to; a step outside the pipeline is left to the store."""
    found: dict[str, DependencyDefinition] = {}
    for name, source in step.ins.items():
        upstream, _, out = source.rpartition(".")
        if upstream in steps:
            found[name] = DependencyDefinition(op_name(upstream), out)
    for name in step.after:
        if name in steps:
            found[_after(name)] = DependencyDefinition(op_name(name), _NOTEBOOK_OUT)
    return found


def _after(step: str) -> str:
    return f"after_{op_name(step)}"
