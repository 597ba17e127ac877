"""What the tests share: a copy of the project to run, so that nothing of yours is touched."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


def left_out(folder: str, names: Iterable[str]) -> set[str]:
    """Environments, caches and what runs left behind; of .dagster all but its settings."""
    if Path(folder) == ROOT / ".dagster":
        return set(names) - {"dagster.yaml"}
    hidden = {name for name in names if name.startswith(".")} - {".dagster"}
    at_the_top = {"artefacts", "build", "dist", "site"} if Path(folder) == ROOT else set()
    return hidden | at_the_top | {"__pycache__"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this project with a Dagster home and a storage of its own."""
    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, ignore=left_out)
    catalog = copy / "catalog.yml"
    declared = yaml.safe_load(catalog.read_text(encoding="utf-8"))
    declared["environments"] = {"tests": {"storage": "artefacts"}}
    catalog.write_text(yaml.safe_dump(declared, sort_keys=False), encoding="utf-8")
    for name in ("DSML_EXPERIMENT", "DSML_RUN", "DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DSML_ENV", "tests")
    monkeypatch.setenv("DAGSTER_HOME", str(copy / ".dagster"))
    monkeypatch.setenv("PYTHONPATH", str(copy))
    return copy
