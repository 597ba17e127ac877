"""One writer at a time, whatever processes the writers are.

The lock belongs to the operating system, not to the lock file: it ends with the process that holds
it, however that ends, so a file that a killed process left behind keeps nobody out.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dsml.contract.problem import Problem, ProjectError, Where

PATIENCE = 60.0  # seconds to wait for others
_POLL = 0.02  # seconds between two attempts

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked(file: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Keep all others that do the same away from ``file`` for a while; ``patience`` in seconds.

    Where no lock file can be made beside ``file``, nothing can be written there either: the block
    runs without a lock.

    Raises:
        ProjectError: somebody else has held the lock for longer than ``patience``.
    """
    lock_file = file.with_name(f".{file.name}.lock")
    try:
        descriptor = _acquire(lock_file, time.monotonic() + patience)
    except _Held:
        what = f"another process has been writing it for {patience:g} s"
        fix = "wait for it, or end it, and try again"
        raise ProjectError([Problem(Where(file.name), what, fix, "locked")]) from None
    except OSError:
        yield
        return
    try:
        yield
    finally:
        if sys.platform != "win32":  # there an open file cannot be deleted
            lock_file.unlink(missing_ok=True)
        os.close(descriptor)
        if sys.platform == "win32":
            with contextlib.suppress(OSError):  # the next one has opened it
                lock_file.unlink()


class _Held(Exception):
    """Somebody else holds the lock."""


def _acquire(lock_file: Path, deadline: float) -> int:
    """The descriptor of the locked file.

    Raises:
        _Held: until the deadline.
        OSError: the file cannot be made.
    """
    while True:
        descriptor = _open(lock_file)
        if descriptor is not None and _is_locked(descriptor, lock_file):
            return descriptor
        if descriptor is not None:
            os.close(descriptor)
        if time.monotonic() > deadline:
            raise _Held
        time.sleep(_POLL)


def _open(lock_file: Path) -> int | None:
    try:
        return os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if sys.platform == "win32" and lock_file.exists():
            return None  # another process is just deleting it
        raise


def _is_locked(descriptor: int, lock_file: Path) -> bool:
    """Lock the file; one that its holder has deleted in the meantime counts for nothing."""
    try:
        _lock(descriptor)
        return os.path.samestat(os.fstat(descriptor), lock_file.stat())
    except OSError:
        return False
