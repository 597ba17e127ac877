"""Taking over what another run has published, while a clean-up may be removing it."""

from __future__ import annotations

from dsml.store.manifest import MANIFEST_FILE, Manifest
from dsml.store.publish import Store
from dsml.store.remote import delete


def take_over(store: Store, manifest: Manifest) -> bool:
    """Publish a manifest whose files are those of another run, and say whether it holds.

    A clean-up takes a manifest away before it removes files, and looks then who refers to them.
    So whoever refers to them looks then whether the manifest is still there; one that is not is
    none to refer to.

    Raises:
        AlreadyPublished: another process has published the step in this run meanwhile.
    """
    store.record(manifest)
    return holds(store, manifest)


def holds(store: Store, manifest: Manifest) -> bool:
    """Whether what was taken over is still published; else the manifest that says so is deleted."""
    if store.manifest(manifest.origin) is not None:
        return True
    delete(store.path(manifest.address, MANIFEST_FILE))
    return False
