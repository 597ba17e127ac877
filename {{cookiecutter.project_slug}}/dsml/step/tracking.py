"""Where MLflow keeps what is tracked, and what a process that uses MLflow finds in its environment.

Nothing here imports MLflow: that takes two seconds, and most processes have no need of it. The
variables are MLflow's own (https://mlflow.org/docs/latest/api_reference/python_api/).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dsml.contract.catalog import Catalog

URI = "MLFLOW_TRACKING_URI"
# The addresses at which people open the two UIs, for the links between them.
MLFLOW_URL, DAGSTER_URL = "DSML_MLFLOW_URL", "DSML_DAGSTER_URL"
DEFAULT_MLFLOW_URL, DEFAULT_DAGSTER_URL = "http://127.0.0.1:5000", "http://127.0.0.1:3000"
# Below the project, or the folder that tracks: what was tracked while a server didn't answer.
_OFFLINE = "offline"
_DEFAULT_FOLDER = ".mlflow"
# The tag, in MLflow, of runs that a notebook starts beside its own: the run of Dagster.
BESIDE_TAG = "dsml.beside"
BY_HAND = " by hand"  # after the name of the experiment of runs

DATABASE = "mlflow.db"
_ARTEFACTS = "artifacts"
_EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
# Requests of a notebook to a server: a short outage is waited out, a long one fails the attempt.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
# MLflow would otherwise report to its makers how it is used.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class Tracking:
    """An MLflow: its tracking URI, and the name of the MLflow experiment that takes all runs.

    ``folder`` is set where it is a folder of this machine: a database of SQLite, and files.
    ``home`` is where what is tracked offline goes.
    """

    uri: str
    experiment: str
    home: Path
    folder: Path | None = None

    @property
    def is_remote(self) -> bool:
        """Whether it is a server, which may be down."""
        return self.uri.startswith(("http://", "https://"))

    @property
    def shown(self) -> str:
        """Where it is, for a message: without what may be a password."""
        if self.folder is not None:
            return str(self.folder)
        scheme, _, rest = self.uri.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"

    @property
    def artefacts(self) -> str | None:
        """Where files go, as a URI; None where the server knows."""
        return None if self.folder is None else (self.folder / _ARTEFACTS).as_uri()

    @property
    def url(self) -> str:
        """The address of its UI, without a slash at the end."""
        told = os.environ.get(MLFLOW_URL)
        return (told or (self.uri if self.is_remote else DEFAULT_MLFLOW_URL)).rstrip("/")

    def offline(self) -> Tracking:
        """The folder that stands in while the server doesn't answer."""
        return in_folder(self.home / _OFFLINE, self)

    def env(self, run: str = "", tags: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables with which plain ``mlflow.log_*`` lands here.

        Args:
            run: the MLflow run that it lands in; runs that are started beside it hang below it.
                Without one, all that is logged lands in runs beside.
            tags: what these others are tagged with.
        """
        found = {**QUIET, URI: self.uri, _EXPERIMENT: self.experiment}
        if self.is_remote:
            found |= {name: os.environ.get(name, value) for name, value in _PATIENCE.items()}
        context = {**({"mlflow.parentRunId": run} if run else {}), **(tags or {})}
        if run:
            found["MLFLOW_RUN_ID"] = run
        if context:
            found["MLFLOW_RUN_CONTEXT"] = json.dumps(context)
        return found


def tracking_of(root: Path, catalog: Catalog) -> Tracking | None:
    """The MLflow of the environment that ``DSML_ENV`` names; None where it has none.

    ``MLFLOW_TRACKING_URI`` and ``MLFLOW_EXPERIMENT_NAME`` win over the catalog.

    Raises:
        ProjectError: there is no environment of that name.
    """
    given = catalog.environment().mlflow
    if not given:
        return None
    experiment = os.environ.get(_EXPERIMENT) or catalog.project
    told = os.environ.get(URI) or given
    home = root / (_DEFAULT_FOLDER if "://" in given or ":" in given else given)
    tracking = Tracking(told, experiment, home)
    is_address = "://" in told or told.startswith("databricks")
    return tracking if is_address else in_folder(root / Path(told).expanduser(), tracking)


def track_by_hand(root: Path, catalog: Catalog) -> None:
    """Let what a notebook logs by MLflow land in an experiment for what is run by hand.

    Raises:
        ProjectError: there is no environment of the name in ``DSML_ENV``.
    """
    tracking = tracking_of(root, catalog)
    if tracking is not None:
        own = replace(tracking, experiment=tracking.experiment + BY_HAND)
        for name, value in own.env().items():
            os.environ.setdefault(name, value)


def in_folder(folder: Path, like: Tracking) -> Tracking:
    """The MLflow that a folder holds."""
    return replace(like, uri=f"sqlite:///{folder / DATABASE}", folder=folder)
