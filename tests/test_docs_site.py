"""The docs site: it builds without a warning, is complete, and asks no other host for anything."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import click
import command_line
import docs_site
import flowchart
import messages
import pytest
import reference
from conftest import PROJECT_FOLDER, TEMPLATE

from dsml.contract.spec import KEYS

DOCS = TEMPLATE / "docs"
# What a browser fetches, and from where.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
PASSIVE = {"canonical", "next", "prev"}  # links that nothing is fetched for


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` and continuous integration do."""
    folder = tmp_path_factory.mktemp("docs site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=TEMPLATE,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Elements(HTMLParser):
    """What a page fetches, and the classes of its elements."""

    def __init__(self, page):
        super().__init__()
        self.fetched, self.classes = [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        self.classes |= set(given.get("class", "").split())
        if tag in FETCHED and given.get("rel") not in PASSIVE:
            self.fetched.append(given.get(FETCHED[tag], ""))


@pytest.mark.slow
def test_the_site_fetches_nothing_from_another_host(site):
    pages = [Elements(page) for page in site.rglob("*.html")]
    assert len(pages) > 45
    fetched = {address for page in pages for address in page.fetched}
    assert any(address.endswith(".js") for address in fetched)
    assert [address for address in fetched if re.match(r"(\w+:)?//", address)] == []
    styles = "".join(file.read_text(encoding="utf-8") for file in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", styles) == []
    # The theme's script would fetch Mermaid for these, and the figures of a repository.
    asking = {"mermaid", "md-source"}
    assert [page.classes & asking for page in pages if page.classes & asking] == []


@pytest.mark.slow
def test_every_page_of_a_project_is_in_the_site_and_in_its_navigation(site):
    names = {re.sub(r"\{%.*?%\}", "", page.name) for page in PROJECT_FOLDER.glob("docs/*.md*")}
    built = {page.with_suffix(".md").name for page in site.glob("how-to/*.html")}
    assert built == names
    start = (site / "index.html").read_text(encoding="utf-8")
    assert [page.name for page in site.glob("*/*.html") if f'{page.name}"' not in start] == []


@pytest.mark.slow
def test_the_page_on_the_command_line_has_every_command_and_every_option(site):
    page = (site / "reference" / "cli.html").read_text(encoding="utf-8")
    found = 0
    for name, command in command_line.cli.commands.items():
        assert f'id="dsml-{name}"' in page or f">dsml {name}<" in page, name
        for parameter in command.params:
            options = parameter.opts if isinstance(parameter, click.Option) else ()
            assert [option for option in options if option not in page] == []
            found += len(options)
    assert found > 60


def test_the_reference_has_every_key():
    pages = reference.pages()
    assert [key for key in KEYS if f"| {key} |" not in pages["op_parameters.md"]] == []
    for key in ("`NAME.schedule.cron`", "`NAME.storage`", "`NAME.retries`", "## pickles"):
        assert key in pages["catalog.md"].replace("`NAME.steps.NAME.retries`", "`NAME.retries`")


# --- messages ------------------------------------------------------------------------------------


def test_a_message_is_read_from_the_source_with_what_is_known_only_later_left_open(tmp_path):
    (tmp_path / "module.py").write_text(
        "NEXT = 'no-file'\n"
        "def find(where, name, known):\n"
        "    what = f\"there is no '{name}'\"\n"
        "    what += ' any more'\n"
        "    fix, more = 'look for it', 1\n"
        "    yield Problem(where, what, fix, NEXT, 'warning')\n"
        "    report(('a',), 'it is gone' if name else '', suggest(name, known), 'unknown-name')\n"
        "    return 'it is a text', 'write it in quotes', 'wrong-type'\n"
        "    log('a message', 'for nobody', 'no sentence', 1)\n",
        encoding="utf-8",
    )
    assert messages.messages(tmp_path) == {
        "no-file": [
            ("there is no '…'", "look for it"),
            ("there is no '…' any more", "look for it"),
        ],
        "unknown-name": [("it is gone", "did you mean '…'?")],
        "wrong-type": [("it is a text", "write it in quotes")],
    }


def test_every_mistake_of_the_readme_is_one_of_the_messages():
    found = [
        (pattern_of(what), pattern_of(fix))
        for told in messages.messages(PROJECT_FOLDER / "dsml").values()
        for what, fix in told
    ]
    readme = (TEMPLATE / "README.md").read_text(encoding="utf-8").partition(reference.MISTAKES)[2]
    rows = re.findall(r"^\| [^|]+ \| `[^|]*?`<br>(.+?)<br>(.+?) \|$", readme, re.MULTILINE)
    assert len(rows) > 20
    missing = []
    for row in rows:
        what, fix = (text.strip("` ").removeprefix("warning: ") for text in row)
        if not any(one.search(what) and other.fullmatch(fix) for one, other in found):
            missing.append((what, fix))
    assert missing == []


def pattern_of(text):
    return re.compile(".*".join(map(re.escape, text.split("…"))) + "$")


# --- parts of the build --------------------------------------------------------------------------


def test_a_flowchart_becomes_a_picture_with_all_its_boxes():
    chart = 'flowchart TD\n    dag(["dag.py"]) --> b\n    b --> c\n    dag --> c\n'
    picture = flowchart.as_svg(chart)
    assert re.findall(r"<text[^>]*>([^<]*)<", picture) == ["dag.py", "b", "c"]
    assert "<title>dag.py → b; b → c; dag.py → c</title>" in picture


def test_a_line_that_a_flowchart_cannot_have_is_told():
    with pytest.raises(ValueError, match="is no box of a flowchart"):
        flowchart.as_svg("flowchart TD\n    subgraph x y\n")


def test_a_notebook_is_shown_by_its_cells_and_not_as_json():
    file = DOCS / "migration" / "examples" / "papermill" / "clean.ipynb"
    text = docs_site.show(file)
    assert text.startswith('```python title="clean.ipynb"\n# %% tags=["parameters"]\nmin_area')
    document = json.loads(file.read_text(encoding="utf-8"))
    assert "".join(document["cells"][-1]["source"]) in text


def test_every_example_of_the_migration_is_shown_on_its_page():
    for folder in (DOCS / "migration" / "examples").iterdir():
        page = (DOCS / "migration" / f"{folder.name}.md").read_text(encoding="utf-8")
        files = [file for file in folder.rglob("*") if file.is_file() and file.suffix != ".csv"]
        assert len(files) >= 2
        for file in files:
            assert f"<!-- show: examples/{file.relative_to(folder.parent).as_posix()} -->" in page
