"""Take the pictures of the documentation anew, from a project that has just been made and run.

    python tools/screenshots.py [NAME...]

Chromium and ChromeDriver have to be there, and what `make test` installs. With names, such as
`jupyterlab`, only those pictures are written. It takes some minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGES = REPOSITORY / "docs" / "images"
RUNTIME = next(REPOSITORY.glob("*cookiecutter.project_slug*"))
for folder in (REPOSITORY, REPOSITORY / "tests", RUNTIME):
    sys.path.insert(0, str(folder))

from chromium import chromium  # noqa: E402 - the tests have to be found first
from conftest import copy_template, free_port, look_installed, make, run_command  # noqa: E402
from pages import (  # noqa: E402
    choose,
    click,
    lab_environment,
    launch,
    open_executed_notebook,
    open_in_lab,
    run_all,
    shows,
    status,
    until,
)
from PIL import Image  # noqa: E402
from runtime.projects import wait_until  # noqa: E402
from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from servers import serving  # noqa: E402

WIDTH, HEIGHT = 1500, 860
MOST = 200_000  # bytes of a picture
RUN_TIMEOUT = 600  # seconds
SETTLE = 2.0  # seconds in which what is drawn comes to rest
OF_DAGSTER = (
    *("graph", "ui", "newcomer_materialise", "newcomer_log"),
    *("newcomer_notebook", "newcomer_failure"),
)
FAULT = ("best(scores)", "best(scors)")  # one letter is missing


class Camera:
    """Takes pictures of a browser and writes those that were asked for."""

    def __init__(self, browser: webdriver.Chrome, names: list[str]) -> None:
        self.browser = browser
        self._names = names

    def is_for(self, *names: str) -> bool:
        """Whether one of these pictures was asked for."""
        return not self._names or bool({*names} & {*self._names})

    def take(
        self, name: str, height: int = HEIGHT, *, width: int = WIDTH, settle: float = SETTLE
    ) -> None:
        """Write what is seen as docs/images/NAME.png, with no more colours than fit in its size."""
        if not self.is_for(name):
            return
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        time.sleep(settle)
        taken = Image.open(BytesIO(self.browser.get_screenshot_as_png())).convert("RGB")
        file = IMAGES / f"{name}.png"
        for colours in (256, 128, 64, 32):
            taken.quantize(colours).save(file, optimize=True)
            if file.stat().st_size < MOST:
                break
        print(f"{file.relative_to(REPOSITORY)}: {file.stat().st_size // 1000} kB")


def main(names: list[str]) -> int:
    """Make a project, go through its first hour, and write the pictures; return the exit code."""
    # its path is in the pictures
    home = Path(tempfile.mkdtemp(prefix="first_hour_"))
    try:
        template = copy_template(home / "template" / "dsml-template")
        project = look_installed(make(template, home, {"dashboard": "streamlit"}))
        os.environ["MLFLOW_TRACKING_URI"] = ""
        with chromium(home / "profile", f"{WIDTH},{HEIGHT}") as browser:
            camera = Camera(browser, names)
            if camera.is_for(*OF_DAGSTER):
                in_dagster(camera, project)
            else:
                dsml(project, "run", "--experiment", "small")
                dsml(project, "run", "--experiment", "wide")
            if camera.is_for("jupyterlab"):
                in_jupyterlab(camera, project)
            if camera.is_for("site", "site_run"):
                in_the_site(camera, project)
            if camera.is_for("dashboard"):
                in_the_dashboard(camera, project)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return 0


def dsml(project: Path, *words: str, check: bool = True) -> None:
    """Run a command of the project."""
    run_command(sys.executable, "-m", "dsml", *words, cwd=project, check=check, timeout=RUN_TIMEOUT)


@contextmanager
def server(project: Path, target: str, **environment: str) -> Iterator[str]:
    """Start a server with make, and give its address once it answers."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        urllib.request.urlopen(url, timeout=5).close()
        return True

    with serving(
        ("make", target, f"port={port}"),
        answers,
        cwd=project,
        log=project.parent / f"{target}.log",
        end=signal.SIGTERM,
        **environment,
    ):
        yield url


def in_dagster(camera: Camera, project: Path) -> None:
    """The graph, the choice of an experiment, its run, an executed notebook, a failed run."""
    browser = camera.browser
    with server(project, "dagit") as url:
        browser.get(f"{url}/asset-groups")
        shows(browser, "Global asset lineage", "summary", "predict")
        camera.take("graph", 500)
        choose(browser, url, "training", "small")
        camera.take("newcomer_materialise")
        run_id = launch(browser, url)
        shows(browser, "evaluate__accuracy", "cell 6/9")
        camera.take("newcomer_log", settle=0.3)  # while it runs
        wait_until(lambda: status(url, run_id) == "SUCCESS", RUN_TIMEOUT, 1, "it does not end")
        open_executed_notebook(browser, url, "summary/report/best")
        shows(browser, "What more data is worth")
        camera.take("newcomer_notebook", 1250)
        with broken(project / "stages" / "evaluate" / "accuracy.ipynb"):
            dsml(project, "run", "--experiment", "small", check=False)
        browser.get(f"{url}/runs")
        shows(browser, "Failure")
        click(browser, "//a[starts-with(@href, '/runs/')]")
        shows(browser, "NameError", "look at the executed notebook")
        camera.take("newcomer_failure")
        dsml(project, "run", "--experiment", "wide", "--force")
        browser.get(f"{url}/runs")
        shows(browser, "partition: wide")
        click(browser, "//a[starts-with(@href, '/runs/')]")
        shows(browser, "RUN_SUCCESS")
        # the button that gives the chart the place of the log
        click(browser, "//button[contains(., 'Re-execute')]/preceding::button[1]")
        camera.take("ui", 570)


@contextmanager
def broken(notebook: Path) -> Iterator[None]:
    """Leave a letter out in a notebook, as happens."""
    text = notebook.read_text(encoding="utf-8")
    if FAULT[0] not in text:
        raise SystemExit(f"{notebook} holds no {FAULT[0]}: name another place in FAULT")
    notebook.write_text(text.replace(*FAULT), encoding="utf-8")
    try:
        yield
    finally:
        notebook.write_text(text, encoding="utf-8")


def in_jupyterlab(camera: Camera, project: Path) -> None:
    """A notebook of a stage, all of whose cells have been run by hand."""
    environment = lab_environment(project.parent / "jupyter") | {"DSML_EXPERIMENT": "small"}
    with server(project, "notebook", **environment) as url:
        log = (project.parent / "notebook.log").read_text(encoding="utf-8")
        (token, *_) = re.findall(r"token=\w+", log)
        open_in_lab(camera.browser, f"{url}/lab?{token}", "summary", "report.ipynb")
        run_all(camera.browser)
        camera.take("jupyterlab")


def in_the_site(camera: Camera, project: Path) -> None:
    """All runs, and one of them."""
    browser = camera.browser
    dsml(project, "report")
    browser.get((project / "site" / "index.html").as_uri())
    shows(browser, "wide", "small")
    camera.take("site", 620)
    click(browser, "//tr[contains(., 'wide')]//a[contains(@href, 'runs/')]")
    shows(browser, "evaluate.accuracy")
    camera.take("site_run", 1100)


def in_the_dashboard(camera: Camera, project: Path) -> None:
    """The third champion, with a challenger that the gate has refused."""
    browser = camera.browser
    for words in (
        ("--set", "train.fit.n_train=[150]"),
        ("--set", "train.fit.n_train=[400]"),
        ("--experiment", "wide", "--force"),
        ("--force",),
    ):
        dsml(project, "run", *words)
        dsml(project, "promote", "--run", "latest", check=False)  # the last one is refused
    with server(project, "dashboard") as url:
        browser.get(url)
        shows(browser, "The champion", "Over time")
        noise = (By.CSS_SELECTOR, "[data-testid='stSlider'] [role='slider'], input[type='range']")
        until(browser, lambda: browser.find_element(*noise), "there is no noise to be set")
        browser.find_element(*noise).send_keys(Keys.ARROW_RIGHT * 5)
        shows(browser, "2.50", "images are read right")
        until(
            browser,
            lambda: not browser.find_elements(By.CSS_SELECTOR, "[data-testid='stSkeleton']"),
            "the page does not settle",
        )
        camera.take("dashboard", 2130, width=1200)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
