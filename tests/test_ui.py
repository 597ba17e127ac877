"""The UIs as a newcomer to a generated project meets them, seen through Chromium."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from chromium import chromium
from conftest import free_port, graphql, look_installed, run_command
from pages import (
    choose,
    click,
    lab_environment,
    launch,
    open_executed_notebook,
    open_in_lab,
    prompts,
    run_all,
    shows,
    status,
    until,
)
from runtime.projects import wait_until
from selenium import webdriver
from selenium.webdriver.common.by import By
from servers import serving

from dsml.contract.register import write_register
from dsml.contract.scaffold import notebook

pytestmark = pytest.mark.slow

RUN_TIMEOUT = 240  # seconds for a run of the example on a machine that has other things to do
STOP_TIMEOUT = 2  # seconds in which a terminated run's kernels have to be gone
STAGES = ("load", "explore", "prepare", "train", "evaluate", "summary", "predict")
SLEEPER = """\
import subprocess, time
child = subprocess.Popen(["sleep", "600"])
print("asleep", child.pid)
time.sleep(600)"""
PIPELINES = """\
pipelines:
  night: {select: odd.sleeper}
  bad: {select: odd.broken}
"""


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
    """`make dagit` in a fresh digits project, in a folder with a space in its name.

    Two notebooks more: one that sleeps for longer than any test waits, one that fails.
    """
    project = tmp_path_factory.mktemp("the ui") / digits.name
    shutil.copytree(digits, project)
    look_installed(project)
    add(project, "sleeper", SLEEPER)
    add(project, "broken", "ratio = count / 0")
    catalog = project / "catalog.yml"
    text = catalog.read_text(encoding="utf-8")
    catalog.write_text(text.replace("pipelines:\n", PIPELINES), encoding="utf-8")
    write_register(project)
    url = f"http://127.0.0.1:{free_port()}"

    def look() -> bool:
        urllib.request.urlopen(f"{url}/server_info", timeout=2).close()
        return True

    command = ("make", "dagit", f"port={url.rpartition(':')[2]}")
    with serving(command, look, cwd=project, log=project.parent / "dagit.log"):
        yield Ui(url, project)


def add(project: Path, name: str, work: str) -> None:
    """Add a notebook to a stage that none of the example's pipelines selects."""
    declaration = {"description": "Odd.", "ins": {}, "outs": {"x": "x.json"}}
    text = notebook(f"# {name}", declaration, "count: int = 1  # of sheep", work)
    file = project / "stages" / "odd" / f"{name}.ipynb"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Chromium with a profile of its own."""
    with chromium(tmp_path_factory.mktemp("profile"), "1600,1000") as found:
        yield found


@pytest.fixture(scope="module")
def materialised(ui: Ui, browser: webdriver.Chrome) -> str:
    """The run that somebody launches by clicking: the training pipeline on a small experiment."""
    choose(browser, ui.url, "training", "small")
    run_id = launch(browser, ui.url)
    wait_until(lambda: ended(ui, run_id), RUN_TIMEOUT, 0.5, "the run does not end")
    return run_id


def ended(ui: Ui, run_id: str) -> str:
    """The status of a run that is over."""
    found = status(ui.url, run_id)
    return found if found in ("SUCCESS", "FAILURE", "CANCELED") else ""


# --- Dagster --------------------------------------------------------------------------------------


def test_the_asset_graph_shows_every_stage(ui: Ui, browser: webdriver.Chrome) -> None:
    browser.get(f"{ui.url}/asset-groups")
    shows(browser, "Global asset lineage", *STAGES)


def test_an_experiment_is_materialised_by_clicking(
    ui: Ui, browser: webdriver.Chrome, materialised: str
) -> None:
    assert ended(ui, materialised) == "SUCCESS"
    browser.get(f"{ui.url}/runs/{materialised}")
    shows(browser, "Success", "partition: small", "load__digits", "RUN_SUCCESS")
    found = (ui.project / "artefacts" / "small").glob(f"*/*/{materialised}/manifest.json")
    assert {path.parts[-4] for path in found} == set(STAGES) - {"predict"}


def test_a_materialised_experiment_opens_its_executed_notebook(
    ui: Ui, browser: webdriver.Chrome, materialised: str
) -> None:
    browser.get(f"{ui.url}/assets/summary/report/best")
    shows(browser, "Latest materialization", "small", "executed notebook", "sha256")
    open_executed_notebook(browser, ui.url, "summary/report/best")
    shows(browser, "What more data is worth", "op_parameters")
    pictures = browser.find_elements(By.XPATH, "//img[starts-with(@src, 'data:image/png')]")
    assert pictures, "the executed notebook shows no figure"


@pytest.fixture(scope="module")
def failed(ui: Ui, browser: webdriver.Chrome) -> str:
    """A run from the command line that fails."""
    command = (sys.executable, "-m", "dsml", "run", "bad")
    assert run_command(*command, cwd=ui.project, check=False).returncode == 1
    browser.get(f"{ui.url}/runs")
    shows(browser, "bad", "Failure")
    link = browser.find_element(By.XPATH, "//a[starts-with(@href, '/runs/')]")
    return str(link.get_attribute("href")).rpartition("/")[2]


def test_a_run_from_the_command_line_is_in_the_ui_without_what_only_the_runtime_reads(
    browser: webdriver.Chrome, failed: str
) -> None:
    page = browser.find_element(By.TAG_NAME, "body").text
    assert failed[:8] in page
    assert "partition: baseline" in page
    assert "process" not in page


def test_the_page_of_a_failed_run_says_where_what_and_where_to_look(
    ui: Ui, browser: webdriver.Chrome, failed: str
) -> None:
    browser.get(f"{ui.url}/runs/{failed}")
    kept = f"odd/broken/{failed}/attempts/1/executed.ipynb"
    shows(
        browser,
        "stages/odd/broken.ipynb, cell 5, line 1",
        "ZeroDivisionError: division by zero",
        "look at the executed notebook",
        kept,
    )


LAUNCH = """
mutation ($p: ExecutionParams!) {
  launchRun(executionParams: $p) {
    __typename
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
TERMINATE = "mutation ($r: String!) { terminateRun(runId: $r) { __typename } }"


def test_the_launchpad_refuses_a_value_of_the_wrong_type(ui: Ui) -> None:
    params = {
        "selector": {
            "repositoryLocationName": "dag",
            "repositoryName": "__repository__",
            "jobName": "night",
        },
        "runConfigData": {"ops": {"odd__sleeper": {"config": {"count": "many"}}}},
        "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "baseline"}]},
    }
    refused = ui.graphql(LAUNCH, p=params)["launchRun"]
    assert refused["__typename"] == "RunConfigValidationInvalid"
    assert 'not valid for expected type "Int"' in refused["errors"][0]["message"]


def test_a_running_cell_is_heard_and_terminating_its_run_ends_kernel_and_children(
    ui: Ui, browser: webdriver.Chrome
) -> None:
    choose(browser, ui.url, "night", "baseline")
    run_id = launch(browser, ui.url)
    shows(browser, "asleep ")
    assert status(ui.url, run_id) == "STARTED"
    page = browser.find_element(By.TAG_NAME, "body").text
    child = psutil.Process(int(re.search(r"asleep (\d+)", page)[1]))
    kernel = child.parent()
    assert kernel is not None
    ui.graphql(TERMINATE, r=run_id)
    _, left = psutil.wait_procs([child, kernel], timeout=STOP_TIMEOUT)
    # one whose end nobody has asked for yet has ended
    assert not [each for each in left if each.status() != psutil.STATUS_ZOMBIE]
    wait_until(lambda: ended(ui, run_id), 30, 0.2, "the run does not end")
    assert ended(ui, run_id) == "CANCELED"
    kept = ui.project / "artefacts" / "baseline" / "odd" / "sleeper" / run_id / "attempts" / "1"
    assert "asleep" in (kept / "executed.ipynb").read_text(encoding="utf-8")
    assert not (kept.parent.parent / "manifest.json").exists()


# --- the site -------------------------------------------------------------------------------------


def test_the_site_leads_from_the_runs_to_the_cell_that_failed(
    ui: Ui, browser: webdriver.Chrome, materialised: str, failed: str
) -> None:
    run_command("make", "report", cwd=ui.project)
    browser.get((ui.project / "site" / "index.html").as_uri())
    shows(browser, "training", "small", "bad")
    click(browser, f"//a[contains(@href, '{failed}')]")
    shows(browser, "odd.broken", "ZeroDivisionError")


# --- JupyterLab -----------------------------------------------------------------------------------


def test_jupyterlab_opens_a_stage_notebook_and_runs_all_of_its_cells(
    ui: Ui, browser: webdriver.Chrome, materialised: str, tmp_path: Path
) -> None:
    log = tmp_path / "lab.log"
    address = re.compile(r"http://127\.0\.0\.1:\S+token=\w+")
    with serving(
        ("make", "notebook", f"port={free_port()}"),
        lambda: address.search(log.read_text(encoding="utf-8")),
        cwd=ui.project,
        log=log,
        end=signal.SIGTERM,  # Ctrl-C has Jupyter ask whether it is meant
        DSML_EXPERIMENT="small",
        **lab_environment(tmp_path / "jupyter"),
    ) as printed:
        open_in_lab(browser, printed[0], "summary", "report.ipynb")
        run_all(browser)
        shows(browser, "'n_train': 450")
        assert len(prompts(browser)) == 8
        figure = ".jp-OutputArea-output img[src^='data:image/png']"
        assert until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, figure), "no figure")
    scratch = ui.project / "artefacts" / ".scratch" / "small" / "summary.report"
    outs = {"curve.png", "table.csv", "best.json"}
    assert {path.name for path in scratch.iterdir()} >= outs
    run_of = ui.project / "artefacts" / "small" / "summary" / "report"
    assert [path.name for path in run_of.iterdir()] == [materialised]
