"""Pages of the docs site that are followed step by step, as a reader does it."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest
from conftest import TEMPLATE, look_installed
from documents import Reader, blocks, lines, words_of

DOCS = TEMPLATE / "docs"
MIGRATION = DOCS / "migration"
# What stays open is started by other tests.
STAYS_OPEN = {"make dagit": "test_ui.py"}


def arrive(folder):
    """Install a project that has just been made, as make would."""
    if (folder / "pyproject.toml").exists() and not (folder / ".venv").exists():
        look_installed(folder)


@pytest.fixture(scope="session")
def follower(template):
    """Make a reader who starts in a folder, beside a clone of the template."""

    def follower(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dsml-template").symlink_to(TEMPLATE)
        address = {"gh:org/dsml-template": shlex.quote(str(template))}
        return Reader(folder, instead=address, elsewhere=STAYS_OPEN, arrive=arrive)

    return follower


@pytest.mark.slow(minutes=2)
def test_the_first_hour_leads_from_nothing_to_a_champion_and_a_site(follower, tmp_path):
    reader = follower(tmp_path / "a newcomer")
    reader.follow(DOCS / "first_hour.md")
    site = reader.folder / "site" / "index.html"
    assert "strict" in site.read_text(encoding="utf-8")
    readme = (reader.folder / "README.md").read_text(encoding="utf-8")
    unnamed = [
        line
        for line in lines(DOCS / "first_hour.md")
        if line.split()[0] not in ("cookiecutter", "cd") and not is_named(words_of(line), readme)
    ]
    assert unnamed == []


def is_named(words, readme):
    """Whether a README names a command: its tool and what it is to do."""
    return f"`{words[0]} {words[1]}" in readme


@pytest.fixture(scope="session")
def houses(follower, tmp_path_factory):
    """The project that is moved into, made as the first page of the migration says."""
    reader = follower(tmp_path_factory.mktemp("moving in"))
    reader.follow(MIGRATION / "index.md")
    return reader.folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", sorted(page.stem for page in MIGRATION.glob("*.md") if page.stem != "index")
)
def test_a_small_project_moves_in_as_its_page_says(page, houses, follower, tmp_path):
    reader = follower(tmp_path / "a reader")
    if page != "mlflow":  # which makes its own, since it tracks
        reader.folder = shutil.copytree(houses, reader.folder / houses.name, symlinks=True)
    reader.follow(MIGRATION / f"{page}.md")


def test_the_result_that_the_pages_state_is_that_of_the_old_notebooks(
    tmp_path, monkeypatch, capsys
):
    shutil.copytree(MIGRATION / "examples" / "notebooks", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names = {}
    for name in ("clean", "fit"):
        document = json.loads((tmp_path / f"{name}.ipynb").read_text(encoding="utf-8"))
        for cell in document["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
    assert names["error"] == pytest.approx(7.86963, abs=5e-6)
    assert "error: 7.87" in capsys.readouterr().out
    for page in ("notebooks", "dagstermill", "kedro", "mlflow"):
        stated = [block.text for block in blocks(MIGRATION / f"{page}.md")]
        assert any("train.fit  error  7.86963" in text for text in stated), page
