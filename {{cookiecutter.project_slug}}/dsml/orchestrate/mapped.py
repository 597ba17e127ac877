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
    address_of,
    experiment_values,
    inputs_of,
    lineage,
    published,
    published_by_another,
    task_of,
    told,
)
from dsml.orchestrate.metadata import StepContext, evidence, facts, logged, viewer
from dsml.orchestrate.preview import Metadata, markdown_table
from dsml.step.checks import CheckResult, combined
from dsml.step.inputs import find_inputs
from dsml.step.task import collected
from dsml.store import Manifest, Plan, StepRun, Store
from dsml.store.disk import disk_told
from dsml.store.manifest import NOTEBOOK_FILE
from dsml.store.once import AlreadyPublished

_LISTED = 10  # instances that a message names


def make_plan(context: OpExecutionContext, project: Project, step: StepSpec) -> Plan:
    """Find what a mapped step is run for, and the inputs that all its instances read.

    Raises:
        Failure: an input is missing, or a list is none.
    """
    store = Store.open(project.root, project.catalog)
    address = address_of(context, step)
    with told():
        given = given_lists(step, experiment_values(project, address), context.run.run_config)
        grid = {**_declared_lists(context, project, step, store, address, given), **given}
        in_order = {name: grid[name] for name in step.map}
        plan = Plan(
            {instance.key: instance.values for instance in instances(in_order)},
            inputs_of(context, project, step, store, address),
        )
        with disk_told(store.work):
            store.keep_plan(address, plan)
    context.log.info(f"{len(plan.instances)} instances: {', '.join(plan.instances)}")
    return plan


def _declared_lists(
    context: StepContext,
    project: Project,
    step: StepSpec,
    store: Store,
    address: StepRun,
    given: Collection[str],
) -> dict[str, Sequence[Json]]:
    """The values of the parameters that are not ``given``: written out, or published by a step."""
    wanted = replace(step, map={n: items for n, items in step.map.items() if n not in given})
    published = find_inputs(
        project.root,
        store,
        wanted,
        address,
        lineage=lineage(context),
        lists=True,
        partitions=project.partitions,
    )
    return {
        name: _values(step, name, items, store.fetch(published[name], address))
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
    store = Store.open(project.root, project.catalog)
    whole = address_of(context, step)
    key = context.get_mapping_key() or ""
    with told():
        plan = _plan(context, step, store, whole)
        task = task_of(
            context,
            project,
            step,
            store,
            whole.of_instance(key),
            plan.inputs,
            plan.instances[key],
        )
    try:
        manifest = published(context, project, task)
    except Blocked as blocked:
        yield from (
            check_evaluation(step, combined({key: result}), context.partition_key)
            for result in blocked.results
        )
        raise blocked.failure from None
    shown = facts(manifest) | evidence(context, store, manifest.origin, manifest.attempts)
    yield Output(None, metadata=shown | logged(store, manifest, shown))


def _plan(context: StepContext, step: StepSpec, store: Store, address: StepRun) -> Plan:
    """The plan of this run, or of the run that it carries on.

    Raises:
        ProjectError: there is none any more.
    """
    plans = (store.plan(address.of_run(run)) for run in (address.run_id, *lineage(context)))
    plan = next((plan for plan in plans if plan is not None), None)
    if plan is None:
        what = "map: the list of its instances has been deleted with the run that made it"
        raise _not_whole(step, what, f"start anew: dsml run {context.job_name}")
    return plan


def _parts(context: StepContext, step: StepSpec, store: Store, plan: Plan) -> dict[str, Manifest]:
    """What the instances have published, in the order of the plan.

    Raises:
        ProjectError: some have not, as where a run was carried on that had not begun them.
    """
    whole, runs = address_of(context, step), lineage(context)
    found = {key: store.of_runs(whole.of_instance(key), runs) for key in plan.instances}
    parts = {key: manifest for key, manifest in found.items() if manifest is not None}
    missing = [key for key in found if key not in parts]
    if missing:
        listed = ", ".join(missing[:_LISTED]) + (" ..." if len(missing) > _LISTED else "")
        what = f"map: {len(missing)} of {len(found)} instances have not been run: {listed}"
        fix = f"run them: dsml run --from-failure {short_id(whole.run_id)}"
        raise _not_whole(step, what, fix)
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
    store = Store.open(project.root, project.catalog)
    whole = address_of(context, step)
    with told():
        plan = _plan(context, step, store, whole)
        parts = _parts(context, step, store, plan)
        task = task_of(context, project, step, store, whole, plan.inputs, {})
    try:
        with told(), disk_told(store.work):
            store.record(manifest := collected(task, plan, parts))
    except AlreadyPublished:
        manifest = published_by_another(context, task)
    yield from _outputs(context, store, step, manifest, parts)
    yield from check_results(step, map(CheckResult.from_dict, manifest.checks))


def _outputs(
    context: OpExecutionContext,
    store: Store,
    step: StepSpec,
    manifest: Manifest,
    parts: Mapping[str, Manifest],
) -> Iterator[Output[None]]:
    table = MetadataValue.md(_table(context, store, step, parts))
    shown: Metadata = facts(manifest) | {
        "instances": MetadataValue.int(len(parts)),
        "table": table,
    }
    with warnings.catch_warnings():  # data versions are in beta; Dagster is pinned and tested
        warnings.simplefilter("ignore", BetaWarning)
        version = DataVersion(manifest.fingerprint)
        yield Output(None, EXECUTED, metadata=shown, data_version=version)
        for name, output in manifest.outputs.items():
            yield Output(
                None,
                output_name(name),
                metadata=shown | {"size": MetadataValue.text(size(output.bytes))},
                data_version=DataVersion(output.sha256),
            )


def _table(
    context: StepContext, store: Store, step: StepSpec, parts: Mapping[str, Manifest]
) -> str:
    """A row for each instance: its values, what it logged, its executed notebook."""
    logged_names = dict.fromkeys(name for found in parts.values() for name in found.metrics)
    metrics = [name for name in logged_names if name not in step.map]
    headings = [*step.map, *metrics, "seconds", "notebook"]
    rows = [
        [
            *(str(found.parameters[name].value) for name in step.map),
            *(str(found.metrics.get(name, "")) for name in metrics),
            str(facts(found)["seconds"].value),
            _link(context, store, key, found),
        ]
        for key, found in parts.items()
    ]
    return markdown_table(headings, rows)


def _link(context: StepContext, store: Store, key: str, found: Manifest) -> str:
    kept = str(store.attempt_path(found.origin, found.attempts, NOTEBOOK_FILE))
    return f"[{key}]({viewer(context, kept)})" if store.is_local else kept
