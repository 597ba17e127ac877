"""Running a step inside of Dagster: one attempt in, materialisations and their metadata out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dagster import AssetCheckResult, AssetExecutionContext, DataVersion, Failure, MaterializeResult
from dagster._core.errors import DagsterExecutionInterruptedError

from dsml.contract.catalog import unknown
from dsml.contract.figures import short_id
from dsml.contract.literals import Json
from dsml.contract.partitions import split_key
from dsml.contract.problem import Problem, ProjectError
from dsml.contract.project import Project
from dsml.contract.secret import check_secrets
from dsml.contract.spec import StepSpec
from dsml.orchestrate import tracked
from dsml.orchestrate.cancelling import check_cancelled, hand_on_interrupt
from dsml.orchestrate.config import resolve_values
from dsml.orchestrate.data_checks import check_result, check_results
from dsml.orchestrate.keys import artefact_key, step_key
from dsml.orchestrate.metadata import (
    EXECUTED_NOTEBOOK,
    StepContext,
    evidence,
    facts,
    logged,
    logged_before,
)
from dsml.orchestrate.pipes import pipes_session
from dsml.orchestrate.preview import Metadata, output_metadata
from dsml.step.checks import CheckResult, ChecksFailed
from dsml.step.context import Setting
from dsml.step.inputs import find_inputs, recorded_inputs
from dsml.step.task import (
    FORCE_TAG,
    REPRODUCE_TAG,
    UNCHANGED,
    Task,
    as_it_is,
    begun,
    taken_over,
)
from dsml.store import Input, Manifest, StepRun, Store
from dsml.store.disk import disk_told
from dsml.store.manifest import NOTEBOOK_FILE
from dsml.store.once import AlreadyPublished
from dsml.store.runs import note_cached
from dsml.store.takeover import take_over

# What is said of a step that two processes were at in the same run.
BY_ANOTHER = (
    "was published by another process at the same run first: its results are used, of this attempt "
    "the evidence is kept"
)


def materialise_step(
    context: AssetExecutionContext, project: Project, step: StepSpec
) -> Iterator[MaterializeResult[Any] | AssetCheckResult]:
    """Run a step for the experiment that is the run's partition.

    Raises:
        Failure: with the message for the user; what was kept of the attempt is in its metadata.
    """
    turn = turn_of(context, project, step)
    with told():
        task = task_of(turn, inputs_of(turn))
    try:
        manifest = published(context, project, task)
    except Blocked as blocked:
        yield from (check_result(step, result) for result in blocked.results)
        raise blocked.failure from None
    yield from _results(context, task, manifest, tracked.link(project, task))
    yield from check_results(step, map(CheckResult.from_dict, manifest.checks))


@dataclass(frozen=True)
class Turn:
    """The turn of a step in a run of Dagster's; ``address`` is where in ``store`` it publishes."""

    context: StepContext
    project: Project
    step: StepSpec
    store: Store
    address: StepRun

    def find_inputs(self, step: StepSpec, *, lists: bool = False) -> dict[str, Input]:
        """The newest that ``step`` can read, or, ``lists``, be mapped over."""
        return find_inputs(
            self.project.root,
            self.store,
            step,
            self.address,
            lineage=self.lineage(),
            lists=lists,
            partitions=self.project.partitions,
        )

    def lineage(self) -> list[str]:
        """The runs that this one carries on, the nearest first: what they published is its own."""
        found: list[str] = []
        run_id = self.context.run.parent_run_id
        while run_id is not None and run_id not in found:
            found.append(run_id)
            parent = self.context.instance.get_run_by_id(run_id)
            run_id = None if parent is None else parent.parent_run_id
        return found


def turn_of(context: StepContext, project: Project, step: StepSpec) -> Turn:
    """The turn of the step that Dagster is at."""
    experiment, partition = split_key(context.partition_key)
    address = StepRun(step.name, experiment, context.run.run_id, partition)
    return Turn(context, project, step, Store.open(project.root, project.catalog), address)


def inputs_of(turn: Turn) -> dict[str, Input]:
    """What the step reads: the newest of its own run, or what a run that is done again has read.

    Raises:
        ProjectError: something is missing, or no longer what it was.
    """
    again = turn.context.run.tags.get(REPRODUCE_TAG)
    recorded = turn.store.manifest(turn.address.of_run(again)) if again else None
    if recorded is not None:
        return recorded_inputs(turn.store, turn.step, recorded.inputs, turn.address)
    return turn.find_inputs(turn.step)


def task_of(
    turn: Turn, inputs: Mapping[str, Input], mapped: Mapping[str, Json] | None = None
) -> Task:
    """The attempt that is to be made; ``mapped`` holds the parameters of an instance.

    Raises:
        ProjectError: a parameter is given a value that it doesn't take, or the step's file cannot
            be read any more.
    """
    project, step = turn.project, turn.step
    config = turn.context.run.run_config
    return Task(
        root=project.root,
        step=as_it_is(project.root, step),
        store=turn.store,
        address=turn.address,
        number=turn.context.retry_number + 1,
        values=resolve_values(step, experiment_values(turn), config, mapped),
        inputs=inputs,
        timeout=project.timeout(step),
        partitions=project.partitions.get(step.name),
        pickles=project.catalog.pickles,
    )


def experiment_values(turn: Turn) -> Mapping[str, Json]:
    """What the experiment sets of a step's parameters.

    Raises:
        ProjectError: it is not in the catalog any more.
    """
    name, experiments = turn.address.experiment, turn.project.catalog.experiments
    if name not in experiments:
        raise ProjectError([unknown("experiment", name, experiments)])
    return experiments[name].config.get(turn.step.name, {})


@contextmanager
def told() -> Iterator[None]:
    """Tell Dagster of a mistake that another attempt would only find again."""
    try:
        yield
    except ProjectError as error:
        raise Failure(description=str(error), allow_retries=False) from None


class Blocked(Exception):
    """An out breaks a check that blocks: what came out of all checks, and the step's failure."""

    def __init__(self, failed: ChecksFailed, failure: Failure) -> None:
        super().__init__(str(failed))
        self.results = failed.results
        self.failure = failure


def published(context: StepContext, project: Project, task: Task) -> Manifest:
    """Run the step, unless what it would publish is there.

    Raises:
        Failure: with the message for the user.
        Blocked: an out breaks a check that blocks.
    """
    try:
        with disk_told(task.store.work):
            found = _published_before(task) or _unchanged(context, task)
        return found or _attempted(context, project, task)
    except ProjectError as error:  # before the attempt began: the storage doesn't work
        raise failure(context, task, str(error), again=True) from None
    except AlreadyPublished:
        found = published_by_another(context, task)
        context.log.warning(f"{task.address.label} {BY_ANOTHER}")
        return found


def _published_before(task: Task) -> Manifest | None:
    """What an attempt of this run has published that was then killed before it could say so."""
    found = task.store.manifest(task.address)
    if found is not None:
        task.store.settle(found)
    return found


def published_by_another(context: StepContext, task: Task) -> Manifest:
    """What another process was the first to publish of this step in this run.

    Raises:
        Failure: it is gone again.
    """
    found = task.store.manifest(task.address)
    if found is None:
        what = f"{task.address.label}: another process has published it in this run and removed it"
        fix = f"start anew: dsml run {context.job_name}"
        with told():
            raise ProjectError([Problem(task.step.where(), what, fix, "gone")])
    task.store.settle(found)  # who published it may have been killed before that
    return found


def _attempted(context: StepContext, project: Project, task: Task) -> Manifest:
    """Run the step.

    Raises:
        Failure: with the message for the user.
        Blocked: an out breaks a check that blocks.
        AlreadyPublished: another process has published it meanwhile.
    """
    if task.secrets:
        with told():
            check_secrets(task.step, task.secrets, os.environ)

    # slow, and needless where nothing is run
    from dsml.orchestrate.runner import CANCELLED, attempt

    @contextmanager
    def connect(setting: Setting, private: Path) -> Iterator[Mapping[str, str]]:
        with pipes_session(context, setting, private) as session:
            env = tracked.kernel_env(project, context, task)
            yield {**session.get_bootstrap_env_vars(), **env}

    try:
        check_cancelled()
        with disk_told(task.store.work):
            task = begun(task)
            return attempt(task, context.log, connect)
    except ChecksFailed as failed:  # another attempt would only write the same once more
        raise Blocked(failed, failure(context, task, str(failed))) from None
    except ProjectError as error:
        tracked.retry_if_lost(project, context, task, str(error))
        raise failure(context, task, str(error), again=True) from None
    except (KeyboardInterrupt, DagsterExecutionInterruptedError):
        hand_on_interrupt(context.instance, context.run)
        # as it is, Dagster would take it for one more reason to try again
        raise failure(context, task, CANCELLED) from None


def failure(context: StepContext, task: Task, message: str, *, again: bool = False) -> Failure:
    """The failure of an attempt: where its evidence is kept, and whether to try ``again``."""
    metadata: Metadata = {}
    with suppress(ProjectError):  # a storage that can't be reached has been told of already
        if task.store.attempt_path(task.address, task.number, NOTEBOOK_FILE).exists():
            metadata = evidence(context, task.store, task.address, task.number)
            metadata |= logged_before(task.store, task.address, task.number)
    return Failure(description=message, metadata=metadata, allow_retries=again)


def _unchanged(context: StepContext, task: Task) -> Manifest | None:
    """What was published before from just the same, taken over into this run."""
    if not task.step.is_cached or {FORCE_TAG, REPRODUCE_TAG} & context.run.tags.keys():
        return None
    found = task.store.same(task.address, task.fingerprint)
    if found is None:
        return None
    manifest = taken_over(found, task)
    if not take_over(task.store, manifest):
        return None
    note_cached(task.store, manifest)
    context.log.info(f"{UNCHANGED} {short_id(manifest.cached)}: not run again")
    return manifest


def _results(
    context: AssetExecutionContext, task: Task, manifest: Manifest, tracked_at: Metadata
) -> Iterator[MaterializeResult[Any]]:
    known = facts(manifest)
    shown = known | evidence(context, task.store, manifest.origin, manifest.attempts)
    link = {name: value for name, value in shown.items() if name == EXECUTED_NOTEBOOK}
    yield MaterializeResult(
        asset_key=step_key(manifest.step),
        metadata=shown | tracked_at | logged(task.store, manifest, shown | tracked_at),
        data_version=DataVersion(manifest.fingerprint),
    )
    for path, name in task.step.artefacts.items():
        output = manifest.outputs.get(name)
        if output is None:
            continue  # it is optional, and what depends on it is skipped
        where = str(task.store.path(manifest.origin, output.file))
        local = task.store.local(manifest.origin, output)
        yield MaterializeResult(
            asset_key=artefact_key(path),
            metadata=output_metadata(output, local, where) | known | link,
            data_version=DataVersion(output.sha256),
        )
