"""The environments of a catalog: where artefacts are kept, and what is there to run steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsml.contract.declared import Record, Report, key, keys_of
from dsml.contract.executors import EXECUTORS
from dsml.contract.names import FUNCTION, is_identifier
from dsml.contract.storage import (
    DEFAULT_CACHE,
    SIZE,
    bytes_of,
    credentials_finding,
    shared,
    storage_finding,
)

RESOURCES_SCHEMA = {"type": ["object", "null"], "additionalProperties": {"type": "string"}}


@dataclass(frozen=True)
class Environment:
    """Where artefacts go; ``storage`` is a folder relative to the project, or a URL.

    ``mlflow`` likewise is a folder, or the tracking URI of an MLflow; empty: nothing is tracked.
    Of a storage that is no folder copies are kept here, up to ``input_cache``. ``workers`` limits
    how many steps of a run are run at once, whatever its pipeline says (None: as that says).
    """

    name: str
    storage: str = key(
        "A folder, relative to this file, or an address such as s3://bucket/prefix.",
        default="artefacts",
    )
    resources: Mapping[str, str] = key(
        "Resources that stand in for those of the same names, such as fakes for tests.",
        schema=RESOURCES_SCHEMA,
        default_factory=dict,
    )
    mlflow: str = key(
        "The MLflow that tracks runs and keeps models: a folder, relative to this file, or the "
        "address of a server. Without it nothing is tracked.",
        schema={"type": "string", "pattern": r"\S"},
        default="",
    )
    input_cache: str = key(
        "How much of what is read from a storage such as s3:// stays on this machine: 500 MB, "
        f"2 TB. What was used longest ago goes first. By default {DEFAULT_CACHE}.",
        schema={"type": "string", "pattern": f"^{SIZE}$"},
        default=DEFAULT_CACHE,
    )
    executor: str = key(
        "How steps are run in it, whatever their pipeline says.", choices=EXECUTORS, default=""
    )
    workers: int | None = key(
        "How many steps of a run are run at once at most, whatever the pipeline says.",
        default=None,
    )
    notify: bool = key(
        "Whether failed runs are told by mail and webhook.",
        schema={"type": "boolean"},
        default=True,
    )

    @property
    def cache_bytes(self) -> int:
        """The room for copies, in bytes."""
        return bytes_of(self.input_cache) or 0


def read_environment(record: Record) -> Environment:
    """Read what stands under the name of an environment."""
    record.known(keys_of(Environment))
    storage = record.text("storage", "artefacts")
    if (finding := storage_finding(storage)) is not None:
        record.report(("storage",), *finding)
    mlflow = record.text("mlflow")
    if (finding := credentials_finding(mlflow)) is not None:
        record.report(("mlflow",), *finding)
    if isinstance(record.value.get("mlflow"), str) and not mlflow.strip():
        fix = "write a folder, such as mlflow: .mlflow, or an address; or leave the key out"
        record.report(("mlflow",), "names no MLflow", fix, "no-mlflow")
    cache = record.text("input_cache", DEFAULT_CACHE)
    if bytes_of(cache) is None:
        fix = "write a number and a unit: 500 MB, 10 GB"
        record.report(("input_cache",), f"{cache!r} is no size", fix, "no-size")
    executor = record.one_of("executor", EXECUTORS)
    return Environment(
        name=record.name,
        storage=storage,
        resources=read_resources(record.record("resources")),
        mlflow=mlflow.strip(),
        input_cache=cache,
        executor=executor if "executor" in record.value else "",
        workers=record.whole("workers", None, what="number of workers", least=1),
        notify=record.flag("notify", default=True),
    )


def read_resources(record: Record) -> dict[str, str]:
    """Resources: name → function."""
    found: dict[str, str] = {}
    for name, function in record.value.items():
        text = record.text(name)
        if is_identifier(name) and FUNCTION.fullmatch(text):
            found[name] = text
        else:
            what = f"{function!r} is no function for a parameter's name"
            fix = "write it as name: module:function, such as db: my_package.resources:database"
            record.report((name,), what, fix, "no-resource")
    return found


def check_storages(report: Report, environments: Mapping[str, Environment]) -> None:
    """Report environments whose storages lie in each other."""
    for name, other in shared({name: e.storage for name, e in environments.items()}):
        what = f"environment '{other}' keeps its artefacts there, too"
        fix = f"give it a storage of its own, such as storage: build/{name}"
        report(("environments", name, "storage"), what, fix, "shared-storage")
