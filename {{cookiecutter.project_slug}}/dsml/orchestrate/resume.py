"""Carry on a run that has failed: only what it has not done is run, on what it has published.

Which steps these are is worked out as the UI's "Re-execute from failure" does it, instances of
mapped steps one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import DagsterError, DagsterInstance, DagsterRun, DagsterRunStatus, JobDefinition
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.storage.tags import (
    GRPC_INFO_TAG,
    PARENT_RUN_ID_TAG,
    RESUME_RETRY_TAG,
    ROOT_RUN_ID_TAG,
    TAGS_TO_MAYBE_OMIT_ON_RETRY,
)

from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.project import Project
from dsml.contract.request import RunRequest
from dsml.orchestrate.again import gone
from dsml.orchestrate.config import op_name
from dsml.orchestrate.fanout import forgotten_instances
from dsml.orchestrate.history import find_run
from dsml.orchestrate.launch import reconstructable_job
from dsml.orchestrate.origin import job_origin
from dsml.orchestrate.partitions import keys_of
from dsml.orchestrate.process import fail_gone_runs, process_tag

COMMAND = "dsml run --from-failure"
_RESUMABLE = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)


def failed_run(instance: DagsterInstance, name: str) -> DagsterRun:
    """The run that a user wants to carry on.

    A run whose process on this machine is gone has failed, though nobody was left to say so.

    Raises:
        ProjectError: there is no such run, or it has not failed.
    """
    fail_gone_runs(instance)
    run = instance.get_run_by_id(find_run(instance, name, COMMAND).run_id)
    if run is not None and run.status in _RESUMABLE:
        return run
    status = "" if run is None else run.status.value.lower()
    what = f"run '{name}' has not failed: it is {status}"
    fix = "name a run that failed or was cancelled: dsml runs --status failure"
    raise ProjectError([Problem(Where(COMMAND), what, fix, "not-failed")])


def carry_on(instance: DagsterInstance, project: Project, parent: DagsterRun) -> DagsterRun:
    """Record a run that does what its parent has not done; nothing is executed yet.

    Raises:
        ProjectError: nothing is left to do, or something that it needs is there no more.
    """
    begun, state = KnownExecutionState.build_resume_retry_reexecution(instance, parent)
    steps = [*begun, *forgotten_instances(begun, state)]
    if not steps:
        what = f"run '{parent.run_id}' has nothing left to do"
        fix = f"start anew: dsml run {parent.job_name}"
        raise ProjectError([Problem(Where(COMMAND), what, fix, "nothing-left")])
    problems = gone(project, Where(COMMAND), request_of(project, parent, steps))
    if problems:
        raise ProjectError(problems)
    job = reconstructable_job(project.root, parent.job_name)
    job_def, plan = _planned(job, parent, steps, state)
    return instance.create_run_for_job(
        job_def=job_def,
        execution_plan=plan,
        run_config=parent.run_config,
        tags=_tags(parent),
        op_selection=parent.op_selection,
        asset_selection=parent.asset_selection,
        resolved_op_selection=parent.resolved_op_selection,
        root_run_id=parent.root_run_id or parent.run_id,
        parent_run_id=parent.run_id,
        job_code_origin=job.get_python_origin(),
        remote_job_origin=job_origin(parent.job_name),
    )


def _planned(
    job: ReconstructableJob, parent: DagsterRun, steps: Sequence[str], state: KnownExecutionState
) -> tuple[JobDefinition, ExecutionPlan]:
    """What is to be executed: the parent's part of the job, and the steps of it."""
    try:
        selected = job.get_subset(
            op_selection=parent.resolved_op_selection, asset_selection=parent.asset_selection
        )
        plan = create_execution_plan(
            selected,
            parent.run_config,
            step_keys_to_execute=steps,
            known_state=state,
            tags=parent.tags,
        )
    except DagsterError:
        what = f"run '{parent.run_id}' cannot be carried on: its steps have changed since"
        fix = f"start anew: dsml run {parent.job_name}"
        raise ProjectError([Problem(Where(COMMAND), what, fix, "gone")]) from None
    return selected.get_definition(), plan


def _tags(parent: DagsterRun) -> dict[str, str]:
    """The tags of a run that carries on another; those that tell of one run alone stay behind."""
    left = {*TAGS_TO_MAYBE_OMIT_ON_RETRY, GRPC_INFO_TAG}
    kept = {key: value for key, value in parent.tags.items() if key not in left}
    root = parent.root_run_id or parent.run_id
    link = {PARENT_RUN_ID_TAG: parent.run_id, ROOT_RUN_ID_TAG: root, RESUME_RETRY_TAG: "true"}
    return {**kept, **link, **process_tag()}


def request_of(project: Project, run: DagsterRun, steps: Sequence[str] = ()) -> RunRequest:
    """What a run is to do, or ``steps`` of it, by the keys that Dagster has for them."""
    keys = steps or run.step_keys_to_execute or ()
    ops = dict.fromkeys(key.partition(".")[0] for key in keys)  # `a__b.run[?]` is of `a__b`
    experiment, partition = keys_of(run)
    known = {op_name(name): name for name in project.registered}
    there = [name for op, name in known.items() if op in ops]
    others = [op.replace("__", ".", 1) for op in ops if op not in known]
    return RunRequest(run.job_name, experiment, (*there, *others), {}, partition=partition)
