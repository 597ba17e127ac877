"""Promotion: the best run's model challenges the champion; one that passes the gate takes over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dsml.contract.catalog import Catalog, sound_catalog, unknown
from dsml.contract.lock import locked
from dsml.contract.models import METRICS, Model
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.contract.project import find_root
from dsml.evidence.models.candidates import COMMAND, Candidate, best
from dsml.evidence.models.decision import Decision
from dsml.evidence.models.gate import Gate, Measured
from dsml.evidence.models.registry import Registry, Version
from dsml.evidence.trace import find_run
from dsml.step.models import asking, client_of, registered_name, registry_of, the_model
from dsml.step.tracking import Tracking
from dsml.store import Store

_PATIENCE = 600.0  # seconds to wait for another promotion
_ROUNDS = 5  # of the gate, where others promote meanwhile


def promote(
    model: str | None = None,
    *,
    metric: str | None = None,
    higher: bool | None = None,
    run: str | None = None,
    experiment: str | None = None,
    dry_run: bool = False,
    root: Path | None = None,
) -> Decision:
    """Register the best run's model as the challenger; make it the champion if it is better.

    Args:
        model: as ``models`` in ``catalog.yml`` has it; not needed where there is but one.
        metric: another one than the catalog's, to choose the best run and to decide by.
        higher: whether a higher value is better.
        run: the model of this run: its id, the beginning of that, or ``latest``.
        experiment: only runs of this experiment.
        dry_run: only say what would come of it; nothing is registered.
        root: the project; by default that of the working directory.

    Raises:
        ProjectError: there is no such model, nothing to measure it on, or MLflow doesn't answer.
    """
    project = _open(root, model)
    chosen = _by(project.model, metric, higher)
    if experiment is not None and experiment not in project.catalog.experiments:
        raise ProjectError([unknown("experiment", experiment, project.catalog.experiments)])
    run_id = None if run is None else find_run(project.store, run, COMMAND)
    with project.alone() as registry:
        before = registry.champion()
        candidate = best(
            project.store,
            project.catalog,
            chosen,
            run=run_id,
            experiment=experiment,
            champion=before.origin if before else ("", ""),
        )
        if before is not None and before.origin == (candidate.manifest.run_id, candidate.step):
            decision = Decision(chosen.name, "unchanged", dry_run, before.number, before.number)
            return replace(
                _about(decision, chosen, candidate), champion=before.number, value=before.value
            )
        gate = Gate(project.root, project.catalog, project.store, chosen, candidate)
        version = None if dry_run else registry.register(project.store, chosen.name, candidate)
        return _decide(registry, gate, chosen, candidate, version)


def _decide(
    registry: Registry, gate: Gate, model: Model, candidate: Candidate, version: Version | None
) -> Decision:
    """Run the gate against the champion until that has stayed the same meanwhile."""
    for _ in range(_ROUNDS):
        before = registry.champion()
        champion = None if before is None else gate.champion(partial(registry.load, before))
        decision = _decision(gate, model, candidate, version, before, champion)
        if version is None:
            return decision
        registry.note(version, decision)
        if not decision.promoted:
            return decision
        now = registry.champion()
        if (now and now.number) == (before and before.number):
            registry.move(version)
            return decision
    what, fix = f"others promote '{model.name}' all the time", "try again when they have done"
    raise ProjectError([Problem(Where(COMMAND), what, fix, "busy")])


def _decision(
    gate: Gate,
    model: Model,
    candidate: Candidate,
    version: Version | None,
    before: Version | None,
    champion: Measured | None,
) -> Decision:
    criteria = gate.criteria(champion)
    passed = all(criterion.passed for criterion in criteria)
    number = version.number if version else None
    was = before.number if before else None
    found = Decision(
        model.name,
        "promoted" if passed else "refused",
        version is None,
        number,
        was,
        number if passed and version else was,
        value=gate.challenger.value,
        champion_value=champion.value if champion else None,
        criteria=tuple(criteria),
    )
    return _about(found, model, candidate)


def _about(decision: Decision, model: Model, candidate: Candidate) -> Decision:
    return replace(
        decision,
        run_id=candidate.manifest.run_id,
        step=candidate.step,
        experiment=candidate.manifest.experiment,
        metric=model.metric,
        higher=model.higher,
        logged=candidate.value,
    )


def restore(version: int, model: str | None = None, *, root: Path | None = None) -> Decision:
    """Make a version the champion, whatever the gate said of it: to undo a promotion.

    Raises:
        ProjectError: there is no such version, or MLflow doesn't answer.
    """
    project = _open(root, model)
    with project.alone() as registry:
        before = registry.champion()
        found = registry.version(version)
        is_it = before is not None and before.number == version
        if not is_it:
            registry.move(found)
    return Decision(
        project.model.name,
        "unchanged" if is_it else "restored",
        version=version,
        before=before.number if before else None,
        champion=version,
        run_id=found.run_id,
        step=found.step,
        experiment=found.experiment,
        metric=found.metric,
        value=found.value,
    )


def versions(model: str | None = None, *, root: Path | None = None) -> list[Version]:
    """The versions of a model, the newest first; none where nothing has been promoted yet.

    Raises:
        ProjectError: there is no such model, or MLflow doesn't answer.
    """
    project = _open(root, model)
    with asking(project.tracking, COMMAND):
        return project.registry().versions()


@dataclass(frozen=True)
class _Project:
    """A project, one of its models, and where its runs and its models are."""

    root: Path
    catalog: Catalog
    store: Store
    model: Model
    tracking: Tracking

    def registry(self) -> Registry:
        """The versions of the model."""
        name = registered_name(self.catalog, self.model.name)
        return Registry(self.tracking, name, client_of(self.tracking))

    @contextmanager
    def alone(self) -> Iterator[Registry]:
        """The same, while no other promotion of this model goes on on this machine."""
        registry = self.registry()
        folder = self.root / ".dagster"
        folder.mkdir(exist_ok=True)
        alone = locked(folder / f"promote {registry.name}", _PATIENCE)
        with alone, asking(self.tracking, COMMAND):
            yield registry


def _open(root: Path | None, model: str | None) -> _Project:
    root = root or find_root(Path.cwd().resolve())
    catalog = sound_catalog(root)
    name = the_model(catalog, model, COMMAND)
    tracking = registry_of(root, catalog, COMMAND)
    for key, value in tracking.env().items():  # such as how long a server is waited for
        if key.startswith("MLFLOW_HTTP_"):
            os.environ.setdefault(key, value)
    return _Project(root, catalog, Store.open(root, catalog), catalog.models[name], tracking)


def _by(model: Model, metric: str | None, higher: bool | None) -> Model:
    """The model with another metric to decide by; what the catalog asks of its own is left out."""
    if metric is not None and metric != model.metric:
        if metric not in METRICS:
            fix = suggest(metric, METRICS)
            what = f"--metric {metric}: nothing computes it on the held-out data"
            raise ProjectError([Problem(Where(COMMAND), what, fix, "unknown-metric")])
        model = replace(model, metric=metric, score="", least=None, higher=METRICS[metric])
    usual = METRICS.get(model.metric) if not model.score else None
    if higher is not None and usual is not None and higher is not usual:
        better = "higher" if usual else "lower"
        what = f"{model.metric} is better when it is {better}"
        raise ProjectError([Problem(Where(COMMAND), what, f"write --{better}", "wrong-usage")])
    return model if higher is None else replace(model, higher=higher)
