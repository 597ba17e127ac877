"""A run as it is asked for, checked against the project before anything is started."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from dsml.contract.catalog import CATALOG_FILE, Pipeline, unknown
from dsml.contract.executors import executors_for
from dsml.contract.graph import order
from dsml.contract.literals import Json
from dsml.contract.parameters import value_problem
from dsml.contract.partitions import join_key
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.contract.project import Project
from dsml.contract.secret import FIX as SECRET_FIX
from dsml.contract.secret import secret_problems, variables
from dsml.contract.selection import is_plain, possible_steps_of, select, split
from dsml.contract.triggers import EACH
from dsml.contract.types import ParameterType

COMMAND = Where("dsml run")
BACKFILL = Where("dsml backfill")


@dataclass(frozen=True)
class RunRequest:
    """What is to be run. ``steps`` are in the order in which they could run one by one.

    ``values`` maps a step to the parameters that this run sets. ``other`` holds selections in
    Dagster's own syntax, which only Dagster can resolve.
    """

    pipeline: str
    experiment: str
    steps: tuple[str, ...]
    values: Mapping[str, Mapping[str, Json]]
    other: tuple[str, ...] = ()
    workers: int | None = None
    partition: str | None = None
    executor: str | None = None

    @property
    def key(self) -> str:
        """Dagster's key of the experiment and the partition."""
        return join_key(self.experiment, self.partition)


def resolve_requests(
    project: Project, *, experiment: str | None = None, **asked: Any
) -> list[RunRequest]:
    """The same as ``resolve_request``; for the experiment ``all`` one request for each.

    Raises:
        ProjectError: with every name that the project doesn't have, and the nearest it has.
    """
    if not is_each(project, experiment):
        return [resolve_request(project, experiment=experiment, **asked)]
    request = resolve_request(project, **asked)
    return [replace(request, experiment=name) for name in project.catalog.experiments]


def resolve_backfill(
    project: Project,
    pipeline: str,
    *,
    experiment: str | None = None,
    first: str | None = None,
    last: str | None = None,
) -> list[RunRequest]:
    """One request for each partition of a pipeline from ``first`` to ``last``, in their order.

    Without an experiment the first is meant, for a pipeline without partitions every one.

    Raises:
        ProjectError: with every name that the project doesn't have, and the nearest it has.
    """
    catalog, problems = project.catalog, []
    keys: list[str | None] = [None]
    if pipeline not in catalog.pipelines:
        problems.append(replace(unknown("pipeline", pipeline, catalog.pipelines), where=BACKFILL))
    else:
        keys = _range(catalog.pipelines[pipeline], first, last, problems)
    if experiment not in (None, EACH, *catalog.experiments):
        found = unknown("experiment", experiment or "", catalog.experiments)
        problems.append(replace(found, where=BACKFILL))
    if problems:
        raise ProjectError(problems)
    if experiment is None and catalog.pipelines[pipeline].partitions is None:
        experiment = EACH
    requests = resolve_requests(
        project, experiment=experiment, pipeline=pipeline, partition=keys[0]
    )
    return [replace(request, partition=key) for request in requests for key in keys]


def _range(
    pipeline: Pipeline, first: str | None, last: str | None, problems: list[Problem]
) -> list[str | None]:
    """The partitions that a backfill is over; what is wrong with its ends is appended."""
    ends = (("--from", first), ("--to", last))
    found: list[Problem] = []
    for option, key in ends:
        if key is not None or option == "--to":  # without one there must be one at all
            resolve_partition(pipeline, key, BACKFILL, found, option)
    problems += found
    if found or pipeline.partitions is None:
        return [None]
    keys: list[str | None] = [*pipeline.partitions.between(first, last, datetime.now(UTC))]
    if not keys:
        what = f"--from {first} comes after --to {last}"
        problems.append(Problem(BACKFILL, what, "swap the two", "unknown-partition"))
    return keys


def is_each(project: Project, experiment: str | None) -> bool:
    """Whether every experiment is meant, and none that has this name."""
    return experiment == EACH and EACH not in project.catalog.experiments


def resolve_request(
    project: Project,
    *,
    pipeline: str | None = None,
    experiment: str | None = None,
    partition: str | None = None,
    settings: Sequence[str] = (),
    selection: Sequence[str] = (),
    workers: int | None = None,
    executor: str | None = None,
) -> RunRequest:
    """Check what was asked for on the command line, and fill in what was left out.

    Without a partition the newest is meant, or the first of a list. ``settings`` are of the form
    ``stage.notebook.parameter=value``.

    Raises:
        ProjectError: with every name that the project doesn't have, and the nearest it has.
    """
    catalog, problems = project.catalog, []
    pipeline = pipeline or catalog.default_pipeline
    experiment = experiment or catalog.default_experiment
    if pipeline not in catalog.pipelines:
        problems.append(unknown("pipeline", pipeline, catalog.pipelines))
    if experiment not in catalog.experiments:
        problems.append(unknown("experiment", experiment, catalog.experiments))
    values = _values(project, settings, problems)
    of_pipeline = catalog.pipelines.get(pipeline, Pipeline(pipeline))
    if pipeline in catalog.pipelines:
        partition = resolve_partition(of_pipeline, partition, COMMAND, problems)
        _check_executor(of_pipeline, executor, problems)
    tokens = [token for text in selection for token in split(text)]
    steps = _steps(project, of_pipeline, tokens, problems)
    if problems:
        raise ProjectError(problems)
    other = tuple(token for token in tokens or of_pipeline.select if not is_plain(token))
    if not other:
        problems += _left_out(values, steps)
    if not (other or steps or values):
        where = COMMAND if tokens else Where(CATALOG_FILE)
        fix = _how_to_select(project, of_pipeline, tokens)
        problems.append(Problem(where, "no step is selected", fix, "nothing-selected"))
    if problems:
        raise ProjectError(problems)
    return RunRequest(
        pipeline,
        experiment,
        tuple(name for name in order(project.registered) if name in steps),
        values,
        other,
        workers,
        partition,
        executor,
    )


def _left_out(values: Iterable[str], steps: Collection[str]) -> Iterator[Problem]:
    """The steps for which values are set and which are not run."""
    for name in values:
        if name not in steps:
            what = f"--set {name}: the step is not part of this run"
            yield Problem(COMMAND, what, "select it", "not-selected")


def missing_secrets(
    project: Project, request: RunRequest, environ: Mapping[str, str]
) -> list[Problem]:
    """What is wrong with the secrets of the steps that a run is known to have.

    Those of mapped parameters are looked at when their instances are run.
    """
    experiment = project.catalog.experiments.get(request.experiment)
    config = {} if experiment is None else experiment.config
    problems: list[Problem] = []
    for name in request.steps:
        step = project.registered[name]
        layers = (("experiment", config.get(name, {})), ("run", request.values.get(name, {})))
        values = {
            key: parameter.resolve(*layers)[0]
            for key, parameter in step.parameters.items()
            if parameter.type.is_secret and key not in step.map
        }
        problems += secret_problems(step, variables(step, values), environ)
    return problems


def resolve_partition(
    pipeline: Pipeline,
    key: str | None,
    where: Where,
    problems: list[Problem],
    option: str = "--partition",
) -> str | None:
    """The partition of a pipeline that ``key`` means; what is wrong with it is appended."""
    partitions, now = pipeline.partitions, datetime.now(UTC)
    if partitions is None:
        if key is not None:
            what = f"{option} {key}: the pipeline '{pipeline.name}' has no partitions"
            fix = f"leave it out, or give it some in {CATALOG_FILE}: partitions: {{daily: DATE}}"
            problems.append(Problem(where, what, fix, "unknown-partition"))
        return None
    found = partitions.default(now) if key is None else key
    if found is None or not partitions.has(found, now):
        what = f"{option} {key}: there is no such partition of '{pipeline.name}'"
        if key is None:
            what = f"the pipeline '{pipeline.name}' has no partition that is over"
        fix = partitions.advice(key or "", now)
        problems.append(Problem(where, what, fix, "unknown-partition"))
    return found


def _check_executor(pipeline: Pipeline, name: str | None, problems: list[Problem]) -> None:
    able = executors_for(pipeline)
    if name is not None and name not in able:
        what = f"--executor {name}: the engine {pipeline.engine} runs no steps so"
        problems.append(Problem(COMMAND, what, f"choose {' or '.join(able)}", "unknown-executor"))


def _how_to_select(project: Project, pipeline: Pipeline, tokens: Sequence[str]) -> str:
    """What to do where nothing is left of a selection."""
    if not project.registered:
        return "register a notebook: dsml register"
    outside = sorted(select([t for t in tokens if is_plain(t)], project.registered).steps)
    others = (p for p in project.catalog.pipelines.values() if p.name != pipeline.name)
    runs_it = next(
        (p.name for p in others if set(outside) & possible_steps_of(p, project.registered)), None
    )
    if not outside:
        return "widen the selection"
    if runs_it is not None:
        return f"the pipeline '{runs_it}' has it: dsml run {runs_it} --select {','.join(tokens)}"
    return f"add '{outside[0]}' to pipelines.{pipeline.name}.select in {CATALOG_FILE}"


def _steps(
    project: Project, pipeline: Pipeline, tokens: Sequence[str], problems: list[Problem]
) -> frozenset[str]:
    """The steps of the pipeline, cut down to those that ``tokens`` select."""
    steps = project.registered
    inside = possible_steps_of(pipeline, steps)
    if not tokens:
        return inside
    chosen = select([token for token in tokens if is_plain(token)], steps, inside)
    names = {*steps, *(step.stage for step in steps.values())}
    for token in chosen.unknown:
        what = f"--select: '{token}' is no stage and no step"
        problems.append(Problem(COMMAND, what, suggest(token.strip("+"), names), "unknown-step"))
    return chosen.steps & inside


def _values(
    project: Project, settings: Sequence[str], problems: list[Problem]
) -> dict[str, dict[str, Json]]:
    values: dict[str, dict[str, Json]] = {}
    for setting in settings:
        try:
            step, name, value = _read_setting(project, setting)
        except _Refused as refused:
            what, fix, kind = refused.args
            shown = _shown(project, setting)
            problems.append(Problem(COMMAND, f"--set {shown}: {what}", fix, kind))
            continue
        of_step = values.setdefault(step, {})
        parameter = project.registered[step].settings[name]
        of_step[name] = parameter.overlay(of_step.get(name), value)
    return values


class _Refused(Exception):
    """A setting that cannot be made: what is wrong, how to mend it, and its kind."""


def _shown(project: Project, setting: str) -> str:
    """A setting as a message names it; the value of a ``Secret`` may be one."""
    path, _, _ = setting.partition("=")
    step, _, name = path.strip().rpartition(".")
    found = project.registered.get(step)
    is_secret = found is not None and name in found.settings and found.settings[name].is_secret
    return f"{path}=***" if is_secret else setting


def _read_setting(project: Project, setting: str) -> tuple[str, str, Json]:
    path, equals, text = setting.partition("=")
    stage, notebook, name, *keys = path.strip().split(".") + [""] * max(0, 2 - path.count("."))
    if not equals or not name:
        raise _Refused("is no setting", "write it as stage.notebook.parameter=value", "no-setting")
    step = f"{stage}.{notebook}"
    if step not in project.registered:
        nearest = suggest(step, project.registered)
        raise _Refused(f"there is no step '{step}'", nearest, "unknown-step")
    settings = project.registered[step].settings
    if name not in settings:
        otherwise = project.registered[step].no_parameters
        raise _Refused(*(value_problem(settings, name, None, otherwise) or ("", "", "")))
    kind = _type_of_key(name, keys, settings[name])
    try:
        value = kind.parse(text)
    except ValueError as error:
        fix = SECRET_FIX if kind.is_secret else f"give a value of type {kind}"
        raise _Refused(str(error), fix, "wrong-type") from None
    for key in reversed(keys):
        value = {key: value}
    return step, name, value


def _type_of_key(name: str, keys: Sequence[str], kind: ParameterType) -> ParameterType:
    for key in keys:
        if key not in kind.fields:
            nearest = suggest(key, kind.fields, "" if kind.fields else f"it is {kind}")
            raise _Refused(f"'{name}' has no key '{key}'", nearest, "unknown-parameter")
        kind = kind.fields[key]
    return kind
