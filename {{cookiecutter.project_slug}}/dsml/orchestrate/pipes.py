"""The kernel's end of the line: Dagster Pipes over two files in the attempt's private folder.

``dagster.open_pipes_session`` would ask the database for the provenance of every asset and log
four lines about itself for each step; the session is therefore put together here, from the same
public parts.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from dagster import (
    AssetExecutionContext,
    PipesFileContextInjector,
    PipesMessageReader,
    PipesSession,
)
from dagster._core.pipes.context import PipesMessageHandler
from dagster_pipes import PipesContextData, PipesDefaultMessageWriter, PipesParams

from dsml.orchestrate.metadata import StepContext
from dsml.step.context import Setting
from dsml.step.redact import Redactor, redactor_of

_POLL = 0.05  # seconds between two looks at the message file
_FORWARDED = ("log", "report_asset_check", "report_asset_materialization")


class _MessageFile(PipesMessageReader):
    """Follows the file that the kernel appends its messages to."""

    def __init__(self, path: Path, redactor: Redactor | None) -> None:
        self._path = path
        self._redactor = redactor

    @property
    def expected_writer_count(self) -> int:
        return 1

    @contextmanager
    def read_messages(self, handler: PipesMessageHandler) -> Iterator[PipesParams]:
        self._path.touch()
        ended = threading.Event()
        thread = threading.Thread(target=self._follow, args=(handler, ended), daemon=True)
        thread.start()
        try:
            yield {PipesDefaultMessageWriter.FILE_PATH_KEY: str(self._path)}
        finally:
            ended.set()
            thread.join()

    def no_messages_debug_text(self) -> str:
        return f"messages are read from {self._path}"

    def _follow(self, handler: PipesMessageHandler, ended: threading.Event) -> None:
        rest = ""
        with self._path.open(encoding="utf-8") as stream:
            while True:
                last = ended.wait(_POLL)
                *lines, rest = (rest + stream.read()).split("\n")
                for line in lines:
                    message = json.loads(line)
                    if self._redactor is not None:
                        message["params"] = self._redactor.clean(message.get("params"))
                    if message.get("method") in _FORWARDED:
                        handler.handle_message(message)
                if last:
                    return


@contextmanager
def pipes_session(context: StepContext, setting: Setting, private: Path) -> Iterator[PipesSession]:
    """A session that hands ``setting`` to the kernel and passes on what the kernel reports."""
    redactor = redactor_of(setting.secrets)
    reader = _MessageFile(private / "messages.jsonl", redactor)
    handler = PipesMessageHandler(context, reader)
    data = _context_data(context, setting)
    injector = PipesFileContextInjector(str(private / "context.json"))
    with injector.inject_context(data) as context_params, handler.handle_messages() as messages:
        yield PipesSession(data, handler, context_params, messages, context)


def _context_data(context: StepContext, setting: Setting) -> PipesContextData:
    return PipesContextData(
        asset_keys=_asset_keys(context),
        code_version_by_asset_key=None,
        provenance_by_asset_key=None,
        partition_key=context.partition_key if context.has_partition_key else None,
        partition_key_range=None,
        partition_time_window=None,
        run_id=context.run.run_id,
        job_name=context.job_name,
        retry_number=context.retry_number,
        extras={"setting": asdict(setting)},
    )


def _asset_keys(context: StepContext) -> list[str]:
    """The assets that the notebook materialises; an instance of a mapped step none by itself."""
    if not isinstance(context, AssetExecutionContext):
        return []
    return [key.to_escaped_user_string() for key in sorted(context.selected_asset_keys)]
