"""One broken line of each feature turns the suite red, and `broken.py` has the lines.

What mutants of the code say of its tests is another measure: `make mutate`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from broken import GROUPS, Broken
from conftest import CACHES, PROJECT_FOLDER, TEMPLATE, copy_template

SECONDS = 300
OUTSIDE = ("Makefile", "README.md", "pyproject.toml")  # which tests and pytest read


def file_of(template: Path, row: Broken) -> Path:
    own = row.file.removeprefix("./")
    return template / PROJECT_FOLDER.name / own if own != row.file else template / own


def break_line(template: Path, row: Broken) -> None:
    """Put the fault into a copy of the template."""
    file = file_of(template, row)
    if not row.line:
        file.rename(file.with_name(row.instead))
        return
    text = file.read_text(encoding="utf-8")
    assert text.count(row.line) == 1, f"{row.feature}: {row.file} has {row.line!r} not once"
    file.write_text(text.replace(row.line, row.instead), encoding="utf-8")


def failures(template: Path, tests: Iterable[str]) -> dict[str, str]:
    """Run tests of a copy of this repository; those that failed, with all that they said."""
    report = template / "report.xml"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    options = ("-p", "no:cacheprovider", "-o", "junit_logging=all", f"--junitxml={report}", "-vv")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *dict.fromkeys(tests)],
        cwd=template,
        env={**inherited, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    found = {}
    for case in ET.parse(report).iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            file = case.attrib["classname"].replace(".", "/")
            said = "\n".join(
                filter(None, (t for e in case.iter() for t in (e.get("message"), e.text)))
            )
            found[f"{file}.py::{case.attrib['name']}"] = said
    return found


def unnoticed(row: Broken, failed: Mapping[str, str]) -> str:
    """Why a broken line was not noticed, if it was not."""
    said = "\n".join(text for test, text in failed.items() if test.startswith(row.test))
    if not said:
        return f"{row.feature}: {row.test} passes all the same"
    reason = f"{row.feature}: {row.test} fails for another reason: {said[:3000]}"
    return "" if row.says in said else reason


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_each_broken_line_is_noticed_by_its_test_for_the_right_reason(group, tmp_path):
    rows = GROUPS[group]
    template = copy_template(tmp_path / "dsml template")
    for name in OUTSIDE:
        shutil.copy2(TEMPLATE / name, template / name)
    shutil.copytree(TEMPLATE / "tests", template / "tests", ignore=shutil.ignore_patterns(*CACHES))
    for row in rows:
        break_line(template, row)
    failed = failures(template, (row.test for row in rows))
    assert "\n\n".join(filter(None, (unnoticed(row, failed) for row in rows))) == ""


def test_every_broken_line_has_a_feature_of_its_own():
    features = [row.feature for rows in GROUPS.values() for row in rows]
    assert len(features) == len(set(features)) > 40


def test_every_line_and_every_test_that_has_to_notice_is_there():
    for row in (row for rows in GROUPS.values() for row in rows):
        text = file_of(TEMPLATE, row).read_text(encoding="utf-8")
        assert not row.line or text.count(row.line) == 1, f"{row.feature}: {row.file} is another"
        file, _, test = row.test.partition("::")
        name = re.match(r"\w+", test)[0]
        assert f"def {name}(" in (TEMPLATE / file).read_text(encoding="utf-8"), row.test


def test_every_line_that_is_broken_is_there_once():
    for row in (row for rows in GROUPS.values() for row in rows):
        text = file_of(TEMPLATE, row).read_text(encoding="utf-8")
        assert not row.line or text.count(row.line) == 1, row.feature
