"""Which process executes a run that was started from a command line, and whether it still does."""

from __future__ import annotations

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from dsml.step import process

PROCESS_TAG = ".dagster/dsml_process"  # host:pid:start; the UI shows no tag that begins so
_UNDER_WAY = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
_LOOKED_AT = 50  # runs under way, the newest first


def fail_gone_runs(instance: DagsterInstance) -> None:
    """Record as failed the runs whose process was killed, and free the places that they hold.

    Nobody was left to do so, and runs that wait for such a place would do so for ever.
    """
    under_way = RunsFilter(statuses=_UNDER_WAY)
    for run in instance.get_runs(under_way, limit=_LOOKED_AT):
        if process.is_gone(run.tags.get(PROCESS_TAG, "")) and not _is_inherited(instance, run):
            instance.report_run_failed(run, "the process that executed this run is gone")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_inherited(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Whether the tag is that of the run which this one does again: the UI copies the tags."""
    parent = instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
    return parent is not None and parent.tags.get(PROCESS_TAG) == run.tags.get(PROCESS_TAG)


def process_tag() -> dict[str, str]:
    """The tag that tells which process executes a run."""
    return {PROCESS_TAG: process.mark()}
