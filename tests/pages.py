"""What people do in the pages of Dagster and of JupyterLab, done in Chromium.

The tests look at what they get to see; `tools/screenshots.py` takes pictures of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import graphql
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

TIMEOUT = 120  # seconds for a page to show what it loads, on a machine that has other things to do
_NEWEST = "{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }"
_STATUS = "query ($r: ID!) { runOrError(runId: $r) { ... on Run { status } } }"
_MOST = 3000  # characters of a page that are told where a wait was in vain
_NUMBERED = re.compile(r"\[\d+\]:")


def until(browser: webdriver.Chrome, look: Callable[[], Any], otherwise: str) -> Any:
    """Wait until there is something to see; a page that changes meanwhile is looked at again."""
    waiting = WebDriverWait(browser, TIMEOUT, ignored_exceptions=[Exception])
    try:
        return waiting.until(lambda _: look())
    except TimeoutException:
        seen = browser.find_element(By.TAG_NAME, "body").text
        raise AssertionError(f"{otherwise}; what it shows:\n{seen[:_MOST]}") from None


def shows(browser: webdriver.Chrome, *texts: str) -> None:
    """Wait until the page shows all of `texts`."""

    def all_there() -> bool:
        page = browser.find_element(By.TAG_NAME, "body").text
        return all(text in page for text in texts)

    until(browser, all_there, f"the page never showed {texts}")


def click(browser: webdriver.Chrome, path: str, *, twice: bool = False) -> None:
    """Click on what is at an XPath, as soon as it can be."""

    def clicked() -> bool:
        found = browser.find_element(By.XPATH, path)
        if not (found.is_displayed() and found.is_enabled()):
            return False
        ActionChains(browser).double_click(found).perform() if twice else found.click()
        return True

    until(browser, clicked, f"there was nothing to click on at {path}")


def press(browser: webdriver.Chrome, name: str) -> None:
    """Click on the button whose text begins with `name`."""
    click(browser, f"//button[starts-with(normalize-space(.), '{name}')]")


# --- Dagster --------------------------------------------------------------------------------------


def choose(browser: webdriver.Chrome, url: str, job: str, experiment: str) -> None:
    """Open a job, ask for all of its assets, and choose the experiment in the dialog."""
    browser.get(f"{url}/locations/dag/jobs/{job}")
    press(browser, "Materialize all")
    click(browser, "//*[text()='Select a partition or create one']")
    click(browser, f"//*[@title='{experiment}']")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    shows(browser, "1 partition")


def launch(browser: webdriver.Chrome, url: str) -> str:
    """Press the button of that dialog, open the page of the new run, and return its id."""
    before = _newest(url)
    press(browser, "Launch 1 run")

    def new() -> str:
        found = _newest(url)
        return "" if found == before else found

    run_id: str = until(browser, new, "no run was launched")
    browser.get(f"{url}/runs/{run_id}")
    return run_id


def _newest(url: str) -> str:
    found = graphql(url, _NEWEST)["runsOrError"]["results"]
    return str(found[0]["runId"]) if found else ""


def status(url: str, run_id: str) -> str:
    """The status of a run, in the words of Dagster."""
    return str(graphql(url, _STATUS, r=run_id)["runOrError"]["status"])


def open_executed_notebook(browser: webdriver.Chrome, url: str, asset: str) -> None:
    """Open the page of an asset, and from it the executed notebook."""
    browser.get(f"{url}/assets/{asset}")
    link = until(
        browser,
        lambda: browser.find_element(
            By.XPATH, "//a[contains(@href, '/notebook?path')]"
        ).get_attribute("href"),
        "no link to a notebook",
    )
    browser.get(link)


# --- JupyterLab -----------------------------------------------------------------------------------


def lab_environment(folder: Path) -> dict[str, str]:
    """The variables of a JupyterLab that any user may start, that opens no browser and no news.

    Its settings are written to `folder`.
    """
    news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    settings = {
        "jupyter_server_config.json": {"ServerApp": {"allow_root": True}},
        "labconfig/page_config.json": news,
    }
    for name, values in settings.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    return {"JUPYTER_CONFIG_DIR": str(folder), "BROWSER": "true"}  # `true` does nothing


def open_in_lab(browser: webdriver.Chrome, address: str, stage: str, notebook: str) -> None:
    """Open a notebook from the list of files, as JupyterLab's first page shows it."""
    browser.get(address)
    for name in (stage, notebook):
        item = f"//*[contains(@class, 'jp-DirListing-itemName')][normalize-space(.)='{name}']"
        click(browser, item, twice=True)
    until(browser, lambda: prompts(browser), "the notebook was not opened")
    shows(browser, "(ipykernel) | Idle")  # before that, nothing is run and nothing is said


def run_all(browser: webdriver.Chrome) -> None:
    """Run all cells by the menu, and wait until each has run."""
    click(browser, "//*[contains(@class, 'lm-MenuBar-itemLabel')][normalize-space(.)='Run']")
    click(browser, "//*[contains(@class, 'lm-Menu-itemLabel')][normalize-space(.)='Run All Cells']")
    until(
        browser,
        lambda: all(map(_NUMBERED.fullmatch, prompts(browser))),
        "not all cells have run",
    )


def prompts(browser: webdriver.Chrome) -> list[str]:
    """What stands before each cell of code: its number once it has run."""
    found = browser.find_elements(By.CSS_SELECTOR, ".jp-CodeCell .jp-InputPrompt")
    return [each.text for each in found]
