"""Steps that are published without a kernel, by what publishes them after one."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from dsml.contract.fanout import instances
from dsml.contract.graph import order
from dsml.contract.literals import Json
from dsml.contract.project import Project, load_project
from dsml.contract.spec import StepSpec
from dsml.orchestrate.config import resolve_values
from dsml.step.inputs import find_inputs
from dsml.step.reported import Reported
from dsml.step.task import Task, as_it_is, begun, collected, manifest_of, measure_outs, record_of
from dsml.store import Manifest, Plan, StepRun, Store
from dsml.store.manifest import ATTEMPTS_FOLDER, NOTEBOOK_FILE

EXPERIMENT = "baseline"


def publish_all(root: Path) -> None:
    """Publish each step of a project as a run does, each out a JSON file.

    The next run finds all of it unchanged: it is as large as any, and starts no kernel.
    """
    project = load_project(root)
    writer = _Writer(project)
    for name in order(project.registered):
        writer.publish(project.registered[name])


class _Writer:
    def __init__(self, project: Project) -> None:
        self._root = project.root
        self._store = Store.open(project.root, project.catalog)
        self._run_id = str(uuid.uuid4())

    def publish(self, step: StepSpec) -> None:
        """Publish a step, of a mapped one all instances and then itself."""
        if not step.map:
            self._attempt(self._task(step))
            return
        grid = {name: items for name, items in step.map.items() if not isinstance(items, str)}
        whole = self._task(step)
        values = {instance.key: instance.values for instance in instances(grid)}
        plan = Plan(values, whole.inputs)
        self._store.keep_plan(whole.address, plan)
        parts = {key: self._attempt(self._task(step, key, values[key])) for key in values}
        self._store.record(collected(whole, plan, parts))

    def _task(
        self, step: StepSpec, key: str | None = None, mapped: Mapping[str, Json] | None = None
    ) -> Task:
        address = StepRun(step.name, EXPERIMENT, self._run_id, None, key)
        return Task(
            root=self._root,
            step=as_it_is(self._root, step),
            store=self._store,
            address=address,
            number=1,
            values=resolve_values(step, {}, {}, mapped),
            inputs=find_inputs(self._root, self._store, step, address),
        )

    def _attempt(self, task: Task) -> Manifest:
        task = begun(task)
        staging = self._store.stage(task.address, task.number)
        for file in task.step.outs.values():
            (staging.outs / file).write_text("[1, 2, 3]\n", encoding="utf-8")
        shutil.copyfile(self._root / task.step.path, staging.evidence / NOTEBOOK_FILE)
        outputs = measure_outs(task, staging, print)
        self._store.keep_attempt(task.address, staging, record_of(task, "passed"))
        executed = f"{ATTEMPTS_FOLDER}/{task.number}/{NOTEBOOK_FILE}"
        manifest = manifest_of(task, outputs, Reported(), executed)
        self._store.publish(task.address, staging, manifest)
        self._store.unstage(staging)
        return manifest
