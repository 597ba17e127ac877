"""One attempt at one step, whoever runs it: what it is given, and what is recorded of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from dsml.contract.cells import read_notebook
from dsml.contract.fingerprint import Code, fingerprint
from dsml.contract.modules import Modules
from dsml.contract.partitions import Partitions, iso_window
from dsml.contract.problem import Problem, ProjectError
from dsml.contract.python_step import read_python
from dsml.contract.secret import variables
from dsml.contract.spec import StepSpec
from dsml.step.checks import CheckResult, combined
from dsml.step.context import Setting
from dsml.step.facts import git_facts, now, versions
from dsml.step.hashed import noted_sha256
from dsml.step.inputs import local_paths
from dsml.step.process import mark
from dsml.step.reported import Reported
from dsml.store import (
    Attempt,
    Input,
    InstanceRun,
    Manifest,
    Output,
    Plan,
    Staging,
    StepRun,
    Store,
    Value,
)
from dsml.store.manifest import Json, measure
from dsml.store.runs import RUNNING, begin

LOGGED_FOLDER = "logged"
HASHES_FOLDER = "hashes"
# How the line in the log begins that says of a step that it was not run.
UNCHANGED = "unchanged since run"
# A run that carries this tag runs steps that are unchanged, too.
FORCE_TAG = "dsml/force"
# A run that carries this tag reads what the run that it names has read.
REPRODUCE_TAG = "dsml/reproduces"


@dataclass(frozen=True)
class Task:
    """One attempt that is to be made; ``timeout`` is in seconds, ``started`` empty until it begins.

    ``partitions`` are those that the step has beside its experiment, ``pickles`` what the catalog
    says of the artefacts that may be read as pickles.
    """

    root: Path
    step: StepSpec
    store: Store
    address: StepRun
    number: int
    values: Mapping[str, Value]
    inputs: Mapping[str, Input]
    timeout: float | None = None
    partitions: Partitions | None = None
    pickles: tuple[str, ...] = ()
    started: str = ""

    @property
    def secrets(self) -> dict[str, str]:
        """The variable of the environment that each parameter of the type ``Secret`` names."""
        return variables(self.step, {name: value.value for name, value in self.values.items()})

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of all that the outputs depend on, as it was when it was asked for first."""
        return fingerprint(
            self.step.code,
            {name: self._content(value.value) for name, value in self.values.items()},
            {name: found.sha256 for name, found in self.inputs.items()},
            self.step.outs,
            self.step.optional,
        )

    def _content(self, value: Json) -> Json:
        """A parameter's value; that of one which names a file of the project has its content."""
        file = self.root / value if isinstance(value, str) and value else None
        try:
            is_file = file is not None and file.is_file()
        except (OSError, ValueError):  # a text that is too long for a path, or holds a zero
            return value
        return {"file": value, "sha256": measure(file).sha256} if file and is_file else value


def begun(task: Task) -> Task:
    """The attempt as it begins, which is noted: under a number that no other attempt has."""
    started = now()
    record = begin(task.store, record_of(replace(task, started=started), RUNNING))
    found = replace(task, number=record.number, started=started)
    # what is asked for first is what holds, and that may have been before the attempt began
    vars(found)["fingerprint"] = task.fingerprint
    return found


def as_it_is(root: Path, step: StepSpec) -> StepSpec:
    """The step with the code that is there now: since a run began it may have been edited.

    Raises:
        ProjectError: its file cannot be read any more.
    """
    file, modules = root / step.path, Modules(root)
    if step.function is None:
        return replace(step, body=Code.of_notebook(read_notebook(file, step.path), modules))
    problems: list[Problem] = []
    found = read_python(file, step.path, problems, modules)
    if found is None:
        raise ProjectError(problems)
    return replace(step, body=Code.of_file(step.path, found.script.source, modules))


def setting_of(
    task: Task, staging: Staging, warn: Callable[[str], object] | None = None
) -> Setting:
    """What the notebook's context is made of; ``warn`` is told of inputs that arrived damaged."""
    address = task.address
    return Setting(
        step=task.step.name,
        run_id=address.run_id,
        experiment=address.experiment,
        partition_key=address.partition,
        retry_number=task.number - 1,
        config={name: value.value for name, value in task.values.items()},
        sources={name: value.source for name, value in task.values.items()},
        ins=local_paths(task.store, task.inputs, address, staging.inputs, warn),
        outs={name: str(staging.outs / file) for name, file in task.step.outs.items()},
        logged=str(staging.evidence / LOGGED_FOLDER),
        inputs={name: asdict(found) for name, found in task.inputs.items()},
        instance=address.instance,
        partition_window=iso_window(task.partitions, address.partition),
        secrets=task.secrets,
        pickles=task.pickles,
        hashes=str(staging.private / HASHES_FOLDER),
    )


def taken_over(found: Manifest, task: Task) -> Manifest:
    """The manifest of a step that need not be run: ``found`` was made of just the same."""
    moment = now()
    return replace(
        found,
        run_id=task.address.run_id,
        cached=found.origin.run_id,
        parameters=task.values,
        inputs=task.inputs,
        started=moment,
        ended=moment,
    )


def collected(task: Task, plan: Plan, parts: Mapping[str, Manifest]) -> Manifest:
    """The manifest of a mapped step: of each out what each of its instances has published.

    An optional out that no instance has written is not there; where there are no instances, all
    outs are, and hold nothing.
    """
    outputs = {
        name: Output.of_parts(
            {key: part.outputs[name] for key, part in parts.items() if name in part.outputs}
        )
        for name in task.step.outs
    }
    moment = now()
    manifest = manifest_of(
        replace(task, started=min((part.started for part in parts.values()), default=moment)),
        {name: output for name, output in outputs.items() if output.parts or not parts},
        Reported(),
        checks=_checks_of(parts),
    )
    runs = {
        key: InstanceRun(part.origin.run_id, plan.instances[key]) for key, part in parts.items()
    }
    made_of = "".join(part.fingerprint for part in parts.values())
    return replace(
        manifest,
        parameters={**manifest.parameters, **_lists(task.step, plan)},
        instances=runs,
        fingerprint=hashlib.sha256(made_of.encode()).hexdigest(),
    )


def _lists(step: StepSpec, plan: Plan) -> dict[str, Value]:
    """What each mapped parameter was set to, as a run would set it: a list, each value once."""
    found: dict[str, Value] = {}
    for name in step.map:
        values = {json.dumps(given[name]): given[name] for given in plan.instances.values()}
        found[name] = Value(list(values.values()), "map")
    return found


def _checks_of(parts: Mapping[str, Manifest]) -> list[CheckResult]:
    """What came out of the checks of all instances, as one result for each out."""
    results: dict[str, dict[str, CheckResult]] = {}
    for key, part in parts.items():
        for raw in part.checks:
            result = CheckResult.from_dict(raw)
            results.setdefault(result.out, {})[key] = result
    return [combined(of_out) for of_out in results.values()]


def measure_outs(task: Task, staging: Staging, warn: Callable[[str], object]) -> dict[str, Output]:
    """Measure the declared outs; an optional one may be missing.

    Raises:
        ProjectError: naming every one that is not there.
    """
    problems: list[Problem] = []
    outputs: dict[str, Output] = {}
    for name, file in task.step.outs.items():
        path = staging.outs / file
        if path.is_file():
            outputs[name] = measure(path, noted_sha256(path, staging.private / HASHES_FOLDER))
        if name in outputs or name in task.step.optional:
            continue
        what = f"outs.{name}: the step ended without writing '{file}'"
        fix = f'write it with context.save("{name}", ...), or to the path context.outs.{name}'
        if task.step.function is not None:
            fix = f"return it from step_fn, or write it to the path context.outs.{name}"
        problems.append(Problem(task.step.where("outs", name), what, fix, "out-missing"))
    if problems:
        raise ProjectError(problems)
    declared = set(task.step.outs.values())
    for path in sorted(staging.outs.iterdir()):
        if path.name not in declared:
            warn(f"'{path.name}' was written but is no out of the step: it is not kept")
    return outputs


@dataclass
class Observed:
    """What is seen of a kernel from outside; units are those of ``Attempt``."""

    exception: str = ""
    traceback: str = ""
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    cells: Sequence[Mapping[str, Json]] = ()


def record_of(
    task: Task, status: str, error: str = "", observed: Observed | None = None
) -> Attempt:
    """What is kept of an attempt; one that begins has the status ``running``, and no end."""
    return Attempt(
        **vars(task.address),
        number=task.number,
        status=status,
        error=error,
        started=task.started,
        ended="" if status == RUNNING else now(),
        parameters=task.values,
        inputs=task.inputs,
        code=task.step.code,
        timeout=task.timeout,
        process=mark(),
        **vars(observed or Observed()),
    )


def manifest_of(
    task: Task,
    outputs: Mapping[str, Output],
    reported: Reported,
    executed: str = "",
    checks: Iterable[CheckResult] = (),
) -> Manifest:
    """What is published of a step that has passed; ``executed`` names the executed notebook."""
    return Manifest(
        **vars(task.address),
        parameters=task.values,
        inputs=task.inputs,
        outputs=outputs,
        code=task.step.code,
        git=git_facts(task.root),
        versions=versions(task.root),
        started=task.started,
        ended=now(),
        attempts=task.number,
        executed=executed,
        logged=reported.params,
        metrics=reported.metrics,
        curves=reported.curves,
        files=reported.files,
        models=reported.models,
        checks=[asdict(result) for result in checks],
        fingerprint=task.fingerprint,
    )
