"""A disk of this machine that is full, or that nothing may be written to, and what users are told.

The store itself lets the errors of the operating system through; those who speak to users turn
them into messages with what is here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dsml.contract.figures import size
from dsml.contract.problem import Problem, ProjectError, Where
from dsml.store.publish import Store
from dsml.store.staging import own

# What to do about a disk that is full, and the words by which it is known in a notebook's error.
ROOM = "make room (old runs: dsml gc --keep 5), then carry on: dsml run --from-failure latest"

NO_SPACE = os.strerror(errno.ENOSPC)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_LITTLE = 1 << 20  # bytes: a disk with less is taken to be the one that is full
_PROBE = bytes(4096)  # more than what a file system puts into the entry of a small file


def disk_problem(error: OSError, place: Path) -> Problem | None:
    """What to tell of an error; None where it is none of the disk at ``place``, or of its files."""
    if error.errno in _FULL:
        disks = (place, Path(tempfile.gettempdir()))
        full = next((disk for disk in disks if _free(disk) < _LITTLE), place)
        what = f"the disk of {full} is full: {size(_free(full))} are free"
        return Problem(Where("storage"), what, ROOM, "disk-full")
    inside = error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(place)
    if error.errno in _CLOSED and inside:
        what = f"nothing can be written to {place}: {os.strerror(error.errno)}"
        fix = "make it writable, or name another in catalog.yml: environments.<name>.storage"
        return Problem(Where("storage"), what, fix, "not-writable")
    return None


@contextlib.contextmanager
def disk_told(place: Path) -> Iterator[None]:
    """Turn what a disk cannot do into a message.

    Raises:
        ProjectError: it is full, or nothing may be written to it.
    """
    try:
        yield
    except OSError as error:
        problem = disk_problem(error, place)
        if problem is None:
            raise
        raise ProjectError([problem]) from error


def check_disk(store: Store) -> None:
    """Look whether a small file can be written where a store writes on this machine.

    Raises:
        ProjectError: it cannot.
    """
    folder = next(each for each in (store.work, *store.work.parents) if each.is_dir())
    probe = folder / f".probe.{own()}"
    try:
        with disk_told(folder):
            probe.write_bytes(_PROBE)
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _free(place: Path) -> int:
    """The bytes that are free on the disk of a folder, which need not be there yet."""
    there = next(each for each in (place, *place.parents) if each.exists())
    return shutil.disk_usage(there).free
