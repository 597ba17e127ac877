"""Pipelines that are run for new files: the sensors of the catalog.

A file is run for once it has looked the same at two looks. What has been seen is kept in the
sensor's cursor, as one short mark for each file in the state that it had; without the cursor the
runs themselves tell which contents have been run for, so that none is run for twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)
from dagster._core.storage.tags import SENSOR_NAME_TAG

from dsml.contract.catalog import Pipeline
from dsml.contract.project import Project
from dsml.contract.triggers import Sensor
from dsml.orchestrate.config import step_config
from dsml.orchestrate.schedules import TRIGGER_TAG, partition_keys
from dsml.orchestrate.watch import File, Place, content, place_of

FILE_TAG = "dsml/file"
CONTENT_TAG = "dsml/content"
WATCH = "watch"  # in a sensor's metadata: its pattern
MOST_FILES = 10_000  # that are looked at: the cursor is stored with every tick
MOST_RUNS = 20  # that a tick asks for
READING = 20.0  # seconds that a tick reads files for; Dagster ends one after a minute
_MARK = 12  # characters


def pipeline_sensors(project: Project) -> list[SensorDefinition]:
    """The sensor of each pipeline that has one; all are stopped until somebody starts them."""
    pipelines = project.catalog.pipelines.values()
    return [_sensor(project, p, p.sensor) for p in pipelines if p.sensor is not None]


def _sensor(project: Project, pipeline: Pipeline, declared: Sensor) -> SensorDefinition:
    def evaluate(context: SensorEvaluationContext) -> SensorResult | SkipReason:
        return _evaluate(project, pipeline, declared, context)

    return SensorDefinition(
        name=f"{pipeline.name}_sensor",
        job_name=pipeline.name,
        evaluation_fn=evaluate,
        minimum_interval_seconds=declared.interval,
        default_status=DefaultSensorStatus.STOPPED,
        description=pipeline.description or None,
        metadata={WATCH: declared.watch},
    )


def _evaluate(
    project: Project, pipeline: Pipeline, declared: Sensor, context: SensorEvaluationContext
) -> SensorResult | SkipReason:
    keys = partition_keys(project, pipeline, declared.experiment, datetime.now(UTC))
    if not keys:
        return SkipReason(f"no partition is over yet: there are {pipeline.partitions}")
    place = place_of(project.root, declared)
    try:
        files = place.files()
    except FileNotFoundError as error:
        return SkipReason(str(error))

    def is_known(file: File, digest: str) -> bool:
        tags = {FILE_TAG: file.name, CONTENT_TAG: digest, SENSOR_NAME_TAG: context.sensor_name}
        return bool(context.instance.get_run_records(RunsFilter(tags=tags), limit=1))

    look = Look(place, read_cursor(context.cursor), is_known, max(1, MOST_RUNS // len(keys)))
    look.at(files)
    context.log.info(look.told(declared))
    requests = [
        RunRequest(
            f"{file.name} {digest} {key}",
            _run_config(declared, file),
            {TRIGGER_TAG: "sensor", FILE_TAG: file.name, CONTENT_TAG: digest},
            partition_key=key,
        )
        for file, digest in look.new
        for key in keys
    ]
    reason = None if requests else look.told(declared)
    return SensorResult(run_requests=requests, skip_reason=reason, cursor=look.cursor)


def _run_config(declared: Sensor, file: File) -> dict[str, Any]:
    step, _, parameter = declared.parameter.rpartition(".")
    return step_config({step: {parameter: file.address}})


def mark(file: File) -> str:
    """A file in the state that it has, in a few characters."""
    digest = hashlib.sha256(f"{file.name}\0{file.stamp}".encode()).digest()
    return base64.urlsafe_b64encode(digest[: _MARK * 3 // 4]).decode()


def read_cursor(text: str | None) -> dict[str, bool]:
    """The marks of a cursor → whether it is done with; anything else is an empty one."""
    try:
        found = json.loads(text or "{}")
        states = ((found.get("done", ""), True), (found.get("waiting", ""), False))
        return {m: done for marks, done in states for m in _cut(marks)}
    except (ValueError, AttributeError, TypeError):
        return {}


def _cut(marks: str) -> list[str]:
    return [marks[i : i + _MARK] for i in range(0, len(marks), _MARK)]


@dataclass
class Look:
    """One look at the files: what is new among them, and what is to be remembered.

    ``seen`` are the marks of the looks before, ``is_known`` tells whether a file of some content
    has been run for, ``most`` is for how many files a run is asked for at once.
    """

    place: Place
    seen: Mapping[str, bool]
    is_known: Callable[[File, str], bool]
    most: int
    new: list[tuple[File, str]] = field(default_factory=list)
    _marks: dict[str, bool] = field(default_factory=dict)
    _matching: int = 0

    def at(self, files: list[File]) -> None:
        """Look at all files that match, the oldest first."""
        self._matching = len(files)
        ordered = sorted(files, key=lambda file: (file.moment, file.name))
        deadline = time.monotonic() + READING
        for file in ordered[-MOST_FILES:]:
            found = mark(file)
            done = self.seen.get(found, False)
            if not done and found in self.seen and time.monotonic() < deadline:
                done = self._take(file)
            self._marks[found] = done

    def _take(self, file: File) -> bool:
        """Ask for a run where there has been none; whether the file is done with."""
        if len(self.new) >= self.most:
            return False
        digest = content(self.place, file)
        if digest is None:
            return False
        if not self.is_known(file, digest):
            self.new.append((file, digest))
        return True

    @property
    def cursor(self) -> str:
        """What is to be remembered: of files that are gone nothing."""
        marks = {
            state: "".join(sorted(m for m, done in self._marks.items() if done == value))
            for state, value in (("done", True), ("waiting", False))
        }
        return json.dumps(marks)

    def told(self, declared: Sensor) -> str:
        """What was found, in a sentence."""
        if not self._matching:
            return f"no file matches {declared.watch}"
        matches = "file matches" if self._matching == 1 else "files match"
        parts = [f"{self._matching:,} {matches} {declared.watch}: {len(self.new)} to be run for"]
        waiting = sum(not done for done in self._marks.values())
        if waiting:
            parts.append(f"{waiting} to be looked at again, in {declared.interval} s")
        if self._matching > MOST_FILES:
            parts.append(f"only the newest {MOST_FILES:,} are looked at: move away what is done")
        return "; ".join(parts)
