"""The models that runs have logged, and which of them is the best."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dsml.contract.catalog import Catalog
from dsml.contract.figures import short_id
from dsml.contract.models import Model
from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.evidence.manifests import known_steps, manifests, with_instances
from dsml.store import Manifest, Store

COMMAND = "dsml promote"


@dataclass(frozen=True)
class Candidate:
    """A model that a run has logged, with the value of the metric that was logged for it.

    ``manifest`` is that of the step or the instance that logged it; ``run_id`` is the run that is
    looked at, which is another one where that step was unchanged.
    """

    manifest: Manifest
    run_id: str
    value: float

    @property
    def step(self) -> str:
        """The step that logged it, of a mapped one with the key of the instance."""
        return self.manifest.address.label


def best(
    store: Store,
    catalog: Catalog,
    model: Model,
    *,
    run: str | None,
    experiment: str | None,
    champion: tuple[str, str],
) -> Candidate:
    """The best model of that name that any run has logged, or one run.

    Args:
        store: where the runs are.
        catalog: of the project.
        model: which model, and by which metric.
        run: the id of the run; all, where none is given.
        experiment: only runs of this experiment.
        champion: run and step of the champion, which is taken of equal ones, else the newest is.

    Raises:
        ProjectError: there is no model, none has the metric, or it is unclear whose it is.
    """
    steps = known_steps(catalog)
    found = list(_logged(store, steps, model.name, run, experiment))
    if not found:
        raise ProjectError([_no_model(model.name, run, experiment)])
    values = _Values(store, steps, model.metric)
    candidates = [
        Candidate(origin, run_id, value)
        for origin, run_id in found
        if (value := values.of(origin, run_id, [m for m, r in found if r == run_id])) is not None
    ]
    if not candidates:
        raise ProjectError([_no_metric(model, len(found), values.known)])
    sign = 1 if model.higher else -1
    return max(
        candidates,
        key=lambda c: (
            sign * c.value,
            (c.manifest.run_id, c.step) == champion,
            c.manifest.ended,
        ),
    )


def _logged(
    store: Store, steps: Iterable[str], model: str, run: str | None, experiment: str | None
) -> Iterator[tuple[Manifest, str]]:
    """Where models were logged, each with the run that is looked at.

    What another run has taken over counts for that run only where it is asked for.
    """
    for step in steps:
        for whole in store.published(step, experiment, run or ""):
            if run is not None and whole.run_id != run:
                continue
            for part in with_instances(store, whole):
                origin = store.manifest(part.origin) if part.cached else part
                if origin is None or model not in origin.models:
                    continue
                if run is not None or origin.run_id == whole.run_id:
                    yield origin, whole.run_id


class _Values:
    """The values of a metric: of the step that logged a model, else of another one of its run."""

    def __init__(self, store: Store, steps: Sequence[str], metric: str) -> None:
        self.known: set[str] = set()
        self._store = store
        self._steps = steps
        self._metric = metric

    def of(self, manifest: Manifest, run_id: str, beside: list[Manifest]) -> float | None:
        """The value for the model that ``manifest`` tells of; ``beside`` are all of that run.

        Raises:
            ProjectError: several have it, or it is that of several models.
        """
        self.known |= manifest.metrics.keys()
        own = _number(manifest.metrics.get(self._metric))
        if own is not None or self._metric in manifest.metrics:
            return own
        others = self._of_others(manifest, run_id)
        if len(others) > 1:
            raise ProjectError([self._unclear(manifest, run_id, ", ".join(sorted(others)))])
        if others and len(beside) > 1:
            labels = ", ".join(sorted(other.address.label for other in beside))
            raise ProjectError([self._unclear(manifest, run_id, next(iter(others)), labels)])
        return next(iter(others.values()), None)

    def _of_others(self, manifest: Manifest, run_id: str) -> dict[str, float]:
        """The values that other steps of the run have logged; of the same instance if any has."""
        found = manifests(self._store, self._steps, manifest.address.of_run(run_id))
        self.known |= {name for each in found for name in each.metrics}
        having = [each for each in found if _number(each.metrics.get(self._metric)) is not None]
        same = [each for each in having if each.instance == manifest.instance is not None]
        values = ((each.address.label, each.metrics[self._metric]) for each in same or having)
        return {label: float(value) for label, value in values}

    def _unclear(self, manifest: Manifest, run_id: str, where: str, models: str = "") -> Problem:
        what = f"run {short_id(run_id)}: {where} logged '{self._metric}'"
        what += f", and {models} logged a model" if models else ""
        fix = f"log it where the model is logged, in {manifest.step}"
        return Problem(Where(COMMAND), f"{what}: it is unclear which is meant", fix, "unclear")


def _number(value: float | str | None) -> float | None:
    return value if isinstance(value, int | float) else None  # NaN is kept as text


def _no_model(model: str, run: str | None, experiment: str | None) -> Problem:
    which = f"run {short_id(run)}" if run else "no run"
    what = f"{which} has logged {'no' if run else 'a'} model '{model}'"
    what += f" for the experiment '{experiment}'" if experiment else ""
    fix = f'log it in a step: context.log_model("{model}", model, input_example=...)'
    return Problem(Where(COMMAND), what, fix, "no-candidate")


def _no_metric(model: Model, count: int, known: Iterable[str]) -> Problem:
    models = "the model" if count == 1 else f"any of the {count} models"
    what = f"no metric '{model.metric}' was logged for {models} '{model.name}'"
    otherwise = f'log it beside the model: context.log_metric("{model.metric}", ...)'
    names = set(known)
    fix = suggest(model.metric, names, otherwise) if names else otherwise
    return Problem(Where(COMMAND), what, fix, "unknown-metric")
