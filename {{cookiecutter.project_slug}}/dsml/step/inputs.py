"""What a notebook run by hand reads: the newest artefacts, those of a run, those of an attempt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from dsml.contract.catalog import CATALOG_FILE, Pipeline
from dsml.contract.figures import age, short_id
from dsml.contract.problem import Problem, ProjectError, Where, errors, suggest_run
from dsml.contract.project import STAGES_FOLDER, Project, read_project
from dsml.contract.selection import is_plain, select
from dsml.contract.spec import StepSpec
from dsml.store.manifest import Attempt, Input, Manifest
from dsml.store.paths import StepRun
from dsml.store.publish import Store, measure

RUN = "DSML_RUN"
ATTEMPT = "DSML_ATTEMPT"
_RUN_ID = re.compile(r"[\w.-]+")


def find_inputs(
    root: Path, store: Store, spec: StepSpec, address: StepRun, *, pinned: bool = False
) -> dict[str, Input]:
    """The artefacts that the ins of a step mean: of the run at ``address``, else the newest.

    Args:
        root: the project's folder.
        store: where the artefacts are.
        spec: the step.
        address: the step in the run that reads them.
        pinned: take only what that run has published.

    Raises:
        ProjectError: naming all that are missing, and what to run first.
    """
    found = {name: store.resolve(source, address) for name, source in spec.ins.items()}
    there = {n: f for n, f in found.items() if f and (not pinned or f.run_id == address.run_id)}
    missing = [name for name in spec.ins if name not in there]
    if missing and pinned:
        raise ProjectError([_not_in_run(spec, missing, address.run_id)])
    if missing:
        raise ProjectError(_not_published(read_project(root), spec, missing, address.experiment))
    return there


def _not_in_run(spec: StepSpec, missing: list[str], run_id: str) -> Problem:
    what = f"{_listed(spec, missing)} not been published in run {run_id}"
    fix = f"choose another run with {RUN}, or unset it to read the newest artefacts"
    return Problem(spec.where("ins", missing[0]), what, fix, "missing-input")


def _not_published(
    project: Project, spec: StepSpec, missing: list[str], experiment: str
) -> list[Problem]:
    """What makes the missing inputs; or why nothing can."""
    upstream = sorted({_step(spec.ins[name]) for name in missing})
    stems = {f"{STAGES_FOLDER}/{name.replace('.', '/')}" for name in (spec.name, *upstream)}
    found = errors(project.problems)
    mistakes = [p for p in found if str(PurePosixPath(p.where.path).with_suffix("")) in stems]
    if mistakes:
        return mistakes
    what = f"{_listed(spec, missing)} not been published in experiment '{experiment}'"
    fix = _how_to_publish(project, upstream, experiment)
    return [Problem(spec.where("ins", missing[0]), what, fix, "missing-input")]


def _listed(spec: StepSpec, missing: list[str]) -> str:
    listed = ", ".join(f"ins.{name}: '{spec.ins[name]}'" for name in missing)
    return f"{listed} {'has' if len(missing) == 1 else 'have'}"


def _how_to_publish(project: Project, upstream: list[str], experiment: str) -> str:
    """One command line that runs ``upstream`` with all that is above it."""
    catalog = project.catalog
    above = select([f"+{name}" for name in upstream], project.steps).steps
    drafts = sorted(project.steps[name].path for name in above - set(catalog.register))
    commands = [f"dsml register {' '.join(drafts)}"] if drafts else []
    left = set(upstream)
    for name, pipeline in catalog.pipelines.items():
        here = sorted(left & _steps_of(pipeline, project))
        left -= set(here)
        if here:
            named = "" if name == catalog.default_pipeline else f" {name}"
            selected = ",".join(f"+{step}" for step in here)
            commands.append(f"dsml run{named} --experiment {experiment} --select {selected}")
    if left:
        where = f"pipelines.{catalog.default_pipeline}.select in {CATALOG_FILE}"
        return f"no pipeline runs {', '.join(sorted(left))}: add it to {where}"
    return f"run {'it' if len(upstream) == 1 else 'them'} first: {' && '.join(commands)}"


def _steps_of(pipeline: Pipeline, project: Project) -> frozenset[str]:
    if not all(map(is_plain, pipeline.select)):
        return frozenset(project.steps)  # only Dagster can tell: let it
    return select(pipeline.select, project.steps).steps


def find_run(store: Store, spec: StepSpec, name: str, experiment: str | None) -> Manifest | None:
    """A manifest of the run that ``DSML_RUN`` names, by its id or an unambiguous beginning.

    Only runs that have published the step itself or one of those that it reads are looked at,
    since only these can be told from the store. ``experiment`` limits them further.

    Returns:
        None where the step reads nothing and hasn't been published in such a run.

    Raises:
        ProjectError: there is no such run, or there are several.
    """
    steps = {spec.name, *map(_step, spec.ins.values())}
    found = _runs(store, steps, experiment, name) if _RUN_ID.fullmatch(name) else {}
    if name in found or len(found) == 1:
        return found.get(name) or next(iter(found.values()))
    if found:
        ids = ", ".join(sorted(found)[:4])
        what, fix = f"'{name}' begins {len(found)} runs", f"give more of the id: {ids}"
        raise ProjectError([Problem(Where(RUN), what, fix, "unknown-run")])
    if not spec.ins:
        return None
    inside = f" in experiment '{experiment}'" if experiment else ""
    what = f"no run '{name}' has published what {spec.name} reads{inside}"
    known = _runs(store, steps - {spec.name}, experiment)
    newest = next(iter(known.values()), None)
    fix = "unset it: nothing has been published yet"
    if newest is not None:
        fix = suggest_run(name, known, f", {age(newest.ended)}")
    raise ProjectError([Problem(Where(RUN), what, fix, "unknown-run")])


def _runs(
    store: Store, steps: Iterable[str], experiment: str | None, beginning: str = ""
) -> dict[str, Manifest]:
    """Run id → one of the manifests of ``steps`` in it; the newest first."""
    found = [m for step in steps for m in store.published(step, experiment, beginning)]
    return {m.run_id: m for m in sorted(found, key=lambda m: m.ended, reverse=True)}


def name_attempt(attempt: Attempt) -> str:
    """What ``DSML_ATTEMPT`` holds to make a notebook read what an attempt has read."""
    address = [attempt.experiment, attempt.step, attempt.run_id, str(attempt.number)]
    return "/".join([*address, *filter(None, [attempt.partition])])


def find_attempt(store: Store) -> Attempt | None:
    """The attempt that ``DSML_ATTEMPT`` names, None where it isn't set.

    Raises:
        ProjectError: nothing is kept of such an attempt.
    """
    name = os.environ.get(ATTEMPT)
    if not name:
        return None
    experiment, step, run_id, number, partition = [*name.split("/", 4), "", "", "", "", ""][:5]
    attempts = store.attempts(StepRun(step, experiment, run_id, partition or None)) if step else []
    found = [attempt for attempt in attempts if str(attempt.number) == number]
    if found:
        return found[0]
    fix = f"make the notebook anew: dsml debug {short_id(run_id)} {step}".rstrip()
    what = f"nothing is kept of the attempt '{name}'"
    raise ProjectError([Problem(Where(ATTEMPT), what, fix, "unknown-run")])


def inputs_of_attempt(
    root: Path, store: Store, spec: StepSpec, attempt: Attempt
) -> dict[str, Input]:
    """The inputs that an attempt had, each with the same content as then.

    An in that was declared only later is found as usual.

    Raises:
        ProjectError: what an attempt has read is gone or has changed.
    """
    address = StepRun(attempt.step, attempt.experiment, attempt.run_id, attempt.partition)
    kept = {n: f for n, f in attempt.inputs.items() if spec.ins.get(n) == f.path}
    problems = [p for n, f in kept.items() for p in _changed(store, spec, n, f, address)]
    if problems:
        raise ProjectError(problems)
    if len(kept) == len(spec.ins):
        return kept
    return find_inputs(root, store, spec, address) | kept


def _changed(
    store: Store, spec: StepSpec, name: str, found: Input, address: StepRun
) -> Iterable[Problem]:
    try:
        same = measure(store.fetch(found, address)).sha256 == found.sha256
        what = "is no longer what the attempt has read"
    except FileNotFoundError:
        same, what = False, "has been deleted"
    if not same:
        told = f"ins.{name}: '{found.path}' of run {short_id(found.run_id)} {what}"
        fix = "restore the file, or debug a newer run: dsml runs lists them"
        yield Problem(spec.where("ins", name), told, fix, "changed-input")


def _step(source: str) -> str:
    return source.rpartition(".")[0]


def local_paths(store: Store, inputs: Mapping[str, Input], address: StepRun) -> dict[str, str]:
    """Where the content of inputs can be read."""
    return {name: str(store.fetch(found, address)) for name, found in inputs.items()}
