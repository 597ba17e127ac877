"""What dagstermill's own engine cannot do, told of the steps of pipelines that use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dsml.contract.catalog import Catalog, Pipeline
from dsml.contract.executors import REMOTE, STOCK
from dsml.contract.problem import Problem, Where
from dsml.contract.selection import steps_of
from dsml.contract.spec import StepSpec

_FIX = "take it out, or use the engine pipes"
_UNKNOWN = {  # key → what dagstermill lacks
    "map": "maps no notebooks",
    "timeout": "has no deadlines",
    "checks": "checks no outs",
}


def engine_problems(catalog: Catalog, steps: Mapping[str, StepSpec]) -> Iterator[Problem]:
    """What the steps of pipelines with the engine dagstermill ask for in vain."""
    stock = [p for p in catalog.pipelines.values() if p.engine == STOCK]
    for pipeline in stock:
        yield from _elsewhere(catalog, pipeline)
    names = {name for pipeline in stock for name in steps_of(pipeline, steps)}
    for name in sorted(names):
        yield from stock_problems(steps[name])
        yield from _asked_in_vain(steps[name])


def _elsewhere(catalog: Catalog, pipeline: Pipeline) -> Iterator[Problem]:
    """That a pipeline asks for other machines."""
    if pipeline.executor in REMOTE:
        keys = ("pipelines", pipeline.name, "executor")
        what = f"{STOCK} runs on this machine only, and not on {pipeline.executor}"
        fix = "write executor: multiprocess, or use the engine pipes"
        yield catalog.problem(keys, what, fix, "engine")


def stock_problems(step: StepSpec) -> Iterator[Problem]:
    """Why no op of dagstermill can be made of a step."""
    if step.function is not None:
        where = step.where("run") if step.pipeline else Where(step.path)
        fix = "make a notebook of it, or use the engine pipes"
        yield Problem(where, f"{STOCK} runs no Python steps", fix, "python-step")
    elif not step.path.endswith(".ipynb"):
        fix = f"make a notebook of it: jupytext --to ipynb {step.path}, or use the engine pipes"
        yield Problem(Where(step.path), f"{STOCK} runs no text notebooks", fix, "text-notebook")


def _asked_in_vain(step: StepSpec) -> Iterator[Problem]:
    """What a step asks for and dagstermill doesn't do; an op of it alone does the rest."""
    for key, lack in _UNKNOWN.items():
        if step.op_parameters.get(key):
            yield step.problem((key,), f"{STOCK} {lack}", _FIX, "engine")
    for name, parameter in step.parameters.items():
        if parameter.type.is_secret:
            what = f"{name}: {STOCK} keeps no secret out of what it writes"
            yield Problem(step.where(), what, _FIX, "engine")
    for out in sorted(step.optional):
        yield step.problem(("outs", out), f"to {STOCK} no out is optional", _FIX, "engine")
