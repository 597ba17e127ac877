"""What nobody needs beside runs: folders of attempts that were killed, pointers, copies, uploads.

``.scratch`` is not among it: what a notebook by hand has written there is its user's.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from dsml.contract.figures import short_id
from dsml.evidence.retention.files import remove, remove_local, walked
from dsml.evidence.retention.inventory import Inventory, run_named
from dsml.evidence.retention.plan import Plan
from dsml.store import StepRun, Store
from dsml.store.leftovers import Upload, abandoned_uploads, remove_upload
from dsml.store.manifest import MANIFEST_FILE
from dsml.store.paths import NEWEST_FOLDER, NO_PARTITION, SAME_FOLDER, same_path
from dsml.store.publish import INPUTS_FOLDER, SCRATCH_FOLDER, STAGING_FOLDER

# .name.pid-number beside the file that is written, .pid-number beside a copy that is fetched
_PARTIAL = re.compile(r"(?:\..+)?\.(\d+)-\d+")
_SETTLED = 3600.0  # seconds for which a file is not taken to be left over


@dataclass(frozen=True)
class Leftover:
    """Something that is to go: what it is, and its files, as paths below the storage with bytes.

    ``local`` are files below the working folder on this machine, which isn't the storage itself
    where that is remote. ``folder`` is one that goes as a whole, with all that is in it, ``upload``
    one that was never finished; how large its parts are isn't known.
    """

    what: str
    files: Mapping[str, int]
    local: bool = False
    folder: Path | None = None
    upload: Upload | None = None

    @property
    def bytes(self) -> int:
        """The size of it all."""
        return sum(self.files.values())


def leftovers(store: Store, inventory: Inventory, plan: Plan) -> list[Leftover]:
    """All that is left over when the plan has been carried out."""
    found = [
        *_staged(store, inventory),
        *_partial(store),
        *_pointers(store, inventory, plan),
        *_copies(store, inventory, plan),
        *(
            Leftover("an upload that was not finished", {}, upload=u)
            for u in abandoned_uploads(store)
        ),
    ]
    return [each for each in found if each.files or each.folder or each.upload]


def take_away(store: Store, leftover: Leftover) -> None:
    """Remove it; of its folders those that held nothing else and that nobody writes into."""
    if leftover.folder is not None:
        shutil.rmtree(leftover.folder, ignore_errors=True)
    elif leftover.upload is not None:
        remove_upload(store, leftover.upload)
    elif leftover.local:
        remove_local(store.work, leftover.files, lambda folder: folder == folder.parent.parent)
    else:
        remove(store, leftover.files, lambda _: True)


def _staged(store: Store, inventory: Inventory) -> Iterator[Leftover]:
    """The working folders of attempts whose run is over."""
    runs = inventory.there.runs
    for of_run in _folders_in(store.work / STAGING_FOLDER):
        run = runs.get(of_run.name)
        if (run is None and not _is_settled(of_run)) or (run is not None and run.under_way):
            continue
        base = f"{STAGING_FOLDER}/{of_run.name}"
        files = {f"{base}/{path}": size for path, size in walked(of_run)}
        yield Leftover(
            f"working files of run {short_id(of_run.name)}, which is over",
            files,
            local=True,
            folder=of_run,
        )


def _folders_in(folder: Path) -> list[Path]:
    """What is in a folder, which goes with the last attempt that is under way."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _partial(store: Store) -> Iterator[Leftover]:
    """Files that a process was writing when it was killed."""
    files: dict[str, int] = {}
    for path, size in walked(store.work):
        name = path.rpartition("/")[2]
        partial = _PARTIAL.fullmatch(name)
        own = path.startswith((f"{STAGING_FOLDER}/", f"{SCRATCH_FOLDER}/"))
        if partial is None or own or psutil.pid_exists(int(partial[1])):
            continue
        if _is_settled(store.work / path):  # it may be written by another machine
            files[path] = size
    yield Leftover("files that were being written by processes that are gone", files, local=True)


def _pointers(store: Store, inventory: Inventory, plan: Plan) -> Iterator[Leftover]:
    """Pointers to runs that are gone, or that go."""
    parts = inventory.there.parts
    stays = {address for address in plan.kept if parts[address].published}
    wanted = {same_path(a, inventory.fingerprints.get(a, "")) for a in stays}

    def is_needless(path: str) -> bool:
        if path in wanted:
            return False
        named = _named(store, path)
        if path.startswith(f"{NEWEST_FOLDER}/") and not stays.isdisjoint(named):
            return False
        if not parts.keys().isdisjoint(named):
            return True
        # what was published after the rest was read is not among the parts
        return not any(store.path(each, MANIFEST_FILE).exists() for each in named)

    for folder, what in ((SAME_FOLDER, "fingerprints"), (NEWEST_FOLDER, "pointers")):
        own = {p: n for p, n in inventory.own.items() if _is_in(folder, p)}
        files = {path: size for path, size in own.items() if is_needless(path)}
        yield Leftover(f"{what} of what is gone", files)


def _is_in(folder: str, path: str) -> bool:
    """Whether a file is a pointer, and not one that is just being written."""
    name = path.rpartition("/")[2]
    return path.startswith(f"{folder}/") and name.endswith(".json") and not name.startswith(".")


def _named(store: Store, path: str) -> list[StepRun]:
    """What a pointer may name: a step without partitions is of the partition called 'all'."""
    _, experiment, partition, label = path.split("/")[:4]
    run_id = run_named(store, path)
    if not run_id:
        return []
    run = StepRun("", experiment, run_id, partition)
    address = run.named(label.removesuffix(".json"))
    return [address, replace(address, partition=None)] if partition == NO_PARTITION else [address]


def _copies(store: Store, inventory: Inventory, plan: Plan) -> Iterator[Leftover]:
    """Copies of remote files that no manifest names any more."""
    folder = store.work / INPUTS_FOLDER
    if store.is_local or not folder.is_dir():
        return
    named = {sha for address in plan.kept for sha in inventory.contents.get(address, ())}
    files = {
        f"{INPUTS_FOLDER}/{path}": size
        for path, size in walked(folder)
        if "/" in path and path.partition("/")[0] not in named and _is_settled(folder / path)
    }
    yield Leftover("copies of artefacts that are gone", files, local=True)


def _is_settled(path: Path) -> bool:
    """Whether nothing has been written to a file or a folder for a while."""
    try:
        return time.time() - path.stat().st_mtime > _SETTLED
    except FileNotFoundError:
        return False
