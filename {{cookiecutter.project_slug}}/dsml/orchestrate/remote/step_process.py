"""The process that executes one step on a worker.

A folder holds what is to be executed, ``args.json``, and gets what the step tells, ``events.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from dagster import DagsterEvent, DagsterEventType, DagsterInstance, DagsterRun
from dagster._cli.api import _execute_step_command_body
from dagster._cli.utils import get_instance_for_cli
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._grpc.types import ExecuteStepArgs
from dagster._serdes import deserialize_value, serialize_value
from dagster._utils.interrupts import capture_interrupts


def execute_step(folder: Path) -> None:
    """Execute the step of a folder, and write down what it tells."""
    text = (folder / "args.json").read_text(encoding="utf-8")
    args = deserialize_value(text, ExecuteStepArgs)
    told: list[str] = []
    try:
        with (
            capture_interrupts(),
            get_instance_for_cli(instance_ref=args.instance_ref) as instance,
        ):
            told.extend(serialize_value(event) for event in _events(args, instance))
    except (KeyboardInterrupt, DagsterExecutionInterruptedError):
        pass  # which the run knows
    written = folder / "events.part"
    written.write_text(json.dumps(told), encoding="utf-8")
    written.replace(folder / "events.json")


def _events(args: ExecuteStepArgs, instance: DagsterInstance) -> Iterator[DagsterEvent]:
    run = instance.get_run_by_id(args.run_id)
    if run is None:
        raise LookupError(f"the database that this worker uses knows no run {args.run_id}")
    _tell_if_again(args, instance, run)
    yield from _execute_step_command_body(args, instance, run)


def _tell_if_again(args: ExecuteStepArgs, instance: DagsterInstance, run: DagsterRun) -> None:
    """Say so in the log if this very attempt has been begun before, by a worker that is gone."""
    (key,) = args.step_keys_to_execute or [""]
    state = args.known_state
    attempts = 0 if state is None else state.get_retry_state().get_attempt_count(key)
    started = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.STEP_START)
    begun = sum(record.event_log_entry.step_key == key for record in started.records)
    if begun > attempts:
        what = f"The worker that executed {key} is gone; it is executed again"
        instance.report_engine_event(what, run, step_key=key)
