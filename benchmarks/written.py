"""Steps that are published without a kernel, by what publishes them after one."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from dsml.contract.fanout import instances
from dsml.contract.graph import order
from dsml.contract.literals import Json
from dsml.contract.project import Project, load_project
from dsml.contract.spec import StepSpec
from dsml.evidence.records import PASSED
from dsml.orchestrate.config import resolve_values
from dsml.step.facts import now
from dsml.step.inputs import find_inputs
from dsml.step.reported import Reported
from dsml.step.task import Task, as_it_is, begun, collected, manifest_of, measure_outs, record_of
from dsml.store import Manifest, Plan, StepRun, Store
from dsml.store.manifest import ATTEMPTS_FOLDER, NOTEBOOK_FILE
from dsml.store.runs import RunRecord, keep_run

EXPERIMENT = "baseline"


def publish_all(root: Path, lists: Mapping[str, Sequence[Json]] | None = None) -> None:
    """Publish each step of a project as a run does; each out is a list, ``lists`` has some by step.

    The next run finds all of it unchanged: it is as large as any, and starts no kernel.
    """
    project = load_project(root)
    writer = _Writer(project, lists or {})
    record = writer.begun()
    for name in order(project.registered):
        writer.publish(project.registered[name])
    keep_run(writer.store, replace(record, ended=now(), status=PASSED))


class _Writer:
    def __init__(self, project: Project, lists: Mapping[str, Sequence[Json]]) -> None:
        self._root = project.root
        self._project = project
        self._lists = lists
        self.store = Store.open(project.root, project.catalog)
        self._run_id = str(uuid.uuid4())

    def begun(self) -> RunRecord:
        """The record of the run, as it is when no step has been published."""
        (pipeline,) = self._project.catalog.pipelines
        steps = {name: sorted(spec.upstream) for name, spec in self._project.registered.items()}
        about = (self._project.catalog.project, pipeline, EXPERIMENT)
        return RunRecord(self._run_id, *about, None, now(), steps=steps)

    def publish(self, step: StepSpec) -> None:
        """Publish a step, of a mapped one all instances and then itself."""
        if not step.map:
            self._attempt(self._task(step))
            return
        whole = self._task(step)
        values = {instance.key: instance.values for instance in instances(self._grid(whole))}
        plan = Plan(values, whole.inputs)
        self.store.keep_plan(whole.address, plan)
        parts = {key: self._attempt(self._task(step, key, values[key])) for key in values}
        self.store.record(collected(whole, plan, parts))

    def _grid(self, whole: Task) -> dict[str, Sequence[Json]]:
        """The values of a mapped step: written out, or published by a step before it."""
        found = find_inputs(self._root, self.store, whole.step, whole.address, lists=True)
        read = {
            name: json.loads(self.store.fetch(given, whole.address).read_bytes())
            for name, given in found.items()
        }
        return {name: read.get(name, items) for name, items in whole.step.map.items()}

    def _task(
        self, step: StepSpec, key: str | None = None, mapped: Mapping[str, Json] | None = None
    ) -> Task:
        address = StepRun(step.name, EXPERIMENT, self._run_id, None, key)
        return Task(
            root=self._root,
            step=as_it_is(self._root, step),
            store=self.store,
            address=address,
            number=1,
            values=resolve_values(step, {}, {}, mapped),
            inputs=find_inputs(self._root, self.store, step, address),
        )

    def _attempt(self, task: Task) -> Manifest:
        task = begun(task)
        staging = self.store.stage(task.address, task.number)
        for file in task.step.outs.values():
            content = self._lists.get(task.step.name, [1, 2, 3])
            (staging.outs / file).write_text(json.dumps(content), encoding="utf-8")
        shutil.copyfile(self._root / task.step.path, staging.evidence / NOTEBOOK_FILE)
        outputs = measure_outs(task, staging, print)
        self.store.keep_attempt(staging, record_of(task, "passed"))
        executed = f"{ATTEMPTS_FOLDER}/{task.number}/{NOTEBOOK_FILE}"
        manifest = manifest_of(task, outputs, Reported(), executed)
        self.store.publish(staging, manifest)
        self.store.unstage(staging)
        return manifest
