"""What keeps this repository and its projects as the field wants them, and their versions new."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import BIN, PROJECT_FOLDER, TEMPLATE, files_of

RENOVATE = json.loads((TEMPLATE / ".github" / "renovate.json").read_text(encoding="utf-8"))
MANAGERS = {manager["description"]: manager for manager in RENOVATE["customManagers"]}


# --- guidelines for scientific Python -------------------------------------------------------------


@pytest.mark.parametrize("where", [TEMPLATE, "digits"])
def test_the_guidelines_for_scientific_python_are_followed(where, request, run):
    project = request.getfixturevalue(where) if isinstance(where, str) else where
    done = run(BIN / "repo-review", ".", "--format", "json", cwd=project, check=False)
    checks = json.loads(done.stdout)["checks"]
    assert [name for name, check in checks.items() if check["result"] is False] == []
    assert sum(check["result"] is True for check in checks.values()) > 30


@pytest.mark.parametrize("ci", ["gitlab", "none"])
def test_they_are_followed_where_the_code_is_not_on_github(ci, bake, run):
    run(BIN / "repo-review", ".", cwd=bake(ci=ci))


@pytest.mark.parametrize("where", [TEMPLATE, "digits"])
def test_every_guideline_that_is_not_followed_has_a_reason(where, request):
    project = request.getfixturevalue(where) if isinstance(where, str) else where
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    ignored = text.partition("[tool.repo-review]")[2].partition("]\n")[0].splitlines()[2:]
    assert ignored
    for above, line in zip(["", *ignored], ignored, strict=False):
        assert "#" in line or above.lstrip().startswith("#"), line


# --- newer versions -------------------------------------------------------------------------------


def found_by(name: str) -> set[tuple[str, str]]:
    """Names and versions that Renovate finds in the template by one of its patterns."""
    manager = MANAGERS[name]
    (files,) = (pattern.strip("/") for pattern in manager["managerFilePatterns"])
    (pattern,) = manager["matchStrings"]
    found = set()
    for path in files_of(TEMPLATE / PROJECT_FOLDER.name):
        inside = f"{PROJECT_FOLDER.name}/{path}"
        if re.search(files, inside):
            text = Path(TEMPLATE, inside).read_text(encoding="utf-8")
            found |= {
                (match["depName"], match["currentValue"])
                for match in re.finditer(pattern.replace("(?<", "(?P<"), text)
            }
    return found


def test_renovate_finds_every_action_of_a_project(digits):
    text = (digits / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(text)["jobs"].values()
    used = {
        step["uses"].partition("@")[0] for job in jobs for step in job["steps"] if "uses" in step
    }
    assert {name for name, _ in found_by("actions")} == {"/".join(u.split("/")[:2]) for u in used}


def test_renovate_finds_every_package_of_a_project(digits, dashboard, deployed):
    wanted = set()
    for project in (digits, dashboard, deployed):
        content = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        lists = [
            content["build-system"]["requires"],
            content["project"]["dependencies"],
            *content["project"]["optional-dependencies"].values(),
            *content["dependency-groups"].values(),
        ]
        wanted |= {requirement for each in lists for requirement in each}
    found = {f"{name}{version}" for name, version in found_by("packages")}
    assert found == {re.sub(r"\[\w+\]", "", requirement) for requirement in wanted}


def test_renovate_finds_the_images_of_services():
    found = dict(found_by("images of services"))
    assert found["ghcr.io/astral-sh/uv"]
    assert found["postgres"]
