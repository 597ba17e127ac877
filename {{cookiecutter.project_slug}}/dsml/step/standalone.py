"""A notebook run by hand: which step it is, where its inputs are, what its parameters are."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dsml.contract.catalog import CATALOG_FILE, Catalog, read_catalog, unknown
from dsml.contract.cells import read_notebook
from dsml.contract.literals import Json
from dsml.contract.modules import Modules
from dsml.contract.pair import is_text_notebook
from dsml.contract.partition_problems import registered_partitions
from dsml.contract.partitions import Partitions, iso_window
from dsml.contract.percent import SUFFIX
from dsml.contract.problem import Problem, ProjectError, Where, errors, suggest
from dsml.contract.project import DEBUG_SUFFIX, find_root, notebook_paths, read_project
from dsml.contract.secret import variables
from dsml.contract.spec import CONFIG_SCHEMA, StepSpec, read_spec, step_name
from dsml.step.context import Setting
from dsml.step.inputs import (
    RUN,
    find_attempt,
    find_inputs,
    find_run,
    inputs_of_attempt,
    local_paths,
)
from dsml.step.tracking import track_by_hand
from dsml.store.manifest import Value
from dsml.store.paths import StepRun
from dsml.store.publish import Store

_SCRATCH_RUN = "scratch"
PARTITION = "DSML_PARTITION"


def standalone_setting(
    op_parameters: Mapping[str, Any], step: str | None, namespace: dict[str, Any]
) -> Setting:
    """The setting of a notebook that no runner has started.

    A script that Python itself runs ends with the message, since Python would print a traceback.

    Inputs are the newest published ones of the experiment in ``DSML_EXPERIMENT`` (default: the
    first of the catalog) and of the partition in ``DSML_PARTITION``, or those of the run in
    ``DSML_RUN``, or, with the parameters, those of the attempt in ``DSML_ATTEMPT``; outputs go to
    a scratch folder.
    ``namespace`` holds the notebook's variables: a parameter that was changed there keeps its
    value, one that the experiment sets is set there too.

    Raises:
        ProjectError: no project, no such step, or an upstream step that has not been run.
        SystemExit: the same, for such a script.
    """
    script = _script(namespace)
    try:
        root = find_root(Path.cwd().resolve() if script is None else script.parent)
        return _setting(
            root, lambda name: _find_step(root, op_parameters, name or step, namespace), namespace
        )
    except ProjectError as error:
        by_python = namespace.get("__name__") == "__main__" and "get_ipython" not in namespace
        if by_python and script is not None:
            raise SystemExit(str(error)) from None
        raise


def function_setting(file: Path, step: str | None) -> Setting:
    """The same of a Python step; ``step`` need not be named where only one step runs the file.

    Raises:
        ProjectError: no project, no such step, or an upstream step that has not been run.
    """
    root = find_root(file.parent)
    path = file.relative_to(root).as_posix()
    return _setting(root, lambda name: _find_function(root, path, name or step), {})


def _setting(
    root: Path, find: Callable[[str | None], StepSpec], namespace: dict[str, Any]
) -> Setting:
    """The setting of the step that is found; by its name, where an attempt at it is followed."""
    problems: list[Problem] = []
    catalog = read_catalog(root, problems)
    if problems:
        raise ProjectError(problems)
    store = Store.open(root, catalog)
    attempt = find_attempt(store)
    if attempt is None and (_path_from_frontend(root, namespace) or "").endswith(DEBUG_SUFFIX):
        raise ProjectError([_marker_skipped()])
    spec = find(attempt.step if attempt else None)
    partitions = registered_partitions(catalog, spec)
    own = partitions.get(spec.name)
    if attempt is None:
        address, pinned = _address(store, catalog, spec, own)
        values: Mapping[str, Value] = {
            name: Value(value, "experiment")
            for name, value in of_experiment(catalog, spec, address.experiment).items()
        }
        inputs = find_inputs(root, store, spec, address, pinned=pinned, partitions=partitions)
    else:
        address, values = attempt.address, attempt.parameters
        inputs = inputs_of_attempt(root, store, spec, attempt, partitions)
    config, sources = _config(spec, values, namespace, injected=attempt is not None)
    track_by_hand(root, catalog)
    scratch = store.scratch(spec.name, address.experiment)
    return Setting(
        step=spec.name,
        run_id=_SCRATCH_RUN,
        experiment=address.experiment,
        partition_key=address.partition,
        retry_number=attempt.number - 1 if attempt else 0,
        config=config,
        sources=sources,
        ins=local_paths(store, inputs, address),
        outs={name: str(scratch / file) for name, file in spec.outs.items()},
        logged=str(scratch / "logged"),
        inputs={name: asdict(found) for name, found in inputs.items()},
        instance=address.instance,
        partition_window=iso_window(own, address.partition),
        secrets=variables(spec, config),
        pickles=catalog.pickles,
    )


def _address(
    store: Store, catalog: Catalog, spec: StepSpec, partitions: Partitions | None
) -> tuple[StepRun, bool]:
    """The experiment, partition and run to read from, and whether to read from that run alone."""
    run, experiment = os.environ.get(RUN), os.environ.get("DSML_EXPERIMENT") or None
    if experiment and experiment not in catalog.experiments:
        raise ProjectError([unknown("experiment", experiment, catalog.experiments)])
    found = find_run(store, spec, run, experiment) if run else None
    partition = None
    if partitions is not None:
        partition = (found and found.partition) or _partition(spec, partitions)
    if found is not None:
        return StepRun(spec.name, found.experiment, found.run_id, partition), True
    experiment = experiment or catalog.default_experiment
    return StepRun(spec.name, experiment, _SCRATCH_RUN, partition), False


def _partition(spec: StepSpec, partitions: Partitions) -> str:
    """The partition that ``DSML_PARTITION`` names, else the newest, or the first of a list."""
    now = datetime.now(UTC)
    key = os.environ.get(PARTITION) or partitions.default(now) or ""
    if partitions.has(key, now):
        return key
    what = f"{spec.name} has no partition '{key}'" if key else f"{spec.name} has no partition"
    fix = partitions.advice(key, now)
    raise ProjectError([Problem(Where(PARTITION), what, fix, "unknown-partition")])


def of_experiment(catalog: Catalog, spec: StepSpec, experiment: str) -> dict[str, Json]:
    """What an experiment sets of a step that is run once; of what is mapped it sets lists."""
    known = catalog.experiments.get(experiment)  # the run may be older than the catalog
    given = known.config.get(spec.name, {}) if known else {}
    return {name: value for name, value in given.items() if name not in spec.map}


def _find_step(
    root: Path, op_parameters: Mapping[str, Any], step: str | None, namespace: Mapping[str, Any]
) -> StepSpec:
    paths = _candidates(root, step, namespace)
    if len(paths) == 1:
        spec, problems = _read(root, paths[0])
        if spec is None:
            raise ProjectError(problems)
        return spec
    specs = (_read(root, path)[0] for path in paths)  # another's mistake is not this one's
    same = [spec for spec in specs if spec and _same(spec.op_parameters, op_parameters)]
    if len(same) == 1:
        return same[0]
    raise ProjectError([_unclear(same)])


def _candidates(root: Path, step: str | None, namespace: Mapping[str, Any]) -> list[str]:
    """The notebooks that may be this one: that of the name, the one that is told, those here."""
    paths = notebook_paths(root)
    if step is not None:
        names = [".".join(step_name(path)) for path in paths]
        if step in names:
            return [paths[names.index(step)]]
        what, fix = f"there is no step '{step}'", suggest(step, names)
        raise ProjectError([Problem(Where("get_context"), what, fix, "unknown-step")])
    told = _path_from_frontend(root, namespace)
    if told is not None and (paired := told.removesuffix(SUFFIX) + ".ipynb") in paths:
        told = paired
    if told in paths:
        return [told]
    here = [path for path in paths if (root / path).parent == Path.cwd().resolve()]
    return here or paths


def _find_function(root: Path, path: str, step: str | None) -> StepSpec:
    project = read_project(root)
    here = {name: spec for name, spec in project.steps.items() if spec.path == path}
    found = [spec for name, spec in here.items() if step in (None, name)]
    if len(found) == 1:
        return found[0]
    if here and step is not None:
        what, fix = f"'{step}' is no step that runs this file", suggest(step, here)
    elif here:
        what = f"{', '.join(here)} run this file, so it is unclear which of them is meant"
        fix = f'write run_by_hand(step_fn, step="{next(iter(here))}")'
    else:
        concerned = (path, CATALOG_FILE)
        mistakes = [p for p in errors(project.problems) if p.where.path in concerned]
        if mistakes:
            raise ProjectError(mistakes)
        what = "no step runs this file"
        fix = "give it op_parameters, or wire it in catalog.yml: pipelines.<name>.steps"
    raise ProjectError([Problem(Where(path), what, fix, "unknown-step")])


def _read(root: Path, path: str) -> tuple[StepSpec | None, list[Problem]]:
    problems: list[Problem] = []
    try:
        return read_spec(read_notebook(root / path, path), problems, Modules(root)), problems
    except ProjectError as error:
        return None, error.problems


def _path_from_frontend(root: Path, namespace: Mapping[str, Any]) -> str | None:
    """The notebook's path, where Python, VS Code or Jupyter Server tells it."""
    told = (
        _script(namespace)
        or namespace.get("__vsc_ipynb_file__")
        or os.environ.get("JPY_SESSION_NAME")
    )
    if not told:
        return None
    path = Path(str(told))
    if not path.is_absolute():  # relative to the server's root; the kernel runs in its folder
        path = Path.cwd() / path.name
    path = path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def _script(namespace: Mapping[str, Any]) -> Path | None:
    """The file of a text notebook that runs as a script, or cell by cell in an editor."""
    told = namespace.get("__file__")
    file = Path(told).resolve() if isinstance(told, str) and told.endswith(SUFFIX) else None
    return file if file is not None and is_text_notebook(file) else None


def _marker_skipped() -> Problem:
    what = "this copy of a notebook doesn't know yet which attempt it is to follow"
    return Problem(Where("get_context"), what, "run its first cell first", "no-attempt")


def _same(declared: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """Whether the notebook's dict is what was read; a config schema holds more than literals."""
    plain = {key: value for key, value in given.items() if key != CONFIG_SCHEMA}
    try:
        return json.dumps(declared, sort_keys=True) == json.dumps(plain, sort_keys=True)
    except (TypeError, ValueError):
        return False


def _unclear(same: list[StepSpec]) -> Problem:
    where = Where("get_context")
    if same:
        names = ", ".join(spec.name for spec in same)
        what = f"{names} declare the same op_parameters, so it is unclear which of them this is"
        return Problem(
            where, what, f'write get_context(op_parameters, step="{same[0].name}")', "unclear"
        )
    what = "no notebook of this project declares these op_parameters"
    fix = 'save the notebook, or name it: get_context(op_parameters, step="stage.notebook")'
    return Problem(where, what, fix, "unclear")


def _config(
    spec: StepSpec, values: Mapping[str, Value], namespace: dict[str, Any], *, injected: bool
) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters and their sources; what was changed in the notebook wins.

    ``injected`` says that ``values`` were in the notebook: a default is a change then.
    """
    config: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, parameter in spec.parameters.items():
        value = values.get(name, Value(parameter.default, "default"))
        untouched = [value.value] if injected else [value.value, parameter.default]
        if namespace.get(name, value.value) in untouched:
            config[name], sources[name] = value.value, value.source
            namespace[name] = value.value
        else:
            config[name], sources[name] = namespace[name], "notebook"
    return config, sources
