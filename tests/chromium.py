"""Chromium for the tests that look at pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from conftest import without
from selenium import webdriver

from benchmarks import browser


@contextmanager
def chromium(
    profile: Path, size: str, logs: Mapping[str, str] | None = None
) -> Iterator[webdriver.Chrome]:
    """The browser of the benchmarks; where it is missing a test is skipped, and in CI it fails."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(browser.chromium(profile, size, logs))
        except FileNotFoundError as missing:
            without(str(missing))
        yield opened
