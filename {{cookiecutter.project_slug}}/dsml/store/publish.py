"""Publishing: files first, the manifest last, so that a reader sees all of a step or nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from upath import UPath

from dsml.contract.catalog import Catalog
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
from dsml.store.paths import NO_PARTITION, Layout, StepRun

# Folders of the store's own; the leading dot keeps them apart from experiments.
STAGING_FOLDER = ".staging"
SCRATCH_FOLDER = ".scratch"
_NEWEST_FOLDER = ".newest"
_SAME_FOLDER = ".same"
_INPUTS_FOLDER = ".inputs"
_READ_ONLY = 0o444
# One thread of a process copies a remote file, others that want it wait.
_FETCHING: dict[Path, threading.Lock] = {}
_IN_MODELS = 2  # so deep are the files of a logged model: logged/<model>/<file>
_TRIES = 20  # to make a folder that others are removing


@dataclass(frozen=True)
class Staging:
    """The local folders that one attempt writes into before anything of it is published.

    ``outs`` takes the declared outs, ``evidence`` what is kept of every attempt (executed
    notebook, log), ``private`` the files that tie the kernel to the runner.
    """

    folder: Path

    @property
    def outs(self) -> Path:
        """Where the notebook writes its outs."""
        return self.folder / "outs"

    @property
    def evidence(self) -> Path:
        """Where the executed notebook, the log and logged files are."""
        return self.folder / "evidence"

    @property
    def private(self) -> Path:
        """Where the connection and message files are."""
        return self.folder / "private"

    def remove(self) -> None:
        """Delete what is left of the attempt."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Store:
    """The artefacts of one environment.

    ``root`` is the storage folder or URL. ``work`` is a local folder for what is not published
    yet; for local storage it is the root itself, so that publishing is a rename.
    """

    def __init__(self, root: UPath, layout: Layout, work: Path) -> None:
        self.root = root
        self.layout = layout
        self.work = work

    @classmethod
    def open(cls, project: Path, catalog: Catalog) -> Store:
        """The store of the environment that ``DSML_ENV`` names.

        Raises:
            ProjectError: there is no such environment.
        """
        environment = catalog.environment()
        layout = Layout(catalog.artefact_pattern)
        if "://" in environment.storage:
            work = project / ".dagster" / "work" / environment.name
            return cls(UPath(environment.storage), layout, work)
        folder = project / Path(environment.storage).expanduser()
        return cls(UPath(folder), layout, folder)

    @property
    def is_local(self) -> bool:
        """Whether published files can be opened as they are."""
        return isinstance(self.root, Path)

    def path(self, address: StepRun, file: str) -> UPath:
        """Where a file of a step lies, published or not."""
        return self.root.joinpath(*self.layout.path(address, file).split("/"))

    def attempt_path(self, address: StepRun, number: int, file: str) -> UPath:
        """Where a file of an attempt is kept when the attempt is over."""
        return self.path(address, f"{ATTEMPTS_FOLDER}/{number}/{file}")

    def manifest(self, address: StepRun) -> Manifest | None:
        """The manifest of a step in a run, None where it has not been published."""
        try:
            return Manifest.from_json(self.path(address, MANIFEST_FILE).read_bytes())
        except FileNotFoundError:
            return None

    def newest(self, step: str, experiment: str, partition: str | None = None) -> Manifest | None:
        """The newest published manifest of a step in an experiment.

        One small file a step and experiment tells which run that is; only where it is missing,
        or points at a run that was deleted, are the runs listed. One that took over the files of
        a run that was deleted has none.
        """
        address, where = StepRun(step, experiment, "*", partition), (experiment, partition)
        run_id = self._pointed(address).get("run_id")
        found = self.manifest(address.of_run(run_id)) if run_id else None
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
        pointers = self.root.glob(f"{_NEWEST_FOLDER}/{experiment}/*/{step}.json")
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
        return input_of(found, out)

    def of_runs(self, address: StepRun, lineage: Sequence[str]) -> Manifest | None:
        """The manifest of a step in a run, else in the nearest of those that it carries on."""
        runs = (self.manifest(address.of_run(run)) for run in (address.run_id, *lineage))
        return next((manifest for manifest in runs if manifest is not None), None)

    def fetch(self, found: Input, reader: StepRun) -> Path:
        """A local path at which the content of an input of the step at ``reader`` can be read."""
        step = found.path.rpartition(".")[0]
        source = StepRun(step, reader.experiment, found.run_id, found.partition, found.instance)
        return self.local(source, Output(found.file, found.bytes, found.sha256))

    def local(self, address: StepRun, output: Output) -> Path:
        """A local path at which a published file can be read.

        Local storage is read in place, anything else is copied once for each content.
        """
        source = self.path(address, output.file)
        if isinstance(source, Path):
            return source
        local = self._cached(output)
        with _FETCHING.setdefault(local, threading.Lock()):
            if not local.exists():
                local.parent.mkdir(parents=True, exist_ok=True)
                partial = local.with_name(f"{local.name}.{_own()}")
                source.fs.get_file(source.path, str(partial))
                partial.replace(local)
        return local

    def _cached(self, output: Output) -> Path:
        return self.work / _INPUTS_FOLDER / output.sha256 / output.file

    def staging(self, address: StepRun, attempt: int) -> Staging:
        """The local folders of one attempt while it is under way."""
        name = f"{address.experiment}.{address.partition or NO_PARTITION}.{address.label}"
        return Staging(self.work / STAGING_FOLDER / address.run_id / f"{name}.{attempt}")

    def stage(self, address: StepRun, attempt: int) -> Staging:
        """Fresh local folders for one attempt."""
        staging = self.staging(address, attempt)
        staging.remove()
        for folder in (staging.outs, staging.evidence, staging.private):
            _make(folder)
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
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def keep_attempt(self, address: StepRun, staging: Staging, record: Attempt) -> None:
        """Keep what an attempt left behind; its record last."""
        for file in sorted(staging.evidence.rglob("*")):
            name = file.relative_to(staging.evidence).as_posix()
            half_written = file.name.startswith(".") and name.count("/") < _IN_MODELS
            if file.is_file() and not half_written:
                self._move(file, self.attempt_path(address, record.number, name))
        record_file = self.attempt_path(address, record.number, ATTEMPT_FILE)
        self.write(record_file, record.to_json())

    def attempts(self, address: StepRun) -> list[Attempt]:
        """The records of a step's attempts in a run, in order; those under way are not there."""
        found: list[Attempt] = []
        while True:
            path = self.attempt_path(address, len(found) + 1, ATTEMPT_FILE)
            try:
                found.append(Attempt.from_json(path.read_bytes()))
            except FileNotFoundError:
                return found

    def publish(self, address: StepRun, staging: Staging, manifest: Manifest) -> None:
        """Make the outs of a step visible to everybody, all at once.

        Raises:
            FileExistsError: this run has published the step already.
        """
        if self.manifest(address) is not None:
            raise FileExistsError(f"{address.label} is published in run {address.run_id}")
        for output in manifest.outputs.values():
            file = staging.outs / output.file
            file.chmod(_READ_ONLY)  # a consumer that opens it for writing is stopped by the disk
            self._move(file, self.path(address, output.file), self._cached(output))
        self.record(manifest)

    def record(self, manifest: Manifest) -> None:
        """Make a manifest visible whose files are in place."""
        address = manifest.address
        self.write(self.path(address, MANIFEST_FILE), manifest.to_json())
        if address.instance is None:
            self._point(address, manifest)
        if manifest.fingerprint and not manifest.cached:
            content = json.dumps({"run_id": address.run_id}) + "\n"
            self.write(self._same(address, manifest.fingerprint), content)

    def same(self, address: StepRun, fingerprint: str) -> Manifest | None:
        """What a step has published before from all the same, if its files are still there."""
        try:
            found = json.loads(self._same(address, fingerprint).read_bytes())
            manifest = self.manifest(address.of_run(found["run_id"]))
        except (FileNotFoundError, ValueError, KeyError):
            return None
        if manifest is None or manifest.fingerprint != fingerprint:
            return None
        files = (self.path(manifest.origin, output.file) for output in manifest.outputs.values())
        return manifest if all(file.exists() for file in files) else None

    def _same(self, address: StepRun, fingerprint: str) -> UPath:
        return self.root.joinpath(
            _SAME_FOLDER,
            address.experiment,
            address.partition or NO_PARTITION,
            address.label,
            f"{fingerprint}.json",
        )

    def plan(self, address: StepRun) -> Plan | None:
        """What a mapped step is run for in a run, None where that is not known yet."""
        try:
            return Plan.from_json(self.path(address, PLAN_FILE).read_bytes())
        except FileNotFoundError:
            return None

    def keep_plan(self, address: StepRun, plan: Plan) -> None:
        """Write down what a mapped step is run for, before any instance is started."""
        self.write(self.path(address, PLAN_FILE), plan.to_json())

    def _point(self, address: StepRun, manifest: Manifest) -> None:
        if self._pointed(address).get("ended", "") > manifest.ended:
            return
        content: Mapping[str, str] = {"run_id": address.run_id, "ended": manifest.ended}
        self.write(self._pointer(address), json.dumps(content) + "\n")

    def _pointed(self, address: StepRun) -> dict[str, str]:
        """What the pointer says; nothing where it is missing or cannot be read."""
        try:
            content = json.loads(self._pointer(address).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _pointer(self, address: StepRun) -> UPath:
        partition = address.partition or NO_PARTITION
        return self.root.joinpath(
            _NEWEST_FOLDER, address.experiment, partition, f"{address.step}.json"
        )

    def _all(self, address: StepRun) -> Iterator[Manifest]:
        """The manifests of a step; ``*`` in the address stands for anything."""
        for path in self.root.glob(self.layout.path(address, MANIFEST_FILE)):
            found = Manifest.from_json(path.read_bytes())
            # `{notebook}_{run_id}` of `fit` also finds the runs of `fit_large`
            if found.step == address.step:
                yield found

    def _move(self, file: Path, target: UPath, cached: Path | None = None) -> None:
        """Move a local file into the store; off local storage a copy may stay in the cache."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(target, Path):
            file.replace(target)
            return
        target.fs.put_file(str(file), target.path)
        if cached is None:
            file.unlink()
            return
        cached.parent.mkdir(parents=True, exist_ok=True)
        file.replace(cached)

    def write(self, target: UPath, text: str) -> None:
        """Write a small file whole or not at all."""
        target.parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(target, Path):
            target.write_bytes(text.encode())  # one put: object storage shows it when it is done
            return
        partial = target.with_name(f".{target.name}.{_own()}")
        partial.write_bytes(text.encode())
        partial.replace(target)


def _make(folder: Path) -> None:
    """Make a folder, though attempts that end meanwhile remove the empty ones above it."""
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    folder.mkdir(parents=True, exist_ok=True)


def _own() -> str:
    """A name for what this thread of this process alone writes."""
    return f"{os.getpid()}-{threading.get_ident()}"


def input_of(found: Manifest, out: str) -> Input:
    """What a manifest says of an artefact, as those record it who read it."""
    output, path = found.outputs[out], f"{found.step}.{out}"
    parts = None
    if output.parts is not None:
        runs = found.instances or {}
        parts = {
            key: Input(
                path,
                runs[key].run_id,
                part.file,
                part.bytes,
                part.sha256,
                found.ended,
                found.partition,
                key,
                runs[key].values,
            )
            for key, part in output.parts.items()
        }
    return Input(
        path,
        found.origin.run_id,
        output.file,
        output.bytes,
        output.sha256,
        found.ended,
        found.partition,
        found.instance,
        parts=parts,
    )


def measure(file: Path) -> Output:
    """Size and sha256 of a file."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
    return Output(file.name, file.stat().st_size, digest.hexdigest())
