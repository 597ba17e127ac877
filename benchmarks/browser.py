"""Chromium without a screen, and how long a page takes in it."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

# Without the last four it asks hosts of its maker for things, at every start.
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_QUIET = 1.0  # seconds without a request after which a page has all that it asks for
_PATIENCE = 90.0  # seconds
_POLL = 0.1  # seconds
_QUESTION = "/graphql"
_ENDED = ("Network.loadingFinished", "Network.loadingFailed")


@contextmanager
def chromium(
    profile: Path, size: str, logs: Mapping[str, str] | None = None
) -> Iterator[webdriver.Chrome]:
    """Chromium without a screen.

    Args:
        profile: a new folder for its settings.
        size: of the window in pixels, as ``1600,1000``.
        logs: what it is to note, as ChromeDriver names it: ``{"browser": "ALL"}``.

    Raises:
        FileNotFoundError: it is not installed.
    """
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    driver = shutil.which("chromedriver")
    if not (binary and driver):
        missing = "Chromium or ChromeDriver is missing: apt-get install chromium chromium-driver"
        raise FileNotFoundError(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for option in (*_OPTIONS, f"--window-size={size}", f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", dict(logs or {}))
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def seconds_to_load(address: str) -> float:
    """From asking for a page of Dagster's UI until all its questions to the server are answered.

    Raises:
        RuntimeError: it goes on asking.
    """
    with (
        tempfile.TemporaryDirectory() as profile,
        chromium(Path(profile), "1600,1000", {"performance": "ALL"}) as browser,
    ):
        browser.get(address)
        return _Questions(browser).seconds()


class _Questions:
    """What a page asks the server, by the browser's own clock."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self._browser: Any = browser  # its method `get_log` has no types
        self._first = 0.0
        self._last = 0.0
        self._open: set[str] = set()

    def seconds(self) -> float:
        """From the first request to the last answer before the page fell silent."""
        deadline = silent = time.monotonic()
        while time.monotonic() < deadline + _PATIENCE:
            if self._heard() or self._open or not self._last:
                silent = time.monotonic()
            elif time.monotonic() > silent + _QUIET:
                return self._last - self._first
            time.sleep(_POLL)
        raise RuntimeError(f"{self._browser.current_url} goes on asking for more")

    def _heard(self) -> bool:
        """Whether anything was asked or answered meanwhile."""
        entries = self._browser.get_log("performance")
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return sum(self._take(each["method"], each["params"]) for each in messages) > 0

    def _take(self, method: str, about: Mapping[str, Any]) -> bool:
        if method == "Network.requestWillBeSent":
            self._first = self._first or about["timestamp"]
            if _QUESTION not in about["request"]["url"]:
                return False
            self._open.add(about["requestId"])
        elif method in _ENDED and about["requestId"] in self._open:
            self._open.remove(about["requestId"])
            self._last = about["timestamp"]
        else:
            return False
        return True
