"""The context of a notebook that dagstermill itself runs, unchanged, as one of its ops.

dagstermill puts its own code in the place of the ``parameters`` cell, keeps the configuration that
was given without the defaults, and takes results only from calls in the notebook. Here the
parameters get their values back, each out that a cell has written is handed to dagstermill when
the cell is over, and the step is published when the kernel ends.

dagstermill is never imported here: where it runs a notebook, it has been.
"""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path
from typing import Any

from dsml.contract.catalog import read_catalog
from dsml.contract.cells import read_notebook
from dsml.contract.modules import Modules
from dsml.contract.partition_problems import registered_partitions
from dsml.contract.partitions import split_key
from dsml.contract.problem import Problem, ProjectError, errors
from dsml.contract.project import find_root
from dsml.contract.spec import read_spec
from dsml.step.context import Context
from dsml.step.inputs import find_inputs
from dsml.step.record import record_in
from dsml.step.reported import Reported
from dsml.step.spans import TRACEPARENT, traceparent
from dsml.step.standalone import of_experiment
from dsml.step.task import Task, begun, manifest_of, measure_outs, record_of, setting_of
from dsml.store import Staging, StepRun, Store, Value

# The tag of an op that holds the path of its notebook.
NOTEBOOK_TAG = "dsml/notebook"
_PARTITION_TAG = "dagster/partition"


def stock_manager() -> Any | None:
    """Dagstermill's manager, where dagstermill runs this notebook."""
    manager = getattr(sys.modules.get("dagstermill.manager"), "MANAGER_FOR_NOTEBOOK_INSTANCE", None)
    return manager if manager is not None and manager.in_job else None


def stock_context(manager: Any, namespace: dict[str, Any]) -> Context:
    """The context of the notebook whose op ``manager`` is running.

    ``namespace`` holds the notebook's variables; every parameter is set there.

    Raises:
        ProjectError: the project is invalid, or an upstream step has not been run.
    """
    file = Path(manager.op_def.tags[NOTEBOOK_TAG])
    task = _task(file, manager.context.run, manager.op_def.name)
    if task.secrets:
        what = f"{', '.join(task.secrets)}: dagstermill keeps no secret out of what it writes"
        fix = "run the step with dsml run, or in a pipeline with the engine pipes"
        raise ProjectError([Problem(task.step.where(), what, fix, "engine")])
    for name, value in task.values.items():
        namespace[name] = value.value
    publisher = _Publisher(task, manager)
    return Context(publisher.setting, manager.context.log, publisher.record)


def _task(file: Path, run: Any, op: str) -> Task:
    root = find_root(file.parent)
    problems: list[Problem] = []
    catalog = read_catalog(root, problems)
    notebook = read_notebook(file, file.relative_to(root).as_posix())
    spec = read_spec(notebook, problems, Modules(root))
    if spec is None or errors(problems):
        raise ProjectError(problems)
    experiment, partition = split_key(run.tags.get(_PARTITION_TAG, catalog.default_experiment))
    # as it was given: what dagstermill calls op_config has Dagster's defaults filled in
    given = run.run_config.get("ops", {}).get(op, {}).get("config") or {}
    layers = (("experiment", of_experiment(catalog, spec, experiment)), ("run", given))
    store = Store.open(root, catalog)
    address = StepRun(spec.name, experiment, run.run_id, partition)
    partitions = registered_partitions(catalog)
    return Task(
        root=root,
        step=spec,
        store=store,
        address=address,
        number=len(store.attempts(address)) + 1,  # dagstermill's context doesn't know it
        values={name: Value(*p.resolve(*layers)) for name, p in spec.parameters.items()},
        inputs=find_inputs(root, store, spec, address, partitions=partitions),
        partitions=partitions.get(spec.name),
        pickles=catalog.pickles,
    )


class _Publisher:
    """Hands outs to dagstermill as they are written, and publishes the step at the end."""

    def __init__(self, task: Task, manager: Any) -> None:
        from IPython.core.getipython import get_ipython

        self._task = task = begun(task)
        self._manager = manager
        self._staging: Staging = task.store.stage(task.address, task.number)
        self._failed = False
        self._yielded: set[str] = set()
        self.setting = setting_of(task, self._staging)
        self.record = record_in(self.setting.logged)
        os.environ[TRACEPARENT] = traceparent(task.address, task.number)
        shell: Any = get_ipython()
        shell.events.register("post_run_cell", self._after_cell)
        atexit.register(self._publish)

    def _after_cell(self, result: Any) -> None:
        self._failed = self._failed or not result.success
        for name, file in self._task.step.outs.items():
            if name not in self._yielded and (self._staging.outs / file).is_file():
                published = self._task.store.path(self._task.address, file)
                self._manager.yield_result(str(published), name)
                self._yielded.add(name)

    def _publish(self) -> None:
        status, error = ("failed", "a cell failed") if self._failed else ("passed", "")
        outputs = {}
        if not self._failed:
            try:
                outputs = measure_outs(self._task, self._staging, self._manager.context.log.warning)
            except ProjectError as missing:  # dagstermill says itself that the step has failed
                status, error = "failed", str(missing)
        self.record.close()
        reported = Reported.read(self.record.folder)
        record = record_of(self._task, status, error)
        store = self._task.store
        try:
            store.keep_attempt(self._staging, record)
            if status == "passed":
                manifest = manifest_of(self._task, outputs, reported)
                store.publish(self._staging, manifest)
        finally:
            store.unstage(self._staging)
