"""Hashing an out while it is saved, so that publishing need not read it once more.

The formats write a file from its beginning to its end. A thread follows, reads what has been
written and hashes it: hashlib lets other threads run meanwhile. What comes of it is noted, and
publishing takes the note only if nothing has touched the file since. Otherwise, and of what is
written by its path, the file is read and hashed when it is published.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import NamedTuple

_LOOK = 0.02  # seconds between two looks at how far a file has been written
_CHUNK = 1 << 20  # bytes
# By how many ns the time of change of a noted file is set back. Whatever changes the file later
# gives it another one, though it were within the same tick of the clock, or on a disk whose times
# are in steps of two seconds, as FAT's are.
_SET_BACK = 10 * 10**9


class _State(NamedTuple):
    """By which it is seen whether a file is still as it was; times are in ns."""

    size: int
    changed: int
    changed_at_all: int  # also by setting the time before; nobody can set this one
    inode: int
    device: int

    @classmethod
    def of(cls, file: Path) -> _State:
        found = file.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def save_hashed(save: Callable[[], None], file: Path, notes: Path) -> None:
    """Let ``save`` write ``file`` in order, and note its sha256 in the folder ``notes``.

    Nothing is noted of a file that was there before, or that is written within a moment: to read
    it takes no longer.
    """
    note = _note_of(file, notes)
    note.unlink(missing_ok=True)
    if file.exists():
        save()
        return
    follower = _Follower(file)
    follower.start()
    try:
        save()
    except BaseException:
        follower.stop()
        raise
    sha256 = follower.finish()
    if sha256:
        found = file.stat()
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns - _SET_BACK))
        notes.mkdir(exist_ok=True)
        note.write_text(json.dumps([sha256, _State.of(file)]), encoding="utf-8")


def noted_sha256(file: Path, notes: Path) -> str:
    """The sha256 of a file that was noted; "" where none was, or the file has changed since."""
    try:
        sha256, state = json.loads(_note_of(file, notes).read_bytes())
    except (FileNotFoundError, ValueError):  # a kernel may be ended while it writes one
        return ""
    return str(sha256) if _State.of(file) == tuple(state) else ""


def _note_of(file: Path, notes: Path) -> Path:
    return notes / f"{file.name}.json"


class _Follower(threading.Thread):
    """Hashes a file while it is being written."""

    def __init__(self, file: Path) -> None:
        super().__init__(name=f"hash of {file.name}", daemon=True)
        self._file = file
        self._is_written = threading.Event()
        self._is_wanted = True
        self._sha256 = ""

    def stop(self) -> None:
        """Let it be."""
        self._is_wanted = False
        self.finish()

    def finish(self) -> str:
        """The sha256 of the file, which is complete now; "" where it isn't known."""
        self._is_written.set()
        self.join()
        return self._sha256

    def run(self) -> None:
        """Wait for the file, and hash what there is of it until it is complete."""
        while not self._is_written.wait(_LOOK):
            # what cannot be read now can be when it is published, or there is a message for it
            with contextlib.suppress(OSError), self._file.open("rb", buffering=0) as stream:
                self._follow(stream)
                return

    def _follow(self, stream: FileIO) -> None:
        digest, hashed = hashlib.sha256(), 0
        chunk = memoryview(bytearray(_CHUNK))
        while self._is_wanted:
            is_written = self._is_written.is_set()  # asked first: then this is all of it
            count = stream.readinto(chunk) or 0
            digest.update(chunk[:count])
            hashed += count
            if count == 0 and is_written:
                break
            if count < _CHUNK:
                self._is_written.wait(_LOOK)
        itself = os.fstat(stream.fileno())
        # a format may also write elsewhere, and move that here
        if itself.st_size == hashed and os.path.samestat(itself, self._file.stat()):
            self._sha256 = digest.hexdigest()
