"""How the threads that execute steps learn that their run is cancelled.

A signal reaches the main thread alone. The steps of a run are executed in its process, so one flag
for the process is enough; it is lowered when the next run begins.
"""

from __future__ import annotations

import threading

from dagster import DagsterInstance, DagsterRun
from dagster._utils.interrupts import _received_interrupt

from dsml.orchestrate.process import PROCESS_TAG

_cancelled = threading.Event()


def cancel_steps() -> None:
    """Have every step that is under way in this process stop its kernel."""
    _cancelled.set()


def begin_run() -> None:
    """Forget what became of the run before."""
    _cancelled.clear()


def check_cancelled() -> None:
    """Stop here if the run has been cancelled.

    Raises:
        KeyboardInterrupt: it has: what a signal would have raised, had it come here.
    """
    if _cancelled.is_set() and threading.current_thread() is not threading.main_thread():
        raise KeyboardInterrupt


def hand_on_interrupt(instance: DagsterInstance, run: DagsterRun) -> None:
    """Have Dagster end the run before its next step, where steps are executed in the main thread.

    It does so with a signal that comes between two steps. One that stopped a step would be
    forgotten with it; and where a run was started from the command line, the signal is the user's
    word that the run is cancelled.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    _received_interrupt["received"] = True
    if PROCESS_TAG in run.tags:
        instance.report_run_canceling(run)
