"""One attempt at one step, whoever runs it: what it is given, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsml.contract.problem import Problem, ProjectError
from dsml.contract.spec import StepSpec
from dsml.step.context import Setting
from dsml.step.facts import git_facts, now, versions
from dsml.step.inputs import local_paths
from dsml.store import Attempt, Input, Manifest, Output, Staging, StepRun, Store, Value
from dsml.store.manifest import Json
from dsml.store.publish import measure

LOGGED_FOLDER = "logged"


@dataclass(frozen=True)
class Task:
    """One attempt that is to be made; ``timeout`` is in seconds."""

    root: Path
    step: StepSpec
    store: Store
    address: StepRun
    number: int
    values: Mapping[str, Value]
    timeout: float | None = None

    def kept(self, number: int, file: str) -> str:
        """Where a file of an attempt is kept when the attempt is over."""
        return str(self.store.attempt_path(self.address, number, file))


@dataclass
class Reported:
    """What the notebook logged: metrics (their last value), facts, and files."""

    metrics: dict[str, float | str] = field(default_factory=dict)
    params: dict[str, Json] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, messages: Iterable[Mapping[str, Any]]) -> Reported:
        """Sort what came through the line by its kind."""
        found = cls()
        kinds: dict[str, tuple[dict[str, Any], str]] = {
            "metric": (found.metrics, "value"),
            "param": (found.params, "value"),
            "file": (found.files, "file"),
        }
        for message in messages:
            if isinstance(message, Mapping) and message.get("kind") in kinds:
                target, key = kinds[message["kind"]]
                target[str(message["name"])] = message[key]
        return found


def setting_of(task: Task, inputs: Mapping[str, Input], staging: Staging) -> Setting:
    """What the notebook's context is made of."""
    address = task.address
    return Setting(
        step=task.step.name,
        run_id=address.run_id,
        experiment=address.experiment,
        partition_key=address.partition,
        retry_number=task.number - 1,
        config={name: value.value for name, value in task.values.items()},
        sources={name: value.source for name, value in task.values.items()},
        ins=local_paths(task.store, inputs, address),
        outs={name: str(staging.outs / file) for name, file in task.step.outs.items()},
        logged=str(staging.evidence / LOGGED_FOLDER),
        inputs={name: asdict(found) for name, found in inputs.items()},
    )


def measure_outs(task: Task, staging: Staging, warn: Callable[[str], object]) -> dict[str, Output]:
    """Measure the declared outs.

    Raises:
        ProjectError: naming every one that is not there.
    """
    problems: list[Problem] = []
    outputs: dict[str, Output] = {}
    for name, file in task.step.outs.items():
        path = staging.outs / file
        if path.is_file():
            outputs[name] = measure(path)
            continue
        what = f"outs.{name}: the step ended without writing '{file}'"
        fix = f'write it with context.save("{name}", ...), or to the path context.outs.{name}'
        problems.append(Problem(task.step.where("outs", name), what, fix, "out-missing"))
    if problems:
        raise ProjectError(problems)
    declared = set(task.step.outs.values())
    for path in sorted(staging.outs.iterdir()):
        if path.name not in declared:
            warn(f"'{path.name}' was written but is no out of the step: it is not kept")
    return outputs


def record_of(
    task: Task, inputs: Mapping[str, Input], started: str, status: str, error: str
) -> Attempt:
    """What is kept of an attempt."""
    address = task.address
    return Attempt(
        step=address.step,
        run_id=address.run_id,
        experiment=address.experiment,
        partition=address.partition,
        number=task.number,
        status=status,
        error=error,
        started=started,
        ended=now(),
        parameters=task.values,
        inputs=inputs,
        code=task.step.code,
    )


def manifest_of(
    task: Task,
    inputs: Mapping[str, Input],
    outputs: Mapping[str, Output],
    reported: Reported,
    started: str,
    executed: str = "",
) -> Manifest:
    """What is published of a step that has passed; ``executed`` names the executed notebook."""
    address = task.address
    return Manifest(
        step=address.step,
        run_id=address.run_id,
        experiment=address.experiment,
        partition=address.partition,
        parameters=task.values,
        inputs=inputs,
        outputs=outputs,
        code=task.step.code,
        git=git_facts(task.root),
        versions=versions(task.root),
        started=started,
        ended=now(),
        attempts=task.number,
        executed=executed,
        logged=reported.params,
        metrics=reported.metrics,
    )
