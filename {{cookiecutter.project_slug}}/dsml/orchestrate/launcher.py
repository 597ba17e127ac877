"""Starts runs as Dagster does, and knows whether the process of a run is still there.

With Dagster's own launcher a run whose code server was killed counts as under way for ever. The
code server knows which runs it executes, so it is asked. This leans on private parts of Dagster;
``tests/test_deploy.py`` tells when they change.
"""

from __future__ import annotations

import json

from dagster import DagsterRun
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

_TIMEOUT = 10  # seconds for a code server to answer


class WatchedRuns(DefaultRunLauncher):
    """Executes runs in processes of the code server, and watches them; for ``dagster.yaml``."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """It can be asked what became of a run."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether a run is still being executed.

        While nobody answers it counts as executed: it would otherwise be begun anew beside itself.
        """
        if GRPC_INFO_TAG not in run.tags:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "no code server is known of it")
        client = DagsterGrpcClient(**json.loads(run.tags[GRPC_INFO_TAG]))
        asked = CanCancelExecutionRequest(run_id=run.run_id)
        try:
            answer = client.can_cancel_execution(asked, timeout=_TIMEOUT)
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "its code server doesn't answer")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process is gone")
