"""What a manifest records about the circumstances of a run."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsml.store.manifest import Json

_NAME = re.compile(r"^[A-Za-z0-9._-]+")
_CREDENTIALS = re.compile(r"^(\w+://)[^/@]*@")  # user and password, or a token
_GIT_TIMEOUT = 10  # seconds


def now() -> str:
    """The time in UTC, ISO 8601 with microseconds, so that text sorts as time does."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@cache
def git_facts(root: Path) -> dict[str, Json]:
    """The commit of the project and whether tracked files differ from it; empty without git.

    An image holds no repository: it has what ``DSML_COMMIT`` was when it was built, a commit with
    ``-dirty`` behind it where files differed.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        told, _, state = os.environ.get("DSML_COMMIT", "").partition("-")
        return {"commit": told, "dirty": state == "dirty"} if told else {}
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return {"commit": commit, "dirty": bool(changed)}


def git_origin(root: Path) -> dict[str, Json]:
    """The branch that is checked out, and where the repository comes from, as far as known."""
    branch = _git(root, "symbolic-ref", "--short", "--quiet", "HEAD")
    url = _CREDENTIALS.sub(r"\1", _git(root, "remote", "get-url", "origin") or "")
    found: dict[str, Json] = {"branch": branch, "url": url}
    return {name: value for name, value in found.items() if value}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def versions(root: Path) -> dict[str, str]:
    """The versions of Python and of the packages that the project names as its dependencies."""
    import tomllib

    found = {"python": platform.python_version(), "platform": sys.platform}
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError):
        return found
    for requirement in project.get("project", {}).get("dependencies", []):
        name = _NAME.match(requirement)
        if name:
            try:
                found[name[0]] = version(name[0])
            except PackageNotFoundError:
                continue
    return found
