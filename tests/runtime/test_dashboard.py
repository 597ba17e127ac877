"""The dashboard: what it says of the champion, and that it follows each promotion by itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from chromium import chromium
from click.testing import CliRunner
from conftest import free_port, run_command
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import dsml.cli.dashboard as command
from dsml.cli import cli
from dsml.contract.problem import ProjectError
from dsml.evidence.champion_view import ChampionView, Versions, _by_class
from dsml.evidence.models import Version

SECONDS = 60  # for the server, and for the page, to show what is waited for


# --- versions -------------------------------------------------------------------------------------


def version(number: int, *aliases: str, since: str = "") -> Version:
    return Version(number, aliases, "run", "a.b", "baseline", "accuracy", 0.9, 0.0, since, {})


def test_a_challenger_is_what_the_champion_is_compared_with():
    found = Versions("m", [version(1, "champion"), version(2, "challenger")])
    assert (found.champion, found.rival) == (found.versions[0], found.versions[1])


def test_without_a_challenger_it_is_the_champion_before():
    old, older = version(2, since="2026-02-01T00:00:00Z"), version(1, since="2026-01-01T00:00:00Z")
    champion = version(3, "champion", since="2026-03-01T00:00:00Z")
    assert Versions("m", [older, old, champion]).rival == old


def test_a_champion_that_carries_both_aliases_has_no_challenger():
    assert Versions("m", [version(1, "challenger", "champion")]).challenger is None


def test_rows_are_counted_by_what_is_true_of_them():
    table = pd.DataFrame({"truth": [0, 0, 1], "champion": [0, 1, 1], "rival": [0, 0, 0]})
    found = _by_class(table)
    assert found.to_dict("list") == {
        "rows": [2, 1],
        "champion": [1, 1],
        "rival": [2, 0],
        "differ": [1, 1],
    }


@pytest.mark.parametrize("truth", [[0.5, 1.5], list(range(31))])
def test_a_quantity_is_not_counted_by_class(truth):
    table = pd.DataFrame({"truth": truth, "champion": truth, "rival": truth})
    assert _by_class(table) is None


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def ask(monkeypatch) -> Callable[..., str]:
    """Ask for the dashboard of a project, and return what is said instead of it."""

    def ask(project: Path) -> str:
        monkeypatch.chdir(project)
        result = CliRunner().invoke(cli, ["dashboard"])
        assert isinstance(result.exception, ProjectError)
        return str(result.exception)

    return ask


def test_a_project_without_a_dashboard_says_so(digits, ask):
    assert ask(digits) == (
        "dashboard/app.py\n  is not there\n"
        "  write a Streamlit app there, or take the template's: dashboard=streamlit"
    )


def test_a_dashboard_without_streamlit_says_what_to_install(dashboard, ask, monkeypatch):
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda _: None)
    assert "Streamlit is not installed" in ask(dashboard)


def test_a_dashboard_without_mlflow_names_the_key(dashboard, copy_of, ask):
    project = copy_of(dashboard)
    catalog = project / "catalog.yml"
    catalog.write_text(catalog.read_text(encoding="utf-8").replace(", mlflow: .mlflow", ""))
    said = ask(project)
    assert said.startswith("catalog.yml, line ")
    assert "environments.dev: nothing is tracked" in said


def test_it_is_for_this_machine_however_it_is_started(dashboard):
    settings = tomllib.loads((dashboard / ".streamlit" / "config.toml").read_text("utf-8"))
    assert settings["server"]["address"] == "127.0.0.1"
    assert settings["browser"]["gatherUsageStats"] is False


# --- the page of the empty example, without a browser ---------------------------------------------


@pytest.fixture
def without_stages(bake, monkeypatch) -> Path:
    project = bake(example="empty", dashboard="streamlit", project_name="Lines")
    monkeypatch.chdir(project)
    return project


def shown(project: Path) -> Any:
    """The page as Streamlit makes it."""
    from streamlit.testing.v1 import AppTest

    page = AppTest.from_file(str(project / "dashboard" / "app.py"), default_timeout=SECONDS).run()
    assert not page.exception, page.exception
    return page


def test_the_page_of_the_empty_example_has_no_word_of_digits_and_is_in_order(without_stages):
    assert "digit" not in (without_stages / "dashboard" / "app.py").read_text(encoding="utf-8")
    for task in (("check",), ("format", "--check")):
        run_command("ruff", *task, "--no-cache", "dashboard", cwd=without_stages)


def test_a_catalog_without_models_is_told_how_to_name_one(without_stages):
    page = shown(without_stages)
    assert [title.value for title in page.title] == ["No model yet"]
    assert page.code[0].value.startswith("models:\n  name: {metric: accuracy, holdout:")
    assert not (without_stages / ".mlflow").exists()


def test_a_server_that_is_down_is_told_on_the_page_at_once(without_stages, monkeypatch):
    declare(without_stages, "line: {metric: mae, holdout: load.main.data, target: y}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # where nobody listens
    page = shown(without_stages)
    (error,) = page.error
    assert error.value.split("  \n") == [
        "MLflow at http://127.0.0.1:9 doesn't answer",
        "start it, or mend its address: mlflow in catalog.yml, or MLFLOW_TRACKING_URI",
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")
def test_a_model_of_any_kind_gets_a_form_from_its_input_example(without_stages):
    declare(without_stages, "line: {metric: mae, holdout: load.main.data, target: y}")
    page = shown(without_stages)
    assert [header.value for header in page.header] == ["No champion yet"]
    assert page.code[0].value == "dsml run\ndsml promote"
    register_line(without_stages)
    page = shown(without_stages)
    assert page.title[0].value == "The champion of line"
    assert [header.value for header in page.header] == ["Try it", "Over time"]
    predicted = page.table[0].value
    assert predicted["prediction"].round(6).tolist() == [1.0, 3.0]
    assert page.table[1].value.to_dict("list")["role"] == ["champion"]
    assert [metric.value for metric in page.metric] == ["0.2500", "version 1", "none"]


def declare(project: Path, models: str) -> None:
    with (project / "catalog.yml").open("a", encoding="utf-8") as catalog:
        catalog.write(f"\nmodels:\n  {models}\n")


def register_line(project: Path) -> None:
    """Register the line y = 2 x + 1 as its champion, as `dsml promote` would."""
    import mlflow
    from sklearn.linear_model import LinearRegression

    view = ChampionView(project)
    (project / ".mlflow").mkdir()
    client = mlflow.MlflowClient(view.tracking.uri)
    experiment = client.create_experiment("lines", artifact_location=view.tracking.artefacts)
    table = pd.DataFrame({"x": [0.0, 1.0]})
    # by the environment: what set_tracking_uri is told stays with the process
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", view.tracking.uri)
        with mlflow.start_run(experiment_id=experiment):
            model = LinearRegression().fit(table, [1.0, 3.0])
            logged = mlflow.sklearn.log_model(model, name="line", input_example=table)
        client.create_registered_model("lines.line")
        tags = {"dsml.metric": "mae", "dsml.value": "0.25", "dsml.step": "load.main"}
        made = client.create_model_version("lines.line", logged.model_uri, tags=tags)
        client.set_registered_model_alias("lines.line", "champion", made.version)
    loaded = view.load("line", view.versions("line").champion)
    assert loaded.scores(table) is None
    whole = pd.DataFrame({"more": ["a"], "x": [3]})  # another type, and a column too many
    assert loaded.predict(whole).round(6).tolist() == [7.0]


# --- the page of the digits, in Chromium ----------------------------------------------------------


@pytest.fixture
def server(dashboard: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A digits project in a folder with a space in its name, and the address of its dashboard."""
    project = tmp_path / "a project"
    shutil.copytree(dashboard, project)
    port = free_port()
    with (tmp_path / "dashboard.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "dsml", "dashboard", "--port", str(port)],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: listening(process), "the server does not come up")
        assert listening(process) == {("127.0.0.1", port)}
        yield project, f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=15)
        finally:
            process.kill()
    assert "Traceback" not in (tmp_path / "dashboard.log").read_text()


def listening(process: subprocess.Popen[bytes]) -> set[tuple[str, int]]:
    """Where a process takes connections."""
    assert process.poll() is None
    found = psutil.Process(process.pid).net_connections("tcp")
    return {tuple(one.laddr) for one in found if one.status == psutil.CONN_LISTEN}


def until(condition: Callable[[], Any], otherwise: str, seconds: float = SECONDS) -> float:
    """Wait until something is so; how long that took, in seconds."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() < start + seconds, otherwise
        time.sleep(0.1)
    return time.monotonic() - start


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """Chromium that notes what it asks the network for."""
    logs = {"performance": "ALL", "browser": "ALL"}
    with chromium(tmp_path / "profile", "1200,1600", logs) as found:
        yield found


def text_of(browser: webdriver.Chrome) -> str:
    return browser.execute_script("return document.body.innerText")


def shows(browser: webdriver.Chrome, *texts: str, seconds: float = SECONDS) -> float:
    """Wait until the page shows all of the texts, and no more what is being replaced."""

    def is_shown() -> bool:
        page = text_of(browser)
        return all(text in page for text in texts)

    return until(is_shown, f"never shown: {texts}\n{text_of(browser)}", seconds)


def asked_for(browser: webdriver.Chrome) -> set[str]:
    """The addresses of all requests and sockets, but those inside of the browser itself."""
    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        params = message["params"]
        if message["method"] == "Network.requestWillBeSent":
            found.add(params["request"]["url"])
        elif message["method"] == "Network.webSocketCreated":
            found.add(params["url"])
    return {address for address in found if not address.startswith("chrome://")}


def dsml(project: Path, *arguments: str, check: bool = True) -> str:
    words = (sys.executable, "-m", "dsml", *arguments)
    return run_command(*words, cwd=project, check=check).stdout


def train(project: Path, n_train: int) -> None:
    """Run what makes a model of the digits; the part before it is not done twice."""
    rows = ("--set", f"train.fit.n_train=[{n_train}]")
    only = ("--select", "load prepare train evaluate")
    dsml(project, "run", "--experiment", "small", *only, *rows)


@pytest.mark.slow(minutes=2)
def test_the_page_follows_every_promotion_without_a_restart_and_without_a_network(
    server, browser, record_property
):
    project, url = server
    browser.get(url)
    shows(browser, "No champion yet", "dsml run", "dsml promote")
    assert not (project / ".mlflow").exists()

    train(project, 150)
    dsml(project, "promote")
    shows(browser, "The champion of digits", "version 1", "Try it", "images are read right")
    assert "Over time" in text_of(browser)
    until(lambda: len(readings(browser)) == 20, "not all of the bundled images are shown")
    before = readings(browser)
    browser.find_element(By.CSS_SELECTOR, "input[type=range]").send_keys(Keys.END)
    until(lambda: readings(browser) != before, "noise makes no difference")

    train(project, 450)
    dsml(project, "promote")
    seconds = shows(browser, "Champion and predecessor", "Rows on which they differ", seconds=20)
    record_property("seconds until the dashboard has shown a promotion", round(seconds, 1))
    page = text_of(browser)
    assert "Champion, version 2" in page
    assert "Predecessor, version 1" in page

    oldest = json.loads(dsml(project, "runs", "--json"))[-1]["run_id"]
    dsml(project, "promote", "--run", oldest, check=False)
    shows(browser, "Champion and challenger", "Challenger, version 1", "The gate refused it")

    asked = asked_for(browser)
    assert any(address.startswith("ws://127.0.0.1:") for address in asked)
    local = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")
    assert [address for address in asked if not address.startswith(local)] == []
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []


def readings(browser: webdriver.Chrome) -> list[str]:
    """What the champion reads in each of the bundled images: the pictures' texts."""
    script = "return [...document.images].map(image => image.alt)"
    return [alt for alt in browser.execute_script(script) if "✓" in alt or "✗" in alt]
