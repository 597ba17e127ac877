"""The manifests of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dsml.store import Manifest, StepRun, Store


def manifests(
    store: Store, steps: Iterable[str], experiment: str, run_id: str, partition: str | None = None
) -> list[Manifest]:
    """The manifests of a run, in the order of ``steps``; of a mapped one its instances' as well."""
    found = (store.manifest(StepRun(step, experiment, run_id, partition)) for step in steps)
    return [part for manifest in found if manifest for part in _with_instances(store, manifest)]


def _with_instances(store: Store, manifest: Manifest) -> Iterator[Manifest]:
    yield manifest
    for key, run in (manifest.instances or {}).items():
        address = manifest.address.of_instance(key)
        part = store.of_runs(address, [run.run_id])  # that of another run where it was carried on
        if part is not None:
            yield part
