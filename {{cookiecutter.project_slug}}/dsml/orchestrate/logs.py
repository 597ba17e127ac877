"""Where lines go that are no events: the stdout and stderr of a step, the console of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster import Field, StringSource
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import (
    IO_TYPE_EXTENSION,
    LocalComputeLogManager,
)
from dagster._serdes import ConfigurableClassData

_STORAGE_FOLDER = "storage"


class FileLogs(LocalComputeLogManager):
    """Captures what a step's process prints into files below ``DAGSTER_HOME``.

    Dagster's own local manager does so too, and copies every line to the terminal by four more
    processes a step (two ``tail``, two Python), into the progress that the command line shows.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """``base_dir`` is the folder; default: ``storage`` in DAGSTER_HOME."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> FileLogs:
        """Called by Dagster with what ``dagster.yaml`` says."""
        default = Path(os.environ["DAGSTER_HOME"]) / _STORAGE_FOLDER
        folder = str(config_value.get("base_dir", default))
        return cls(base_dir=folder, inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        """Send this process's stdout and stderr into the files of ``log_key``."""
        out = self._path(log_key, ComputeIOType.STDOUT)
        err = self._path(log_key, ComputeIOType.STDERR)
        with redirect_to_file(sys.stdout, str(out)), redirect_to_file(sys.stderr, str(err)):
            yield CapturedLogContext(log_key)
        Path(self.get_captured_local_path(log_key, "complete")).touch()

    def _path(self, log_key: Sequence[str], stream: ComputeIOType) -> Path:
        path = Path(self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[stream]))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@contextmanager
def console_in_file(home: Path, run_id: str) -> Iterator[Path]:
    """Send what this process and its workers print into a file of the run.

    Dagster logs every event to stderr, and there is no setting against it which would not become
    part of the run's configuration.
    """
    file = home / _STORAGE_FOLDER / run_id / "console.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    saved = [os.dup(1), os.dup(2)]
    with file.open("ab") as stream:
        _flush()
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    try:
        yield file
    finally:
        _flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
