"""What a notebook run by hand reads: the newest artefacts, those of a run, those of an attempt."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from dsml.contract.catalog import CATALOG_FILE, Pipeline
from dsml.contract.fanout import lists_of
from dsml.contract.figures import age, short_id
from dsml.contract.names import STAGES_FOLDER, step_of
from dsml.contract.partitions import Partitions
from dsml.contract.problem import Problem, ProjectError, Where, errors, suggest_run
from dsml.contract.project import Project, read_project
from dsml.contract.selection import possible_steps_of, select
from dsml.contract.spec import StepSpec
from dsml.step.context import LocalPaths
from dsml.store.manifest import Attempt, Input, Manifest, measure
from dsml.store.paths import StepRun
from dsml.store.publish import Store

RUN = "DSML_RUN"
ATTEMPT = "DSML_ATTEMPT"
_EACH_RUN = "*"  # in the place of a run's id: each partition is of its own
_Missing = tuple[str, str, str]  # the key that it stands under, its name, its catalog path
_RUN_ID = re.compile(r"[\w.-]+")


def find_inputs(
    root: Path,
    store: Store,
    spec: StepSpec,
    address: StepRun,
    *,
    pinned: bool = False,
    lineage: Sequence[str] = (),
    lists: bool = False,
    partitions: Mapping[str, Partitions] | None = None,
) -> dict[str, Input]:
    """The artefacts that the ins of a step mean: of the run at ``address``, else the newest.

    They are of the same partition. Of a step that has no partitions there is but one, and a step
    without any reads all there are of one that has some.

    Args:
        root: the project's folder.
        store: where the artefacts are.
        spec: the step.
        address: the step in the run that reads them.
        pinned: take only what that run has published.
        lineage: the runs that this one carries on, the nearest first.
        lists: not the ins, but the artefacts that list what a mapped step is run for.
        partitions: those of each step that has any.

    Raises:
        ProjectError: naming all that are missing, and what to run first.
    """
    wanted = dict(lists_of(spec.map)) if lists else spec.ins
    resolve = _Resolver(store, address, lineage, partitions or {})
    found = {name: resolve(source) for name, source in wanted.items()}
    runs = (address.run_id, _EACH_RUN)
    there = {name: f for name, f in found.items() if f and (not pinned or f.run_id in runs)}
    key = "map" if lists else "ins"
    missing = [(key, name, wanted[name]) for name in wanted if name not in there]
    if missing and pinned:
        raise ProjectError([_not_in_run(spec, missing, address.run_id)])
    if missing:
        raise ProjectError(_not_published(read_project(root), spec, missing, address))
    return there


@dataclass(frozen=True)
class _Resolver:
    """Finds what the step at ``address`` reads."""

    store: Store
    address: StepRun
    lineage: Sequence[str]
    partitions: Mapping[str, Partitions]

    def __call__(self, source: str) -> Input | None:
        """The artefact that a catalog path means."""
        theirs = self.partitions.get(step_of(source))
        if theirs is None:
            return self.store.resolve(source, replace(self.address, partition=None), self.lineage)
        if self.address.partition is None:
            return self._each(source, theirs)
        return self.store.resolve(source, self.address, self.lineage)

    def _each(self, source: str, partitions: Partitions) -> Input | None:
        """The newest artefact of each partition, in their order."""
        step, _, out = source.rpartition(".")
        newest = self.store.newest_each(step, self.address.experiment)
        places = {key: partitions.position(key) for key in newest}
        keys = sorted((p, key) for key, p in places.items() if p is not None)
        parts = {key: newest[key].as_input(out) for _, key in keys if out in newest[key].outputs}
        return Input.of_parts(source, _EACH_RUN, parts) if parts else None


def _not_in_run(spec: StepSpec, missing: list[_Missing], run_id: str) -> Problem:
    what = f"{_listed(missing)} not been published in run {run_id}"
    fix = f"choose another run with {RUN}, or unset it to read the newest artefacts"
    return Problem(spec.where(*missing[0][:2]), what, fix, "missing-input")


def _not_published(
    project: Project, spec: StepSpec, missing: list[_Missing], address: StepRun
) -> list[Problem]:
    """What makes the missing inputs; or why nothing can."""
    upstream = sorted({step_of(source) for _, _, source in missing})
    stems = {f"{STAGES_FOLDER}/{name.replace('.', '/')}" for name in (spec.name, *upstream)}
    found = errors(project.problems)
    mistakes = [p for p in found if str(PurePosixPath(p.where.path).with_suffix("")) in stems]
    if mistakes:
        return mistakes
    partition = f", partition '{address.partition}'" if address.partition else ""
    where = f"experiment '{address.experiment}'{partition}"
    what = f"{_listed(missing)} not been published in {where}"
    fix = _how_to_publish(project, upstream, address)
    return [Problem(spec.where(*missing[0][:2]), what, fix, "missing-input")]


def _listed(missing: list[_Missing]) -> str:
    listed = ", ".join(f"{key}.{name}: '{source}'" for key, name, source in missing)
    return f"{listed} {'has' if len(missing) == 1 else 'have'}"


def _how_to_publish(project: Project, upstream: list[str], address: StepRun) -> str:
    """One command line that runs ``upstream`` with all that is above it."""
    catalog = project.catalog
    above = select([f"+{name}" for name in upstream], project.steps).steps
    drafts = sorted(project.steps[name].path for name in above - project.registered.keys())
    commands = [f"dsml register {' '.join(drafts)}"] if drafts else []
    left = set(upstream)
    for pipeline in catalog.pipelines.values():
        here = sorted(left & possible_steps_of(pipeline, project.steps))
        left -= set(here)
        if here:
            commands.append(_command(project, pipeline, here, address))
    if left:
        where = f"pipelines.{catalog.default_pipeline}.select in {CATALOG_FILE}"
        return f"no pipeline runs {', '.join(sorted(left))}: add it to {where}"
    return f"run {'it' if len(upstream) == 1 else 'them'} first: {' && '.join(commands)}"


def _command(project: Project, pipeline: Pipeline, steps: list[str], address: StepRun) -> str:
    """What runs some steps of a pipeline, for one partition or, of another step's, for all."""
    of = f"--experiment {address.experiment}"
    if pipeline.partitions is not None and address.partition is None:
        return f"dsml backfill {pipeline.name} {of}"
    named = "" if pipeline.name == project.catalog.default_pipeline else f" {pipeline.name}"
    of += f" --partition {address.partition}" if pipeline.partitions is not None else ""
    return f"dsml run{named} {of} --select {','.join(f'+{step}' for step in steps)}"


def find_run(store: Store, spec: StepSpec, name: str, experiment: str | None) -> Manifest | None:
    """A manifest of the run that ``DSML_RUN`` names, by its id or an unambiguous beginning.

    Only runs that have published the step itself or one of those that it reads are looked at,
    since only these can be told from the store. ``experiment`` limits them further.

    Returns:
        None where the step reads nothing and hasn't been published in such a run.

    Raises:
        ProjectError: there is no such run, or there are several.
    """
    steps = {spec.name, *map(step_of, spec.ins.values())}
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
    label = attempt.address.label
    address = [attempt.experiment, label, attempt.run_id, str(attempt.number)]
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
    run = StepRun("", experiment, run_id, partition or None)
    attempts = store.attempts(run.named(step)) if step else []
    found = [attempt for attempt in attempts if str(attempt.number) == number]
    if found:
        return found[0]
    fix = f"make the notebook anew: dsml debug {short_id(run_id)} {step}".rstrip()
    what = f"nothing is kept of the attempt '{name}'"
    raise ProjectError([Problem(Where(ATTEMPT), what, fix, "unknown-run")])


def inputs_of_attempt(
    root: Path,
    store: Store,
    spec: StepSpec,
    attempt: Attempt,
    partitions: Mapping[str, Partitions],
) -> dict[str, Input]:
    """The inputs that an attempt had, each with the same content as then.

    An in that was declared only later is found as usual.

    Raises:
        ProjectError: what an attempt has read is gone or has changed.
    """
    kept = recorded_inputs(store, spec, attempt.inputs, attempt.address)
    if len(kept) == len(spec.ins):
        return kept
    return find_inputs(root, store, spec, attempt.address, partitions=partitions) | kept


def recorded_inputs(
    store: Store, spec: StepSpec, inputs: Mapping[str, Input], address: StepRun
) -> dict[str, Input]:
    """Those of the recorded ``inputs`` that are ins of the step, each with the same content.

    Raises:
        ProjectError: one is gone or has changed.
    """
    kept = {n: f for n, f in inputs.items() if spec.ins.get(n) == f.path}
    problems = [p for n, f in kept.items() for p in _changed(store, spec, n, f, address)]
    if problems:
        raise ProjectError(problems)
    return kept


def _changed(
    store: Store, spec: StepSpec, name: str, found: Input, address: StepRun
) -> Iterable[Problem]:
    try:
        same = all(
            measure(store.fetch(part, address)).sha256 == part.sha256 for part in parts_of(found)
        )
        what = "is no longer what was read then"
    except FileNotFoundError:
        same, what = False, "has been deleted"
    if not same:
        told = f"ins.{name}: '{found.path}' of run {short_id(found.run_id)} {what}"
        fix = "restore the file, or take a newer run: dsml runs lists them"
        yield Problem(spec.where("ins", name), told, fix, "changed-input")


def parts_of(found: Input) -> Iterable[Input]:
    """What has to be read for an input: itself, or each of its parts."""
    return [found] if found.parts is None else found.parts.values()


def local_paths(
    store: Store,
    inputs: Mapping[str, Input],
    address: StepRun,
    folder: Path | None = None,
    warn: Callable[[str], object] | None = None,
) -> dict[str, LocalPaths]:
    """Where the content of inputs can be read; of a mapped step by the keys of its instances.

    What has to be fetched is there as long as ``folder``; ``warn`` is told of what arrived damaged.
    """

    def fetch(found: Input) -> str:
        return str(store.fetch(found, address, folder, warn))

    def local(found: Input) -> LocalPaths:
        if found.parts is None:
            return fetch(found)
        return {key: fetch(part) for key, part in found.parts.items()}

    return {name: local(found) for name, found in inputs.items()}
