"""The champion of a project, its challenger and their predecessors, for those who only look.

What MLflow's registry says is read, nothing is written. Models are promoted while somebody looks:
``standing`` is cheap enough to be asked every few seconds, and tells whether the rest is to be read
again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dsml.contract.catalog import CATALOG_FILE, read_catalog
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.evidence.manifests import with_instances
from dsml.evidence.mlflow_runs import MlflowRuns
from dsml.evidence.mlflow_state import is_empty, reaches
from dsml.evidence.models.registry import GATE_TAG, SINCE_TAG, Registry, Version
from dsml.evidence.models.scores import held_out, score_of
from dsml.step.models import CHALLENGER, CHAMPION, asking, registered_name, registry_of
from dsml.store import Manifest, Store

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.pyfunc import PyFuncModel
    from numpy.typing import NDArray

WHERE = "dsml dashboard"
_CLASSES = 30  # values of a target that are counted one by one

# Viewers are served by threads, and MLflow is asked through the environment of the process.
_ALONE = threading.Lock()


class Aliased(NamedTuple):
    """A version that an alias stands for; ``gate`` and ``since`` are what promotion said of it."""

    alias: str
    number: int
    gate: str
    since: str


# The models of the catalog, each with the versions that its aliases stand for.
Standing = Mapping[str, Sequence[Aliased]]


@dataclass(frozen=True)
class Versions:
    """All versions of a model of the catalog, the oldest first."""

    model: str
    versions: Sequence[Version]

    @property
    def champion(self) -> Version | None:
        """The version that serves."""
        return next((version for version in self.versions if version.is_champion), None)

    @property
    def challenger(self) -> Version | None:
        """The version that was tested last and has not become the champion."""
        found = (version for version in self.versions if CHALLENGER in version.aliases)
        return next((version for version in found if not version.is_champion), None)

    @property
    def predecessor(self) -> Version | None:
        """The version that was the champion before."""
        former = [v for v in self.versions if v.champion_since and not v.is_champion]
        return max(former, key=lambda version: version.champion_since, default=None)

    @property
    def rival(self) -> Version | None:
        """What the champion is to be compared with: the challenger, else its predecessor."""
        return self.challenger or self.predecessor


class Loaded:
    """A version that is ready to predict. It takes tables, whichever library it is from."""

    def __init__(self, version: Version, model: PyFuncModel) -> None:
        self.version = version
        self.model = model
        self.signature = model.metadata.signature

    def predict(self, table: pd.DataFrame) -> NDArray[Any]:
        """What the model says to each row; columns that it doesn't take are left out."""
        import numpy as np

        return np.asarray(self.model.predict(self.inputs(table)))

    def inputs(self, table: pd.DataFrame) -> pd.DataFrame:
        """The columns that the model takes, in its types; all of them where it doesn't say."""
        if self.signature is None or self.signature.inputs is None:
            return table
        columns = [spec for spec in self.signature.inputs.inputs if getattr(spec, "name", None)]
        types = {spec.name: spec.type.to_pandas() for spec in columns if hasattr(spec.type, "name")}
        return table[list(types)].astype(types) if types else table

    def scores(self, table: pd.DataFrame) -> pd.DataFrame | None:
        """How sure it is of each class, a column for each; None where the model can't tell.

        These are probabilities where the model has them, else distances: more is surer.
        """
        import pandas as pd

        classes = getattr(self._raw, "classes_", None)
        of = getattr(self._raw, "predict_proba", None)
        of = of or getattr(self._raw, "decision_function", None)
        if classes is None or of is None:
            return None
        found = of(self.inputs(table))
        if found.ndim == 1:  # of two classes, a distance is told for one
            return None
        return pd.DataFrame(found, index=table.index, columns=list(classes))

    @property
    def has_probabilities(self) -> bool:
        """Whether ``scores`` are probabilities."""
        return hasattr(self._raw, "predict_proba")

    @cached_property
    def _raw(self) -> object:
        """The model of the library that made it, where MLflow gives it out."""
        try:
            return self.model.get_raw_model()
        except NotImplementedError:
            return None

    def example(self) -> pd.DataFrame | None:
        """The input example that was logged with it, where it is a table."""
        import pandas as pd

        found = self.model.input_example
        return found if isinstance(found, pd.DataFrame) else None


@dataclass(frozen=True)
class Comparison:
    """The champion and its rival on the same held-out data.

    ``differing`` holds the rows on which they differ, with what is true in the column ``truth`` and
    what each says in ``champion`` and ``rival``. ``by_class`` counts rows for each true value; it
    is None where the target is a quantity.
    """

    metric: str
    higher: bool
    about: str
    rows: int
    champion: float
    rival: float
    differing: pd.DataFrame
    by_class: pd.DataFrame | None


class ChampionView:
    """What MLflow knows of the models of a project.

    Raises:
        ProjectError: the project has no MLflow.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.catalog = read_catalog(root, [])
        self.tracking = registry_of(root, self.catalog, WHERE)

    @cached_property
    def _client(self) -> MlflowClient:
        return MlflowRuns(self.tracking).client  # it waits for a run that makes the database

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        if not reaches(self.tracking):  # MLflow itself would go on trying for minutes
            what = f"MLflow at {self.tracking.shown} doesn't answer"
            fix = "start it, or mend its address: mlflow in catalog.yml, or MLFLOW_TRACKING_URI"
            raise ProjectError([Problem(Where(WHERE), what, fix, "mlflow")])
        with _ALONE, asking(self.tracking, WHERE):
            yield

    def _registry(self, model: str) -> Registry:
        return Registry(self.tracking, registered_name(self.catalog, model), self._client)

    def standing(self) -> Standing:
        """The models of the catalog, and which version of each is champion and challenger.

        Raises:
            ProjectError: MLflow doesn't answer.
        """
        models = self.catalog.models
        with self._asking() if models else contextlib.nullcontext():
            return {model: self._aliased(registered_name(self.catalog, model)) for model in models}

    def _aliased(self, name: str) -> list[Aliased]:
        from mlflow.exceptions import MlflowException

        if is_empty(self.tracking):
            return []
        client = self._client
        try:
            aliases = client.get_registered_model(name).aliases
            found = {
                alias: client.get_model_version(name, number) for alias, number in aliases.items()
            }
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return []
        told = ((alias, version, version.tags) for alias, version in sorted(found.items()))
        return [
            Aliased(alias, int(version.version), tags.get(GATE_TAG, ""), tags.get(SINCE_TAG, ""))
            for alias, version, tags in told
        ]

    def versions(self, model: str) -> Versions:
        """The versions of a model of the catalog that is registered.

        Raises:
            ProjectError: MLflow doesn't answer.
        """
        with self._asking():
            found = self._registry(model).versions()
        return Versions(model, sorted(found, key=lambda version: version.number))

    def load(self, model: str, version: Version) -> Loaded:
        """A version, ready to predict.

        Raises:
            ProjectError: MLflow doesn't answer, or the files of the model are gone.
        """
        try:
            with self._asking():
                return Loaded(version, self._registry(model).load(version))
        except OSError as error:
            what = f"version {version.number} of {model} cannot be loaded: {error}"
            fix = "promote another one: dsml promote"
            raise ProjectError([Problem(Where(WHERE), what, fix, "no-model")]) from None

    def compare(self, model: str, champion: Loaded, rival: Loaded) -> Comparison:
        """Both on the data that were held out in the run of the younger one.

        Raises:
            ProjectError: there are none any more.
        """
        declared = self.catalog.models[model]
        younger = max(champion.version, rival.version, key=lambda version: version.number)
        store = Store.open(self.root, self.catalog)
        data = held_out(store, self.catalog, declared, self._origin(store, younger), younger.run_id)
        score = score_of(self.root, declared)
        said = {CHAMPION: champion.predict(data.rows), "rival": rival.predict(data.rows)}
        together = data.rows.assign(truth=data.truth, **said)
        return Comparison(
            metric=declared.metric,
            higher=declared.higher,
            about=data.about,
            rows=len(together),
            champion=float(score(data.truth, said[CHAMPION])),
            rival=float(score(data.truth, said["rival"])),
            differing=together[together[CHAMPION] != together["rival"]],
            by_class=_by_class(together),
        )

    def _origin(self, store: Store, version: Version) -> Manifest:
        """The manifest of the step, or of the instance, that logged a version.

        Raises:
            ProjectError: the run was deleted, or was another project's.
        """
        step = version.step.partition("[")[0]
        for whole in store.published(step, version.experiment, version.run_id) if step else ():
            for part in with_instances(store, whole):
                if part.address.label == version.step:
                    return part
        what = f"the run that made version {version.number} is not in the storage any more"
        fix = "compare a newer one: dsml promote"
        raise ProjectError([Problem(Where(CATALOG_FILE), what, fix, "no-run")])


def _by_class(table: pd.DataFrame) -> pd.DataFrame | None:
    """Of each true value: how many rows, how many each model gets right, where they differ."""
    truth = table["truth"]
    if truth.nunique() > _CLASSES or truth.dtype.kind == "f":
        return None
    counted = table[[]].assign(
        rows=1,
        champion=table[CHAMPION] == truth,
        rival=table["rival"] == truth,
        differ=table[CHAMPION] != table["rival"],
    )
    return counted.groupby(truth).sum()
