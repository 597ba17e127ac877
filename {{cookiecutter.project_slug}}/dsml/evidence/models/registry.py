"""The versions of a model in MLflow's registry, and which of them has which alias."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from dsml.contract.problem import Problem, ProjectError, Where, suggest
from dsml.evidence.mlflow_runs import RUN_TAG, STEP_TAG, MlflowRuns
from dsml.evidence.mlflow_values import all_pages
from dsml.evidence.models.candidates import COMMAND, Candidate
from dsml.evidence.models.decision import Decision
from dsml.step.facts import now
from dsml.step.models import CHALLENGER, CHAMPION, load, local_folder, with_alias
from dsml.step.tracking import Tracking
from dsml.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.pyfunc import PyFuncModel

EXPERIMENT_TAG, METRIC_TAG, VALUE_TAG = "dsml.experiment", "dsml.metric", "dsml.value"
SINCE_TAG, GATE_TAG = "dsml.champion_since", "dsml.gate"


@dataclass(frozen=True)
class Version:
    """A version of a model. ``value`` is that of ``metric`` on the held-out data of its run.

    ``champion_since`` is when it last became the champion, in ISO 8601, "" for never; ``gate`` is
    the decision on it. Versions that somebody else has registered have none of these.
    """

    number: int
    aliases: tuple[str, ...]
    run_id: str
    step: str
    experiment: str
    metric: str
    value: float | None
    created: float
    champion_since: str
    gate: Mapping[str, Any]

    @property
    def is_champion(self) -> bool:
        """Whether it is the champion now."""
        return CHAMPION in self.aliases

    @property
    def origin(self) -> tuple[str, str]:
        """The run and the step that logged it."""
        return self.run_id, self.step


class Registry:
    """A registered model. Everything raises ``MlflowException`` where MLflow doesn't answer."""

    def __init__(self, tracking: Tracking, name: str, client: MlflowClient) -> None:
        self.tracking = tracking
        self.name = name
        self._client = client

    @cached_property
    def _runs(self) -> MlflowRuns:
        return MlflowRuns(self.tracking)

    def champion(self) -> Version | None:
        """The version that is the champion now."""
        found = with_alias(self._client, self.name, CHAMPION)
        return None if found is None else self._version(found)

    def versions(self) -> list[Version]:
        """All versions, the newest first."""
        search = partial(self._client.search_model_versions, f"name = '{self.name}'")
        found = list(all_pages(search))
        aliases = self._aliases() if found else {}
        versions = [self._version(each, aliases) for each in found]
        return sorted(versions, key=lambda version: version.number, reverse=True)

    def version(self, number: int) -> Version:
        """One version.

        Raises:
            ProjectError: there is none of that number.
        """
        known = {version.number: version for version in self.versions()}
        if number not in known:
            what = f"{self.name} has no version {number}"
            fix = suggest(str(number), map(str, known), "" if known else "dsml promote makes one")
            raise ProjectError([Problem(Where(COMMAND), what, fix, "unknown-version")])
        return known[number]

    def load(self, version: Version) -> PyFuncModel:
        """A version, ready to predict."""
        found = self._client.get_model_version(self.name, str(version.number))
        return load(local_folder(self._client, self.tracking, found))

    def register(self, store: Store, model: str, candidate: Candidate) -> Version:
        """The version of a candidate, made where there is none yet; it is the challenger then.

        The store is the truth: what MLflow has missed of the step is pushed first.

        Raises:
            ProjectError: the run has left no record of itself.
        """
        origin = candidate.manifest.run_id, candidate.step
        version = next((each for each in self.versions() if each.origin == origin), None)
        if version is None:
            version = self._create(store, model, candidate)
        self._client.set_registered_model_alias(self.name, CHALLENGER, str(version.number))
        return version

    def _create(self, store: Store, model: str, candidate: Candidate) -> Version:
        from mlflow.exceptions import MlflowException

        manifest = candidate.manifest
        try:
            pushed = self._runs.push(store, manifest)
        except FileNotFoundError as error:
            fix = "log the model in a run of the pipeline: dsml run"
            raise ProjectError([Problem(Where(COMMAND), str(error), fix, "no-record")]) from None
        with contextlib.suppress(MlflowException):  # it is there already
            self._client.create_registered_model(self.name)
        made = self._client.create_model_version(
            self.name,
            source=f"models:/{pushed.models[model]}",
            run_id=pushed.run_id,
            model_id=pushed.models[model],
            tags={
                RUN_TAG: manifest.run_id,
                STEP_TAG: candidate.step,
                EXPERIMENT_TAG: manifest.experiment,
            },
        )
        return self._version(made)

    def note(self, version: Version, decision: Decision) -> None:
        """Keep the decision on a version with it."""
        found = {METRIC_TAG: decision.metric, GATE_TAG: json.dumps(decision.to_dict())}
        if decision.value is not None:
            found[VALUE_TAG] = repr(decision.value)
        for name, text in found.items():
            self._client.set_model_version_tag(self.name, str(version.number), name, text)

    def move(self, version: Version) -> None:
        """Make a version the champion; it is no challenger any more."""
        number = str(version.number)
        self._client.set_model_version_tag(self.name, number, SINCE_TAG, now())
        self._client.set_registered_model_alias(self.name, CHAMPION, number)
        if str(self._aliases().get(CHALLENGER)) == number:
            self._client.delete_registered_model_alias(self.name, CHALLENGER)

    def _aliases(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._client.get_registered_model(self.name).aliases
        return found

    def _version(self, found: ModelVersion, aliases: Mapping[str, str] | None = None) -> Version:
        tags = found.tags
        known = self._aliases() if aliases is None else aliases
        number = int(found.version)
        return Version(
            number=number,
            aliases=tuple(alias for alias, version in known.items() if int(version) == number),
            run_id=tags.get(RUN_TAG, ""),
            step=tags.get(STEP_TAG, ""),
            experiment=tags.get(EXPERIMENT_TAG, ""),
            metric=tags.get(METRIC_TAG, ""),
            value=float(tags[VALUE_TAG]) if tags.get(VALUE_TAG) else None,
            created=found.creation_timestamp / 1000,
            champion_since=tags.get(SINCE_TAG, ""),
            gate=json.loads(tags.get(GATE_TAG) or "{}"),
        )
