"""What has not been published yet of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dsml.contract.spec import StepSpec
from dsml.store.manifest import Manifest
from dsml.store.publish import Store

Newest = Mapping[str, Mapping[str | None, Manifest]]


def newest_of(store: Store, steps: Sequence[StepSpec], experiment: str, *, each: bool) -> Newest:
    """The newest manifests of each step by partition; without ``each`` there is one, of None."""
    found: dict[str, dict[str | None, Manifest]] = {step.name: {} for step in steps}
    for step in steps:
        if each:
            found[step.name].update(store.newest_each(step.name, experiment))
        elif manifest := store.newest(step.name, experiment):
            found[step.name][None] = manifest
    return found


def is_missing(steps: Sequence[StepSpec], newest: Newest, partition: str | None) -> bool:
    """Whether a step has no manifest, though nothing told it to be skipped.

    ``steps`` are in an order in which they could run. A step is skipped where an optional out
    that it reads was not written, or where a step that it waits for was skipped itself.
    """
    skipped: set[str] = set()
    for step in steps:
        if partition in newest[step.name]:
            continue
        if not (step.upstream & skipped or _left_out(step, newest, partition)):
            return True
        skipped.add(step.name)
    return False


def _left_out(step: StepSpec, newest: Newest, partition: str | None) -> bool:
    for source in step.sources:
        upstream, _, out = source.rpartition(".")
        manifest = newest.get(upstream, {}).get(partition)
        if manifest is not None and out not in manifest.outputs:
            return True
    return False
