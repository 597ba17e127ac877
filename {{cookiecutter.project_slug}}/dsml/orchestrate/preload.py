"""Imported by the process that step workers are forked from, so that a worker starts at once."""

from __future__ import annotations

import atexit
import importlib
import os
import signal

from dsml.orchestrate.executed import html_exporter

for _module in (
    "dagster._core.executor.multiprocess",
    "dagster._core.storage.sqlite_storage",
    "dsml.orchestrate.definitions",
    "dsml.orchestrate.materialise",
    "dsml.orchestrate.runner",
    "ipykernel",  # asked for its version whenever a kernel starts
):
    importlib.import_module(_module)
html_exporter()
# A signal to the whole group (Ctrl-C, `timeout`, systemd) is the workers' business: this process
# ends when the run's process does. Without it nobody would learn how the workers ended.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
atexit.register(os._exit, 0)  # at once; taking all those modules apart takes half a second
