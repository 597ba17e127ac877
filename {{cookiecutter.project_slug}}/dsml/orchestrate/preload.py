"""Imported by the process that step workers are forked from, so that a worker starts at once."""

from __future__ import annotations

import importlib

from dsml.orchestrate.executed import html_exporter

for _module in (
    "dagster._core.executor.multiprocess",
    "dagster._core.storage.sqlite_storage",
    "dsml.orchestrate.definitions",
    "dsml.orchestrate.materialise",
    "ipykernel",  # asked for its version whenever a kernel starts
):
    importlib.import_module(_module)
html_exporter()
