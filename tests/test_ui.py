"""The UI as a user of a generated project meets it: `dagster dev`, seen through Chromium."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from chromium import chromium
from conftest import free_port, graphql, run_command
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.slow

START_TIMEOUT = 90  # seconds for the web server, the code server and the daemon to come up
PAGE_TIMEOUT = 60  # seconds for a page to show what it loads
STOP_TIMEOUT = 2  # seconds in which a terminated run's kernels have to be gone
STAGES = ("load", "explore", "prepare", "train", "evaluate", "summary", "predict")
SLEEPER = """\
import subprocess, time
child = subprocess.Popen(["sleep", "600"])
print("asleep", child.pid)
time.sleep(600)"""


@dataclass(frozen=True)
class Ui:
    """A running web server and the project that it shows."""

    url: str
    project: Path

    def graphql(self, query: str, **variables: Any) -> Any:
        """Send what a button of the UI sends."""
        return graphql(self.url, query, **variables)


@pytest.fixture(scope="module")
def ui(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    """The UI on a digits project that has run once, in a folder with a space in its name."""
    project = tmp_path_factory.mktemp("the ui") / digits.name
    shutil.copytree(digits, project)
    add_sleeper(project)
    run_command(sys.executable, "-m", "dsml", "register", cwd=project)
    run_command(
        *(sys.executable, "-m", "dsml", "run", "--experiment", "small"),
        *("--select", "+summary"),
        cwd=project,
    )
    port = free_port()
    log = (project / "dagster-dev.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "dagster", "dev", "--host", "127.0.0.1", "--port", str(port)],
        cwd=project,
        env={
            **os.environ,
            "DAGSTER_HOME": str(project / ".dagster"),
            "PYTHONPATH": str(project),
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    found = Ui(f"http://127.0.0.1:{port}", project)
    try:
        wait_for(lambda: answers(found, server), START_TIMEOUT, "the web server does not answer")
        yield found
    finally:
        stop(server)
        log.close()


def add_sleeper(project: Path) -> None:
    """Add a notebook that starts a process and then sleeps for longer than any test waits."""
    from dsml.contract.scaffold import notebook

    declaration = {"description": "Sleeps.", "ins": {}, "outs": {"x": "x.json"}}
    text = notebook("# Sleeper\n\nSleeps.", declaration, "count: int = 1  # of sheep", SLEEPER)
    (project / "stages" / "load" / "sleeper.ipynb").write_text(text, encoding="utf-8")


def answers(ui: Ui, server: subprocess.Popen[bytes]) -> bool:
    assert server.poll() is None, (ui.project / "dagster-dev.log").read_text()
    try:
        urllib.request.urlopen(f"{ui.url}/server_info", timeout=2).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and all that it has started."""
    below = psutil.Process(server.pid).children(recursive=True)
    server.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs([psutil.Process(server.pid), *below], timeout=15)
    for process in alive:
        process.kill()
    server.wait()


def wait_for(condition: Callable[[], Any], seconds: float, otherwise: str) -> Any:
    """Wait until `condition` is true and return what it gave."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Chromium with a profile of its own."""
    with chromium(tmp_path_factory.mktemp("profile"), "1600,1000") as found:
        yield found


def shows(browser: webdriver.Chrome, *texts: str) -> None:
    """Wait until the page shows all of `texts`."""

    def missing() -> list[str]:
        page = browser.find_element(By.TAG_NAME, "body").text
        return [text for text in texts if text not in page]

    WebDriverWait(browser, PAGE_TIMEOUT, ignored_exceptions=[Exception]).until(
        lambda _: not missing(), message=f"the page never showed {texts}"
    )


def test_the_asset_graph_shows_every_stage(ui: Ui, browser: webdriver.Chrome) -> None:
    browser.get(f"{ui.url}/asset-groups")
    shows(browser, "Global asset lineage", *STAGES)


def test_a_materialised_experiment_opens_its_executed_notebook(
    ui: Ui, browser: webdriver.Chrome
) -> None:
    browser.get(f"{ui.url}/assets/summary/report/best")
    shows(browser, "Latest materialization", "small", "executed notebook", "sha256")
    link = browser.find_element(By.XPATH, "//a[contains(@href, '/notebook?path')]")
    browser.get(link.get_attribute("href"))
    shows(browser, "What more data is worth", "op_parameters")
    pictures = browser.find_elements(By.XPATH, "//img[starts-with(@src, 'data:image/png')]")
    assert pictures, "the executed notebook shows no figure"


def test_a_run_from_the_command_line_is_in_the_ui(ui: Ui, browser: webdriver.Chrome) -> None:
    browser.get(f"{ui.url}/runs")
    shows(browser, "training", "Success", "small")


LAUNCH = """
mutation ($p: ExecutionParams!) {
  launchRun(executionParams: $p) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
STATUS = "query ($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }"
TERMINATE = "mutation ($r: String!) { terminateRun(runId: $r) { __typename } }"
LOGS = """
query ($r: ID!) {
  logsForRun(runId: $r) { ... on EventConnection { events { ... on MessageEvent { message } } } }
}
"""


def launch(ui: Ui, config: dict[str, object]) -> Any:
    selector = {
        "repositoryLocationName": "dag",
        "repositoryName": "__repository__",
        "jobName": "training",
        "assetSelection": [{"path": ["load", "sleeper"]}, {"path": ["load", "sleeper", "x"]}],
    }
    params = {
        "selector": selector,
        "runConfigData": config,
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "baseline"}]},
    }
    return ui.graphql(LAUNCH, p=params)["launchRun"]


def test_the_launchpad_refuses_a_value_of_the_wrong_type(ui: Ui) -> None:
    refused = launch(ui, {"ops": {"load__sleeper": {"config": {"count": "many"}}}})
    assert refused["__typename"] == "RunConfigValidationInvalid"
    assert 'not valid for expected type "Int"' in refused["errors"][0]["message"]


def test_terminating_a_run_in_the_ui_ends_its_kernels_and_their_children(ui: Ui) -> None:
    run_id = launch(ui, {})["run"]["runId"]
    asleep = wait_for(lambda: printed(ui, run_id, "asleep "), 60, "the notebook did not start")
    child = psutil.Process(int(asleep.split("asleep ")[1].split()[0]))
    kernel = child.parent()
    assert kernel is not None
    ui.graphql(TERMINATE, r=run_id)
    _, left = psutil.wait_procs([child, kernel], timeout=STOP_TIMEOUT)
    # one whose end nobody has asked for yet has ended
    assert not [each for each in left if each.status() != psutil.STATUS_ZOMBIE]
    wait_for(
        lambda: ui.graphql(STATUS, r=run_id)["runOrError"]["status"] == "CANCELED",
        30,
        "the run does not end",
    )
    kept = ui.project / "artefacts" / "baseline" / "load" / "sleeper" / run_id / "attempts" / "1"
    assert "asleep" in (kept / "executed.ipynb").read_text(encoding="utf-8")
    assert not (kept.parent.parent / "manifest.json").exists()


def printed(ui: Ui, run_id: str, text: str) -> str:
    """The line of a run's log that holds `text`."""
    events = ui.graphql(LOGS, r=run_id)["logsForRun"]["events"]
    return next((event["message"] for event in events if text in event.get("message", "")), "")
