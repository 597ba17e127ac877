"""Runs of services, launched and followed as the Dagster UI does it."""

from __future__ import annotations

import contextlib
import urllib.error
from dataclasses import dataclass
from typing import Any

from conftest import graphql

LOCATION = "dag"
LAUNCH = """mutation($asked: ExecutionParams!) { launchRun(executionParams: $asked) {
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUNS = """{ runsOrError(limit: 200) { ... on Runs { results {
  runId rootRunId status jobName startTime endTime } } } }"""
_OVER = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True)
class WebServer:
    """Dagster's web server at an address."""

    url: str

    def launch(self, job: str, experiment: str = "baseline") -> str:
        """Launch a run; its id."""
        repository = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}
        tags = [{"key": "dagster/partition", "value": experiment}]
        asked = {
            "selector": {**repository, "jobName": job},
            "runConfigData": "{}",
            "executionMetadata": {"tags": tags},
        }
        return str(graphql(self.url, LAUNCH, asked=asked)["launchRun"]["run"]["runId"])

    def try_to_launch(self, job: str, experiment: str = "baseline") -> str:
        """Launch a run if the server can: each connection to a database that was gone fails once.

        Returns:
            The run's id, or "" where it failed.
        """
        with contextlib.suppress(urllib.error.HTTPError):
            return self.launch(job, experiment)
        return ""

    def runs(self) -> list[dict[str, Any]]:
        """All runs, each with the run that it was begun for first."""
        found = graphql(self.url, RUNS)["runsOrError"]["results"]
        return [{**run, "root": run["rootRunId"] or run["runId"]} for run in found]

    def of(self, launched: list[str]) -> list[dict[str, Any]]:
        """The runs that were launched, and those that were begun anew for them."""
        return [run for run in self.runs() if run["root"] in launched]

    def under_way(self, launched: list[str]) -> bool:
        """Whether each of the runs has left the queue, and at least one is not over."""
        states = {run["status"] for run in self.runs() if run["runId"] in launched}
        return "STARTED" in states and states <= {"STARTED", "SUCCESS"}

    def settled(self, launched: list[str]) -> bool:
        """Whether each of the runs has passed, itself or begun anew, and nothing goes on."""
        with contextlib.suppress(OSError, KeyError, TypeError):
            mine = self.of(launched)
            passed = {run["root"] for run in mine if run["status"] == "SUCCESS"}
            return passed == set(launched) and all(run["status"] in _OVER for run in mine)
        return False


def executed_beside_itself(runs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Runs that were under way at the same time though one was begun for the other."""
    timed = [run for run in runs if run["startTime"] and run["endTime"]]
    return [
        (a["runId"], b["runId"])
        for a in timed
        for b in timed
        if a["runId"] < b["runId"]
        and a["root"] == b["root"]
        and a["startTime"] < b["endTime"]
        and b["startTime"] < a["endTime"]
    ]
