"""Failed runs are told by mail and to a webhook."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dagster import (
    DagsterEvent,
    DagsterRun,
    DefaultSensorStatus,
    RunFailureSensorContext,
    SensorDefinition,
    SkipReason,
    run_failure_sensor,
)

from dsml.contract.figures import short_id
from dsml.contract.problem import ProjectError
from dsml.contract.project import Project
from dsml.orchestrate.channels import Message, is_configured, send
from dsml.orchestrate.config import op_name, parse_step_key
from dsml.orchestrate.history import failure_text
from dsml.orchestrate.origin import code_pointer
from dsml.orchestrate.partitions import keys_of
from dsml.orchestrate.pipelines import asset_keys

NAME = "notify_failures"
_LONGEST = 2000  # characters of what a step says
_MOST = 10  # steps that are told with what they say


def failure_sensor(project: Project, host: Path | None = None) -> SensorDefinition:
    """Tells of every run of the project that failed, whoever started it.

    It runs by default where the environment says where messages go, and the catalog's environment
    doesn't say ``notify: false``. ``host`` is the folder of the code that the project's definitions
    were taken into: of its runs those are told that run steps.
    """
    wanted = _is_wanted(project)

    # runs that `dsml run` started belong to no code location
    @run_failure_sensor(
        name=NAME,
        description="Tells of failed runs by mail and to a webhook: see DSML_SMTP_HOST and "
        "DSML_WEBHOOK_URL.",
        monitor_all_code_locations=True,
        default_status=DefaultSensorStatus.RUNNING
        if wanted and is_configured()
        else DefaultSensorStatus.STOPPED,
    )
    def notify(context: RunFailureSensorContext) -> SkipReason | None:
        run = context.dagster_run
        if not wanted:
            return SkipReason("catalog.yml says notify: false of this environment")
        if not is_configured():
            return SkipReason("nothing says where to: set DSML_SMTP_HOST or DSML_WEBHOOK_URL")
        # Dagster takes no reason for one of several runs in a tick
        if not _is_of(project, run, host):
            context.log.info(f"run {run.run_id} is one of another project")
            return None
        failures = context.get_step_failure_events()
        sent, problems = send(message_of(project, run, failures, context.failure_event))
        context.log.info(f"run {run.run_id}: sent by {', '.join(sent) or 'nobody'}")
        for problem in problems:
            context.log.error(str(problem))
        if problems:
            raise ProjectError(problems)
        return None

    return notify


def _is_wanted(project: Project) -> bool:
    environment = project.catalog.environments.get(os.environ.get("DSML_ENV", "dev"))
    return environment is None or environment.notify


def _is_of(project: Project, run: DagsterRun, host: Path | None) -> bool:
    """Whether a run is one of this project: an instance may serve several."""
    folder = getattr(code_pointer(run), "working_directory", None)
    if folder is None or Path(folder).resolve() == project.root:
        return True
    if host is None or not Path(folder).resolve().is_relative_to(host.resolve()):
        return False
    keys = set(asset_keys(project.registered.values()))
    return run.job_name in project.catalog.pipelines or bool(keys & (run.asset_selection or set()))


def message_of(
    project: Project, run: DagsterRun, failures: Sequence[DagsterEvent], failure: DagsterEvent
) -> Message:
    """What is told of a failed run: where it failed, what its steps say, how to look."""
    name = project.catalog.project or project.root.name
    experiment, partition = keys_of(run)
    lines = [
        f"project:    {name}",
        f"pipeline:   {run.job_name}",
        f"experiment: {experiment or '-'}",
        *([f"partition:  {partition}"] if partition else []),
        f"run:        {run.run_id}",
    ]
    for event in failures[:_MOST]:
        lines += ["", f"{_step(project, event)} failed", _indented(failure_text(event))]
    if len(failures) > _MOST:
        lines += ["", f"and {len(failures) - _MOST} more steps"]
    if not failures:
        lines += ["", _indented(failure.message or "it failed outside of its steps")]
    lines += ["", f"look into it: dsml show {short_id(run.run_id)}"]
    ui = os.environ.get("DSML_UI_URL", "").rstrip("/")
    link = f"{ui}/runs/{run.run_id}" if ui else ""
    return Message(f"{name}: {run.job_name} failed", "\n".join(lines), link)


def _step(project: Project, event: DagsterEvent) -> str:
    """The catalog path of a step, with the instance of a mapped one."""
    key = parse_step_key(event.step_key or "")
    names = {op_name(name): name for name in project.registered}
    return names.get(key.op, key.op) + (f"[{key.instance}]" if key.instance else "")


def _indented(text: str) -> str:
    shown = text.strip()
    if len(shown) > _LONGEST:
        shown = f"{shown[:_LONGEST]} ..."
    return "\n".join(f"  {line}" for line in shown.split("\n"))
