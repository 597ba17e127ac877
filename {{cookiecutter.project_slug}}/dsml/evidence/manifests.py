"""The manifests of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from dsml.contract.catalog import Catalog
from dsml.contract.wiring import outlines
from dsml.store import Manifest, StepRun, Store


class InRun(Protocol):
    """What says of which run, experiment and partition it is."""

    @property
    def run_id(self) -> str:
        """The id of the run."""

    @property
    def experiment(self) -> str:
        """The experiment that it was run for."""

    @property
    def partition(self) -> str | None:
        """The partition beside the experiment."""


def known_steps(catalog: Catalog) -> list[str]:
    """The steps that may have manifests: those of the register, and those that pipelines wire."""
    return [*catalog.register, *outlines(catalog)]


def manifests(store: Store, steps: Iterable[str], run: InRun) -> list[Manifest]:
    """The manifests of a run, in the order of ``steps``; of a mapped one its instances' as well."""
    addresses = (StepRun(step, run.experiment, run.run_id, run.partition) for step in steps)
    found = filter(None, map(store.manifest, addresses))
    return [part for manifest in found for part in with_instances(store, manifest)]


def with_instances(store: Store, manifest: Manifest) -> Iterator[Manifest]:
    """The manifest of a step and, where it is mapped, those of its instances."""
    yield manifest
    for key, run in (manifest.instances or {}).items():
        address = manifest.address.of_instance(key)
        part = store.of_runs(address, [run.run_id])  # that of another run where it was carried on
        if part is not None:
            yield part
