"""Models as MLflow keeps them: saving one into the folder of logged files, finding the champion.

A saved model is a folder of MLflow's own format (https://mlflow.org/docs/latest/ml/model/): it
holds the signature, an example of the input and the versions of the packages that the model needs.
To save one needs neither a server nor a network.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsml.contract.catalog import CATALOG_FILE, Catalog, unknown
from dsml.contract.lock import locked
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.step.tracking import BY_HAND, DATABASE, QUIET, URI, Tracking, tracking_of
from dsml.store.manifest import LoggedModel

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.pyfunc import PyFuncModel

CHAMPION, CHALLENGER = "champion", "challenger"
_REQUIREMENT = "mlflow>=3.10,<4"  # as in pyproject.toml

# The package of a model's class → MLflow's flavour, and the packages that are needed to load it.
_FLAVOURS = {
    "catboost": ("catboost", ("catboost",)),
    "h2o": ("h2o", ("h2o",)),
    "keras": ("keras", ("keras", "tensorflow")),
    "lightgbm": ("lightgbm", ("lightgbm", "scikit-learn")),
    "onnx": ("onnx", ("onnx", "onnxruntime")),
    "paddle": ("paddle", ("paddlepaddle",)),
    "pmdarima": ("pmdarima", ("pmdarima",)),
    "prophet": ("prophet", ("prophet",)),
    "pyspark": ("spark", ("pyspark",)),
    "sentence_transformers": ("sentence_transformers", ("sentence-transformers", "torch")),
    "sklearn": ("sklearn", ("scikit-learn", "scipy")),
    "spacy": ("spacy", ("spacy",)),
    "statsmodels": ("statsmodels", ("statsmodels",)),
    "tensorflow": ("tensorflow", ("tensorflow",)),
    "torch": ("pytorch", ("torch",)),
    "transformers": ("transformers", ("transformers", "torch")),
    "xgboost": ("xgboost", ("xgboost", "scikit-learn")),
}
_PYFUNC = "pyfunc"
_ALWAYS = ("numpy", "pandas", "cloudpickle")
_CONDA, _PIP, _EXTRA = "conda_env", "pip_requirements", "extra_pip_requirements"
_FORMAT = "serialization_format"
_LOCK = threading.Lock()
_BEFORE: list[str | None] = []  # the variable as it was, and the addresses that are in use now


def need_mlflow(what: str) -> None:
    """Tell those who have no MLflow that ``what`` needs it.

    Raises:
        ProjectError: MLflow is not installed.
    """
    for name, value in QUIET.items():  # before the first import
        os.environ.setdefault(name, value)
    if find_spec("mlflow") is None:
        told = f"{what} needs MLflow, which is not installed"
        fix = f"add '{_REQUIREMENT}' to the dependencies in pyproject.toml, then: make install"
        raise ProjectError([Problem(Where(what), told, fix, "no-mlflow")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a progress bar that nobody sees
        importlib.import_module("mlflow.exceptions")


def _flavour_of(model: object) -> str:
    """MLflow's name for the kind of a model.

    Raises:
        TypeError: it is of a kind that MLflow doesn't know.
    """
    for kind in type(model).__mro__:
        package = kind.__module__.partition(".")[0]
        if kind.__name__ == "PythonModel" and package == "mlflow":
            return _PYFUNC
        if kind.__name__ == "PyFuncModel" and package == "mlflow":
            break
        if package in _FLAVOURS:
            return _FLAVOURS[package][0]
    if callable(model) and hasattr(model, "__code__"):
        return _PYFUNC
    raise TypeError(
        f"there is no way to save a {type(model).__module__}.{type(model).__qualname__} as a "
        "model: log the fitted model of a library that MLflow knows, or wrap it in a class that "
        "derives from mlflow.pyfunc.PythonModel and has predict(self, context, model_input)"
    )


def save(model: object, folder: Path, **options: Any) -> LoggedModel:
    """Save a model as a folder; one that is there is replaced.

    Args:
        model: of any library that MLflow knows, a ``PythonModel``, or a function.
        folder: where to.
        options: of ``mlflow.<flavour>.save_model``.

    Raises:
        ProjectError: MLflow is not installed.
        TypeError: it is no model.
    """
    need_mlflow("log_model")
    flavour = _flavour_of(model)
    options = {name: option for name, option in options.items() if option is not None}
    options |= _requirements(flavour, options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of type hints, and columns of whole numbers
        module = importlib.import_module(f"mlflow.{flavour}")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            if flavour == _PYFUNC:
                module.save_model(str(folder), python_model=model, **options)
            else:
                _save(module, model, folder, options)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return LoggedModel(folder.name, flavour, _has_signature(folder))


def _save(module: Any, model: object, folder: Path, options: dict[str, Any]) -> None:
    """Save by a flavour; where its safe format cannot hold the model, by pickle.

    MLflow takes ``skops`` for scikit-learn, which knows the classes of scikit-learn only. To load
    a pickle runs code of the project, as loading a ``.joblib`` does.
    """
    from mlflow.exceptions import MlflowException

    try:
        module.save_model(model, str(folder), **options)
    except MlflowException as error:
        if "skops" not in str(error) or _FORMAT in options:
            raise
        shutil.rmtree(folder, ignore_errors=True)
        module.save_model(model, str(folder), **options, **{_FORMAT: "cloudpickle"})


def _requirements(flavour: str, options: dict[str, Any]) -> dict[str, Any]:
    """The packages that the model needs, as they are installed.

    Left to itself MLflow would load the model in another process, to see what it imports.
    """
    if _PIP in options or _CONDA in options:
        return {}
    own = next((names for kind, names in _FLAVOURS.values() if kind == flavour), ())
    skops = ("skops",) if flavour in ("sklearn", "lightgbm") else ()
    extra = options.pop(_EXTRA, None) or []
    given = [extra] if isinstance(extra, str) else list(extra)
    return {_PIP: [*_pinned((*own, *skops, *_ALWAYS)), *given]}


def _pinned(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            yield f"{name}=={version(name)}"


def _has_signature(folder: Path) -> bool:
    from mlflow.models import Model

    return Model.load(str(folder)).signature is not None


# --- the champion ---------------------------------------------------------------------------------


def the_model(catalog: Catalog, name: str | None, where: str) -> str:
    """The model of the catalog that a name means: the only one where none is given.

    Raises:
        ProjectError: there is none of that name, or there are several.
    """
    models = catalog.models
    if name is not None:
        if name in models:
            return name
        raise ProjectError([unknown("model", name, models)])
    if len(models) == 1:
        return next(iter(models))
    if models:
        what = f"there are {len(models)} models, and none is named"
        fix = f"name one of {', '.join(models)}"
        raise ProjectError([Problem(Where(where), what, fix, "unknown-model")])
    what = "there are no models"
    fix = "write models: {name: {metric: accuracy, holdout: stage.notebook.artefact, target: ...}}"
    raise ProjectError([Problem(Where(CATALOG_FILE), what, fix, "no-models")])


def registry_of(root: Path, catalog: Catalog, where: str) -> Tracking:
    """The MLflow that keeps the models of a project.

    Raises:
        ProjectError: MLflow is off, not installed, or was down when the run began.
    """
    tracking = tracking_of(root, catalog)
    if tracking is None:
        environment = catalog.environment().name
        what = f"models are kept in MLflow, and the environment '{environment}' has none"
        fix = f"write mlflow: .mlflow, in environments.{environment}"
        place = catalog.where("environments", environment)
        raise ProjectError([Problem(place, what, fix, "no-mlflow")])
    if tracking.uri == tracking.offline().uri:
        what = "MLflow doesn't answer: what is logged waits until it does, and so do its models"
        fix = "when it is there again: dsml sync, then dsml promote"
        raise ProjectError([Problem(Where(where), what, fix, "mlflow")])
    need_mlflow(where)
    return replace(tracking, experiment=tracking.experiment.removesuffix(BY_HAND))


@contextlib.contextmanager
def asking(tracking: Tracking, where: str) -> Iterator[None]:
    """Ask an MLflow, also by those of its functions that take no address.

    Raises:
        ProjectError: it doesn't answer, or refuses something.
    """
    from mlflow.exceptions import MlflowException

    try:
        with _address(tracking.uri):
            yield
    except MlflowException as error:
        what = f"MLflow: {str(error).splitlines()[0]}"
        fix = "see that it runs, and that its address is right: mlflow in catalog.yml"
        raise ProjectError([Problem(Where(where), what, fix, "mlflow")]) from error


@contextlib.contextmanager
def _address(uri: str) -> Iterator[None]:
    """Set the variable that MLflow's functions look at; several threads may do so at once.

    Not by ``set_tracking_uri``: afterwards a notebook's own calls go where they went before.
    """
    with _LOCK:
        if not _BEFORE:
            _BEFORE.append(os.environ.get(URI))
        os.environ[URI] = uri
        _BEFORE.append(uri)
    try:
        yield
    finally:
        with _LOCK:
            _BEFORE.pop()
            before = _BEFORE.pop() if len(_BEFORE) == 1 else _BEFORE[-1]
            if before is None:
                os.environ.pop(URI, None)
            else:
                os.environ[URI] = before


def registered_name(catalog: Catalog, name: str) -> str:
    """What a model of the catalog is called in MLflow."""
    return f"{catalog.project}.{name}"


def client_of(tracking: Tracking) -> MlflowClient:
    """MLflow's client; the folder of a local one is made."""
    from mlflow import MlflowClient

    if tracking.folder is None:
        return MlflowClient(tracking.uri)
    tracking.folder.mkdir(parents=True, exist_ok=True)
    with locked(tracking.folder / DATABASE):  # two that make a database at once spoil it
        return MlflowClient(tracking.uri)


def with_alias(client: MlflowClient, model: str, alias: str) -> ModelVersion | None:
    """The version of a registered model that has an alias, None where none has."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(model, alias)
    except MlflowException as error:
        missing = error.error_code == "RESOURCE_DOES_NOT_EXIST" or "alias" in str(error)
        if not missing:
            raise
        return None


def local_folder(client: MlflowClient, tracking: Tracking, found: ModelVersion) -> Path:
    """A local folder that holds a version of a registered model."""
    from mlflow.artifacts import download_artifacts

    place = client.get_model_version_download_uri(found.name, str(found.version))
    return Path(download_artifacts(artifact_uri=place, tracking_uri=tracking.uri))


def load_champion(root: Path, catalog: Catalog, name: str) -> tuple[PyFuncModel, ModelVersion]:
    """The champion of a model, ready to predict, and which version that is.

    Raises:
        ProjectError: there is none yet, or MLflow doesn't answer.
    """
    where = f"champion('{name}')"
    tracking = registry_of(root, catalog, where)
    with asking(tracking, where):
        client = client_of(tracking)
        found = with_alias(client, registered_name(catalog, name), CHAMPION)
        if found is None:
            fix = f"dsml promote {name} makes the best run's model the champion"
            raise ProjectError([Problem(Where(where), "no champion yet", fix, "no-champion")])
        return load(local_folder(client, tracking, found)), found


def load(folder: Path) -> PyFuncModel:
    """Load a model from its folder as one that has ``predict``, whatever library made it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own type hints, and a bar that nobody sees
        from mlflow.pyfunc import load_model

    return load_model(folder.as_posix())
