"""Files that are made once: what is there already is never written over.

On a disk a file gets its name by ``link``, which fails where the name is taken; object storage is
asked for a put that fails so (``If-None-Match: *`` of S3 and Azure, ``ifGenerationMatch=0`` of
Google). Both decide in one step, so of many that want the same name at the same moment one gets it.

Two processes may be at the same step of the same run, on two machines even: a worker that was
taken for lost goes on while another does its work again. Neither waits for the other, and no clock
and no sign of life decides; what holds is this:

- Nothing that is published is written over. Files and manifest are made where there is none. A file
  whose name is taken by other content, of one who is publishing just now or was killed at it, gets
  the beginning of its sha256 in front of its name.
- The manifest names the files of its own attempt. The first manifest counts; who comes later is
  told so, and what it has put there is referred to by nobody and goes with the run.
- Who is killed on the way keeps nobody out, and one who was stopped for an hour and then goes on
  changes nothing of what was published meanwhile.
- Each attempt has a number of its own (``dsml.store.runs.begin``), so evidence is never mixed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from upath import UPath

from dsml.contract.lock import locked
from dsml.store.manifest import Output, measure
from dsml.store.paths import StepRun
from dsml.store.remote import read
from dsml.store.staging import own, partial_of

_SHA_SHOWN = 12  # characters of a sha256 that tell contents of one name apart
# What a disk without links says, such as FAT and some network drives.
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
_IN_MEMORY = threading.Lock()  # there fsspec looks first, and then writes


class AlreadyPublished(FileExistsError):
    """Another attempt at a step of a run was the first to publish."""

    def __init__(self, address: StepRun) -> None:
        super().__init__(f"{address.label} is published in run {address.run_id}")


def place_output(file: Path, output: Output, path_of: Callable[[str], UPath]) -> Output:
    """Bring an out to its place, under a name that is free or has its content already.

    ``path_of`` tells where a name lies. What is given has the name that it got.
    """
    for name in _names(output):
        try:
            place(file, path_of(name))
        except FileExistsError:
            if not _is_same(path_of(name), output, file):
                continue
        return replace(output, file=name)
    raise AssertionError  # there is always one more name


def _names(output: Output) -> Iterator[str]:
    """The names that an out may have in the store, the usual one first."""
    yield output.file
    for number in itertools.count(1):
        more = f"-{number}" if number > 1 else ""
        yield f"{output.sha256[:_SHA_SHOWN]}{more}.{output.file}"


def _is_same(target: UPath, output: Output, file: Path) -> bool:
    """Whether what lies in the store is an out; of a remote storage it is fetched for that."""
    if isinstance(target, Path):
        return measure(target).content == output.content
    if target.fs.info(target.path)["size"] != output.bytes:
        return False
    copy = file.with_name(f".{own()}")
    try:
        target.fs.get_file(target.path, str(copy))
        return measure(copy).content == output.content
    finally:
        copy.unlink(missing_ok=True)


def place(file: Path, target: UPath | Path) -> None:
    """Bring a local file to its place in a store; of a disk's own it is moved.

    Raises:
        FileExistsError: there is a file already.
    """
    if not isinstance(target, Path):
        _ask(target, "put_file", str(file), target.path)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        file.rename(target)  # which never replaces a file there
        return
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _place_locked(file, target)
        return
    file.unlink()


def write_once(target: UPath, text: str) -> None:
    """Write a small file whole, unless there is one; that which says just the same counts as it.

    So a call whose answer was lost, and which was made again, finds its own file.

    Raises:
        FileExistsError: there is one that says something else.
    """
    content = text.encode()
    try:
        if isinstance(target, Path):
            _write_once(target, content)
        else:
            _ask(target, "pipe_file", target.path, content)
    except FileExistsError:
        if read(target) != content:
            raise


def _write_once(target: Path, content: bytes) -> None:
    partial = partial_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_bytes(content)
        place(partial, target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _place_locked(file: Path, target: Path) -> None:
    with locked(target):
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        file.replace(target)


def _ask(target: UPath, name: str, *args: Any) -> None:
    """Put an object where there is none; ``name`` is the filesystem's call."""
    call = getattr(target.fs, name)
    alone = _IN_MEMORY if target.protocol == "memory" else contextlib.nullcontext()
    try:
        with alone:
            call(*args, mode="create")
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        # The storage knows no such puts: what can be done is to look before.
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        call(*args)
