"""Do a run again: with the parameters and the inputs that it had, and compare what comes out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME

from dsml.contract.literals import Json
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.project import Project
from dsml.contract.request import RunRequest
from dsml.contract.selection import possible_steps_of
from dsml.orchestrate.again import gone
from dsml.orchestrate.config import refused
from dsml.orchestrate.history import RunSummary
from dsml.step.facts import git_facts, versions
from dsml.store import Manifest, Output

COMMAND = Where("dsml reproduce")


@dataclass(frozen=True)
class Comparison:
    """One artefact or metric of both runs; ``again`` is None where it did not come out."""

    step: str
    name: str
    recorded: str
    again: str | None

    @property
    def same(self) -> bool:
        """Whether it came out the same."""
        return self.recorded == self.again


def request_of(project: Project, run: RunSummary, recorded: Sequence[Manifest]) -> RunRequest:
    """The request for what a run has published, with every parameter set as it was.

    Raises:
        ProjectError: the run has published nothing, or a step or a parameter is there no more.
    """
    if not recorded:
        what = f"run '{run.run_id}' has published nothing"
        raise ProjectError([Problem(COMMAND, what, "dsml runs lists the runs", "unknown-run")])
    problems: list[Problem] = []
    values: dict[str, Mapping[str, Json]] = {}
    for manifest in recorded:
        if manifest.instance is None:
            name = manifest.step
            values[name] = {n: found.value for n, found in manifest.parameters.items()}
            if name in project.registered:  # else it is told below that it is gone
                step = project.registered[name]
                problems += refused(COMMAND, step, step.settings, values[name], f"{name}.")
    request = RunRequest(
        _pipeline(project, run.pipeline, values),
        run.experiment,
        tuple(values),
        {step: given for step, given in values.items() if given},
        partition=run.partition,
    )
    problems += gone(project, COMMAND, request)
    if problems:
        raise ProjectError(problems)
    return request


def _pipeline(project: Project, name: str, steps: Collection[str]) -> str:
    """The pipeline of a run; of what was materialised without one, the first that has it all."""
    if name != IMPLICIT_ASSET_JOB_NAME:
        return name
    pipelines = project.catalog.pipelines.values()
    known = project.registered
    return next((p.name for p in pipelines if possible_steps_of(p, known) >= set(steps)), name)


def compare(recorded: Iterable[Manifest], again: Iterable[Manifest]) -> list[Comparison]:
    """Every artefact and every metric of the one run beside those of the other."""
    other = {manifest.address.label: manifest for manifest in again}
    found: list[Comparison] = []
    for manifest in recorded:
        if manifest.instances is not None:
            continue  # its instances are compared
        label = manifest.address.label
        made = other.get(label)
        outputs: Mapping[str, Output] = {} if made is None else made.outputs
        metrics = {} if made is None else made.metrics
        for name, output in manifest.outputs.items():
            sha = outputs[name].sha256 if name in outputs else None
            found.append(Comparison(label, name, output.sha256, sha))
        for name, value in manifest.metrics.items():
            shown = str(metrics[name]) if name in metrics else None
            found.append(Comparison(label, name, str(value), shown))
    return found


def circumstances(project: Project, recorded: Sequence[Manifest]) -> list[tuple[str, str, str]]:
    """What is different now: of the code, the commit and the versions, as it was and as it is."""
    first = recorded[0]
    git, known = git_facts(project.root), versions(project.root)
    found = [
        (f"git {key}", _shown(first.git.get(key)), _shown(git.get(key)))
        for key in ("commit", "dirty")
    ]
    found += [
        (name, first.versions.get(name, "-"), known.get(name, "-"))
        for name in dict.fromkeys([*first.versions, *known])
    ]
    found += [
        (f"code of {m.step}", m.code[:12], project.registered[m.step].code[:12])
        for m in recorded
        if m.instance is None
    ]
    return [(what, then, now) for what, then, now in found if then != now]


def _shown(value: Json) -> str:
    return "-" if value is None else str(value)
