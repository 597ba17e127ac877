"""The partitions of each step, which are those of its pipelines, and how they fit together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from dsml.contract.catalog import Catalog, Pipeline
from dsml.contract.names import step_of
from dsml.contract.partitions import Partitions
from dsml.contract.problem import Problem
from dsml.contract.selection import is_plain, registered, steps_of
from dsml.contract.spec import StepSpec, step_name
from dsml.contract.wiring import outlines

_NAMED = 3  # steps in a message


def step_partitions(catalog: Catalog, steps: Mapping[str, StepSpec]) -> dict[str, Partitions]:
    """The partitions of the steps that have any beside their experiment."""
    found: dict[str, Partitions] = {}
    for pipeline in _partitioned(catalog):
        if pipeline.partitions is not None:
            found |= dict.fromkeys(steps_of(pipeline, steps), pipeline.partitions)
    return found


def registered_partitions(catalog: Catalog, draft: StepSpec | None = None) -> dict[str, Partitions]:
    """The same from the catalog alone, without reading any notebook.

    ``draft`` is a step that need not be registered.
    """
    if not list(_partitioned(catalog)):
        return {}
    steps = {
        name: StepSpec(*step_name(entry.path), entry.path, ins=entry.ins, after=entry.after)
        for name, entry in catalog.register.items()
    }
    drafts = {} if draft is None else {draft.name: draft}
    return step_partitions(catalog, steps | outlines(catalog) | drafts)


def partition_problems(catalog: Catalog, steps: Mapping[str, StepSpec]) -> Iterator[Problem]:
    """Pipelines that disagree about a step, and steps that cannot read from one another."""
    for pipeline in _partitioned(catalog):
        if not all(map(is_plain, pipeline.select)):
            keys = ("pipelines", pipeline.name, "select")
            what = "Dagster's own syntax tells too late which steps are meant"
            fix = "name stages and steps in a pipeline with partitions: [load, train.fit+]"
            yield catalog.problem(keys, what, fix, "partitions")
    run = registered(catalog, steps)
    for one, other in combinations(catalog.pipelines.values(), 2):
        if one.partitions != other.partitions:
            yield from _disagreement(catalog, run, one, other)
    partitions = step_partitions(catalog, steps)
    if partitions:
        for step in steps.values():
            yield from _edges(step, steps, partitions)


def _partitioned(catalog: Catalog) -> Iterator[Pipeline]:
    return (p for p in catalog.pipelines.values() if p.partitions is not None)


def _disagreement(
    catalog: Catalog, steps: Mapping[str, StepSpec], one: Pipeline, other: Pipeline
) -> Iterator[Problem]:
    both = sorted(steps_of(one, steps) & steps_of(other, steps))
    if both:
        named = ", ".join(both[:_NAMED])
        named += f" and {len(both) - _NAMED} more" if len(both) > _NAMED else ""
        what = f"{named} with {_shown(other)} here, and with {_shown(one)} in '{one.name}'"
        fix = "give both pipelines the same partitions, or select each step in only one of them"
        yield catalog.problem(("pipelines", other.name), what, fix, "partitions")


def _shown(pipeline: Pipeline) -> str:
    return f"partitions ({pipeline.partitions})" if pipeline.partitions else "no partitions"


def _edges(
    step: StepSpec, steps: Mapping[str, StepSpec], partitions: Mapping[str, Partitions]
) -> Iterator[Problem]:
    """What a step reads from one with other partitions.

    One without any reads all there are of the other; what has none is the same for all.
    """
    own = partitions.get(step.name)
    for keys, source in step.reads:
        name = step_of(source)
        theirs = partitions.get(name)
        if theirs is None or theirs == own:
            continue
        mapped = name in steps and steps[name].map
        if own is None and keys[0] == "ins" and not mapped:
            continue
        ours = f"those of {step.name} are another matter: {own}" if own else f"{step.name} has none"
        what = f"'{source}' has partitions ({theirs}), and {ours}"
        fix = "select both steps in pipelines of the same partitions"
        yield step.problem(keys, what, fix, "partitions")
