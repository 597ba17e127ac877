"""Writing the files of the site: each whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from dsml.store.paths import check_names


class Folder:
    """A folder of the site that is written anew; ``prune`` removes what was not written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written: set[Path] = set()

    def write(self, content: str | bytes, *parts: str) -> None:
        """Write a file below the folder, in place of the one that was there."""
        check_names(*parts)
        file = self.path.joinpath(*parts)
        self._written.add(file)
        write(file, content)

    def prune(self) -> None:
        """Remove files that were there before and have not been written again."""
        for file in sorted(self.path.rglob("*"), reverse=True):
            if file.is_dir():
                with contextlib.suppress(OSError):  # it is not empty
                    file.rmdir()
            elif file not in self._written:
                file.unlink(missing_ok=True)


def write(file: Path, content: str | bytes) -> None:
    """Write a file in one go: a reader finds the old one or the new one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{os.getpid()}.part")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    partial.replace(file)


def write_changed(file: Path, content: str | bytes) -> None:
    """Write a file unless it holds just that already."""
    wanted = content.encode() if isinstance(content, str) else content
    with contextlib.suppress(FileNotFoundError):
        if file.read_bytes() == wanted:
            return
    write(file, wanted)


def remove_parts(folder: Path) -> None:
    """Remove what was left in a folder when the writing of a file was interrupted."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def remove_others(folder: Path, names: Collection[str]) -> None:
    """Remove all that is in a folder and has none of the ``names``."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name in names:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
