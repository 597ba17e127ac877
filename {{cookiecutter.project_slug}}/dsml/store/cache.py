"""Copies on this machine of what is published in a remote storage, by content, up to a size.

A copy lies in ``<sha256>/<file>``; its time of change is when it was used last. What was used
longest ago goes first. A step reads through a link of its own to the copy, which goes with the
step's folder: a copy may be removed at any moment without a running step losing anything.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from upath import UPath

from dsml.contract.lock import locked
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.store.manifest import Output, measure
from dsml.store.remote import glob
from dsml.store.staging import own

READ_ONLY = 0o444
Warn = Callable[[str], object]

_SETTLED = 60.0  # seconds for which a copy stays after it was used, and between two clearings
_ABANDONED = 86400.0  # seconds after which a download that nobody has finished is removed
_FETCHES = 3  # of a file whose content is not what was published
_PATIENCE = 3600.0  # seconds to wait for another process that fetches the same
_CLEARED = ".cleared"  # its time is that of the last clearing
_LOG = logging.getLogger(__name__)


class Cache:
    """The copies in ``folder``, which are kept to ``limit`` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def path(self, output: Output) -> Path:
        """Where the copy of a file lies, or would."""
        return self.folder / output.sha256 / output.file

    def fetch(self, source: UPath, output: Output, warn: Warn | None = None) -> Path:
        """The copy of a published file; ``warn`` is told of one that arrived damaged.

        Raises:
            FileNotFoundError: the storage doesn't have the file.
            ProjectError: what it has is not what was published.
        """
        copy = self.path(output)
        if _is_there(copy, output):
            return copy
        with self._alone(copy):
            if not _is_there(copy, output):
                copy.parent.mkdir(exist_ok=True)
                _download(source, output, copy, warn or _LOG.warning)
        self.clear()
        return copy

    def lend(self, source: UPath, output: Output, folder: Path, warn: Warn | None = None) -> Path:
        """A link in ``folder`` to the copy of a file, which is there as long as the folder."""
        target = folder / output.sha256[:16] / output.file
        target.parent.mkdir(parents=True, exist_ok=True)
        while not target.exists():
            copy = self.fetch(source, output, warn)
            try:
                os.link(copy, target)
            except FileNotFoundError:  # it was cleared away in this very moment
                continue
            except OSError:  # a disk without links
                shutil.copyfile(copy, target)
        return target

    def take(self, file: Path, output: Output) -> None:
        """Move a file that was published from here in, so that it need not be fetched."""
        copy = self.path(output)
        with self._alone(copy):
            copy.parent.mkdir(exist_ok=True)
            file.replace(copy)
            os.utime(copy)
        self.clear()

    def clear(self) -> None:
        """Remove what was used longest ago, until the rest fits; of many calls at once one does."""
        cleared, now = self.folder / _CLEARED, time.time()
        with contextlib.suppress(FileNotFoundError):
            if abs(now - cleared.stat().st_mtime) < _SETTLED:
                return
        cleared.touch()
        copies = sorted(self._copies())
        total = sum(size for _, size, _ in copies)
        for used, size, copy in copies:
            if total <= self.limit:
                break
            if abs(now - used) >= _SETTLED and self._remove(copy):
                total -= size
        for partial in glob(self.folder, "*/.*"):
            with contextlib.suppress(FileNotFoundError):
                if now - partial.stat().st_mtime > _ABANDONED:
                    partial.unlink()

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        """When each copy was used last, its size and itself."""
        for copy in glob(self.folder, "*/*"):
            if copy.name.startswith("."):
                continue
            with contextlib.suppress(FileNotFoundError):
                found = copy.stat()
                yield found.st_mtime, found.st_size, copy

    def _remove(self, copy: Path) -> bool:
        """Whether a copy is gone now; one that is just being fetched again stays."""
        try:
            with locked(copy.parent, patience=0):
                copy.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # the same content under another name
                    copy.parent.rmdir()
        except (ProjectError, OSError):
            return False
        return True

    @contextlib.contextmanager
    def _alone(self, copy: Path) -> Iterator[None]:
        """Keep other threads and processes away from a copy."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(copy.parent, patience=_PATIENCE):
            yield


def _is_there(copy: Path, output: Output) -> bool:
    """Whether there is a copy; if so, it is used now."""
    try:
        if copy.stat().st_size != output.bytes:
            return False
        os.utime(copy)
    except FileNotFoundError:
        return False
    return True


def _download(source: UPath, output: Output, copy: Path, warn: Warn) -> None:
    partial = copy.with_name(f".{own()}")
    try:
        for number in range(1, _FETCHES + 1):
            source.fs.get_file(source.path, str(partial))
            found = measure(partial)
            if found.content == output.content:
                partial.chmod(READ_ONLY)  # what a notebook wrote into it would be read by others
                partial.replace(copy)
                return
            what = f"{found.bytes} bytes that are not the {output.bytes} that were published"
            warn(f"{source}: attempt {number} of {_FETCHES} has fetched {what}")
    finally:
        partial.unlink(missing_ok=True)
    fix = "restore the file in the storage, or publish it anew: dsml run --force"
    raise ProjectError([Problem(Where(str(source)), f"it holds {what}", fix, "damaged-artefact")])
