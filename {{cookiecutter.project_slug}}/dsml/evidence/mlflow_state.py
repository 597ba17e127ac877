"""Whether MLflow is there, and what of a run it has been told already."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http import HTTPStatus

from dsml.contract.problem import Problem, Where
from dsml.evidence.records import Records
from dsml.step.tracking import DATABASE, URI, Tracking
from dsml.store import Store
from dsml.store.runs import RUNNING, run_path

_SYNCED_FILE = "mlflow.json"  # in the folder of a run: URI → how the run had ended
_TIMEOUT = 3.0  # seconds for a server to say that it is there


def reaches(tracking: Tracking) -> bool:
    """Whether an MLflow answers; a folder always does."""
    if not tracking.is_remote:
        return True
    try:
        address = f"{tracking.uri.rstrip('/')}/health"
        with urllib.request.urlopen(address, timeout=_TIMEOUT):  # noqa: S310 - http or https
            return True
    except urllib.error.HTTPError as error:  # it may be there, and not like to be asked for this
        return error.code < HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, ValueError):
        return False


def is_empty(tracking: Tracking) -> bool:
    """Whether nothing was tracked in a folder yet: to ask MLflow would make its database."""
    return tracking.folder is not None and not (tracking.folder / DATABASE).exists()


def not_reached(tracking: Tracking) -> Problem:
    """What is said of a server that doesn't answer."""
    what = f"MLflow at {tracking.shown} doesn't answer: what is tracked waits on this machine"
    return Problem(Where(URI), what, "when it is there again: dsml sync", "not-reached", "warning")


def not_written(tracking: Tracking, error: Exception) -> Problem:
    """What is said of an MLflow that didn't take something."""
    reason = " ".join(str(error).split()) or type(error).__name__
    what = f"MLflow at {tracking.shown} didn't take what was tracked: {reason}"
    return Problem(Where(URI), what, "send it again: dsml sync", "not-synced", "warning")


def is_synced(store: Store, tracking: Tracking, run_id: str, outcome: str) -> bool:
    """Whether an MLflow has all of a run that has ended so."""
    return _synced(store, run_id).get(_place(tracking)) == outcome


def keep_synced(store: Store, tracking: Tracking, records: Records) -> None:
    """Write down that an MLflow has all of a run; of one under way there will be more."""
    if records.outcome == RUNNING:
        return
    synced = {**_synced(store, records.run_id), _place(tracking): records.outcome}
    path = run_path(store, records.run_id, _SYNCED_FILE)
    store.write(path, json.dumps(synced, indent=1) + "\n")


def _place(tracking: Tracking) -> str:
    """What stands for an MLflow: not the path of a folder, since a project may be moved."""
    return "folder" if tracking.folder is not None else tracking.shown


def _synced(store: Store, run_id: str) -> dict[str, str]:
    try:
        found = json.loads(run_path(store, run_id, _SYNCED_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
