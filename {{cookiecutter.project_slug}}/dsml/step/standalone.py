"""A notebook run by hand: which step it is, where its inputs are, what its parameters are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dsml.contract.catalog import Catalog, read_catalog, unknown
from dsml.contract.cells import read_notebook
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.contract.project import find_root, notebook_paths
from dsml.contract.spec import StepSpec, read_spec
from dsml.step.context import Setting
from dsml.store.manifest import Input
from dsml.store.paths import StepRun
from dsml.store.publish import Store

SCRATCH_RUN = "scratch"


def standalone_setting(
    op_parameters: Mapping[str, Any], step: str | None, namespace: dict[str, Any]
) -> Setting:
    """The setting of a notebook that no runner has started.

    Inputs are the newest published ones of the experiment in ``DSML_EXPERIMENT`` (default: the
    first of the catalog), or those of the run in ``DSML_RUN``; outputs go to a scratch folder.
    ``namespace`` holds the notebook's variables: a parameter that was changed there keeps its
    value, one that the experiment sets is set there too.

    Raises:
        ProjectError: no project, no such step, or an upstream step that has not been run.
    """
    root = find_root(Path.cwd().resolve())
    problems: list[Problem] = []
    catalog = read_catalog(root, problems)
    if problems:
        raise ProjectError(problems)
    spec = _find_step(root, op_parameters, step, namespace)
    experiment = os.environ.get("DSML_EXPERIMENT") or catalog.default_experiment
    if experiment not in catalog.experiments:
        raise ProjectError([unknown("experiment", experiment, catalog.experiments)])
    store = Store.open(root, catalog)
    config, sources = _config(spec, catalog, experiment, namespace)
    scratch = store.scratch(spec.name, experiment)
    return Setting(
        step=spec.name,
        run_id=SCRATCH_RUN,
        experiment=experiment,
        partition_key=None,
        retry_number=0,
        config=config,
        sources=sources,
        ins=_inputs(store, spec, experiment),
        outs={name: str(scratch / file) for name, file in spec.outs.items()},
        logged=str(scratch / "logged"),
    )


def _find_step(
    root: Path, op_parameters: Mapping[str, Any], step: str | None, namespace: Mapping[str, Any]
) -> StepSpec:
    paths = notebook_paths(root)
    if step is None:
        named = _path_from_frontend(root, namespace)
        if named in paths:
            paths = [named]
        else:
            here = [path for path in paths if (root / path).parent == Path.cwd().resolve()]
            paths = here or paths
    specs = [spec for spec in _specs(root, paths) if step in (None, spec.name)]
    if step is not None and not specs:
        names = [f"{Path(path).parent.name}.{Path(path).stem}" for path in paths]
        what = f"there is no step '{step}'"
        raise ProjectError(
            [Problem(Where("get_context"), what, suggest(step, names), "unknown-step")]
        )
    if step is not None or len(paths) == 1:
        return specs[0]
    same = [spec for spec in specs if _same(spec.op_parameters, op_parameters)]
    if len(same) == 1:
        return same[0]
    raise ProjectError([_unclear(same)])


def _specs(root: Path, paths: Iterable[str]) -> list[StepSpec]:
    specs: list[StepSpec] = []
    for path in paths:
        problems: list[Problem] = []
        try:
            spec = read_spec(read_notebook(root / path, path), problems)
        except ProjectError:
            continue  # another notebook's mistake is not this one's
        if spec is not None:
            specs.append(spec)
    return specs


def _path_from_frontend(root: Path, namespace: Mapping[str, Any]) -> str | None:
    """The notebook's path, where Jupyter Server or VS Code tells it to the kernel."""
    told = namespace.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME")
    if not told:
        return None
    path = Path(str(told))
    if not path.is_absolute():  # relative to the server's root; the kernel runs in its folder
        path = Path.cwd() / path.name
    path = path.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else None


def _same(declared: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    try:
        return json.dumps(declared, sort_keys=True) == json.dumps(given, sort_keys=True)
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
    spec: StepSpec, catalog: Catalog, experiment: str, namespace: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    set_by_experiment = catalog.experiments[experiment].config.get(spec.name, {})
    config: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name, parameter in spec.parameters.items():
        present = namespace.get(name, parameter.default)
        if present != parameter.default:
            config[name], sources[name] = present, "notebook"
        elif name in set_by_experiment:
            config[name], sources[name] = set_by_experiment[name], "experiment"
            namespace[name] = config[name]
        else:
            config[name], sources[name] = present, "default"
    return config, sources


def _inputs(store: Store, spec: StepSpec, experiment: str) -> dict[str, str]:
    """Local paths of the inputs; all that are missing are told at once."""
    run_id = os.environ.get("DSML_RUN")
    address = StepRun(spec.name, experiment, run_id or SCRATCH_RUN)
    found: dict[str, str] = {}
    problems: list[Problem] = []
    for name, source in spec.ins.items():
        artefact = _resolve(store, source, address, pinned=run_id is not None)
        if artefact is None:
            problems.append(missing_input(spec, name, source, experiment, run_id))
        else:
            found[name] = str(store.fetch(artefact, address))
    if problems:
        raise ProjectError(problems)
    return found


def _resolve(store: Store, source: str, address: StepRun, *, pinned: bool) -> Input | None:
    found = store.resolve(source, address)
    return None if found is not None and pinned and found.run_id != address.run_id else found


def missing_input(
    spec: StepSpec, name: str, source: str, experiment: str, run_id: str | None = None
) -> Problem:
    """An in whose artefact nobody has published yet."""
    upstream = source.rpartition(".")[0]
    where = f"in run {run_id}" if run_id else f"in experiment '{experiment}'"
    what = f"ins.{name}: '{source}' has not been published {where}"
    fix = f"run it first: dsml run --experiment {experiment} --select +{upstream}"
    return Problem(spec.where("ins", name), what, fix, "missing-input")
