"""What the tests of the runtime share: stores, projects, runs in the tests' own process."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis  # noqa: F401 - it asks who holds what, before loading freezes all there is
import pytest
from dagster import DagsterInstance, ExecuteInProcessResult
from upath import UPath

from dsml.contract.catalog import DEFAULT_PATTERN
from dsml.contract.problem import Where
from dsml.orchestrate import warm
from dsml.orchestrate.definitions import load_definitions
from dsml.store import Layout, Store
from dsml.store.remote import open_root

from . import azure, s3
from .projects import Step, WarmForAll, manifests_of, write_project


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_outside() -> Iterator[None]:
    """Keep a Dagster home, an experiment or a project of the user's out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("DSML_", "DAGSTER_", "MLFLOW_", "PYTHONPATH", "JPY_")):
                patch.delenv(name)
        yield


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for a project, with a space in its path."""
    return tmp_path / "a project"


# --- stores ---------------------------------------------------------------------------------------

NewStore = Callable[..., Store]


@pytest.fixture
def new_local(tmp_path: Path) -> NewStore:
    """Open a store in a local folder."""
    folder = tmp_path / "a store"

    def new(pattern: str = DEFAULT_PATTERN) -> Store:
        return Store(UPath(folder), Layout(pattern), folder)

    return new


def _stores_at(address: str, folder: Path) -> NewStore:
    def new(pattern: str = DEFAULT_PATTERN, work: str = "work") -> Store:
        root = open_root(address, Where("catalog.yml"), "storage")
        return Store(root, Layout(pattern), folder / work)

    return new


@pytest.fixture
def new_memory(tmp_path: Path) -> NewStore:
    """Open a store that is no local folder; two with the same address are the same."""
    name = uuid.uuid4().hex

    return _stores_at(f"memory://{name}/store", tmp_path)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server with S3's API, one for all tests of a process."""
    with s3.server() as address:
        yield address


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket, at the address that this process finds in its environment."""
    s3.use(monkeypatch, s3_server)
    return s3.new_bucket()


@pytest.fixture
def new_s3(tmp_path: Path, bucket: str) -> NewStore:
    """Open a store in a bucket; two of one test have the same address."""

    return _stores_at(f"s3://{bucket}/a prefix", tmp_path)


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """The connection string of a server with Azure's API, one for all tests of a process."""
    with azure.server() as connection:
        yield connection


@pytest.fixture
def container(azurite: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new container of Azure, likewise."""
    azure.use(monkeypatch, azurite)
    return azure.new_container()


@pytest.fixture
def new_azure(tmp_path: Path, container: str) -> NewStore:
    """Open a store in a container of Azure; two of one test have the same address."""
    return _stores_at(f"abfs://{container}/a prefix", tmp_path)


@pytest.fixture(params=["memory", "s3", "azure"])
def new_remote(request: pytest.FixtureRequest) -> NewStore:
    """Open a store that is no local folder, of either kind."""
    return request.getfixturevalue(f"new_{request.param}")


@pytest.fixture(params=["local", "memory"])
def new_store(request: pytest.FixtureRequest) -> NewStore:
    """Open a store in a local folder, and in memory; tests of the store itself add S3 and Azure."""
    return request.getfixturevalue(f"new_{request.param}")


@pytest.fixture
def store(new_store: NewStore) -> Store:
    """An empty store of each kind."""
    return new_store()


# --- runs in this process -------------------------------------------------------------------------


@dataclass
class Ran:
    """What a run in this process left behind; `times` of events by their kind and step, in s."""

    root: Path
    result: ExecuteInProcessResult
    logged: list[str]
    times: dict[tuple[str, str], float]

    @property
    def run_id(self) -> str:
        return self.result.run_id

    @property
    def passed(self) -> bool:
        return self.result.success

    @property
    def log(self) -> str:
        return "\n".join(self.logged)

    def manifest(self, step: str) -> Any:
        return manifests_of(self.root)[step]

    def attempt(self, step: str, experiment: str = "baseline", number: int = 1) -> Path:
        """The folder of what was kept of an attempt."""
        folder = Path(experiment, *step.split("."), self.run_id)
        return self.root / "artefacts" / folder / "attempts" / str(number)

    def failure(self, step: str) -> str:
        """The message of a step's failure, as the UI shows it."""
        events = self.result.get_step_failure_events()
        (event,) = (e for e in events if e.step_key == step.replace(".", "__", 1))
        return event.event_specific_data.user_failure_data.description


_KERNELS = warm._WARM  # a test that wants none, or some of its own, puts another list there


def execute(root: Path, **arguments: Any) -> Ran:
    """Run a project's first pipeline in this process, on an instance that forgets."""
    experiment = arguments.pop("experiment", "baseline")
    definitions = load_definitions(root)
    if not _KERNELS:
        _KERNELS.append(WarmForAll())
    with DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def(arguments.pop("job", "all")).execute_in_process(
            partition_key=experiment, instance=instance, raise_on_error=False, **arguments
        )
        entries = instance.all_logs(result.run_id)
    times = {
        (e.dagster_event.event_type_value, e.step_key or ""): e.timestamp
        for e in entries
        if e.dagster_event is not None
    }
    return Ran(root, result, [e.user_message for e in entries if e.dagster_event is None], times)


@pytest.fixture
def run_step(tmp_path: Path) -> Callable[..., Ran]:
    """Run a project of one step, `a.b`, in this process; keywords are those of `Step`."""
    numbers = itertools.count()

    def run(work: Any, config: dict[str, Any] | None = None, **declared: Any) -> Ran:
        experiments = declared.pop("experiments", None)
        steps = {"a.b": Step(work, **declared)}
        root = write_project(tmp_path / f"project {next(numbers)}", steps, experiments=experiments)
        run_config = {"ops": {"a__b": {"config": config}}} if config else {}
        return execute(root, run_config=run_config)

    return run
