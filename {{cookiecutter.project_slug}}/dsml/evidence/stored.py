"""Reading what lies in a storage, be it a folder or not."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from upath import UPath


@contextlib.contextmanager
def local_copy(path: UPath) -> Iterator[Path | None]:
    """A local path, for a while, at which a file can be read; None where there is none."""
    if isinstance(path, Path):
        yield path if path.is_file() else None
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.name)
        try:
            path.fs.get_file(path.path, str(copy))
        except FileNotFoundError:
            yield None
            return
        yield copy


def copy_folder(source: UPath, target: Path) -> None:
    """Copy a folder with all that is in it."""
    if isinstance(source, Path):
        shutil.copytree(source, target)
    else:
        source.fs.get(source.path, str(target), recursive=True)
