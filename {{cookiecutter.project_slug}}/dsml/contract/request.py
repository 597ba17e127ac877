"""A run as it is asked for, checked against the project before anything is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsml.contract.catalog import CATALOG_FILE, unknown
from dsml.contract.cells import Json
from dsml.contract.graph import order
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.contract.project import Project, value_problem
from dsml.contract.selection import is_plain, select, split
from dsml.contract.types import ParameterType

COMMAND = Where("dsml run")


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


def resolve_request(
    project: Project,
    *,
    pipeline: str | None = None,
    experiment: str | None = None,
    settings: Sequence[str] = (),
    selection: Sequence[str] = (),
    workers: int | None = None,
) -> RunRequest:
    """Check what was asked for on the command line, and fill in what was left out.

    ``settings`` are of the form ``stage.notebook.parameter=value``.

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
    inside = catalog.pipelines[pipeline].select if pipeline in catalog.pipelines else ("*",)
    tokens = [token for text in selection for token in split(text)]
    steps = _steps(project, inside, tokens, problems)
    if problems:
        raise ProjectError(problems)
    problems += [
        Problem(
            COMMAND, f"--set {name}: the step is not part of this run", "select it", "not-selected"
        )
        for name in values
        if name not in steps and not _others(inside, tokens)
    ]
    if not steps and not _others(inside, tokens) and not values:
        where = Where(CATALOG_FILE) if not tokens else COMMAND
        fix = (
            "register a notebook: dsml register"
            if not project.registered
            else "widen the selection"
        )
        problems.append(Problem(where, "no step is selected", fix, "nothing-selected"))
    if problems:
        raise ProjectError(problems)
    return RunRequest(
        pipeline,
        experiment,
        tuple(name for name in order(project.registered) if name in steps),
        values,
        _others(inside, tokens),
        workers,
    )


def _others(inside: Sequence[str], tokens: Sequence[str]) -> tuple[str, ...]:
    return tuple(token for token in tokens or inside if not is_plain(token))


def _steps(
    project: Project, inside: Sequence[str], tokens: Sequence[str], problems: list[Problem]
) -> frozenset[str]:
    """The steps of the pipeline, cut down to those that ``tokens`` select."""
    steps = project.registered
    # only Dagster knows what its own syntax selects
    plain = all(map(is_plain, inside))
    of_pipeline = select(inside, steps).steps if plain else frozenset(steps)
    if not tokens:
        return of_pipeline
    chosen = select([token for token in tokens if is_plain(token)], steps)
    names = {*steps, *(step.stage for step in steps.values())}
    for token in chosen.unknown:
        what = f"--select: '{token}' is no stage and no step"
        problems.append(Problem(COMMAND, what, suggest(token.strip("+"), names), "unknown-step"))
    return chosen.steps & of_pipeline


def _values(
    project: Project, settings: Sequence[str], problems: list[Problem]
) -> dict[str, dict[str, Json]]:
    values: dict[str, dict[str, Json]] = {}
    for setting in settings:
        try:
            step, name, value = _parse_setting(project, setting)
        except ProjectError as error:
            problems += error.problems
            continue
        of_step = values.setdefault(step, {})
        kind = project.registered[step].parameters[name].type
        of_step[name] = kind.overlay(of_step.get(name), value)
    return values


class _Refused(Exception):
    """A setting that cannot be made: what is wrong, how to mend it, and its kind."""


def _parse_setting(project: Project, setting: str) -> tuple[str, str, Json]:
    try:
        return _read_setting(project, setting)
    except _Refused as refused:
        what, fix, name = refused.args
        problem = Problem(COMMAND, f"--set {setting}: {what}", fix, name)
        raise ProjectError([problem]) from None


def _read_setting(project: Project, setting: str) -> tuple[str, str, Json]:
    path, equals, text = setting.partition("=")
    stage, notebook, name, *keys = path.strip().split(".") + [""] * max(0, 2 - path.count("."))
    if not equals or not name:
        raise _Refused("is no setting", "write it as stage.notebook.parameter=value", "no-setting")
    step = f"{stage}.{notebook}"
    if step not in project.registered:
        nearest = suggest(step, project.registered)
        raise _Refused(f"there is no step '{step}'", nearest, "unknown-step")
    parameters = project.registered[step].parameters
    if name not in parameters:
        raise _Refused(*(value_problem(parameters, name, None) or ("", "", "")))
    kind = _type_of_key(name, keys, parameters[name].type)
    try:
        value = kind.parse(text)
    except ValueError as error:
        raise _Refused(str(error), f"give a value of type {kind}", "wrong-type") from None
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
