"""What a mapped step does when it runs: find its values, run an instance, collect the results."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckResult,
    BetaWarning,
    DataVersion,
    MetadataValue,
    OpExecutionContext,
    Output,
)

from dsml.contract.fanout import grid_finding, instances
from dsml.contract.figures import short_id, size
from dsml.contract.literals import Json
from dsml.contract.parameters import value_problem
from dsml.contract.problem import Problem, ProjectError
from dsml.contract.project import Project
from dsml.contract.spec import StepSpec
from dsml.orchestrate.config import given_lists
from dsml.orchestrate.data_checks import check_evaluation, check_results
from dsml.orchestrate.keys import EXECUTED, output_name
from dsml.orchestrate.materialise import (
    Blocked,
    Turn,
    experiment_values,
    inputs_of,
    published,
    published_by_another,
    task_of,
    told,
    turn_of,
)
from dsml.orchestrate.metadata import evidence, facts, logged, viewer
from dsml.orchestrate.preview import Metadata, markdown_table
from dsml.step.checks import CheckResult, combined
from dsml.step.task import collected
from dsml.store import Manifest, Plan
from dsml.store.disk import disk_told
from dsml.store.manifest import NOTEBOOK_FILE
from dsml.store.once import AlreadyPublished

_LISTED = 10  # instances that a message names


def make_plan(context: OpExecutionContext, project: Project, step: StepSpec) -> Plan:
    """Find what a mapped step is run for, and the inputs that all its instances read.

    Raises:
        Failure: an input is missing, or a list is none.
    """
    turn = turn_of(context, project, step)
    with told():
        given = given_lists(step, experiment_values(turn), context.run.run_config)
        grid = {**_declared_lists(turn, given), **given}
        in_order = {name: grid[name] for name in step.map}
        values = {instance.key: instance.values for instance in instances(in_order)}
        plan = Plan(values, inputs_of(turn))
        with disk_told(turn.store.work):
            turn.store.keep_plan(turn.address, plan)
    context.log.info(f"{len(plan.instances)} instances: {', '.join(plan.instances)}")
    return plan


def _declared_lists(turn: Turn, given: Collection[str]) -> dict[str, Sequence[Json]]:
    """The values of the parameters that are not ``given``: written out, or published by a step."""
    step, store = turn.step, turn.store
    wanted = replace(step, map={n: items for n, items in step.map.items() if n not in given})
    lists = turn.find_inputs(wanted, lists=True)
    return {
        name: _values(step, name, items, store.fetch(lists[name], turn.address))
        if isinstance(items, str)
        else items
        for name, items in wanted.map.items()
    }


def _values(step: StepSpec, name: str, items: str, file: Path) -> Sequence[Json]:
    values: Any = _read(file)
    wrong = grid_finding(values)
    if wrong is None:
        found = value_problem(step.settings, name, values)
        wrong = found[0] if found else None
    if wrong is not None:
        what = f"map.{name}: '{items}' {wrong}"
        fix = f"publish a JSON list of values of type {step.parameters[name].type}"
        raise ProjectError([Problem(step.where("map", name), what, fix, "no-list")])
    found_values: Sequence[Json] = values
    return found_values


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # it is no JSON: told as what it is
        return None


def run_instance(
    context: OpExecutionContext, project: Project, step: StepSpec
) -> Iterator[Output[None] | AssetCheckEvaluation]:
    """Run one instance, and say what is to be seen of it.

    Raises:
        Failure: with the message for the user.
    """
    turn = turn_of(context, project, step)
    key = context.get_mapping_key() or ""
    with told():
        plan = _plan(turn)
        one = replace(turn, address=turn.address.of_instance(key))
        task = task_of(one, plan.inputs, plan.instances[key])
    try:
        manifest = published(context, project, task)
    except Blocked as blocked:
        yield from (
            check_evaluation(step, combined({key: result}), context.partition_key)
            for result in blocked.results
        )
        raise blocked.failure from None
    shown = facts(manifest) | evidence(context, turn.store, manifest.origin, manifest.attempts)
    yield Output(None, metadata=shown | logged(turn.store, manifest, shown))


def _plan(turn: Turn) -> Plan:
    """The plan of this run, or of the run that it carries on."""
    for run in (turn.address.run_id, *turn.lineage()):
        plan = turn.store.plan(turn.address.of_run(run))
        if plan is not None:
            return plan
    what = "map: the list of its instances has been deleted with the run that made it"
    raise _not_whole(turn.step, what, f"start anew: dsml run {turn.context.job_name}")


def _parts(turn: Turn, plan: Plan) -> dict[str, Manifest]:
    """What the instances have published, in the order of the plan.

    Some may have not, as where a run was carried on that had not begun them.
    """
    whole, runs = turn.address, turn.lineage()
    found = {key: turn.store.of_runs(whole.of_instance(key), runs) for key in plan.instances}
    parts = {key: manifest for key, manifest in found.items() if manifest is not None}
    missing = [key for key in found if key not in parts]
    if missing:
        listed = ", ".join(missing[:_LISTED]) + (" ..." if len(missing) > _LISTED else "")
        what = f"map: {len(missing)} of {len(found)} instances have not been run: {listed}"
        fix = f"run them: dsml run --from-failure {short_id(whole.run_id)}"
        raise _not_whole(turn.step, what, fix)
    return parts


def _not_whole(step: StepSpec, what: str, fix: str) -> ProjectError:
    return ProjectError([Problem(step.where("map"), what, fix, "not-whole")])


def collect_instances(
    context: OpExecutionContext, project: Project, step: StepSpec
) -> Iterator[Output[None] | AssetCheckResult]:
    """Publish what all instances have made, by their keys, as the artefacts of the step.

    Raises:
        Failure: some have not been run.
    """
    turn = turn_of(context, project, step)
    with told():
        plan = _plan(turn)
        parts = _parts(turn, plan)
        task = task_of(turn, plan.inputs)
    try:
        with told(), disk_told(turn.store.work):
            turn.store.record(manifest := collected(task, plan, parts))
    except AlreadyPublished:
        manifest = published_by_another(context, task)
    yield from _outputs(turn, manifest, parts)
    yield from check_results(step, map(CheckResult.from_dict, manifest.checks))


def _outputs(
    turn: Turn, manifest: Manifest, parts: Mapping[str, Manifest]
) -> Iterator[Output[None]]:
    shown: Metadata = facts(manifest) | {
        "instances": MetadataValue.int(len(parts)),
        "table": MetadataValue.md(_table(turn, parts)),
    }
    yield _output(EXECUTED, shown, manifest.fingerprint)
    for name, output in manifest.outputs.items():
        about = shown | {"size": MetadataValue.text(size(output.bytes))}
        yield _output(output_name(name), about, output.sha256)


def _output(name: str, metadata: Metadata, version: str) -> Output[None]:
    # data versions are in beta; Dagster is pinned and tested
    with warnings.catch_warnings(action="ignore", category=BetaWarning):
        return Output(None, name, metadata=metadata, data_version=DataVersion(version))


def _table(turn: Turn, parts: Mapping[str, Manifest]) -> str:
    """A row for each instance: its values, what it logged, its executed notebook."""
    mapped = turn.step.map
    logged_names = dict.fromkeys(name for found in parts.values() for name in found.metrics)
    metrics = [name for name in logged_names if name not in mapped]
    headings = [*mapped, *metrics, "seconds", "notebook"]
    rows = [
        [
            *(str(found.parameters[name].value) for name in mapped),
            *(str(found.metrics.get(name, "")) for name in metrics),
            str(facts(found)["seconds"].value),
            _link(turn, key, found),
        ]
        for key, found in parts.items()
    ]
    return markdown_table(headings, rows)


def _link(turn: Turn, key: str, found: Manifest) -> str:
    kept = str(turn.store.attempt_path(found.origin, found.attempts, NOTEBOOK_FILE))
    return f"[{key}]({viewer(turn.context, kept)})" if turn.store.is_local else kept
