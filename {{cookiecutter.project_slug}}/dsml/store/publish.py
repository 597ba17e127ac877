"""Publishing: files first, the manifest last, so that a reader sees all of a step or nothing.

Who else may be publishing the same, and what holds then, is told in ``dsml.store.once``.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from upath import UPath

from dsml.contract.catalog import Catalog
from dsml.contract.storage import protocol_of
from dsml.store.cache import READ_ONLY, Cache, Warn
from dsml.store.manifest import (
    ATTEMPT_FILE,
    ATTEMPTS_FOLDER,
    MANIFEST_FILE,
    PLAN_FILE,
    Attempt,
    Input,
    Manifest,
    Output,
    Plan,
)
from dsml.store.once import AlreadyPublished, place_output, write_once
from dsml.store.paths import (
    NEWEST_FOLDER,
    NO_PARTITION,
    Layout,
    StepRun,
    check_inside,
    newest_path,
    note_path,
    same_path,
)
from dsml.store.remote import glob, open_root, read
from dsml.store.staging import Staging, partial_of

# Folders of the store's own; the leading dot keeps them apart from experiments.
STAGING_FOLDER = ".staging"
SCRATCH_FOLDER = ".scratch"
INPUTS_FOLDER = ".inputs"
_AT_ONCE = 16  # files of a remote storage
_IN_MODELS = 2  # so deep are the files of a logged model: logged/<model>/<file>

T = TypeVar("T")
R = TypeVar("R")


class Store:
    """The artefacts of one environment.

    ``root`` is the storage folder or URL. ``work`` is a local folder for what is not published
    yet; for local storage it is the root itself, so that publishing is a rename. Of what is in
    any other storage copies of up to ``cache_bytes`` are kept there.
    """

    def __init__(
        self, root: UPath, layout: Layout, work: Path, cache_bytes: int = sys.maxsize
    ) -> None:
        self.root = root
        self.layout = layout
        self.work = work
        self._cache = Cache(work / INPUTS_FOLDER, cache_bytes)

    @classmethod
    def open(cls, project: Path, catalog: Catalog) -> Store:
        """The store of the environment that ``DSML_ENV`` names.

        Raises:
            ProjectError: there is no such environment, or its storage needs a package that is
                not installed.
        """
        environment = catalog.environment()
        layout = Layout(catalog.artefact_pattern)
        if protocol_of(environment.storage):
            keys = ("environments", environment.name, "storage")
            root = open_root(environment.storage, catalog.where(*keys), ".".join(keys))
            work = project / ".dagster" / "work" / environment.name
            return cls(root, layout, work, environment.cache_bytes)
        folder = project / Path(environment.storage).expanduser()
        return cls(UPath(folder), layout, folder)

    @property
    def is_local(self) -> bool:
        """Whether published files can be opened as they are."""
        return isinstance(self.root, Path)

    def reach(self) -> None:
        """Look once whether the storage is there, before much depends on it.

        Raises:
            ProjectError: it cannot be reached, it refuses access, or there is no such bucket.
        """
        if not self.is_local:
            self.root.fs.reach(self.root.joinpath(NEWEST_FOLDER, ".reach").path)

    def each(self, items: Iterable[T], call: Callable[[T], R]) -> list[R]:
        """What ``call`` gives for each, in their order; of a remote storage several at once."""
        if self.is_local:
            return [call(item) for item in items]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(call, items))

    def path(self, address: StepRun, file: str) -> UPath:
        """Where a file of a step lies, published or not."""
        return self.at(self.layout.path(address, file))

    def at(self, path: str) -> UPath:
        """Where a path below the root lies, which has forward slashes."""
        return self.root.joinpath(*path.split("/"))

    def attempt_path(self, address: StepRun, number: int, file: str) -> UPath:
        """Where a file of an attempt is kept when the attempt is over."""
        return self.path(address, f"{ATTEMPTS_FOLDER}/{number}/{file}")

    def manifest(self, address: StepRun) -> Manifest | None:
        """The manifest of a step in a run, None where it has not been published."""
        return Manifest.read(self.path(address, MANIFEST_FILE))

    def newest(self, step: str, experiment: str, partition: str | None = None) -> Manifest | None:
        """The newest published manifest of a step in an experiment.

        One small file a step and experiment tells which run that is; only where it is missing,
        or points at a run that was deleted, are the runs listed. One that took over the files of
        a run that was deleted has none.
        """
        address, where = StepRun(step, experiment, "*", partition), (experiment, partition)
        found = self._pointed_at(newest_path(address), address)
        if found is not None and self._has_files(found):
            return found
        same = [m for m in self._all(address) if (m.experiment, m.partition) == where]
        newest_first = sorted(same, key=lambda m: m.ended, reverse=True)
        return next(filter(self._has_files, newest_first), None)

    def _has_files(self, manifest: Manifest) -> bool:
        """Whether the other runs that have files of a manifest are still there."""
        whole, instances = manifest.address, manifest.instances or {}
        others = {whole.of_run(i.run_id).of_instance(key) for key, i in instances.items()}
        others |= {manifest.origin} if manifest.cached else set()
        return all(
            self.path(address, MANIFEST_FILE).exists()
            for address in others
            if address.run_id != manifest.run_id
        )

    def newest_each(self, step: str, experiment: str) -> dict[str, Manifest]:
        """The newest published manifest of each partition of a step, by the partition's key."""
        pointers = glob(self.root, f"{NEWEST_FOLDER}/{experiment}/*/{step}.json")
        keys = sorted(path.parent.name for path in pointers)
        found = {key: self.newest(step, experiment, key) for key in keys if key != NO_PARTITION}
        return {key: manifest for key, manifest in found.items() if manifest is not None}

    def published(self, step: str, experiment: str | None = None, run: str = "") -> list[Manifest]:
        """The manifests of a step, in any order; ``run`` is how the ids of their runs begin."""
        address = StepRun(step, experiment or "*", f"{run}*", "*")
        return [m for m in self._all(address) if experiment in (None, m.experiment)]

    def resolve(self, source: str, address: StepRun, lineage: Sequence[str] = ()) -> Input | None:
        """The artefact that an in means: of this run, else of ``lineage``, else the newest.

        Args:
            source: the artefact's catalog path.
            address: the run, the experiment and the partition to look in.
            lineage: the runs that this one carries on, the nearest first.
        """
        step, _, out = source.rpartition(".")
        upstream = StepRun(step, address.experiment, address.run_id, address.partition)
        found = self.of_runs(upstream, lineage)
        if found is None:
            found = self.newest(step, address.experiment, address.partition)
        if found is None or out not in found.outputs:
            return None
        return found.as_input(out)

    def of_runs(self, address: StepRun, lineage: Sequence[str]) -> Manifest | None:
        """The manifest of a step in a run, else in the nearest of those that it carries on."""
        runs = (self.manifest(address.of_run(run)) for run in (address.run_id, *lineage))
        return next((manifest for manifest in runs if manifest is not None), None)

    def fetch(
        self,
        found: Input,
        reader: StepRun,
        folder: Path | None = None,
        warn: Warn | None = None,
    ) -> Path:
        """A local path at which the content of an input of the step at ``reader`` can be read.

        It stays until ``folder`` is removed. Without one, what comes from a remote storage may be
        gone when other things have been fetched.
        """
        output = Output(found.file, found.bytes, found.sha256)
        return self.local(found.origin(reader.experiment), output, folder, warn)

    def local(
        self,
        address: StepRun,
        output: Output,
        folder: Path | None = None,
        warn: Warn | None = None,
    ) -> Path:
        """A local path at which a published file can be read.

        Local storage is read in place, anything else is copied once for each content and compared
        with what was published.

        Args:
            address: the step that has published the file.
            output: the file.
            folder: where to keep what is copied, for as long as the folder is there.
            warn: is told of a copy that arrived damaged and is made again.
        """
        source = self.path(address, output.file)
        if isinstance(source, Path):
            return source
        if folder is None:
            return self._cache.fetch(source, output, warn)
        return self._cache.lend(source, output, folder, warn)

    def staging(self, address: StepRun, attempt: int) -> Staging:
        """The local folders of one attempt while it is under way."""
        name = f"{address.experiment}.{address.partition or NO_PARTITION}.{address.label}"
        return Staging(self.work / STAGING_FOLDER / address.run_id / f"{name}.{attempt}")

    def stage(self, address: StepRun, attempt: int) -> Staging:
        """Fresh local folders for one attempt."""
        staging = self.staging(address, attempt)
        check_inside(self.work, staging.folder)
        staging.make()
        return staging

    def unstage(self, staging: Staging) -> None:
        """Delete an attempt's folders, and its run's folder when this was the last in it."""
        staging.remove()
        try:
            staging.folder.parent.rmdir()
            staging.folder.parent.parent.rmdir()
        except OSError:
            pass  # another attempt is still in there

    def scratch(self, step: str, experiment: str) -> Path:
        """The folder that a notebook writes into when it is run by hand."""
        folder = self.work / SCRATCH_FOLDER / experiment / step
        check_inside(self.work, folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keep_attempt(self, staging: Staging, record: Attempt) -> None:
        """Keep what an attempt left behind; its record last."""
        address, number = record.address, record.number
        for file in sorted(staging.evidence.rglob("*")):
            name = file.relative_to(staging.evidence).as_posix()
            half_written = file.name.startswith(".") and name.count("/") < _IN_MODELS
            if file.is_file() and not half_written:
                self._move(file, self.attempt_path(address, number, name))
        self.write(self.attempt_path(address, number, ATTEMPT_FILE), record.to_json())

    def attempts(self, address: StepRun) -> list[Attempt]:
        """The records of a step's attempts in a run, in order.

        Those that are under way, or were killed, are not there.
        """
        found: list[Attempt] = []
        for number in itertools.count(1):
            record = Attempt.read(self.attempt_path(address, number, ATTEMPT_FILE))
            if record is not None:
                found.append(record)
            elif not self.at(note_path(address, number)).exists():
                break
        return found

    def publish(self, staging: Staging, manifest: Manifest) -> Manifest:
        """Make the outs of a step visible to everybody, all at once; what is published.

        Raises:
            AlreadyPublished: this run has published the step already; that stays as it is.
        """
        address = manifest.address
        if self.manifest(address) is not None:
            raise AlreadyPublished(address)
        outputs = {n: self._place(staging.outs, address, o) for n, o in manifest.outputs.items()}
        published = replace(manifest, outputs=outputs)
        self.record(published)
        return published

    def record(self, manifest: Manifest) -> None:
        """Make a manifest visible whose files are in place.

        Raises:
            AlreadyPublished: this run has published the step already; that stays as it is.
        """
        path = self.path(manifest.address, MANIFEST_FILE)
        if isinstance(path, Path):
            check_inside(self.work, path)
        try:
            write_once(path, manifest.to_json())
        except FileExistsError:
            raise AlreadyPublished(manifest.address) from None
        self.settle(manifest)

    def settle(self, manifest: Manifest) -> None:
        """See to it that what is published is found as the newest, and as what it was made of."""
        if manifest.instance is None:
            self._point(manifest)
        if manifest.fingerprint and not manifest.cached:
            content = json.dumps({"run_id": manifest.run_id}) + "\n"
            self.write(self.at(same_path(manifest.address, manifest.fingerprint)), content)

    def same(self, address: StepRun, fingerprint: str) -> Manifest | None:
        """What a step has published before from all the same, if its files are still there."""
        try:
            manifest = self._pointed_at(same_path(address, fingerprint), address)
        except (ValueError, KeyError):  # it cannot be read
            return None
        if manifest is None or manifest.fingerprint != fingerprint:
            return None
        files = (self.path(manifest.origin, output.file) for output in manifest.outputs.values())
        return manifest if all(file.exists() for file in files) else None

    def plan(self, address: StepRun) -> Plan | None:
        """What a mapped step is run for in a run, None where that is not known yet."""
        return Plan.read(self.path(address, PLAN_FILE))

    def keep_plan(self, address: StepRun, plan: Plan) -> None:
        """Write down what a mapped step is run for, before any instance is started."""
        self.write(self.path(address, PLAN_FILE), plan.to_json())

    def _point(self, manifest: Manifest) -> None:
        """Say that a manifest is the newest, unless one is that has ended later.

        One that ends in times to come was made by a clock that was wrong, and is not waited for.
        """
        path = newest_path(manifest.address)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        if manifest.ended < self.pointer(path).get("ended", "") <= now:
            return
        content = {"run_id": manifest.run_id, "ended": manifest.ended}
        self.write(self.at(path), json.dumps(content) + "\n")

    def pointer(self, path: str) -> dict[str, str]:
        """What a file says that names a run by ``run_id``; nothing where it cannot be read."""
        try:
            content = json.loads(read(self.at(path)))
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _pointed_at(self, path: str, address: StepRun) -> Manifest | None:
        """The manifest of a step in the run that a pointer names."""
        run_id = self.pointer(path).get("run_id")
        return self.manifest(address.of_run(run_id)) if run_id else None

    def _all(self, address: StepRun) -> Iterator[Manifest]:
        """The manifests of a step; ``*`` in the address stands for anything."""
        paths = glob(self.root, self.layout.path(address, MANIFEST_FILE))
        for found in self.each(paths, Manifest.read):
            # `dsml gc` may have removed it since;
            # and `{notebook}_{run_id}` of `fit` also finds the runs of `fit_large`
            if found is not None and found.step == address.step:
                yield found

    def _move(self, file: Path, target: UPath) -> None:
        """Move a local file into the store."""
        if isinstance(target, Path):
            check_inside(self.work, target.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
        else:
            target.fs.put_file(str(file), target.path)
            file.unlink()

    def _place(self, outs: Path, address: StepRun, output: Output) -> Output:
        """Bring an out to its place; of what goes to a remote storage a copy stays here."""
        file = outs / output.file
        file.chmod(READ_ONLY)  # a consumer that opens it for writing is stopped by the disk
        target = self.path(address, output.file)
        if isinstance(target, Path):
            check_inside(self.work, target.parent)
        placed = place_output(file, output, lambda name: self.path(address, name))
        if not self.is_local:
            self._cache.take(file, placed)
        return placed

    def write(self, target: UPath, text: str) -> None:
        """Write a small file whole or not at all."""
        if not isinstance(target, Path):
            # one put: object storage shows it when it is done; it has no folders to be made
            target.fs.pipe_file(target.path, text.encode())
            return
        partial = partial_of(target)
        check_inside(self.work, partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(text.encode())
        partial.replace(target)
