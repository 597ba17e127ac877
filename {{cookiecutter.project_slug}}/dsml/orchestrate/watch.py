"""The files that a sensor watches, on this machine or in a storage. Knows nothing of Dagster."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Protocol

from dsml.contract.problem import Problem, ProjectError, Where
from dsml.contract.trigger_problems import fixed_folder
from dsml.contract.triggers import Sensor

WHOLE = 2 * 1024**3  # bytes; of a larger file only the two ends are read, and its time counts too
_BLOCK = 1024**2
# Where storages keep a checksum of the content, so that it need not be read.
_CHECKSUMS = {"s3": "ETag", "s3a": "ETag", "gs": "md5Hash", "gcs": "md5Hash"}
_VERSIONS = ("ETag", "etag", "md5Hash", "generation")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified")  # of the last change


@dataclass(frozen=True)
class File:
    """A file as it was found.

    ``name`` tells it from others: a path from the project, or an address. ``address`` is what a
    notebook opens. ``stamp`` changes whenever the file does. ``moment`` is when that was last, in
    seconds since 1970, 0 where the storage doesn't say. ``checksum`` is one of the content that
    the storage keeps, "" where it keeps none.
    """

    name: str
    address: str
    size: int
    stamp: str
    moment: float = 0.0
    checksum: str = ""


class Place(Protocol):
    """Where a pattern is looked for."""

    def files(self) -> list[File]:
        """All files that match, in no order; without those whose names begin with a dot.

        Raises:
            FileNotFoundError: the folder of the pattern is not on this machine.
        """

    def again(self, file: File) -> File | None:
        """The file as it is now, None where it is gone."""

    def open(self, file: File) -> IO[bytes]:
        """Its content."""


def place_of(root: Path, sensor: Sensor) -> Place:
    """Where a sensor looks.

    Raises:
        ProjectError: the storage needs a package that is not there.
    """
    if sensor.local is not None:
        return _LocalPlace(root, sensor.local)
    try:
        return _StoredPlace(sensor.watch)
    except (ImportError, ValueError) as error:  # no such package; no such protocol
        fix = "install the package for this storage (s3fs for s3://, gcsfs for gs://)"
        raise ProjectError([Problem(Where(sensor.watch), str(error), fix, "no-storage")]) from None


def content(place: Place, file: File) -> str | None:
    """What tells the content of a file from others; None where it changed while it was read."""
    if file.checksum:
        return file.checksum
    sha256 = hashlib.sha256()
    try:
        with place.open(file) as stream:
            for block in _blocks(stream, file):
                sha256.update(block)
    except FileNotFoundError:
        return None
    return f"sha256:{sha256.hexdigest()}" if place.again(file) == file else None


def _blocks(stream: IO[bytes], file: File) -> Iterator[bytes]:
    if file.size <= WHOLE:
        yield from iter(lambda: stream.read(_BLOCK), b"")
        return
    yield file.stamp.encode()
    yield stream.read(_BLOCK)
    stream.seek(file.size - _BLOCK)
    yield stream.read(_BLOCK)


class _LocalPlace:
    """Files on this machine; a relative pattern starts at the project."""

    def __init__(self, root: Path, pattern: str) -> None:
        self._root = root
        self._pattern = pattern

    def files(self) -> list[File]:
        folder = fixed_folder(self._pattern)
        if not (self._root / folder).is_dir():
            raise FileNotFoundError(f"there is no folder '{folder}'")
        # Path.glob would list hidden files too
        names = glob.iglob(self._pattern, root_dir=self._root, recursive=True)  # noqa: PTH207
        found = [self._file(Path(name).as_posix()) for name in names]
        return [file for file in found if file is not None]

    def again(self, file: File) -> File | None:
        return self._file(file.name)

    def open(self, file: File) -> IO[bytes]:
        return Path(file.address).open("rb")

    def _file(self, name: str) -> File | None:
        path = self._root / name
        try:
            found = path.stat()
        except OSError:  # gone since it was listed, or a link to nowhere
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        stamp = f"{found.st_size} {found.st_mtime_ns}"
        return File(name, os.path.normpath(path), found.st_size, stamp, found.st_mtime)


class _StoredPlace:
    """Files in any storage that fsspec knows."""

    def __init__(self, pattern: str) -> None:
        from fsspec.core import url_to_fs  # its import takes time

        self._system, self._pattern = url_to_fs(pattern)
        self._protocol = pattern.partition("://")[0]

    def files(self) -> list[File]:
        self._system.invalidate_cache()  # this process lives for days
        found = self._system.glob(self._pattern, detail=True)
        hidden = self._pattern.rpartition("/")[2].startswith(".")
        return [
            self._file(path, info)
            for path, info in found.items()
            if info["type"] == "file" and (hidden or path.rpartition("/")[2][:1] != ".")
        ]

    def again(self, file: File) -> File | None:
        path = self._system._strip_protocol(file.address)  # noqa: SLF001 - fsspec's own way
        try:
            return self._file(path, self._system.info(path))
        except FileNotFoundError:
            return None

    def open(self, file: File) -> IO[bytes]:
        opened: IO[bytes] = self._system.open(file.address, "rb")
        return opened

    def _file(self, path: str, info: Mapping[str, Any]) -> File:
        address = self._system.unstrip_protocol(path)
        moment = self._moment(path, info)
        versions = [str(info[key]) for key in _VERSIONS if info.get(key)]
        stamp = " ".join([str(info.get("size")), repr(moment), *versions])
        checksum = checksum_of(self._protocol, info)
        return File(address, address, info.get("size") or 0, stamp, moment, checksum)

    def _moment(self, path: str, info: Mapping[str, Any]) -> float:
        value = time_of(info)
        if value is None:
            try:
                value = time_of({"modified": self._system.modified(path)})
            except NotImplementedError:
                return 0.0
        return value or 0.0


def time_of(info: Mapping[str, Any]) -> float | None:
    """When a file was last changed, by what a storage tells of it, in seconds since 1970."""
    value = next((info[key] for key in _TIMES if info.get(key)), None)
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        value = (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    return None if value is None else float(value)


def checksum_of(protocol: str, info: Mapping[str, Any]) -> str:
    """The checksum of the content that a storage tells with a file, "" where it tells none."""
    value = str(info.get(_CHECKSUMS.get(protocol, ""), "")).strip('"')
    return f"{protocol}:{value}" if value else ""
